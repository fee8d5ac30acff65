"""Fits against known maxima, Gaussian approximations against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest

import pytreefit.optimize.evaluate as evaluate
from pytreefit import (
    Fit,
    Laplace,
    Model,
    Posterior,
    Status,
    fit,
    laplace,
    load,
    param,
    sample,
    save,
)

LM = "levenberg-marquardt"


class Point(Model):
    x: jax.Array = param(unit="au")
    y: jax.Array = param()


class Positive(Model):
    x: jax.Array = param(bounds="[0, 1]")
    y: jax.Array = param(bounds="[0, inf)")


class Vector(Model):
    values: jax.Array = param(shape=None, unit="mag")


class Banana(eqx.Module):
    """Rosenbrock's valley: its maximum is at (1, 1)."""

    steepness: jax.Array

    def residuals(self, point):
        return jnp.stack([self.steepness * (point.y - point.x**2), 1.0 - point.x])

    def log_likelihood(self, point):
        return 3.0 - 0.5 * jnp.sum(self.residuals(point) ** 2)


class Gaussian(eqx.Module):
    mean: jax.Array
    whiten: jax.Array

    def residuals(self, model):
        return self.whiten @ (model.values - self.mean)

    def log_likelihood(self, model):
        return -0.5 * jnp.sum(self.residuals(model) ** 2)


def banana(priors=None, steepness=10.0, start=(-1.2, 1.0)):
    data = Banana(jnp.asarray(steepness))
    priors = {"x": (-5, 5), "y": (-5, 5)} if priors is None else priors
    return Posterior(Point(*start), data.log_likelihood, priors, residuals=data.residuals)


def badly_scaled():
    """Five parameters from 1e-6 to 1e6, correlated; also the closed form of the posterior."""
    rng = np.random.default_rng(1)
    scale = 10.0 ** np.array([-6, -3, 0, 3, 6])
    mixing = np.eye(5) + 0.4 * rng.normal(size=(5, 5))
    data = Gaussian(jnp.asarray(scale * rng.normal(size=5)), jnp.asarray(mixing / scale))
    prior = dist.Normal(jnp.zeros(5), jnp.asarray(3.0 * scale))
    start = Vector(0.1 * scale)
    precision = np.asarray(data.whiten).T @ np.asarray(data.whiten)
    covariance = np.linalg.inv(precision + np.diag(1 / (3.0 * scale) ** 2))
    mean = covariance @ precision @ np.asarray(data.mean)
    posterior = Posterior(start, data.log_likelihood, {"values": prior}, residuals=data.residuals)
    return posterior, mean, covariance


def of(x, y, message="", status=Status.CONVERGED):
    """A Fit at (x, y) without fitting."""
    posterior = banana()
    values = {"x": jnp.asarray(x), "y": jnp.asarray(y)}
    return Fit(
        model=posterior.model_at(values),
        names=posterior.names,
        values=values,
        u=posterior.unconstrain(values),
        log_density=jnp.asarray(0.0),
        history=jnp.zeros(3),
        starts=jnp.asarray([0.0, -0.05, -7.0]),
        status=status,
        message=message,
        at_edge=(),
        at_bound=(),
        steps=3,
        evaluations=4,
    )


@pytest.mark.parametrize(
    ("optimizer", "steps", "near"),
    [(None, 200, 1e-2), (LM, 100, 1e-3), (optax.lbfgs(), 200, 1e-3)],
    ids=["lbfgs", "lm", "optax.lbfgs"],
)
def test_fit_finds_the_end_of_the_banana(optimizer, steps, near):
    result = fit(banana(), optimizer, steps=steps, progress=False)
    assert result.converged, result.message
    np.testing.assert_allclose([result.values["x"], result.values["y"]], 1.0, atol=near)
    np.testing.assert_allclose(result.model.x, result.values["x"])
    # the maximum of log L + log prior, the prior being 1/10 in each coordinate
    np.testing.assert_allclose(result.log_density, 3.0 - 2 * np.log(10.0), atol=1e-4)
    assert result.history.shape == (result.steps,)
    assert np.all(np.diff(result.history) > -1e-9)
    np.testing.assert_allclose(result.history[-1], result.log_density)


class Remarking(Banana):
    def remark(self, point):
        return f"It may be off at x = {float(point.x):.1f}."


@pytest.mark.filterwarnings("ignore:R-hat is above")
def test_what_a_likelihood_remarks_is_passed_on():
    priors = {"x": (-3.0, 3.0), "y": (-3.0, 5.0)}
    posterior = Posterior(Point(0.5, 0.5), Remarking(jnp.asarray(1.0)).log_likelihood, priors)
    best = fit(posterior, progress=False)
    assert best.message.endswith("It may be off at x = 1.0.")
    with pytest.warns(UserWarning, match="It may be off at x"):
        sample(posterior, jax.random.key(0), start=best, warmup=20, draws=10, progress=False)


