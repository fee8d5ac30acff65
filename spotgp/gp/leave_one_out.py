r"""Each point of a light curve predicted from all the others.

With the projected inverse of the data's covariance, white noise included, and the free columns H of
the mean,

.. math::
    P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1},

the prediction of point i without its own measurement follows from all the data at once, for
residuals r from the mean function:

.. math::
    \mu_i = y_i - \frac{[P r]_i}{P_{ii}}, \qquad \sigma_i^2 = \frac{1}{P_{ii}} .
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve
from jaxtyping import Array, Float

from pytreefit import jit

from ..solvers import fourier_algebra as fourier
from ..solvers.block import fold_inverse
from .process import LightCurve

# points that are worked on at once with Fourier modes
_CHUNK = 256


class LeaveOneOut(NamedTuple):
    """Predictions of each point from all the others; of `GPSolver.leave_one_out`.

    Parameters
    ----------
    mean
        Predicted flux, shape (n,).
    variance
        Of the flux about it, shape (n,): of the prediction, the point's own white noise included.
    residual
        Standardised: flux less mean, over the root of the variance, shape (n,). Of the standard
        normal distribution if the model is right, but not independent of each other.

    Where no other point says anything about the level (a single point in a segment with an offset
    of its own), and for what fills a light curve up to a common length, ``mean`` and ``residual``
    are NaN and ``variance`` is infinite.
    """

    mean: Float[Array, "n"]
    variance: Float[Array, "n"]
    residual: Float[Array, "n"]

    @property
    def log_density(self) -> Float[Array, "n"]:
        """Logarithm of the density of each flux given all the others, shape (n,)."""
        return -0.5 * (self.residual**2 + jnp.log(2.0 * math.pi * self.variance))

    @property
    def log_score(self) -> Float[Array, ""]:
        """Sum of `log_density` over the points that can be predicted.

        For comparing models of the same data, binned alike: it does not depend on priors. But it
        tells how well gaps of one point are filled, where the neighbours know nearly everything,
        not how well the light curve is foreseen; it is no likelihood, and its differences have
        errors of their own, about the root of n times the scatter of the points' differences.
        """
        return jnp.sum(jnp.where(jnp.isfinite(self.variance), self.log_density, 0.0))


@jit
def leave_one_out(light_curve: LightCurve) -> LeaveOneOut:
    """See `GPSolver.leave_one_out`; NaN in all variances where the likelihood is not finite."""
    modes = light_curve.in_modes
    weights, diagonal = (_from_modes if modes else _from_blocks)(light_curve)
    known = _known_from_others(light_curve)
    if light_curve.real is not None:
        known = known & (light_curve.real > 0)
    diagonal = jnp.where(_is_covered(light_curve), diagonal, jnp.nan)
    spread = jax.lax.rsqrt(jnp.where(known, diagonal, 1.0))
    return LeaveOneOut(
        mean=jnp.where(known, light_curve.flux - weights * spread**2, jnp.nan),
        variance=jnp.where(known, spread**2, jnp.inf),
        residual=jnp.where(known, weights * spread, jnp.nan),
    )


def _known_from_others(light_curve: LightCurve):
    """Whether the other points determine all the amplitudes of free columns that matter to a point.

    They don't where it alone lies in the columns' range: its row of the projector onto that is 1.
    """
    columns = light_curve.columns
    if not columns.shape[1]:
        return jnp.ones_like(light_curve.time, bool)
    if light_curve.real is not None:
        columns = columns * light_curve.real[:, None]
    left, values, _ = jnp.linalg.svd(columns, full_matrices=False)
    tolerance = jnp.sqrt(jnp.finfo(values.dtype).eps)
    leverage = jnp.sum(jnp.where(values > tolerance * values[0], left, 0.0) ** 2, axis=1)
    return leverage < 1.0 - tolerance


def _is_covered(light_curve: LightCurve):
    """Whether the solver was made for these parameters, as for the likelihood."""
    support = jnp.asarray(light_curve.model.envelope.kernel_support(), light_curve.time.dtype)
    covered = jnp.minimum(support, light_curve.span) <= light_curve.reach
    if light_curve.sums is not None:
        covered = covered & (light_curve.jitter**2 <= light_curve.sums.most_noise)
    return covered


def _from_blocks(light_curve: LightCurve):
    """P r and the diagonal of P, from the factorised covariance."""
    factor, blocks = light_curve.factor(), light_curve.blocks()
    size = blocks.time.shape[1]

    def visit(j, selected, diagonal):
        return diagonal.at[j].set(jnp.diagonal(selected[:size]))

    start = jnp.ones_like(blocks.time)
    diagonal = fold_inverse(factor.panels, blocks, light_curve.layout[2], visit, start)
    if factor.moment.size:
        columns = factor.inverse[..., 1:]
        projected = jnp.linalg.solve(factor.normal, columns.reshape(-1, columns.shape[-1]).T)
        diagonal = diagonal - jnp.sum(columns * projected.T.reshape(columns.shape), axis=-1)
    number = light_curve.time.size
    return factor.weights.ravel()[:number], diagonal.ravel()[:number]


def _from_modes(light_curve: LightCurve):
    """P r and the diagonal of P, from the Fourier modes.

    The inverse for the slower modes alone, less what the faster ones, independent of each other
    given the slower, take off it.
    """
    sums, noise = light_curve.sums, light_curve.jitter**2
    found = light_curve.solved_modes()
    amplitudes = found.solved[:, 0] - found.solved[:, 1:] @ found.amplitudes
    left = found.faster / (1.0 + found.faster * found.information)
    cross = found.root[:, None] * fourier.cross_products(sums, noise).T
    cross = triangular_solve(found.factor, cross, left_side=True, lower=True)

    def chunk(points):
        time, weight, residual, columns = points
        slower, faster = fourier.basis(time, sums.period, light_curve.modes)
        scaled = slower * found.root[None, :]
        half = triangular_solve(found.factor, scaled.T, left_side=True, lower=True)
        faster = faster - half.T @ cross
        explained = scaled @ amplitudes + faster @ (left * found.slope)
        variance = jnp.sum(half**2, axis=0) + faster**2 @ left
        if found.moment.size:
            columns = columns - scaled @ found.solved[:, 1:]
            free = jnp.linalg.solve(found.normal, columns.T)
            variance = variance + jnp.sum(columns.T * free, axis=0)
        return weight * (residual - explained), weight * (1.0 - weight * variance)

    residual = light_curve.flux - light_curve.mean_at(light_curve.time)
    points = (
        light_curve.time - light_curve.time[0],
        1.0 / (light_curve.flux_err**2 + noise),
        residual - light_curve.columns @ found.amplitudes,
        light_curve.columns,
    )
    number = light_curve.time.size
    chunks = -(-number // _CHUNK)

    def cut(values):
        pad = ((0, chunks * _CHUNK - number),) + ((0, 0),) * (values.ndim - 1)
        return jnp.pad(values, pad).reshape(chunks, _CHUNK, *values.shape[1:])

    weights, diagonal = jax.lax.map(chunk, jax.tree.map(cut, points))
    return weights.ravel()[:number], diagonal.ravel()[:number]
