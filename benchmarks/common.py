"""What the benchmarks share: workers that take turns, medians, and results in files."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import select
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
# seconds of calls in each turn, and before it: after the turns of others the caches are theirs,
# and a core that has rested is slow at first
TURN, WARM = 0.05, 0.2


def record(name, rows, **more):
    """Write what was measured, with when and on what, into ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    found = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(HERE),
        "machine": machine(),
        "versions": versions(),
        **more,
        "rows": rows,
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {path}")


def recorded(name):
    """The rows of a result, if there is one."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def commit(folder):
    """The commit of a source tree, with "+" where there are changes."""
    git = ["git", "-C", str(folder)]
    try:
        name = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return name + ("+" if changed else "")


def machine():
    """The processor, its cores that may be used, and the memory."""
    processor = platform.processor() or platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        memory = float("nan")
    cores = len(os.sched_getaffinity(0))
    return {"processor": processor, "cores": cores, "memory, GB": round(memory)}


def versions():
    packages = ("jax", "jaxlib", "equinox", "blackjax", "numpy")
    found = {"python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in packages}


def called_for(seconds, function):
    """Mean time of a call, of as many as take some seconds together."""
    began, calls, taken = time.perf_counter(), 0, 0.0
    while not calls or taken < seconds:
        function()
        calls += 1
        taken = time.perf_counter() - began
    return taken / calls


def turn(function):
    """Seconds of a call of a function that has been called before."""
    once = called_for(0.0, function)
    if once < WARM:
        called_for(WARM, function)
    return called_for(TURN, function)


def serve(answer):
    """Answer each line of JSON on the standard input by one on the standard output.

    ``answer`` takes what was asked as keywords; an exception is an answer too.
    """
    lines, sys.stdout = sys.stdout, sys.stderr  # what a code prints is no answer
    for line in sys.stdin:
        try:
            found = answer(**json.loads(line))
        except Exception as error:
            text = str(error)
            full = isinstance(error, MemoryError) or "memory" in text.lower()
            found = {"failed": "out of memory" if full else f"{type(error).__name__}: {text}"[:300]}
        print(json.dumps(found), file=lines, flush=True)


class Worker:
    """A script in a process of its own, which answers as `serve` does.

    A path of this package is none of the business of a ``rival``.
    """

    def __init__(self, command, rival=False, memory=np.inf, **environment):
        kept = {k: v for k, v in os.environ.items() if not (rival and k == "PYTHONPATH")}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**kept, **environment},
        )
        assert self.process.stdin
        assert self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.memory = memory

    def ask(self, limit=3600.0, **request):
        """Its answer; a worker that takes too long or too much memory is stopped."""
        end = time.perf_counter() + limit
        try:
            self.requests.write(json.dumps(request) + "\n")
            self.requests.flush()
            while not select.select([self.answers], [], [], 0.5)[0]:
                if time.perf_counter() > end:
                    return self.stop() or {"failed": f"not done in {limit:.0f} s"}
                if self.memory < np.inf and self.resident() > self.memory:
                    return self.stop() or {"failed": f"more than {self.memory / 2**30:.0f} GB"}
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines() or ["no word"]
        return {"failed": f"ended with {self.process.returncode}: {said[-1][:200]}"}

    def resident(self):
        """Bytes of memory that it holds."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.process.kill()
        self.process.wait()


def environment(folder, name, *requirements):
    """The interpreter of an environment with some packages, which is made where there is none."""
    python = folder.absolute() / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
    return str(python)
