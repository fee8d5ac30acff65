"""Inclinations and planets from photometry and velocities together, on simulated stars.

    python benchmarks/planets.py [--stars 60] [--only 3] [--resume]

A star as K2 or TESS and a spectrograph see it: 800 points of a light curve in 160 days, with errors
of 200 ppm, and a velocity in each of 80 nights, to 1 m/s. Many small spots are simulated one by
one; a planet on a circular orbit, whose transits tell its period and phase, has a semi-amplitude of
0.3 of the scatter of the spots' velocities. The star is drawn from the priors, and its v sin i is
measured to 5 %. Four models look for the planet's semi-amplitude K, which may be negative, so that
no bound hides a bias:

joint       the process of spotgp, of photometry and velocities;
white       velocities alone, with activity as white noise of unknown size (Student's t);
periodic    velocities alone, with a quasi-periodic process;
derivative  a quasi-periodic process for the photometry (of which it has every fourth point), it and
            its derivative for the velocities (Rajpaul et al. 2015; pyaneti, Barragan et al. 2022).

All fits but the white one start at the true period, and are sampled by the mixture. The process is
fitted to the photometry alone too.
"""

import argparse
import time as clock
import warnings

import common
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.stats import t as student

import spotgp
from pytreefit import Model, Posterior, cache_programs, fit, param, sample

jax.config.update("jax_enable_x64", True)
cache_programs()
POINTS, NIGHTS, SPAN = 800, 80, 160.0
FLUX_ERROR, ERROR, VSINI_ERROR, SHARE, RATE = 2e-4, 1.0, 0.05, 0.3, 10.0
STAR = {
    "peq": dist.LogUniform(4.0, 8.0),
    "kappa": dist.Uniform(0.0, 0.4),
    "inc": spotgp.IsotropicInclination(0.3, np.pi / 2),
    "lspot": dist.LogUniform(4.0, 12.0),
    "tau_spot": dist.LogUniform(1.5, 4.0),
    "sigma_k": dist.LogUniform(3e-3, 1.5e-2),
}
VSINI, CONVECTIVE = dist.LogUniform(1000.0, 4000.0), dist.Uniform(0.0, 500.0)
LEVELS = (68, 95)


class Planet(Model):
    """A circular orbit; the semi-amplitude may be negative."""

    K: jax.Array = param(unit="m / s", default=1.0)
    period: jax.Array = param(unit="d", default=5.0)
    transit: jax.Array = param(unit="d", default=0.0)

    def __call__(self, t):
        return -self.K * jnp.sin(2.0 * jnp.pi * (t - self.transit) / self.period)


class QuasiPeriodic(Model):
    """What a process of G and its derivative makes of a light curve and of velocities."""

    period: jax.Array = param(unit="d", bounds="(0, inf)", default=7.0)
    decay: jax.Array = param(unit="d", bounds="(0, inf)", default=15.0)
    smooth: jax.Array = param(bounds="(0, inf)", default=0.5)
    jitter: jax.Array = param(bounds="[0, inf)", default=1.0)
    value: jax.Array = param(default=10.0, doc="of G in the velocities")
    slope: jax.Array = param(default=0.0, doc="of its derivative in the velocities")
    flux: jax.Array = param(bounds="(0, inf)", default=0.01, doc="of G in the light curve")
    flux_jitter: jax.Array = param(bounds="[0, inf)", default=2e-4)
    K: jax.Array = param(default=1.0)

    def covariances(self, lag):
        """Of G and G, of G before its derivative, and of two derivatives; lag of first - second."""
        turn = 2.0 * jnp.pi / self.period
        first = -lag / self.decay**2 - turn * jnp.sin(turn * lag) / (4.0 * self.smooth**2)
        second = -1.0 / self.decay**2 - turn**2 * jnp.cos(turn * lag) / (4.0 * self.smooth**2)
        sine = jnp.sin(0.5 * turn * lag) / self.smooth
        value = jnp.exp(-0.5 * (lag / self.decay) ** 2 - 0.5 * sine**2)
        return value, -first * value, -(second + first**2) * value


class Measured(eqx.Module):
    """Velocities of a star with a planet of known phase, and a light curve (which may be empty)."""

    t: np.ndarray
    flux: np.ndarray
    t_rv: np.ndarray
    velocity: np.ndarray
    wave: np.ndarray  # the planet's velocity for K = 1

    def log_likelihood(self, model):
        n = len(self.t)
        t = jnp.concatenate([self.t, self.t_rv])
        gg, gd, dd = model.covariances(t[:, None] - t[None, :])
        is_flux = jnp.arange(len(t)) < n
        value = jnp.where(is_flux, model.flux, model.value)
        slope = jnp.where(is_flux, 0.0, model.slope)
        # the derivative before G has the opposite sign
        matrix = value[:, None] * value * gg + slope[:, None] * slope * dd
        matrix += (value[:, None] * slope - slope[:, None] * value) * gd
        scale = jnp.where(is_flux, 0.1, 1e3)  # of the offsets, which are integrated out
        matrix += jnp.where(is_flux[:, None] == is_flux, scale[:, None] * scale, 0.0)
        error = jnp.where(is_flux, FLUX_ERROR, ERROR)
        white = error**2 + jnp.where(is_flux, model.flux_jitter, model.jitter) ** 2
        root = jnp.linalg.cholesky(matrix + jnp.diag(white))
        rest = jnp.concatenate([self.flux, self.velocity - model.K * self.wave])
        solved = jax.scipy.linalg.solve_triangular(root, rest, lower=True)
        return -0.5 * solved @ solved - jnp.sum(jnp.log(jnp.diag(root)))


