"""Importance sampling against closed forms: moments, modes, evidence, what it says of itself."""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import pytreefit.sampling.mixture as mixture
from pytreefit import Importance, Model, Posterior, Samples, fit, laplace, load, param, sample

KEY = jax.random.key(0)


class Three(Model):
    x: jax.Array = param()
    y: jax.Array = param()
    s: jax.Array = param(bounds="[0, inf)")


class Vector(Model):
    values: jax.Array = param(shape=None)


PRIORS = {"x": (-10, 10), "y": (-10, 20), "s": (0, 1)}


def posterior(log_likelihood, **priors):
    return Posterior(Three(0.1, 0.2, 0.5), log_likelihood, PRIORS | priors)


def gaussian(m):
    """Correlated in x and y; one-sided in s, with the maximum at its bound."""
    x, y = (m.x - 1.0) / 0.02, (m.y - 2.0) / 3.0
    return -0.5 * (x**2 - 1.6 * x * y + y**2) / 0.36 - m.s / 0.1


def two_modes(m):
    """Three quarters in a curved valley, and a quarter in a small mode far away."""
    valley = -0.5 * ((m.y - m.x**2) / 0.3) ** 2 - 0.5 * m.x**2 - jnp.log(0.3)
    other = -0.5 * ((m.y - 9.0) / 0.1) ** 2 - 0.5 * ((m.x - 6.0) / 0.2) ** 2 - jnp.log(0.02)
    # half of the prior's mass of s
    return jnp.logaddexp(valley, other - jnp.log(3.0)) + jnp.log(2.0 * m.s)


def drawn(target, starts, **options):
    fits = [fit(target, start=start, progress=False) for start in starts]
    options = {"method": "mixture", "start": fits, "draws": 1000, "progress": False} | options
    return sample(target, KEY, **options)


@pytest.fixture(scope="module")
def modes():
    return drawn(posterior(two_modes), [{"x": 0.5, "y": 0.1}, {"x": 6.1, "y": 8.8}, {"x": -0.5}])


def test_moments_and_evidence_of_a_gaussian():
    target = posterior(gaussian)
    samples = drawn(target, [{}])
    found = samples.importance
    assert found.good
    assert found.effective > 2000
    volume = 2.0 * np.pi * 0.02 * 3.0 * 0.6 * 0.1 * (1.0 - np.exp(-10.0)) / (20.0 * 30.0)
    assert abs(found.log_evidence - np.log(volume)) < 4.0 * found.log_evidence_error < 0.1
    x, y, s = (np.ravel(samples.draws[name]) for name in "xys")
    slack = 4.0 / np.sqrt(2000.0)
    assert abs(x.mean() - 1.0) < slack * 0.02
    assert abs(y.std() / 3.0 - 1.0) < slack
    assert abs(np.corrcoef(x, y)[0, 1] - 0.8) < slack
    assert abs(s.mean() - 0.1) < slack * 0.1
    assert s.min() > 0
    values = {name: samples.draws[name][0, 0] for name in "xys"}
    volume = samples.log_volume[0, 0]
    there = target.log_likelihood_of(target.model_at(values)) + target.log_prior(values)
    np.testing.assert_allclose(samples.log_density[0, 0], there + volume, rtol=1e-10)


def test_modes_with_their_probabilities(modes):
    found = modes.importance
    assert found.good
    assert found.mode_probabilities.shape == (2,)  # two of the starts were the same mode
    np.testing.assert_allclose(found.mode_probabilities, [0.75, 0.25], atol=0.03)
    np.testing.assert_allclose(found.mode_values["x"][1], 6.0, atol=0.05)
    assert abs(found.log_evidence - np.log(2 * np.pi * 4 / 3 / 600)) < 0.1
    x, s = np.ravel(modes.draws["x"]), np.ravel(modes.draws["s"])
    assert abs(np.mean(x > 4.0) - 0.25) < 0.03
    valley = x[x < 4.0]
    np.testing.assert_allclose(
        np.quantile(valley, [0.16, 0.5, 0.84]), [-0.994, 0.0, 0.994], atol=0.1
    )
    assert abs(s.mean() - 2 / 3) < 0.03
    assert "0.2" in repr(found.modes())


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_starts_of_any_kind(shift):
    target = posterior(lambda m: two_modes(m) + shift)
    best = fit(target, start={"x": 0.5, "y": 0.1}, progress=False)
    starts = [None, {"x": 6.0, "y": 9.0}, best, laplace(target, best, held=best.at_edge)]
    samples = sample(target, KEY, method="mixture", start=starts, progress=False)
    assert abs(np.mean(samples.draws["x"] > 4.0) - 0.25) < 0.05
    assert abs(samples.importance.log_evidence - shift - np.log(2 * np.pi * 4 / 3 / 600)) < 0.1


def test_values_as_starts_hide_no_mode():
    def log_likelihood(m):
        apart = [jnp.sum(((m.values - middle) / 0.3) ** 2) for middle in (-4.0, 4.0)]
        return jnp.logaddexp(jnp.log(0.3) - 0.5 * apart[0], jnp.log(0.7) - 0.5 * apart[1])

    model = Vector(jnp.zeros(4))
    target = Posterior(model, log_likelihood, {"values": dist.Uniform(-20, 20).expand((4,))})
    options = {"method": "mixture", "progress": False, "draws": 1000}
    for start in (
        {"values": jnp.full(4, -4.0)},
        [{"values": jnp.full(4, sign * 4.0)} for sign in (1, -1)],
    ):
        samples = sample(target, KEY, start=start, **options)
        np.testing.assert_allclose(samples.importance.mode_probabilities, [0.7, 0.3], atol=0.03)
        truth = 2.0 * np.log(2.0 * np.pi * 0.09) - 4.0 * np.log(40.0)
        assert abs(samples.importance.log_evidence - truth) < 0.1


