"""What a likelihood of a long light curve costs: our solvers, spotgp 1.4, celerite2 and tinygp.

    python benchmarks/solvers.py PYTHON-OF-SPOTGP-1.4 PYTHON-OF-CELERITE2 [ROW ...]
    python benchmarks/solvers.py long
    python benchmarks/solvers.py map FILE.json [SOLVER ...]
    python benchmarks/solvers.py plot FILE.json PICTURE.svg

A ROW is a number of points: 1000, 3000, 10000 or 100000 (all of them by default). The times are
those of Kepler's long cadence: 29.4 minutes, a day without data every month, some hours cut out,
and the drift of the barycentre. Each code runs in a process of its own, in double precision on the
CPU, and they take turns: in every round 0.2 s of calls that are not timed, and one that is. Given
are medians in milliseconds, and the peak memory beyond that after the imports, compilation
included. Of spotgp 1.4, celerite2 and tinygp nothing is installed here: both environments are the
reader's, the second one holds celerite2, tinygp and scipy.

"long" times solver="local" for up to a million points, TESS's cadence of two minutes included.
"map" times our solvers over the number of points, the time span and the signal to noise, all or
those that are named, of which it renews the rows in the file; "plot" draws what it found.
"""

import importlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

RUNS = 5
WARM = 0.2  # seconds of calls before the one that is timed
LONGEST = 60.0  # seconds after which a code makes no further runs of a kind
LIMIT = 600.0  # seconds until the first value and gradient, compilation included
MEMORY = 12 << 30  # bytes that a process may take
CADENCE = 29.4244 / 1440.0
SIGMA = 1e-3
STAR = {"peq": 5.0, "kappa": 0.2, "inc": 1.0}
SPOT = {"lspot": 10.0, "tau_spot": 4.0}
# the same for spotgp 1.4 and this package: they decide how far a solver's band has to reach
BOUNDS = {
    "peq": (2.0, 20.0), "kappa": (0.0, 0.9), "inc": (0.01, 1.57), "lspot": (2.0, 12.0),
    "tau_spot": (1.0, 5.0), "sigma_k": (1e-4, 0.1),
}  # fmt: skip
OURS = ("auto", "exact", "local", "fourier")


def kepler_times(n):
    """Days of ``n`` points of Kepler's long cadence."""
    rng = np.random.default_rng(1)
    t = CADENCE * np.arange(int(1.2 * n) + 200)
    keep = (t + 3.0) % 30.4 > 1.0
    for begin in rng.uniform(0.0, t[-1], int(t[-1] / 20.0)):
        keep &= (t < begin) | (t > begin + rng.uniform(0.1, 0.4))
    t = t[keep][:n]
    return t + 0.002 * np.sin(2.0 * np.pi * t / 372.5)


def star(spotgp, sigma_k, envelope=None, **changes):
    return spotgp.SpotEvolutionModel(
        envelope=envelope or spotgp.TrapezoidSymmetricEnvelope(**SPOT),
        visibility=spotgp.VisibilityFunction(**{**STAR, **changes}),
        sigma_k=sigma_k,
    )


def simulated(t, snr=10.0):
    """Flux of many spots, its standard deviation ``snr`` times the error, and sigma_k."""
    import spotgp

    unit = star(spotgp, 1e-2)
    scale = snr * SIGMA / float(np.sqrt(spotgp.AnalyticKernel(unit).kernel(np.zeros(1))[0]))
    model = star(spotgp, 1e-2 * scale)
    flux = spotgp.LightcurveModel.from_spot_model(model, nspot_rate=5.0, fspot=0.0, t=t).flux
    noise = SIGMA * np.random.default_rng(2).normal(size=t.size)
    return np.asarray(flux) + noise, 1e-2 * scale


