"""This source tree side by side with another commit of it: is anything slower?

    python benchmarks/side_by_side.py --against 017b807 [--cases image gradient] [--repeats 15]
    python benchmarks/side_by_side.py --tree /path/of/another/tree

Each case runs in one process for each tree, and they take turns: in every round 0.2 s of calls that
are not timed, then 50 ms of calls or one that takes longer. First calls and imports take a new
process each time, again in turn. Given are medians in milliseconds, their ratio, the quartiles of
the ratios within a round, and the ratio of the shortest times, which other work on the machine
disturbs least; with ``--one-core`` it disturbs less. The code of the cases is in this file and the
same for both trees, so that it uses only what both have. ``--cases`` takes the beginnings of names,
``--list`` prints them all.

"second process" is the first call in a process that finds its programs in
the cache of `pytreefit.cache_programs`, against a first call of the other tree.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import common
import numpy as np

ROOT = common.HERE.parent
DISK = {
    "semi_major_axis": 40.0, "inclination": 60.0, "position_angle": 30.0, "alpha_in": 5.0,
    "alpha_out": -5.0, "scale_height": 3.0, "eccentricity": 0.1, "argument_of_pericenter": 110.0,
}  # fmt: skip
OF_DISK = (
    *("semi_major_axis", "inclination", "position_angle", "eccentricity", "flux"),
    *("argument_of_pericenter", "radial.alpha_in", "radial.alpha_out", "vertical.scale_height"),
)
STAR = {"peq": 5.0, "kappa": 0.2, "inc": 1.0}
SPOT = {"lspot": 10.0, "tau_spot": 4.0}
ERROR = 1e-3
PRIORS = {
    "peq": (2.0, 20.0), "kappa": (0.0, 0.9), "inc": (0.01, 1.57), "lspot": (2.0, 12.0),
    "tau_spot": (1.0, 5.0), "sigma_k": (1e-4, 0.1),
}  # fmt: skip
KINDS = {  # of images and their gradients
    "": {},
    ", double": {"bits": 64},
    ", PSF": {"psf": True},
    ", PSF, double": {"psf": True, "bits": 64},
    ", PSF, no light from beyond the grid": {"psf": True, "margin": 0},
    ", spline": {"spline": True},
    ", i = 88": {"inclination": 88.0},
    ", i = 88, double": {"inclination": 88.0, "bits": 64},
}
# points, solver and days between them
LIGHT_CURVES = (
    (300, "exact", 0.1),
    (1000, "exact", 0.1),
    (3000, "exact", 0.1),
    (10_000, "auto", 0.0204),
    (100_000, "auto", 0.0204),
)


# --- disks ---


def scene_of(psf=False, spline=False, margin=None, size=140, **changes):
    """A scene of the public names of both trees; only newer ones have a margin around the grid."""
    import grater

    phase = grater.HenyeyGreenstein(0.3)
    if spline:
        phase = grater.SplinePhase.for_inclination(60.0, n=6)
    disk = grater.Disk(**{**DISK, **changes}, phase=phase)
    grid = grater.Grid((size, size), 0.01414 * 140 / size, 72.8)
    optics = grater.ImagePSF(gaussian()) if psf else None
    more = {"margin": margin} if margin is not None and hasattr(grater, "View") else {}
    return grater.Scene(disk, grid=grid, psf=optics, **more)


def gaussian():
    x = np.arange(31) - 15.0
    image = np.exp(-0.5 * (x[:, None] ** 2 + x[None, :] ** 2) / 1.7**2)
    return image / image.sum()


def data_of(scene):
    import grater

    shape = scene.grid.shape
    image = np.random.default_rng(0).normal(1.0, 0.3, shape)
    return grater.Observation(image, np.full(shape, 0.3), pixel_scale=0.01414, distance=72.8)


def image(**options):
    scene = scene_of(**options)
    return lambda: scene.image()


def gradient(**options):
    """Log-likelihood and its derivatives in all numbers of the disk."""
    import jax

    import pytreefit

    scene = scene_of(**options)
    data = data_of(scene)
    phase = "phase.values" if options.get("spline") else "phase.g"
    values = {f"disk.{name}": scene.get(f"disk.{name}") for name in (*OF_DISK, phase)}

    @pytreefit.jit
    def value_and_gradient(values, scene, data):
        return jax.value_and_grad(lambda v: data.log_likelihood(scene.set(v)))(values)

    return lambda: value_and_gradient(values, scene, data)


def quickstart():
    """The posterior of the README's disk."""
    import jax

    import grater
    from pytreefit import Posterior

    truth = grater.Disk(
        semi_major_axis=60.0,
        inclination=70.0,
        position_angle=30.0,
        alpha_in=10.0,
        alpha_out=-6.0,
        scale_height=2.0,
        flux=900.0,
        phase=grater.HenyeyGreenstein(g=0.3),
    )
    grid = grater.Grid(shape=(48, 48), pixel_scale=0.05, distance=70.0)
    scene = grater.Scene(truth, grid=grid, psf=grater.GaussianPSF(fwhm=2.5))
    data = grater.Observation.simulate(scene, error=0.05, key=jax.random.key(1))
    start = scene.set({"disk.inclination": 66.0, "disk.position_angle": 35.0, "disk.phase.g": 0.1})
    priors = {
        "disk.inclination": (40, 88),
        "disk.position_angle": (0, 90),
        "disk.phase.g": (-0.9, 0.9),
        "disk.semi_major_axis": (40, 80),
        "disk.flux": (100, 5000),
    }
    return Posterior(start, data.log_likelihood, priors)


