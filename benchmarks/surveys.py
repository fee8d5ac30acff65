"""Surveys whose processes are killed: nothing lost, nothing twice, the rows of one quiet process.

    python benchmarks/surveys.py stars --number 1000
    python benchmarks/surveys.py disks --number 200

One process does all targets by threads. Then another process starts a dask cluster of two workers
and does the same; one of its workers is killed, later the process itself, in which the scheduler
is, both as by ``kill -9``; and it is started again until everything is done. Light curves are those
of spotted stars in one sector of TESS (27 days, a point in half an hour, fitted at some of them);
images have 64 x 64 pixels. The memory of the workers is that of their processes.
"""

import argparse
import collections
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time as clock
from typing import Any

import common
import jax
import numpy as np
import numpyro.distributions as dist

import grater
import spotgp
from pytreefit import cache_programs, survey

jax.config.update("jax_enable_x64", True)
WORKERS, LIMIT, SIZE = 2, "3GB", 64
RATE = 2.0  # spots a day
STAR = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
    visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.1, inc=1.0),
    sigma_k=3e-3,
)
PRIORS = {
    "peq": dist.LogUniform(1.0, 13.0),
    "kappa": dist.Uniform(0.0, 0.4),
    "inc": spotgp.IsotropicInclination(0.1, np.pi / 2),
    "lspot": dist.LogUniform(2.0, 20.0),
    "tau_spot": dist.LogUniform(0.5, 5.0),
    "sigma_k": dist.LogUniform(5e-4, 5e-2),
}
DISK = grater.Disk(
    20.0, 60.0, 30.0, alpha_in=8.0, alpha_out=-6.0, scale_height=1.0,
    phase=grater.HenyeyGreenstein(0.3), density_normalization="column",
)  # fmt: skip
VIEW = grater.Scene(DISK, grid=grater.Grid((SIZE, SIZE), 1.0, 1.0), psf=grater.GaussianPSF(3.5))


def star(number):
    """The light curve of a star whose parameters are drawn from the priors, spot by spot."""
    rng = np.random.default_rng(number)
    keys = jax.random.split(jax.random.key(number), len(PRIORS))
    true = {n: float(p.sample(key)) for (n, p), key in zip(PRIORS.items(), keys, strict=True)}
    t = np.arange(0.0, 27.0, 0.5 / 24.0)
    t = t[(t < 12.5) | (t > 14.0), None]  # the transfer of the data
    half = 0.5 * true["lspot"] + true["tau_spot"]
    begin, end = -half, 27.0 + half
    spots = rng.poisson(RATE * (end - begin))
    middle, longitude = rng.uniform(begin, end, spots), rng.uniform(0.0, 2.0 * np.pi, spots)
    latitude = rng.uniform(-0.5 * np.pi, 0.5 * np.pi, spots)
    size = np.clip((half - np.abs(t - middle)) / true["tau_spot"], 0.0, 1.0) ** 2
    turn = 2.0 * np.pi / true["peq"] * (1.0 - true["kappa"] * np.sin(latitude) ** 2)
    up, across = np.cos(true["inc"]), np.sin(true["inc"])
    facing = up * np.sin(latitude) + across * np.cos(latitude) * np.cos(turn * t + longitude)
    dark = true["sigma_k"] / np.sqrt(RATE) * np.sum(size * np.maximum(facing, 0.0), axis=1)
    flux = 1.0 - dark + 3e-4 * rng.normal(size=len(t))
    return spotgp.TimeSeriesData(t[:, 0], flux, np.full(len(t), 3e-4)).normalize()


def disk(number):
    """The image of a disk of any orientation, whose brightest pixel has a S/N of 2 to 10."""
    rng = np.random.default_rng(number)
    scene = VIEW.set({
        "disk.semi_major_axis": rng.uniform(12.0, 24.0),
        "disk.inclination": rng.uniform(20.0, 85.0),
        "disk.position_angle": rng.uniform(0.0, 180.0),
    })  # fmt: skip
    scene = scene.set({"disk.flux": rng.uniform(2.0, 10.0) / float(np.max(scene.image()))})
    data = grater.Observation.simulate(scene, 1.0, jax.random.key(number))
    return data.mask_radius(4.0)


def do(args, engine=None):
    """The survey itself."""
    names = [f"{args.half} {number:04d}" for number in range(args.number)]
    make = {"stars": star, "disks": disk}[args.half]
    targets = {name: functools.partial(make, number) for number, name in enumerate(names)}
    options = {"store": args.store, "engine": engine, "progress": False}
    if args.half == "disks":
        return grater.fit_many(targets, VIEW, number=args.starts, correlated=False, **options)
    options |= {"points": args.points, "starts": args.starts}
    return spotgp.fit_many(targets, STAR, priors=PRIORS, **options)


