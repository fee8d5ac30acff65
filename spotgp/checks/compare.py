"""Which of several models predicts the data best?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from pytreefit import Table, jit
from pytreefit.extend import check_kind, pareto_smoothed

from ..gp.leave_one_out import leave_one_out
from ..gp.solver import GPSolver
from .values import GIVEN, draws_of

_DRAWS = 100
_LARGE_K = 0.7
_CLEAR = 2.0  # errors, beyond which a difference is called one


class Score(NamedTuple):
    """How well one of several models predicts each point from all the others.

    Parameters
    ----------
    name
        Of the model.
    log_density
        Of each point, shape (n,); NaN where one of the models cannot predict it.
    difference, error
        Of the sum, from that of the best model, and its standard error.
    free
        Number of free parameters.
    pareto_k
        The largest of all points; NaN for a single set of parameters.
    origin
        Where the parameters come from.
    """

    name: str
    log_density: np.ndarray
    difference: float
    error: float
    free: int
    pareto_k: float
    origin: str

    @property
    def total(self) -> float:
        """The leave-one-out score, the sum over the points that can be predicted."""
        return float(np.nansum(self.log_density))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(Sequence):
    """The result of `compare`, a `Score` per model, the best first.

    Parameters
    ----------
    scores
        The models.
    sentence
        Which is best, in words.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=60.0, tau_spot=20.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t = np.arange(40.0)
    >>> flux, other = 1.0 + 0.01 * np.sin(2 * np.pi * t / 5.0), star.set({"visibility.peq": 8.0})
    >>> models = {"8 d": GPSolver(t, flux, 1e-3, other), "5 d": GPSolver(t, flux, 1e-3, star)}
    >>> compare(models).best
    '5 d'
    """

    scores: tuple[Score, ...]
    sentence: str

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index):
        return self.scores[index]

    @property
    def best(self) -> str:
        """Name of the model of the largest score."""
        return self.scores[0].name

    def table(self) -> Table:
        """A row per model: score, difference from the best and its error, free parameters."""
        rows = [
            (
                score.name,
                f"{score.total:.1f}",
                f"{score.difference:.1f}",
                f"{score.error:.1f}",
                score.free,
                score.origin,
            )
            for score in self.scores
        ]
        return Table(("model", "score", "difference", "+-", "free", "parameters of"), rows)

    def __repr__(self) -> str:
        return f"{self.sentence}\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>{self.table()._repr_html_()}"


def compare(models: Mapping[str, Any], *, key=None) -> Comparison:
    r"""Rank models of the same data by how well they predict each point from all the others.

    .. math::
        S = \sum_i \ln p(y_i \mid y_{-i}), \qquad
        \mathrm{var}(S_a - S_b) = \sum_{ij} (d_i - \bar d)(d_j - \bar d)
        \max(0, 1 - |t_i - t_j| / P)

    with :math:`d_i` the difference of point i. Neighbours err together, so that the variance counts
    pairs within a rotation P of each other, with weights that fall with the lag (Newey & West
    1987). Of a posterior's draws, points are predicted by their average, with the weights that take
    the point itself out of the posterior, Pareto smoothed.

    Parameters
    ----------
    models
        For each name a pair of a `GPSolver` and what a fit of it returned, as `check` takes it; or
        the `GPSolver` alone, at its own parameters.
    key
        JAX random key for the choice of draws, ``jax.random.key(0)`` by default.

    Raises
    ------
    ValueError, TypeError
        For fewer than two models, models of other data, or results of another fit.

    Notes
    -----
    Vehtari, Gelman & Gabry (2017, doi:10.1007/s11222-016-9696-4); for processes whose points are
    not independent Bürkner, Gabry & Vehtari (2021, doi:10.1007/s00180-020-01045-4). Scores reward
    the filling of gaps of one point, and need no prior; for fits at their best parameters, models
    with more free ones are at an advantage of about half a point each.
    """
    pairs = _checked(models)
    key = jax.random.key(0) if key is None else key
    found = {name: _score(gp, fit, key) for name, (gp, fit) in pairs.items()}
    # sums over different points are no comparison
    common = np.all([np.isfinite(one.density) for one in found.values()], axis=0)
    if not np.any(common):
        nothing = [name for name, one in found.items() if not np.any(np.isfinite(one.density))]
        raise ValueError(
            f"models: no point is predicted by all of them{': none by ' * bool(nothing)}"
            f"{' nor '.join(nothing)}. Leave that out, or look at its leave_one_out()."
        )
    densities = {name: np.where(common, one.density, np.nan) for name, one in found.items()}
    names = sorted(found, key=lambda name: -float(np.nansum(densities[name])))
    gp = pairs[names[0]][0]
    period = float(gp.process_at(found[names[0]].best).model.effective_period())
    scores = []
    for name in names:
        _, largest, origin, _ = found[name]
        difference = densities[name] - densities[names[0]]
        error = _error(np.asarray(gp.data.time), difference, period)
        own = len(pairs[name][0].posterior.names)
        total = float(np.nansum(difference))
        scores.append(Score(name, densities[name], total, error, own, largest, origin))
    return Comparison(tuple(scores), _sentence(scores))


def _checked(models) -> dict[str, tuple[GPSolver, Any]]:
    if not isinstance(models, Mapping) or len(models) < 2:
        raise TypeError(
            f"models = {models!r} must be a dictionary of two names or more, such as "
            "{'uniform': (gp, fit), 'band': (other_gp, other_fit)}."
        )
    pairs = {}
    for name, model in models.items():
        gp, fit = model if isinstance(model, tuple) and len(model) == 2 else (model, None)
        check_kind(f"models[{name!r}]", gp, GPSolver)
        pairs[str(name)] = (gp, fit)
    (first, (reference, _)), *others = pairs.items()
    for name, (gp, _) in others:
        for part in ("time", "flux", "flux_err", "epoch"):
            one, two = (np.asarray(getattr(x.data, part)) for x in (reference, gp))
            if one.shape != two.shape or not np.array_equal(one, two):
                raise ValueError(
                    f"models[{name!r}] is of other data than models[{first!r}] ({part} differs): "
                    "scores can be compared for the same points only, binned alike."
                )
    return pairs


class _Scored(NamedTuple):
    """Log density of each point from all others, the largest Pareto k, and what parameters."""

    density: np.ndarray
    pareto_k: float
    origin: str
    best: dict[str, Any]


def _score(gp: GPSolver, fit, key) -> _Scored:
    draws = draws_of(gp, fit, _DRAWS, key)
    best = dict(draws.best)
    if draws.origin != "the posterior":
        density = np.asarray(gp.leave_one_out(best).log_density)
        origin = draws.origin if draws.origin == GIVEN else "the best fit"
        return _Scored(np.where(np.isfinite(density), density, np.nan), math.nan, origin, best)
    each = np.asarray(_log_densities(gp.posterior, gp.solver, draws.values))
    each = each[:, : gp.data.time.size]
    known = np.all(np.isfinite(each), axis=0)
    density, shapes = np.full(known.size, np.nan), [-math.inf]
    for i in np.flatnonzero(known):
        with np.errstate(over="ignore"):  # of a tail that is cut off at the largest weight
            smoothed = pareto_smoothed(-each[:, i])
        shapes.append(smoothed.pareto_k)
        top = np.max(each[:, i])
        density[i] = top + np.log(smoothed.weights @ np.exp(each[:, i] - top))
    return _Scored(density, max(shapes), draws.origin, best)


@jit
def _log_densities(posterior, solver, values):
    """Of each point given all others, for several values of the parameters."""

    def at(values):
        return leave_one_out(solver, posterior.model_at(values)).log_density

    return jax.lax.map(at, values)


def _error(time, difference, period: float) -> float:
    """Of the sum of differences that are correlated over a period."""
    known = np.isfinite(difference)
    time, centred = time[known], difference[known] - np.mean(difference[known])
    total = np.sum(centred**2)
    for k in range(1, len(time)):
        weight = 1.0 - (time[k:] - time[:-k]) / period
        if not np.any(weight > 0):
            break
        total += 2.0 * np.sum(np.maximum(weight, 0.0) * centred[k:] * centred[:-k])
    return math.sqrt(max(total, 0.0))


def _sentence(scores: Sequence[Score]) -> str:
    best, second = scores[:2]
    ahead = f"{-second.difference:.1f} +- {second.error:.1f}"
    if -second.difference > _CLEAR * second.error:
        said = f"{best.name!r} predicts the data best, by {ahead} before {second.name!r}."
    else:
        said = f"{best.name!r} and {second.name!r} cannot be told apart: they differ by {ahead}."
    if any(score.pareto_k > _LARGE_K for score in scores):
        said += " Some points weigh so much in the posterior that their scores are uncertain."
    return said
