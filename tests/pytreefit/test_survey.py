"""Surveys: nothing is lost or done twice, whatever ends a run."""

import contextlib
import errno
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.io import fits

from pytreefit import Model, param, survey
from pytreefit.extend import by_name, of_file
from pytreefit.survey import targets, writer
from pytreefit.survey.commands import stem


class Line(Model):
    slope: jax.Array = param()
    offset: jax.Array = param()


QUIET = {"progress": False}
TASKS = {f"star {k}": k for k in range(12)}
posix = pytest.mark.skipif(sys.platform == "win32", reason="no signals and no locks")


def work(name, task, key):
    if task == 3:
        raise ValueError("no light")
    return {"third": task / 3.0, "draw": float(jax.random.normal(key)), "who": name}


def rows_of(folder):
    """Rows by name, from the files alone, and how many there are of each."""
    found, times = {}, {}
    for file in (folder / "rows").iterdir():
        for line in file.read_bytes().splitlines()[1:]:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                found[entry["name"]] = entry["row"]
                times[entry["name"]] = times.get(entry["name"], 0) + 1
    return found, times


def test_rows_failures_and_a_second_run(tmp_path):
    counted = []

    def counts(name, task, key):
        counted.append(name)
        return work(name, task, key)

    first = survey.run(TASKS, counts, tmp_path, **QUIET)
    assert first.failed == {"star 3": "ValueError: no light"}
    assert first.left == ()
    assert first.rows["star 5"]["third"] == 5 / 3
    assert first.rows == survey.run(TASKS, work, **QUIET).rows  # in memory
    counted.clear()
    more = {**TASKS, "star 12": 12}
    again = survey.run(more, counts, tmp_path, **QUIET)
    assert counted == ["star 12"]
    assert again.rows == {**first.rows, "star 12": again.rows["star 12"]}
    assert again.failed == first.failed


def test_failures_are_tried_again_on_request(tmp_path):
    survey.run(TASKS, work, tmp_path, **QUIET)
    survey.run(TASKS, work, tmp_path, retry=True, **QUIET)
    assert survey.Store(tmp_path).failed == {"star 3": "ValueError: no light"}
    mended = survey.run({**TASKS, "star 3": 33}, work, tmp_path, retry=True, **QUIET)
    assert not mended.failed
    store = survey.Store(tmp_path)
    assert store.row("star 3")["third"] == 11.0
    assert len(store) == len(store.names) == 12
    assert store.done("star 3")
    assert rows_of(tmp_path)[1]["star 4"] == 1


def test_what_failed_is_tried_again_when_its_file_changed(tmp_path):
    path, tries = tmp_path / "star.txt", []

    def counts(name, task, key):
        tries.append(float(task()))
        return {"value": tries[-1]}

    def again(text):
        path.write_text(text)
        task = of_file(lambda path, settings: path.read_text(), path, None)
        return survey.run({"star": task}, counts, tmp_path / "store", **QUIET)

    assert "could not convert" in again("broken").failed["star"]
    assert "star" in again("broken").failed
    assert not tries
    assert again("2.5").rows == {"star": {"value": 2.5}}
    again("2.5")
    assert tries == [2.5]


def test_rows_do_not_depend_on_order_workers_shards_and_names_of_others(tmp_path):
    whole = survey.run(TASKS, work, tmp_path / "a", **QUIET)
    backwards = dict(reversed(TASKS.items()))
    with ThreadPoolExecutor(5) as pool:
        for number in (2, 0, 1):
            survey.run(backwards, work, tmp_path / "b", shard=(number, 3), engine=pool, **QUIET)
    store = survey.Store(tmp_path / "b")
    assert {name: store.row(name) for name in store.names} == whole.rows
    assert store.failed == whole.failed
    assert set(rows_of(tmp_path / "b")[1].values()) == {1}
    one = survey.run([("star 7", 7)], work, **QUIET)
    assert one.rows["star 7"] == whole.rows["star 7"]
    other = survey.run([("star 7", 7)], work, key=jax.random.key(1), **QUIET)
    assert other.rows["star 7"]["draw"] != whole.rows["star 7"]["draw"]
    same = survey.run([("star 7", 7)], work, key=jax.random.key(0), **QUIET)
    assert same.rows == one.rows


