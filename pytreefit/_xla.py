"""The compiler's workarounds, in one room: each with its reason, and one switch for all.

With ``PYTREEFIT_PLAIN_XLA=1`` in the environment programs are compiled as JAX does by default, and
what packages built on this write for the compiler's sake (they ask :func:`plain`) is left out.
"""

import contextlib
import functools
import os
from typing import Any

import jax
import jax.monitoring

# Vectors of 512 bits: XLA uses half of them by default, and images and covariances take up to twice
# the time. Where the processor has none as wide nothing changes.
WIDE_VECTORS: dict[str, Any] = {"xla_cpu_prefer_vector_width": 512}
# Threads that hand small steps to each other at every step can take longer than one alone.
ONE_CORE: dict[str, Any] = {"xla_cpu_multi_thread_eigen": False}
# The former code generator takes half of the time for each small kernel. What it makes is as fast
# where programs are matrices above all; images it makes many times slower.
FORMER_GENERATOR: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False}

_COMPILED = "/jax/core/compile/backend_compile_duration"
_MOST_MAPS = 65_530  # Linux's default
_EVERY = 16  # compilations between two looks at the memory maps


@functools.cache
def plain() -> bool:
    """Whether all workarounds are off: PYTREEFIT_PLAIN_XLA is set to anything but 0."""
    return os.environ.get("PYTREEFIT_PLAIN_XLA", "0") not in ("", "0")


@functools.cache
def compiler_options(threads: bool, quickly: bool) -> dict[str, Any] | None:
    """Options for a program, as far as this compiler knows them; None without any.

    For one that may use several cores (``threads``), and for one that is to be compiled quickly, by
    the former code generator.
    """
    if plain() or jax.default_backend() != "cpu":
        return None
    wanted = dict(WIDE_VECTORS)
    if not threads:
        wanted |= ONE_CORE
    if quickly:
        wanted |= FORMER_GENERATOR
    return {name: value for name, value in wanted.items() if _known(name, value)} or None


@functools.cache
def _known(name: str, value: Any) -> bool:
    """Whether the compiler takes an option: they come and go between versions."""
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except Exception:
        return False
    return True


class _Programs:
    """Counts compilations, and forgets programs before Linux has no room for another one.

    A program takes some memory maps, a large one hundreds. A process may have 65,530 of them; the
    next one ends it.
    """

    def __init__(self):
        self.listening = False
        self.compiled = 0  # since the last look
        self.limit: float | None = None

    def make_room(self) -> None:
        """Forget all programs if there are too many; cheap unless some were compiled."""
        if not self.listening:
            self.listening = True
            jax.monitoring.register_event_duration_secs_listener(self._count)
        if self.compiled < _EVERY:
            return
        self.compiled = 0
        if self.limit is None:
            self.limit = _most_maps() / 4
        if memory_maps() > self.limit:
            jax.clear_caches()
            # what is left is not ours: to forget programs again and again would not help
            self.limit = min(max(self.limit, 2 * memory_maps()), 0.8 * _most_maps())

    def _count(self, event: str, duration: float, **kwargs: Any) -> None:
        self.compiled += event == _COMPILED


programs = _Programs()


def memory_maps() -> int:
    """Memory maps of this process; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/maps", "rb") as maps:
        return sum(1 for _ in maps)
    return 0


def _most_maps() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/vm/max_map_count") as limit:
        return int(limit.read())
    return _MOST_MAPS
