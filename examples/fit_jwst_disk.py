"""Fit the edge-on disk of AU Mic in two rolls of JWST NIRCam, with starlight left in the images.

Nothing is subtracted, rotated or shifted. Each roll is compared in its detector's own frame, behind
the coronagraph's transmission, and the coefficients of six exposures of reference stars are
integrated out of the likelihood. A thin belt and a thick halo share inclination, position angle and
phase function. For comparison each roll is fitted alone, and both are fitted in the usual way,
after the references were subtracted. What is left of the starlight is correlated over many pixels,
so that the usual errors are too small: copies of the disk at other angles are fitted, too.

    python examples/fit_jwst_disk.py FOLDER

FOLDER holds the eight exposures of programme 1184 (jw01184*_calints.fits.gz) and the transmission
of each (*_psfmask.fits.gz). The noise is the scatter in annuli of what the references leave beside
the disk, with a scale that is fitted for each roll. A Gaussian stands for the PSF.
"""

import argparse
import math
import time
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist

import grater
from pytreefit import Joint, Posterior, cache_programs, fit, jit, laplace, sample

ROLLS = {"roll1": "001", "roll2": "002"}  # of AU Mic
REFERENCES = ("003", "004", "005", "006", "013", "014")  # two rolls of three other stars
DISTANCE = 9.71  # pc
# a star in the background and a bad pixel: offset (x, y) from AU Mic and radius, pixels
BACKGROUND = {
    "roll1": [(-55, -6, 10), (-61, -52, 5)],
    "roll2": [(-55, 3, 10), (-61, -52, 5)],
}
ORIENTATION = ("disk.belt.position_angle", "disk.belt.inclination")
STAR = 0.1  # pixels to which its position behind the coronagraph is known
BESIDE = 15.0  # pixels from the midplane, where the disk is faint
# a rough start
POSITION_ANGLE = 130.0
SHAPE = dict(inclination=89.0, position_angle=POSITION_ANGLE, density_normalization="column")
PHASE = grater.HenyeyGreenstein(0.4)
DISKS = {
    "belt": grater.Disk(35.0, alpha_in=3, alpha_out=-4, scale_height=1, phase=PHASE, **SHAPE),
    "halo": grater.Disk(
        35.0, alpha_in=3, alpha_out=-4, scale_height=7, flux=2.0, phase=PHASE, **SHAPE
    ),
}
SEEN = {"psf": grater.GaussianPSF(2.7, size=21), "accuracy": 1e-3, "nodes_on": "segments"}

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("folder", type=Path, help="with the exposures and the transmissions")
parser.add_argument("--crop", type=int, default=181, help="pixels along a side")
parser.add_argument("--inner", type=float, default=18.0, help="radius of the central mask, pixels")
parser.add_argument("--draws", type=int, default=0, help="of NUTS, for each of two chains")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
args = parser.parse_args()


def read(number):
    """One exposure with the coronagraph's transmission, cut out about the star."""
    found = []
    for kind in ("calints.fits*", "calints_psfmask.fits*"):
        name = f"jw01184{number}001_*_{kind}"
        paths = sorted(args.folder.glob(name))
        if len(paths) != 1:
            parser.error(f"argument folder: {args.folder} holds {len(paths)} files {name}, not one")
        found += paths
    return grater.Exposure.from_jwst(found[0], transmission=found[1]).crop(args.crop)


def without_disk(exposure):
    """A dark scene."""
    dark = {name: disk.set({"flux": 0.0}) for name, disk in DISKS.items()}
    return grater.Scene(dark, view=exposure.view(DISTANCE))


def observe(name, exposure):
    """One roll, with the noise that there is beside the disk."""
    y, x = np.indices(exposure.image.shape)
    right, up = x - exposure.center[0], y - exposure.center[1]
    angle = np.deg2rad(POSITION_ANGLE - exposure.roll)
    off = np.abs(right * np.cos(angle) + up * np.sin(angle))
    clear = np.isfinite(references).all(axis=0)
    for x, y, radius in BACKGROUND[name]:
        clear &= np.hypot(right - x, up - y) > radius
    light = grater.Starlight(references, constant=True, slope=True)
    data = exposure.observation(DISTANCE, mask=clear, starlight=light).mask_radius(args.inner)
    beside = data.with_mask(off > BESIDE)
    rest = beside.without_starlight(without_disk(exposure))
    noise = grater.noise_map(rest.image, exposure.center, half_width=2.0, mask=rest.used)
    return data.set({"error": noise, "view": name})


def subtract(name, observation):
    """What is usually done: the references are fitted as if there were no disk."""
    alone = observation.set({"view": None})
    return alone.without_starlight(without_disk(exposures[name])).set({"view": name})


