r"""Gaussian log-likelihood from the Fourier modes of the covariance: its cost does not depend on N.

A kernel that vanishes beyond the lag s equals, at all lags of data that span T days, its own
periodic repetition with any period :math:`\Lambda \ge T + s`, whose modes are discrete:

.. math::
    k(\tau) = p_0 + \sum_{j \ge 1} p_j \cos\frac{2 \pi j \tau}{\Lambda}, \qquad p_j \ge 0 .

With :math:`\Phi` the cosines and sines at the data's times, :math:`W` the inverse noise variances
and :math:`B = I + \sqrt{p}\,\Phi^T W \Phi\,\sqrt{p}`,

.. math::
    \ln|K| = \ln|B| - \ln|W|, \qquad
    x^T K^{-1} y = x^T W y - (\sqrt{p}\,\Phi^T W x)^T B^{-1} (\sqrt{p}\,\Phi^T W y) .

The products with :math:`\Phi` are sums over the data that no parameter of the star enters, taken
once by a non-uniform fast Fourier transform. White noise beyond the stated errors enters all of
them as a smooth function of its variance, kept as a Chebyshev series.

Only the slower half of the modes is treated so. The faster ones, where the signal is well below the
noise, are taken to be independent of each other given the slower ones: each cosine and sine adds

.. math::
    -\tfrac12 \ln(1 + p s) + \tfrac12 \frac{p\, a^2}{1 + p s}

with :math:`a` the derivative of the log-likelihood in its amplitude and :math:`s` its information.
What that neglects, and modes faster still, is estimated by `neglected`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax.linalg import cholesky, triangular_solve
from jaxtyping import Array, Bool, Float

from .stated import DEVIATIONS
from .white_noise import as_series, at_noise, chebyshev_noise

_WIDTH = 14  # points that a datum is spread over: 1e-13 of the largest sum


class Sums(NamedTuple):
    """Sums over the data against modes, as Chebyshev series in the white noise.

    Weights are relative to 1 / (variance + jitter^2). The first column is the residual, the others
    are the free columns of the mean.
    """

    period: Float[Array, ""]
    variance: Float[Array, ""]  # a typical one of the data
    most_noise: Float[Array, ""]  # largest jitter^2 that the series are made for
    logarithmic: Bool[Array, ""]  # in what they are made, see `chebyshev_noise`
    window: Float[Array, "k 2 4m+1"]  # of the weights alone, real and imaginary
    moments: Float[Array, "k 4m+1 1+c"]  # against the cosines from 0 on and the sines from 1 on
    products: Float[Array, "k 1+c 1+c"]
    log_weights: Float[Array, "k"]
    number: Float[Array, ""]


class Solution(NamedTuple):
    """What the likelihood and predictions are made of."""

    log_determinant: Float[Array, ""]
    normal: Float[Array, "c c"]
    moment: Float[Array, "c"]
    chi_squared: Float[Array, ""]
    amplitudes: Float[Array, "c"]  # of the free columns
    root: Float[Array, "n"]  # square roots of the slower modes' variances
    factor: Float[Array, "n n"]  # Cholesky factor of B
    solved: Float[Array, "n 1+c"]  # B^-1 sqrt(p) Phi^T W of the residual and the columns
    slope: Float[Array, "t"]  # of the faster modes, a
    information: Float[Array, "t"]  # of the faster modes, s
    faster: Float[Array, "t"]  # variances of the faster modes, p


def transform(time, values, period: float, most: int) -> np.ndarray:
    r"""Sums :math:`\sum_k v_k e^{2 \pi i j t_k / \Lambda}` for j = 0 ... most.

    By spreading onto an even grid twice as fine as needed (Dutt & Rokhlin 1993; the kernel is that
    of Barnett, Magland & af Klinteberg 2019), in double precision.

    Parameters
    ----------
    time
        Shape (n,).
    values
        Real, shape (n, c).
    period
        Of the modes.
    most
        Largest j.

    Returns
    -------
    array
        Complex, shape (most + 1, c).
    """
    size = 1 << (max(4 * most + 2, 2 * _WIDTH) - 1).bit_length()
    at = (np.asarray(time) / period % 1.0) * size
    first = np.floor(at).astype(int) - _WIDTH // 2 + 1
    sharpness = 2.30 * _WIDTH

    def spread(x):
        return np.exp(sharpness * (np.sqrt(np.maximum(1.0 - x**2, 0.0)) - 1.0))

    grid = np.zeros((values.shape[1], size))
    for offset in range(_WIDTH):
        index = first + offset
        weight = spread((index - at) * (2.0 / _WIDTH))
        for row, column in zip(grid, values.T, strict=True):
            row += np.bincount(index % size, weights=column * weight, minlength=size)
    j = np.arange(most + 1)
    node, quadrature = np.polynomial.legendre.leggauss(4 * _WIDTH + 40)
    phase = np.cos(np.outer(j, node) * (math.pi * _WIDTH / size))
    response = 0.5 * _WIDTH * (phase @ (quadrature * spread(node)))
    return np.conj(np.fft.rfft(grid, axis=1)[:, : most + 1]).T / response[:, None]


def gather(time, residual, columns, variance, most_noise: float, period: float, modes: int) -> Sums:
    """All sums over the data that the likelihood needs.

    Parameters
    ----------
    time, residual, variance
        Shape (n,), in double precision.
    columns
        Free columns of the mean, shape (n, c).
    most_noise
        Largest variance of white noise that will be asked for; 0 is none.
    period, modes
        Length in days of a period and number of slower modes beside the constant.
    """
    right = np.column_stack([residual, columns])
    window: Any
    moments: Any
    # a hair more than the largest noise, which rounding must not take to be beyond
    most_noise = 1.00001 * most_noise
    extremes = (np.array([extreme(variance)]) for extreme in (np.min, np.max))
    (typical,), noise, logarithmic = chebyshev_noise(*extremes, most_noise)
    tables: list[Any] = []
    for extra in noise[:, 0]:
        weight = (typical + extra) / (variance + extra)
        window = transform(time, weight[:, None], period, 4 * modes)[:, 0]
        moments = transform(time, weight[:, None] * right, period, 2 * modes)
        tables.append(
            (
                np.stack([window.real, window.imag]),
                np.concatenate([moments.real, moments.imag[1:]]),
                (weight[:, None] * right).T @ right,
                np.sum(np.log(weight)),
            )
        )
    series = as_series(tables)
    scalars = (np.asarray(value, float) for value in (period, typical, most_noise))
    return Sums(*map(jnp.asarray, (*scalars, logarithmic, *series, float(len(time)))))


def _at_noise(sums: Sums, noise):
    """Window, moments, products and sum of log weights for a variance of white noise."""
    series = sums.window, sums.moments, sums.products, sums.log_weights
    *parts, log_weights = at_noise(series, sums.variance, sums.most_noise, sums.logarithmic, noise)
    total = sums.variance + noise
    return *(part / total for part in parts), log_weights - sums.number * jnp.log(total)


def _slanted(vector, rows: int):
    """Matrix whose row j is the vector from its element j on: no gather, no scatter back."""
    size, width = vector.size, vector.size - rows + 1
    tiled = jnp.broadcast_to(vector, (rows + 1, size)).reshape(-1)
    return tiled[: rows * (size + 1)].reshape(rows, size + 1)[:, :width]


def _gram(window):
    """Phi^T W Phi of the slower modes, from the window's real and imaginary parts at 0 ... 4m."""
    m = (window.shape[1] - 1) // 4
    real, imaginary = window[:, : 2 * m + 1]
    # by sums and differences of frequencies; those run from -m to m, row j taking -j ... m - j
    plus_real, plus_imaginary = _slanted(real, m + 1), _slanted(imaginary, m + 1)
    both = jnp.concatenate([real[m:0:-1], real[: m + 1]])
    odd = jnp.concatenate([-imaginary[m:0:-1], imaginary[: m + 1]])
    minus_real, minus_imaginary = _slanted(both, m + 1)[::-1], _slanted(odd, m + 1)[::-1]
    cosines = 0.5 * (minus_real + plus_real)
    sines = 0.5 * (minus_real - plus_real)[1:, 1:]
    mixed = 0.5 * (plus_imaginary + minus_imaginary)[:, 1:]
    return jnp.block([[cosines, mixed], [mixed.T, sines]])


