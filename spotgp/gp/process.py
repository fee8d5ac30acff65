r"""A light curve and the Gaussian process it is a draw of: data, parameters and pure functions.

The flux is

.. math::
    y_j = m(t_j) + \sum_i \beta_i H_{ij} + f(t_j) + \epsilon_j, \qquad
    f \sim \mathcal{GP}(0, k), \quad
    \epsilon_j \sim \mathcal{N}(0, \sigma_j^2 + s^2)

with a mean function m, amplitudes of free columns H (offsets of segments, trends) that have a
flat prior and are integrated out, the covariance k of the spots and of further terms, and white
noise of the standard deviation s, the jitter, beyond the stated errors.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pytreefit import Model, param

from ..kernel import harmonics as _harmonics
from ..kernel.analytic import AnalyticKernel
from ..kernel.table import KernelTable, tabulate
from ..kernel.terms import AbstractTerm
from ..solvers import (
    Blocks,
    Factor,
    bins_algebra as local,
    factorize,
    fourier_algebra as fourier,
    log_likelihood,
    quasiseparable_algebra as quasiseparable,
)
from ..star.model import SpotEvolutionModel

# standard deviations of what harmonics do that are never looked at, which is not quite Gaussian
_OF_THE_REST = 5.0


def _rounded_up(reach):
    """The next power of the square root of 2, so that a table's knots stay as parameters change."""
    return jnp.exp2(0.5 * jnp.ceil(2.0 * jnp.log2(jax.lax.stop_gradient(reach))))


class ScaledTable(eqx.Module):
    """A stationary covariance whose amplitude changes with time, plus a stationary rest."""

    table: KernelTable
    rest: KernelTable | None
    amplitude: Any
    epoch: Float[Array, ""]

    def block(self, t1, t2):
        """Covariance matrix of two sets of times since the epoch."""
        first, second = (self.amplitude(t + self.epoch) for t in (t1, t2))
        scale = first[:, None] * second[None, :]
        covariance = scale * self.table.block(t1, t2)
        return covariance if self.rest is None else covariance + self.rest.block(t1, t2)

    def pull(self, total, t1, t2, matrix):
        """Add to cotangents of the leaves those that the covariance matrix `block` has."""

        def scale(amplitude):
            first, second = (amplitude(t + self.epoch) for t in (t1, t2))
            return first[:, None] * second[None, :]

        arrays, static = eqx.partition(self.amplitude, eqx.is_inexact_array)
        scaled, pull = jax.vjp(lambda a: scale(eqx.combine(a, static)), arrays)
        (of_amplitude,) = pull(matrix * self.table.block(t1, t2))
        return ScaledTable(
            table=self.table.pull(total.table, t1, t2, scaled * matrix),
            rest=None if self.rest is None else self.rest.pull(total.rest, t1, t2, matrix),
            amplitude=eqx.apply_updates(total.amplitude, of_amplitude),
            epoch=total.epoch,
        )


