"""Mean functions of a light curve: a class with a ``__call__(t)`` is one."""

import abc
import warnings
from functools import reduce
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import as_mapping, check_kind, is_traced, walk

from ..component import AbstractComponent
from ..io.columns import OTHER_ZERO


class AbstractMean(AbstractComponent):
    """The expected flux at times ``t`` in days.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class Settling(AbstractMean):
    ...     depth: jax.Array = param(doc="at time 0")
    ...     time: jax.Array = param(unit="d", bounds="(0, inf)", doc="e-folding time")
    ...
    ...     def __call__(self, t):
    ...         return 1.0 - self.depth * jnp.exp(-t / self.time)
    >>> print(Settling(depth=0.01, time=2.0)(jnp.array([0.0, 2.0])).round(5))
    [0.99    0.99632]
    """

    # whether it dims the star as a whole, what the spots do included: y = m (1 + f), not m + f
    multiplies: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, t: Float[Array, "n"]) -> Float[Array, "n"]:
        """The mean at times of shape (n,)."""


class ConstantMean(AbstractMean):
    """A constant.

    Parameters
    ----------
    value
        Relative flux.

    Examples
    --------
    >>> import numpy as np
    >>> [float(x) for x in ConstantMean(1.01)(np.arange(2.0))]
    [1.01, 1.01]
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

    Examples
    --------
    >>> import numpy as np
    >>> [round(float(x), 3) for x in LinearMean(1.0, 0.1)(np.arange(3.0))]
    [1.0, 1.1, 1.2]
    """

    value: Float[Array, ""] = param(default=1.0, label=r"$\mu$", doc="mean flux at t0")
    slope: Float[Array, ""] = param(default=0.0, unit="1 / d", label="$s$", doc="trend")
    t0: Float[Array, ""] = param(default=0.0, unit="d", label="$t_0$", doc="where the mean is mu")

    def default_priors(self, data):
        """Normal around the values, with ten times the scatter of the flux, and that per span.

        At a single time the slope is fixed.
        """
        scale = 10.0 * data.scatter
        priors = {"value": dist.Normal(float(self.value), scale)}
        if data.span > 0:
            priors["slope"] = dist.Normal(float(self.slope), scale / data.span)
        return priors

    def __call__(self, t):
        return self.value + self.slope * (t - self.t0)


def _parts(parts):
    return as_mapping("SumMean.parts", parts)


class SumMean(AbstractMean):
    """The sum of several means, such as those of two planets and a trend.

    Parameters
    ----------
    parts
        Means by name: paths of parameters are then such as ``"mean.parts.b.period"``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from spotgp import Keplerian, LinearMean, SumMean
    >>> b = Keplerian(period=4.0, semi_amplitude=50.0, conjunction=0.0)
    >>> mean = SumMean({"b": b, "trend": LinearMean(value=0.0, slope=2.0)})
    >>> print(mean(jnp.array([0.0, 1.0])).round(3))
    [  0. -48.]
    """

    parts: dict[str, AbstractMean] = eqx.field(converter=_parts)

    def __check_init__(self):
        if not self.parts:
            raise ValueError("SumMean.parts is empty: give means by name.")
        for name, part in self.parts.items():
            if not isinstance(name, str) or "." in name:
                raise ValueError(f"SumMean.parts: the name {name!r} is no text without a dot.")
            check_kind(f"SumMean.parts[{name!r}]", part, AbstractMean)
            if part.multiplies:
                raise ValueError(
                    f"SumMean.parts[{name!r}] is a {type(part).__name__}, which multiplies the "
                    "star's light: it cannot be added to other means. Use it alone."
                )

    def default_priors(self, data):
        """Those of the parts."""
        return {
            f"parts.{name}.{path}": prior
            for name, part in self.parts.items()
            for path, prior in part.default_priors(data).items()
        }

    def __call__(self, t):
        return reduce(jnp.add, (part(t) for part in self.parts.values()))


def warn_of_another_zero(name: str, mean, data) -> None:
    """Warn of conjunctions in a mean so far from the data that they count from another zero."""
    middle = float(data.epoch)
    for node in walk(mean, f"{name}."):
        known = node.info is not None and not is_traced(node.value)
        if not (known and node.path.endswith(".conjunction") and np.ndim(node.value) == 0):
            continue
        time = float(node.value)
        if abs(time - middle) > OTHER_ZERO + 0.5 * data.span:
            warnings.warn(
                f"{node.path} = {time:.10g} is more than {OTHER_ZERO:,.0f} d from the data, about "
                f"{middle:.10g}. Give it in days since the data's own time 0: a Julian date less "
                "that of time 0, the reference of a TimeSeriesData.",
                stacklevel=3,
            )