def fit_of_quickstart():
    from pytreefit import fit

    posterior = quickstart()
    return lambda: fit(posterior, progress=False).log_density


# --- light curves ---


def spotted(t, seed=2):
    """The light of many spots that live as ``SPOT`` says, in multiples of its scatter."""
    rng = np.random.default_rng(seed)
    reach = SPOT["lspot"] / 2.0 + SPOT["tau_spot"]
    flux = np.zeros(t.size)
    for middle in rng.uniform(t[0] - reach, t[-1] + reach, int(5.0 * (np.ptp(t) + 2.0 * reach))):
        here = slice(*np.searchsorted(t, [middle - reach, middle + reach]))
        latitude, longitude = np.arcsin(rng.uniform(-1.0, 1.0)), rng.uniform(0.0, 2.0 * np.pi)
        turns = (1.0 - STAR["kappa"] * np.sin(latitude) ** 2) / STAR["peq"]
        angle = longitude + 2.0 * np.pi * turns * t[here]
        mu = np.sin(latitude) * np.cos(STAR["inc"])
        mu = mu + np.cos(latitude) * np.sin(STAR["inc"]) * np.cos(angle)
        size = np.clip((reach - np.abs(t[here] - middle)) / SPOT["tau_spot"], 0.0, 1.0)
        flux[here] -= size**2 * np.maximum(mu, 0.0)
    return (flux - flux.mean()) / flux.std()


def process(points, solver, cadence):
    import spotgp

    t = cadence * np.arange(points)
    noise = np.random.default_rng(1).normal(0.0, ERROR, points)
    model = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(**SPOT),
        visibility=spotgp.VisibilityFunction(**STAR),
        sigma_k=0.01,
    )
    flux = 1.0 + 10.0 * ERROR * spotted(t) + noise
    return spotgp.GPSolver(t, flux, np.full(points, ERROR), model, solver=solver, priors=PRIORS)


def log_posterior(*which):
    gp = process(*which)
    return lambda: gp.log_posterior()


def log_posterior_gradient(*which):
    gp = process(*which)
    return lambda: gp.value_and_grad_log_posterior()


# --- samplers ---


def sampler(posterior):
    """Warm-up and draws, and how many gradients they took."""
    import jax

    from pytreefit import sample

    counted = {}

    def draw():
        short = {"chains": 1, "warmup": 40, "draws": 40, "max_depth": 4, "progress": False}
        found = sample(posterior, jax.random.key(0), **short)
        counted["gradients of the draws"] = int(np.sum(found.leapfrogs))
        return found.log_density

    draw.counted = counted
    return draw


