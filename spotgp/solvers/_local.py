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
all bins are correlated as they are, with a band of tiles, and the others depend on the first ones
of their own bin only, as in a composite likelihood (Vecchia 1988). Its determinant stands for that
of A, and what is left of the data beyond the polynomials is taken to be white, of the variance that
the kernel says: these two are the errors, which `neglected` estimates.

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
from jaxtyping import Array, Complex, Float
from scipy.fft import next_fast_len

from ._block import Blocks, backward_solve, determinant, forward_solve, marginal
from ._stated import DEVIATIONS
from ._white_noise import as_series, at_noise, chebyshev_noise

# Elements of a bin whose determinant is taken together with other bins', all of them, and the
# polynomials that they are made of: few data at random times mix them with higher degrees.
KEPT, ELEMENTS, DEGREES = 8, 20, 28
_MORE_NODES = 8  # of the quadrature that projects the kernel on polynomials
_CONVERGED = 1e-11  # relative size of what conjugate gradients leave of a quadratic form
_MOST_ITERATIONS = 60
_SUBSET = 8  # bins from which `neglected` infers
_MOST_DATA = 200  # in each of them


class Sums(NamedTuple):
    """Sums over the data in bins, as Chebyshev series in the white noise.

    Weights are relative to 1 / (variance + jitter^2). The first column is the residual, the others
    are the free columns of the mean.
    """

    width: Float[Array, ""]
    variance: Float[Array, ""]  # a typical one of the data
    most_noise: Float[Array, ""]  # largest jitter^2 that the series are made for
    gram: Float[Array, "k bins p p"]  # of functions that are orthonormal in the data
    mixed: Float[Array, "k bins d p"]  # of the polynomials with these
    moments: Float[Array, "k bins p 1+c"]
    products: Float[Array, "k bins 1+c 1+c"]
    weights: Float[Array, "k bins"]
    log_weights: Float[Array, "k"]
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
    """

    covariances: Float[Array, "lags p p"]
    roots: Float[Array, "bins p q"]

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
        _, rows, columns = self._roots(t1, t2)
        covariance = jnp.matmul(rows.transpose(0, 2, 1), self._half(columns))
        return covariance.reshape(t1.size, t2.size)

    def pull(self, t1, t2, matrix):
        """Cotangents of the leaves, given those of the covariance matrix `block`."""
        first, rows, columns = self._roots(t1, t2)
        number, degrees, kept = rows.shape
        matrix = matrix.reshape(number, kept, t2.size)
        left = self._by_lag(jnp.matmul(rows, matrix))
        of_covariances = (left @ columns.T).reshape(self.covariances.shape)
        of_columns = self.covariances.reshape(-1, degrees).T @ left
        of_columns = of_columns.reshape(degrees, -1, kept).transpose(1, 0, 2)
        of_rows = jnp.matmul(self._half(columns), matrix.transpose(0, 2, 1))
        of_rows = of_rows.at[: len(of_columns)].add(of_columns)
        zero = jnp.zeros_like(self.roots)
        roots = jax.lax.dynamic_update_slice(zero, of_rows, (first, 0, 0))
        return BinCovariance(of_covariances, roots)


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
    basis = np.polynomial.legendre.legvander(2.0 * (time / width - index) - 1.0, DEGREES - 1)
    typical = float(np.exp(np.mean(np.log(variance))))
    right = np.column_stack([residual, columns])
    ends = np.searchsorted(index, np.arange(bins + 1))
    counts = np.diff(ends)
    functions = np.zeros((len(time), ELEMENTS))
    for here in map(slice, ends[:-1], ends[1:]):
        found = _orthonormal(basis[here, :ELEMENTS], variance[here] / typical)
        functions[here, : found.shape[1]] = found

    def outer(left, right):
        """Products of the columns, summed up in each bin."""
        sums = np.zeros((bins, left.shape[1], right.shape[1]))
        for b in range(bins):
            here = slice(ends[b], ends[b + 1])
            sums[b] = left[here].T @ right[here]
        return sums

    tables: list[Any] = []
    for extra in chebyshev_noise(variance, 1.00001 * most_noise, typical):
        weight = (typical + extra) / (variance + extra)
        weighted = weight[:, None] * right
        tables.append(
            (
                outer(functions, weight[:, None] * functions),
                outer(basis, weight[:, None] * functions),
                outer(functions, weighted),
                outer(weighted, right),
                np.bincount(index, weights=weight, minlength=bins),
                np.sum(np.log(weight)),
            )
        )
    series = as_series(tables)
    used = np.arange(ELEMENTS)[None, :] < counts[:, None]
    scalars = (np.asarray(value, float) for value in (width, typical, 1.00001 * most_noise))
    counts, used = counts.astype(float), used.astype(float)
    return Sums(*map(jnp.asarray, (*scalars, *series, counts, used)))


def _orthonormal(basis, variance):
    """Combinations of functions that are orthonormal in data, each with the next function added."""
    root = np.sqrt(variance)[:, None]
    return root * np.linalg.qr(basis / root)[0]


def at_white_noise(sums: Sums, noise) -> Bins:
    """The bins' data for a variance of white noise beyond the stated errors."""
    series = sums.gram, sums.mixed, sums.moments, sums.products, sums.weights, sums.log_weights
    total, parts = at_noise(series, sums.variance, sums.most_noise, noise)
    *parts, log_weights = parts
    gram, mixed, moments, products, weights = (part / total for part in parts)
    absent = (1.0 - sums.used)[:, :, None] * jnp.eye(ELEMENTS, dtype=gram.dtype)[None]
    inverse = _inverse_factors(gram + absent)
    z, root = inverse @ moments, mixed @ jnp.swapaxes(inverse, 1, 2)
    left = products - jnp.einsum("bpc,bpd->bcd", z, z)
    log_weights = log_weights - jnp.sum(sums.counts) * jnp.log(total)
    return Bins(root, z, left, weights, log_weights)


