"""What fills the covariance matrices of a light curve: tables of its process."""

import abc
import dataclasses
import math
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .analytic import average_at_rows, latitude_parts, rotation_range
from .loops import sum_at_rows
from .table import MARGIN, ROW, KernelTable, knots_at, tabulate

# error of a kernel relative to its variance, or less where a likelihood cannot bear it:
_ERROR = 5e-7
_FEWEST, MOST = 512, 16384  # knots
_ROUGH = 256.0  # times the error: a quarter of the knots
_SHORTEST = 1e-6  # days of lags, where all times are the same
_PER_TURN = 64.0  # knots for a rotation at the longest lags, for an error of _ERROR


class ScaledTable(eqx.Module):
    """A covariance, such as a table, whose amplitude changes with time, plus a stationary rest."""

    table: "KernelTable | ScaledTable"
    rest: KernelTable | None
    amplitude: Any
    epoch: Float[Array, ""]

    def _scale(self, amplitude, t1, t2):
        first, second = (amplitude(t + self.epoch) for t in (t1, t2))
        return first[:, None] * second[None, :]

    def block(self, t1, t2):
        """Covariance matrix of two sets of times since the epoch."""
        covariance = self._scale(self.amplitude, t1, t2) * self.table.block(t1, t2)
        return covariance if self.rest is None else covariance + self.rest.block(t1, t2)

    def pull(self, total, t1, t2, matrix):
        """Add to cotangents of the leaves those that the covariance matrix `block` has."""
        arrays, static = eqx.partition(self.amplitude, eqx.is_inexact_array)
        scaled, pull = jax.vjp(lambda a: self._scale(eqx.combine(a, static), t1, t2), arrays)
        (of_amplitude,) = pull(matrix * self.table.block(t1, t2))
        return ScaledTable(
            table=self.table.pull(total.table, t1, t2, scaled * matrix),
            rest=None if self.rest is None else self.rest.pull(total.rest, t1, t2, matrix),
            amplitude=eqx.apply_updates(total.amplitude, of_amplitude),
            epoch=total.epoch,
        )


def _rounded_up(number, base: float):
    """The next power of a base, so that a table's knots stay as parameters change."""
    return base ** jnp.ceil(jnp.log(jax.lax.stop_gradient(number)) / math.log(base))


def kernel_error(
    time, noise, variance: float, reach: float, tolerance: float, harder: float = 1.0
) -> float:
    r"""The error of the kernel, relative to the variance, that a log-likelihood can bear.

    An error :math:`\epsilon k(0)` in the covariance of all pairs of points that are correlated
    makes a Kullback-Leibler divergence of at most :math:`D = \tfrac14 \mathrm{tr} (K^{-1}
    \delta K)^2` with the white noise in the place of K, and changes a log-likelihood by some
    :math:`\sqrt{2 D}`: what is far above the noise needs an accurate kernel. The noise is the
    variance of each point's, ``reach`` the largest lag with a covariance, in the unit of the times.
    The error of what is harder than a light curve's kernel, by a factor, is divided by that.
    """
    ends = np.searchsorted(time, time + reach)
    pairs = 2.0 * float(np.sum(ends - np.arange(time.size)))
    ratio = max(variance / float(np.median(noise)), 1e-3)
    bearable = tolerance * math.sqrt(2.0) / (ratio * math.sqrt(max(pairs, 1.0)))
    return min(_ERROR, bearable / harder)


