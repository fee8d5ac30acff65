"""How a scene is seen: the pixels of a detector, its orientation, and the channels of its light."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

import functools
import math
import operator
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, jit, param
from pytreefit.extend import (
    as_data,
    as_number,
    as_whole_number,
    as_whole_numbers,
    check_choice,
    check_shape,
    inline,
    is_traced,
    rebuild,
)

from .._arrays import distortion_matrix, mean_of_blocks, opened
from ..dust.disk import intensities
from ..integrate import NodesOn, Rule, in_turn
from ..point_source import add_sources
from .optics import Channel
from .stokes import double_angle, emitted, measured


class Grid(Model):
    """The pixels of an image, and how they lie on the sky.

    Unless it is turned or mirrored, row index up is North, column index to the right West. A model
    is rendered in the detector's own frame: no image is rotated.

    Parameters
    ----------
    shape
        Rows and columns (ny, nx).
    pixel_scale
        Arcsec per pixel, > 0.
    distance
        Of the star in pc, > 0.
    center
        Zero-based position (x, y) of the star: a parameter, and moving it blurs nothing. By
        default the pixel (nx // 2, ny // 2).
    roll
        Position angle of the y axis in degrees, from North to East.
    parity
        1 where East is to the left of North, as on the sky; -1 for a mirrored detector.
    distortion
        Matrix (2, 2) of determinant > 0 for pixels that are no squares, as near the edge of a
        camera: it turns offsets (parity dx, dy) in pixels into offsets in units of
        ``pixel_scale``, before the roll. None is the unit matrix.

    Raises
    ------
    ValueError, TypeError
        For a shape that is none, a parity other than 1 and -1, and a distortion that has no inverse
        or mirrors.

    Examples
    --------
    >>> grid = Grid((141, 141), pixel_scale=0.014166, distance=72.0)
    >>> round(float(grid.pixel_size), 3)  # au
    1.02
    """

    pixel_scale: Float[Array, ""] = param(unit="arcsec", bounds="(0, inf)", doc="per pixel")
    distance: Float[Array, ""] = param(unit="pc", bounds="(0, inf)", doc="distance of the star")
    center: Float[Array, " 2"] = param(unit="pix", shape=(2,), doc="position (x, y) of the star")
    roll: Float[Array, ""] = param(unit="deg", doc="position angle of the detector's y axis")
    shape: tuple[int, int] = eqx.field(static=True, converter=tuple)
    parity: int = eqx.field(static=True)
    distortion: Float[Array, "2 2"] | None = eqx.field(converter=distortion_matrix)

    def __init__(
        self, shape, pixel_scale, distance, center=None, *, roll=0.0, parity=1, distortion=None
    ):
        self.shape = as_whole_numbers("Grid.shape", shape)
        _check_grid(self)
        ny, nx = self.shape
        self.pixel_scale = pixel_scale
        self.distance = distance
        self.center = (nx // 2, ny // 2) if center is None else center
        self.roll, self.parity, self.distortion = roll, parity, distortion

    def __check_init__(self):
        _check_grid(self)
        check_on_sky(self.parity, self.distortion)

    @property
    def pixel_size(self) -> Float[Array, ""]:
        """Side of a pixel in au: arcsec times pc."""
        return self.pixel_scale * self.distance

    def offsets(self, padding: tuple[int, int] = (0, 0), n: int = 1) -> tuple[Array, Array, Array]:
        """Offsets from the star to the West and to the North, and squared distances, in pixels.

        Parameters
        ----------
        padding
            Rows and columns around the image.
        n
            Points along each side of a pixel.

        Returns
        -------
        west, north : array
            Shape ((ny + 2 rows) n, (nx + 2 columns) n), in units of ``pixel_scale``.
        squared : array
            Of the distance on the detector.
        """
        row, column = (
            jnp.asarray((np.arange(-p * n, (m + p) * n) + 0.5) / n - 0.5, self.roll.dtype)
            for m, p in zip(self.shape, padding, strict=True)
        )
        right = self.parity * (column - self.center[0])[None, :]
        up = (row - self.center[1])[:, None]
        squared = right**2 + up**2
        if self.distortion is not None:
            (a, b), (c, d) = self.distortion
            right, up = a * right + b * up, c * right + d * up
        roll = jnp.deg2rad(self.roll)
        sine, cosine = jnp.sin(roll), jnp.cos(roll)
        return right * cosine - up * sine, right * sine + up * cosine, squared


def _check_grid(grid: Grid) -> None:
    if len(grid.shape) != 2 or min(grid.shape) < 1:
        raise ValueError(f"Grid.shape = {grid.shape} is not (rows, columns) of an image.")


class View(Model):
    """How a scene is seen in one exposure: its image is ``view.image(scene)``.

    The disks' intensities are added, multiplied with the coronagraph's transmission, convolved with
    the PSF and multiplied with the throughput; so are point sources, where they are.

    Parameters
    ----------
    grid
        Pixels of the image and the star's place on them, from `Observation.grid` or by `Grid`.
    **optics
        ``psf``, ``transmission``, ``throughput``, ``noise``, ``curve``, ``stokes``,
        ``flux_scale``: a short way to write ``channel=Channel(...)``, see `Channel`.
    channel
        A `Channel`, or a dictionary of several that share the pixels: one integration serves them
        all, and `images` returns them.
    roll
        Position angle of the detector's y axis in degrees, from North to East, in place of the
        grid's: a short way to write ``grid.set({"roll": roll})``.
    margin
        Pixels around the grid whose light the PSF scatters into the image; by default as many as
        the PSF reaches. A larger PSF than matters costs time: give a smaller margin, or cut it.
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
        value at the pixel's centre, too coarse for disks thinner than a pixel. A PSF that is
        sampled more finely than the pixels needs as many points, or a multiple.

    Raises
    ------
    ValueError, TypeError
        For arrays of another shape than the grid's, and parts of the wrong kind.

    Examples
    --------
    >>> from grater import GaussianPSF, Grid
    >>> view = View(Grid((41, 41), 0.06, 40.0), psf=GaussianPSF(fwhm=2.3), roll=15.0)
    >>> float(view.grid.roll)
    15.0
    """

    channel: Channel | Mapping[str, Channel] = inline()
    grid: Grid
    margin: int | None = eqx.field(static=True)
    accuracy: float = eqx.field(static=True)
    nodes_on: NodesOn = eqx.field(static=True)
    inner_radius: float = eqx.field(static=True)
    oversample: int = eqx.field(static=True)

    def __init__(
        self,
        grid: Grid,
        *,
        channel: Channel | Mapping[str, Channel] | None = None,
        roll: Any = None,
        margin: int | None = None,
        accuracy: float = 1e-4,
        nodes_on: NodesOn = "auto",
        inner_radius: float = 1.0,
        oversample: int = 1,
        **optics: Any,
    ):
        if channel is not None and optics:
            raise ValueError(
                f"View got channel= and also {', '.join(optics)}. Give the channel or what it "
                "consists of, not both."
            )
        self.channel = Channel(**optics) if channel is None else channel
        turned = roll is not None and isinstance(grid, Grid)
        self.grid = grid.set({"roll": roll}) if turned else grid
        self.margin = None if margin is None else as_whole_number("margin", margin)
        self.accuracy = as_number("accuracy", accuracy)
        self.nodes_on = nodes_on
        self.inner_radius = as_number("inner_radius", inner_radius, "pix")
        self.oversample = as_whole_number("oversample", oversample, 1)

    def __check_init__(self):
        if not isinstance(self.grid, Grid):
            raise TypeError(f"grid = {self.grid!r} is not a Grid.")
        if not self.channels or not all(isinstance(c, Channel) for c in self.channels.values()):
            raise TypeError(
                f"channel = {self.channel!r} is not a Channel, nor a dictionary of them."
            )
        for channel in self.channels.values():
            channel.check_shape(self.grid.shape)
            if self.oversample % channel.points_per_pixel:
                raise ValueError(
                    f"oversample = {self.oversample}, but the psf has {channel.points_per_pixel} "
                    "points per pixel: render on as many, or a multiple."
                )
        if not self.inner_radius > 0:
            raise ValueError(
                f"inner_radius = {self.inner_radius} is not a number of pixels > 0. The integral "
                "diverges at the star, so its surroundings are left out."
            )
        Rule(self.accuracy, self.nodes_on)

    @property
    def channels(self) -> dict[str, Channel]:
        """All channels by their names; a single one is called "image"."""
        if isinstance(self.channel, Mapping):
            return dict(self.channel)
        return {"image": self.channel}

    def only(self, name: str) -> "View":
        """The same view of one of its channels alone."""
        if name not in self.channels:
            raise ValueError(f"View has no channel {name!r}, only {', '.join(self.channels)}.")
        return rebuild(self, {"channel": self.channels[name]})

    def padding(self) -> tuple[int, int]:
        """Rows and columns around the grid from which light is scattered into the image."""
        psfs = [c.psf for c in self.channels.values() if c.psf is not None]
        if self.margin is not None and psfs:
            return self.margin, self.margin
        reaches = np.array([(0, 0), *(psf.reach for psf in psfs)])
        rows, columns = reaches.max(axis=0).tolist()
        return rows, columns

    def sky_coordinates(self, padding: tuple[int, int] = (0, 0)) -> tuple[Array, Array, Array]:
        """Offsets of the sample points from the star in au, to the West and to the North.

        Parameters
        ----------
        padding
            Rows and columns around the grid.

        Returns
        -------
        x, y : array
            Shape ((ny + 2 rows) oversample, (nx + 2 columns) oversample).
        inside : array
            Where a point is nearer to the star than ``inner_radius``; its x and y are moved away.
        """
        west, north, squared = self.grid.offsets(padding, self.oversample)
        # a hair less, so that the pixels at exactly this distance count as outside in any precision
        nearest = self.inner_radius * (1.0 - 1e-5)
        inside, size = squared < nearest**2, self.grid.pixel_size
        return jnp.where(inside, 1.0, west) * size, jnp.where(inside, 1.0, north) * size, inside

    def seen(
        self, channel: Channel, light: Float[Array, "my mx"], sources
    ) -> Float[Array, "ny nx"]:
        """The image in one channel.

        Parameters
        ----------
        channel
            One of the view's.
        light
            Of the disks, at the points of `sky_coordinates` with `padding`.
        sources
            Point sources.
        """
        padding = self.padding()
        n = self.oversample // channel.points_per_pixel

        def through(light):
            return channel.through(light if n == 1 else mean_of_blocks(light, n), padding)

        if channel.stokes is None:
            return add_sources(self, channel, sources, through(light))
        points, pixels = (
            double_angle(*self.grid.offsets(*where)[:2])
            for where in ((padding, self.oversample), ((0, 0), 1))
        )
        q, u = jax.vmap(through)(emitted(light, *points))
        return measured(channel.stokes, q, u, *pixels)

    def image(self, scene) -> Float[Array, "ny nx"]:
        """The image of a scene, shape (ny, nx).

        Compiled once for all scenes and views of the same structure, shape and accuracy.

        Parameters
        ----------
        scene
            What is on the sky, a `Scene`.
        """
        if len(self.channels) > 1:
            raise ValueError(
                f"View has the channels {', '.join(self.channels)}: scene.images() returns all of "
                "them, scene.of(name) is the scene in one, and an Observation(view=name) is of one."
            )
        (image,) = self.images(scene).values()
        return image

    def images(self, scene) -> dict[str, Float[Array, "ny nx"]]:
        """The images of all channels by their names, integrated together.

        Raises
        ------
        TypeError
            For a channel's curve that a disk's phase function does not have.
        """
        rule = Rule(self.accuracy, self.nodes_on)
        sky = scene.disks, scene.sources
        return in_turn(lambda rule: _images(self, *sky, rule), rule, len(scene.disks))

    def integration_error(self, scene) -> Float[Array, " disks"]:
        """Estimate of the error of each disk's intensity relative to its peak, shape (disks,).

        It is the largest difference to an integration that is a hundred times as accurate, over all
        pixels outside of ``inner_radius``, before the PSF. Where no number of nodes is enough for
        that one, what it misses itself is stated if it is larger.
        """
        return _integration_error(self, scene.disks)


def check_on_sky(parity: Any, matrix: Any) -> None:
    """Refuse a parity that is none, and a distortion that has no inverse or mirrors."""
    check_choice("parity", parity, (1, -1))
    if matrix is None:
        return
    check_shape("distortion", matrix, shape=(2, 2))
    if is_traced(matrix):
        return
    (a, b), (c, d) = np.asarray(matrix, float).tolist()
    determinant = a * d - b * c
    if not 0.0 < abs(determinant) < math.inf:
        raise ValueError(f"distortion = {[[a, b], [c, d]]} is no matrix with an inverse.")
    if determinant < 0.0:
        raise ValueError(
            f"distortion = {[[a, b], [c, d]]} has the determinant {determinant:g} < 0, which "
            "mirrors the image: give a mirrored detector parity=-1."
        )


@functools.partial(jit, threads=False)
def _images(view: View, disks, sources, rule: Rule) -> dict[str, Array]:
    curves = tuple(dict.fromkeys(channel.curve for channel in view.channels.values()))
    x, y, inside = view.sky_coordinates(view.padding())
    parts = intensities(disks, x, y, rule, curves)
    light = jnp.where(inside, 0.0, functools.reduce(operator.add, parts))
    return {
        name: view.seen(channel, light[curves.index(channel.curve)], sources)
        for name, channel in view.channels.items()
    }


@jit
def _integration_error(view: View, disks) -> Float[Array, " disks"]:
    x, y, inside = view.sky_coordinates()
    rules = Rule(view.accuracy, view.nodes_on), Rule(max(0.01 * view.accuracy, 1e-10))

    def error(disk):
        image, truth = (jnp.where(inside, 0.0, disk.intensity(x, y, rule)) for rule in rules)
        difference = jnp.max(jnp.abs(image - truth)) / jnp.max(jnp.abs(truth))
        return jnp.maximum(difference, disk.integration_error(x, y, rules[1]))

    return jnp.stack([error(disk) for disk in disks])


def radial_map(grid: Grid, radius, value) -> Float[Array, "ny nx"]:
    """A transmission or throughput map from a curve of the distance to the star.

    Parameters
    ----------
    grid
        Pixels of the map.
    radius
        Distances from the star in pixels, shape (n,), increasing.
    value
        Values there, shape (n,); linear between, constant outside.

    Returns
    -------
    array
        Shape (ny, nx).

    Raises
    ------
    ValueError, TypeError
        For curves that are not finite, not increasing or of different lengths, and other units.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Grid
    >>> transmission = radial_map(Grid((5, 5), 0.1, 60.0), [0.0, 2.0], [0.0, 1.0])
    >>> float(transmission[2, 1])  # a pixel from the star
    0.5
    """
    if not isinstance(grid, Grid):
        raise TypeError(f"radial_map: grid = {grid!r} is not a Grid.")
    row, column = np.indices(grid.shape)
    x, y = np.asarray(grid.center)
    radius = as_data("radial_map: radius", opened(radius), "pix", ndim=1)
    value = as_data("radial_map: value", opened(value), "", shape=radius.shape)
    for name, values in (("radius", radius), ("value", value)):
        if not np.all(np.isfinite(values)):
            raise ValueError(f"radial_map: {name} has NaN, infinite or masked entries: drop them.")
    if not np.all(np.diff(radius) > 0):
        raise ValueError("radial_map: radius is not increasing: sort both curves by it.")
    return jnp.asarray(np.interp(np.hypot(column - x, row - y), radius, value), float)
