"""A light curve's points as arrays of a common length, for programs that light curves share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..kernel.place import Place, since_zero
from .block import Blocks

_FEW = 64  # times to predict at that cost less than a program of their own


class Points(NamedTuple):
    """Data, filled up to a common length.

    Parameters
    ----------
    time, flux, variance
        Shape (n,): ascending days since the epoch, relative flux, its variance.
    real
        Shape (n,): 1 for points, 0 for what fills the arrays up.
    columns
        Free columns of the mean, shape (n, c); 0 everywhere in those that fill up.
    epoch
        Zero point of the times, days.
    channel, instrument
        Shape (n,): numbers of the channel and the instrument of each, for data of several channels;
        None for a light curve.
    """

    time: Float[Array, "n"]
    flux: Float[Array, "n"]
    variance: Float[Array, "n"]
    real: Float[Array, "n"]
    columns: Float[Array, "n c"]
    epoch: Float[Array, ""]
    channel: Int[Array, "n"] | None = None
    instrument: Int[Array, "n"] | None = None

    @property
    def place(self):
        """What the covariance is a function of: times, or the `Place` of each point."""
        return self.time if self.channel is None else Place(self.time, self.channel)

    def reach(self, place) -> Float[Array, ""]:
        """The longest lag among these points and others."""
        times = jnp.concatenate([place.time if isinstance(place, Place) else place, self.time])
        return jnp.max(times) - jnp.min(times)

    @property
    def span(self) -> Float[Array, ""]:
        """Days between the first and the last point."""
        return self.time[-1] - self.time[0]

    def residual(self, process) -> Float[Array, "n"]:
        """Fluxes less the mean function."""
        return self.flux - process.mean_at(since_zero(self.place, self.epoch))

    def noise(self, process) -> Float[Array, "n"]:
        """Variances with the jitter."""
        return self.variance + process.white_variance(self.instrument)

    def tiles(self, process, size: int) -> Blocks:
        """The data less the mean function, in as few tiles of some points as hold them all."""
        tiles = -(-self.time.size // size)
        pad = tiles * size - self.time.size

        def cut(values, fill="constant"):
            wide = jnp.pad(values, ((0, pad),) + ((0, 0),) * (values.ndim - 1), mode=fill)
            return wide.reshape((tiles, size, *values.shape[1:]))

        return Blocks(
            place=jax.tree.map(lambda leaf: cut(leaf, "edge"), self.place),
            real=cut(self.real),
            variance=cut(self.noise(process)),
            residual=cut(self.residual(process)),
            columns=cut(self.columns),
        )

    def widened(self, size: int, columns: int) -> "Points":
        """Filled up to more points and columns."""
        more, wider = size - self.time.size, columns - self.columns.shape[1]

        # by NumPy, for which a new length is no new program
        def filled(array, pad=((0, more),), **how):
            return None if array is None else jnp.asarray(np.pad(np.asarray(array), pad, **how))

        edge = {"mode": "edge"}
        return Points(
            time=filled(self.time, **edge),
            flux=filled(self.flux, **edge),
            variance=filled(self.variance, **edge),
            real=filled(self.real),
            columns=filled(self.columns, ((0, more), (0, wider))),
            epoch=self.epoch,
            channel=filled(self.channel, **edge),
            instrument=filled(self.instrument, **edge),
        )


def rounded_up(number: int) -> int:
    """A length not much larger, one of a few dozen between a number and its double."""
    step = 1 << max(number.bit_length() - 6, 0)
    return -(-number // step) * step


def filled_up(times: np.ndarray) -> np.ndarray:
    """Times to predict at, the last one repeated up to a length that short lists share."""
    if not times.size:
        raise ValueError("t is empty: give one time at least.")
    return np.pad(times, (0, rounded_up(max(times.size, _FEW)) - times.size), mode="edge")


def points_of(data, size: int | None = None) -> Points:
    """The points of a `LightCurve`, filled up to a length; None is the next common one.

    Those of `ChannelData` as well.
    """
    time, flux, error = (np.asarray(array) for array in data.measured())
    columns = data.columns().astype(time.dtype)
    labels = data.channel, data.instrument
    own = Points(time, flux, error**2, np.ones_like(time), columns, data.epoch, *labels)
    number = time.size
    return own.widened(rounded_up(number) if size is None else size, own.columns.shape[1])
