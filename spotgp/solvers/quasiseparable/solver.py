"""The quasiseparable solver: exponential envelopes on stars without shear."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import tinygp

from pytreefit import jit

from ...kernel.covariance import Tables
from ...star.exponential import ExponentialAsymmetricEnvelope, ExponentialEnvelope
from ...star.visibility import AbstractVisibility
from ..base import AbstractSolver, Conditional, finite_or_minus_infinity, left_out
from ..block import Blocks
from ..information import Information
from ..limits import tables_of
from ..points import Points, points_of
from . import filter as kalman
from .harmonics import MOST_HARMONICS, candidates, decays, harmonic_powers, harmonics_needed, losses
from .states import Spots, States, states_of

# standard deviations of what harmonics do that are never looked at, which is not quite Gaussian
_OF_THE_REST = 5.0
_EXACT_UP_TO = 3000  # points that the exact solvers take less than a second for
_PER_SECOND = 1e11  # products of numbers, to compare with the exact solvers' cost


class Quasiseparable(AbstractSolver):
    """A Kalman filter over some harmonics: a cost in proportion to N.

    Parameters
    ----------
    points
        The data.
    tables
        Not needed for the likelihood.
    harmonics
        That are kept.
    chosen
        Whether they are those that were asked for, and the likelihood is exact.
    """

    name: ClassVar[str] = "quasiseparable"
    approximate: ClassVar[bool] = True
    points: Points
    tables: Tables
    harmonics: tuple[int, ...] = eqx.field(static=True)
    chosen: bool = eqx.field(static=True)

    @classmethod
    def prepare(cls, data, process, priors, tolerance):
        reason = obstacle(process, priors, data.exposure)
        if reason:
            raise ValueError(f"solver = 'quasiseparable' is not for this light curve: {reason}.")
        harmonics = harmonics_for(data, process, tolerance)
        if harmonics is None:
            raise ValueError(
                f"solver = 'quasiseparable' needs more than {MOST_HARMONICS} harmonics to keep the "
                f"error of the log-likelihood below {tolerance:g}: the signal is too far above the "
                "noise. Name the harmonics in an AnalyticKernel(model, orders=...), or use another "
                "solver."
            )
        return cls(
            points=points_of(data),
            tables=tables_of(data, process, priors, tolerance),
            harmonics=harmonics,
            chosen=process.orders is not None,
        )

    @classmethod
    def cost(cls, data, process, priors, tolerance):
        number = data.time.size
        if number <= _EXACT_UP_TO or obstacle(process, priors, data.exposure):
            return math.inf
        harmonics = harmonics_for(data, process, tolerance)
        if harmonics is None:
            return math.inf
        return _PER_SECOND * kalman.seconds(number, _states(process, harmonics).size)

    def _blocks(self, process) -> Blocks:
        size = kalman.tile_size(_states(process, self.harmonics).size)
        return self.points.tiles(process, size)

    def log_likelihood(self, process):
        states = _states(process, self.harmonics)
        return finite_or_minus_infinity(kalman.log_likelihood(states, self._blocks(process)))

    def information(self, process):
        products, _ = kalman.gather(_states(process, self.harmonics), self._blocks(process))
        return Information.of(products)

    def condition(self, process, times, parts=None, full=False):
        states = _states(process, self.harmonics)
        if full:
            blocks = self._blocks(process)
            products, through, variance = kalman.through(states, blocks, times, parts)
        else:
            merged, at = _with_times(self.points, times)
            blocks = merged.tiles(process, kalman.tile_size(states.size))
            products, smoothed = kalman.smooth(states, blocks, parts)
            through, variance = smoothed.through[at], smoothed.variance[at]
        return Conditional(through, variance, Information.of(products))

    def leave_one_out(self, process):
        return left_out(self, process, self.points.noise(process))

    def error(self, process):
        if self.chosen:
            return jnp.zeros_like(process.jitter)
        return _error(self, process)

    @property
    def length(self):
        return self.points.time.size

    @classmethod
    def shared(cls, solvers, least=0):
        size = max(least, *(solver.points.time.size for solver in solvers))
        columns = max(solver.points.columns.shape[1] for solver in solvers)
        most = max((solver.harmonics for solver in solvers), key=len)
        return [
            cls(one.points.widened(size, columns), one.tables, most, one.chosen) for one in solvers
        ]

    def __repr__(self):
        return f"quasiseparable with {len(self.harmonics)} harmonics"


@jit
def _error(solver: Quasiseparable, process):
    orders, kept = candidates(process.model), len(solver.harmonics)
    more = min(2 * kept, len(orders))
    weight = solver.points.real / solver.points.noise(process)
    loss = losses(process.model, orders, solver.points.time, weight)
    blocks = solver._blocks(process)
    without, wider = (
        kalman.log_likelihood(_states(process, orders[:number]), blocks) for number in (kept, more)
    )
    change, typical = jnp.abs(wider - without), loss[0] + loss[1]
    expected = typical[kept - 1] - typical[more - 1]
    ratio = jnp.where(expected > 0.0, change / jnp.where(expected > 0.0, expected, 1.0), 0.0)
    stated = loss[0, more - 1] + _OF_THE_REST * loss[1, more - 1]
    # in proportion, where the data have not the power that the star should have there
    return change + jnp.maximum(stated, ratio * typical[more - 1])


def _states(process, harmonics) -> States:
    """The covariance with some harmonics."""
    model = process.model
    emergence, decay = decays(model.envelope)
    spots = Spots(
        emergence=emergence,
        decay=decay,
        omega=model.visibility.omega0(jnp.zeros_like(process.jitter)),
        powers=harmonic_powers(model, harmonics),
        orders=harmonics,
    )
    terms = {name: term.tinygp_kernel() for name, term in process.terms.items()}
    return states_of({"spots": spots, **terms})


def obstacle(process, priors, exposure=None) -> str | None:
    """Why the solver is not for a process, or None where it is.

    Parameters
    ----------
    process
        With concrete values.
    priors
        Of the free parameters, by path.
    exposure
        Length of the exposures, days; None if they are short.
    """
    if exposure is not None:
        return "averages over exposures are no sum of exponentials"
    model = process.model
    if len(model.members) > 1:
        return "it takes a single population of spots"
    (model,) = model.members
    if not isinstance(model.envelope, ExponentialEnvelope | ExponentialAsymmetricEnvelope):
        return (
            f"the autocorrelation of a {type(model.envelope).__name__} is no sum of exponentials: "
            "it takes an ExponentialEnvelope or an ExponentialAsymmetricEnvelope"
        )
    if "model.visibility.kappa" in priors:
        return "kappa is free, but it takes stars without shear: start at kappa = 0 without a prior"
    if float(model.visibility.kappa) != 0.0:
        return f"kappa = {float(model.visibility.kappa):g}, but it takes stars without shear"
    if type(model.visibility).omega0 is not AbstractVisibility.omega0:
        return f"{type(model.visibility).__name__} has a law of rotation of its own"
    if process.multiplier is not None:
        return "it takes no mean that multiplies the star's light, such as a Transit"
    if process.amplitude is not None:
        return "it takes a constant amplitude, no NonstationaryAnalyticKernel"
    for name, term in process.terms.items():
        if not isinstance(term.tinygp_kernel(), tinygp.kernels.quasisep.Quasisep):
            return f"terms[{name!r}] is a {type(term).__name__}, none of tinygp's quasisep kernels"
    return None


def harmonics_for(data, process, tolerance: float) -> tuple[int, ...] | None:
    """The harmonics that were asked for, or that a tolerance asks for; None if too many."""
    if process.orders is not None:
        return tuple(sorted(process.orders))
    weight = 1.0 / (data.flux_err**2 + process.white_variance(data.instrument))
    return harmonics_needed(process.model, data.time, weight, tolerance)


def _with_times(points: Points, times):
    """Data with other times among them, which are no data, and where those then are."""
    number = points.time.size
    order = jnp.argsort(jnp.concatenate([points.time, times]), stable=True)

    def merged(values, fill):
        others = jnp.full((times.size, *values.shape[1:]), fill, values.dtype)
        return jnp.concatenate([values, others])[order]

    everywhere = Points(
        time=jnp.concatenate([points.time, times])[order],
        flux=merged(points.flux, 1.0),
        variance=merged(points.variance, 1.0),
        real=merged(points.real, 0.0),
        columns=merged(points.columns, 0.0),
        epoch=points.epoch,
        instrument=None if points.instrument is None else merged(points.instrument, 0),
    )
    return everywhere, jnp.argsort(order)[number:]
