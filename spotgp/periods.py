"""Rotation periods from a light curve: the Lomb-Scargle periodogram and the autocorrelation."""

import dataclasses
import itertools
from typing import Any

import numpy as np

from .io.columns import positive

_SHORTEST_PERIOD = 0.1  # days: where a periodogram starts by default; faster than any cool star
_SMOOTHING = 0.37  # days: 18 Kepler long cadences, as in McQuillan et al. 2013
_SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_MOST_SLOTS = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Periodogram:
    """A Lomb-Scargle periodogram and its highest peak: made by :func:`lomb_scargle`.

    Parameters
    ----------
    frequency : array (m,)
        Frequencies, 1 / d, ascending and evenly spaced.
    power : array (m,)
        Share of the variance (weighted by the errors) that a sinusoid of this frequency explains,
        0 to 1.
    period : float
        Period of the highest peak, days.
    uncertainty : float
        Standard deviation of a Gaussian fitted to that peak, days. It is the width of the peak,
        not the error of the period of a strictly periodic signal, which is far smaller.
    false_alarm_probability : float
        Probability that white noise alone makes a peak as high (Baluev 2008). Spots are no white
        noise: a small value says that the star varies, not that it varies periodically.
    """

    frequency: np.ndarray
    power: np.ndarray
    period: float
    uncertainty: float
    false_alarm_probability: float

    @property
    def periods(self) -> np.ndarray:
        """Periods of the grid, days, descending."""
        return 1.0 / self.frequency

    def peaks(self, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Return the periods (days) and powers of the n highest local maxima, highest first."""
        index = _local_maxima(self.power)
        index = index[np.argsort(-self.power[index], kind="stable")][:n]
        return 1.0 / self.frequency[index], self.power[index]

    def __repr__(self) -> str:
        return (
            f"Periodogram(period={self.period:.4g} +- {self.uncertainty:.2g} d, power "
            f"{self.power.max():.3g}, false-alarm probability {self.false_alarm_probability:.2g}; "
            f"{self.frequency.size:,} frequencies)"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Autocorrelation:
    """The autocorrelation of a light curve and what its peaks say: made by :func:`autocorrelation`.

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


def lomb_scargle(
    time: Any,
    flux: Any,
    flux_err: Any = None,
    *,
    min_period: float | None = None,
    max_period: float | None = None,
    n_terms: int = 1,
    oversampling: float = 5.0,
) -> Periodogram:
    r"""Return the Lomb-Scargle periodogram of a light curve and the period of its highest peak.

    The mean floats (Zechmeister & Kürster 2009). The uncertainty is that of a Gaussian
    :math:`e^{-(\nu - \nu_0)^2 / 2 s^2}` fitted to the peak above half its height,
    :math:`\sigma_P = P^2 s`; where the peak is cut by the end of the grid, its half width serves.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order.
    flux_err : array (n,), optional
        Errors, > 0; without them all points weigh the same.
    min_period, max_period : float, optional
        Range of periods, days; by default from 4 cadences, and 0.1 d at least, to half the span.
    n_terms : int
        Number of Fourier terms of the periodic signal, >= 1.
    oversampling : float
        Frequencies per width of a peak (1 / span, of the highest term), >= 2.

    Raises
    ------
    ValueError
        If the range of periods is empty or exceeds the data, or the flux is constant.

    References
    ----------
    Lomb 1976, Ap&SS 39, 447; Scargle 1982, ApJ 263, 835; Baluev 2008, MNRAS 385, 1279;
    VanderPlas 2018, ApJS 236, 16.

    Examples
    --------
    >>> t = np.arange(0.0, 60.0, 0.1)
    >>> lomb_scargle(t, np.sin(2 * np.pi * t / 7.0)).period.__round__(2)
    7.0
    """
    from astropy.timeseries import LombScargle

    time, flux = _arrays(time, flux)
    step = _median_step(time)
    span = float(np.ptp(time))
    shortest = max(4.0 * step, _SHORTEST_PERIOD) if min_period is None else min_period
    longest = 0.5 * span if max_period is None else max_period
    shortest, longest = positive("min_period", shortest), positive("max_period", longest)
    if not shortest < longest:
        raise ValueError(
            f"min_period = {shortest:g} d is not below max_period = {longest:g} d (by default 4 "
            f"cadences, here {4 * step:g} d, and half the span of {span:g} d). Pass both."
        )
    if not oversampling >= 2.0:
        raise ValueError(f"oversampling = {oversampling} must be 2 or more, or peaks are missed.")
    if not np.ptp(flux) > 0:
        raise ValueError(f"flux is {flux[0]:g} everywhere: a constant light curve has no period.")

    low, high = 1.0 / longest, 1.0 / shortest
    # the highest harmonic has the narrowest peaks
    count = max(int(np.ceil((high - low) * span * oversampling * n_terms)), 2) + 1
    frequency = np.linspace(low, high, count)
    # a large offset costs the FFT-based sums digits
    search = LombScargle(time - time.min(), flux - np.mean(flux), flux_err, nterms=n_terms)
    power = np.asarray(search.power(frequency, assume_regular_frequency=True))
    top = int(np.argmax(power))
    false_alarm = float("nan")
    if n_terms == 1:  # Baluev's bound is that of one sinusoid
        with np.errstate(all="ignore"):
            false_alarm = float(
                search.false_alarm_probability(
                    power[top], minimum_frequency=low, maximum_frequency=high
                )
            )
    best = frequency[top] + _vertex(power, top) * (frequency[1] - frequency[0])
    period = float(1.0 / best)
    return Periodogram(
        frequency=frequency,
        power=power,
        period=period,
        uncertainty=float(period**2 * _peak_sigma(frequency, power, top)),
        false_alarm_probability=false_alarm,
    )


def autocorrelation(
    time: Any,
    flux: Any,
    *,
    max_lag: float | None = None,
    step: float | None = None,
    smoothing: float | None = None,
) -> Autocorrelation:
    r"""Return the autocorrelation of an uneven, gappy light curve and the period in it.

    Points fall into slots of one cadence; slot :math:`a` holds :math:`n_a` of them with the sum
    :math:`y_a` of their deviations from the mean, and

    .. math:: \rho_k = \frac{\sum_a y_a y_{a+k} / \sum_a n_a n_{a+k}}{\sum_i y_i^2 / n}

    by fast Fourier transforms. Gaps are left out, not filled. Numerator and denominator are
    smoothed by a Gaussian, then the period is the lag of the first or second peak, whichever rises
    further above the troughs beside it, heights weighted by the numbers of pairs: a star with two
    groups of spots half a turn apart has its first peak at half the period. Peaks less than 5 % as
    prominent as the most prominent one are passed over.
    The uncertainty is 1.483 times the median absolute deviation of the spacings between the peak at
    the period and up to nine successors. McQuillan et al. divide it by the square root of their
    number; spots that come and go make the spacings share their errors, and without that division
    it is the scatter seen between simulated stars.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order.
    max_lag : float, optional
        Largest lag, days; half the span by default. Lags with fewer than a tenth as many pairs as
        there are points end the search for peaks.
    step : float, optional
        Width of a slot, days; by default the median cadence (more if that made over 2**20 slots).
    smoothing : float, optional
        Full width at half maximum of the Gaussian, days; by default 0.37 d (18 Kepler long
        cadences) and 2 steps at least. For periods below 0.5 d pass a smaller one; 0 smooths not.

    Raises
    ------
    ValueError
        If ``max_lag`` is below two steps, or the flux is constant.

    References
    ----------
    Edelson & Krolik 1988, ApJ 333, 646 (slots); McQuillan, Aigrain & Mazeh 2013, MNRAS 432, 1203;
    McQuillan, Mazeh & Aigrain 2014, ApJS 211, 24.

    Examples
    --------
    >>> t = np.delete(np.arange(0.0, 90.0, 0.1), slice(300, 400))
    >>> autocorrelation(t, np.sin(2 * np.pi * t / 7.0)).period.__round__(1)
    7.0
    """
    time, flux = _arrays(time, flux)
    span = float(np.ptp(time))
    width = max(_median_step(time), span / _MOST_SLOTS) if step is None else positive("step", step)
    longest = 0.5 * span if max_lag is None else positive("max_lag", max_lag)
    lags = int(np.floor(min(longest, span) / width + 1e-6)) + 1
    if lags < 3:
        raise ValueError(
            f"max_lag = {longest:g} d holds no two steps of {width:g} d within the span of "
            f"{span:g} d. Pass a larger max_lag or a smaller step, or take more points."
        )
    deviation = flux - np.mean(flux)
    variance = np.mean(deviation**2)
    if not np.ptp(flux) > 0:
        raise ValueError(f"flux is {flux[0]:g} everywhere: it has no autocorrelation.")

    slot = np.floor((time - time.min()) / width + 0.5).astype(np.int64)
    fwhm = max(_SMOOTHING, 2.0 * width) if smoothing is None else float(smoothing)
    if not fwhm >= 0:
        raise ValueError(f"smoothing = {smoothing} must be 0 or more, in days.")
    sigma = fwhm / _SIGMA_TO_FWHM / width
    beyond = lags + int(np.ceil(4.0 * sigma))  # what smoothing reaches
    # pairs are counted exactly, so that rounding errors of the transform cannot look like pairs
    pairs = np.rint(_lagged_products(np.bincount(slot).astype(float), beyond))
    products = np.where(pairs > 0, _lagged_products(np.bincount(slot, deviation), beyond), 0.0)
    acf = np.full(lags, np.nan)
    np.divide(products[:lags], pairs[:lags] * variance, out=acf, where=pairs[:lags] > 0)
    acf[0] = 1.0  # also where several points share a slot

    top, bottom = (_smooth(a, sigma)[:lags] for a in (products, pairs))
    enough = bottom >= 0.1 * time.size
    smoothed = np.full(lags, np.nan)
    smoothed[enough] = top[enough] / bottom[enough] / variance

    lag = width * np.arange(lags)
    usable = lags if enough.all() else int(np.argmin(enough))
    peaks, heights = _peaks(lag[:usable], smoothed[:usable])
    period = uncertainty = float("nan")
    if peaks.size:
        # by the share of pairs that lags still have, so that a coherent signal, whose peaks are all
        # as high, has the period of the first: the estimate with gaps as zeros has that built in
        share = heights[:2] * np.interp(peaks[:2], lag, bottom)
        first = 1 if share.size > 1 and share[1] > 1.02 * share[0] else 0
        period = float(peaks[first])
        peaks, heights = _successive(peaks, heights, period)
        if peaks.size > 1:
            spacing = np.diff(np.concatenate([[0.0], peaks]))
            mad = np.median(np.abs(spacing - np.median(spacing)))
            uncertainty = float(1.483 * mad)
    decay_time, support = _decay(*_falling(peaks, heights, lag, smoothed))
    return Autocorrelation(
        lag=lag,
        acf=acf,
        smoothed=smoothed,
        pairs=pairs[:lags],
        period=period,
        uncertainty=uncertainty,
        peaks=peaks,
        heights=heights,
        decay_time=decay_time,
        support=support,
    )


def _arrays(time: Any, flux: Any) -> tuple[np.ndarray, np.ndarray]:
    time, flux = np.asarray(time, np.float64), np.asarray(flux, np.float64)
    if time.ndim != 1 or time.shape != flux.shape or time.size < 3:
        raise ValueError(
            f"time has shape {time.shape} and flux {flux.shape}: both must be one-dimensional, of "
            "the same length, 3 points at least."
        )
    if not (np.isfinite(time).all() and np.isfinite(flux).all()):
        raise ValueError(
            "time or flux holds values that are not finite. TimeSeriesData(time, flux) masks and "
            "counts them, and has this function as a method."
        )
    if not np.ptp(time) > 0:
        raise ValueError(f"time is {time[0]:g} at every point: there is no span to look for.")
    return time, flux


def _median_step(time: np.ndarray) -> float:
    steps = np.diff(np.sort(time))
    return float(np.median(steps[steps > 0]))


def _local_maxima(values: np.ndarray) -> np.ndarray:
    """Return the indices of the local maxima, ends included, the first of equal neighbours."""
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    return np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))


