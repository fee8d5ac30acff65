"""Point spread functions and the convolution of an image with them."""

import abc
import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from pytreefit import Model, param


class AbstractPSF(Model):
    """What a point becomes on the detector.

    A new PSF is a class with its parameters as fields and one method, `kernel`.
    """

    @abc.abstractmethod
    def kernel(self) -> Float[Array, "k k"]:
        """The PSF on the pixel grid; its centre is the pixel (size // 2, size // 2)."""

    def transform(self, shape: tuple[int, int]) -> Complex[Array, "n m"]:
        """Fourier transform of the kernel, for images of a shape padded against wrapping round."""
        kernel = self.kernel()
        return jnp.fft.rfft2(_centred(kernel, padded_shape(shape, kernel.shape)))

    def convolve(self, image: Float[Array, "ny nx"]) -> Float[Array, "ny nx"]:
        """The image convolved with the PSF; nothing comes from beyond its edges."""
        padded = padded_shape(image.shape, self.kernel().shape)
        return _convolve(image, self.transform(image.shape), padded)

    def planned(self, shape: tuple[int, int]) -> "AbstractPSF":
        """The same PSF with all worked out that can be worked out for images of one shape."""
        return self


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
        self.size = _kernel_size(fwhm, 3.0) if size is None else size

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
        self.size = _kernel_size(fwhm, 6.0) if size is None else size

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
        For NaN pixels, a wrong shape, a sum or a peak that is not positive.
    """

    image: Float[Array, "ky kx"]
    center: Float[Array, " 2"]

    def __init__(
        self,
        image,
        normalization: Literal["sum", "peak", "none"] = "sum",
        center: tuple[float, float] | None = None,
    ):
        image = np.asarray(image, dtype=float)
        if image.ndim != 2:
            raise ValueError(
                f"ImagePSF.image has shape {image.shape}, not (ky, kx): one 2-d image."
            )
        bad = int(np.sum(~np.isfinite(image)))
        if bad:
            raise ValueError(
                f"ImagePSF.image has {bad} NaN or infinite pixels of {image.size}. Cut a smaller "
                "stamp or fill them: each would spread over the whole image."
            )
        scales = {"sum": image.sum(), "peak": image.max(), "none": 1.0}
        if normalization not in scales:
            raise ValueError(
                f"ImagePSF normalization = {normalization!r} is unknown. Choose one of "
                f"{', '.join(map(repr, scales))}."
            )
        if not scales[normalization] > 0:
            raise ValueError(
                f"ImagePSF.image has a {normalization} of {scales[normalization]:.3g}, which "
                'cannot normalise it. Subtract less background, or choose normalization="none".'
            )
        ky, kx = image.shape
        at = np.asarray((kx // 2, ky // 2) if center is None else center, dtype=float)
        if at.shape != (2,) or not np.all(np.isfinite(at)):
            raise ValueError(
                f"ImagePSF center = {center} is not a position (x, y) in zero-based pixels."
            )
        self.image = jnp.asarray(image / scales[normalization], float)
        self.center = jnp.asarray(at, float)

    def kernel(self):
        return self.image

    def transform(self, shape):
        ky, kx = self.image.shape
        padded = padded_shape(shape, (ky, kx))
        spectrum = jnp.fft.rfft2(_centred(self.image, padded))
        # what is left between the centre and the pixel that was rolled to the origin
        shift_x, shift_y = kx // 2 - self.center[0], ky // 2 - self.center[1]
        freq_y = jnp.asarray(np.fft.fftfreq(padded[0])[:, None], self.image.dtype)
        freq_x = jnp.asarray(np.fft.rfftfreq(padded[1])[None, :], self.image.dtype)
        turn = -2.0 * np.pi * (freq_y * shift_y + freq_x * shift_x)
        return spectrum * jax.lax.complex(jnp.cos(turn), jnp.sin(turn))

    def planned(self, shape):
        padded = padded_shape(shape, self.image.shape)
        return PlannedPSF(self.transform(shape), shape=tuple(shape), padded=padded)


class PlannedPSF(AbstractPSF):
    """The Fourier transform of a fixed PSF for images of one shape, made by `ImagePSF.planned`."""

    spectrum: Complex[Array, "n m"]
    shape: tuple[int, int] = eqx.field(static=True)
    padded: tuple[int, int] = eqx.field(static=True)

    def kernel(self):
        """The PSF as the transform holds it, centred in an array of the padded shape."""
        return jnp.fft.fftshift(jnp.fft.irfft2(self.spectrum, s=self.padded))

    def transform(self, shape):
        return self.spectrum

    def convolve(self, image):
        self.planned(image.shape)
        return _convolve(image, self.spectrum, self.padded)

    def planned(self, shape):
        if tuple(shape) != self.shape:
            raise ValueError(
                f"PlannedPSF is made for images of shape {self.shape}, not {tuple(shape)}. Give "
                "the ImagePSF itself to a scene of another shape."
            )
        return self


def padded_shape(shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> tuple[int, int]:
    """Sides, quick to transform, of at least image plus kernel minus 1: nothing wraps round."""
    from scipy.fft import next_fast_len

    ny, nx = (n + k - 1 for n, k in zip(shape, kernel_shape, strict=True))
    return int(next_fast_len(ny, real=True)), int(next_fast_len(nx, real=True))  # type: ignore


def _convolve(image, spectrum, padded):
    product = jnp.fft.rfft2(image, s=padded) * spectrum
    return jnp.fft.irfft2(product, s=padded)[: image.shape[0], : image.shape[1]]


def _centred(kernel, padded):
    """The kernel in an array of the padded shape, its centre pixel at the origin."""
    ky, kx = kernel.shape
    wide = jnp.pad(kernel, ((0, padded[0] - ky), (0, padded[1] - kx)))
    return jnp.roll(wide, (-(ky // 2), -(kx // 2)), axis=(0, 1))


def _radius_squared(size, unit):
    offset = jnp.asarray(np.arange(size) - size // 2, unit.dtype) / unit
    return offset[:, None] ** 2 + offset[None, :] ** 2


def _unit_sum(kernel):
    return kernel / jnp.sum(kernel)


def _kernel_size(fwhm, reach: float) -> int:
    if hasattr(fwhm, "to_value"):
        fwhm = fwhm.to_value("pix")
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
