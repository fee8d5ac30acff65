"""How fast are many stars fitted, how good are fits and errors, and are they those of one alone?

    python benchmarks/many_stars.py --number 100 --alone 4

The truth of each star is drawn from the priors. Its light curve is simulated spot by spot at
Kepler's long cadence over a quarter, with gaps, and thinned; the stars have between 240 and 460
points. `fit_many` fits them with four starts each and estimates errors. Some stars are then fitted
one by one, each in programs of its own, which takes a compilation each. With --process light curves
are draws of the Gaussian process: how good errors are where nothing but they can be wrong.
"""

import argparse
import time

import jax

jax.config.update("jax_enable_x64", True)

import common  # noqa: E402
import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import spotgp  # noqa: E402

PRIORS = {
    "peq": dist.LogUniform(1.5, 20.0),
    "kappa": dist.Uniform(0.0, 0.4),
    "inc": spotgp.IsotropicInclination(0.1, np.pi / 2),
    "lspot": dist.LogUniform(3.0, 40.0),
    "tau_spot": dist.LogUniform(1.0, 10.0),
    "sigma_k": dist.LogUniform(5e-4, 5e-2),
}
DAYS, CADENCE, ERROR = 90.0, 29.4244 / 1440.0, 3e-4
MODEL = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=3.0),
    visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
    sigma_k=3e-3,
)


def simulated(number, process=False):
    """A star's parameters and its light curve, spot by spot or a draw of the process."""
    rng = np.random.default_rng(number)
    *keys, spot_key = jax.random.split(jax.random.key(number), len(PRIORS) + 1)
    truth = {
        name: float(prior.sample(key))
        for (name, prior), key in zip(PRIORS.items(), keys, strict=True)
    }
    star = MODEL.set({MODEL.paths[name]: value for name, value in truth.items()})
    t = np.arange(0.0, DAYS, CADENCE)[:: int(rng.integers(9, 16))]
    for begin in rng.uniform(0.0, DAYS, 2):
        t = t[(t < begin) | (t > begin + rng.uniform(0.5, 4.0))]
    if process:
        covariance = np.asarray(spotgp.AnalyticKernel(star).kernel(t[:, None] - t))
        root = np.linalg.cholesky(covariance + ERROR**2 * np.eye(t.size))
        flux = 1.0 + root @ rng.normal(size=t.size)
    else:
        curve = spotgp.LightcurveModel.from_spot_model(
            star, nspot_rate=3.0, fspot=0.0, t=t, key=spot_key
        )
        flux = np.asarray(curve.flux) + ERROR * rng.normal(size=t.size)
    error = np.full(t.size, ERROR)
    return star, spotgp.TimeSeriesData(t, flux, error, name=f"star {number}").normalize()


def alone(data, shared):
    """How far the fit of one star by itself is from that among the others."""
    best = spotgp.fit_many([data], MODEL, priors=PRIORS)[0]
    moved = [abs(best.values[n] - shared.values[n]) / e for n, e in shared.errors.items()]
    return abs(best.log_density - shared.log_density), max(moved, default=0.0)


def covered(truths, result):
    """How often errors hold the truth, those of all solutions and of the best fit's curvature."""
    rows = []
    for path in result.names:
        if (own := path.removeprefix("model.")) not in MODEL.paths.values():
            continue  # of no spots, such as the jitter
        off, stated, alone = [], [], []
        for star, one in zip(truths, result, strict=True):
            if path in one.errors:
                off.append(one.values[path] - float(star.get(own)))
                stated.append(one.errors[path])
                alone.append(float(one.laplace.std[path]))
        row = {"parameter": path.rpartition(".")[2], "stars with an error": len(off)}
        for name, error in (("", stated), (", curvature alone", alone)):
            away = np.abs(off) / np.array(error)
            row |= {f"within {k} errors{name}": float(np.mean(away < k)) for k in (1, 2)}
            row[f"farther than 4{name}"] = int(np.sum(away > 4))
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--alone", type=int, default=4)
    parser.add_argument("--process", action="store_true", help="draws of the process")
    args = parser.parse_args()

    pairs = (simulated(number, args.process) for number in range(args.number))
    truths, stars = zip(*pairs, strict=True)
    result = spotgp.fit_many(stars, MODEL, priors=PRIORS)
    print(result.table())
    truth = np.array([float(star.effective_period()) for star in truths])
    period = np.array([star.effective_period for star in result])
    error = np.array([star.effective_period_error for star in result])
    found = {
        "stars": args.number,
        "points": [int(min(d.time.size for d in stars)), int(max(d.time.size for d in stars))],
        "programs": result.compilations,
        "seconds": result.seconds,
        "seconds in the stars": sum(star.seconds for star in result),
        "failed": len(result.failed),
        "with errors": int(np.isfinite(error).sum()),
        "at the edge of a prior": sum(bool(s.fit and s.fit.at_edge) for s in result),
        "period within 10 %": int(np.sum(np.abs(period / truth - 1.0) < 0.1)),
        "period within 2 standard deviations": int(np.sum(np.abs(period - truth) < 2.0 * error)),
    }
    print(found, flush=True)
    found["errors"] = covered(truths, result)
    print(*found["errors"], sep="\n", flush=True)
    for k in np.linspace(0, args.number - 1, args.alone).round().astype(int):
        began = time.perf_counter()
        density, moved = alone(stars[k], result[k])
        found[f"star {k} alone"] = {
            "log density differs by": density,
            "values differ by, errors": moved,
            "seconds": time.perf_counter() - began,
        }
        print(found[f"star {k} alone"], flush=True)
    common.record("many_stars_process" if args.process else "many_stars", [found])


if __name__ == "__main__":
    main()
