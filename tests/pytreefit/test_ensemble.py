"""Laws that targets share: against closed forms, and without bias over repeats."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import spotgp
from pytreefit import (
    AbstractLaw,
    Ensemble,
    IndependentLaws,
    LogNormalLaw,
    NormalLaw,
    Posterior,
    fit,
    laplace,
    param,
    survey,
)

WIDE = 5.0  # of the prior of each star, normal about 0
PRIORS = {"laws.x.mean": (-4.0, 6.0), "laws.x.width": (0.05, 4.0)}


def posterior_draws(rng, data, error, number):
    """Of stars with one datum each under the prior."""
    shrink = WIDE**2 / (WIDE**2 + error**2)
    spread = error * np.sqrt(shrink)
    return shrink * data + spread * rng.normal(size=(number, *np.shape(data)))


def stars(rng, number=30, draws=3000, mean=1.0, width=0.8):
    error = rng.uniform(0.3, 0.8, number)
    data = rng.normal(mean, np.hypot(width, error))
    drawn = posterior_draws(rng, data, error, draws)
    return data, error, [{"star.x": drawn[:, k]} for k in range(number)]


def law(mean=1.0, width=0.8):
    return IndependentLaws({"x": NormalLaw(mean, width)})


@pytest.fixture(scope="module")
def gaussian():
    data, error, results = stars(np.random.default_rng(1))
    return data, error, Ensemble.of(results, {"x": dist.Normal(0.0, WIDE)})


@pytest.mark.parametrize(("mean", "width"), [(1.0, 0.8), (0.3, 1.5)])
def test_the_likelihood_of_a_gaussian_law(gaussian, mean, width):
    data, error, ensemble = gaussian
    found = ensemble.log_likelihoods(law(mean, width))
    evidence = stats.norm.logpdf(data, mean, np.hypot(width, error))
    expected = evidence - stats.norm.logpdf(data, 0.0, np.hypot(WIDE, error))
    each = 1.0 / np.asarray(ensemble.effective(law(mean, width))) - 1.0 / 3000
    assert np.max(np.abs(found - expected) / np.sqrt(each)) < 4.0
    total, stated = (
        float(ensemble.log_likelihood(law(mean, width))),
        ensemble.error(law(mean, width)),
    )
    assert abs(total - expected.sum()) < 3.0 * stated < 0.6


def test_the_posterior_of_the_mean_is_that_of_the_data(gaussian):
    data, error, ensemble = gaussian
    posterior = Posterior(law(), ensemble.log_likelihood, {"laws.x.mean": (-9.0, 9.0)})
    best = fit(posterior, progress=False)
    weight = 1.0 / (0.8**2 + error**2)
    np.testing.assert_allclose(
        best.values["laws.x.mean"], weight @ data / weight.sum(), atol=0.15 / np.sqrt(weight.sum())
    )
    width = laplace(posterior, best).std["laws.x.mean"]
    np.testing.assert_allclose(width, 1.0 / np.sqrt(weight.sum()), rtol=0.05)


def test_a_law_is_recovered_without_bias():
    repeats, mean, width = 60, 1.0, 0.6
    grid = np.meshgrid(np.linspace(-0.4, 2.4, 41), np.exp(np.linspace(-2.5, 1.0, 41)))

    @jax.jit
    def on_grid(ensemble):
        at = lambda m, w: ensemble.log_likelihood(law().set({"laws.x.mean": m, "laws.x.width": w}))  # noqa: E731
        flat = [jnp.asarray(g.ravel()) for g in grid]
        return jax.lax.map(lambda mw: at(*mw), tuple(flat), batch_size=41)

    ranks = []
    for k in range(repeats):
        rng = np.random.default_rng(100 + k)
        *_, results = stars(rng, 15, 200, mean, width)
        ensemble = Ensemble.of(results, {"x": dist.Normal(0.0, WIDE)})
        # a flat prior in the logarithm of the width
        density = np.asarray(on_grid(ensemble))
        density = np.exp(density - np.max(density))
        density /= density.sum()
        ranks.append(
            [density @ (g.ravel() < true) for g, true in zip(grid, (mean, width), strict=True)]
        )
    ranks = np.asarray(ranks)
    # the truth is anywhere in its posterior, as often as that says
    assert stats.kstest(ranks[:, 0], "uniform").pvalue > 0.01
    assert stats.kstest(ranks[:, 1], "uniform").pvalue > 0.01


def test_weights_are_posteriors_that_know_of_the_law(gaussian):
    data, error, ensemble = gaussian
    weights = np.asarray(ensemble.weights(law()))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    precision = 1.0 / error**2 + 1.0 / 0.8**2
    expected = (data / error**2 + 1.0 / 0.8**2) / precision
    found = np.sum(weights * np.asarray(ensemble.values["x"]), axis=1)
    assert np.max(np.abs(found - expected) * np.sqrt(precision)) < 0.15
    assert "effective" in repr(ensemble.table(law()))


def test_too_few_draws_are_said(gaussian):
    *_, ensemble = gaussian
    assert ensemble.remark(law()) == ""
    narrow = law(1.0, 0.01)
    assert "too few draws" in ensemble.remark(narrow)
    posterior = Posterior(narrow, ensemble.log_likelihood, {"laws.x.mean": (0.9, 1.1)})
    assert "too few draws" in fit(posterior, progress=False).message


def test_targets_of_different_lengths_and_priors():
    rng = np.random.default_rng(4)
    results = {"a": {"m.inc": rng.uniform(0.1, 1.4, 50)}, "b": {"m.inc": rng.uniform(0.2, 1.2, 80)}}
    priors = [{"inc": (0.0, 1.5)}, {"inc": spotgp.IsotropicInclination()}]
    ensemble = Ensemble.of(results, priors)
    drawn = [results[n]["m.inc"] for n in "ab"]
    found = ensemble.log_likelihoods(spotgp.InclinationLaw(2.0, 1.0))
    density = [2.0 * np.cos(i) * np.sin(i) for i in drawn]
    prior = [np.full(50, 1.0 / 1.5), np.sin(drawn[1])]
    expected = [np.log(np.mean(d / p)) for d, p in zip(density, prior, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # a law that is the prior says nothing
    isotropic = ensemble.log_likelihoods(spotgp.InclinationLaw())
    np.testing.assert_allclose(isotropic[1], 0.0, atol=1e-12)
    slope = jax.grad(lambda a: ensemble.log_likelihood(spotgp.InclinationLaw(a, 1.0)))(2.0)
    ends = [ensemble.log_likelihood(spotgp.InclinationLaw(2.0 + s, 1.0)) for s in (-1e-5, 1e-5)]
    np.testing.assert_allclose(slope, float(ends[1] - ends[0]) / 2e-5, rtol=1e-6)


class Slope(AbstractLaw):
    """Life times that grow with the period."""

    slope: jax.Array = param()

    def log_density(self, values):
        return dist.Normal(self.slope * values["period"], 0.5).log_prob(values["life"])


def test_a_joint_law_from_a_store(tmp_path):
    def work(name, task, key):
        del key
        rng = np.random.default_rng(task)
        period = rng.uniform(1.0, 3.0) + 0.01 * rng.normal(size=(2, 400))
        noise = 0.5 * rng.normal() + 0.2 * rng.normal()
        life = 2.0 * period + noise + 0.2 * rng.normal(size=(2, 400))
        return {"n": task}, {"a.period": jnp.asarray(period), "a.life": jnp.asarray(life)}

    survey.run({f"star {k}": k for k in range(25)}, work, tmp_path / "kept", progress=False)
    store = survey.Store(tmp_path / "kept")
    ensemble = Ensemble.of(store, {"period": (0.0, 9.0), "life": (-20.0, 30.0)})
    assert ensemble.names[3] in store
    best = fit(
        Posterior(Slope(1.0), ensemble.log_likelihood, {"slope": (0.0, 5.0)}), progress=False
    )
    assert abs(float(best.values["slope"]) - 2.0) < 0.2


def test_a_lognormal_law():
    x = jnp.array([2.0, 5.0])
    expected = stats.lognorm.logpdf(np.asarray(x), 0.4, scale=3.0)
    np.testing.assert_allclose(LogNormalLaw(3.0, 0.4).log_density({"t": x}), expected, rtol=1e-12)


GOOD = [{"x": np.arange(3.0)}]


@pytest.mark.parametrize(
    ("results", "priors", "match"),
    [
        ([], {"x": (0, 1)}, "results is empty"),
        (3.0, {"x": (0, 1)}, "results = 3.0"),
        ([4.0], {"x": (0, 1)}, r"results\['0'\] is a float"),
        (GOOD, {"y": (-1, 9)}, "no parameter 'y'; there are x"),
        (GOOD, {}, "priors of '0'"),
        (GOOD, {"x": 2.0}, "must be a NumPyro distribution"),
        (GOOD, {"x": (5, 9)}, "no density under its prior"),
        (GOOD, [{"x": (-1, 9)}] * 2, "2 entries for 1 targets"),
        ([{"x": np.array([np.nan])}], {"x": (-1, 9)}, "not finite"),
        ([{"x": np.ones(3), "y": np.ones(4)}], {"x": (0, 9), "y": (0, 9)}, "different numbers"),
    ],
)
def test_bad_input(results, priors, match):
    with pytest.raises((ValueError, TypeError), match=match):
        Ensemble.of(results, priors)


def test_laws_are_of_what_there_are_draws_of(tmp_path):
    rng = np.random.default_rng(4)
    flat = (-9.0, 9.0)
    two = Ensemble.of([{"a": rng.normal(size=9), "b": rng.normal(size=9)}], {"a": flat, "b": flat})
    for laws, said in (
        ("a", "laws are of a, but there are draws of a, b"),
        ("ac", "laws are of a"),
    ):
        law = IndependentLaws({name: NormalLaw(0.0, 1.0) for name in laws})
        with pytest.raises(ValueError, match=said):
            two.log_likelihood(law)
    with pytest.raises(ValueError, match=r"NormalLaw is a law of one parameter, but .* of a, b"):
        two.log_likelihood(NormalLaw(0.0, 1.0))
    assert np.isfinite(
        two.log_likelihood(IndependentLaws(dict.fromkeys("ab", NormalLaw(0.0, 1.0))))
    )
    survey.run({"x": 1}, lambda name, target, key: {"n": 1.0}, store=tmp_path, progress=False)
    for results, said in (({}, "is empty"), (survey.Store(tmp_path), "has kept no result")):
        with pytest.raises(ValueError, match=f"results {said}"):
            Ensemble.of(results, {"a": flat})


def test_targets_that_have_numbers_for_names(gaussian):
    """Each with priors of its own, under the same numbers."""
    data, _, _ = gaussian
    _, _, results = stars(np.random.default_rng(1))
    prior = {"x": dist.Normal(0.0, WIDE)}
    numbered = {757450 + k: result for k, result in enumerate(results)}
    found = Ensemble.of(numbered, dict.fromkeys(numbered, prior))
    assert found.names == tuple(map(str, numbered))
    same = Ensemble.of(results, prior).log_likelihood(law())
    assert float(found.log_likelihood(law())) == pytest.approx(float(same))
    assert len(found.names) == data.size
