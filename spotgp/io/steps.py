"""Steps that prepare a light curve for a fit."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from pytreefit.extend import as_booleans, as_number

from . import corrections, outliers
from .columns import OTHER_ZERO, median_step, points, positive


class Steps:
    """The steps: each returns a new light curve and adds a sentence to its history.

    A base of `TimeSeriesData`, which has the arrays and the readers.
    """

    time: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    segment: np.ndarray
    reference: float | None
    history: tuple[str, ...]
    n_dropped: int
    unit: str

    def __len__(self) -> int:
        return self.time.size

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return int(self.segment.max()) + 1

    @property
    def cadence(self) -> float:
        """Median step between neighbours of a segment, days, leaving out steps of 0; or NaN."""
        return median_step(self.time, self.segment)

    def _new(self, note: str, keep: np.ndarray | None = None, dropped: int = 0, **values) -> Self:
        """Return the series with some values replaced, then only the points to keep, and a note."""
        arrays = {key: getattr(self, key) for key in ("time", "flux", "flux_err", "segment")}
        rest = {key: getattr(self, key) for key in ("unit", "reference", "time_scale", "name")}
        arrays |= {key: values.pop(key) for key in list(values) if key in arrays}
        if keep is not None:
            if np.sum(keep) < 2:
                raise ValueError(
                    f"{note} This leaves {np.sum(keep)} of {points(len(self))}, and at least 2 are "
                    "needed: loosen the step."
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
            If a median is not above the scatter, as where the mean has been taken off, or the unit
            is one of magnitudes.
        """
        corrections.refuse_magnitudes(self.unit)
        level = np.full(len(self), np.median(self.flux))
        if per_segment:
            for k in range(self.n_segments):
                level[self.segment == k] = np.median(self.flux[self.segment == k])
        spread = corrections.robust_sigma(self.flux - level)
        if not np.all(level > spread):
            bad = int(self.segment[np.argmin(level)])
            raise ValueError(
                f"The median flux is {level.min():g} (segment {bad}), no more than the scatter of "
                f"{spread:g}: the flux has had its mean taken off already. Add it back (1 + flux / "
                "1e6 for relative ppm), or do not normalise."
            )
        note = "Divided by the median flux" + (" of each segment." if per_segment else ".")
        return self._new(note, flux=self.flux / level, flux_err=self.flux_err / level, unit="")

    def to(self, unit: str = "") -> Self:
        """Return the series with flux and errors in another unit; "" is relative to the star.

        A unit that astropy does not know is a label, and what has none is in any.

        Raises
        ------
        ValueError
            If the unit does not follow from the present one: `normalize` makes relative fluxes.

        Examples
        --------
        >>> from spotgp import TimeSeriesData
        >>> TimeSeriesData([0.0, 1.0], [-3000.0, 5000.0], 100.0, unit="ppm").to("").flux
        array([-0.003,  0.005])
        """
        unit = str(unit)  # astropy's, too
        factor = corrections.conversion(self.unit, unit)
        if factor == 1.0:
            return self
        note = f"Converted from {self.unit} to {unit or 'relative flux'}."
        return self._new(note, flux=factor * self.flux, flux_err=factor * self.flux_err, unit=unit)

    def detrend(self, order: int | None = None, window: float | None = None) -> Self:
        r"""Return the series without the slow trend of each segment; medians are kept.

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
        window = None if window is None else positive("window", window)
        columns = (self.time, self.flux, self.flux_err, self.segment)
        flux = self.flux - corrections.trend(*columns, degree, window)
        what = f"a polynomial of order {degree}" if window is None else f"a {window:g} d median"
        return self._new(f"Took {what} off each segment.", flux=flux)

    def sigma_clip(
        self,
        sigma: float = 5.0,
        *,
        lower: float | None = None,
        upper: float | None = None,
        flares: bool = True,
        dips: bool = True,
    ) -> Self:
        """Return the series without the points that their neighbours do not predict.

        Each point, and each short run of points, is compared with what the points on both sides of
        it predict, by the linear combination of these that predicts the rest of the segment best:
        the star's own rotation is no outlier, however steep. A single point is an outlier, several
        in a row are a flare if they are high and a dip, such as a transit, if they are low; the
        history counts each kind. `mask_transits` is for transits whose times are known.

        Parameters
        ----------
        sigma : float
            How far off a point may be, in robust standard deviations (1.4826 times the median
            absolute deviation) of such differences within its segment.
        lower, upper : float, optional
            The same for points below and above, in place of ``sigma``; ``inf`` keeps that side.
        flares, dips : bool
            Whether these are left out, too.

        Raises
        ------
        ValueError
            If a limit is not above 0.
        """
        lower, upper = (sigma if side is None else side for side in (lower, upper))
        if not (lower > 0 and upper > 0):
            raise ValueError(f"sigma = {sigma}, lower = {lower}, upper = {upper} must be above 0.")
        found = outliers.find(self.time, self.flux, self.flux_err, self.segment, (lower, upper))
        far, counts = found.outliers, [f"{np.sum(found.outliers):,} single"]
        for kind, leave_out in (("flares", flares), ("dips", dips)):
            own = getattr(found, kind)
            kept = "" if leave_out else ", kept"
            if own.any():
                events = outliers.number_of_events(own)
                called = kind if events > 1 else kind[:-1]
                counts.append(f"{events} {called} ({np.sum(own):,}{kept})")
            far = far | own if leave_out else far
        count = int(np.sum(far))
        limits = f"{lower:g}" if lower == upper else f"{lower:g} (below) or {upper:g} (above)"
        note = (
            f"Clipped {count:,} of {points(len(self))} beyond {limits} sigma of what their "
            f"neighbours predict: {', '.join(counts)}."
        )
        return self._new(note, ~far, count)

    def mask_transits(self, period: float, epoch: float, duration: float) -> Self:
        """Return the points outside of transits or eclipses.

        Parameters
        ----------
        period, epoch, duration : float
            Days: between transits, the middle of one of them on the scale of `time`, and the time
            around each middle that is left out. A Julian date will do for the middle where
            ``reference`` is known, and the history says so.

        Raises
        ------
        ValueError
            If the epoch is so far from the data that it counts from another zero.
        """
        period, duration = positive("period", period), positive("duration", duration)
        epoch = as_number("epoch", epoch, "d")
        middle = self._since_reference(epoch)
        phase = (self.time - middle + 0.5 * period) % period - 0.5 * period
        what = f"transits every {period:g} d of {duration:g} d"
        if middle != epoch:
            what += f", the middle of one at {epoch:.10g} taken for {middle:.10g}"
        return self.mask(np.abs(phase) > 0.5 * duration, what)

    def _since_reference(self, epoch: float) -> float:
        """A time near the data, which may be given as a Julian date."""
        for since in (epoch, epoch - (self.reference or 0.0)):
            if self.time[0] - OTHER_ZERO < since < self.time[-1] + OTHER_ZERO:
                return since
        known = "" if self.reference is None else f" of JD {self.reference:.10g}"
        raise ValueError(
            f"epoch = {epoch:.10g} is more than {OTHER_ZERO:,.0f} d from the data, whose times are "
            f"{self.time[0]:.10g} to {self.time[-1]:.10g}: pass it in days since their time 0"
            f"{known}."
        )

    def bin(self, width: float) -> Self:
        r"""Return the series averaged in bins of equal width in days, by segment.

        .. math:: \bar f = \frac{\sum_i f_i / \sigma_i^2}{\sum_i 1 / \sigma_i^2}, \qquad
                  \bar\sigma = \left( \sum_i 1 / \sigma_i^2 \right)^{-1/2}

        and times likewise; bins start at each segment's first time and those without points are
        left out. The slope inside a bin is signal that is lost: keep bins short against the
        rotation period over the signal-to-noise ratio, or fit the points as they are.
        """
        width = positive("width", width)
        columns = (self.time, self.flux, self.flux_err, self.segment)
        time, flux, flux_err, segment = corrections.bin_means(*columns, width)
        if time.size < 2:
            raise ValueError(f"width = {width:g} d leaves a single bin. Pass a smaller width.")
        note = f"Averaged {points(len(self))} in bins of {width:g} d: {time.size:,} are left."
        return self._new(note, time=time, flux=flux, flux_err=flux_err, segment=segment)

    def thin(self, number: int) -> Self:
        """Return at most this number of points, 2 or more: one of each so many, at random.

        Fewer points for a Gaussian process whose cost grows with their cube: unlike means in bins,
        points as they were measured follow the same process. Chosen at even steps they would make
        aliases of short periods; the choice is the same each time. Look for periods before
        (`rotation_period`).
        """
        if number < 2:
            raise ValueError(f"number = {number} is not a number of points >= 2.")
        step = -(-len(self) // int(number))
        first = np.arange(0, len(self), step)
        chosen = first + np.random.default_rng(0).integers(step, size=first.size)
        keep = np.isin(np.arange(len(self)), np.minimum(chosen, len(self) - 1))
        note = f"Took one in {step} of {points(len(self))}: {int(np.sum(keep)):,} are left."
        return self._new(note, keep)

    def split(self, gap: float) -> Self:
        """Return the series with new segments wherever one has a step longer than ``gap`` days."""
        gap = positive("gap", gap)
        segment = corrections.split_by_gaps(self.time, self.segment, gap)
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
        note = f"Selected {' and '.join(parts) or 'everything'}: {points(int(np.sum(keep)))}."
        return self._new(note, keep)

    def first(self, days: float) -> Self:
        """Return the first days of the series."""
        days = positive("days", days)
        keep = self.time < self.time[0] + days
        return self._new(f"Selected the first {days:g} d: {points(int(np.sum(keep)))}.", keep)

    def mask(self, keep: Any, reason: str = "a mask") -> Self:
        """Return the points where ``keep`` is True; ``reason`` goes into the history."""
        used = as_booleans("TimeSeriesData.keep", keep, shape=self.time.shape)
        count = int(np.sum(~used))
        return self._new(f"Masked {count:,} of {points(len(self))} by {reason}.", used, count)
