"""What a likelihood of a light curve costs: our solvers, spotgp 1.4, celerite2 and tinygp.

    python benchmarks/solvers.py FOLDER [--curves 1000 3000 ...]

The rivals are installed into environments of their own in FOLDER, unless they are there already.
Curves are named by their number of points: Kepler's long cadence (29.4 minutes, a day without data
every month, some hours cut out, and the drift of the barycentre), a million points of TESS's two
minutes, and "even" or "uneven", 1,000 points some 0.1 d apart. Each code runs in a process of its
own, in double precision on the CPU, and they take turns: in every round 0.2 s of calls that are not
timed, and then one that is. Memory is the peak beyond that after the imports, compilation included.
"""

# the rivals live in environments of their own
# pyright: reportMissingImports=false

import argparse
import importlib
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any

import common
import numpy as np

RUNS = 5
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
OURS = ("auto", "exact", "bins")
OSCILLATORS = ("celerite2", "tinygp")
# who can take a curve, in a reasonable time
CURVES = {
    "even": (*OURS, "spotgp 1.4"),
    "uneven": (*OURS, "spotgp 1.4"),
    "1000": (*OURS, "spotgp 1.4"),
    "3000": (*OURS, "spotgp 1.4"),
    "10000": (*OURS, "spotgp 1.4", *OSCILLATORS),
    "100000": (*OURS, *OSCILLATORS),
    "1000000": ("bins",),
}


def times(curve):
    """Days."""
    if curve in ("even", "uneven"):
        t = 0.1 * np.arange(1000)
        apart = np.random.default_rng(1).uniform(-0.04, 0.04, t.size)
        return t if curve == "even" else np.sort(t + apart)
    n = int(curve)
    if n >= 1_000_000:  # two minutes apart, a day without data in each orbit of 13.7 days
        t = np.arange(int(1.2 * n)) / 720.0
        return t[t % 13.7 > 1.0][:n]
    return kepler_times(n)


def kepler_times(n):
    """Days of ``n`` points of Kepler's long cadence."""
    rng = np.random.default_rng(1)
    t = CADENCE * np.arange(int(1.2 * n) + 200)
    keep = (t + 3.0) % 30.4 > 1.0
    for begin in rng.uniform(0.0, t[-1], int(t[-1] / 20.0)):
        keep &= (t < begin) | (t > begin + rng.uniform(0.1, 0.4))
    t = t[keep][:n]
    return t + 0.002 * np.sin(2.0 * np.pi * t / 372.5)


def star(spotgp, sigma_k):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(**SPOT),
        visibility=spotgp.VisibilityFunction(**STAR),
        sigma_k=sigma_k,
    )


def simulated(t, snr=10.0):
    """Flux of many spots, its standard deviation ``snr`` times the error, and sigma_k."""
    import spotgp

    unit = star(spotgp, 1e-2)
    scale = snr * SIGMA / float(np.sqrt(spotgp.AnalyticKernel(unit).kernel(np.zeros(1))[0]))
    model = star(spotgp, 1e-2 * scale)
    coarse = np.arange(t[0] - 1.0, t[-1] + 1.0, CADENCE)  # spots are slow
    light = spotgp.LightcurveModel.from_spot_model(model, nspot_rate=5.0, fspot=0.0, t=coarse)
    flux = np.interp(t, coarse, np.asarray(light.flux))
    return flux + SIGMA * np.random.default_rng(2).normal(size=t.size), 1e-2 * scale


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
        # of the mean that fits best, where ours integrates over it
        spread = float(self.gp.offset_estimates()[1][0, 0])
        best = self.log_likelihood() - 0.5 * float(np.log(2.0 * np.pi * spread))
        error = float(self.gp.likelihood_error())
        return {"solver": repr(self.gp), "stated error": error, "log L at best mean": best}

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
        return {"log L at best fit": self.log_likelihood()}


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def answers(which, path):
    """What a worker does when it is asked."""
    import jax

    if which in OSCILLATORS:
        importlib.import_module("celerite2.jax")
        importlib.import_module("tinygp")
    else:
        importlib.import_module("spotgp")
    jax.block_until_ready(jax.numpy.zeros(1))
    before = memory()
    solver: Any = None

    def answer(what):
        nonlocal solver
        began = time.perf_counter()
        if what == "build":
            with np.load(path) as data:
                data = dict(data)
            solver = (Rotation if which in OSCILLATORS else Spots)(which, data)
            for call in solver.calls.values():
                call()
            found = {"first calls, s": time.perf_counter() - began, "memory, MB": memory() - before}
            return {**found, "log L": solver.log_likelihood()}
        if what in solver.calls:
            once = common.called_for(0.0, solver.calls[what])
            if once < common.WARM:
                common.called_for(common.WARM, solver.calls[what])
            return {"seconds": common.called_for(0.0, solver.calls[what])}
        return {"found": getattr(solver, what)()}

    return answer


def compare(curve, pythons):
    """A row for each code."""
    workers, rows = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "data.npz"))
        maker = common.Worker([sys.executable, __file__, "--data", path], JAX_ENABLE_X64="1")
        about = maker.ask(curve=curve)
        maker.stop()
        for code in CURVES[curve]:
            command = [pythons.get(code, sys.executable), __file__, "--serve", code, path]
            worker = common.Worker(command, code not in OURS, MEMORY, JAX_ENABLE_X64="1")
            name = f"this package, {code}" if code in OURS else code
            rows[code] = {"curve": curve, **about, "code": name}
            rows[code] |= worker.ask(LIMIT, what="build")
            if "failed" in rows[code]:
                worker.stop()
                continue
            workers[code] = worker
            if code != "spotgp 1.4":
                rows[code] |= worker.ask(what="extra").get("found", {})
        runs = {(code, kind): [] for code in workers for kind in ("value", "gradient")}
        for _ in range(RUNS):
            for (code, kind), seconds in runs.items():
                if sum(seconds) < LONGEST:
                    seconds.append(workers[code].ask(what=kind)["seconds"])
        for (code, kind), seconds in runs.items():
            rows[code][f"{kind}, ms"] = 1e3 * float(np.median(seconds))
        if "exact" in workers and "spotgp 1.4" in workers:
            three = workers["exact"].ask(what="with_three_harmonics")["found"]
            rows["spotgp 1.4"]["log L of the same three harmonics"] = three
        for worker in workers.values():
            worker.stop()
    for row in rows.values():
        print(row, flush=True)
    return list(rows.values())


def make_data(path):
    """What the worker that makes the data does."""

    def answer(curve):
        t = times(curve)
        flux, sigma_k = simulated(t)
        np.savez(path, time=t, flux=flux, sigma_k=sigma_k)
        return {"points": t.size, "days": float(np.ptp(t))}

    return answer


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--curves", nargs="*", choices=list(CURVES), default=list(CURVES))
    args = parser.parse_args()
    oscillators = common.environment(args.folder, "oscillators", "celerite2", "tinygp", "scipy")
    pythons = dict.fromkeys(OSCILLATORS, oscillators)
    pythons["spotgp 1.4"] = common.environment(args.folder, "spotgp", "spotgp==1.4.0")
    rows = [row for curve in args.curves for row in compare(curve, pythons)]
    common.record("solvers", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        common.serve(answers(*sys.argv[2:]))
    elif sys.argv[1:2] == ["--data"]:
        common.serve(make_data(sys.argv[2]))
    else:
        main()
