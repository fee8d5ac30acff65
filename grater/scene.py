"""A scene: disks around a star, seen through a telescope onto a grid of pixels."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

import copy
import functools
import math
import operator
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model, jit, param

from .disk import Disk, intensities
from .integrate import NodesOn, Rule, in_turn
from .noise import AbstractNoise, GaussianNoise
from .psf import AbstractPSF


def _map(name):
    """Converter of a map of factors, for its field."""

    def convert(value):
        if value is None or isinstance(value, Tracer):
            return value
        array = np.asarray(value, dtype=float)
        if not np.all(np.isfinite(array)):
            raise ValueError(
                f"{name} has NaN or infinite pixels. Fill them, with 0 where no light passes."
            )
        return jnp.asarray(array, float)

    return convert


class Grid(Model):
    """The pixels of an image: row index up is North, column index to the right is West.

    Parameters
    ----------
    shape
        Rows and columns (ny, nx).
    pixel_scale
        Arcsec per pixel, > 0.
    distance
        Of the star in pc, > 0.
    center
        Zero-based position (x, y) of the star; by default the pixel (nx // 2, ny // 2).
    """

    pixel_scale: Float[Array, ""] = param(unit="arcsec", bounds="(0, inf)", doc="per pixel")
    distance: Float[Array, ""] = param(unit="pc", bounds="(0, inf)", doc="distance of the star")
    center: Float[Array, " 2"] = param(unit="pix", shape=(2,), doc="position (x, y) of the star")
    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(self, shape, pixel_scale, distance, center=None):
        if len(tuple(shape)) != 2 or min(shape) < 1:
            raise ValueError(f"Grid.shape = {shape} is not (rows, columns) of an image.")
        ny, nx = (int(n) for n in shape)
        self.shape = (ny, nx)
        self.pixel_scale = pixel_scale
        self.distance = distance
        self.center = (nx // 2, ny // 2) if center is None else center

    @property
    def pixel_size(self) -> Float[Array, ""]:
        """Side of a pixel in au: arcsec times pc."""
        return self.pixel_scale * self.distance


class Star(Model):
    """Where the star is on the detector: a parameter, and moving it blurs nothing.

    Parameters
    ----------
    x, y
        Zero-based column and row in pixels.
    """

    x: Float[Array, ""] = param(unit="pix", label="$x_*$", doc="column of the star")
    y: Float[Array, ""] = param(unit="pix", label="$y_*$", doc="row of the star")


class TotalIntensity(Model):
    """How the total intensity is seen, where it is not as the polarised one.

    What is None is as in the scene; a map of ones is no transmission or no loss at all.

    Parameters
    ----------
    psf
        PSF of the image of the total intensity.
    transmission, throughput
        As in `Scene`: throughput is where a subtraction of the star's light is allowed for that
        differential polarimetry does without.
    noise
        Distribution of these data about the model.
    """

    psf: AbstractPSF | None = None
    transmission: Float[Array, "ny nx"] | None = eqx.field(
        converter=_map("TotalIntensity.transmission"), default=None
    )
    throughput: Float[Array, "ny nx"] | None = eqx.field(
        converter=_map("TotalIntensity.throughput"), default=None
    )
    noise: AbstractNoise | None = None

    def __check_init__(self):
        if self.noise is not None and not isinstance(self.noise, AbstractNoise):
            raise TypeError(f"TotalIntensity.noise = {self.noise!r} is not an AbstractNoise.")


class Scene(Model):
    """Everything that makes an image.

    The disks' intensities are added, multiplied with the coronagraph's transmission, convolved with
    the PSF and multiplied with the throughput.

    Parameters
    ----------
    disk
        A `Disk`, or several as a dictionary of names or a sequence: their parameters are then at
        paths such as ``disk.inner.inclination`` or ``disk.0.inclination``.
    grid
        Pixels of the image, from `Observation.grid` or by `Grid`.
    psf
        None leaves the image sharp.
    star
        Position of the star, the grid's centre by default.
    transmission
        Coronagraph's transmission before the PSF, shape (ny, nx), 0 to 1.
    throughput
        What reaches the image after the PSF (post-processing losses), shape (ny, nx).
    noise
        Distribution of the data about the model, `GaussianNoise` by default.
    total
        For disks whose phase functions are `Polarized` and images of both intensities, see
        `images`: what is different for the total one.
    accuracy
        Error of the integration that the image may have, relative to its peak.
    nodes_on
        "auto" integrates on surfaces of equal height where that is accurate enough, and on segments
        of each line of sight where it is not (near edge-on, or through a thick ring with steep
        edges). Functions that are compiled with a scene in them contain both; with "surfaces" or
        "segments" they compile in half of the time, and `integration_error` says whether the choice
        was right.
    inner_radius
        Points nearer to the star than this, in pixels, are 0: the integral diverges at the star
        itself where there is dust at the star.
    oversample
        Points per pixel along each side over which the intensity is averaged. With 1 it is the
        value at the pixel's centre, too coarse for disks thinner than a pixel.

    Raises
    ------
    ValueError, TypeError
        For arrays of another shape than the grid's, or parts of the wrong kind.
    """

    disk: Disk | Mapping[str, Disk] | Sequence[Disk]
    psf: AbstractPSF | None
    star: Star
    noise: AbstractNoise
    grid: Grid
    transmission: Float[Array, "ny nx"] | None = eqx.field(converter=_map("Scene.transmission"))
    throughput: Float[Array, "ny nx"] | None = eqx.field(converter=_map("Scene.throughput"))
    total: TotalIntensity | None
    accuracy: float = eqx.field(static=True)
    nodes_on: NodesOn = eqx.field(static=True)
    inner_radius: float = eqx.field(static=True)
    oversample: int = eqx.field(static=True)

    def __init__(
        self,
        disk,
        *,
        grid: Grid,
        psf: AbstractPSF | None = None,
        star: Star | None = None,
        transmission=None,
        throughput=None,
        noise: AbstractNoise | None = None,
        total: TotalIntensity | None = None,
        accuracy: float = 1e-4,
        nodes_on: NodesOn = "auto",
        inner_radius: float = 1.0,
        oversample: int = 1,
    ):
        self.disk = tuple(disk) if isinstance(disk, Sequence) else disk
        self.grid = grid
        self.psf = psf
        if star is None and isinstance(grid, Grid):
            star = Star(x=grid.center[0], y=grid.center[1])
        self.star = star
        self.noise = GaussianNoise() if noise is None else noise
        self.transmission = transmission
        self.throughput = throughput
        self.total = total
        self.accuracy = float(accuracy)
        self.nodes_on = nodes_on
        self.inner_radius = float(inner_radius)
        self.oversample = int(oversample)

    def __check_init__(self):
        disks = self.disks if isinstance(self.disk, Disk | Mapping | Sequence) else ()
        if not disks or not all(isinstance(d, Disk) for d in disks):
            raise TypeError(
                f"Scene.disk = {self.disk!r} is not a Disk, nor a dictionary or a sequence of them."
            )
        kinds = {"grid": Grid, "star": Star, "noise": AbstractNoise}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                article = "an" if kind is AbstractNoise else "a"
                raise TypeError(f"Scene.{name} = {value!r} is not {article} {kind.__name__}.")
        if self.total is not None and not isinstance(self.total, TotalIntensity):
            raise TypeError(f"Scene.total = {self.total!r} is not a TotalIntensity.")
        # here and not in the constructor, so that a PSF that is set later is planned as well
        object.__setattr__(self, "psf", _planned_psf(self, self.grid.shape))
        if self.total is not None:
            total = copy.copy(self.total)
            object.__setattr__(total, "psf", _planned_psf(total, self.grid.shape))
            object.__setattr__(self, "total", total)
        if not 0 < self.inner_radius < math.inf:
            raise ValueError(
                f"Scene.inner_radius = {self.inner_radius} is not a number of pixels > 0. The "
                "integral diverges at the star, so its surroundings are left out."
            )
        if self.oversample < 1:
            raise ValueError(
                f"Scene.oversample = {self.oversample} is not a number of points >= 1."
            )
        self._rule()

    def _rule(self) -> Rule:
        return Rule(self.accuracy, self.nodes_on)

    @property
    def disks(self) -> tuple[Disk, ...]:
        """All disks, whatever holds them."""
        if isinstance(self.disk, Disk):
            return (self.disk,)
        return tuple(self.disk.values() if isinstance(self.disk, Mapping) else self.disk)

    def sky_coordinates(self) -> tuple[Array, Array, Array]:
        """Offsets of the sample points from the star in au, to the West and to the North.

        Returns
        -------
        x, y : array
            Shape (ny oversample, nx oversample).
        inside : array
            Where a point is nearer to the star than ``inner_radius``; its x and y are moved away.
        """
        n = self.oversample
        (ny, nx), size = self.grid.shape, self.grid.pixel_size
        column, row = (
            jnp.asarray((np.arange(m * n) + 0.5) / n - 0.5, size.dtype) for m in (nx, ny)
        )
        x = jnp.broadcast_to((column - self.star.x)[None, :], (ny * n, nx * n))
        y = jnp.broadcast_to((row - self.star.y)[:, None], (ny * n, nx * n))
        # a hair less, so that the pixels at exactly this distance count as outside in any precision
        nearest = self.inner_radius * (1.0 - 1e-5)
        inside = x**2 + y**2 < nearest**2
        return jnp.where(inside, 1.0, x) * size, jnp.where(inside, 1.0, y) * size, inside

    def sharp_image(self) -> Float[Array, "ny nx"]:
        """The disks' intensity before transmission, PSF and throughput, shape (ny, nx)."""
        return self._sharp(False, self._rule())

    def _sharp(self, polarized: bool, rule: Rule):
        x, y, inside = self.sky_coordinates()
        parts = intensities(self.disks, x, y, rule, polarized)
        image = jnp.where(inside, 0.0, functools.reduce(operator.add, parts))
        n, (ny, nx) = self.oversample, self.grid.shape
        if n == 1:
            return image
        return jnp.mean(image.reshape(*image.shape[:-2], ny, n, nx, n), axis=(-3, -1))

    def integration_error(self) -> Float[Array, " disks"]:
        """Estimate of the error of each disk's intensity relative to its peak, shape (disks,).

        It is the largest difference to an integration that is a hundred times as accurate, over all
        pixels outside of ``inner_radius``, before the PSF. Where no number of nodes is enough for
        that one, what it misses itself is stated if it is larger.
        """
        return _integration_error(self)

    def image(self) -> Float[Array, "ny nx"]:
        """The image as the detector sees it, shape (ny, nx).

        Compiled once for all scenes of the same structure, shape and accuracy.
        """
        return self._rendered(polarized=False)

    def images(self) -> Float[Array, "2 ny nx"]:
        """The total and the polarised intensity of the same dust, shape (2, ny, nx).

        They are integrated together, which is cheaper than a scene for each. The phase functions
        of all disks have to be `Polarized`; `image` is the second of the two.

        Raises
        ------
        TypeError
            For disks with other phase functions.
        """
        return self._rendered(polarized=True)

    def of_total_intensity(self) -> "Scene":
        """The scene whose `image` is the total intensity: the first of `images`, for figures.

        Raises
        ------
        TypeError
            For disks whose phase functions are not `Polarized`.
        """
        phases = {
            f"{path}.phase": disk.polarized_phase().phase
            for path, disk in zip(disk_paths(self), self.disks, strict=True)
        }
        own = self.total or TotalIntensity()
        names = ("psf", "transmission", "throughput", "noise")
        optics = {name: getattr(own, name) for name in names if getattr(own, name) is not None}
        return self.set({**phases, **optics, "total": None})

    def _rendered(self, polarized: bool):
        def program(rule):
            return _image(self, polarized, rule)

        return in_turn(program, self._rule(), len(self.disks))


def disk_paths(scene: Scene) -> list[str]:
    """Paths of all disks, such as ``disk`` or ``disk.inner``."""
    if isinstance(scene.disk, Mapping):
        return [f"disk.{name}" for name in scene.disk]
    if isinstance(scene.disk, Sequence):
        return [f"disk.{index}" for index in range(len(scene.disk))]
    return ["disk"]


_on_one_core = functools.partial(jit, threads=False)


def _planned_psf(owner: Scene | TotalIntensity, shape) -> AbstractPSF | None:
    """The PSF prepared for images of a shape, after all that they pass has been checked."""
    name = type(owner).__name__
    for field in ("transmission", "throughput"):
        value = getattr(owner, field)
        if value is not None and value.shape != shape:
            raise ValueError(
                f"{name}.{field} has shape {value.shape}, the grid has {shape}. They must be the "
                "same."
            )
    if owner.psf is None:
        return None
    if not isinstance(owner.psf, AbstractPSF):
        raise TypeError(
            f"{name}.psf = {owner.psf!r} is not a PSF. Wrap a measured one: ImagePSF(image)."
        )
    return owner.psf.planned(shape)


@_on_one_core
def _image(scene: Scene, polarized: bool, rule: Rule) -> Float[Array, "*images ny nx"]:
    sharp = scene._sharp(polarized, rule)
    if not polarized:
        return _seen(sharp, scene, None)
    return jnp.stack([_seen(sharp[0], scene, scene.total), _seen(sharp[1], scene, None)])


def _seen(image, scene: Scene, total: TotalIntensity | None) -> Float[Array, "ny nx"]:
    """An image through the telescope, and through what is different for the total intensity."""

    def part(name):
        own = getattr(total, name) if total is not None else None
        return getattr(scene, name) if own is None else own

    transmission, psf, throughput = (part(name) for name in ("transmission", "psf", "throughput"))
    if transmission is not None:
        image = image * transmission
    if psf is not None:
        image = psf.convolve(image)
    return image if throughput is None else image * throughput


@jit
def _integration_error(scene: Scene) -> Float[Array, " disks"]:
    x, y, inside = scene.sky_coordinates()
    rules = scene._rule(), Rule(max(0.01 * scene.accuracy, 1e-10))

    def error(disk):
        image, truth = (jnp.where(inside, 0.0, disk.intensity(x, y, rule)) for rule in rules)
        difference = jnp.max(jnp.abs(image - truth)) / jnp.max(jnp.abs(truth))
        return jnp.maximum(difference, disk.integration_error(x, y, rules[1]))

    return jnp.stack([error(disk) for disk in scene.disks])


def radial_map(grid: Grid, radius, value) -> Float[Array, "ny nx"]:
    """A transmission or throughput map from a curve of the distance to the star.

    Parameters
    ----------
    grid
        Pixels of the map.
    radius
        Distances from the grid's centre in pixels, shape (n,), increasing.
    value
        Values there, shape (n,); linear between, constant outside.

    Returns
    -------
    array
        Shape (ny, nx).
    """
    row, column = np.indices(grid.shape)
    x, y = np.asarray(grid.center)
    return jnp.asarray(np.interp(np.hypot(column - x, row - y), radius, value), float)
