r"""Gaussian log-likelihood from polynomials in short bins: its cost grows with the time span only.

In a bin of width h the signal is a series of Legendre polynomials :math:`V` with coefficients f, of
which the data determine :math:`z = L^{-1} V^T W y`, with :math:`V^T W V = L L^T` and the inverse
noise variances W: a vector of unit white noise plus :math:`L^T f`, its elements in the order of the
polynomials' degree. Between the bins a and b

.. math::
    \langle z_a z_b^T \rangle = L_a^T \langle f_a f_b^T \rangle L_b + \delta_{ab} I,

where the covariance of coefficients depends on b - a alone. The first elements of all bins together
are solved with a band of tiles. The others are taken to depend on the first ones of their own bin
only, as in a composite likelihood (Vecchia 1988), and what is left of the data to be white, of the
variance that the kernel says. `neglected` estimates what that loses.

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
from jax.lax.linalg import triangular_solve
from jaxtyping import Array, Float

from ._block import Blocks, Factor, factorize, marginal, products_and_determinant
from ._stated import DEVIATIONS
from ._white_noise import as_series, at_noise, chebyshev_noise

# Elements of a bin that are solved together with those of other bins, and all of them.
KEPT, DEGREES = 8, 12
_MORE_NODES = 6  # of the quadrature that projects the kernel on polynomials
_UNDETERMINED = 1e-11  # added to the relative weight of polynomials that few data do not determine
_SUBSET = 8  # bins from which `neglected` infers


class Sums(NamedTuple):
    """Sums over the data in bins, as Chebyshev series in the white noise.

    Weights are relative to 1 / (variance + jitter^2). The first column is the residual, the others
    are the free columns of the mean.
    """

    width: Float[Array, ""]
    variance: Float[Array, ""]  # a typical one of the data
    most_noise: Float[Array, ""]  # largest jitter^2 that the series are made for
    gram: Float[Array, "k bins p p"]
    moments: Float[Array, "k bins p 1+c"]
    products: Float[Array, "k bins 1+c 1+c"]
    weights: Float[Array, "k bins"]
    log_weights: Float[Array, "k"]
    counts: Float[Array, "bins"]


class Bins(NamedTuple):
    """What the data say of each bin at some level of white noise."""

    root: Float[Array, "bins p p"]  # L
    moments: Float[Array, "bins p 1+c"]  # z
    products: Float[Array, "bins 1+c 1+c"]  # of what the polynomials leave over
    weights: Float[Array, "bins"]
    log_weights: Float[Array, ""]


class BinCovariance(eqx.Module):
    """Covariance of the bins' first elements; times are their numbers in a row.

    Parameters
    ----------
    panel
        Covariance of the coefficients of the first tile's bins with those of a panel's, in the
        order (bin of the tile, bin and degree, degree).
    roots
        The first columns of L, with bins beyond the last one for the last panel.
    """

    panel: Float[Array, "b ap p"]
    roots: Float[Array, "bins p q"]

    def _roots(self, t2):
        """The first bin of a panel, the roots of the panel's bins and those of its first tile."""
        tile, rows, degrees = self.panel.shape
        first = (t2[0] / self.roots.shape[2] + 0.5).astype(int)
        roots = dynamic_slice_in_dim(self.roots, first, rows // degrees)
        return first, roots, roots[:tile]

    def _half(self, columns):
        """The covariance with the columns' elements, shape (a, p, b q)."""
        tile, _, degrees = self.panel.shape
        half = jnp.matmul(self.panel, columns).reshape(tile, -1, degrees, columns.shape[2])
        return half.transpose(1, 2, 0, 3).reshape(-1, degrees, tile * columns.shape[2])

    def block(self, t1, t2):
        """Covariance matrix of a panel's elements with those of its first tile."""
        _, rows, columns = self._roots(t2)
        covariance = jnp.matmul(rows.transpose(0, 2, 1), self._half(columns))
        return covariance.reshape(t1.size, t2.size)

    def pull(self, t1, t2, matrix):
        """Cotangents of the leaves, given those of the covariance matrix `block`."""
        first, rows, columns = self._roots(t2)
        number, degrees, kept = rows.shape
        matrix = matrix.reshape(number, kept, t2.size)
        left = jnp.matmul(rows, matrix).reshape(number, degrees, len(columns), kept)
        left = left.transpose(2, 0, 1, 3).reshape(len(columns), number * degrees, kept)
        of_panel = jnp.matmul(left, columns.transpose(0, 2, 1))
        of_columns = jnp.matmul(self.panel.transpose(0, 2, 1), left)
        of_rows = jnp.matmul(self._half(columns), matrix.transpose(0, 2, 1))
        of_rows = of_rows.at[: len(columns)].add(of_columns)
        zero = jnp.zeros_like(self.roots)
        roots = jax.lax.dynamic_update_slice(zero, of_rows, (first, 0, 0))
        return BinCovariance(of_panel, roots)


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
    typical = float(np.exp(np.mean(np.log(variance))))
    right = np.column_stack([residual, columns])
    index = np.minimum((time / width).astype(int), bins - 1)
    basis = np.polynomial.legendre.legvander(2.0 * (time / width - index) - 1.0, DEGREES - 1)

    def add(values):
        return np.bincount(index, weights=values, minlength=bins)

    def outer(left, right):
        return np.stack([np.stack([add(a * b) for b in right.T], -1) for a in left.T], -2)

    tables: list[Any] = []
    for extra in chebyshev_noise(variance, 1.00001 * most_noise, typical):
        weight = (typical + extra) / (variance + extra)
        weighted = weight[:, None] * right
        tables.append(
            (
                outer(weight[:, None] * basis, basis),
                outer(basis, weighted),
                outer(weighted, right),
                add(weight),
                np.sum(np.log(weight)),
            )
        )
    series = as_series(tables)
    scalars = (np.asarray(value, float) for value in (width, typical, 1.00001 * most_noise))
    return Sums(*map(jnp.asarray, (*scalars, *series, add(np.ones(len(time))))))


def at_white_noise(sums: Sums, noise) -> Bins:
    """The bins' data for a variance of white noise beyond the stated errors."""
    series = sums.gram, sums.moments, sums.products, sums.weights, sums.log_weights
    total, parts = at_noise(series, sums.variance, sums.most_noise, noise)
    *parts, log_weights = parts
    gram, moments, products, weights = (part / total for part in parts)
    trace = jnp.trace(gram, axis1=1, axis2=2) + 1.0 / total
    eye = jnp.eye(gram.shape[1], dtype=gram.dtype)
    root = jnp.linalg.cholesky(gram + (_UNDETERMINED * trace)[:, None, None] * eye[None])
    z = triangular_solve(root, moments, left_side=True, lower=True)
    left = products - jnp.einsum("bpc,bpd->bcd", z, z)
    log_weights = log_weights - jnp.sum(sums.counts) * jnp.log(total)
    return Bins(root, z, left, weights, log_weights)


def _projection(degrees: int):
    """Nodes on (-1, 1), and the matrix from values there to Legendre coefficients."""
    nodes, weights = np.polynomial.legendre.leggauss(degrees + _MORE_NODES)
    degree = np.arange(degrees)
    values = np.polynomial.legendre.legvander(nodes, degrees - 1)
    return nodes, ((2.0 * degree + 1.0) / 2.0 * values * weights[:, None]).T


def coefficient_covariances(kernel, width, lags: int, degrees: int = DEGREES):
    """Covariances of the coefficients in a bin with those some bins earlier.

    Parameters
    ----------
    kernel
        Function of the lag in days.
    width
        Of the bins.
    lags
        How many: 0, 1, ... bins apart.
    degrees
        Number of polynomials.

    Returns
    -------
    array
        Shape (lags, p, p), the later bin first.
    """
    nodes, project = _projection(degrees)
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    bins = jnp.arange(lags, dtype=width.dtype)
    lag = jnp.abs(bins[:, None, None] + jnp.asarray(apart, width.dtype)[None]) * width
    return jnp.einsum("pm,lmn,qn->lpq", project, kernel(lag), project)


def _with_panel(covariances, roots, layout):
    """The covariance of the first elements, for a layout in tiles of bins."""
    tiles, size, band = layout
    rows, columns = np.arange((band + 1) * size), np.arange(size)
    lag = rows[:, None] - columns[None, :]
    forward = covariances[np.maximum(lag, 0)]
    backward = jnp.swapaxes(covariances[np.maximum(-lag, 0)], -1, -2)
    panel = jnp.where((lag >= 0)[:, :, None, None], forward, backward)
    padding = (tiles + band) * size - roots.shape[0]
    roots = jnp.pad(roots, ((0, padding), (0, 0), (0, 0)))
    panel = panel.swapaxes(0, 1).reshape(size, -1, panel.shape[-1])
    return BinCovariance(panel, roots)


def _blocks_of(moments, layout) -> Blocks:
    """The first elements as data of unit variance, in tiles."""
    tiles, size, _ = layout
    bins, kept, columns = moments.shape
    moments = jnp.pad(moments, ((0, tiles * size - bins), (0, 0), (0, 0)))
    rows = moments.reshape(tiles, size * kept, columns)
    time = jnp.arange(tiles * size * kept, dtype=rows.dtype).reshape(rows.shape[:2])
    ones = jnp.ones_like(time)
    return Blocks(time, ones, ones, rows[..., 0], rows[..., 1:])


def _others(bins: Bins, covariances):
    """Signal's covariance of all elements of a bin, its factor with noise, and what it whitens.

    The last elements of that are those beyond the first, given these, as white noise.
    """
    signal = jnp.einsum("bki,kl,blj->bij", bins.root, covariances[0], bins.root)
    factor = jnp.linalg.cholesky(signal + jnp.eye(DEGREES, dtype=signal.dtype)[None])
    solved = triangular_solve(factor, bins.moments, left_side=True, lower=True)
    return signal, factor, solved[:, KEPT:]


def _left_over(sums: Sums, bins: Bins, signal, power):
    """Number of data beyond the polynomials in each bin, and signal to noise in their variance."""
    left = jnp.maximum(sums.counts - DEGREES, 0.0)
    excess = power * bins.weights - jnp.trace(signal, axis1=1, axis2=2)
    return left, jnp.where(left > 0, jnp.maximum(excess, 0.0) / jnp.maximum(left, 1.0), 0.0)


def _prepared(sums: Sums, kernel, noise, layout):
    """All parts of the likelihood but the solution of the first elements.

    Those are the first elements' covariance and blocks, the factor of `_others` and what it
    whitens, and the products and the log determinant of all that is beyond the first elements.
    """
    bins = at_white_noise(sums, noise)
    covariances = coefficient_covariances(kernel, sums.width, (layout[2] + 1) * layout[1])
    covariance = _with_panel(covariances, bins.root[:, :, :KEPT], layout)
    blocks = _blocks_of(bins.moments[:, :KEPT], layout)
    signal, factor, solved = _others(bins, covariances)
    left, excess = _left_over(sums, bins, signal, kernel(jnp.zeros_like(noise)))
    products = jnp.einsum("bpc,bpd->cd", solved, solved)
    products = products + jnp.einsum("bcd,b->cd", bins.products, 1.0 / (1.0 + excess))
    pivots = jnp.diagonal(factor, axis1=1, axis2=2)[:, KEPT:]
    log_determinant = 2.0 * jnp.sum(jnp.log(pivots)) + jnp.sum(left * jnp.log1p(excess))
    return covariance, blocks, factor, solved, products, log_determinant - bins.log_weights


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
    covariance, blocks, _, _, *others = _prepared(sums, kernel, noise, layout)
    parts = products_and_determinant(covariance, blocks, layout[2])
    products, log_determinant = (mine + own for mine, own in zip(parts, others, strict=True))
    value = marginal(products, log_determinant, jnp.sum(sums.counts))
    return jnp.where(noise <= sums.most_noise, value, jnp.nan)


class Solved(NamedTuple):
    """What predictions are made of: the first elements' factor, and the other elements."""

    first: Factor
    root: Float[Array, "bins p p"]
    factor: Float[Array, "bins p p"]
    others: Float[Array, "bins p-q 1+c"]  # given the first elements, whitened


def solve(sums: Sums, kernel, noise, layout) -> Solved:
    """Solve for the data; parameters are those of `log_likelihood`."""
    covariance, blocks, factor, others, products, _ = _prepared(sums, kernel, noise, layout)
    first = factorize(covariance, blocks, layout[2])
    normal, moment = first.normal + products[1:, 1:], first.moment + products[1:, 0]
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    weights = first.inverse[..., 0] - first.inverse[..., 1:] @ amplitudes
    first = first._replace(normal=normal, moment=moment, weights=weights)
    return Solved(first, at_white_noise(sums, noise).root, factor, others)


def against_bins(sums: Sums, solved: Solved, kernel, layout, times):
    """Covariance of the process with the first elements, in tiles, and with the others.

    ``times`` are days since the first bin began, shape (m,); shapes (tiles, size, m) and
    (bins, p - q, m).
    """
    tiles, size, _ = layout
    bins = len(solved.root)
    nodes, project = _projection(DEGREES)
    middle = jnp.arange(bins, dtype=times.dtype)[:, None]
    at = (middle + jnp.asarray(0.5 * (nodes + 1.0), times.dtype)[None, :]) * sums.width
    coefficients = project @ kernel(jnp.abs(at[:, :, None] - times[None, None, :]))
    cross = jnp.swapaxes(solved.root, 1, 2) @ coefficients
    others = triangular_solve(solved.factor, cross, left_side=True, lower=True)[:, KEPT:]
    first = jnp.pad(cross[:, :KEPT], ((0, tiles * size - bins), (0, 0), (0, 0)))
    return first.reshape(tiles, size * KEPT, times.size), others


def neglected(time, variance, kernel, width: float, reach: float) -> float:
    r"""Estimate of the error of the log-likelihood, by a subset of the bins.

    The mean error I is the information on a bin's other elements w in the first elements of other
    bins, :math:`\tfrac12 \ln(|R| / |R'|)` with the covariance R of w given z of its own bin and R'
    given z of all bins, and at most a quarter of the square of the signal to noise that is left.

    Parameters
    ----------
    time, variance
        Of the data, shape (n,), ascending; of white noise altogether.
    kernel
        NumPy function of the lag in days.
    width
        Of the bins.
    reach
        Days beyond which the kernel is 0.

    Returns
    -------
    float
        Mean plus three standard deviations for all data, scaled from the subset.
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
    lags = math.ceil(reach / width) + 1
    nodes, project = _projection(DEGREES)
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    lag = np.abs(np.arange(lags + 1)[:, None, None] + apart) * width
    covariances = project @ np.asarray(kernel(lag)) @ project.T
    power = float(kernel(np.zeros(1))[0])
    mean = 0.0
    for centre, share in shares:
        near = occupied[np.abs(occupied - centre) <= lags]
        roots = np.stack([_root_of(time, variance, index, b, width) for b in near])
        lost = _lost(roots, near, int(np.searchsorted(near, centre)), covariances)
        here = slice(*np.searchsorted(index, [centre, centre + 1]))
        root = roots[np.searchsorted(near, centre)]
        left = power * np.sum(1.0 / variance[here]) - np.sum((root.T @ covariances[0]) * root.T)
        mean += share * (max(lost, 0.0) + 0.25 * max(left, 0.0) ** 2)
    # of a log-likelihood ratio with this mean
    return mean + DEVIATIONS * math.sqrt(2.0 * mean)


def _root_of(time, variance, index, which: int, width: float):
    here = slice(*np.searchsorted(index, [which, which + 1]))
    basis = np.polynomial.legendre.legvander(2.0 * (time[here] / width - which) - 1.0, DEGREES - 1)
    gram = (basis.T / variance[here]) @ basis
    return np.linalg.cholesky(gram + _UNDETERMINED * np.trace(gram) * np.eye(DEGREES))


def _lost(roots, near, at: int, covariances) -> float:
    """Information on the other elements of a bin in the first elements of its neighbours."""
    lag = near[:, None] - near[None, :]
    inside = np.minimum(np.abs(lag), len(covariances) - 1)
    between = covariances[inside]
    between = np.where((lag >= 0)[..., None, None], between, np.swapaxes(between, -1, -2))
    between = between * (np.abs(lag) < len(covariances))[..., None, None]
    first = roots[:, :, :KEPT]
    number = len(near) * KEPT
    half = np.einsum("abjk,bkl->ajbl", between, first, optimize=True)
    together = np.einsum("aji,ajbl->aibl", first, half, optimize=True).reshape(number, number)
    together += np.eye(number)
    other = roots[at][:, KEPT:]
    cross = np.einsum("ji,jbl->ibl", other, half[at]).reshape(DEGREES - KEPT, number)
    own = slice(at * KEPT, (at + 1) * KEPT)
    prior = other.T @ covariances[0] @ other + np.eye(DEGREES - KEPT)

    def left(chosen):
        half = np.linalg.solve(np.linalg.cholesky(together[chosen, chosen]), cross[:, chosen].T)
        return np.linalg.slogdet(prior - half.T @ half)[1]

    return 0.5 * float(left(own) - left(slice(None)))
