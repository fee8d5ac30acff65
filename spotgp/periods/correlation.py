"""The autocorrelation of a light curve, the rotation period in it and how long spots live."""

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from pytreefit.extend import as_number

from ..io.columns import median_step, positive
from .peaks import SIGMA_TO_FWHM, checked, vertex

_SMOOTHING = 0.37  # days: 18 Kepler long cadences, as in McQuillan et al. 2013
_MOST_SLOTS = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Autocorrelation:
    """The autocorrelation of a light curve and its peaks, from :func:`autocorrelation`.

    Parameters
    ----------
    lag : array (m,)
        Lags, days, from 0 in even steps.
    acf : array (m,)
        Autocorrelation, 1 at lag 0; NaN at lags that no pair of points has.
    smoothed : array (m,)
        The same after Gaussian smoothing; NaN where too few pairs are left.
    pairs : array (m,)
        Number of pairs of points at each lag.
    period : float
        Lag of the higher of the first two peaks of the smoothed autocorrelation, days; NaN if it
        has no peak.
    uncertainty : float
        Scatter of the spacings of that peak and its successors, days; NaN without a successor.
    peaks, heights : array (k,)
        Lags (days) of the peak at the period and those near its multiples, and how high each rises
        above the mean of the troughs beside it: 2 for a sinusoid, a few hundredths for noise.
    decay_time : float
        e-folding time of an exponential through the height at lag 0 and these heights as far as
        they fall, days: a first guess of how long spots live. A lifetime that the light curve does
        not span many times over comes out within a factor of 2 or so. NaN without a peak, infinite
        if the heights do not fall.
    support : float
        Lag at which a straight line through the same heights reaches zero, days: a first guess of
        the support of the spots' autocorrelation, ``lspot + 2 tau_spot`` of a trapezoid.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import autocorrelation
    >>> t = np.arange(0.0, 90.0, 0.1)
    >>> found = autocorrelation(t, np.exp(-t / 30.0) * np.sin(2 * np.pi * t / 7.0))
    >>> found.peaks[:3].round().tolist()  # at multiples of the period
    [7.0, 14.0, 21.0]
    """

    lag: np.ndarray
    acf: np.ndarray
    smoothed: np.ndarray
    pairs: np.ndarray
    period: float
    uncertainty: float
    peaks: np.ndarray
    heights: np.ndarray
    decay_time: float
    support: float

    def __repr__(self) -> str:
        return (
            f"Autocorrelation(period={self.period:.4g} +- {self.uncertainty:.2g} d from "
            f"{self.peaks.size} peaks, decay_time={self.decay_time:.3g} d; {self.lag.size:,} lags "
            f"up to {self.lag[-1]:.4g} d)"
        )


def autocorrelation(
    time: Any,
    flux: Any,
    flux_err: Any = None,
    *,
    max_lag: float | None = None,
    step: float | None = None,
    smoothing: float | None = None,
) -> Autocorrelation:
    r"""Return the autocorrelation of an uneven, gappy light curve and the period in it.

    Points fall into slots of one cadence; slot :math:`a` holds :math:`n_a` of them with the sum
    :math:`y_a` of their deviations from the mean, weighted with the points' inverse variances, and

    .. math:: \rho_k = \frac{\sum_a y_a y_{a+k} / \sum_a n_a n_{a+k}}{\sum_i y_i^2 / n}

    by fast Fourier transforms. Gaps are left out, not filled. Numerator and denominator are
    smoothed by a Gaussian, then the period is the lag of the first or second peak, whichever rises
    further above the troughs beside it, heights weighted by the numbers of pairs: a star with two
    groups of spots half a turn apart has its first peak at half the period. Peaks less than 5 % as
    prominent as the most prominent one are passed over. The uncertainty is 1.483 times the median
    absolute deviation of the spacings of up to ten peaks, not divided by the root of their number
    as in McQuillan et al.: these share their errors.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order.
    flux_err : array (n,), optional
        Errors, > 0; without them all points weigh the same.
    max_lag : float, optional
        Largest lag, days; half the span by default. Few pairs at a lag end the search for peaks.
    step : float, optional
        Width of a slot, days; by default the median cadence, and no more than 2**20 slots.
    smoothing : float, optional
        Full width at half maximum of the Gaussian, days; by default 0.37 d (18 Kepler long
        cadences) and 2 steps at least. For periods below 0.5 d pass a smaller one; 0 smooths not.

    Raises
    ------
    ValueError
        If ``max_lag`` is below two steps, or the flux is constant.

    References
    ----------
    Edelson & Krolik 1988, ApJ 333, 646; McQuillan et al. 2013, MNRAS 432, 1203; 2014, ApJS 211, 24.

    Examples
    --------
    >>> t = np.arange(0.0, 90.0, 0.1)
    >>> autocorrelation(t, np.sin(2 * np.pi * t / 7.0)).period.__round__(1)
    7.0
    """
    time, flux, flux_err = checked(time, flux, flux_err)
    slots = _slots(time, max_lag, step, smoothing)
    acf, smoothed, pairs, weight = _correlate(time, flux, flux_err, slots)
    lag = slots.width * np.arange(slots.lags)
    found = _period(lag, smoothed, weight)
    lives = _decay(*_falling(*found[2:], lag, smoothed))
    return Autocorrelation(lag, acf, smoothed, pairs, *found, *lives)


