"""Many light curves at once: the same fit of each, through one compilation of the likelihood."""

import math
import threading
import time as clock
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from pytreefit import Status, jit, laplace
from pytreefit.extend import Reporter, as_whole_number, check_kind, duration, in_threads

from ..component import DataScales
from ..gp.priors import as_tied, inside, prior_limits
from ..gp.solver import GPSolver
from ..io.observations import TimeSeriesData
from ..periods import RotationPeriod
from ..star.model import SpotEvolutionModel
from ..starts import first_guess, search, suggest_starts
from .results import NOT_DONE, ManyFits, StarFit

_T = TypeVar("_T")
_OfStar = Callable[[TimeSeriesData, RotationPeriod], _T]

# points up to which light curves are taken as a whole
_SMALL = 600
_UNLIKELY = 0.02  # probability below which a period is no candidate
_PER_BIN = 0.05  # of a period that a bin may cover: less than a hundredth of the amplitude is lost
_FAR = 0.2  # periods that differ by more, in their logarithm, are different ones


def fit_many(
    stars: Sequence[Any],
    model: SpotEvolutionModel | _OfStar[SpotEvolutionModel],
    *,
    priors: Mapping[str, Any] | _OfStar[Mapping[str, Any]] | None = None,
    jitter: float | Callable[[TimeSeriesData], float] = 0.0,
    points: int | None = None,
    starts: int = 4,
    steps: int = 200,
    errors: bool = True,
    progress: bool | Callable[[str], object] = True,
    **kwargs,
) -> ManyFits:
    r"""Find the most probable parameters of many stars, as `search` does for one.

    Light curves of unequal length are filled up to a common one, without any effect on their
    likelihoods, so that stars of a kind share one compiled program; every core takes one star after
    the other. A star that fails is a row that says why. Ctrl-C returns what is done so far.

    Parameters
    ----------
    stars
        A `TimeSeriesData` for each star, a tuple ``(t, flux, flux_err)``, or a function without
        arguments that returns one of these. Relative fluxes, and all points: periods are looked
        for in these.
    model
        Envelope, visibility and amplitude to fit, each star from its own `first_guess`; a function
        of the star's data and its `RotationPeriod` returns a model that is used as it is.
    priors, jitter
        As for `GPSolver` (default priors are those for all points), or functions: priors of the
        star's data and its `RotationPeriod`, the jitter of the data.
    points
        How many points of each star to fit, at most, and to pass to the functions above: some
        hundred take seconds. Means in bins that are short against all periods that may be the
        star's, else points chosen at random. By default all.
    starts, steps
        How many of the best starting points to fit, and most steps of each fit.
    errors
        Whether to estimate standard deviations, by differences of the gradient at the maximum.
    progress
        True writes lines to standard error, False nothing; a function gets each line.
    **kwargs
        Further arguments of `GPSolver.from_data`, the same for every star. Without a ``solver``
        they are exact. `AbstractSolver.shared` says which solvers share programs.

    Raises
    ------
    ValueError
        If there are no stars.
    """
    if not callable(model):
        check_kind("model", model, SpotEvolutionModel)
    stars = list(stars) if isinstance(stars, Iterable) else []
    if not stars:
        raise ValueError("stars is empty: pass one light curve at least.")
    points = None if points is None else as_whole_number("points", points, 10)
    starts, steps = as_whole_number("starts", starts, 1), as_whole_number("steps", steps, 1)
    process = model, priors, jitter, points, kwargs
    run = _Run(stars, process, (starts, steps, errors), Reporter(progress))
    return run.all()


