"""The compiler's workarounds: known to it, all off at once; programs are forgotten in time."""

import os
import subprocess
import sys

import jax
import pytest

from pytreefit import _xla


@pytest.fixture
def fresh():
    """Nothing is remembered of the environment, before and after."""
    cached = (_xla.plain, _xla.compiler_options)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_the_compiler_knows_the_options():
    """Were they unknown, nothing would break, but everything would take longer."""
    options = _xla.WIDE_VECTORS | _xla.ONE_CORE
    compiled = jax.jit(lambda x: x + 1, compiler_options=options).lower(1.0).compile()
    assert float(compiled(1.0)) == 2.0


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("quickly", [True, False])
def test_options_are_those_that_are_asked_for(fresh, threads, quickly):
    options = _xla.compiler_options(threads, quickly)
    assert options.items() >= _xla.WIDE_VECTORS.items()
    assert ("xla_cpu_multi_thread_eigen" in options) is not threads
    if not quickly:
        assert "xla_cpu_use_fusion_emitters" not in options


def test_an_option_that_is_gone_does_not_take_the_others_with_it(fresh, monkeypatch):
    monkeypatch.setattr(_xla, "FORMER_GENERATOR", {"xla_cpu_no_longer_known": False})
    assert _xla.compiler_options(True, True) == _xla.WIDE_VECTORS


@pytest.mark.parametrize(("value", "off"), [("1", True), ("0", False), ("", False)])
def test_one_switch_for_all(fresh, monkeypatch, value, off):
    monkeypatch.setenv("PYTREEFIT_PLAIN_XLA", value)
    assert _xla.plain() is off
    assert (_xla.compiler_options(True, False) is None) is off


MANY = """
import jax, jax.numpy as jnp, numpy as np
from pytreefit import _xla, jit

limit = _xla.memory_maps() + 300
_xla.programs.limit = limit
cleared = []
clear = jax.clear_caches
jax.clear_caches = lambda: (cleared.append(_xla.memory_maps()), clear())

traced = []

@jit
def f(x):
    traced.append(x.shape)
    return jnp.sum(jnp.sort(jnp.sin(x) @ jnp.cos(x)[:, None]))

first = float(f(jnp.ones(1)))
for n in range(2, 120):
    f(jnp.ones(n))
assert cleared, _xla.memory_maps()
for before, after in zip(cleared, cleared[1:]):
    assert after < before + 4 * 300, cleared
assert float(f(jnp.ones(1))) == first
assert traced.count((1,)) == 2, "forgotten, and compiled anew"
assert _xla.memory_maps() < 4 * limit
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="a matter of Linux")
def test_programs_are_forgotten_in_time():
    subprocess.run([sys.executable, "-c", MANY], check=True)


def test_looks_at_memory_only_after_compilations(monkeypatch):
    programs = _xla._Programs()
    looks = []
    monkeypatch.setattr(_xla, "memory_maps", lambda: looks.append(1) or 0)
    monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", lambda f: None)
    for _ in range(100):
        programs.make_room()
    assert not looks
    for _ in range(16):
        programs._count("/jax/core/compile/backend_compile_duration", 0.1)
        programs._count("/jax/another", 0.1)
    programs.make_room()
    programs.make_room()
    assert len(looks) == 1


def test_what_others_hold_is_not_cleared_for_again_and_again(monkeypatch):
    programs = _xla._Programs()
    programs.listening, cleared = True, []
    monkeypatch.setattr(_xla, "memory_maps", lambda: 20_000)
    monkeypatch.setattr(_xla, "_most_maps", lambda: 65_530)
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    for _ in range(3):
        programs.compiled = 100
        programs.make_room()
    assert len(cleared) == 1