class _Slots(NamedTuple):
    """Width of a slot in days, number of lags, and the width of the smoothing in slots."""

    width: float
    lags: int
    sigma: float


def _slots(time: np.ndarray, max_lag, step, smoothing) -> _Slots:
    """Defaults filled in; ValueError for a smoothing below 0, or fewer than 3 lags."""
    span = float(np.ptp(time))
    default = max(median_step(np.sort(time)), span / _MOST_SLOTS)
    width = default if step is None else positive("step", step)
    longest = 0.5 * span if max_lag is None else positive("max_lag", max_lag)
    lags = int(np.floor(min(longest, span) / width + 1e-6)) + 1
    if lags < 3:
        raise ValueError(
            f"max_lag = {longest:g} d holds no two steps of {width:g} d within the span of "
            f"{span:g} d. Pass a larger max_lag or a smaller step, or take more points."
        )
    fwhm = max(_SMOOTHING, 2.0 * width)
    fwhm = fwhm if smoothing is None else as_number("smoothing", smoothing, "d")
    if not fwhm >= 0:
        raise ValueError(f"smoothing = {smoothing} must be 0 or more, in days.")
    return _Slots(width, lags, fwhm / SIGMA_TO_FWHM / width)


def _correlate(time: np.ndarray, flux: np.ndarray, flux_err, slots: _Slots):
    """The autocorrelation at each lag, smoothed too, the numbers of pairs, and these smoothed."""
    width, lags, sigma = slots
    slot = np.floor((time - time.min()) / width + 0.5).astype(np.int64)
    each = np.ones(time.size)
    if flux_err is not None:
        each = (np.median(flux_err) / np.broadcast_to(flux_err, time.shape)) ** 2
    deviation = flux - np.average(flux, weights=each)
    variance = np.average(deviation**2, weights=each)
    beyond = lags + int(np.ceil(4.0 * sigma))  # what smoothing reaches
    # pairs are counted exactly, so that rounding errors of the transform cannot look like pairs
    pairs = np.rint(_lagged_products(np.bincount(slot).astype(float), beyond))
    there = pairs > 0
    sums = (np.bincount(slot, each * values) for values in (np.ones(time.size), deviation))
    known, products = (np.where(there, _lagged_products(total, beyond), 0.0) for total in sums)
    acf = np.full(lags, np.nan)
    np.divide(products[:lags], known[:lags] * variance, out=acf, where=there[:lags])
    acf[0] = 1.0  # also where several points share a slot
    top, weight = (_smooth(a, sigma)[:lags] for a in (products, known))
    enough = weight >= 0.1 * time.size
    smoothed = np.full(lags, np.nan)
    smoothed[enough] = top[enough] / weight[enough] / variance
    return acf, smoothed, pairs[:lags], weight