def _projection(degrees: int):
    """Nodes on (-1, 1), and the matrix from values there to Legendre coefficients."""
    nodes, weights = np.polynomial.legendre.leggauss(degrees + _MORE_NODES)
    degree = np.arange(degrees)
    values = np.polynomial.legendre.legvander(nodes, degrees - 1)
    return nodes, ((2.0 * degree + 1.0) / 2.0 * values * weights[:, None]).T


def coefficient_covariances(kernel, width, lags: int):
    """Covariances of the coefficients in a bin with those some bins earlier.

    Parameters
    ----------
    kernel
        Function of the lag in days.
    width
        Of the bins.
    lags
        How many: 0, 1, ... bins apart.

    Returns
    -------
    array
        Shape (lags, d, d), the later bin first.
    """
    nodes, project = _projection(DEGREES)
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    bins = jnp.arange(lags, dtype=width.dtype)
    lag = jnp.abs(bins[:, None, None] + jnp.asarray(apart, width.dtype)[None]) * width
    return jnp.einsum("pm,lmn,qn->lpq", project, kernel(lag), project)


def _with_lags(covariances, roots, layout):
    """The covariance of the first elements, for a layout in tiles of bins."""
    tiles, size, band = layout
    earlier = jnp.swapaxes(covariances[1:size], 1, 2)[::-1]
    padding = (tiles + band) * size - roots.shape[0]
    roots = jnp.pad(roots, ((0, padding), (0, 0), (0, 0)))
    return BinCovariance(jnp.concatenate([earlier, covariances]), roots)


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
    # their sum is not known better than to the rounding of the table and its projection
    excess = (1.0 - 1e-5) * power * bins.weights - jnp.trace(signal, axis1=1, axis2=2)
    return left, jnp.where(left > 0, jnp.maximum(excess, 0.0) / jnp.maximum(left, 1.0), 0.0)


