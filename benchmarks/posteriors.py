"""From the file of a light curve to the posterior of its star, by importance sampling and NUTS.

    python benchmarks/posteriors.py FILE [FILE ...] [--points 300] [--days 200] [--nuts]

Times are those of a new process, compilation included. Two keys show how far draws agree; NUTS,
with jumps between the modes that all searches found, how far they are right. Differences are of the
quantiles at 5, 16, 50, 84 and 95 %, in standard deviations of the second kind of draws.
"""

import argparse
import pathlib
import time as clock

import common
import jax
import numpy as np
import numpyro.distributions as dist

import spotgp
from pytreefit import sample

jax.config.update("jax_enable_x64", True)
LEVELS = (0.05, 0.16, 0.5, 0.84, 0.95)


def read(path, days):
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            columns = [arrays[name] for name in ("time", "flux", "flux_err")]
        data = spotgp.TimeSeriesData(*columns, name=path.stem)
    else:
        data = spotgp.TimeSeriesData.from_fits(path)
    return data.first(days).normalize().sigma_clip(5.0)


def process(data, rotation, points):
    """The process of a star with a trapezoid envelope, and priors about its rotation period."""
    start = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
        visibility=spotgp.VisibilityFunction(peq=10.0, kappa=0.1, inc=1.0),
        sigma_k=0.01,
    )
    model = spotgp.first_guess(data, start, rotation.period)
    period = rotation.period
    priors = {
        "peq": (0.3 * period, 3.0 * period),
        "kappa": (0.0, 0.7),
        "inc": spotgp.IsotropicInclination(),
        "lspot": dist.LogUniform(period, max(3.0 * data.span, 10.0 * period)),
        "tau_spot": dist.LogUniform(0.1 * period, data.span),
    }
    fitted = data.thin(points)
    jitter = float(np.median(fitted.flux_err))
    return spotgp.GPSolver.from_data(fitted, model, jitter=jitter, priors=priors, solver="dense")


def difference(one, other):
    """The largest difference of quantiles, and of which parameter."""
    found = {}
    for name, draws in other.draws.items():
        apart = np.quantile(one.draws[name], LEVELS) - np.quantile(draws, LEVELS)
        found[name.rpartition(".")[2]] = float(np.max(np.abs(apart)) / np.std(draws))
    worst = max(found, key=found.__getitem__)
    return found[worst], worst


def measured(path, args):
    """What is known of one star, and how long it took."""
    began = clock.perf_counter()
    data = read(path, args.days)
    rotation = data.rotation_period()
    gp = process(data, rotation, args.points)
    starts = spotgp.suggest_starts(gp, rotation)
    found = spotgp.search(gp, starts, number=4, progress=False)
    searched = clock.perf_counter()
    options = {"method": "mixture", "start": list(found.fits), "progress": False}
    samples = sample(gp.posterior, jax.random.key(0), **options)
    done = clock.perf_counter()
    again = sample(gp.posterior, jax.random.key(1), **options)
    warm = clock.perf_counter()
    said, other = samples.importance, again.importance
    assert said is not None
    assert other is not None
    apart, worst = difference(again, samples)
    row = {
        "star": data.name, "points": int(gp.data.time.size),
        "from the file to the best fit, s": searched - began, "posterior, s": done - searched,
        "with another key, s": warm - done, "evaluations": said.evaluations,
        "effective": said.effective, "Pareto k": said.pareto_k,
        "log evidence": said.log_evidence, "its error": float(said.log_evidence_error),
        "with another key": other.log_evidence,
        "keys differ by, sigma": apart, "in": worst,
    }  # fmt: skip
    if args.nuts:
        options = {"jumps": 16, "max_depth": 5, "target_acceptance": 0.9, "progress": False}
        starts = [found.best, *({n: d[k, 0] for n, d in samples.draws.items()} for k in range(3))]
        long = sample(gp.posterior, jax.random.key(5), start=starts, draws=1000, **options)
        apart, worst = difference(samples, long)
        row |= {
            "NUTS, s": long.seconds, "R-hat": max(float(np.max(r)) for r in long.rhat.values()),
            "NUTS differs by, sigma": apart, "NUTS differs in": worst,
        }  # fmt: skip
    return row


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("paths", type=pathlib.Path, nargs="+")
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--days", type=float, default=200.0)
    parser.add_argument("--nuts", action="store_true", help="beside it, which takes long")
    args = parser.parse_args()
    rows = []
    for path in args.paths:
        rows.append(measured(path, args))
        print(rows[-1], flush=True)
    common.record("posteriors", rows)


if __name__ == "__main__":
    main()
