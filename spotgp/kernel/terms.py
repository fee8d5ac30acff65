"""Further stationary processes, such as granulation, on top of tinygp's kernels."""

import abc
import math

import jax
import jax.numpy as jnp
import tinygp
from jaxtyping import Array, Float

from pytreefit import param

from ..component import AbstractComponent


class AbstractTerm(AbstractComponent):
    """A stationary covariance; subclasses say which of tinygp's kernels it is.

    Examples
    --------
    >>> import jax
    >>> import tinygp
    >>> from pytreefit import param
    >>> class Exponential(AbstractTerm):
    ...     sigma: jax.Array = param(bounds="[0, inf)")
    ...     scale: jax.Array = param(unit="d", bounds="(0, inf)")
    ...
    ...     def tinygp_kernel(self):
    ...         return self.sigma**2 * tinygp.kernels.Exp(self.scale)
    >>> round(float(Exponential(sigma=1.0, scale=2.0).kernel(2.0)), 4)  # 1 / e
    0.3679
    """

    @abc.abstractmethod
    def tinygp_kernel(self) -> tinygp.kernels.Kernel:
        """The kernel, for tinygp's own Gaussian processes."""

    def kernel(self, lag) -> Float[Array, "..."]:
        """The covariance at lags in days, of any shape."""
        lag = jnp.asarray(lag, jnp.result_type(float))
        evaluate = self.tinygp_kernel().evaluate
        return jax.vmap(lambda x: evaluate(x, jnp.zeros_like(x)))(jnp.ravel(lag)).reshape(lag.shape)


class SHOTerm(AbstractTerm):
    r"""A damped, randomly driven harmonic oscillator.

    .. math::
        S(\omega) \propto \frac{\omega_0^4}{(\omega^2 - \omega_0^2)^2
        + \omega_0^2 \omega^2 / Q^2}, \qquad \omega_0 = 2 \pi / \rho

    Parameters
    ----------
    sigma
        Standard deviation of the process, in relative flux.
    rho
        Undamped period in days.
    quality
        Quality factor; :math:`1/\sqrt2` is granulation's usual one.

    References
    ----------
    Foreman-Mackey et al. (2017), AJ 154, 220.

    Examples
    --------
    >>> term = SHOTerm(sigma=1e-3, rho=0.3)
    >>> round(float(term.kernel(0.0) / 1e-6), 4)
    1.0
    """

    sigma: Float[Array, ""] = param(bounds="[0, inf)", label=r"$\sigma_{SHO}$", doc="amplitude")
    rho: Float[Array, ""] = param(unit="d", bounds="(0, inf)", label=r"$\rho$", doc="period")
    quality: Float[Array, ""] = param(
        bounds="(0, inf)", default=1.0 / math.sqrt(2.0), label="$Q$", doc="quality factor"
    )

    def default_priors(self, data):
        """Priors of amplitude and period; the quality factor is fixed."""
        return {"sigma": data.amplitude, "rho": data.time_scale}

    def tinygp_kernel(self):
        return tinygp.kernels.quasisep.SHO(
            omega=2.0 * math.pi / self.rho, quality=self.quality, sigma=self.sigma
        )


class Matern32Term(AbstractTerm):
    r"""Matérn's covariance of index 3/2.

    .. math::
        k(\tau) = \sigma^2 (1 + \sqrt3\, \tau / \rho)\, e^{-\sqrt3\, \tau / \rho}

    Parameters
    ----------
    sigma
        Standard deviation of the process, in relative flux.
    rho
        Time scale in days.

    Examples
    --------
    >>> term = Matern32Term(sigma=1e-3, rho=0.3)
    >>> round(float(term.kernel(0.3) / term.kernel(0.0)), 3)
    0.483
    """

    sigma: Float[Array, ""] = param(bounds="[0, inf)", label=r"$\sigma_{3/2}$", doc="amplitude")
    rho: Float[Array, ""] = param(unit="d", bounds="(0, inf)", label=r"$\rho$", doc="time scale")

    def default_priors(self, data):
        return {"sigma": data.amplitude, "rho": data.time_scale}

    def tinygp_kernel(self):
        return tinygp.kernels.quasisep.Matern32(scale=self.rho, sigma=self.sigma)