SCRIPT = """
import os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from pytreefit import survey

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background

begun = []

def work(name, task, key):
    time.sleep(float(sys.argv[2]))
    begun.append(name)
    while len(begun) > 1 and not os.path.exists(os.environ.get("GO_ON", os.curdir)):
        time.sleep(0.01)
    return {"third": task / 3.0, "word": int(key._base_array[1])}

tasks = {f"star {k}": k for k in range(int(sys.argv[3]))}
shard = sys.argv[4] if len(sys.argv) > 4 else None
engine = ThreadPoolExecutor(2)  # as slow on any number of cores
found = survey.run(
    tasks, work, sys.argv[1], shard=shard, engine=engine, progress=lambda line: None
)
sys.exit(3 if found.left else 0)
"""


def start(folder, pause, number, *shard, go_on=os.curdir):
    """A run in a process; all but the first task wait until there is a file ``go_on``."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    arguments = [str(folder), str(pause), str(number), *shard]
    double = {**os.environ, "JAX_ENABLE_X64": "1", "GO_ON": str(go_on)}  # precision as here
    return subprocess.Popen([*command, *arguments], env=double, stderr=subprocess.PIPE, text=True)


def ended(process):
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def wait_for_rows(folder, number):
    limit = time.monotonic() + 60.0
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            if len(rows_of(folder)[0]) >= number:
                return
        time.sleep(0.01)
    raise AssertionError(f"no {number} rows in {folder}")


def test_differences_of_long_values_are_shown_where_they_are():
    one, other = ("a" * 500 + middle + "b" * 500 for middle in ("left", "right"))
    shown = writer._about_the_difference(one, other)
    assert ["left" in shown[0], "right" in shown[1]] == [True, True]
    assert max(map(len, shown)) < 160


@posix
@pytest.mark.filterwarnings("ignore:unclosed")
def test_killed_and_started_again_gives_the_rows_of_an_undisturbed_run(tmp_path):
    process = start(tmp_path / "killed", 0.02, 200)
    wait_for_rows(tmp_path / "killed", 20)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    assert 20 <= len(rows_of(tmp_path / "killed")[0]) < 200
    both = [start(tmp_path / name, 0.0, 200) for name in ("killed", "whole")]
    assert [ended(process)[0] for process in both] == [0, 0]
    killed, times = rows_of(tmp_path / "killed")
    assert killed == rows_of(tmp_path / "whole")[0]
    assert len(killed) == 200
    assert set(times.values()) == {1}


@posix
@pytest.mark.filterwarnings("ignore:unclosed")
def test_ctrl_c_keeps_what_is_done_and_under_way(tmp_path):
    process = start(tmp_path, 0.05, 400)
    wait_for_rows(tmp_path, 3)
    process.send_signal(signal.SIGINT)
    status, said = ended(process)
    assert status == 3, said
    rows, times = rows_of(tmp_path)
    assert 3 <= len(rows) < 400
    assert set(times.values()) == {1}


def test_an_interrupt_by_the_reporter(tmp_path):
    def stop(line):
        if "about" in line:
            raise KeyboardInterrupt

    found = survey.run(TASKS, work, tmp_path, progress=stop)
    assert 0 < len(found.left) < 12
    assert "left" in repr(found)
    assert len(survey.Store(tmp_path)) + len(found.left) == 12
    assert not survey.run(TASKS, work, tmp_path, **QUIET).left
    assert set(rows_of(tmp_path)[1].values()) == {1}


@posix
@pytest.mark.filterwarnings("ignore:unclosed")
def test_two_runs_on_one_store(tmp_path, tmp_path_factory):
    go_on = tmp_path_factory.mktemp("signs") / "go on"
    other = start(tmp_path, 0.0, 12, "0/2", go_on=go_on)
    wait_for_rows(tmp_path, 1)
    for shard in (None, (0, 2), (2, 4)):
        with pytest.raises(ValueError, match=rf"in use by another run \(process {other.pid} on"):
            survey.run(TASKS, work, tmp_path, shard=shard, key=0, **QUIET)
    third = start(tmp_path, 0.0, 12, "1/2")
    assert ended(third)[0] == 0
    go_on.touch()
    assert ended(other)[0] == 0
    rows, times = rows_of(tmp_path)
    assert len(rows) == 12
    assert set(times.values()) == {1}
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_source_that_is_no_text_is_none(tmp_path):
    tasks = {"a": types.SimpleNamespace(source=None), "b": types.SimpleNamespace(source=3)}

    def work(name, task, key):
        return {"number": task.source or 0}

    for _ in range(2):
        found = survey.run(tasks, work, tmp_path, **QUIET)
        assert found.rows == {"a": {"number": 0}, "b": {"number": 3}}
    assert set(rows_of(tmp_path)[1].values()) == {1}


def test_a_row_is_of_one_file(tmp_path):
    for folder, text in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "star.s01.csv").write_text(text)

    def run(folder, **options):
        files = by_name([tmp_path / folder / "star.s01.csv"])
        tasks = {name: of_file(read, path, None) for name, path in files.items()}
        return survey.run(tasks, numbers, tmp_path / "store", **QUIET, **options)

    def read(path, settings):
        return float(path.read_text())

    def numbers(name, task, key):
        if (number := task()) == 3.0:
            raise ValueError("no light")
        return {"number": number}

    assert run("a").rows == run("a").rows == {"star.s01": {"number": 1.0}}
    with pytest.raises(ValueError, match=r"star.s01.csv is another file, or has changed"):
        run("b")
    # what failed may be mended
    (tmp_path / "b" / "star.s02.csv").write_text("3")
    files = by_name([tmp_path / "b" / "star.s02.csv"])
    for text in ("3", "4"):
        (tmp_path / "b" / "star.s02.csv").write_text(text)
        tasks = {name: of_file(read, path, None) for name, path in files.items()}
        found = survey.run(tasks, numbers, tmp_path / "store", retry=True, **QUIET)
    assert found.rows == {"star.s02": {"number": 4.0}}
    names = ("a.b.fits.gz", "x.TXT", "kplr1_llc", "s.npz")
    assert [stem(name) for name in names] == ["a.b", "x", "kplr1_llc", "s"]


@posix
def test_the_lock_of_a_killed_run_is_no_obstacle(tmp_path):
    survey.run(TASKS, work, tmp_path, **QUIET)
    (tmp_path / "locks" / "1-of-2.lock").write_text("process 1 on this host")
    (tmp_path / "locks" / "0-of-1.lock").write_text("process 1 on this host")
    survey.run(TASKS, work, tmp_path, retry=True, **QUIET)
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_is_full_for_a_while(tmp_path, monkeypatch, call):
    good, calls = getattr(os, call), []

    def full(descriptor, *content):
        calls.append(call)
        if 4 < len(calls) < 8:
            if content:
                good(descriptor, content[0][:7])  # a part fits
            raise OSError(errno.ENOSPC, "No space left on device")
        return good(descriptor, *content)

    monkeypatch.setattr(writer.os, call, full)
    with pytest.warns(UserWarning, match="can't be written .*No space left.*keeps it in memory"):
        found = survey.run(TASKS, work, tmp_path, **QUIET)
    assert len(found.rows) == 11
    assert rows_of(tmp_path)[1] == dict.fromkeys(TASKS, 1)
    assert not survey.Store(tmp_path).damaged


def test_a_disk_that_stays_full_loses_nothing_silently(tmp_path, monkeypatch):
    good, fresh = os.write, survey.run(TASKS, work, **QUIET).rows

    def full(descriptor, content):
        if b"star" in content and threading.current_thread() is threading.main_thread():
            raise OSError(errno.ENOSPC, "No space left on device")
        return good(descriptor, content)

    monkeypatch.setattr(writer.os, "write", full)
    with (
        pytest.warns(UserWarning, match="can't be written"),
        pytest.raises(
            survey.SurveyError, match=r"12 rows could not be written .*No space"
        ) as raised,
    ):
        survey.run(TASKS, work, tmp_path, **QUIET)
    assert raised.value.survey.rows == fresh
    monkeypatch.undo()
    assert len(survey.Store(tmp_path)) == 0
    assert survey.run(TASKS, work, tmp_path, **QUIET).rows == fresh


def refused(*args, **kwargs):
    raise AssertionError("work was begun")


def test_a_folder_that_cannot_be_written_is_noticed_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"store can't be written .*Not a directory"):
        survey.run(TASKS, refused, tmp_path / "file" / "store", **QUIET)
    survey.run({"a": 1}, work, tmp_path / "store", **QUIET)
    good = os.open

    def read_only(path, flags, *mode):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return good(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(OSError, match=r"can't be written .*Read-only file system"):
        survey.run(TASKS, refused, tmp_path / "store", **QUIET)
    assert survey.Store(tmp_path / "store").names == ("a",)  # can still be read


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_permissions(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match="can't be written"):
        survey.run(TASKS, refused, tmp_path / "store", **QUIET)
    tmp_path.chmod(0o755)


def test_a_store_of_another_version_or_kind(tmp_path):
    survey.run({"a": 1}, work, tmp_path / "store", **QUIET)
    header = tmp_path / "store" / "store.json"
    content = json.loads(header.read_text())
    assert content["versions"]["jax"] == jax.__version__
    header.write_text(json.dumps({**content, "version": 7}))
    for use in (survey.Store, lambda path: survey.run(TASKS, refused, path, **QUIET)):
        with pytest.raises(ValueError, match="of format version 7, and this pytreefit knows ver"):
            use(tmp_path / "store")
    header.write_text(json.dumps({**content, "format": "holiday"}))
    with pytest.raises(ValueError, match="not written by"):
        survey.Store(tmp_path / "store")
    header.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        survey.Store(tmp_path / "store")
    with pytest.raises(FileNotFoundError, match="holds no store"):
        survey.Store(tmp_path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mail.txt").write_text("")
    with pytest.raises(ValueError, match=r"other things in it, such as 'mail.txt'"):
        survey.run(TASKS, refused, tmp_path / "letters", **QUIET)


def test_other_versions_of_packages_are_said(tmp_path, monkeypatch):
    survey.run({"a": 1}, work, tmp_path, **QUIET)
    monkeypatch.setattr(writer, "versions", lambda: {"jax": "99.0"})
    lines = []
    survey.run(TASKS, work, tmp_path, progress=lines.append)
    assert f"jax 99.0 (was {jax.__version__})" in lines[0]


def test_another_configuration_is_refused_by_a_sentence_that_names_it(tmp_path):
    own = {"points": 200, "priors": survey.describe({"x": dist.LogUniform(1.0, 2.0)})}
    survey.run({"a": 1}, work, tmp_path, configuration=own, **QUIET)
    survey.run({"a": 1}, work, tmp_path, configuration=own, **QUIET)
    assert survey.Store(tmp_path).configuration["points"] == 200
    changed = [
        ({**own, "points": 300}, {}, "begun with points = 200, and this run has 300"),
        ({"points": 200}, {}, r"priors = \{'x': LogUniform\(high=2.0, low=1.0.*has nothing"),
        ({**own, "points": "x" * 999 + "y"}, {}, r"points = 200, and this run has x{150}\.\.\.:"),
        (own, {"key": 3}, r"key = \[0, 0\], and this run has \[0, 3\]"),
    ]
    for configuration, options, message in changed:
        with pytest.raises(ValueError, match=message):
            survey.run(TASKS, refused, tmp_path, configuration=configuration, **options, **QUIET)


def test_descriptions_tell_what_differs():
    line = Line(slope=1.0, offset=0.0)
    assert survey.describe(line) == survey.describe(Line(slope=1.0, offset=0.0))
    different = [
        line, Line(slope=1.0 + 1e-15, offset=0.0), work, rows_of, dist.Normal(0.0, 1.0),
        dist.Normal(0.0, 2.0), np.arange(3.0), np.arange(3), 1, 1.0, "1", None, (1,), [1],
    ]  # fmt: skip
    assert len(set(map(survey.describe, different))) == len(different)
    assert survey.describe(np.float64(0.1)) == "0.1"
    assert survey.describe({"b": 1, "a": {"d", "c"}}) == "{'a': {'c', 'd'}, 'b': 1}"
    near, far = (functools.partial(work, name) for name in ("near", "far"))
    assert survey.describe(near) != survey.describe(far)
    assert survey.describe(line.get) != survey.describe(Line(slope=2.0, offset=0.0).get)
    assert " at 0x" not in survey.describe(object())


def test_torn_and_damaged_rows_are_left_out_and_done_again(tmp_path):
    whole = survey.run(TASKS, work, tmp_path, **QUIET).rows
    (file,) = (tmp_path / "rows").iterdir()
    content = file.read_bytes()
    for cut in range(1, len(content.splitlines()[-1])):
        file.write_bytes(content[: -1 - cut])
        store = survey.Store(tmp_path)
        assert (len(store), len(store.damaged)) == (11, 1)
    lines, said = content.splitlines(keepends=True), []
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert survey.run(TASKS, work, tmp_path, progress=said.append).rows == whole
    assert "is cut short, as by a kill" in said[0]
    lines[4] = b"\0" * 20 + b"\n"
    file.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=r"Line 5 of .* is damaged .* counts as not done"):
        assert survey.run(TASKS, work, tmp_path, **QUIET).rows == whole


@pytest.mark.filterwarnings("ignore:Error validating", "ignore:unclosed", "ignore:Exception")
def test_a_broken_file_among_others(tmp_path):
    paths = {}
    for k in range(10):
        paths[f"disk {k}"] = tmp_path / f"{k}.fits"
        fits.writeto(paths[f"disk {k}"], np.full((8, 8), float(k)))
    paths["disk 4"].write_bytes(b"SIMPLE  = holiday")
    paths["disk 7"].unlink()

    def mean(name, path, key):
        return {"mean": np.mean(fits.getdata(path))}

    found = survey.run(paths, mean, tmp_path / "store", **QUIET)
    assert sorted(found.failed) == ["disk 4", "disk 7"]
    assert found.failed["disk 4"].startswith("OSError")
    assert found.failed["disk 7"].startswith("FileNotFoundError")
    assert found.rows["disk 9"] == {"mean": 9.0}


def test_tables(tmp_path):
    def row(name, task, key):
        if task == 0:
            raise RuntimeError("cloudy")
        more = {"flag": "odd", "number": task} if task % 2 else {}
        return {
            "period": task * u.day,
            "good": np.bool_(task > 2),
            "depth": np.float32(0.1),
            **more,
        }

    found = survey.run({f"{k}": k for k in range(5)}, row, tmp_path, **QUIET)
    table = survey.Store(tmp_path).table()
    assert table.colnames[:4] == ["name", "done", "reason", "seconds"]
    assert list(table["reason"]) == ["RuntimeError: cloudy", *[""] * 4]
    assert table["period"].unit == u.day
    np.testing.assert_array_equal(table["period"].value, [np.nan, 1, 2, 3, 4])
    assert list(table["good"].filled(False)) == [False, False, False, True, True]
    assert list(table["number"].mask) == [True, False, True, False, True]
    assert table["depth"][1] == float(np.float32(0.1))
    assert list(found.table()["name"]) == list("01234")
    table.write(tmp_path / "rows.ecsv")
    assert str(type(table).read(tmp_path / "rows.ecsv")["flag"][1]) == "odd"


def test_results_beside_rows(tmp_path):
    def both(name, task, key):
        kept = {"draws": np.arange(float(task))} if task != 2 else {"lambda": lambda: None}
        return {"n": task}, kept

    found = survey.run({"a": 3, "b": 2}, both, tmp_path, **QUIET)
    store = survey.Store(tmp_path)
    np.testing.assert_array_equal(store.result("a")["draws"], [0.0, 1.0, 2.0])
    assert "cannot be imported" in found.failed["b"]
    with pytest.raises(ValueError, match=r"'b' failed: .*cannot be imported"):
        store.result("b")
    survey.run({"c": 1}, lambda *_: {"n": 1}, tmp_path, **QUIET)
    with pytest.raises(ValueError, match="Nothing was kept beside the row of 'c'"):
        survey.Store(tmp_path).result("c")
    with pytest.raises(ValueError, match="has no target 'd'"):
        store.row("d")


def test_shards():
    names = [f"star {k}" for k in range(200)]
    parts = [targets.as_shard(f"{k}/4") for k in range(4)]
    found = [[name in part for part in parts] for name in names]
    assert np.all(np.sum(found, axis=1) == 1)
    assert np.all(np.sum(found, axis=0) > 30)
    for first in parts:
        for number in range(6):
            other = targets.as_shard((number, 6))
            common = any(name in first and name in other for name in names)
            assert first.overlaps(other) == common


def test_shards_of_slurm(monkeypatch):
    for array, wanted in {
        (5, 8, 0, 1): (5, 8), (1, 8, 1, 1): (0, 8), (8, 8, 1, 1): (7, 8), (6, 4, 0, 2): (3, 4),
    }.items():  # fmt: skip
        for name, value in zip(("ID", "COUNT", "MIN", "STEP"), array, strict=True):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        assert targets.as_shard("slurm") == wanted
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    with pytest.raises(ValueError, match="needs SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT"):
        targets.as_shard("slurm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ["a", "b"]}, "pairs .name, task."),
        ({"tasks": [("a", 1), ("a", 2)]}, "the name 'a' twice"),
        ({"tasks": {1: 2}}, "the name 1: names are text"),
        ({"tasks": 3}, "tasks is a int"),
        ({"work": 3}, "work is a int"),
        ({"store": 3}, "store is a int"),
        ({"engine": "dusk"}, "engine = 'dusk' must be None"),
        ({"shard": (2, 2)}, r"how many there are, such as 0/8 to 7/8"),
        ({"shard": "first"}, "shard = 'first' must be a pair"),
        ({"shard": 0.5}, "must be a pair"),
        ({"retry": 1}, "retry is a int"),
        ({"key": -1}, "key = -1 must be"),
        ({"key": 0.5}, "key = 0.5 must be"),
        ({"key": jax.numpy.ones(2)}, "must be a whole number from 0 on, or one key of JAX"),
        ({"configuration": 3}, "configuration is a int"),
    ],
)
def test_what_cannot_be(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        survey.run(**{"tasks": TASKS, "work": work, **QUIET, **change})


def test_rows_that_are_none():
    returned = {"list": [1], "array": {"x": np.ones(2)}, "own": {"name": "b"}, "text": {"x": {}}}
    found = survey.run(returned, lambda name, task, key: task, **QUIET)
    assert not found.rows
    assert "work returned a list" in found.failed["list"]
    assert "row['x'] is a ndarray: a row holds numbers" in found.failed["array"]
    assert "column 'name'" in found.failed["own"]
