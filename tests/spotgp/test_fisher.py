"""The expected information, against the scores of draws by another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp

T = np.sort(np.random.default_rng(1).uniform(0.0, 30.0, 40))
PRIORS = {"kappa": None, "peq": (2.0, 8.0), "lspot": (2.0, 12.0), "tau_spot": (0.5, 6.0)}


@pytest.fixture(scope="module")
def gp(star):
    options = {"mean": spotgp.LinearMean(1.0, 1e-4, 10.0), "priors": PRIORS, "solver": "dense"}
    return spotgp.GPSolver(T, 1.0 + 0.01 * np.sin(T), 2e-3, star, jitter=1e-3, **options)


@pytest.fixture(scope="module")
def found(gp):
    return spotgp.fisher_information(gp)


def test_it_is_that_of_exact_derivatives(gp, found):
    """Of the kernel itself, in forward mode, with the free parameters one by one.

    That the same matrix is the covariance of scores over draws is tested with the checks.
    """
    lag, since = T[:, None] - T[None, :], jnp.asarray(T - 10.0)

    def moments(values):
        process = gp.posterior.model_at(values)
        kernel = spotgp.AnalyticKernel(process.model, nodes=128).kernel(lag)
        mean = process.mean.value + process.mean.slope * since
        return mean, kernel + jnp.eye(T.size) * (4e-6 + process.jitter**2)

    with jax.numpy_dtype_promotion("standard"):
        mean, covariance = jax.jit(jax.jacfwd(moments))(gp.values())
    inverse = np.linalg.inv(moments(gp.values())[1])
    through = [inverse @ np.asarray(covariance[name]) for name in found.names]
    expected = [[0.5 * np.sum(a * b.T) for a in through] for b in through]
    slopes = np.stack([np.asarray(mean[name]) for name in found.names])
    expected = np.array(expected) + slopes @ inverse @ slopes.T
    width = np.sqrt(np.diag(expected))
    difference = (found.matrix - expected) / width / width[:, None]
    np.testing.assert_allclose(difference, 0.0, atol=1e-5)


def test_the_mean_alone_has_the_errors_of_least_squares(star):
    """A star whose process is fixed, with a free line: weighted least squares."""
    fixed = {"peq": None, "kappa": None, "inc": None, "lspot": None, "tau_spot": None}
    options = {"priors": fixed | {"sigma_k": None}, "solver": "dense"}
    line = spotgp.LinearMean(1.0, 1e-4, 10.0)
    gp = spotgp.GPSolver(T, 1.0 + 0.01 * np.sin(T), 2e-3, star, mean=line, **options)
    kernel = np.asarray(spotgp.AnalyticKernel(star).kernel(T[:, None] - T[None, :]))
    design = np.stack([np.ones(T.size), T - 10.0], axis=1)
    inverse = np.linalg.inv(kernel + 4e-6 * np.eye(T.size))
    expected = np.linalg.inv(design.T @ inverse @ design)
    found = spotgp.fisher_information(gp)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-5)
    assert found.std["mean.slope"] == pytest.approx(np.sqrt(expected[1, 1]), rel=1e-5)


def test_it_does_not_depend_on_the_fluxes(star, found):
    other = spotgp.GPSolver(
        T, np.ones(T.size), 2e-3, star, mean=spotgp.LinearMean(1.0, 1e-4, 10.0), jitter=1e-3,
        priors=PRIORS, solver="dense",
    )  # fmt: skip
    again = spotgp.fisher_information(other)
    width = np.sqrt(np.diag(found.matrix))
    scaled = (again.matrix - found.matrix) / width / width[:, None]
    np.testing.assert_allclose(scaled, 0.0, atol=1e-4)


def test_what_the_data_say_nothing_of():
    """Two parameters that appear as a sum, and one that appears nowhere."""
    matrix = np.zeros((3, 3))
    matrix[:2, :2] = 4.0
    found = spotgp.FisherInformation(("a", "b", "c"), np.zeros(3), matrix, ("", "", "d"))
    assert not np.isfinite(list(found.std.values())).any()
    known = spotgp.FisherInformation(("a",), np.zeros(1), np.array([[4.0]]), ("",))
    assert known.std == {"a": 0.5}
    assert "error, at least" in repr(known)


def test_too_many_points(star):
    t = np.arange(4001) * 0.02
    gp = spotgp.GPSolver(t, 1.0 + 0.01 * np.sin(t), 1e-3, star, priors=PRIORS)
    with pytest.raises(ValueError, match="gp has 4001 points"):
        spotgp.fisher_information(gp)
