"""Checks of a fit: statistics, their calibration, and what they say of right and wrong models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import spotgp
from pytreefit import Samples, fit
from spotgp.checks import score, statistics
from spotgp.checks.check import BAND
from spotgp.checks.compare import _error, _Scored
from spotgp.checks.gaussian import (
    Projection,
    derivatives,
    drawn,
    moments_of,
    series_of,
    with_latitude,
)
from spotgp.checks.values import draws_of

N = 70
PRIORS = {
    "peq": (2.0, 8.0),
    "kappa": None,
    "lspot": (2.0, 12.0),
    "tau_spot": (0.5, 6.0),
    "jitter": (1e-5, 1e-2),
}


@pytest.fixture(scope="module")
def data():
    """Uneven times with a gap and unequal errors, in two segments, of a draw of the process."""
    rng = np.random.default_rng(8)
    t = np.sort(np.concatenate([rng.uniform(0.0, 30.0, N // 2), rng.uniform(45.0, 75.0, N // 2)]))
    return t, rng.uniform(5e-4, 2e-3, N), (t > 40.0).astype(int)


def process(data, flux, star, **options):
    t, error, segment = data
    options = {"offsets": segment, "trend": 1, "jitter": 1e-3, "priors": PRIORS, **options}
    return spotgp.GPSolver(t, flux, error, star, solver="dense", **options)


@pytest.fixture(scope="module")
def gp(data, star):
    draw = process(data, np.ones(N) + 1e-3 * np.sin(data[0]), star)
    flux = np.asarray(draw.sample_prior(data[0], jax.random.key(3))[0])
    noise = np.random.default_rng(5).normal(size=N) * np.hypot(data[1], 1e-3)
    return process(data, 1.0 + flux + noise, star)


@pytest.fixture(scope="module")
def parts(gp):
    """Series, moments, projection and derivatives at the process's own values."""
    best = gp.values()
    series = series_of(gp, 1000, 4.0)
    moments = moments_of(gp, series, best)
    return series, moments, Projection.of(moments, series.columns), derivatives(gp, series, best)


@pytest.fixture(scope="module")
def best(gp):
    return fit(gp.posterior, steps=200, progress=False)


@pytest.fixture(scope="module")
def found(gp):
    return spotgp.check(gp, draws=400)


def test_the_score_is_the_gradient_of_the_log_likelihood(gp, parts):
    series, _, projection, (mean, covariance) = parts
    u = gp.posterior.unconstrain(gp.values())

    def log_likelihood(u):
        return gp.posterior.log_likelihood(gp.posterior.model_from(u))

    expected = jax.jit(jax.grad(log_likelihood))(u)
    own = score.scores(projection, mean, covariance, series.flux[None])[0]
    np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4 * np.max(np.abs(expected)))


def test_the_information_is_the_covariance_of_scores(gp, parts):
    series, _, projection, (mean, covariance) = parts
    expected = score.information(projection, mean, covariance)
    values = {name: np.asarray(value)[None] for name, value in gp.values().items()}
    number = 20000
    flux = drawn(gp, series, values, number, jax.random.key(1))
    own = score.scores(projection, mean, covariance, flux)
    width = np.sqrt(np.diag(expected))
    scaled = own / width
    # the error of a mean and of a product of two standardised scores, of some kurtosis
    np.testing.assert_allclose(np.mean(scaled, axis=0), 0.0, atol=5.0 / np.sqrt(number))
    error = 5.0 * np.sqrt(8.0 / number)
    np.testing.assert_allclose(np.cov(scaled.T), expected / width / width[:, None], atol=error)


def test_gains_do_not_depend_on_the_other_parameters(gp, parts):
    """To first order: draws at parameters that are off have the same z as at the right ones."""
    series, moments, projection, (mean, covariance) = parts
    own = moments.covariance - np.diag(moments.noise)
    band = with_latitude(gp, series, gp.values(), spotgp.LatitudeBand(0.3, 0.7))
    directions = score.Directions(mean, covariance, (band - own)[None])
    bare = score.Directions(mean[:0], covariance[:0], (band - own)[None])
    off = gp.values({"sigma_k": 1.1 * float(gp.process.model.sigma_k)})
    values = {name: np.asarray(value)[None] for name, value in off.items()}
    flux = drawn(gp, series, values, 4000, jax.random.key(1))
    with_others, without = (d.standardised(projection, flux)[:, 0] for d in (directions, bare))
    assert abs(np.mean(with_others)) < 0.2 * abs(np.mean(without))
    values = {name: np.asarray(value)[None] for name, value in gp.values().items()}
    flux = drawn(gp, series, values, 4000, jax.random.key(1))
    z = directions.standardised(projection, flux)[:, 0]
    assert np.std(z) == pytest.approx(1.0, abs=0.06)
    assert np.mean(z) == pytest.approx(0.0, abs=0.06)


