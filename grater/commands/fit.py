"""``grater fit``: from the file of an image to the posterior of a debris disk."""

import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from pytreefit import Posterior, Samples, Status, fit, sample
from pytreefit.extend import (
    Command,
    Option,
    inside,
    lookup_parameter,
    new_folder,
    number,
    prior_limits,
    priors_table,
    save_figures,
    split_fixed,
    suited,
    whole_number,
)

from ..data.correlated import CorrelatedNoise
from ..data.correlation import residual_correlation
from ..data.observation import Observation
from ..derived import derived_table
from ..dust.disk import Disk
from ..dust.phase_curves import SplinePhase
from ..plot.images import plot_fit, plot_phase_function
from ..plot.noise import plot_correlation
from ..scene import Scene
from ..starts.search import search
from ..view.view import Grid
from .reading import NOISE, READING, optics_of, read, target_of, warn_of_distances

OPTIONS = (
    *READING,
    Option("radius", number(0.0), None, "rough, of the ring, au; by default it is searched for"),
    Option("inclination", number(1.0, 179.0), None, "rough, deg; above 90 the other side is near"),
    Option("position_angle", number(), None, "rough, deg"),
    Option("knots", whole_number(2, even=True), 6, "free values of the phase function"),
    NOISE,
    Option("chains", whole_number(1), 4, "of NUTS"),
    Option("warmup", whole_number(20), 300, "transitions of NUTS before its draws"),
    Option("draws", whole_number(4), 500, "of each chain"),
    Option("acceptance", number(0.0, 1.0), 0.95, "that NUTS aims at"),
    Option("seed", whole_number(0), 0, "of the random numbers"),
    Option("output", Path, Path("output"), "folder for the results, a folder in it for each star"),
)
_ROUGH = ("semi_major_axis", "inclination", "position_angle")


def _ring(knots: int, radius: float, inclination: float, position_angle: float) -> Disk:
    inclination = min(max(inclination, 2.0), 178.0)
    return Disk(
        radius,
        inclination,
        position_angle,
        alpha_in=10.0,
        alpha_out=-5.0,
        scale_height=0.03 * radius,
        phase=SplinePhase.for_inclination(inclination, n=knots),
        phase_normalization="right_angle",
        density_normalization="column",
    )


def start(data: Observation, settings) -> tuple[Scene, dict[str, Any]]:
    """A ring where the settings or a search say, with the flux that fits best; and the priors."""
    optics = optics_of(settings.files, settings)
    rough = dict(
        zip(_ROUGH, (settings.radius, settings.inclination, settings.position_angle), strict=True)
    )
    given, fixed = split_fixed(settings.priors)
    rough |= {name: fixed[f"disk.{name}"] for name in _ROUGH if f"disk.{name}" in fixed}
    if None in rough.values():
        own = {f"disk.{name}": given.get(f"disk.{name}") for name in _ROUGH}
        found = search(data, priors={name: prior for name, prior in own.items() if prior})
        if not found.fits:
            raise ValueError("no disk was found: give --radius, --inclination, --position-angle")
        print(found.table())
        for name, value in rough.items():
            if value is None:
                rough[name] = float(found.best.model.get(f"disk.{name}"))
    disk = _ring(settings.knots, *rough.values())
    scene = data.scaled_to_data(Scene(disk, grid=data.grid, **optics))
    scene = scene.set({"disk.flux": abs(float(scene.get("disk.flux")))})
    priors = {**priors_about(scene), **given}
    priors = {name: prior for name, prior in priors.items() if prior is not None}
    fixed = {name: np.full(np.shape(scene.get(name)), value) for name, value in fixed.items()}
    return scene.set(fixed | _inside(scene, priors)), priors


def _inside(scene: Scene, priors: dict[str, Any]) -> dict[str, Any]:
    """The values that priors have, moved inside of them."""
    ends = {
        name: prior if isinstance(prior, tuple) else prior_limits(prior)
        for name, prior in priors.items()
    }
    return {name: inside(np.asarray(scene.get(name)), *own) for name, own in ends.items()}


def priors_about(scene: Scene) -> dict[str, Any]:
    """Wide priors about the start, on its side of 90 deg where that is clear."""
    names = (*_ROUGH, "flux")
    radius, inclination, angle, flux = (float(scene.get(f"disk.{name}")) for name in names)
    # the other side of 90 deg has another side near: only where the start does not say which
    lowest, highest = max(1.0, inclination - 30.0), min(179.0, inclination + 30.0)
    if inclination <= 80.0:
        highest = min(highest, 89.5)
    if inclination >= 100.0:
        lowest = max(lowest, 90.5)
    return {
        "disk.semi_major_axis": (0.6 * radius, 1.5 * radius),
        "disk.inclination": (lowest, highest),
        "disk.position_angle": (angle - 60.0, angle + 60.0),
        "disk.radial.alpha_in": dist.LogUniform(1.0, 100.0),
        "disk.radial.alpha_out": (-40.0, -1.2),
        "disk.vertical.scale_height": dist.LogUniform(0.002 * radius, 0.15 * radius),
        "disk.offset_x": dist.Normal(0.0, 0.05 * radius),
        "disk.offset_y": dist.Normal(0.0, 0.05 * radius),
        "disk.flux": dist.LogUniform(flux / 100.0, flux * 100.0),
        # smooth: neighbouring values are free, but not by orders of magnitude
        "disk.phase.values": dist.LogNormal(0.0, 1.5),
        "noise.scale": dist.LogUniform(0.1, 20.0),
    }


