"""The Fourier solver against the dense one, within the error that it states."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import spotgp
from pytreefit import fit
from spotgp import GPSolver
from spotgp.solvers import fourier_algebra as fourier
from spotgp.solvers.white_noise import as_series, at_noise, chebyshev_noise

N, SPAN = 400, 40.0
PRIORS = {"lspot": (2.0, 15.0), "tau_spot": (1.0, 5.0), "jitter": (1e-5, 1e-2)}


@pytest.fixture(scope="module")
def star():
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
        visibility=spotgp.VisibilityFunction(peq=5.0, kappa=0.2, inc=1.0),
        sigma_k=0.01,
    )


def light_curve(kind, seed=0):
    """Times, errors and segments."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0.0, SPAN, N))
    if kind == "even":
        t = np.linspace(0.0, SPAN, N)
    elif kind == "gappy":
        t = np.linspace(0.0, SPAN, N + 150)
        t = t[(t % 13.0) > 3.5][:N]
    elif kind == "mixed":  # a short stretch at thirty times the cadence
        t = np.sort(np.append(np.linspace(0.0, SPAN, N - 100), 11.0 + 0.003 * np.arange(100)))
    error = rng.uniform(0.7, 2.0, t.size) * 1e-3
    return t + 100.0, error, (t > 0.4 * SPAN).astype(int)


def processes(star, kind="random", solvers=("dense", "fourier"), tolerance=0.1, **options):
    t, error, segment = light_curve(kind)
    rng = np.random.default_rng(1)
    flux = np.asarray(
        spotgp.LightcurveModel.from_spot_model(star, nspot_rate=5.0, fspot=0.0, t=t).flux
    )
    flux = flux + 3e-3 * segment + error * rng.normal(size=t.size)
    options = {"jitter": 3e-4, "priors": PRIORS, "offsets": segment, "trend": 1, **options}
    return [
        GPSolver(t, flux, error, star, solver=s, tolerance=tolerance, **options) for s in solvers
    ]


def test_non_uniform_transform():
    rng = np.random.default_rng(0)
    t, values = rng.uniform(-3.0, 40.0, 200), rng.normal(size=(200, 2))
    expected = np.exp(2j * np.pi * np.outer(np.arange(51), t) / 60.0) @ values
    found = fourier.transform(t, values, 60.0, 50)
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(values).sum())


def test_products_of_modes():
    rng = np.random.default_rng(0)
    m, t, weight = 6, rng.uniform(0.0, 40.0, 100), rng.uniform(1.0, 2.0, 100)
    slower, faster = (np.asarray(part) for part in fourier.basis(jnp.asarray(t), 60.0, m))
    sums = jnp.asarray(fourier.transform(t, weight[:, None], 60.0, 4 * m)[:, 0])
    window = jnp.stack([jnp.real(sums), jnp.imag(sums)])
    gram, cross = fourier._gram(window), fourier._cross(window)
    np.testing.assert_allclose(gram, slower.T @ (weight[:, None] * slower), atol=1e-9)
    np.testing.assert_allclose(cross, faster.T @ (weight[:, None] * slower), atol=1e-9)


@pytest.mark.parametrize("kind", ["random", "even", "gappy", "mixed"])
def test_within_the_error_it_states(star, kind):
    exact, modes = processes(star, kind)
    for theta in ({}, {"peq": 5.3, "lspot": 6.0, "kappa": 0.4}, {"jitter": 1e-3, "tau_spot": 4.0}):
        error = float(modes.likelihood_error(theta))
        difference = float(modes.log_likelihood(theta)) - float(exact.log_likelihood(theta))
        assert abs(difference) < error < 0.25
    assert float(exact.likelihood_error()) == 0.0


def test_it_converges_with_its_gradient(star):
    exact, modes = processes(star, tolerance=1e-4)
    theta = exact.values({"jitter": 1e-3})
    value, wanted = (np.asarray(v) for v in exact.value_and_grad_log_posterior(theta))
    also, found = (np.asarray(v) for v in modes.value_and_grad_log_posterior(theta))
    assert also == pytest.approx(value, abs=1e-3)
    # in units of a tenth of each parameter: what matters to a fit
    scale = 0.1 * np.array([float(v) for v in theta.values()])
    np.testing.assert_allclose(found * scale, wanted * scale, atol=2e-3)


@pytest.mark.parametrize("jitter", [0.0, 5e-4])
def test_white_noise_that_is_not_free(star, jitter):
    exact, modes = processes(star, jitter=jitter, priors={**PRIORS, "jitter": None})
    difference = float(modes.log_likelihood()) - float(exact.log_likelihood())
    assert abs(difference) < float(modes.likelihood_error())