def test_residuals_are_those_of_leave_one_out(gp, parts):
    series, _, projection, _ = parts
    z, less, known = statistics.left_out(projection, series.flux[None])
    expected = gp.leave_one_out()
    assert known.all()
    np.testing.assert_allclose(z[0], expected.residual, atol=1e-6)
    np.testing.assert_allclose(series.flux + less[0], expected.mean, atol=1e-8)


def test_the_autocorrelation_against_pairs(parts):
    series, moments, *_ = parts
    weights = statistics.weights_of(moments)
    slots = statistics.Slots.of(series, 4.0)
    residual = statistics.detrended(series.flux[None], moments.mean, series.columns, weights)[0]
    curves = statistics.curves_of(residual[None], weights, slots)
    lag = slots.index[:, None] - slots.index[None, :]
    product = (weights * residual)[:, None] * (weights * residual)[None, :]
    both = weights[:, None] * weights[None, :]
    for k in (0, 2, 7):
        covariance = [np.sum(product[lag == j]) / np.sum(both[lag == j]) for j in (k, 0)]
        expected = covariance[0] / covariance[1]
        assert curves.autocorrelation[0, k] == pytest.approx(expected, rel=1e-6)
    angle = 2.0 * np.pi * curves.frequency[5] * slots.step * slots.index
    direct = np.abs(np.sum(weights * residual * np.exp(-1j * angle))) ** 2
    ratio = curves.power[0, 5] / curves.power[0, 3]
    angle = 2.0 * np.pi * curves.frequency[3] * slots.step * slots.index
    assert ratio == pytest.approx(
        direct / np.abs(np.sum(weights * residual * np.exp(-1j * angle))) ** 2, rel=1e-6
    )


def test_ranks_are_uniform_whatever_the_statistics_depend_on():
    rng = np.random.default_rng(0)
    one_sided = np.array([False, False, True, False])
    found = []
    for _ in range(400):
        normal = rng.normal(size=(100, 3))
        rows = np.concatenate([normal, np.exp(normal[:, :1] + 0.1 * normal[:, 1:2])], axis=1)
        found.append(statistics.ranked(rows, one_sided, 0.05).p_value)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    # to the resolution of a hundred rows: a rank is at least 1
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_what_is_far_out_ranks_first():
    rows = np.random.default_rng(1).normal(size=(500, 3))
    rows[0] = [0.0, 9.0, 0.0]
    high = statistics.ranked(rows, np.zeros(3, bool), 0.05)
    assert high.p_value == 1 / 500
    assert high.tail[1] == 2 / 500
    assert high.tail[0] > 0.5
    # a small gain is no sign against a model
    rows[0] = [0.0, -9.0, 0.0]
    assert statistics.ranked(rows, np.array([False, True, False]), 0.05).p_value > 0.5


def test_draws_that_are_all_alike_overflow_without_a_warning():
    rows = np.zeros((100, 2))
    rows[:, 0] = np.arange(100.0)
    rows[7, 1] = 1e9  # over a width of 0
    assert statistics.ranked(rows, np.zeros(2, bool), 0.05).tail[1] == 1.0
    rows[[0, 7], 1] = 1e9, 0.0
    assert statistics.ranked(rows, np.zeros(2, bool), 0.05).p_value == 1 / 100


