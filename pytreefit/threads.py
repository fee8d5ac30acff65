"""Independent evaluations on all cores: a compiled program of moderate size runs on one."""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from threadpoolctl import ThreadpoolController

from ._fork import refuse_fork

_NAME = "pytreefit"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def linear_algebra() -> ThreadpoolController:
    """How many threads NumPy and SciPy use for it: JAX's programs call SciPy's."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


class _Alone:
    """How many are at work that want one thread of these libraries, and the way back."""

    lock = threading.Lock()
    users = 0
    limit: Any = None


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Linear algebra in the thread that calls it: where all cores are busy, more only wait."""
    with _Alone.lock:
        if not _Alone.users:
            _Alone.limit = linear_algebra().limit(limits=1)
        _Alone.users += 1
    try:
        yield
    finally:
        with _Alone.lock:
            _Alone.users -= 1
            if not _Alone.users:
                _Alone.limit.restore_original_limits()


@functools.cache
def _pool(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix=_NAME)


def workers() -> ThreadPoolExecutor:
    """Threads for independent work, to be shut down by the caller: one for each core of a CPU.

    What they do may call `in_threads`, which then works in turn.
    """
    refuse_fork()
    number = cores() if jax.default_backend() == "cpu" else 1
    return ThreadPoolExecutor(number, thread_name_prefix=_NAME)


def _state():
    """What a thread does not take over from the one that gives it work."""
    return get_opaque_trace_state(), jnp.result_type(float)


def in_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """The function of every item, in their order and ready; on a CPU several at a time.

    In turn inside of a JAX transformation, of a context that changes the precision, or of another
    call of this function. The function should spend its time in compiled programs, whose results
    are waited for here.
    """
    refuse_fork()
    items = list(items)
    number = min(cores(), len(items))
    # a worker that waited for others of its own pool would wait for ever
    inside = threading.current_thread().name.startswith(_NAME)
    if number < 2 or inside or jax.default_backend() != "cpu":
        return [jax.block_until_ready(function(item)) for item in items]
    pool = _pool(number)
    if pool.submit(_state).result() != _state():
        return [jax.block_until_ready(function(item)) for item in items]
    with one_thread_each():
        return list(pool.map(lambda item: jax.block_until_ready(function(item)), items))
