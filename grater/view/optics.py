"""What light passes on its way into an image, and how the image scatters."""

from typing import get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import check_choice, check_kind, check_shape

from .._arrays import mean_of_blocks, real_array
from ..data.noise import AbstractNoise, GaussianNoise
from .psf import AbstractPSF
from .stokes import Stokes


def _map(name):
    """Converter of a map of factors, for its field."""

    def convert(value):
        if value is None:
            return value
        array = real_array(name, value, "")
        check_shape(name, array, ndim=2)
        if not isinstance(array, Tracer) and not np.all(np.isfinite(array)):
            raise ValueError(
                f"{name} has NaN, infinite or masked pixels. Fill them, with 0 where no light "
                "passes."
            )
        return array

    return convert


class Channel(Model):
    """One image of a view: which curve of the dust it shows, through which optics.

    Parameters
    ----------
    psf
        None leaves the image sharp.
    transmission
        Coronagraph's transmission before the PSF, shape (ny, nx), 0 to 1, or with as many points
        per pixel as the PSF has. Beyond the grid it is what it is at the grid's edge.
    throughput
        What reaches the image after the PSF (post-processing losses), shape (ny, nx).
    noise
        Distribution of the data about the model, `GaussianNoise` by default.
    curve
        Which of its curves the dust shows: "total" or "polarized" intensity of `Polarized` phase
        functions. None is the phase function itself.
    stokes
        "Q_phi", "U_phi", "Q" or "U" of light that is polarised about the star, with the curve as
        its intensity: Q and U, from North through East on the sky, pass the optics, and are turned
        back about the star in each pixel. None is the intensity alone, which close to the star and
        within a PSF's width of its structure is not what a polarimeter measures.
    flux_scale
        Factor on the whole image, > 0: how bright one exposure is measured relative to others.
        Leave it at 1 in one of them, which the fluxes are then of.

    Raises
    ------
    ValueError, TypeError
        For parts of the wrong kind, and maps that are not finite or have a unit; percent are taken.

    Examples
    --------
    >>> from grater import GaussianPSF, Grid, View
    >>> bands = {"H": Channel(GaussianPSF(fwhm=2.3)), "K": Channel(GaussianPSF(fwhm=3.0))}
    >>> sorted(View(Grid((41, 41), 0.06, 40.0), channel=bands).channel)
    ['H', 'K']
    """

    psf: AbstractPSF | None = None
    transmission: Float[Array, "ny nx"] | None = eqx.field(
        converter=_map("transmission"), default=None
    )
    throughput: Float[Array, "ny nx"] | None = eqx.field(converter=_map("throughput"), default=None)
    noise: AbstractNoise = eqx.field(default_factory=GaussianNoise)
    curve: str | None = eqx.field(static=True, default=None)
    stokes: Stokes | None = eqx.field(static=True, default=None)
    flux_scale: Float[Array, ""] = param(
        default=1.0, bounds="(0, inf)", label="$s_F$", doc="factor on the image"
    )

    def __check_init__(self):
        check_kind("curve", self.curve, str | None)
        if self.stokes is not None:
            check_choice("stokes", self.stokes, get_args(Stokes))
            if self.curve is not None and self.curve.split(".")[-1] == "total":
                raise ValueError(
                    f"stokes = {self.stokes!r} is of polarised light, but curve = {self.curve!r}: "
                    f"give curve={self.curve.removesuffix('total') + 'polarized'!r}."
                )
        if self.psf is not None and not isinstance(self.psf, AbstractPSF):
            raise TypeError(
                f"psf = {self.psf!r} is not a PSF. Wrap a measured one: ImagePSF(image)."
            )
        if not isinstance(self.noise, AbstractNoise):
            raise TypeError(f"noise = {self.noise!r} is not an AbstractNoise.")

    def check_shape(self, shape: tuple[int, int]) -> None:
        """ValueError where a map or the PSF is for another shape than the grid's."""
        if self.psf is not None:
            self.psf.check_shape(shape)
        fine = tuple(self.points_per_pixel * n for n in shape)
        for name, known in (("transmission", (shape, fine)), ("throughput", (shape,))):
            value = getattr(self, name)
            if value is not None and value.shape not in known:
                raise ValueError(
                    f"{name} has shape {value.shape}, the grid has {shape}. They must be the same."
                )

    @property
    def points_per_pixel(self) -> int:
        """Points along each side of a pixel at which the sharp image is needed."""
        return 1 if self.psf is None else self.psf.points_per_pixel

    def through(
        self, sharp: Float[Array, "my mx"], margin: tuple[int, int]
    ) -> Float[Array, "ny nx"]:
        """The image of what is on the sky.

        Parameters
        ----------
        sharp
            Intensity on the grid and a margin around it, at `points_per_pixel`.
        margin
            Its rows and columns of pixels on each side.
        """
        n = self.points_per_pixel
        rows, columns = (n * m for m in margin)
        ny, nx = (m - 2 * k for m, k in zip(sharp.shape, (rows, columns), strict=True))
        if self.transmission is not None:
            passed = self.transmission
            if passed.shape != (ny, nx):
                passed = jnp.repeat(jnp.repeat(passed, n, axis=0), n, axis=1)
            sharp = sharp * jnp.pad(passed, ((rows, rows), (columns, columns)), mode="edge")
        if self.psf is None:
            image = sharp[rows : rows + ny, columns : columns + nx]
        else:
            image = self.psf.convolve(sharp, (rows, columns))
        if n > 1:
            image = mean_of_blocks(image, n)
        image = image if self.throughput is None else image * self.throughput
        return image * self.flux_scale
