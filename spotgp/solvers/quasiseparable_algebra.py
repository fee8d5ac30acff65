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

The covariance of spots without shear, :math:`R(s) \sum_n w_n \cos n \omega_0 s`, has 4 H + 2
generators for the harmonics 0 ... H. The rotation goes into the generators,
:math:`\cos n \omega_0 (t_i - t_j)` being a product of cosines plus one of sines, and the transition
is that of the envelope alone, two first-order filters in series: with rates
:math:`a = 1 / \tau_{em}`, :math:`b = 1 / \tau_{dec}`

.. math::
    R(s) = \begin{pmatrix} \tfrac{1}{2a} & 1 \end{pmatrix}
    \begin{pmatrix} e^{-as} & 0 \\ D(s) & e^{-bs} \end{pmatrix}
    \begin{pmatrix} 1 \\ \tfrac{1}{2b} \end{pmatrix}, \qquad
    D(s) = \frac{e^{-bs} - e^{-as}}{a - b},

smooth also where both rates are equal.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import tinygp
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Float
from tinygp.solvers.quasisep.block import Block

from ..kernel.trig import cos_sin
from ..star.exponential import two_decays
from .block import Blocks

# seconds of a core for a point: by itself, for each generator, for each pair of them
_POINT, _GENERATOR, _PAIR = 6.5e-6, 9e-8, 1.2e-9


class Times(NamedTuple):
    """Times, and what a process needs to know of them, worked out once for all tiles."""

    time: Float[Array, "*n"]
    features: Float[Array, "*n f"]


