"""Data of several channels and instruments as the Gaussian process takes them."""

import itertools
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pytreefit import Model
from pytreefit.extend import as_data, as_mapping, as_whole_number, check_choice, check_kind

from ..component import DataScales, to_float

_FAR = 1000.0  # days between channels from which their times may have other zero points
_OTHER_UNIT = 100.0  # instruments whose scatters and errors differ by more are in other units


class _Points(NamedTuple):
    time: np.ndarray
    value: np.ndarray
    error: np.ndarray


class ChannelData(Model):
    """Data of one star in several channels, in order of time.

    Parameters
    ----------
    time, value, error
        Shape (n,): ascending days since ``epoch``, values and their standard deviations in the unit
        of each channel.
    channel, instrument
        Shape (n,): the number of the channel and of the instrument of each point.
    epoch
        Zero point of the times, days.
    channels, instruments
        Names in the order of their numbers.
    trend
        Degree of the free polynomial in time of each channel.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(4.0)
    >>> velocities = {"HARPS": (t, np.sin(t), 0.5), "ESPRESSO": (t + 0.3, np.cos(t), 0.1)}
    >>> sets = {"flux": (t, np.ones(4), 1e-4), "rv": velocities}
    >>> data = ChannelData.of(sets, units={"flux": "", "rv": "m / s"}, trend={"rv": 1})
    >>> data.column_names
    ('ESPRESSO', 'HARPS', 'flux', 'rv trend 1')
    >>> round(data.span, 1)
    3.3
    """

    exposure: ClassVar[None] = None  # channels are of short exposures

    time: Float[Array, "n"]
    value: Float[Array, "n"]
    error: Float[Array, "n"]
    channel: Int[Array, "n"]
    instrument: Int[Array, "n"]
    epoch: Float[Array, ""]
    channels: tuple[str, ...] = eqx.field(static=True)
    instruments: tuple[str, ...] = eqx.field(static=True)
    trend: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, data, units: Mapping[str, str | None], trend=None) -> Self:
        """From what users have, see `ChannelSolver`; ``units`` are those of each channel."""
        sets = _sets(as_mapping("data", data), units)
        channels = tuple(sorted({channel for channel, _ in sets}))
        instruments = tuple(sorted(instrument for _, instrument in sets))
        for name in channels:
            _check_same_unit(name, {i: p for (c, i), p in sets.items() if c == name}, units[name])
        _check_same_zero({c: [p for (o, _), p in sets.items() if o == c] for c in channels})
        trend = as_mapping("trend", trend)
        for name in trend:
            check_choice("trend: channel", name, channels)
        degrees = (as_whole_number(f"trend[{c!r}]", trend.get(c, 0)) for c in channels)
        joined = [np.concatenate(arrays) for arrays in zip(*sets.values(), strict=True)]
        sizes = [points.time.size for points in sets.values()]
        labels = [(channels.index(c), instruments.index(i)) for c, i in sets]
        channel, instrument = np.repeat(np.asarray(labels), sizes, axis=0).T
        order = np.argsort(joined[0], kind="stable")
        time, value, error = (array[order] for array in joined)
        if time.size < 2:
            raise ValueError(f"data hold {time.size} point: a Gaussian process needs two.")
        epoch = 0.5 * (time[0] + time[-1])
        return cls(
            time=to_float(time - epoch),
            value=to_float(value),
            error=to_float(error),
            channel=jnp.asarray(channel[order], jnp.int32),
            instrument=jnp.asarray(instrument[order], jnp.int32),
            epoch=to_float(epoch),
            channels=channels,
            instruments=instruments,
            trend=tuple(degrees),
        )

    @property
    def span(self) -> float:
        """Days between the first and the last point."""
        return float(np.ptp(np.asarray(self.time)))

    def measured(self) -> tuple[Array, Array, Array]:
        """Times, values and errors."""
        return self.time, self.value, self.error

    def scales(self) -> dict[str, DataScales]:
        """The scales of each channel's data, for default priors."""
        found = {}
        for number, name in enumerate(self.channels):
            own = np.asarray(self.channel) == number
            value = np.array(self.value)
            for instrument in range(len(self.instruments)):
                its = own & (np.asarray(self.instrument) == instrument)
                value[its] -= np.mean(value[its]) if its.any() else 0.0
            arrays = (np.asarray(self.time)[own], value[own], np.asarray(self.error)[own])
            found[name] = DataScales.of(*arrays)
        return found

    @property
    def column_names(self) -> tuple[str, ...]:
        """What each free column of the mean is: an instrument's offset, a channel's trend."""
        trends = zip(self.channels, self.trend, strict=True)
        powers = [f"{c} trend {power}" for c, degree in trends for power in range(1, degree + 1)]
        return (*self.instruments, *powers)

    def columns(self) -> np.ndarray:
        """Design matrix of what is free in the mean, shape (n, c): offsets, then trends."""
        time = np.asarray(self.time, float)
        return self._design(time, np.asarray(self.channel), np.asarray(self.instrument))

    def columns_at(self, time: np.ndarray, channel: int, instrument: int | None) -> np.ndarray:
        """The same for one channel at other times since the epoch.

        With the offset of an instrument, or of that of the channel's nearest point.
        """
        labels = np.full(time.shape, instrument)
        if instrument is None:
            own = np.flatnonzero(np.asarray(self.channel) == channel)
            lag = np.abs(np.asarray(self.time, float)[own] - time[:, None])
            labels = np.asarray(self.instrument)[own][np.argmin(lag, axis=1)]
        return self._design(time, np.full(time.shape, channel), labels)

    def _design(self, time, channel, instrument):
        columns = [(instrument == k).astype(float) for k in range(len(self.instruments))]
        scaled = time / max(0.5 * self.span, np.finfo(float).tiny)
        for k, degree in enumerate(self.trend):
            columns += [(channel == k) * scaled**power for power in range(1, degree + 1)]
        return np.stack(columns, axis=1)


