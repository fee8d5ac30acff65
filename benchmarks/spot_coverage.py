"""Do the error bars of rotation fits cover the truth? Simulated stars, fitted and sampled in turn.

    python benchmarks/spot_coverage.py --number 40

The truth of each star is drawn from the priors and its light curve is simulated spot by spot, many
small ones, so that it is nearly the Gaussian process that is fitted. Of the central 68 % and 95 %
intervals 68 % and 95 % must contain the truth, up to the scatter of a binomial distribution. All
stars share one compilation.
"""

import argparse
import json
import time
import warnings

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import spotgp  # noqa: E402
from pytreefit import sample  # noqa: E402

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--number", type=int, default=40)
parser.add_argument("--first", type=int, default=0, help="number of the first star")
parser.add_argument("--points", type=int, default=200)
parser.add_argument("--days", type=float, default=100.0)
parser.add_argument("--rate", type=float, default=5.0, help="spots per day")
parser.add_argument("--chains", type=int, default=2)
parser.add_argument("--warmup", type=int, default=150)
parser.add_argument("--draws", type=int, default=200)
parser.add_argument("--output", help="JSON file for the counts")
args = parser.parse_args()

PRIORS = {
    "peq": dist.LogUniform(3.0, 8.0),
    "kappa": dist.Uniform(0.0, 0.3),
    "inc": spotgp.IsotropicInclination(0.3, np.pi / 2),
    "lspot": dist.LogUniform(4.0, 20.0),
    "tau_spot": dist.LogUniform(2.0, 8.0),
    "sigma_k": dist.LogUniform(1e-3, 1e-2),
}
middle = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=9.0, tau_spot=4.0),
    visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
    sigma_k=3e-3,
)
inside = {68: {}, 95: {}}
began = time.perf_counter()
for number in range(args.first, args.first + args.number):
    truth_key, spot_key, sample_key = jax.random.split(jax.random.key(number), 3)
    rng = np.random.default_rng(number)
    keys = jax.random.split(truth_key, len(PRIORS))
    truth = {
        name: float(prior.sample(key))
        for (name, prior), key in zip(PRIORS.items(), keys, strict=True)
    }
    star = middle.set({middle.paths[name]: value for name, value in truth.items()})
    t = np.sort(rng.uniform(0.0, args.days, args.points))
    flux = np.asarray(
        spotgp.LightcurveModel.from_spot_model(
            spot_model=star, nspot_rate=args.rate, fspot=0.0, t=t, key=spot_key
        ).flux
    )
    error = 0.05 * float(np.std(flux))
    gp = spotgp.GPSolver(
        t,
        flux + rng.normal(0.0, error, t.size),
        error,
        middle,
        priors=PRIORS,
        solver="dense",
    )
    found = spotgp.search(gp, number=6, progress=False)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        samples = sample(
            gp.posterior,
            sample_key,
            start=found.best,
            chains=args.chains,
            warmup=args.warmup,
            draws=args.draws,
            target_acceptance=0.9,
            progress=False,
        )
    for path, draws in samples.draws.items():
        name = path.rpartition(".")[2]
        for level, counts in inside.items():
            low, high = np.percentile(draws, [50 - level / 2, 50 + level / 2])
            counts.setdefault(name, []).append(bool(low <= truth[name] <= high))
    worst = max(float(np.max(value)) for value in samples.rhat.values())
    print(
        f"{number}: {found.agreeing} of {len(found.fits)} starts agree; R-hat {worst:.3f}, "
        f"{samples.divergences} divergences, {time.perf_counter() - began:.0f} s so far",
        flush=True,
    )

for name in inside[68]:
    print(f"{name:12s} {sum(inside[68][name]):3d} {sum(inside[95][name]):3d} of {args.number}")
print(f"expected     {0.68 * args.number:.1f} {0.95 * args.number:.1f}")
if args.output:
    with open(args.output, "w") as file:
        json.dump({str(level): counts for level, counts in inside.items()}, file)
