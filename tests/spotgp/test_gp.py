"""Likelihood, gradients and predictions against plain linear algebra with scipy."""

import dataclasses
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal

import spotgp
from pytreefit import Posterior, load, save
from spotgp import AnalyticKernel, GPSolver
from spotgp.solvers import Banded, points_of
from spotgp.solvers.layout import Layout, bandwidth, fastest

from .conftest import CASES, reference_model

N = 90
BOUNDED = {"lspot": (1.0, 10.0), "tau_spot": (0.5, 3.0)}


@pytest.fixture(scope="module")
def data():
    """Uneven times with a gap, fluxes, unequal errors, segments."""
    rng = np.random.default_rng(3)
    t = np.sort(np.concatenate([rng.uniform(0.0, 35.0, 50), rng.uniform(60.0, 100.0, N - 50)]))
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + rng.normal(0.0, 2e-3, N)
    return t, flux, rng.uniform(1e-3, 3e-3, N), (t > 50.0).astype(int)


@pytest.fixture(scope="module")
def plain(data, star):
    t, flux, error, _ = data
    return GPSolver(t, flux, error, star, mean=1.0, tolerance=1e-4)


@pytest.fixture(scope="module")
def rich(data, star):
    """Everything at once: offsets, trend, jitter, a banded solver."""
    t, flux, error, segment = data
    return GPSolver(
        t,
        flux,
        error,
        star,
        offsets=segment,
        trend=1,
        jitter=1e-3,
        priors=BOUNDED,
        solver="banded",
        tolerance=1e-4,
    )


def covariance_of(star, t, error, nodes=512):
    kernel = AnalyticKernel(star, nodes=nodes)
    return np.asarray(kernel.kernel(t[:, None] - t[None, :])) + np.eye(t.size) * np.square(error)


def marginal(flux, covariance, columns):
    """Log-likelihood with the columns' amplitudes integrated out under a flat prior."""
    inverse = np.linalg.inv(covariance)
    normal = columns.T @ inverse @ columns
    projector = inverse - inverse @ columns @ np.linalg.solve(normal, columns.T @ inverse)
    return -0.5 * (
        flux @ projector @ flux
        + np.linalg.slogdet(covariance)[1]
        + np.linalg.slogdet(normal)[1]
        + (flux.size - columns.shape[1]) * np.log(2.0 * np.pi)
    ), projector


def test_what_is_far_above_the_noise_gets_an_accurate_kernel():
    star = spotgp.SpotEvolutionModel(
        spotgp.TrapezoidSymmetricEnvelope(38.7, 1.5),
        spotgp.VisibilityFunction(5.36, 0.1, 1.1),
        sigma_k=4e-3,
    )
    rng = np.random.default_rng(0)
    t, error = np.sort(rng.uniform(0.0, 90.0, 200)), 1e-5
    options = {"solver": "dense", "priors": {"sigma_k": (1e-4, 0.1)}}
    covariance = covariance_of(star, t, error, nodes=1024)
    flux = np.linalg.cholesky(covariance) @ rng.normal(size=200)
    expected = multivariate_normal(np.zeros(200), covariance).logpdf(flux)
    for tolerance in (0.1, 0.01):
        gp = GPSolver(t, flux, error, star, mean=0.0, tolerance=tolerance, **options)
        difference = abs(float(gp.log_likelihood()) - expected)
        assert difference < 0.2 * tolerance
        assert difference < 2.0 * float(gp.likelihood_error()) + 1e-5 < tolerance


@pytest.mark.parametrize("period", [0.5, 1.0, 2.0, 3.0, 25.0])
def test_the_table_is_right_wherever_the_prior_lets_the_period_go(period):
    star = spotgp.SpotEvolutionModel(
        spotgp.TrapezoidSymmetricEnvelope(50.0, 5.0),
        spotgp.VisibilityFunction(10.0, 0.3, 1.1),
        sigma_k=0.01,
    )
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0.0, 80.0, 150))
    flux = 0.01 * np.sin(t) + 1e-3 * rng.normal(size=150)
    gp = GPSolver(t, flux, 1e-3, star, mean=0.0, solver="dense", priors={"peq": (0.2, 30.0)})
    moved = star.set({"visibility.peq": period})
    expected = multivariate_normal(np.zeros(150), covariance_of(moved, t, 1e-3, nodes=2048)).logpdf(
        flux
    )
    found = float(gp.log_likelihood({"peq": period}))
    assert abs(found - expected) < 0.02
    assert abs(found - expected) < 2.0 * float(gp.likelihood_error({"peq": period})) + 1e-6