class Spots:
    """This package or spotgp 1.4; the latter has its banded solver and its own mean."""

    def __init__(self, which, data):
        import spotgp

        self.data, self.spotgp = data, spotgp
        self.model = star(spotgp, float(data["sigma_k"]))
        arrays = data["time"], data["flux"], np.full(data["time"].size, SIGMA)
        if which == "spotgp 1.4":
            self.gp = spotgp.GPSolver(*arrays, self.model, bounds=BOUNDS)
            self.gp.build_jax()
            start = {**STAR, **SPOT, "sigma_k": float(data["sigma_k"])}
            theta = np.array([start[key] for key in self.gp.param_keys])
            self.log_likelihood = lambda: float(self.gp.log_likelihood())
            self.calls = {
                "value": lambda: np.asarray(self.gp.log_posterior(theta)),
                "gradient": lambda: np.asarray(self.gp.grad_log_posterior(theta)),
            }
        else:
            self.gp = spotgp.GPSolver(*arrays, self.model, solver=which, priors=BOUNDS)
            self.log_likelihood = lambda: float(self.gp.log_likelihood())
            self.calls = {
                "value": lambda: np.asarray(self.gp.log_posterior()),
                "gradient": lambda: np.asarray(self.gp.value_and_grad_log_posterior()[1]),
            }

    def extra(self):
        """The solver, its stated error, and what the rivals' likelihoods are compared with."""
        if not hasattr(self.gp, "likelihood_error"):
            return {}
        found = {"what": repr(self.gp).split(" points, ")[1].split(", free")[0]}
        found["stated"] = float(self.gp.likelihood_error())
        # of the mean that fits best, where ours integrates over it
        spread = float(self.gp.offset_estimates()[1][0, 0])
        found["at best mean"] = self.log_likelihood() - 0.5 * float(np.log(2.0 * np.pi * spread))
        return found

    def with_three_harmonics(self):
        """Exact log-likelihood of the model of spotgp 1.4."""
        kernel = self.spotgp.AnalyticKernel(self.model, orders=(0, 1, 2))
        arrays = self.data["time"], self.data["flux"], SIGMA
        mean = float(np.mean(self.data["flux"]))
        gp = self.spotgp.GPSolver(*arrays, kernel, solver="exact", mean=mean, priors=BOUNDS)
        return float(gp.log_likelihood())


