"""Jumps of the sampler between modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, Posterior, param, sample
from pytreefit.sampling.jumps import COMPONENTS, draw, fit_mixture, log_density, no_mixture

MEANS = np.array([[-2.5, 0.0, 1.0], [2.5, 1.0, 0.0]])
WIDTHS = np.array([[0.5, 0.7, 1.0], [0.8, 0.5, 0.6]])
WEIGHTS = np.array([0.3, 0.7])


class Point(Model):
    x: jax.Array = param(shape=(3,))


def two_modes():
    def log_likelihood(point):
        scaled = (point.x[None] - MEANS) / WIDTHS
        each = jnp.log(WEIGHTS / WIDTHS.prod(axis=1)) - 0.5 * jnp.sum(scaled**2, axis=1)
        return jax.scipy.special.logsumexp(each)

    return Posterior(
        Point(jnp.zeros(3)), log_likelihood, {"x": (-50.0 * np.ones(3), 50 * np.ones(3))}
    )


def sample_of_modes(n, rng):
    which = rng.choice(2, size=n, p=WEIGHTS)
    return MEANS[which] + WIDTHS[which] * rng.normal(size=(n, 3))


def test_a_mixture_finds_the_modes_of_a_sample():
    points = sample_of_modes(2000, np.random.default_rng(1))
    mixture = fit_mixture(points)
    weights = np.exp(np.asarray(mixture.log_weights))
    assert weights.shape == (COMPONENTS,)
    used = np.flatnonzero(weights)
    assert used.size == 2
    order = used[np.argsort(np.asarray(mixture.means)[used, 0])]
    np.testing.assert_allclose(weights[order], WEIGHTS, atol=0.03)
    np.testing.assert_allclose(np.asarray(mixture.means)[order], MEANS, atol=0.1)
    roots = np.asarray(mixture.roots)[order]
    widths = np.sqrt(np.diagonal(roots @ roots.swapaxes(1, 2), axis1=1, axis2=2))
    np.testing.assert_allclose(widths, WIDTHS, rtol=0.07)


@pytest.mark.parametrize("points", [np.zeros((3, 2)), np.ones((500, 2)), np.eye(2)])
def test_a_sample_without_spread_gives_a_proper_mixture(points):
    mixture = fit_mixture(points)
    assert np.isfinite(log_density(mixture, jnp.ones(2)))


def test_draws_have_the_density():
    """A mixture's mean of f is the integral of f times the density, up to its constant."""
    mixture = fit_mixture(sample_of_modes(2000, np.random.default_rng(1))[:, :1])
    draws = jax.vmap(lambda key: draw(mixture, key))(jax.random.split(jax.random.key(0), 20_000))
    grid = jnp.linspace(-40.0, 40.0, 20_001)[:, None]
    density = np.exp(jax.vmap(lambda v: log_density(mixture, v))(grid))
    for function in (np.tanh, np.cos, np.abs):
        expected = np.sum(density * function(grid[:, 0])) / np.sum(density)
        values = function(np.asarray(draws[:, 0]))
        assert abs(values.mean() - expected) < 4.0 * values.std() / np.sqrt(values.size)


def test_before_the_warm_up_ends_there_is_a_standard_mixture():
    mixture = no_mixture(2, float)
    assert log_density(mixture, jnp.zeros(2)) == 0.0


@pytest.fixture(scope="module")
def jumping():
    return sample(two_modes(), jax.random.key(2), warmup=300, draws=500, jumps=3, progress=False)


def test_chains_agree_on_the_weights_of_two_modes(jumping):
    right = np.asarray(jumping.draws["x"])[..., 0] > 0
    assert np.all(jumping.rhat["x"] < 1.01)
    assert np.ptp(right.mean(axis=1)) < 0.12
    assert abs(right.mean() - WEIGHTS[1]) < 0.03
    assert 0.5 < np.mean(jumping.jumps) < 3.0
    assert "jumps per draw" in repr(jumping)


def test_a_resumed_run_jumps_as_before(jumping, tmp_path):
    """The mixture is learned again, from the draws in the checkpoint."""
    path = tmp_path / "run.npz"

    def stop(line):
        if "draws" in line:
            raise KeyboardInterrupt

    settings = dict(warmup=300, draws=500, jumps=3, checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        sample(two_modes(), jax.random.key(2), progress=stop, **settings)
    resumed = sample(two_modes(), jax.random.key(2), progress=False, **settings)
    np.testing.assert_array_equal(resumed.draws["x"], jumping.draws["x"])


def test_chains_from_several_starts_meet():
    """Modes so far apart that neither trajectories nor the warm-up would find the other."""
    far = np.array([[-20.0, 0.0, 0.0], [20.0, 0.0, 0.0]])

    def log_likelihood(point):
        scaled = (point.x[None] - far) / WIDTHS
        each = jnp.log(WEIGHTS / WIDTHS.prod(axis=1)) - 0.5 * jnp.sum(scaled**2, axis=1)
        return jax.scipy.special.logsumexp(each)

    prior = {"x": (-50.0 * np.ones(3), 50.0 * np.ones(3))}
    posterior = Posterior(Point(jnp.zeros(3)), log_likelihood, prior)
    drawn = sample(
        posterior,
        jax.random.key(3),
        start=[{"x": mean} for mean in far],
        warmup=300,
        draws=500,
        jumps=3,
        progress=False,
    )
    right = np.asarray(drawn.draws["x"])[..., 0] > 0
    assert np.all(drawn.rhat["x"] < 1.02)
    assert abs(right.mean() - WEIGHTS[1]) < 0.04


def test_jumps_must_be_a_count():
    with pytest.raises(ValueError, match="jumps = -1 must be a whole number >= 0"):
        sample(two_modes(), jax.random.key(0), jumps=-1)
