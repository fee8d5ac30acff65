"""Where a disk is in an image, found without a start, and how many starts agree."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist

from pytreefit import Fit, Posterior, Status, Table, fit, jit
from pytreefit.extend import (
    Reporter,
    as_mapping,
    as_prior,
    as_whole_number,
    check_kind,
    lookup_parameter,
    prior_limits,
)

from ..data.likelihood import best_factor
from ..data.noise import GaussianNoise
from ..data.observation import Observation
from ..derived import peak_radius
from ..dust.density import TwoPowerLaw, VerticalExponential
from ..dust.disk import Disk
from ..dust.phase import HenyeyGreenstein
from ..dust.polarization import Polarized
from ..scene import Scene
from ..view.psf import GaussianPSF
from . import templates
from .templates import (
    APART,
    ASPECT,
    HEIGHT,
    INCLINATION,
    POSITION_ANGLE,
    RADIUS,
    Level,
    Ring,
    asymmetry_path,
    compared,
    distance,
    inside,
    known,
    levels_of,
    opposite,
)

_SLOPES, _FWHM = (10.0, -5.0), 3.0  # of the disk and the PSF that are not given
# of the rings are fitted to the image itself, if their gain is this part of the best one's
_REFINED, _GOOD = 3, 0.85
_STEPS = 100  # of each fit
_NO_DISK = 30.0  # gain in chi-square that noise may have among so many rings
_UNDECIDED = 10.0  # log posterior by which a near side is better if it is decided
# chi-square that a turn by 90 deg costs if the position angle is defined: for a round disk it is
# four times what noise gains by an ellipse
_ROUND = 40.0
_SPREAD = 0.7  # relative, of the priors of slopes and scale height
_FLUX, _SCALE = "disk.flux", "noise.scale"


class DiskSearch(NamedTuple):
    """What `search` found.

    Parameters
    ----------
    fits
        To the image itself, best first; empty where no ring of positive flux resembles the image.
    rings
        The best rings in coarse images from which these went on, best first.
    gain
        What the best fit takes off the chi-square of no disk, for errors that give a reduced
        chi-square of 1. Below 30 it may be noise.
    turned
        What a turn of the best disk by 90 deg adds to its chi-square, in the same units.
    """

    fits: tuple[Fit, ...]
    rings: tuple[Ring, ...]
    gain: float
    turned: float

    @property
    def best(self) -> Fit:
        """The fit of the highest posterior density; ValueError where there is none."""
        if not self.fits:
            raise ValueError("The search found no disk: no ring of positive flux fits the image.")
        return self.fits[0]

    @property
    def agreeing(self) -> int:
        """Number of rings that ended at that of the best fit, whichever side is near."""
        if not self.fits:
            return 0
        best = _place(self.best.model)
        (disk,) = self.rings[0].level.scene.disks
        ratio = float(peak_radius(disk) / disk.semi_major_axis)
        own = ({**r.values, RADIUS: ratio * r.values[RADIUS]} for r in self.rings)
        return sum(distance(ring, best) < APART for ring in own)

    @property
    def undecided(self) -> tuple[Fit, ...]:
        """The best fit and that of the other near side where it is about as good; else empty."""
        for other in self.fits[1:]:
            turned = opposite(_place(self.best.model), _place(other.model))
            if turned and self.best.log_density - other.log_density < _UNDECIDED:
                return self.best, other
        return ()

    @property
    def flags(self) -> tuple[str, ...]:
        """What to doubt, in words; empty if nothing."""
        if not self.fits or self.gain < _NO_DISK:
            return (f"no disk: the best ring lowers chi-square by {self.gain:.1f}",)
        flags = []
        if self.undecided:
            flags.append("near side undecided")
        if self.turned < _ROUND:
            flags.append("position angle undefined, the disk is seen face-on")
        if RADIUS in self.best.at_edge:
            flags.append("radius at the edge of its prior")
        if self.best.status not in (Status.CONVERGED, Status.AT_EDGE):
            flags.append("not converged")
        if self.agreeing < 2 <= len(self.rings):
            flags.append(f"no other of {len(self.rings)} starts agrees with the best")
        return tuple(flags)

    def table(self) -> Table:
        """Where the fits to the image ended, best first."""
        values = self.fits[0].values if self.fits else {}
        names = [name for name, value in values.items() if not jnp.shape(value)]
        rows = [
            (f"{float(f.log_density):.2f}", *(f"{float(f.values[name]):.5g}" for name in names))
            for f in self.fits
        ]
        return Table(("log posterior", *(name.rpartition(".")[2] for name in names)), rows)


def search(
    observation: Observation,
    scene: Scene | None = None,
    *,
    priors: Mapping[Any, Any] | None = None,
    number: int = 12,
    progress: bool | Callable[[str], object] = True,
) -> DiskSearch:
    """Find a disk in an image, without a start.

    Thin rings of all inclinations, position angles, radii and asymmetries are compared with coarse
    images. The best that are apart from each other, or have another side near, are moved to where
    they fit best. Fits to the image itself begin at the best few of them.

    Parameters
    ----------
    observation
        The image, with its errors. Starlight that it has is taken into account.
    scene
        One disk and how it is seen: all of the view is taken as it is, and so are those of the
        disk's parameters that are not searched for. By default a Gaussian PSF of 3 pixels and a
        disk of `HenyeyGreenstein` or `Polarized` dust, whichever is more like the image.
    priors
        As for `pytreefit.Posterior`, in addition to those of the search or in place of them. These
        are wide for radius, inclination (0 to 180 deg), position angle, flux, the scale of
        `GaussianNoise`, and the asymmetry of `HenyeyGreenstein`, from 0 to 0.95: near is the side
        that scatters more. They are Gaussian, of a relative width of 0.7 about what the scene has,
        for the outer slope of `TwoPowerLaw`, and for the logarithms of its inner slope and of the
        scale height of `VerticalExponential`, there about 0.04 of the radius that is found.
    number
        How many of the rings to move to where they fit best.
    progress
        As for `pytreefit.fit`.

    Returns
    -------
    DiskSearch
        With "no disk" in its flags where there is none.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, several disks, channels or views, point sources, and priors
        that leave no radius to search for.
    KeyboardInterrupt
        Where it is interrupted.
    """
    check_kind("observation", observation, Observation)
    number = as_whole_number("number", number, 1)
    own, tell = as_mapping("priors", priors), Reporter(progress)
    seen = _one_view(observation, default_scene(observation) if scene is None else scene)
    return _searched(*seen, own, number, scene is not None, tell)


def _searched(
    observation: Observation, scene: Scene, own, number: int, given: bool, tell: Reporter
) -> DiskSearch:
    names = (RADIUS, INCLINATION, POSITION_ANGLE)
    limits = {name: _limits(scene, own, name) for name in names if name in own}
    levels = levels_of(observation, scene, limits.get(RADIUS, (0.0, math.inf)))
    if not levels:
        raise ValueError(f"priors[{RADIUS!r}] = {own.get(RADIUS)}: no radius that the image shows.")
    (disk,) = scene.disks
    phases = [disk.phase, *([] if given else [Polarized(disk.phase)])]
    tell(f"search: {len(levels) * len(phases) * templates.TEMPLATES} rings")
    phase, rings = max(
        ((phase, compared(levels, phase, limits, number)) for phase in phases),
        key=lambda found: max((ring.gain for ring in found[1]), default=0.0),
    )
    scene = Scene(disk.set({"phase": phase}), view=scene.view)
    starts = [_started(observation, scene, values, own) for values in _to_refine(rings, limits)]
    fits = _fitted(observation, [start for start in starts if start is not None], levels, own, tell)
    gains = _gains(observation, fits[0].model) if fits else (0.0, 0.0)
    found = DiskSearch(tuple(fits), tuple(rings), *gains)
    agree = f"{found.agreeing} of {len(rings)} starts agree" if fits else ""
    tell(f"search: {'; '.join(filter(None, (*found.flags, agree)))}", final=True)
    return found


def default_scene(observation: Observation) -> Scene:
    """A ring of a quarter of the image, whose size the search replaces, under a Gaussian PSF."""
    radius = 0.25 * min(observation.shape) * float(observation.grid.pixel_size)
    disk = Disk(
        radius,
        60.0,
        0.0,
        radial=TwoPowerLaw(*_SLOPES),
        vertical=VerticalExponential(ASPECT * radius),
        phase=HenyeyGreenstein(0.3),
        density_normalization="column",
    )
    return Scene(disk, grid=observation.grid, psf=GaussianPSF(_FWHM))


def _one_view(observation: Observation, scene: Scene) -> tuple[Observation, Scene]:
    """The observation and the scene in its only view, of one disk at the path ``disk``."""
    check_kind("scene", scene, Scene)
    seen = observation.seen(scene)
    if not isinstance(seen.disk, Disk):
        raise ValueError(f"scene has {len(seen.disks)} disks in a container: search for one Disk.")
    if len(seen.channels) > 1:
        raise ValueError(f"scene has the channels {', '.join(seen.channels)}: search in one view.")
    if seen.sources:
        raise ValueError(
            "scene has point sources, which the search does not know: leave source= out, and mask "
            "their pixels. A fit from what is found can have them."
        )
    if seen.grid.shape != observation.shape:
        raise ValueError(
            f"scene has a grid of {seen.grid.shape} pixels, the observation of "
            f"{observation.shape}: build the scene with grid=observation.grid."
        )
    return observation.set({"view": None}), seen


def _started(observation: Observation, scene: Scene, values, own) -> Scene | None:
    """The scene with a ring's values and the best flux; None where that is negative."""
    values = {**values, _FLUX: 1.0}
    for name in values:
        if name in own:
            values[name] = _moved(values[name], *_limits(scene, own, name))
    scene = scene.set(values)
    factor = float(_best_flux(observation, scene))
    return scene.set({_FLUX: factor}) if factor > 0.0 else None


