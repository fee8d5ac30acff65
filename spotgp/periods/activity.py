"""How active a star is, by the two indices that catalogues of rotation have."""

from typing import Any, NamedTuple

import numpy as np

from pytreefit.extend import as_integers

from ..io.columns import estimate_errors, positive
from .peaks import checked

_PERIODS = 5.0  # rotations in a window
_LEAST = 10  # points of a window
_SHARE = 0.5  # of the points of the fullest window


class PhotometricActivity(NamedTuple):
    """The index S_ph of a light curve, from :func:`photometric_activity`.

    Parameters
    ----------
    value : float
        Mean over the windows, in the unit of the flux.
    error : float
        Its standard error, from the scatter of the windows; NaN for a single one.
    windows : array (k,)
        The index of each window in order of time.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import photometric_activity
    >>> t = np.arange(0.0, 100.0, 0.1)
    >>> size = np.where(t < 50.0, 0.01, 0.02)
    >>> found = photometric_activity(t, 1.0 + size * np.sin(2 * np.pi * t / 5.0), 1e-4, period=5.0)
    >>> found.windows.round(4).tolist()  # the amplitude over the root of 2
    [0.0071, 0.0071, 0.0142, 0.0142]
    """

    value: float
    error: float
    windows: np.ndarray


def photometric_activity(
    time: Any, flux: Any, flux_err: Any = None, *, period: float, segment: Any = None
) -> PhotometricActivity:
    r"""Return the photometric activity index S_ph of a star whose rotation period is known.

    .. math::
        S_{ph} = \frac{1}{K} \sum_{k=1}^{K} S_k, \qquad
        S_k^2 = \max\left(s_k^2 - \langle \sigma_i^2 \rangle_k,\, 0\right)

    with the standard deviation :math:`s_k` of the fluxes in window k and the mean square of their
    errors. Windows are 5 rotations long and follow each other; after a gap the next one begins with
    the next point. Those with fewer than 10 points, or half of what the fullest one has, are left
    out. A light curve shorter than 5 rotations is one window.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order, relative fluxes for a relative index.
    flux_err : array (n,), optional
        Errors, > 0; by default estimated from differences of neighbours.
    period : float
        Rotation period, days.
    segment : array (n,), optional
        Numbers of parts whose levels have nothing to do with each other, such as quarters: their
        medians are taken off.

    Raises
    ------
    ValueError
        If the data span less than one rotation, or no window has 10 points.

    References
    ----------
    Mathur et al. 2014, A&A 562, A124.

    Examples
    --------
    >>> t = np.arange(0.0, 100.0, 0.1)
    >>> found = photometric_activity(t, 1.0 + 0.01 * np.sin(2 * np.pi * t / 5.0), 1e-4, period=5.0)
    >>> f"{found.value:.4f}, {found.windows.size} windows"
    '0.0071, 4 windows'
    """
    time, flux, flux_err, labels = _ordered(time, flux, flux_err, segment)
    period = positive("period", period)
    if np.ptp(time) < period:
        raise ValueError(f"period = {period:g} d is longer than the span of {np.ptp(time):g} d.")
    if flux_err is None:
        flux_err = estimate_errors(time, flux, labels)
    flux = flux.copy()
    for k in np.unique(labels):
        flux[labels == k] -= np.median(flux[labels == k])
    parts = _windows(time, period)
    square = np.array([np.var(flux[p], ddof=1) - np.mean(flux_err[p] ** 2) for p in parts])
    windows = np.sqrt(np.maximum(square, 0.0))
    error = np.std(windows, ddof=1) / np.sqrt(windows.size) if windows.size > 1 else np.nan
    return PhotometricActivity(float(np.mean(windows)), float(error), windows)


def _windows(time: np.ndarray, period: float) -> list[slice]:
    """The windows with enough points."""
    edges = [0]
    while edges[-1] < time.size:
        # a hair less, so that rounding gives no window the first point of the next
        end = time[edges[-1]] + _PERIODS * period * (1.0 - 1e-9)
        edges.append(int(np.searchsorted(time, end)))
    number = np.diff(edges)
    kept = np.flatnonzero(number >= max(_LEAST, _SHARE * number.max()))
    if not kept.size:
        raise ValueError(
            f"No window of {_PERIODS:g} rotations (period = {period:g} d) has {_LEAST} points."
        )
    return [slice(edges[k], edges[k + 1]) for k in kept]


def variability_range(
    time: Any, flux: Any, *, segment: Any = None, smoothing: float | None = None
) -> float:
    r"""Return the range R_var of a light curve: from its 5th to its 95th percentile.

    .. math:: R_{var} = Q_{0.95}(f) - Q_{0.05}(f)

    White noise and granulation widen it. With ``smoothing`` it is that of the running mean over so
    many days, which takes them out, and leaves of a sinusoid of period P the part
    :math:`\sin(x) / x`, :math:`x = \pi w / P`, for a window w. Of several segments it is the median
    of their ranges.

    Parameters
    ----------
    time, flux : array (n,)
        Finite values, times in days in any order, relative fluxes for a relative range.
    segment : array (n,), optional
        Numbers of parts whose levels have nothing to do with each other, such as quarters.
    smoothing : float, optional
        Length of the running mean, days: 4 hours are usual. It does not mix segments, and beside
        gaps it simply holds fewer points. None smooths not.

    References
    ----------
    Basri et al. 2011, AJ 141, 20.

    Examples
    --------
    >>> t = np.arange(0.0, 100.0, 0.1)
    >>> round(variability_range(t, 1.0 + 0.01 * np.sin(2 * np.pi * t / 5.0)), 3)
    0.02
    """
    time, flux, _, labels = _ordered(time, flux, None, segment)
    width = None if smoothing is None else positive("smoothing", smoothing)
    ranges = []
    for k in np.unique(labels):
        own = labels == k
        values = flux[own] if width is None else _running_mean(time[own], flux[own], width)
        ranges.append(np.ptp(np.percentile(values, [5.0, 95.0])))
    return float(np.median(ranges))


def _ordered(time, flux, flux_err, segment):
    """Checked columns in order of time, and the number of each point's segment."""
    time, flux, flux_err = checked(time, flux, flux_err)
    labels = np.zeros(time.size, int)
    labels = labels if segment is None else as_integers("segment", segment, shape=time.shape)
    order = np.argsort(time, kind="stable")
    if flux_err is not None:
        flux_err = np.broadcast_to(flux_err, time.shape)[order]
    return time[order], flux[order], flux_err, labels[order]


def _running_mean(time, flux, width: float) -> np.ndarray:
    """Mean of all fluxes within half a width of each time (ascending times)."""
    first = np.searchsorted(time, time - 0.5 * width, side="left")
    last = np.searchsorted(time, time + 0.5 * width, side="right")
    # without the level, which costs the sums digits
    total = np.concatenate([[0.0], np.cumsum(flux - flux[0])])
    return flux[0] + (total[last] - total[first]) / (last - first)
