r"""The covariance of a light curve as a matrix, and light curves drawn from it.

What a check needs are many draws at the data's own times, and what the model says of each. For some
hundred points, matrices are the shortest way to both, whatever the solver of the fit.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import linalg

from pytreefit import jit

from ..gp.abstract import AbstractGP
from ..kernel.place import Place, since_zero

# of differences, in unconstrained coordinates: the first, how often a quarter of it, and how well
# two of them agree, of the largest
_STEP, _SHORTER, _AGREE = 0.01, 4, 1e-3
_TINY = np.finfo(float).tiny
_PER_PERIOD = 10.0  # points of a light curve that is too long, at least


class Series(NamedTuple):
    """Points of a light curve: days since the epoch, flux, errors, free columns.

    Of several channels also the numbers of the channel and of the instrument of each.
    """

    time: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    columns: np.ndarray
    channel: np.ndarray | None = None
    instrument: np.ndarray | None = None

    @property
    def span(self) -> float:
        """Days from the first to the last point."""
        return float(self.time[-1] - self.time[0])

    def chosen(self, index) -> "Series":
        """Some of the points, and the columns that they have."""
        columns = self.columns[index]
        some = (None if a is None else a[index] for a in (self.channel, self.instrument))
        used = np.any(columns != 0.0, axis=0)
        return Series(
            self.time[index], self.flux[index], self.error[index], columns[:, used], *some
        )

    def place(self, dtype):
        """What the covariance is a function of."""
        time = jnp.asarray(self.time, dtype)
        if self.channel is None:
            return time
        return Place(time, jnp.asarray(self.channel, jnp.int32))


def series_of(gp: AbstractGP, most: int, period: float) -> Series:
    """The data of a process; of more than ``most`` points as many.

    These are evenly chosen, as long as there are ten in a period; of longer light curves they are
    those of a stretch in the middle. Of several channels the larger ones give way to the smaller.
    """
    data = gp.data
    time, flux, error = (np.asarray(x, float) for x in data.measured())
    labels = (None if a is None else np.asarray(a) for a in (data.channel, data.instrument))
    whole = Series(time, flux, error, data.columns(), *labels)
    if whole.channel is None:
        return whole.chosen(_some(time, most, period))
    own = [np.flatnonzero(whole.channel == k) for k in range(len(data.channels))]
    index, left = [], most
    for number, one in enumerate(sorted(own, key=len)):
        index.append(one[_some(time[one], max(left // (len(own) - number), 2), period)])
        left -= len(index[-1])
    return whole.chosen(np.sort(np.concatenate(index)))


def _some(time: np.ndarray, most: int, period: float) -> np.ndarray:
    number = time.size
    coarsest = 1
    if number > most:
        steps = np.diff(time)
        steps = steps[steps > 0]  # two instruments may measure at once
        coarsest = max(int(period / _PER_PERIOD / np.median(steps)), 1) if steps.size else 1
    if number > most * coarsest:
        first = (number - most * coarsest) // 2
        return first + coarsest * np.arange(most)
    return np.unique(np.linspace(0, number - 1, min(number, most)).round().astype(int))


class Moments(NamedTuple):
    """Mean without the free columns, covariance with the white noise, and its variances."""

    mean: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray

    def chosen(self, index) -> "Moments":
        """Those of some of the points."""
        return Moments(self.mean[index], self.covariance[np.ix_(index, index)], self.noise[index])


def moments_of(gp: AbstractGP, series: Series, values) -> Moments:
    """Of the data's points at some values of the free parameters."""
    place = series.place(gp.data.time.dtype)
    found = _moments(gp.posterior, gp.solver, place, series.instrument, values)
    mean, covariance, white = map(np.asarray, found)
    noise = series.error**2 + white
    return Moments(np.asarray(mean, float), np.asarray(covariance, float) + np.diag(noise), noise)


@jit
def _moments(posterior, solver, place, instrument, values):
    process = posterior.model_at(values)
    covariance = solver.tables.covariance(process, _span(place))
    mean = process.mean_at(since_zero(place, solver.tables.epoch))
    return mean, covariance.block(place, place), process.white_variance(instrument)


def _span(place):
    time = place.time if isinstance(place, Place) else place
    return time[-1] - time[0]