class LightCurve(Model):
    """Data and model of one star; built by `GPSolver`, whose posterior's paths are its fields.

    Parameters
    ----------
    time, flux, flux_err
        Shape (n,), ascending days since ``epoch``, relative flux, its standard deviation.
    real
        1 for points, 0 for what fills a light curve up to a common length; None is all 1.
    columns
        Shape (n, c), free columns of the mean; the last ``trend`` are powers of the time.
    epoch
        Days.
    model
        The star.
    mean
        Mean function of absolute times in days, or None.
    terms
        Further stationary processes.
    amplitude
        ``sigma_k(t)`` of a star whose activity changes with time, or None.
    reach
        Days; a kernel with a longer support does not fit into the solver's band.
    sums
        Of the data, for an approximate solver: against Fourier modes or in bins; or None.
    jitter
        Standard deviation of white noise to be added in quadrature.
    """

    time: Float[Array, "n"]
    flux: Float[Array, "n"]
    flux_err: Float[Array, "n"]
    real: Float[Array, "n"] | None
    columns: Float[Array, "n c"]
    epoch: Float[Array, ""]
    model: SpotEvolutionModel
    mean: Callable | None
    terms: dict[str, AbstractTerm]
    amplitude: Callable | None
    reach: Float[Array, ""]
    sums: Any  # fourier.Sums, local.Sums or None
    jitter: Float[Array, ""] = param(bounds="[0, inf)", label="$s$", doc="white noise")
    trend: int = eqx.field(static=True)
    layout: tuple[int, int, int] = eqx.field(static=True)  # tiles, points or bins in each, band
    orders: tuple[int, ...] | None = eqx.field(static=True)
    nodes: int = eqx.field(static=True)
    knots: int = eqx.field(static=True)
    modes: int = eqx.field(static=True)  # slower Fourier modes beside the constant
    lags: int = eqx.field(static=True)  # at which their variances take the kernel
    # that the quasiseparable solver keeps; None for the other solvers
    harmonics: tuple[int, ...] | None = eqx.field(static=True, default=None)
    # knots and nodes of the tables of stars that share a program, and which of them is this one's
    tables: tuple[tuple[int, int], ...] = eqx.field(static=True, default=())
    table: Int[Array, ""] | None = None

    def mean_at(self, time) -> Float[Array, "n"]:
        """The mean function at times since the epoch, without the free columns."""
        if self.mean is None:
            return jnp.zeros_like(time)
        return jnp.broadcast_to(jnp.asarray(self.mean(time + self.epoch), time.dtype), time.shape)

    def spot_kernel(self) -> AnalyticKernel:
        """The covariance of the spots."""
        return AnalyticKernel(self.model, self.orders, self.nodes)

    @property
    def table_size(self) -> tuple[int, int]:
        """Knots and nodes of latitude of the kernel's table."""
        return self.tables[int(self.table)] if self.tables else (self.knots, self.nodes)

    def _tabulated(self, function, reach, cut=None):
        """A table of a kernel, that ``function`` makes from the spots' kernel, for lags of days."""

        def sized(knots, nodes):
            return tabulate(
                function(AnalyticKernel(self.model, self.orders, nodes)), reach, knots, cut
            )

        if not self.tables:
            return sized(self.knots, self.nodes)
        branches = [functools.partial(sized, *size) for size in self.tables]
        longest = max(jax.eval_shape(branch).coefficients.size for branch in branches)

        def filled(branch):
            table = branch()
            more = longest - table.coefficients.size
            return eqx.tree_at(
                lambda table: table.coefficients, table, jnp.pad(table.coefficients, (0, more))
            )

        return jax.lax.switch(self.table, [functools.partial(filled, b) for b in branches])

    def covariance(self, reach, parts=None):
        """What fills covariance matrices of times whose lags do not exceed ``reach`` days.

        Parameters
        ----------
        reach
            Days.
        parts
            Names of the parts to include, ``"spots"`` and the terms'; None is all of them.
        """
        spots = parts is None or "spots" in parts
        terms = [term for name, term in self.terms.items() if parts is None or name in parts]

        def rest(lag):
            return sum((term.kernel(lag) for term in terms), jnp.zeros_like(lag))

        if not spots:
            return tabulate(rest, reach, self.knots)
        support = jnp.asarray(self.model.envelope.kernel_support(), self.time.dtype)
        reach = _rounded_up(reach)
        inner = _rounded_up(jnp.minimum(support, reach))
        if self.amplitude is not None:

            def normalized(kernel):
                return lambda lag: kernel.kernel(lag) / self.model.variance

            table = self._tabulated(normalized, inner, support)
            others = tabulate(rest, reach, self.knots) if terms else None
            return ScaledTable(table, others, self.amplitude, self.epoch)
        if not terms:
            return self._tabulated(lambda kernel: kernel.kernel, inner, support)
        return self._tabulated(lambda kernel: lambda lag: kernel.kernel(lag) + rest(lag), reach)

    @property
    def span(self) -> Float[Array, ""]:
        """Days between the first and the last point."""
        return self.time[-1] - self.time[0]

    def blocks(self) -> Blocks:
        """The data, less the mean function, in the layout of the solver."""
        n, (tiles, size, _) = self.time.size, self.layout
        pad = tiles * size - n

        def cut(values, fill="constant"):
            wide = jnp.pad(values, ((0, pad),) + ((0, 0),) * (values.ndim - 1), mode=fill)
            return wide.reshape((tiles, size, *values.shape[1:]))

        return Blocks(
            time=cut(self.time, "edge"),
            real=cut(jnp.ones_like(self.time) if self.real is None else self.real),
            variance=cut(self.flux_err**2 + self.jitter**2),
            residual=cut(self.flux - self.mean_at(self.time)),
            columns=cut(self.columns),
        )

    def log_likelihood(self) -> Float[Array, ""]:
        """Logarithm of the probability density of the data, free columns integrated out.

        It is minus infinity where the covariance is not positive definite to rounding, or reaches
        further than the solver was made for.
        """
        if self.in_modes:
            value = fourier.log_likelihood(self.sums, self.mode_variances(2), self.jitter**2)
        elif self.in_bins:
            kernel = self.covariance(self.span)
            value = local.log_likelihood(self.sums, kernel, self.jitter**2, self.layout)
        elif self.harmonics is not None:
            value = quasiseparable.log_likelihood(self.states(self.harmonics), self.blocks())
        else:
            covariance = self.covariance(self.span)
            value = log_likelihood(covariance, self.blocks(), self.layout[2])
        support = jnp.asarray(self.model.envelope.kernel_support(), value.dtype)
        good = ~jnp.isnan(value) & (jnp.minimum(support, self.span) <= self.reach)
        return jnp.where(good, value, -jnp.inf)

    @property
    def compiles_quickly(self) -> bool:
        """Whether programs are compiled quickly, see `pytreefit.jit`: not those of modes."""
        return not self.in_modes

    @property
    def in_modes(self) -> bool:
        """Whether the solver is that of Fourier modes."""
        return isinstance(self.sums, fourier.Sums)

    @property
    def in_bins(self) -> bool:
        """Whether the solver is that of polynomials in bins."""
        return isinstance(self.sums, local.Sums)

    def factor(self) -> Factor:
        """The factorised covariance of the data."""
        return factorize(self.covariance(self.span), self.blocks(), self.layout[2])

    def solved_bins(self) -> local.Solved:
        """What the data say of the polynomials in bins."""
        return local.solve(self.sums, self.covariance(self.span), self.jitter**2, self.layout)

    def mode_variances(self, factor: int) -> Float[Array, "j"]:
        """Variances of the Fourier modes' cosines, the slower ones' number times ``factor``."""
        # four times as fine as the fastest mode needs: what is folded back onto it is 4e-4 of it
        size = 8 * factor * self.modes
        lag = jnp.arange(factor * (self.lags - 1) + 1, dtype=self.time.dtype)
        lag = self.sums.period / size * lag
        support = jnp.asarray(self.model.envelope.kernel_support(), lag.dtype)
        kernel = jnp.where(lag <= support, self.spot_kernel().kernel(lag), 0.0)
        return fourier.cosine_variances(kernel, size)[: factor * self.modes + 1]

    def solved_modes(self) -> fourier.Solution:
        """What the data say of the Fourier modes."""
        return fourier.solve(self.sums, self.mode_variances(2), self.jitter**2)

    def states(self, harmonics: tuple[int, ...]) -> quasiseparable.States:
        """The covariance with some harmonics, for the quasiseparable solver."""
        model = self.model
        emergence, decay = _harmonics.decays(model.envelope)
        spots = quasiseparable.Spots(
            emergence=emergence,
            decay=decay,
            omega=model.visibility.omega0(jnp.zeros_like(self.jitter)),
            powers=_harmonics.harmonic_powers(model, harmonics, self.nodes),
            orders=harmonics,
        )
        terms = {name: term.tinygp_kernel() for name, term in self.terms.items()}
        return quasiseparable.states_of({"spots": spots, **terms})

    @property
    def approximate(self) -> bool:
        """Whether `log_likelihood` has an error, which `neglected` estimates."""
        return self.sums is not None or (self.harmonics is not None and self.orders is None)

    def _neglected_harmonics(self) -> Float[Array, ""]:
        """What the next harmonics change, and what is expected of those beyond them."""
        orders, kept = _harmonics.candidates(self.model), len(self.harmonics or ())
        more = min(2 * kept, len(orders))
        weight = 1.0 / (self.flux_err**2 + self.jitter**2)
        loss = _harmonics.losses(self.model, orders, self.nodes, self.time, weight)
        without, wider = (
            quasiseparable.log_likelihood(self.states(orders[:number]), self.blocks())
            for number in (kept, more)
        )
        change, typical = jnp.abs(wider - without), loss[0] + loss[1]
        expected = typical[kept - 1] - typical[more - 1]
        ratio = jnp.where(expected > 0.0, change / jnp.where(expected > 0.0, expected, 1.0), 0.0)
        stated = loss[0, more - 1] + _OF_THE_REST * loss[1, more - 1]
        # in proportion, where the data have not the power that the star should have there
        return change + jnp.maximum(stated, ratio * typical[more - 1])

    def neglected(self) -> Float[Array, ""]:
        """Estimate of the error of `log_likelihood` for Fourier modes and harmonics."""
        if self.harmonics is not None:
            return self._neglected_harmonics()
        return fourier.neglected(self.sums, self.mode_variances(8), self.jitter**2)


def light_curve_log_likelihood(light_curve: LightCurve) -> Float[Array, ""]:
    """`LightCurve.log_likelihood` as a function, for `pytreefit.Posterior`."""
    return light_curve.log_likelihood()
