"""The unconstrained space of a posterior: natural scales, names of components, the prior alone."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ._jit import jit
from .arrays import as_data

_PRIOR_DRAWS = 256


def _no_likelihood(model):
    del model
    return jnp.zeros((), jnp.result_type(float))


def prior_only(posterior):
    """The same posterior without the likelihood: its densities are those of the prior."""
    return eqx.tree_at(lambda p: p.log_likelihood, posterior, replace=_no_likelihood)


@jit
def prior_draws(posterior, keys) -> Float[Array, "number dim"]:
    """One draw from the prior per key, in unconstrained coordinates.

    NotImplementedError if a prior is improper.
    """

    def draw(key):
        values = {}
        for name, prior in posterior.priors.items():
            key, key_of_name = jax.random.split(key)
            values[name] = prior.sample(key_of_name)
        return posterior.unconstrain(values)

    return jax.vmap(draw)(keys)


def natural_range(posterior) -> tuple[Float[Array, " dim"], Float[Array, " dim"]]:
    """Middle and half width of the prior's central 68 % in each unconstrained coordinate.

    Steps and starts are measured in it, so that a parameter of order 1e-6 and one of order 1e6
    are treated alike. The start and one where the prior is improper.
    """
    low, high = map(np.asarray, _central_range(prior_only(posterior)))
    middle, width = 0.5 * (low + high), 0.5 * np.abs(high - low)
    usable = np.isfinite(width) & (width > 0)
    start = np.asarray(posterior.unconstrain(posterior.initial))
    middle, width = np.where(usable, middle, start), np.where(usable, width, 1.0)
    return jnp.asarray(middle, low.dtype), jnp.asarray(width, low.dtype)


@jit
def _central_range(posterior):
    ends = []
    for name, prior in posterior.priors.items():
        inverse = posterior.transform[name].inv
        try:
            low, high = (inverse(_quantile(prior, q)) for q in (0.16, 0.84))
        except (NotImplementedError, ImportError):  # no quantiles, or only with an extra package
            low, high = _range_of_draws(prior, inverse)
        ends.append((jnp.ravel(low), jnp.ravel(high)))
    return tuple(jnp.concatenate(side) for side in zip(*ends, strict=True))


def _quantile(prior, q: float):
    base = prior
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    dtype = jnp.result_type(float)
    values = base.icdf(jnp.full(base.shape(), q, dtype))
    return jnp.broadcast_to(values, prior.shape())


def _range_of_draws(prior, inverse):
    try:
        draws = jax.vmap(prior.sample)(jax.random.split(jax.random.key(0), _PRIOR_DRAWS))
    except NotImplementedError:  # an improper prior
        nothing = jnp.full(inverse(jnp.ones(prior.shape())).shape, jnp.nan)
        return nothing, nothing
    low, high = jnp.nanpercentile(jax.vmap(inverse)(draws), jnp.array([16.0, 84.0]), axis=0)
    return low, high


def flat_values(posterior, u: Float[Array, " dim"]) -> Float[Array, " size"]:
    """All physical values at ``u`` in one vector, in the order of the names."""
    return jnp.concatenate([jnp.ravel(value) for value in posterior.constrain(u).values()])


def split_vector(where: str, vector, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Values by name, of shape ``(..., *shape)``, from all numbers along the last axis."""
    vector = jnp.asarray(as_data(where, vector), jnp.result_type(float))
    sizes = [math.prod(shape) for shape in shapes.values()]
    if vector.ndim == 0 or vector.shape[-1] != sum(sizes):
        raise ValueError(
            f"{where} has shape {vector.shape}, but its last axis must have the length "
            f"{sum(sizes)}, of all numbers in {', '.join(shapes)}."
        )
    parts = jnp.split(vector, np.cumsum(sizes)[:-1], axis=-1)
    return {
        name: part.reshape((*vector.shape[:-1], *shape))
        for part, (name, shape) in zip(parts, shapes.items(), strict=True)
    }


def indexed_names(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """One name per number: ``"flux"``, or ``"phase.values[2]"`` for entries of an array."""
    return [
        name + (f"[{', '.join(map(str, index))}]" if index else "")
        for name, shape in shapes.items()
        for index in np.ndindex(*shape)
    ]


def coordinate_names(posterior) -> list[str]:
    """One name per unconstrained coordinate (a simplex has one fewer than it has values)."""
    transforms = posterior.transform
    return indexed_names(
        {name: transforms[name].inverse_shape(shape) for name, shape in posterior.shapes.items()}
    )
