"""Priors: made of what the user passes, and checked against the parameters they are for."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to

from .model import Parameter, convert_value
from .numeric import lenient
from .parameter import is_traced


def as_prior(prior: Any, parameters: list[Parameter]) -> dist.Distribution:
    """A prior of the parameter's shape whose numbers are arrays, checked against the bounds."""
    name, shape = parameters[0].path, jnp.shape(parameters[0].value)
    for parameter in parameters[1:]:
        if jnp.shape(parameter.value) != shape:
            raise ValueError(
                f"{name!r} of shape {shape} cannot be tied to {parameter.path!r} of shape "
                f"{jnp.shape(parameter.value)}."
            )
    if isinstance(prior, tuple | list) and len(prior) == 2:
        prior = _uniform(parameters[0], *prior)
    if not isinstance(prior, dist.Distribution):
        raise TypeError(
            f"The prior of {name!r} is {prior!r} but must be a NumPyro distribution or (low, high)."
        )
    if prior.support is None or prior.support.is_discrete:
        raise ValueError(
            f"The prior of {name!r}, {type(prior).__name__}, is discrete: "
            "only continuous priors can be fitted and sampled."
        )
    if prior.shape() == () and shape != ():
        prior = prior.expand(shape)
    if prior.shape() != shape:
        raise ValueError(
            f"The prior of {name!r} has shape {prior.shape()} but the parameter has shape {shape}: "
            "give a scalar prior or one of that shape."
        )
    if prior.batch_shape:
        prior = prior.to_event(len(prior.batch_shape))
    # Numbers that are not arrays would be compile-time constants: each new prior would recompile.
    dtype = jnp.result_type(float)
    prior = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), prior)
    for parameter in parameters:
        _check_support(parameter, prior)
    return prior


def _uniform(parameter: Parameter, low: Any, high: Any) -> dist.Distribution:
    name = parameter.path
    low, high = (convert_value(parameter, end, f"The prior of {name!r}") for end in (low, high))
    if not (is_traced(low) or is_traced(high)):
        finite = np.isfinite(low).all() and np.isfinite(high).all()
        if not (finite and np.all(low < high)):
            raise ValueError(
                f"The prior of {name!r} is ({low}, {high}) but must be (low, high) with finite "
                "low < high."
            )
    return dist.Uniform(low, high)


def _limits(support: Any) -> tuple[Any, Any] | None:
    """Lower and upper end of a support; None where these do not describe it."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    lower = getattr(support, "lower_bound", None)
    upper = getattr(support, "upper_bound", None)
    if support is dist.constraints.real or lower is not None or upper is not None:
        return (-math.inf if lower is None else lower, math.inf if upper is None else upper)
    return None


def support_limits(prior: dist.Distribution) -> tuple[Any, Any]:
    """Lower and upper ends of a prior's support: numbers, or one for each of the prior's."""
    return _limits(prior.support) or (-math.inf, math.inf)


def prior_limits(prior: dist.Distribution) -> tuple[float, float]:
    """Lower and upper end of a prior's support, over all of its numbers."""
    low, high = support_limits(prior)
    return float(np.min(low)), float(np.max(high))


def _check_support(parameter: Parameter, prior: dist.Distribution) -> None:
    limits = _limits(prior.support)
    if limits is None or any(map(is_traced, limits)):
        return
    info, (low, high) = parameter.info, map(np.asarray, limits)
    # Rounded as the limits are, so that a float32 prior may end exactly on a bound.
    lower, upper = np.asarray(info.lower, low.dtype), np.asarray(info.upper, high.dtype)
    if np.any(low < lower) or np.any(high > upper):
        ends = [
            f"{name}={bound:g}"
            for name, bound in (("low", info.lower), ("high", info.upper))
            if math.isfinite(bound)
        ]
        raise ValueError(
            f"The prior of {parameter.path!r} reaches from {low.min():g} to {high.max():g} but the "
            f"parameter is limited to {info.bounds}, so draws could be impossible models. Use a "
            "narrower (low, high) or a distribution that stays inside, such as "
            f"TruncatedNormal(..., {', '.join(ends)})"
            f"{', HalfNormal or LogNormal' if info.lower == 0 and not len(ends) > 1 else ''}."
        )


def log_density(prior: dist.Distribution, value: Array) -> Array:
    """Log density of a prior, minus infinity outside its support."""
    support: Any = prior.support
    with lenient():
        return jnp.where(jnp.all(support(value)), prior.log_prob(value), -jnp.inf)


def quantiles(name: str, prior: dist.Distribution, share: Array) -> Array:
    """The values below which the shares of a prior lie, of shape ``(..., *prior.shape())``.

    ValueError for a prior that is none of independent numbers, or whose quantiles are not known.
    """
    base: Any = prior
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    try:
        return jnp.asarray(base.icdf(share))
    except (NotImplementedError, ImportError):
        raise ValueError(
            f"The prior of {name!r}, {type(base).__name__}, has no quantiles (icdf), so that a "
            "unit cube cannot be mapped to it. Give it a prior that has them, such as Uniform, "
            "LogUniform, Normal, LogNormal or TruncatedNormal."
        ) from None


def inside(value: Any, low: float, high: float) -> Any:
    """A start, moved to a small distance from both ends of a prior; a float or an array."""
    margin = 0.01 * (high - low) if math.isfinite(high - low) else 0.0
    # of a prior over decades a hundredth is far from the lower end
    above = min(margin, 0.01 * low) if low > 0 else margin
    moved = np.clip(value, low + above, high - margin)
    return float(moved) if moved.ndim == 0 else moved


def strictly_inside(value: Array, prior: dist.Distribution) -> Array:
    """A value that rounding put on an end of its prior, moved inside until it can be a start."""
    support: Any = prior.support
    limits = _limits(support)
    if limits is None:
        return value
    transform, found = biject_to(support), np.asarray(value)
    for steps in 2.0 ** np.arange(8):
        if np.isfinite(transform.inv(jnp.asarray(found))).all() or np.isnan(found).any():
            break
        for end, side, moved in zip(limits, (1.0, -1.0), (np.maximum, np.minimum), strict=True):
            if np.isfinite(end).all():
                end = np.asarray(end, found.dtype)
                # numbers below the least one are 0 to a compiler
                step = np.maximum(np.abs(np.spacing(end)), np.finfo(found.dtype).tiny)
                found = moved(found, (end + side * steps * step).astype(found.dtype))
    return jnp.asarray(found)


def check_start(name: str, value: Array, prior: dist.Distribution) -> None:
    """Raise ValueError unless a concrete start has a finite unconstrained coordinate."""
    support: Any = prior.support
    u = biject_to(support).inv(value)
    if is_traced(u):
        return
    # On the edge of a closed support the unconstrained coordinate is infinite: no start either.
    if not (np.all(support(value)) and np.isfinite(u).all()):
        limits = _limits(support)
        inside = f"({np.min(limits[0]):g}, {np.max(limits[1]):g})" if limits else support
        raise ValueError(
            f"The start of {name!r}, {np.asarray(value)}, is not inside the support of its prior, "
            f"{inside}: widen the prior, or start elsewhere with model.set({{{name!r}: ...}})."
        )
