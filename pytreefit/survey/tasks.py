"""The same work on many targets: tasks in, rows out."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..arrays import as_mapping, check_kind
from ..progress import Reporter, duration
from .engines import Call, EngineBroken, Flight, deciding, opened, refuse_context
from .rows import Record, table_of
from .targets import as_key, as_shard, as_tasks
from .writer import Writer


class SurveyError(RuntimeError):
    """Raised at the end of a run that could not do or keep everything.

    ``survey`` is what was done, rows that could not be written among it.
    """

    def __init__(self, message: str, survey: "Survey"):
        super().__init__(message)
        self.survey = survey


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """What :func:`run` did of the tasks of its shard.

    Parameters
    ----------
    names
        Of all targets, in the order of the tasks.
    records
        The :class:`Record` of each that was done or failed, now or in an earlier run.
    seconds
        Time it took.
    """

    names: tuple[str, ...]
    records: Mapping[str, Record]
    seconds: float

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The row of each target that is done, by name."""
        return {record.name: dict(record.row) for record in self._known() if record.done}

    @property
    def failed(self) -> dict[str, str]:
        """Why others failed, by name."""
        return {record.name: record.reason for record in self._known() if not record.done}

    @property
    def left(self) -> tuple[str, ...]:
        """Targets that are not done because the run ended before: run it again."""
        return tuple(name for name in self.names if name not in self.records)

    def table(self) -> Any:
        """An `astropy.table.QTable` with a row per target that was done or failed."""
        return table_of(self._known())

    def _known(self) -> Iterator[Record]:
        return (self.records[name] for name in self.names if name in self.records)

    def __repr__(self) -> str:
        failed = len(self.failed)
        done = len(self.names) - len(self.left) - failed
        left = f", {len(self.left)} left" if self.left else ""
        return f"Survey({done} done, {failed} failed{left}, {duration(self.seconds)})"


def run(
    tasks: Any,
    work: Callable[[str, Any, Any], Any],
    store: str | os.PathLike | None = None,
    *,
    configuration: Mapping[str, Any] | None = None,
    key: Any = 0,
    engine: Any = None,
    shard: Any = None,
    retry: bool = False,
    progress: bool | Callable[[str], object] = True,
) -> Survey:
    """Do the same work on many targets, and keep what it finds in a folder.

    A run that was ended by Ctrl-C or a kill goes on where it was when it is started again. Work
    that raises is a failure, with that reason. Rows depend neither on order, engine nor restarts.

    Parameters
    ----------
    tasks
        Whatever ``work`` needs, such as a path, by name: a dictionary, or pairs (name, task). A
        task may have a text ``source``: a row in the store that is of another source is refused.
    work
        ``work(name, task, key)`` returns the row, a dictionary of numbers, text, None and scalar
        quantities of astropy; or a tuple of the row and what to save beside it. The random
        ``key`` follows from that below and the name.
    store
        A folder, which is made if there is none; None keeps rows in memory.
    configuration, key
        Whatever else decides the rows, in plain values (:func:`describe`); a number, or JAX's key.
    engine
        None is threads on all cores, ``"processes"`` as many processes, ``"dask"`` a
        ``LocalCluster``; or a dask ``Client``, or an executor of ``concurrent.futures``.
    shard
        Part ``(number, count)`` of the targets, such as ``"0/8"``, counted from 0; ``"slurm"`` is
        the task of a job array. Several shards may use a store at once.
    retry
        Whether to try again what failed; where the ``source`` has changed, it is in any case.
    progress
        True writes lines to standard error, False nothing; a function gets each line.

    Raises
    ------
    ValueError
        For a name that is there twice, a store in use or begun otherwise, a context's precision.
    OSError
        If the store can't be written, before any work is done.
    SurveyError
        At the end, if rows could not be written, or the engine broke; its ``survey`` has them.
    """
    if not callable(work):
        raise TypeError(f"work is a {type(work).__name__}: pass a function (name, task, key).")
    check_kind("retry", retry, bool)
    refuse_context()
    part = as_shard(shard)
    chosen = {name: task for name, task in as_tasks(tasks).items() if name in part}
    words, sink, own = as_key(key), _Memory(), as_mapping("configuration", configuration)
    if store is not None:
        sink = Writer(store, {**own, **deciding(words)}, part, _sources(chosen))
    return _done(chosen, sink, retry, (work, words, engine), Reporter(progress))


