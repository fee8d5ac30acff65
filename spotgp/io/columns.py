"""Columns of a light curve as NumPy arrays: converted, checked and sorted."""

import re
from typing import Any, NamedTuple, Self

import numpy as np

from pytreefit.extend import (
    as_booleans,
    as_data,
    as_integers,
    as_number,
    check_shape,
    unit_of,
)

from .corrections import MAD_TO_SIGMA, running_median

GAP = 1.5  # a step longer than this many cadences is a gap
OTHER_ZERO = 1e5  # days: times that are farther from the data count from another zero
LIKE_FLAGS = re.compile("flag|qual|mask")  # in small letters, names of what may be flags


class Columns(NamedTuple):
    """Arrays of one length: days, fluxes, errors, and the segment of each point."""

    time: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    segment: np.ndarray

    def at(self, which: np.ndarray) -> Self:
        """The points of a mask, or in an order."""
        return type(self)(*(column[which] for column in self))


def read_columns(time: Any, flux: Any, flux_err: Any, segment: Any) -> Columns:
    """Columns of equal length; errors that are not given are 1, segments 0."""
    single = getattr(time, "dtype", None) == np.float32
    time = as_data("TimeSeriesData.time", time, "d", ndim=1)
    if single:
        _check_precision(time)
    unit = unit_of(flux)
    flux = as_data("TimeSeriesData.flux", flux, shape=time.shape)
    error = 1.0 if flux_err is None else flux_err
    error = as_data("TimeSeriesData.flux_err", error, "" if unit is None else unit)
    error = np.full(time.shape, error) if error.ndim == 0 else error
    check_shape("TimeSeriesData.flux_err", error, shape=time.shape)
    if segment is None:
        return Columns(time, flux, error, np.zeros(time.shape, np.int64))
    labels = as_integers("TimeSeriesData.segment", segment, shape=time.shape)
    return Columns(time, flux, error, labels)


def _check_precision(time: np.ndarray) -> None:
    """ValueError where single precision has made times equal that were not."""
    known = time[np.isfinite(time)]
    apart = np.unique(known).size
    if apart < 0.9 * known.size:
        raise ValueError(
            f"TimeSeriesData.time is in single precision, in which only {apart:,} of "
            f"{points(known.size)} differ. Pass double precision, or take a whole day off before."
        )


def usable(columns: Columns, mask: Any, reason: str, notes: list[str]) -> np.ndarray:
    """Where points are used and finite, noting how many are not; their errors must be positive."""
    used = np.ones(columns.time.shape, bool)
    if mask is not None:
        used = as_booleans("TimeSeriesData.mask", mask, shape=used.shape)
        notes.append(f"Masked {int(np.sum(~used)):,} of {points(used.size)} by {reason}.")
    keep = _usable(used, columns, notes)
    time, error = columns.time[keep], columns.flux_err[keep]
    bad = np.flatnonzero(~(error > 0))
    if bad.size:
        raise ValueError(
            f"TimeSeriesData.flux_err is zero or negative at {bad.size} of the {error.size} points "
            f"in use; the first is {error[bad[0]]:g} at time {time[bad[0]]:.9g}. Give them errors "
            "> 0, mask them (mask=, True = used), or leave flux_err out to have it estimated."
        )
    return keep


def _usable(used: np.ndarray, columns: Columns, notes: list[str]) -> np.ndarray:
    """Where points are used and finite; notes how many are not."""
    bad = {
        name: used & ~np.isfinite(getattr(columns, name)) for name in ("time", "flux", "flux_err")
    }
    keep = used & ~(bad["time"] | bad["flux"] | bad["flux_err"])
    lost = int(np.sum(used) - np.sum(keep))
    counts = ", ".join(f"{np.sum(b):,} {name}" for name, b in bad.items() if b.any())
    if lost:
        notes.append(f"Masked {lost:,} of {points(used.size)} that are not finite: {counts}.")
    if np.sum(keep) >= 2:
        return keep
    for name, hint in (
        ("flux", "Choose another column."),
        ("flux_err", "Leave flux_err out to have it estimated."),
        ("time", "Choose another column."),
    ):
        if used.size and not np.isfinite(getattr(columns, name)).any():
            raise ValueError(f"TimeSeriesData.{name} holds no finite value. {hint}")
    raise ValueError(
        f"TimeSeriesData has {np.sum(keep)} points to use and needs at least 2: of {used.size} "
        f"given {int(np.sum(~used))} are masked and {lost} not finite"
        f"{' (' + counts + ')' if counts else ''}. Pass more points, or check the mask (True = "
        "used)."
    )


