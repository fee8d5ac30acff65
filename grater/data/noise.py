"""Noise of an image: how data scatter about a model, and how large that is in an image."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Key

from pytreefit import Model, param
from pytreefit.extend import as_booleans, as_data, as_number, check_shape, is_traced, unit_of

from .._arrays import opened, position, real_array

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)

Image = Float[Array, "ny nx"]
Mask = Bool[Array, "ny nx"]


class AbstractNoise(Model):
    """Distribution of an image's pixels about the model's image.

    A noise model whose pixels are independent has `log_density`, `width` and `draw`. One with
    Gaussian pixels is an `AbstractGaussianNoise` and has its `width` only. One whose pixels are
    correlated has a `log_likelihood` of its own. Where that is a sum of squares, `residuals` and
    `log_normalization` say so, and fits use the Levenberg-Marquardt method.

    In all methods ``image`` are the data, ``model`` is the model's image, ``error`` the error map
    and ``mask`` True where a pixel is used, all of shape (ny, nx).
    """

    @abc.abstractmethod
    def log_density(self, image: Image, model: Image, error: Image) -> Image:
        """Log-density of each pixel, normalised, so that noise models can be compared."""

    @abc.abstractmethod
    def width(self, model: Image, error: Image) -> Image:
        """How far each pixel scatters, in the unit of the image."""

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], model: Image, error: Image) -> Image:
        """One random image: the model with noise."""

    def log_likelihood(
        self, image: Image, model: Image, error: Image, mask: Mask
    ) -> Float[Array, ""]:
        """Log-likelihood of an image: the sum of `log_density` over the pixels in use.

        The others add exactly 0 and have no gradient.
        """
        image, model = jnp.where(mask, image, 0.0), jnp.where(mask, model, 0.0)
        error = jnp.where(mask, error, 1.0)
        return jnp.sum(jnp.where(mask, self.log_density(image, model, error), 0.0))

    #: Whether `log_normalization` depends on the model's image.
    normalization_needs_model: ClassVar[bool] = True

    def residuals(
        self, image: Image, model: Image, error: Image, mask: Mask
    ) -> Float[Array, " pixels"] | None:
        r"""Vector :math:`r` with :math:`\ln L = \sum (n - r^2 / 2)`; None where there is none."""
        return None

    def log_normalization(
        self, model: Image, error: Image, mask: Mask
    ) -> Float[Array, " pixels"] | None:
        r"""Vector :math:`n` with :math:`\ln L = \sum (n - r^2 / 2)`; None where there is none."""
        return None

    def plan(self, mask: Mask, varied: "AbstractNoise") -> Any:
        """What a posterior works out once for the pixels in use; None where that is nothing.

        It has a method ``noise(noise)`` that returns the noise with it. ``varied`` is the same
        noise with new arrays in place of everything that may change.
        """
        return None

    def remark(self, mask: Mask) -> str:
        """A sentence where the noise is approximated too roughly for these pixels, or nothing."""
        return ""

    def without(self, image: Image, model: Image, error: Image, mask: Mask) -> Image:
        """The image without the starlight that is part of the noise: here there is none."""
        return image

    def whitened(
        self, light: Image, model: Image, error: Image, mask: Mask
    ) -> tuple[Float[Array, " pixels"], Float[Array, ""]]:
        """What light adds to `residuals` times a factor, and the factor.

        It is the same in all pixels, such as a scale of the noise: what does not depend on it is
        then not differentiated.

        Raises
        ------
        TypeError
            Where the noise is not Gaussian, so that starlight cannot be integrated out.
        """
        raise TypeError(
            f"noise = {self!r} is not Gaussian: Observation.starlight needs GaussianNoise or "
            "another AbstractGaussianNoise."
        )


class AbstractGaussianNoise(AbstractNoise):
    r"""Independent Gaussian noise. A new one is a class with the method `width`.

    .. math:: \ln L = \sum \left[ -\ln w - \tfrac12 \ln 2\pi - \tfrac12 r^2 \right], \qquad
              r = (D - M) / w

    with the data :math:`D`, the model :math:`M` and the width :math:`w` of each pixel.
    """

    def log_density(self, image, model, error):
        squares = jnp.square(self._over_width(image - model, model, error))
        return -0.5 * squares - self._log_width(model, error) - _HALF_LOG_TWO_PI

    def draw(self, key, model, error):
        return model + self.width(model, error) * jax.random.normal(key, error.shape, model.dtype)

    def residuals(self, image, model, error, mask):
        return jnp.ravel(self._over_width(jnp.where(mask, image - model, 0.0), model, error))

    def whitened(self, light, model, error, mask):
        rows = jnp.ravel(self._over_width(jnp.where(mask, light, 0.0), model, error))
        return rows, jnp.ones((), error.dtype)

    def _over_width(self, light, model, error):
        return light / self.width(model, error)

    def _log_width(self, model, error):
        return jnp.log(self.width(model, error))

    def log_normalization(self, model, error, mask):
        width = self._log_width(model, error)
        return jnp.ravel(jnp.where(mask, -width - _HALF_LOG_TWO_PI, 0.0))


class GaussianNoise(AbstractGaussianNoise):
    r"""Independent Gaussian noise of standard deviation ``scale`` times the error map.

    Parameters
    ----------
    scale : float
        Factor :math:`s > 0` on the error map, dimensionless; free it where the error map is known
        in shape only.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((2, 2))
    >>> round(float(GaussianNoise().log_likelihood(ones, ones, ones, ones > 0)) / 4, 4)
    -0.9189
    """

    scale: Array = param(
        bounds="(0, inf)", label=r"$s$", doc="factor on the error map", default=1.0
    )
    normalization_needs_model = False

    def width(self, model, error):
        return self.scale * error

    def whitened(self, light, model, error, mask):
        return jnp.ravel(jnp.where(mask, light, 0.0) / error), self.scale

    # so that derivatives by the scale hold no square of the error, which in single precision would
    # be 0 for images in units such as W/m2
    def _over_width(self, light, model, error):
        return light / error / self.scale

    def _log_width(self, model, error):
        return jnp.log(self.scale) + jnp.log(error)


class AnnularNoise(AbstractGaussianNoise):
    r"""Independent Gaussian noise whose error map has another factor in each annulus.

    .. math:: D_k - M_k \sim N(0,\; s_{a(k)}^2\, \sigma_k^2)

    with the factor :math:`s` of the annulus :math:`a(k)` of pixel k, and the error map
    :math:`\sigma`.

    Parameters
    ----------
    scale : array (k,)
        Factors :math:`s > 0` on the error map, dimensionless, from the inside outwards.
    annulus : array (ny, nx)
        Number of the annulus of each pixel, from 0. `about` makes it from radii; any other regions
        will do.

    Raises
    ------
    ValueError, TypeError
        For numbers of annuli that have no scale, for arrays of other kinds, and where the image has
        another shape.

    Examples
    --------
    >>> from grater import Grid
    >>> noise = AnnularNoise.about(Grid((41, 41), 0.014, 72.0), edges=[10.0])
    >>> noise.scale.shape
    (2,)
    """

    scale: Array = param(
        shape=None, bounds="(0, inf)", label=r"$s$", doc="factors on the error map, by annulus"
    )
    annulus: Array = eqx.field(converter=lambda value: real_array("AnnularNoise.annulus", value))
    normalization_needs_model = False

    def __check_init__(self):
        check_shape("AnnularNoise.scale", self.scale, ndim=1)
        check_shape("AnnularNoise.annulus", self.annulus, ndim=2)
        if is_traced(self.annulus):
            return
        annulus, number = np.asarray(self.annulus), len(self.scale)
        wrong = ~np.isin(annulus, np.arange(number))
        if wrong.any():
            raise ValueError(
                f"AnnularNoise.annulus holds {annulus[wrong][0]:g}, but there are {number} scales: "
                f"the annuli are 0 to {number - 1}."
            )

    @classmethod
    def about(cls, grid: Any, edges: Any, scale: Any = 1.0) -> "AnnularNoise":
        """Return the noise of annuli about the star.

        Parameters
        ----------
        grid : Grid
            Pixels of the image, as of `Observation.grid`.
        edges
            Increasing radii in pixels, > 0, that part the annuli: one number for two of them.
        scale
            Factor in each, or in all.

        Raises
        ------
        ValueError, TypeError
            For radii that are not positive or do not increase, and as `AnnularNoise`.
        """
        edges = as_data("AnnularNoise.about: edges", edges, "pix", ndim=1)
        if not (np.all(edges > 0) and np.all(np.diff(edges) > 0)):
            raise ValueError(f"AnnularNoise.about: edges = {edges} are no increasing radii > 0.")
        y, x = np.indices(grid.shape)
        x0, y0 = np.asarray(grid.center, float)
        annulus = np.searchsorted(edges, np.hypot(x - x0, y - y0), side="right")
        return cls(np.broadcast_to(np.asarray(scale, float), (edges.size + 1,)), annulus)

    def _factor(self, error):
        if self.annulus.shape != error.shape:
            raise ValueError(
                f"AnnularNoise.annulus has shape {self.annulus.shape}, the image {error.shape}: "
                "make it anew, AnnularNoise.about(observation.grid, ...)."
            )
        return self.scale[self.annulus.astype(int)]

    def width(self, model, error):
        return self._factor(error) * error

    def _over_width(self, light, model, error):
        return light / error / self._factor(error)

    def _log_width(self, model, error):
        return jnp.log(self._factor(error)) + jnp.log(error)


class StudentTNoise(AbstractNoise):
    r"""Independent Student-t noise, whose heavy tails let a few bad pixels count for little.

    .. math::

        \ln p(u) = \ln\Gamma\!\left(\tfrac{\nu+1}{2}\right) - \ln\Gamma\!\left(\tfrac{\nu}{2}\right)
                   - \tfrac12 \ln(\pi\nu) - \tfrac{\nu+1}{2} \ln\!\left(1 + \frac{u^2}{\nu}\right)

    Parameters
    ----------
    scale : float
        Factor :math:`s > 0` on the error map, dimensionless. The standard deviation of a pixel is
        :math:`s\,\sigma\sqrt{\nu/(\nu-2)}` for :math:`\nu > 2`.
    df : float
        Degrees of freedom :math:`\nu > 0`; Gaussian noise as it grows.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> far, zero, one = jnp.array(5.0), jnp.array(0.0), jnp.array(1.0)
    >>> round(float(StudentTNoise(df=4.0).log_density(far, zero, one)), 3)  # a Gaussian has -13.4
    -5.933
    """

    scale: Array = param(
        bounds="(0, inf)", label=r"$s$", doc="factor on the error map", default=1.0
    )
    df: Array = param(bounds="(0, inf)", label=r"$\nu$", doc="degrees of freedom", default=4.0)

    def width(self, model, error):
        return self.scale * error

    def log_density(self, image, model, error):
        half = 0.5 * (self.df + 1.0)
        constant = gammaln(half) - gammaln(0.5 * self.df) - 0.5 * jnp.log(math.pi * self.df)
        u = (image - model) / error / (self.scale * jnp.sqrt(self.df))  # as for Gaussian noise
        # far out the square of u overflows in single precision
        far = jnp.abs(u) > 1.0
        safe = jnp.where(far, u, 1.0)
        bend = jnp.log1p(jnp.square(jnp.where(far, 1.0 / safe, u)))
        return (
            constant
            - half * (bend + 2.0 * jnp.log(jnp.abs(safe)))
            - jnp.log(self.scale)
            - jnp.log(error)
        )

    def draw(self, key, model, error):
        return model + self.scale * error * jax.random.t(key, self.df, error.shape, model.dtype)


class PoissonNoise(AbstractNoise):
    r"""Counted photons, of the model's light and of a background that was subtracted.

    .. math:: \ln p = k \ln\mu - \mu - \ln\Gamma(k + 1) + \ln g, \qquad
              k = g\,(D + b), \quad \mu = g\,(M + b)

    with the data :math:`D` and the model :math:`M`. The error map is not used.

    Parameters
    ----------
    gain : float
        Counts :math:`g > 0` for one unit of the image.
    background : float
        Light :math:`b \ge 0` in each pixel besides the model's, in the unit of the image.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> noise = PoissonNoise(gain=2.0)
    >>> round(float(noise.width(jnp.array(8.0), jnp.array(1.0))), 3)
    2.0
    """

    gain: Array = param(bounds="(0, inf)", label="$g$", doc="counts per unit of the image")
    background: Array = param(
        bounds="[0, inf)", label="$b$", doc="light that was subtracted", default=0.0
    )

    def _expected(self, model):
        # where there is no light at all a count is next to impossible, but gradients are finite
        return jnp.maximum(self.gain * (model + self.background), 1e-30)

    def width(self, model, error):
        return jnp.sqrt(self._expected(model)) / self.gain

    def log_density(self, image, model, error):
        counts, expected = self.gain * (image + self.background), self._expected(model)
        counts = jnp.maximum(counts, 0.0)
        return counts * jnp.log(expected) - expected - gammaln(counts + 1.0) + jnp.log(self.gain)

    def draw(self, key, model, error):
        counts = jax.random.poisson(key, self._expected(model), error.shape)
        return counts.astype(model.dtype) / self.gain - self.background


def noise_map(image: Any, center: Any = None, half_width: float = 1.5, mask: Any = None) -> Any:
    r"""Return the noise of an image as a function of the distance from the star.

    .. math::

        \sigma(p)^2 = \frac{1}{N_p} \sum_{|r_k - r_p| \le w} (v_k - \bar v_p)^2

    is the population variance of all :math:`N_p` finite pixels in the annulus of half-width
    :math:`w` about the radius of pixel :math:`p`.

    Parameters
    ----------
    image : array (ny, nx)
        An image without the disk, best of all :math:`U_\phi`; the disk's own image overestimates
        the noise where the disk is. Pixels that are not finite or masked are left out.
    center : (x, y), optional
        Pixel of the star, zero-based; by default ``(nx // 2, ny // 2)``.
    half_width : float
        Half the width of the annuli, in pixels, > 0.
    mask : array of bool (ny, nx), optional
        True where a pixel is used, as for `Observation`: a single bad pixel spoils its annulus.

    Returns
    -------
    numpy.ndarray (ny, nx)
        The noise at every pixel, a Quantity where the image is one. NaN where the annulus holds
        fewer than two finite pixels.

    Raises
    ------
    ValueError
        If ``image`` is not 2-d, ``mask`` has another shape, ``center`` is no pixel, or
        ``half_width`` is not positive.
    TypeError
        If ``image`` holds no real numbers, or ``mask`` no booleans.

    Examples
    --------
    >>> import numpy as np
    >>> noise_map(np.arange(9.0).reshape(3, 3), half_width=2.0)[1, 1].round(3)
    np.float64(2.582)
    """
    image = opened(image)
    values, unit = as_data("noise_map: image", image), unit_of(image)
    if values.ndim != 2:
        raise ValueError(f"noise_map needs a 2-d image (ny, nx), not one of shape {values.shape}.")
    if not as_number("noise_map: half_width", half_width, "pix") > 0:
        raise ValueError(f"noise_map: half_width = {half_width} must be > 0 pixels.")
    ny, nx = values.shape
    x0, y0 = (nx // 2, ny // 2) if center is None else position("noise_map: center", center)
    x, y = np.arange(nx) - x0, np.arange(ny) - y0
    radius = np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)

    finite = np.isfinite(values)
    if mask is not None:
        finite &= as_booleans("noise_map: mask", mask, shape=values.shape)
    sigma = _scatter(radius, values, finite, half_width)
    return sigma if unit is None else sigma * unit


def _scatter(radius, values, finite, half_width) -> np.ndarray:
    """The standard deviation in the annulus about each pixel, NaN for fewer than two values."""
    order = np.argsort(radius[finite], kind="stable")
    sorted_radius, sorted_values = radius[finite][order], values[finite][order]
    distinct, where = np.unique(radius, return_inverse=True)
    slack = 1e-9  # pixels on the edge of an annulus belong to it whatever the rounding
    first = np.searchsorted(sorted_radius, distinct - half_width - slack, side="left")
    last = np.searchsorted(sorted_radius, distinct + half_width + slack, side="right")
    sigma = np.full(distinct.size, np.nan)
    for k, (i, j) in enumerate(zip(first, last, strict=True)):
        if j - i >= 2:
            sigma[k] = sorted_values[i:j].std()
    return sigma[where].reshape(values.shape)