def in_cluster(args):
    """The survey in two workers, whose processes are written to the standard output."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        workers: Any = client.run(os.getpid)
        print(json.dumps(sorted(workers.values())), flush=True)
        do(args, client)


class Watched:
    """A process that does a survey, and what is seen of it."""

    def __init__(self, args, how, store):
        more = ["--points", str(args.points), "--starts", str(args.starts)]
        more += ["--number", str(args.number), "--store", str(store), "--run", how]
        command = [sys.executable, __file__, args.half, *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.store, self.seen, self.began = pathlib.Path(store), [], clock.perf_counter()
        self.workers = json.loads(next(iter(self.process.stdout or ()))) if how == "cluster" else []

    def until(self, number=None):
        """Wait until so many targets are done, or for the end."""
        while self.process.poll() is None:
            done = len(lines(self.store))
            memory = [resident(worker) for worker in self.processes()]
            self.seen.append((clock.perf_counter() - self.began, done, max(memory, default=0.0)))
            if number is not None and done >= number:
                return done
            clock.sleep(2.0)
        if self.process.returncode:
            raise SystemExit(f"the survey ended with {self.process.returncode}")
        return len(lines(self.store))

    def processes(self):
        """Those that work: of a cluster, also workers that took the place of a dead one."""
        if not self.workers:
            return [self.process.pid]
        import psutil

        below = psutil.Process(self.process.pid).children(recursive=True)
        return [process.pid for process in below if process.is_running()]


def lines(store):
    """Every row that was written, the names of targets that were done."""
    found = []
    for path in sorted((pathlib.Path(store) / "rows").glob("*")):
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line)["name"])
            except (ValueError, KeyError):
                continue  # the half of a line
    return found


def resident(pid):
    """Memory of a process in GB."""
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def rate(seen, cores):
    """Targets a minute and core of the second half, when everything is compiled."""
    times, done, _ = np.array(seen).T
    middle = np.searchsorted(done, done[-1] / 2)
    return float((done[-1] - done[middle]) / (times[-1] - times[middle]) * 60.0 / cores)


def memory(seen):
    """The largest process in each fifth of the time, GB."""
    fifths = np.array_split(np.array(seen)[:, 2], 5)
    return [round(float(np.max(part)), 2) for part in fifths]


def disturbed(args, store):
    """Kill a worker, kill the scheduler, and start again."""
    first = Watched(args, "cluster", store)
    first.until(args.number // 4)
    os.kill(first.workers[0], signal.SIGKILL)
    done = first.until(args.number // 2)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    print(f"killed a worker, and at {done} the scheduler", flush=True)
    again = Watched(args, "cluster", store)
    again.until()
    return first, again


def main(args):
    folder = pathlib.Path(args.store or tempfile.mkdtemp())
    quiet = Watched(args, "threads", folder / "quiet")
    quiet.until()
    first, again = disturbed(args, folder / "killed")
    times = collections.Counter(lines(folder / "killed"))
    one, two = (survey.Store(folder / name) for name in ("quiet", "killed"))
    same = [one[name].row == two[name].row for name in one.names if name in two]
    cores = len(os.sched_getaffinity(0))
    row = {
        "targets": f"{args.number} {args.half}",
        "points": args.points if args.half == "stars" else SIZE**2,
        "starts": args.starts,
        "lost": args.number - len(times),
        "twice": sum(count > 1 for count in times.values()),
        "failed": len(one.failed) + len(two.failed),
        "rows that differ": len(same) - sum(same),
        "a minute and core": round(rate(quiet.seen, cores), 1),
        "a minute and worker of dask": round(rate(again.seen, WORKERS), 1),
        "seconds": round(quiet.seen[-1][0]),
        "memory of the largest worker, GB": memory(first.seen + again.seen),
        "memory of the quiet process, GB": memory(quiet.seen),
    }
    print(json.dumps(row, indent=1))
    kept = [r for r in common.recorded("surveys") if not r["targets"].endswith(args.half)]
    common.record("surveys", [*kept, row])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("half", choices=("stars", "disks"))
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100, help="of each star that are fitted")
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--store", help="a folder; else a temporary one")
    parser.add_argument("--run", choices=("threads", "cluster"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    cache_programs()
    if args.run == "cluster":
        in_cluster(args)
    elif args.run == "threads":
        do(args)
    else:
        main(args)
