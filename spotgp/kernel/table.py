r"""A stationary covariance as a table: matrices are filled by look-up, not by evaluation.

Knots are even in :math:`\sqrt{\tau}`, on which every kernel here is smooth and even at 0, cusps
:math:`|\tau|` included; between them stands a cubic spline.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit.extend import plain

ROW = 128  # knots whose kernel is evaluated at a time
# knots beyond the range that is asked for, so that the values' end does not disturb the spline
MARGIN = 40
_POLE = np.sqrt(3.0) - 2.0
_TAPS = np.sqrt(3.0) * _POLE ** np.abs(np.arange(-28, 29))


class KernelTable(eqx.Module):
    """A cubic spline in the square root of the lag; see `tabulate`."""

    coefficients: Float[Array, "knots"]
    cubics: Float[Array, "knots-3 4"]  # the same between two knots: a single look-up
    scale: Float[Array, ""]  # knots per square root of a day
    cut: Float[Array, ""]  # lags beyond it have covariance 0

    def _position(self, lag):
        """The first of the four coefficients that a lag sees, and how far it is past it."""
        scale, cut = jax.lax.stop_gradient((self.scale, self.cut))
        at = jnp.sqrt(jnp.minimum(lag, cut)) * scale
        index = jnp.clip(at.astype(jnp.int32), 0, self.coefficients.size - 4)
        return index, at - index.astype(at.dtype)

    def __call__(self, lag):
        """The covariance at lags >= 0 of any shape."""
        index, u = self._position(lag)
        cubic = self.cubics.at[index].get(mode="promise_in_bounds")
        total = cubic[..., 3]
        for power in (2, 1, 0):
            total = total * u + cubic[..., power]
        return jnp.where(lag <= jax.lax.stop_gradient(self.cut), total, 0.0)

    def block(self, t1, t2):
        """Covariance matrix of two sets of times."""
        return self(jnp.abs(t1[:, None] - t2[None, :]))

    def pull(self, total, t1, t2, matrix):
        """Add to cotangents of this table's leaves those that the matrix `block` has."""
        lag = jnp.abs(t1[:, None] - t2[None, :])
        index, u = self._position(lag)
        weights = jnp.where(lag <= self.cut, matrix, 0.0) / 6.0
        more = transposed(index.ravel(), u.ravel(), weights.ravel(), self.coefficients)
        return eqx.tree_at(lambda table: table.coefficients, total, total.coefficients + more)


def _taps(u, weight):
    """The cubic B-splines at u, times six and a weight."""
    v = 1.0 - u
    middle = [4.0 + 3.0 * (x - 2.0) * x**2 for x in (u, v)]
    return weight[..., None] * jnp.stack([v**3, *middle, u**3], axis=-1)


@jax.custom_jvp
def transposed(index, u, weights, like):
    """The transpose of the look-up: linear in the weights, at places that do not change."""
    return _accumulate(index, u, weights, like)


@transposed.defjvp
def _transposed_jvp(primals, tangents):
    index, u, weights, like = primals
    return _accumulate(index, u, weights, like), _accumulate(index, u, tangents[2], like)


@jax.custom_batching.sequential_vmap
def _accumulate(index, u, weights, like):
    """Sums of the taps. On a CPU a plain loop is several times faster than a scatter."""

    def loop(index, u, weights, like):
        def step(k, total):
            at = (index[k],)
            taps = jax.lax.dynamic_slice(total, at, (4,)) + _taps(u[k], weights[k])
            return jax.lax.dynamic_update_slice(total, taps, at)

        return jax.lax.fori_loop(0, index.size, step, jnp.zeros_like(like))

    def scatter(index, u, weights, like):
        places = index[:, None] + jnp.arange(4, dtype=index.dtype)[None, :]
        return jnp.zeros_like(like).at[places].add(_taps(u, weights), mode="promise_in_bounds")

    if plain():
        return scatter(index, u, weights, like)
    return jax.lax.platform_dependent(index, u, weights, like, cpu=loop, default=scatter)


def knots_at(scale, most: int):
    """Lags of the knots, in rows; ``most`` of them and a margin."""
    rows = -(-(most + MARGIN) // ROW)
    index = jnp.arange(rows * ROW, dtype=scale.dtype).reshape(rows, ROW)
    return (index / scale) ** 2


def tabulate(values, scale, cut) -> KernelTable:
    """The table of a kernel that is even in the lag, and differentiable but for a cusp at 0.

    The values are those at `knots_at`, with zeros beyond the last lag that will be asked for and a
    margin; ``scale`` is the number of knots per square root of a day. Beyond the lag ``cut``, which
    may be infinite, the kernel is 0. Derivatives go through the coefficients.
    """
    c = spline_coefficients(values.reshape(1, -1))[0]
    return KernelTable(c, cubics_of(c), scale, jax.lax.stop_gradient(jnp.asarray(cut, scale.dtype)))


def spline_coefficients(values):
    """Coefficients of the cubic B-splines through values that are even at the first, (k, knots)."""
    half = _TAPS.size // 2
    past = jnp.zeros_like(values[:, :half])
    mirrored = jnp.concatenate([values[:, half + 1 : 0 : -1], values, past], axis=1)
    # one after the other, so that it is a single convolution
    found = jnp.convolve(mirrored.ravel(), jnp.asarray(_TAPS, values.dtype), mode="same")
    return found.reshape(mirrored.shape)[:, half:-half]


def cubics_of(c):
    """The polynomials between knots from the coefficients, whose last axis is that of the knots."""
    c0, c1, c2, c3 = (c[..., k : c.shape[-1] - 3 + k] for k in range(4))
    cubic = (c0 + 4.0 * c1 + c2, 3.0 * (c2 - c0), 3.0 * (c0 - 2.0 * c1 + c2), c3 - c0)
    return jnp.stack([*cubic[:3], cubic[3] + 3.0 * (c1 - c2)], axis=-1) / 6.0
