"""Fits of many light curves against the same fits one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Posterior, fit, laplace
from spotgp import GPSolver, TimeSeriesData, fit_many, search
from spotgp.gp.setup import filled_up
from spotgp.solvers import bandwidth, fastest
from spotgp.survey import _alike, _first_guess, _groups, _with

PRIORS = {
    "peq": (2.0, 12.0), "kappa": None, "inc": (0.3, 1.5), "lspot": (1.0, 9.0), "tau_spot": None,
}  # fmt: skip


def light_curve(star, n, seed, segments=1):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0.0, 60.0, n))
    gp = GPSolver(t, np.ones(n), 1e-3, star, knots=512, nodes=8)
    flux = 1.0 + np.asarray(gp.sample_prior(t, jax.random.key(seed))[0])
    flux = flux + rng.normal(0.0, 1e-3, n)
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


@pytest.mark.parametrize("solver", ["dense", "banded"])
def test_filling_up_changes_nothing(solver, star):
    data = light_curve(star, 60, 3, segments=3)
    priors = {"lspot": (1.0, 8.0), "tau_spot": (0.5, 2.0)}
    star = star.set({"envelope.lspot": 4.0, "envelope.tau_spot": 1.0})
    gp = GPSolver.from_data(data, star, jitter=1e-3, trend=1, priors=priors, solver=solver)
    light_curve_ = gp.light_curve
    layout = (1, 90, 0)
    if solver == "banded":
        width = bandwidth(np.asarray(light_curve_.time), float(light_curve_.reach))
        layout = tuple(fastest(90, width, dense=False))
        assert layout[0] > 1
    wide = _with(gp, filled_up(light_curve_, 90, 6, layout=layout))
    assert wide.light_curve.columns.shape == (90, 6)
    value, gradient = gp.value_and_grad_log_posterior()
    wide_value, wide_gradient = wide.value_and_grad_log_posterior()
    assert float(wide_value) == pytest.approx(float(value), abs=1e-8)
    np.testing.assert_allclose(wide_gradient, gradient, rtol=1e-8, atol=1e-8)
    wanted = np.array([3.0, 30.0, 59.0])
    for a, b in zip(wide.predict(wanted), gp.predict(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_small_stars_share_a_program_whether_banded_or_not(data, star):
    priors = {"lspot": (1.0, 8.0), "tau_spot": (0.5, 2.0)}
    star = star.set({"envelope.lspot": 4.0, "envelope.tau_spot": 1.0})
    items = [
        (k, one.name, GPSolver.from_data(one, star, priors=priors, solver=solver))
        for k, (one, solver) in enumerate(zip(data, ("dense", "banded", "banded"), strict=True))
    ]
    assert [gp.light_curve.layout[0] > 1 for _, _, gp in items] == [False, True, True]
    groups = _groups(items)
    assert len(groups) == 1
    for k, _, shared in _alike(groups[0]):
        assert shared.light_curve.layout == (1, 60, 0)
        expected = items[k][2].log_posterior()
        assert float(shared.log_posterior()) == pytest.approx(float(expected), abs=1e-8)


def test_stars_with_tables_of_different_sizes_share_a_program(data, star, compiled):
    sizes = (512, 32), (2048, 64), (4096, 256)
    items = [
        (k, one.name, GPSolver.from_data(one, star, priors=PRIORS, knots=knots, nodes=nodes))
        for k, (one, (knots, nodes)) in enumerate(zip(data, sizes, strict=True))
    ]
    groups = _groups(items)
    assert len(groups) == 1
    shared = sorted(_alike(groups[0]), key=lambda item: item[0])
    jax.clear_caches()
    before = compiled.count("jit(_value_and_gradient)")
    found = [gp.value_and_grad_log_posterior() for *_, gp in shared]
    assert compiled.count("jit(_value_and_gradient)") == before + 1
    for size, one, (*_, alone), (*_, among_others) in zip(sizes, found, items, shared, strict=True):
        assert among_others.light_curve.table_size == size
        value, gradient = alone.value_and_grad_log_posterior()
        assert float(one[0]) == pytest.approx(float(value), abs=1e-8)
        np.testing.assert_allclose(one[1], gradient, rtol=1e-8, atol=1e-8)


def test_the_same_as_one_by_one(data, many, star):
    result, programs, _ = many
    assert programs == result.compilations == 1
    for k, one in ((0, data[0]), (3, data[2])):
        shared = result[k].fit.model
        first = _first_guess(one, star, PRIORS)
        knots, nodes = shared.table_size
        gp = GPSolver.from_data(one, first, priors=PRIORS, knots=knots, nodes=nodes, solver="dense")
        best = search(gp, number=2, progress=False).best
        assert result[k].log_density == pytest.approx(float(best.log_density), abs=1e-6)
        errors = laplace(gp.posterior, best).std
        assert float(result[k].fit.model.model.envelope.tau_spot) == 2.0  # fixed: not guessed
        for name, value in best.values.items():
            assert result[k].values[name] == pytest.approx(float(value), rel=1e-6)
            assert result[k].errors[name] == pytest.approx(float(errors[name]), rel=1e-3)


def test_filling_up_changes_no_fit_at_the_edge_of_a_prior(data, star):
    priors = {**PRIORS, "lspot": (1.0, 4.0)}
    gp = GPSolver.from_data(data[0], star.set({"envelope.lspot": 3.0}), priors=priors)
    wide = _with(gp, filled_up(gp.light_curve, 90, 1, layout=(1, 90, 0)))
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
    with pytest.raises(ValueError, match="'fourier'"):
        fit_many(data, star, solver="fourier")


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