def test_levels_of_segments_change_nothing(data, gp, star, found):
    shifted = np.asarray(gp.data.flux) + np.where(data[2] == 1, 0.3, -0.2) + 1e-3 * data[0]
    other = spotgp.check(process(data, shifted, star), draws=400)
    # a table of the kernel depends on the scatter of the fluxes, to its accuracy
    np.testing.assert_allclose(other.data, found.data, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(other.tail, found.tail, atol=0.01)


def test_a_draw_of_the_model_passes(found):
    assert found.good
    assert found.p_value > 0.05
    assert found.sentence.startswith("Nothing fails")
    assert {BAND, "skewness", "power at 2/P, log10 of that at 1/P"} < set(found.names)
    row = found.table()[found.names.index("skewness")]
    assert row[0] == "skewness"
    assert float(row[1]) == pytest.approx(found.data[found.names.index("skewness")], abs=1e-3)
    assert "<table>" in found._repr_html_()


def test_a_skewed_light_curve_fails(data, gp, star):
    flux = np.asarray(gp.data.flux)
    dips = 1.0 - 0.004 * np.exp(2.0 * (1.0 - flux) / np.std(flux) / 1.5)
    wrong = spotgp.check(process(data, dips, star), draws=400)
    assert not wrong.good
    assert wrong.p_value <= 0.05
    assert wrong.sentence.startswith("The model fails")


def test_white_noise_that_the_model_lacks_fails(data, gp, star):
    more = np.random.default_rng(2).normal(0.0, 0.01, N)
    wrong = spotgp.check(process(data, np.asarray(gp.data.flux) + more, star), draws=400)
    assert "residuals, mean square" in wrong.failing


def test_results_of_all_kinds(gp, best):
    """Of a fit and of a sampler: draws scatter about the best; values alone do not."""
    key = jax.random.key(0)
    draws = draws_of(gp, best, 200, key)
    path = "model.visibility.peq"
    assert draws.values[path].shape == (200,)
    assert float(best.values[path]) == draws.best[path]
    assert 0.0 < np.std(draws.values[path]) < 0.5
    centre = gp.posterior.unconstrain(best.values)
    u = centre[None, None] + 0.01 * jax.random.normal(key, (2, 30, centre.size))
    seconds = dict.fromkeys(("compile", "warmup", "sampling"), 0.0)
    density = jnp.arange(60.0).reshape(2, 30)
    samples = Samples.from_points(gp.posterior, u, density, seconds, None)
    from_samples = draws_of(gp, samples, 25, key)
    assert from_samples.origin == "the posterior"
    assert from_samples.values["model.visibility.peq"].shape == (25,)
    for one in (None, {"peq": 4.0}, np.asarray([float(v) for v in gp.values().values()])):
        assert draws_of(gp, one, 25, key).values["model.visibility.peq"].shape == (1,)
    search = spotgp.Search(best, (best,), np.zeros(1))
    assert draws_of(gp, search, 25, key).best == draws.best
    ranking = spotgp.compare({"draws": (gp, samples), "values": (gp, best)})
    assert abs(ranking[1].difference) < 1.0  # both are about the same place
    known = {score.name: score.pareto_k for score in ranking}
    assert np.isfinite(known["draws"])
    assert np.isnan(known["values"])
    assert {s.name: s.origin for s in ranking} == {
        "draws": "the posterior",
        "values": "the best fit",
    }


def test_bad_results(gp, best):
    with pytest.raises(TypeError, match="fit = 'abc' is no result of a fit"):
        spotgp.check(gp, "abc")
    with pytest.raises(ValueError, match="is not a free parameter"):
        spotgp.check(gp, {"nothing": 1.0})
    with pytest.raises(ValueError, match="has no fit: too short"):
        spotgp.check(gp, spotgp.StarFit("A", message="too short"))
    with pytest.raises(ValueError, match="pass the process that was fitted"):
        spotgp.check(gp, dataclasses.replace(best, names=best.names[1:]))
    with pytest.raises(ValueError, match="draws"):
        spotgp.check(gp, draws=3)


def test_compare(gp, data, star):
    wrong = {"peq": 7.0}
    ranking = spotgp.compare({"wrong": (gp, wrong), "right": gp})
    assert ranking.best == "right"
    right, off = ranking
    assert right.origin == off.origin == "the given values"
    one, two = (gp.leave_one_out(theta) for theta in (None, wrong))
    assert right.total == pytest.approx(float(one.log_score))
    assert off.difference == pytest.approx(float(two.log_score - one.log_score))
    difference = np.asarray(two.log_density - one.log_density)
    centred = difference - np.mean(difference)
    period = float(gp.process.model.effective_period())
    lag = np.abs(data[0][:, None] - data[0][None, :])
    variance = centred @ np.maximum(1.0 - lag / period, 0.0) @ centred
    assert off.error == pytest.approx(np.sqrt(variance))
    assert "'right'" in ranking.sentence
    assert len(ranking.table()) == 2


def test_the_error_of_differences_that_are_correlated():
    """Against the scatter of sums of a moving average."""
    rng = np.random.default_rng(0)
    time, rows = np.arange(400.0), rng.normal(size=(300, 403))
    rows = rows[:, :-3] + rows[:, 1:-2] + rows[:, 2:-1]
    errors = [_error(time, row, 20.0) for row in rows]
    assert np.mean(errors) == pytest.approx(np.std(np.sum(rows, axis=1)), rel=0.15)


def test_models_of_other_data_are_refused(gp, data, star):
    other = process(data, np.asarray(gp.data.flux) + 1e-3 * np.sin(data[0]), star)
    with pytest.raises(ValueError, match=r"models\['b'\] is of other data.*flux differs"):
        spotgp.compare({"a": gp, "b": other})
    with pytest.raises(TypeError, match="a dictionary of two names or more"):
        spotgp.compare({"a": gp})
    with pytest.raises(TypeError, match="models"):
        spotgp.compare({"a": gp, "b": 3.0})


def test_figure(found):
    figure = spotgp.plot_check(found)
    assert len(figure.get_axes()) == 5
    assert "fails" in figure.get_suptitle()
    figure.canvas.draw()


def test_long_light_curves_are_thinned_or_cut(star):
    t = np.arange(300) * 0.1
    gp = process((t, 1e-3, None), 1.0 + 0.01 * np.sin(t), star)
    thin = series_of(gp, 100, 4.0)
    assert thin.time.size == 100
    assert thin.span == pytest.approx(29.9)
    cut = series_of(gp, 30, 4.0)
    assert cut.time.size == 30
    np.testing.assert_allclose(np.diff(cut.time), 0.4)


def test_less_than_a_rotation_has_no_harmonics(star):
    t = np.arange(40) * 0.05
    gp = process(
        (t, 1e-3, None), 1.0 + 0.01 * np.sin(t), star, priors=PRIORS | {"peq": (2.0, 90.0)}
    )
    found = spotgp.check(gp, {"peq": 60.0}, draws=100)
    assert np.all(np.isfinite(found.data))
    assert not any("power" in name or "autocorrelation" in name for name in found.names)


def test_the_period_of_a_comparison_is_that_of_the_best_fit(gp):
    """A process that was made at another period: pairs count within a rotation that was found."""
    made = gp.at({"peq": 2.0})
    here, there = {"peq": 4.0}, {"peq": 4.4}
    errors = [spotgp.compare({"a": (of, here), "b": (of, there)})[1].error for of in (gp, made)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_scores_are_sums_over_the_points_that_all_models_predict(data, star):
    """A single point in a segment of its own, of which the model with offsets knows nothing."""
    flux = 1.0 + 0.01 * np.sin(1.5 * data[0])
    segments = np.where(np.arange(flux.size) == 3, 1, 0)
    series = spotgp.TimeSeriesData(data[0], flux, 2e-3, segment=segments)
    options = {"priors": {"kappa": None}, "solver": "dense"}
    one, two = (
        spotgp.GPSolver.from_data(series, star, offsets=each, **options) for each in (False, True)
    )
    ranking = spotgp.compare({"one": one, "two": two})
    assert ranking[1].difference <= 0.0
    for one in ranking:
        assert np.flatnonzero(np.isnan(one.log_density)).tolist() == [3]


def test_a_point_that_has_a_level_of_its_own_is_not_predicted(star):
    """Far above the noise, where rounding leaves more of it than other points have of theirs."""
    t = np.sort(np.random.default_rng(4).uniform(0.0, 20.0, 60))
    segment = np.where(np.arange(60) == 30, 1, 0)
    flux = 1.0 + 0.01 * np.sin(1.5 * t)
    options = {"priors": {"kappa": None}, "solver": "dense"}
    own = spotgp.GPSolver(t, flux, 3e-6, star, offsets=segment, **options)
    series = series_of(own, 1000, 4.0)
    projection = Projection.of(moments_of(own, series, own.values()), series.columns)
    _, _, known = statistics.left_out(projection, series.flux[None])
    assert np.flatnonzero(~known).tolist() == [30]


def test_models_of_which_one_predicts_nothing(gp, monkeypatch):
    known = {"a": np.zeros(3), "b": np.full(3, np.nan)}
    scored = iter([_Scored(x, np.nan, "the given values", {}) for x in known.values()])
    monkeypatch.setattr("spotgp.checks.compare._score", lambda *_: next(scored))
    with pytest.raises(ValueError, match="no point is predicted by all of them: none by b"):
        spotgp.compare({"a": gp, "b": gp})