def _cross(window):
    """Phi^T W Phi, the faster modes against the slower ones."""
    m = (window.shape[1] - 1) // 4
    plus_real, plus_imaginary = (_slanted(part[m + 1 : 3 * m + 1], m) for part in window)
    minus_real, minus_imaginary = (_slanted(part[1 : 2 * m + 1], m)[:, ::-1] for part in window)
    cosines = 0.5 * (minus_real + plus_real), 0.5 * (plus_imaginary - minus_imaginary)[:, 1:]
    sines = 0.5 * (plus_imaginary + minus_imaginary), 0.5 * (minus_real - plus_real)[:, 1:]
    return jnp.block([list(cosines), list(sines)])


def cosine_variances(kernel, size: int):
    """Variances of the cosines of a kernel that repeats itself after ``size`` even steps.

    Parameters
    ----------
    kernel
        At the first lags, shape (n,) with n <= size // 2 + 1; it is 0 beyond.
    size
        Number of steps, even.

    Returns
    -------
    array
        Shape (size // 2 + 1,), of the constant and of all cosines; the sines have the same.
    """
    padded = jnp.pad(kernel, (0, size // 2 + 1 - kernel.size))
    variances = jnp.fft.hfft(padded, size)[: size // 2 + 1] * (2.0 / size)
    return variances.at[0].multiply(0.5)


def roots(variances):
    """Square roots of the variances of modes, cosines and then sines."""
    kept = jnp.maximum(variances, 1e-20 * jnp.max(variances))
    root = jnp.sqrt(kept)
    return jnp.concatenate([root, root[1:]])


def solve(sums: Sums, variances, noise) -> Solution:
    """Solve for the data, given the variances of the modes and that of white noise.

    Parameters
    ----------
    sums
        Of the data.
    variances
        Shape (2m + 1,), of the cosines.
    noise
        Variance of white noise beyond the stated errors.
    """
    window, moments, products, log_weights = _at_noise(sums, noise)
    m = (variances.size - 1) // 2
    slow = np.r_[: m + 1, 2 * m + 1 : 3 * m + 1]
    fast = np.r_[m + 1 : 2 * m + 1, 3 * m + 1 : 4 * m + 1]
    root = roots(variances[: m + 1])
    scaled = root[:, None] * moments[slow]
    cross = _cross(window) * root[None, :]
    matrix = jnp.eye(root.size, dtype=root.dtype) + root[:, None] * _gram(window) * root[None, :]
    log_determinant, solved, explained, factor = _solve(matrix, scaled, cross)
    left = products - scaled.T @ solved
    normal, moment = left[1:, 1:], left[1:, 0]
    amplitudes = jnp.linalg.solve(normal, moment[:, None])[:, 0] if moment.size else moment
    # the faster modes, given the slower ones
    slopes = moments[fast] - cross @ solved
    twice = window[0, 2 * m + 2 :: 2]
    own = 0.5 * jnp.concatenate([window[0, 0] + twice, window[0, 0] - twice])
    return Solution(
        log_determinant=log_determinant - log_weights,
        normal=normal,
        moment=moment,
        chi_squared=left[0, 0] - moment @ amplitudes,
        amplitudes=amplitudes,
        root=root,
        factor=factor,
        solved=solved,
        slope=slopes[:, 0] - slopes[:, 1:] @ amplitudes,
        information=own - explained,
        faster=jnp.tile(jnp.maximum(variances[m + 1 :], 0.0), 2),
    )


def log_likelihood(sums: Sums, variances, noise) -> Float[Array, ""]:
    """Log-likelihood of the residuals, the free columns integrated out under a flat prior.

    Parameters are those of `solve`. It is NaN where there is more white noise than the sums are
    made for, or too much signal for the precision.
    """
    found = solve(sums, variances, noise)
    dof = sums.number - found.moment.size
    total = found.chi_squared + found.log_determinant + dof * math.log(2.0 * math.pi)
    if found.moment.size:
        total = total + jnp.linalg.slogdet(found.normal)[1]
    x = found.faster * found.information
    total = total + jnp.sum(jnp.log1p(x) - found.faster * found.slope**2 / (1.0 + x))
    return jnp.where(noise <= sums.most_noise, -0.5 * total, jnp.nan)


def _triangular(factor, right, transpose=False):
    return triangular_solve(factor, right, left_side=True, lower=True, transpose_a=transpose)


@jax.custom_vjp
def _solve(matrix, right, cross):
    """Log determinant, matrix^-1 right, the diagonal of cross matrix^-1 cross^T, and the factor.

    The Cholesky factor is for predictions and has no derivative.
    """
    return _solve_forward(matrix, right, cross)[0]


def _solve_forward(matrix, right, cross):
    factor = cholesky(matrix, symmetrize_input=False)
    solved = _triangular(factor, _triangular(factor, right), transpose=True)
    half = _triangular(factor, cross.T)
    log_determinant = 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    found = log_determinant, solved, jnp.sum(half**2, axis=0), factor
    return found, (factor, solved, half)


def _solve_backward(saved, cotangents):
    factor, solved, half = saved
    of_determinant, of_solved, of_explained, _ = cotangents
    inverse = _triangular(factor, jnp.eye(factor.shape[0], dtype=factor.dtype))
    inverse = _triangular(factor, inverse, transpose=True)
    of_right = inverse @ of_solved
    against = _triangular(factor, half, transpose=True)
    weighted = against * of_explained[None, :]
    of_matrix = of_determinant * inverse - of_right @ solved.T - weighted @ against.T
    return of_matrix, of_right, 2.0 * weighted.T


_solve.defvjp(_solve_forward, _solve_backward)


def basis(time, period, modes: int):
    """Slower and faster modes at times since the first one, shapes (n, 2m + 1) and (n, 2m)."""
    phase = (
        (2.0 * math.pi / period)
        * time[:, None]
        * jnp.arange(2 * modes + 1, dtype=time.dtype)[None, :]
    )
    cosines, sines = jnp.cos(phase), jnp.sin(phase)
    slower = jnp.concatenate([cosines[:, : modes + 1], sines[:, 1 : modes + 1]], axis=1)
    return slower, jnp.concatenate([cosines[:, modes + 1 :], sines[:, modes + 1 :]], axis=1)


def cross_products(sums: Sums, noise):
    """Phi^T W Phi of the faster modes against the slower ones, for a variance of white noise."""
    return _cross(_at_noise(sums, noise)[0])


def neglected(sums: Sums, variances, noise) -> Float[Array, ""]:
    r"""Estimate of the error of the log-likelihood.

    With :math:`x = p w / 2`, w the total weight, a cosine and a sine together change it by x times
    a number of mean :math:`\rho - 1` and standard deviation 1, where :math:`\rho` is by how much
    the squared slopes of the faster modes exceed what the model expects, and by
    :math:`x - \ln(1 + x)`. For modes beyond the faster ones that is the error. The faster ones are
    not independent of each other because of gaps, and because the data do not fill the period:
    :math:`\sum x^2 \sum_{n \ne 0} |u_n / u_0|^2` with the window u, and the same sum with
    :math:`x^4` as a variance.

    Parameters
    ----------
    sums, noise
        As for `solve`.
    variances
        Of more modes than are used, shape (more + 1,).

    Returns
    -------
    array
        Mean plus three standard deviations of all of this together, scalar.
    """
    m = (sums.window.shape[2] - 1) // 4
    found = solve(sums, variances[: 2 * m + 1], noise)
    window = _at_noise(sums, noise)[0]
    weight = window[0, 0]
    mixing = 2.0 * jnp.sum(window[:, 1 : m + 1] ** 2) / weight**2
    expected = found.information * (1.0 + found.faster * found.information)
    ratio = jnp.sum(found.slope**2) / jnp.sum(expected)
    x = 0.5 * weight * jnp.maximum(variances, 0.0)
    beyond = x[2 * m + 1 :]
    faster = x[m + 1 : 2 * m + 1] ** 2
    first = jnp.sum(beyond) * jnp.abs(ratio - 1.0)
    second = jnp.sum(beyond - jnp.log1p(beyond)) + mixing * jnp.sum(faster)
    variance = jnp.sum(beyond**2) + mixing * jnp.sum(faster**2)
    return first + second + DEVIATIONS * jnp.sqrt(variance)


def modes_needed(time, noise_variance, variances, period: float, most: int, tolerance: float):
    """The fewest slower modes for an error that `neglected` would find to be small enough.

    Parameters
    ----------
    time, noise_variance
        Of the data, shape (n,).
    variances
        Of very many modes, shape (more + 1,).
    period
        Of the modes, days.
    most
        No more than this are tried.
    tolerance
        Of the log-likelihood.

    Returns
    -------
    int or None
        Their number, at least 1, or None where even the most are too few.
    """
    weight = 1.0 / noise_variance
    most = min(most, (np.size(variances) - 2) // 2)
    x = 0.5 * np.sum(weight) * np.maximum(np.asarray(variances), 0.0)
    parts = x - np.log1p(x), x**2, x**4
    second, square, fourth = (np.cumsum(part[::-1])[::-1] for part in parts)
    window = np.abs(transform(time, weight[:, None], period, most)[:, 0] / np.sum(weight)) ** 2
    m = np.arange(1, most + 1)
    mixing = 2.0 * np.cumsum(window[1:])
    mean = mixing * square[m + 1] + second[2 * m + 1]
    variance = mixing * fourth[m + 1] + square[2 * m + 1]
    enough = mean + DEVIATIONS * np.sqrt(variance) <= tolerance
    return int(m[np.argmax(enough)]) if enough.any() else None
