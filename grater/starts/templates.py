r"""Thin rings of all kinds compared with coarse images, to find where a disk may be.

The flux of each ring is solved for, so that it has a gain

.. math:: G = \chi^2(0) - \min_F \chi^2(F) = \frac{(m^T d)^2}{m^T m}, \qquad F > 0

with the data :math:`d` and the ring's image :math:`m` in units of the errors and without starlight.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import qmc

from pytreefit import jit
from pytreefit.extend import in_threads, rebuild

from .._arrays import mean_of_blocks, square_about
from ..data.noise import GaussianNoise
from ..data.observation import Observation
from ..data.starlight import StarlitNoise
from ..dust.density import VerticalExponential
from ..dust.phase import AbstractPhaseFunction, HenyeyGreenstein
from ..dust.polarization import Polarized
from ..scene import Scene
from ..view.optics import Channel
from ..view.psf import AbstractPSF, GaussianPSF
from ..view.view import View

TEMPLATES = 4096  # rings for each coarse image
ASPECT = 0.04  # height over radius of the rings
APART = 0.15  # rings that differ less, in units of the radius, are one
RADIUS, INCLINATION, POSITION_ANGLE, HEIGHT = (
    f"disk.{name}"
    for name in ("semi_major_axis", "inclination", "position_angle", "vertical.scale_height")
)
_SIDE = 48  # most pixels of a coarse image along a side
_CHUNK = 256  # rings that are compared at once
_SMALLEST = 6.0  # radius in coarse pixels, below which a finer image is searched
_SEEN = 0.05  # of a ring's light, that has to be in the pixels in use
_LEFT = 1.0 / 3.0  # of the pixels in use, that have to be in whole blocks
_PIXEL = math.sqrt(8.0 * math.log(2.0) / 12.0)  # FWHM of the Gaussian as wide as a pixel
_ASYMMETRY, _LARGEST_COSINE = (0.02, 0.9), 0.9999  # of the rings
# draws about each of the best rings, in ever narrower surroundings of its coordinates
_AROUND, _ROUNDS, _NARROWER, _WIDTHS = 32, 8, 0.6, (0.2, 0.25, 0.15, 0.3)


class Level(NamedTuple):
    """A coarse image, the scene as it is seen there, and the radii to search for, au."""

    observation: Observation
    scene: Scene
    radii: tuple[float, float]


class Ring(NamedTuple):
    """A ring that a search looked at.

    Parameters
    ----------
    values
        By path.
    level
        The coarse image in which it was found.
    gain
        In log-likelihood.
    coordinates
        Logarithm of the radius, cosine of the inclination, position angle in half turns, asymmetry.
    """

    values: dict[str, float]
    level: Level
    gain: float
    coordinates: np.ndarray


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
    on_sky = {name: getattr(view.grid, name) for name in ("roll", "parity", "distortion")}
    (channel,) = view.channels.values()
    maps = {
        name: None if value is None else mean_of_blocks(_on_pixels(value, view)[window], n)
        for name, value in (
            ("transmission", channel.transmission),
            ("throughput", channel.throughput),
        )
    }
    if n > 1:
        psf = GaussianPSF(math.hypot(_width(channel.psf) / n, _PIXEL))
    else:
        psf = channel.psf and channel.psf.crop(*window)
    seen = {name: getattr(channel, name) for name in ("noise", "curve", "stokes")}
    changed = {
        "channel": Channel(psf, **seen, **maps),
        "grid": rebuild(observation.grid, on_sky),
        "margin": None,
        "inner_radius": view.inner_radius / n,
        "oversample": psf.points_per_pixel if psf else 1,
        "accuracy": max(view.accuracy, 1e-3),
    }
    return Level(observation, Scene(scene.disk, view=rebuild(view, changed)), radii)


def _on_pixels(value, view: View):
    """A map, of points of pixels perhaps, on the pixels."""
    return mean_of_blocks(value, value.shape[0] // view.grid.shape[0])


def _width(psf: AbstractPSF | None) -> float:
    """Diameter in pixels of the circle of as many as are above half of the peak."""
    if psf is None:
        return 0.0
    kernel = psf.kernel()
    points = float(jnp.sum(kernel > 0.5 * jnp.max(kernel)))
    return 2.0 * math.sqrt(points / math.pi) / psf.points_per_pixel


def asymmetry_path(phase: AbstractPhaseFunction) -> str | None:
    """Path of the asymmetry in a phase function, if it has one."""
    if isinstance(phase, HenyeyGreenstein):
        return "disk.phase.g"
    inner = isinstance(phase, Polarized) and isinstance(phase.phase, HenyeyGreenstein)
    return "disk.phase.phase.g" if inner else None


def compared(levels: list[Level], phase: AbstractPhaseFunction, limits, number: int) -> list[Ring]:
    """The best rings of positive flux that are apart from each other, and moved to their maxima."""
    rings = []
    for level in levels:
        low, high = (np.array([math.log(radius), *rest]) for radius, *rest in _corners(level))
        points = low + (high - low) * qmc.Sobol(4, scramble=False).random(TEMPLATES)
        rings += _evaluated(level, phase, limits, points)
    rings.sort(key=lambda ring: -ring.gain)
    chosen = _apart(rings, number)
    width = np.array(_WIDTHS)
    around = 2.0 * qmc.Sobol(4, scramble=False).random(_AROUND) - 1.0
    for _ in range(_ROUNDS):
        for level in levels:
            own = [k for k, ring in enumerate(chosen) if ring.level is level]
            rings = [chosen[k] for k in own]
            better = _best_around(level, phase, limits, rings, width * around)
            for k, ring in zip(own, better, strict=True):
                chosen[k] = ring
        width = _NARROWER * width
    return sorted(chosen, key=lambda ring: -ring.gain)


def _corners(level: Level):
    low, high = level.radii
    return (low, -1.0, 0.0, _ASYMMETRY[0]), (high, 1.0, 1.0, _ASYMMETRY[1])


def _best_around(level, phase, limits, rings, steps) -> list[Ring]:
    """The best of each ring and those some steps from it."""
    points = np.concatenate([ring.coordinates + steps for ring in rings] or [np.empty((0, 4))])
    found = _evaluated(level, phase, limits, points)
    parts = [found[k * len(steps) : (k + 1) * len(steps)] for k in range(len(rings))]
    return [
        max([ring, *part], key=lambda ring: ring.gain)
        for ring, part in zip(rings, parts, strict=True)
    ]


def _evaluated(level: Level, phase: AbstractPhaseFunction, limits, points) -> list[Ring]:
    """The rings at some coordinates; one outside of the limits has no gain."""
    if not len(points):
        return []
    observation, scene, _ = level
    (disk,), points = scene.disks, np.array(points)
    # off the edges of the priors, where no fit can begin
    points[:, 1] = np.clip(points[:, 1], -_LARGEST_COSINE, _LARGEST_COSINE)
    points[:, 3] = np.clip(points[:, 3], *_ASYMMETRY)
    radius = np.exp(points[:, 0])
    values = {
        RADIUS: radius,
        INCLINATION: np.rad2deg(np.arccos(points[:, 1])),
        POSITION_ANGLE: 180.0 * points[:, 2],
    }
    if isinstance(disk.vertical, VerticalExponential):
        size = float(observation.grid.pixel_size)
        values[HEIGHT] = np.hypot(ASPECT * radius, 0.5 * size)
    if (path := asymmetry_path(phase)) is not None:
        values[path] = points[:, 3]
    view = rebuild(scene.view, {"nodes_on": "surfaces", "accuracy": 1e-2})
    templates = Scene(disk.set({"phase": phase}), view=view)

    def chunk(first):
        # filled up with the last one, so that all chunks share a program
        rows = np.minimum(np.arange(first, first + _CHUNK), len(points) - 1)
        taken = {name: jnp.asarray(array[rows], float) for name, array in values.items()}
        return _gains(templates, observation, taken)

    gains = np.concatenate(in_threads(chunk, range(0, len(points), _CHUNK)))
    rings = []
    for k, point in enumerate(points):
        ring = {name: float(array[k]) for name, array in values.items()}
        place = inside(ring, limits)
        gain = 0.0 if place is None else float(gains[k])
        rings.append(Ring(place or ring, level, gain, point))
    return rings


@jit
def _gains(templates: Scene, observation: Observation, values) -> Float[Array, " n"]:
    """Gain in chi-square of each ring; 0 where its best flux is negative."""
    image, nothing, error, used = observation.compared(jnp.zeros_like(observation.image))
    relative = error / jnp.min(jnp.where(used, error, jnp.inf))
    project = lambda light: light  # noqa: E731
    if observation.starlight is not None:
        columns = observation.starlight.columns(observation.shape, observation.center)
        starlight = StarlitNoise(GaussianNoise(), columns, observation.starlight.widths())
        project = starlight.projection(nothing, error, used)
    data = project(jnp.ravel(image / error))

    def gain(row):
        light = templates.set(row).image()
        shown = light / jnp.max(jnp.abs(light))
        model = project(jnp.ravel(jnp.where(used, shown / relative, 0.0)))
        product, square = jnp.sum(model * data), jnp.sum(model * model)
        bright = jnp.abs(shown)  # Q and U have both signs
        seen = jnp.sum(jnp.where(used, bright, 0.0)) > _SEEN * jnp.sum(bright)
        return jnp.where(seen & (product > 0), product * (product / square), 0.0)

    return jax.lax.map(gain, values)


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


def opposite(one, other) -> bool:
    """Whether the near sides of two rings are opposite ones."""
    sides = []
    for ring in (one, other):
        angle, tilt = (math.radians(float(ring[name])) for name in (POSITION_ANGLE, INCLINATION))
        side = math.copysign(1.0, math.cos(tilt))
        sides.append(side * np.array([math.cos(angle), math.sin(angle)]))
    return float(sides[0] @ sides[1]) < 0.0


def known(ring: Ring, others: list[Ring]) -> bool:
    """Whether a ring is one of others, with the same side near."""
    return any(
        distance(ring.values, o.values) < APART and not opposite(ring.values, o.values)
        for o in others
    )


def _apart(rings: list[Ring], number: int) -> list[Ring]:
    """The best rings of positive flux that differ from each better one."""
    kept: list[Ring] = []
    for ring in rings:
        if ring.gain > 0.0 and not known(ring, kept):
            kept.append(ring)
        if len(kept) == number:
            break
    return kept
