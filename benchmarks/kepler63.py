"""The rotation of Kepler-63 from all long-cadence points of the mission: a posterior in minutes.

    python benchmarks/kepler63.py DATA [--evaluations 400] [--output FILE.json]

DATA is a NumPy archive with time (days since the first point), flux and flux_err. Quarters have
offsets of their own. One point in 17 is fitted with the exact solver; from there all points with
polynomials in bins. Of the Gaussian at that maximum draws are made by NUTS, and weighted by the
likelihood of all points. For comparison: a period of 5.401 +- 0.014 d and an inclination of 138
(or 42) degrees were published (Sanchis-Ojeda et al. 2013, ApJ 775, 54).
"""

import argparse
import json
import os
import time
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import pytreefit  # noqa: E402
import spotgp  # noqa: E402

# days of the gaps between the quarters, in the file's time
QUARTERS = (
    10.0, 44.7, 138.2, 229.3, 322.0, 417.9, 509.1, 599.3, 682.1, 785.7, 880.0, 978.1, 1061.8,
    1152.8, 1251.1, 1351.1, 1437.7,
)  # fmt: skip
PRIORS = {
    "peq": (4.8, 6.2),
    "kappa": (0.0, 0.5),
    "inc": spotgp.IsotropicInclination(),
    "lspot": (30.0, 42.0),
    "tau_spot": (1.0, 3.5),
    "sigma_k": (1e-3, 0.05),
    "jitter": (3e-5, 2e-3),
}
START = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=38.5, tau_spot=2.3),
    visibility=spotgp.VisibilityFunction(peq=5.36, kappa=0.05, inc=0.8),
    sigma_k=2.6e-3,
)


class Gaussian(eqx.Module):
    """The Gaussian approximation, as a likelihood of the free parameters."""

    names: tuple[str, ...] = eqx.field(static=True)
    centre: Any
    precision: Any

    def log_likelihood(self, model):
        away = jnp.stack([model.get(name) for name in self.names]) - self.centre
        return -0.5 * away @ self.precision @ away


def read(path):
    """All points, each quarter divided by its median."""
    columns = np.load(path)
    t, flux, error = (columns[name].astype(float) for name in ("time", "flux", "flux_err"))
    good = np.isfinite(t + flux + error)
    t, flux, error = (column[good][np.argsort(t[good])] for column in (t, flux, error))
    segment = np.searchsorted(QUARTERS, t)
    return spotgp.TimeSeriesData(t, flux, error, segment=segment, name="Kepler-63").normalize()


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--tolerance", type=float, default=1.0)
    parser.add_argument("--output", help="JSON file for the figures")
    args = parser.parse_args()
    began, spent = time.perf_counter(), {}

    def done(what):
        spent[what] = time.perf_counter() - began - sum(spent.values())
        print(f"{what}: {spent[what]:.0f} s", flush=True)

    every = read(args.data)
    options = {"jitter": 1e-4, "priors": PRIORS}
    few = slice(None, None, 17)
    thin = spotgp.GPSolver.from_data(
        spotgp.TimeSeriesData(
            every.time[few], every.flux[few], every.flux_err[few], segment=every.segment[few]
        ),
        START,
        solver="exact",
        **options,
    )
    first = pytreefit.fit(thin.posterior, progress=False)
    print(thin, first, sep="\n")
    done("fit of one point in 17")
    model, jitter = first.model.model, float(first.model.jitter)
    whole = spotgp.GPSolver.from_data(
        every, model, solver="local", tolerance=args.tolerance, **{**options, "jitter": jitter}
    )
    print(whole)
    best = pytreefit.fit(whole.posterior, progress=False)
    print(best)
    done("fit of all points")
    near = pytreefit.laplace(whole.posterior, best, method="differences")
    print(near.summary())
    done("curvature")
    centre = jnp.stack([near.values[name] for name in near.names])
    # a little wider than the posterior may be
    gaussian = Gaussian(near.names, centre, jnp.linalg.inv(1.3 * near.covariance))
    cheap = pytreefit.Posterior(best.model, gaussian.log_likelihood, whole.posterior.priors)
    samples = pytreefit.sample(
        cheap, jax.random.key(0), start=best, chains=4, warmup=300, draws=500, progress=False
    )
    worst = max(float(np.max(value)) for value in samples.rhat.values())
    print(f"draws of the Gaussian: R-hat at most {worst:.4f}, {samples.divergences} divergences")
    done("draws of the Gaussian")
    corrected = samples.corrected(whole.posterior, args.evaluations, progress=False)
    print(corrected)
    done("likelihoods of all points")
    stated = float(whole.likelihood_error(dict(best.values)))
    resampled = corrected.resample(jax.random.key(1))
    stars = resampled.models().model
    period = np.asarray(jax.vmap(lambda star: star.effective_period())(stars))
    degrees = np.degrees(np.asarray(resampled.draws["model.visibility.inc"]))
    found = {
        "cores": len(os.sched_getaffinity(0)),
        "points": every.time.size,
        "seconds": spent,
        "R-hat of the Gaussian": worst,
        "divergences": int(samples.divergences),
        "pareto k": float(corrected.pareto_k),
        "effective draws": float(corrected.weight_ess),
        "stated error": stated,
        "mean": {name: float(value) for name, value in corrected.mean.items()},
        "std": {name: float(value) for name, value in corrected.std.items()},
        "effective period": [float(period.mean()), float(period.std())],
        "inclination, degrees": [float(degrees.mean()), float(degrees.std())],
    }
    print(json.dumps(found, indent=1))
    if args.output:
        with open(args.output, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
