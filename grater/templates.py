r"""Thin rings of all kinds compared with coarse images, to find where a disk may be.

The flux of each ring is solved for, so that it has a gain

.. math:: G = \chi^2(0) - \min_F \chi^2(F) = \frac{(m^T d)^2}{m^T m}, \qquad F > 0

with the data :math:`d` and the ring's image :math:`m` in units of the errors and without starlight.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import qmc

from pytreefit import jit
from pytreefit.extend import in_threads, rebuild

from ._arrays import mean_of_blocks, square_about
from .density import VerticalExponential
from .disk import Disk
from .noise import GaussianNoise
from .observation import Observation
from .optics import Channel
from .phase import AbstractPhaseFunction, HenyeyGreenstein, Polarized
from .psf import AbstractPSF, GaussianPSF
from .scene import Scene
from .starlight import StarlitNoise
from .view import View

TEMPLATES = 4096  # rings for each coarse image
ASPECT = 0.04  # height over radius of the rings
APART = 0.15  # rings that differ less, in units of the radius, are one
RADIUS, INCLINATION, POSITION_ANGLE, HEIGHT = (
    f"disk.{name}"
    for name in ("semi_major_axis", "inclination", "position_angle", "vertical.scale_height")
)
_SIDE = 48  # most pixels of a coarse image along a side
_CHUNK = 512  # rings that are compared at once
_SMALLEST = 6.0  # radius in coarse pixels, below which a finer image is searched
_SEEN = 0.05  # of a ring's light, that has to be in the pixels in use
_LEFT = 1.0 / 3.0  # of the pixels in use, that have to be in whole blocks
_PIXEL = math.sqrt(8.0 * math.log(2.0) / 12.0)  # FWHM of the Gaussian as wide as a pixel
_ASYMMETRIES = (-0.7, -0.45, -0.2, 0.2, 0.45, 0.7)  # below 0 for the other near side


class Level(NamedTuple):
    """A coarse image, the scene as it is seen there, and the radii to search for, au."""

    observation: Observation
    scene: Scene
    radii: tuple[float, float]


class Ring(NamedTuple):
    """A ring: its values by path, where it was found, its gain, its kind of light and asymmetry.

    The asymmetry is that towards its own near side, nan where the phase function is the disk's.
    """

    values: dict[str, float]
    level: Level
    gain: float
    kind: str
    asymmetry: float


def levels_of(observation: Observation, scene: Scene, limits) -> list[Level]:
    """Coarse images of the whole, and finer ones of its middle, each for radii of its own."""
    size = float(observation.grid.pixel_size)
    used = np.asarray(observation.used)
    farthest = float(np.max(np.asarray(observation.radius)[used]))
    n = max(1, math.ceil(max(observation.shape) / _SIDE))
    while n > 1 and _whole_blocks(observation, n) < _LEFT:
        n -= 1
    found, largest, side = [], farthest, None
    while True:
        smallest = 2.0 if n == 1 else _SMALLEST * n
        low, high = max(smallest * size, limits[0]), min(largest * size, limits[1])
        if low < high:
            found.append(_level(observation, scene, n, side, (low, high)))
        if n == 1:
            break
        largest, n = smallest, max(1, n // 3)
        side = min(n * _SIDE // 2 * 2 + 1, observation.largest_crop)
        if side < 2 * n or not _has_pixels(observation, n, side):
            break
    return found


def _has_pixels(observation: Observation, n: int, side: int) -> bool:
    window = square_about(observation.shape, observation.center, side)
    inside = jnp.where(observation.used[window], 1.0, 0.0)
    return bool(jnp.any(mean_of_blocks(inside, n) == 1.0))


def _whole_blocks(observation: Observation, n: int) -> float:
    """Fraction of the pixels in use that is left in blocks of n x n."""
    whole = mean_of_blocks(jnp.where(observation.used, 1.0, 0.0), n) == 1.0
    return float(jnp.sum(whole)) * n**2 / observation.n_used


def _level(observation, scene: Scene, n: int, side: int | None, radii) -> Level:
    """Blocks of n x n pixels of a square, the PSF as wide as it is with the blocks."""
    if n == 1 and side in (None, *observation.shape):
        return Level(observation, scene, radii)
    window = (slice(None), slice(None))
    if side is not None:
        window = square_about(observation.shape, observation.center, side)
        observation = observation.crop(side)
    observation, view = observation.bin(n), scene.view
    assert isinstance(view, View)
    (channel,) = view.channels.values()
    maps = {
        name: None if value is None else mean_of_blocks(value[window], n)
        for name, value in (
            ("transmission", channel.transmission),
            ("throughput", channel.throughput),
        )
    }
    psf = channel.psf if n == 1 else GaussianPSF(math.hypot(_width(channel.psf) / n, _PIXEL))
    changed = {
        "channel": Channel(psf, noise=channel.noise, curve=channel.curve, **maps),
        "grid": observation.grid,
        "margin": None,
        "inner_radius": view.inner_radius / n,
        "oversample": 1,
        "accuracy": max(view.accuracy, 1e-3),
    }
    return Level(observation, Scene(scene.disk, view=rebuild(view, changed)), radii)


def _width(psf: AbstractPSF | None) -> float:
    """Diameter of the circle of as many pixels as are above half of the peak."""
    if psf is None:
        return 0.0
    kernel = psf.kernel()
    return 2.0 * math.sqrt(float(jnp.sum(kernel > 0.5 * jnp.max(kernel))) / math.pi)


class _Candidates(AbstractPhaseFunction):
    """Curves to compare, by names such as "total 0.2"; "own" is the phase function itself."""

    own: AbstractPhaseFunction
    curve: str | None = eqx.field(static=True)

    def __call__(self, cos_scatter):
        return self.own(cos_scatter)

    def curves(self, names):
        return _Several(self.own.curves((self.curve,)), tuple(names))


class _Several(eqx.Module):
    own: Callable[[Float[Array, "..."]], tuple]
    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, cos_scatter):
        return tuple(self._curve(*name.split(), cos_scatter) for name in self.names)

    def _curve(self, kind, sign, cos_scatter):
        if kind == "own":
            return self.own(float(sign) * cos_scatter)[0]
        light = HenyeyGreenstein(float(sign))(cos_scatter)
        squared = cos_scatter**2
        return light * (1.0 - squared) / (1.0 + squared) if kind == "polarized" else light


def _curves(disk: Disk, given: bool, curve: str | None) -> list[str]:
    """Names of the curves to compare; total and polarised intensity where no disk is given."""
    if given and asymmetry_path(disk.phase) is None:
        return ["own 1", "own -1"]
    if not given:
        kinds = ["total", "polarized"]
    elif isinstance(disk.phase, Polarized) and curve != "total":
        kinds = ["polarized"]
    else:
        kinds = ["total"]
    return [f"{kind} {g}" for kind in kinds for g in _ASYMMETRIES]


def asymmetry_path(phase: AbstractPhaseFunction) -> str | None:
    """Path of the asymmetry in a phase function, if it has one."""
    if isinstance(phase, HenyeyGreenstein):
        return "disk.phase.g"
    inner = isinstance(phase, Polarized) and isinstance(phase.phase, HenyeyGreenstein)
    return "disk.phase.phase.g" if inner else None


def compared(level: Level, given: bool, limits) -> list[Ring]:
    """All rings of a positive flux, for each near side."""
    observation, scene, radii = level
    points = qmc.Sobol(3, scramble=False).random(TEMPLATES)
    radius = radii[0] * (radii[1] / radii[0]) ** points[:, 0]
    inclination = np.rad2deg(np.arccos(points[:, 1]))
    values = {RADIUS: radius, INCLINATION: inclination, POSITION_ANGLE: 180.0 * points[:, 2]}
    size = float(observation.grid.pixel_size)
    if isinstance(scene.disk.vertical, VerticalExponential):
        values[HEIGHT] = np.hypot(ASPECT * radius, 0.5 * size)
    view = scene.view
    assert isinstance(view, View)
    (channel,) = view.channels.values()
    names = _curves(scene.disk, given, channel.curve)
    phase = _Candidates(scene.disk.phase, channel.curve)
    channels = {name: rebuild(channel, {"curve": name}) for name in names}
    view = rebuild(view, {"channel": channels, "nodes_on": "surfaces", "accuracy": 1e-2})
    templates = Scene(scene.disk.set({"phase": phase}), view=view)

    def chunk(first):
        rows = {name: jnp.asarray(v[first : first + _CHUNK], float) for name, v in values.items()}
        return _gains(templates, observation, rows)

    found = np.concatenate(in_threads(chunk, range(0, TEMPLATES, _CHUNK)))
    mirrored = np.array([float(name.split()[1]) < 0.0 for name in names])
    rings = []
    for k, side in ((k, side) for k in range(TEMPLATES) for side in (False, True)):
        best = int(np.argmax(np.where(mirrored == side, found[k], -np.inf)))
        ring = {name: float(v[k]) for name, v in values.items()}
        ring |= {INCLINATION: 180.0 - ring[INCLINATION]} if side else {}
        place = inside(ring, limits) if found[k, best] > 0.0 else None
        if place is not None:
            kind, asymmetry = names[best].split()
            g = math.nan if kind == "own" else abs(float(asymmetry))
            rings.append(Ring(place, level, float(found[k, best]), kind, g))
    return rings


@jit
def _gains(templates: Scene, observation: Observation, values) -> Float[Array, "n curves"]:
    """Gain in chi-square of each ring and curve; 0 where its best flux is negative."""
    nothing = jnp.zeros_like(observation.image)
    image, nothing, error, used = observation.compared(nothing)
    relative = error / jnp.min(jnp.where(used, error, jnp.inf))
    project = lambda light: light  # noqa: E731
    if observation.starlight is not None:
        columns = observation.starlight.columns(observation.shape, observation.center)
        project = StarlitNoise(GaussianNoise(), columns, observation.starlight.widths()).projection(
            nothing, error, used
        )
    data = project(jnp.ravel(image / error))

    def gains(row):
        found = []
        for light in templates.set(row).images().values():
            shown = light / jnp.max(jnp.abs(light))
            model = project(jnp.ravel(jnp.where(used, shown / relative, 0.0)))
            product, square = jnp.sum(model * data), jnp.sum(model * model)
            seen = jnp.sum(jnp.where(used, shown, 0.0)) > _SEEN * jnp.sum(shown)
            found.append(jnp.where(seen & (product > 0), product * (product / square), 0.0))
        return jnp.stack(found)

    return jax.lax.map(gains, values)


def inside(ring: dict[str, float], limits) -> dict[str, float] | None:
    """The same ring with angles inside of the priors' limits; None where there are none such."""
    turned = {INCLINATION: 180.0 - ring[INCLINATION], POSITION_ANGLE: ring[POSITION_ANGLE] + 180.0}
    for same in (ring, {**ring, **turned}):
        for turn in (0.0, -360.0, 360.0):
            moved = {**same, POSITION_ANGLE: same[POSITION_ANGLE] + turn}
            if all(low < moved[name] < high for name, (low, high) in limits.items()):
                return moved
    return None