def sampler_of_disk():
    return sampler(quickstart())


def sampler_of_star():
    return sampler(process(150, "exact", 0.2).posterior)


# --- all cases ---

X64 = {"bits": 64}
CASES = {}  # name: (how it is measured, precision, function that makes the function, arguments)
for kind, options in KINDS.items():
    given = {name: value for name, value in options.items() if name != "bits"}
    for maker in (image, gradient):
        CASES[f"{maker.__name__}{kind}"] = "calls", options.get("bits", 32), maker, (), given
for which in LIGHT_CURVES:
    name = f"N = {which[0]:,}, {which[1]}"
    CASES[f"log posterior, {name}"] = "calls", 64, log_posterior, which, {}
    CASES[f"its gradient, {name}"] = "calls", 64, log_posterior_gradient, which, {}
CASES["sampler, disk"] = "calls", 32, sampler_of_disk, (), {}
CASES["sampler, star"] = "calls", 64, sampler_of_star, (), {}
CASES["first image"] = "first", 32, image, (), {}
CASES["first gradient"] = "first", 32, gradient, (), {}
CASES["first fit"] = "first", 32, fit_of_quickstart, (), {}
CASES["first gradient, N = 300"] = "first", 64, log_posterior_gradient, LIGHT_CURVES[0], {}
CASES["first sampler, disk"] = "first", 32, sampler_of_disk, (), {}
CASES["first sampler, star"] = "first", 64, sampler_of_star, (), {}
for package in ("pytreefit", "grater", "spotgp"):
    CASES[f"import {package}"] = "import", 32, None, (package,), {}


def answers(name, cached):
    """What a worker does when it is asked; the first answer says where the packages are."""
    how, _, maker, args, options = CASES[name]
    if how == "import":
        began = time.perf_counter()
        __import__(args[0])
        seconds = time.perf_counter() - began
        where = sys.modules[args[0]].__file__
        return lambda: {"seconds": seconds, "where": where}

    import jax

    import grater  # noqa: F401
    import pytreefit
    import spotgp  # noqa: F401

    jax.block_until_ready(jax.numpy.zeros(1))
    function = None

    def answer():
        nonlocal function
        more = {}
        if function is None:
            if cached:
                pytreefit.cache_programs()
            more["where"] = pytreefit.__file__
            began = time.perf_counter()
            make = maker(*args, **options)
            more["counted"] = getattr(make, "counted", {})
            function = lambda: jax.block_until_ready(make())  # noqa: E731
            function()
            return {"seconds": time.perf_counter() - began, **more}
        return {"seconds": common.turn(function)}

    return answer


# --- measuring ---


class Tree:
    """A source tree, of which workers are started."""

    def __init__(self, path):
        self.path = pathlib.Path(path).absolute()

    def worker(self, name, cache=None):
        command = [sys.executable, __file__, "--serve", name, *(["--cached"] if cache else [])]
        more = {"XDG_CACHE_HOME": str(cache)} if cache else {}
        bits = str(int(CASES[name][1] == 64))
        return common.Worker(command, PYTHONPATH=str(self.path), JAX_ENABLE_X64=bits, **more)

    def first(self, name, keep=False, **options):
        """Seconds of a first call; the worker too, if it is kept."""
        worker = self.worker(name, **options)
        found = worker.ask()
        if "failed" in found:
            worker.stop()
            raise RuntimeError(f"{self.path}: {found['failed']}")
        if not pathlib.Path(found["where"]).is_relative_to(self.path):
            raise RuntimeError(f"{found['where']} is not in {self.path}")
        if keep:
            return found, worker
        worker.stop()
        return found["seconds"]


