"""What all components share: names and values of parameters, default priors."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import KEY, is_traced, walk


class DataScales(NamedTuple):
    """The scales of a light curve that default priors depend on.

    Parameters
    ----------
    cadence
        Median step between points, days.
    span
        From the first point to the last, days.
    scatter
        Standard deviation of the flux.
    error
        Median of the stated errors.

    Examples
    --------
    >>> scales = DataScales.of([0, 1, 2, 5], [0.99, 1.01, 0.99, 1.01], [1e-3, 1e-3, 2e-3, 3e-3])
    >>> scales.cadence, scales.span, round(scales.scatter, 3), scales.error
    (1.0, 5.0, 0.01, 0.0015)
    """

    cadence: float
    span: float
    scatter: float
    error: float

    @classmethod
    def of(cls, time, flux, flux_err) -> "DataScales":
        """The scales of arrays of shape (n,), times in days and ascending."""
        time, flux, flux_err = (np.asarray(array, float) for array in (time, flux, flux_err))
        steps = np.diff(time)
        span = float(time[-1] - time[0])
        return cls(
            cadence=float(np.median(steps[steps > 0])) if np.any(steps > 0) else span,
            span=span,
            scatter=float(np.std(flux)) or float(np.mean(flux_err)),
            error=float(np.median(flux_err)),
        )

    @property
    def time_scale(self) -> dist.Distribution:
        """Log-uniform from the cadence to three times the span."""
        return dist.LogUniform(self.cadence, 3.0 * self.span)

    @property
    def jitter(self) -> dist.Distribution:
        """Half-Cauchy with the median error as its scale, cut at 1,000 times that.

        No jitter at all is as good as a small one.
        """
        return dist.TruncatedCauchy(0.0, self.error, low=0.0, high=1e3 * self.error)

    @property
    def amplitude(self) -> dist.Distribution:
        """Log-uniform from 1/1000 to 30 times the scatter."""
        return dist.LogUniform(1e-3 * self.scatter, 30.0 * self.scatter)


def priors_by_bounds(component, data=None) -> dict[str, dist.Distribution]:
    """A wide prior for each parameter by path, as its bounds allow.

    Uniform between two finite bounds, log-uniform from 1/1000 to 1000 where it must not be
    negative, and else normal around its value, as wide as that is large, and 1 at least. Components
    inside of it have the priors that they declare.
    """
    priors, inner = {}, tuple(_inner(component))
    for path, part in inner:
        priors |= {path + name: prior for name, prior in part.default_priors(data).items()}
    for node in walk(component):
        if node.info is None or node.path.startswith(tuple(path for path, _ in inner)):
            continue
        low, high = node.info.lower, node.info.upper
        if np.isfinite(low) and np.isfinite(high):
            priors[node.path] = dist.Uniform(low, high)
        elif low >= 0:
            priors[node.path] = dist.LogUniform(1e-3, 1e3)
        else:
            value = float(np.mean(node.value))
            priors[node.path] = dist.Normal(value, max(abs(value), 1.0))
    return priors


def _inner(value, path: str = ""):
    """The outermost components inside of a model, dictionary or sequence, and their paths."""
    if isinstance(value, Model):
        entries = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        entries = list(value.items())
    else:
        entries = list(enumerate(value)) if isinstance(value, tuple | list) else []
    for name, entry in entries:
        if isinstance(entry, AbstractComponent):
            yield f"{path}{name}.", entry
        else:
            yield from _inner(entry, f"{path}{name}.")


class AbstractComponent(Model):
    """A part of the model of a light curve, with parameters that can be fitted.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import param
    >>> class Contrast(AbstractComponent):
    ...     ratio: jax.Array = param(bounds="(0, 1)")
    >>> prior = Contrast(ratio=0.3).default_priors(None)["ratio"]  # uniform between the bounds
    >>> float(prior.low), float(prior.high)
    (0.0, 1.0)
    """

    def default_priors(self, data: DataScales) -> dict[str, dist.Distribution]:
        """Priors by path of the parameters that are free by default; the others are fixed.

        Unless a class overrides this, all are free, with the widest priors that their bounds allow.
        """
        return priors_by_bounds(self, data)

    @property
    def param_keys(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the constructor."""
        return tuple(f.name for f in dataclasses.fields(self) if KEY in f.metadata)

    @property
    def param_dict(self) -> dict[str, Any]:
        """The parameters by name, as plain Python floats."""
        return {name: plain(getattr(self, name)) for name in self.param_keys}

    def __repr__(self) -> str:
        """``Name(parameter=value, ...)`` with four digits."""
        fields = [f for f in dataclasses.fields(self) if getattr(self, f.name) is not f.default]
        values = {f.name: getattr(self, f.name) for f in fields}
        if not all(eqx.is_array(values[k]) and not is_traced(values[k]) for k in self.param_keys):
            return eqx.tree_pformat(self)
        shown = {name: repr(value) for name, value in values.items()}
        shown |= {name: short_value(values[name]) for name in self.param_keys}
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in shown.items())})"


def short_value(value) -> str:
    """A parameter in a few characters: four digits of a number, the shape of an array."""
    array = np.asarray(value)
    return repr(float(f"{array:.4g}")) if array.ndim == 0 else f"<{array.dtype}{array.shape}>"


def plain(value):
    """A concrete array as a Python float or nested list of floats; a traced one unchanged."""
    return value if is_traced(value) else np.asarray(value).tolist()


def to_float(values) -> Float[Array, "..."]:
    """Numbers such as times or lags as an array of JAX's default float type."""
    return jnp.asarray(values, jnp.result_type(float))