class System(eqx.Module):
    """Covariance A of all elements, and what stands for its inverse."""

    root: Float[Array, "bins d p"]
    spectrum: Complex[Array, "f d d"]  # of the coefficients' covariance, over bins
    panels: Float[Array, "t a b"]  # of the first elements' factor
    own: Float[Array, "bins p p"]  # the rest of the inverse of A_0, within bins
    layout: tuple[int, int, int] = eqx.field(static=True)
    period: int = eqx.field(static=True)  # bins after which the convolution repeats itself

    def times(self, values):
        """A times vectors, of shape (bins, p, n)."""
        bins = len(values)
        waves = jnp.fft.rfft(self.root @ values, n=self.period, axis=0)
        signal = jnp.fft.irfft(self.spectrum @ waves, n=self.period, axis=0)[:bins]
        return values + jnp.swapaxes(self.root, 1, 2) @ signal

    def nearly_solved(self, values):
        """The inverse of A_0 times vectors, of shape (bins, p, n)."""
        bins, _, n = values.shape
        tiles, size, _ = self.layout
        first = jnp.pad(values[:, :KEPT], ((0, tiles * size - bins), (0, 0), (0, 0)))
        first = forward_solve(self.panels, first.reshape(tiles, size * KEPT, n))
        first = backward_solve(self.panels, first).reshape(-1, KEPT, n)[:bins]
        return (self.own @ values).at[:, :KEPT].add(first)

    def solved(self, right):
        """The inverse of A times vectors by conjugate gradients, NaN where these do not converge.

        A constant to derivatives.
        """
        system, right = jax.lax.stop_gradient((self, right))

        def dot(a, b):
            return jnp.sum(a * b, axis=(0, 1), keepdims=True)

        def ratio(a, b):
            return jnp.where(b > 0.0, a / jnp.where(b > 0.0, b, 1.0), 0.0)

        def unfinished(state):
            *_, left, k = state
            return (k < _MOST_ITERATIONS) & jnp.any(left > _CONVERGED * whole)

        def step(state):
            found, rest, along, left, k = state
            image = system.times(along)
            length = ratio(left, dot(along, image))
            found, rest = found + length * along, rest - length * image
            guess = system.nearly_solved(rest)
            now = dot(rest, guess)
            return found, rest, guess + ratio(now, left) * along, now, k + 1

        guess = system.nearly_solved(right)
        whole = dot(right, guess)
        start = jnp.zeros_like(right), right, guess, whole, jnp.asarray(0)
        found, *_, left, _ = jax.lax.while_loop(unfinished, step, start)
        return jnp.where(left <= _CONVERGED * whole, found, jnp.nan)


@jax.custom_jvp
def _inverse_factors(matrices):
    """Inverses of the Cholesky factors of many small matrices.

    By elimination in all of them at once. jaxlib 0.10 spreads LAPACK's calls for a batch over the
    threads of a CPU and waits for them in one of these threads: two such calls at the same time can
    wait for each other for ever.
    """
    size = matrices.shape[-1]
    rows = jnp.arange(size)
    eye = jnp.broadcast_to(jnp.eye(size, dtype=matrices.dtype), matrices.shape)

    def eliminate(j, both):
        row = both[:, j]
        below = jnp.where((rows > j)[None], both[:, :, j] / row[:, j, None], 0.0)
        return both - below[:, :, None] * row[:, None, :]

    both = jax.lax.fori_loop(0, size, eliminate, jnp.concatenate([matrices, eye], axis=2))
    pivots = jnp.diagonal(both, axis1=1, axis2=2)
    return both[:, :, size:] / jnp.sqrt(pivots)[:, :, None]


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
    bins = at_white_noise(sums, noise)
    covariances = coefficient_covariances(kernel, sums.width, (layout[2] + 1) * layout[1])
    # within a bin
    signal = jnp.swapaxes(bins.root, 1, 2) @ covariances[0] @ bins.root
    eye = jnp.eye(ELEMENTS, dtype=signal.dtype)
    inverse = _inverse_factors(signal + eye[None])
    others = jax.lax.stop_gradient(inverse[:, KEPT:])
    first = _with_lags(covariances, bins.root[:, :, :KEPT], layout)
    together, panels = determinant(first, _tiles_of(len(bins.root), layout), layout[2])

    # zeros between the bins' two ends and the largest lag, as a convolution is periodic
    _, size, band = layout
    lags = covariances[: min(len(bins.root), max(band, 1) * size + 1)]
    period = next_fast_len(len(bins.root) + len(lags) - 1, real=True)
    between = jnp.zeros((period - 2 * len(lags) + 1, DEGREES, DEGREES), signal.dtype)
    circle = jnp.concatenate([lags, between, jnp.swapaxes(lags[:0:-1], 1, 2)])
    spectrum = jnp.fft.rfft(circle, axis=0)
    own = jnp.swapaxes(others, 1, 2) @ others
    system = System(bins.root, spectrum, panels, own, layout, period)

    left, excess = _left_over(sums, bins, signal, kernel(jnp.zeros_like(noise)))
    products = jnp.einsum("bcd,b->cd", bins.products, 1.0 / (1.0 + excess))
    pivots = jnp.diagonal(inverse, axis1=1, axis2=2)[:, KEPT:]
    log_determinant = together - 2.0 * jnp.sum(jnp.log(pivots)) - bins.log_weights
    return system, bins.moments, products, log_determinant + jnp.sum(left * jnp.log1p(excess))