def _limits(scene: Scene, own, name: str) -> tuple[float, float]:
    """Ends of a prior that the user gave."""
    return prior_limits(as_prior(own[name], [lookup_parameter(scene, name)]))


def _moved(value: float, low: float, high: float) -> float:
    """The value, or one inside of the limits."""
    if low < value < high or not math.isfinite(low + high):
        return value
    return 0.5 * (low + high)


@jit
def _best_flux(observation: Observation, scene: Scene):
    ((noise, *parts),) = observation._parts(scene)
    return best_factor(noise, *parts)


def _as_stated(found: Scene, start: Scene, observation: Observation) -> Scene:
    """What was found with the profile of the start, which priors are about, and not the data's."""
    (disk,), values = start.disks, {}
    if isinstance(disk.radial, TwoPowerLaw):
        values = {
            f"disk.radial.{name}": disk.radial.get(name) for name in ("alpha_in", "alpha_out")
        }
    if isinstance(disk.vertical, VerticalExponential):
        height = ASPECT * float(found.get(RADIUS))
        values[HEIGHT] = math.hypot(height, 0.5 * float(observation.grid.pixel_size))
    return found.set(values)


def _priors(scene: Scene, levels: list[Level], own) -> dict[Any, Any]:
    """Wide priors of what is searched for, and those of the user."""
    (disk,), flux = scene.disks, float(scene.get(_FLUX))
    low, high = (f(level.radii[k] for level in levels) for k, f in enumerate((min, max)))
    free = {
        RADIUS: dist.LogUniform(0.5 * low, 2.0 * high),
        INCLINATION: (0.0, 180.0),
        POSITION_ANGLE: (-180.0, 360.0),
        _FLUX: dist.LogUniform(1e-4 * flux, 1e4 * flux),
    }
    # what faint disks do not show is about as it is in the scene
    if isinstance(disk.radial, TwoPowerLaw):
        inner, outer = float(disk.radial.alpha_in), float(disk.radial.alpha_out)
        free["disk.radial.alpha_in"] = dist.LogNormal(math.log(inner), _SPREAD)
        free["disk.radial.alpha_out"] = dist.TruncatedNormal(outer, -_SPREAD * outer, high=0.0)
    if isinstance(disk.vertical, VerticalExponential):
        height = float(disk.vertical.scale_height)
        free[HEIGHT] = dist.LogNormal(math.log(height), _SPREAD)
    if (path := asymmetry_path(disk.phase)) is not None:
        free[path] = (0.0, 0.95)
    if isinstance(scene.noise, GaussianNoise):
        free[_SCALE] = dist.LogUniform(0.02, 50.0)
    named = {path for key in own for path in ([key] if isinstance(key, str) else key)}
    kept = {path: prior for path, prior in free.items() if path in own or path not in named}
    return {**kept, **own}