def posterior_of(rolls, disks=DISKS):
    """The posterior of the two disks in one or several rolls."""
    scene = grater.Scene(disks, view={key: exposures[key].view(DISTANCE, **SEEN) for key in rolls})
    scene = next(iter(rolls.values())).scaled_to_data(scene)
    angle = float(scene.get("disk.belt.position_angle"))
    priors = {
        ("disk.belt.inclination", "disk.halo.inclination"): (80.0, 100.0),
        ("disk.belt.position_angle", "disk.halo.position_angle"): (angle - 20.0, angle + 20.0),
        ("disk.belt.phase.g", "disk.halo.phase.g"): (0.0, 0.95),
        "disk.belt.vertical.scale_height": dist.LogUniform(0.05, 5.0),
        "disk.halo.vertical.scale_height": dist.LogUniform(2.0, 30.0),
        # about the diffraction limit: the belt is hardly resolved
        tuple(f"view.{key}.psf.fwhm" for key in rolls): dist.TruncatedNormal(2.7, 0.3, low=1.5),
    }
    for key in rolls:
        star = scene.get(f"view.{key}.grid.center")
        priors |= {
            f"view.{key}.grid.center": dist.Normal(star, STAR),
            f"view.{key}.noise.scale": dist.LogUniform(0.3, 3.0),
        }
    for path in scene.disk_paths:
        flux = float(scene.get(f"{path}.flux"))
        priors |= {
            f"{path}.semi_major_axis": (10.0, 60.0),
            f"{path}.radial.alpha_in": dist.LogUniform(0.3, 50.0),
            f"{path}.radial.alpha_out": (-12.0, -1.0),
            f"{path}.flux": dist.LogUniform(flux / 100.0, flux * 100.0),
        }
    return Posterior(scene, Joint(rolls).log_likelihood, priors)


def orientation(values):
    """Position angle and inclination."""
    return np.array([float(values[path]) for path in ORIENTATION])


def fit_rolls(title, rolls):
    """The best model, printed with the errors of its orientation."""
    posterior, began = posterior_of(rolls), time.perf_counter()
    best = fit(posterior, progress=False)
    seconds = time.perf_counter() - began
    around = laplace(posterior, best, method="fisher", held=list(best.at_edge))
    angle, inclination = orientation(best.values)
    errors = orientation(around.std)
    near = (angle - math.copysign(90.0, 90.0 - inclination)) % 360.0
    known = best.converged  # at the edge of a prior there is no error
    of_angle, of_inclination = (f" +- {error:.2f}" if known else "" for error in errors)
    print(
        f"{title}: position angle {angle:.2f}{of_angle} deg, "
        f"inclination {min(inclination, 180.0 - inclination):.2f}{of_inclination} deg, "
        f"near side towards {near:.0f} deg; {best.status.name.lower()} after "
        f"{best.evaluations} evaluations, {seconds:.0f} s"
    )
    return posterior, best


def scatter(rolls, model):
    """How far position angle and inclination are off in fits to copies of a disk (rms)."""
    truth, off = orientation({path: model.get(path) for path in ORIENTATION}), []
    for turn in (25.0, 50.0, 90.0, 130.0, 155.0):
        angle = truth[0] + turn
        turned = model.set({f"disk.{name}.position_angle": angle for name in DISKS})
        copies = {
            key: observation.with_image(
                observation.image - model.of(key).image() + turned.of(key).image()
            )
            for key, observation in rolls.items()
        }
        found = fit(posterior_of(copies, turned.disk), progress=False)
        off.append(orientation(found.values) - [angle, truth[1]])
    return np.sqrt(np.mean(np.square(off), axis=0))


cache_programs()  # the next run need not compile again
folder = args.output / "au_mic"
folder.mkdir(parents=True, exist_ok=True)
exposures = {key: read(number) for key, number in ROLLS.items()}
references = np.stack([read(number).image for number in REFERENCES])
data = {key: observe(key, exposure) for key, exposure in exposures.items()}
for key, observation in data.items():
    print(f"{key} at {exposures[key].roll:.2f} deg: {observation!r}")

posterior, best = fit_rolls("both rolls", data)
for key, observation in data.items():
    fit_rolls(f"{key} alone", {key: observation})
for title, rolls in {"both rolls": data, **{key: {key: data[key]} for key in data}}.items():
    angle, inclination = scatter(rolls, best.model)
    print(f"{title}: copies of it at other angles are off by {angle:.2f} and {inclination:.2f} deg")
subtracted = {key: subtract(key, observation) for key, observation in data.items()}
_, usual = fit_rolls("after subtraction", subtracted)

print(f"{'':34s}{'starlight free':>18s}{'subtracted':>18s}  unit")
for (name, one, unit), (_, other, _) in zip(best.summary(), usual.summary(), strict=True):
    print(f"{name:34s}{one:>18s}{other:>18s}  {unit}")
for key, observation in data.items():
    found = observation.best_starlight(best.model)
    coefficients = zip(found.names, found.coefficients, np.diag(found.covariance), strict=True)
    print(f"{key}:", ", ".join(f"{n} {c:.4g} +- {v**0.5:.2g}" for n, c, v in coefficients))

gradient = jit(lambda u: jax.value_and_grad(posterior.log_density)(u))
jax.block_until_ready(gradient(best.u))
began = time.perf_counter()
for _ in range(10):
    jax.block_until_ready(gradient(best.u))
print(f"likelihood with gradient: {100.0 * (time.perf_counter() - began):.0f} ms")

figure = grater.plot_exposures(best.model, data, limits=(-0.5, 20.0))
figure.savefig(folder / "fit.png", dpi=110)
if args.draws:
    samples = sample(
        posterior, jax.random.key(args.seed), start=best, chains=2, warmup=200, draws=args.draws
    )
    print(samples.summary())
    samples.save(folder / "samples.npz")
print(f"figure in {folder}")
