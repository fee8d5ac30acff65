"""The kernel against independent quadrature, its Fourier transform and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tinygp

import spotgp
from spotgp import AnalyticKernel, NonstationaryAnalyticKernel, Process, SpotEvolutionModel
from spotgp.kernel.covariance import Tables

from .conftest import CASES, reference_model

ENVELOPES = {
    "trapezoid": spotgp.TrapezoidSymmetricEnvelope(lspot=3.0, tau_spot=1.5),
    "asymmetric": spotgp.TrapezoidAsymmetricEnvelope(lspot=1.0, tau_em=1.5, tau_dec=3.0),
    "exponential": spotgp.ExponentialEnvelope(tau_spot=1.5),
    "asymmetric exponential": spotgp.ExponentialAsymmetricEnvelope(tau_em=0.7, tau_dec=1.6),
    "plateau": spotgp.ExponentialPlateauEnvelope(tau_em=1.0, tau_plat=2.0, tau_dec=2.0),
    "skewed": spotgp.SkewedGaussianEnvelope(sigma_sn=2.0, n_sn=2.0),
    "logistic": spotgp.LogisticPlateauEnvelope(lspot=4.0, tau_spot=0.7),
    "gamma": spotgp.ModulatedGammaEnvelope(alpha=2.0, tau=1.0, a=0.3, omega=1.0),
    "double": spotgp.DoubleTrapezoidEnvelope(lspot=1.5, tau_spot=1.0, t_gap=0.5),
    "double asymmetric": spotgp.DoubleTrapezoidAsymmetricEnvelope(
        lspot1=1.5, tau_spot1=1.0, lspot2=0.5, tau_spot2=1.5, t_gap=0.5
    ),
    "triple": spotgp.TripleTrapezoidAsymmetricEnvelope(
        lspot1=1.0, tau_spot1=0.5, lspot2=0.5, tau_spot2=1.0, lspot3=0.7, tau_spot3=0.6,
        t_gap12=0.3, t_gap23=0.6,
    ),
}  # fmt: skip
SHAPE = {"peq": 3.0, "kappa": 0.3, "inc": 1.0}
VISIBILITIES = {
    "uniform": spotgp.VisibilityFunction(**SHAPE),
    "edge-on": spotgp.EdgeOnVisibilityFunction(peq=3.0, kappa=0.3),
    "limb-darkened": spotgp.LimbDarkenedVisibilityFunction(**SHAPE, u1=0.4, u2=0.2),
    "four-parameter": spotgp.FourParameterVisibilityFunction(
        **SHAPE, a1=0.5, a2=-0.1, a3=0.4, a4=-0.2
    ),
    "finite": spotgp.FiniteSpotVisibilityFunction(**SHAPE, alpha=0.15),
    "finite, limb-darkened": spotgp.FiniteLimbDarkenedVisibilityFunction(
        **SHAPE, alpha=0.15, u1=0.4, u2=0.2
    ),
}
QUICK = {("trapezoid", "uniform"), ("asymmetric exponential", "limb-darkened")}
# every envelope with every visibility: all of them with `make test ARGS="-m slow"`
PAIRS = [
    pytest.param(
        envelope,
        visibility,
        marks=() if (envelope, visibility) in QUICK else pytest.mark.slow,
        id=f"{envelope}, {visibility}",
    )
    for envelope in ENVELOPES
    for visibility in VISIBILITIES
]


def star_of(envelope: str, visibility: str) -> SpotEvolutionModel:
    return SpotEvolutionModel(ENVELOPES[envelope], VISIBILITIES[visibility], sigma_k=0.01)


@pytest.mark.parametrize("case", CASES)
def test_kernel_and_spectrum_of_the_reference(reference, case):
    parameters, expected = reference[case]
    model = reference_model(parameters)
    chosen = AnalyticKernel(model, orders=parameters["orders"])
    at_zero = expected["k"][0]
    np.testing.assert_allclose(
        chosen.kernel(expected["lag"]), expected["k"], rtol=0, atol=1e-7 * at_zero
    )
    if np.isfinite(expected["k_allharm"]).all():  # the limb-darkened case has none
        np.testing.assert_allclose(
            AnalyticKernel(model).kernel(expected["lag"]),
            expected["k_allharm"],
            rtol=0,
            atol=1e-7 * expected["k_allharm"][0],
        )
    frequency, power = chosen.compute_psd(expected["omega"])
    np.testing.assert_allclose(power, expected["psd"], rtol=0, atol=1e-5 * np.max(expected["psd"]))
    np.testing.assert_allclose(frequency, expected["omega"] / (2.0 * np.pi))


@pytest.mark.parametrize(("envelope", "visibility"), PAIRS)
def test_spectrum_is_the_transform_of_the_kernel(envelope, visibility):
    kernel = AnalyticKernel(star_of(envelope, visibility), orders=range(5))
    support = float(kernel.model.envelope.kernel_support())
    lag = np.linspace(0.0, support, 1 + 2 * max(2048, 64 * round(support)))
    covariance = np.asarray(kernel.kernel(lag))
    omega = np.array([0.0, 0.4, 2.0, 2.2, 4.3, 9.0])
    weight = np.full(lag.size, 2.0)
    weight[1::2] = 4.0
    weight[[0, -1]] = 1.0
    weight *= (lag[1] - lag[0]) / 3.0
    expected = 2.0 * np.cos(omega[:, None] * lag[None, :]) @ (weight * covariance)
    _, power = kernel.compute_psd(omega)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-5 * float(np.max(power)))


@pytest.mark.parametrize(("envelope", "visibility"), PAIRS)
def test_matrix_of_random_times_is_positive(envelope, visibility):
    kernel = AnalyticKernel(star_of(envelope, visibility))
    t = np.sort(np.random.default_rng(1).uniform(0.0, 40.0, 400))
    tables = Tables(jnp.asarray(1e-8), jnp.asarray(0.1), jnp.zeros(()))
    covariance = tables.covariance(Process(kernel.model), 40.0)
    matrix = np.asarray(covariance.block(jnp.asarray(t), jnp.asarray(t)))
    smallest, *_, largest = np.linalg.eigvalsh(matrix)
    assert smallest > -1e-7 * largest


def gradient_and_differences(kernel_of, names, at):
    """Gradients of the kernel at five lags, by reverse mode and by central differences."""
    lag = jnp.array([0.0, 0.3, 1.7, 2.9, 4.4])
    weight = jnp.array([1.0, -0.7, 0.4, 0.9, -0.5])

    @jax.jit
    def value(vector):
        return jnp.sum(weight * kernel_of(dict(zip(names, vector, strict=True))).kernel(lag))

    gradient = jax.jit(jax.grad(value))(at)
    differences = []
    for k in range(at.size):
        step = 1e-4 * max(abs(float(at[k])), 0.1)
        shift = jnp.zeros_like(at).at[k].set(step)
        near = value(at + shift) - value(at - shift)
        far = value(at + 2.0 * shift) - value(at - 2.0 * shift)
        differences.append((8.0 * near - far) / (12.0 * step))
    return np.asarray(gradient), np.asarray(differences)


@pytest.mark.parametrize(("envelope", "visibility"), PAIRS)
def test_gradients_agree_with_differences(envelope, visibility):
    model = star_of(envelope, visibility)
    nodes = 96
    names = list(model.paths.values())
    at = jnp.asarray([float(model.get(name)) for name in names])
    gradient, differences = gradient_and_differences(
        lambda values: AnalyticKernel(model.set(values), nodes=nodes), names, at
    )
    scale = np.maximum(np.abs(differences), 1e-3 * np.max(np.abs(differences)))
    np.testing.assert_allclose(gradient / scale, differences / scale, atol=1e-5)


CORNERS = [
    {"visibility.inc": 0.0},
    {"visibility.inc": np.pi / 2},
    {"visibility.inc": np.pi},
    {"visibility.kappa": 0.0},
    {"envelope.lspot": 0.0},
    {"envelope.tau_spot": 1e-3},
    {"envelope.lspot": 0.0, "visibility.kappa": 0.0, "visibility.inc": 0.0},
]


@pytest.mark.parametrize("visibility", ["uniform", "limb-darkened"])
def test_gradients_are_finite_in_the_corners(visibility):
    model = star_of("trapezoid", visibility)
    lag = jnp.array([0.0, 0.5, 3.0, 6.0, 50.0])
    names = list(model.paths.values())

    @jax.jit
    def jacobian(vector):
        def kernel(vector):
            values = dict(zip(names, vector, strict=True))
            return AnalyticKernel(model.set(values), nodes=64).kernel(lag)

        return kernel(vector), jax.jacrev(kernel)(vector)

    for corner in CORNERS:
        moved = model.set(corner)
        value, slope = jacobian(jnp.asarray([float(moved.get(name)) for name in names]))
        assert np.isfinite(value).all(), corner
        assert np.isfinite(slope).all(), corner


def test_lag_zero_has_no_slope(star):
    kernel = AnalyticKernel(star)
    assert float(jax.grad(lambda lag: kernel.kernel(lag))(jnp.array(0.0))) == pytest.approx(
        0.0, abs=1e-18
    )


@pytest.mark.slow
def test_parts_add_up(star):
    lag = np.linspace(-12.0, 12.0, 25).reshape(5, 5)
    kernel = AnalyticKernel(star, orders=(0, 1, 2))
    parts = kernel.kernel_components(lag)
    assert parts.shape == (3, 5, 5)
    np.testing.assert_allclose(parts.sum(axis=0), kernel.kernel(lag), atol=1e-18)
    _, power = kernel.psd_components(np.array([0.0, 1.6]))
    np.testing.assert_allclose(power.sum(axis=0), kernel.compute_psd(np.array([0.0, 1.6]))[1])
    many = AnalyticKernel(star, orders=range(200)).kernel(lag)
    np.testing.assert_allclose(AnalyticKernel(star).kernel(lag), many, atol=1e-6 * many.max())
    np.testing.assert_allclose(kernel.kernel(-lag), kernel.kernel(lag))


def test_one_latitude_and_no_shear(star):
    lag = np.linspace(0.0, 9.0, 40)
    phi, period = 0.4, 4.0
    seen = spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0)
    angle = float(seen.omega0(jnp.array(phi))) * lag
    expected = (
        1e-4
        * np.asarray(star.envelope.R_Gamma(lag))
        * np.asarray(seen.autocorrelation(jnp.full(lag.shape, phi), jnp.asarray(angle)))
    )
    kernel = AnalyticKernel(star)
    np.testing.assert_allclose(kernel.kernel_single_latitude(lag, phi), expected, atol=1e-18)
    solid = kernel.kernel_solid_body(lag)
    again = AnalyticKernel(star.set({"visibility.kappa": 0.0})).kernel(lag)
    np.testing.assert_allclose(solid, again, atol=1e-7 * float(solid[0]))  # other nodes
    repeats = np.asarray(kernel.kernel_solid_body(np.array([0.0, period])))
    ratio = np.asarray(star.envelope.R_Gamma(np.array([0.0, period])))
    np.testing.assert_allclose(repeats[1] / repeats[0], ratio[1] / ratio[0])


def test_tinygp_takes_it(star):
    t = jnp.linspace(0.0, 20.0, 12)
    kernel = AnalyticKernel(star, nodes=64)
    both = kernel + tinygp.kernels.quasisep.Matern32(scale=jnp.array(2.0), sigma=jnp.array(0.003))

    @jax.jit
    def of_tinygp(flux):
        process = tinygp.GaussianProcess(both, t, diag=jnp.full(12, 1e-6))
        return process.log_probability(flux), both(t, t)

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value, matrix = of_tinygp(jnp.sin(t) * 0.01)
    sho = spotgp.Matern32Term(sigma=0.003, rho=2.0 * np.sqrt(3.0))
    lag = t[:, None] - t[None, :]
    own = kernel.kernel(lag) + spotgp.Matern32Term(sigma=0.003, rho=2.0).kernel(jnp.abs(lag))
    np.testing.assert_allclose(matrix, own, rtol=1e-10)
    assert np.isfinite(value)
    assert sho.kernel(np.array(0.0)) == pytest.approx(9e-6)


def test_activity_cycle(star):
    t = np.array([0.0, 1.0, 7.0])

    def amplitude(t):
        return 0.01 * (1.0 + 0.5 * jnp.sin(t))

    kernel = NonstationaryAnalyticKernel(star, amplitude)
    matrix = kernel.kernel_matrix(t)
    sigma = np.asarray(amplitude(t))
    stationary = np.asarray(AnalyticKernel(star).kernel(t[:, None] - t[None, :])) / 1e-4
    np.testing.assert_allclose(matrix, np.outer(sigma, sigma) * stationary, rtol=1e-12)
    one = kernel.evaluate(jnp.asarray(t[0]), jnp.asarray(t[2]))
    np.testing.assert_allclose(one, matrix[0, 2], rtol=1e-10)


def test_float32(star):
    lag = np.linspace(0.0, 12.0, 50)
    expected = AnalyticKernel(star).kernel(lag)
    with jax.enable_x64(False):
        single = SpotEvolutionModel(
            envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
            visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0),
            sigma_k=0.01,
        )
        kernel = AnalyticKernel(single)
        value = kernel.kernel(lag)
        slope = jax.grad(lambda model: AnalyticKernel(model, nodes=64).kernel(lag).sum())(single)
        assert value.dtype == np.float32
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    np.testing.assert_allclose(value, expected, atol=3e-6 * float(expected[0]))


def test_messages(star):
    with pytest.raises(TypeError, match="is not a SpotEvolutionModel"):
        AnalyticKernel(star.envelope)
    with pytest.raises(ValueError, match="must name harmonics"):
        AnalyticKernel(star, orders=(1, 1))
    with pytest.raises(ValueError, match="nodes = 1"):
        AnalyticKernel(star, nodes=1)
    with pytest.raises(TypeError, match="not a function of time"):
        NonstationaryAnalyticKernel(star, amplitude=0.3)
