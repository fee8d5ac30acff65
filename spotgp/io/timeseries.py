"""Pure functions behind :class:`spotgp.TimeSeriesData`: arrays in, arrays out, on the host."""

import bisect
from typing import Any

import numpy as np

GAP = 1.5  # a step longer than this many cadences is a gap
_MAD_TO_SIGMA = 1.4826


def real_array(name: str, value: Any, unit: Any = None) -> np.ndarray:
    """Return native float64 of an array, a quantity or a masked array (masked becomes NaN)."""
    if hasattr(value, "mask") and hasattr(value, "filled"):
        value = value.astype(float).filled(np.nan)
    if hasattr(value, "to_value"):
        try:
            value = value.to_value(unit) if unit is not None else value.value
        except ValueError as error:
            raise TypeError(
                f"TimeSeriesData.{name} cannot be used: {error}. Pass plain numbers, or a Quantity "
                "of the right dimension."
            ) from None
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"TimeSeriesData.{name} holds {array.dtype}, not real numbers: pass an array of floats "
            "or an astropy Quantity."
        )
    return array.astype(np.float64)


def positive(name: str, value: Any) -> float:
    """Return a float that must be finite and above 0."""
    number = float(value)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name} = {value} must be a finite number above 0. Pass one, in days.")
    return number


def cadence(time: np.ndarray, segment: np.ndarray) -> float:
    """Return the median step between neighbours of one segment that differ in time, or NaN."""
    steps = [np.diff(time[segment == k]) for k in np.unique(segment)]
    steps = np.concatenate(steps)
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else float("nan")


def estimate_errors(time: np.ndarray, flux: np.ndarray, segment: np.ndarray) -> np.ndarray:
    r"""Return white-noise errors from first differences, one value for each segment.

    .. math:: \sigma = 1.4826\,\mathrm{median}\,|\Delta_i - m_i| / \sqrt 2, \qquad
              \Delta_i = f_{i+1} - f_i

    over neighbours no more than 1.5 cadences apart (all neighbours if there are none), with
    :math:`m_i` the median of the 25 nearest differences: the slope of the star's own variation.
    Segments of fewer than 10 such pairs share the value of all segments together.
    """
    limit = GAP * cadence(time, segment)
    differences = {}
    for k in np.unique(segment):
        own = segment == k
        step, jump = np.diff(time[own]), np.diff(flux[own])
        jump = jump[step <= limit] if np.any(step <= limit) else jump
        if jump.size >= 10:
            jump = jump - running_median(np.arange(float(jump.size)), jump, 24.0)
        differences[k] = np.abs(jump)
    factor = _MAD_TO_SIGMA / np.sqrt(2.0)
    together = np.concatenate(list(differences.values()))
    if not together.size:
        return np.zeros_like(flux)
    errors = np.full(flux.shape, factor * np.median(together))
    for k, jump in differences.items():
        if jump.size >= 10:
            errors[segment == k] = factor * np.median(jump)
    return errors