def _sets(data: dict, units: Mapping[str, str | None]) -> dict[tuple[str, str], _Points]:
    """The points of each channel and instrument."""
    if not data:
        raise ValueError("data is empty: pass {'flux': (t, flux, flux_err), ...}.")
    sets: dict[tuple[str, str], _Points] = {}
    zeros: dict[str, float | None] = {}
    for channel, given in data.items():
        if channel not in units:
            raise ValueError(
                f"data has points of {channel!r}, which is no channel; these are: "
                f"{', '.join(units)}. Name them alike, or add it to channels."
            )
        several = dict(given) if isinstance(given, Mapping) else {channel: given}
        if not several:
            raise ValueError(f"data[{channel!r}] is empty: leave the channel out.")
        for instrument, points in several.items():
            check_kind(f"data[{channel!r}]: name of an instrument", instrument, str)
            if "." in instrument:
                raise ValueError(f"{instrument!r} has a dot, which no name of an instrument may.")
            if instrument in (known for _, known in sets):
                raise ValueError(
                    f"data has two instruments of the name {instrument!r}: give those of "
                    f"{channel!r} other names, such as {f'{instrument}_{channel}'!r}."
                )
            where = f"data[{channel!r}]"
            where += f"[{instrument!r}]" if isinstance(given, Mapping) else ""
            if instrument != channel and instrument in units:
                raise ValueError(
                    f"{where} has the name of another channel, so that jitter[{instrument!r}] "
                    "would be of both: give the instrument another name, such as "
                    f"{f'{instrument}_{channel}'!r}."
                )
            sets[channel, instrument] = _points(where, points, units[channel])
            zeros[where] = getattr(points, "reference", None)
    for channel in units:
        if channel not in data:
            raise ValueError(
                f"channels has {channel!r}, of which there are no data: leave it out. To predict "
                "it pass the channel itself to predict."
            )
    return dict(zip(sets, _from_one_zero(list(sets.values()), zeros), strict=True))