def _sources(tasks: Mapping[str, Any]) -> dict[str, str]:
    """What tasks are made of, where they say it in text: models have a source of another kind."""
    said = {name: getattr(task, "source", "") for name, task in tasks.items()}
    return {name: source if isinstance(source, str) else "" for name, source in said.items()}


def _done(chosen, sink, retry, how, tell) -> Survey:
    """Do what the sink wants of the chosen tasks."""
    began, broken = time.perf_counter(), ""
    work, words, engine = how
    try:
        for line in sink.remarks():
            tell(f"survey: {line}", final=True)
        left = {name: task for name, task in chosen.items() if sink.wants(name, retry)}
        if left:
            tell(f"survey: {len(left)} of {len(chosen)} targets to do", final=True)
            with opened(engine) as workers:
                flight, numbers = Flight(workers, Call(work, words)), (len(left), len(chosen))
                broken = _Drive(flight, sink, tell, numbers).all(left)
    finally:
        records = sink.close()
    survey = Survey(tuple(chosen), records, time.perf_counter() - began)
    tell(f"survey: {survey!r}", final=True)
    if problem := "; ".join(filter(None, (broken, sink.problem))):
        raise SurveyError(problem, survey)
    return survey


class _Memory:
    """What keeps rows where there is no store."""

    problem = ""

    def __init__(self):
        self.records: dict[str, Record] = {}

    def remarks(self) -> list[str]:
        return []

    def wants(self, name: str, retry: bool) -> bool:
        del name, retry
        return True

    def add(self, record: Record, kept: Any = None) -> None:
        del kept
        self.records[record.name] = record

    def close(self) -> dict[str, Record]:
        return self.records


class _Drive:
    """Targets on their way through an engine into a store."""

    def __init__(self, flight: Flight, sink: Any, tell: Reporter, numbers: tuple[int, int]):
        self.flight, self.sink, self.tell = flight, sink, tell
        self.number, self.of = numbers
        self.began, self.done, self.failed = time.perf_counter(), 0, 0

    def all(self, left: Mapping[str, Any]) -> str:
        """Do what is left, or what there is time for until Ctrl-C; a sentence if it broke."""
        try:
            try:
                self._send(left.items())
                self.flight.alone = True
                self._send(self.flight.suspects)
            except KeyboardInterrupt:
                self._end()
        except EngineBroken as error:
            return (
                f"The engine ended before its work ({error}): {self.number - self.done} targets "
                "are not done. Run it again."
            )
        return ""

    def _send(self, targets: Iterable[tuple[str, Any]]) -> None:
        for name, task in targets:
            while self.flight.full():
                self._take()
            self.flight.start(name, task)
        while self.flight.waiting:
            self._take()

    def _end(self) -> None:
        """After Ctrl-C: what is under way is waited for, and kept."""
        self.flight.cancel()
        number = len(self.flight.waiting)
        self.tell(f"survey: waits for {number} under way (Ctrl-C again drops them)", final=True)
        with contextlib.suppress(KeyboardInterrupt):
            while self.flight.waiting:
                self._take()

    def _take(self) -> None:
        for record, kept in self.flight.landed():
            self.sink.add(record, kept)
            self.done, self.failed = self.done + 1, self.failed + (not record.done)
            left = (time.perf_counter() - self.began) / self.done * (self.number - self.done)
            self.tell(
                f"survey: {self.of - self.number + self.done} of {self.of} targets, "
                f"{self.failed} failed, about {duration(left)} left"
            )
