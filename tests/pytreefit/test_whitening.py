"""Coordinates of the sampler: bent ones, their inverse and their volume."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from pytreefit import Model, Posterior, fit, laplace, param, sample
from pytreefit.sampling.whitening import Whitening, bend_to, bent, coordinates


@pytest.fixture(scope="module")
def whitening():
    """For a Gaussian, and for a skew number that depends on it."""
    rng = np.random.default_rng(0)
    x = 3.0 + 0.1 * rng.standard_normal(4000)
    y = np.log(rng.exponential(size=4000)) + 2.0 * x
    return bend_to(np.stack([x, y], axis=-1), jnp.result_type(float))


def test_points_there_and_back(whitening):
    v = np.random.default_rng(1).normal(size=(5, 2))
    u = np.asarray(jax.vmap(whitening.u)(jnp.asarray(v)))
    np.testing.assert_allclose(whitening.v(u), v, rtol=1e-8, atol=1e-8)
    straight = Whitening.straight(jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.0], [1.0, 3.0]]))
    np.testing.assert_allclose(straight.u(jnp.array([1.0, 1.0])), [3.0, 2.0], rtol=1e-12)
    assert abs(float(straight.log_volume(jnp.array([1.0, 5.0])))) < 1e-12


def test_volume_is_the_determinant_but_for_a_constant(whitening):
    points = jnp.asarray(np.random.default_rng(2).normal(size=(4, 2)))
    logs = [jnp.linalg.slogdet(jax.jacfwd(whitening.u)(v))[1] for v in points]
    found = jax.vmap(whitening.log_volume)(points)
    np.testing.assert_allclose(jnp.diff(jnp.stack(logs)), jnp.diff(found), rtol=1e-10)


def test_gradients(whitening):
    def log_density(v):
        return -jnp.sum(whitening.u(v) ** 2) + whitening.log_volume(v)

    points = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)))
    u = jax.vmap(whitening.u)(points)
    volumes, gradients = bent(whitening, points, -2.0 * u)
    np.testing.assert_allclose(gradients, jax.vmap(jax.grad(log_density))(points), rtol=1e-10)
    np.testing.assert_allclose(volumes, jax.vmap(whitening.log_volume)(points), rtol=1e-10)


def test_draws_become_nearly_gaussian(whitening):
    rng = np.random.default_rng(4)
    x = 3.0 + 0.1 * rng.standard_normal(4000)
    y = np.log(rng.exponential(size=4000)) + 2.0 * x
    assert abs(stats.skew(y)) > 0.9
    v = whitening.v(np.stack([x, y], axis=-1))
    np.testing.assert_allclose(np.cov(v.T), np.eye(2), atol=0.1)
    assert np.max(np.abs(stats.skew(v))) < 0.2
    assert np.max(np.abs(stats.kurtosis(v))) < 0.4


def test_a_parameter_that_an_approximation_held_has_the_width_of_its_prior():
    posterior = Posterior(
        Ring(1.0, 0.0),
        lambda m: -10.0 * m.width - 0.5 * (m.flux / 0.3) ** 2,
        {"width": (0, 10), "flux": (-10, 10)},
    )
    best = fit(posterior, progress=False)
    around = laplace(posterior, best, held=["width"])
    found, _ = coordinates(posterior, around)
    spread = np.sqrt(np.diag(np.asarray(found.matrix @ found.matrix.T)))
    assert 0.3 < spread[0] < 5.0
    np.testing.assert_allclose(spread[1], np.sqrt(np.diag(around.covariance_u))[1], rtol=0.05)


class Ring(Model):
    width: jax.Array = param(bounds="(0, inf)")
    flux: jax.Array = param()


def test_a_width_below_the_resolution():
    # the data see widths from about 1 on, and a flux that is correlated with the width
    posterior = Posterior(
        Ring(1.0, 0.0),
        lambda m: -0.5 * m.width**2 - 0.5 * ((m.flux - 0.3 * m.width) / 0.3) ** 2,
        {"width": dist.LogUniform(1e-3, 10.0), "flux": (-10, 10)},
    )
    best = fit(posterior, progress=False)
    assert best.at_edge == ("width",)
    options = {"start": best, "draws": 1000, "warmup": 300, "target_acceptance": 0.9}
    samples = sample(posterior, jax.random.key(0), **options, progress=False)
    grid = np.linspace(np.log(1e-3), np.log(10.0), 20_001)
    density = np.exp(-0.5 * np.exp(grid) ** 2)
    density /= np.sum(density)
    width = np.log(np.ravel(samples.draws["width"]))
    for level in (0.1, 0.5, 0.9):
        there = np.interp(level, np.cumsum(density), grid)
        assert abs(np.mean(width < there) - level) < 0.03
    mean = density @ np.exp(grid)
    assert abs(np.mean(samples.draws["flux"]) - 0.3 * mean) < 0.03
    values = {name: samples.draws[name][0, 0] for name in samples.names}
    density = posterior.log_likelihood_of(posterior.model_at(values)) + posterior.log_prior(values)
    own = samples.log_density[0, 0] - samples.log_volume[0, 0]
    assert float(own) == pytest.approx(float(density), abs=1e-8)