@pytest.mark.parametrize("case", CASES)
def test_log_likelihood_of_the_reference(reference, case):
    parameters, arrays = reference[case]
    model = reference_model(parameters)
    gp = GPSolver(
        arrays["data_t"],
        arrays["data_y"],
        arrays["data_yerr"],
        AnalyticKernel(model, orders=parameters["orders"]),
        mean=parameters["mean"],
    )
    assert float(gp.log_likelihood()) == pytest.approx(parameters["loglike"], abs=1e-3)


def test_plain_likelihood(data, plain, star):
    t, flux, error, _ = data
    covariance = covariance_of(star, t, error)
    expected = multivariate_normal(np.ones(N), covariance).logpdf(flux)
    assert float(plain.log_likelihood()) == pytest.approx(expected, abs=1e-5)


def test_columns_are_integrated_out(data, rich, star):
    t, flux, error, segment = data
    variance = error**2 + 1e-6
    covariance = covariance_of(star, t, np.sqrt(variance))
    half = 0.5 * (t[-1] - t[0])
    columns = np.stack([segment == 0, segment == 1, (t - t.mean()) / half], axis=1).astype(float)
    columns[:, 2] = (t - 0.5 * (t[0] + t[-1])) / half
    expected, _ = marginal(flux, covariance, columns)
    assert rich.solver.layout.tiles > 1
    assert float(rich.log_likelihood()) == pytest.approx(expected, abs=1e-5)
    estimate, spread = rich.offset_estimates()
    inverse = np.linalg.inv(covariance)
    normal = columns.T @ inverse @ columns
    np.testing.assert_allclose(estimate, np.linalg.solve(normal, columns.T @ inverse @ flux))
    np.testing.assert_allclose(spread, np.linalg.inv(normal), rtol=1e-6)


def test_a_flat_prior_is_the_limit_of_a_wide_one(data, star):
    t, flux, error, _ = data
    gp = GPSolver(t, flux, error, star, solver="dense")
    wide = 1.0
    covariance = covariance_of(star, t, error) + wide**2
    proper = multivariate_normal(np.zeros(N), covariance).logpdf(flux - 1.0)
    flat = float(gp.log_likelihood()) - 0.5 * np.log(2.0 * np.pi * wide**2)
    assert flat == pytest.approx(proper, abs=1e-3)


@pytest.mark.parametrize("which", ["plain", "rich"])
def test_gradient_agrees_with_differences(which, request):
    gp = request.getfixturevalue(which)
    theta = np.array([float(value) for value in gp.values().values()])
    gradient = np.asarray(gp.grad_log_posterior(theta))
    for k in range(theta.size):
        step = 1e-4 * max(abs(theta[k]), 1e-3)
        shift = np.zeros(theta.size)
        shift[k] = step
        near = float(gp.log_posterior(theta + shift) - gp.log_posterior(theta - shift))
        far = float(gp.log_posterior(theta + 2 * shift) - gp.log_posterior(theta - 2 * shift))
        assert gradient[k] == pytest.approx((8.0 * near - far) / (12.0 * step), rel=1e-5, abs=1e-4)
    np.testing.assert_allclose(gp.grad_neg_log_posterior(theta), -gradient)
    assert float(gp.neg_log_posterior(theta)) == -float(gp.log_posterior(theta))


