"""What a fit calls a maximum is one: hard functions, in both precisions, with known maxima."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, Posterior, Status, fit, laplace, param
from pytreefit.optimize.newton import predicted, trust_step

LM = "levenberg-marquardt"


class Vector(Model):
    x: jax.Array = param(shape=None)


class Bounded(Model):
    x: jax.Array = param(bounds="[0, 1]")
    y: jax.Array = param(bounds="[0, inf)")


class Rotated(eqx.Module):
    """A Gaussian whose axes are those of no parameter."""

    mean: jax.Array
    root: jax.Array

    @classmethod
    def drawn(cls, seed, condition):
        rng = np.random.default_rng(seed)
        axes, _ = np.linalg.qr(rng.normal(size=(6, 6)))
        root = np.sqrt(np.logspace(0.0, np.log10(condition), 6))[:, None] * axes.T
        return cls(*(jnp.asarray(part, float) for part in (rng.uniform(-2.0, 2.0, 6), root)))

    def residuals(self, model):
        return self.root @ (model.x - self.mean)


class WithoutResiduals(eqx.Module):
    gaussian: Rotated

    def log_likelihood(self, model):
        return -0.5 * jnp.sum(self.gaussian.residuals(model) ** 2)


def posterior_of(function, start):
    return Posterior(Vector(start), lambda model: function(model.x), {"x": (-5, 5)})


def valley(steepness):
    return lambda x: -jnp.sum(steepness * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def bump(x):
    return 50.0 * jnp.exp(-2.0 * jnp.sum((x - 2.0) ** 2))


def saddle(x):
    return -10.0 * (x[0] ** 2 - 1.0) ** 2 - x[1] ** 2


def funnel(x):
    return 4.5**2 / 18 - 2.25 - x[0] ** 2 / 18 - x[1] ** 2 / (2.0 * jnp.exp(x[0])) - x[0] / 2


def powell(x):
    near = (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2
    return -1e4 * (near + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4)


def on_a_line(x):
    return -1e3 * (x[0] + x[1] - 1.0) ** 2


def bounded(x):
    return -1e4 * x[0] - 5e5 * (x[1] - 0.2) ** 2


def stairs(x):
    return -0.1 * jnp.sum(jnp.floor(10.0 * x) ** 2)


def wall(x):
    return (
        0.125
        - 0.5 * jnp.sum((x - 1.0) ** 2)
        + 0.5 * (x[1] - 1.0) ** 2
        - jnp.where(x[0] > 0.5, 1e3, 0.0)
    )


def kink(x):
    return -100.0 * jnp.abs(x[0] + x[1]) - jnp.abs(x[0] - x[1] - 1.0)


def cusp(x):
    return -jnp.sum(jnp.sqrt(jnp.abs(x - 0.3)))


# maximum 0, start, and whether the maximum is there to be found by derivatives
HARD = {
    "rosenbrock": (valley(100.0), [-1.2, 1.0], True),
    "rosenbrock in six dimensions": (valley(100.0), [-1.2, 1.0] * 3, True),
    "narrow banana": (valley(1e8), [-1.2, 1.0], False),
    "plateau": (lambda x: bump(x) - 50.0, [-3.0, -3.0], False),
    "wing of a bump": (lambda x: bump(x) - 50.0, [-0.5, 0.0], True),
    "saddle": (saddle, [0.0, 0.5], True),
    "flat direction": (on_a_line, [0.0, 0.5], True),
    "quartic": (lambda x: -1e8 * jnp.sum((x - 0.3) ** 4), [2.0, 1.0], True),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0], True),
    "funnel": (funnel, [1.0, 1.0], True),
    "heavy tails": (lambda x: -jnp.sum(jnp.log1p(1e4 * (x - 1.0) ** 2)), [-3.0, 3.0], True),
    "stairs": (stairs, [0.55, 0.75], False),
    "wall": (wall, [0.0, 0.0], False),
    "kink": (kink, [1.0, 1.3], False),
    "cusp": (cusp, [2.0, 1.0], False),
}


def check(result, function, found):
    """Converged means that nothing is left, and all else says what is."""
    gap = -float(function(jnp.asarray(result.model.x)))
    if result.converged:
        assert gap < 0.01, result.message
    else:
        assert "Not converged" in result.message or "still expected" in result.message
    assert result.converged or not found, result.message
    assert result.history.shape == (result.steps,)
    assert float(result.history[-1]) == pytest.approx(float(result.log_density), rel=1e-6)


@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
@pytest.mark.parametrize("name", HARD)
def test_converged_means_that_no_gain_is_left(name, double):
    function, start, found = HARD[name]
    with jax.enable_x64(double):
        check(fit(posterior_of(function, start), progress=False), function, found)


@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
def test_rotated_gaussians_of_a_large_condition(double):
    with jax.enable_x64(double):
        for seed in range(20):
            gaussian = WithoutResiduals(Rotated.drawn(seed, 1e8))
            posterior = Posterior(Vector(jnp.zeros(6)), gaussian.log_likelihood, {"x": (-5, 5)})
            # in single precision noise may leave open whether this is the maximum
            result = fit(posterior, progress=False)
            check(result, lambda x, g=gaussian: g.log_likelihood(Vector(x)), found=double)


def test_residuals_are_judged_by_their_fisher_matrix():
    for seed in range(5):
        gaussian = Rotated.drawn(seed, 1e8)
        posterior = Posterior(
            Vector(jnp.zeros(6)),
            WithoutResiduals(gaussian).log_likelihood,
            {"x": (-5, 5)},
            residuals=gaussian.residuals,
        )
        result = fit(posterior, LM, progress=False)
        check(result, lambda x, g=gaussian: WithoutResiduals(g).log_likelihood(Vector(x)), True)


def test_residuals_do_not_end_where_their_derivatives_vanish():
    def residuals(model):
        return jnp.stack([3.0 * (model.x[0] ** 2 - 1.0), model.x[1]])

    def function(x):
        return -0.5 * jnp.sum(residuals(Vector(x)) ** 2)

    posterior = Posterior(
        Vector([0.0, 0.5]), lambda m: function(m.x), {"x": (-5, 5)}, residuals=residuals
    )
    check(fit(posterior, LM, progress=False), function, True)


def test_a_bound_is_a_maximum():
    posterior = Posterior(
        Bounded(0.5, 0.3),
        lambda m: bounded(jnp.stack([m.x, m.y])),
        {"x": (0, 1), "y": (0, 1)},
    )
    result = fit(posterior, progress=False)
    assert result.at_bound == ("x",)
    assert result.converged
    assert float(result.log_density) > -0.01
    assert "hardly changes" not in result.message
    alone = Posterior(Bounded(0.5, 0.3), lambda m: -m.x, {"x": (0, 1)})
    assert fit(alone, progress=False).converged


@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
def test_a_constant_hides_no_gain(double):
    with jax.enable_x64(double):
        curve = valley(100.0) if double else lambda x: -50.0 * jnp.sum((x - 0.3) ** 2)
        posterior = posterior_of(lambda x: curve(x) - 1e10, [-1.2, 1.0])
        result = fit(posterior, progress=False)
        assert result.converged, result.message
        assert float(curve(result.model.x)) > -0.01


class NotNegative(Model):
    x: jax.Array = param(bounds="[0, inf)", shape=None)


@pytest.mark.parametrize(("first", "others", "bound"), [(100.0, 0.1, ()), (-3.0, 4.8, ("x[0]",))])
def test_each_entry_of_an_array_has_its_own_edge(first, others, bound):
    def log_likelihood(model):
        return -0.5 * ((model.x[0] - first) / 10) ** 2 - 50.0 * jnp.sum((model.x[1:] - others) ** 2)

    posterior = Posterior(NotNegative([2.0, 0.5, 0.5, 0.5]), log_likelihood, {"x": (0, 5)})
    result = fit(posterior, progress=False)
    assert (result.at_edge, result.at_bound) == (("x[0]",), bound)
    assert result.converged == bool(bound)


def test_other_starts_take_nothing_of_the_steps():
    gaussian = WithoutResiduals(Rotated.drawn(2, 1e8))
    posterior = Posterior(Vector(jnp.zeros(6)), gaussian.log_likelihood, {"x": (-5, 5)})
    result = fit(posterior, starts=4, key=jax.random.key(0), progress=False)
    assert result.converged, result.message


def test_a_flat_direction_is_named():
    result = fit(posterior_of(on_a_line, [0.0, 0.5]), progress=False)
    assert re.search(r"hardly changes along \+[\d.]+ x\[0\] -[\d.]+ x\[1\]", result.message)
    flat = fit(posterior_of(lambda x: 0.0 * x[0], [0.0, 0.5]), progress=False)
    assert flat.status is Status.FLAT
    assert "hardly changes along any parameter" in flat.message


def test_a_search_is_taken_at_its_word_without_polish():
    gaussian = WithoutResiduals(Rotated.drawn(2, 1e8))
    posterior = Posterior(Vector(jnp.zeros(6)), gaussian.log_likelihood, {"x": (-5, 5)})
    rough = fit(posterior, polish=False, progress=False)
    polished = fit(posterior, progress=False)
    assert rough.converged
    assert float(polished.log_density - rough.log_density) > 0.1
    assert polished.evaluations > rough.evaluations
    few = fit(posterior, steps=rough.evaluations + 1, progress=False)
    assert few.status is Status.UNFINISHED
    assert "still expected" in few.message


def test_judging_costs_two_gradients_for_each_parameter():
    posterior = posterior_of(lambda x: -50.0 * jnp.sum((x - 0.3) ** 2), [1.0, -1.0, 0.5])
    rough, judged = (fit(posterior, polish=p, progress=False) for p in (False, True))
    assert judged.evaluations == rough.evaluations + 6
    np.testing.assert_array_equal(judged.u, rough.u)


@pytest.mark.parametrize("method", ["hessian", "differences"])
def test_laplace_refuses_what_is_no_maximum(method):
    posterior = posterior_of(lambda x: -50.0 * jnp.sum((x - 0.3) ** 2), [1.0, -1.0])
    with pytest.raises(ValueError, match=r"no maximum: a Newton step from here gains .* in log"):
        laplace(posterior, {"x": [0.4, 0.3]}, method=method)
    near = laplace(posterior, {"x": [0.31, 0.3]}, method=method)
    np.testing.assert_allclose(near.std["x"], 0.1, rtol=1e-3)


def test_steps_within_a_radius():
    rng = np.random.default_rng(0)
    for _ in range(20):
        eigenvalues, slopes = np.sort(rng.normal(size=4)), rng.normal(size=4)
        radius = rng.uniform(0.1, 3.0)
        step = trust_step(eigenvalues, slopes, radius)
        assert np.linalg.norm(step) <= radius * (1 + 1e-9)
        others = rng.normal(size=(2000, 4))
        others *= radius * rng.uniform(size=(2000, 1)) / np.linalg.norm(others, axis=1)[:, None]
        best = max(predicted(eigenvalues, slopes, other) for other in others)
        assert predicted(eigenvalues, slopes, step) >= best
    uphill = trust_step(np.array([-2.0, 1.0]), np.zeros(2), 0.5)
    np.testing.assert_allclose(np.abs(uphill), [0.5, 0.0])