def test_predictions_and_offsets(star):
    exact, modes = processes(star, "gappy", tolerance=1e-3)
    t = np.linspace(104.0, 134.0, 300)  # in two chunks
    for parts in (None, "spots"):
        wanted, found = exact.predict(t, parts=parts), modes.predict(t, parts=parts)
        sigma = np.sqrt(wanted.variance)
        np.testing.assert_allclose(found.mean / sigma, wanted.mean / sigma, atol=0.02)
        np.testing.assert_allclose(found.variance, wanted.variance, rtol=0.02)
    covariance = modes.predict(t[:50], return_cov=True).variance
    np.testing.assert_allclose(np.diag(covariance), modes.predict(t[:50]).variance, rtol=1e-6)
    (estimate, spread), (wanted, wanted_spread) = modes.offset_estimates(), exact.offset_estimates()
    np.testing.assert_allclose(estimate, wanted, atol=1e-2 * np.sqrt(np.diag(wanted_spread)).min())
    np.testing.assert_allclose(spread, wanted_spread, rtol=1e-2)


def test_another_star_needs_no_other_program(star):
    (one,) = processes(star, solvers=("fourier",))
    light_curve = one.light_curve
    other = GPSolver(
        np.asarray(light_curve.time) + one.epoch,
        np.asarray(light_curve.flux)[::-1] + 1.0,
        np.asarray(light_curve.flux_err),
        star,
        solver="fourier",
        jitter=3e-4,
        priors=PRIORS,
        offsets=np.asarray(light_curve.columns)[:, 1].astype(int),
        trend=1,
    )
    assert jax.tree.structure(other) == jax.tree.structure(one)
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(gp.light_curve)] for gp in (one, other)]
    assert shapes[0] == shapes[1]


def test_a_fit_ends_where_the_dense_one_does(star):
    priors = {**PRIORS, "peq": (4.0, 6.0), "kappa": None, "inc": None, "tau_spot": None}
    exact, modes = processes(star, priors=priors)
    ends = [fit(gp.posterior, progress=False).values for gp in (exact, modes)]
    for name, value in ends[0].items():
        assert float(ends[1][name]) == pytest.approx(float(value), rel=0.02), name


@pytest.mark.parametrize("ratio", [1.0, 1.02, 10.0, 1e8])
def test_weights_as_series_in_the_noise(ratio):
    low = np.array([1e-6, 3e-6])
    most = 1e-4
    reference, extra, logarithmic = chebyshev_noise(low, ratio * low, most)
    assert len(extra) <= (1 if ratio == 1.0 else 8 if ratio == 1.02 else 50)
    assert logarithmic == (ratio == 1e8)
    variance = low * ratio ** np.linspace(0.0, 1.0, 5)[:, None]
    tables = [(((reference + noise) / (variance + noise)).T,) for noise in extra]
    series = [jnp.asarray(part) for part in as_series(tables)]
    for noise in np.linspace(0.0, most, 20):
        (found,) = at_noise(series, jnp.asarray(reference), most, logarithmic, noise)
        wanted = ((reference + noise) / (variance + noise)).T
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_refusals(star):
    with pytest.raises(ValueError, match="how far the kernel may reach"):
        processes(star, solvers=("fourier",), priors={"tau_spot": dist.LogNormal(1.0, 1.0)})
    with pytest.raises(ValueError, match="spots alone"):
        processes(star, solvers=("fourier",), terms={"noise": spotgp.Matern32Term(1e-3, 1.0)})
    mean = spotgp.LinearMean(1.0, 0.0)
    with pytest.raises(ValueError, match="no mean function with free parameters"):
        processes(star, solvers=("fourier",), mean=mean, offsets=None, trend=0)
    with pytest.raises(ValueError, match="too far above the noise"):
        processes(star, solvers=("fourier",), tolerance=1e-9)
    with pytest.raises(ValueError, match="tolerance = 0"):
        processes(star, solvers=("fourier",), tolerance=0)
    t, error, _ = light_curve("random")
    with pytest.raises(ValueError, match="differ too much"):
        fourier.gather(t, 0 * t, t[:, None], error**2 * np.logspace(0, 30, N), 1e100, 60.0, 4)
    (modes,) = processes(star, solvers=("fourier",))
    with pytest.raises(ValueError, match="does not extrapolate"):
        modes.predict(np.array([99.0]))
    with pytest.raises(ValueError, match=r"jitter of 0\.1 is larger"):
        modes.log_likelihood({"jitter": 0.1})
    with pytest.raises(ValueError, match="support of 75 days is longer"):
        modes.log_likelihood({"lspot": 65.0, "tau_spot": 5.0})
    with pytest.warns(UserWarning, match="may be off by"):
        modes.log_likelihood({"sigma_k": 0.1})
    assert "Fourier modes" in repr(modes)
