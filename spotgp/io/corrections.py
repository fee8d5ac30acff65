"""Corrections of light curves, as functions of NumPy arrays."""

import bisect
import re
from typing import Any

import numpy as np

MAD_TO_SIGMA = 1.4826
_MAGNITUDE = 0.4 * np.log(10.0)  # relative flux in a magnitude


def robust_sigma(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


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


def trend(
    time: np.ndarray,
    flux: np.ndarray,
    flux_err: np.ndarray,
    segment: np.ndarray,
    order: int,
    window: float | None,
) -> np.ndarray:
    """Return the trend of each segment, its median taken off.

    A running median if there is a window (days), and else a polynomial of that order.
    """
    found = np.empty_like(flux)
    for k in np.unique(segment):
        own = segment == k
        if window is not None:
            found[own] = running_median(time[own], flux[own], window)
        else:
            moments = np.unique(time[own]).size
            if moments <= order:
                raise ValueError(
                    f"order = {order} is too high for segment {k}, which has points at {moments} "
                    "times. Lower it, or leave this segment out (select(segment=...))."
                )
            found[own] = polynomial_trend(time[own], flux[own], flux_err[own], order)
        found[own] -= np.median(flux[own])
    return found


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
    time: np.ndarray, flux: np.ndarray, flux_err: np.ndarray, segment: np.ndarray, width: float
) -> tuple[np.ndarray, ...]:
    """Return inverse-variance means of time and flux, their errors, and segments, in time's order.

    Bins have a width in days and begin at the first time of each segment.
    """
    parts = []
    for k in np.unique(segment):
        own = segment == k
        t, f, weight = time[own], flux[own], flux_err[own] ** -2.0
        _, index = np.unique(np.floor((t - t[0]) / width), return_inverse=True)
        total = np.bincount(index, weight)
        # offsets keep the digits of large times and fluxes
        mean_time = t[0] + np.bincount(index, weight * (t - t[0])) / total
        mean_flux = f[0] + np.bincount(index, weight * (f - f[0])) / total
        parts.append((mean_time, mean_flux, total**-0.5, np.full(total.size, k)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    time, flux, error, segment = (column[order] for column in columns)
    return time, flux, error, segment


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


def conversion(unit: str, other: str) -> float:
    """What a flux is multiplied by to be in another unit; 1 where one is a label, or none."""
    if unit == other:
        return 1.0
    from astropy import units

    own, wanted = _known(unit), _known(other)
    if own is None or wanted is None:
        return 1.0
    if not _is_logarithmic(wanted):
        refuse_magnitudes(unit, other)
    try:
        return float(own.to(wanted))
    except units.UnitConversionError:
        if not unit:
            return 1.0
        to = other or "one relative to the star: divide it by its median, with normalize()"
        raise ValueError(f"The flux is in {unit} and cannot be converted to {to}.") from None


def refuse_magnitudes(unit: str, other: str = "") -> None:
    """ValueError for a logarithmic unit, of which no factor makes a flux."""
    if unit and _is_logarithmic(_known(unit)):
        raise ValueError(
            f"The flux is in {unit} and cannot be converted to "
            f"{other or 'one relative to the star'}: pass the flux 10**(-0.4 * magnitude)."
        )


def _is_logarithmic(unit: Any) -> bool:
    from astropy import units

    return unit is not None and (isinstance(unit, units.LogUnit) or unit.is_equivalent(units.mag))


def factor(path: str, column: str, own: str, unit: str) -> float:
    """What a file's column is multiplied by to be in a unit; 1 where its own is not known."""
    try:
        return conversion(own, unit) if own else 1.0
    except ValueError:
        raise ValueError(
            f"{path}: the column {column} is in {own}, which is not to be had in "
            f"{unit or 'the unit of the flux, which has none'}."
        ) from None


def from_magnitudes(magnitude: np.ndarray, error: np.ndarray | None, kept: Any = slice(None)):
    """Fluxes relative to the median of those that are kept, and their errors if there are any."""
    flux = 10.0 ** (-0.4 * (magnitude - np.nanmedian(magnitude[kept])))
    return flux, None if error is None else _MAGNITUDE * flux * error


def _known(label: str) -> Any:
    """The unit of a label, also as catalogues write it; None where astropy knows none."""
    from astropy import units

    word = label.strip()
    ratio = {"ppm": 1e-6, "ppt": 1e-3, "percent": 1e-2}.get(word.lower())
    if ratio is not None:
        return units.Unit(ratio)
    word = re.sub(r"electrons|(?<![\d.])e-(?!\d)", "electron", word)
    word = re.sub(r"\bcounts?\b", "ct", re.sub(r"\bADU\b", "adu", word))
    try:
        return units.Unit(word)
    except ValueError:
        return None
