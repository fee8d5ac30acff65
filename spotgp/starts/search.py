"""The best of many fits of a spotted star, and how many of them agree."""

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pytreefit import Fit, Status, Table, fit
from pytreefit.extend import (
    Reporter,
    as_whole_number,
    check_kind,
    density_at,
    prior_limits,
)

from ..gp.priors import short_names
from ..gp.solver import GPSolver
from .suggest import AMPLITUDE, APART, ENVELOPE, in_limits, in_order, suggest_starts

_AGREE = 0.1  # log densities closer than this are the same optimum
_SAME = 0.1  # periods that differ by less, in their logarithm, are one
_RIVAL = 3.0  # a log density that is lower by less is worth a flag at another period
_AT_EDGE = 1e-9  # distance from the edge of a prior, relative to its half width
_JUDGED = 1e-3  # a fit whose end is known to be a maximum may be lower by as much
_CLOSELY = 1e-8  # tolerance of the last fit, somewhat above the rounding of log densities
_ROUNDS = 6  # at most, of starts that the best fit suggests
_SIZES = (0.6, 1.0, 1.6)  # amplitudes, which go with life times, relative to that of the fit
_SCANNED = 100  # combinations of life times that are tried for such starts
_QUICK = 500  # points up to which as many are tried
_FEWEST = 4  # values of each in such combinations, or each is stretched alone
_STRETCHED = (0.5, 0.7, 1.4, 2.0)
_WIDE = 30.0  # life times are looked for within this factor
_OTHER_LIFE = 0.15  # life times that differ by less, in their logarithm, are one start
_PERIOD = "model.visibility.peq"


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
    independent
        How many of the fits, the first ones, are from the starts, and not from where the best of
        them suggested; by default all.

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
    independent: int | None = None

    @property
    def agreeing(self) -> int:
        """Number of starts that ended within 0.1 of the best log posterior, at its period."""
        near = (self.log_density > np.max(self.log_density) - _AGREE) & (self._apart() < _SAME)
        return int(np.sum(near[: self.independent]))

    @property
    def flags(self) -> tuple[str, ...]:
        """What to doubt, in words; empty if nothing.

        A parameter at an edge that its prior chose, not one at a bound of its own such as a shear
        of 0 or a star seen edge-on; a fit that did not end; starts of which none agrees with the
        best; fits at other periods whose log posterior is lower by less than 3.
        """
        best, flags = self.best, []
        chosen = [name for name in best.at_edge if name not in best.at_bound]
        if chosen:
            short = dict(zip(best.names, short_names(best.names), strict=True))
            flags.append(f"at the edge of the prior: {', '.join(short[n] for n in chosen)}")
        elif best.status not in (Status.CONVERGED, Status.AT_EDGE):
            flags.append("not converged")
        starts = len(self.log_density[: self.independent])
        if self.agreeing <= 1 < starts:
            flags.append(f"each of {starts} starts ends elsewhere")
        return (*flags, *self._rivals())

    def _apart(self) -> np.ndarray:
        """How far the period of each fit is from the best one's, as a logarithm; 0 without one."""
        return np.abs(np.log(np.array([_period(fit) for fit in self.fits]) / _period(self.best)))

    def at_its_period(self) -> tuple[Fit, ...]:
        """The fits that ended at the period of the best."""
        apart = self._apart()
        return tuple(found for found, far in zip(self.fits, apart, strict=True) if far < _SAME)

    def _rivals(self) -> list[str]:
        """The best fit at each other period that is nearly as probable."""
        lower, apart = np.max(self.log_density) - self.log_density, self._apart()
        periods: list[float] = []
        said = []
        for k in np.argsort(lower):
            if lower[k] < _RIVAL and apart[k] > _SAME:
                period = _period(self.fits[k])
                if all(abs(math.log(period / other)) > _SAME for other in periods):
                    said.append(f"also P = {period:.4g} d, {lower[k]:.1f} lower")
                    periods.append(period)
        return said

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