def _products(system: System, moments):
    """X^T A^-1 X of the moments X, with derivatives, and A^-1 X, a constant to these."""
    solved = system.solved(moments)
    cross = jnp.einsum("bpc,bpd->cd", moments, solved)
    return cross + cross.T - jnp.einsum("bpc,bpd->cd", solved, system.times(solved)), solved


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
    products = products + _products(system, moments)[0]
    log_determinant = _derived_after(log_determinant, products)
    value = marginal(products, log_determinant, jnp.sum(sums.counts))
    return jnp.where(noise <= sums.most_noise, value, jnp.nan)


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
    more, solved = _products(system, moments)
    products = products + more
    normal, moment = products[1:, 1:], products[1:, 0]
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    columns = solved[..., 1:]
    return Solved(system, columns, solved[..., 0] - columns @ amplitudes, normal, moment)


def against_bins(sums: Sums, system: System, kernel, times):
    """Covariance of the process at times with the elements, shape (bins, p, m).

    ``times`` are days since the first bin began, shape (m,).
    """
    nodes, project = _projection(DEGREES)
    middle = jnp.arange(len(system.root), dtype=times.dtype)[:, None]
    at = (middle + jnp.asarray(0.5 * (nodes + 1.0), times.dtype)[None, :]) * sums.width
    coefficients = project @ kernel(jnp.abs(at[:, :, None] - times[None, None, :]))
    return jnp.swapaxes(system.root, 1, 2) @ coefficients


