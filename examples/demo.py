"""Fit and sample a simulated debris disk: the whole way from an image to error bars.

``python examples/demo.py`` makes an image of a ring with noise, searches for it without a start,
finds the best model, samples the posterior and writes the table and the figures; ``--small`` is
quick and rough.
"""

import argparse
import time
from pathlib import Path

import jax
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, cache_programs, fit, sample

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--small", action="store_true", help="a quick run: small image, few draws")
parser.add_argument("--seed", type=int, default=1, help="of the noise and of the sampler")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output" / "demo")
args = parser.parse_args()
cache_programs()  # the next run need not compile again
began = time.perf_counter()
size, chains, warmup, draws = (48, 2, 60, 60) if args.small else (64, 4, 300, 300)

# The truth, and what a telescope sees of it.
truth = grater.Disk(
    semi_major_axis=77.0,
    inclination=75.0,
    position_angle=26.0,
    alpha_in=12.0,
    alpha_out=-7.0,
    scale_height=2.5,
    offset_x=1.5,
    flux=20000.0,
    phase=grater.HenyeyGreenstein(g=0.35),
    density_normalization="column",
)
grid = grater.Grid(shape=(size, size), pixel_scale=0.034 * 96 / size, distance=72.0)
scene = grater.Scene(truth, grid=grid, psf=grater.GaussianPSF(fwhm=3.0))
noise_key, sample_key = jax.random.split(jax.random.key(args.seed))
data = grater.Observation.simulate(scene, error=0.02 * scene.image().max(), key=noise_key)
data = data.mask_radius(inner=4.0)

# Where the ring is, found without a start.
start = scene.set(
    {"disk.radial.alpha_in": 8.0, "disk.radial.alpha_out": -5.0, "disk.offset_x": 0.0}
)
found = grater.search(data, start)
print(found.table())
names = "semi_major_axis", "inclination", "position_angle", "phase.g"
start = start.set({f"disk.{name}": found.best.model.get(f"disk.{name}") for name in names})
start = data.scaled_to_data(start)

# A prior for everything that is to be found.
priors = {
    "disk.semi_major_axis": (60.0, 100.0),
    "disk.inclination": (50.0, 89.0),
    "disk.position_angle": (-10.0, 70.0),
    "disk.radial.alpha_in": dist.LogUniform(2.0, 60.0),
    "disk.radial.alpha_out": (-20.0, -1.5),
    "disk.offset_x": dist.Normal(0.0, 5.0),
    "disk.offset_y": dist.Normal(0.0, 5.0),
    "disk.phase.g": (-0.9, 0.9),
    "disk.flux": dist.LogUniform(2000.0, 200000.0),
    "noise.scale": dist.LogUniform(0.2, 5.0),
}
posterior = Posterior(start, data.log_likelihood, priors)

best = fit(posterior)
print(best.summary())
print(f"reduced chi-square {data.reduced_chi_square(best.model, posterior.dim):.3f}")

samples = sample(posterior, sample_key, start=best, chains=chains, warmup=warmup, draws=draws)
print(samples.summary())
print("true values:", {name: round(float(scene.get(name)), 3) for name in posterior.names})
print(grater.derived_table(samples))

args.output.mkdir(parents=True, exist_ok=True)
samples.save(args.output / "samples.npz")
grater.plot_fit(best.model, data).savefig(args.output / "fit.png", dpi=150)
grater.plot_phase_function(samples).savefig(args.output / "phase_function.png", dpi=150)
samples.corner().savefig(args.output / "corner.png", dpi=100)
print(f"figures and draws in {args.output}; {time.perf_counter() - began:.0f} s in all")
