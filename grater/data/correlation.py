"""How the noise of neighbouring pixels is correlated, and the measurement of that."""

import abc
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import as_booleans, as_data, as_whole_number, check_kind, is_traced, unit_of

from .._arrays import opened, real_array
from .observation import Observation

_FAR = 64  # pixels between a measured correlation and its next period


class AbstractCorrelation(Model):
    """How the noise of two pixels is correlated. A new one is a class with the method `at`.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class ExponentialCorrelation(AbstractCorrelation):
    ...     length: jax.Array = param(unit="pix", bounds="(0, inf)")
    ...
    ...     def at(self, x, y):
    ...         return jnp.exp(-jnp.hypot(x, y) / self.length)
    >>> round(float(ExponentialCorrelation(length=5.0).at(3.0, 4.0)), 4)  # 1 / e
    0.3679
    """

    @abc.abstractmethod
    def at(self, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Correlation of pixels that are x columns and y rows apart: 1 at 0, between -1 and 1.

        It has to be a covariance: no linear combination of pixels may have a negative variance.
        """

    def default_priors(self) -> dict[str, Any]:
        """The priors of its parameters where it is measured, by path."""
        return {}


class MaternCorrelation(AbstractCorrelation):
    r"""Matern's correlation of smoothness 3/2: rough, with wings; a good guess for speckles.

    .. math:: C(r) = (1 + a) e^{-a}, \qquad a = \sqrt3\, r / \ell

    Parameters
    ----------
    length : float
        :math:`\ell` in pixels, > 0.

    References
    ----------
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 4.17.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> nothing = jnp.array(0.0)
    >>> round(float(MaternCorrelation(length=1.5).at(jnp.array(1.0), nothing)), 3)
    0.679
    """

    length: Array = param(unit="pix", bounds="(0, inf)", label=r"$\ell$", doc="correlation length")

    def at(self, x, y):
        a = math.sqrt(3.0) * _distance(x, y) / self.length
        return (1.0 + a) * jnp.exp(-a)

    def default_priors(self):
        return {"length": dist.LogUniform(0.1, 50.0)}


class GaussianCorrelation(AbstractCorrelation):
    r"""A Gaussian: noise that a Gaussian PSF or a smoothing has passed over.

    .. math:: C(r) = \exp\left(-4 \ln 2\, r^2 / \mathrm{FWHM}^2\right)

    White noise that was convolved with a Gaussian has :math:`\sqrt2` times the FWHM of that one.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the correlation in pixels, > 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> nothing = jnp.array(0.0)
    >>> round(float(GaussianCorrelation(fwhm=3.0).at(jnp.array(1.0), nothing)), 3)
    0.735
    """

    fwhm: Array = param(unit="pix", bounds="(0, inf)", label="FWHM", doc="of the correlation")

    def at(self, x, y):
        return jnp.exp(-4.0 * math.log(2.0) * (x**2 + y**2) / self.fwhm**2)

    def default_priors(self):
        return {"fwhm": dist.LogUniform(0.1, 50.0)}


class TableCorrelation(AbstractCorrelation):
    """A measured correlation, such as that of `pixel_correlation`.

    It is taken to be 0 beyond the table. What is no covariance of any noise (and measured ones
    rarely are) is replaced by one that is near: negative powers are set to 0, and along both axes
    it is multiplied by a straight line from 1 at lag 0 to 0 at a lag of k + 64 pixels.

    Parameters
    ----------
    values : array (2 k + 1, 2 k + 1)
        Correlation at all lags up to k pixels in x and in y, symmetric about its centre.

    Raises
    ------
    ValueError
        For another shape, values that are not finite, no symmetry, or a centre that is not
        positive; the table is divided by that.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> smoothed = [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]  # means of 2 x 2 pixels
    >>> there = TableCorrelation(smoothed).at(jnp.array([0.0, 1.0, 2.0]), jnp.zeros(3))
    >>> print(there.round(1))
    [1.  0.5 0. ]
    """

    values: Float[Array, "lags lags"] = eqx.field(
        converter=lambda value: real_array("TableCorrelation.values", value, "")
    )

    def __check_init__(self):
        shape = self.values.shape
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 2 == 0:
            raise ValueError(
                f"TableCorrelation.values has shape {shape}, not (2 k + 1, 2 k + 1): lags from -k "
                "to k."
            )
        if is_traced(self.values):
            return
        values = np.asarray(self.values)
        if not np.all(np.isfinite(values)) or not values[shape[0] // 2, shape[0] // 2] > 0:
            raise ValueError(
                "TableCorrelation.values must be finite, and positive at the centre (lag 0)."
            )
        if not np.allclose(values, values[::-1, ::-1], rtol=1e-4, atol=1e-4 * np.abs(values).max()):
            raise ValueError(
                "TableCorrelation.values must be symmetric: at a lag (x, y) it is what it is at "
                "(-x, -y)."
            )

    def at(self, x, y):
        size = self.values.shape[0]
        period = size + 2 * _FAR
        spectrum = jnp.fft.fft2(jnp.fft.ifftshift(jnp.pad(self.values, _FAR))).real
        table = jnp.fft.ifft2(jnp.maximum(spectrum, 0.0)).real
        rows, columns = (jnp.asarray(jnp.round(lag), int) for lag in (y, x))
        # periodic so far; times a covariance that ends before the period does
        ends = [jnp.maximum(1.0 - jnp.abs(lag) / (period // 2), 0.0) for lag in (y, x)]
        return table[rows % period, columns % period] / table[0, 0] * ends[0] * ends[1]


def _distance(x, y):
    """The distance, with a slope of 0 at 0."""
    square = x**2 + y**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def pixel_correlation(
    image: Any, error: Any = 1.0, mask: Any = None, reach: int = 8
) -> Float[np.ndarray, "lags lags"]:
    r"""Return how the pixels of a noise image are correlated, by their distance in x and y.

    .. math:: C(x, y) = \frac{\langle z_i\, z_{i + (x, y)} \rangle}{\langle z_i^2 \rangle}, \qquad
              z = \mathrm{image} / \mathrm{error}

    with means over the pairs of pixels in use. For independent pixels an entry scatters about 0 by
    one over the root of the number of pairs.

    Parameters
    ----------
    image : array (ny, nx)
        An image without the disk, such as :math:`U_\phi`, a blank sky, or residuals of a fit; its
        mean is taken to be 0. Pixels that are not finite or masked are left out.
    error : array (ny, nx) or float
        Its error map, > 0; plain numbers are in the unit of the image, a Quantity is converted.
    mask : array of bool (ny, nx), optional
        True where a pixel is used.
    reach : int
        Largest lag in pixels.

    Returns
    -------
    numpy.ndarray (2 reach + 1, 2 reach + 1)
        1 at the centre, lag 0. NaN at lags without a pair.

    Raises
    ------
    ValueError, TypeError
        For arrays of other shapes, units that do not agree, errors that are not positive and
        images without light.

    Examples
    --------
    >>> stripes = np.tile([1.0, -1.0], (4, 2))
    >>> pixel_correlation(stripes, reach=1).round(2).tolist()
    [[-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]]
    """
    z, used = noise_image("pixel_correlation", image, error, mask)
    reach = as_whole_number("pixel_correlation: reach", reach, 1)
    shape = tuple(n + reach for n in z.shape)
    at = np.ix_(*(np.arange(-reach, reach + 1) % n for n in shape))
    products, pairs = (_with_itself(values, shape)[at] for values in (z, used.astype(float)))
    pairs = np.round(pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(pairs > 0, products / pairs, np.nan)
    return found / found[reach, reach]


def residual_correlation(
    scene: Any, observation: Any, reach: int = 8
) -> Float[np.ndarray, "lags lags"]:
    """Return how the residuals of a fit are correlated, by their distance in x and y.

    They are in units of the scene's noise, and independent where that noise is right: then all
    entries but the one at the centre scatter about 0. Where neighbours are correlated, the errors
    of a fit are too small; give the scene a `CorrelatedNoise`, whose own residuals are what its
    correlation leaves.

    Parameters
    ----------
    scene, observation
        The model and the data, an `Observation`.
    reach : int
        Largest lag in pixels.

    Returns
    -------
    numpy.ndarray (2 reach + 1, 2 reach + 1)
        As of `pixel_correlation`.

    Raises
    ------
    ValueError
        If the noise is not Gaussian.
    TypeError
        For what is no Observation of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Observation, Scene
    >>> stripes = np.tile([1.0, -1.0], (6, 3))
    >>> data = Observation(stripes, 0.1, pixel_scale=0.2, distance=60.0)
    >>> nothing = Disk(40.0, 60.0, 0.0, alpha_in=5, alpha_out=-5, scale_height=2, flux=0.0)
    >>> scene = Scene(nothing, grid=data.grid, accuracy=1e-2)
    >>> residual_correlation(scene, data, reach=1).round(2).tolist()
    [[-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]]
    """
    check_kind("residual_correlation: observation", observation, Observation)
    found = observation.residuals(scene)
    if found is None:
        raise ValueError("residual_correlation needs Gaussian noise: the scene's has no residuals.")
    image = np.asarray(found)[: observation.image.size].reshape(observation.shape)
    return pixel_correlation(image, mask=np.asarray(observation.used), reach=reach)


def _with_itself(values, shape):
    return np.fft.irfft2(np.abs(np.fft.rfft2(values, s=shape)) ** 2, s=shape)


def noise_image(where: str, image, error, mask) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise over its errors, 0 where no pixel is used, and the pixels in use."""
    image, error = opened(image), opened(error)
    own, other = unit_of(image), unit_of(error)
    if own is None and other is not None:
        raise TypeError(
            f"{where}: error is in {other}, but the image has no unit: give both with their units, "
            "or plain numbers in the same one."
        )
    values = as_data(f"{where}: image", image, own, ndim=2)
    error = np.broadcast_to(as_data(f"{where}: error", error, own), values.shape)
    used = np.isfinite(values) & np.isfinite(error)
    if mask is not None:
        used &= as_booleans(f"{where}: mask", mask, shape=values.shape)
    if not np.all(error[used] > 0):
        raise ValueError(f"{where}: error must be > 0 in the pixels in use.")
    if not np.any(values[used]):
        raise ValueError(f"{where}: the image is 0 in all pixels in use, or none is.")
    return np.where(used, values, 0.0) / np.where(used, error, 1.0), used