@pytest.mark.parametrize("half", [0.1, 0.3])
def test_a_density_that_is_zero_outside_of_a_box(half):
    def box(m):
        return jnp.where(jnp.max(jnp.abs(m.values)) < half, 0.0, -jnp.inf)

    target = Posterior(Vector(jnp.zeros(2)), box, {"values": dist.Uniform(-20, 20).expand((2,))})
    samples = sample(target, KEY, method="mixture", progress=False)
    assert np.max(np.abs(samples.draws["values"])) < half
    assert abs(samples.importance.log_evidence - 2.0 * np.log(half / 20.0)) < 0.1
    assert abs(np.std(samples.draws["values"]) / half * np.sqrt(3.0) - 1.0) < 0.05


def test_it_says_what_it_is(modes):
    assert modes.log_density.shape == (4, 1000)
    assert {float(n) for n in modes.ess.values()} == {min(modes.importance.effective, 4000.0)}
    assert "effective of" in repr(modes)
    assert "Pareto k" in repr(modes)
    assert modes.models(5).x.shape == (5,)


def test_the_same_key_gives_the_same_draws(modes, tmp_path):
    samples = drawn(posterior(gaussian), [{}])
    again = drawn(posterior(gaussian), [{}])
    np.testing.assert_array_equal(samples.draws["x"], again.draws["x"])
    modes.save(tmp_path / "draws.npz")
    loaded = load(tmp_path / "draws.npz")
    assert isinstance(loaded, Samples)
    assert isinstance(loaded.importance, Importance)
    np.testing.assert_array_equal(
        loaded.importance.mode_values["x"], modes.importance.mode_values["x"]
    )
    assert loaded.importance.log_evidence == modes.importance.log_evidence


def test_the_prior_alone_has_the_evidence_one():
    samples = drawn(posterior(lambda m: 0.0 * m.x, s=dist.HalfNormal(2.0)), [{}])
    found = samples.importance
    assert abs(found.log_evidence) < max(4.0 * found.log_evidence_error, 0.02)
    assert abs(np.mean(samples.draws["s"]) - 2.0 * np.sqrt(2.0 / np.pi)) < 0.1


def test_values_that_are_not_finite_have_no_weight():
    def cut(m):
        return jnp.where(m.x > 1.0, jnp.nan, gaussian(m))

    samples = drawn(posterior(cut), [{"x": 0.99}])
    assert np.max(samples.draws["x"]) <= 1.0
    assert abs(np.mean(samples.draws["x"]) - 1.0 + 0.02 * np.sqrt(2.0 / np.pi)) < 2e-3
    target = posterior(lambda m: jnp.nan * m.x)
    with pytest.raises(ValueError, match="not finite"):
        sample(target, KEY, method="mixture", progress=False)


def test_where_it_fails_it_says_so_and_auto_goes_on(monkeypatch):
    monkeypatch.setattr(mixture, "_limit", lambda number: -1.0)
    target = posterior(two_modes)
    with pytest.warns(UserWarning, match=r"Pareto k = .* is above"):
        drawn(target, [{"x": 3.0, "y": 9.0}], draws=4000)
    options = {"method": "auto", "chains": 2, "warmup": 20, "draws": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few draws of NUTS are not enough
        samples = drawn(target, [{"x": 3.0, "y": 9.0}], **options)
    assert samples.importance is None
    assert np.all(samples.leapfrogs > 0)


def test_an_interrupt_keeps_the_points_so_far():
    lines = []

    def stop(line):
        lines.append(line)
        if "effective" in line and len([line for line in lines if "effective" in line]) == 1:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted after 1,000 points"):
        samples = drawn(posterior(gaussian), [{}], progress=stop, draws=250)
    assert samples.importance.good
    with pytest.raises(KeyboardInterrupt):
        drawn(posterior(gaussian), [{}], progress=interrupt)


class Rough(eqx.Module):
    """A Gaussian, and something else in its place for searches."""

    off: str = eqx.field(static=True)
    slope: jax.Array  # 1 of the other

    def log_likelihood(self, m):
        added = {"constant": 7.0, "slope": 100.0 * m.x, "nan": jnp.nan}[self.off]
        return gaussian(m) + jnp.where(self.slope > 0, added, 0.0)

    def rough(self):
        return Rough(self.off, jnp.ones(()))


@pytest.mark.parametrize("off", ["constant", "slope", "nan"])
def test_a_rough_posterior_is_for_searches_only(off):
    target = posterior(Rough(off, jnp.zeros(())).log_likelihood)
    samples, exact = drawn(target, [{}]), drawn(posterior(gaussian), [{}])
    slack = 5.0 * np.hypot(*(s.importance.log_evidence_error for s in (samples, exact)))
    assert abs(samples.importance.log_evidence - exact.importance.log_evidence) < slack
    values = {name: samples.draws[name][0, 0] for name in "xys"}
    there = gaussian(target.model_at(values)) + target.log_prior(values)
    own = samples.log_density[0, 0] - samples.log_volume[0, 0]
    assert float(own) == pytest.approx(float(there), abs=1e-8)


def test_few_effective_draws_are_warned_of(modes):
    few = dataclasses.replace(modes.importance, effective=900.0)
    with pytest.warns(UserWarning, match="Only 900 of 4000 draws are effective"):
        dataclasses.replace(modes, importance=few).warn()


def interrupt(line):
    raise KeyboardInterrupt
