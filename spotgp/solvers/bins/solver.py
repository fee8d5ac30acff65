"""The solver of polynomials in bins: as narrow as the tolerance asks for."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import BSpline

from pytreefit import jit

from ...kernel.analytic import rotation_range
from ...kernel.covariance import Tables
from ...kernel.table import KernelTable
from ..base import (
    AbstractSolver,
    Conditional,
    finite_or_minus_infinity,
    left_out,
    variances,
)
from ..layout import Layout, fastest
from ..limits import largest_jitter, largest_lag, limits_of, tables_of
from ..points import Points, points_of
from . import algebra
from .error import neglected
from .sums import Sums, gather

_ROTATIONS = 2.5  # to either side in which errors of polynomials in bins are looked for
_NARROWER = 1.1  # how far the bins' width may be from the widest that keeps the tolerance
_CHUNK = 256  # times that are predicted at once
# points that the exact solvers take less than a second for, and what bins cost at least
_EXACT_UP_TO, _LEAST_COST = 3000, 1e10


class Bins(AbstractSolver):
    """Polynomials in short bins: a cost in proportion to the time span, whatever N.

    Parameters
    ----------
    points, tables
        Data, and what makes the kernel's tables.
    sums
        Of the data in bins.
    reach
        Largest lag with a covariance, days.
    layout
        Tiles, bins in each, and the number of tiles that one is correlated with.
    """

    name: ClassVar[str] = "bins"
    approximate: ClassVar[bool] = True
    points: Points
    tables: Tables
    sums: Sums
    reach: Float[Array, ""]
    layout: Layout = eqx.field(static=True)

    @classmethod
    def prepare(cls, data, process, priors, tolerance):
        reach = largest_lag(data, process, priors)
        noise = _largest_noise(process, priors, reach)
        tables = tables_of(data, process, priors, tolerance)
        time = np.asarray(data.time, float) - float(data.time[0])
        width = _width(data, process, tables, reach, tolerance)
        bins = int(data.span / width) + 1
        residual = np.asarray(data.flux - process.mean_at(data.time + data.epoch), float)
        variance = np.asarray(data.flux_err, float) ** 2
        dtype = data.time.dtype
        return cls(
            points=points_of(data),
            tables=tables,
            sums=gather(time, residual, data.columns(), variance, noise, width, bins),
            reach=jnp.asarray(reach, dtype),
            layout=fastest(bins, int(min(reach, data.span) / width) + 1, unit=algebra.KEPT),
        )

    @classmethod
    def cost(cls, data, process, priors, tolerance):
        fits = data.time.size > _EXACT_UP_TO and not process.noise and process.multiplier is None
        return _LEAST_COST if fits else math.inf

    def _kernel(self, process):
        return self.tables.covariance(process, self.points.span)

    def covered(self, process):
        near = jnp.minimum(process.support(), self.points.span) <= self.reach
        return near & (process.jitter**2 <= self.sums.most_noise)

    def log_likelihood(self, process):
        kernel, noise = self._kernel(process), process.jitter**2
        value = algebra.log_likelihood(self.sums, kernel, noise, self.layout)
        return finite_or_minus_infinity(value, self.covered(process))

    def information(self, process):
        kernel, noise = self._kernel(process), process.jitter**2
        return algebra.solve(self.sums, kernel, noise, self.layout).information

    def condition(self, process, times, parts=None, full=False):
        # parts: the solver is for spots alone
        noise = process.jitter**2
        found = algebra.solve(self.sums, self._kernel(process), noise, self.layout)
        both = jnp.concatenate([times, self.points.time])
        kernel = self.tables.covariance(process, jnp.max(both) - jnp.min(both), parts)

        def moments(times):
            cross = algebra.against_bins(
                self.sums, found.system, kernel, times - self.points.time[0]
            )
            through = jnp.einsum("bpm,bpc->mc", cross, found.solved)
            # from below, and so the variance from above, to sixth order in what the first step
            # leaves
            trial = found.system.nearly_solved(cross)
            for _ in range(2):
                trial = trial + found.system.nearly_solved(cross - found.system.times(trial))
            rest = 2.0 * cross - found.system.times(trial)
            reduction = jnp.einsum("bpm,bpn->mn" if full else "bpm,bpm->m", trial, rest)
            prior = kernel.block(times, times) if full else variances(kernel, times)
            return through, prior - reduction

        if full or times.size <= _CHUNK:
            return Conditional(*moments(times), found.information)
        chunks = -(-times.size // _CHUNK)
        padded = jnp.pad(times, (0, chunks * _CHUNK - times.size), mode="edge")
        through, variance = jax.lax.map(moments, padded.reshape(chunks, _CHUNK))
        through = through.reshape(-1, through.shape[-1])
        return Conditional(through[: times.size], variance.ravel()[: times.size], found.information)

    def leave_one_out(self, process):
        beyond = algebra.beyond_degrees(self.sums, self._kernel(process), process.jitter**2)
        return left_out(self, process, self.points.noise(process) + beyond)

    def error(self, process):
        real = np.asarray(self.points.real) > 0
        time, noise = self.points.time, self.points.noise(process)
        time, noise = (np.asarray(array, float)[real] for array in (time, noise))
        errors = _errors(time, noise, process, self.tables)(float(self.sums.width))
        stated = errors.degrees + errors.within + float(_determinant_error(self, process))
        return jnp.asarray(stated + float(self.table_error(process)))

    def explain(self, process):
        support, jitter = float(process.support()), float(process.jitter)
        if min(support, float(self.points.span)) > float(self.reach):
            return (
                f"The kernel's support of {support:.4g} days is longer than the "
                f"{float(self.reach):.4g} that the priors allowed and the solver was made for. "
                "Give the envelope's time scales wider priors."
            )
        if jitter**2 > float(self.sums.most_noise):
            return (
                f"The jitter of {jitter:.3g} is larger than the "
                f"{math.sqrt(float(self.sums.most_noise)):.3g} that its prior allowed and the sums "
                "over the data were taken for. Give it a wider prior."
            )
        return None

    def __repr__(self):
        tiles, size, _ = self.layout
        return f"bins of {float(self.sums.width):.3g} days in {tiles} tiles of {size}"


def _largest_noise(process, priors, reach: float) -> float:
    """Largest variance of the jitter; ValueError for what bins cannot take."""
    if process.noise:
        raise ValueError(
            "solver = 'bins' takes one jitter for all segments, as a bin holds points of several: "
            "give one number, or use 'dense', 'banded' or 'quasiseparable'."
        )
    if process.multiplier is not None:
        raise ValueError(
            "solver = 'bins' takes no mean that multiplies the star's light, such as a Transit: "
            "use 'dense' or 'banded'."
        )
    if process.terms or process.amplitude is not None:
        raise ValueError(
            "solver = 'bins' is for spots alone, with a constant amplitude: use 'dense' or "
            "'banded' with terms or a NonstationaryAnalyticKernel."
        )
    if any(path.startswith("mean.") for path in limits_of(priors)):
        raise ValueError(
            "solver = 'bins' takes no mean function with free parameters: offsets, a trend and a "
            "constant are integrated out; or fix the mean's parameters, or use another solver."
        )
    if not math.isfinite(reach):
        raise ValueError(
            "solver = 'bins' must know how far the kernel may reach: give the envelope's time "
            "scales priors with upper ends, such as priors={'lspot': (1.0, 30.0)}."
        )
    noise = largest_jitter(process, priors) ** 2
    if not math.isfinite(noise):
        raise ValueError(
            "solver = 'bins' takes sums over the data for all values of the jitter: give it a "
            "prior with an upper end."
        )
    return noise


def _width(data, process, tables: Tables, reach: float, tolerance: float) -> float:
    """Days of the widest bins that keep the tolerance; ValueError where none do."""
    time, span = np.asarray(data.time, float), data.span
    noise = np.asarray(data.flux_err, float) ** 2 + float(process.jitter) ** 2
    errors_at = _errors(time, noise, process, tables)
    step = max(float(np.median(np.diff(time))), span / (4.0 * time.size))
    width = too_wide = min(span, 0.25 * reach)
    while not (error := errors_at(width).total) <= tolerance:
        too_wide, width = width, 0.5 * width
        if width < algebra.KEPT * step:
            raise ValueError(
                f"solver = 'bins' cannot keep the error of the log-likelihood below {tolerance:g} "
                f"(it would be {error:.2g} in bins of {too_wide:.3g} days): the signal is too far "
                "above the noise. Use solver='banded', or a larger tolerance."
            )
    while too_wide > _NARROWER * width:
        middle = math.sqrt(width * too_wide)
        if errors_at(middle).total <= tolerance:
            width = middle
        else:
            too_wide = middle
    return width


def _errors(time, noise, process, tables: Tables):
    """A function of the bins' width: estimates of the errors."""
    span = float(time[-1] - time[0])
    kernel = _in_numpy(_table_of(process, tables, jnp.asarray(span)))
    # what repeats itself with every rotation ties bins to those some rotations before
    fastest_turn = 2.0 * math.pi / float(rotation_range(process.model)[1])
    reach = min(_ROTATIONS * fastest_turn, span)
    return lambda width: neglected(time, noise, kernel, width, reach)


@jit
def _table_of(process, tables, span) -> KernelTable:
    return tables.covariance(process, span)


@jit
def _determinant_error(solver, process):
    kernel, noise = solver._kernel(process), process.jitter**2
    return algebra.determinant_error(solver.sums, kernel, noise, solver.layout)


def _in_numpy(table: KernelTable):
    """The same function of the lag: one for JAX compiles for each shape."""
    coefficients = np.asarray(table.coefficients, float)
    # the first spline ends after one step
    spline = BSpline(np.arange(coefficients.size + 4.0) - 3.0, coefficients, 3)
    scale, cut = float(table.scale), float(table.cut)
    return lambda lag: np.where(lag <= cut, spline(np.sqrt(np.minimum(lag, cut)) * scale), 0.0)
