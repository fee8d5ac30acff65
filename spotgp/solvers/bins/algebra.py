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
1988). The determinant is that of A_0 with a correction, see `.log_ratios`. What no degree describes
and what the elements leave over of the data is taken to be white, of the variance that the kernel
says. The errors of both are what `.error` and `determinant_error` estimate.

The sums over the data do not depend on the star, and on white noise beyond the stated errors as
Chebyshev series.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import next_fast_len
from scipy.special import ndtr, stdtrit

from ..block import Blocks, determinant
from ..information import Information, marginal
from ..stated import DEVIATIONS
from .covariance import KEPT, System, with_lags
from .log_ratios import log_ratios, with_slopes_of
from .small_factors import derived_after, inverse_factors
from .sums import ELEMENTS, Bins, Sums, at_white_noise, coefficient_covariances, projection

# what conjugate gradients leave of a quadratic form, and of the log determinant of free columns
_CONVERGED, _COLUMNS_CONVERGED = 3e-5, 5e-3


def _tiles_of(bins: int, layout) -> Blocks:
    """The first elements' unit noise in tiles, without any data."""
    tiles, size, _ = layout
    shape = (tiles, size * KEPT)
    time = jnp.arange(math.prod(shape), dtype=jnp.result_type(float)).reshape(shape)
    ones = jnp.ones(shape, time.dtype)
    return Blocks(time, ones, ones, jnp.zeros_like(ones), jnp.zeros((*shape, 0), time.dtype))


def _beyond(sums: Sums, power, covariance, noise):
    """The variance that no degree describes, taken to be white as far as the sums allow."""
    degrees = len(covariance)
    norms = jnp.asarray(1.0 / (2.0 * np.arange(degrees) + 1.0), covariance.dtype)
    beyond = power - norms @ jnp.diagonal(covariance)
    return jnp.clip(beyond, 0.0, jnp.maximum(sums.most_noise - noise, 0.0))


def beyond_degrees(sums: Sums, kernel, noise) -> Float[Array, ""]:
    """The variance of the process that is taken to be white noise, see `log_likelihood`."""
    covariance = coefficient_covariances(kernel, sums.width, 1, sums.mixed.shape[2])[0]
    return _beyond(sums, kernel(jnp.zeros_like(noise)), covariance, noise)


def _left_over(sums: Sums, bins: Bins, signal, power):
    """Number of data beyond the polynomials in each bin, and signal to noise in their variance."""
    left = jnp.maximum(sums.counts - ELEMENTS, 0.0)
    excess = power * bins.weights - jnp.trace(signal, axis1=1, axis2=2)
    return left, jnp.where(left > 0, jnp.maximum(excess, 0.0) / jnp.maximum(left, 1.0), 0.0)


def _prepared(sums: Sums, kernel, noise, layout):
    """The elements' covariance, what the data say of them, and ln of the determinant of all data.

    The products are those of what is beyond the polynomials.
    """
    degrees = sums.mixed.shape[2]
    covariances = coefficient_covariances(kernel, sums.width, (layout[2] + 1) * layout[1], degrees)
    power = kernel(jnp.zeros_like(noise))
    beyond = _beyond(sums, power, covariances[0], noise)
    bins = at_white_noise(sums, noise + beyond)
    # within a bin
    signal = jnp.swapaxes(bins.root, 1, 2) @ covariances[0] @ bins.root
    within = signal + jnp.eye(ELEMENTS, dtype=signal.dtype)[None]
    inverse = inverse_factors(within)
    within_first = signal[:, :KEPT, :KEPT]
    first = with_lags(covariances, bins.root[:, :, :KEPT], within_first, layout)
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
    whole = with_slopes_of(whole, jnp.einsum("bpc,bpd->cd", solved, system.times(solved)))
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
    # one after the other, see `inverse_factors`
    moments = moments + 0.0 * jax.lax.stop_gradient(log_determinant)
    products = _quadratic_forms(system, moments, products).products
    log_determinant = derived_after(log_determinant, products)
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
    solved: Float[Array, "bins p 1+c"]  # A^-1 times the elements of residuals and columns
    information: Information


def solve(sums: Sums, kernel, noise, layout) -> Solved:
    """Solve for the data; parameters are those of `log_likelihood`."""
    system, moments, products, _ = _prepared(sums, kernel, noise, layout)
    products, solved, removed = _quadratic_forms(system, moments, products)
    normal, moment = Information.of(products)
    # the residuals were taken less some amplitudes of the columns
    residual = solved[..., :1] + (solved[..., 1:] @ removed)[..., None]
    solved = jnp.concatenate([residual, solved[..., 1:]], axis=-1)
    return Solved(system, solved, Information(normal, moment + normal @ removed))


def against_bins(sums: Sums, system: System, kernel, times):
    """Covariance of the process at times with the elements, shape (bins, p, m).

    ``times`` are days since the first bin began, shape (m,).
    """
    nodes, project = projection(system.root.shape[1])
    middle = jnp.arange(len(system.root), dtype=times.dtype)[:, None]
    at = (middle + jnp.asarray(0.5 * (nodes + 1.0), times.dtype)[None, :]) * sums.width
    coefficients = project @ kernel(jnp.abs(at[:, :, None] - times[None, None, :]))
    return jnp.swapaxes(system.root, 1, 2) @ coefficients
