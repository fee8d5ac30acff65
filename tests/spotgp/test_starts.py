import dataclasses
import math

import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import Status, fit
from pytreefit.optimize.fit import _at_own_bound
from spotgp import GPSolver
from spotgp.starts.search import Search, _spread


@pytest.fixture(scope="module")
def gp():
    """A star whose light curve looks as if it turned half as fast: every other dip is shallow."""
    star = make_star(spotgp.TrapezoidSymmetricEnvelope(15.0, 4.0), sigma_k=3e-3, kappa=0.05)
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0.0, 60.0, 80))
    flux = 1.0 + 0.01 * np.cos(2.0 * np.pi * t / 8.0) + rng.normal(0.0, 5e-4, t.size)
    return spotgp.GPSolver(
        t, flux, 5e-4, star, priors={"peq": (3.0, 12.0), "lspot": (5.0, 20.0)}, solver="dense"
    )


def test_starts_are_at_the_periods_in_the_data_and_their_halves(gp):
    starts = spotgp.suggest_starts(gp)
    periods = {round(values["model.visibility.peq"], 3) for values in starts}
    assert any(abs(period / 8.0 - 1.0) < 0.03 for period in periods)
    assert any(abs(period / 4.0 - 1.0) < 0.03 for period in periods)
    # the double is beyond the prior
    assert max(periods) < 12.0
    density = [float(gp.log_posterior(values)) for values in starts[:3]]
    assert density == sorted(density, reverse=True)
    assert all(math.isfinite(value) for value in density)


def test_no_period_takes_all_of_the_starts():
    def start(period, number):
        return {"model.visibility.peq": period, "number": number}

    many = [*(start(8.0, k) for k in range(9)), start(4.0, 9), start(16.0, 10), start(2.0, 11)]
    assert [s["number"] for s in _spread(many, 6)] == [0, 1, 9, 10, 11]
    # with a single period there is nothing to spread over
    assert len(_spread(many[:9], 6)) == 6
    # nor are all of the same life times
    lives = [{"model.envelope.lspot": float(k // 4), "number": k} for k in range(12)]
    assert [s["number"] for s in _spread(lives, 6)] == [0, 1, 4, 5, 8, 9]


def test_search_keeps_the_best(gp):
    found = spotgp.search(gp, spotgp.suggest_starts(gp)[:2], number=2, steps=30, progress=False)
    assert float(found.best.log_density) == max(found.log_density)
    assert 1 <= found.agreeing <= len(found.fits)
    assert "log posterior" in str(found.table())


def test_life_times_that_are_far_off_do_not_keep_the_search_at_a_wrong_period():
    values = {"peq": 4.0, "inc": 0.73, "lspot": 6.0, "tau_spot": 2.0, "sigma_k": 1e-2}
    shape = spotgp.TrapezoidSymmetricEnvelope(values["lspot"], values["tau_spot"])
    others = {name: values[name] for name in ("peq", "inc", "sigma_k")}
    star = make_star(shape, kappa=0.1, **others)
    rng = np.random.default_rng(6)
    t = np.sort(rng.uniform(0.0, 100.0, 160))
    kernel = np.asarray(spotgp.AnalyticKernel(star).kernel(t[:, None] - t[None, :]))
    flux = 1.0 + np.linalg.cholesky(kernel + 9e-8 * np.eye(t.size)) @ rng.normal(size=t.size)
    priors = {"peq": (1.5, 12.0), "lspot": (1.0, 20.0), "tau_spot": (0.3, 8.0)}
    priors |= {"kappa": None, "sigma_k": (1e-3, 1e-1)}
    gp = GPSolver(t, flux, 3e-4, star, priors=priors, solver="dense")
    truth = {path: values[path.rpartition(".")[2]] for path in gp.posterior.names}
    starts = spotgp.suggest_starts(gp, periods=[4.0, 8.0], lifetimes=[26.0])
    found = spotgp.search(gp, starts, number=4, steps=80, progress=False)
    assert (found.independent, found.agreeing) == (4, 0)
    assert found.flags == ("each of 4 starts ends elsewhere",)
    assert max(found.log_density[:4]) < found.best.log_density - 5.0
    assert found.best.log_density > gp.log_posterior(truth)
    assert found.best.values["model.visibility.peq"] == pytest.approx(4.0, rel=0.05)


def test_a_star_seen_edge_on_is_nothing_to_doubt(star):
    gp = GPSolver(
        np.arange(10.0), np.ones(10), 0.1, star, priors={"inc": (0.1, 0.5 * np.pi)}, solver="dense"
    )
    name = "model.visibility.inc"
    best = fit(gp.posterior, steps=1, progress=False)
    for value, doubted in ((0.5 * np.pi, False), (0.1, True)):
        there = dataclasses.replace(
            best,
            at_edge=(name,),
            at_bound=(name,) if _at_own_bound(gp.posterior, name, {name: value}) else (),
            values={name: value},
            status=Status.AT_EDGE,
        )
        flags = Search(there, (there,), np.zeros(1)).flags
        assert (flags == ("at the edge of the prior: inc",)) if doubted else (flags == ())


def test_a_fit_at_another_period_is_a_rival_and_does_not_agree(gp):
    name = "model.visibility.peq"
    best = fit(gp.posterior, steps=1, progress=False)
    best = dataclasses.replace(best, at_edge=(), at_bound=(), status=Status.CONVERGED)

    def found(*pairs):
        fits = tuple(dataclasses.replace(best, values={name: period}) for period, _ in pairs)
        return Search(fits[0], fits, np.array([density for _, density in pairs]))

    two = found((5.0, 10.0), (10.0, 9.96), (5.1, 9.95), (10.2, 8.0), (2.5, 5.0))
    assert two.agreeing == 2
    assert two.flags == ("also P = 10 d, 0.0 lower",)
    assert found((5.0, 10.0), (5.2, 9.0)).flags == ("each of 2 starts ends elsewhere",)
    fixed = tuple(dataclasses.replace(best, values={"jitter": 1e-3}) for _ in range(2))
    same = Search(fixed[0], fixed, np.zeros(2))
    assert (same.agreeing, same.flags) == (2, ())
