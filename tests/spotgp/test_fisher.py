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


def test_a_period_that_is_known_to_far_less_than_its_prior(star):
    """Of an orbit over 1,000 days: a step in the prior's own unit would be many turns of phase."""
    t = np.linspace(0.0, 1000.0, 60)
    orbit = spotgp.Keplerian(3.3, 0.05, 1.0)
    fixed = dict.fromkeys(("peq", "kappa", "inc", "lspot", "tau_spot", "sigma_k"))
    priors = fixed | {"period": (3.0, 3.6), "semi_amplitude": None, "conjunction": None}
    options = {"mean": orbit, "priors": priors, "solver": "dense"}
    found = spotgp.fisher_information(
        spotgp.GPSolver(t, 1.0 + 0.01 * np.sin(t), 2e-3, star, **options)
    )
    kernel = np.asarray(spotgp.AnalyticKernel(star).kernel(t[:, None] - t[None, :]))
    there = [np.asarray(orbit.set({"period": 3.3 + h})(t)) for h in (1e-6, -1e-6)]
    slope = (there[0] - there[1]) / 2e-6
    information = slope @ np.linalg.solve(kernel + 4e-6 * np.eye(t.size), slope)
    assert found.std["mean.period"] == pytest.approx(information**-0.5, rel=1e-4)


def test_spots_that_live_for_many_rotations():
    """A lag of 80 rotations: the covariance turns by radians where the period changes by 1 %."""
    star = spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=40.0, tau_spot=5.0),
        visibility=spotgp.VisibilityFunction(peq=0.5, kappa=0.0, inc=1.0),
        sigma_k=0.01,
    )
    t = np.sort(np.random.default_rng(2).uniform(0.0, 30.0, 50))
    fixed = dict.fromkeys(("kappa", "inc", "lspot", "tau_spot", "sigma_k"))
    priors = fixed | {"peq": (0.1, 2.0)}
    gp = spotgp.GPSolver(t, np.ones(50), 2e-3, star, priors=priors, solver="dense", tolerance=1e-4)

    def covariance(period):
        model = star.set({"visibility.peq": period})
        return np.asarray(spotgp.AnalyticKernel(model).kernel(t[:, None] - t[None, :]))

    slope = (covariance(0.5 + 1e-6) - covariance(0.5 - 1e-6)) / 2e-6
    through = np.linalg.solve(covariance(0.5) + 4e-6 * np.eye(t.size), slope)
    expected = (0.5 * np.sum(through * through.T)) ** -0.5
    assert spotgp.fisher_information(gp).std["model.visibility.peq"] == pytest.approx(
        expected, rel=2e-3
    )