class AbstractTables(eqx.Module):
    """Makes the tables of a process at any parameters, each as fine as its error asks for."""

    error: eqx.AbstractVar[Float[Array, ""]]
    tolerance: eqx.AbstractVar[Float[Array, ""]]
    epoch: eqx.AbstractVar[Float[Array, ""]]
    most: eqx.AbstractVar[int]

    @abc.abstractmethod
    def covariance(self, process, reach, parts=None) -> Any:
        """What fills covariance matrices of times whose lags do not exceed ``reach`` days.

        Its ``block(t1, t2)`` is the covariance matrix of two sets of times. With ``parts`` only
        these are included.
        """

    def finer(self) -> Self:
        """Tables of twice as many knots and nodes of latitude."""
        return dataclasses.replace(self, error=self.error / 16.0, most=2 * self.most)

    def rough(self) -> Self:
        """Tables of a quarter of the knots and nodes, for searches far from the data."""
        return dataclasses.replace(self, error=_ROUGH * self.error)

    def _wanted(self, model, reach):
        """Knots that keep the error."""
        turns = rotation_range(model)[1] * reach / (2.0 * math.pi)
        return _PER_TURN * turns * (_ERROR / self.error) ** 0.25

    def enough(self, process, reach) -> Bool[Array, ""]:
        """Whether a table for lags up to ``reach`` days has as many knots as it needs."""
        support = jnp.asarray(process.support(), self.error.dtype)
        return self._wanted(process.model, jnp.minimum(support, reach)) <= self.most

    def _knots(self, model, reach):
        """Knots per square root of a day, the number of rows in use, and the rows of lags."""
        knots = jnp.clip(_rounded_up(self._wanted(model, reach), 2.0), _FEWEST, self.most)
        scale = (knots - 1.0) / jnp.sqrt(reach)
        return scale, jnp.ceil((knots + MARGIN) / ROW).astype(int), knots_at(scale, self.most)

    def _reaches(self, process, reach):
        """The lag that is asked for, rounded up, the kernel's support, and the smaller of both."""
        reach = jnp.maximum(jnp.asarray(reach, self.error.dtype), _SHORTEST)
        reach = _rounded_up(reach, math.sqrt(2.0))
        support = jnp.asarray(process.model.kernel_support(), reach.dtype)
        return reach, support, _rounded_up(jnp.minimum(support, reach), math.sqrt(2.0))


class Tables(AbstractTables):
    """The tables of a light curve's process.

    Parameters
    ----------
    error
        Of the kernel, relative to its variance.
    tolerance
        Error of the log-likelihood that it is for.
    epoch
        Zero point of the times, days.
    most
        Most knots of a table. Where the rotation is so fast that more were needed, the error is
        larger.
    """

    error: Float[Array, ""]
    tolerance: Float[Array, ""]
    epoch: Float[Array, ""]
    most: int = eqx.field(static=True, default=MOST)

    def covariance(self, process, reach, parts=None):
        """What fills covariance matrices of times whose lags do not exceed ``reach`` days.

        It is a `KernelTable` or a `ScaledTable`: its ``block(t1, t2)`` is the covariance matrix of
        two sets of times. With ``parts`` only these are included, ``"spots"`` and the terms' names.
        """
        found = self._of_star(process, reach, parts)
        if process.multiplier is None:
            return found
        return ScaledTable(found, None, process.multiplier, self.epoch)

    def _of_star(self, process, reach, parts):
        terms = {k: v for k, v in process.terms.items() if parts is None or k in parts}
        reach, support, inner = self._reaches(process, reach)
        if parts is not None and "spots" not in parts:
            return self._table(process, terms, reach, spots=False)
        if process.amplitude is not None:
            rest = self._table(process, terms, reach, spots=False) if terms else None
            spots = self._table(process, {}, inner, cut=support, unit=True)
            return ScaledTable(spots, rest, process.amplitude, self.epoch)
        if terms:
            return self._table(process, terms, reach)
        return self._table(process, {}, inner, cut=support)

    def _table(self, process, terms, reach, *, spots=True, cut=math.inf, unit=False) -> KernelTable:
        model = process.model
        scale, number, rows = self._knots(model, reach)
        values = jnp.zeros_like(rows)
        if spots:
            for one in model.members:
                latitudes = latitude_parts(one, reach, self.error)
                own = average_at_rows(one, process.orders, latitudes, number, rows)
                own = own * sum_at_rows(of_envelope, one.envelope, 1, number, rows)
                values = values + (one.variance / model.variance if unit else one.variance) * own
        if terms:
            values = values + sum_at_rows(_of_terms, terms, 1, number, rows)
        return tabulate(values, scale, cut)


def of_envelope(envelope, k):
    """The envelope's autocorrelation, for `sum_at_rows`."""
    del k
    return envelope.R_Gamma


def _of_terms(terms, k):
    del k
    return lambda lag: sum((term.kernel(lag) for term in terms.values()), jnp.zeros_like(lag))
