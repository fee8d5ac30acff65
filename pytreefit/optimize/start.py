"""Where a fit or a chain starts, and a clear word if it cannot start there."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jit import jit
from ..space import coordinate_names


@jit
def _likelihood_and_gradient(posterior, u):
    return jax.value_and_grad(lambda u: posterior.log_likelihood_of(posterior.model_from(u)))(u)


def start_coordinates(posterior, start, name: str = "start") -> Float[Array, " dim"]:
    """Unconstrained coordinates, shape ``(dim,)``, of a start.

    That is None (the values in the model), a dictionary of values (the model's for those not
    named), or a result that has them (``Fit``, ``Laplace``). TypeError if it is none of these,
    ValueError if a value is outside its prior, or belongs to other parameters.
    """
    if start is not None and hasattr(start, "u"):
        _refuse_other_names(posterior, start)
        u = jnp.asarray(start.u)
        # under other priors the same coordinates are other values
        if _agree(posterior.constrain(u), start.values):
            return u
        start = start.values
    if start is not None and not isinstance(start, Mapping):
        raise TypeError(
            f"{name} = {type(start).__name__} must be None, a dictionary of values, a Fit or a "
            "Laplace."
        )
    values = {**posterior.initial, **(start or {})}
    u = posterior.unconstrain(values)
    bad = ~np.isfinite(np.asarray(u))
    if bad.any():
        names = [n for n, is_bad in zip(coordinate_names(posterior), bad, strict=True) if is_bad]
        raise ValueError(
            f"The start of {', '.join(names)} is not inside its prior: "
            f"{_list(posterior, {n.partition('[')[0]: 0 for n in names}, values)}."
        )
    return u


def _refuse_other_names(posterior, start) -> None:
    """ValueError that says how a result of other parameters may be a start after all."""
    others = [name for name in start.names if name not in posterior.names]
    if others:
        raise ValueError(
            f"start is a result for {', '.join(start.names)} but the posterior has "
            f"{', '.join(posterior.names)}: pass start.values without {', '.join(others)}."
        )
    if tuple(start.names) != posterior.names:
        more = [name for name in posterior.names if name not in start.names]
        said = f"; {', '.join(more)} would start at the model's value" if more else ""
        raise ValueError(
            f"start is a result for {', '.join(start.names)} but the posterior has "
            f"{', '.join(posterior.names)}: pass start=start.values, a dictionary{said}."
        )


def _agree(values, others) -> bool:
    """Whether two dictionaries hold the same values, to rounding."""
    tolerance = 1e3 * jnp.finfo(jnp.result_type(float)).eps
    pairs = ((np.asarray(values[name]), np.asarray(others[name])) for name in values)
    return all(a.shape == b.shape and np.allclose(a, b, tolerance, 0.0) for a, b in pairs)


def refuse_start(posterior, u: Float[Array, " dim"]) -> None:
    """Raise the ValueError that says what is not finite at ``u``; to be called if something is."""
    values = posterior.constrain(u)
    for name, prior in posterior.priors.items():
        density = float(prior.log_prob(values[name]))
        if not np.isfinite(density):
            raise ValueError(
                f"The log prior of {name} is {density} at the start, "
                f"{_list(posterior, [name], values)}: start where its prior is finite."
            )
    likelihood, gradient = _likelihood_and_gradient(posterior, u)
    everything = _list(posterior, values, values)
    if not np.isfinite(likelihood):
        raise ValueError(
            f"The log-likelihood is {float(likelihood)} at the start ({everything}): start "
            "elsewhere, or look for data or model values that are not finite there."
        )
    slopes = zip(coordinate_names(posterior), np.asarray(gradient), strict=True)
    bad = [name for name, slope in slopes if not np.isfinite(slope)]
    if not bad:
        raise ValueError(
            f"The residuals or their derivatives are not finite at the start ({everything}), "
            "although the log-likelihood is: correct the posterior's residuals."
        )
    raise ValueError(
        f"The derivative of the log density with respect to {', '.join(bad)} is not finite at the "
        f"start ({everything}), although its value is: the model is not differentiable there. "
        "Start elsewhere or fix that parameter."
    )


def _list(posterior, names, values) -> str:
    units = posterior.units
    return ", ".join(
        f"{name} = {np.array2string(np.asarray(values[name]), precision=6)} {units[name]}".rstrip()
        for name in names
    )
