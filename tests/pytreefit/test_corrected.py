"""Draws of one Gaussian corrected to another, whose moments are known."""

import warnings
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from pytreefit import Corrected, Model, Posterior, Samples, load, param, sample, threads
from pytreefit.results import corrected as corrected_module
from pytreefit.results.corrected import _quantiles, _scattered
from pytreefit.results.pareto import pareto_smoothed

KEY = jax.random.key(3)
TRACES = []
PRIORS = {"x": dist.Normal(0.0, 1e3), "y": dist.Normal(0.0, 1e3)}


class Point(Model):
    x: jax.Array = param(unit="d", label="$x$")
    y: jax.Array = param(shape=None)
    z: jax.Array = param(default=0.0)


class Gaussian(eqx.Module):
    mean: jax.Array
    width: jax.Array

    def log_likelihood(self, model):
        TRACES.append(None)
        vector = jnp.concatenate([model.x[None], model.y])
        return -0.5 * jnp.sum(((vector - self.mean) / self.width) ** 2)


class Rows(NamedTuple):
    """What `Samples.from_run` takes of each transition, shape (draws, chains, ...)."""

    u: jax.Array
    log_density: jax.Array
    diverging: jax.Array
    acceptance: jax.Array
    tree_depth: jax.Array
    leapfrogs: jax.Array
    jumps: jax.Array


def gaussian(mean=(0.0, 0.0, 0.0), width=(1.0, 1.0, 1.0), priors=PRIORS, **options):
    data = Gaussian(jnp.asarray(mean, float), jnp.asarray(width, float))
    return Posterior(Point(0.5, [0.5, 0.5]), data.log_likelihood, priors, **options)


def from_coordinates(posterior, u):
    shape = u.shape[:2]
    whole = jnp.zeros(shape, int)
    density = jax.vmap(jax.vmap(posterior.log_density))(u)
    rows = Rows(u, density, whole.astype(bool), jnp.ones(shape), whole, whole, whole)
    return Samples.from_run(posterior, rows, dict.fromkeys(("compile", "warmup", "sampling"), 1), 1)


def draw(posterior, draws=500, chains=4, seed=0):
    """Independent draws of a Gaussian posterior whose priors are wide."""
    data = posterior.log_likelihood.__self__
    rng = np.random.default_rng(seed)
    u = np.asarray(data.mean) + np.asarray(data.width) * rng.normal(size=(draws, chains, 3))
    return from_coordinates(posterior, jnp.asarray(u))


def moments(corrected):
    return tuple(
        np.concatenate([np.ravel(part[name]) for name in ("x", "y")])
        for part in (corrected.mean, corrected.std, corrected.ess)
    )


@pytest.fixture(scope="module")
def samples():
    return draw(gaussian())


def test_moments_of_the_exact_posterior(samples):
    target, width = np.array([0.5, -0.3, 0.2]), np.array([0.9, 1.1, 1.0])
    before = samples.draws["x"].mean()
    corrected = samples.corrected(gaussian(target, width), progress=False)
    mean, std, ess = moments(corrected)
    assert np.all(ess > 400)
    np.testing.assert_allclose((mean - target) / width, 0.0, atol=4 / np.sqrt(ess.min()))
    np.testing.assert_allclose(std / width, 1.0, atol=4 / np.sqrt(ess.min()))
    assert corrected.pareto_k < 0.5
    assert corrected.weights.sum() == pytest.approx(1.0)
    assert float(corrected.shift["x"]) == pytest.approx(
        (mean[0] - before) / samples.draws["x"].std()
    )
    assert corrected.largest_shift == pytest.approx(0.5, abs=0.1)


def test_effective_number_of_the_weights(samples):
    # of a Gaussian moved by d: exp(-d^2)
    exact = gaussian((0.5, 0.0, 0.0))
    corrected = samples.corrected(exact, progress=False)
    assert corrected.weight_ess / 2000 == pytest.approx(np.exp(-0.25), rel=0.08)
    # chains that repeat every draw ten times have a tenth as many
    u = np.random.default_rng(0).normal(size=(40, 4, 3)).repeat(10, axis=0)
    with pytest.warns(UserWarning, match="draws are effective after the correction"):
        lazy = from_coordinates(gaussian(), jnp.asarray(u)).corrected(exact, progress=False)
    assert lazy.weight_ess > 800
    assert float(lazy.ess["x"]) < 0.2 * lazy.weight_ess


