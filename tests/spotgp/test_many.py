"""Fits of many light curves against the same fits one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Posterior, fit, laplace
from pytreefit.extend import prior_limits
from spotgp import AnalyticKernel, GPSolver, RotationPeriod, TimeSeriesData, fit_many, search
from spotgp.component import DataScales
from spotgp.solvers import Banded, Dense
from spotgp.survey.many import _alike, _groups
from spotgp.survey.one import Star, elsewhere, fewer, guess_of, process_of
from spotgp.survey.results import _entry

PRIORS = {
    "peq": (2.0, 12.0), "kappa": None, "inc": (0.3, 1.5), "lspot": (1.0, 9.0), "tau_spot": None,
}  # fmt: skip


def light_curve(star, n, seed, segments=1):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0.0, 60.0, n))
    covariance = np.asarray(AnalyticKernel(star, nodes=64).kernel(t[:, None] - t[None, :]))
    flux = 1.0 + np.linalg.cholesky(covariance + 1e-6 * np.eye(n)) @ rng.normal(size=n)
    return TimeSeriesData(
        t, flux, np.full(n, 1e-3), segment=(segments * t / 60.0).astype(int), name=f"star {seed}"
    )


@pytest.fixture(scope="module")
def data(star):
    periods = (4.0, 6.0, 5.0)
    return [
        light_curve(star.set({"visibility.peq": period}), n, seed)
        for seed, (n, period) in enumerate(zip((60, 45, 52), periods, strict=True))
    ]


@pytest.fixture(scope="module")
def many(data, star, compiled):
    def broken():
        raise OSError("no such file")

    jax.clear_caches()
    before = compiled.count("jit(_advance)")
    stars = [data[0], (data[1].time, data[1].flux, data[1].flux_err), broken, lambda: data[2]]
    lines = []
    result = fit_many(stars, star, priors=PRIORS, starts=2, progress=lines.append)
    return result, compiled.count("jit(_advance)") - before, lines


@pytest.mark.parametrize("solver", [Dense, Banded])
def test_sizes_in_common_change_nothing(solver, star):
    priors = {"lspot": (1.0, 8.0), "tau_spot": (0.5, 2.0)}
    star = star.set({"envelope.lspot": 4.0, "envelope.tau_spot": 1.0})
    data = light_curve(star, 60, 3, segments=3)
    gp, longer = (
        GPSolver.from_data(one, star, jitter=1e-3, trend=1, priors=priors, solver=solver)
        for one in (data, light_curve(star, 90, 4, segments=5))
    )
    wide = gp.with_solver(solver.shared([gp.solver, longer.solver])[0])
    assert wide.solver.points.time.size >= 90 > gp.solver.points.time.size
    assert wide.solver.points.columns.shape[1] == 6
    value, gradient = gp.value_and_grad_log_posterior()
    wide_value, wide_gradient = wide.value_and_grad_log_posterior()
    assert float(wide_value) == pytest.approx(float(value), abs=1e-8)
    np.testing.assert_allclose(wide_gradient, gradient, rtol=1e-8, atol=1e-8)
    wanted = np.array([3.0, 30.0, 59.0])
    for a, b in zip(wide.predict(wanted), gp.predict(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_stars_of_any_noise_and_period_share_a_program(data, star, compiled):
    changes = (1e-3, 4.0), (1e-6, 3.0), (3e-3, 20.0)
    items = []
    for k, (one, (error, period)) in enumerate(zip(data, changes, strict=True)):
        changed = star.set({"visibility.peq": period})
        gp = GPSolver(
            one.time, one.flux, error, changed, solver="dense", priors=PRIORS | {"peq": (1.0, 30.0)}
        )
        items.append(Star(k, one.name, gp, None))
    groups = _groups(items)
    assert len(groups) == 1
    shared = _alike(groups[0])
    jax.clear_caches()
    before = compiled.count("jit(_value_and_gradient)")
    found = {k: gp.value_and_grad_log_posterior() for k, _, gp, _ in shared}
    assert compiled.count("jit(_value_and_gradient)") == before + 1
    for k, _, alone, _ in items:
        value, gradient = alone.value_and_grad_log_posterior()
        assert float(found[k][0]) == pytest.approx(float(value), rel=1e-10)
        np.testing.assert_allclose(found[k][1], gradient, rtol=1e-6, atol=1e-6)


def test_the_same_as_one_by_one(data, many, star):
    result, programs, _ = many
    assert programs == result.compilations == 1
    for k, one in ((3, data[2]), (0, data[0])):
        scales = DataScales.of(one.time, one.flux, one.flux_err)
        first = guess_of(one, star, PRIORS, one.rotation_period().period, scales)
        gp = GPSolver.from_data(one, first, priors=PRIORS, solver="dense")
        best = search(gp, number=2, progress=False).best
        assert result[k].log_density == pytest.approx(float(best.log_density), abs=1e-6)
        assert float(result[k].fit.model.model.envelope.tau_spot) == 2.0  # fixed: not guessed
        for name, value in best.values.items():
            assert result[k].values[name] == pytest.approx(float(value), rel=1e-6)
    # the second derivatives are a large program: of the last one only
    errors = laplace(gp.posterior, best, held=best.at_edge).std
    for name in set(best.values) - set(best.at_edge):
        assert result[k].errors[name] == pytest.approx(float(errors[name]), rel=1e-3)


def test_sizes_in_common_change_no_fit_at_the_edge_of_a_prior(data, star):
    priors = {**PRIORS, "lspot": (1.0, 4.0)}
    star = star.set({"envelope.lspot": 3.0})
    gp, longer = (
        GPSolver.from_data(one, star, priors=priors, solver=Dense)
        for one in (data[0], light_curve(star, 90, 5))
    )
    wide = gp.with_solver(Dense.shared([gp.solver, longer.solver])[0])
    alone, among_others = (search(one, number=2, progress=False).best for one in (gp, wide))
    assert "model.envelope.lspot" in alone.at_edge
    assert float(alone.values["model.envelope.lspot"]) == pytest.approx(4.0, rel=1e-6)
    assert float(among_others.log_density) == pytest.approx(float(alone.log_density), abs=1e-6)
    for name, value in alone.values.items():
        assert float(among_others.values[name]) == pytest.approx(float(value), rel=1e-6)


def test_rows(many, data):
    result, _, lines = many
    assert [star.name for star in result] == ["star 0", "1", "2", "star 2"]
    assert [star.points for star in result] == [60, 45, 0, 52]
    assert result.failed == (2,)
    assert result[2].message == "OSError: no such file"
    assert result[2].values == {}
    assert "about" in lines[-2]
    assert "4 of 4 stars" in lines[-1]
    period = result.values("peq")
    assert np.isnan(period[2])
    # closer to the truth than a tenth, and than five standard deviations; not so the third star,
    # whose 52 points prefer another period
    for k, truth in ((0, 4.0), (1, 6.0)):
        assert abs(period[k] / truth - 1.0) < 0.1
        assert abs(period[k] - truth) < 5.0 * result.errors("peq")[k]
        assert result[k].effective_period_error > 0
    for star in (star for star in result if star.fit is not None):
        assert set(star.errors) == set(star.values) - set(star.fit.at_edge)
    with pytest.raises(ValueError, match="'period' is no free parameter"):
        result.values("period")


def test_tables(many):
    result = many[0]
    text = repr(result)
    assert "4 stars, 1 failed, 1 compilation" in text
    assert "OSError: no such file" in text
    table = result.to_astropy()
    assert table.colnames[:4] == ["star", "points", "effective_period", "effective_period_error"]
    assert str(table["peq"].unit) == "d"
    np.testing.assert_array_equal(table["lspot_error"].value, result.errors("lspot"))


def test_an_interrupt_returns_what_is_done(data, star):
    def stop(line):
        if "about" in line:
            raise KeyboardInterrupt

    result = fit_many(data, star, priors=PRIORS, starts=1, errors=False, progress=stop)
    assert [star.message == "Not done." for star in result] == [False, True, True]
    assert result[0].errors == {}


def test_what_cannot_be(data, star):
    with pytest.raises(ValueError, match="stars is empty"):
        fit_many([], star)
    unknown = fit_many(data[:1], star, solver="fast", progress=False)
    assert "must be 'auto'" in unknown[0].message


def test_differences_are_as_good_as_second_derivatives():
    from pytreefit import Model, param

    class Hill(Model):
        x: jax.Array = param()
        y: jax.Array = param()

    def log_likelihood(hill):
        return -0.5 * ((hill.x - 1.0) ** 2 / 1e-6 + jnp.cosh(hill.y + 30.0 * (hill.x - 1.0)))

    posterior = Posterior(Hill(0.9, 0.1), log_likelihood, {"x": (0.0, 2.0), "y": (-5.0, 5.0)})
    best = fit(posterior, progress=False)
    exact, approximate = (laplace(posterior, best, method=m) for m in ("hessian", "differences"))
    np.testing.assert_allclose(approximate.covariance, exact.covariance, rtol=2e-3)


@pytest.mark.parametrize(("period", "kind"), [(0.5, "Took one in"), (9.0, "Averaged")])
def test_fewer_points_keep_the_period_of_all(period, kind, star):
    t = np.arange(0.0, 40.0, 0.04)
    noise = 0.2 * np.random.default_rng(0).normal(size=t.size)
    flux = 1.0 + 0.01 * (np.sin(2.0 * np.pi * t / period) + noise)
    data = TimeSeriesData(t, flux, 2e-3)
    rotation = data.rotation_period()
    assert rotation.period == pytest.approx(period, rel=0.02)
    less = fewer(data, 120, rotation)
    assert 80 < len(less) <= 120
    assert kind in less.history[-1]
    prior = {"inc": (0.1, 1.5)}
    gp, found = process_of(data, star, lambda data, rotation: prior, 0.0, 120, {})
    low, high = prior_limits(gp.posterior.priors["model.visibility.peq"])
    assert low < 0.2 * period < 5.0 * period < high  # whatever the cadence of what is left
    assert len(less) == gp.data.time.size
    assert float(gp.process.model.visibility.peq) == found.period == rotation.period


def test_a_value_at_a_bound_of_its_own_says_so(many):
    star = many[0][0]
    name = star.fit.names[0]
    assert star.at_bound == star.fit.at_bound
    there = dataclasses.replace(star, at_bound=(name,))
    assert _entry(there, name) == f"{star.values[name]:.2f} (bound)"
    assert "bound" not in _entry(star, name)
    assert _entry(there, "jitter") == "-"


def test_what_to_doubt_about_a_row(many):
    for star in many[0]:
        if star.fit is None:
            continue
        chosen = set(star.fit.at_edge) - set(star.fit.at_bound)
        assert any("edge of the prior" in flag for flag in star.flags) == bool(chosen)
        assert set(star.rotation.flags) <= set(star.flags)
    assert elsewhere(4.0, many[0][0].rotation) == ()
    assert "rotation_period finds" in elsewhere(0.3, many[0][0].rotation)[0]


def test_a_fit_that_contradicts_a_sure_period_is_flagged():
    both, chances = np.array([10.0, 5.0]), np.array([0.97, 0.03])
    sure = RotationPeriod(10.0, 0.1, 0.97, both, chances, 0.0, 0.0, (), 10.0, 10.0)
    assert elsewhere(5.0, sure) == ("rotation_period finds 10 d",)
    assert elsewhere(10.5, sure) == ()
    # where there is something to doubt, any candidate will do
    assert elsewhere(5.0, dataclasses.replace(sure, flags=("half of it, too",))) == ()
