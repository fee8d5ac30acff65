"""Everything is tested in double precision and with JAX's implicit conversions forbidden.

Nearly all the time of these tests is compilation, so the compiler is told to optimise little: the
same numbers, to rounding, in half of the time. ``XLA_FLAGS= make test`` tests what users get.
"""

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import warnings

import jax
import pytest

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
# GB that a process may hold between two files of tests, and between two tests
most = {"files": 1.3, "tests": 2.0}

if "XLA_FLAGS" not in os.environ:
    # a version of XLA that does not know a flag ends the process
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    known = subprocess.run(trial, env={**os.environ, "XLA_FLAGS": QUICK}, capture_output=True)
    # set in any case, so that workers need not try again
    os.environ["XLA_FLAGS"] = QUICK if known.returncode == 0 else ""

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# what takes longest begins first: a worker that had it left over would keep the other one waiting
LONGEST = (
    "test_readme.py",
    "test_search.py",
    "test_gradients.py",
    "test_solver_ladder.py",
    "test_quasiseparable.py",
    "test_bins.py",
    "test_write_your_own_envelope.py",
    "test_write_your_own_solver.py",
    "test_many.py",
    "test_gp.py",
    "test_fresh.py",
    "test_render.py",
    "test_polarimetry.py",
    "test_correlated.py",
    "test_fit.py",
    "test_sample.py",
)


def pytest_collection_modifyitems(items):
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONGEST)))


def resident():
    """GB of memory that this process holds; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as sizes:
            return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except OSError:
        return 0.0


def forget_programs(between):
    """Forget compiled programs if they take much memory."""
    if resident() > most[between]:
        jax.clear_caches()
        with contextlib.suppress(AttributeError, OSError):
            # the C library of Linux keeps most of what is freed until it is told not to
            ctypes.CDLL(None).malloc_trim(0)
        most[between] = max(most[between], resident() + 0.4)  # what is left is no program


# within a file much less often: its tests share programs


@pytest.fixture(autouse=True, scope="module")
def forget_programs_of_the_file():
    yield
    forget_programs("files")


@pytest.fixture(scope="module")
def servers():
    """What servers of other packages leave open is collected at the end of the file, in silence.

    Later, Python would tell the test that happens to run then.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def forget_programs_of_the_test():
    yield
    forget_programs("tests")
