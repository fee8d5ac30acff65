r"""Gaussian log-likelihood from polynomials in short bins: its cost grows with the time span only.

In a bin of width h the signal is a series of Legendre polynomials :math:`V` with coefficients f, of
which the data determine :math:`z = L^{-1} V^T W y`, with :math:`V^T W V = L L^T` and the inverse
noise variances W: a vector of unit white noise plus :math:`L^T f`, its elements in the order of the
polynomials' degree. Between the bins a and b

.. math::
    A_{ab} = \langle z_a z_b^T \rangle
        = L_a^T \langle f_a f_b^T \rangle L_b + \delta_{ab} I,

where the covariance of coefficients depends on b - a alone, so that products with A are
convolutions. The quadratic forms :math:`X^T A^{-1} X` of the likelihood are solved for by conjugate
gradients. What starts and guides them is the covariance :math:`A_0` in which the first elements of
all bins are correlated as they are (through the lower degrees, between bins), with a band of tiles,
and the others depend on the first ones of their own bin only, as in a composite likelihood (Vecchia
1988). The determinant is that of A_0 with a correction, see `log_ratios`. What no degree describes
and what the elements leave over of the data is taken to be white, of the variance that the kernel
says. The errors of both are what `_local_error` and `determinant_error` estimate.

The sums over the data do not depend on the star, and on white noise beyond the stated errors as
Chebyshev series.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import dynamic_slice_in_dim
from jaxtyping import Array, Bool, Complex, Float
from scipy.fft import next_fast_len
from scipy.special import ndtr, stdtrit

from ._block import Blocks, backward_solve, determinant, factor_times, forward_solve, marginal
from ._stated import DEVIATIONS
from ._white_noise import as_series, at_noise, chebyshev_noise

# Elements of a bin that A_0 correlates with other bins', all of them, and the polynomials that they
# are made of: few data at random times mix them with higher degrees.
KEPT, ELEMENTS, _FEW_DEGREES, _MANY_DEGREES = 8, 24, 32, 44
LOW_DEGREES = 20  # of the polynomials through which A_0 correlates different bins
_MORE_NODES = 8  # of the quadrature that projects the kernel on polynomials
# what conjugate gradients leave of a quadratic form, and of the log determinant of free columns
_CONVERGED, _COLUMNS_CONVERGED = 3e-5, 5e-3
_MOST_ITERATIONS = 60
_AT_ONCE = 32  # matrices to be inverted, as many as a core's cache holds
_LARGEST_SQUARE, _TINY = 0.8, 1e-300
_FEWEST_PROBES, _MOST_PROBES, _PROBED_BINS = 8, 32, 1000


class Sums(NamedTuple):
    """Sums over the data in bins, as Chebyshev series in the white noise.

    Weights are relative to 1 / (variance + jitter^2), a bin's typical variance. The first column is
    the residual, the others are the free columns of the mean.
    """

    width: Float[Array, ""]
    variance: Float[Array, "bins"]
    most_noise: Float[Array, ""]  # largest jitter^2 that the series are made for
    logarithmic: Bool[Array, ""]  # in what they are made, see `chebyshev_noise`
    gram: Float[Array, "k bins p p"]  # of functions that are orthonormal in the data
    mixed: Float[Array, "k bins d p"]  # of the polynomials with these
    moments: Float[Array, "k bins p 1+c"]
    products: Float[Array, "k bins 1+c 1+c"]
    weights: Float[Array, "k bins"]
    log_weights: Float[Array, "k bins"]
    counts: Float[Array, "bins"]
    used: Float[Array, "bins p"]  # 0 for functions that a bin has too few data for


class Bins(NamedTuple):
    """What the data say of each bin at some level of white noise."""

    root: Float[Array, "bins d p"]  # L
    moments: Float[Array, "bins p 1+c"]  # z
    products: Float[Array, "bins 1+c 1+c"]  # of what the polynomials leave over
    weights: Float[Array, "bins"]
    log_weights: Float[Array, ""]


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


def degrees_for(points: float) -> int:
    """Number of polynomials for so many points in a bin: few points mix those of all degrees."""
    return _FEW_DEGREES if points > 1.5 * _FEW_DEGREES else _MANY_DEGREES


def gather(time, residual, columns, variance, most_noise: float, width: float, bins: int) -> Sums:
    """All sums over the data that the likelihood needs.

    Parameters
    ----------
    time
        Shape (n,), days since the first bin's beginning, ascending.
    residual, variance
        Shape (n,), in double precision.
    columns
        Free columns of the mean, shape (n, c).
    most_noise
        Largest variance of white noise that will be asked for; 0 is none.
    width, bins
        Days of a bin, and the number of bins.
    """
    index = np.minimum((time / width).astype(int), bins - 1)
    degrees = degrees_for(len(time) / bins)
    basis = np.polynomial.legendre.legvander(2.0 * (time / width - index) - 1.0, degrees - 1)
    right = np.column_stack([residual, columns])
    ends = np.searchsorted(index, np.arange(bins + 1))
    counts = np.diff(ends)
    # with room for what is taken to be white of the star
    most_noise = 1.00001 * most_noise + 0.01 * float(np.min(variance))
    low, high = np.full(bins, np.inf), np.zeros(bins)
    np.minimum.at(low, index, variance)
    np.maximum.at(high, index, variance)
    empty = counts == 0
    low[empty] = high[empty] = np.median(variance)
    references, noise, logarithmic = chebyshev_noise(low, high, most_noise)
    functions = np.zeros((len(time), ELEMENTS))
    for here in map(slice, ends[:-1], ends[1:]):
        found = _orthonormal(basis[here, :ELEMENTS], variance[here] / references[index[here]])
        functions[here, : found.shape[1]] = found

    def outer(left, right):
        """Products of the columns, summed up in each bin."""
        sums = np.zeros((bins, left.shape[1], right.shape[1]))
        for b in range(bins):
            here = slice(ends[b], ends[b + 1])
            sums[b] = left[here].T @ right[here]
        return sums

    tables: list[Any] = []
    for extra in noise:
        weight = (references + extra)[index] / (variance + extra[index])
        weighted = weight[:, None] * right
        tables.append(
            (
                outer(functions, weight[:, None] * functions),
                outer(basis, weight[:, None] * functions),
                outer(functions, weighted),
                outer(weighted, right),
                np.bincount(index, weights=weight, minlength=bins),
                np.bincount(index, weights=np.log(weight), minlength=bins),
            )
        )
    series = as_series(tables)
    used = np.arange(ELEMENTS)[None, :] < counts[:, None]
    noises = (np.asarray(value, float) for value in (width, references, most_noise))
    counts, used = counts.astype(float), used.astype(float)
    return Sums(*map(jnp.asarray, (*noises, logarithmic, *series, counts, used)))


def _orthonormal(basis, variance):
    """Combinations of functions that are orthonormal in data, each with the next function added."""
    root = np.sqrt(variance)[:, None]
    return root * np.linalg.qr(basis / root)[0]


def at_white_noise(sums: Sums, noise) -> Bins:
    """The bins' data for a variance of white noise beyond the stated errors."""
    series = sums.gram, sums.mixed, sums.moments, sums.products, sums.weights, sums.log_weights
    *parts, weights, log_weights = at_noise(
        series, sums.variance, sums.most_noise, sums.logarithmic, noise
    )
    total = sums.variance + noise
    gram, mixed, moments, products = (part / total[:, None, None] for part in parts)
    absent = (1.0 - sums.used)[:, :, None] * jnp.eye(ELEMENTS, dtype=gram.dtype)[None]
    inverse = _inverse_factors(gram + absent)
    z, root = inverse @ moments, mixed @ jnp.swapaxes(inverse, 1, 2)
    left = products - jnp.einsum("bpc,bpd->bcd", z, z)
    log_weights = jnp.sum(log_weights - sums.counts * jnp.log(total))
    return Bins(root, z, left, weights / total, log_weights)


