"""Averages over exposures, against averaging the covariance and light curves by brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from pytreefit.extend import gauss_legendre
from spotgp import AnalyticKernel, GPSolver

EXPOSURE = 0.4
T = np.concatenate([np.arange(8) * 0.13, [2.0, 2.45, 7.0, 11.3]])
ENVELOPES = {
    "trapezoid": spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
    "exponential": spotgp.ExponentialEnvelope(tau_spot=3.0),
}


def star_of(name):
    visibility = spotgp.VisibilityFunction(peq=1.5, kappa=0.2, inc=1.0)
    return spotgp.SpotEvolutionModel(ENVELOPES[name], visibility, sigma_k=0.01)


def process(star, exposure=EXPOSURE, solver="dense", t=T, **options):
    flux = 1.0 + 0.01 * np.sin(t)
    return GPSolver(t, flux, 1e-3, star, exposure_time=exposure, solver=solver, **options)


def covariance(gp, t=T):
    time = jnp.asarray(t - float(gp.data.epoch))
    return np.asarray(gp.solver.tables.covariance(gp.process, np.ptp(t)).block(time, time))


def averaged(function, t, exposure):
    """A function of lags averaged over both exposures, in pieces that begin where a lag is 0."""
    node, weight = gauss_legendre(24)
    found = np.empty((t.size, t.size))
    for i, j in np.ndindex(t.size, t.size):
        lag = t[i] - t[j]
        ends = np.unique(np.clip([-exposure, 0.0, -lag, exposure], -exposure, exposure))
        total = 0.0
        for low, high in itertools.pairwise(ends):
            s = 0.5 * (low + high) + 0.5 * (high - low) * node
            triangle = (exposure - np.abs(s)) / exposure**2
            total += 0.5 * (high - low) * np.sum(weight * triangle * function(lag + s))
        found[i, j] = total
    return found


@pytest.mark.parametrize("name", ENVELOPES)
def test_against_averaging_the_kernel(name):
    star = star_of(name)
    kernel = AnalyticKernel(star)
    # every lag that the rule asks for at once, in place of a call for each pair
    asked = []
    averaged(lambda lag: asked.append(lag) or np.zeros_like(lag), T, EXPOSURE)
    values = iter(np.split(np.asarray(kernel.kernel(np.concatenate(asked))), len(asked)))
    expected = averaged(lambda lag: next(values), T, EXPOSURE)
    variance = float(kernel.kernel(0.0))
    np.testing.assert_allclose(covariance(process(star)), expected, atol=2e-6 * variance)
    bare = covariance(process(star, None))
    assert np.max(np.abs(bare - expected)) > 0.02 * variance


def test_slow_spots_multiply_harmonics_by_sinc_squared():
    """To the second order of the exposure over the spots' time scale."""
    visibility = spotgp.VisibilityFunction(peq=1.5, kappa=0.0, inc=1.0)
    slow = spotgp.TrapezoidSymmetricEnvelope(lspot=300.0, tau_spot=150.0)
    star = spotgp.SpotEvolutionModel(slow, visibility, sigma_k=0.01)
    kernel = AnalyticKernel(star, orders=(0, 1, 2, 3))
    parts = np.asarray(kernel.kernel_components(T[:, None] - T[None, :]))
    x = np.arange(4) * EXPOSURE / 1.5  # sinc(x) is sin(pi x) / (pi x)
    expected = np.einsum("n,nij->ij", np.sinc(x) ** 2, parts)
    found = covariance(process(kernel, priors={"lspot": None, "tau_spot": None}))
    assert np.max(np.abs(found - expected)) < 10 * (EXPOSURE / 150.0) ** 2 * expected[0, 0]


def test_against_simulated_exposures():
    """Sums of spots, averaged over each exposure."""
    star, exposure, number = star_of("trapezoid"), 0.8, 1000
    t = np.array([0.0, 0.75, 3.0])
    node, weight = gauss_legendre(8)
    fine = t[:, None] + 0.5 * exposure * node
    flux = spotgp.simulate(star, jax.random.key(0), fine.ravel(), number, nspot_rate=20.0)
    flux = np.asarray(flux).reshape(number, t.size, node.size) @ (0.5 * weight)
    found = np.cov(flux.T)
    options = {"t": t, "priors": {"peq": None}}
    expected = covariance(process(star, exposure, **options), t)
    bare = covariance(process(star, None, **options), t)
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / number)
    # finite spots lower the covariance by a per cent
    assert np.all(np.abs(found - expected) < 4.0 * error + 0.01 * expected[0, 0])
    assert abs(found[0, 0] - bare[0, 0]) > 6.0 * error[0, 0]


def test_all_solvers_and_gradients_agree():
    t = np.linspace(0.0, 90.0, 150)
    priors = {"lspot": (3.0, 9.0), "tau_spot": (1.0, 3.0), "kappa": (0.0, 0.5)}
    options = {"t": t, "priors": priors, "jitter": 1e-3}
    dense = process(star_of("trapezoid"), **options)
    banded = process(star_of("trapezoid"), solver="banded", **options)
    value, gradient = dense.value_and_grad_log_posterior()
    assert float(banded.log_posterior()) == pytest.approx(float(value), abs=1e-3)
    theta = np.array([float(v) for v in dense.values().values()])
    for k in (0, 2):
        step = 1e-4 * theta[k] * np.eye(theta.size)[k]
        ends = [float(dense.value_and_grad_log_posterior(theta + s * step)[0]) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2e-4 * theta[k])
        assert float(gradient[k]) == pytest.approx(slope, rel=1e-3, abs=1e-2)


def test_a_short_exposure_changes_nothing():
    star = star_of("trapezoid")
    bare, short = covariance(process(star, None)), covariance(process(star, 1e-4))
    np.testing.assert_allclose(short, bare, atol=1e-6 * bare[0, 0])


def test_bad_exposures():
    with pytest.raises(ValueError, match="exposure_time = -1 must be > 0"):
        process(star_of("trapezoid"), -1.0)
    with pytest.raises(ValueError, match="averages over exposures are no sum of exponentials"):
        process(star_of("exponential"), solver="quasiseparable", priors={"kappa": None})
