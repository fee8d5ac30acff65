r"""Exact Gaussian likelihoods of quasiseparable covariances: their cost is linear in N.

Entries below the diagonal are products of generators and transition matrices,

.. math::
    K_{ij} = p_i^T\, A(t_i - t_j)\, q_j \quad (t_i \ge t_j), \qquad A(a + b) = A(b)\, A(a),

with m generators each. Points are laid in tiles. Of all data before a tile that begins at
:math:`t_0`, only two things matter: the covariance :math:`S` that they explain, and the mean
:math:`x` that they predict, both for the state at :math:`t_0`. With the rows
:math:`H_i = p_i^T A(t_i - t_0)`, the columns :math:`G_j = A(t_1 - t_j) q_j` and the first time
:math:`t_1` of the next tile, of length :math:`h = t_1 - t_0`,

.. math::
    C = K + D - H S H^T, \qquad v = y - H x, \qquad U = G - A(h) S H^T,

    S \leftarrow A(h)\, S\, A(h)^T + U C^{-1} U^T, \qquad x \leftarrow A(h)\, x + U C^{-1} v,

and :math:`\ln|K + D| = \sum \ln|C|`, :math:`y^T (K + D)^{-1} y = \sum v^T C^{-1} v`. It is a
Kalman filter (Hartikainen & Särkkä 2010) that takes a tile at a time where others take a point
(Foreman-Mackey et al. 2017), so that the work is in products of matrices. All transitions go
forwards in time: no exponential grows. In reverse mode each tile is computed again, and S at each
tile is all that is kept.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Float

from ..block import Blocks
from ..information import marginal
from .states import States, Times

# seconds of a core for a point: by itself, for each generator, for each pair of them
_POINT, _GENERATOR, _PAIR = 6.5e-6, 9e-8, 1.2e-9


class _Tile(NamedTuple):
    at: dict[str, Times]
    time: Float[Array, "size"]
    stop: Float[Array, ""]  # first time of the next tile
    real: Float[Array, "size"]
    variance: Float[Array, "size"]
    right: Float[Array, "size 1+c"]


class _Conditional(NamedTuple):
    """A tile, given all data before it."""

    left: Float[Array, "size m"]
    factor: Float[Array, "size size"]
    onward: Float[Array, "size m"]  # U^T


def tile_size(states: int) -> int:
    """Points in a tile: about as many as there are generators, no more than 32."""
    return min(max(8 * round(states / 8), 16), 32)


def seconds(n: int, states: int) -> float:
    """Rough time of a likelihood and its gradient, in seconds of a CPU core.

    Parameters
    ----------
    n
        Number of points.
    states
        Of the covariance, `States.size`: 4 H + 2 for the harmonics 0 ... H.
    """
    return n * (_POINT + _GENERATOR * states + _PAIR * states**2)


def _tiles(states: States, blocks: Blocks) -> _Tile:
    right = jnp.concatenate([blocks.residual[..., None], blocks.columns], axis=-1)
    stop = jnp.concatenate([blocks.place[1:, 0], blocks.place[-1:, -1]])
    right = right * blocks.real[..., None]
    return _Tile(states.at(blocks.place), blocks.place, stop, blocks.real, blocks.variance, right)


def _solve(factor, right):
    return triangular_solve(factor, right, left_side=True, lower=True)


def _conditional(states: States, explained, tile: _Tile) -> _Conditional:
    real, start = tile.real[:, None], tile.time[0]
    left = states.left(tile.at, start)
    seen = left @ explained
    noise = jnp.where(tile.real > 0, tile.variance, 1.0)
    matrix = (states.block(tile.at, tile.at) - seen @ left.T) * (real * real.T)
    onward = states.right(tile.at, tile.stop) - states.advanced(seen, tile.stop - start)
    factor = cholesky(matrix + jnp.diag(noise), symmetrize_input=False)
    return _Conditional(left, factor, onward * real)


def _step(states: States, carry, tile: _Tile):
    """The state at the next tile, the whitened residuals of this one, its log determinant."""
    explained, predicted = carry
    given, ahead = _conditional(states, explained, tile), tile.stop - tile.time[0]
    innovation = (tile.right - given.left @ predicted) * tile.real[:, None]
    white = _solve(given.factor, jnp.concatenate([given.onward, innovation], axis=1))
    onward, white = white[:, : states.size], white[:, states.size :]
    explained = states.advanced(states.advanced(explained, ahead).T, ahead) + onward.T @ onward
    predicted = states.advanced(predicted.T, ahead).T + onward.T @ white
    return (explained, predicted), white, jnp.sum(jnp.log(jnp.diagonal(given.factor)))


def _start(states: States, columns: int, dtype):
    return jnp.zeros((states.size, states.size), dtype), jnp.zeros((states.size, columns), dtype)


def gather(states: States, blocks: Blocks):
    """Filter all data.

    Parameters
    ----------
    states
        The covariance.
    blocks
        Data and noise variance in tiles, ascending in time. Equal times may occur.

    Returns
    -------
    products
        Of the residuals and columns through the inverse, shape (1 + c, 1 + c).
    log_determinant
        Scalar. Both are NaN where the matrix is not positive definite to rounding.
    """

    @jax.checkpoint
    def step(carry, tile):
        carry, white, log_determinant = _step(states, carry, tile)
        return carry, (white.T @ white, log_determinant)

    tiles = _tiles(states, blocks)
    carry = _start(states, tiles.right.shape[-1], tiles.time.dtype)
    products, log_determinants = jax.lax.scan(step, carry, tiles)[1]
    return jnp.sum(products, axis=0), 2.0 * jnp.sum(log_determinants)


def log_likelihood(states: States, blocks: Blocks) -> Float[Array, ""]:
    """Log-likelihood of the residuals, the free columns integrated out under a flat prior.

    Parameters
    ----------
    states, blocks
        As for `gather`.

    Returns
    -------
    array
        Scalar.
    """
    return marginal(*gather(states, blocks), jnp.sum(blocks.real))


class Smoothed(NamedTuple):
    """What all data say of each point in tiles, in its order."""

    through: Float[Array, "n 1+c"]  # k_*^T (K + D)^-1 of the residuals and the columns
    variance: Float[Array, "n"]  # k_** - k_*^T (K + D)^-1 k_*


def smooth(states: States, blocks: Blocks, names=None):
    """Filter all data and look back at each point, also at those that are no data.

    Parameters
    ----------
    states, blocks
        As for `gather`; points with ``real`` 0 are only looked at.
    names
        Parts of the sum to look at; None is all.

    Returns
    -------
    products
        As for `gather`.
    smoothed
        `Smoothed`.
    """
    variance = states.diagonal(names)
    mask, identity = states.mask(names), jnp.eye(states.size, dtype=blocks.place.dtype)
    tiles = _tiles(states, blocks)

    def ahead(carry, tile):
        after, white, log_determinant = _step(states, carry, tile)
        return after, (carry, white.T @ white, log_determinant)

    def back(carry, entry):
        slope, information = carry
        (explained, predicted), tile = entry
        given, length = _conditional(states, explained, tile), tile.stop - tile.time[0]
        real, left = tile.real[:, None], given.left * mask[None, :]
        seen = left @ explained
        cross = real * (states.block(tile.at, tile.at, names) - given.left @ seen.T)
        onward = states.right(tile.at, tile.stop) * mask[None, :]
        onward = onward - states.advanced(seen, length)
        innovation = (tile.right - given.left @ predicted) * real
        parts = given.onward, innovation, given.left * real, cross
        passed, white, own, cross = (_solve(given.factor, part) for part in parts)
        onward = onward - cross.T @ passed
        through = left @ predicted + cross.T @ white + onward @ slope
        reduction = jnp.sum(seen * left, axis=1) + jnp.sum(cross**2, axis=0)
        reduction = reduction + jnp.sum((onward @ information) * onward, axis=1)
        transition = states.advanced(identity, length).T - passed.T @ own
        slope = own.T @ white + transition.T @ slope
        information = own.T @ own + transition.T @ information @ transition
        return (slope, information), Smoothed(through, variance - reduction)

    carry = _start(states, tiles.right.shape[-1], tiles.time.dtype)
    before, products, _ = jax.lax.scan(ahead, carry, tiles)[1]
    smoothed = jax.lax.scan(back, carry[::-1], (before, tiles), reverse=True)[1]
    return jnp.sum(products, axis=0), jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), smoothed
    )


def through(states: States, blocks: Blocks, wanted, names=None):
    """Products of residuals, columns and covariances with other times through the inverse.

    Parameters
    ----------
    states, blocks, names
        As for `smooth`.
    wanted
        Times, shape (w,).

    Returns
    -------
    products
        As for `gather`.
    through
        Products of the covariances with ``wanted`` and the residuals and columns, shape (w, 1 + c).
    covariance
        Of ``wanted`` given the data, shape (w, w).
    """
    there = states.at(wanted)

    def step(carry, tile):
        state, total = carry
        cross = states.block(tile.at, there, names) * tile.real[:, None]
        wide = tile._replace(right=jnp.concatenate([tile.right, cross], axis=1))
        state, white, _ = _step(states, state, wide)
        return (state, total + white.T @ white), None

    tiles = _tiles(states, blocks)
    own = tiles.right.shape[-1]
    width = own + wanted.size
    carry = _start(states, width, tiles.time.dtype), jnp.zeros((width, width), tiles.time.dtype)
    (_, total), _ = jax.lax.scan(step, carry, tiles)
    covariance = states.block(there, there, names) - total[own:, own:]
    return total[:own, :own], total[own:, :own], covariance