def projection(degrees: int):
    """Nodes on (-1, 1), and the matrix from values there to Legendre coefficients."""
    nodes, weights = np.polynomial.legendre.leggauss(degrees + _MORE_NODES)
    degree = np.arange(degrees)
    values = np.polynomial.legendre.legvander(nodes, degrees - 1)
    return nodes, ((2.0 * degree + 1.0) / 2.0 * values * weights[:, None]).T


def coefficient_covariances(kernel, width, lags: int, degrees: int):
    """Covariances of the coefficients in a bin with those some bins earlier.

    Parameters
    ----------
    kernel
        Function of the lag in days.
    width
        Of the bins.
    lags, degrees
        How many: 0, 1, ... bins apart, and polynomials.

    Returns
    -------
    array
        Shape (lags, d, d), the later bin first.
    """
    nodes, project = projection(degrees)
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    bins = jnp.arange(lags, dtype=width.dtype)
    lag = jnp.abs(bins[:, None, None] + jnp.asarray(apart, width.dtype)[None]) * width
    return jnp.einsum("pm,lmn,qn->lpq", project, kernel(lag), project)


def _with_lags(covariances, roots, signal, layout):
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


def _tiles_of(bins: int, layout) -> Blocks:
    """The first elements' unit noise in tiles, without any data."""
    tiles, size, _ = layout
    shape = (tiles, size * KEPT)
    time = jnp.arange(math.prod(shape), dtype=jnp.result_type(float)).reshape(shape)
    ones = jnp.ones(shape, time.dtype)
    return Blocks(time, ones, ones, jnp.zeros_like(ones), jnp.zeros((*shape, 0), time.dtype))


