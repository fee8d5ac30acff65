"""Compiled evaluations of a posterior, shared by fits, Gaussian approximations and sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._jit import jit
from ..space import prior_only
from ..threads import in_threads


class Frame(NamedTuple):
    """Coordinates z of the minimisers: u = offset + scale * z, the prior about one wide."""

    offset: Float[Array, " dim"]
    scale: Float[Array, " dim"]


def at_once() -> bool:
    """Whether starts and chains are evaluated at once, not in turn.

    On a CPU a batch is no faster than its members, which can be on several cores and do not wait
    for the longest trajectory.
    """
    return jax.default_backend() != "cpu"


class Rowwise:
    """A function of a posterior, a frame and a row, compiled once, for stacks of rows.

    It is called as ``function(posterior, frame, row, *constants)``; the row may be a tree.
    """

    def __init__(self, function):
        self._one = jit(function)
        self._all = jit(
            lambda posterior, frame, rows, *constants: jax.vmap(
                lambda row: function(posterior, frame, row, *constants)
            )(rows)
        )

    def one(self, posterior, frame: Frame, row, *constants):
        """The function of one row."""
        return self._one(posterior, frame, row, *constants)

    def all(self, posterior, frame: Frame, rows, *constants):
        """The function of every row, stacked.

        One on each core of a CPU, with the same compiled program for any number of rows.
        """
        if at_once():
            return self._all(posterior, frame, rows, *constants)
        number = len(jax.tree.leaves(rows)[0])

        def one(index):
            row = jax.tree.map(lambda leaf: leaf[index], rows)
            return self._one(posterior, frame, row, *constants)

        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *in_threads(one, range(number)))


def objective(posterior, frame: Frame, z):
    """Minus the log posterior density of the physical values at ``z``."""
    return -posterior.log_density_physical(frame.offset + frame.scale * z)


def gauss_newton(posterior, frame: Frame, z):
    """Half the sum of squared residuals plus the prior's part: value, gradient, Hessian."""

    def terms(z):
        model = posterior.model_from(frame.offset + frame.scale * z)
        both = [jnp.ravel(posterior.residuals(model))]
        if posterior.log_normalization is not None:
            both.append(jnp.ravel(posterior.log_normalization(model)))
        return both, both

    def prior(z):
        return objective(prior_only(posterior), frame, z)

    jacobians, (vector, *normalization) = jax.jacfwd(terms, has_aux=True)(z)
    jacobian = jacobians[0]
    value, gradient = jax.value_and_grad(prior)(z)
    eigenvalues, vectors = jnp.linalg.eigh(jax.hessian(prior)(z))
    convex = (vectors * jnp.maximum(eigenvalues, 0.0)[None, :]) @ vectors.T
    value = value + 0.5 * vector @ vector
    gradient = gradient + jacobian.T @ vector
    curvature = jacobian.T @ jacobian + convex
    for log_width, slopes in zip(normalization, jacobians[1:], strict=True):
        # for widths that depend on parameters this is the other half of the Fisher information
        value = value - jnp.sum(log_width)
        gradient = gradient - jnp.sum(slopes, axis=0)
        curvature = curvature + slopes.T @ slopes
    return value, gradient, curvature


def _hessian(posterior, frame: Frame, z):
    gradient, times_hessian = jax.linearize(jax.grad(lambda z: objective(posterior, frame, z)), z)
    # Row after row: the memory of one gradient instead of dim of them.
    rows = jax.lax.map(times_hessian, jnp.eye(len(z), dtype=z.dtype))
    return gradient, 0.5 * (rows + rows.T)


# First and second derivatives of the objective in z.
hessian = Rowwise(_hessian)


@jit
def log_volume(prior, us: Float[Array, "row dim"]):
    """Log volume element of the unconstrained coordinates, and its gradient, for each row.

    ``prior`` is a posterior without its likelihood (:func:`prior_only`).
    """
    return jax.vmap(jax.value_and_grad(prior.log_volume))(us)


@jit
def log_volume_curvature(prior, frame: Frame) -> Float[Array, "dim dim"]:
    """Minus the second derivatives of :func:`log_volume` in z, at the frame's offset."""

    def function(z):
        return prior.log_volume(frame.offset + frame.scale * z)

    return -jax.hessian(function)(jnp.zeros_like(frame.offset))
