"""Covariance of the elements of all bins, and an approximation to it that is solved at once.

See `.algebra` for what these are.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import dynamic_slice_in_dim
from jaxtyping import Array, Complex, Float

from ..block import backward_solve, factor_times, forward_solve

KEPT = 8  # elements of a bin that A_0 correlates with other bins', of all of them
LOW_DEGREES = 20  # of the polynomials through which A_0 correlates different bins
_MOST_ITERATIONS = 60


class BinCovariance(eqx.Module):
    """Covariance of the bins' first elements; times are their numbers in a row.

    Parameters
    ----------
    covariances
        Of the coefficients in bins some bins apart, from one less than a tile has bins earlier to
        one less than a panel has later.
    roots
        The first columns of L, with bins beyond the last one for the last panel.
    beyond
        What further coefficients add within the bins.
    """

    covariances: Float[Array, "lags p p"]
    roots: Float[Array, "bins p q"]
    beyond: Float[Array, "bins q q"]

    def _roots(self, t1, t2):
        """The first bin of a panel, the roots of the panel's bins, and those of its first tile.

        The latter beside each other, of shape (p, bins q).
        """
        kept = self.roots.shape[2]
        first = (t2[0] / kept + 0.5).astype(int)
        roots = dynamic_slice_in_dim(self.roots, first, t1.size // kept)
        columns = roots[: t2.size // kept].transpose(1, 0, 2)
        return first, roots, columns.reshape(len(columns), -1)

    def _half(self, columns):
        """The covariance with the columns' elements, shape (bins of the panel, p, bins q)."""
        lags, degrees, _ = self.covariances.shape
        half = self.covariances.reshape(-1, degrees) @ columns
        half = half.reshape(lags, degrees, -1, self.roots.shape[2])
        tile = half.shape[2]
        parts = [half[tile - 1 - b : lags - b, :, b] for b in range(tile)]
        return jnp.concatenate(parts, axis=2)

    def _by_lag(self, half):
        """The transpose of taking the columns at their own lags in `_half`."""
        tile = len(self.covariances) - len(half) + 1
        parts = jnp.split(half, tile, axis=2)
        wide = [jnp.pad(p, ((tile - 1 - b, b), (0, 0), (0, 0))) for b, p in enumerate(parts)]
        return jnp.concatenate(wide, axis=2).reshape(-1, half.shape[2])

    def block(self, t1, t2):
        """Covariance matrix of a panel's elements with those of its first tile."""
        first, rows, columns = self._roots(t1, t2)
        covariance = jnp.matmul(rows.transpose(0, 2, 1), self._half(columns))
        tile, kept = t2.size // rows.shape[2], rows.shape[2]
        covariance = covariance.reshape(-1, kept, tile, kept)
        own = dynamic_slice_in_dim(self.beyond, first, tile)
        within = jnp.eye(tile, dtype=own.dtype)[:, None, :, None] * own[:, :, None, :]
        return covariance.at[:tile].add(within).reshape(t1.size, t2.size)

    def pull(self, total, t1, t2, matrix):
        """Add to cotangents of the leaves those that the covariance matrix `block` has."""
        first, rows, columns = self._roots(t1, t2)
        number, degrees, kept = rows.shape
        matrix = matrix.reshape(number, kept, t2.size)
        left = self._by_lag(jnp.matmul(rows, matrix))
        of_covariances = (left @ columns.T).reshape(self.covariances.shape)
        of_columns = self.covariances.reshape(-1, degrees).T @ left
        of_columns = of_columns.reshape(degrees, -1, kept).transpose(1, 0, 2)
        of_rows = jnp.matmul(self._half(columns), matrix.transpose(0, 2, 1))
        of_rows = of_rows.at[: len(of_columns)].add(of_columns)
        tile = t2.size // kept
        within = matrix[:tile].reshape(tile, kept, tile, kept)
        of_beyond = jnp.diagonal(within, axis1=0, axis2=2).transpose(2, 0, 1)

        def added(whole, part):
            here = dynamic_slice_in_dim(whole, first, len(part)) + part
            return jax.lax.dynamic_update_slice_in_dim(whole, here, first, 0)

        return BinCovariance(
            total.covariances + of_covariances,
            added(total.roots, of_rows),
            added(total.beyond, of_beyond),
        )


def with_lags(covariances, roots, signal, layout):
    """The covariance of the first elements, for a layout in tiles of bins.

    ``signal`` is their covariance within bins.
    """
    tiles, size, band = layout
    covariances, roots = covariances[:, :LOW_DEGREES, :LOW_DEGREES], roots[:, :LOW_DEGREES]
    beyond = signal - jnp.swapaxes(roots, 1, 2) @ covariances[0] @ roots
    earlier = jnp.swapaxes(covariances[1:size], 1, 2)[::-1]
    padding = ((0, (tiles + band) * size - len(roots)), (0, 0), (0, 0))
    lags = jnp.concatenate([earlier, covariances])
    return BinCovariance(lags, jnp.pad(roots, padding), jnp.pad(beyond, padding))