def test_adam_converges_where_the_gradient_is_small():
    posterior = banana(steepness=1.0, start=(0.0, 0.5))
    result = fit(posterior, optax.adam(3e-2), steps=2000, progress=False)
    assert result.converged
    np.testing.assert_allclose(result.values["x"], 1.0, atol=0.05)


def test_a_creeping_optimizer_is_not_called_converged():
    result = fit(banana(), optax.sgd(1e-14), steps=200, progress=False)
    assert not result.converged
    assert "learning rate" in result.message
    assert result.status is Status.FLAT


@pytest.mark.parametrize("optimizer", [None, LM])
def test_bad_scaling_and_correlation_do_not_hurt(optimizer):
    posterior, mean, covariance = badly_scaled()
    result = fit(posterior, optimizer, steps=200, progress=False)
    assert result.converged
    width = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(result.values["values"] / width, mean / width, atol=0.02)


@pytest.mark.parametrize("method", ["hessian", "fisher"])
def test_laplace_is_exact_for_a_gaussian(method):
    posterior, mean, covariance = badly_scaled()
    result = laplace(posterior, {"values": mean}, method=method)
    width = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(width, width)
    np.testing.assert_allclose(result.std["values"], width, rtol=1e-9)
    np.testing.assert_allclose(result.correlation, correlation, atol=1e-9)
    assert result.components == tuple(f"values[{i}]" for i in range(5))
    table = result.summary()
    assert table[2][0] == "values[2]"
    assert table[2][3] == "mag"


def test_laplace_transforms_the_covariance_to_physical_values():
    # log-normal prior and likelihood: a Gaussian in log x, mapped with the slope d x / d log x
    def log_likelihood(point):
        return -0.5 * ((jnp.log(point.x) - 0.7) / 0.1) ** 2 + jnp.log(point.x)

    posterior = Posterior(Point(2.0, 0.0), log_likelihood, {"x": dist.LogNormal(0.7, 1.0)})
    best = fit(posterior, progress=False)
    precision = 1 / 0.1**2 + 1 / 1.0**2  # the two terms log x cancel
    result = laplace(posterior, best)
    np.testing.assert_allclose(best.values["x"], np.exp(0.7), rtol=1e-3)
    np.testing.assert_allclose(result.covariance_u, [[1 / precision]], rtol=1e-4)
    np.testing.assert_allclose(result.std["x"], np.exp(0.7) / np.sqrt(precision), rtol=1e-3)


def test_many_starts_report_how_many_agree():
    def log_likelihood(point):  # two peaks, the one at -2 is lower by 2
        return jnp.logaddexp(-50 * (point.x - 2.0) ** 2, -50 * (point.x + 2.0) ** 2 - 2.0)

    posterior = Posterior(Point(-1.0, 0.0), log_likelihood, {"x": (-4, 4)})
    result = fit(posterior, starts=8, key=jax.random.key(2), progress=False)
    assert result.starts.shape == (8,)
    np.testing.assert_allclose(result.values["x"], 2.0, atol=1e-2)
    np.testing.assert_allclose(result.starts[0], result.log_density - 2.0, atol=1e-3)
    expected = np.sum(np.abs(result.starts - result.log_density) < 0.1)
    assert 1 < expected < 8
    assert result.agreeing == expected
    assert f"{expected} of 8 starts agree" in result.message


@pytest.mark.parametrize("optimizer", [None, LM, optax.lbfgs()], ids=["lbfgs", "lm", "optax"])
def test_starts_at_once_end_where_starts_in_turn_do(optimizer, monkeypatch):
    options = {"starts": 2, "key": jax.random.key(1), "steps": 30, "progress": False}
    in_turn = fit(banana(), optimizer, **options)
    monkeypatch.setattr(evaluate, "at_once", lambda: True)
    at_once = fit(banana(), optimizer, **options)
    assert at_once.starts.shape == (2,)
    np.testing.assert_allclose(at_once.starts, in_turn.starts, rtol=1e-6)


def test_starts_scatter_around_a_given_start():
    result = fit(banana(), start={"x": 0.9}, starts=2, key=jax.random.key(0), progress=False)
    assert result.agreeing == 2


