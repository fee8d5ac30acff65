"""Readers: what other packages and mission files hold, as arguments of `TimeSeriesData`."""

import itertools
import warnings
from typing import Any

import numpy as np

from pytreefit.extend import as_data

from .columns import days_of
from .missions import by_quality, find_mission

_SHARED = 0.1  # of the points of a light curve that are simultaneous with those of another
_ZERO_POINT = {"bkjd": 2454833.0, "btjd": 2457000.0, "jd": 0.0, "mjd": 2400000.5}


def from_timeseries(
    series: Any, flux: str, flux_err: str | None, segment: str | None, reference: float | None
) -> dict[str, Any]:
    """Columns of an `astropy.timeseries.TimeSeries`; ValueError for a missing column."""
    wanted = [column for column in (flux, flux_err, segment) if column is not None]
    missing = [column for column in wanted if column not in series.colnames]
    if missing:
        raise ValueError(
            f"The TimeSeries has no column {' or '.join(map(repr, missing))}; its columns are "
            f"{', '.join(series.colnames)}. Name them with flux=, flux_err= (None: to be "
            "estimated) and segment=."
        )
    time, reference, scale = days_of(series.time, reference)
    return {
        "time": time,
        "flux": series[flux],
        "flux_err": None if flux_err is None else series[flux_err],
        "segment": None if segment is None else series[segment],
        "reference": reference,
        "time_scale": scale,
    }


def from_lightkurve(light_curve: Any, quality: str | int, mission: str | None) -> dict[str, Any]:
    """Columns of a lightkurve object; errors that are all NaN are ignored."""
    if not (hasattr(light_curve, "time") and hasattr(light_curve, "flux")):
        raise TypeError(
            f"light_curve is a {type(light_curve).__name__}, which has no time and no flux."
        )
    meta = getattr(light_curve, "meta", None) or {}
    time, reference = _days_of(light_curve.time)
    error = getattr(light_curve, "flux_err", None)
    if error is not None and np.all(np.isnan(as_data("light_curve.flux_err", error))):
        error = None
    flags = getattr(light_curve, "quality", None)
    masked = {}
    if flags is not None:
        flags = np.asarray(getattr(flags, "value", flags)).astype(np.int64)
        masked = by_quality(flags, quality, mission or find_mission(meta))
    return {
        "time": time,
        "flux": light_curve.flux,
        "flux_err": error,
        "reference": reference,
        "time_scale": getattr(light_curve.time, "scale", None) or "tdb",
        "name": str(meta.get("OBJECT", meta.get("LABEL", "")) or ""),
        **masked,
    }


def _days_of(time: Any) -> tuple[Any, float | None]:
    """Days, and the Julian date of their zero; ValueError for what are no times."""
    name = getattr(time, "format", None)
    if hasattr(time, "jd1") and hasattr(time, "to"):
        raise ValueError(
            "light_curve.time holds differences, as of a folded light curve: phases are no times. "
            "Pass the light curve before it was folded."
        )
    if name in _ZERO_POINT or not hasattr(time, "jd1"):
        return as_data("light_curve.time", time.value, "d"), _ZERO_POINT.get(name)
    days, reference, _ = days_of(time, None)
    return days, reference


def joined(series: list[Any]) -> dict[str, Any]:
    """Several light curves as one; ValueError if units, scales or known references are mixed.

    A warning says where they have different names, or points at the same times.
    """
    for what in ("unit", "time_scale"):
        found = list(dict.fromkeys(repr(getattr(one, what)) for one in series))
        if len(found) > 1:
            raise ValueError(
                f"The series to concatenate differ in {what}: {', '.join(found)}. Bring them "
                "to the same first, for example with normalize()."
            )
    known = [one.reference is not None for one in series]
    if any(known) and not all(known):
        raise ValueError(
            "Some of the series to concatenate have a reference (the Julian date of time 0) "
            "and some do not. Build all of them with reference=, or none."
        )
    for k, one in enumerate(series):
        for other in series[:k]:
            if np.array_equal(one.time, other.time) and np.array_equal(one.flux, other.flux):
                raise ValueError(
                    f"Two of the series to concatenate are the same ({one.name or 'number'} {k}): "
                    "leave one out, or its points count twice."
                )
    zero = series[0].reference
    shifts = [one.reference - zero if all(known) else 0.0 for one in series]
    times = [one.time + s for one, s in zip(series, shifts, strict=True)]
    _warn_of_names(series)
    _warn_of_shared_times(series, times)
    first = np.cumsum([0, *(one.n_segments for one in series[:-1])])
    notes = [
        f"[{number}{' ' + one.name if one.name else ''}] {note}"
        for number, one in enumerate(series)
        for note in one.history
    ]
    return {
        "time": np.concatenate(times),
        "flux": np.concatenate([one.flux for one in series]),
        "flux_err": np.concatenate([one.flux_err for one in series]),
        "segment": np.concatenate([one.segment + k for one, k in zip(series, first, strict=True)]),
        "unit": series[0].unit,
        "reference": zero,
        "time_scale": series[0].time_scale,
        "name": ", ".join(dict.fromkeys(one.name for one in series if one.name)),
        "history": [*notes, f"Joined {len(series)} light curves, each with its own segments."],
    }


def _warn_of_names(series: list[Any]) -> None:
    names = list(dict.fromkeys(one.name for one in series if one.name))
    if len(names) > 1:
        warnings.warn(
            f"The series to concatenate have different names, {', '.join(names)}: join them only "
            "if these are names of one star.",
            stacklevel=4,
        )


def _warn_of_shared_times(series: list[Any], times: list[np.ndarray]) -> None:
    """Warn of two light curves of one name that have many points at the same times."""
    pairs = []
    for j, k in itertools.combinations(range(len(series)), 2):
        step = np.nanmax([series[j].cadence, series[k].cadence, 0.0])
        shares = _share_near(times[j], times[k], step), _share_near(times[k], times[j], step)
        if series[j].name == series[k].name and max(shares) > _SHARED:
            pairs.append(f"{j} and {k}")
    if pairs:
        more = f", and {len(pairs) - 1} more pairs," if len(pairs) > 1 else ""
        warnings.warn(
            f"Numbers {pairs[0]}{more} of the series to concatenate have points at the same times. "
            "If they are of one telescope, such as the fast and the slow cadence of a sector, "
            "leave one out: their photons would count twice.",
            stacklevel=4,
        )


def _share_near(times: np.ndarray, others: np.ndarray, step: float) -> float:
    """Share of times with another one not farther than half a step."""
    after = np.clip(np.searchsorted(others, times), 1, others.size - 1)
    nearest = np.minimum(np.abs(times - others[after - 1]), np.abs(times - others[after]))
    return float(np.mean(nearest <= 0.5 * step))


def to_timeseries(data: Any) -> Any:
    """An `astropy.timeseries.TimeSeries` of a `TimeSeriesData`."""
    from astropy import units
    from astropy.time import Time, TimeDelta
    from astropy.timeseries import TimeSeries

    if data.reference is None:
        time: Any = TimeDelta(data.time, format="jd")
    else:
        time = Time(data.reference, data.time, format="jd", scale=data.time_scale)
    try:
        unit: Any = units.Unit(data.unit)
    except ValueError:  # a label that astropy does not know
        unit = units.dimensionless_unscaled
    flux, flux_err = data.flux * unit, data.flux_err * unit
    columns = {"flux": flux, "flux_err": flux_err, "segment": np.array(data.segment)}
    return TimeSeries(time=time, data=columns)