def _projected(values) -> np.ndarray:
    """A ring on the sky as a matrix: its axes, without a direction where it is round."""
    angle = math.radians(float(values[POSITION_ANGLE]))
    along, across = (-math.sin(angle), math.cos(angle)), (math.cos(angle), math.sin(angle))
    ratio = abs(math.cos(math.radians(float(values[INCLINATION]))))
    return float(values[RADIUS]) * (np.outer(along, along) + ratio * np.outer(across, across))


def distance(one, other) -> float:
    """How much two rings on the sky differ, in units of the larger radius."""
    matrix = _projected(one) - _projected(other)
    return float(np.linalg.norm(matrix)) / max(float(one[RADIUS]), float(other[RADIUS]))


def near_side_of(values) -> np.ndarray:
    """Direction of the near side on the sky, as long as the disk is tilted from edge-on."""
    angle, tilt = (math.radians(float(values[name])) for name in (POSITION_ANGLE, INCLINATION))
    side = 1.0 if math.cos(tilt) >= 0.0 else -1.0
    return side * np.array([math.cos(angle), math.sin(angle)])


def apart(rings: list[Ring], number: int) -> list[Ring]:
    """The best rings that are not near to a better one on the sky."""
    kept: list[Ring] = []
    for ring in rings:
        if all(distance(ring.values, other.values) > APART for other in kept):
            kept.append(ring)
        if len(kept) == number:
            break
    return kept
