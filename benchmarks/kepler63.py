"""The rotation of Kepler-63 from all long-cadence points of the mission.

    python benchmarks/kepler63.py posterior DATA
    python benchmarks/kepler63.py speed DATA

DATA is a NumPy archive with time (days since the first point), flux and flux_err. Quarters have
offsets of their own.

`posterior` draws by NUTS from the Gaussian at a maximum of the likelihood of all points in bins of
polynomials, weights the draws by that likelihood, does so twice more with the Gaussian of the
weighted draws, and corrects draws of these weights by the exact likelihood. The maximum is the
highest of five that searches of all points found, from spots of 19 to 44 days; the priors of the
life times hold that one only. `speed` compares the exact likelihood with that in bins over a box of
three standard deviations of the posterior.

For comparison: a period of 5.401 +- 0.014 d and an inclination of 138 (or 42) degrees were
published (Sanchis-Ojeda et al. 2013, ApJ 775, 54).
"""

import argparse
import json
import resource
import time
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import common  # noqa: E402
import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import pytreefit  # noqa: E402
import spotgp  # noqa: E402

# days of the gaps between the quarters, in the file's time
QUARTERS = (
    10.0, 44.7, 138.2, 229.3, 322.0, 417.9, 509.1, 599.3, 682.1, 785.7, 880.0, 978.1, 1061.8,
    1152.8, 1251.1, 1351.1, 1437.7,
)  # fmt: skip
START = {
    "peq": 5.30142, "kappa": 0.100497, "inc": 1.10331, "lspot": 39.1433, "tau_spot": 3.23063,
    "sigma_k": 4.23237e-3, "jitter": 4.61673e-5,
}  # fmt: skip
PRIORS = {
    "peq": (4.8, 6.2),
    "kappa": (0.0, 0.5),
    "inc": spotgp.IsotropicInclination(),
    "lspot": (38.6, 39.8),
    "tau_spot": (1.0, 5.0),
    "sigma_k": (5e-4, 0.05),
    "jitter": (2e-5, 1e-4),
}
JITTERS = (1e-4, 3e-4)


class Gaussian(eqx.Module):
    """A Gaussian, as a likelihood of the free parameters."""

    names: tuple[str, ...] = eqx.field(static=True)
    centre: Any
    precision: Any

    def log_likelihood(self, model):
        away = jnp.stack([model.get(name) for name in self.names]) - self.centre
        return -0.5 * away @ self.precision @ away


def read(path):
    """All points, each quarter divided by its median."""
    columns = np.load(path)
    t, flux, error = (columns[name].astype(float) for name in ("time", "flux", "flux_err"))
    good = np.isfinite(t + flux + error)
    t, flux, error = (column[good][np.argsort(t[good])] for column in (t, flux, error))
    segment = np.searchsorted(QUARTERS, t)
    return spotgp.TimeSeriesData(t, flux, error, segment=segment, name="Kepler-63").normalize()


def process(data, values, solver, priors=PRIORS, **options):
    """The Gaussian process of the star at some values."""
    model = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(values["lspot"], values["tau_spot"]),
        visibility=spotgp.VisibilityFunction(values["peq"], values["kappa"], values["inc"]),
        sigma_k=values["sigma_k"],
    )
    gp = spotgp.GPSolver.from_data(
        data, model, solver=solver, jitter=values["jitter"], priors=priors, **options
    )
    print(gp, flush=True)
    return gp


