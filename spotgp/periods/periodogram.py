"""The Lomb-Scargle periodogram and the rotation period in it."""

import dataclasses
from typing import Any

import numpy as np

from pytreefit.extend import as_number, as_whole_numbers

from ..io.columns import median_step, positive
from .peaks import SIGMA_TO_FWHM, checked, local_maxima, vertex

_SHORTEST_PERIOD = 0.1  # days: where a periodogram starts by default; faster than any cool star


@dataclasses.dataclass(frozen=True, eq=False)
class Periodogram:
    """A Lomb-Scargle periodogram and its highest peak, from :func:`lomb_scargle`.

    A peak is a local maximum inside of the grid. Power that rises up to the grid's end is none, as
    of a trend, or of a period that is longer than those that were looked for: see `at_edge`.

    Parameters
    ----------
    frequency : array (m,)
        Frequencies, 1 / d, ascending and evenly spaced.
    power : array (m,)
        Share of the variance (weighted by the errors) that a sinusoid of this frequency explains,
        0 to 1.
    period : float
        Period of the highest peak, days; NaN if there is none.
    uncertainty : float
        Standard deviation of a Gaussian fitted to that peak, days. It is the width of the peak,
        not the error of the period of a strictly periodic signal, which is far smaller.
    false_alarm_probability : float
        Probability that white noise alone makes a peak as high (Baluev 2008). Spots are no white
        noise: a small value says that the star varies, not that it varies periodically. NaN without
        a peak, and for several terms.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import lomb_scargle
    >>> t = np.arange(0.0, 60.0, 0.1)
    >>> flux = np.sin(2 * np.pi * t / 6.0) + 0.5 * np.sin(2 * np.pi * t / 3.0)
    >>> periods, powers = lomb_scargle(t, flux).peaks(2)
    >>> periods.round(1).tolist(), powers.round(2).tolist()  # powers go with squared amplitudes
    ([6.0, 3.0], [0.8, 0.2])
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

    @property
    def at_edge(self) -> bool:
        """Whether the power is highest at an end of the grid, so that `period` is to be doubted."""
        return int(np.argmax(self.power)) in (0, self.power.size - 1)

    def peaks(self, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Return the periods (days) and powers of the n highest peaks, highest first."""
        index = _peaks(self.power)
        index = index[np.argsort(-self.power[index], kind="stable")][:n]
        return 1.0 / self.frequency[index], self.power[index]

    def __repr__(self) -> str:
        doubt = " at the end of the grid" if self.at_edge else ""
        return (
            f"Periodogram(period={self.period:.4g} +- {self.uncertainty:.2g} d, highest power "
            f"{self.power.max():.3g}{doubt}, false-alarm probability "
            f"{self.false_alarm_probability:.2g}; {self.frequency.size:,} frequencies)"
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

    That is the highest local maximum inside of the range of periods; `Periodogram.at_edge` says
    where the power is higher still at an end of it. The mean floats (Zechmeister & Kürster 2009).
    The uncertainty is that of a Gaussian :math:`e^{-(\nu - \nu_0)^2 / 2 s^2}` fitted to the peak
    above half its height, :math:`\sigma_P = P^2 s`, or its half width where it is cut by the end of
    the grid.

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
        Frequencies per width of a peak, >= 2.

    Raises
    ------
    ValueError
        If the range of periods is empty or exceeds the data, the flux is constant, or the terms
        are too many for the times.

    References
    ----------
    Scargle 1982, ApJ 263, 835; Baluev 2008, MNRAS 385, 1279.

    Examples
    --------
    >>> t = np.arange(0.0, 60.0, 0.1)
    >>> lomb_scargle(t, np.sin(2 * np.pi * t / 7.0)).period.__round__(2)
    7.0
    """
    from astropy.timeseries import LombScargle

    time, flux, flux_err = checked(time, flux, flux_err)
    low, high = _frequency_range(time, min_period, max_period)
    if not as_number("oversampling", oversampling) >= 2.0:
        raise ValueError(f"oversampling = {oversampling} must be 2 or more, or peaks are missed.")
    n_terms = as_whole_numbers("n_terms", n_terms, 1)[0]
    count = int(np.ceil((high - low) * np.ptp(time) * oversampling * n_terms))
    frequency = np.linspace(low, high, max(count, 2) + 1)
    # without the offsets, which cost the FFT-based sums digits
    search = LombScargle(time - time.min(), flux - np.mean(flux), flux_err, nterms=n_terms)
    return _with_period(search, frequency, _power(search, frequency))


def _power(search: Any, frequency: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(search.power(frequency, assume_regular_frequency=True))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"n_terms = {search.nterms}: at these times the harmonics of some period between "
            f"{1 / frequency[-1]:.3g} and {1 / frequency[0]:.3g} d can't be told apart. Use fewer "
            "terms, or a longer min_period."
        ) from None


def _with_period(search: Any, frequency: np.ndarray, power: np.ndarray) -> Periodogram:
    inside = _peaks(power)
    if not inside.size:
        return Periodogram(frequency, power, *[float("nan")] * 3)
    top = int(inside[np.argmax(power[inside])])
    period = float(1.0 / (frequency[top] + vertex(power, top) * (frequency[1] - frequency[0])))
    width = float(period**2 * _peak_sigma(frequency, power, top))
    chance = _false_alarm(search, power[top], frequency[0], frequency[-1])
    return Periodogram(frequency, power, period, width, chance)


def _peaks(power: np.ndarray) -> np.ndarray:
    """Indices of the local maxima, without the ends of the grid."""
    index = local_maxima(power)
    return index[(index > 0) & (index < power.size - 1)]


def _frequency_range(
    time: np.ndarray, min_period: float | None, max_period: float | None
) -> tuple[float, float]:
    """Lowest and highest frequency in 1 / d; ValueError if there is nothing between them."""
    step, span = median_step(np.sort(time)), float(np.ptp(time))
    shortest = max(4.0 * step, _SHORTEST_PERIOD) if min_period is None else min_period
    longest = 0.5 * span if max_period is None else max_period
    shortest, longest = positive("min_period", shortest), positive("max_period", longest)
    if not shortest < longest:
        raise ValueError(
            f"min_period = {shortest:g} d is not below max_period = {longest:g} d (by default 4 "
            f"cadences, here {4 * step:g} d, and half the span of {span:g} d). Pass both."
        )
    return 1.0 / longest, 1.0 / shortest


def _false_alarm(search: Any, power: float, low: float, high: float) -> float:
    if search.nterms > 1:  # Baluev's bound is that of one sinusoid
        return float("nan")
    with np.errstate(all="ignore"):
        limits = {"minimum_frequency": low, "maximum_frequency": high}
        return float(search.false_alarm_probability(power, **limits))


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
    return float(width * step / (0.5 * SIGMA_TO_FWHM))
