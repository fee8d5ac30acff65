"""White noise of each segment, against a matrix by hand and between solvers."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import spotgp
from factories import make_star
from pytreefit import load, save
from spotgp import AnalyticKernel, GPSolver

RNG = np.random.default_rng(7)
T = np.sort(np.concatenate([RNG.uniform(0.0, 20.0, 25), RNG.uniform(30.0, 55.0, 30)]))
LABEL = (T > 25.0).astype(int)
FLUX = 1.0 + 0.01 * np.sin(1.5 * T) + RNG.normal(size=T.size) * np.where(LABEL, 3e-3, 1e-3)
STAR = make_star(spotgp.ExponentialEnvelope(tau_spot=4.0), kappa=0.0)
JITTER = [5e-4, 2.5e-3]
PRIORS = {"tau_spot": (1.0, 5.0)}


def process(**changes):
    options = {"offsets": LABEL, "jitter": JITTER, "priors": PRIORS, "solver": "dense"}
    return GPSolver(T, FLUX, 1e-3, STAR, **{**options, **changes})


@pytest.fixture(scope="module")
def gp():
    return process()


@pytest.fixture(scope="module")
def matrix():
    kernel = np.asarray(AnalyticKernel(STAR).kernel(T[:, None] - T[None, :]))
    return kernel + np.diag(1e-6 + np.asarray(JITTER)[LABEL] ** 2)


def test_the_likelihood_by_hand(gp, matrix):
    assert gp.param_keys[-2:] == ("noise.0.jitter", "noise.1.jitter")
    columns = np.eye(2)[LABEL]
    inverse = np.linalg.inv(matrix)
    normal = columns.T @ inverse @ columns
    residual = FLUX - columns @ np.linalg.solve(normal, columns.T @ inverse @ FLUX)
    expected = multivariate_normal(np.zeros(T.size), matrix).logpdf(residual)
    expected += -0.5 * np.linalg.slogdet(normal)[1] + np.log(2.0 * np.pi)
    np.testing.assert_allclose(gp.log_likelihood(), expected, atol=2e-3)
    gradient = dict(zip(gp.param_keys, gp.grad_log_posterior(), strict=True))
    for name, value in zip(gp.param_keys[-2:], JITTER, strict=True):
        ends = [gp.log_posterior({name: value * s}) for s in (1 - 1e-4, 1 + 1e-4)]
        expected = float(ends[1] - ends[0]) / (2e-4 * value)
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-5, atol=1e-3)


def test_other_solvers(gp):
    value = gp.log_likelihood()
    chain = process(solver="quasiseparable", tolerance=0.01)
    np.testing.assert_allclose(chain.log_likelihood(), value, atol=0.01)
    when = np.linspace(-5.0, 60.0, 9)
    for ours, theirs in zip(chain.predict(when), gp.predict(when), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    finite = make_star(spotgp.TrapezoidSymmetricEnvelope(4.0, 1.5))
    options = {"priors": {"lspot": (2.0, 6.0), "tau_spot": (1.0, 2.0)}, "jitter": JITTER}
    band = GPSolver(T, FLUX, 1e-3, finite, offsets=LABEL, solver="banded", **options)
    noise = band.solver.points.noise(band.process)[: T.size]
    np.testing.assert_allclose(noise, 1e-6 + np.asarray(JITTER)[LABEL] ** 2, rtol=1e-12)
    with pytest.raises(ValueError, match="one jitter for all segments"):
        process(solver="bins", priors=PRIORS | {f"noise.{k}.jitter": (0, 1e-2) for k in (0, 1)})


def test_a_prior_of_the_jitter_is_that_of_each_segment():
    both = process(priors={**PRIORS, "jitter": (1e-4, 1e-2)})
    for name in ("noise.0.jitter", "noise.1.jitter"):
        assert float(both.posterior.priors[name].high) == 1e-2
    one = process(priors={**PRIORS, "jitter": None, "noise.1.jitter": (1e-4, 2e-2)})
    assert [n for n in one.posterior.names if "noise" in n] == ["noise.1.jitter"]
    none = process(jitter=[0.0, 1e-3], priors={**PRIORS, "jitter": (1e-4, 1e-2)})
    assert [n for n in none.posterior.names if "noise" in n] == ["noise.1.jitter"]
    with pytest.raises(ValueError, match="jitter is 0 in every segment"):
        process(jitter=[0.0, 0.0], priors={**PRIORS, "jitter": (1e-4, 1e-2)})


def test_equal_jitters_are_one(gp):
    alike = process(jitter=[1e-3, 1e-3]).log_likelihood()
    np.testing.assert_allclose(alike, process(jitter=1e-3).log_likelihood(), rtol=1e-12)


def test_files_and_data(gp, tmp_path):
    save(tmp_path / "process.zip", gp.process)
    again = load(tmp_path / "process.zip")
    assert [float(noise.jitter) for noise in again.noise.values()] == JITTER
    data = spotgp.TimeSeriesData(T, FLUX, 1e-3, segment=LABEL)
    other = GPSolver.from_data(data, STAR, jitter=JITTER, priors=PRIORS, solver="dense")
    np.testing.assert_allclose(other.log_likelihood(), gp.log_likelihood(), rtol=1e-12)


def test_many_segments_keep_their_order():
    t = np.arange(24.0)
    values = np.linspace(1e-3, 2e-3, 12)
    gp = GPSolver(t, 1.0 + 0.01 * np.sin(t), 1e-3, STAR, offsets=np.arange(24) // 2, jitter=values)
    variance = gp.process.white_variance(gp.data.instrument)
    np.testing.assert_allclose(variance, np.repeat(values, 2) ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"jitter": [1e-3]}, "1 values for 2 segments"),
        ({"offsets": None}, "there are no segments"),
        ({"jitter": [1e-3, -1.0]}, "jitter = -1"),
        ({"jitter": [[1e-3, 1e-3]]}, "jitter"),
        ({"jitter": ["a", "b"]}, "jitter"),
    ],
)
def test_bad_input(changes, match):
    with pytest.raises((ValueError, TypeError), match=match):
        process(**changes)
