"""Where to start a fit of a spotted star.

The likelihood has many modes: at multiples of the rotation period, and ragged ones along the spots'
life times. A search from the periods that the data suggest, with a grid of the rest, finds the best
of them far more often than random starts do.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit import jit
from pytreefit.extend import (
    as_data,
    as_number,
    check_kind,
    in_threads,
    inside,
    prior_limits,
    walk,
)

from ..gp.abstract import density
from ..gp.solver import GPSolver
from ..periods import RotationPeriod, autocorrelation, rotation_period
from ..star.abstract import AbstractStar

AMPLITUDE, ENVELOPE = ".amplitude.", ".envelope."
_Star = TypeVar("_Star", bound=AbstractStar)
APART = 0.02  # periods closer than this, in their logarithm, are one
_UNLIKELY = 0.02  # probability below which a candidate is no start
_MOST_PERIODS = 6
_CHUNK = 32  # of starts that are ranked at once


def suggest_starts(
    gp: GPSolver,
    periods: Sequence[float] | RotationPeriod | None = None,
    lifetimes: Sequence[float] | None = None,
) -> list[dict[str, float]]:
    """Values to start from by path, best first.

    All combinations of the periods that the data suggest, some life times, inclinations and
    shears, each with the amplitude that gives the variance of the data, ranked by their log
    posterior. Those for which it is not finite are left out.

    Parameters
    ----------
    gp
        The process.
    periods
        Days, or what `rotation_period` found in more points than the process has; by default what
        it finds in those: its candidates, the model's period, the double and the half of the most
        probable one, as far as the prior allows them.
    lifetimes
        Days, of the spots; by default the autocorrelation's decay time times 1/2, 1, 2 and 4.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t = np.arange(40.0)
    >>> gp = GPSolver(t, 1 + 0.01 * np.sin(2 * np.pi * t / 5.0), 1e-3, star)
    >>> starts = suggest_starts(gp, periods=[5.0, 8.0], lifetimes=[20.0])
    >>> starts[0]["model.visibility.peq"]
    5.0
    """
    check_kind("gp", gp, GPSolver)
    time, flux, error = _spots_alone(gp)
    if periods is None:
        periods = rotation_period(time, flux, error)
    if isinstance(periods, RotationPeriod):
        periods = _periods(gp, periods)
    if lifetimes is None:
        found = autocorrelation(time, flux, error)
        decay = found.decay_time if math.isfinite(found.decay_time) else 0.3 * np.ptp(time)
        lifetimes = [factor * decay for factor in (0.5, 1.0, 2.0, 4.0)]
    initial = {name: float(value) for name, value in gp.posterior.initial.items()}
    limits = {name: prior_limits(gp.posterior.priors[name]) for name in initial}
    starts, days = [], (_days("periods", periods), _days("lifetimes", lifetimes))
    for period, lifetime in itertools.product(*days):
        for model in gp.process.model.starts(period, lifetime):
            values = in_limits(limits, initial | _values(initial, "model.", model))
            if values not in starts:
                starts.append(values)
    if any(AMPLITUDE in name for name in initial):
        ratios = np.var(flux) / _in_chunks(_variance, gp.posterior, starts)
        pairs = zip(starts, np.sqrt(ratios), strict=True)
        starts = [in_limits(limits, values | _rescaled(gp, values, r)) for values, r in pairs]
    return in_order(gp, starts)


def in_order(gp: GPSolver, starts: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Starts by their log posterior, best first, without those that have none."""
    ranked = _in_chunks(density, gp.posterior.rough(), starts) if starts else np.zeros(0)
    return [starts[k] for k in np.argsort(-ranked) if np.isfinite(ranked[k])]


def _days(name: str, values) -> np.ndarray:
    days = as_data(name, values, "d", ndim=1)
    if not (days.size and np.all((days > 0) & np.isfinite(days))):
        raise ValueError(f"{name} = {values} must be one or several finite numbers > 0, in days.")
    return days


def _spots_alone(gp: GPSolver):
    """Times, fluxes and errors, less the mean function and the best fit of the free columns.

    Relative to a mean that multiplies what the spots do.
    """
    data, process = gp.data, gp.process
    time, error, columns = np.asarray(data.time), np.asarray(data.flux_err), data.columns()
    mean = np.asarray(process.mean_at(data.time + data.epoch))
    flux = np.asarray(data.flux) - mean
    if columns.shape[1]:
        amplitudes, *_ = np.linalg.lstsq(columns, flux, rcond=None)
        flux = flux - columns @ amplitudes
    else:
        flux = flux - np.mean(flux)
    scale = 1.0 if process.multiplier is None else np.abs(mean)
    return time, flux / scale, error / scale


