r"""Where to start a fit of a spotted star, and how many starts agree.

The likelihood has many modes: at multiples of the rotation period, and ragged ones along the spots'
life times. A search from the periods that the data suggest, with a grid of the rest, finds the best
of them far more often than random starts do.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit import Fit, Status, Table, fit, jit
from pytreefit.extend import (
    Reporter,
    as_data,
    as_number,
    as_whole_number,
    check_kind,
    density_at,
    in_threads,
    inside,
    prior_limits,
    walk,
)

from .gp.abstract import density
from .gp.priors import short_names
from .gp.solver import GPSolver
from .periods import RotationPeriod, autocorrelation, rotation_period
from .star.abstract import AbstractStar

_AMPLITUDE, _ENVELOPE = ".amplitude.", ".envelope."
_Star = TypeVar("_Star", bound=AbstractStar)
_APART = 0.02  # periods closer than this, in their logarithm, are one
_UNLIKELY = 0.02  # probability below which a candidate is no start
_MOST_PERIODS = 6
_CHUNK = 32  # of starts that are ranked at once
_AGREE = 0.1  # log densities closer than this are the same optimum
_AT_EDGE = 1e-9  # distance from the edge of a prior, relative to its half width
_JUDGED = 1e-3  # a fit whose end is known to be a maximum may be lower by as much
_CLOSELY = 1e-8  # tolerance of the last fit, somewhat above the rounding of log densities


class Search(NamedTuple):
    """The best fit of many starts, and all of them.

    Parameters
    ----------
    best
        The fit.
    fits
        From all starts, in their order.
    log_density
        Of each.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=60.0, tau_spot=20.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.002,
    ... )
    >>> t, known = np.arange(30.0), dict.fromkeys(["inc", "lspot", "tau_spot", "sigma_k"])
    >>> gp = GPSolver(t, 1 + 0.01 * np.sin(2 * np.pi * t / 5.5), 1e-3, star, priors=known)
    >>> starts = [{"model.visibility.peq": period} for period in (5.4, 5.6)]
    >>> found = search(gp, starts, progress=False)
    >>> found.agreeing, round(float(found.best.model.model.peq), 1)
    (2, 5.5)
    """

    best: Fit
    fits: tuple[Fit, ...]
    log_density: np.ndarray

    @property
    def agreeing(self) -> int:
        """Number of starts that ended within 0.1 of the best log posterior."""
        return int(np.sum(self.log_density > np.max(self.log_density) - _AGREE))

    @property
    def flags(self) -> tuple[str, ...]:
        """What to doubt, in words; empty if nothing.

        A parameter at an edge that its prior chose, not one at a bound of its own such as a shear
        of 0 or a star seen edge-on; a fit that did not end; starts of which none agrees with the
        best.
        """
        best, flags = self.best, []
        chosen = [name for name in best.at_edge if name not in best.at_bound]
        if chosen:
            short = dict(zip(best.names, short_names(best.names), strict=True))
            flags.append(f"at the edge of the prior: {', '.join(short[n] for n in chosen)}")
        elif best.status not in (Status.CONVERGED, Status.AT_EDGE):
            flags.append("not converged")
        if self.agreeing == 1 < len(self.fits):
            flags.append(f"each of {len(self.fits)} starts ends elsewhere")
        return tuple(flags)

    def table(self) -> Table:
        """Where the starts ended, best first."""
        names = self.best.names
        order = np.argsort(-self.log_density)
        rows = [
            (
                f"{self.log_density[k]:.2f}",
                *(f"{float(self.fits[k].values[name]):.5g}" for name in names),
            )
            for k in order
        ]
        return Table(("log posterior", *short_names(names)), rows)


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
    time, flux = _without_columns(gp.data)
    if periods is None:
        periods = rotation_period(time, flux, gp.data.flux_err)
    if isinstance(periods, RotationPeriod):
        periods = _periods(gp, periods)
    if lifetimes is None:
        found = autocorrelation(time, flux, gp.data.flux_err)
        decay = found.decay_time if math.isfinite(found.decay_time) else 0.3 * np.ptp(time)
        lifetimes = [factor * decay for factor in (0.5, 1.0, 2.0, 4.0)]
    initial = {name: float(value) for name, value in gp.posterior.initial.items()}
    limits = {name: prior_limits(gp.posterior.priors[name]) for name in initial}
    starts, days = [], (_days("periods", periods), _days("lifetimes", lifetimes))
    for period, lifetime in itertools.product(*days):
        for model in gp.process.model.starts(period, lifetime):
            values = _inside(limits, initial | _values(initial, "model.", model))
            if values not in starts:
                starts.append(values)
    if any(_AMPLITUDE in name for name in initial):
        ratios = np.var(flux) / _in_chunks(_variance, gp.posterior, starts)
        pairs = zip(starts, np.sqrt(ratios), strict=True)
        starts = [_inside(limits, values | _rescaled(gp, values, r)) for values, r in pairs]
    ranked = _in_chunks(density, gp.posterior.rough(), starts)
    return [starts[k] for k in np.argsort(-ranked) if np.isfinite(ranked[k])]


def _days(name: str, values) -> np.ndarray:
    days = as_data(name, values, "d", ndim=1)
    if not (days.size and np.all((days > 0) & np.isfinite(days))):
        raise ValueError(f"{name} = {values} must be one or several finite numbers > 0, in days.")
    return days


def _without_columns(data):
    """Times and fluxes of the points, less the best fit of the free columns or the mean."""
    time, flux, columns = np.asarray(data.time), np.asarray(data.flux), data.columns()
    if not columns.shape[1]:
        return time, flux - np.mean(flux)
    amplitudes, *_ = np.linalg.lstsq(columns, flux, rcond=None)
    return time, flux - columns @ amplitudes


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
        if all(abs(math.log(period / other)) > _APART for other in kept):
            kept.append(period)
    return kept[:_MOST_PERIODS]


def _values(names, prefix: str, component) -> dict[str, float]:
    """Values of those parameters of a component that are among the names, by path."""
    nodes = walk(component, prefix)
    return {n.path: float(n.value) for n in nodes if n.info is not None and n.path in names}


def _rescaled(gp: GPSolver, values, factor: float) -> dict[str, float]:
    """Values with the kernel's amplitude multiplied by a factor."""
    own = {path.removeprefix("model."): v for path, v in values.items() if _AMPLITUDE in path}
    scaled = _values(values, "model.", gp.process.model.set(own).scaled(factor))
    return {path: value for path, value in scaled.items() if _AMPLITUDE in path}


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
    acf = data.autocorrelation()
    period = data.rotation_period().period if period is None else as_number("period", period, "d")
    life = max(acf.decay_time if math.isfinite(acf.decay_time) else 10.0, 1.0)
    life = min(life, data.span)
    return model.start(period, life, float(np.std(data.flux)))