def _period(found: Fit) -> float:
    """The star's period in a fit, also where it is tied to something; 1 without one."""
    star = getattr(found.model, "model", None)
    own = getattr(getattr(star, "visibility", None), "peq", 1.0)
    return float(found.values.get(_PERIOD, own))


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
        How many of them to fit. If that is four or more, some fits follow that begin where the best
        one suggests: at other periods with its life times, and near it with others.
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
    starts = _complete(gp, starts)
    fits = _from_each(gp, _spread(starts, number), steps, progress)
    independent = len(fits)
    for _ in range(_ROUNDS if number >= 4 else 0):
        if any(map(_interrupted, fits)):
            break
        before = max(fits, key=_density)
        again = _elsewhere(gp, before, fits, starts, number // 4)
        fits += _from_each(gp, again, steps, progress)
        if _density(max(fits, key=_density)) < _density(before) + _AGREE:
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
    found = Search(best, tuple(fits), reached, independent)
    doubt = "; ".join(found.flags) or f"{found.agreeing} of {independent} starts agree"
    Reporter(progress)(f"search: {doubt}", final=True)
    return found


def _from_each(gp: GPSolver, starts, steps: int, progress) -> list[Fit]:
    """Fits to the rough posterior, up to one that was interrupted."""
    fits: list[Fit] = []
    for values in starts:
        options = {"steps": steps, "progress": progress}
        fits.append(fit(gp.posterior.rough(), start=values, polish=False, **options))
        if _interrupted(fits[-1]):
            break
    return fits


def _complete(gp: GPSolver, starts) -> list[dict[str, float]]:
    """Starts with values of all parameters, as floats."""
    starts = suggest_starts(gp) if starts is None else starts
    if not isinstance(starts, Sequence) or not all(isinstance(s, Mapping) for s in starts):
        raise TypeError(f"starts = {starts!r} must be a list of dictionaries of values.")
    if not starts:
        raise ValueError(
            "No start has a finite log posterior: check the errors and priors, or pass starts."
        )
    return [_as_numbers(gp.posterior, values) for values in starts]


def _as_numbers(posterior, values) -> dict[str, float]:
    """Values of all parameters as floats: the model's where none is given."""
    if all(type(values.get(name)) is float for name in posterior.names):
        return dict(values)
    complete = posterior.unconstrain({**posterior.initial, **values})
    return {name: float(value) for name, value in posterior.constrain(complete).items()}


def _elsewhere(gp: GPSolver, found: Fit, fits, starts, number: int) -> list[dict[str, float]]:
    """Starts that a fit suggests: at other periods with its envelope, and at its own with others.

    Life times that are far off favour wrong periods and inclinations. Those of a fit are near the
    right ones even where it ended at a wrong period. At one period the likelihood has maxima at
    many life times, so that these are looked for in all of their priors.
    """
    limits = {name: prior_limits(prior) for name, prior in gp.posterior.priors.items()}
    own = in_limits(limits, found.values)
    kept = {path: own[path] for path in own if ENVELOPE in path or AMPLITUDE in path}
    lives = [p for p in kept if ENVELOPE in p and limits[p][0] >= 0.0 and own[p] > 0.0]
    if not lives:
        return []
    tried = [values | kept for values in starts]
    period = own.get(_PERIOD, 1.0)
    different = {tuple(sorted(values.items())): values for values in tried if values != own}
    ranked = in_order(gp, list(different.values()))
    apart = [v for v in ranked if abs(math.log(v.get(_PERIOD, 1.0) / period)) > APART]
    near, points = [], gp.data.time.size
    for one, factor in itertools.product(_life_times(limits, own, lives, points), _SIZES):
        sizes = {path: factor * own[path] for path in own if AMPLITUDE in path}
        near.append(in_limits(limits, own | one | sizes))
    known = [{path: float(fit.values[path]) for path in lives} for fit in fits]
    return _spread(apart, number) + _new(in_order(gp, near), known, lives, 2 * number)


def _life_times(limits, own, lives: list[str], points: int) -> Iterator[dict[str, float]]:
    """Life times over all of their priors; each alone and nearby if these would take long."""
    scanned = _SCANNED * min(1.0, (_QUICK / points) ** 2)
    number = int(scanned ** (1.0 / len(lives)))
    values = {}
    for path in lives:
        low, high = limits[path]
        low, high = max(low, own[path] / _WIDE), min(high, own[path] * _WIDE)
        edges = np.geomspace(low, high, number + 1)
        values[path] = np.sqrt(edges[1:] * edges[:-1]).tolist()
    if number >= _FEWEST:
        yield from (
            dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())
        )
    else:
        yield from ({path: own[path] * f} for path in lives for f in _STRETCHED)


def _new(ranked, known, lives: list[str], number: int) -> list[dict[str, float]]:
    """The best starts whose life times are not those of a fit or of another one."""
    chosen: list[dict[str, float]] = []
    for values in ranked:
        others = (*known, *chosen)
        far = (max(abs(math.log(values[p] / other[p])) for p in lives) for other in others)
        if len(chosen) < number and all(one > _OTHER_LIFE for one in far):
            chosen.append(values)
    return chosen


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
    return np.array([_density(result) for result in fits])


def _density(result: Fit) -> float:
    return float(result.log_density)


def _spread(starts, number: int):
    """The best starts, at most a third of them at one period, or with the same life times."""

    def period(values):
        return round(math.log(values.get(_PERIOD, 1.0)), 2)

    def lives(values):
        return tuple(value for path, value in values.items() if ENVELOPE in path)

    groups = [(period(values), lives(values)) for values in starts]
    most = [math.ceil(number / min(3, len(set(kind)))) for kind in zip(*groups, strict=True)]
    chosen, counts = [], collections.Counter()
    for values, group in zip(starts, groups, strict=True):
        fits = all(counts[one] < limit for one, limit in zip(group, most, strict=True))
        if fits and len(chosen) < number:
            chosen.append(values)
            counts.update(group)
    return chosen
