r"""Exact Gaussian log-likelihood of a covariance that is block tridiagonal.

Points in order of time are laid in blocks so long that only neighbouring blocks are correlated; a
dense covariance is the case of a single block. With :math:`L_k` the Cholesky factor of the k-th
diagonal block after elimination and :math:`W_k = C_k L_k^{-T}` what couples it to the next,

.. math::
    L_k L_k^T = D_k - W_{k-1} W_{k-1}^T .

The derivative needs only those entries of the inverse :math:`S` that lie in the same blocks
(selected inversion, Takahashi et al. 1973), from the last block backwards:

.. math::
    S_{k+1,k} = -S_{k+1,k+1} W_k L_k^{-1}, \qquad
    S_{k,k} = L_k^{-T} L_k^{-1} - (W_k L_k^{-1})^T S_{k+1,k} .

Columns of the mean with a flat prior (offsets of segments, trends) are integrated out: with
:math:`H` their matrix and :math:`A = H^T K^{-1} H`,

.. math::
    \ln L = -\tfrac12\, y^T P y - \tfrac12 \ln|K| - \tfrac12 \ln|A| - \tfrac{N - c}{2} \ln 2\pi,
    \qquad P = K^{-1} - K^{-1} H A^{-1} H^T K^{-1} .
"""

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Float


class Blocks(NamedTuple):
    """Data laid in blocks; padding has ``real`` 0."""

    time: Float[Array, "blocks size"]
    real: Float[Array, "blocks size"]
    variance: Float[Array, "blocks size"]
    residual: Float[Array, "blocks size"]
    columns: Float[Array, "blocks size c"]


class Factor(NamedTuple):
    """Cholesky factor of a block tridiagonal matrix and the solved right-hand sides."""

    lower: Float[Array, "blocks size size"]
    coupling: Float[Array, "blocks-1 size size"]
    log_determinant: Float[Array, ""]
    inverse: Float[Array, "blocks size 1+c"]
    normal: Float[Array, "c c"]
    moment: Float[Array, "c"]
    weights: Float[Array, "blocks size"]
    chi_squared: Float[Array, ""]


def _solve(lower, right, transpose=False):
    return triangular_solve(lower, right, left_side=True, lower=True, transpose_a=transpose)


def _within(covariance, block):
    return covariance.block(block.time, block.time) * (block.real[:, None] * block.real[None, :])


def _between(covariance, later, earlier):
    cross = covariance.block(later.time, earlier.time)
    return cross * (later.real[:, None] * earlier.real[None, :])


def _shifted(blocks):
    """Each block with the one before it."""
    later = jax.tree.map(lambda leaf: leaf[1:], blocks)
    earlier = jax.tree.map(lambda leaf: leaf[:-1], blocks)
    return later, earlier


def forward_solve(lower, coupling, right):
    """The solution z of L z = right, for right-hand sides of shape (blocks, size, n)."""
    first = _solve(lower[0], right[0])
    if lower.shape[0] == 1:
        return first[None]

    def step(previous, block):
        lower, coupling, right = block
        solved = _solve(lower, right - coupling @ previous)
        return solved, solved

    _, rest = jax.lax.scan(step, first, (lower[1:], coupling, right[1:]))
    return jnp.concatenate([first[None], rest])


def backward_solve(lower, coupling, right):
    """The solution x of L^T x = right, for right-hand sides of shape (blocks, size, n)."""
    last = _solve(lower[-1], right[-1], transpose=True)
    if lower.shape[0] == 1:
        return last[None]

    def step(following, block):
        lower, coupling, right = block
        solved = _solve(lower, right - coupling.T @ following, transpose=True)
        return solved, solved

    _, rest = jax.lax.scan(step, last, (lower[:-1], coupling, right[:-1]), reverse=True)
    return jnp.concatenate([rest, last[None]])