@pytest.mark.parametrize("optimizer", [None, LM])
def test_a_parameter_at_the_edge_of_its_prior_is_reported(optimizer):
    posterior = banana({"x": (-5, 0.5), "y": (-5, 5)})
    result = fit(posterior, optimizer, progress=False)
    assert result.at_edge == ("x",)
    assert not result.converged
    assert "x: the parameter is at the edge of the prior" in result.message
    assert result.status is Status.AT_EDGE
    np.testing.assert_allclose(result.values["x"], 0.5, atol=1e-3)
    with pytest.raises(ValueError, match="x ran to the edge of the prior"):
        laplace(posterior, result)
    given = laplace(posterior, result, held=result.at_edge)
    alone = banana({"y": (-5, 5)}, start=(result.values["x"], 0.2))
    known = laplace(alone, fit(alone, progress=False))
    assert given.std["x"] == 0.0
    assert [row[2] == "held" for row in given.summary().rows] == [True, False]
    np.testing.assert_allclose(given.std["y"], known.std["y"], rtol=1e-3)
    np.testing.assert_allclose(given.correlation, np.diag([0.0, 1.0]), rtol=1e-12)
    with pytest.raises(ValueError, match="must be some of, but not all"):
        laplace(posterior, result, held=("x", "y"))
    with pytest.raises(ValueError, match="free parameters: x, y"):
        laplace(posterior, result, held=("z",))


def test_a_parameter_at_its_own_bound_is_no_failure():
    posterior = Posterior(
        Positive(0.5, 0.3), lambda m: -m.x - 0.5 * (m.y - 0.2) ** 2, {"x": (0, 1), "y": (0, 1)}
    )
    result = fit(posterior, progress=False)
    assert result.at_edge == result.at_bound == ("x",)
    assert result.converged
    assert "At the bound of what is possible: x." in result.message
    assert result.summary()[0][1] == "0 (bound)"
    assert float(result.summary()[1][1]) == pytest.approx(0.2, abs=0.01)
    above = Posterior(posterior.model, posterior.log_likelihood, {"x": (0.1, 1), "y": (0, 1)})
    result = fit(above, progress=False)
    assert (result.at_edge, result.at_bound) == (("x",), ())
    assert result.status is Status.AT_EDGE


def test_a_maximum_near_an_edge_is_not_called_the_edge():
    posterior = banana({"x": (-5, 1.001), "y": (-5, 5)}, steepness=1000.0, start=(0.99, 0.98))
    result = fit(posterior, LM, progress=False)
    assert result.at_edge == () or result.values["x"] > 1.0009
    posterior = Posterior(
        Point(0.5, 0.0), lambda p: -0.5 * ((p.x - 1e-3) / 1e-5) ** 2, {"x": (0, 1)}
    )
    result = fit(posterior, progress=False)
    assert result.converged, result.message
    np.testing.assert_allclose(result.values["x"], 1e-3, rtol=1e-3)


def test_an_earlier_fit_is_a_start():
    posterior = banana()
    first = fit(posterior, LM, steps=2, progress=False)
    second = fit(posterior, LM, start=first, progress=False)
    assert not first.converged
    assert "limit of 2 steps" in first.message
    assert first.status is Status.UNFINISHED
    assert "limit" in first.status.sentence
    np.testing.assert_allclose(second.history[0], first.log_density)
    assert second.converged


def test_an_interrupt_returns_the_best_so_far():
    lines = []

    def progress(line):
        lines.append(line)
        if len(lines) == 3:
            raise KeyboardInterrupt

    result = fit(banana(), progress=progress)
    assert not result.converged
    assert result.status is Status.INTERRUPTED
    assert result.message.startswith("Interrupted after")
    assert result.log_density > result.history[0]


def test_other_data_of_the_same_shape_compile_nothing():
    traces = []

    class Counted(Banana):
        def log_likelihood(self, point):
            traces.append(None)
            return super().log_likelihood(point)

    def run(steepness):
        data = Counted(jnp.asarray(steepness))
        return fit(
            Posterior(Point(0.0, 0.0), data.log_likelihood, {"x": (-5, 5), "y": (-5, 5)}),
            progress=False,
        )

    assert run(2.0).converged
    count = len(traces)
    assert run(3.0).converged
    assert len(traces) == count