def search(
    gp: GPSolver,
    starts: Sequence[dict[str, Any]] | None = None,
    *,
    number: int = 8,
    steps: int = 200,
    progress: bool | Callable[[str], object] = True,
) -> Search:
    """Fit from the best of many starts, then refine the best of these fits.

    Parameters
    ----------
    gp
        The process.
    starts
        Values by path, best first; by default from `suggest_starts`.
    number
        How many of them to fit.
    steps
        Most steps of each fit, and of each refinement.
    progress
        As for `pytreefit.fit`.

    Raises
    ------
    ValueError
        If no start has a finite log posterior.
    TypeError
        If ``gp`` is no GPSolver, or ``starts`` no list of dictionaries.
    """
    check_kind("gp", gp, GPSolver)
    number, steps = as_whole_number("number", number, 1), as_whole_number("steps", steps, 1)
    starts = suggest_starts(gp) if starts is None else starts
    if not isinstance(starts, Sequence) or not all(isinstance(s, Mapping) for s in starts):
        raise TypeError(f"starts = {starts!r} must be a list of dictionaries of values.")
    if not starts:
        raise ValueError(
            "No start has a finite log posterior: check the errors and priors, or pass starts."
        )
    fits: list[Fit] = []
    rough = gp.posterior.rough()
    for values in _spread(starts, number):
        options = {"steps": steps, "progress": progress}
        fits.append(fit(rough, start=values, polish=False, **options))
        if _interrupted(fits[-1]):
            break
    fits, favoured = _judged(gp.posterior, fits)
    reached = _densities(fits)
    highest = int(np.argmax(reached))
    for k in np.flatnonzero(reached > np.max(reached) - _AGREE - favoured):
        if not any(map(_interrupted, fits)):
            fits[k] = _closer(gp, fits[k], steps, int(k) == highest, progress)
    reached = _densities(fits)
    best = fits[int(np.argmax(reached))]
    if not _interrupted(best):
        best = _remade(gp, best, steps, progress)
    found = Search(best, tuple(fits), reached)
    doubt = "; ".join(found.flags) or f"{found.agreeing} of {len(fits)} starts agree"
    Reporter(progress)(f"search: {doubt}", final=True)
    return found