def in_order(columns: Columns, notes: list[str]) -> Columns:
    """The points sorted by time, the segments numbered 0, 1, 2 ...; notes what that changed."""
    backward = int(np.sum(np.diff(columns.time) < 0))
    if backward:
        columns = columns.at(np.argsort(columns.time, kind="stable"))
        notes.append(
            f"Sorted by time: {backward:,} of {points(columns.time.size)} came before "
            f"{'its predecessor' if backward == 1 else 'their predecessors'}."
        )
    numbers, labels = np.unique(columns.segment, return_inverse=True)
    if not np.array_equal(numbers, np.arange(numbers.size)):
        notes.append(
            f"Segments {', '.join(map(str, numbers))} are now numbered 0 to {numbers.size - 1}."
        )
    return columns._replace(segment=labels)


def with_estimated_errors(columns: Columns, notes: list[str]) -> Columns:
    """The columns with errors from the first differences of the flux, see `estimate_errors`."""
    error = estimate_errors(columns.time, columns.flux, columns.segment)
    if not np.all(error > 0):
        raise ValueError(
            "TimeSeriesData.flux_err cannot be estimated: half of the first differences of "
            "the flux are 0. Pass flux_err."
        )
    numbers = np.unique(columns.segment)
    values = ", ".join(f"{error[columns.segment == k][0]:.3g}" for k in numbers[:8])
    notes.append(
        "Estimated flux_err from the first differences of the flux: "
        f"{values}{' ...' if numbers.size > 8 else ''}."
    )
    return columns._replace(flux_err=error)


def estimate_errors(time: np.ndarray, flux: np.ndarray, segment: np.ndarray) -> np.ndarray:
    r"""Return white-noise errors from first differences, one value for each segment.

    .. math:: \sigma = 1.4826\,\mathrm{median}\,|\Delta_i - m_i| / \sqrt 2, \qquad
              \Delta_i = f_{i+1} - f_i

    over neighbours no more than 1.5 cadences apart (all neighbours if there are none), with
    :math:`m_i` the median of the 25 nearest differences: the slope of the star's own variation.
    Segments of fewer than 10 such pairs share the value of all segments together.
    """
    limit = GAP * median_step(time, segment)
    differences = {}
    for k in np.unique(segment):
        own = segment == k
        step, jump = np.diff(time[own]), np.diff(flux[own])
        jump = jump[step <= limit] if np.any(step <= limit) else jump
        if jump.size >= 10:
            jump = jump - running_median(np.arange(float(jump.size)), jump, 24.0)
        differences[k] = np.abs(jump)
    factor = MAD_TO_SIGMA / np.sqrt(2.0)
    together = np.concatenate(list(differences.values()))
    if not together.size:
        return np.zeros_like(flux)
    errors = np.full(flux.shape, factor * np.median(together))
    for k, jump in differences.items():
        if jump.size >= 10:
            errors[segment == k] = factor * np.median(jump)
    return errors


def median_step(time: np.ndarray, segment: np.ndarray | None = None) -> float:
    """Return the median step between neighbours of one segment that differ in time, or NaN."""
    segment = np.zeros(time.shape, int) if segment is None else segment
    steps = np.concatenate([np.diff(time[segment == k]) for k in np.unique(segment)])
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else float("nan")


def positive(name: str, value: Any) -> float:
    """Return a float that must be finite and above 0."""
    number = as_number(name, value, "d")
    if not number > 0:
        raise ValueError(f"{name} = {value} must be a finite number above 0. Pass one, in days.")
    return number


def points(count: int) -> str:
    """Return "1,234 points"."""
    return f"{count:,} point{'' if count == 1 else 's'}"


def days_of(time: Any, reference: float | None) -> tuple[np.ndarray, float | None, str]:
    """Return days since the reference, the reference (a Julian date) and the scale of a Time."""
    from astropy.time import TimeDelta

    if isinstance(time, TimeDelta):
        return as_data("TimeSeriesData.time", time), None, time.scale or "tdb"
    one, two = (as_data("TimeSeriesData.time", part) for part in (time.jd1, time.jd2))
    if reference is None:
        whole = np.nanmin(one + two) if np.isfinite(one + two).any() else 0.0
        reference = float(np.floor(whole))
    return (one - reference) + two, reference, time.scale