class Rotation:
    """celerite2's RotationTerm, or the same two oscillators in tinygp, with a mean."""

    def __init__(self, which, data):
        import jax
        import jax.numpy as jnp

        t, flux = jnp.asarray(data["time"]), jnp.asarray(data["flux"])

        def celerite(p):
            module = importlib.import_module("celerite2.jax")
            sigma, period, q0, dq, f = (jnp.exp(x) for x in p[:5])
            kernel = module.terms.RotationTerm(sigma=sigma, period=period, Q0=q0, dQ=dq, f=f)
            gp = module.GaussianProcess(kernel, mean=p[5])
            gp.compute(t, diag=jnp.full(t.size, SIGMA**2), check_sorted=False)
            return gp.log_likelihood(flux)

        def tiny(p):
            import tinygp

            sigma, period, q0, dq, f = (jnp.exp(x) for x in p[:5])
            q1, q2 = 0.5 + q0 + dq, 0.5 + q0
            first = 4.0 * np.pi * q1 / (period * jnp.sqrt(4.0 * q1**2 - 1.0))
            second = 8.0 * np.pi * q2 / (period * jnp.sqrt(4.0 * q2**2 - 1.0))
            oscillator = tinygp.kernels.quasisep.SHO
            kernel = oscillator(first, q1, sigma / jnp.sqrt(1.0 + f))
            kernel = kernel + oscillator(second, q2, sigma * jnp.sqrt(f / (1.0 + f)))
            gp = tinygp.GaussianProcess(kernel, t, diag=SIGMA**2, mean=p[5], assume_sorted=True)
            return gp.log_probability(flux)

        function = celerite if which == "celerite2" else tiny
        value, both = jax.jit(function), jax.jit(jax.value_and_grad(function))
        self.both = both
        scatter = float(np.std(data["flux"]))
        self.start = np.array([np.log(scatter), np.log(STAR["peq"]), 0.0, 0.0, -1.0, 1.0])
        self.best = self.start
        self.calls = {
            "value": lambda: np.asarray(value(jnp.asarray(self.best))),
            "gradient": lambda: np.asarray(both(jnp.asarray(self.best))[1]),
        }
        self.log_likelihood = lambda: float(value(jnp.asarray(self.best)))

    def extra(self):
        """Fit all six parameters; the calls that follow are at the best ones."""
        import jax.numpy as jnp
        from scipy.optimize import minimize

        def function(p):
            value, gradient = self.both(jnp.asarray(p))
            value, gradient = -float(value), -np.asarray(gradient)
            good = np.isfinite(value) and np.all(np.isfinite(gradient))
            return (value, gradient) if good else (1e30, np.zeros(6))

        limits = [(-12, 2), (0, 3), (-5, 8), (-5, 8), (-8, 3), (0, 2)]
        found = [
            minimize(function, self.start + np.array(s), jac=True, bounds=limits)
            for s in ([0.0] * 6, [0, 0, 2, 1, 0, 0], [0, 0, -1, 3, 1, 0])
        ]
        self.best = min(found, key=lambda result: result.fun).x
        return {"fitted": self.log_likelihood()}


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def child(which, path):
    """Answer each line on the standard input by one line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print goes elsewhere
    import jax

    jax.config.update("jax_enable_x64", True)
    if which in ("celerite2", "tinygp"):
        importlib.import_module("celerite2.jax")
        importlib.import_module("tinygp")
    else:
        importlib.import_module("spotgp")
    jax.block_until_ready(jax.numpy.zeros(1))
    before = memory()
    solver: Any = None
    for line in sys.stdin:
        wanted, began = line.strip(), time.perf_counter()
        try:
            if wanted == "build":
                with np.load(path) as data:
                    data = dict(data)
                solver = (Rotation if which in ("celerite2", "tinygp") else Spots)(which, data)
                for call in solver.calls.values():
                    call()
                answer = {"first": time.perf_counter() - began, "memory": memory() - before}
                answer["log_likelihood"] = solver.log_likelihood()
            elif wanted in ("value", "gradient"):
                solver.calls[wanted]()
                # after the others' turns the caches are theirs
                while time.perf_counter() - began < WARM:
                    solver.calls[wanted]()
                began = time.perf_counter()
                solver.calls[wanted]()
                answer = {"seconds": time.perf_counter() - began}
            else:
                answer = {"found": getattr(solver, wanted)()}
        except Exception as error:  # a code that fails is a row of the table too
            text = str(error)
            short = isinstance(error, MemoryError) or "memory" in text.lower()
            answer = {"failed": "out of memory" if short else f"{type(error).__name__}: {text}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def resident(pid):
    """Bytes of memory that a process holds."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Player:
    """A code in a process of its own."""

    def __init__(self, name, python, which, path):
        # a path set for this package would give the rivals this package too
        environment = {k: v for k, v in os.environ.items() if which in OURS or k != "PYTHONPATH"}
        command = [python, "-P", __file__, "--child", which, path]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.name, self.which, self.failed = name, which, ""
        self.times = {"value": [], "gradient": []}
        self.found: dict[str, Any] = {}

    def ask(self, what, limit=LIMIT) -> Any:
        """Its answer, or None where it failed or took too long."""
        if self.failed:
            return None
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer, end = {"failed": f"not done in {limit:.0f} s"}, time.perf_counter() + limit
        while time.perf_counter() < end:
            if select.select([self.process.stdout], [], [], 0.5)[0]:
                line = self.process.stdout.readline()
                answer = json.loads(line) if line else {"failed": "ended"}
                break
            if resident(self.process.pid) > MEMORY:
                answer = {"failed": f"more than {MEMORY >> 30} GB"}
                break
        if "failed" in answer:
            self.failed = answer["failed"][:60]
            self.close()
            return None
        return answer

    def run(self, kind):
        """One timed call, unless there were enough."""
        if sum(self.times[kind]) < LONGEST and (answer := self.ask(kind)):
            self.times[kind].append(answer["seconds"])

    def close(self):
        self.process.kill()
        self.process.wait()


def compare(n, rivals):
    """The table for one number of points."""
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "data.npz")
    subprocess.run([sys.executable, __file__, "--data", str(n), path], check=True)
    contestants = [(f"this package, {which}", sys.executable, which) for which in OURS]
    if n <= 10_000:
        contestants.append(("spotgp 1.4", rivals[0], "spotgp 1.4"))
    if n >= 10_000:
        contestants += [(name, rivals[1], name) for name in ("celerite2", "tinygp")]
    players = [Player(*contestant, path) for contestant in contestants]
    try:
        for player in players:
            player.found = player.ask("build") or {}
            if not player.failed and not player.which.startswith("spotgp"):
                player.found.update((player.ask("extra") or {}).get("found", {}))
        for _ in range(RUNS):
            for player in players:
                player.run("value")
                player.run("gradient")
        exact = next(player for player in players if player.which == "exact")
        reference = exact.found.get("log_likelihood", np.nan)
        best = exact.found.get("at best mean", np.nan)
        three = np.nan
        if n <= 10_000:
            three = (exact.ask("with_three_harmonics") or {}).get("found", np.nan)
        with np.load(path) as data:
            print(f"\nN = {n}, {np.ptp(data['time']):.0f} days")
        print(
            "| code | value, ms | gradient, ms | first calls, s | memory, MB | log L - exact "
            "| stated error |\n|---|---|---|---|---|---|---|"
        )
        for player in players:
            print(row(player, reference, three, best), flush=True)
    finally:
        for player in players:
            player.close()
        folder.cleanup()


