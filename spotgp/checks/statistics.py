r"""What light curves are compared in: autocorrelation, periodogram, skewness, residuals.

Everything takes many light curves at once, in rows, and treats all alike: the free columns are
taken out of each by the same weighted least squares, so that none sees the levels of segments.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import fft

from .gaussian import Moments, Projection, Series

_PER_PERIOD = 16  # slots of the autocorrelation
_LAGS = {"P/2": 0.5, "P": 1.0, "2 P": 2.0, "3 P": 3.0}
_HARMONICS = (2, 3)
_LEAST = 1e-9  # of what is known of a point that free columns must leave
_FEWEST = 4  # points of which residuals have statistics
_OFF = 0.125  # periods by which a lag may differ from what it is called


class Slots(NamedTuple):
    """Even times into which the points are put, for transforms of uneven light curves."""

    index: np.ndarray  # slot of each point
    step: float
    number: int

    @classmethod
    def of(cls, series: Series, period: float) -> "Slots":
        """As wide as a part of the period, and no narrower than the spacing of the points."""
        gaps = np.diff(series.time)
        spacing = float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else period
        step = max(period / _PER_PERIOD, spacing)
        index = np.floor((series.time - series.time[0]) / step).astype(int)
        return cls(index, step, int(index[-1]) + 1)

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """Sums over the points of each slot, (k, n) to (k, slots)."""
        total = np.zeros((self.number, len(rows)))
        np.add.at(total, self.index, rows.T)
        return total.T

    def spectrum(self, rows: np.ndarray) -> np.ndarray:
        """Squared transforms, padded with as many zeros as there are slots."""
        return np.abs(fft.rfft(self.sums(rows), n=fft.next_fast_len(2 * self.number), axis=1)) ** 2


class Curves(NamedTuple):
    """Autocorrelations and periodograms of light curves, in rows."""

    lag: np.ndarray
    autocorrelation: np.ndarray  # NaN where no pair of points has the lag
    frequency: np.ndarray
    power: np.ndarray  # relative to the mean


def weights_of(moments: Moments) -> np.ndarray:
    """Of the points, from their total variances; their sum is 1."""
    weights = 1.0 / np.diag(moments.covariance)
    return weights / np.sum(weights)


def detrended(flux, mean, columns, weights) -> np.ndarray:
    """Light curves (k, n) less the mean function and the best free columns."""
    residual = flux - mean
    if columns.shape[1]:
        root = np.sqrt(weights)
        basis, _ = np.linalg.qr(columns * root[:, None])
        residual = residual - ((residual * root) @ basis) @ basis.T / root
    return residual


def curves_of(residual, weights, slots: Slots) -> Curves:
    """Autocorrelation and periodogram of detrended light curves (k, n)."""
    size = fft.next_fast_len(2 * slots.number)
    power = slots.spectrum(residual * weights)
    pairs = fft.irfft(slots.spectrum(weights[None]), n=size, axis=1)[0, : slots.number]
    products = fft.irfft(power, n=size, axis=1)[:, : slots.number]
    known = pairs > 1e-6 * pairs[0]
    covariance = np.where(known, products / np.where(known, pairs, 1.0), np.nan)
    return Curves(
        lag=slots.step * np.arange(slots.number),
        autocorrelation=covariance / covariance[:, :1],
        frequency=fft.rfftfreq(size, slots.step),
        power=power / np.mean(power, axis=1, keepdims=True),
    )


def of_curves(curves: Curves, period: float, step: float) -> dict[str, np.ndarray]:
    """Autocorrelation about the period, and powers of harmonics relative to the rotation's."""
    found = {}
    for name, turns in _LAGS.items():
        index = round(turns * period / step)
        # not where the spacing of the points allows no such lag
        if abs(index * step - turns * period) > _OFF * period:
            continue
        if index < len(curves.lag) // 2 and np.all(np.isfinite(curves.autocorrelation[:, index])):
            found[f"autocorrelation at {name}"] = curves.autocorrelation[:, index]
    turns = curves.frequency * period

    def around(harmonic):
        inside = (turns > harmonic - 0.5) & (turns < harmonic + 0.5)
        return np.sum(curves.power[:, inside], axis=1)

    for harmonic in _HARMONICS:
        # neither beyond what the spacing allows, nor of less than some rotations
        if harmonic + 0.5 < turns[-1] and turns[1] < 0.5:
            ratio = around(harmonic) / around(1)
            found[f"power at {harmonic}/P, log10 of that at 1/P"] = np.log10(ratio)
    return found