def _fitted(posterior: Posterior, start=None):
    """A fit; Ctrl-C ends the command, which has nothing to sample then."""
    best = fit(posterior, start=start)
    if best.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return best


def best_fit(posterior: Posterior, scene: Scene, data: Observation) -> Any:
    """The best model with independent pixels, printed with how well it fits."""
    began = time.perf_counter()
    best = _fitted(posterior)
    null = float(data.chi_square(scene.set({"disk.flux": 0.0})))
    print(
        f"best fit: chi-square {float(data.chi_square(best.model)):.0f} for {data.n_used} pixels "
        f"and {posterior.dim} parameters (reduced "
        f"{data.reduced_chi_square(best.model, posterior.dim):.3f}; no disk: {null:.0f}); "
        f"{best.evaluations} evaluations, {time.perf_counter() - began:.1f} s with compilation"
    )
    return best


def with_correlation(best, data: Observation, priors):
    """The fit again, with the correlation that the residuals have; and both correlations."""
    noise = CorrelatedNoise.of_residuals(best.model, data)
    tables = {"independent": residual_correlation(best.model, data)}
    posterior = Posterior(best.model.set({"noise": noise}), data.log_likelihood, priors)
    best = _fitted(posterior, best)
    tables["correlated"] = residual_correlation(best.model, data)
    before, after = (float(t[8, 9] + t[9, 8]) / 2.0 for t in tables.values())
    print(
        f"residuals of neighbouring pixels correlate by {before:.2f}; with noise that is "
        f"correlated over {float(noise.get('length')):.2f} pixels "
        f"({100 * float(noise.white):.0f} % of it white) by {after:.2f}"
    )
    return posterior, best, tables


def tell(samples: Samples) -> None:
    """The tables of a posterior."""
    print(samples.summary())
    print(derived_table(samples))
    worst = max(float(jnp.max(value)) for value in samples.rhat.values())
    slowest = min(float(jnp.min(value)) for value in samples.ess_per_second.values())
    print(
        f"worst R-hat {worst:.4f}; {samples.divergences} divergences; at least {slowest:.2f} "
        "effective samples per second"
    )


def check_priors(settings) -> None:
    """ValueError for priors of what the scene has not, and beyond bounds; normal ones end there."""
    scene = Scene(_ring(settings.knots, 1.0, 45.0, 0.0), grid=Grid((5, 5), 1.0, 1.0))
    for name, prior in settings.priors.items():
        settings.priors[name] = suited(prior, lookup_parameter(scene, name))


def run(settings) -> None:
    """Search, fit, sample, and write figures and draws into a folder."""
    (path,) = settings.files
    check_priors(settings)  # before minutes of work
    warn_of_distances(settings.files, settings)
    data = read(path, settings)
    optics, target = optics_of(settings.files, settings), target_of(path)
    folder = new_folder(settings.output / re.sub(r"[^\w.+-]+", "_", target).lower())
    (folder / "settings.toml").write_text(settings.config, encoding="utf-8")
    print(f"{target}: {data!r}")
    if settings.inner > 0:
        hidden = f"{settings.inner:g} pixels ({settings.inner * data.grid.pixel_scale:.2f} arcsec)"
        print(f"what is within {hidden} of the star is left out: see --inner")

    if settings.psf is None:
        width = float(optics["psf"].fwhm)
        told = f"{width:g} pixels ({width * data.grid.pixel_scale:.3g} arcsec)"
        print(f"seen through a Gaussian of {told}: see --psf, --fwhm")
    scene, priors = start(data, settings)
    posterior = Posterior(scene, data.log_likelihood, priors)
    if settings.chains * settings.draws <= posterior.dim:
        raise ValueError(f"chains times draws must be more than the {posterior.dim} parameters")
    print(priors_table(posterior))
    best = best_fit(posterior, scene, data)
    tables = {}
    if settings.noise == "correlated":
        posterior, best, tables = with_correlation(best, data, priors)
    print(best.summary())
    samples = sample(
        posterior,
        jax.random.key(settings.seed),
        start=best,
        chains=settings.chains,
        warmup=settings.warmup,
        draws=settings.draws,
        target_acceptance=settings.acceptance,
    )
    tell(samples)

    samples.save(folder / "samples.npz")
    figures = {
        "fit": plot_fit(best.model, data),
        "phase_function": plot_phase_function(samples),
    }
    if tables:
        figures["correlation"] = plot_correlation(tables)
    save_figures(samples, figures, folder, 130)
    print(f"figures and draws in {folder}")


FIT = Command(
    "fit",
    """The debris disk in an image, from a FITS file.

A file of the Gemini Planet Imager needs nothing else; its noise map is the scatter of U_phi in
annuli. Of others give the distance, and what the header does not say: pixel scale, star, error map,
point spread function. An image that is turned is not rotated: the model is rendered in its frame,
and position angles are those on the sky. What is closer to the star than --inner is left out. The
scale of the noise is fitted too, and how the noise of neighbouring pixels is correlated is measured
in the residuals of a first fit: error bars that take pixels for independent would be too small. The
ring is circular and may be offset from the star; the phase function is a smooth free curve. The fit
starts where a search finds the disk, unless you say where.""",
    run,
    OPTIONS,
    files="the FITS file of an image",
    priors='paths such as "disk.inclination"',
)