class Spots(eqx.Module):
    r"""Generators of :math:`R(s) \sum_n w_n \cos n \omega_0 s`.

    Parameters
    ----------
    emergence, decay
        Time scales of the envelope in days, scalars.
    omega
        :math:`\omega_0` in radians per day.
    powers
        The :math:`w_n`, shape (orders,).
    orders
        The n, ascending.
    """

    emergence: Float[Array, ""]
    decay: Float[Array, ""]
    omega: Float[Array, ""]
    powers: Float[Array, "orders"]
    orders: tuple[int, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of generators."""
        return 2 * self._features

    @property
    def _features(self) -> int:
        return sum(1 if n == 0 else 2 for n in self.orders)

    def features(self, time):
        """Cosines of all orders and sines of those beyond 0, shape (*time, features)."""
        orders = jnp.asarray(self.orders, time.dtype)
        turn = (self.omega * time).reshape(-1, 1)
        cosines, sines = cos_sin(turn * orders[None, :])
        both = jnp.concatenate([cosines, sines[:, self._skipped :]], axis=1)
        return both.reshape(*time.shape, -1)

    @property
    def _skipped(self) -> int:
        return 1 if self.orders[0] == 0 else 0

    def _weights(self):
        return jnp.concatenate([self.powers, self.powers[self._skipped :]])

    def _decays(self, step):
        """Entries of the envelope's transition matrix: both decays and what the first feeds."""
        first, second = jnp.exp(-step / self.emergence), jnp.exp(-step / self.decay)
        return first, two_decays(self.emergence, self.decay, step), second

    def left(self, at, start):
        """Rows p^T A(t - start), shape (n, size)."""
        first, fed, second = self._decays(at.time - start)
        weighted = at.features * self._weights()[None, :]
        rows = (0.5 * self.emergence * first + fed)[:, None] * weighted
        return jnp.concatenate([rows, second[:, None] * weighted], axis=1)

    def right(self, at, stop):
        """Rows (A(stop - t) q)^T, shape (n, size)."""
        first, fed, second = self._decays(stop - at.time)
        below = (fed + 0.5 * self.decay * second)[:, None] * at.features
        return jnp.concatenate([first[:, None] * at.features, below], axis=1)

    def advanced(self, rows, step):
        """Rows x^T, shape (n, size), as x^T A(step)^T."""
        first, fed, second = self._decays(step)
        above, below = rows[:, : self._features], rows[:, self._features :]
        return jnp.concatenate([first * above, fed * above + second * below], axis=1)

    def block(self, at, other):
        """Covariance matrix of two sets of times."""
        lag = jnp.abs(at.time[:, None] - other.time[None, :])
        fast, slow = self.emergence, self.decay
        shape = 0.5 * (fast * jnp.exp(-lag / fast) + slow * jnp.exp(-lag / slow))
        shape = shape + two_decays(fast, slow, lag)
        return shape * ((at.features * self._weights()[None, :]) @ other.features.T)


class Term(eqx.Module):
    """Generators of one of tinygp's stationary quasiseparable kernels."""

    kernel: tinygp.kernels.quasisep.Quasisep

    @property
    def size(self) -> int:
        """Number of generators."""
        return jax.eval_shape(self._observed).shape[0]

    def _observed(self):
        return self.kernel.observation_model(jnp.zeros((), jnp.result_type(float)))

    def _transition(self, step):
        matrix = self.kernel.transition_matrix(jnp.zeros_like(step), step)
        return _plain(matrix)

    def features(self, time):
        """None."""
        return jnp.zeros((*time.shape, 0), time.dtype)

    def left(self, at, start):
        """Rows p^T A(t - start), shape (n, size)."""
        row = self._observed() @ _plain(self.kernel.stationary_covariance())
        return jax.vmap(lambda step: row @ self._transition(step))(at.time - start)

    def right(self, at, stop):
        """Rows (A(stop - t) q)^T, shape (n, size)."""
        return jax.vmap(lambda step: self._transition(step) @ self._observed())(stop - at.time)

    def advanced(self, rows, step):
        """Rows x^T, shape (n, size), as x^T A(step)^T."""
        return rows @ self._transition(step).T

    def block(self, at, other):
        """Covariance matrix of two sets of times."""
        column = self._observed()
        row = column @ _plain(self.kernel.stationary_covariance())
        lag = jnp.abs(at.time[:, None] - other.time[None, :])
        entry = jax.vmap(lambda step: row @ (self._transition(step) @ column))
        return entry(lag.ravel()).reshape(lag.shape)


def _plain(matrix):
    """An array also of tinygp's block-diagonal matrices."""
    return matrix.to_dense() if isinstance(matrix, Block) else matrix


class States(eqx.Module):
    """A sum of processes by name, their generators side by side."""

    parts: dict[str, Spots | Term]

    @property
    def size(self) -> int:
        """Number of generators of all parts."""
        return sum(part.size for part in self.parts.values())

    def at(self, time) -> dict[str, "Times"]:
        """Times of any shape, with what each part needs to know of them."""
        return {name: Times(time, part.features(time)) for name, part in self.parts.items()}

    def left(self, at, start):
        """Rows p^T A(t - start), shape (n, size)."""
        rows = [part.left(at[name], start) for name, part in self.parts.items()]
        return jnp.concatenate(rows, axis=1)

    def right(self, at, stop):
        """Rows (A(stop - t) q)^T, shape (n, size)."""
        rows = [part.right(at[name], stop) for name, part in self.parts.items()]
        return jnp.concatenate(rows, axis=1)

    def advanced(self, rows, step):
        """Rows x^T, shape (n, size), as x^T A(step)^T."""
        moved, begin = [], 0
        for part in self.parts.values():
            moved.append(part.advanced(rows[:, begin : begin + part.size], step))
            begin += part.size
        return jnp.concatenate(moved, axis=1)

    def block(self, at, other, names=None):
        """Covariance matrix of two sets of times, of all parts or of some."""
        blocks = [
            part.block(at[name], other[name])
            for name, part in self.parts.items()
            if names is None or name in names
        ]
        return sum(blocks[1:], blocks[0])

    def diagonal(self, names=None):
        """Variance, of all parts or of some."""
        zero = self.at(jnp.zeros(1, jnp.result_type(float)))
        return self.block(zero, zero, names)[0, 0]

    def mask(self, names=None) -> Float[Array, "size"]:
        """1 for the generators of some parts, 0 for the others."""
        return jnp.concatenate(
            [
                jnp.full(part.size, 1.0 if names is None or name in names else 0.0)
                for name, part in self.parts.items()
            ]
        )


class Information(NamedTuple):
    """What the likelihood needs of all data."""

    log_determinant: Float[Array, ""]
    products: Float[Array, "1+c 1+c"]  # of the residuals and columns through the inverse
    normal: Float[Array, "c c"]
    moment: Float[Array, "c"]
    amplitudes: Float[Array, "c"]


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


def quasiseparable_cost(n: int, states: int) -> float:
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
    stop = jnp.concatenate([blocks.time[1:, 0], blocks.time[-1:, -1]])
    right = right * blocks.real[..., None]
    return _Tile(states.at(blocks.time), blocks.time, stop, blocks.real, blocks.variance, right)


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


def _without_points(blocks: Blocks):
    return jnp.all(blocks.columns == 0.0, axis=(0, 1)).astype(blocks.time.dtype)


def gather(states: States, blocks: Blocks) -> Information:
    """Filter all data.

    Parameters
    ----------
    states
        The covariance.
    blocks
        Data and noise variance in tiles, ascending in time. Equal times may occur.

    Returns
    -------
    Information
        With NaN where the matrix is not positive definite to rounding.
    """

    @jax.checkpoint
    def step(carry, tile):
        carry, white, log_determinant = _step(states, carry, tile)
        return carry, (white.T @ white, log_determinant)

    tiles = _tiles(states, blocks)
    carry = _start(states, tiles.right.shape[-1], tiles.time.dtype)
    products, log_determinants = jax.lax.scan(step, carry, tiles)[1]
    return _information(jnp.sum(products, axis=0), jnp.sum(log_determinants), blocks)


def _information(products, half_log_determinant, blocks: Blocks) -> Information:
    moment = products[1:, 0]
    normal = products[1:, 1:] + jnp.diag(_without_points(blocks))
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    return Information(2.0 * half_log_determinant, products, normal, moment, amplitudes)


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
    found = gather(states, blocks)
    dof = jnp.sum(blocks.real) - jnp.sum(1.0 - _without_points(blocks))
    total = found.products[0, 0] - found.moment @ found.amplitudes
    total = total + found.log_determinant + dof * math.log(2.0 * math.pi)
    if found.moment.size:
        total = total + jnp.linalg.slogdet(found.normal)[1]
    return -0.5 * total


class Smoothed(NamedTuple):
    """What all data say of each point in tiles, in its order."""

    through: Float[Array, "n 1+c"]  # k_*^T (K + D)^-1 of the residuals and the columns
    variance: Float[Array, "n"]  # k_** - k_*^T (K + D)^-1 k_*


def smooth(states: States, blocks: Blocks, names=None) -> tuple[Information, Smoothed]:
    """Filter all data and look back at each point, also at those that are no data.

    Parameters
    ----------
    states, blocks
        As for `gather`; points with ``real`` 0 are only looked at.
    names
        Parts of the sum to look at; None is all.
    """
    variance = states.diagonal(names)
    mask, identity = states.mask(names), jnp.eye(states.size, dtype=blocks.time.dtype)
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
    before, products, log_determinants = jax.lax.scan(ahead, carry, tiles)[1]
    found = _information(jnp.sum(products, axis=0), jnp.sum(log_determinants), blocks)
    smoothed = jax.lax.scan(back, carry[::-1], (before, tiles), reverse=True)[1]
    return found, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), smoothed)


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
    found
        `Information`.
    products
        Of the covariances with ``wanted`` and the residuals and columns, shape (w, 1 + c).
    covariance
        Of ``wanted`` given the data, shape (w, w).
    """
    there = states.at(wanted)

    def step(carry, tile):
        state, total = carry
        cross = states.block(tile.at, there, names) * tile.real[:, None]
        wide = tile._replace(right=jnp.concatenate([tile.right, cross], axis=1))
        state, white, log_determinant = _step(states, state, wide)
        return (state, total + white.T @ white), log_determinant

    tiles = _tiles(states, blocks)
    own = tiles.right.shape[-1]
    width = own + wanted.size
    carry = _start(states, width, tiles.time.dtype), jnp.zeros((width, width), tiles.time.dtype)
    (_, total), log_determinants = jax.lax.scan(step, carry, tiles)
    found = _information(total[:own, :own], jnp.sum(log_determinants), blocks)
    return found, total[own:, :own], states.block(there, there, names) - total[own:, own:]


def states_of(parts: dict[str, Any]) -> States:
    """A sum of `Spots`, and of tinygp's kernels as terms, by name."""
    wrapped = {n: p if isinstance(p, Spots) else Term(p) for n, p in parts.items()}
    return States(wrapped)
