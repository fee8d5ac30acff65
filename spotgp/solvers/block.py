r"""Exact Gaussian log-likelihood of a covariance that vanishes beyond some lag.

Points in order of time are laid in T tiles of m points, so long that a tile is correlated with no
more than the p before it and the p after it; a dense covariance is a single tile. Block column j of
the Cholesky factor follows from the p before it,

.. math::
    L_{jj} L_{jj}^T = K_{jj} - \sum_{k=j-p}^{j-1} L_{jk} L_{jk}^T, \qquad
    L_{ij} = \Bigl(K_{ij} - \sum_{k=i-p}^{j-1} L_{ik} L_{jk}^T\Bigr) L_{jj}^{-T} .

The derivative needs only those entries of the inverse :math:`S` that lie in the same tiles
(selected inversion, Takahashi et al. 1973), from the last tile backwards: with
:math:`X_i = L_{ij} L_{jj}^{-1}`

.. math::
    S_{ij} = -\sum_{k=j+1}^{j+p} S_{ik} X_k, \qquad
    S_{jj} = L_{jj}^{-T} L_{jj}^{-1} - \sum_{k=j+1}^{j+p} X_k^T S_{kj} .

Columns of the mean with a flat prior (offsets of segments, trends) are integrated out: with
:math:`H` their matrix and :math:`A = H^T K^{-1} H`,

.. math::
    \ln L = -\tfrac12\, y^T P y - \tfrac12 \ln|K| - \tfrac12 \ln|A| - \tfrac{N - c}{2} \ln 2\pi,
    \qquad P = K^{-1} - K^{-1} H A^{-1} H^T K^{-1} .
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import dynamic_slice_in_dim
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Float

from .information import Information, marginal


class Blocks(NamedTuple):
    """Data laid in tiles; padding has ``real`` 0.

    The place of a point is its time, or a PyTree of arrays that the covariance understands.
    """

    place: Any
    real: Float[Array, "tiles size"]
    variance: Float[Array, "tiles size"]
    residual: Float[Array, "tiles size"]
    columns: Float[Array, "tiles size c"]


class Factor(NamedTuple):
    """Cholesky factor of a band of tiles and the solved right-hand sides."""

    panels: Float[Array, "tiles+band height size"]  # columns of L, from the diagonal tile down
    inverse: Float[Array, "tiles size 1+c"]  # K^-1 times the residuals and the columns
    information: Information


def _solve(lower, right, transpose=False):
    return triangular_solve(lower, right, left_side=True, lower=True, transpose_a=transpose)


def _flat(place):
    return jax.tree.map(jnp.ravel, place)


def _first(place):
    return jax.tree.map(lambda leaf: leaf[0], place)


def _column_of(covariance, panel: Blocks):
    """Covariance of the first tile with each of a panel, shape (points of the panel, size)."""
    both = panel.real.ravel()[:, None] * panel.real[0][None, :]
    return covariance.block(_flat(panel.place), _first(panel.place)) * both


def _panels(blocks: Blocks, band: int):
    """A function that gives tile j and the ``band`` that follow it, empty ones after the last."""

    def extend(leaf, mode="constant"):
        return jnp.pad(leaf, ((0, band),) + ((0, 0),) * (leaf.ndim - 1), mode)

    places = jax.tree.map(lambda leaf: extend(leaf, "edge"), blocks.place)
    wide = jax.tree.map(extend, blocks)._replace(place=places)

    def panel(j):
        return jax.tree.map(lambda leaf: dynamic_slice_in_dim(leaf, j, band + 1), wide)

    return panel


def _decompose(matrix, block: Blocks):
    """Cholesky factor of a tile with its noise added."""
    noise = jnp.where(block.real[0] > 0, block.variance[0], 1.0)
    return cholesky(matrix + jnp.diag(noise), symmetrize_input=False)


def _factor_of(covariance, blocks: Blocks, band: int):
    """The panels of the Cholesky factor, column after column, and ``band`` of zeros."""
    tiles, size = blocks.real.shape
    panel = _panels(blocks, band)
    if tiles == 1:
        return _decompose(_column_of(covariance, blocks), blocks)[None]

    def column(j, state):
        panels, rows = state
        here = panel(j)
        own = rows[j % band]
        known = [
            rows[(j + k) % band, :, : (band - k) * size] @ own[:, k * size :].T for k in range(band)
        ]
        matrix = _column_of(covariance, here)
        matrix = matrix.at[:-size].add(-jnp.concatenate(known))
        lower = _decompose(matrix[:size], here)
        below = triangular_solve(
            lower, matrix[size:], left_side=False, lower=True, transpose_a=True
        )
        for k in range(1, band + 1):
            tile = below[None, (k - 1) * size : k * size]
            place = (j + k) % band, 0, (band - k) * size
            rows = jax.lax.dynamic_update_slice(rows, tile, place)
        # a single update, after everything is read: written in place
        return panels.at[j].set(jnp.concatenate([lower, below])), rows

    # empty tiles at the end, of a light curve that was padded, stay the identity
    panels = jnp.zeros((tiles + band, (band + 1) * size, size), blocks.real.dtype)
    panels = panels.at[:tiles, :size].set(jnp.eye(size, dtype=panels.dtype))
    # the rows of the factor that are not complete, tile i at i modulo the band
    rows = jnp.zeros((band, size, band * size), panels.dtype)
    return jax.lax.fori_loop(0, _number_in_use(blocks), column, (panels, rows))[0]


def _number_in_use(blocks: Blocks):
    """How many tiles hold data."""
    return jnp.ceil(jnp.sum(blocks.real) / blocks.real.shape[1]).astype(int)


def forward_solve(panels, right):
    """The solution z of L z = right, for right-hand sides of shape (tiles, size, n)."""
    tiles, size, n = right.shape
    if tiles == 1:
        return _solve(panels[0], right[0])[None]

    def step(moved, j):
        # what the tiles before take off this one and the following
        solved = _solve(panels[j, :size], right[j] - moved[:size])
        moved = jnp.concatenate([moved[size:], jnp.zeros_like(solved)])
        return moved + panels[j, size:] @ solved, solved

    moved = jnp.zeros((panels.shape[1] - size, n), right.dtype)
    return jax.lax.scan(step, moved, jnp.arange(tiles))[1]


def factor_times(panels, right):
    """L times right, for right-hand sides of shape (tiles, size, n)."""
    tiles, size, n = right.shape
    if tiles == 1:
        return (jnp.tril(panels[0]) @ right[0])[None]

    def step(moved, j):
        here = panels[j] @ right[j]
        here = here.at[:-size].add(moved)
        return here[size:], here[:size]

    moved = jnp.zeros((panels.shape[1] - size, n), right.dtype)
    return jax.lax.scan(step, moved, jnp.arange(tiles))[1]


def backward_solve(panels, right):
    """The solution x of L^T x = right, for right-hand sides of shape (tiles, size, n)."""
    tiles, size, n = right.shape
    if tiles == 1:
        return _solve(panels[0], right[0], transpose=True)[None]

    def step(after, j):
        solved = _solve(panels[j, :size], right[j] - panels[j, size:].T @ after, transpose=True)
        return jnp.concatenate([solved, after])[:-size], solved

    after = jnp.zeros((panels.shape[1] - size, n), right.dtype)
    return jax.lax.scan(step, after, jnp.arange(tiles), reverse=True)[1]


def _solved(covariance, blocks: Blocks, band: int):
    """The panels, K^-1 R of the right-hand sides R, R^T K^-1 R and ln |K|."""
    panels = _factor_of(covariance, blocks, band)
    right = jnp.concatenate([blocks.residual[..., None], blocks.columns], axis=-1)
    right = right * blocks.real[..., None]
    inverse = backward_solve(panels, forward_solve(panels, right))
    products = jnp.einsum("kic,kid->cd", right, inverse)
    return panels, inverse, products, _log_determinant(panels, blocks)


def factorize(covariance, blocks: Blocks, band: int) -> Factor:
    """Factorise the covariance of the data and solve for the residuals and the free columns.

    Parameters
    ----------
    covariance
        Anything with a method ``block(t1, t2)``, the covariance of two sets of places, and for
        derivatives ``pull(total, t1, t2, matrix)``, which adds to the cotangents of its leaves what
        those of a block make them.
    blocks
        Data and noise variance.
    band
        Number of tiles before it that a tile may be correlated with: 0 for a single tile.

    Returns
    -------
    Factor
        With NaN where the matrix is not positive definite to rounding.
    """
    panels, inverse, products, _ = _solved(covariance, blocks, band)
    return Factor(panels, inverse, Information.of(products))


def log_likelihood(covariance: Any, blocks: Blocks, band: int) -> Float[Array, ""]:
    """Log-likelihood of the residuals, the free columns integrated out under a flat prior.

    Differentiable in the covariance's leaves, the noise variance and the residuals, by selected
    inversion, at a cost that hardly depends on the number of parameters.

    Parameters
    ----------
    covariance, blocks, band
        As for `factorize`.

    Returns
    -------
    array
        Scalar.
    """
    arrays, rest = eqx.partition(covariance, eqx.is_inexact_array)
    products, log_determinant, _ = _differentiable(rest, band, arrays, blocks)
    return marginal(products, log_determinant, jnp.sum(blocks.real))


def fold_inverse(panels, blocks: Blocks, band: int, visit: Callable, carry):
    """Visit the inverse of the covariance between tiles that are in one band.

    Parameters
    ----------
    panels
        Of the Cholesky factor, from `factorize`.
    blocks, band
        As for `factorize`.
    visit
        Called as ``visit(j, selected, carry)`` with block column j of the inverse from the diagonal
        tile down, shape ((band + 1) size, size), the last column with data first; returns the next
        ``carry``.
    carry
        What the first call gets.

    Returns
    -------
    Any
        What the last call returned.
    """
    size = blocks.real.shape[1]
    identity = jnp.eye(size, dtype=blocks.real.dtype)
    if blocks.real.shape[0] == 1:
        inverse = _solve(panels[0], identity)
        return visit(0, _solve(panels[0], inverse, transpose=True), carry)
    used = _number_in_use(blocks)

    def step(k, carry):
        # entries of the inverse between the following tiles; tile i is at i modulo the band
        carry, window = carry
        j = used - 1 - k
        own, below = panels[j, :size], panels[j, size:]
        inverse = _solve(own, identity)
        coupled = jnp.roll(below @ inverse, (j + 1) * size, axis=0)
        beside = -(window @ coupled)
        diagonal = _solve(own, inverse, transpose=True) - coupled.T @ beside
        # rounding that is not symmetric would grow from tile to tile
        diagonal = 0.5 * (diagonal + diagonal.T)
        tidy = jnp.roll(beside, -(j + 1) * size, axis=0)
        carry = visit(j, jnp.concatenate([diagonal, tidy]), carry)
        # tile j takes the place of the farthest one
        at = (j % band) * size
        beside = jax.lax.dynamic_update_slice(beside, diagonal, (at, 0))
        window = jax.lax.dynamic_update_slice(window, beside, (0, at))
        window = jax.lax.dynamic_update_slice(window, beside.T, (at, 0))
        return carry, window

    window = jnp.zeros((band * size, band * size), blocks.real.dtype)
    return jax.lax.fori_loop(0, used, step, (carry, window))[0]


def determinant(covariance: Any, blocks: Blocks, band: int):
    """Log determinant, differentiable like `log_likelihood`, and the panels of the Cholesky factor.

    Parameters
    ----------
    covariance, blocks, band
        As for `factorize`; residuals and columns do not matter.

    Returns
    -------
    tuple
        A scalar and the panels, which are constants to derivatives.
    """
    arrays, rest = eqx.partition(covariance, eqx.is_inexact_array)
    _, value, panels = _differentiable(rest, band, arrays, blocks)
    return value, jax.lax.stop_gradient(panels)


def _log_determinant(panels, blocks: Blocks):
    tiles, size = blocks.real.shape
    diagonal = jnp.diagonal(panels[:tiles, :size], axis1=1, axis2=2)
    return 2.0 * jnp.sum(jnp.log(diagonal))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _differentiable(rest, band, arrays, blocks):
    return _forward(rest, band, arrays, blocks)[0]


def _forward(rest, band, arrays, blocks):
    panels, inverse, products, log_determinant = _solved(eqx.combine(arrays, rest), blocks, band)
    return (products, log_determinant, panels), (arrays, blocks, panels, inverse)


def _backward(rest, band, saved, cotangents):
    arrays, blocks, panels, inverse = saved
    of_products, of_determinant, _ = cotangents  # the panels are constants
    of_products = 0.5 * (of_products + of_products.T)
    weighted = inverse @ of_products
    left = jnp.pad(weighted, ((0, band), (0, 0), (0, 0)))

    def matrix(j, selected):
        before = dynamic_slice_in_dim(left, j, band + 1).reshape(-1, left.shape[-1])
        return of_determinant * selected - before @ inverse[j].T

    total, variance = _pulled(eqx.combine(arrays, rest), blocks, band, panels, matrix)
    return (
        total,
        Blocks(
            place=None,  # places are constants
            real=jnp.zeros_like(blocks.real),
            variance=variance * blocks.real,
            residual=2.0 * weighted[..., 0] * blocks.real,
            columns=2.0 * weighted[..., 1:] * blocks.real[..., None],
        ),
    )


def _pulled(covariance, blocks: Blocks, band: int, panels, matrix: Callable):
    """Cotangents of the covariance's leaves and of the variances.

    ``matrix`` makes those of block column j of the covariance from ``(j, selected)``, see
    `fold_inverse`.
    """
    panel, size = _panels(blocks, band), blocks.real.shape[1]

    def visit(j, selected, carry):
        total, variance = carry
        column = matrix(j, selected)
        twice = jnp.concatenate([column[:size], 2.0 * column[size:]])
        here = panel(j)
        twice = twice * (here.real.ravel()[:, None] * here.real[0][None, :])
        total = covariance.pull(total, _flat(here.place), _first(here.place), twice)
        return total, variance.at[j].set(jnp.diagonal(column[:size]))

    arrays, rest = eqx.partition(covariance, eqx.is_inexact_array)
    start = eqx.combine(jax.tree.map(jnp.zeros_like, arrays), rest), jnp.zeros_like(blocks.real)
    total, variance = fold_inverse(panels, blocks, band, visit, start)
    return eqx.filter(total, eqx.is_inexact_array), variance


_differentiable.defvjp(_forward, _backward)
