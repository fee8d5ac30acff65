"""Point sources in a scene, such as companions and background stars, seen through the PSF."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import check_kind, rebuild

from .view.field_psf import FieldPSF
from .view.psf import ImagePSF

# pixels on each side over which a point between pixels is spread, and the shape of its window
_HALF_WIDTH, _WINDOW = 32, 9.0


class PointSource(Model):
    r"""A source without extent: a companion, a background star.

    In a view it is its flux times the PSF, centred between the pixels where it is: the PSF is moved
    in Fourier space, which is exact for one that the pixels sample well (a FWHM of three pixels and
    more) and rings for one that they do not. A coronagraph's transmission is that at its place,
    and so is a `FieldPSF`. Its light is not polarised: channels of a "polarized" curve or of Stokes
    parameters do not show it.

    Parameters
    ----------
    east, north
        Offset from the star in arcsec.
    flux
        Sum over the pixels that a PSF of sum 1 spreads it over, in units of the image. A disk is
        surface brightness: where views have pixels of other sizes, images have to be in units per
        solid angle for the disk. A source's flux then means per pixel of its view: take a source
        for each view, by ``curve``.
    curve
        Of the channels that show it, where it has another flux in each: a source for each band,
        with places that are tied; the name of a band stands for its total intensity, too. None is
        all but "polarized" ones and Stokes parameters. A channel without a curve shows it even
        where the dust is `Polarized`: name the curve.

    Examples
    --------
    >>> import grater
    >>> disk = grater.Disk(30.0, 60.0, 30.0, alpha_in=5, alpha_out=-5, scale_height=2)
    >>> star = PointSource(east=0.35, north=-0.2, flux=2.0)
    >>> grid = grater.Grid((31, 31), pixel_scale=0.05, distance=70.0)
    >>> scene = grater.Scene(disk, source=star, grid=grid, psf=grater.GaussianPSF(3.0))
    >>> float(scene.get("source.flux"))
    2.0
    """

    east: Float[Array, ""] = param(unit="arcsec", label="E", doc="offset from the star to the East")
    north: Float[Array, ""] = param(
        unit="arcsec", label="N", doc="offset from the star to the North"
    )
    flux: Float[Array, ""] = param(label="$F$", doc="sum over the pixels, image units")
    curve: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_kind("PointSource.curve", self.curve, str | None)

    def shown(self, curve: str | None) -> bool:
        """Whether a channel of a curve shows it."""
        if self.curve is not None:
            return curve in (self.curve, f"{self.curve}.total")
        return curve is None or curve.split(".")[-1] != "polarized"


def position(view, source: PointSource) -> tuple[Array, Array]:
    """Zero-based column and row of a source in a view, with fractions."""
    grid = view.grid
    roll = jnp.deg2rad(grid.roll)
    west, north = -source.east / grid.pixel_scale, source.north / grid.pixel_scale
    sine, cosine = jnp.sin(roll), jnp.cos(roll)
    right, up = west * cosine + north * sine, north * cosine - west * sine
    if grid.distortion is not None:
        (a, b), (c, d) = grid.distortion
        per_area = 1.0 / (a * d - b * c)
        right, up = (d * right - b * up) * per_area, (a * up - c * right) * per_area
    return grid.center[0] + grid.parity * right, grid.center[1] + up


def add_sources(view, channel, sources, image) -> Float[Array, "ny nx"]:
    """An image of disks in one channel with the point sources that this shows."""
    sources = [source for source in sources if source.shown(channel.curve)]
    if channel.stokes is not None or not sources:
        return image
    if channel.psf is None:
        raise ValueError(
            "A point source has no image without a PSF: give the view psf=, or leave source= out."
        )
    padding, n = view.padding(), channel.points_per_pixel
    places = [position(view, source) for source in sources]
    sharp = [
        source.flux
        * _transmitted(channel, view.grid.shape, *place)
        * spike(view.grid.shape, padding, *place, n)
        for source, place in zip(sources, places, strict=True)
    ]
    if isinstance(channel.psf, FieldPSF):
        psfs = [_psf_at(channel.psf, *place) for place in places]
    else:
        sharp, psfs = [sum(sharp)], [channel.psf]
    for light, psf in zip(sharp, psfs, strict=True):
        seen = rebuild(channel, {"psf": psf, "transmission": None})
        image = image + seen.through(light, padding)
    return image


def _psf_at(psf: FieldPSF, column, row) -> ImagePSF:
    """The PSF at a place, linear between the points of its weights."""
    n = psf.oversample
    margins = [(m - n * k) / 2 for m, k in zip(psf.weights.shape[1:], psf.shape, strict=True)]
    place = [(c + 0.5) * n - 0.5 + m for c, m in zip((row, column), margins, strict=True)]
    at = [jnp.reshape(p, (1,)) for p in place]
    shares = [map_coordinates(weight, at, order=1, mode="nearest")[0] for weight in psf.weights]
    ky, kx = psf.images.shape[1:]
    kernel = jnp.tensordot(jnp.stack(shares), psf.images, 1)
    return ImagePSF(kernel, "none", (kx // 2, ky // 2), n)


def spike(shape, padding, column, row, points: int = 1) -> Float[Array, "my mx"]:
    r"""A point of mean 1 in a pixel, between the points of a grid and its margin.

    In each direction it is :math:`\sin \pi x / \pi x` under a window of Kaiser: the PSF convolved
    with it is the PSF that is shifted in Fourier space.
    """

    def along(size, margin, place):
        points_there = np.arange(-margin * points, (size + margin) * points)
        at = (place + 0.5) * points - 0.5
        return points * _sinc(jnp.asarray(points_there, place.dtype) - at)

    of_row, of_column = map(along, shape, padding, (row, column))
    return of_row[:, None] * of_column[None, :]


def _sinc(x):
    inside = 1.0 - (x / _HALF_WIDTH) ** 2
    # the Bessel function of the window is that of a real argument, and smooth at its edge
    window = jnp.i0(_WINDOW * jnp.sqrt(jnp.maximum(inside, 1e-12))) / np.i0(_WINDOW)
    return jnp.where(inside > 0, jnp.sinc(x) * window, 0.0)


def _transmitted(channel, shape, column, row):
    """Transmission at a place, linear between the pixels and constant beyond the edges."""
    if channel.transmission is None:
        return 1.0
    finer = [m // n for m, n in zip(channel.transmission.shape, shape, strict=True)]
    place = [(c + 0.5) * n - 0.5 for c, n in zip((row, column), finer, strict=True)]
    at = [jnp.reshape(p, (1,)) for p in place]
    return map_coordinates(channel.transmission, at, order=1, mode="nearest")[0]
