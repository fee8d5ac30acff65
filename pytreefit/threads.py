"""Independent evaluations on all cores: a compiled program of moderate size runs on one."""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from ._fork import refuse_fork

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_NAME = "pytreefit"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def linear_algebra() -> "ThreadpoolController":
    """How many threads NumPy and SciPy use for it: JAX's programs call SciPy's."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Shared:
    """How many share these libraries' threads among what they do, and the way back."""

    lock = threading.Lock()
    users = 0
    limit: Any = None
    in_turn = False


def _free() -> None:
    """Let the next thread set a limit: of OpenBLAS, only the one that was first may."""
    import threadpoolctl

    threadpoolctl.OpenBLASController.clear_controlling_thread(force=True)


@contextlib.contextmanager
def sharing(number: int) -> Iterator[None]:
    """Linear algebra in so many threads at once: where all cores are busy, more only wait."""
    with _Shared.lock:
        if not _Shared.users:
            _free()
            each = max(1, cores() // number)
            _Shared.limit = linear_algebra().limit(limits=each, user_api="blas")
        _Shared.users += 1
    try:
        yield
    finally:
        with _Shared.lock:
            _Shared.users -= 1
            if not _Shared.users:
                _free()
                _Shared.limit.restore_original_limits()
                _free()


def settle_in_turn() -> None:
    """From now on one thing after the other: other processes are at work on the other cores."""
    _Shared.in_turn = True
    linear_algebra().limit(limits=1, user_api="blas")


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
    inside = _Shared.in_turn or threading.current_thread().name.startswith(_NAME)
    if number < 2 or inside or jax.default_backend() != "cpu":
        return [jax.block_until_ready(function(item)) for item in items]
    pool = _pool(cores())
    if pool.submit(_state).result() != _state():
        return [jax.block_until_ready(function(item)) for item in items]
    with sharing(number):
        return list(pool.map(lambda item: jax.block_until_ready(function(item)), items))
