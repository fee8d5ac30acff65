"""What the process says at any time, given the data: pure functions behind `GPSolver.predict`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import triangular_solve
from jaxtyping import Array, Float

from pytreefit import jit

from ..solvers import (
    Blocks,
    bins_algebra as local,
    fourier_algebra as fourier,
    quasiseparable_algebra as quasiseparable,
)
from ..solvers.block import forward_solve
from .process import LightCurve


class Prediction(NamedTuple):
    """Mean of the process at the times asked for, and its variance or covariance matrix."""

    mean: Float[Array, "m"]
    variance: Float[Array, "m *m"]


# times that are predicted at once from Fourier modes
_CHUNK = 256


@jit
def information_of(light_curve: LightCurve):
    """Information matrix of the free columns' amplitudes, and its product with these."""
    if light_curve.harmonics is not None:
        states = light_curve.states(light_curve.harmonics)
        solved = quasiseparable.gather(states, light_curve.blocks())
    elif light_curve.in_bins:
        solved = light_curve.solved_bins()
    else:
        solved = light_curve.solved_modes() if light_curve.in_modes else light_curve.factor()
    return solved.normal, solved.moment


def _columns_at(light_curve: LightCurve, wanted):
    """The free columns at other times: the segment of the nearest point, and the trend."""
    time = light_curve.time
    after = jnp.clip(jnp.searchsorted(time, wanted), 1, time.size - 1)
    nearest = after - (wanted - time[after - 1] <= time[after] - wanted).astype(after.dtype)
    # the first of several at the same time: what fills a light curve up comes after it
    nearest = jnp.searchsorted(time, time[nearest])
    steps = light_curve.columns.shape[1] - light_curve.trend
    scaled = wanted / (0.5 * light_curve.span)
    powers = [(scaled**power)[:, None] for power in range(1, light_curve.trend + 1)]
    return jnp.concatenate([light_curve.columns[nearest, :steps], *powers], axis=1)