def row(player, reference, three, at_best_mean):
    """A row of the table in Markdown."""
    name, found = player.name, player.found
    if "what" in found:
        name += f" ({found['what']})"
    if not player.times["gradient"]:
        return f"| {name} | {player.failed} | | | | | |"
    cells = [f"{1e3 * float(np.median(player.times[k])):.1f}" for k in ("value", "gradient")]
    cells += [f"{found['first']:.1f}", f"{found['memory']:.0f}"]
    if "fitted" in found:
        cells.append(f"{found['fitted'] - at_best_mean:+.1f}, best fit")
    else:
        base = three if player.which == "spotgp 1.4" else reference
        cells.append(f"{found['log_likelihood'] - base:+.2g}")
    cells.append(f"{found['stated']:.2g}" if "stated" in found else "")
    return f"| {name} | " + " | ".join(cells) + " |"


# Which solver wins where: points, days, signal to noise per point
CURVES = [(n, 90, 10) for n in (300, 1000, 3000, 10_000, 100_000, 1_000_000)]
CURVES += [(10_000, days, 10) for days in (30, 300, 700, 1500)]
CURVES += [(n, 90, snr) for snr in (1, 100) for n in (1000, 10_000, 100_000)]
CURVES += [(10_000, days, snr) for snr in (1, 100) for days in (30, 700)]
MAPPED = ("exact", "local", "fourier", "quasiseparable")


def interpolated(t, snr=10.0):
    """As `simulated`, the spots' light interpolated: for many times that are close together."""
    coarse = np.arange(t[0] - 1.0, t[-1] + 1.0, 0.05)
    flux, sigma_k = simulated(coarse, snr)
    flux = flux - SIGMA * np.random.default_rng(2).normal(size=coarse.size)
    noise = SIGMA * np.random.default_rng(4).normal(size=t.size)
    return np.interp(t, coarse, flux) + noise, sigma_k


def tess_times(n):
    """Days of ``n`` points every two minutes, a day without data in each orbit of 13.7 days."""
    t = np.arange(int(1.2 * n)) / 720.0
    return t[t % 13.7 > 1.0][:n]


# points, times, runs
LONG = ((10_000, kepler_times, 7), (100_000, tess_times, 7), (1_000_000, tess_times, 3))