def robust_sigma(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation."""
    return float(_MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def running_median(time: np.ndarray, flux: np.ndarray, window: float) -> np.ndarray:
    """Return the median of all fluxes within half a window of each time (ascending times).

    The window is measured in time, so it is right on uneven data and simply holds fewer points at
    the ends and beside gaps.
    """
    first = np.searchsorted(time, time - 0.5 * window, side="left")
    last = np.searchsorted(time, time + 0.5 * window, side="right")
    values = flux.tolist()
    inside: list[float] = []
    median = np.empty_like(flux)
    low = high = 0
    for i in range(len(values)):
        while high < last[i]:
            bisect.insort(inside, values[high])
            high += 1
        while low < first[i]:
            del inside[bisect.bisect_left(inside, values[low])]
            low += 1
        half = len(inside) // 2
        odd = len(inside) % 2
        median[i] = inside[half] if odd else 0.5 * (inside[half - 1] + inside[half])
    return median


def polynomial_trend(
    time: np.ndarray, flux: np.ndarray, flux_err: np.ndarray, order: int
) -> np.ndarray:
    """Return the weighted least-squares polynomial at the times."""
    middle, half = 0.5 * (time[0] + time[-1]), 0.5 * (time[-1] - time[0])
    x = (time - middle) / (half if half > 0 else 1.0)
    basis = np.polynomial.legendre.legvander(x, order)
    weight = np.min(flux_err) / flux_err
    coefficients = np.linalg.lstsq(basis * weight[:, None], flux * weight, rcond=None)[0]
    return basis @ coefficients


def bin_means(
    time: np.ndarray, flux: np.ndarray, flux_err: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inverse-variance means of time and flux in bins from the first time on, and errors."""
    number = np.floor((time - time[0]) / width).astype(np.int64)
    _, index = np.unique(number, return_inverse=True)
    weight = flux_err**-2.0
    total = np.bincount(index, weight)
    # offsets keep the digits of large times and fluxes
    mean_time = time[0] + np.bincount(index, weight * (time - time[0])) / total
    mean_flux = flux[0] + np.bincount(index, weight * (flux - flux[0])) / total
    return mean_time, mean_flux, total**-0.5


def split_by_gaps(time: np.ndarray, segment: np.ndarray, gap: float) -> np.ndarray:
    """Return segment numbers in order of time, new ones after each gap inside a segment."""
    labels = np.zeros(time.shape, np.int64)
    starts = []
    for k in np.unique(segment):
        own = np.flatnonzero(segment == k)
        piece = np.concatenate([[0], np.cumsum(np.diff(time[own]) > gap)])
        labels[own] = len(starts) + piece
        starts += list(time[own][np.unique(piece, return_index=True)[1]])
    rank = np.empty(len(starts), np.int64)
    rank[np.argsort(starts, kind="stable")] = np.arange(len(starts))
    return rank[labels]


def points(count: int) -> str:
    """Return "1,234 points"."""
    return f"{count:,} point{'' if count == 1 else 's'}"


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has one value for each time."""
    if array.shape != shape:
        raise ValueError(
            f"TimeSeriesData.{name} has shape {array.shape} but time has shape {shape}: give one "
            "value for each time."
        )


def booleans(name: str, value: Any) -> np.ndarray:
    """Return an array that must hold booleans."""
    array = np.asarray(value)
    if array.dtype != bool:
        raise TypeError(
            f"TimeSeriesData.{name} holds {array.dtype}, not booleans: pass True where a point is "
            "used, for example quality == 0."
        )
    return array


def integers(value: Any) -> np.ndarray:
    """Return segment numbers, which must be integers."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"TimeSeriesData.segment holds {array.dtype}, not integers: number the segments."
        )
    return array.astype(np.int64)


def finite(
    used: np.ndarray, time: np.ndarray, flux: np.ndarray, error: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Return where points are used and finite, and note how many are not."""
    excluded = int(np.sum(~used))
    columns = {"time": time, "flux": flux, "flux_err": error}
    bad = {name: used & ~np.isfinite(array) for name, array in columns.items()}
    keep = used & ~(bad["time"] | bad["flux"] | bad["flux_err"])
    lost = int(np.sum(used) - np.sum(keep))
    counts = ", ".join(f"{np.sum(b):,} {name}" for name, b in bad.items() if b.any())
    if lost:
        notes.append(f"Masked {lost:,} of {points(used.size)} that are not finite: {counts}.")
    if np.sum(keep) < 2:
        for name, hint in (
            ("flux", "Choose another column."),
            ("flux_err", "Leave flux_err out to have it estimated."),
            ("time", "Choose another column."),
        ):
            if used.size and not np.isfinite(columns[name]).any():
                raise ValueError(f"TimeSeriesData.{name} holds no finite value. {hint}")
        raise ValueError(
            f"TimeSeriesData has {np.sum(keep)} points to use and needs at least 2: of "
            f"{used.size} given {excluded} are masked and {lost} not finite"
            f"{' (' + counts + ')' if counts else ''}. Pass more points, or check the mask (True = "
            "used)."
        )
    return keep


def days(time: Any, reference: float | None) -> tuple[np.ndarray, float | None, str]:
    """Return days since the reference, the reference (a Julian date) and the scale of a Time."""
    from astropy.time import TimeDelta

    if isinstance(time, TimeDelta):
        return real_array("time", time.to_value("day")), None, time.scale or "tdb"
    one, two = (real_array("time", part) for part in (time.jd1, time.jd2))
    if reference is None:
        whole = np.nanmin(one + two) if np.isfinite(one + two).any() else 0.0
        reference = float(np.floor(whole))
    return (one - reference) + two, reference, time.scale
