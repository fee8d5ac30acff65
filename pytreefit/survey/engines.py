"""Who does the work: threads, processes, dask, or anything with ``submit``."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..cache import cache_programs
from ..threads import cores, settle_in_turn, sharing, workers
from .rows import Record, plain_row
from .targets import key_of

_FULL = 0.7  # of the memory that a worker may have: beyond it, programs are forgotten


class Failed(Exception):
    """Raised by work that found nothing: the target is a failure, for the reason that is given."""


class EngineBroken(Exception):
    """Raised where an engine lost the work that it was given."""


class Call(NamedTuple):
    """What every target has in common, as it is sent to workers."""

    work: Callable[[str, Any, jax.Array], Any]
    words: tuple[int, ...]


class Settings(NamedTuple):
    """What workers in other processes must have as it is here, and where that is."""

    double: bool
    programs: str | None  # the folder
    process: tuple[str, int]


def settings_here() -> Settings:
    """Those of this process."""
    settings = jax.config.values
    folder = settings["jax_compilation_cache_dir"]
    base = str(Path(folder).parent) if folder else None
    return Settings(bool(settings["jax_enable_x64"]), base, _this_process())


def refuse_context() -> None:
    """ValueError where a context gives this thread another precision than its workers have."""
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(jnp.result_type, float).result()
    if others != jnp.result_type(float):
        raise ValueError(
            "A context changes the precision here, which workers do not see: switch it for the "
            'whole program by jax.config.update("jax_enable_x64", True).'
        )


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def deciding(words: tuple[int, ...]) -> dict[str, Any]:
    """What decides the rows beside the work, in plain values."""
    return {"key": list(words), "double precision": settings_here().double}


@functools.lru_cache(maxsize=1)
def _settle(settings: Settings) -> None:
    """In each worker, unless it is in the process that asks for it."""
    if settings.process == _this_process():
        return
    jax.config.update("jax_enable_x64", settings.double)
    with contextlib.suppress(OSError):  # a disk that can't be written: it compiles by itself
        cache_programs(settings.programs)
    settle_in_turn()


def attempt_elsewhere(settings: Settings, sent: bytes) -> tuple[Record, Any]:
    """Of what `attempt` takes, which is read when the worker has the right precision."""
    _settle(settings)
    found = attempt(*pickle.loads(sent))
    _make_room()
    return found


def attempt(call: Call, name: str, task: Any) -> tuple[Record, Any]:
    """The record of a target, and what to keep beside it; whatever goes wrong is in the record."""
    began = time.perf_counter()
    try:
        found = call.work(name, task, key_of(call.words, name))
        row, kept = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        row, units = plain_row(row)
        record = Record(name, True, row, units)
    except Failed as error:
        record, kept = Record(name, False, reason=str(error)), None
    except Exception as error:
        record, kept = Record(name, False, reason=said(error)), None
    return record._replace(seconds=time.perf_counter() - began), kept


def said(error: BaseException) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"


def _make_room() -> None:
    """Forget compiled programs before a worker of dask has used up the memory that it may have."""
    try:
        from distributed import get_worker  # pyright: ignore[reportMissingImports]

        manager = get_worker().memory_manager  # pyright: ignore[reportAttributeAccessIssue]
        limit, used = manager.memory_limit, get_worker().monitor.get_process_memory()
    except (ImportError, ValueError, AttributeError):
        return
    if limit and used > _FULL * limit:
        jax.clear_caches()


class Engine(NamedTuple):
    """Something with ``submit``, how many work in it, and what writes what is sent elsewhere."""

    submit: Callable[..., Future]
    workers: Callable[[], int]
    dumps: Callable[[Any], bytes] | None = None

    def check(self, call: Call) -> None:
        """TypeError if work can't be sent to other processes, or if these would be forked."""
        if self.dumps is None:
            return
        pool = getattr(self.submit, "__self__", None)
        context = getattr(pool, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise TypeError(
                "engine forks its processes, in which JAX does not work: pass engine='processes', "
                "or ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )
        try:
            self.dumps(call)
        except Exception as error:  # what objects raise that can't be pickled is up to them
            raise TypeError(
                f"work can't be sent to other processes ({said(error)}): it must be a function at "
                "the top level of a module, and what it holds as well. engine='dask' sends any."
            ) from None

    def start(self, call: Call, name: str, task: Any) -> Future:
        """Hand over a target."""
        if self.dumps is None:
            return self.submit(attempt, call, name, task)
        try:
            sent = self.dumps((call, name, task))
        except Exception as error:  # the same
            future: Future = Future()
            future.set_exception(error)
            return future
        return self.submit(attempt_elsewhere, settings_here(), sent)


@contextlib.contextmanager
def opened(engine: Any) -> Iterator[Engine]:
    """An engine while it is in use; what was opened here is closed."""
    if engine is None:
        pool = workers()
        with _ended(pool), sharing(pool._max_workers):
            yield Engine(pool.submit, lambda: pool._max_workers)
    elif _called(engine, "processes"):
        # not forked: JAX's threads would be missing. Ctrl-C is this process' business
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(cores(), context, _begin_worker)

        def submit(*work):  # it may start a process, which inherits what is not heard
            with _without_interrupts():
                return pool.submit(*work)

        with _ended(pool):
            yield Engine(submit, cores, pickle.dumps)
    elif _called(engine, "dask"):
        try:
            from distributed import (  # pyright: ignore[reportMissingImports]
                Client,
                LocalCluster,
            )
        except ImportError:
            raise ImportError(
                "engine = 'dask' needs dask.distributed: pip install 'grater-spotgp[dask]'."
            ) from None
        with LocalCluster(n_workers=cores(), threads_per_worker=1) as cluster:
            with Client(cluster) as client, opened(client) as inside:
                yield inside
    elif hasattr(engine, "get_executor"):  # a Client of dask
        from distributed.protocol.pickle import dumps  # pyright: ignore[reportMissingImports]

        executor = engine.get_executor(pure=False)
        yield Engine(executor.submit, lambda: sum(engine.nthreads().values()), dumps)
    elif hasattr(engine, "submit"):
        number = getattr(engine, "_max_workers", None) or cores()
        if isinstance(engine, ThreadPoolExecutor):
            with sharing(number):
                yield Engine(engine.submit, lambda: number)
        else:
            yield Engine(engine.submit, lambda: number, pickle.dumps)
    else:
        raise TypeError(
            f"engine = {engine!r} must be None (threads), 'processes', 'dask', a dask.distributed "
            "Client, or have a method submit as executors of concurrent.futures have."
        )


def _called(engine: Any, name: str) -> bool:
    return isinstance(engine, str) and engine == name


@contextlib.contextmanager
def _ended(pool) -> Iterator[None]:
    """A pool whose work that has not begun is dropped at the end."""
    try:
        yield
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _without_interrupts():
    """Ctrl-C is not heard meanwhile, as far as a thread can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if former is None else former)


def _begin_worker() -> None:
    """In a process of a pool: Ctrl-C is its parent's business, and it ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Flight:
    """Work that was given to an engine and has not come back: never much more than it can do.

    Targets whose worker died are ``suspects``: another one may have killed it. When they are
    ``alone`` they are failures.
    """

    def __init__(self, engine: Engine, call: Call):
        engine.check(call)
        self.engine, self.call = engine, call
        self.waiting: dict[Future, tuple[str, Any]] = {}
        self.suspects: list[tuple[str, Any]] = []
        self.alone = False

    def full(self) -> bool:
        """Whether the workers have enough to do."""
        try:
            number = self.engine.workers()
        except OSError as error:  # of a cluster that is lost
            raise EngineBroken(said(error)) from error
        return len(self.waiting) >= (1 if self.alone else max(2 * number, 2))

    def start(self, name: str, task: Any) -> None:
        """Hand over a target."""
        try:
            future = self.engine.start(self.call, name, task)
        except (BrokenExecutor, RuntimeError, OSError) as error:
            raise EngineBroken(said(error)) from error
        self.waiting[future] = name, task

    def landed(self) -> Iterator[tuple[Record, Any]]:
        """What comes back next, one or several; EngineBroken where nothing will."""
        ready, _ = wait(self.waiting, return_when=FIRST_COMPLETED)
        for future in ready:
            try:
                error = future.exception()
            except CancelledError:
                error = CancelledError("the work was cancelled")
            if isinstance(error, CancelledError | BrokenExecutor):
                raise EngineBroken(said(error)) from error
            name, task = self.waiting.pop(future)
            if error is None:
                yield future.result()
            elif isinstance(error, Exception) and self.alone:  # or it can't be sent
                yield Record(name, False, reason=said(error)), None
            elif isinstance(error, Exception):
                self.suspects.append((name, task))

    def cancel(self) -> None:
        """Take back what has not begun."""
        for future in [future for future in self.waiting if future.cancel()]:
            del self.waiting[future]
