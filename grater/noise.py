"""Noise of an image: measured from its pixels, and as a distribution of its residuals."""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Key

from pytreefit import Model, param

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class AbstractNoise(Model):
    """A distribution of independent pixel residuals whose width is ``scale`` times the error map.

    A new noise model is a class with the field ``scale`` and the methods ``log_density`` and
    ``standard_draw``.
    """

    scale: eqx.AbstractVar[Array]

    @abc.abstractmethod
    def log_density(self, standardized: Array) -> Array:
        """Return the log-density of residuals in units of ``scale * error`` (same shape)."""

    @abc.abstractmethod
    def standard_draw(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Return random residuals in units of ``scale * error``, of the given shape."""

    def log_likelihood(
        self,
        residual: Float[Array, "ny nx"],
        error: Float[Array, "ny nx"],
        mask: Bool[Array, "ny nx"],
    ) -> Float[Array, ""]:
        r"""Return the log-likelihood of the residuals, summed over the pixels in use.

        .. math::

            \ln L = \sum_{\mathrm{mask}} \left[ \ln p\!\left(\frac{r}{s\,\sigma}\right)
                    - \ln (s\,\sigma) \right]

        It is normalised, constants included, so that the scale :math:`s` can be fitted and noise
        models can be compared.

        Parameters
        ----------
        residual : array (ny, nx)
            Image minus model, in the unit of the image.
        error : array (ny, nx)
            Error map :math:`\sigma`, > 0, in the same unit.
        mask : array of bool (ny, nx)
            True where a pixel is used; the others add exactly 0 and have no gradient.
        """
        width = self.scale * jnp.where(mask, error, jnp.ones_like(error))
        standardized = jnp.where(mask, residual, jnp.zeros_like(residual)) / width
        terms = self.log_density(standardized) - jnp.log(width)
        return jnp.sum(jnp.where(mask, terms, jnp.zeros_like(terms)))

    def draw(self, key: Key[Array, ""], error: Float[Array, "ny nx"]) -> Float[Array, "ny nx"]:
        """Return one random noise image, in the unit of the error map."""
        return self.scale * error * self.standard_draw(key, error.shape)


class GaussianNoise(AbstractNoise):
    r"""Independent Gaussian noise of standard deviation ``scale`` times the error map.

    .. math:: \ln p(u) = -\tfrac12 u^2 - \tfrac12 \ln 2\pi, \qquad u = r / (s\,\sigma)

    Parameters
    ----------
    scale : float
        Factor :math:`s > 0` on the error map, dimensionless; free it where the error map is known
        in shape only.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ones = jnp.ones((2, 2))
    >>> round(float(GaussianNoise().log_likelihood(0.0 * ones, ones, ones > 0)) / 4, 4)
    -0.9189
    """

    scale: Array = param(
        bounds="(0, inf)", label=r"$s$", doc="factor on the error map", default=1.0
    )

    def log_density(self, standardized: Array) -> Array:
        """Return the log-density of the unit normal distribution."""
        return -0.5 * jnp.square(standardized) - _HALF_LOG_TWO_PI

    def standard_draw(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Return draws of the unit normal distribution."""
        return jax.random.normal(key, shape, self.scale.dtype)


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
    """

    scale: Array = param(
        bounds="(0, inf)", label=r"$s$", doc="factor on the error map", default=1.0
    )
    df: Array = param(bounds="(0, inf)", label=r"$\nu$", doc="degrees of freedom", default=4.0)

    def log_density(self, standardized: Array) -> Array:
        """Return the log-density of Student's t distribution."""
        half = 0.5 * (self.df + 1.0)
        constant = gammaln(half) - gammaln(0.5 * self.df) - 0.5 * jnp.log(math.pi * self.df)
        return constant - half * jnp.log1p(jnp.square(standardized) / self.df)

    def standard_draw(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Return draws of Student's t distribution."""
        return jax.random.t(key, self.df, shape, self.scale.dtype)


def noise_map(image: Any, center: tuple[float, float] | None = None, half_width: float = 1.5):
    r"""Return the noise of an image as a function of the distance from the star.

    .. math::

        \sigma(p)^2 = \frac{1}{N_p} \sum_{|r_k - r_p| \le w} (v_k - \bar v_p)^2

    is the population variance of all :math:`N_p` finite pixels in the annulus of half-width
    :math:`w` about the radius of pixel :math:`p`.

    Parameters
    ----------
    image : array (ny, nx)
        An image without the disk, best of all :math:`U_\phi`; the disk's own image overestimates
        the noise where the disk is. Pixels that are not finite are left out.
    center : (x, y), optional
        Pixel of the star, zero-based; by default ``(nx // 2, ny // 2)``.
    half_width : float
        Half the width of the annuli, in pixels, > 0.

    Returns
    -------
    numpy.ndarray (ny, nx)
        The noise at every pixel, NaN where the annulus holds fewer than two finite pixels.

    Raises
    ------
    ValueError
        If ``image`` is not 2-d or ``half_width`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> noise_map(np.arange(9.0).reshape(3, 3), half_width=2.0)[1, 1].round(3)
    np.float64(2.582)
    """
    values = np.asarray(image, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"noise_map needs a 2-d image (ny, nx), not one of shape {values.shape}.")
    if not half_width > 0:
        raise ValueError(f"noise_map: half_width = {half_width} must be > 0 pixels.")
    ny, nx = values.shape
    x0, y0 = (nx // 2, ny // 2) if center is None else (float(c) for c in center)
    x, y = np.arange(nx) - x0, np.arange(ny) - y0
    radius = np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)

    finite = np.isfinite(values)
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
