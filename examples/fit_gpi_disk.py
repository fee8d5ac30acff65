"""Fit and sample the debris disk in a polarimetric image of the Gemini Planet Imager.

The noise map is the scatter of U_phi in annuli, its scale is fitted too. How the noise of
neighbouring pixels is correlated is measured in the residuals of a first fit; error bars that take
pixels for independent would be too small. The ring is circular and may be offset from the star; the
phase function of the polarised light is a smooth free curve. A Gaussian stands for the PSF that
does not come with the file.

    python examples/fit_gpi_disk.py FILE --distance 71.9

The fit starts where `grater.search` finds the disk; ``--radius``, ``--inclination`` and
``--position-angle`` take the place of what it finds. Inclinations above 90 deg are those of disks
whose other side is near. The fit keeps to the side of 90 deg of the start, and takes both where
that is within 10 deg of edge-on.
"""

import argparse
import math
import re
import time
from pathlib import Path

import astropy.io.fits
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, cache_programs, fit, sample

# pc
DISTANCES = {"HR 4796A": 71.9, "HD 117214": 107.6, "HD 145560": 120.4, "HD 157587": 100.5}


def at_least(lowest):
    """An argument's type: a whole number that is not smaller."""

    def integer(text):
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text} must be at least {lowest}")
        return int(text)

    return integer


def between(lowest, highest):
    """An argument's type: a number between two, which are excluded."""

    def number(text):
        if not lowest < float(text) < highest:
            raise argparse.ArgumentTypeError(f"{text} must be between {lowest} and {highest}")
        return float(text)

    return number


parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("path", type=Path, help="FITS file with the radial Stokes cube")
parser.add_argument("--distance", type=between(0, math.inf), help="pc")
parser.add_argument("--radius", type=between(0, math.inf), help="rough, of the ring, au")
parser.add_argument("--inclination", type=between(1, 179), help="rough inclination, deg")
parser.add_argument("--position-angle", type=float, help="rough position angle, deg")
parser.add_argument("--crop", type=int, default=141, help="pixels along a side")
parser.add_argument("--inner", type=float, default=12.0, help="radius of the central mask, pixels")
parser.add_argument("--outer", type=float, help="largest radius that is used, pixels")
parser.add_argument("--fwhm", type=between(0, math.inf), default=3.8, help="of the PSF, pixels")
parser.add_argument("--knots", type=int, default=6, help="free values of the phase function")
parser.add_argument("--chains", type=at_least(1), default=4)
parser.add_argument("--warmup", type=at_least(20), default=300)
parser.add_argument("--draws", type=at_least(4), default=500)
parser.add_argument("--acceptance", type=between(0, 1), default=0.95, help="that NUTS aims at")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
args = parser.parse_args()
if args.knots < 2 or args.knots % 2:
    parser.error(f"argument --knots: {args.knots} must be an even number of at least 2")
cache_programs()  # the next run need not compile again

target = str(astropy.io.fits.getheader(args.path).get("OBJECT", args.path.stem)).strip()
distance = args.distance or DISTANCES.get(target)
if distance is None:
    parser.error(f"the distance of {target} is not known here: give --distance")
folder = args.output / re.sub(r"[^\w.+-]+", "_", target).lower()
folder.mkdir(parents=True, exist_ok=True)

# the data
data = grater.Observation.from_gpi(
    args.path, distance=distance, crop=args.crop, inner=args.inner, outer=args.outer
)
print(f"{target}: {data!r}")

# where to start
rough = [args.radius, args.inclination, args.position_angle]
psf = grater.GaussianPSF(fwhm=args.fwhm)
if None in rough:
    found = grater.search(data)
    if not found.fits:
        parser.error(f"no disk was found in {args.path}")
    print(found.table())
    names = ("semi_major_axis", "inclination", "position_angle")
    for k, name in enumerate(names):
        if rough[k] is None:
            rough[k] = float(found.best.model.get(f"disk.{name}"))
radius, inclination, position_angle = rough
inclination = min(max(inclination, 2.0), 178.0)