def test_prediction(data, plain, rich, star):
    t, flux, error, segment = data
    wanted = np.array([101.0, -2.0, 20.0, 47.0, 70.0])  # in any order
    kernel = AnalyticKernel(star)
    cross = np.asarray(kernel.kernel(t[:, None] - wanted[None, :]))
    prior = np.asarray(kernel.kernel(wanted[:, None] - wanted[None, :]))
    inverse = np.linalg.inv(covariance_of(star, t, error))
    mean, variance = plain.predict(wanted)
    np.testing.assert_allclose(mean, 1.0 + cross.T @ inverse @ (flux - 1.0), atol=1e-8)
    np.testing.assert_allclose(variance, np.diag(prior - cross.T @ inverse @ cross), atol=1e-10)
    again, covariance = plain.predict(wanted, return_cov=True)
    np.testing.assert_allclose(again, mean)
    np.testing.assert_allclose(covariance, prior - cross.T @ inverse @ cross, atol=1e-10)

    noisy = covariance_of(star, t, np.sqrt(error**2 + 1e-6))
    middle, half = 0.5 * (t[0] + t[-1]), 0.5 * (t[-1] - t[0])
    columns = np.stack([segment == 0, segment == 1, (t - middle) / half], axis=1).astype(float)
    nearest = np.argmin(np.abs(wanted[:, None] - t[None, :]), axis=1)
    there = np.concatenate([columns[nearest, :2], (wanted[:, None] - middle) / half], axis=1)
    _, projector = marginal(flux, noisy, columns)
    inverse = np.linalg.inv(noisy)
    normal = columns.T @ inverse @ columns
    amplitudes = np.linalg.solve(normal, columns.T @ inverse @ flux)
    mean, variance = rich.predict(wanted)
    expected = there @ amplitudes + cross.T @ projector @ flux
    np.testing.assert_allclose(mean, expected, atol=1e-7)
    left = there - cross.T @ inverse @ columns
    full = prior - cross.T @ inverse @ cross + left @ np.linalg.solve(normal, left.T)
    np.testing.assert_allclose(variance, np.diag(full), atol=1e-9)


def test_terms_and_their_parts(data, star):
    t, flux, error, _ = data
    terms = {"granulation": spotgp.SHOTerm(sigma=5e-3, rho=1.0)}
    gp = GPSolver(t, flux, error, star, terms=terms, mean=spotgp.LinearMean(), tolerance=1e-4)
    assert gp.param_keys[-3:] == ("slope", "sigma", "rho")
    granules = np.asarray(terms["granulation"].kernel(np.abs(t[:, None] - t[None, :])))
    covariance = covariance_of(star, t, error) + granules
    expected = multivariate_normal(np.ones(N), covariance).logpdf(flux)
    assert float(gp.log_likelihood()) == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(gp.grad_log_posterior()).all()
    wanted = np.linspace(0.0, 100.0, 7)
    whole = gp.predict(wanted).mean
    parts = [gp.predict(wanted, parts=name).mean for name in ("spots", "granulation")]
    np.testing.assert_allclose(parts[0] + parts[1] + 1.0, whole, atol=1e-9)


def test_amplitude_that_changes(data, star):
    t, flux, error, _ = data

    def amplitude(t):
        return 0.01 * (1.0 + 0.3 * jnp.sin(t / 10.0))

    kernel = spotgp.NonstationaryAnalyticKernel(star, amplitude)
    gp = GPSolver(t, flux, error, kernel, mean=1.0)
    covariance = np.asarray(kernel.kernel_matrix(t)) + np.eye(t.size) * np.square(error)
    expected = multivariate_normal(np.ones(N), covariance).logpdf(flux)
    assert float(gp.log_likelihood()) == pytest.approx(expected, abs=1e-4)


def test_draws(plain):
    t = np.linspace(0.0, 30.0, 40)
    draws = plain.sample_posterior(t, jax.random.key(0), 4000)
    mean, covariance = plain.predict(t, return_cov=True)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(draws.mean(axis=0) / scale, mean / scale, atol=5 / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=0), scale, rtol=5 / np.sqrt(8000))
    prior = plain.sample_prior(t, jax.random.key(1), 4000)
    at_zero = float(AnalyticKernel(plain.process.model).kernel(0.0))
    np.testing.assert_allclose(prior.var(axis=0), at_zero, rtol=5 * np.sqrt(2 / 4000))


def test_data_and_process_are_saved_and_loaded(plain, tmp_path):
    save(tmp_path / "data.npz", plain.data)
    save(tmp_path / "star.npz", plain.process)
    np.testing.assert_array_equal(load(tmp_path / "data.npz").flux, plain.data.flux)
    assert float(load(tmp_path / "star.npz").model.peq) == float(plain.process.model.peq)


def test_set_equals_built(plain):
    """Nothing of data or process follows from their other fields: the solver is made of them."""
    others = {"constant": True, "trend": 2, "segment": (np.arange(N) > 50).astype(int)}
    for whole in (plain.data, plain.process):
        fields = {f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}
        for name, value in fields.items():
            if name in others:
                other = others[name]
            elif isinstance(value, jax.Array):
                other = value + 0.5
            else:
                continue
            built = type(whole)(**{**fields, name: other})
            assert eqx.tree_equal(whole.set({name: other}), built), name
            assert not eqx.tree_equal(whole, built), name