def _periods(gp: GPSolver, found: RotationPeriod) -> list[float]:
    """Candidates, double and half of the best, as far as the prior allows them."""
    prior = gp.posterior.priors.get("model.visibility.peq")
    low, high = (0.0, math.inf) if prior is None else prior_limits(prior)
    likely = found.candidates[found.probabilities > _UNLIKELY]
    own = likely if likely.size else found.candidates[:1]
    others = (found.autocorrelation, found.lomb_scargle, 2.0 * own[0], 0.5 * own[0])
    # where the model is, too: its period may be of more points than these
    first = [float(gp.process.model.visibility.peq)] if prior is not None else []
    wanted = [float(p) for p in (*first, *own, *others) if math.isfinite(p)]
    kept: list[float] = []
    for period in [p for p in wanted if low < p < high] or wanted:
        if all(abs(math.log(period / other)) > APART for other in kept):
            kept.append(period)
    return kept[:_MOST_PERIODS]


def _values(names, prefix: str, component) -> dict[str, float]:
    """Values of those parameters of a component that are among the names, by path."""
    nodes = walk(component, prefix)
    return {n.path: float(n.value) for n in nodes if n.info is not None and n.path in names}


def _rescaled(gp: GPSolver, values, factor: float) -> dict[str, float]:
    """Values with the kernel's amplitude multiplied by a factor."""
    own = {path.removeprefix("model."): v for path, v in values.items() if AMPLITUDE in path}
    scaled = _values(values, "model.", gp.process.model.set(own).scaled(factor))
    return {path: value for path, value in scaled.items() if AMPLITUDE in path}


def _in_chunks(function, posterior, starts) -> np.ndarray:
    """A function of values and of the posterior, for lists of values of any length."""
    stacked = {
        name: jnp.asarray([values[name] for values in starts], initial.dtype)
        for name, initial in posterior.initial.items()
    }

    def chunk(first):
        # filled up with the last one, so that all chunks share a program
        rows = np.minimum(np.arange(first, first + _CHUNK), len(starts) - 1)
        values = {name: array[rows] for name, array in stacked.items()}
        return _of_each(posterior, function, values)

    found = in_threads(chunk, range(0, len(starts), _CHUNK))
    return np.concatenate([np.asarray(part) for part in found])[: len(starts)]


@jit
def _of_each(posterior, function, stacked):
    return jax.lax.map(lambda values: function(values, posterior), stacked)


def _variance(values, posterior):
    """Variance of the spots' light curve."""
    return posterior.model_at(values).spot_kernel().kernel(jnp.zeros(()))


def first_guess(data, model: _Star, period: float | None = None) -> _Star:
    """A model with period, life times and amplitude estimated from the light curve.

    The period is the most probable one of `rotation_period`; spots live as long as the
    autocorrelation takes to decay, and no longer than the light curve.

    Parameters
    ----------
    data
        A `TimeSeriesData`.
    model
        What to start from: the period of its visibility, the times of its envelope and its
        amplitude are set (`SpotEvolutionModel.start`). Several populations keep the ratios of their
        life times and amplitudes.
    period
        Days, in place of that of `rotation_period`.

    Raises
    ------
    TypeError
        For other data or another model.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t = np.arange(0.0, 60.0, 0.2)
    >>> data = TimeSeriesData(t, 1 + 0.01 * np.sin(2 * np.pi * t / 7.0), 1e-4)
    >>> round(float(first_guess(data, star).peq), 1)
    7.0
    """
    check_kind("model", model, AbstractStar)
    if not hasattr(data, "rotation_period"):
        raise TypeError(f"data is a {type(data).__name__} but must be a TimeSeriesData.")
    data = data.to("")
    acf = data.autocorrelation()
    period = data.rotation_period().period if period is None else as_number("period", period, "d")
    life = max(acf.decay_time if math.isfinite(acf.decay_time) else 10.0, 1.0)
    life = min(life, data.span)
    return model.start(period, life, float(np.std(data.flux)))


def in_limits(limits, values):
    """Values, moved into the supports of their priors."""
    return {name: inside(float(value), *limits[name]) for name, value in values.items()}
