"""What the data say in short bins: sums over them with polynomials, at any level of white noise."""

import itertools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .small_factors import inverse_factors
from .white_noise import as_series, at_noise, chebyshev_noise

# Elements of a bin and the polynomials that they are made of: few data at random times mix them
# with higher degrees.
ELEMENTS, _FEW_DEGREES, _MANY_DEGREES = 24, 32, 44
_MORE_NODES = 8  # of the quadrature that projects the kernel on polynomials


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

    tables: list[Any] = []
    for extra in noise:
        weight = (references + extra)[index] / (variance + extra[index])
        weighted = weight[:, None] * right
        tables.append(
            (
                _products(ends, functions, weight[:, None] * functions),
                _products(ends, basis, weight[:, None] * functions),
                _products(ends, functions, weighted),
                _products(ends, weighted, right),
                np.bincount(index, weights=weight, minlength=bins),
                np.bincount(index, weights=np.log(weight), minlength=bins),
            )
        )
    series = as_series(tables)
    used = np.arange(ELEMENTS)[None, :] < counts[:, None]
    noises = (np.asarray(value, float) for value in (width, references, most_noise))
    counts, used = counts.astype(float), used.astype(float)
    return Sums(*map(jnp.asarray, (*noises, logarithmic, *series, counts, used)))


def _products(ends, left, right):
    """Products of columns, summed up in each bin."""
    return np.stack([left[a:b].T @ right[a:b] for a, b in itertools.pairwise(ends)])


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
    inverse = inverse_factors(gram + absent)
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