def _vertex(values: np.ndarray, i: int) -> float:
    """Return where the parabola through a maximum and its neighbours peaks, in steps from it."""
    if not 0 < i < values.size - 1:
        return 0.0
    left, middle, right = values[i - 1 : i + 2]
    curvature = left - 2.0 * middle + right
    return float(0.5 * (left - right) / curvature) if curvature < 0 else 0.0


def _peak_sigma(frequency: np.ndarray, power: np.ndarray, top: int) -> float:
    """Return the standard deviation of a Gaussian fitted to a peak above half its height."""
    low = high = top
    while low > 0 and power[top] / 2 < power[low - 1] <= power[low]:
        low -= 1
    while high < power.size - 1 and power[top] / 2 < power[high + 1] <= power[high]:
        high += 1
    x, y = frequency[low : high + 1] - frequency[top], power[low : high + 1]
    step = frequency[1] - frequency[0]
    if low > 0 and high < power.size - 1 and x.size >= 3:
        # least squares in the power is least squares in its logarithm, weighted by the power
        curvature = np.polyfit(x / step, np.log(y), 2, w=y)[0]
        if curvature < 0:
            return float(step / np.sqrt(-2.0 * curvature))
    sides = []
    for inner, outer in ((low, low - 1), (high, high + 1)):
        if 0 <= outer < power.size:  # else the grid ends before the peak does
            drop = power[inner] - power[outer]
            part = (power[inner] - power[top] / 2) / drop if drop > 0 else 0.0
            sides.append(abs(inner - top) + min(part, 1.0))
    width = max(sides, default=float(power.size))
    return float(width * step / (0.5 * _SIGMA_TO_FWHM))


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
    position = index + np.array([_vertex(acf, i) for i in index])
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
    """Return the e-folding time and the zero of a straight line of the least-squares envelopes."""
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