def test_second_star_compiles_nothing(data, plain, star, compiled):
    t, flux, error, _ = data
    plain.log_posterior()
    before = compiled.count("jit(_log_posterior)")
    other = GPSolver(t + 3.0, flux[::-1], 1.1 * error, star.set({"visibility.peq": 4.0}), mean=1.1)
    other.log_posterior()
    assert compiled.count("jit(_log_posterior)") == before
    # lengths that are nearly the same share a program, others do not
    GPSolver(t[:-1], flux[:-1], error[:-1], star, mean=1.1).log_posterior()
    assert compiled.count("jit(_log_posterior)") == before
    GPSolver(t[:-9], flux[:-9], error[:-9], star, mean=1.1).log_posterior()
    assert compiled.count("jit(_log_posterior)") == before + 1


def test_layout_counts_true_lags():
    # a minute's cadence in between a sparse one: the typical spacing says nothing about the band
    t = np.sort(np.concatenate([np.arange(0.0, 400.0, 0.5), np.arange(100.0, 101.0, 0.01)]))
    tiles, size, band = fastest(t.size, bandwidth(t, 4.0), dense=False)
    assert tiles > 1
    index = np.arange(t.size) // size
    far = np.abs(index[:, None] - index[None, :]) > band
    assert np.abs(t[:, None] - t[None, :])[far].min() > 4.0


def test_names_and_values(plain):
    assert plain.param_keys == ("peq", "kappa", "inc", "lspot", "tau_spot", "sigma_k")
    assert plain.values({"peq": 5.0})["model.visibility.peq"] == 5.0
    assert float(plain.at({"peq": 5.0}).process.model.peq) == 5.0
    assert isinstance(plain.posterior, Posterior)
    assert "dense" in repr(plain)
    with pytest.raises(ValueError, match="'period' is not a free parameter"):
        plain.values({"period": 5.0})
    with pytest.raises(ValueError, match="theta has shape"):
        plain.values([1.0, 2.0])


def test_priors_are_chosen_and_given(data, star):
    t, flux, error, _ = data
    gp = GPSolver(t, flux, error, star, priors={"kappa": None, "peq": dist.LogNormal(1.4, 0.1)})
    assert "kappa" not in gp.param_keys
    assert isinstance(gp.posterior.priors["model.visibility.peq"], dist.LogNormal)
    rigid = GPSolver(t, flux, error, star.set({"visibility.kappa": 0.0}))
    assert "kappa" not in rigid.param_keys  # at the edge of its range: fixed
    with pytest.raises(ValueError, match="peq = 900 is outside of its default prior"):
        GPSolver(t, flux, error, star.set({"visibility.peq": 900.0}))
    with pytest.raises(ValueError, match="no parameter 'kapa'"):
        GPSolver(t, flux, error, star, priors={"kapa": (0.0, 1.0)})


def test_data_are_cleaned_and_say_so(data, plain, star):
    t, flux, error, _ = data
    order = np.random.default_rng(0).permutation(N)
    holes = np.append(flux[order], np.nan)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gp = GPSolver(np.append(t[order], 5.0), holes, np.append(error[order], 1.0), star, mean=1.0)
    said = " ".join(str(warning.message) for warning in caught)
    assert "1 of 91 points are not finite" in said
    assert "sorted" in said
    np.testing.assert_allclose(gp.log_likelihood(), plain.log_likelihood())


def test_messages(data, star):
    t, flux, error, segment = data
    with pytest.raises(ValueError, match=r"flux has shape \(89,\)"):
        GPSolver(t, flux[1:], error, star)
    with pytest.raises(ValueError, match="0 of 90 points"):
        GPSolver(t, np.full(N, np.nan), error, star)
    with pytest.raises(ValueError, match="1 of 1 points"):
        GPSolver(t[:1], flux[:1], error[:1], star)
    with pytest.raises(ValueError, match="flux_err = 0 is not positive"):
        GPSolver(t, flux, np.append(error[1:], 0.0), star)
    with pytest.raises(ValueError, match="segment 1 holds no point"):
        GPSolver(t, flux, error, star, offsets=2 * segment)
    with pytest.raises(ValueError, match="must be integers"):
        GPSolver(t, flux, error, star, offsets=segment * 0.5)
    with pytest.raises(ValueError, match="'banded' saves nothing"):
        GPSolver(t, flux, error, star, solver="banded")
    with pytest.raises(ValueError, match="must be 'auto'"):
        GPSolver(t, flux, error, star, solver="fast")
    with pytest.raises(TypeError, match="not a SpotEvolutionModel"):
        GPSolver(t, flux, error, star.envelope)
    with pytest.raises(ValueError, match="the name 'spots' is taken"):
        GPSolver(t, flux, error, star, terms={"spots": spotgp.SHOTerm(sigma=1.0, rho=1.0)})
    with pytest.raises(TypeError, match="must be an AbstractTerm"):
        GPSolver(t, flux, error, star, terms={"more": 3.0})
    with pytest.raises(ValueError, match="trend = -1"):
        GPSolver(t, flux, error, star, trend=-1)
    with pytest.raises(ValueError, match="t is empty"):
        GPSolver(t, flux, error, star).predict([])


