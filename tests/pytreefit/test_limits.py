"""Marginals that pile up at a bound are limits: truncated distributions with known quantiles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from pytreefit import Limit, Model, Posterior, Samples, param, sample
from pytreefit.results.limits import cut_off, limits_of


class Star(Model):
    jitter: jax.Array = param(bounds="[0, inf)", unit="mag")
    shear: jax.Array = param(bounds="[0, 1]")
    slope: jax.Array = param(bounds="(-inf, 2)")
    place: jax.Array = param()
    tilt: jax.Array = param(bounds="[0, 180]", unit="deg", mirror=90.0)


MODEL = Star(jitter=0.1, shear=0.5, slope=0.0, place=0.0, tilt=80.0)


def quantiles(distribution, number=4000):
    """Draws without their scatter: equally spaced quantiles."""
    return distribution.ppf((np.arange(number) + 0.5) / number).reshape(4, -1)


def limit(name, draws, weights=None) -> Any:
    return limits_of(MODEL, {name: draws}, weights).get(name)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
@pytest.mark.parametrize("shape", [stats.halfnorm(), stats.expon(), stats.truncnorm(-0.5, np.inf)])
def test_a_density_that_is_highest_at_a_bound_is_a_limit(shape, scale):
    away = quantiles(shape)
    away = away - (shape.support()[0] if np.isfinite(shape.support()[0]) else 0.0)
    found = limit("jitter", scale * away)
    assert (found.sign, found.bound) == ("<", 0.0)
    expected = shape.ppf(0.95) - shape.support()[0]
    assert found.value == pytest.approx(scale * expected, rel=0.01)
    above = limit("slope", 2.0 - scale * away)
    assert (above.sign, above.bound) == (">", 2.0)
    assert 2.0 - above.value == pytest.approx(scale * expected, rel=0.01)
    assert limit("place", scale * away) is None


def test_a_mirror_is_a_bound_of_draws_on_one_side():
    away = 5.0 * quantiles(stats.halfnorm())
    for sign, inwards in ((">", -1.0), ("<", 1.0)):
        found = limit("tilt", 90.0 + inwards * away)
        assert (found.sign, found.bound) == (sign, 90.0)
        expected = 90.0 + inwards * 5.0 * stats.halfnorm().ppf(0.95)
        assert found.value == pytest.approx(expected, rel=1e-3)
    assert limit("tilt", quantiles(stats.norm(90.0, 5.0))) is None
    with pytest.raises(ValueError, match=r"mirror = 3 must be inside the bounds, \[0, 1\]"):
        param(bounds="[0, 1]", mirror=3)


def test_random_draws_say_the_same():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        found += limit("jitter", np.abs(rng.normal(size=(2, 2000)))) is not None
        assert limit("jitter", 3.0 + rng.normal(size=(2, 2000)).clip(-3.0)) is None
        assert limit("jitter", rng.lognormal(0.0, 1.0, size=(2, 2000))) is None
        two = np.where(rng.uniform(size=(2, 2000)) < 0.4, np.abs(0.3 * rng.normal(size=(2, 2000))),
                       rng.normal(10.0, 1.0, size=(2, 2000)))  # fmt: skip
        assert limit("jitter", two) is None
        assert limit("shear", rng.uniform(size=(2, 2000))) is None
    assert found > 190


def test_where_the_prior_ends_before_the_bound_it_makes_no_limit():
    # log-uniform from 1e-4 on, and seen by the data from 1 on
    h = np.geomspace(1e-4, 10.0, 200_001)
    cumulated = np.cumsum(np.exp(-0.5 * h**2))
    draws = np.interp((np.arange(4000) + 0.5) / 4000, cumulated / cumulated[-1], h)
    assert limit("jitter", draws) is None


def test_what_the_prior_cuts_off_is_no_limit_of_the_data():
    assert limit("shear", quantiles(stats.uniform())) is None
    assert limit("jitter", quantiles(stats.uniform())) is None
    assert limit("jitter", quantiles(stats.truncexpon(1.0))) is None
    assert limit("jitter", quantiles(stats.truncexpon(8.0))) is not None


def test_a_density_that_falls_off_before_the_bound_is_a_value():
    assert limit("jitter", quantiles(stats.truncnorm(-3.0, np.inf, loc=3.0))) is None
    assert limit("jitter", quantiles(stats.truncnorm(-2.0, np.inf, loc=2.0))) is None
    assert limit("jitter", quantiles(stats.truncnorm(-0.5, np.inf, loc=0.5))) is not None
    assert limit("jitter", quantiles(stats.rayleigh())) is None
    assert limit("shear", quantiles(stats.norm(0.5, 0.05))) is None
    # the edge of a prior inside of the bounds is none of them
    assert limit("jitter", 1.0 + quantiles(stats.expon())) is None
    assert limit("shear", np.full((4, 1000), 0.0)) is None


def test_few_draws_show_no_density():
    assert limit("jitter", quantiles(stats.expon(), 996)) is None
    assert limit("jitter", quantiles(stats.expon(), 1004)) is not None


def test_weights_count():
    away = quantiles(stats.uniform(0.0, 10.0))
    weights = np.exp(-0.5 * away**2)
    found = limit("jitter", away, weights / weights.sum())
    assert found.value == pytest.approx(stats.halfnorm().ppf(0.95), rel=0.01)


def test_tables_have_the_limit_in_place_of_the_value():
    draws = {
        "jitter": 1.3e-4 * quantiles(stats.halfnorm()),
        "slope": 2.0 - quantiles(stats.expon()),
        "place": quantiles(stats.norm(5.0)),
    }
    shape = (4, 1000)
    samples = Samples(
        draws={name: jnp.asarray(x) for name, x in draws.items()},
        log_density=jnp.zeros(shape),
        diverging=jnp.zeros(shape, bool),
        acceptance=jnp.ones(shape),
        tree_depth=jnp.zeros(shape, int),
        leapfrogs=jnp.zeros(shape, int),
        jumps=jnp.zeros(shape, int),
        step_size=1.0,
        model=MODEL,
        paths=tuple((name,) for name in draws),
        links={},
        link_paths=(),
        seconds_compile=0.0,
        seconds_warmup=1.0,
        seconds_sampling=1.0,
    )
    assert set(samples.limits) == {"jitter", "slope"}
    assert isinstance(samples.limits["jitter"], Limit)
    table = samples.summary()
    assert table[0][1:6] == ("< 0.00025 (95 %)", "", "", "", "")
    assert table[0][-1] == "mag"
    assert table[1][1:6] == ("> -1.0 (95 %)", "", "", "", "")
    assert float(table[2][1]) == pytest.approx(5.0, abs=0.01)
    assert "jitter     < 0.00025 (95 %)" in repr(samples)


class Turned(Model):
    angle: jax.Array = param(unit="deg")
    length: jax.Array = param(bounds="[0, inf)")


TURNED = Turned(angle=5.0, length=1.0)


def test_draws_that_a_prior_cuts_off_are_said():
    priors = {"angle": dist.Uniform(0.0, 360.0), "length": dist.Uniform(0.0, 2.0)}
    whole = {
        "angle": quantiles(stats.norm(50.0, 10.0)),
        "length": quantiles(stats.halfnorm(0, 0.3)),
    }
    assert cut_off(priors, TURNED, whole) == []  # at 0 a length ends by itself
    logarithmic = {"length": dist.LogUniform(1e-3, 2.0)}
    small = {"length": np.exp(quantiles(stats.truncnorm(0.0, 9.0, np.log(1e-3), 1.0)))}
    assert cut_off(logarithmic, TURNED, small) == []  # too short to be seen
    flat = {"angle": quantiles(stats.uniform(0.0, 360.0))}  # as wide as the prior
    assert cut_off(priors, TURNED, flat) == []
    cut = {
        "angle": quantiles(stats.truncnorm(-0.2, 14.2, 5.0, 25.0)),
        "length": quantiles(stats.truncnorm(-10.0, 0.5, 1.8, 0.4)),
    }
    first, second = cut_off(priors, TURNED, cut)
    assert "draws of angle pile up at 0, where its prior ends" in first
    assert "Shift the range (the angle goes on at its other end)" in first
    assert "draws of length pile up at 2, where its prior ends" in second
    assert "Widen it" in second


def test_sample_says_where_a_prior_cuts_off():
    def log_likelihood(model):
        return -0.5 * ((model.angle - 5.0) / 25.0) ** 2

    posterior = Posterior(TURNED, log_likelihood, {"angle": (0.0, 180.0)})
    with pytest.warns(UserWarning, match="draws of angle pile up at 0, where its prior ends"):
        sample(posterior, jax.random.key(0), method="mixture", progress=False)