def time_long():
    """A table of value and gradient by polynomials in bins."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import spotgp

    print("| points | time span, d | value, ms | gradient, ms | stated error | bins |")
    print("|---|---|---|---|---|---|")
    for n, times, runs in LONG:
        t = times(n)
        flux, sigma_k = interpolated(t)
        model = star(spotgp, sigma_k)
        gp = spotgp.GPSolver(t, flux, SIGMA, model, solver="local", priors=BOUNDS)
        cells = [f"{n:,}", f"{np.ptp(t):,.0f}"]
        for call in (gp.log_posterior, gp.value_and_grad_log_posterior):
            jax.block_until_ready(call())
            seconds = []
            for _ in range(runs):
                began = time.perf_counter()
                jax.block_until_ready(call())
                seconds.append(time.perf_counter() - began)
            cells.append(f"{1e3 * float(np.median(seconds)):,.0f}")
        what = repr(gp).split(" points, ")[1].split(", free")[0]
        cells += [f"{float(gp.likelihood_error()):.2g}", what]
        print(f"| {' | '.join(cells)} |", flush=True)
        jax.clear_caches()


def mapped(n, days, snr, solver):
    """Seconds of a value and its gradient, and the stated error."""
    import jax

    import spotgp
    from spotgp.solvers import cost, lay_out

    rng = np.random.default_rng(3)
    t = np.linspace(0.0, days, n) + rng.uniform(-0.3, 0.3, n) * days / n
    flux, sigma_k = interpolated(t, snr)
    bounds = dict(BOUNDS, sigma_k=(1e-5, 3.0))
    model = star(spotgp, sigma_k)
    if solver == "quasiseparable":
        # without shear, with spots that live as long
        envelope = spotgp.ExponentialEnvelope(tau_spot=6.0)
        unit = star(spotgp, 1.0, envelope, kappa=0.0)
        at_zero = float(spotgp.AnalyticKernel(unit).kernel(np.zeros(1))[0])
        model = star(spotgp, snr * SIGMA / at_zero**0.5, envelope, kappa=0.0)
        bounds = {"peq": BOUNDS["peq"], "tau_spot": (1.0, 12.0), "sigma_k": (1e-5, 3.0)}
    if solver == "exact" and cost(lay_out(t, 36.0)) > 2e13:
        return {"refused": "too long for one core"}
    try:
        gp = spotgp.GPSolver(t, flux, SIGMA, model, solver=solver, priors=bounds)
    except ValueError as reason:
        return {"refused": str(reason)[:150]}
    if gp.light_curve.modes > 2500:
        return {"refused": f"{2 * gp.light_curve.modes} modes are too many for this map"}
    began, runs = time.perf_counter(), []
    jax.block_until_ready(gp.value_and_grad_log_posterior())
    first = time.perf_counter() - began
    while len(runs) < RUNS and sum(runs) < 5.0:
        began = time.perf_counter()
        jax.block_until_ready(gp.value_and_grad_log_posterior())
        runs.append(time.perf_counter() - began)
    what = repr(gp).split(" points, ")[1].split(", free")[0]
    stated = float(gp.likelihood_error())
    return {"seconds": float(np.median(runs)), "first": first, "stated": stated, "what": what}


def make_map(path, solvers):
    """Time all curves, one after the other, into a file."""
    import jax

    jax.config.update("jax_enable_x64", True)
    rows = []
    if os.path.exists(path):
        with open(path) as file:
            rows = [row for row in json.load(file) if row["solver"] not in solvers]
    for n, days, snr in CURVES:
        for solver in solvers:
            if solver == "exact" and snr != 10:
                continue  # it costs the same
            found = mapped(n, days, snr, solver)
            rows.append({"points": n, "days": days, "snr": snr, "solver": solver, **found})
            print(rows[-1], flush=True)
            with open(path, "w") as file:
                json.dump(rows, file, indent=0)
            jax.clear_caches()


def plot(path, picture):
    """Cost against the number of points and the time span."""
    import matplotlib.pyplot as plt

    with open(path) as file:
        rows = [row for row in json.load(file) if "seconds" in row]
    plt.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")
    styles = {1: ":", 10: "-", 100: "--"}
    marks = dict(zip(MAPPED, "os^D", strict=True))
    for axis, fixed, along in zip(axes, ("days", "points"), ("points", "days"), strict=True):
        value = {"days": 90, "points": 10_000}[fixed]
        for k, solver in enumerate(MAPPED):
            for snr, style in styles.items():
                line = [
                    row
                    for row in rows
                    if row["solver"] == solver and row["snr"] == snr and row[fixed] == value
                ]
                line.sort(key=lambda row: row[along])
                if not line:
                    continue
                axis.plot(
                    [row[along] for row in line],
                    [row["seconds"] for row in line],
                    style,
                    color=f"C{k}",
                    marker=marks[solver],
                    markersize=4,
                    label=solver if snr == 10 else None,
                )
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    axes[0].set(xlabel="points in 90 days", ylabel="value and gradient, s")
    axes[1].set(xlabel="days that hold 10,000 points")
    for snr, style in styles.items():
        if any(row["snr"] == snr for row in rows):
            axes[1].plot([], [], style, color="0.4", label=f"signal to noise {snr}")
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(picture, dpi=110)


def main(arguments):
    if arguments[:1] == ["--child"]:
        child(*arguments[1:])
    elif arguments[:1] == ["--data"]:
        import jax

        jax.config.update("jax_enable_x64", True)
        t = kepler_times(int(arguments[1]))
        flux, sigma_k = simulated(t)
        np.savez(arguments[2], time=t, flux=flux, sigma_k=sigma_k)
    elif arguments == ["long"]:
        time_long()
    elif arguments[:1] == ["map"] and len(arguments) >= 2 and {*arguments[2:]} <= {*MAPPED}:
        make_map(arguments[1], arguments[2:] or MAPPED)
    elif arguments[:1] == ["plot"] and len(arguments) == 3:
        plot(*arguments[1:])
    elif len(arguments) >= 2:
        for n in arguments[2:] or ["1000", "3000", "10000", "100000"]:
            compare(int(n), arguments[:2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