def star(values, **amplitude):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(values["lspot"], values["tau_spot"]),
        visibility=spotgp.VisibilityFunction(values["peq"], values["kappa"], values["inc"]),
        **amplitude,
    )


def observed(seed):
    """What is true of a star, and what is measured of it."""
    rng = np.random.default_rng(seed)
    drawn = {**STAR, "vsini": VSINI, "convective": CONVECTIVE}
    keys = jax.random.split(jax.random.key(seed), len(drawn) + 1)
    truth = {
        name: float(prior.sample(key))
        for (name, prior), key in zip(drawn.items(), keys[1:], strict=True)
    }
    t = np.sort(rng.uniform(0.0, SPAN, POINTS))
    t_rv = np.sort(rng.choice(np.arange(SPAN), NIGHTS, replace=False))
    t_rv += rng.uniform(0.35, 0.65, NIGHTS)
    channels = {
        "flux": spotgp.FluxBand(),
        "rv": spotgp.RadialVelocity(vsini=truth["vsini"], convective=truth["convective"]),
    }
    size = (truth["sigma_k"] / RATE**0.5) ** 0.5  # 1 to 4 deg
    spotted = star(truth, nspot_rate=RATE, fspot=0.0, alpha_max=size)
    times = np.concatenate([t, t_rv])
    simulated = spotgp.simulate_channels(spotted, keys[0], times, channels)
    activity = np.asarray(simulated["rv"])[0, POINTS:]
    planet = Planet(SHARE * np.std(activity), np.exp(rng.uniform(np.log(2.0), np.log(30.0))))
    planet = planet.set({"transit": float(planet.period) * rng.uniform()})
    truth["K"] = float(planet.K)
    flux = np.asarray(simulated["flux"])[0, :POINTS] + FLUX_ERROR * rng.normal(size=POINTS)
    velocity = activity + np.asarray(planet(t_rv)) + ERROR * rng.normal(size=NIGHTS)
    vsini = truth["vsini"] * (1.0 + VSINI_ERROR * rng.normal())
    data = {"t": t, "flux": 1.0 + flux, "t_rv": t_rv, "velocity": velocity, "vsini": vsini}
    return truth, data, planet


def drawn(posterior, seed):
    """Draws by the last part of their names, and what came of the sampler."""
    began = clock.perf_counter()
    best = fit(posterior, progress=False)
    method = {"method": "mixture", "draws": 250, "progress": False}
    samples = sample(posterior, jax.random.key(seed), start=best, **method)
    assert samples.importance
    found = {name.split(".")[-1]: np.ravel(value) for name, value in samples.draws.items()}
    return found, {
        "k": float(samples.importance.pareto_k),
        "effective": float(samples.importance.effective),
        "s": clock.perf_counter() - began,
    }


def intervals(draws, truth):
    """Of each parameter its mean, its standard deviation, and where the truth is in its draws."""
    return {
        name: {
            "truth": truth[name],
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "below": float(np.mean(values < truth[name])),
        }
        for name, values in draws.items()
        if name in truth
    }


def joint(truth, data, planet, seed):
    """The process of spotgp, of both kinds of data and of the photometry alone."""
    start = {"peq": truth["peq"], "kappa": 0.1, "inc": 1.0, "lspot": 10.0, "tau_spot": 3.0}
    model = star(start, sigma_k=float(np.clip(np.std(data["flux"]), 4e-3, 1.2e-2)))
    flux = data["t"], data["flux"], FLUX_ERROR
    scatter = float(np.std(data["velocity"]))
    velocity = spotgp.RadialVelocity(vsini=data["vsini"], convective=100.0)
    error = VSINI_ERROR * data["vsini"]
    gp = spotgp.ChannelSolver(
        {"flux": flux, "rv": (data["t_rv"], data["velocity"], ERROR)},
        model,
        {"flux": spotgp.FluxBand(), "rv": velocity},
        means={"rv": planet.set({"K": 0.0})},
        priors=STAR
        | {
            "vsini": dist.TruncatedNormal(data["vsini"], error, low=0.0),
            "convective": CONVECTIVE,
            "K": (-5.0 * scatter, 5.0 * scatter),
            "means.rv.period": None,
            "transit": None,
        },
    )
    alone = spotgp.GPSolver(*flux, model, priors=STAR)
    for name, process in (("joint", gp), ("photometry", alone)):
        draws, about = drawn(process.posterior, seed)
        yield name, intervals(draws, truth) | {"sampler": about}


