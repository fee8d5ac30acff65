"""Mean functions of a light curve: a class with a ``__call__(t)`` is one."""

import abc

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param

from ..component import AbstractComponent


class AbstractMean(AbstractComponent):
    """The expected flux at times ``t`` in days."""

    @abc.abstractmethod
    def __call__(self, t: Float[Array, "n"]) -> Float[Array, "n"]:
        """The mean at times of shape (n,)."""


class ConstantMean(AbstractMean):
    """A constant.

    Parameters
    ----------
    value
        Relative flux.
    """

    value: Float[Array, ""] = param(default=1.0, label=r"$\mu$", doc="mean flux")

    def default_priors(self, data):
        """Normal around the value, with ten times the scatter of the flux."""
        return {"value": dist.Normal(float(self.value), 10.0 * data.scatter)}

    def __call__(self, t):
        return jnp.broadcast_to(self.value, t.shape)


class LinearMean(AbstractMean):
    r"""A straight line, :math:`\mu + s (t - t_0)`.

    Parameters
    ----------
    value
        Relative flux at ``t0``.
    slope
        Relative flux per day.
    t0
        Days.
    """

    value: Float[Array, ""] = param(default=1.0, label=r"$\mu$", doc="mean flux at t0")
    slope: Float[Array, ""] = param(default=0.0, unit="1 / d", label="$s$", doc="trend")
    t0: Float[Array, ""] = param(default=0.0, unit="d", label="$t_0$", doc="where the mean is mu")

    def default_priors(self, data):
        """Normal around the values, with ten times the scatter of the flux, and that per span."""
        return {
            "value": dist.Normal(float(self.value), 10.0 * data.scatter),
            "slope": dist.Normal(float(self.slope), 10.0 * data.scatter / data.span),
        }

    def __call__(self, t):
        return self.value + self.slope * (t - self.t0)
