"""Do the error bars cover the truth? Simulated images, fitted and sampled one after the other.

    python benchmarks/coverage.py --phase spline --number 25
    python benchmarks/coverage.py --phase polarized --number 25

The truth of each image is drawn from the priors, so that of the central 68 % and 95 % intervals
68 % and 95 % must contain it, up to the scatter of a binomial distribution. The images resemble
HR 4796 A: an inclined narrow ring, noise of unknown scale. Every fit starts from the priors'
middle. All images share one compilation.
"""

import argparse
import json
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, fit, sample

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--phase", choices=("spline", "polarized"), default="spline")
parser.add_argument("--number", type=int, default=25)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--chains", type=int, default=2)
parser.add_argument("--warmup", type=int, default=150)
parser.add_argument("--draws", type=int, default=300)
parser.add_argument("--output", help="JSON file for the counts")
args = parser.parse_args()

PRIORS = {
    "disk.semi_major_axis": dist.Uniform(70.0, 84.0),
    "disk.inclination": dist.Uniform(65.0, 82.0),
    "disk.position_angle": dist.Uniform(0.0, 50.0),
    "disk.radial.alpha_in": dist.LogUniform(5.0, 25.0),
    "disk.radial.alpha_out": dist.Uniform(-12.0, -4.0),
    "disk.vertical.scale_height": dist.LogUniform(0.8, 6.0),
    "disk.offset_x": dist.Normal(0.0, 2.0),
    "disk.offset_y": dist.Normal(0.0, 2.0),
    "disk.flux": dist.LogUniform(12000.0, 48000.0),
    "noise.scale": dist.LogUniform(0.6, 1.7),
}
if args.phase == "spline":
    phase = grater.SplinePhase.for_inclination(73.0, n=4)
    PRIORS["disk.phase.values"] = dist.LogNormal(0.0, 0.4)
else:
    phase = grater.Polarized(grater.HenyeyGreenstein(g=0.3))
    PRIORS["disk.phase.phase.g"] = dist.Uniform(0.0, 0.7)

grid = grater.Grid((args.size, args.size), pixel_scale=0.038 * 64 / args.size, distance=72.0)
middle = grater.Scene(
    grater.Disk(
        77.0,
        73.5,
        25.0,
        density_normalization="column",
        alpha_in=11.0,
        alpha_out=-8.0,
        scale_height=2.2,
        flux=24000.0,
        phase=phase,
    ),
    grid=grid,
    psf=grater.GaussianPSF(fwhm=3.0),
)
error = 0.03 * float(jnp.max(middle.image()))

inside = {68: {}, 95: {}}
began, slow = time.perf_counter(), []
for number in range(args.number):
    truth_key, noise_key, sample_key = jax.random.split(
        jax.random.key(1000 * args.seed + number), 3
    )
    prior = Posterior(middle, lambda scene: scene.noise.scale, PRIORS)
    truth = prior.sample_prior(truth_key)
    scene = prior.model_at(truth)
    data = grater.Observation.simulate(scene, error=error, key=noise_key)
    posterior = Posterior(middle, data.log_likelihood, PRIORS)
    best = fit(posterior, progress=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = sample(
            posterior,
            sample_key,
            start=best,
            chains=args.chains,
            warmup=args.warmup,
            draws=args.draws,
            progress=False,
        )
    for name, draws in samples.draws.items():
        flat = np.asarray(draws).reshape(-1, *np.shape(truth[name]))
        for level, counts in inside.items():
            low, high = np.percentile(flat, [50 - level / 2, 50 + level / 2], axis=0)
            hit = (low <= np.asarray(truth[name])) & (np.asarray(truth[name]) <= high)
            counts.setdefault(name, []).append(np.atleast_1d(hit).tolist())
    worst = max(float(np.max(value)) for value in samples.rhat.values())
    slow.append(worst)
    print(
        f"{number + 1}: {best.message} chi-square per pixel for the true noise "
        f"{float(data.chi_square(best.model) / data.n_used / truth['noise.scale'] ** 2):.3f}; "
        f"R-hat {worst:.3f}, {samples.divergences} divergences, "
        f"{time.perf_counter() - began:.0f} s so far",
        flush=True,
    )

print(
    f"{args.phase}: {args.number} images; expected {0.68 * args.number:.1f} and "
    f"{0.95 * args.number:.1f} inside; largest R-hat {max(slow):.3f}"
)
total = {level: [0, 0] for level in inside}
for name in inside[68]:
    columns = {level: np.array(counts[name]) for level, counts in inside.items()}
    for entry in range(columns[68].shape[1]):
        label = name if columns[68].shape[1] == 1 else f"{name}[{entry}]"
        hits = {level: int(column[:, entry].sum()) for level, column in columns.items()}
        for level, count in hits.items():
            total[level][0] += count
            total[level][1] += args.number
        print(f"{label:32s} {hits[68]:3d} {hits[95]:3d} of {args.number}")
print(
    "all parameters: "
    + ", ".join(
        f"{level} %: {100 * count / of:.1f} % of {of}" for level, (count, of) in total.items()
    )
)
if args.output:
    with open(args.output, "w") as file:
        json.dump({str(level): counts for level, counts in inside.items()}, file)