def _fitted(observation: Observation, starts: list[Scene], levels, own, tell) -> list[Fit]:
    """A fit to the image from each start, best first."""
    fits: list[Fit] = []
    for start in starts:
        tell(f"search: fit {len(fits) + 1} of {len(starts)}")
        posterior = Posterior(start, observation.log_likelihood, _priors(starts[0], levels, own))
        fits.append(fit(posterior, steps=_STEPS, polish=False, progress=False))
        if fits[-1].status is Status.INTERRUPTED:
            raise KeyboardInterrupt
    return sorted(fits, key=lambda found: -float(found.log_density))


def _gains(observation: Observation, best: Scene) -> tuple[float, float]:
    """What the best takes off chi-square, and what a turn by 90 deg adds, in units of the noise."""
    turned = best.set({POSITION_ANGLE: best.get(POSITION_ANGLE) + 90.0})
    nothing = best.set({_FLUX: 0.0})
    least, worse, none = (float(_chi_square(observation, s)) for s in (best, turned, nothing))
    noise = least / observation.n_used
    return (none - least) / noise, (worse - least) / noise


@jit
def _chi_square(observation: Observation, scene: Scene):
    return observation.chi_square(scene)


def _to_refine(rings: list[Ring], limits) -> list[dict[str, float]]:
    """Values of the best rings that differ in place or near side, if they are about as good."""
    kept: list[Ring] = []
    for ring in rings:
        good = ring.gain > _GOOD * rings[0].gain - _NO_DISK
        if good and not known(ring, kept) and len(kept) < _REFINED:
            kept.append(ring)
    usual = {INCLINATION: (0.0, 180.0), POSITION_ANGLE: (-1e-3, 180.0), **limits}
    return [place for ring in kept if (place := inside(ring.values, usual)) is not None]


def _place(scene: Scene) -> dict[str, float]:
    """The ring of the highest surface density."""
    (disk,) = scene.disks
    angles = {name: float(scene.get(name)) for name in (INCLINATION, POSITION_ANGLE)}
    return {RADIUS: float(peak_radius(disk)), **angles}