# the model
disk = grater.Disk(
    semi_major_axis=radius,
    inclination=inclination,
    position_angle=position_angle,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=0.03 * radius,
    phase=grater.SplinePhase.for_inclination(inclination, n=args.knots),
    phase_normalization="right_angle",
    density_normalization="column",
)
scene = data.scaled_to_data(grater.Scene(disk, grid=data.grid, psf=psf))
flux = abs(float(scene.get("disk.flux")))
scene = scene.set({"disk.flux": flux})
# the other side of 90 deg has another side near: only where the start does not say which
lowest, highest = max(1.0, inclination - 30.0), min(179.0, inclination + 30.0)
if inclination <= 80.0:
    highest = min(highest, 89.5)
if inclination >= 100.0:
    lowest = max(lowest, 90.5)
priors = {
    "disk.semi_major_axis": (0.6 * radius, 1.5 * radius),
    "disk.inclination": (lowest, highest),
    "disk.position_angle": (position_angle - 60.0, position_angle + 60.0),
    "disk.radial.alpha_in": dist.LogUniform(1.0, 100.0),
    "disk.radial.alpha_out": (-40.0, -1.2),
    "disk.vertical.scale_height": dist.LogUniform(0.002 * radius, 0.15 * radius),
    "disk.offset_x": dist.Normal(0.0, 0.05 * radius),
    "disk.offset_y": dist.Normal(0.0, 0.05 * radius),
    "disk.flux": dist.LogUniform(flux / 100.0, flux * 100.0),
    # smooth: neighbouring values of the phase function are free, but not by orders of magnitude
    "disk.phase.values": dist.LogNormal(0.0, 1.5),
    "noise.scale": dist.LogUniform(0.1, 20.0),
}
posterior = Posterior(scene, data.log_likelihood, priors)
if args.chains * args.draws <= posterior.dim:
    parser.error(f"--chains times --draws must be more than the {posterior.dim} parameters")

# the best model
began, cpu = time.perf_counter(), time.process_time()
best = fit(posterior)
chi_square = float(data.chi_square(best.model))
null = float(data.chi_square(scene.set({"disk.flux": 0.0})))
print(
    f"best fit: chi-square {chi_square:.0f} for {data.n_used} pixels and {posterior.dim} "
    f"parameters (reduced {data.reduced_chi_square(best.model, posterior.dim):.3f}; "
    f"no disk: {null:.0f}); "
    f"{best.evaluations} evaluations, {time.perf_counter() - began:.1f} s, "
    f"{time.process_time() - cpu:.1f} CPU seconds with compilation"
)


# the noise: its pixels are not independent
rest = data.image - best.model.image()
noise = grater.CorrelatedNoise.measured(rest, data.error, data.used)
table = {"independent": grater.residual_correlation(best.model, data)}
posterior = Posterior(best.model.set({"noise": noise}), data.log_likelihood, priors)
began = time.perf_counter()
best = fit(posterior, start=best)
table["correlated"] = grater.residual_correlation(best.model, data)
beside = [float(values[8, 9] + values[9, 8]) / 2.0 for values in table.values()]
print(
    f"residuals of neighbouring pixels correlate by {beside[0]:.2f}; with noise that is correlated "
    f"over {float(noise.get('length')):.2f} pixels ({100 * float(noise.white):.0f} % of it white) "
    f"by {beside[1]:.2f}; fitted again in {time.perf_counter() - began:.1f} s"
)
print(best.summary())

# its error bars
samples = sample(
    posterior,
    jax.random.key(args.seed),
    start=best,
    chains=args.chains,
    warmup=args.warmup,
    draws=args.draws,
    target_acceptance=args.acceptance,
)
print(samples.summary())
print(grater.derived_table(samples))
worst = max(float(jnp.max(value)) for value in samples.rhat.values())
slowest = min(float(jnp.min(value)) for value in samples.ess_per_second.values())
print(
    f"worst R-hat {worst:.4f}; {samples.divergences} divergences; "
    f"at least {slowest:.2f} effective samples per second"
)

samples.save(folder / "samples.npz")
grater.plot_fit(best.model, data).savefig(folder / "fit.png", dpi=150)
grater.plot_correlation(table).savefig(folder / "correlation.png", dpi=110)
grater.plot_phase_function(samples).savefig(folder / "phase_function.png", dpi=150)
samples.corner().savefig(folder / "corner.png", dpi=80)
print(f"figures and draws in {folder}")
