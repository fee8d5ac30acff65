"""The covariance of simulated light curves, against which a kernel can be checked."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, jit
from pytreefit.extend import as_data, as_floats

from ..simulation.simulate import sampling, simulate
from ..star.model import SpotEvolutionModel


class NumericalKernel(Model):
    r"""Covariance against lag, measured on simulated light curves.

    .. math::
        k(m \Delta) = \frac{1}{n} \sum_{r=1}^{n} \frac{1}{N - m} \sum_{j=1}^{N-m}
        (f_{r,j} - \bar f)(f_{r,j+m} - \bar f) + \mathrm{var}(\bar f)

    with :math:`\bar f` the mean over all :math:`n` realisations and :math:`N` times; its variance,
    which the product leaves out, is estimated from the spread of the realisations' means. Spots
    have their exact projected areas, so it shows what the small-spot kernel neglects.

    Parameters
    ----------
    lag
        Lags, shape (nlag,), days, from 0 in even steps.
    covariance
        Covariance there, shape (nlag,).
    standard_error
        Its Monte-Carlo error, shape (nlag,); neighbouring lags err alike.
    mean
        Mean flux.
    mean_error
        Its Monte-Carlo error.

    Examples
    --------
    >>> import numpy as np
    >>> phase = np.pi / 2 * np.arange(4)[:, None] + np.pi / 4 * np.arange(16)  # of period 8
    >>> kernel = NumericalKernel.from_light_curves(np.cos(phase), tsamp=1.0)
    >>> kernel.covariance[:5].round(3).tolist()  # cos(pi lag / 4) / 2
    [0.5, 0.354, 0.0, -0.354, -0.5]
    """

    lag: Float[Array, " nlag"]
    covariance: Float[Array, " nlag"]
    standard_error: Float[Array, " nlag"]
    mean: Float[Array, ""]
    mean_error: Float[Array, ""]

    @classmethod
    def from_spot_model(
        cls,
        spot_model: SpotEvolutionModel,
        *,
        tsim: float,
        tsamp: float,
        n_realizations: int = 1000,
        key: Array | None = None,
        **options,
    ) -> "NumericalKernel":
        """Simulate light curves and measure their covariance at all lags below ``tsim``.

        Parameters
        ----------
        spot_model
            The model.
        tsim, tsamp
            Length and sampling of each light curve, days. Lags near ``tsim`` are measured badly:
            take several times the largest lag of interest.
        n_realizations
            Number of light curves, at least 2: the error falls with its square root.
        key
            JAX random key; ``jax.random.key(0)`` by default.
        **options
            As for `draw_spots`: a Poisson number of spots, at the model's own rate by default.

        Raises
        ------
        ValueError
            As `draw_spots`, or if there is only one light curve.
        """
        if n_realizations < 2:
            raise ValueError(
                f"n_realizations = {n_realizations} leaves no spread to measure the error by: at "
                "least 2, better 1000."
            )
        key = jax.random.key(0) if key is None else key
        flux = simulate(spot_model, key, sampling(tsim, tsamp), n_realizations, **options)
        return cls.from_light_curves(flux, tsamp)

    @classmethod
    def from_light_curves(
        cls, flux: Float[Array, "n_realizations ntime"], tsamp: float
    ) -> "NumericalKernel":
        """Measure the covariance of light curves of one process, sampled every ``tsamp`` days.

        The array has the shape (n_realizations, ntime), with at least 2 light curves, or else there
        is a ValueError.
        """
        flux = as_floats(as_data("flux", flux))
        if flux.ndim != 2 or flux.shape[0] < 2 or flux.shape[1] < 1:
            raise ValueError(
                f"flux has shape {flux.shape} but must be (n_realizations, ntime) with at least 2 "
                "light curves."
            )
        if not tsamp > 0:
            raise ValueError(f"tsamp = {tsamp} is not allowed. It must be > 0 (days).")
        lag = jnp.arange(flux.shape[1], dtype=flux.dtype) * tsamp
        return cls(lag, *_covariance(flux))

    def kernel(self, lag: Float[Array, "..."]) -> Float[Array, "..."]:
        """Covariance at lags in days, any shape and sign: straight lines between those measured.

        NaN beyond the largest measured lag.
        """
        lag = jnp.abs(jnp.asarray(lag, self.lag.dtype))
        return jnp.interp(lag, self.lag, self.covariance, right=np.nan)


@jit
def _covariance(flux):
    n, m = flux.shape
    mean = jnp.mean(flux)
    means = jnp.mean(flux, axis=1)
    variance_of_mean = jnp.var(means, ddof=1) / n
    size = 2 ** (2 * m - 1).bit_length()
    power = jnp.abs(jnp.fft.rfft(flux - mean, size, axis=1)) ** 2
    pairs = m - jnp.arange(m, dtype=flux.dtype)
    each = jnp.fft.irfft(power, size, axis=1)[:, :m] / pairs[None, :]
    covariance = jnp.mean(each, axis=0) + variance_of_mean
    error = jnp.std(each, axis=0, ddof=1) / np.sqrt(n)
    return covariance, error, mean, jnp.sqrt(variance_of_mean)
