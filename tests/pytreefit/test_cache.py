"""Programs on disk: a second process compiles nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import json, sys
import jax, jax.numpy as jnp
from jax.experimental import io_callback

counts = {}
jax.monitoring.register_event_listener(
    lambda event, **kwargs: counts.update({event: counts.get(event, 0) + 1}))

from pytreefit import Model, Posterior, cache_programs, fit, jit, param

cache_programs(sys.argv[1])

class Line(Model):
    slope: jax.Array = param()
    offset: jax.Array = param()

def log_likelihood(line):
    return -jnp.sum((line.slope * jnp.arange(5.0) + line.offset - 3.0) ** 2)

class Quick(Line):
    compiles_quickly = True

priors = {"slope": (-9, 9), "offset": (-9, 9)}
for model in (Line(1.0, 0.0), Quick(1.0, 0.0)):
    best = fit(Posterior(model, log_likelihood, priors), progress=False)
    assert abs(float(best.values["offset"]) - 3.0) < 0.01

if len(sys.argv) > 2:
    @jit
    def talking(x):
        io_callback(lambda x: seen.append(float(x)), None, x)
        return x + 1
    seen = []
    assert float(talking(jnp.asarray(2.0))) == 3.0
    jax.effects_barrier()
    assert seen == [2.0]

print(json.dumps(counts))
"""
HITS = "/jax/compilation_cache/cache_hits"
MISSES = "/jax/compilation_cache/cache_misses"


def run(code, *args, **env):
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.check_output(command, text=True, env={**os.environ, **env})


def test_a_second_process_compiles_nothing(tmp_path):
    first, second = (json.loads(run(FIT, tmp_path)) for _ in range(2))
    assert first[MISSES] > 10
    assert MISSES not in second
    assert second[HITS] >= first[MISSES]


def test_programs_that_call_python_are_right_in_a_second_process(tmp_path):
    for _ in range(2):
        run(FIT, tmp_path, "with a callback")


WHERE = "import pytreefit; print(pytreefit.cache_programs())"


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_the_users_cache_folder(tmp_path):
    folder = Path(run(WHERE, XDG_CACHE_HOME=str(tmp_path)).strip())
    assert folder.is_dir()
    assert folder.parent == tmp_path / "pytreefit"
    folder = Path(run(WHERE, XDG_CACHE_HOME="", HOME=str(tmp_path)).strip())
    assert folder.parent == tmp_path / ".cache" / "pytreefit"