def neglected(time, variance, kernel, width: float, reach: float) -> float:
    r"""Estimate of the error of the log-likelihood, by a subset of the bins.

    For the determinant it is the information that each bin's other elements have in the elements
    of the bins before and in the first ones of those after, given the first ones of their own bin,
    :math:`\tfrac12 \ln(|R| / |R'|)` with their covariances R' and R with and without these. In
    each bin, what the polynomials leave over is no white noise, and they go on to higher degrees:
    :math:`\tfrac14 \mathrm{tr}\, (C_0^{-1} (C - C_0))^2` on average in a log-likelihood ratio, C
    and C_0 the covariances of its data, and three standard deviations of such a ratio are added.

    Parameters
    ----------
    time, variance
        Of the data, shape (n,), ascending; of white noise altogether.
    kernel
        NumPy function of the lag in days.
    width
        Of the bins.
    reach
        Days to either side in which other bins are looked at.

    Returns
    -------
    float
        For all data, scaled from the subset.
    """
    time = np.asarray(time - time[0])
    index = (time / width).astype(int)
    occupied, counts = np.unique(index, return_counts=True)
    full = occupied[counts > KEPT]
    if full.size == 0:
        return 0.0
    # those with most information speak for themselves, some of the others for the rest
    information = np.bincount(index, weights=1.0 / variance)[full]
    full = full[np.argsort(information)[::-1]]
    rest = np.sort(full[_SUBSET // 4 :])
    some = rest[np.linspace(0, rest.size - 1, min(_SUBSET, rest.size)).round().astype(int)]
    shares = [(b, 1.0) for b in full[: _SUBSET // 4]] + [(b, rest.size / some.size) for b in some]
    lags = math.ceil(reach / width)
    nodes, project = _projection(DEGREES)
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    lag = np.abs(np.arange(2 * lags + 1)[:, None, None] + apart) * width
    covariances = project @ np.asarray(kernel(lag)) @ project.T
    determinant = ratio = 0.0
    for centre, share in shares:
        near = occupied[np.abs(occupied - centre) <= lags]
        data = [_data_of(time, variance, index, b, width) for b in near]
        at = int(np.searchsorted(near, centre))
        roots = np.stack([_elements(*one)[1] for one in data])
        determinant += share * max(_lost(roots, near, at, covariances), 0.0)
        ratio += share * _within(*data[at], kernel, covariances[0], width)
    # half as much again for the bins that were not looked at
    return 1.5 * determinant + ratio + DEVIATIONS * math.sqrt(2.0 * ratio)


def _data_of(time, variance, index, which: int, width: float):
    """Times in a bin, from -1 to 1, and variances, of at most some hundred points."""
    first, last = np.searchsorted(index, [which, which + 1])
    every = -(-(last - first) // _MOST_DATA)
    here = slice(first, last, every)
    return 2.0 * (time[here] / width - which) - 1.0, variance[here] / every


def _elements(x, variance, mode="reduced"):
    """A bin's elements from whitened data, if ``complete`` with what is left of these, and L."""
    scaled = np.polynomial.legendre.legvander(x, DEGREES - 1) / np.sqrt(variance)[:, None]
    whole = np.linalg.qr(scaled[:, :ELEMENTS], mode)[0]
    root = np.zeros((DEGREES, ELEMENTS))
    root[:, : x.size] = scaled.T @ whole[:, :ELEMENTS]
    return whole, root


def _within(x, variance, kernel, covariance, width: float) -> float:
    """Information in the data of one bin that polynomials and white noise do not describe."""
    whole, root = _elements(x, variance, "complete")
    lag = np.abs(x[:, None] - x[None, :]) * (0.5 * width)
    scale = 1.0 / np.sqrt(variance)
    exact = whole.T @ (kernel(lag) * scale[:, None] * scale[None, :]) @ whole
    number = min(x.size, ELEMENTS)
    found = np.zeros_like(exact)
    found[:number, :number] = (root.T @ covariance @ root)[:number, :number]
    left = max(np.trace(exact) - np.trace(found), 0.0) / max(x.size - number, 1)
    rest = np.arange(number, x.size)
    found[rest, rest] = left
    wrong = np.linalg.solve(found + np.eye(x.size), exact - found)
    return 0.25 * float(np.sum(wrong * wrong.T))


def _lost(roots, near, at: int, covariances) -> float:
    """Information on the other elements of a bin in its neighbours' that is not used."""
    number, degrees = len(near), ELEMENTS
    lag = near[:, None] - near[None, :]
    between = covariances[np.abs(lag)]
    between = np.where((lag >= 0)[..., None, None], between, np.swapaxes(between, -1, -2))
    half = np.matmul(between, roots[None])
    together = np.matmul(np.swapaxes(roots, 1, 2)[:, None], half)
    together = together.transpose(0, 2, 1, 3).reshape(number * degrees, number * degrees)
    together += np.eye(number * degrees)
    elements = np.arange(number * degrees).reshape(number, degrees)
    own, other = elements[at, :KEPT], elements[at, KEPT:]
    known = np.concatenate([elements[:, :KEPT].ravel(), elements[:at, KEPT:].ravel()])

    def left(chosen):
        lower = np.linalg.cholesky(together[np.ix_(chosen, chosen)])
        half = np.linalg.solve(lower, together[np.ix_(chosen, other)])
        return np.linalg.slogdet(together[np.ix_(other, other)] - half.T @ half)[1]

    return 0.5 * float(left(own) - left(known))