@jit
def predict(light_curve: LightCurve, wanted, parts, return_cov: bool) -> Prediction:
    """The process at times since the epoch, see `GPSolver.predict`."""
    if light_curve.harmonics is not None:
        return _predict_from_states(light_curve, wanted, parts, return_cov)
    low = jnp.minimum(jnp.min(wanted), light_curve.time[0])
    reach = jnp.maximum(jnp.max(wanted), light_curve.time[-1]) - low
    if light_curve.in_modes:
        moments = _from_modes(light_curve, parts, return_cov)
    else:
        prepare = _from_bins if light_curve.in_bins else _from_tiles
        moments = prepare(light_curve, light_curve.covariance(reach, parts), parts, return_cov)
    if return_cov or light_curve.sums is None or wanted.size <= _CHUNK:
        return Prediction(*moments(wanted))
    chunks = -(-wanted.size // _CHUNK)
    padded = jnp.pad(wanted, (0, chunks * _CHUNK - wanted.size), mode="edge")
    mean, variance = jax.lax.map(moments, padded.reshape(chunks, _CHUNK))
    return Prediction(mean.ravel()[: wanted.size], variance.ravel()[: wanted.size])


def _predict_from_states(light_curve: LightCurve, wanted, parts, return_cov: bool) -> Prediction:
    states = light_curve.states(light_curve.harmonics)
    blocks = light_curve.blocks()
    if return_cov:
        found, known, variance = quasiseparable.through(states, blocks, wanted, parts)
    else:
        everywhere, at = _with_times(light_curve, wanted)
        found, smoothed = quasiseparable.smooth(states, everywhere, parts)
        known, variance = smoothed.through[at], smoothed.variance[at]
    mean, projected = known[:, 0], -known[:, 1:]
    if parts is None:
        mean = mean + light_curve.mean_at(wanted)
        projected = projected + _columns_at(light_curve, wanted)
    mean = mean + projected @ found.amplitudes
    free = jnp.linalg.solve(found.normal, projected.T) if found.moment.size else projected.T
    if return_cov:
        return Prediction(mean, variance + projected @ free)
    return Prediction(mean, jnp.maximum(variance + jnp.sum(projected.T * free, axis=0), 0.0))


def _with_times(light_curve: LightCurve, wanted):
    """Data in tiles with other times among them, and where those then are."""
    n, size = light_curve.time.size, light_curve.layout[1]
    order = jnp.argsort(jnp.concatenate([light_curve.time, wanted]), stable=True)
    tiles = -(-order.size // size)
    more = tiles * size - order.size

    def merged(values, fill):
        others = jnp.full((wanted.size, *values.shape[1:]), fill, values.dtype)
        wide = jnp.concatenate([values, others])[order]
        wide = jnp.pad(wide, ((0, more),) + ((0, 0),) * (wide.ndim - 1))
        return wide.reshape(tiles, size, *values.shape[1:])

    time = jnp.pad(jnp.concatenate([light_curve.time, wanted])[order], (0, more), mode="edge")
    blocks = Blocks(
        time=time.reshape(tiles, size),
        real=merged(jnp.ones_like(light_curve.time), 0.0),
        variance=merged(light_curve.flux_err**2 + light_curve.jitter**2, 1.0),
        residual=merged(light_curve.flux - light_curve.mean_at(light_curve.time), 0.0),
        columns=merged(light_curve.columns, 0.0),
    )
    return blocks, jnp.argsort(order)[n:]


def _completed(light_curve: LightCurve, times, parts, mean, projected, found, amplitudes):
    """The mean with the free columns and the mean function, and what the columns' errors add.

    ``projected`` is minus the covariance with the columns through the data; the last of what is
    returned are the columns' shares and those times their covariance.
    """
    if parts is None:
        columns = _columns_at(light_curve, times)
        mean = mean + columns @ amplitudes + light_curve.mean_at(times)
        projected = projected + columns
    free = jnp.linalg.solve(found.normal, projected.T) if found.moment.size else projected.T
    return mean, projected, free


def _amplitudes(found):
    """Of the free columns."""
    if not found.moment.size:
        return found.moment
    return jnp.linalg.solve(found.normal, found.moment[:, None])[:, 0]


def _moments(covariance, times, mean, reduction, projected, free, return_cov: bool):
    """Mean and variance or covariance; ``reduction`` is a matrix or its diagonal."""
    if return_cov:
        return mean, covariance.block(times, times) - reduction + projected @ free
    diagonal = jax.vmap(lambda t: covariance.block(t[None], t[None])[0, 0])(times)
    spread = jnp.sum(projected.T * free, axis=0)
    return mean, jnp.maximum(diagonal - reduction + spread, 0.0)


def _from_tiles(light_curve: LightCurve, covariance, parts, return_cov: bool):
    """Mean and variance as a function of times, from the factorised covariance."""
    factor, blocks = light_curve.factor(), light_curve.blocks()
    amplitudes = _amplitudes(factor)

    def moments(times):
        one = jax.vmap(lambda t, real: covariance.block(t, times) * real[:, None])
        cross = one(blocks.time, blocks.real)
        solved = forward_solve(factor.panels, cross).reshape(-1, times.size)
        mean = jnp.einsum("bsm,bs->m", cross, factor.weights)
        projected = -jnp.einsum("bsm,bsc->mc", cross, factor.inverse[..., 1:])
        reduction = solved.T @ solved if return_cov else jnp.sum(solved**2, axis=0)
        mean, projected, free = _completed(
            light_curve, times, parts, mean, projected, factor, amplitudes
        )
        return _moments(covariance, times, mean, reduction, projected, free, return_cov)

    return moments


def _from_bins(light_curve: LightCurve, covariance, parts, return_cov: bool):
    """Mean and variance as a function of times, from polynomials in bins."""
    found = light_curve.solved_bins()
    amplitudes = _amplitudes(found)

    def moments(times):
        since = times - light_curve.time[0]
        cross = local.against_bins(light_curve.sums, found.system, covariance, since)
        mean = jnp.einsum("bpm,bp->m", cross, found.weights)
        projected = -jnp.einsum("bpm,bpc->mc", cross, found.columns)
        # from below, and so the variance from above, to sixth order in what the first step leaves
        trial = found.system.nearly_solved(cross)
        for _ in range(2):
            trial = trial + found.system.nearly_solved(cross - found.system.times(trial))
        rest = 2.0 * cross - found.system.times(trial)
        reduction = jnp.einsum("bpm,bpn->mn" if return_cov else "bpm,bpm->m", trial, rest)
        mean, projected, free = _completed(
            light_curve, times, parts, mean, projected, found, amplitudes
        )
        return _moments(covariance, times, mean, reduction, projected, free, return_cov)

    return moments


def _from_modes(light_curve: LightCurve, parts, return_cov: bool):
    """Mean and variance as a function of times, from Fourier modes."""
    found = light_curve.solved_modes()
    amplitudes = found.root * (found.solved[:, 0] - found.solved[:, 1:] @ found.amplitudes)
    left = found.faster / (1.0 + found.faster * found.information)

    def moments(times):
        slower, faster = fourier.basis(
            times - light_curve.time[0], light_curve.sums.period, light_curve.modes
        )
        mean = slower @ amplitudes + faster @ (left * found.slope)
        scaled = slower * found.root[None, :]
        half = triangular_solve(found.factor, scaled.T, left_side=True, lower=True)
        projected = -scaled @ found.solved[:, 1:]
        if parts is None:
            columns = _columns_at(light_curve, times)
            mean = mean + columns @ found.amplitudes + light_curve.mean_at(times)
            projected = projected + columns
        free = projected.T
        if found.moment.size:
            free = jnp.linalg.solve(found.normal, projected.T)
        if return_cov:
            return mean, half.T @ half + (faster * left[None, :]) @ faster.T + projected @ free
        spread = jnp.sum(projected.T * free, axis=0)
        return mean, jnp.sum(half**2, axis=0) + faster**2 @ left + spread

    return moments


@jit
def prior_moments(light_curve: LightCurve, wanted) -> Prediction:
    """Mean and covariance matrix of the process at times since the epoch, without data."""
    reach = jnp.max(wanted) - jnp.min(wanted)
    covariance = light_curve.covariance(reach).block(wanted, wanted)
    return Prediction(light_curve.mean_at(wanted), covariance)


@jit
def draw(moments: Prediction, key, n: int):
    """Draws of a Gaussian whose covariance may be singular to rounding."""
    values, vectors = jnp.linalg.eigh(moments.variance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
    normal = jax.random.normal(key, (n, moments.mean.size), moments.mean.dtype)
    return moments.mean[None, :] + normal @ root.T