def _left_over(sums: Sums, bins: Bins, signal, power):
    """Number of data beyond the polynomials in each bin, and signal to noise in their variance."""
    left = jnp.maximum(sums.counts - ELEMENTS, 0.0)
    excess = power * bins.weights - jnp.trace(signal, axis1=1, axis2=2)
    return left, jnp.where(left > 0, jnp.maximum(excess, 0.0) / jnp.maximum(left, 1.0), 0.0)


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


@jax.custom_jvp
def _inverse_factors(matrices):
    """Inverses of the Cholesky factors of many small matrices.

    By elimination in all of them at once. jaxlib 0.10 spreads LAPACK's calls for a batch over the
    threads of a CPU and waits for them in one of these threads: two such calls at the same time can
    wait for each other for ever.
    """
    number, size, _ = matrices.shape
    chunks = -(-number // _AT_ONCE)
    rows, eye = jnp.arange(size), jnp.eye(size, dtype=matrices.dtype)
    right = jnp.broadcast_to(eye, (_AT_ONCE, size, size))

    def eliminated(matrices):
        def eliminate(j, both):
            row = both[:, j]
            below = jnp.where((rows > j)[None], both[:, :, j] / row[:, j, None], 0.0)
            return both - below[:, :, None] * row[:, None, :]

        both = jax.lax.fori_loop(0, size, eliminate, jnp.concatenate([matrices, right], axis=2))
        pivots = jnp.diagonal(both, axis1=1, axis2=2)
        return both[:, :, size:] / jnp.sqrt(pivots)[:, :, None]

    filling = jnp.broadcast_to(eye, (chunks * _AT_ONCE - number, size, size))
    parts = jnp.concatenate([matrices, filling]).reshape(chunks, _AT_ONCE, size, size)
    return jax.lax.map(eliminated, parts).reshape(-1, size, size)[:number]


@_inverse_factors.defjvp
def _inverse_factors_jvp(primals, tangents):
    inverse = _inverse_factors(*primals)
    change = inverse @ tangents[0] @ jnp.swapaxes(inverse, 1, 2)
    diagonal = jnp.diagonal(change, axis1=1, axis2=2)
    half = jnp.tril(change) - 0.5 * diagonal[:, :, None] * jnp.eye(diagonal.shape[1])[None]
    return inverse, -half @ inverse


@jax.custom_vjp
def _derived_after(value, other):
    """The value, not to be differentiated before the other is there, see `_inverse_factors`."""
    return value


_derived_after.defvjp(
    lambda value, other: (value, other),
    lambda other, cotangent: (cotangent + 0.0 * other.ravel()[0], jnp.zeros_like(other)),
)


def _prepared(sums: Sums, kernel, noise, layout):
    """The elements' covariance, what the data say of them, and ln of the determinant of all data.

    The products are those of what is beyond the polynomials.
    """
    degrees = sums.mixed.shape[2]
    covariances = coefficient_covariances(kernel, sums.width, (layout[2] + 1) * layout[1], degrees)
    power = kernel(jnp.zeros_like(noise))
    # what no degree describes is white, as far as the sums allow
    norms = jnp.asarray(1.0 / (2.0 * np.arange(degrees) + 1.0), covariances.dtype)
    beyond = power - norms @ jnp.diagonal(covariances[0])
    beyond = jnp.clip(beyond, 0.0, jnp.maximum(sums.most_noise - noise, 0.0))
    bins = at_white_noise(sums, noise + beyond)
    # within a bin
    signal = jnp.swapaxes(bins.root, 1, 2) @ covariances[0] @ bins.root
    within = signal + jnp.eye(ELEMENTS, dtype=signal.dtype)[None]
    inverse = _inverse_factors(within)
    within_first = signal[:, :KEPT, :KEPT]
    first = _with_lags(covariances, bins.root[:, :, :KEPT], within_first, layout)
    together, panels = determinant(first, _tiles_of(len(bins.root), layout), layout[2])

    # zeros between the bins' two ends and the largest lag, as a convolution is periodic
    _, size, band = layout
    lags = covariances[: min(len(bins.root), max(band, 1) * size + 1)]
    least = len(bins.root) + len(lags) - 1
    period = int(next_fast_len(least, real=True))  # pyright: ignore[reportArgumentType]
    between = jnp.zeros((period - 2 * len(lags) + 1, degrees, degrees), signal.dtype)
    circle = jnp.concatenate([lags, between, jnp.swapaxes(lags[:0:-1], 1, 2)])
    spectrum = jnp.fft.rfft(circle, axis=0)
    system = System(bins.root, spectrum, panels, within, inverse, layout, period)

    left, excess = _left_over(sums, bins, signal, power - beyond)
    products = jnp.einsum("bcd,b->cd", bins.products, 1.0 / (1.0 + excess))
    pivots = jnp.diagonal(inverse, axis1=1, axis2=2)[:, KEPT:]
    log_determinant = together - 2.0 * jnp.sum(jnp.log(pivots)) - bins.log_weights
    log_determinant = log_determinant + jnp.sum(left * jnp.log1p(excess))
    return system, bins.moments, products, log_determinant


def probes_for(bins: int) -> int:
    """Number of random vectors for the determinant."""
    return min(max(_FEWEST_PROBES, _PROBED_BINS // bins), _MOST_PROBES)


def log_ratios(system: System):
    r"""Estimates of :math:`\ln |A| - \ln |A_0|`, one for each of some random vectors.

    They are :math:`z^T f(M) z` with :math:`M = G^T A G - I`, :math:`f(x) = \ln(1 + x) - x` and
    random signs z: their mean is the trace of f, and that of M vanishes. From
    :math:`\mu_k = z^T M^k z` and with :math:`\lambda^2 = \mu_4 / \mu_2`

    .. math::
        z^T f(M) z \approx \frac{\mu_2}{2 \lambda^2} \ln(1 - \lambda^2)
            + \frac{\mu_3}{\lambda^3} (\operatorname{artanh} \lambda - \lambda),

    right to the fourth order and for eigenvalues 0, :math:`\lambda` and :math:`-\lambda`. The
    slopes are those of the traces of :math:`M^k`. The second result estimates the next orders.
    """
    moving, system = system, jax.lax.stop_gradient(system)
    bins, elements, _ = system.inverse.shape
    signs = np.random.default_rng(0).integers(0, 2, (bins, elements, probes_for(bins)))
    z = jnp.asarray(2.0 * signs - 1.0, system.root.dtype)

    def dot(a, b):
        return jnp.sum(a * b, axis=(0, 1))

    along = system.from_whitened(z)
    image = system.times(along)
    once = system.whitened(image) - z
    along_once = system.from_whitened(once)
    image_once = system.times(along_once)
    twice = system.whitened(image_once) - once
    powers = dot(once, once), dot(once, twice), dot(twice, twice)
    ratios, pull = jax.vjp(_log_ratio, *powers)
    parts = [part[None, None, :] for part in pull(jnp.ones_like(ratios))]

    # d tr M^k = k tr M^(k-1) dM is the mean of vectors to both sides of dM = d(G^T A G), where
    # that of A_0^-1 = G G^T is known
    left = 2.0 * parts[0] * once + 3.0 * parts[1] * twice, 4.0 * parts[2] * twice
    left, right = jnp.concatenate(left, axis=2), jnp.concatenate([z, once], axis=2)
    further = jnp.concatenate([once, twice], axis=2)
    along = jnp.concatenate([along, along_once], axis=2)
    image = jnp.concatenate([image, image_once], axis=2)
    together = moving.times(jnp.concatenate([along, system.from_first(right + further)], axis=2))
    slopes = dot(system.from_whitened(left), together[..., : z.shape[2] * 2])
    slopes = slopes - dot(system.from_first(left), together[..., z.shape[2] * 2 :])
    slopes = slopes + dot(system.coloured(left), moving.others(image))
    slopes = slopes[: z.shape[2]] + slopes[z.shape[2] :]
    return _with_slopes_of(ratios, slopes), powers[2] * _square(powers[0], powers[2]) / 6.0


def _square(second, fourth):
    """Of the eigenvalues."""
    return jnp.maximum(fourth / jnp.maximum(second, _TINY), 1e-6)


def _log_ratio(second, third, fourth):
    """The trace of ln(1 + M) - M, from the traces of powers of M.

    Where it does not converge it grows no faster than it does for eigenvalues far above 1.
    """
    square = _square(second, fourth)
    root, inner = jnp.sqrt(square), jnp.minimum(square, _LARGEST_SQUARE)
    even = jnp.minimum(0.5 * jnp.log1p(-inner), jnp.log1p(root) - root)
    odd = jnp.arctanh(jnp.sqrt(inner)) - jnp.sqrt(inner)
    return (second * even + third / root * odd) / square


@jax.custom_jvp
def _with_slopes_of(value, other):
    """The value, with the derivatives of the other."""
    return value


@_with_slopes_of.defjvp
def _with_slopes_of_jvp(primals, tangents):
    return primals[0], tangents[1]


class Forms(NamedTuple):
    """The quadratic forms of the residuals less some amplitudes of the columns."""

    products: Float[Array, "1+c 1+c"]
    solved: Float[Array, "bins p 1+c"]  # A^-1 times the elements, a constant to derivatives
    amplitudes: Float[Array, "c"]  # constants


def _quadratic_forms(system: System, moments, products) -> Forms:
    """X^T A^-1 X of the moments X, and what is beyond the polynomials.

    The residuals are those less nearly the best amplitudes of the columns: the likelihood is the
    same, and what hardly depends on the columns does not ask for these to be solved for closely.
    """
    guess = jax.lax.stop_gradient(system.nearly_solved(moments))
    cross = jax.lax.stop_gradient(jnp.einsum("bpc,bpd->cd", moments, guess) + products)
    amplitudes, shift = cross[1:, 0], jnp.eye(len(cross), dtype=cross.dtype)
    enough = jnp.full_like(amplitudes, _CONVERGED, shape=len(cross))
    if amplitudes.size:
        covariance = jnp.linalg.inv(cross[1:, 1:])
        amplitudes = covariance @ amplitudes
        shift = shift.at[1:, 0].set(-amplitudes)
        each = _COLUMNS_CONVERGED / amplitudes.size
        enough = enough.at[1:].set(each / jnp.diagonal(covariance))
    moments, guess = moments @ shift, guess @ shift
    solved, again = system.solved(moments, guess, enough)
    cross = jnp.einsum("bpc,bpd->cd", moments, solved)
    whole = jnp.einsum("bpc,bpd->cd", solved, again)
    whole = _with_slopes_of(whole, jnp.einsum("bpc,bpd->cd", solved, system.times(solved)))
    return Forms(shift.T @ products @ shift + cross + cross.T - whole, solved, amplitudes)


def log_likelihood(sums: Sums, kernel, noise, layout) -> Float[Array, ""]:
    """Log-likelihood of the residuals, the free columns integrated out under a flat prior.

    Parameters
    ----------
    sums
        Of the data.
    kernel
        Function of the lag in days.
    noise
        Variance of white noise beyond the stated errors.
    layout
        Number of tiles, bins in each, and the number of tiles before it that a tile is correlated
        with.

    Returns
    -------
    array
        Scalar, NaN where there is more white noise than the sums are made for.
    """
    system, moments, products, log_determinant = _prepared(sums, kernel, noise, layout)
    log_determinant = log_determinant + jnp.mean(log_ratios(system)[0])
    # one after the other, see `_inverse_factors`
    moments = moments + 0.0 * jax.lax.stop_gradient(log_determinant)
    products = _quadratic_forms(system, moments, products).products
    log_determinant = _derived_after(log_determinant, products)
    value = marginal(products, log_determinant, jnp.sum(sums.counts))
    return jnp.where(noise <= sums.most_noise, value, jnp.nan)


def determinant_error(sums: Sums, kernel, noise, layout) -> Float[Array, ""]:
    """Estimate of the error that the determinant makes in the log-likelihood.

    Three standard deviations of the mean over random vectors, or what Student's distribution has in
    their place for so few of them, and the next orders.
    """
    ratios, rest = log_ratios(_prepared(sums, kernel, noise, layout)[0])
    scatter = jnp.std(ratios, ddof=1) / math.sqrt(ratios.size)
    deviations = float(stdtrit(ratios.size - 1, ndtr(DEVIATIONS)))
    return 0.5 * (deviations * scatter + jnp.mean(rest))


class Solved(NamedTuple):
    """What predictions are made of."""

    system: System
    columns: Float[Array, "bins p c"]  # A^-1 times the free columns' elements
    weights: Float[Array, "bins p"]  # and times the residuals' less the columns'
    normal: Float[Array, "c c"]
    moment: Float[Array, "c"]


def solve(sums: Sums, kernel, noise, layout) -> Solved:
    """Solve for the data; parameters are those of `log_likelihood`."""
    system, moments, products, _ = _prepared(sums, kernel, noise, layout)
    products, solved, removed = _quadratic_forms(system, moments, products)
    normal, moment = products[1:, 1:], products[1:, 0]
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    columns = solved[..., 1:]
    weights = solved[..., 0] - columns @ amplitudes
    return Solved(system, columns, weights, normal, moment + normal @ removed)


def against_bins(sums: Sums, system: System, kernel, times):
    """Covariance of the process at times with the elements, shape (bins, p, m).

    ``times`` are days since the first bin began, shape (m,).
    """
    nodes, project = projection(system.root.shape[1])
    middle = jnp.arange(len(system.root), dtype=times.dtype)[:, None]
    at = (middle + jnp.asarray(0.5 * (nodes + 1.0), times.dtype)[None, :]) * sums.width
    coefficients = project @ kernel(jnp.abs(at[:, :, None] - times[None, None, :]))
    return jnp.swapaxes(system.root, 1, 2) @ coefficients