def posterior(args):
    """Draws of the posterior, corrected by the exact likelihood."""
    began, spent = time.process_time(), {}

    def done(what):
        spent[what] = time.process_time() - began - sum(spent.values())
        print(f"{what}: {spent[what]:.0f} s", flush=True)

    data = read(args.data)
    whole = process(data, START, "bins", tolerance=args.tolerance)
    gaussian = pytreefit.laplace(whole.posterior, whole.values(), method="differences")
    print(gaussian.summary(), flush=True)
    done("curvature")
    names, covariance = gaussian.names, gaussian.covariance
    centre = jnp.stack([gaussian.values[name] for name in names])
    for number in (args.draws // 4, args.draws // 2, args.draws):
        # a little wider than the posterior may be
        wide = Gaussian(names, centre, jnp.linalg.inv(args.wider * covariance))
        cheap = pytreefit.Posterior(gaussian.model, wide.log_likelihood, whole.posterior.priors)
        start = pytreefit.laplace(cheap, dict(zip(names, centre, strict=True)))
        key = jax.random.key(number)
        samples = pytreefit.sample(cheap, key, start=start, draws=1000, progress=False)
        worst = max(float(np.max(value)) for value in samples.rhat.values())
        print(f"R-hat at most {worst:.4f}, {samples.divergences} divergences", flush=True)
        weighted = samples.corrected(whole.posterior, number, progress=False)
        print(weighted, flush=True)
        stack = np.stack([weighted.samples.draws[name].ravel() for name in names])
        weights = weighted.weights.ravel()
        centre = jnp.asarray(stack @ weights)
        covariance = jnp.asarray(np.cov(stack, aweights=weights))
        done(f"{number} draws")
    exact = process(data, START, "exact")
    chosen = weighted.resample(jax.random.key(1), args.exact)
    corrected = chosen.corrected(exact.posterior, progress=False)
    print(corrected)
    done(f"{corrected.weights.size} exact values")
    approximate = corrected.samples.log_density - corrected.samples.log_volume
    apart = corrected.log_density - np.asarray(approximate)
    last = {n: jnp.ravel(x) for n, x in corrected.resample(jax.random.key(2)).draws.items()}
    period = jax.vmap(lambda v: exact.process_at(v).model.effective_period())(last)
    degrees = np.degrees(np.asarray(last["model.visibility.inc"]))
    rows = [
        {
            "parameter": name.rpartition(".")[2],
            "mean": float(mean),
            "standard deviation": float(std),
        }
        for (name, mean), std in zip(corrected.mean.items(), corrected.std.values(), strict=True)
    ]
    for name, unit, draws in (("effective period", "d", period), ("inclination", "deg", degrees)):
        row = {"parameter": name, "unit": unit}
        rows.append({**row, "mean": float(draws.mean()), "standard deviation": float(draws.std())})
    return rows, {
        "points": int(data.time.size),
        "CPU seconds": spent,
        "exact values": int(corrected.weights.size),
        "stated error of bins": float(whole.likelihood_error()),
        "largest R-hat": worst,
        "divergences": int(samples.divergences),
        "draws in bins": [float(weighted.weight_ess), float(weighted.pareto_k)],
        "exact less bins, mean and std": [float(apart.mean()), float(apart.std())],
        "effective draws": float(corrected.weight_ess),
        "effective draws, repetitions left out": min(
            float(np.min(value)) for value in corrected.ess.values()
        ),
        "pareto k": float(corrected.pareto_k),
    }


def box(found, jitter, points):
    """Values in the middle of a box of three standard deviations, in its corners and inside."""
    rng = np.random.default_rng(0)
    rows = [row for row in found if row["parameter"] in START]
    centre = {**{row["parameter"]: row["mean"] for row in rows}, "jitter": jitter}
    std = {row["parameter"]: row["standard deviation"] for row in rows}
    yield centre
    for number in range(points - 1):
        away = rng.uniform(-3.0, 3.0, len(std))
        away = 3.0 * np.sign(away) if number % 2 else away
        yield {n: centre[n] + a * std[n] for n, a in zip(std, away, strict=True)}


def timed(function, *args):
    began = time.perf_counter()
    value = jax.block_until_ready(function(*args))
    return time.perf_counter() - began, value


def speed(args):
    """Times of the exact likelihood and that in bins, and how far their differences are apart."""
    data, rows = read(args.data), []
    found = common.recorded("kepler63_posterior")
    for jitter in JITTERS:
        priors = {**PRIORS, "jitter": (2e-5, 2.0 * jitter)}
        sets = list(box(found, jitter, args.points))
        reference = None
        for tolerance in (None, *args.tolerances):
            options = {"solver": "exact"} if tolerance is None else {"solver": "bins"}
            options |= {} if tolerance is None else {"tolerance": tolerance}
            gp = process(data, sets[0], priors=priors, **options)
            timed(gp.log_posterior)  # compiles
            times, values = zip(*(timed(gp.log_posterior, theta) for theta in sets), strict=True)
            timed(gp.value_and_grad_log_posterior)
            gradients = [timed(gp.value_and_grad_log_posterior)[0] for _ in range(2)]
            values = np.array(values) - values[0]
            reference = values if tolerance is None else reference
            rows.append(
                {
                    "jitter": jitter,
                    "tolerance": tolerance,
                    "value, s": float(np.median(times)),
                    "value and gradient, s": min(gradients),
                    "changes of log L": [float(v) for v in values],
                    "range of errors": float(np.ptp(values - reference)),
                    "peak memory so far, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                    / 1e6,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows, {}


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(required=True)
    draw = commands.add_parser("posterior")
    draw.set_defaults(run=posterior)
    draw.add_argument("data")
    draw.add_argument("--tolerance", type=float, default=10.0)
    draw.add_argument("--draws", type=int, default=320, help="likelihoods in bins")
    draw.add_argument("--exact", type=int, default=100, help="exact likelihoods")
    draw.add_argument("--wider", type=float, default=1.2, help="factor of the covariance")
    compare = commands.add_parser("speed")
    compare.set_defaults(run=speed)
    compare.add_argument("data")
    compare.add_argument("--tolerances", type=float, nargs="+", default=[1.4, 4.0])
    compare.add_argument("--points", type=int, default=7)
    args = parser.parse_args()
    rows, more = args.run(args)
    common.record(f"kepler63_{args.run.__name__}", rows, **more)


if __name__ == "__main__":
    main()