class _Run:
    """The fits of many stars under way."""

    def __init__(self, stars, process, how, tell: Reporter):
        self.stars, self.process, self.how, self.tell = stars, process, how, tell
        self.began, self.stop, self.done = clock.perf_counter(), threading.Event(), 0
        self.rows = [StarFit(str(k), message=NOT_DONE) for k in range(len(stars))]

    def all(self) -> ManyFits:
        """Fit the stars, or what there is time for until Ctrl-C."""
        groups: list[list] = []
        try:
            items = in_threads(self.prepare, range(len(self.stars)))
            groups = _groups([item for item in items if item])
            for group in groups:
                shared = _alike(group)
                self.work(shared[0])  # compiles for the others
                in_threads(self.work, shared[1:])
        except KeyboardInterrupt:
            self.stop.set()
        seconds = clock.perf_counter() - self.began
        number = f"{self.done} of {len(self.stars)} stars"
        self.tell(f"fit_many: {number} in {duration(seconds)}", final=True)
        return ManyFits(tuple(self.rows), len(groups), seconds)

    def prepare(self, k: int):
        """What is known of a star before its fit; None where nothing is."""
        if self.stop.is_set():
            return None
        name = str(k)
        try:
            data = _data_of(self.stars[k])
            name = data.name or name
            return _Star(k, name, *_process_of(data, *self.process))
        except Exception as error:
            self.keep(k, StarFit(name, message=_said(error)))
            return None

    def work(self, star: "_Star"):
        """Fit one of what `prepare` returned."""
        if not self.stop.is_set():
            self.keep(star.number, _fitted(star, *self.how))

    def keep(self, k: int, row: StarFit):
        """Keep a result, and say how far it got."""
        self.rows[k], self.done = row, self.done + 1
        left = len(self.stars) - self.done
        left = duration((clock.perf_counter() - self.began) / self.done * left)
        failed = sum(row.fit is None and row.message != NOT_DONE for row in self.rows)
        number = f"{self.done} of {len(self.stars)} stars"
        self.tell(f"fit_many: {number}, {failed} failed, about {left} left")


def _data_of(star) -> TimeSeriesData:
    star = star() if callable(star) else star
    return star if isinstance(star, TimeSeriesData) else TimeSeriesData(*star)


class _Star(NamedTuple):
    """A star under way."""

    number: int
    name: str
    gp: GPSolver
    rotation: RotationPeriod


def _process_of(data, model, priors, jitter, points, kwargs) -> tuple[GPSolver, RotationPeriod]:
    """The process to fit, and what all points say of the period."""
    whole, rotation = data, data.rotation_period()
    data = _fewer(data, points, rotation)
    priors = dict((priors(data, rotation) if callable(priors) else priors) or {})
    scales = DataScales.of(whole.time, whole.flux, whole.flux_err)
    if isinstance(model, SpotEvolutionModel):
        chosen = _first_guess(whole, model, priors, rotation.period, scales)
    else:
        chosen = model(data, rotation)
    # default priors know of times as short as all points do
    priors |= _default_priors(chosen, scales, priors)
    # a dense matrix of few points costs hardly more than a band, and all of them share a program
    exact = "dense" if data.time.size <= _SMALL else "exact"
    noise = jitter(data) if callable(jitter) else jitter
    options = {"solver": exact, **kwargs}
    return GPSolver.from_data(data, chosen, priors=priors, jitter=noise, **options), rotation


def _default_priors(model: SpotEvolutionModel, scales: DataScales, given) -> dict[str, Any]:
    """The default priors, by path, of parameters inside of them that are given none."""
    named = {model.paths.get(n, n.removeprefix("model.")) for key in given for n in as_tied(key)}
    found = {}
    for path, prior in model.default_priors(scales).items():
        value, (low, high) = np.asarray(model.get(path)), prior_limits(prior)
        if path not in named and np.all((value > low) & (value < high)):
            found[path] = prior
    return found


def _fewer(data: TimeSeriesData, points: int | None, rotation: RotationPeriod) -> TimeSeriesData:
    """At most so many points: means in bins where no candidate changes within one."""
    if points is None or len(data) <= points:
        return data
    likely = rotation.candidates[rotation.probabilities > _UNLIKELY]
    shortest = min([rotation.period, *likely])
    observed = data.span - np.sum(np.diff(data.gaps, axis=1))
    width = max(observed / points, data.cadence)
    while width < _PER_BIN * shortest:
        binned = data.bin(width)
        if len(binned) <= points:
            return binned
        width *= 1.1
    return data.thin(points)


