"""Point spread functions and the convolution of an image with them."""

import abc
import math
import warnings
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import as_number, as_whole_number, check_choice, is_traced, unit_of

from ._arrays import position, real_array

_OFF_CENTRE = 0.25  # pixels, from which a stamp is said to be off its centre
_NORMALIZATIONS = {"sum": jnp.sum, "peak": jnp.max, "none": jnp.ones_like}


class AbstractPSF(Model):
    """What a point becomes on the detector.

    A new PSF is a class with its parameters as fields and one method, `kernel`.
    """

    @abc.abstractmethod
    def kernel(self) -> Float[Array, "ky kx"]:
        """The PSF on the pixel grid; its centre is the pixel (ky // 2, kx // 2)."""

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from which light falls into a pixel, on each side of it."""
        ky, kx = jax.eval_shape(self.kernel).shape
        return ky // 2, kx // 2

    def convolve(
        self, image: Float[Array, "ny nx"], margin: tuple[int, int] = (0, 0)
    ) -> Float[Array, "my mx"]:
        """The image convolved with the PSF.

        Parameters
        ----------
        image
            Sharp image; beyond its edges there is no light.
        margin
            Rows and columns that are cut off on each side of the result. Where they are at least
            `reach`, no light is missing.

        Returns
        -------
        array
            Shape (ny - 2 margin[0], nx - 2 margin[1]).
        """
        kernel = self.kernel()
        sizes = zip(image.shape, kernel.shape, margin, strict=True)
        # what wraps round falls on zeros or is cut off
        padded = tuple(_quick_size(n + max(0, k // 2 - m)) for n, k, m in sizes)
        product = jnp.fft.rfft2(image, s=padded) * jnp.fft.rfft2(_from_origin(kernel, padded))
        inside = tuple(slice(m, n - m) for n, m in zip(image.shape, margin, strict=True))
        return jnp.fft.irfft2(product, s=padded)[inside]


class GaussianPSF(AbstractPSF):
    r"""A round Gaussian, sampled at the pixels' centres, of sum 1.

    .. math:: P(r) \propto \exp\left(-4 \ln 2\, r^2 / \mathrm{FWHM}^2\right)

    Parameters
    ----------
    fwhm
        Full width at half maximum in pixels, > 0.
    size
        Pixels of the kernel along a side, odd; by default it reaches to three times the FWHM.
    """

    fwhm: Float[Array, ""] = param(
        unit="pix", bounds="(0, inf)", label="FWHM", doc="full width at half maximum"
    )
    size: int = eqx.field(static=True)

    def __init__(self, fwhm, size: int | None = None):
        self.fwhm = fwhm
        self.size = _kernel_size("GaussianPSF", fwhm, 3.0, size)

    def __check_init__(self):
        _check_size(self, 1.5)

    def kernel(self):
        return _unit_sum(jnp.exp(-4.0 * math.log(2.0) * _radius_squared(self.size, self.fwhm)))


class MoffatPSF(AbstractPSF):
    r"""A round Moffat function, sampled at the pixels' centres, of sum 1.

    .. math::
        P(r) \propto \left(1 + r^2 / \alpha^2\right)^{-\beta}, \quad
        \alpha = \mathrm{FWHM} / (2 \sqrt{2^{1/\beta} - 1})

    Parameters
    ----------
    fwhm
        Full width at half maximum in pixels, > 0.
    beta
        Exponent of the wings, > 1.
    size
        Pixels of the kernel along a side, odd; by default it reaches to six times the FWHM. What
        is outside is left out, and the sum is 1 over the kernel.

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """

    fwhm: Float[Array, ""] = param(
        unit="pix", bounds="(0, inf)", label="FWHM", doc="full width at half maximum"
    )
    beta: Float[Array, ""] = param(bounds="(1, inf)", label=r"$\beta$", doc="exponent of the wings")
    size: int = eqx.field(static=True)

    def __init__(self, fwhm, beta, size: int | None = None):
        self.fwhm = fwhm
        self.beta = beta
        self.size = _kernel_size("MoffatPSF", fwhm, 6.0, size)

    def __check_init__(self):
        _check_size(self, 1.5)

    def kernel(self):
        spread = 4.0 * (jnp.exp2(1.0 / self.beta) - 1.0)
        wings = jnp.log1p(spread * _radius_squared(self.size, self.fwhm))
        return _unit_sum(jnp.exp(-self.beta * wings))


class ImagePSF(AbstractPSF):
    """A measured PSF.

    Parameters
    ----------
    image
        Shape (ky, kx), even or odd sizes, finite.
    normalization
        "sum": divided by its sum, a convolution conserves the flux. "peak": divided by its
        largest value, for images in units of the PSF's peak (contrast). "none": as it is.
    center
        Zero-based position (x, y) of the PSF's centre; a fraction of a pixel is shifted without
        blurring, in Fourier space. By default the pixel (kx // 2, ky // 2).

    Raises
    ------
    ValueError
        For NaN or masked pixels, a wrong shape, a sum or a peak that is not positive, and a centre
        outside of the image.

    Warns
    -----
    UserWarning
        Where no centre is given and the light is not about that pixel.
    """

    image: Float[Array, "ky kx"] = eqx.field(
        converter=lambda value: real_array("ImagePSF.image", value)
    )
    normalization: Literal["sum", "peak", "none"] = eqx.field(static=True, default="sum")
    center: tuple[float, float] | None = eqx.field(
        static=True, default=None, converter=lambda value: _center(value)
    )

    def __check_init__(self):
        if self.image.ndim != 2:
            raise ValueError(
                f"ImagePSF.image has shape {self.image.shape}, not (ky, kx): one 2-d image."
            )
        check_choice("ImagePSF.normalization", self.normalization, _NORMALIZATIONS)
        _check_center(self.center, self.image.shape)
        if isinstance(self.image, Tracer):
            return
        image = np.asarray(self.image)
        bad = int(np.sum(~np.isfinite(image)))
        if bad:
            raise ValueError(
                f"ImagePSF.image has {bad} NaN, infinite or masked pixels of {image.size}. Cut a "
                "smaller stamp or fill them: each would spread over the whole image."
            )
        scale = {"sum": image.sum(), "peak": image.max(), "none": 1.0}[self.normalization]
        if not scale > 0:
            raise ValueError(
                f"ImagePSF.image has a {self.normalization} of {scale:.3g}, which cannot normalise "
                'it. Subtract less background, or choose normalization="none".'
            )
        if self.center is None and image.max() > 0:
            _warn_off_centre(image)

    def kernel(self):
        kernel = self.image / _NORMALIZATIONS[self.normalization](self.image)
        if self.center is None:
            return kernel
        column, row = (round(c) for c in self.center)
        kernel = _shifted(kernel, (row - self.center[1], column - self.center[0]))
        ky, kx = kernel.shape
        # as many pixels on either side of the centre
        half_y, half_x = max(row, ky - 1 - row), max(column, kx - 1 - column)
        pads = (
            (half_y - row, half_y - (ky - 1 - row)),
            (half_x - column, half_x - (kx - 1 - column)),
        )
        return jnp.pad(kernel, pads)


def _warn_off_centre(image: np.ndarray) -> None:
    """Warn where the light above half of the maximum is not about the pixel (kx // 2, ky // 2)."""
    above = np.maximum(image / image.max() - 0.5, 0.0)
    ky, kx = image.shape
    x, y = (
        np.sum(above * at) / np.sum(above)
        for at in (np.arange(kx)[None, :], np.arange(ky)[:, None])
    )
    if math.hypot(x - kx // 2, y - ky // 2) > _OFF_CENTRE:
        warnings.warn(
            f"ImagePSF.image of {ky} x {kx} pixels is centred about ({x:.2f}, {y:.2f}), but its "
            f"centre is taken to be the pixel ({kx // 2}, {ky // 2}) from 0: the image would be "
            "shifted. Give center=(x, y), that pixel if it is right.",
            stacklevel=4,
        )


def _center(value):
    return None if value is None else position("ImagePSF.center", value)


def _check_center(center, shape) -> None:
    if center is None:
        return
    inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(center, shape[::-1], strict=True))
    if not inside:
        raise ValueError(
            f"ImagePSF.center = {center} is not a position (x, y) in zero-based pixels of an image "
            f"of shape {shape}."
        )


def _shifted(kernel, shift):
    """A stamp moved up and to the right by a fraction of a pixel."""
    if not any(shift):
        return kernel
    freq_y, freq_x = np.fft.fftfreq(kernel.shape[0]), np.fft.rfftfreq(kernel.shape[1])
    turn = -2.0 * np.pi * (freq_y[:, None] * shift[0] + freq_x[None, :] * shift[1])
    turn = jnp.asarray(turn, kernel.dtype)
    spectrum = jnp.fft.rfft2(kernel) * jax.lax.complex(jnp.cos(turn), jnp.sin(turn))
    return jnp.fft.irfft2(spectrum, s=kernel.shape)


def _quick_size(size: int) -> int:
    """A size of at least so many that is quick to transform."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(size, real=True))  # type: ignore


def _from_origin(kernel, padded):
    """The kernel in an array of the padded shape, its centre pixel at the origin."""
    for axis, (n, k) in enumerate(zip(padded, kernel.shape, strict=True)):
        # pixels further from the centre than the image is wide are not needed
        before, after = min(k // 2, n // 2), min(k - 1 - k // 2, (n - 1) // 2)
        kernel = jax.lax.slice_in_dim(kernel, k // 2 - before, k // 2 + after + 1, axis=axis)
        pads = [(0, 0), (0, 0)]
        pads[axis] = (0, n - 1 - before - after)
        kernel = jnp.roll(jnp.pad(kernel, pads), -before, axis=axis)
    return kernel


def _radius_squared(size, unit):
    offset = jnp.asarray(np.arange(size) - size // 2, unit.dtype) / unit
    return offset[:, None] ** 2 + offset[None, :] ** 2


def _unit_sum(kernel):
    return kernel / jnp.sum(kernel)


def _kernel_size(name: str, fwhm, reach: float, size: int | None) -> int:
    if unit_of(fwhm) is not None and unit_of(fwhm).is_equivalent("arcsec"):
        raise TypeError(
            f"{name}.fwhm = {fwhm} is an angle, but pixels are needed: divide it by the pixel "
            "scale, for example 0.05 / 0.014166."
        )
    if size is not None:
        return as_whole_number(f"{name}.size", size)
    if not is_traced(fwhm):
        fwhm = as_number(f"{name}.fwhm", fwhm, "pix")
    try:
        return 2 * max(1, math.ceil(reach * float(fwhm))) + 1
    except Exception as error:
        raise ValueError(
            "The size of a PSF's kernel is part of the compiled program and cannot follow an FWHM "
            "that is not a finite number there: pass size=..."
        ) from error


def _check_size(psf, reach: float):
    name = type(psf).__name__
    if psf.size < 1 or psf.size % 2 == 0:
        raise ValueError(f"{name}.size = {psf.size} is not an odd number of pixels.")
    try:
        fwhm = float(psf.fwhm)
    except Exception:  # traced: nothing to check
        return
    if psf.size // 2 < reach * fwhm - 1.0:
        raise ValueError(
            f"{name}.size = {psf.size} pixels cut off a PSF of FWHM {fwhm:.3g}: give a size of at "
            f"least {2 * math.ceil(reach * fwhm) + 1}."
        )