def rivals(truth, data, planet, seed):
    """Quasi-periodic processes, of velocities alone and with the photometry."""
    scatter = float(np.std(data["velocity"]))
    wave = np.asarray(planet.set({"K": 1.0})(data["t_rv"]))
    velocity = data["t_rv"], data["velocity"] - np.mean(data["velocity"]), wave
    none = np.zeros(0)
    flux = data["t"][::4], data["flux"][::4] - np.mean(data["flux"])
    model = QuasiPeriodic(period=truth["peq"], value=scatter, K=0.0)
    common_priors = {
        "period": STAR["peq"],
        "decay": dist.LogUniform(2.0, 200.0),
        "smooth": dist.LogUniform(0.1, 5.0),
        "jitter": dist.LogUniform(0.01 * ERROR, 5.0 * scatter),
        "K": (-5.0 * scatter, 5.0 * scatter),
    }
    own = {"value": dist.LogUniform(0.05 * scatter, 20.0 * scatter)}
    size = float(np.std(data["flux"]))
    per_day = scatter * truth["peq"] / (2.0 * np.pi)  # of a sine, whose slope is 2 pi / P
    both = {
        "value": (-20.0 * scatter, 20.0 * scatter),
        "slope": (-20.0 * per_day, 20.0 * per_day),
        "flux": dist.LogUniform(0.05 * size, 20.0 * size),
        "flux_jitter": dist.LogUniform(0.01 * FLUX_ERROR, 10.0 * FLUX_ERROR),
    }
    derivative = model.set({"value": 0.0, "slope": per_day, "flux": size})
    for name, start, times, priors in (
        ("periodic", model, (none, none), own),
        ("derivative", derivative, flux, both),
    ):
        measured = Measured(*times, *velocity)
        posterior = Posterior(start, measured.log_likelihood, common_priors | priors)
        draws, about = drawn(posterior, seed)
        yield name, intervals({"K": draws["K"]}, truth) | {"sampler": about}


def white(truth, data, planet):
    """Least squares of K and an offset, the scatter taken from the residuals."""
    wave = np.asarray(planet.set({"K": 1.0})(data["t_rv"]))
    design = np.stack([wave, np.ones(NIGHTS)], axis=1)
    found, squares = np.linalg.lstsq(design, data["velocity"], rcond=None)[:2]
    scale = (squares[0] / (NIGHTS - 2) * np.linalg.inv(design.T @ design)[0, 0]) ** 0.5
    below = float(student.cdf((truth["K"] - found[0]) / scale, NIGHTS - 2))
    spread = scale * float(student.std(NIGHTS - 2))
    row = {"truth": truth["K"], "mean": float(found[0]), "std": spread, "below": below}
    return {"K": row}


def measured(seed):
    truth, data, planet = observed(seed)
    row = {"star": seed, "planet's period": float(planet.period)}
    row["white"] = white(truth, data, planet)
    row |= joint(truth, data, planet, seed)
    return row | dict(rivals(truth, data, planet, seed))


def inside(rows, model, name):
    """The shares of stars whose central intervals hold the truth."""
    below = np.array([row[model][name]["below"] for row in rows])
    return {f"inside {p} %": float(np.mean(np.abs(below - 0.5) <= p / 200)) for p in LEVELS}


def summary(rows):
    """Of each model K's bias and coverage; of each parameter the coverage, and its width."""
    planets, parameters = [], []
    for model in ("joint", "derivative", "periodic", "white"):
        found = [row[model]["K"] for row in rows]
        mean, std, truth = (np.array([k[name] for k in found]) for name in ("mean", "std", "truth"))
        off = mean / truth - 1.0
        said = {"model": model, "stars": len(rows)}
        said["mean of K / true K - 1"] = float(np.mean(off))
        said["its error"] = float(np.std(off) / len(rows) ** 0.5)
        said["scatter of K / true K"] = float(np.std(off))
        said["median of stated errors / true K"] = float(np.median(std / truth))
        planets.append(said | inside(rows, model, "K"))
    for name in [*STAR, "vsini", "convective", "K"]:
        said = {"parameter": name, **inside(rows, "joint", name)}
        if name in STAR:
            said |= {f"photometry, {k}": v for k, v in inside(rows, "photometry", name).items()}
            widths = [row["joint"][name]["std"] / row["photometry"][name]["std"] for row in rows]
            said["median width, joint / photometry"] = float(np.median(widths))
        parameters.append(said)
    return {"planets": planets, "parameters": parameters}


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=60)
    parser.add_argument("--only", type=int, help="this star alone, not recorded")
    parser.add_argument("--resume", action="store_true", help="go on from what is recorded")
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if args.only is not None:
        print(measured(args.only))
        return
    rows = common.recorded("planets") if args.resume else []
    done = {row["star"] for row in rows}
    for seed in range(args.stars):
        if seed not in done:
            rows.append(measured(seed))
            print(seed, rows[-1]["joint"]["K"], rows[-1]["joint"]["sampler"], flush=True)
            common.record("planets", rows, **summary(rows))


if __name__ == "__main__":
    main()
