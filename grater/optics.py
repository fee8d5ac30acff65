"""What light passes on its way into an image, and how the image scatters."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import check_kind, check_shape

from ._arrays import real_array
from .noise import AbstractNoise, GaussianNoise
from .psf import AbstractPSF


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
        Coronagraph's transmission before the PSF, shape (ny, nx), 0 to 1. Beyond the grid it is
        what it is at the grid's edge.
    throughput
        What reaches the image after the PSF (post-processing losses), shape (ny, nx).
    noise
        Distribution of the data about the model, `GaussianNoise` by default.
    curve
        Which of its curves the dust shows: "total" or "polarized" intensity of `Polarized` phase
        functions. None is the phase function itself.

    Raises
    ------
    ValueError, TypeError
        For parts of the wrong kind, and maps that are not finite or have a unit; percent are taken.
    """

    psf: AbstractPSF | None = None
    transmission: Float[Array, "ny nx"] | None = eqx.field(
        converter=_map("transmission"), default=None
    )
    throughput: Float[Array, "ny nx"] | None = eqx.field(converter=_map("throughput"), default=None)
    noise: AbstractNoise = eqx.field(default_factory=GaussianNoise)
    curve: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_kind("curve", self.curve, str | None)
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
        for name in ("transmission", "throughput"):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"{name} has shape {value.shape}, the grid has {shape}. They must be the same."
                )

    def through(
        self, sharp: Float[Array, "my mx"], margin: tuple[int, int]
    ) -> Float[Array, "ny nx"]:
        """The image of what is on the sky.

        Parameters
        ----------
        sharp
            Intensity on the grid and a margin around it.
        margin
            Its rows and columns on each side.
        """
        (rows, columns), (ny, nx) = margin, sharp.shape
        if self.transmission is not None:
            pads = ((rows, rows), (columns, columns))
            sharp = sharp * jnp.pad(self.transmission, pads, mode="edge")
        if self.psf is None:
            image = sharp[rows : ny - rows, columns : nx - columns]
        else:
            image = self.psf.convolve(sharp, margin)
        return image if self.throughput is None else image * self.throughput
