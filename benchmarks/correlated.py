"""Error bars of disks under noise of correlated pixels: do they cover, and what do they cost?

``python benchmarks/correlated.py`` fits simulated images whose noise is correlated, once as if
their pixels were independent and once with their correlation free; the share of true values within
one standard deviation should be 68 %. With a folder it also fits the disks of the Gemini Planet
Imager in it, all pixels and two halves of them (the fields of a chess board). The halves of right
error bars differ by about one standard deviation of their difference.
"""

import argparse
import pathlib
import time

import common
import jax
import numpy as np
import numpyro.distributions as dist

import grater
from pytreefit import Posterior, fit, laplace

jax.config.update("jax_enable_x64", True)
LENGTH, WHITE, ERROR = 1.5, 0.1, 0.15
COMPARED = (
    "disk.semi_major_axis",
    "disk.inclination",
    "disk.position_angle",
    "disk.offset_x",
    "disk.offset_y",
)
FREE = {"noise.length": dist.LogUniform(0.3, 10.0), "noise.white": (0.0, 1.0)}
GPI = {
    "hr4796a": (71.9, 77.7, 76.5, 26.5),
    "hd117214": (107.6, 51.6, 74.0, 179.6),
    "hd145560": (120.4, 83.6, 42.7, 39.4),
    "hd157587": (100.5, 86.8, 69.1, 127.6),
}
FIELD = 12  # pixels along a field of the chess board


def noises():
    """Both noise models, with the priors of what is free in them."""
    scale = {"noise.scale": dist.LogUniform(0.1, 20.0)}
    correlated = grater.CorrelatedNoise(grater.MaternCorrelation(LENGTH), 0.3)
    return {"white": (grater.GaussianNoise(), scale), "correlated": (correlated, scale | FREE)}


def measured(scene, data, priors):
    """Best values and their standard deviations, under one noise model."""
    posterior = Posterior(scene, data.log_likelihood, priors)
    best = fit(posterior, progress=False)
    edge = getattr(best, "at_edge", ())
    found = laplace(posterior, best, method="fisher", held=edge)
    values = {name: float(np.asarray(found.values[name]).ravel()[0]) for name in found.names}
    widths = {name: float(np.asarray(found.std[name]).ravel()[0]) for name in found.names}
    return best, values, widths


def ring(phase, flux=1.0):
    """A small ring, of 12 pixels where these are of 1 au."""
    return grater.Disk(
        12.0,
        55.0,
        30.0,
        alpha_in=8.0,
        alpha_out=-6.0,
        scale_height=0.5,
        flux=flux,
        phase=phase,
        phase_normalization="right_angle",
        density_normalization="column",
    )


def coverage(images):
    """Shares of true values within one standard deviation of the best, for both noise models."""
    disk = ring(grater.HenyeyGreenstein(0.3))
    grid = grater.Grid((41, 41), pixel_scale=1.0, distance=1.0)
    truth = grater.CorrelatedNoise(grater.MaternCorrelation(LENGTH), WHITE)
    scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(3.0), noise=truth)
    bright = float(np.max(scene.image()))
    scene = scene.set({"disk.flux": 1.0 / bright})
    priors = {
        "disk.semi_major_axis": (6.0, 18.0),
        "disk.inclination": (20.0, 85.0),
        "disk.position_angle": (-30.0, 90.0),
        "disk.offset_x": (-5.0, 5.0),
        "disk.offset_y": (-5.0, 5.0),
        "disk.flux": dist.LogUniform(1e-3 / bright, 1e3 / bright),
        "disk.phase.g": (-0.8, 0.9),
    }
    within = {name: [] for name in noises()}
    for key in range(images):
        data = grater.Observation.simulate(scene, ERROR, jax.random.key(key)).mask_radius(4.0, 20.0)
        for name, (noise, more) in noises().items():
            _, values, widths = measured(scene.set({"noise": noise}), data, priors | more)
            off = [(values[path] - float(scene.get(path))) / widths[path] for path in priors]
            within[name].append(off)
    rows = []
    for name, off in within.items():
        shares = np.mean(np.abs(off) < 1.0, axis=0)
        row = {"noise": name, "images": images, "all": round(float(np.mean(shares)), 3)}
        named = zip(priors, shares, strict=True)
        row |= {path.rpartition(".")[2]: round(float(share), 2) for path, share in named}
        print(row, flush=True)
        rows.append(row)
    return rows