def test_the_same_posterior_has_uniform_weights():
    posterior = gaussian(priors={"y": (-4.0, 5.0), "x": dist.LogNormal(0.0, 1.0)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "R-hat is above")
        samples = sample(posterior, KEY, chains=2, warmup=60, draws=100, progress=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only .* draws are effective")
        corrected = samples.corrected(posterior, progress=False)
    np.testing.assert_allclose(corrected.weights, 1 / 200, rtol=1e-9)
    assert corrected.pareto_k == -np.inf
    assert corrected.weight_ess == pytest.approx(200.0)
    assert corrected.largest_shift < 1e-9
    for before, after in zip(samples.summary(), corrected.summary(), strict=True):
        assert (after[0], after[4], after[5], after[6]) == (before[0], *before[4:6], "+0.00")
        assert float(after[1]) == pytest.approx(float(before[1]), abs=0.2 * float(before[5]))


def test_priors_may_differ_in_density_and_support():
    wide = {"x": (-6.0, 7.0), "y": (-8.0, 8.0)}
    narrow = {"y": dist.Normal(0.0, 2.0), "x": dist.TruncatedNormal(1.0, 1.0, low=-0.5)}
    cheap, exact = gaussian(priors=wide), gaussian((0.2, 0.0, 0.0), priors=narrow)
    values = np.random.default_rng(0).normal(size=(50, 2, 3)).clip(-5, 5)

    def coordinates(v):
        return cheap.unconstrain({"x": v[0], "y": v[1:]})

    samples = from_coordinates(cheap, jax.vmap(jax.vmap(coordinates))(jnp.asarray(values)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        corrected = samples.corrected(exact, progress=False)
    x, y = (np.asarray(samples.draws[name]) for name in ("x", "y"))
    inside = x > -0.5
    prior = dist.TruncatedNormal(1.0, 1.0, low=-0.5).log_prob(jnp.asarray(np.maximum(x, -0.5)))
    expected = np.asarray(prior) - 0.5 * (x - 0.2) ** 2 - 0.5 * np.sum(y**2, axis=-1)
    expected += np.sum(np.asarray(dist.Normal(0.0, 2.0).log_prob(jnp.asarray(y))), axis=-1)
    np.testing.assert_allclose(corrected.log_density[inside], expected[inside])
    assert np.all(corrected.log_density[~inside] == -np.inf)
    assert np.all(corrected.weights[~inside] == 0.0)
    assert 5 < np.sum(~inside) < 50
    physical = corrected.samples.log_density - corrected.samples.log_volume
    flat = -0.5 * x**2 - 0.5 * np.sum(y**2, axis=-1) - np.log(13.0 * 16.0**2)
    np.testing.assert_allclose(physical, flat)


def said(function):
    """What a function returns, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function()
    return found, [str(one.message) for one in caught]


def test_a_far_off_approximation_is_warned_of(samples):
    exact = gaussian((4.0, -3.0, 0.0), (1.0, 1.0, 2.0))
    corrected, (first, second) = said(lambda: samples.corrected(exact, progress=False))
    assert "is above 0.70: the exact posterior reaches where" in first
    assert "draws are effective after the correction: evaluate more" in second
    assert corrected.pareto_k > 0.7
    exact, few = gaussian((0.1, 0.0, 0.0)), draw(gaussian(), draws=5)
    _, (first, _) = said(lambda: few.corrected(exact, progress=False))
    assert "weights of 20 draws are too few to be judged" in first


def test_a_part_of_the_draws(samples):
    exact = gaussian((0.5, 0.0, 0.0))
    corrected = samples.corrected(exact, 401, progress=False)
    assert corrected.weights.shape == (4, 100)
    assert corrected.samples.draws["y"].shape == (4, 100, 2)
    places = np.linspace(0, 499, 100).round().astype(int)
    np.testing.assert_array_equal(corrected.samples.draws["x"], samples.draws["x"][:, places])
    chain, place = 2, 7
    values = {n: x[chain, place] for n, x in corrected.samples.draws.items()}
    density = exact.log_density_physical(exact.unconstrain(values))
    assert corrected.log_density[chain, place] == pytest.approx(float(density))
    assert corrected.pareto_limit == pytest.approx(1 - 1 / np.log10(400))
    for number in (15, 2001):
        with pytest.raises(ValueError, match=f"number = {number} must be between 16 and 2000"):
            samples.corrected(exact, number)


def test_one_program_for_all_draws_and_data(samples):
    samples.corrected(gaussian((0.5, 0.0, 0.0)), 200, progress=False)
    count = len(TRACES)
    samples.corrected(gaussian((0.4, 0.1, 0.0)), 300, progress=False)
    assert len(TRACES) == count


def test_several_at_a_time_give_the_same(samples, monkeypatch):
    exact = gaussian((0.4, 0.1, 0.0))
    in_turn = samples.corrected(exact, 400, progress=False)
    for module in (corrected_module, threads):
        monkeypatch.setattr(module, "cores", lambda: 3)
    at_once = samples.corrected(exact, 400, progress=False)
    np.testing.assert_array_equal(at_once.log_density, in_turn.log_density)


def test_progress_and_interrupt(samples):
    lines = []

    def stop(line):
        lines.append(line)
        if int(line.split("of ")[1].partition("/")[0]) >= 40:
            raise KeyboardInterrupt

    exact = gaussian((0.2, 0.0, 0.0))
    corrected, (first, *_) = said(lambda: samples.corrected(exact, progress=stop))
    assert "Interrupted after" in first
    assert "exact density of" in lines[-1]
    assert "left" in lines[-1]
    number = corrected.weights.shape[1]
    assert 10 <= number < 500
    # what there is comes from all along the chains, in order
    all_of_one = np.asarray(samples.draws["x"][1])
    places = [int(np.flatnonzero(all_of_one == x)[0]) for x in corrected.samples.draws["x"][1]]
    assert np.all(np.diff(places) > 0)
    assert np.max(np.diff([-1, *places, 500])) <= 3 * 500 / number
    x = np.asarray(corrected.samples.draws["x"])
    y = np.asarray(corrected.samples.draws["y"])
    flat = float(exact.log_prior(exact.initial))
    expected = flat - 0.5 * (x - 0.2) ** 2 - 0.5 * np.sum(y**2, axis=-1)
    np.testing.assert_allclose(corrected.log_density, expected, rtol=1e-5)

    def stop_at_once(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        samples.corrected(exact, progress=stop_at_once)


def test_the_beginning_of_a_scattered_order_is_everywhere():
    for number in (1, 2, 7, 64, 100):
        order = _scattered(number)
        np.testing.assert_array_equal(np.sort(order), np.arange(number))
        for part in range(1, number):
            gaps = np.diff(np.sort([-1, *order[:part], number]))
            assert gaps.max() <= 2.01 * number / part + 2


def test_draws_of_equal_weight(samples, tmp_path):
    exact = gaussian((0.5, 0.0, 0.0), (0.8, 1.0, 1.0))
    corrected = samples.corrected(exact, 1600, progress=False)
    drawn = corrected.resample(jax.random.key(0))
    assert drawn.log_density.shape == (1, 1600)
    ess = float(corrected.ess["x"])
    assert drawn.draws["x"].mean() == pytest.approx(0.5, abs=4 * 0.8 / np.sqrt(ess))
    assert drawn.draws["x"].std() == pytest.approx(0.8, rel=4 / np.sqrt(ess))
    # each is drawn as often as its weight says, up or down to the next integer
    everyone = np.ravel(corrected.samples.draws["x"])
    count = np.sum(everyone[:, None] == np.ravel(drawn.draws["x"])[None, :], axis=1)
    assert np.all(np.abs(count - 1600 * corrected.weights.ravel()) < 1.0 + 1e-9)
    assert float(drawn.ess["x"]) < 0.9 * 1600  # repetitions are not independent
    u = exact.unconstrain({n: x[0, 5] for n, x in drawn.draws.items()})
    assert float(drawn.log_density[0, 5]) == pytest.approx(float(exact.log_density(u)))
    assert corrected.resample(jax.random.key(1), 50).log_density.shape == (1, 50)
    with pytest.raises(ValueError, match="n = 0 must be at least 1"):
        corrected.resample(KEY, 0)
    corrected.save(tmp_path / "corrected.npz")
    loaded = load(tmp_path / "corrected.npz")
    assert isinstance(loaded, Corrected)
    assert repr(loaded) == repr(corrected)
    assert "1600 draws, corrected: " in repr(corrected)
    assert "<td>y[1]</td>" in corrected._repr_html_()
    assert corrected.summary().columns[6:] == ("shift", "ESS", "unit")


def test_the_models_are_those_of_the_exact_posterior(samples):
    exact = gaussian((0.2, 0.0, 0.0), links={"z": lambda point: 2.0 * point.x})
    corrected = samples.corrected(exact, 400, progress=False)
    models = corrected.resample(KEY).models(5)
    np.testing.assert_allclose(models.z, 2.0 * models.x)


def test_other_parameters_are_refused(samples):
    for priors, message in [
        ({"x": PRIORS["x"]}, "'y' was drawn but is not free in exact"),
        ({**PRIORS, "z": (-1, 1)}, "'z' is free in exact but was not drawn"),
        ({("x", "z"): PRIORS["x"], "y": PRIORS["y"]}, r"'x' is tied to \['z'\] in exact but"),
    ]:
        with pytest.raises(ValueError, match=message):
            samples.corrected(gaussian(priors=priors))
    long = Posterior(Point(0.5, [0.5, 0.5, 0.5]), lambda m: -(m.x**2), PRIORS)
    with pytest.raises(ValueError, match=r"'y' has shape \(3,\) in exact but was drawn in \(2,\)"):
        samples.corrected(long)
    old = eqx.tree_at(lambda s: s.log_volume, samples, None)
    with pytest.raises(ValueError, match="do not know their volume element"):
        old.corrected(gaussian())


def test_exact_densities_that_are_not_finite(samples):
    partly = Posterior(Point(0.5, [0.5, 0.5]), lambda m: jnp.log(m.x + 1.0), PRIORS)
    corrected, (first, *_) = said(lambda: samples.corrected(partly, 400, progress=False))
    assert "exact density is NaN at " in first
    x = np.asarray(corrected.samples.draws["x"])
    np.testing.assert_array_equal(corrected.weights == 0, x < -1.0)
    nowhere = Posterior(Point(0.5, [0.5, 0.5]), lambda m: jnp.nan * m.x, PRIORS)
    with pytest.raises(ValueError, match="not finite at any of the draws"):
        samples.corrected(nowhere, 16, progress=False)


def test_shape_of_a_pareto_tail():
    uniform = np.random.default_rng(0).uniform(size=100_000)
    for k in (0.3, 0.9):
        smoothed = pareto_smoothed(-k * np.log(uniform))
        assert smoothed.pareto_k == pytest.approx(k, abs=0.15)
        assert smoothed.weights.sum() == pytest.approx(1.0)
    some = np.where(uniform[:200] < 0.9, -np.inf, 3.0 * uniform[:200])
    weights, k = pareto_smoothed(some)
    np.testing.assert_array_equal(weights > 0, np.isfinite(some))
    assert np.isfinite(k)
    assert pareto_smoothed(np.log([1.0, 2.0, 3.0])).pareto_k == np.inf
    two_values = pareto_smoothed(np.where(uniform[:400] < 0.5, 0.0, -1.0))
    assert two_values.pareto_k == -np.inf
    assert two_values.weights.max() == pytest.approx(np.e * two_values.weights.min())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("efficiency", [1.0, 0.3])
@pytest.mark.parametrize("scale", [0.5, 2.0, 30.0])
def test_smoothing_agrees_with_arviz(scale, efficiency):
    arviz = pytest.importorskip("arviz")
    if not hasattr(arviz, "psislw"):
        pytest.skip("another version of ArviZ")
    ratios = scale * np.random.default_rng(0).normal(size=800)
    expected, k = arviz.psislw(ratios.copy(), reff=efficiency)
    found = pareto_smoothed(ratios, efficiency)
    np.testing.assert_allclose(found.weights, np.exp(expected), rtol=1e-10, atol=1e-15)
    assert found.pareto_k == pytest.approx(float(k), rel=1e-10)


def test_weighted_quantiles():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.25, 0.25, 0.5])
    np.testing.assert_allclose(_quantiles(values, weights, (0.5, 0.125, 0.0)), [2.0, 1.0, 1.0])