def _from_one_zero(sets: list[_Points], zeros: dict[str, float | None]) -> list[_Points]:
    """Points whose times count from the first known zero, a Julian date, where these differ."""
    known = [zero for zero in zeros.values() if zero is not None]
    if len(set(known)) < 2:
        return sets
    unknown = [where for where, zero in zeros.items() if zero is None]
    if unknown:
        told = ", ".join(
            f"{where} from JD {zero:.10g}" for where, zero in zeros.items() if zero is not None
        )
        raise ValueError(
            f"Times count from different zeros: {told}. That of {', '.join(unknown)} is not known: "
            "pass TimeSeriesData(..., reference=) with the Julian date of its time 0."
        )
    return [
        points._replace(time=points.time + (zero or 0.0) - known[0])
        for points, zero in zip(sets, zeros.values(), strict=True)
    ]


def _points(where: str, given: Any, unit: str | None) -> _Points:
    """Finite points; ValueError or TypeError for what cannot be used."""
    if hasattr(given, "flux_err"):  # a TimeSeriesData
        if (number := int(np.unique(np.asarray(given.segment)).size)) > 1:
            warnings.warn(
                f"{where} has {number} segments, which get one offset together here. If they "
                "differ in level, give each as an instrument: {'Q1': (t, flux, error), ...}.",
                stacklevel=6,
            )
        given = given if unit is None else given.to(unit)
        given = (given.time, given.flux, given.flux_err)
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise TypeError(
            f"{where} must be a tuple of times, values and errors, or a dictionary of these by "
            f"instrument; it is a {type(given).__name__}."
        )
    time, value, error = (
        as_data(f"{where}: {name}", array, of)
        for name, array, of in zip(("t", "values", "errors"), given, ("d", unit, unit), strict=True)
    )
    error = np.broadcast_to(error, value.shape) if error.ndim == 0 else error
    for name, array in (("t", time), ("values", value), ("errors", error)):
        if array.ndim != 1:
            raise ValueError(f"{where}: {name} has shape {array.shape}: it must have one axis.")
        if array.shape != time.shape:
            raise ValueError(
                f"{where}: {name} has shape {array.shape} and t has {time.shape}: they must be of "
                "the same length."
            )
    good = np.isfinite(time) & np.isfinite(value) & np.isfinite(error)
    if not good.any():
        raise ValueError(f"{where} has no point that is finite: leave it out.")
    if np.any(error[good] <= 0.0):
        raise ValueError(
            f"{where}: an error of {error[good].min():g} is not positive: leave the point out, or "
            "state its real error."
        )
    if not good.all():
        left = int((~good).sum())
        warnings.warn(f"{where}: {left} points are not finite and left out.", stacklevel=6)
    return _Points(time[good], value[good], error[good])


def _check_same_zero(channels: Mapping[str, list[_Points]]) -> None:
    """Warn of channels so far apart in time that their zero points may be different ones."""
    times = {c: np.concatenate([points.time for points in own]) for c, own in channels.items()}
    order = sorted(times, key=lambda c: np.min(times[c]))
    for earlier, later in itertools.pairwise(order):
        last = max(np.max(times[c]) for c in order[: order.index(later)])
        gap = np.min(times[later]) - last
        if gap > _FAR:
            warnings.warn(
                f"The times of {later!r} begin {gap:.0f} days after those of {earlier!r} end, so "
                "that they have no spots in common. All times must count from the same zero point.",
                stacklevel=6,
            )


def _check_same_unit(channel: str, sets: Mapping[str, _Points], unit: str | None) -> None:
    """ValueError where an instrument's values look as if they were in another unit."""
    scatters = {i: float(np.std(p.value)) for i, p in sets.items() if p.time.size > 2}
    errors = {i: float(np.median(sets[i].error)) for i in scatters}
    for low in scatters:
        for high in scatters:
            wider = scatters[high] > _OTHER_UNIT * scatters[low]
            if wider and errors[high] > _OTHER_UNIT * errors[low]:
                raise ValueError(
                    f"data[{channel!r}]: the values of {high!r} scatter by {scatters[high]:.3g} "
                    f"with errors of {errors[high]:.3g}, those of {low!r} by {scatters[low]:.3g} "
                    f"with {errors[low]:.3g}. They are not in the same unit"
                    + (f": all must be in {unit}." if unit else ".")
                )