def factorize(covariance, blocks: Blocks) -> Factor:
    """Factorise the covariance of the data and solve for the residuals and the free columns.

    Parameters
    ----------
    covariance
        Anything with a method ``block(t1, t2)``, the covariance of two sets of times.
    blocks
        Data and noise variance. Points of blocks that are not neighbours have no covariance.

    Returns
    -------
    Factor
        With NaN where the matrix is not positive definite to rounding.
    """
    first = jax.tree.map(lambda leaf: leaf[0], blocks)

    def decompose(matrix, block):
        noise = jnp.where(block.real > 0, block.variance, 1.0)
        return cholesky(matrix + jnp.diag(noise), symmetrize_input=False)

    def step(previous, pair):
        block, before = pair
        cross = _between(covariance, block, before)
        coupling = _solve(previous, cross.T).T
        lower = decompose(_within(covariance, block) - coupling @ coupling.T, block)
        return lower, (lower, coupling)

    lower = decompose(_within(covariance, first), first)
    if blocks.time.shape[0] > 1:
        _, (rest, coupling) = jax.lax.scan(step, lower, _shifted(blocks))
        lower = jnp.concatenate([lower[None], rest])
    else:
        lower, coupling = lower[None], jnp.zeros((0, *lower.shape), lower.dtype)

    right = jnp.concatenate([blocks.residual[..., None], blocks.columns], axis=-1)
    right = right * blocks.real[..., None]
    inverse = backward_solve(lower, coupling, forward_solve(lower, coupling, right))
    diagonal = jnp.diagonal(lower, axis1=1, axis2=2)
    products = jnp.einsum("kic,kid->cd", right, inverse)
    normal, moment = products[1:, 1:], products[1:, 0]
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    return Factor(
        lower=lower,
        coupling=coupling,
        log_determinant=2.0 * jnp.sum(jnp.log(diagonal)),
        inverse=inverse,
        normal=normal,
        moment=moment,
        weights=inverse[..., 0] - inverse[..., 1:] @ amplitudes,
        chi_squared=products[0, 0] - moment @ amplitudes,
    )


def _log_likelihood_of(factor: Factor, blocks: Blocks):
    dof = jnp.sum(blocks.real) - blocks.columns.shape[-1]
    total = factor.chi_squared + factor.log_determinant + dof * math.log(2.0 * math.pi)
    if factor.moment.size:
        total = total + jnp.linalg.slogdet(factor.normal)[1]
    return -0.5 * total


def log_likelihood(covariance: Any, blocks: Blocks) -> Float[Array, ""]:
    """Log-likelihood of the residuals, the free columns integrated out under a flat prior.

    Differentiable in the covariance's leaves, the noise variance and the residuals, by selected
    inversion, at a cost that hardly depends on the number of parameters.

    Parameters
    ----------
    covariance, blocks
        As for `factorize`.

    Returns
    -------
    array
        Scalar.
    """
    arrays, rest = eqx.partition(covariance, eqx.is_inexact_array)
    return _differentiable(rest, arrays, blocks)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(rest, arrays, blocks):
    return _forward(rest, arrays, blocks)[0]


def _forward(rest, arrays, blocks):
    factor = factorize(eqx.combine(arrays, rest), blocks)
    return _log_likelihood_of(factor, blocks), (arrays, blocks, factor)


def _backward(rest, saved, cotangent):
    arrays, blocks, factor = saved
    size = blocks.time.shape[1]
    identity = jnp.eye(size, dtype=blocks.time.dtype)
    columns = factor.inverse[..., 1:]
    if factor.moment.size:
        # P = S - X A^-1 X^T, and the gradient's matrix is (P y)(P y)^T - P
        projected = jnp.linalg.solve(factor.normal, columns.reshape(-1, columns.shape[-1]).T)
        projected = projected.T.reshape(columns.shape)
    else:
        projected = columns

    def outer(k, j):
        weights = factor.weights
        return jnp.outer(weights[k], weights[j]) + projected[k] @ columns[j].T

    def block_at(k):
        return jax.tree.map(lambda leaf: leaf[k], blocks)

    def pull_within(matrix, block):
        _, pull = jax.vjp(lambda c: _within(eqx.combine(c, rest), block), arrays)
        return pull(0.5 * cotangent * matrix)[0], 0.5 * cotangent * jnp.diagonal(matrix)

    def add(a, b):
        return jax.tree.map(jnp.add, a, b)

    last = blocks.time.shape[0] - 1
    inverse = _solve(factor.lower[last], identity)
    selected = _solve(factor.lower[last], inverse, transpose=True)
    total, at_last = pull_within(
        outer(last, last) - selected, jax.tree.map(lambda b: b[last], blocks)
    )

    def step(carry, k):
        total, selected = carry
        block, following = block_at(k), block_at(k + 1)
        inverse = _solve(factor.lower[k], identity)
        coupled = factor.coupling[k] @ inverse
        beside = -selected @ coupled
        selected = _solve(factor.lower[k], inverse, transpose=True) - coupled.T @ beside
        _, pull = jax.vjp(lambda c: _between(eqx.combine(c, rest), following, block), arrays)
        total = add(total, pull(cotangent * (outer(k + 1, k) - beside))[0])
        within, on_diagonal = pull_within(outer(k, k) - selected, block)
        return (add(total, within), selected), on_diagonal

    variance = at_last[None]
    if last:
        (total, _), others = jax.lax.scan(step, (total, selected), jnp.arange(last), reverse=True)
        variance = jnp.concatenate([others, variance])
    return total, Blocks(
        time=jnp.zeros_like(blocks.time),
        real=jnp.zeros_like(blocks.real),
        variance=variance * blocks.real,
        residual=-cotangent * factor.weights * blocks.real,
        columns=jnp.zeros_like(blocks.columns),
    )


_differentiable.defvjp(_forward, _backward)
