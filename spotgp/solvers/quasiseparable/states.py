r"""Generators of quasiseparable covariances: spots without shear, and tinygp's kernels.

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

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import tinygp
from jaxtyping import Array, Float
from tinygp.solvers.quasisep.block import Block

from ...kernel.trig import cos_sin
from ...star.exponential import two_decays


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


def states_of(parts: dict[str, Any]) -> States:
    """A sum of `Spots`, and of tinygp's kernels as terms, by name."""
    wrapped = {n: p if isinstance(p, Spots) else Term(p) for n, p in parts.items()}
    return States(wrapped)