def row(name, there, here, **more):
    ratios = np.array(here) / np.array(there)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    found = {
        "case": name,
        "there, ms": 1e3 * float(np.median(there)),
        "here, ms": 1e3 * float(np.median(here)),
        "ratio": float(np.median(here) / np.median(there)),
        "ratios in a round": [float(low), float(middle), float(high)],
        "ratio of the shortest": float(min(here) / min(there)),
        "rounds": len(there),
        **more,
    }
    print(
        f"| {name} | {found['there, ms']:.3g} | {found['here, ms']:.3g} | {found['ratio']:.2f} | "
        f"{low:.2f} to {high:.2f} | {found['ratio of the shortest']:.2f} |",
        flush=True,
    )
    return found


def measure_calls(name, there, here, rounds):
    pairs = [tree.first(name, keep=True) for tree in (there, here)]
    times = [[], []]
    counted = [found["counted"] for found, _ in pairs]
    for number in range(rounds):
        # who begins changes from round to round
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(pairs[which][1].ask()["seconds"])
    for _, worker in pairs:
        worker.stop()
    return [row(name, *times, **({"counted": counted} if counted[0] else {}))]


def measure_first(name, there, here, rounds):
    """First calls, and where there is a cache those of a second process."""
    times, cached = {"there": [], "here": [], "second": []}, False
    with tempfile.TemporaryDirectory() as cache:
        if CASES[name][0] == "first":
            try:
                filling = here.first(name, cache=cache)
                cached = True
            except RuntimeError as reason:
                print(f"second process: {reason}", flush=True)
        for _ in range(rounds):
            times["there"].append(there.first(name))
            times["here"].append(here.first(name))
            if cached:
                times["second"].append(here.first(name, cache=cache))
    rows = [row(name, times["there"], times["here"])]
    if cached:
        more = {"fills the cache, ms": 1e3 * filling}
        rows.append(row(f"{name}, second process", times["there"], times["second"], **more))
    return rows


def chosen_cases(beginnings):
    """The cases whose names begin so."""
    for name in beginnings:
        if not any(case.startswith(name) for case in CASES):
            raise SystemExit(f"no case begins with {name!r}; --list names them")
    return [n for n in CASES if not beginnings or any(n.startswith(b) for b in beginnings)]


def compare(there, here, args):
    rows = []
    if args.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print("| case | there, ms | here, ms | ratio | in a round | of the shortest |")
    print("|---|---|---|---|---|---|")
    for name in chosen_cases(args.cases):
        calls = CASES[name][0] == "calls"
        rounds = args.repeats if calls or CASES[name][0] == "import" else args.first_repeats
        try:
            rows += (measure_calls if calls else measure_first)(name, there, here, rounds)
        except (RuntimeError, KeyError) as reason:
            print(f"| {name} | failed: {reason} |", flush=True)
            rows.append({"case": name, "failed": str(reason)})
    slower = [f"{r['case']} ({r['ratio']:.2f})" for r in rows if r.get("ratio", 0.0) > 1.1]
    print(f"more than 10 % slower: {', '.join(slower) or 'nothing'}")
    common.record(args.name, rows, against=common.commit(there.path), one_core=args.one_core)


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--against", help="the other commit, checked out for the time")
    parser.add_argument("--tree", help="the other source tree, if it is checked out already")
    parser.add_argument("--here", default=ROOT, help="this source tree (where the script is)")
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--first-repeats", type=int, default=15, help="of first calls")
    parser.add_argument("--name", default="side_by_side", help="of the file of results")
    parser.add_argument("--one-core", action="store_true", help="for all processes together")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        print("\n".join(CASES))
    elif args.serve:
        common.serve(answers(args.serve, args.cached))
    elif args.tree:
        compare(Tree(args.tree), Tree(args.here), args)
    elif args.against:
        with tempfile.TemporaryDirectory() as folder:
            git = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run([*git, "add", "--detach", folder, args.against], check=True)
            try:
                compare(Tree(folder), Tree(args.here), args)
            finally:
                subprocess.run([*git, "remove", "--force", folder], check=True)
    else:
        parser.error("--against COMMIT or --tree PATH")


if __name__ == "__main__":
    main()
