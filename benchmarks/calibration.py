"""Simulation-based calibration of importance sampling: are posteriors of simulated stars right?

    python benchmarks/calibration.py [--stars 300] [--workers 2] [--resume]

Parameters are drawn from the priors, and a light curve from the process itself. Where its posterior
is right, the share of it below the true value is uniform between 0 and 1 over many stars, for each
parameter (Talts et al. 2018, arXiv:1804.06788).
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

import spotgp
from pytreefit import sample

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


def measured(seed):
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
    for name, draws in samples.draws.items():
        short = name.rpartition(".")[2]
        row[short] = float(np.mean(np.asarray(draws) < truth[short]))
    return row


def begin(cores):
    os.sched_setaffinity(0, {cores.get()})


def summary(rows):
    """Chi-square probability of uniform shares, for each parameter."""
    found = {}
    for name in PRIORS:
        counts, _ = np.histogram([row[name] for row in rows], BINS, (0.0, 1.0))
        found[name] = float(stats.chisquare(counts).pvalue)
    return found


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from what is recorded")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    for k in range(args.workers):
        cores.put(k)
    pool = concurrent.futures.ProcessPoolExecutor(args.workers, context, begin, (cores,))
    # stars that were measured before are not measured again
    rows = common.recorded("calibration") if args.resume else []
    with pool:
        for row in pool.map(measured, range(len(rows), args.stars)):
            rows.append(row)
            if len(rows) % 20 == 0 or len(rows) == args.stars:
                print(len(rows), summary(rows), flush=True)
                common.record("calibration", rows, probability=summary(rows))


if __name__ == "__main__":
    main()
