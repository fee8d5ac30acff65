"""One search for the rotation period: candidates with probabilities, and what to doubt."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pytreefit.extend import as_integers

from ..io.columns import estimate_errors, median_step, positive
from ..io.corrections import bin_means, robust_sigma
from .correlation import autocorrelation
from .oscillators import Models, log_likelihoods
from .peaks import checked, local_maxima
from .periodogram import lomb_scargle

_SHORTEST = 0.1  # days
_MOST_POINTS = 5000  # that models are compared on
_PER_PERIOD = 6  # of them in the shortest period, at least
_PEAKS = ((0, 5), (1, 5), (2, 2))  # of a periodogram: so many by power times frequency^rise
_STEP, _REACH = 0.03, 0.15  # of the periods' logarithm, and how far from a peak they are tried
_CLOSER, _FINE = 5, 15  # that many of the best are tried again, in that many finer steps
_LIVES = (0.5, 1.5, 5.0, 20.0, 100.0)  # decay times in periods
# shares of the variance without a period, at the period and at its half: of many spots, seen from
# near the equator, at middle latitudes and from near a pole; and of two opposite groups
_MIXES = (
    (0.1, 0.75, 0.15),
    (0.4, 0.5, 0.1),
    (0.7, 0.26, 0.04),
    (0.88, 0.115, 0.005),
    (0.25, 0.35, 0.4),
)
_VARIANCES = (0.5, 1.0, 2.0)  # in units of the data's
_FLOOR = 0.1  # of the scatter in a third of its memory: finer structure decides nothing
_TRUST = 0.7  # power of the likelihoods: no star is a sum of three oscillators
_PRIOR = {"white": 0.05, "red": 0.15}  # probability of noise only, and of changes without a period
_SAME = 0.1  # periods that differ by less are one
_DOUBT = 0.15  # a candidate of this probability is worth a flag
_SURE = 0.8  # probability from which a period is called good
_BREAK = 10.0  # days: a gap over which no period is counted through


@dataclasses.dataclass(frozen=True, eq=False)
class RotationPeriod:
    """What a light curve says of the rotation period, from :func:`rotation_period`.

    Parameters
    ----------
    period, uncertainty : float
        Days: mean and standard deviation of the most probable candidate.
    probability : float
        That it is right within a tenth, among all candidates and noise without a period.
    candidates : array (k,)
        Periods, days, the most probable first.
    probabilities : array (k,)
        Of each.
    white_noise, aperiodic : float
        Probability of nothing but white noise, and of changes without a period.
    flags : tuple of str
        What to doubt, in words; empty if nothing.
    lomb_scargle, autocorrelation : float
        The periods that these have by themselves, days.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import rotation_period
    >>> t = np.arange(0.0, 20.0, 0.1)
    >>> found = rotation_period(t, np.random.default_rng(0).normal(size=t.size))
    >>> found.good, found.flags
    (False, ('nothing but white noise was found',))
    """

    period: float
    uncertainty: float
    probability: float
    candidates: np.ndarray
    probabilities: np.ndarray
    white_noise: float
    aperiodic: float
    flags: tuple[str, ...]
    lomb_scargle: float
    autocorrelation: float

    @property
    def good(self) -> bool:
        """Whether the period can be used without a further look."""
        return not self.flags

    def __repr__(self) -> str:
        said = f"; {'; '.join(self.flags)}" if self.flags else ""
        return (
            f"RotationPeriod(period={self.period:.4g} +- {self.uncertainty:.2g} d, probability "
            f"{self.probability:.2f}{said})"
        )


class _Data(NamedTuple):
    """Points in order of time with the means of the segments taken off."""

    time: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    baseline: float  # days without a long gap, at most


def rotation_period(
    time: Any,
    flux: Any,
    flux_err: Any = None,
    *,
    segment: Any = None,
    min_period: float | None = None,
    max_period: float | None = None,
) -> RotationPeriod:
    r"""Find the rotation period of a spotted star, with its rivals.

    Peaks of the Lomb-Scargle periodogram and of the autocorrelation, their halves and their doubles
    are the candidates. Each is compared by the likelihood of a process that repeats itself and
    forgets, two oscillators at the period and at half of it (Foreman-Mackey et al. 2017), averaged
    over how long it remembers, its variance and the share of either; the rivals are white noise and
    changes without a period. Periods are equally probable in their logarithm.

    Light curves are compared in bins that tell the shortest candidate. Where these are too many,
    the first part of them decides between the candidates that are too short for bins of all data,
    and everything else; bins of all data decide between the others. A flag says where the first
    part has chosen a short period and the periodogram of all data is highest elsewhere.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order. Use all points: thinning makes aliases.
    flux_err : array (n,), optional
        Errors, > 0; by default estimated from differences of neighbours.
    segment : array (n,), optional
        Numbers of parts whose levels have nothing to do with each other, such as quarters.
    min_period, max_period : float, optional
        Range, days; by default from 4 cadences, and 0.1 d at least, to the longest stretch of data
        without a gap of 10 days.

    Raises
    ------
    ValueError
        For fewer than 10 points, and what `lomb_scargle` refuses.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(0.0, 60.0, 0.1)
    >>> noise = 0.1 * np.random.default_rng(0).normal(size=t.size)
    >>> rotation_period(t, np.sin(2 * np.pi * t / 7.0) + noise).period.__round__(1)
    7.0
    """
    data = _prepared(time, flux, flux_err, segment)
    limits = _range(data, min_period, max_period)
    peaks, by_itself = _peaks(data, *limits)
    periods = _grid(peaks, *limits)
    (periods, weights, white, red), (part, limit) = _weighed(data, periods, limits)
    found = _grouped(periods, weights)
    short = found[0][0] < limit
    flags = _flags(found, part if short else data, white, red, limits)
    if short and max(white, red) < 0.5:
        flags += _first_alone(found[0][0], by_itself[0], part, data)
    candidates, _, probabilities = np.array(found).T
    rest = white, red, flags, *by_itself
    return RotationPeriod(*found[0], candidates, probabilities, *rest)


def _prepared(time, flux, flux_err, segment) -> _Data:
    time, flux, flux_err = checked(time, flux, flux_err)
    if time.size < 10:
        raise ValueError(f"time has {time.size} points: a period needs 10 at least.")
    order = np.argsort(time, kind="stable")
    labels = np.zeros(time.size, int)
    labels = labels if segment is None else as_integers("segment", segment, shape=time.shape)
    time, flux, labels = time[order], flux[order], labels[order]
    if flux_err is None:
        flux_err = estimate_errors(time, flux, labels)
        flux_err = np.where(flux_err > 0, flux_err, 1e-3 * np.std(flux))
    else:
        flux_err = np.broadcast_to(flux_err, time.shape)[order]
    # white noise, and the star, of which each point is one sample
    spread = 1.0 / (flux_err**2 + robust_sigma(flux) ** 2 + np.finfo(float).tiny)
    flux = flux.copy()
    for k in np.unique(labels):
        own = labels == k
        flux[own] -= np.average(flux[own], weights=spread[own])
    return _data(time, flux, flux_err)


def _data(time, flux, flux_err) -> _Data:
    pieces = np.split(time, np.flatnonzero(np.diff(time) > _BREAK) + 1)
    return _Data(time, flux, flux_err, max(float(np.ptp(piece)) for piece in pieces))


def _range(data: _Data, shortest, longest) -> tuple[float, float]:
    shortest = max(4.0 * _sampling(data.time), _SHORTEST) if shortest is None else shortest
    longest = data.baseline if longest is None else longest
    return positive("min_period", shortest), positive("max_period", longest)


def _sampling(time) -> float:
    """The cadence, or the finest difference of times that tells periods apart."""
    step = np.diff(time)
    step = step[step > 0]
    usual = float(np.median(step))
    multiple = step / usual
    even = np.mean(np.abs(multiple - np.rint(multiple)) < 0.1) > 0.9
    return usual if even else min(usual, _SHORTEST / 4.0)


def _peaks(data: _Data, shortest: float, longest: float):
    """Periods of peaks, and what periodogram and autocorrelation say by themselves."""
    spread = np.hypot(data.flux_err, robust_sigma(data.flux))
    limits = {"min_period": shortest, "max_period": longest}
    found, best = [], float("nan")
    for terms in (1, 2):
        periodogram = lomb_scargle(data.time, data.flux, spread, n_terms=terms, **limits)
        best = periodogram.period if terms == 1 else best
        frequency, power = periodogram.frequency, periodogram.power
        for rise, number in _PEAKS:
            height = power * frequency**rise
            tops = local_maxima(height)
            found += list(1.0 / frequency[tops[np.argsort(-height[tops])][:number]])
    acf = autocorrelation(data.time, data.flux, spread, smoothing=_smoothing(found[0]))
    found += [p for p in (acf.period, *acf.peaks[:2]) if np.isfinite(p)]
    return found, (best, acf.period)


def _smoothing(period: float) -> float:
    """Days: a sixth of the period, as usual for slow rotation."""
    return min(0.37, period / 6.0)


def _grid(peaks: Sequence[float], shortest: float, longest: float) -> np.ndarray:
    """Periods that are tried, ascending: all about the peaks, their halves and their doubles."""
    centres = np.log(np.outer(peaks, [0.5, 1.0, 2.0]).ravel())
    around = np.arange(-_REACH, _REACH + 0.5 * _STEP, _STEP)
    steps = np.unique(np.rint((centres[:, None] + around) / _STEP))
    periods = np.exp(_STEP * steps)
    inside = (periods >= shortest) & (periods <= longest)
    # and the peaks themselves, for periods that last
    periods = np.unique(np.concatenate([periods[inside], np.clip(peaks, shortest, longest)]))
    return periods[np.diff(periods, prepend=0.0) > 1e-3 * periods]


def _weighed(data: _Data, periods: np.ndarray, limits: tuple[float, float]):
    """What `_Comparison.probabilities` returns; the first part, and which periods it judged.

    These are the periods below a limit, which is 0 where all data were compared at once.
    """
    width = max(periods[0] / _PER_PERIOD, median_step(data.time))
    fine = _binned(data, width)
    if fine.time.size <= _MOST_POINTS:
        return _Comparison(fine, limits).probabilities(periods), (fine, 0.0)
    part = _data(*(column[:_MOST_POINTS] for column in fine[:3]))
    whole = fine
    while whole.time.size > _MOST_POINTS:
        width *= max(1.02, whole.time.size / _MOST_POINTS)
        whole = _binned(data, width)
    limit = _PER_PERIOD * width
    first, weights, white, red = _Comparison(part, limits).probabilities(periods)
    resolved = periods[periods >= limit]
    if not resolved.size:
        return (first, weights, white, red), (part, np.inf)
    short = first < limit
    # what is not short is one of them on the first part, and told apart on the whole
    rest = 1.0 - float(np.sum(weights[short]))
    others, shares, white, red = _Comparison(whole, limits).probabilities(resolved)
    periods = np.concatenate([first[short], others])
    weights = np.concatenate([weights[short], rest * shares])
    order = np.argsort(periods)
    return (periods[order], weights[order], rest * white, rest * red), (part, limit)


def _binned(data: _Data, width: float) -> _Data:
    segment = np.zeros(data.time.size, int)
    time, flux, error, _ = bin_means(data.time, data.flux, data.flux_err, segment, width)
    return _Data(time, flux, error, data.baseline)


class _Comparison:
    """Models of some data, with and without a period."""

    def __init__(self, data: _Data, limits: tuple[float, float]):
        self.data, self.limits = data, limits
        self.variance = float(np.var(data.flux))
        scatter = max(robust_sigma(data.flux) ** 2, 1e-6 * self.variance)
        self.noise = data.flux_err**2 + _FLOOR**2 * scatter * max(_points_alike(data) / 3.0, 1.0)

    def probabilities(self, periods):
        """Periods with the probability of each, of white noise and of changes without a period."""
        log = self.of_periods(periods, _LIVES, _VARIANCES[1:2])
        done = np.zeros(periods.size, bool)
        # those of periods that last are narrower than these steps
        for _ in range(_CLOSER):
            if done.all():
                break
            best = periods[np.argmax(np.where(done, -np.inf, log))]
            kept = (np.abs(np.log(periods / best)) > 1.5 * _STEP) | done
            near = best * np.exp(np.linspace(-1.5, 1.5, _FINE) * _STEP)
            near = np.unique(np.clip(near, *self.limits))
            closer = self.of_periods(near, _LIVES, _VARIANCES)
            periods, log, done = (
                np.concatenate([old[kept], new])
                for old, new in ((periods, near), (log, closer), (done, np.ones(near.size, bool)))
            )
        order = np.argsort(periods)
        periods, log = periods[order], log[order]
        cells = np.minimum(np.gradient(np.log(periods)), _STEP) if periods.size > 1 else _STEP
        share = (1.0 - sum(_PRIOR.values())) / np.log(self.limits[1] / self.limits[0])
        log = log + np.log(share * np.maximum(cells, 1e-12))
        log = np.append(log, [self.of_white_noise(), self.of_changes(periods)])
        weights = np.exp(log - np.max(log))
        weights /= np.sum(weights)
        return periods, weights[:-2], float(weights[-2]), float(weights[-1])

    def of_periods(self, periods, lives, factors):
        """Logarithm of the mean likelihood at some periods."""
        grids = np.meshgrid(periods, lives, range(len(_MIXES)), factors, indexing="ij")
        period, lives, mixes, factors = (grid.ravel() for grid in grids)
        shares = np.array(_MIXES)[mixes].T
        models = Models(period, lives * period, self.variance * factors * shares)
        return _log_mean(self._likelihoods(models).reshape(periods.size, -1), axis=1)

    def of_changes(self, periods) -> float:
        """That without a period, times its prior."""
        scale = np.geomspace(periods[0] / _PER_PERIOD, periods[-1], 24)
        scale, factors = (g.ravel() for g in np.meshgrid(scale, _VARIANCES, indexing="ij"))
        only = self.variance * factors * np.array([[1.0], [0.0], [0.0]])
        found = self._likelihoods(Models(scale, scale, only))
        return float(_log_mean(found)) + float(np.log(_PRIOR["red"]))

    def of_white_noise(self) -> float:
        """That of white noise, times its prior."""
        more = np.append(0.0, self.variance * np.geomspace(1e-3, 2.0, 24))
        noise = more[:, None] + self.noise
        found = (
            -0.5 * _TRUST * np.sum(self.data.flux**2 / noise + np.log(2.0 * np.pi * noise), axis=1)
        )
        return float(_log_mean(found)) + float(np.log(_PRIOR["white"]))

    def _likelihoods(self, models: Models):
        found = log_likelihoods(self.data.time, self.data.flux, self.noise, models)
        return _TRUST * found


def _points_alike(data: _Data) -> int:
    """After how many points the light curve has lost half of its memory."""
    flux, noise = data.flux, float(np.mean(data.flux_err**2))
    signal = max(float(np.var(flux)) - noise, 0.0)
    for k in range(1, flux.size // 4):
        if 0.5 * np.mean((flux[k:] - flux[:-k]) ** 2) - noise > 0.5 * signal:
            return k
    return max(flux.size // 4, 1)


def _log_mean(values, axis=None):
    top = np.max(values, axis=axis, keepdims=True)
    return np.squeeze(np.log(np.mean(np.exp(values - top), axis=axis, keepdims=True)) + top)


def _grouped(periods, weights) -> list[tuple[float, float, float]]:
    """Period, uncertainty and probability of each candidate, the most probable first."""
    left, found = weights.copy(), []
    steps = np.gradient(periods) if periods.size > 1 else _STEP * periods
    while left.any() and len(found) < 8:
        near = np.abs(np.log(periods / periods[np.argmax(left)])) < _SAME
        own = np.where(near, left, 0.0)
        total = float(np.sum(own))
        mean = float(np.sum(own * periods)) / total
        # and the step of the grid, over which the period is not known
        variance = float(own @ ((periods - mean) ** 2 + steps**2 / 12.0)) / total
        found.append((mean, variance**0.5, total))
        left = np.where(near, 0.0, left)
    return sorted(found, key=lambda one: -one[2])


def _flags(found, data: _Data, white, red, limits) -> tuple[str, ...]:
    (period, _, probability), flags = found[0], []
    if white > 0.5:
        return ("nothing but white noise was found",)
    if red > 0.5:
        return ("changes without a period",)
    if period > 0.5 * data.baseline:
        flags.append("longer than half of the baseline")
    if period < 1.1 * limits[0] or period > limits[1] / 1.1:
        flags.append("at the edge of the periods that were looked for")
    for other, _, rival in found[1:]:
        if rival > _DOUBT:
            flags.append(_rival(period, other, rival))
    if probability < _SURE and not flags:
        flags.append(f"a probability of {probability:.2f} only")
    return tuple(flags)


def _first_alone(period: float, highest: float, part: _Data, data: _Data) -> tuple[str, ...]:
    """A flag if a first part has chosen a period, and the highest peak of all is elsewhere."""
    alike = any(abs(np.log(highest / period / factor)) < _SAME for factor in (0.5, 1.0, 2.0))
    if alike or not np.isfinite(highest):
        return ()
    days = f"{np.ptp(part.time):.0f} of {np.ptp(data.time):.0f} d"
    return (f"judged on the first {days}, while all data peak at {highest:.4g} d",)


def _rival(period: float, other: float, probability: float) -> str:
    what = f"{other:.4g} d possible, too ({probability:.2f})"
    for factor, name in ((0.5, "half"), (2.0, "double")):
        if abs(np.log(other / period / factor)) < _SAME:
            return f"{name} of it, {what}"
    for days in (1.0, 0.5, 2.0):
        if (
            abs(abs(1.0 / other - 1.0 / period) * days - 1.0) < 0.05
            or abs((1.0 / other + 1.0 / period) * days - 1.0) < 0.05
        ):
            return f"alias of a day: {what}"
    return what