def _judged(posterior, fits: Sequence[Fit]) -> tuple[list[Fit], float]:
    """Fits to a rough posterior with their log densities in this one, and how these differ."""
    exact = [density_at(posterior, found.u) for found in fits]
    off = np.array([e - float(f.log_density) for e, f in zip(exact, fits, strict=True)])
    off = off[np.isfinite(off)]
    dtype = fits[0].log_density.dtype
    judged = [
        dataclasses.replace(found, log_density=jnp.asarray(value, dtype))
        for found, value in zip(fits, exact, strict=True)
    ]
    return judged, float(np.ptp(off)) if off.size else 0.0


def _remade(gp: GPSolver, found: Fit, steps: int, progress) -> Fit:
    """Go on with a solver made for where a fit ended, if this one's error is too large there."""
    if not gp.solver.remark(found.model):
        return found
    try:
        other = gp.remade_at(found.values)
    except ValueError:  # found.message says what is wrong
        return found
    return fit(other.posterior, steps=steps, tolerance=_CLOSELY, progress=progress)


def _closer(gp: GPSolver, found: Fit, steps: int, polish: bool, progress) -> Fit:
    """Refine a fit from where it ended.

    Within its tolerance that is where rounding has it. Where there is no maximum inside of a prior,
    it is anywhere near the edge, since steps taken before are no measure of the slope there: begin
    at the same distance from the edge always.
    """
    values = {name: float(value) for name, value in found.values.items()}
    for name in found.at_edge:
        low, high = prior_limits(gp.posterior.priors[name])
        if math.isfinite(high - low):
            edge = low if values[name] - low < high - values[name] else high
            values[name] = edge + _AT_EDGE * (0.5 * (low + high) - edge)
    options = {"steps": steps, "tolerance": _CLOSELY, "progress": progress}
    closer = fit(gp.posterior, start=values, polish=polish, **options)
    slack = _JUDGED if polish else 0.0
    if closer.log_density < found.log_density - slack and not _interrupted(closer):
        return found
    ended = polish or closer.converged or closer.at_edge or _interrupted(closer)
    if found.converged and not ended:
        # rounding stopped it before its own tolerance was reached, not before the first one's
        return dataclasses.replace(closer, status=found.status, message=found.message)
    return closer


def _interrupted(result: Fit) -> bool:
    return result.status is Status.INTERRUPTED


def _densities(fits: Sequence[Fit]) -> np.ndarray:
    return np.array([float(result.log_density) for result in fits])


def _spread(starts, number: int):
    """The best starts, at most a third of them at one period, or with the same life times."""

    def period(values):
        return round(math.log(values.get("model.visibility.peq", 1.0)), 2)

    def lives(values):
        return tuple(value for path, value in values.items() if _ENVELOPE in path)

    groups = [(period(values), lives(values)) for values in starts]
    most = [math.ceil(number / min(3, len(set(kind)))) for kind in zip(*groups, strict=True)]
    chosen, counts = [], collections.Counter()
    for values, group in zip(starts, groups, strict=True):
        fits = all(counts[one] < limit for one, limit in zip(group, most, strict=True))
        if fits and len(chosen) < number:
            chosen.append(values)
            counts.update(group)
    return chosen


def _inside(limits, values):
    """Values, moved into the supports of their priors."""
    return {name: inside(float(value), *limits[name]) for name, value in values.items()}
