"""Observed light curves: read, cleaned and prepared on the host, step by step."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from ..periods import Autocorrelation, Periodogram, autocorrelation, lomb_scargle
from . import timeseries as ts
from .lightcurve_fits import find_mission, quality_bits, read_light_curve

_ZERO_POINT = {"bkjd": 2454833.0, "btjd": 2457000.0, "jd": 0.0, "mjd": 2400000.5}


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class TimeSeriesData:
    r"""A light curve: times, fluxes, errors and segments, with the history of what was done to it.

    It prepares data and is no JAX model: immutable, NumPy float64, sorted in time. Every step
    returns a new object and adds a sentence to :attr:`history`. Points where time, flux or error
    are not finite and points that ``mask`` excludes are left out and counted.

    Parameters
    ----------
    time : array (n,), Quantity or Time
        Times, days, in any order; several points may share one.
    flux : array (n,) or Quantity
        Fluxes.
    flux_err : array (n,), float or Quantity, optional
        Standard deviations in the unit of the flux, > 0. Without them each segment gets one from
        its first differences, :math:`1.4826\,\mathrm{MAD}(\Delta f) / \sqrt 2`, each about the
        median of its 25 nearest, which takes the star's own slope away.
    segment : array of int (n,), optional
        Which quarter, sector or instrument a point belongs to; the numbers used become 0, 1, 2 ...
        in ascending order. By default all are 0.
    mask : array of bool (n,), optional
        True where a point is used; by default everywhere.
    unit : str
        Unit of the flux, for labels.
    reference : float, optional
        Julian date of time 0, where it is known.
    time_scale : str
        astropy's name of the scale that times are on.
    name : str
        Name of the star, for labels.
    history : tuple of str
        Sentences about what was done before.
    reason : str
        What made ``mask``, for the history.

    Raises
    ------
    ValueError
        If shapes disagree, an error is zero or negative, or fewer than two points are left.
    TypeError
        If an array does not hold real numbers, segments no integers, or the mask no booleans.

    Examples
    --------
    >>> data = TimeSeriesData([2.0, 0.0, 1.0, 3.0], [1.01, 1.0, np.nan, 0.98], 0.01)
    >>> data
    TimeSeriesData(3 points in 1 segment over 3 d, cadence 1.5 d, 1 dropped)
      Masked 1 of 4 points that are not finite: 1 flux.
      Sorted by time: 1 of 3 points came before its predecessor.
    >>> data.normalize().flux
    array([1.  , 1.01, 0.98])
    """

    time: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    segment: np.ndarray
    unit: str
    reference: float | None
    time_scale: str
    name: str
    history: tuple[str, ...]
    n_dropped: int

    def __init__(
        self,
        time: Any,
        flux: Any,
        flux_err: Any = None,
        segment: Any = None,
        *,
        mask: Any = None,
        unit: str = "",
        reference: float | None = None,
        time_scale: str = "tdb",
        name: str = "",
        history: Iterable[str] = (),
        reason: str = "mask",
    ):
        if hasattr(time, "jd1"):  # an astropy Time
            time, reference, time_scale = ts.days(time, reference)
        if getattr(flux, "unit", None) is not None:
            unit = unit or str(flux.unit)
            flux_unit = flux.unit
        else:
            flux_unit = None
        time = ts.real_array("time", time, "d")
        flux = ts.real_array("flux", flux)
        if time.ndim != 1:
            raise ValueError(
                f"TimeSeriesData.time has shape {time.shape}; a one-dimensional array is needed: "
                "pass time.ravel(), or one star at a time."
            )
        ts.check_shape("flux", flux, time.shape)
        estimated = flux_err is None
        error = np.ones_like(flux) if estimated else ts.real_array("flux_err", flux_err, flux_unit)
        error = np.full(time.shape, error) if error.ndim == 0 else error
        ts.check_shape("flux_err", error, time.shape)
        labels = np.zeros(time.shape, np.int64) if segment is None else ts.integers(segment)
        ts.check_shape("segment", labels, time.shape)
        used = np.ones(time.shape, bool) if mask is None else ts.booleans("mask", mask)
        ts.check_shape("mask", used, time.shape)

        notes = list(history)
        if mask is not None:
            masked = int(np.sum(~used))
            notes.append(f"Masked {masked:,} of {ts.points(used.size)} by {reason}.")
        keep = ts.finite(used, time, flux, error, notes)
        time, flux, error, labels = (a[keep] for a in (time, flux, error, labels))
        if not np.all(error > 0):
            bad = np.flatnonzero(~(error > 0))
            raise ValueError(
                f"TimeSeriesData.flux_err is zero or negative at {bad.size} of the {error.size} "
                f"points in use; the first is {error[bad[0]]:g} at time {time[bad[0]]:.9g}. Give "
                "them errors > 0, mask them (mask=, True = used), or leave flux_err out to have "
                "it estimated."
            )
        backward = int(np.sum(np.diff(time) < 0))
        if backward:
            order = np.argsort(time, kind="stable")
            time, flux, error, labels = (a[order] for a in (time, flux, error, labels))
            notes.append(
                f"Sorted by time: {backward:,} of {ts.points(time.size)} came before "
                f"{'its predecessor' if backward == 1 else 'their predecessors'}."
            )
        numbers, labels = np.unique(labels, return_inverse=True)
        if not np.array_equal(numbers, np.arange(numbers.size)):
            notes.append(
                f"Segments {', '.join(map(str, numbers))} are now numbered 0 to {numbers.size - 1}."
            )
        if estimated:
            error = ts.estimate_errors(time, flux, labels)
            if not np.all(error > 0):
                raise ValueError(
                    "TimeSeriesData.flux_err cannot be estimated: half of the first differences of "
                    "the flux are 0. Pass flux_err."
                )
            values = ", ".join(f"{error[labels == k][0]:.3g}" for k in np.unique(labels)[:8])
            notes.append(
                "Estimated flux_err from the first differences of the flux: "
                f"{values}{' ...' if numbers.size > 8 else ''}."
            )
        for array in (time, flux, error, labels):
            array.flags.writeable = False
        values = dict(
            time=time,
            flux=flux,
            flux_err=error,
            segment=labels,
            unit=unit,
            reference=None if reference is None else float(reference),
            time_scale=str(time_scale),
            name=name,
            history=tuple(notes),
            n_dropped=int(np.sum(~keep)),
        )
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_timeseries(
        cls,
        series: Any,
        flux: str = "flux",
        flux_err: str | None = "flux_err",
        segment: str | None = None,
        *,
        mask: Any = None,
        reference: float | None = None,
        name: str = "",
    ) -> Self:
        """Return the light curve in an ``astropy.timeseries.TimeSeries``.

        Parameters
        ----------
        series : astropy.timeseries.TimeSeries
            Its times may be absolute (``Time``) or relative (``TimeDelta``).
        flux, flux_err, segment : str
            Names of columns; None for ``flux_err`` has the errors estimated.
        mask : array of bool (n,), optional
            True where a point is used.
        reference : float, optional
            Julian date of time 0; by default the day on which the series starts. Only for
            absolute times.
        name : str
            Name of the star.
        """
        wanted = [column for column in (flux, flux_err, segment) if column is not None]
        missing = [column for column in wanted if column not in series.colnames]
        if missing:
            raise ValueError(
                f"The TimeSeries has no column {' or '.join(map(repr, missing))}; its columns are "
                f"{', '.join(series.colnames)}. Name them with flux=, flux_err= (None: to be "
                "estimated) and segment=."
            )
        time, reference, scale = ts.days(series.time, reference)
        labels = None if segment is None else np.asarray(series[segment])
        errors = None if flux_err is None else series[flux_err]
        return cls(
            time,
            series[flux],
            errors,
            labels,
            mask=mask,
            reference=reference,
            time_scale=scale,
            name=name,
        )

    @classmethod
    def from_lightkurve(
        cls, light_curve: Any, quality: str | int = "default", mission: str | None = None
    ) -> Self:
        """Return the light curve in an object of lightkurve, or any that looks like one.

        Parameters
        ----------
        light_curve
            Has ``.time.value`` (days), ``.flux``, maybe ``.flux_err`` (all NaN: estimated),
            ``.quality``, ``.meta``.
        quality : str or int
            "default", "hard", "none" or a bitmask, as for :meth:`from_fits`.
        mission : str, optional
            "Kepler", "K2" or "TESS"; by default what ``.meta`` says.
        """
        meta = getattr(light_curve, "meta", None) or {}
        mission = mission or find_mission(meta)
        time, flux = light_curve.time, light_curve.flux
        errors = getattr(light_curve, "flux_err", None)
        if errors is not None and np.all(np.isnan(ts.real_array("flux_err", errors))):
            errors = None
        flags = getattr(light_curve, "quality", None)
        mask, reason = None, "mask"
        if flags is not None:
            flags = np.asarray(getattr(flags, "value", flags)).astype(np.int64)
            bits = quality_bits(quality, mission)
            mask = (flags & bits) == 0
            reason = _quality_reason(quality, bits)
        return cls(
            np.asarray(time.value, float),
            flux,
            errors,
            mask=mask,
            reference=_ZERO_POINT.get(getattr(time, "format", "")),
            time_scale=getattr(time, "scale", None) or "tdb",
            name=str(meta.get("OBJECT", meta.get("LABEL", "")) or ""),
            reason=reason,
        )

    @classmethod
    def from_fits(
        cls,
        path: str | os.PathLike | Sequence[str | os.PathLike],
        flux: str = "PDCSAP_FLUX",
        quality: str | int = "default",
        mission: str | None = None,
    ) -> Self:
        """Return the light curve in a FITS file of Kepler, K2 or TESS, or in several of them.

        Parameters
        ----------
        path
            A light-curve file (gzipped or not), or a sequence of them: one segment each, with
            times counted from the first file's time 0. Normalise per segment afterwards, quarters
            and sectors differ in level.
        flux : str
            Column of the flux; its errors are in the column of that name with ``_ERR``, and are
            estimated where there is none.
        quality : str or int
            Points are masked if their flags hold any bit of this mask. "default" is what makes a
            point useless (safe modes, coarse pointing, manual exclusion ...), "hard" takes cosmic
            rays and stray light too, "none" is 0.
        mission : str, optional
            "Kepler", "K2" or "TESS" if the file must be of that mission.

        Raises
        ------
        ValueError
            If the file is another mission's, of none of these, or lacks a column.
        """
        if not isinstance(path, str | os.PathLike):
            paths = list(path)
            if not paths:
                raise ValueError("path is an empty sequence. Pass one light-curve file at least.")
            return cls.concatenate([cls.from_fits(one, flux, quality, mission) for one in paths])
        table = read_light_curve(path, flux, mission)
        bits = quality_bits(quality, table.mission)
        mask = (table.quality & bits) == 0
        where = " ".join(part for part in (table.mission, table.part) if part)
        return cls(
            table.time,
            table.flux,
            table.flux_err,
            mask=mask,
            unit=table.unit,
            reference=table.reference,
            name=table.name,
            history=[f"Read {flux} of {where} from {os.path.basename(os.fspath(path))}."],
            reason=_quality_reason(quality, bits),
        )

    @classmethod
    def concatenate(cls, series: Sequence["TimeSeriesData"]) -> Self:
        """Return several light curves as one, each with segments of its own.

        Times are counted from the first one's time 0 where all references are known.

        Raises
        ------
        ValueError
            If units, time scales or known and unknown references are mixed.
        """
        series = list(series)
        if not series:
            raise ValueError("series is empty. Pass one TimeSeriesData at least.")
        if len(series) == 1 and type(series[0]) is cls:
            return series[0]  # pyright: ignore
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
        zero = series[0].reference
        shifts = [
            0.0 if one.reference is None or zero is None else one.reference - zero for one in series
        ]
        first = np.cumsum([0] + [one.n_segments for one in series])
        notes = [
            f"[{number}{' ' + one.name if one.name else ''}] {note}"
            for number, one in enumerate(series)
            for note in one.history
        ]
        joined = cls(
            np.concatenate([one.time + s for one, s in zip(series, shifts, strict=True)]),
            np.concatenate([one.flux for one in series]),
            np.concatenate([one.flux_err for one in series]),
            np.concatenate([one.segment + k for one, k in zip(series, first, strict=False)]),
            unit=series[0].unit,
            reference=zero,
            time_scale=series[0].time_scale,
            name=", ".join(dict.fromkeys(one.name for one in series if one.name)),
            history=[*notes, f"Joined {len(series)} light curves, each with its own segments."],
        )
        object.__setattr__(joined, "n_dropped", sum(one.n_dropped for one in series))
        return joined

    def to_timeseries(self) -> Any:
        """Return an ``astropy.timeseries.TimeSeries`` with flux, flux_err and segment.

        Its times are absolute where :attr:`reference` is known, relative (``TimeDelta``) otherwise.
        """
        from astropy import units
        from astropy.time import Time, TimeDelta
        from astropy.timeseries import TimeSeries

        if self.reference is None:
            time: Any = TimeDelta(self.time, format="jd")
        else:
            time = Time(self.reference, self.time, format="jd", scale=self.time_scale)
        try:
            unit: Any = units.Unit(self.unit)
        except ValueError:  # a label that astropy does not know
            unit = units.dimensionless_unscaled
        return TimeSeries(
            time=time,
            data={
                "flux": self.flux * unit,
                "flux_err": self.flux_err * unit,
                "segment": np.array(self.segment),
            },
        )

    def __len__(self) -> int:
        return self.time.size

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return int(self.segment.max()) + 1

    @property
    def span(self) -> float:
        """Days between the first and the last point."""
        return float(self.time[-1] - self.time[0])

    @property
    def cadence(self) -> float:
        """Median step between neighbours of a segment, days, leaving out steps of 0; or NaN."""
        return ts.cadence(self.time, self.segment)

    @property
    def gaps(self) -> np.ndarray:
        """Last time before and first time after each step over 1.5 cadences, days, shape (k, 2)."""
        long = np.flatnonzero(np.diff(self.time) > ts.GAP * self.cadence)
        return np.stack([self.time[long], self.time[long + 1]], axis=-1)

    def __repr__(self) -> str:
        count = self.n_segments
        name = f"{self.name}: " if self.name else ""
        dropped = f", {self.n_dropped:,} dropped" if self.n_dropped else ""
        first = (
            f"TimeSeriesData({name}{ts.points(len(self))} in {count} "
            f"segment{'' if count == 1 else 's'} over {self.span:.6g} d, cadence "
            f"{self.cadence:.4g} d{dropped})"
        )
        return "\n  ".join([first, *self.history])

    def _new(self, note: str, keep: np.ndarray | None = None, dropped: int = 0, **values) -> Self:
        """Return the series with some values replaced, then only the points to keep, and a note."""
        arrays = {key: getattr(self, key) for key in ("time", "flux", "flux_err", "segment")}
        rest = {key: getattr(self, key) for key in ("unit", "reference", "time_scale", "name")}
        arrays |= {key: values.pop(key) for key in list(values) if key in arrays}
        if keep is not None:
            if np.sum(keep) < 2:
                raise ValueError(
                    f"{note} This leaves {np.sum(keep)} of {ts.points(len(self))}, and at least 2 "
                    "are needed: loosen the step."
                )
            arrays = {key: array[keep] for key, array in arrays.items()}
        history = (*self.history, note) if note else self.history
        made = type(self)(**arrays, **{**rest, **values}, history=history)
        object.__setattr__(made, "n_dropped", self.n_dropped + dropped)
        return made

    def normalize(self, per_segment: bool = True) -> Self:
        """Return the series divided by the median flux, of each segment or of all points.

        Raises
        ------
        ValueError
            If a median is not positive.
        """
        level = np.full(len(self), np.median(self.flux))
        if per_segment:
            for k in range(self.n_segments):
                level[self.segment == k] = np.median(self.flux[self.segment == k])
        if not np.all(level > 0):
            bad = int(self.segment[np.argmin(level)])
            raise ValueError(
                f"The median flux is {level.min():g} (segment {bad}), which is not positive: the "
                "flux has had its mean taken off already. Add it back, or do not normalise."
            )
        note = "Divided by the median flux" + (" of each segment." if per_segment else ".")
        return self._new(note, flux=self.flux / level, flux_err=self.flux_err / level, unit="")

    def detrend(self, order: int | None = None, window: float | None = None) -> Self:
        r"""Return the series with a slow trend of each segment taken off, its median kept.

        Beware of what this does to long periods: a polynomial takes away signals of periods longer
        than about :math:`2 L / \mathrm{order}` in a segment of length L, a running median those
        longer than about its window, and both distort what is near. Spots live long and rotate
        slowly: a Gaussian process with offsets per segment often needs no detrending at all.

        Parameters
        ----------
        order : int, optional
            Order of a polynomial fitted by least squares with the errors, >= 0; 1 if neither is
            given.
        window : float, optional
            Width of a running median, days, in place of the polynomial.

        Raises
        ------
        ValueError
            If both are given, or a segment has too few points for the polynomial.
        """
        if order is not None and window is not None:
            raise ValueError(
                f"order = {order} and window = {window} are both given. Choose one: a polynomial "
                "of that order, or a running median."
            )
        degree = 1 if order is None else int(order)
        if order is not None and (degree < 0 or degree != order):
            raise ValueError(f"order = {order} is no order of a polynomial. Pass 0, 1, 2 ...")
        window = None if window is None else ts.positive("window", window)
        flux = self.flux.copy()
        for k in range(self.n_segments):
            own = self.segment == k
            time, values = self.time[own], self.flux[own]
            if window is not None:
                trend = ts.running_median(time, values, window)
            else:
                if np.unique(time).size <= degree:
                    raise ValueError(
                        f"order = {degree} is too high for segment {k}, which has points at "
                        f"{np.unique(time).size} times. Lower it, or leave this segment out "
                        "(select(segment=...))."
                    )
                trend = ts.polynomial_trend(time, values, self.flux_err[own], degree)
            flux[own] = values - trend + np.median(values)
        what = f"a polynomial of order {degree}" if window is None else f"a {window:g} d median"
        return self._new(f"Took {what} off each segment.", flux=flux)

    def sigma_clip(
        self,
        sigma: float = 5.0,
        *,
        lower: float | None = None,
        upper: float | None = None,
        window: float | None = None,
        iterations: int = 5,
    ) -> Self:
        """Return the series without its outliers about a running median of each segment.

        Parameters
        ----------
        sigma : float
            How far from the running median a point may lie, in robust standard deviations (1.4826
            times the median absolute deviation) of such distances within its segment.
        lower, upper : float, optional
            The same for points below and above, in place of ``sigma``; ``inf`` keeps that side.
        window : float, optional
            Width of the running median, days; 0.5 d and 11 cadences at least by default. It must
            be well below the rotation period.
        iterations : int
            Rounds at most, each without what the last one took; it ends by itself.
        """
        lower, upper = (sigma if side is None else side for side in (lower, upper))
        if not (lower > 0 and upper > 0):
            raise ValueError(f"sigma = {sigma}, lower = {lower}, upper = {upper} must be above 0.")
        if window is None:
            steps = 11.0 * self.cadence
            window = max(0.5, steps) if np.isfinite(steps) else 0.5
        window = ts.positive("window", window)
        keep = np.ones(len(self), bool)
        for k in range(self.n_segments):
            own = np.flatnonzero(self.segment == k)
            for _ in range(iterations):
                time, flux = self.time[own], self.flux[own]
                offset = flux - ts.running_median(time, flux, window)
                scale = ts.robust_sigma(offset)
                inside = (offset >= -lower * scale) & (offset <= upper * scale)
                if scale == 0 or inside.all():
                    break
                own = own[inside]
            keep[self.segment == k] = np.isin(np.flatnonzero(self.segment == k), own)
        count = int(np.sum(~keep))
        limits = f"{lower:g}" if lower == upper else f"{lower:g} (below) or {upper:g} (above)"
        note = (
            f"Clipped {count:,} of {ts.points(len(self))} beyond {limits} sigma of a {window:g} d "
            "running median."
        )
        return self._new(note, keep, count)

    def bin(self, width: float) -> Self:
        r"""Return the series averaged in bins of a width, never across segments.

        .. math:: \bar f = \frac{\sum_i f_i / \sigma_i^2}{\sum_i 1 / \sigma_i^2}, \qquad
                  \bar\sigma = \left( \sum_i 1 / \sigma_i^2 \right)^{-1/2}

        and times likewise; bins start at each segment's first time and those without points are
        left out. The slope inside a bin is signal that is lost: keep bins short against the
        rotation period over the signal-to-noise ratio, or fit the points as they are.

        Parameters
        ----------
        width : float
            Width of the bins, days.
        """
        width = ts.positive("width", width)
        parts, labels = [], []
        for k in range(self.n_segments):
            own = self.segment == k
            parts.append(ts.bin_means(self.time[own], self.flux[own], self.flux_err[own], width))
            labels.append(np.full(parts[-1][0].size, k))
        time, flux, error = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(time, kind="stable")
        note = f"Averaged {ts.points(len(self))} in bins of {width:g} d: {time.size:,} are left."
        if time.size < 2:
            raise ValueError(f"width = {width:g} d leaves a single bin. Pass a smaller width.")
        return self._new(
            note,
            time=time[order],
            flux=flux[order],
            flux_err=error[order],
            segment=np.concatenate(labels)[order],
        )

    def thin(self, number: int) -> Self:
        """Return about so many of the points, evenly chosen.

        Fewer points for a Gaussian process whose cost grows with their cube: unlike means in bins,
        points as they were measured follow the same process.

        Parameters
        ----------
        number : int
            Points to keep at most, at least 2.
        """
        if number < 2:
            raise ValueError(f"number = {number} is not a number of points >= 2.")
        step = -(-len(self) // int(number))
        keep = np.arange(len(self)) % step == 0
        note = f"Took one in {step} of {ts.points(len(self))}: {int(np.sum(keep)):,} are left."
        return self._new(note, keep)

    def split(self, gap: float) -> Self:
        """Return the series with new segments wherever one has a step longer than ``gap`` days."""
        gap = ts.positive("gap", gap)
        segment = ts.split_by_gaps(self.time, self.segment, gap)
        note = (
            f"Split at gaps over {gap:g} d: from {self.n_segments} to {segment.max() + 1} segments."
        )
        return self._new(note, segment=segment)

    def select(
        self,
        t_min: float | None = None,
        t_max: float | None = None,
        segment: int | Sequence[int] | None = None,
    ) -> Self:
        """Return the points with t_min <= time <= t_max (days), of one or some segments."""
        low, high = (-np.inf if t_min is None else t_min), (np.inf if t_max is None else t_max)
        keep = (self.time >= low) & (self.time <= high)
        parts = [] if t_min is None and t_max is None else [f"times {low:g} to {high:g} d"]
        if segment is not None:
            wanted = np.atleast_1d(np.asarray(segment))
            unknown = np.setdiff1d(wanted, np.arange(self.n_segments))
            if unknown.size:
                raise ValueError(
                    f"segment = {segment} is not there: segments are 0 to {self.n_segments - 1}."
                )
            keep &= np.isin(self.segment, wanted)
            parts.append(f"segment {', '.join(map(str, wanted))}")
        note = f"Selected {' and '.join(parts) or 'everything'}: {ts.points(int(np.sum(keep)))}."
        return self._new(note, keep)

    def first(self, days: float) -> Self:
        """Return the points less than so many days after the first."""
        days = ts.positive("days", days)
        keep = self.time < self.time[0] + days
        return self._new(f"Selected the first {days:g} d: {ts.points(int(np.sum(keep)))}.", keep)

    def mask(self, keep: Any, reason: str = "a mask") -> Self:
        """Return the points where ``keep`` is True; ``reason`` goes into the history."""
        used = ts.booleans("keep", keep)
        ts.check_shape("keep", used, self.time.shape)
        count = int(np.sum(~used))
        return self._new(f"Masked {count:,} of {ts.points(len(self))} by {reason}.", used, count)

    def lomb_scargle(
        self,
        min_period: float | None = None,
        max_period: float | None = None,
        *,
        n_terms: int = 1,
        oversampling: float = 5.0,
    ) -> Periodogram:
        """Return the periodogram and the period of its highest peak.

        As :func:`spotgp.periods.lomb_scargle`. Normalise segments that differ in level first.
        """
        return lomb_scargle(
            self.time,
            self.flux,
            self.flux_err,
            min_period=min_period,
            max_period=max_period,
            n_terms=n_terms,
            oversampling=oversampling,
        )

    def autocorrelation(
        self,
        max_lag: float | None = None,
        *,
        step: float | None = None,
        smoothing: float | None = None,
    ) -> Autocorrelation:
        """Return the autocorrelation, the period in it, and how fast its peaks fall.

        As :func:`spotgp.periods.autocorrelation`. Normalise segments that differ in level first.
        """
        return autocorrelation(
            self.time, self.flux, max_lag=max_lag, step=step, smoothing=smoothing
        )


def _quality_reason(quality: str | int, bits: int) -> str:
    name = f"{quality!r}, " if isinstance(quality, str) else ""
    return f"their quality flags ({name}bits {bits})"
