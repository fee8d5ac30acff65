"""Many light curves at once: the same fit of each, through one compilation of the likelihood."""

import os
import threading
import time as clock
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax

from pytreefit.extend import Reporter, as_whole_number, check_kind, duration, in_threads

from ..io.observations import TimeSeriesData
from ..periods import RotationPeriod
from ..star.abstract import AbstractStar
from .one import Star, data_of, fitted, process_of, said
from .results import NOT_DONE, ManyFits, StarFit
from .stored import Work, as_stars, by_name, surveyed

_T = TypeVar("_T")
_OfStar = Callable[[TimeSeriesData, RotationPeriod], _T]


def fit_many(
    stars: Sequence[Any] | Mapping[str, Any],
    model: AbstractStar | _OfStar[AbstractStar],
    *,
    priors: Mapping[str, Any] | _OfStar[Mapping[str, Any]] | None = None,
    jitter: float | Callable[[TimeSeriesData], float] = 0.0,
    points: int | None = None,
    starts: int = 4,
    steps: int = 200,
    errors: bool = True,
    store: str | os.PathLike | None = None,
    configuration: Mapping[str, Any] | None = None,
    keep_fits: bool = False,
    engine: Any = None,
    shard: Any = None,
    retry: bool = False,
    progress: bool | Callable[[str], object] = True,
    **kwargs,
) -> ManyFits:
    r"""Find the most probable parameters of many stars, as `search` does for one.

    Light curves are filled up to a common length, without any effect on their likelihoods, so that
    stars share one compiled program; every core takes one star after the other. A star that fails
    is a row that says why. Ctrl-C returns what is done so far.

    Parameters
    ----------
    stars
        A list, or a dictionary by name, of `TimeSeriesData`, tuples ``(t, flux, flux_err)``, or
        functions without arguments that return one. Relative fluxes; periods need all points.
    model
        What to fit, from each star's own `first_guess`; or a function of its data and its
        `RotationPeriod` that returns a model, which is used as it is.
    priors, jitter
        As for `GPSolver` (default priors are those for all points), or functions: priors of the
        star's data and its `RotationPeriod`, the jitter of the data.
    points
        How many to fit and to pass to these functions, at most: means, or chosen at random.
    starts, steps
        How many of the best starting points to fit, and most steps of each fit.
    errors
        Whether to estimate standard deviations, see `StarFit.errors`.
    store, configuration, keep_fits, engine, shard, retry
        As for :func:`pytreefit.survey.run`: ``configuration`` says how light curves are read. And
        whether a store keeps each whole `StarFit`, not its row alone. Stars need names then.
    progress
        True writes lines to standard error, False nothing; a function gets each line.
    **kwargs
        Further arguments of `GPSolver.from_data`. `AbstractSolver.shared` says which solvers share
        programs; without a ``solver`` it is an exact one.
    """
    if not callable(model):
        check_kind("model", model, AbstractStar)
    points = None if points is None else as_whole_number("points", points, 10)
    starts, steps = as_whole_number("starts", starts, 1), as_whole_number("steps", steps, 1)
    process, how = (model, priors, jitter, points, kwargs), (starts, steps, errors)
    if any(given is not None for given in (store, engine, shard)):
        work, where = Work(process, how, keep_fits), (store, engine, shard, retry)
        return surveyed(work, by_name(stars), where, configuration, progress)
    return _Run(stars, process, how, Reporter(progress)).all()


class _Run:
    """The fits of many stars under way."""

    def __init__(self, stars, process, how, tell: Reporter):
        listed = as_stars(stars)
        self.named = isinstance(stars, Mapping)
        self.stars = list(stars.values()) if isinstance(stars, Mapping) else listed
        names = listed if self.named else map(str, range(len(listed)))
        self.process, self.how, self.tell = process, how, tell
        self.began, self.stop, self.done = clock.perf_counter(), threading.Event(), 0
        self.rows = [StarFit(str(name), message=NOT_DONE) for name in names]

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
        name = self.rows[k].name
        try:
            data = data_of(self.stars[k])
            name = name if self.named else data.name or name
            return Star(k, name, *process_of(data, *self.process))
        except Exception as error:
            self.keep(k, StarFit(name, message=said(error)))
            return None

    def work(self, star: "Star"):
        """Fit one of what `prepare` returned."""
        if self.stop.is_set():
            return
        try:
            found = fitted(star, *self.how)
        except Exception as error:
            found = StarFit(star.name, star.gp.data.time.size, message=said(error))
        self.keep(star.number, found)

    def keep(self, k: int, row: StarFit):
        """Keep a result, and say how far it got."""
        self.rows[k], self.done = row, self.done + 1
        left = len(self.stars) - self.done
        left = duration((clock.perf_counter() - self.began) / self.done * left)
        failed = sum(not row.values and row.message != NOT_DONE for row in self.rows)
        number = f"{self.done} of {len(self.stars)} stars"
        self.tell(f"fit_many: {number}, {failed} failed, about {left} left")


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
