"""Populations of spots against one spot, sums over many life times, drawn and simulated spots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp

SPOT = spotgp.SkewedGaussianEnvelope(3.0, 1.0)
TRAPEZOID = spotgp.TrapezoidSymmetricEnvelope(6.0, 2.0)
LAGS = np.array([0.0, -0.7, 2.0, 5.0, 9.0, 20.0])
OMEGAS = np.array([0.0, 0.1, -0.4, 1.0])


@pytest.mark.parametrize("area_power", [0.0, 1.0])
def test_no_width_is_one_spot(area_power):
    same = spotgp.PopulationEnvelope(TRAPEZOID, 0.0, area_power)
    np.testing.assert_allclose(same.R_Gamma(LAGS), TRAPEZOID.R_Gamma(LAGS), rtol=1e-13)
    np.testing.assert_allclose(same.Gamma_hat(OMEGAS), TRAPEZOID.Gamma_hat(OMEGAS), rtol=1e-13)
    np.testing.assert_allclose(same.Gamma_hat_sq(OMEGAS), TRAPEZOID.Gamma_hat_sq(OMEGAS))
    np.testing.assert_allclose(same.Gamma(LAGS), TRAPEZOID.Gamma(LAGS), rtol=1e-13)
    assert same.kernel_support() == pytest.approx(TRAPEZOID.kernel_support())


@pytest.mark.parametrize(("width", "area_power"), [(0.3, 0.0), (0.3, 1.0), (0.6, 0.5)])
def test_averages_over_life_times(width, area_power):
    population = spotgp.PopulationEnvelope(SPOT, width, area_power, nodes=48)

    def average(function, power):
        """Of area^power f(s) over a log-normal distribution, by the trapezoidal rule."""
        x = np.linspace(-11.0, 11.0, 20001)
        s = np.exp(width * x)
        values = s ** (power * area_power) * function(s) * np.exp(-(x**2) / 2)
        return np.trapezoid(values, x) / np.sqrt(2 * np.pi)

    lag = np.linspace(0.0, SPOT.kernel_support(), 4001)
    values = np.asarray(SPOT.R_Gamma(lag))
    for x in (0.0, 5.0, 9.0):
        expected = average(lambda s, x=x: s * np.interp(x / s, lag, values, right=0.0), 2)
        assert float(population.R_Gamma(x)) == pytest.approx(expected, rel=1e-5)
    omega = np.linspace(0.0, 10.0, 10001)
    power = np.asarray(SPOT.Gamma_hat_sq(omega))
    for x in (0.0, 0.1, 0.4):
        expected = average(lambda s, x=x: s**2 * np.interp(x * s, omega, power, right=0.0), 2)
        assert float(population.Gamma_hat_sq(x)) == pytest.approx(expected, rel=2e-5)
    mean_area = average(lambda s: s, 1) * float(SPOT.Gamma_hat(0.0).real)
    assert float(population.Gamma_hat(0.0).real) == pytest.approx(mean_area, rel=1e-9)


def test_spectrum_and_autocorrelation_are_transforms():
    population = spotgp.PopulationEnvelope(TRAPEZOID, 0.4, 1.0, nodes=5)
    lag = np.linspace(0.0, population.kernel_support(), 20001)
    values = np.asarray(population.R_Gamma(lag))
    for omega, found in zip(OMEGAS, population.Gamma_hat_sq(OMEGAS), strict=True):
        expected = 2 * np.trapezoid(values * np.cos(omega * lag), lag)
        assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(population.R_Gamma(1.001 * population.kernel_support())) == 0.0


def test_gradients():
    def value(width, area_power, lspot, lag):
        spot = spotgp.TrapezoidSymmetricEnvelope(lspot, 2.0)
        population = spotgp.PopulationEnvelope(spot, width, area_power, nodes=5)
        total = population.R_Gamma(lag) + population.Gamma_hat_sq(0.1 * lag)
        return total + population.Gamma_hat(lag).imag + population.Gamma(lag)

    at = tuple(map(jnp.asarray, (0.4, 0.7, 6.0, 5.0)))
    value = jax.jit(value)
    found = jax.jit(jax.grad(value, (0, 1, 2, 3)))(*at)
    for k, gradient in enumerate(found):
        h = 1e-6
        up, down = (value(*(x + sign * h * (j == k) for j, x in enumerate(at))) for sign in (1, -1))
        assert float(gradient) == pytest.approx(float(up - down) / (2 * h), rel=1e-6)
    assert np.all(np.isfinite(jax.grad(value, (0, 1, 2))(0.0, 0.0, 6.0, 5.0)))


@pytest.mark.parametrize("area_power", [0.0, 1.0])
def test_drawn_spots_have_the_autocorrelation(area_power):
    population = spotgp.PopulationEnvelope(TRAPEZOID, 0.3, area_power, nodes=16)
    stretch, size = population.draw(jax.random.key(1), 20000)
    # every spot's own: its area is size^2, its time runs slower
    lag = jnp.asarray([0.0, 4.0, 8.0])
    each = np.stack([size**4 * stretch * TRAPEZOID.R_Gamma(x / stretch) for x in lag])
    error = np.std(each, axis=1) / 20000**0.5
    expected = population.R_Gamma(lag)
    assert np.all(np.abs(np.mean(each, axis=1) - expected) < 4.5 * error)
    assert np.all(error < 0.03 * expected)


def star(envelope):
    return spotgp.SpotEvolutionModel(
        envelope=envelope,
        visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0),
        nspot_rate=2.0,
        fspot=0.3,
        alpha_max=0.03,
    )


def test_simulated_stars_have_the_covariance_and_the_mean():
    model = star(spotgp.PopulationEnvelope(TRAPEZOID, 0.4, 1.0))
    t = np.linspace(0.0, 40.0, 21)
    flux = np.asarray(spotgp.simulate(model, jax.random.key(3), t, 600))
    mean = flux.mean(axis=1)
    assert np.mean(mean) == pytest.approx(float(model.mean_flux()), abs=4 * mean.std() / 600**0.5)
    flux = flux - float(model.mean_flux())
    kernel = np.asarray(spotgp.AnalyticKernel(model).kernel(t))
    for step in (0, 1, 4, 10):
        products = np.mean(flux[:, step:] * flux[:, : flux.shape[1] - step], axis=1)
        error = products.std() / 600**0.5
        assert abs(products.mean() - kernel[step]) < 4.5 * error
        assert error < 0.06 * kernel[0]


def test_spots_that_live_longer():
    """A stretched spot is that of an envelope of longer times, also where no other spot is."""
    spots = spotgp.Spots([1.0], [0.3], [0.2], [0.1], [1.0], [2.0])
    plain = spots.set({"stretch": [1.0]})
    t = np.linspace(-10.0, 10.0, 41)
    longer = star(spotgp.TrapezoidSymmetricEnvelope(12.0, 4.0))
    expected = spotgp.light_curve(longer, plain, t)
    for envelope in (TRAPEZOID, spotgp.PopulationEnvelope(TRAPEZOID, 0.4)):
        for times, flux in ((t, expected), (t[33:], expected[33:])):
            got = spotgp.light_curve(star(envelope), spots, times)
            np.testing.assert_allclose(got, flux, atol=1e-14)
    assert float(jnp.min(expected)) < 0.995


def test_gnevyshev_waldmeier():
    law = spotgp.PopulationEnvelope.gnevyshev_waldmeier(TRAPEZOID, 0.02, 0.5)
    # 200 millionths of a hemisphere live for 20 days
    assert float(law.envelope.Gamma_hat(0.0).real) == pytest.approx(20.0, rel=1e-3)
    assert float(law.get("envelope.lspot") / law.get("envelope.tau_spot")) == pytest.approx(3.0)
    assert float(law.area_power) == 1.0
    with pytest.raises(ValueError, match="alpha_max = 2"):
        spotgp.PopulationEnvelope.gnevyshev_waldmeier(TRAPEZOID, 2.0, 0.5)


def test_in_a_fit():
    """Priors, starts and a likelihood, as of any envelope."""
    model = star(spotgp.PopulationEnvelope(TRAPEZOID, 0.3, nodes=4))
    t = np.arange(0.0, 60.0, 1.0)
    flux = spotgp.simulate(model, jax.random.key(0), t)[0]
    gp = spotgp.GPSolver(t, flux, 1e-4, model, mean=spotgp.ConstantMean(1.0), solver="dense")
    found = set(gp.posterior.priors)
    assert {"model.envelope.width", "model.envelope.envelope.tau_spot"} < found
    assert "model.envelope.area_power" not in found
    lag = np.abs(t[:, None] - t)
    covariance = np.asarray(spotgp.AnalyticKernel(model).kernel(lag))
    covariance = covariance + 1e-8 * np.eye(t.size)
    rest = np.asarray(flux) - 1.0
    expected = -0.5 * (
        rest @ np.linalg.solve(covariance, rest)
        + np.linalg.slogdet(covariance)[1]
        + t.size * np.log(2 * np.pi)
    )
    np.testing.assert_allclose(gp.log_likelihood(), expected, atol=1e-3)
    started = model.envelope.start(4.0, 30.0)
    assert float(started.get("envelope.lspot")) == 30.0
    assert len(model.envelope.starts(4.0, 30.0)) == 2


def test_bad_input():
    with pytest.raises(TypeError, match="that of a single spot"):
        spotgp.PopulationEnvelope(spotgp.PopulationEnvelope(SPOT, 0.1), 0.1)
    with pytest.raises(ValueError, match="width"):
        spotgp.PopulationEnvelope(SPOT, -0.1)
    with pytest.raises(ValueError, match="different shapes"):
        spotgp.Spots([1.0], [0.3], [0.2], [0.1], [1.0], [2.0, 1.0, 1.0])
