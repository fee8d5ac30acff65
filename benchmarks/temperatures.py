"""Temperatures of spots from two bands, and from one alone, on simulated stars.

    python benchmarks/temperatures.py [--stars 20]

Many small spots of one temperature, simulated one by one, are seen in the bands B and I: 100 points
in each in 60 days, errors of 500 ppm. The star, its spots and their temperature are drawn from the
priors. All of them are fitted to both bands and to B alone, and sampled by the mixture.
"""

import argparse
import warnings

import common
import jax
import numpy as np
import numpyro.distributions as dist

import spotgp
from pytreefit import cache_programs, fit, sample

jax.config.update("jax_enable_x64", True)
cache_programs()
POINTS, SPAN, ERROR, RATE, T_PHOT = 100, 60.0, 5e-4, 10.0, 5800.0
STAR = {
    "peq": dist.LogUniform(3.0, 8.0),
    "kappa": dist.Uniform(0.0, 0.4),
    "inc": spotgp.IsotropicInclination(0.3, np.pi / 2),
    "lspot": dist.LogUniform(4.0, 12.0),
    "tau_spot": dist.LogUniform(1.5, 4.0),
    "sigma_k": dist.LogUniform(5e-3, 3e-2),  # of black spots
}
T_SPOT = dist.Uniform(3000.0, 5600.0)


def star(values, **amplitude):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(values["lspot"], values["tau_spot"]),
        visibility=spotgp.VisibilityFunction(values["peq"], values["kappa"], values["inc"]),
        **amplitude,
    )


def bands(t_spot, names):
    return {name: spotgp.TemperatureBand(t_spot, T_PHOT, name) for name in names}


def measured(seed):
    """The temperature of a star's spots as found in both bands, and in one."""
    rng = np.random.default_rng(seed)
    key, *keys = jax.random.split(jax.random.key(seed), len(STAR) + 2)
    priors = {**STAR, "t_spot": T_SPOT}
    each = zip(priors.items(), keys, strict=True)
    truth = {name: float(prior.sample(key)) for (name, prior), key in each}
    size = (truth["sigma_k"] / RATE**0.5) ** 0.5
    spotted = star(truth, nspot_rate=RATE, fspot=0.0, alpha_max=size)
    times = {name: np.sort(rng.uniform(0.0, SPAN, POINTS)) for name in "BI"}
    every = np.concatenate(list(times.values()))
    seen = spotgp.simulate_channels(spotted, key, every, bands(truth["t_spot"], "BI"))
    data = {}
    for name, part in (("B", slice(0, POINTS)), ("I", slice(POINTS, None))):
        flux = 1.0 + np.asarray(seen[name])[0, part] + ERROR * rng.normal(size=POINTS)
        data[name] = times[name], flux, ERROR
    start = {"peq": truth["peq"], "kappa": 0.1, "inc": 1.0, "lspot": 7.0, "tau_spot": 2.5}
    row = {"star": seed, "truth": truth["t_spot"]}
    for names in ("BI", "B"):
        tied = tuple(f"channels.{name}.t_spot" for name in names)
        gp = spotgp.ChannelSolver(
            {name: data[name] for name in names},
            star(start, sigma_k=1e-2),
            bands(4500.0, names),
            priors=STAR | {tied if len(tied) > 1 else tied[0]: T_SPOT},
        )
        best = fit(gp.posterior, progress=False)
        method = {"method": "mixture", "draws": 250, "progress": False}
        samples = sample(gp.posterior, jax.random.key(seed), start=best, **method)
        assert samples.importance
        draws = next(np.ravel(v) for path, v in samples.draws.items() if "t_spot" in path)
        row[names] = {
            "mean": float(np.mean(draws)),
            "std": float(np.std(draws)),
            "below": float(np.mean(draws < truth["t_spot"])),
            "k": float(samples.importance.pareto_k),
            "effective": float(samples.importance.effective),
        }
    return row


def summary(rows):
    """Of each set of bands the width of the temperature, and how often it contains the truth."""
    found = []
    for names in ("BI", "B"):
        below = np.array([row[names]["below"] for row in rows])
        said = {"bands": " and ".join(names), "stars": len(rows)}
        said["median standard deviation, K"] = float(np.median([r[names]["std"] for r in rows]))
        for p in (68, 95):
            said[f"inside {p} %"] = float(np.mean(np.abs(below - 0.5) <= p / 200))
        found.append(said)
    width = float(T_SPOT.high - T_SPOT.low) / 12**0.5
    return [*found, {"bands": "none: the prior", "median standard deviation, K": width}]


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    rows = []
    for seed in range(args.stars):
        rows.append(measured(seed))
        print(rows[-1], flush=True)
    common.record("temperatures", rows, summary=summary(rows))
    for said in summary(rows):
        print(said)


if __name__ == "__main__":
    main()
