"""Simulation-based calibration: are posteriors of simulated stars and disks right?

    python benchmarks/calibration.py stars [--number 300] [--workers 2] [--resume]
    python benchmarks/calibration.py disks [--number 200]

Parameters are drawn from the priors, and a light curve from the process itself, or an image with
white noise. Where a posterior is right, the share of it below the true value is uniform between 0
and 1 over many targets, for each parameter (Talts et al. 2018, arXiv:1804.06788). Stars are sampled
by importance sampling from a mixture, disks by NUTS.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import time as clock
import warnings

import common
import jax
import numpy as np
import numpyro.distributions as dist
from scipy import stats

import grater
import spotgp
from pytreefit import Posterior, fit, sample

jax.config.update("jax_enable_x64", True)
POINTS, SPAN, ERROR, BINS = 120, 60.0, 2e-4, 10
PRIORS = {
    "peq": dist.LogUniform(2.0, 12.0),
    "kappa": dist.Uniform(0.0, 0.5),
    "inc": spotgp.IsotropicInclination(),
    "lspot": dist.LogUniform(3.0, 40.0),
    "tau_spot": dist.LogUniform(0.5, 10.0),
    "sigma_k": dist.LogUniform(3e-4, 3e-3),
    "jitter": dist.LogUniform(1e-5, 1e-3),
}

SIDE, NOISE = 25, 1.0  # pixels of an image, and their errors
RING = {
    "disk.semi_major_axis": dist.Uniform(5.0, 9.0),
    "disk.inclination": dist.Uniform(35.0, 75.0),
    "disk.position_angle": dist.Uniform(0.0, 90.0),
    "disk.phase.g": dist.Uniform(0.0, 0.6),
    "disk.flux": dist.LogUniform(200.0, 1500.0),
    "noise.scale": dist.LogUniform(0.6, 1.7),
}


def process(values, time, flux):
    """The process of a star with some values, or without any about the middle of the priors."""
    at = {"peq": 5.0, "kappa": 0.2, "inc": 1.0, "lspot": 11.0, "tau_spot": 2.2, "sigma_k": 1e-3}
    at |= {"jitter": 1e-4} | values
    model = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=at["lspot"], tau_spot=at["tau_spot"]),
        visibility=spotgp.VisibilityFunction(peq=at["peq"], kappa=at["kappa"], inc=at["inc"]),
        sigma_k=at["sigma_k"],
    )
    options = {"jitter": at["jitter"], "priors": PRIORS, "solver": "dense"}
    return spotgp.GPSolver(time, flux, np.full(time.size, ERROR), model, **options)


def of_star(seed):
    """Where the truth of one simulated star is in its posterior."""
    keys = jax.random.split(jax.random.key(seed), len(PRIORS) + 3)
    pairs = zip(PRIORS.items(), keys[3:], strict=True)
    truth = {name: float(prior.sample(key)) for (name, prior), key in pairs}
    time = np.sort(np.asarray(jax.random.uniform(keys[0], POINTS, maxval=SPAN)))
    flux = np.asarray(process(truth, time, 1e-3 * np.sin(time)).sample_prior(time, keys[1])[0])
    noise = np.hypot(ERROR, truth["jitter"])
    flux = flux + noise * np.random.default_rng(seed).standard_normal(POINTS)
    gp = process({}, time, flux)
    began = clock.perf_counter()
    options = {"method": "mixture", "draws": 250, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the row
        samples = sample(gp.posterior, keys[2], **options)
    said = samples.importance
    assert said is not None
    row = {"star": seed, "s": clock.perf_counter() - began, "k": said.pareto_k}
    row |= {"good": bool(said.good), "effective": said.effective}
    return row | shares(samples, truth)


def shares(samples, truth):
    """The share of the draws below the truth, by the parameters' short names."""
    short = {name: name.rpartition(".")[2] for name in samples.draws}
    truth = {name.rpartition(".")[2]: float(value) for name, value in truth.items()}
    return {
        short[name]: float(np.mean(np.asarray(draws) < truth[short[name]]))
        for name, draws in samples.draws.items()
    }


def of_disk(seed):
    """The same of a disk's image, its posterior drawn from by NUTS."""
    disk = grater.Disk(
        7.0, 55.0, 45.0, alpha_in=6.0, alpha_out=-4.0, scale_height=0.3, flux=500.0,
        phase=grater.HenyeyGreenstein(0.3), density_normalization="column",
    )  # fmt: skip
    grid = grater.Grid((SIDE, SIDE), pixel_scale=1.0, distance=1.0)
    scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(2.5))
    *keys, noise_key, key = jax.random.split(jax.random.key(seed), 2 + len(RING))
    truth = {path: prior.sample(k) for (path, prior), k in zip(RING.items(), keys, strict=True)}
    # the scale of the noise multiplies the errors, and what is simulated has the scaled ones
    data = grater.Observation.simulate(scene.set(truth), NOISE, noise_key)
    posterior = Posterior(scene, data.log_likelihood, RING)
    began = clock.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the row
        best = fit(posterior, starts=4, key=key, progress=False)
        options = {"chains": 2, "warmup": 150, "draws": 250, "progress": False}
        samples = sample(posterior, key, start=best, **options)
    row = {"disk": seed, "s": clock.perf_counter() - began, "divergences": samples.divergences}
    row["rhat"] = max(float(np.max(value)) for value in samples.rhat.values())
    row["effective"] = min(float(np.min(value)) for value in samples.ess.values())
    return row | shares(samples, truth)


def begin(cores):
    os.sched_setaffinity(0, {cores.get()})


def summary(rows, names):
    """Chi-square probability of uniform shares, for each parameter."""
    found = {}
    for name in names:
        counts, _ = np.histogram([row[name] for row in rows], BINS, (0.0, 1.0))
        found[name] = float(stats.chisquare(counts).pvalue)
    return found


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("what", choices=("stars", "disks"))
    parser.add_argument("--number", type=int, help="by default 300 stars, 200 disks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from what is recorded")
    args = parser.parse_args()
    file, measured, number, names = {
        "stars": ("calibration", of_star, 300, list(PRIORS)),
        "disks": ("calibration_disks", of_disk, 200, [p.rpartition(".")[2] for p in RING]),
    }[args.what]
    number = args.number or number
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    for k in range(args.workers):
        cores.put(k)
    pool = concurrent.futures.ProcessPoolExecutor(args.workers, context, begin, (cores,))
    # targets that were measured before are not measured again
    rows = common.recorded(file) if args.resume else []
    with pool:
        for row in pool.map(measured, range(len(rows), number)):
            rows.append(row)
            if len(rows) % 20 == 0 or len(rows) == number:
                print(len(rows), summary(rows, names), flush=True)
                common.record(file, rows, probability=summary(rows, names))


if __name__ == "__main__":
    main()
