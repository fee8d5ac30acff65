"""Many light curves at once: the same fit of each, through one compilation of the likelihood."""

import dataclasses
import math
import threading
import time as clock
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from pytreefit import Fit, Status, Table, jit, laplace
from pytreefit.extend import Reporter, check_kind, duration, in_threads, lookup_parameter

from .gp.priors import as_tied, inside, prior_limits, short_names
from .gp.solver import GPSolver
from .io.observations import TimeSeriesData
from .star.model import SpotEvolutionModel
from .starts import first_guess, search

# points up to which light curves are taken as a whole
_SMALL = 600
_NOT_DONE = "Not done."


@dataclasses.dataclass(frozen=True, eq=False)
class StarFit:
    """The fit of one of many stars, or why there is none.

    Parameters
    ----------
    name
        Of the star; its number where it has none.
    points
        Number of points that were fitted.
    fit
        The best of the fits, or None.
    errors
        Standard deviation of each free parameter by path, from the curvature of the log posterior,
        without those that ran to the edge of their prior, where the others' are given for these
        values; empty where none could be had.
    log_density
        Logarithm of likelihood times prior density at the best values.
    agreeing, starts
        How many of how many starts ended within 0.1 of it.
    effective_period, effective_period_error
        Days, see `SpotEvolutionModel.effective_period`.
    seconds
        Time it took.
    message
        What to know about it: why it failed, or what the fit says of itself.
    """

    name: str
    points: int = 0
    fit: Fit | None = None
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    log_density: float = math.nan
    agreeing: int = 0
    starts: int = 0
    effective_period: float = math.nan
    effective_period_error: float = math.nan
    seconds: float = 0.0
    message: str = ""

    @property
    def values(self) -> dict[str, float]:
        """The best value of each free parameter by path."""
        return {} if self.fit is None else {n: float(v) for n, v in self.fit.values.items()}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ManyFits(Sequence):
    """The results of `fit_many`, one `StarFit` per star in the order they came in.

    Parameters
    ----------
    stars
        The results.
    compilations
        How many programs were compiled for them.
    seconds
        Time it took.
    """

    stars: tuple[StarFit, ...]
    compilations: int
    seconds: float

    def __len__(self) -> int:
        return len(self.stars)

    def __getitem__(self, index):
        return self.stars[index]

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of the parameters that are free for at least one star."""
        return tuple(dict.fromkeys(name for star in self.stars for name in star.values))

    @property
    def failed(self) -> tuple[int, ...]:
        """Which stars have no fit."""
        return tuple(k for k, star in enumerate(self.stars) if star.fit is None)

    def values(self, name: str) -> np.ndarray:
        """Best values of a parameter, shape (stars,), NaN where there is none."""
        path = self._path(name)
        return np.array([star.values.get(path, math.nan) for star in self.stars])

    def errors(self, name: str) -> np.ndarray:
        """Standard deviations of a parameter, shape (stars,), NaN where there is none."""
        path = self._path(name)
        return np.array([star.errors.get(path, math.nan) for star in self.stars])

    def _path(self, name: str) -> str:
        short = dict(zip(short_names(self.names), self.names, strict=True))
        path = short.get(name, name)
        if path not in self.names:
            raise ValueError(f"{name!r} is no free parameter; these are: {', '.join(short)}.")
        return path

    def table(self) -> Table:
        """A row per star: name, points, effective period, parameters, agreement, message."""
        short = short_names(self.names)
        rows = [
            (
                star.name,
                star.points,
                _pair(star.effective_period, star.effective_period_error),
                *(_pair(star.values.get(n), star.errors.get(n)) for n in self.names),
                f"{star.agreeing}/{star.starts}",
                star.message,
            )
            for star in self.stars
        ]
        return Table(("star", "points", "P_eff", *short, "agreeing", "message"), rows)

    def to_astropy(self) -> Any:
        """An ``astropy.table.QTable`` with a row per star, which can be written to a file."""
        from astropy import units
        from astropy.table import QTable

        table = QTable()
        model = next((star.fit.model for star in self.stars if star.fit is not None), None)
        table["star"] = [star.name for star in self.stars]
        table["points"] = [star.points for star in self.stars]
        for column in ("effective_period", "effective_period_error"):
            table[column] = [getattr(star, column) for star in self.stars] * units.day
        for short, path in zip(short_names(self.names), self.names, strict=True):
            unit = units.Unit(lookup_parameter(model, path).info.unit)
            table[short] = self.values(path) * unit
            table[f"{short}_error"] = self.errors(path) * unit
        for column in ("log_density", "agreeing", "starts", "seconds", "message"):
            table[column] = [getattr(star, column) for star in self.stars]
        return table

    def __repr__(self) -> str:
        compiled = f"{self.compilations} compilation{'' if self.compilations == 1 else 's'}"
        return (
            f"ManyFits({len(self)} stars, {len(self.failed)} failed, {compiled}, "
            f"{duration(self.seconds)})\n{self.table()!r}"
        )


def fit_many(
    stars: Sequence[Any],
    model: SpotEvolutionModel | Callable[[TimeSeriesData], SpotEvolutionModel],
    *,
    priors: Mapping[str, Any] | Callable[[TimeSeriesData], Mapping[str, Any]] | None = None,
    jitter: float | Callable[[TimeSeriesData], float] = 0.0,
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
        arguments that returns one of these, for light curves too many to be held in memory.
        Relative fluxes (`TimeSeriesData.normalize`) of some hundred points each
        (`TimeSeriesData.thin`) are fitted in seconds.
    model
        Envelope, visibility and amplitude to fit. Of this model each star starts with the period,
        life times and amplitude that its light curve suggests (`first_guess`); a function of the
        star's data returns a model that is used as it is.
    priors
        As for `GPSolver`, or a function of the star's data that returns such priors.
    jitter
        As for `GPSolver`, or a function of the star's data.
    starts
        How many of the best starting points to fit.
    steps
        Most steps of each fit.
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
    run = _Run(stars, (model, priors, jitter, kwargs), (starts, steps, errors), Reporter(progress))
    return run.all()


class _Run:
    """The fits of many stars under way."""

    def __init__(self, stars, process, how, tell: Reporter):
        self.stars, self.process, self.how, self.tell = stars, process, how, tell
        self.began, self.stop, self.done = clock.perf_counter(), threading.Event(), 0
        self.rows = [StarFit(str(k), message=_NOT_DONE) for k in range(len(stars))]

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
        """Number, name and process of a star; None where there is none."""
        if self.stop.is_set():
            return None
        name = str(k)
        try:
            data = _data_of(self.stars[k])
            name = data.name or name
            return k, name, _process_of(data, *self.process)
        except Exception as error:
            self.keep(k, StarFit(name, message=_said(error)))
            return None

    def work(self, item):
        """Fit one of what `prepare` returned."""
        k, name, gp = item
        if not self.stop.is_set():
            self.keep(k, _fitted(name, gp, *self.how))

    def keep(self, k: int, row: StarFit):
        """Keep a result, and say how far it got."""
        self.rows[k], self.done = row, self.done + 1
        left = len(self.stars) - self.done
        left = duration((clock.perf_counter() - self.began) / self.done * left)
        failed = sum(row.fit is None and row.message != _NOT_DONE for row in self.rows)
        number = f"{self.done} of {len(self.stars)} stars"
        self.tell(f"fit_many: {number}, {failed} failed, about {left} left")


def _data_of(star) -> TimeSeriesData:
    star = star() if callable(star) else star
    return star if isinstance(star, TimeSeriesData) else TimeSeriesData(*star)


def _process_of(data, model, priors, jitter, kwargs) -> GPSolver:
    priors = dict((priors(data) if callable(priors) else priors) or {})
    if isinstance(model, SpotEvolutionModel):
        chosen = _first_guess(data, model, priors)
    else:
        chosen = model(data)
    # a dense matrix of few points costs hardly more than a band, and all of them share a program
    exact = "dense" if data.time.size <= _SMALL else "exact"
    return GPSolver.from_data(
        data,
        chosen,
        priors=priors,
        jitter=jitter(data) if callable(jitter) else jitter,
        **{"solver": exact, **kwargs},
    )


def _first_guess(data, model: SpotEvolutionModel, priors) -> SpotEvolutionModel:
    """The first guess, moved into the priors; what they fix stays as it is in the model."""
    guess, changes = first_guess(data, model), {}
    given = [(name, prior) for key, prior in priors.items() for name in as_tied(key)]
    for name, prior in given:
        path = model.paths.get(name, name.removeprefix("model."))
        if path not in model.paths.values():
            continue
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
        gp = item[2]
        structure = jax.tree.structure((gp.process, gp.posterior.priors))
        kinds[type(gp.solver), gp.posterior.names, structure].append(item)
    return [group for kind in kinds.values() for group in _of_like_length(kind)]


def _of_like_length(items: list) -> list[list]:
    """Items in classes, in each of which the longest has at most twice the length of the others."""
    classes: list[list] = []
    longest = 0
    for item in sorted(items, key=lambda item: -item[2].solver.length):
        length = item[2].solver.length
        if not classes or 2 * length < longest:
            classes.append([])
            longest = length
        classes[-1].append(item)
    return classes


def _alike(items: list) -> list:
    """The processes of a group with solvers of common sizes."""
    solvers = [gp.solver for _, _, gp in items]
    shared = type(solvers[0]).shared(solvers)
    return [
        (k, name, gp.with_solver(solver))
        for (k, name, gp), solver in zip(items, shared, strict=True)
    ]


@jit
def _effective_period(posterior, values):
    """The effective period and its derivatives."""
    return jax.value_and_grad(lambda v: posterior.model_at(v).model.effective_period())(values)


def _fitted(name: str, gp: GPSolver, starts: int, steps: int, errors: bool) -> StarFit:
    began = clock.perf_counter()
    points = gp.data.time.size
    try:
        found = search(gp, number=starts, steps=steps, progress=False)
    except Exception as error:
        seconds = clock.perf_counter() - began
        return StarFit(name, points, seconds=seconds, message=_said(error))
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
        effective_period=float(period),
        effective_period_error=error,
        seconds=clock.perf_counter() - began,
        message=message,
    )


def _pair(value: float | None, error: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.5g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"