def board(shape, odd):
    """Every second field of a chess board."""
    y, x = np.indices(shape) // FIELD
    return (x + y) % 2 == odd


def disk_of(folder, name):
    """Data of one disk of the Gemini Planet Imager, where its fit starts, and the priors."""
    distance, radius, inclination, angle = GPI[name]
    data = grater.Observation.from_gpi(folder / f"{name}_H_pol.fits.gz", distance, crop=141)
    disk = grater.Disk(
        radius,
        inclination,
        angle,
        alpha_in=10.0,
        alpha_out=-5.0,
        scale_height=0.03 * radius,
        phase=grater.SplinePhase.for_inclination(inclination, n=6),
        phase_normalization="right_angle",
        density_normalization="column",
    )
    scene = grater.Scene(disk, grid=data.grid, psf=grater.GaussianPSF(3.8))
    scene = data.scaled_to_data(scene)
    flux = float(scene.get("disk.flux"))
    priors = {
        "disk.semi_major_axis": (0.6 * radius, 1.5 * radius),
        "disk.inclination": (inclination - 30.0, min(inclination + 30.0, 89.5)),
        "disk.position_angle": (angle - 60.0, angle + 60.0),
        "disk.radial.alpha_in": dist.LogUniform(1.0, 100.0),
        "disk.radial.alpha_out": (-40.0, -1.2),
        "disk.vertical.scale_height": dist.LogUniform(0.002 * radius, 0.15 * radius),
        "disk.offset_x": dist.Normal(0.0, 0.05 * radius),
        "disk.offset_y": dist.Normal(0.0, 0.05 * radius),
        "disk.flux": dist.LogUniform(flux / 100.0, flux * 100.0),
        "disk.phase.values": dist.LogNormal(0.0, 1.5),
    }
    return data, scene, priors


def real(folder, name):
    """One disk of the Gemini Planet Imager: widths, and how much halves of the pixels differ."""
    data, start, priors = disk_of(folder, name)
    rows = []
    for kind, (noise, more) in noises().items():
        began = time.perf_counter()
        with_noise = start.set({"noise": noise})
        best, values, widths = measured(with_noise, data, priors | more)
        start = best.model
        halves = [
            measured(start, data.with_mask(board(data.shape, odd)), priors | more)[1:]
            for odd in (0, 1)
        ]
        (one, width_one), (other, width_other) = halves
        left = np.asarray(grater.pixel_correlation(residual_image(best.model, data), reach=1))
        row = {
            "name": name,
            "noise": kind,
            "pixels": data.n_used,
            "log density": round(float(best.log_density), 2),
            "neighbours correlate": round(float(left[1, 2] + left[2, 1]) / 2.0, 3),
            "s": round(time.perf_counter() - began, 1),
            **{f"{p.rpartition('.')[2]}, width": round(widths[p], 4) for p in COMPARED},
        }
        for path in COMPARED:
            width = np.hypot(width_one[path], width_other[path])
            row[f"{path.rpartition('.')[2]}, halves"] = round(
                float((one[path] - other[path]) / width), 2
            )
        row |= {p: round(values[p], 3) for p in ("noise.scale", *FREE) if p in values}
        print(row, flush=True)
        rows.append(row)
    return rows


def residual_image(scene, data):
    """What is left of an image in units of its noise, white where the noise model is right."""
    return np.asarray(data.residuals(scene))[: data.image.size].reshape(data.shape)


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="of the GPI files")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--disks", nargs="+", choices=GPI, default=list(GPI))
    args = parser.parse_args()
    covered, rows = coverage(args.images), []
    common.record("correlated", rows, coverage=covered)
    for name in args.disks if args.folder else ():
        rows += real(args.folder, name)
        common.record("correlated", rows, coverage=covered)


if __name__ == "__main__":
    main()