def at(values: dict[str, np.ndarray], k: int, like) -> dict:
    """The k-th of several values."""
    return {name: jnp.asarray(value[k], like[name].dtype) for name, value in values.items()}


class Projection(NamedTuple):
    r"""What the model at its best values says of any light curve with these times and errors.

    With :math:`P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1}`, free columns H projected out.
    """

    matrix: np.ndarray  # P
    mean: np.ndarray
    whole: np.ndarray  # the diagonal of the inverse of K, in the units of each point's channel

    @classmethod
    def of(cls, moments: Moments, columns: np.ndarray) -> "Projection":
        """From the covariance; LinAlgError where that is not positive definite to rounding."""
        factor = linalg.cho_factor(moments.covariance, lower=True)
        inverse = linalg.cho_solve(factor, np.eye(len(moments.mean)))
        whole = np.diag(inverse).copy()
        if columns.shape[1]:
            solved = inverse @ columns
            inverse = inverse - solved @ linalg.solve(columns.T @ solved, solved.T, assume_a="pos")
        return cls(0.5 * (inverse + inverse.T), moments.mean, whole)

    def weights(self, flux: np.ndarray) -> np.ndarray:
        """P times the residuals, for light curves in rows, shape (k, n)."""
        return (flux - self.mean) @ self.matrix


def drawn(gp: AbstractGP, series: Series, values, number: int, key) -> np.ndarray:
    """Light curves drawn from the process with its noise, in turn at each of the values.

    The shape is (number, n). Free columns have amplitude 0: every statistic is to be blind to them.
    """
    sets = len(next(iter(values.values())))
    normal = np.asarray(jax.random.normal(key, (number, series.time.size)), float)
    found = np.empty_like(normal)
    for k in range(min(sets, number)):
        moments = moments_of(gp, series, at(values, k, gp.posterior.initial))
        root = linalg.cholesky(moments.covariance, lower=True)
        found[k::sets] = moments.mean + normal[k::sets] @ root.T
    return found


def derivatives(gp: AbstractGP, series: Series, values) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean and of the covariance with respect to the unconstrained coordinates.

    Shapes (dim, n) and (dim, n, n); the latter by central differences of fourth order, of steps
    that shrink until two agree: a period may be known to far less than its prior is wide.
    """
    posterior = gp.posterior
    u = jnp.asarray(posterior.unconstrain(values), gp.data.time.dtype)
    epoch = gp.solver.tables.epoch
    mean = _mean_slopes(posterior, epoch, series.place(gp.data.time.dtype), u)

    def covariance(along):
        there = posterior.constrain(jnp.asarray(np.asarray(u, float) + along, u.dtype))
        return moments_of(gp, series, there).covariance

    slopes = [_slope(covariance, direction) for direction in np.eye(u.size)]
    return np.asarray(mean, float).T, np.stack(slopes)


@jit
def _mean_slopes(posterior, epoch, place, u):
    """Of shape (n, dim)."""

    def mean(u):
        return posterior.model_at(posterior.constrain(u)).mean_at(since_zero(place, epoch))

    return jax.jacfwd(mean)(u)


def _slope(function, direction) -> np.ndarray:
    """The derivative at 0 of an array along a direction: the one that agrees best with the next."""
    last, best, least = None, None, math.inf
    for step in _STEP * 0.25 ** np.arange(_SHORTER + 1):
        parts = ((1.0, 8.0), (-1.0, -8.0), (2.0, -1.0), (-2.0, 1.0))
        found = sum(weight * function(times * step * direction) for times, weight in parts)
        found = found / (12.0 * step)
        if last is not None:
            apart = np.max(np.abs(found - last)) / max(np.max(np.abs(found)), _TINY)
            if apart <= least:
                best, least = found, apart
            if apart <= _AGREE:
                break
        last = found
    return found if best is None else best


def with_latitude(gp: AbstractGP, series: Series, values, latitude) -> np.ndarray:
    """The covariance of the spots alone with another distribution of latitudes, shape (n, n)."""
    place = series.place(gp.data.time.dtype)
    return np.asarray(_with_latitude(gp.posterior, gp.solver, place, values, latitude), float)


@jit
def _with_latitude(posterior, solver, place, values, latitude):
    process = posterior.model_at(values)
    process = eqx.tree_at(lambda p: p.model, process, process.model.with_latitude(latitude))
    return solver.tables.covariance(process, _span(place)).block(place, place)
