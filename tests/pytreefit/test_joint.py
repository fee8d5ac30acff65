"""Several data sets as one: the same as one data set that holds all points."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Joint, Model, Posterior, fit, laplace, load, param, sample, save


class Line(Model):
    slope: jax.Array = param()
    offset: jax.Array = param()
    scale: jax.Array = param(bounds="(0, inf)")


class Pair(Model):
    a: Line
    b: Line


class Points(eqx.Module):
    """Points about a line, of errors that are known but for a factor."""

    x: jax.Array
    y: jax.Array

    def residuals(self, line):
        return (self.y - line.slope * self.x - line.offset) / line.scale

    def log_normalization(self, line):
        return jnp.broadcast_to(-jnp.log(line.scale), self.x.shape)

    def log_likelihood(self, line):
        normalization = self.log_normalization(line)
        return jnp.sum(normalization - 0.5 * self.residuals(line) ** 2)


class Counts(eqx.Module):
    """Data without residuals."""

    number: jax.Array

    def log_likelihood(self, line):
        return -((self.number - line.offset) ** 2)


X = np.linspace(-1.0, 2.0, 40)
Y = 0.5 * X + 1.0 + 0.3 * np.random.default_rng(1).normal(size=X.size)
ONE = Points(jnp.asarray(X), jnp.asarray(Y))
PARTS = {"b": Points(ONE.x[:15], ONE.y[:15]), "a": Points(ONE.x[15:], ONE.y[15:])}
JOINT = Joint(PARTS)
START = Line(0.0, 0.0, 1.0)
PRIORS = {"slope": (-9, 9), "offset": (-9, 9), "scale": (0.01, 9)}


def test_the_same_as_one_data_set():
    one, joint = (Posterior(START, data.log_likelihood, PRIORS) for data in (ONE, JOINT))
    assert float(JOINT.log_likelihood(START)) == pytest.approx(float(ONE.log_likelihood(START)))
    np.testing.assert_array_equal(joint.residuals(START), one.residuals(START))
    np.testing.assert_array_equal(joint.log_normalization(START), one.log_normalization(START))


def test_fits_and_draws_are_those_of_one_data_set():
    """Levenberg-Marquardt, the Fisher matrix, NUTS."""
    results = []
    for data in (ONE, JOINT):
        posterior = Posterior(START, data.log_likelihood, PRIORS)
        best = fit(posterior, progress=False)
        assert best.converged
        around = laplace(posterior, best, method="fisher")
        draws = sample(
            posterior, jax.random.key(0), start=best, warmup=200, draws=200, progress=False
        )
        results.append((best.u, around.covariance, draws.draws["slope"][:, :5]))
    for one, joint in zip(*results, strict=True):
        np.testing.assert_allclose(joint, one, rtol=1e-6)


def test_each_sees_its_part_of_the_model():
    model = Pair(Line(1.0, 0.0, 1.0), Line(-1.0, 0.0, 2.0))
    joint = Joint({"a": (PARTS["a"], lambda m: m.a), "b": (PARTS["b"].log_likelihood, pick_b)})
    expected = {"a": PARTS["a"].log_likelihood(model.a), "b": PARTS["b"].log_likelihood(model.b)}
    assert joint.log_likelihoods(model) == expected
    assert joint.residuals(model).shape == X.shape
    assert joint.log_normalization(model).shape == X.shape


def pick_b(model):
    return model.b


def test_functions_and_data_without_residuals():
    joint = Joint({"points": ONE, "counts": Counts(jnp.array(2.0)), "f": lambda line: -line.slope})
    value = ONE.log_likelihood(START) - 4.0
    assert float(joint.log_likelihood(START)) == pytest.approx(float(value))
    assert joint.log_normalization(START) is None
    posterior = Posterior(START, joint.log_likelihood, PRIORS)
    assert posterior.residuals is posterior.log_normalization is None


def test_joints_nest():
    nested = Joint({"all": JOINT, "again": Joint({"b": PARTS["b"]})})
    np.testing.assert_array_equal(
        nested.residuals(START), [*ONE.residuals(START), *PARTS["b"].residuals(START)]
    )


def test_names_keep_their_order_in_tables():
    assert JOINT.names == ("b", "a")
    table = JOINT.summary(START)
    assert [row[0] for row in table] == ["b", "a"]
    assert float(table[0][2]) == pytest.approx(
        float(jnp.sum(PARTS["b"].residuals(START) ** 2)), rel=1e-5
    )
    assert Joint({"f": lambda line: -line.slope}).summary(START)[0][2] == ""


def test_data_are_leaves():
    traced = []

    @eqx.filter_jit
    def value(joint, line):
        traced.append(1)
        return joint.log_likelihood(line)

    for factor in (1.0, 2.0):
        value(Joint({name: Points(p.x, factor * p.y) for name, p in PARTS.items()}), START)
    assert len(traced) == 1


def test_files(tmp_path):
    save(tmp_path / "joint.npz", Joint({"b": (PARTS["b"], pick_b)}))
    model = Pair(START, START)
    loaded = load(tmp_path / "joint.npz", classes=[Points, pick_b])
    assert float(loaded.log_likelihood(model)) == float(PARTS["b"].log_likelihood(START))


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({}, ValueError, "parts must be a dictionary of data sets"),
        ([ONE], ValueError, "parts must be a dictionary of data sets"),
        ({"a": 3.0}, TypeError, "'a' is a float, which has no log_likelihood"),
        ({"a": (ONE, 3.0)}, TypeError, "'a' must be a data set, or"),
        ({"a": (ONE, None, 2)}, TypeError, "'a' must be a data set, or"),
    ],
)
def test_what_is_no_data_set_is_refused(parts, error, message):
    with pytest.raises(error, match=message):
        Joint(parts)
