"""Point spread functions and the convolution of an image with them."""

import abc
import math
from typing import Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import (
    as_whole_number,
    check_choice,
)

from .._arrays import position, real_array
from .kernels import check_size, cut_off, kernel_size
from .stamps import centred, check_center, warn_of_sky, warn_off_centre

_NORMALIZATIONS = {"sum": jnp.sum, "peak": jnp.max, "none": jnp.ones_like}


class AbstractPSF(Model):
    """What a point becomes on the detector.

    A new PSF is a class with its parameters as fields and one method, `kernel`.
    """

    @abc.abstractmethod
    def kernel(self) -> Float[Array, "ky kx"]:
        """The PSF on the pixel grid; its centre is the pixel (ky // 2, kx // 2)."""

    @property
    def points_per_pixel(self) -> int:
        """Points along each side of a pixel at which the kernel is sampled."""
        return 1

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of pixels from which light falls into one, on each side of it."""
        ky, kx = (-(-(k // 2) // self.points_per_pixel) for k in jax.eval_shape(self.kernel).shape)
        return ky, kx

    def check_shape(self, shape: tuple[int, int]) -> None:
        """ValueError where the PSF is not for an image of this shape (ny, nx)."""

    def remark(self) -> str:
        """A sentence where the kernel is too small for what the PSF has become, or nothing."""
        return ""

    def crop(self, rows: slice, columns: slice) -> Self:
        """Return the PSF of a part of the image: itself where it is the same everywhere."""
        return self

    def convolve(
        self, image: Float[Array, "ny nx"], margin: tuple[int, int] = (0, 0)
    ) -> Float[Array, "my mx"]:
        """The image convolved with the PSF.

        Parameters
        ----------
        image
            Sharp image, sampled as the kernel is; beyond its edges there is no light.
        margin
            Rows and columns of it that are cut off on each side of the result. Where they are at
            least `reach`, in pixels, no light is missing.

        Returns
        -------
        array
            Shape (ny - 2 margin[0], nx - 2 margin[1]).
        """
        kernel = self.kernel()

        def spectrum(padded):
            return jnp.fft.rfft2(image, s=padded) * jnp.fft.rfft2(_from_origin(kernel, padded))

        return _filtered(spectrum, image.shape, kernel.shape, margin)


def convolved_sum(
    images: Float[Array, "terms ny nx"],
    kernels: Float[Array, "terms ky kx"],
    margin: tuple[int, int],
) -> Float[Array, "my mx"]:
    """The sum of several images, each convolved with its kernel, see `AbstractPSF.convolve`."""

    def spectrum(padded):
        def add(total, term):
            image, kernel = term
            product = jnp.fft.rfft2(image, s=padded) * jnp.fft.rfft2(_from_origin(kernel, padded))
            return total + product, None

        one = jax.eval_shape(lambda image: jnp.fft.rfft2(image, s=padded), images[0])
        nothing = jnp.zeros(one.shape, one.dtype)
        return jax.lax.scan(add, nothing, (images, kernels))[0]

    return _filtered(spectrum, images.shape[1:], kernels.shape[1:], margin)


def _filtered(spectrum, shape, kernel_shape, margin):
    """The image of a spectrum, a function of the padded shape, inside of the margin."""
    sizes = zip(shape, kernel_shape, margin, strict=True)
    # what wraps round falls on zeros or is cut off
    padded = tuple(_quick_size(n + max(0, k // 2 - m)) for n, k, m in sizes)
    inside = tuple(slice(m, n - m) for n, m in zip(shape, margin, strict=True))
    return jnp.fft.irfft2(spectrum(padded), s=padded)[inside]


class GaussianPSF(AbstractPSF):
    r"""A round Gaussian, sampled at the pixels' centres, of sum 1.

    .. math:: P(r) \propto \exp\left(-4 \ln 2\, r^2 / \mathrm{FWHM}^2\right)

    Parameters
    ----------
    fwhm
        Full width at half maximum in pixels, > 0.
    size
        Pixels of the kernel along a side, odd; by default it reaches to three times the FWHM.

    Examples
    --------
    >>> round(float(GaussianPSF(fwhm=3.0).kernel().sum()), 6)
    1.0
    """

    fwhm: Float[Array, ""] = param(
        unit="pix", bounds="(0, inf)", label="FWHM", doc="full width at half maximum"
    )
    size: int = eqx.field(static=True)

    def __init__(self, fwhm, size: int | None = None):
        self.fwhm = fwhm
        self.size = kernel_size("GaussianPSF", fwhm, 3.0, size)

    def __check_init__(self):
        check_size(self, 1.5, self.fwhm)

    def remark(self):
        return cut_off(self, 1.5, float(self.fwhm))

    def kernel(self):
        return _unit_sum(jnp.exp(-4.0 * math.log(2.0) * _radius_squared(self.size, self.fwhm)))


class EllipticalGaussianPSF(AbstractPSF):
    r"""A Gaussian of elliptic contours, sampled at the pixels' centres, of sum 1.

    .. math::
        P \propto \exp\left[-4 \ln 2 \left(u^2 / \mathrm{FWHM}_{major}^2
        + v^2 / \mathrm{FWHM}_{minor}^2\right)\right], \quad
        u = y \cos A - x \sin A, \quad v = x \cos A + y \sin A

    with the columns :math:`x` and rows :math:`y` from the centre.

    Parameters
    ----------
    fwhm_major, fwhm_minor
        Full widths at half maximum along the two axes in pixels, > 0.
    angle
        Of the major axis on the detector, degrees from its y axis (up) towards -x (left): the
        position angle less the roll, where the detector is not mirrored.
    size
        Pixels of the kernel along a side, odd; by default it reaches to three times the larger
        FWHM.
    """

    fwhm_major: Float[Array, ""] = param(
        unit="pix", bounds="(0, inf)", label="FWHM$_{major}$", doc="width along the major axis"
    )
    fwhm_minor: Float[Array, ""] = param(
        unit="pix", bounds="(0, inf)", label="FWHM$_{minor}$", doc="width along the minor axis"
    )
    angle: Float[Array, ""] = param(
        unit="deg", label="$A$", doc="major axis, from the detector's y axis towards -x"
    )
    size: int = eqx.field(static=True)

    def __init__(self, fwhm_major, fwhm_minor, angle, size: int | None = None):
        self.fwhm_major, self.fwhm_minor, self.angle = fwhm_major, fwhm_minor, angle
        widths = {"fwhm_major": fwhm_major, "fwhm_minor": fwhm_minor}
        sizes = (
            kernel_size("EllipticalGaussianPSF", width, 3.0, size, name)
            for name, width in widths.items()
        )
        self.size = max(sizes)

    def __check_init__(self):
        for width in (self.fwhm_major, self.fwhm_minor):
            check_size(self, 1.5, width)

    def remark(self):
        return cut_off(self, 1.5, max(float(self.fwhm_major), float(self.fwhm_minor)))

    def kernel(self):
        place = jnp.asarray(np.arange(self.size) - self.size // 2, self.angle.dtype)
        x, y, turn = place[None, :], place[:, None], jnp.deg2rad(self.angle)
        along = (y * jnp.cos(turn) - x * jnp.sin(turn)) / self.fwhm_major
        across = (x * jnp.cos(turn) + y * jnp.sin(turn)) / self.fwhm_minor
        return _unit_sum(jnp.exp(-4.0 * math.log(2.0) * (along**2 + across**2)))


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
        self.size = kernel_size("MoffatPSF", fwhm, 6.0, size)

    def __check_init__(self):
        check_size(self, 1.5, self.fwhm)

    def remark(self):
        return cut_off(self, 1.5, float(self.fwhm))

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
    oversample
        Points per pixel along each side at which the image is sampled. The disk is rendered on as
        many, or a multiple: ``View(oversample=)``. The result is averaged over each pixel. Sum
        and peak are those of the image as it is sampled.

    Raises
    ------
    ValueError
        For NaN or masked pixels, a wrong shape, a sum or a peak that is not positive, and a centre
        outside of the image.

    Warns
    -----
    UserWarning
        Where no centre is given and the light is not about that pixel, and for a stamp whose sum is
        partly that of a level background.

    Examples
    --------
    >>> star = [[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]]
    >>> round(float(ImagePSF(star).kernel()[1, 1]), 3)  # the sum becomes 1
    0.5
    """

    image: Float[Array, "ky kx"] = eqx.field(
        converter=lambda value: real_array("ImagePSF.image", value)
    )
    normalization: Literal["sum", "peak", "none"] = eqx.field(static=True, default="sum")
    center: tuple[float, float] | None = eqx.field(
        static=True, default=None, converter=lambda value: _center(value)
    )
    oversample: int = eqx.field(
        static=True,
        default=1,
        converter=lambda value: as_whole_number("ImagePSF.oversample", value, 1),
    )

    def __check_init__(self):
        if self.image.ndim != 2:
            raise ValueError(
                f"ImagePSF.image has shape {self.image.shape}, not (ky, kx): one 2-d image."
            )
        check_choice("ImagePSF.normalization", self.normalization, _NORMALIZATIONS)
        check_center("ImagePSF.center", self.center, self.image.shape)
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
        if self.normalization == "sum":
            warn_of_sky("ImagePSF.image", image)
        if self.center is None and image.max() > 0:
            warn_off_centre("ImagePSF.image", image)

    @property
    def points_per_pixel(self):
        return self.oversample

    def kernel(self):
        kernel = self.image / _NORMALIZATIONS[self.normalization](self.image)
        if self.normalization == "peak":  # of a pixel's light, which is spread over its points
            kernel = kernel / self.oversample**2
        return kernel if self.center is None else centred(kernel, self.center)


def _center(value):
    return None if value is None else position("ImagePSF.center", value)


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
