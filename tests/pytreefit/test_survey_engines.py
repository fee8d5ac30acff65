"""Surveys in other processes: the rows of one process, whoever is killed."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import jax
import pytest
from survey_work import deadly, described, precise

from pytreefit import survey

QUIET = {"progress": False}
TASKS = {f"star {k}": k for k in range(6)}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals")


@pytest.fixture
def programs(tmp_path):
    """Programs are kept in a folder meanwhile."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "programs" / "here"))
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def alone(name, task, key):
    return {"sum": float(jax.numpy.sum(jax.numpy.arange(float(task)) / 3.0)),
            "draw": float(jax.random.normal(key)), "programs": "programs"}  # fmt: skip


@pytest.mark.usefixtures("programs")
def test_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("pytreefit.survey.engines.cores", lambda: 1)
    tasks = {**TASKS, "broken": "text"}
    found = survey.run(tasks, described, tmp_path / "store", engine="processes", **QUIET)
    assert found.rows == survey.run(TASKS, alone, **QUIET).rows  # in double precision as here
    assert list(found.failed) == ["broken"]
    with pytest.raises(TypeError, match=r"work can't be sent to other processes .*top level"):
        survey.run(TASKS, lambda *_: {}, engine="processes", **QUIET)


def test_the_first_target_of_a_process_has_all_digits(tmp_path, monkeypatch):
    monkeypatch.setattr("pytreefit.survey.engines.cores", lambda: 1)
    tasks = {"day": jax.numpy.asarray([2459000.123456789])}
    found = survey.run(tasks, precise, engine="processes", **QUIET)
    assert found.rows == {"day": {"bits": 64, "sum": 2459000.123456789}}


def test_what_workers_would_not_share_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="A context changes the precision"):
        survey.run(TASKS, alone, **QUIET)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        with pytest.raises(TypeError, match="engine forks its processes"):
            survey.run(TASKS, described, engine=pool, **QUIET)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dead_process_ends_the_run_with_a_sentence_and_the_next_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("pytreefit.survey.engines.cores", lambda: 1)
    tasks = {**dict.fromkeys(TASKS, ""), "deadly": str(tmp_path / "dead"), "last": ""}
    with pytest.raises(survey.SurveyError, match=r"engine ended .*BrokenProcessPool.*not done"):
        survey.run(tasks, deadly, tmp_path / "store", engine="processes", **QUIET)
    done = survey.Store(tmp_path / "store").names
    assert len(done) < len(tasks)
    found = survey.run(tasks, deadly, tmp_path / "store", engine="processes", **QUIET)
    assert not found.left
    assert not found.failed
    assert set(done) < set(found.rows)


@pytest.fixture(scope="module")
def client(servers):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("programs")
def test_dask_gives_the_rows_of_one_process(tmp_path, client):
    found = survey.run(TASKS, described, tmp_path / "store", engine=client, **QUIET)
    assert found.rows == survey.run(TASKS, alone, **QUIET).rows
    assert not found.failed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("always", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_dead_workers_of_dask(tmp_path, client, always):
    tasks = dict.fromkeys(map(str, range(30)), "")
    tasks |= {"once": str(tmp_path / "once"), "always": "always" if always else "", "last": ""}
    found = survey.run(tasks, deadly, tmp_path / "store", engine=client, **QUIET)
    assert not found.left
    assert list(found.failed) == ["always"] * always
    assert all(reason.startswith("KilledWorker") for reason in found.failed.values())
    files = [file.read_bytes() for file in (tmp_path / "store" / "rows").iterdir()]
    assert sum(len(content.splitlines()) for content in files) == 1 + len(tasks)  # none twice
    assert os.path.exists(tasks["once"])


POOL = """
import os, time
from pytreefit.survey.engines import opened
with opened("processes") as engine:
    print(engine.submit(os.getpid).result(), flush=True)
    time.sleep(600.0)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_workers_end_when_their_parent_is_killed():
    command = [sys.executable, "-W", "ignore", "-c", POOL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        process.kill()
    until = time.monotonic() + 60.0
    while os.path.exists(f"/proc/{worker}/stat"):
        with contextlib.suppress(OSError), open(f"/proc/{worker}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":  # nobody buries it
                break
        assert time.monotonic() < until
        time.sleep(0.1)