class System(eqx.Module):
    """Covariance A of all elements, and A_0 = (G G^T)^-1 in its place.

    G^T is the inverse of the Cholesky factor of the first elements, and for the others the last
    rows of that of each bin's own covariance.
    """

    root: Float[Array, "bins d p"]
    spectrum: Complex[Array, "f d d"]  # of the coefficients' covariance, over bins
    panels: Float[Array, "t a b"]  # of the first elements' factor
    within: Float[Array, "bins p p"]  # A within bins
    inverse: Float[Array, "bins p p"]  # of the Cholesky factor of that
    layout: tuple[int, int, int] = eqx.field(static=True)
    period: int = eqx.field(static=True)  # bins after which the convolution repeats itself

    def times(self, values):
        """A times vectors, of shape (bins, p, n)."""
        bins = len(values)
        waves = jnp.fft.rfft(self.root @ values, n=self.period, axis=0)
        signal = jnp.fft.irfft(self.spectrum @ waves, n=self.period, axis=0)[:bins]
        return values + jnp.swapaxes(self.root, 1, 2) @ signal

    def others(self, values):
        """The part of A_0^-1 times vectors that is within bins."""
        last = self.inverse[:, KEPT:]
        return jnp.swapaxes(last, 1, 2) @ (last @ values)

    def whitened(self, values):
        """G^T times vectors, of shape (bins, p, n)."""
        first = self._in_bins(forward_solve(self.panels, self._in_tiles(values)), values)
        return jnp.concatenate([first, self.inverse[:, KEPT:] @ values], axis=1)

    def from_first(self, values):
        """What G makes of the first elements of vectors, with nothing in the others."""
        first = self._in_bins(backward_solve(self.panels, self._in_tiles(values)), values)
        return jnp.zeros_like(values).at[:, :KEPT].set(first)

    def from_whitened(self, values):
        """G times vectors."""
        last = jnp.swapaxes(self.inverse[:, KEPT:], 1, 2)
        return self.from_first(values) + last @ values[:, KEPT:]

    def nearly_solved(self, values):
        """A_0^-1 times vectors."""
        return self.from_whitened(self.whitened(values))

    def coloured(self, values):
        """G^-T times vectors."""
        first = self._in_bins(factor_times(self.panels, self._in_tiles(values)), values)
        others, known = self.inverse[:, KEPT:], self.within @ jnp.swapaxes(self.inverse, 1, 2)
        rest = values[:, KEPT:] - others[:, :, :KEPT] @ first
        return jnp.concatenate([first, known[:, KEPT:, KEPT:] @ rest], axis=1)

    def _in_tiles(self, values):
        tiles, size, _ = self.layout
        first = jnp.pad(values[:, :KEPT], ((0, tiles * size - len(values)), (0, 0), (0, 0)))
        return first.reshape(tiles, size * KEPT, -1)

    def _in_bins(self, tiles, like):
        return tiles.reshape(-1, KEPT, tiles.shape[2])[: len(like)]

    def solved(self, right, guess, enough):
        """The inverse of A times vectors by conjugate gradients, NaN where these do not converge.

        ``guess`` is A_0^-1 times the vectors, and ``enough`` what may be left of the quadratic form
        of each. The first vector goes on alone after the others. The second result is what A makes
        of the first. Constants to derivatives.
        """
        system, right, guess = jax.lax.stop_gradient((self, right, guess))
        enough = enough[None, None, :]

        def dot(a, b):
            return jnp.sum(a * b, axis=(0, 1), keepdims=True)

        def ratio(a, b):
            return jnp.where(b > 0.0, a / jnp.where(b > 0.0, b, 1.0), 0.0)

        def step(state):
            found, rest, along, left, k = state
            image = system.times(along)
            length = ratio(left, dot(along, image))
            found, rest = found + length * along, rest - length * image
            guess = system.nearly_solved(rest)
            now = dot(rest, guess)
            return found, rest, guess + ratio(now, left) * along, now, k + 1

        def until(enough, state):
            def unfinished(state):
                *_, left, k = state
                return (k < _MOST_ITERATIONS) & jnp.any(left > enough)

            return jax.lax.while_loop(unfinished, step, state)

        whole = dot(right, guess)
        # of the first vector not more than the others need, then that one alone
        together = enough.at[..., 0].set(jnp.inf) if right.shape[2] > 1 else enough
        *state, k = until(together, (jnp.zeros_like(right), right, guess, whole, jnp.asarray(0)))
        first = until(enough[..., :1], (*(part[..., :1] for part in state), k))
        found, rest, _, left = (a.at[..., :1].set(b) for a, b in zip(state, first, strict=False))
        return jnp.where(left <= enough, found, jnp.nan), right - rest
