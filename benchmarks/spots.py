"""Side by side with spotgp 1.4: kernels, likelihoods, gradients and simulations.

    python benchmarks/spots.py /path/to/environment-with-spotgp-1.4/bin/python [ROW ...]

The two packages share an import name, so each runs in a process of its own, one after the other for
every row, in double precision on the CPU. Times are medians in milliseconds of calls that follow a
first one; the first one, compilation included, is in brackets. ROW is "import" or a number from 0;
all rows take half an hour.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

RUNS = 5
LEAPFROGS = 4
STAR = {"peq": 5.0, "kappa": 0.2, "inc": 1.0}
SPOT = {"lspot": 10.0, "tau_spot": 4.0}
# the same for both: they decide how far a solver's band has to reach
BOUNDS = {
    "peq": (2.0, 20.0), "kappa": (0.0, 0.9), "inc": (0.01, 1.57), "lspot": (2.0, 20.0),
    "tau_spot": (1.0, 8.0), "sigma_k": (1e-4, 0.1),
}  # fmt: skip


def timed(function):
    began = time.perf_counter()
    function()
    first = time.perf_counter() - began
    runs = []
    while len(runs) < RUNS and (not runs or sum(runs) < 15.0):
        began = time.perf_counter()
        function()
        runs.append(time.perf_counter() - began)
    return 1e3 * float(np.median(runs)), 1e3 * first


def times(n, even):
    """Half-hourly cadence times a factor, or the same jittered."""
    t = np.arange(n) * 0.1
    jitter = np.random.default_rng(1).uniform(-0.04, 0.04, n)
    return t if even else np.sort(t + jitter)


def solver(ours, n, even, model):
    """The Gaussian process of a simulated light curve."""
    import spotgp

    t = times(n, even)
    rng = np.random.default_rng(2)
    flux = 1.0 + 0.01 * np.sin(t) + rng.normal(0.0, 1e-3, n)
    limits = {"priors" if ours else "bounds": BOUNDS}
    gp = spotgp.GPSolver(t, flux, np.full(n, 1e-3), model, **limits)
    return gp if ours else gp.build_jax() or gp


def rows(ours):
    import jax

    jax.config.update("jax_enable_x64", True)
    import spotgp

    envelope = spotgp.TrapezoidSymmetricEnvelope(**SPOT)
    model = spotgp.SpotEvolutionModel(
        envelope=envelope, visibility=spotgp.VisibilityFunction(**STAR), sigma_k=0.01
    )
    kernel = spotgp.AnalyticKernel(model)
    for n in (300, 2000):
        lag = np.linspace(0.0, 18.0, n)
        yield f"kernel, {n} lags", lambda lag=lag: np.asarray(kernel.kernel(lag))
    for n in (300, 1000, 3000):
        for even in (True, False):
            gp = solver(ours, n, even, model)
            theta = np.array([5.0, 0.2, 1.0, 10.0, 4.0, 0.01])
            name = f"log posterior, N = {n}, {'even' if even else 'uneven'}"
            yield name, lambda gp=gp, theta=theta: np.asarray(gp.log_posterior(theta))
            name = name.replace("log posterior", "gradient")
            yield name, lambda gp=gp, theta=theta: np.asarray(gp.grad_log_posterior(theta))
    import blackjax
    import jax.numpy as jnp

    for n in (300, 1000):
        gp = solver(ours, n, False, model)
        theta = jnp.array([5.0, 0.2, 1.0, 10.0, 4.0, 0.01])
        sampler = blackjax.hmc(gp.log_posterior, 0.1, (0.01 * theta) ** 2, LEAPFROGS)
        step = jax.jit(sampler.step)
        state = jax.jit(sampler.init)(theta)

        def leap(step=step, state=state):
            return np.asarray(step(jax.random.key(0), state)[0].position)

        yield f"{LEAPFROGS} leapfrog steps of BlackJAX, N = {n}, uneven", leap
    for n in (30, 1000):

        def simulate(n=n):
            lc = spotgp.LightcurveModel.from_spot_model(
                spot_model=model, nspot=n, tsim=150, tsamp=0.5
            )
            return np.asarray(lc.flux)

        yield f"simulation, {n} spots x 300 times", simulate


def child(kind, wanted):
    began = time.perf_counter()
    import jax  # noqa: F401

    with_jax = time.perf_counter()
    import spotgp  # noqa: F401

    if wanted == "import":
        print(json.dumps(["import after jax", 1e3 * (time.perf_counter() - with_jax), 0.0]))
        return
    del began
    for k, (name, function) in enumerate(rows(kind == "ours")):
        if k == int(wanted):
            try:
                print(json.dumps([name, *timed(function)]))
            except Exception as error:  # a rival that fails is a row of the table too
                print(json.dumps([name, None, f"{type(error).__name__}: {error}"[:120]]))
            return


def ask(python, kind, wanted):
    # a path set for this package would give the rival this package too
    environment = {k: v for k, v in os.environ.items() if kind == "ours" or k != "PYTHONPATH"}
    run = subprocess.run(
        [python, "-P", __file__, "--child", kind, str(wanted)],
        capture_output=True,
        text=True,
        env=environment,
    )
    lines = run.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("["):
        return ["", None, run.stderr.strip().splitlines()[-1:]]
    return json.loads(lines[-1])


def main(rival, wanted_rows):
    print(f"{'':46s} {'spotgp 1.4':>24s} {'this package':>24s} {'ratio':>8s}")
    for wanted in wanted_rows or ["import", *range(18)]:
        theirs, ours = ask(rival, "theirs", wanted), ask(sys.executable, "ours", wanted)
        text = [
            "failed" if value[1] is None else f"{value[1]:.2f} ({value[2]:.0f})"
            for value in (theirs, ours)
        ]
        good = theirs[1] is not None and ours[1] is not None
        ratio = f"{theirs[1] / ours[1]:.1f}" if good else ""
        print(f"{ours[0]:46s} {text[0]:>24s} {text[1]:>24s} {ratio:>8s}", flush=True)
        if theirs[1] is None:
            print(f"    spotgp 1.4: {theirs[2]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    elif len(sys.argv) >= 2:
        main(sys.argv[1], sys.argv[2:])
    else:
        sys.exit(__doc__)