def _period(lag: np.ndarray, smoothed: np.ndarray, weight: np.ndarray):
    """The period, the scatter of the peaks' spacings, these peaks and their heights."""
    missing = np.isnan(smoothed)
    usable = int(np.argmax(missing)) if missing.any() else lag.size
    peaks, heights = _peaks(lag[:usable], smoothed[:usable])
    if not peaks.size:
        return float("nan"), float("nan"), peaks, heights
    # by the share of pairs that lags still have, so that a coherent signal, whose peaks are all
    # as high, has the period of the first: the estimate with gaps as zeros has that built in
    share = heights[:2] * np.interp(peaks[:2], lag, weight)
    first = 1 if share.size > 1 and share[1] > 1.02 * share[0] else 0
    period = float(peaks[first])
    peaks, heights = _successive(peaks, heights, period)
    if peaks.size < 2:
        return period, float("nan"), peaks, heights
    spacing = np.diff(np.concatenate([[0.0], peaks]))
    mad = np.median(np.abs(spacing - np.median(spacing)))
    return period, float(1.483 * mad), peaks, heights


def _lagged_products(values: np.ndarray, lags: int) -> np.ndarray:
    """Return the sums of values[a] * values[a + k] for k below ``lags``."""
    from scipy import fft

    length = fft.next_fast_len(values.size + lags, real=True)
    transform: Any = fft.rfft(values, length)
    product: Any = fft.irfft(np.abs(transform) ** 2, length)
    return product[:lags]


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Return an even function of the lag after Gaussian smoothing, ``sigma`` in steps."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, sigma, mode="mirror") if sigma > 0 else values


def _peaks(lag: np.ndarray, acf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lags of the peaks and their heights above the mean of the troughs beside them."""
    from scipy.signal import find_peaks

    if acf.size < 3:
        return np.empty(0), np.empty(0)
    index, found = find_peaks(acf, prominence=0.0)
    if not index.size:
        return np.empty(0), np.empty(0)
    index = index[found["prominences"] >= 0.05 * found["prominences"].max()]
    trough = np.minimum.reduceat(acf, np.concatenate([[0], index]))
    if acf[-1] == trough[-1]:  # the last lag comes before the trough
        trough[-1] = trough[-2]
    position = index + np.array([vertex(acf, i) for i in index])
    return position * (lag[1] - lag[0]), acf[index] - 0.5 * (trough[:-1] + trough[1:])


def _successive(
    peaks: np.ndarray, heights: np.ndarray, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak at the period and up to 9 that follow, each one period on within 20 %."""
    chosen = []
    expected = period
    while len(chosen) < 10:
        nearest = int(np.argmin(np.abs(peaks - expected)))
        if abs(peaks[nearest] - expected) > 0.2 * period:
            break
        chosen.append(nearest)
        expected = peaks[nearest] + period
    return peaks[chosen], heights[chosen]


def _falling(
    peaks: np.ndarray, heights: np.ndarray, lag: np.ndarray, acf: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return lag 0 and the peaks that follow as long as their heights fall, the first in any case.

    Later ones are chance: a peak that noise has raised is found, one that it has buried is not.
    """
    if not peaks.size:
        return peaks, heights
    # lag 1 in place of 0, where the noise is
    start = acf[1] - np.min(acf[lag <= peaks[0]])
    rising = np.flatnonzero(np.diff(heights) >= 0)
    last = rising[0] + 1 if rising.size else heights.size
    return np.append(0.0, peaks[:last]), np.append(start, heights[:last])


def _decay(peaks: np.ndarray, heights: np.ndarray) -> tuple[float, float]:
    """Return the e-folding time of the best exponential and the zero of the best straight line."""
    from scipy.optimize import minimize_scalar

    if peaks.size < 2:
        return float("nan"), float("nan")
    # the misfit of a line has a kink at each peak: search between all of them
    longest = 1e3 * peaks[-1]
    edges = np.log([0.1 * peaks[1], *peaks[1:], 10.0 * peaks[-1], longest])
    results = []
    for envelope in (
        lambda scale: np.exp(-peaks / scale),
        lambda scale: np.maximum(1.0 - peaks / scale, 0.0),
    ):

        def misfit(log_scale, envelope=envelope):
            shape = envelope(np.exp(log_scale))
            amplitude = max(np.dot(shape, heights), 0.0) / np.dot(shape, shape)
            return np.sum((heights - amplitude * shape) ** 2)

        found = [
            minimize_scalar(misfit, bounds=(a, b), method="bounded", options={"xatol": 1e-6})
            for a, b in itertools.pairwise(edges)
        ]
        best = min(found, key=lambda result: result.fun)  # pyright: ignore
        scale = float(np.exp(best.x))  # pyright: ignore
        results.append(scale if scale < 0.9 * longest else float("inf"))
    return results[0], results[1]