def skewness(residual, weights) -> np.ndarray:
    """Of detrended light curves (k, n)."""
    return residual**3 @ weights / (residual**2 @ weights) ** 1.5


def left_out(projection: Projection, flux):
    """Standardised residuals of light curves (k, n) when each point is predicted from the others.

    Also the predicted flux less the actual, both (k, m) for the m points that can be predicted, and
    which these are.
    """
    diagonal = np.diag(projection.matrix)
    known = diagonal > _LEAST * projection.whole
    weights = projection.weights(flux)[:, known]
    spread = 1.0 / np.sqrt(diagonal[known])
    return weights * spread, -weights * spread**2, known


def of_residuals(projection: Projection, flux, residual, index) -> dict[str, np.ndarray]:
    """Size, tails, whiteness in time and dependence on the flux of leave-one-out residuals.

    ``residual`` are the detrended light curves of the points ``index``, of which they are.
    """
    z, less, known = left_out(projection, flux)
    inside = np.isin(np.flatnonzero(known), index)
    if np.count_nonzero(inside) < _FEWEST:
        return {}
    z, less = z[:, inside], less[:, inside]
    square = np.mean(z**2, axis=1)
    predicted = residual[:, known[index]] + less
    return {
        "residuals, mean square": square,
        "residuals, excess kurtosis": np.mean(z**4, axis=1) / square**2 - 3.0,
        "residuals, correlation of neighbours": np.mean(z[:, 1:] * z[:, :-1], axis=1) / square,
        "residuals, their squares with the flux": _correlation(z**2, predicted),
    }


def _correlation(first, second):
    first = first - np.mean(first, axis=1, keepdims=True)
    second = second - np.mean(second, axis=1, keepdims=True)
    norm = np.sum(first**2, axis=1) * np.sum(second**2, axis=1)
    return np.sum(first * second, axis=1) / np.sqrt(norm)


class Ranked(NamedTuple):
    """Where data are among draws in several statistics at once."""

    tail: np.ndarray  # probability of each statistic to be as extreme
    p_value: float  # of the worst of them, by rank among the worst of the draws
    level: float  # tail probability that one draw in twenty falls below somewhere


def ranked(rows: np.ndarray, one_sided: np.ndarray, share: float) -> Ranked:
    r"""Rank the first row, the data, among all of them, (1 + draws, statistics).

    Each statistic of each row gets its tail probability among all rows: the share of those at
    least as far out on its side, doubled unless only high values count. A row's worst is the
    smallest of these, of equal ones that whose distance from the median, in widths, is largest.
    The data's rank among all rows in their worst is uniform if the data are a draw like the others,
    however the statistics depend on each other.
    """
    total = len(rows)
    order = np.sort(rows, axis=0)
    columns = range(rows.shape[1])
    below = np.stack([np.searchsorted(order[:, k], rows[:, k], "right") for k in columns], 1)
    above = total - np.stack([np.searchsorted(order[:, k], rows[:, k]) for k in columns], 1)
    tail = np.where(one_sided, above, np.minimum(2 * np.minimum(above, below), total)) / total
    low, middle, high = np.quantile(rows, [0.05, 0.5, 0.95], axis=0)
    tiny = np.finfo(float).tiny
    with np.errstate(over="ignore"):  # infinitely far out where the draws are all alike
        upwards = (rows - middle) / np.maximum(high - middle, tiny)
        downwards = (middle - rows) / np.maximum(middle - low, tiny)
    distance = np.where(one_sided, upwards, np.maximum(upwards, downwards))
    worst = np.min(tail, axis=1)
    farthest = np.max(np.where(tail <= worst[:, None], distance, -math.inf), axis=1)
    place = np.lexsort((-farthest, worst))
    rank = int(np.flatnonzero(place == 0)[0]) + 1
    level = float(np.sort(worst)[max(math.floor(share * total) - 1, 0)])
    return Ranked(tail[0], rank / total, level)
