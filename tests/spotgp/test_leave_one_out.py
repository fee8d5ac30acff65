"""Each point predicted from the others, against really leaving it out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from spotgp import AnalyticKernel, GPSolver
from spotgp.gp.leave_one_out import leave_one_out
from spotgp.solvers import Dense, points_of

N = 40
BOUNDED = {"lspot": (1.0, 10.0), "tau_spot": (0.5, 3.0), "jitter": (1e-5, 1e-2)}


@pytest.fixture(scope="module")
def data():
    """Uneven times with a gap, fluxes, unequal errors, segments: the last is a single point."""
    rng = np.random.default_rng(3)
    t = np.sort(np.concatenate([rng.uniform(0.0, 25.0, 22), rng.uniform(60.0, 90.0, N - 22)]))
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + rng.normal(0.0, 2e-3, N)
    segment = (t > 50.0).astype(int)
    segment[-1] = 2
    return t, flux, rng.uniform(1e-3, 3e-3, N), segment


def process(data, star, solver="dense", **options):
    t, flux, error, segment = data
    options = {"offsets": segment, "trend": 1, "jitter": 1e-3, "priors": BOUNDED, **options}
    options = {"tolerance": 1e-4, **options}
    return GPSolver(t, flux, error, star, solver=solver, **options)


@pytest.fixture(scope="module")
def dense(data, star):
    return process(data, star)


def by_brute_force(gp, data, star):
    """Mean and variance of every point of a process refitted to the others."""
    t, flux, error, _ = data
    kernel = AnalyticKernel(star)
    signal = np.asarray(kernel.kernel(t[:, None] - t[None, :]))
    covariance = signal + np.diag(error**2 + float(gp.process.jitter) ** 2)
    columns = gp.data.columns()
    mean, variance = np.full(N, np.nan), np.full(N, np.inf)
    for i in range(N):
        rest = np.arange(N) != i
        inverse = np.linalg.inv(covariance[np.ix_(rest, rest)])
        basis = columns[rest]
        normal = basis.T @ inverse @ basis
        if normal.size and np.linalg.matrix_rank(normal) < len(normal):
            continue
        cross = covariance[rest, i]
        mean[i] = cross @ inverse @ flux[rest]
        variance[i] = covariance[i, i] - cross @ inverse @ cross
        if normal.size:
            amplitudes = np.linalg.solve(normal, basis.T @ inverse @ flux[rest])
            left = columns[i] - cross @ inverse @ basis
            mean[i] += left @ amplitudes
            variance[i] += left @ np.linalg.solve(normal, left)
    return mean, variance


def test_against_really_leaving_points_out(data, dense, star):
    flux = data[1]
    found = dense.leave_one_out()
    mean, variance = by_brute_force(dense, data, star)
    assert np.isnan(mean).sum() == 1
    np.testing.assert_allclose(found.mean, mean, atol=1e-7)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)
    residual = (flux - mean) / np.sqrt(variance)
    np.testing.assert_allclose(found.residual[:-1], residual[:-1], atol=1e-5)
    assert np.isnan(found.residual[-1])
    density = -0.5 * residual**2 - 0.5 * np.log(2 * np.pi * variance)
    assert float(found.log_score) == pytest.approx(np.sum(density[:-1]), abs=1e-4)
    np.testing.assert_allclose(found.log_density[:-1], density[:-1], atol=1e-5)


def test_without_free_columns(data, star):
    t, flux, error, _ = data
    gp = GPSolver(t, flux, error, star, mean=1.0, tolerance=1e-4)
    found = gp.leave_one_out({"sigma_k": 0.02})
    kernel = AnalyticKernel(star.set({"amplitude.sigma_k": 0.02}))
    covariance = np.asarray(kernel.kernel(t[:, None] - t[None, :])) + np.diag(error**2)
    rest = np.arange(N) != 7
    gain = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, 7])
    assert float(found.mean[7]) == pytest.approx(1.0 + gain @ (flux[rest] - 1.0), abs=1e-7)
    variance = covariance[7, 7] - gain @ covariance[rest, 7]
    assert float(found.variance[7]) == pytest.approx(variance, rel=1e-5)
    assert np.isfinite(found.mean).all()


def test_banded_agrees_with_dense(data, dense, star):
    banded = process(data, star, "banded")
    assert banded.solver.layout.tiles > 1
    for theta in ({}, {"sigma_k": 0.03, "lspot": 4.0}):
        expected, found = dense.leave_one_out(theta), banded.leave_one_out(theta)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="longer than the"):
        banded.leave_one_out({"lspot": 40.0})


def test_padding_changes_nothing(dense):
    points = points_of(dense.data, N + 5)
    solver = Dense(points, dense.solver.tables)
    found, expected = leave_one_out(solver, dense.process), dense.leave_one_out()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[:N], other, rtol=1e-9)
    assert np.isnan(found.mean[N:]).all()
    assert np.isinf(found.variance[N:]).all()
    assert float(found.log_score) == pytest.approx(float(expected.log_score))


def test_bins_agree_within_their_tolerance(star):
    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 40.0, 470)
    t = t[(t % 13.0) > 3.5]  # more than one chunk
    error = rng.uniform(0.7, 2.0, t.size) * 1e-3
    segment = (t > 16.0).astype(int)
    segment[-1] = 2
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + 3e-3 * segment + error * rng.normal(size=t.size)
    flux[100] += 0.03
    data = t, flux, error, segment
    solvers = [process(data, star, name, jitter=3e-4, tolerance=0.01) for name in ("dense", "bins")]
    exact, modes = (gp.leave_one_out() for gp in solvers)
    assert t.size > 256
    sigma = np.sqrt(exact.variance)
    np.testing.assert_allclose(modes.mean / sigma, exact.mean / sigma, atol=0.02)
    np.testing.assert_allclose(modes.variance, exact.variance, rtol=0.02)
    rest = np.arange(t.size - 1) != 100
    difference = np.asarray(modes.log_density - exact.log_density)[:-1]
    assert abs(difference[rest].sum()) < 0.1
    for found in (exact, modes):
        assert np.isinf(found.variance[-1])
        assert isinstance(found, spotgp.LeaveOneOut)
        assert np.nanargmax(np.abs(found.residual)) == 100
        assert float(found.residual[100]) > 10.0
    with pytest.raises(ValueError, match=r"jitter of 0\.1 is larger"):
        solvers[1].leave_one_out({"jitter": 0.1})


def test_residuals_of_the_right_model_are_standard_normal(dense):
    process, points = dense.process, dense.solver.points
    covariance = dense.solver.tables.covariance(process, points.span)
    covariance = np.array(covariance.block(points.time, points.time))
    covariance += np.diag(np.asarray(points.noise(process)))
    draws = np.linalg.cholesky(covariance) @ np.random.default_rng(0).normal(size=(N, 300))

    def residual(flux):
        other = points._replace(flux=flux)
        return leave_one_out(Dense(other, dense.solver.tables), process).residual

    residuals = np.asarray(jax.vmap(residual)(jnp.asarray(draws.T)))[:, :-1]
    np.testing.assert_allclose(residuals.std(axis=0), 1.0, atol=5 / np.sqrt(600))
    np.testing.assert_allclose(residuals.mean(axis=0), 0.0, atol=5 / np.sqrt(300))
