"""Observed light curves: reading, cleaning and preparing them."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from pytreefit.extend import as_number, check_kind, unit_of

from ..periods import (
    Autocorrelation,
    Periodogram,
    PhotometricActivity,
    RotationPeriod,
    autocorrelation,
    lomb_scargle,
    photometric_activity,
    rotation_period,
    variability_range,
)
from . import missions, readers, text
from .columns import (
    GAP,
    days_of,
    in_order,
    points,
    read_columns,
    usable,
    with_estimated_errors,
)
from .steps import Steps


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class TimeSeriesData(Steps):
    r"""A light curve: times, fluxes, errors and segments, with a history of all changes.

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
        history: Sequence[str] = (),
        reason: str = "mask",
    ):
        unit = str(unit) if hasattr(unit, "to_string") else unit  # of astropy
        for key, label in {"unit": unit, "time_scale": time_scale, "name": name}.items():
            check_kind(f"TimeSeriesData.{key}", label, str)
        if reference is not None:
            reference = as_number("TimeSeriesData.reference", reference, "d")
        if hasattr(time, "jd1"):  # an astropy Time
            time, reference, time_scale = days_of(time, reference)
        check_kind("TimeSeriesData.history", history, list | tuple)
        notes = list(history)
        for note in notes:
            check_kind("TimeSeriesData.history", note, str)
        columns = read_columns(time, flux, flux_err, segment)
        keep = usable(columns, mask, reason, notes)
        columns = in_order(columns.at(keep), notes)
        if flux_err is None:
            columns = with_estimated_errors(columns, notes)
        for array in columns:
            array.flags.writeable = False
        values = columns._asdict() | dict(
            unit=unit or str(unit_of(flux) or ""),
            reference=reference,
            time_scale=time_scale,
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
        """Return the light curve in an `astropy.timeseries.TimeSeries`.

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
        columns = readers.from_timeseries(series, flux, flux_err, segment, reference)
        return cls(**columns, mask=mask, name=name)

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
        return cls(**readers.from_lightkurve(light_curve, quality, mission))

    @classmethod
    def from_fits(
        cls,
        path: str | os.PathLike | Sequence[str | os.PathLike],
        flux: str | None = None,
        quality: str | int = "default",
        mission: str | None = None,
    ) -> Self:
        """Return the light curve in a FITS file of Kepler, K2, TESS or CoRoT, or in several.

        Read are files of SPOC, TASOC, QLP, TGLC, CDIPS, eleanor, K2SC, EVEREST, K2SFF, CoRoT and
        KASOC, told apart by their columns, and tables with the columns TIME and FLUX. Fluxes in ppm
        about zero become relative ones about 1. KASOC's was tested on files made for it.

        Parameters
        ----------
        path
            A light-curve file (gzipped or not), or a sequence of them: one segment each, with
            times counted from the first file's time 0. Normalise per segment afterwards, quarters
            and sectors differ in level.
        flux : str, optional
            Column of the flux, by default the one that the file's producer has corrected most
            without filtering it: of QLP and TGLC those in which slow rotation is left, and the
            history says so where there is none. Errors are in the column that belongs to it, and
            are estimated where there is none.
        quality : str or int
            Points are masked if their flags hold any bit of this mask. "default" is what makes a
            point useless (safe modes, coarse pointing, manual exclusion ...), "hard" takes cosmic
            rays and stray light too, "none" needs no flags. Producers with flags of their own
            leave out what they call bad. Of other tables QUALITY is used where the mission is
            known; the history names flags that are not used.
        mission : str, optional
            "Kepler", "K2" or "TESS" if the file must be of that mission.

        Raises
        ------
        ValueError
            If the file is another mission's, of none of these, or lacks a column.
        """
        if not isinstance(path, str | os.PathLike):
            check_kind("path", path, Sequence)
            paths = list(path)
            if not paths:
                raise ValueError("path is an empty sequence. Pass one light-curve file at least.")
            return cls.concatenate([cls.from_fits(one, flux, quality, mission) for one in paths])
        return cls(**missions.from_fits(path, flux, quality, mission))

    @classmethod
    def from_text(
        cls,
        path: str | os.PathLike,
        flux: str | None = None,
        *,
        band: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Self:
        """Return the light curve in a text or CSV file, such as those of ASAS-SN, ZTF and KASOC.

        Columns are found by their names, in capitals or not: time in days (or BJD, HJD, JD, MJD,
        BTJD, BKJD), flux or mag, their errors, and a band. Fluxes stay in the file's unit,
        magnitudes become relative fluxes about 1. Limits such as ">17.2" are masked, and points
        whose ``quality`` or ``catflags`` is neither 0 nor "G"; columns that look like flags by
        another name are not used, and the history says so. Files of KASOC, whose columns have no
        names, are known by their comments: time, flux and error in ppm. They count from what the
        comments say was taken off the Julian date; tested on files made for it.

        Parameters
        ----------
        path
            Of a table that `astropy.io.ascii` can read, or one with semicolons between columns.
        flux : str, optional
            Column of the flux or magnitude.
        band : str, optional
            Which filter, where there are several.
        columns : sequence of str, optional
            Names of all columns, of a file without any or in place of its own, such as
            ``("time", "flux", "flux_err")``.

        Raises
        ------
        ValueError
            If the file is no table, a column is missing, or there are several bands and none is
            chosen.
        """
        return cls(**text.from_text(path, flux, band, columns))

    @classmethod
    def concatenate(cls, series: Sequence["TimeSeriesData"]) -> Self:
        """Return several light curves as one, each with segments of its own.

        Times are counted from the first one's time 0 where all references are known. A warning
        says where names differ, and where two of one name have points at the same times: the
        cadences of a sector count its photons twice, telescopes do not.

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
        one = cls(**readers.joined(series))
        object.__setattr__(one, "n_dropped", sum(part.n_dropped for part in series))
        return one

    def to_timeseries(self) -> Any:
        """Return an `astropy.timeseries.TimeSeries` with flux, flux_err and segment.

        Its times are absolute where :attr:`reference` is known, relative (``TimeDelta``) otherwise.
        """
        return readers.to_timeseries(self)

    @property
    def span(self) -> float:
        """Days between the first and the last point."""
        return float(self.time[-1] - self.time[0])

    @property
    def gaps(self) -> np.ndarray:
        """Last time before and first time after each step over 1.5 cadences, days, shape (k, 2)."""
        long = np.flatnonzero(np.diff(self.time) > GAP * self.cadence)
        return np.stack([self.time[long], self.time[long + 1]], axis=-1)

    def __repr__(self) -> str:
        count = self.n_segments
        name = f"{self.name}: " if self.name else ""
        dropped = f", {self.n_dropped:,} dropped" if self.n_dropped else ""
        first = (
            f"TimeSeriesData({name}{points(len(self))} in {count} "
            f"segment{'' if count == 1 else 's'} over {self.span:.6g} d, cadence "
            f"{self.cadence:.4g} d{dropped})"
        )
        return "\n  ".join([first, *self.history])

    def lomb_scargle(self, **options) -> Periodogram:
        """Return the periodogram and the period of its highest peak.

        With the options of :func:`spotgp.lomb_scargle`. Normalise segments that differ in level
        first.
        """
        return lomb_scargle(self.time, self.flux, self.flux_err, **options)

    def autocorrelation(self, **options) -> Autocorrelation:
        """Return the autocorrelation, the period in it, and how fast its peaks fall.

        With the options of :func:`spotgp.autocorrelation`. Normalise segments that differ in
        level first.
        """
        return autocorrelation(self.time, self.flux, self.flux_err, **options)

    def rotation_period(self, **options) -> RotationPeriod:
        """Return the rotation period with its rivals, and what to doubt about it.

        With the options of :func:`spotgp.rotation_period`; the segments are its segments.
        """
        columns = self.time, self.flux, self.flux_err
        return rotation_period(*columns, segment=self.segment, **options)

    def photometric_activity(self, period: float) -> PhotometricActivity:
        """Return the activity index S_ph and its standard error, in units of the median flux.

        As :func:`spotgp.photometric_activity` does for a rotation period in days. Each segment is
        divided by its median first.
        """
        one = self.normalize()
        columns = one.time, one.flux, one.flux_err
        return photometric_activity(*columns, period=period, segment=one.segment)

    def variability_range(self, smoothing: float | None = None) -> float:
        """Return the range R_var of the flux, in units of its median.

        As :func:`spotgp.variability_range` does, with the running mean over ``smoothing`` days if
        that is given. Each segment is divided by its median first.
        """
        one = self.normalize()
        return variability_range(one.time, one.flux, segment=one.segment, smoothing=smoothing)