class Wrong(spotgp.AbstractEnvelope):
    """An autocorrelation that none is."""

    def Gamma(self, t):
        return jnp.where(jnp.abs(t) < 4.0, 1.0, 0.0)

    def R_Gamma(self, lag):
        return jnp.where(jnp.abs(lag) < 3.0, 1.0, 0.0)

    def kernel_support(self):
        return 3.0


def test_a_kernel_that_is_not_positive_definite(data, star):
    t, flux, error, _ = data
    bad = star.set({"envelope": Wrong()})
    with pytest.raises(ValueError, match=r"not positive definite.*R_Gamma of Wrong"):
        GPSolver(t, flux, 1e-3 * error, bad).log_likelihood()
    with pytest.raises(ValueError, match=r"sigma_k = .* is too far above flux_err"):
        GPSolver(
            np.repeat(t, 2),
            np.repeat(flux, 2),
            1e-11,
            star.set({"amplitude.sigma_k": 1e3}),
            priors={"sigma_k": None},
        ).log_likelihood()


def test_support_beyond_the_band(rich):
    assert float(rich.log_posterior({"lspot": 9.9})) > -np.inf
    with pytest.raises(ValueError, match="longer than the"):
        rich.log_likelihood({"lspot": 90.0})


def test_single_precision_warns_once(data, monkeypatch):
    # other files of the same process may have been warned
    monkeypatch.setattr(sys.modules["spotgp.gp.data"], "_warned_of_float32", False)
    t, flux, error, _ = data
    with jax.enable_x64(False), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = spotgp.SpotEvolutionModel(
            envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
            visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0),
            sigma_k=0.01,
        )
        for _ in range(2):
            gp = GPSolver(t, flux, error, model, mean=1.0)
        value, gradient = gp.value_and_grad_log_posterior()
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    said = [str(warning.message) for warning in caught]
    assert sum("jax_enable_x64" in text for text in said) == 1


@pytest.mark.parametrize("band", [1, 2, 5, 8])
def test_every_layout_gives_the_same(band, star):
    # dense sampling and signal far above the noise: rounding must not grow from tile to tile
    rng = np.random.default_rng(6)
    t = np.sort(np.concatenate([np.arange(0.0, 30.0, 0.1), np.arange(34.0, 60.0, 0.1)]))
    t = t + rng.uniform(-0.03, 0.03, t.size)
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + rng.normal(0.0, 2e-4, t.size)
    star = star.set({"envelope.lspot": 2.0, "envelope.tau_spot": 1.0})
    labels = (t > 32.0).astype(int)
    gp = GPSolver(t, flux, 2e-4, star, offsets=labels, jitter=1e-4, solver="dense")
    width = bandwidth(t, 4.01)
    size = -(-width // band)
    tiles = -(-t.size // size)
    points = points_of(gp.data, tiles * size)
    layout = Layout(tiles, size, band)
    banded = gp.with_solver(Banded(points, gp.solver.tables, jnp.asarray(4.01), layout))
    value, gradient = gp.value_and_grad_log_posterior()
    banded_value, banded_gradient = banded.value_and_grad_log_posterior()
    assert tiles > band
    assert float(banded_value) == pytest.approx(float(value), abs=1e-6)
    np.testing.assert_allclose(banded_gradient, gradient, rtol=1e-7)
    expected, covariance = gp.predict(np.array([12.3, 33.0, 59.0]), return_cov=True)
    mean, variance = banded.predict(np.array([12.3, 33.0, 59.0]))
    np.testing.assert_allclose(mean, expected, atol=1e-9)
    np.testing.assert_allclose(variance, np.diag(covariance), atol=1e-12)
