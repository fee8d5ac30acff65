"""A light curve as the Gaussian process takes it: checked, sorted, with its free columns."""

import functools
import math
import warnings
from typing import ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pytreefit import Model
from pytreefit.extend import as_data, as_number, as_whole_number

from ..component import to_float

_warned_of_float32 = False


class LightCurve(Model):
    """Data of one star.

    Parameters
    ----------
    time, flux, flux_err
        Shape (n,): ascending days since ``epoch``, relative flux, its standard deviation.
    segment
        Shape (n,), the number 0, 1, 2 ... of the segment of each point, whose offsets are free;
        None if there are none.
    epoch
        Zero point of the times, days.
    constant
        Whether a constant is free, where there are no segments.
    trend
        Degree of the polynomial in time whose coefficients are free.
    exposure
        Length of the exposures, days, over which the fluxes are averages; None if they are short.
    several_noises
        Whether each segment has white noise of its own.

    Examples
    --------
    >>> data = LightCurve.of([10.0, 11.0, 14.0], [1.0, 1.01, 0.99], 1e-3, trend=1)
    >>> float(data.epoch), data.span
    (12.0, 4.0)
    >>> data.columns().tolist()  # a constant, and time in units of half the span
    [[1.0, -1.0], [1.0, -0.5], [1.0, 1.0]]
    """

    time: Float[Array, "n"]
    flux: Float[Array, "n"]
    flux_err: Float[Array, "n"]
    segment: Int[Array, "n"] | None
    epoch: Float[Array, ""]
    constant: bool = eqx.field(static=True)
    trend: int = eqx.field(static=True, converter=functools.partial(as_whole_number, "trend"))
    exposure: Float[Array, ""] | None = None
    several_noises: bool = eqx.field(static=True, default=False)

    # a single channel, see `ChannelData`
    channel: ClassVar[None] = None

    @classmethod
    def of(
        cls,
        t,
        flux,
        flux_err,
        offsets=None,
        *,
        constant=True,
        trend: int = 0,
        exposure=None,
        several_noises: bool = False,
    ) -> Self:
        """From arrays as users have them; parameters and errors are those of `GPSolver`."""
        time, flux, error, labels = _checked(t, flux, flux_err, offsets)
        epoch = 0.5 * (time[0] + time[-1])
        return cls(
            time=to_float(time - epoch),
            flux=to_float(flux),
            flux_err=to_float(error),
            segment=labels,
            epoch=to_float(epoch),
            constant=constant,
            trend=trend,
            exposure=None if exposure is None else to_float(checked_exposure(exposure)),
            several_noises=several_noises,
        )

    @property
    def span(self) -> float:
        """Days between the first and the last point."""
        return float(np.ptp(np.asarray(self.time)))

    @property
    def instrument(self) -> Int[Array, "n"] | None:
        """The number of the white noise of each point; None where all have one."""
        return self.segment if self.several_noises else None

    def measured(self) -> tuple[Array, Array, Array]:
        """Times, fluxes and errors."""
        return self.time, self.flux, self.flux_err

    def columns(self) -> np.ndarray:
        """Design matrix of what is free in the mean, shape (n, c); the trend comes last."""
        return self._design(np.asarray(self.time, float), self.segment)

    def columns_at(self, time: np.ndarray) -> np.ndarray:
        """The same at other times since the epoch: with the offset of the nearest point."""
        if self.segment is None:
            return self._design(time, None)
        own = np.asarray(self.time, float)
        after = np.clip(np.searchsorted(own, time), 1, own.size - 1)
        nearest = after - (time - own[after - 1] <= own[after] - time)
        # the first of several at the same time
        nearest = np.searchsorted(own, own[nearest])
        segment = np.asarray(self.segment)
        labels = segment[nearest]
        if np.array_equal(time[: own.size], own):  # the data's own points, each with its segment
            labels[: own.size] = segment
        return self._design(time, labels)

    def _design(self, time, segment):
        columns = []
        if segment is not None:
            number = int(np.max(self.segment)) + 1
            columns += [(np.asarray(segment) == k).astype(float) for k in range(number)]
        elif self.constant:
            columns.append(np.ones_like(time))
        scaled = time / max(0.5 * self.span, np.finfo(float).tiny)
        columns += [scaled**power for power in range(1, self.trend + 1)]
        return np.stack(columns, axis=1) if columns else np.zeros((time.size, 0))


def checked_exposure(exposure) -> float:
    """Days; ValueError or TypeError for what is no length of an exposure."""
    exposure = as_number("exposure_time", exposure, "d")
    if not (math.isfinite(exposure) and exposure > 0):
        raise ValueError(
            f"exposure_time = {exposure:g} must be > 0, in days, or None for short exposures."
        )
    return exposure


def _checked(t, flux, flux_err, labels):
    """Arrays of finite points in order of time; ValueError for data that cannot be used."""
    time, flux = as_data("t", t, "d"), as_data("flux", flux, "")
    error = as_data("flux_err", flux_err, "")
    error = np.broadcast_to(error, flux.shape) if error.ndim == 0 else error
    if labels is not None:
        as_data("offsets", labels)  # refuses what are no numbers
        labels = np.asarray(labels)
    given = {"t": time, "flux": flux, "flux_err": error, "offsets": labels}
    for name, array in given.items():
        if array is not None and (array.ndim != 1 or array.shape != time.shape):
            raise ValueError(
                f"{name} has shape {array.shape} and t has {time.shape}: they must be "
                "one-dimensional and of the same length."
            )
    good = np.isfinite(time) & np.isfinite(flux) & np.isfinite(error)
    if good.sum() < 2:
        raise ValueError(
            f"t, flux and flux_err are finite at {int(good.sum())} of {time.size} points; a "
            "Gaussian process needs two."
        )
    if np.any(error[good] <= 0):
        worst = float(error[good].min())
        raise ValueError(
            f"flux_err = {worst:g} is not positive: leave the point out, or state its real error."
        )
    if not good.all():
        warnings.warn(
            f"{int((~good).sum())} of {time.size} points are not finite and left out.", stacklevel=4
        )
    order = np.argsort(time[good], kind="stable")
    if np.any(np.diff(order) < 0):
        warnings.warn("The points are not in order of time: they were sorted.", stacklevel=4)
    if labels is not None:
        labels = _checked_labels(labels[good][order])
    return time[good][order], flux[good][order], error[good][order], labels


def _checked_labels(labels):
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            "offsets must be integers 0, 1, 2 ..., the segment of each point, not "
            f"{labels.dtype} from {labels.min()}."
        )
    empty = np.flatnonzero(np.bincount(labels) == 0)
    if empty.size:
        raise ValueError(
            f"offsets: segment {empty[0]} holds no point that is used, so that its offset is "
            "undetermined. Number the segments 0, 1, 2 ... without gaps."
        )
    return labels


def warn_of_float32():
    """Say once that single precision is not enough for a Gaussian process."""
    global _warned_of_float32
    if jnp.result_type(float) != np.float64 and not _warned_of_float32:
        _warned_of_float32 = True
        warnings.warn(
            "A Gaussian process in single precision loses digits where the signal is far above the "
            "noise. Switch to double precision first thing in your script: "
            "jax.config.update('jax_enable_x64', True).",
            stacklevel=3,
        )