def _first_guess(
    data: TimeSeriesData, model: SpotEvolutionModel, priors, period: float, scales: DataScales
) -> SpotEvolutionModel:
    """The first guess, moved into the priors; what they fix stays as it is in the model."""
    guess, changes = first_guess(data, model, period), {}
    wide = guess.default_priors(scales).items()
    limits = {p: prior for p, prior in wide if not np.array_equal(guess.get(p), model.get(p))}
    for key, prior in priors.items():
        limits |= {model.paths.get(n, n.removeprefix("model.")): prior for n in as_tied(key)}
    for path in limits.keys() & set(model.paths.values()):
        prior = limits[path]
        if prior is None:
            changes[path] = model.get(path)
        else:
            low, high = prior if isinstance(prior, tuple | list) else prior_limits(prior)
            changes[path] = inside(float(guess.get(path)), low, high)
    return guess.set(changes)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _groups(items: list) -> list[list]:
    """Processes that can share a program without costing each other much."""
    kinds = defaultdict(list)
    for item in items:
        gp = item.gp
        structure = jax.tree.structure((gp.process, gp.posterior.priors))
        kinds[type(gp.solver), gp.posterior.names, structure].append(item)
    return [group for kind in kinds.values() for group in _of_like_length(kind)]


def _of_like_length(items: list) -> list[list]:
    """Items in classes, in each of which the longest has at most twice the length of the others."""
    classes: list[list] = []
    longest = 0
    for item in sorted(items, key=lambda item: -item.gp.solver.length):
        length = item.gp.solver.length
        if not classes or 2 * length < longest:
            classes.append([])
            longest = length
        classes[-1].append(item)
    return classes


def _alike(items: list) -> list:
    """The processes of a group with solvers of common sizes."""
    solvers = [item.gp.solver for item in items]
    shared = type(solvers[0]).shared(solvers)
    return [
        item._replace(gp=item.gp.with_solver(solver))
        for item, solver in zip(items, shared, strict=True)
    ]


@jit
def _effective_period(posterior, values):
    """The effective period and its derivatives."""
    return jax.value_and_grad(lambda v: posterior.model_at(v).model.effective_period())(values)


def _fitted(star: _Star, starts: int, steps: int, errors: bool) -> StarFit:
    began = clock.perf_counter()
    _, name, gp, rotation = star
    points = gp.data.time.size
    try:
        first = suggest_starts(gp, rotation)
        found = search(gp, first, number=starts, steps=steps, progress=False)
    except Exception as error:
        seconds = clock.perf_counter() - began
        return StarFit(name, points, rotation=rotation, seconds=seconds, message=_said(error))
    best = found.best
    message, widths, error = best.message, {}, math.nan
    if any(result.status is Status.INTERRUPTED for result in found.fits):
        raise KeyboardInterrupt
    period, slopes = _effective_period(gp.posterior, best.values)
    if errors:
        try:
            approximation = laplace(gp.posterior, best, method="differences", held=best.at_edge)
            deviations = approximation.std.items()
            widths = {path: float(w) for path, w in deviations if path not in best.at_edge}
            along = np.array([float(slopes[path]) for path in best.names])
            error = math.sqrt(along @ np.asarray(approximation.covariance) @ along)
        except ValueError as problem:
            message = f"{message} No errors: {problem}"
    return StarFit(
        name=name,
        points=points,
        fit=best,
        errors=widths,
        log_density=float(best.log_density),
        agreeing=found.agreeing,
        starts=len(found.fits),
        rotation=rotation,
        flags=(*rotation.flags, *found.flags, *_elsewhere(float(period), rotation)),
        effective_period=float(period),
        effective_period_error=error,
        seconds=clock.perf_counter() - began,
        message=message,
    )


def _elsewhere(period: float, rotation: RotationPeriod) -> tuple[str, ...]:
    """A flag if a fitted period is no candidate."""
    likely = rotation.candidates[rotation.probabilities > _UNLIKELY]
    if np.any(np.abs(np.log(np.append(likely, rotation.period) / period)) < _FAR):
        return ()
    return (f"rotation_period finds {rotation.period:.4g} d",)