def test_progress_goes_to_standard_error(capsys):
    fit(banana(), LM, start=of(1.0, 1.0), steps=5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fit: Converged after" in err


def test_single_precision_works():
    with jax.enable_x64(False):
        posterior = Posterior(
            Point(0.5, 0.5),
            lambda p: -1e5 - 0.5 * (p.x - 0.2) ** 2 / 0.1**2,
            {"x": (-1, 1)},
        )
        result = fit(posterior, progress=False)
        assert result.values["x"].dtype == jnp.float32
        assert result.converged, result.message
        assert "to the precision of the log density" in result.message
        np.testing.assert_allclose(result.values["x"], 0.2, atol=0.1)


def test_results_are_saved_and_loaded(tmp_path):
    save(tmp_path / "fit.npz", of(0.5, 0.25, "Converged."))
    loaded = load(tmp_path / "fit.npz")
    assert isinstance(loaded, Fit)
    assert loaded.names == ("x", "y")
    assert loaded.message == "Converged."
    assert loaded.status is Status.CONVERGED
    np.testing.assert_array_equal(loaded.model.x, 0.5)
    approximation = laplace(banana(), of(1.0, 1.0))
    save(tmp_path / "laplace.npz", approximation)
    loaded = load(tmp_path / "laplace.npz")
    assert isinstance(loaded, Laplace)
    np.testing.assert_array_equal(loaded.covariance, approximation.covariance)


def test_fit_prints_its_table():
    result = of(0.5, 0.25, "Converged after 3 steps.")
    assert result.agreeing == 2
    text = repr(result)
    assert text.startswith("Converged after 3 steps.\nparameter  value  unit")
    assert "x          0.5    au" in text


def nan_at_the_start(point):
    return jnp.log(point.x - 10.0)


def kink_at_the_start(point):
    return -jnp.sqrt(point.x**2) - point.y**2


@pytest.mark.parametrize(
    ("log_likelihood", "message"),
    [
        (nan_at_the_start, r"log-likelihood is nan at the start \(x = 0. au, y = 1.*start else"),
        (kink_at_the_start, "derivative of the log density with respect to x is not finite"),
    ],
)
def test_a_start_that_is_not_finite_is_refused(log_likelihood, message):
    posterior = Posterior(Point(0.0, 1.0), log_likelihood, {"x": (-5, 5), "y": (-5, 5)})
    with pytest.raises(ValueError, match=message):
        fit(posterior, progress=False)


def test_residuals_must_belong_to_the_likelihood():
    data = Banana(jnp.asarray(10.0))
    posterior = Posterior(
        Point(-1.2, 1.0),
        lambda point: 2.0 * data.log_likelihood(point),
        {"x": (-5, 5), "y": (-5, 5)},
        residuals=data.residuals,
    )
    with pytest.raises(ValueError, match="residuals do not belong to its log_likelihood"):
        fit(posterior, LM, progress=False)


def test_residuals_must_be_finite():
    posterior = Posterior(
        Point(0.0, 1.0),
        lambda point: -(point.x**2),
        {"x": (-5, 5)},
        residuals=lambda point: jnp.log(point.x - 6.0)[None],
    )
    with pytest.raises(ValueError, match="residuals or their derivatives are not finite"):
        fit(posterior, LM, progress=False)


def test_directions_without_curvature_are_named():
    priors = {"x": (-5, 5), "y": (-5, 5)}
    flat = Posterior(Point(0.0, 0.0), lambda p: -(p.x**2), priors)
    with pytest.raises(ValueError, match="does not fall off along y: the data do not constrain"):
        laplace(flat, {})
    valley = Posterior(Point(0.0, 0.0), lambda p: -((p.x + p.y) ** 2), priors)
    with pytest.raises(ValueError, match=r"along the combination [+-]1 x [+-]1 y"):
        laplace(valley, {})


def test_bad_arguments_are_refused():
    posterior = banana()
    without = Posterior(Point(0.0, 0.0), lambda p: -(p.x**2), {"x": (-5, 5)})
    with pytest.raises(ValueError, match="needs residuals"):
        fit(without, LM)
    with pytest.raises(ValueError, match="method = 'fisher' needs residuals"):
        laplace(without, {}, method="fisher")
    with pytest.raises(ValueError, match="choose one of 'hessian', 'fisher'"):
        laplace(without, {}, method="exact")
    with pytest.raises(TypeError, match=r"optimizer = 'adam' must be None"):
        fit(posterior, "adam")
    with pytest.raises(ValueError, match="steps = 0 must be a whole number >= 1"):
        fit(posterior, steps=0)
    with pytest.raises(ValueError, match="tolerance = 0 must be positive"):
        fit(posterior, tolerance=0)
    with pytest.raises(ValueError, match="starts = 3 needs a key"):
        fit(posterior, starts=3)
    with pytest.raises(TypeError, match=r"start = Point must be None, a dictionary"):
        fit(posterior, start=Point(0.0, 0.0))
    with pytest.raises(ValueError, match=r"start of x is not inside its prior: x = 7"):
        fit(posterior, start={"x": 7.0})
    with pytest.raises(ValueError, match="result for x, y but the posterior has x"):
        fit(without, start=of(0.5, 0.5))
    with pytest.raises(TypeError, match="progress = 1 must be True, False or a function"):
        fit(posterior, progress=1)
