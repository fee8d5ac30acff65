"""Priors of the inclination of a star."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import betaln
from jaxtyping import Array, Float
from numpyro.distributions import constraints

from pytreefit import AbstractSingleLaw, param
from pytreefit.extend import as_data, as_floats, is_traced, lenient

HALF_PI = 0.5 * math.pi


class IsotropicInclination(dist.Distribution):
    r"""The inclination of a rotation axis with a random direction.

    .. math:: p(i) = \frac{\sin i}{\cos i_{low} - \cos i_{high}}

    Parameters
    ----------
    low, high
        Range of the inclination in radians, 0 <= low < high <= pi. By default up to pi/2: a star
        seen from the south cannot be told from its mirror image unless its spots differ.

    Raises
    ------
    ValueError
        If the range is empty or leaves [0, pi].

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> f"{jnp.exp(IsotropicInclination().log_prob(jnp.pi / 2)):.3f}"
    '1.000'
    """

    arg_constraints = {"low": constraints.real, "high": constraints.real}  # noqa: RUF012
    reparametrized_params = ["low", "high"]  # noqa: RUF012

    def __init__(self, low=0.0, high=HALF_PI, *, validate_args=None):
        ends = {"low": low, "high": high}
        self.low, self.high = (
            as_floats(as_data(f"IsotropicInclination: {name}", value, "rad"))
            for name, value in ends.items()
        )
        if not (is_traced(self.low) or is_traced(self.high)):
            first, last = np.asarray(self.low), np.asarray(self.high)
            pi = np.asarray(math.pi, last.dtype)
            if not (np.all(first >= 0.0) and np.all(first < last) and np.all(last <= pi)):
                raise ValueError(
                    f"IsotropicInclination has low = {low} rad and high = {high} rad but must have "
                    "0 <= low < high <= pi. Give the range in radians."
                )
        shape = jnp.broadcast_shapes(self.low.shape, self.high.shape)
        super().__init__(batch_shape=shape, event_shape=(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        """The range of inclinations."""
        return constraints.interval(self.low, self.high)

    def _mass(self):
        # cos(low) - cos(high) without cancellation
        return 2.0 * jnp.sin(0.5 * (self.high + self.low)) * jnp.sin(0.5 * (self.high - self.low))

    def log_prob(self, value):
        value = jnp.asarray(value, self.low.dtype)
        # sin(i) = 0 at the pole, where the density is
        return jnp.log(jnp.maximum(jnp.sin(value), 0.0)) - jnp.log(self._mass())

    def cdf(self, value):
        """Probability of an inclination up to `value`."""
        part = jnp.sin(0.5 * (value + self.low)) * jnp.sin(0.5 * (value - self.low))
        return jnp.clip(2.0 * part / self._mass(), 0.0, 1.0)

    def icdf(self, q):
        """Inclination below which a fraction `q` lies."""
        # sin^2(i / 2) is uniform; the arcsine keeps the digits of small inclinations
        low, high = (jnp.sin(0.5 * x) ** 2 for x in (self.low, self.high))
        return jnp.clip(2.0 * jnp.arcsin(jnp.sqrt(low + (high - low) * q)), self.low, self.high)

    def sample(self, key, sample_shape=()):
        shape = tuple(sample_shape) + self.batch_shape
        return self.icdf(jax.random.uniform(key, shape, self.low.dtype))

    @property
    def mean(self):
        """Mean inclination."""

        def moment(x):
            return jnp.sin(x) - x * jnp.cos(x)

        return (moment(self.high) - moment(self.low)) / self._mass()


class SinInclination(dist.Distribution):
    r"""A prior of sin i, such as from a measured v sin i, as a prior of i in [0, pi/2].

    .. math:: p(i) = p_s(\sin i) \cos i, \quad 0 \le i \le \pi/2

    A distribution that reaches outside of [0, 1] is cut there; `log_prob` then is normalised up to
    a constant.

    Parameters
    ----------
    distribution
        NumPyro distribution of sin i, scalar and continuous.

    Raises
    ------
    TypeError
        If it is not such a distribution.
    ValueError
        If its support has nothing in common with [0, 1].

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> f"{SinInclination(dist.Uniform(0.0, 1.0)).log_prob(0.0):.3f}"
    '0.000'
    """

    arg_constraints = {}  # noqa: RUF012
    pytree_data_fields = ("distribution",)

    def __init__(self, distribution: dist.Distribution, *, validate_args=None):
        if not isinstance(distribution, dist.Distribution) or distribution.event_shape != ():
            raise TypeError(
                f"SinInclination.distribution is {distribution!r} but must be a scalar NumPyro "
                "distribution of sin i, such as TruncatedNormal(0.8, 0.1, low=0, high=1)."
            )
        self.distribution = distribution
        low, high = self._sine_limits()
        if not (is_traced(low) or is_traced(high)) and not np.all(low < high):
            raise ValueError(
                f"SinInclination.distribution has the support {distribution.support}, which "
                "leaves nothing of sin i in 0 to 1. Give a distribution of sin i, not of i."
            )
        super().__init__(
            batch_shape=distribution.batch_shape, event_shape=(), validate_args=validate_args
        )

    def _sine_limits(self):
        support = self.distribution.support
        low = getattr(support, "lower_bound", 0.0)
        high = getattr(support, "upper_bound", 1.0)
        dtype = jnp.result_type(float)
        return tuple(jnp.clip(jnp.asarray(x, dtype), 0.0, 1.0) for x in (low, high))

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        """Inclinations whose sine is in the support of the distribution."""
        low, high = self._sine_limits()
        return constraints.interval(jnp.arcsin(low), jnp.arcsin(high))

    def log_prob(self, value):
        value = jnp.asarray(value, jnp.result_type(float))
        # cos(i) = 0 edge-on, where the density is
        jacobian = jnp.log(jnp.maximum(jnp.cos(value), 0.0))
        with lenient():
            return self.distribution.log_prob(jnp.sin(value)) + jacobian

    def sample(self, key, sample_shape=()):
        low, high = self._sine_limits()

        def outside(state):
            sine, _ = state
            return jnp.any((sine < low) | (sine > high))

        def redraw(state):
            sine, key = state
            key, now = jax.random.split(key)
            new = self.distribution.sample(now, sample_shape)
            return jnp.where((sine < low) | (sine > high), new, sine), key

        key, now = jax.random.split(key)
        with lenient():
            start = self.distribution.sample(now, sample_shape)
            sine, _ = jax.lax.while_loop(outside, redraw, (start, key))
        return jnp.arcsin(sine)


class InclinationLaw(AbstractSingleLaw):
    r"""The inclinations of many stars, for a `pytreefit.Ensemble` of them.

    .. math:: p(i) = \frac{x^{a - 1} (1 - x)^{b - 1}}{B(a, b)} \sin i, \qquad x = |\cos i|

    With a = b = 1, the default, axes are random; they are aligned with the line of sight for a > 1,
    and across it for b > 1. Stars seen from the south count as their mirror images.

    Parameters
    ----------
    a, b
        Exponents of the beta distribution of :math:`|\cos i|`, > 0.

    Examples
    --------
    >>> import numpy as np
    >>> law = InclinationLaw(a=1.0, b=1.0)  # axes at random
    >>> round(float(np.exp(law.log_prob(np.pi / 2))), 4)  # sin(inc)
    1.0
    """

    a: Float[Array, ""] = param(bounds="(0, inf)", default=1.0, label="$a$", doc="towards pole-on")
    b: Float[Array, ""] = param(bounds="(0, inf)", default=1.0, label="$b$", doc="towards edge-on")

    def log_prob(self, value):
        value = jnp.asarray(value)
        tiny = float(jnp.finfo(value.dtype).eps)
        x = jnp.clip(jnp.abs(jnp.cos(value)), tiny, 1.0 - tiny)
        beta = (self.a - 1.0) * jnp.log(x) + (self.b - 1.0) * jnp.log1p(-x)
        beta = beta - betaln(self.a, self.b)
        return beta + IsotropicInclination().log_prob(value)
