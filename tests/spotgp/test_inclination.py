"""Priors of the inclination: densities, samples, and their use in a posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to
from scipy.integrate import quad
from scipy.stats import kstest

from pytreefit import Posterior
from spotgp.star.inclination import IsotropicInclination, SinInclination
from spotgp.star.visibility import VisibilityFunction

PRIORS = {
    "isotropic": IsotropicInclination(),
    "both_sides": IsotropicInclination(0.0, np.pi),
    "narrow": IsotropicInclination(0.4, 0.9),
    "uniform": SinInclination(dist.Uniform(0.0, 1.0)),
    "measured": SinInclination(dist.TruncatedNormal(0.8, 0.15, low=0.0, high=1.0)),
    "beta": SinInclination(dist.Beta(2.0, 3.0)),
    "part": SinInclination(dist.Uniform(0.3, 0.7)),
}


def limits(prior):
    return float(prior.support.lower_bound), float(prior.support.upper_bound)


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one_and_samples_follow_it(name):
    prior = PRIORS[name]
    low, high = limits(prior)
    density = jax.jit(lambda x: jnp.exp(prior.log_prob(x)))
    assert abs(quad(lambda x: float(density(x)), low, high, epsabs=1e-10)[0] - 1) < 1e-8
    sample = np.asarray(prior.sample(jax.random.key(1), (4000,)))
    assert np.all((sample >= low) & (sample <= high))
    grid = np.linspace(low, high, 20_001)
    middle = 0.5 * (grid[1:] + grid[:-1])
    cumulative = np.concatenate([[0], np.cumsum(np.asarray(density(jnp.asarray(middle))))])
    cumulative /= cumulative[-1]
    assert kstest(sample, lambda x: np.interp(x, grid, cumulative)).pvalue > 1e-3


def test_density_is_the_sine():
    grid = jnp.linspace(0.1, 1.5, 8)
    np.testing.assert_allclose(IsotropicInclination().log_prob(grid), np.log(np.sin(grid)))
    got = IsotropicInclination(0.2, 1.0).log_prob(grid)
    np.testing.assert_allclose(got, np.log(np.sin(grid) / (np.cos(0.2) - np.cos(1.0))))
    # a star with an isotropic axis has this distribution of sin i
    sine = jnp.sin(grid)
    jacobian = jnp.log(sine / jnp.cos(grid)) + jnp.log(jnp.cos(grid))
    np.testing.assert_allclose(IsotropicInclination().log_prob(grid), jacobian, atol=1e-14)


def test_a_prior_of_the_sine_has_its_jacobian():
    inc = jnp.linspace(0.05, 1.5, 7)
    base = dist.TruncatedNormal(0.8, 0.15, low=0.0, high=1.0)
    # NumPyro itself needs JAX's implicit conversions
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want = base.log_prob(jnp.sin(inc)) + jnp.log(jnp.cos(inc))
    np.testing.assert_allclose(SinInclination(base).log_prob(inc), want)


def test_quantiles_and_mean():
    prior = IsotropicInclination(0.3, 2.0)
    q = jnp.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(prior.cdf(prior.icdf(q)), q, atol=1e-14)
    density = lambda x: x * float(jnp.exp(prior.log_prob(x)))  # noqa: E731
    np.testing.assert_allclose(prior.mean, quad(density, 0.3, 2.0)[0], rtol=1e-9)
    assert abs(IsotropicInclination().mean - 1.0) < 1e-14


def test_unbounded_distributions_are_cut():
    prior = SinInclination(dist.Normal(0.9, 0.3))
    np.testing.assert_allclose(limits(prior), (0.0, np.pi / 2))
    sample = prior.sample(jax.random.key(0), (500,))
    assert np.all((sample >= 0) & (sample <= np.pi / 2))
    assert SinInclination(dist.HalfNormal(0.3)).sample(jax.random.key(0)).shape == ()


@pytest.mark.parametrize("name", PRIORS)
def test_it_is_a_prior_of_a_posterior(name):
    star = VisibilityFunction(10.0, 0.2, 0.6)
    Posterior(star, lambda s: -0.5 * (s.inc - 0.6) ** 2, priors={"inc": PRIORS[name]})
    transform = biject_to(PRIORS[name].support)
    u = jnp.linspace(-4.0, 4.0, 9)

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def density(u):
        inc = transform(u)
        return PRIORS[name].log_prob(inc) + transform.log_abs_det_jacobian(u, inc)

    value, slope = density(u)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


def test_single_precision():
    with jax.enable_x64(False):
        for prior in (IsotropicInclination(), SinInclination(dist.Uniform(0.0, 1.0))):
            assert prior.sample(jax.random.key(0), (3,)).dtype == jnp.float32
            assert prior.log_prob(jnp.asarray(0.5)).dtype == jnp.float32
            Posterior(VisibilityFunction(10.0, 0.2, 0.6), lambda s: s.inc, priors={"inc": prior})


@pytest.mark.parametrize(
    ("error", "build", "message"),
    [
        (ValueError, lambda: IsotropicInclination(1.0, 0.5), "low = 1.0 rad and high = 0.5 rad"),
        (ValueError, lambda: IsotropicInclination(0.0, 90.0), "0 <= low < high <= pi"),
        (TypeError, lambda: SinInclination(0.8), "distribution is 0.8 but must be a scalar"),
        (
            ValueError,
            lambda: SinInclination(dist.Uniform(1.5, 2.0)),
            "leaves nothing of sin i in 0 to 1",
        ),
    ],
)
def test_bad_priors_are_refused(error, build, message):
    with pytest.raises(error, match=message):
        build()
