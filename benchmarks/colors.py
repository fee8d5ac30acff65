"""Colours of a disk from several bands: are their errors and their covariance right?

``python benchmarks/colors.py`` fits simulated images of one ring in three bands, each with a point
spread function, a phase function, pixels and noise of its own: all bands together, with one
geometry, and each band by itself. The colours of the joint fit should scatter over the simulations
as their stated covariance says; those of separate fits show what sharing the geometry is worth.
"""

import argparse

import common
import jax
import numpy as np
import numpyro.distributions as dist
from correlated import ring

import grater
from pytreefit import Joint, Posterior, fit, laplace

jax.config.update("jax_enable_x64", True)
# of each band: g, brightness, full width of the PSF in pixels, scale of the pixels, noise
BANDS = {
    "H": (0.1, 1.0, 2.0, 1.0, 0.10),
    "K": (0.3, 0.7, 2.8, 1.0, 0.10),
    "L": (0.6, 0.4, 3.5, 1.3, 0.15),
}
REFERENCE, *OTHERS = BANDS
BRIGHTNESS = [f"disk.phase.bands.{name}.brightness" for name in OTHERS]
GEOMETRY = {
    "disk.semi_major_axis": (6.0, 18.0),
    "disk.inclination": (20.0, 85.0),
    "disk.position_angle": (-30.0, 90.0),
    "disk.offset_x": (-5.0, 5.0),
    "disk.offset_y": (-5.0, 5.0),
}
POSITIVE, G = dist.LogUniform(1e-6, 1e3), (-0.8, 0.9)
MAGNITUDES = -2.5 / np.log(10.0)  # of a natural logarithm


def seen(name):
    """Pixels and point spread function of one band."""
    _, _, fwhm, scale, _ = BANDS[name]
    size = round(20 / scale) * 2 + 1
    grid = grater.Grid((size, size), pixel_scale=scale, distance=1.0)
    return {"grid": grid, "psf": grater.GaussianPSF(fwhm)}


def alone(name, flux):
    """One band by itself."""
    g, brightness, *_ = BANDS[name]
    return grater.Scene(ring(grater.HenyeyGreenstein(g), flux * brightness), **seen(name))


def together(flux):
    """All bands of one disk."""
    bands = {
        name: grater.Band(grater.HenyeyGreenstein(g), brightness)
        for name, (g, brightness, *_) in BANDS.items()
    }
    views = {name: grater.View(**seen(name), curve=name) for name in BANDS}
    return grater.Scene(ring(grater.Bands(bands), flux), view=views)


def of_view(data, name):
    """The same image, as seen by one view of a scene."""
    grid = seen(name)["grid"]
    where = {"pixel_scale": grid.pixel_scale, "distance": grid.distance}
    return grater.Observation(data.image, data.error, view=name, **where)


def best(posterior):
    """Best values by component, and their covariance in the same order."""
    found = laplace(posterior, fit(posterior, progress=False), method="fisher")
    values = np.concatenate([np.ravel(found.values[name]) for name in found.names])
    return dict(zip(found.components, values, strict=True)), np.asarray(found.covariance)


def joint_colors(scene, data):
    """Colours of the fit of all bands, and their stated covariance."""
    priors = GEOMETRY | dict.fromkeys(["disk.flux", *BRIGHTNESS], POSITIVE)
    priors |= {f"disk.phase.bands.{name}.g": G for name in BANDS}
    observations = {name: of_view(one, name) for name, one in data.items()}
    likelihood = Joint(observations).log_likelihood
    values, covariance = best(Posterior(scene, likelihood, priors))
    at = [list(values).index(path) for path in BRIGHTNESS]
    factors = np.array([values[path] for path in BRIGHTNESS])
    slopes = MAGNITUDES / factors
    return MAGNITUDES * np.log(factors), covariance[np.ix_(at, at)] * np.outer(slopes, slopes)


def separate_colors(scenes, data):
    """The same from fits of each band by itself, which share no noise."""
    magnitude, variance = {}, {}
    for name, one in data.items():
        priors = GEOMETRY | {"disk.flux": POSITIVE, "disk.phase.g": G}
        values, covariance = best(Posterior(scenes[name], one.log_likelihood, priors))
        at, flux = list(values).index("disk.flux"), values["disk.flux"]
        magnitude[name] = MAGNITUDES * np.log(flux)
        variance[name] = covariance[at, at] * (MAGNITUDES / flux) ** 2
    colors = np.array([magnitude[name] - magnitude[REFERENCE] for name in OTHERS])
    own = np.diag([variance[name] for name in OTHERS])
    return colors, own + variance[REFERENCE]


def summary(kind, colors, stated, truth):
    """How far the colours are off, in their stated errors, and whether the covariance is right."""
    off = colors - truth
    mean = np.mean(stated, axis=0)
    width = np.sqrt(np.diagonal(stated, axis1=1, axis2=2))
    distance = np.einsum("ni,nij,nj->n", off, np.linalg.inv(stated), off)
    observed = np.cov(colors, rowvar=False)
    return {
        "fit": kind,
        "simulations": len(colors),
        "colours": [f"{name} - {REFERENCE}" for name in OTHERS],
        "mean offset, sigma": np.round(np.mean(off / width, axis=0), 3).tolist(),
        "within 1 sigma": np.round(np.mean(np.abs(off) < width, axis=0), 3).tolist(),
        "stated, mag": np.round(np.sqrt(np.diag(mean)), 5).tolist(),
        "observed, mag": np.round(np.sqrt(np.diag(observed)), 5).tolist(),
        "stated correlation": round(float(mean[0, 1] / np.sqrt(mean[0, 0] * mean[1, 1])), 3),
        "observed correlation": round(float(np.corrcoef(colors, rowvar=False)[0, 1]), 3),
        # of a chi-square with as many degrees of freedom as there are colours
        "mean squared distance": round(float(np.mean(distance)), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--simulations", type=int, default=200)
    args = parser.parse_args()
    peaks = {name: float(np.max(alone(name, 1.0).image())) for name in BANDS}
    flux = 1.0 / peaks[REFERENCE]
    scene, scenes = together(flux), {name: alone(name, flux) for name in BANDS}
    errors = {name: BANDS[name][-1] * peaks[name] * flux for name in BANDS}
    kinds = {"joint": [], "separate": []}
    for key in range(args.simulations):
        keys = dict(zip(BANDS, jax.random.split(jax.random.key(key), len(BANDS)), strict=True))
        data = {
            name: grater.Observation.simulate(scenes[name], errors[name], keys[name])
            for name in BANDS
        }
        kinds["joint"].append(joint_colors(scene, data))
        kinds["separate"].append(separate_colors(scenes, data))
    truth = MAGNITUDES * np.log([BANDS[name][1] / BANDS[REFERENCE][1] for name in OTHERS])
    rows = []
    for kind, found in kinds.items():
        colors, stated = (np.stack(part) for part in zip(*found, strict=True))
        rows.append(summary(kind, colors, stated, truth))
        print(rows[-1])
    common.record("colors", rows)


if __name__ == "__main__":
    main()
