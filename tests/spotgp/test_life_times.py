"""Starts at other life times than those of a fit: where they are looked for, and what is new."""

import math

import jax
import numpy as np
import pytest

from spotgp import (
    AnalyticKernel,
    GPSolver,
    SpotEvolutionModel,
    TrapezoidSymmetricEnvelope,
    VisibilityFunction,
    search,
)
from spotgp.starts.search import _life_times, _new

LSPOT, TAU = "model.envelope.lspot", "model.envelope.tau_spot"


def test_life_times_are_looked_for_in_all_of_their_priors():
    limits = {LSPOT: (3.0, 40.0), TAU: (0.0, math.inf)}
    found = list(_life_times(limits, {LSPOT: 4.0, TAU: 2.0}, [LSPOT, TAU], 200))
    lives, growths = (np.array([one[path] for one in found]) for path in (LSPOT, TAU))
    assert len(found) == 100
    assert 3.0 < lives.min() < 3.6
    assert 33.0 < lives.max() < 40.0
    assert growths.min() > 2.0 / 30.0
    assert growths.max() < 60.0
    many = [f"model.envelope.time_{k}" for k in range(5)]
    limits, own = dict.fromkeys(many, (0.1, 10.0)), dict.fromkeys(many, 1.0)
    each = list(_life_times(limits, own, many, 200))
    assert len(each) == 20
    assert all(sum(value != 1.0 for value in one.values()) == 1 for one in each)


def test_of_many_points_fewer_are_tried():
    limits, own = {LSPOT: (3.0, 40.0), TAU: (1.0, 10.0)}, {LSPOT: 4.0, TAU: 2.0}
    number = [len(list(_life_times(limits, own, [LSPOT, TAU], n))) for n in (500, 1000, 3000)]
    assert number == [100, 25, 8]


def test_starts_near_fits_and_near_each_other_are_left_out():
    ranked = [{LSPOT: life, TAU: 2.0} for life in (10.0, 10.5, 20.0, 21.0, 30.0, 5.0)]
    chosen = _new(ranked, [{LSPOT: 9.5, TAU: 2.1}], [LSPOT, TAU], 2)
    assert [values[LSPOT] for values in chosen] == [20.0, 30.0]


@pytest.mark.slow
def test_long_lives_are_found_from_short_ones():
    star = SpotEvolutionModel(
        envelope=TrapezoidSymmetricEnvelope(lspot=29.0, tau_spot=3.0),
        visibility=VisibilityFunction(peq=2.0, kappa=0.1, inc=1.2),
        sigma_k=2e-3,
    )
    t = np.sort(np.random.default_rng(0).uniform(0.0, 90.0, 250))
    covariance = np.asarray(AnalyticKernel(star).kernel(t[:, None] - t))
    root = np.linalg.cholesky(covariance + 9e-8 * np.eye(t.size))
    flux = 1.0 + root @ np.asarray(jax.random.normal(jax.random.key(1), t.shape))
    priors = {"peq": (1.5, 2.5), "lspot": (3.0, 40.0), "tau_spot": (1.0, 10.0)}
    gp = GPSolver(t, flux, 3e-4, star.set({"envelope.lspot": 5.0}), priors=priors)
    found = search(gp, number=4, progress=False)
    assert float(found.best.log_density) > float(gp.log_posterior(gp.values() | {LSPOT: 29.0}))
    assert float(found.best.values[LSPOT]) > 20.0
