"""Envelopes against SciPy's quadrature, a reference file, and what must hold for any of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from pytreefit import param
from spotgp.star.envelope import AbstractEnvelope
from spotgp.star.exponential import (
    ExponentialAsymmetricEnvelope,
    ExponentialEnvelope,
    ExponentialPlateauEnvelope,
)
from spotgp.star.smooth_envelopes import (
    LogisticPlateauEnvelope,
    ModulatedGammaEnvelope,
    SkewedGaussianEnvelope,
)
from spotgp.star.trapezoid import (
    DoubleTrapezoidAsymmetricEnvelope,
    DoubleTrapezoidEnvelope,
    TrapezoidAsymmetricEnvelope,
    TrapezoidSymmetricEnvelope,
    TripleTrapezoidAsymmetricEnvelope,
)


class Hat(AbstractEnvelope):
    """A user's own envelope, with kinks, and nothing but Gamma."""

    width: jax.Array = param(unit="d", bounds="(0, inf)")

    def Gamma(self, t):
        return jnp.maximum(1.0 - jnp.abs(t - 2.0) / self.width, 0.0)


ENVELOPES = {
    "symmetric": TrapezoidSymmetricEnvelope(15.0, 5.0),
    "short plateau": TrapezoidSymmetricEnvelope(1.0, 3.0),
    "no plateau": TrapezoidSymmetricEnvelope(0.0, 3.0),
    "steep": TrapezoidSymmetricEnvelope(6.0, 1e-3),
    "asymmetric": TrapezoidAsymmetricEnvelope(6.0, 1.0, 4.0),
    "asymmetric triangle": TrapezoidAsymmetricEnvelope(0.0, 1.0, 4.0),
    "double": DoubleTrapezoidEnvelope(3.0, 2.0, 1.0),
    "double asymmetric": DoubleTrapezoidAsymmetricEnvelope(3.0, 2.0, 1.0, 4.0, 0.5),
    "triple": TripleTrapezoidAsymmetricEnvelope(3.0, 2.0, 1.0, 4.0, 0.5, 1.0, 0.2, 3.0),
    "exponential": ExponentialEnvelope(3.0),
    "two rates": ExponentialAsymmetricEnvelope(1.0, 4.0),
    "equal rates": ExponentialAsymmetricEnvelope(2.0, 2.0),
    "exponential plateau": ExponentialPlateauEnvelope(1.0, 4.0, 7.0),
    "exponential, none": ExponentialPlateauEnvelope(3.0, 0.0, 3.0),
    "logistic": LogisticPlateauEnvelope(5.0, 1.0),
    "logistic, short": LogisticPlateauEnvelope(0.5, 1.0),
    "logistic, none": LogisticPlateauEnvelope(0.0, 1.0),
    "gaussian": SkewedGaussianEnvelope(3.0, 0.0),
    "skewed": SkewedGaussianEnvelope(3.0, 4.0),
    "skewed back": SkewedGaussianEnvelope(2.0, -2.0),
    "gamma": ModulatedGammaEnvelope(2.0, 3.0),
    "modulated gamma": ModulatedGammaEnvelope(1.5, 3.0, 0.7, 1.0),
    "own": Hat(4.0),
}
LAGS = np.array([0.0, -0.3, 0.5, 1.0, 2.7, 5.0, 6.0, 11.0, 14.9, 30.0])
OMEGAS = np.array([0.0, 1e-4, -0.2, 0.21, 0.9, 2.0, 7.0, 31.0])


@eqx.filter_jit
def evaluate(envelope, t, lag, omega):
    return envelope.Gamma(t), envelope.R_Gamma(lag), envelope.Gamma_hat(omega)


@eqx.filter_jit
def gamma(envelope, t):
    return envelope.Gamma(t)


@eqx.filter_jit
def power_spectrum(envelope, omega):
    return envelope.Gamma_hat_sq(omega)


@eqx.filter_jit
def autocorrelation(envelope, lag):
    return envelope.R_Gamma(lag)


def edges_of(envelope):
    """Where a rule for its area has to be cut, at any density."""
    if isinstance(envelope, Hat):
        return np.array([-2.0, 2.0, 6.0])
    ends = np.asarray(envelope.breakpoints())
    if isinstance(envelope, ModulatedGammaEnvelope):  # t^alpha at 0
        return np.sort(np.concatenate([ends[:1], np.geomspace(1e-8, 1.0, 12), ends[1:]]))
    return ends


def rule(edges, nodes=16, largest=24):
    """Nodes and weights of Gauss-Legendre between edges along the last axis, cut into parts."""
    parts = max(1, largest * 8 // edges.shape[-1])
    fraction = np.arange(parts) / parts
    width = np.diff(edges, axis=-1)[..., None]
    low = (edges[..., :-1, None] + width * fraction)[..., None]
    node, weight = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * width[..., None] / parts
    t = low + half * (1 + node)
    return t.reshape(*t.shape[:-3], -1), np.broadcast_to(half * weight, t.shape).reshape(
        *t.shape[:-3], -1
    )


def lighter(names):
    """The same names, those without closed forms among the slow tests."""
    slow = ("gaussian", "own", "gamma")
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


@pytest.mark.parametrize("name", ENVELOPES)
def test_integrals_against_a_dense_rule(name):
    envelope = ENVELOPES[name]
    edges = edges_of(envelope)
    shifted = np.broadcast_to(edges, (LAGS.size, edges.size)) - LAGS[:, None]
    both = np.sort(np.concatenate([np.broadcast_to(edges, shifted.shape), shifted], axis=1))
    t, weight = rule(both)
    here, there = np.asarray(gamma(envelope, t)), np.asarray(gamma(envelope, t + LAGS[:, None]))
    assert here.min() >= 0
    assert 0.98 < here.max() <= 1 + 1e-12
    _, r, transform = map(np.asarray, evaluate(envelope, t[0], LAGS, OMEGAS))
    np.testing.assert_allclose(
        np.sum(weight * (here * there) ** 2, axis=1), r, rtol=0, atol=1e-8 * r[0]
    )
    t, weight = rule(edges, largest=100)
    fourier = np.exp(-1j * OMEGAS[:, None] * t) @ (weight * np.asarray(gamma(envelope, t)) ** 2)
    np.testing.assert_allclose(transform, fourier, rtol=0, atol=1e-8 * abs(transform[0]))


@pytest.mark.parametrize("name", lighter(ENVELOPES))
def test_transform_belongs_to_autocorrelation(name):
    envelope = ENVELOPES[name]
    support = envelope.kernel_support()
    assert isinstance(support, float)
    lag, weight = rule(np.linspace(0, support, 65), 8)
    omega = np.array([0.0, 0.3, 1.0])
    r = np.asarray(autocorrelation(envelope, lag))
    power = np.asarray(power_spectrum(envelope, omega))
    expected = 2 * np.cos(omega[:, None] * lag) @ (weight * r)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-6 * power[0])
    assert np.asarray(autocorrelation(envelope, lag + support)).max() <= 1.01e-10 * r[0]


def probes(envelope, at):
    """Numbers whose gradients are tested: all three functions at special and other points."""
    lag, omega = at
    r, hat = envelope.R_Gamma(lag), envelope.Gamma_hat(omega)
    return jnp.concatenate([r, hat.real, hat.imag])


compiled_probes = eqx.filter_jit(probes)


jacobian = eqx.filter_jit(eqx.filter_jacrev(probes))
AT = (jnp.asarray([0.0, 0.8, 4.1, 9.3]), jnp.asarray([0.0, 0.01, 0.7, 5.3]))


@pytest.mark.parametrize("name", lighter(ENVELOPES))
def test_gradients_against_differences(name):
    envelope = ENVELOPES[name]
    gradient = jacobian(envelope, AT)
    scale = float(np.abs(compiled_probes(envelope, AT)).max())
    for key, value in envelope.param_dict.items():
        info = next(row for row in envelope.parameters() if row[0] == key)
        step = 1e-4 * max(abs(value), 0.1) if value != 1e-3 else 1e-6
        one_sided = value == 0.0 and info[3].startswith("[0")
        points = (0, 1, 2) if one_sided else (-1, 1)
        samples = [
            np.asarray(compiled_probes(envelope.set({key: value + k * step}), AT)) for k in points
        ]
        if one_sided:
            expected = (-3 * samples[0] + 4 * samples[1] - samples[2]) / (2 * step)
        else:
            expected = (samples[1] - samples[0]) / (2 * step)
        found = np.asarray(getattr(gradient, key))
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * scale, err_msg=key)


@pytest.mark.parametrize(
    "name",
    [
        "symmetric",
        "short plateau",
        "steep",
        "asymmetric",
        "equal rates",
        "exponential plateau",
        "logistic",
        "logistic, short",
        "gamma",
    ],
)
def test_gradient_in_the_lag(name):
    envelope = ENVELOPES[name]
    lag = jnp.asarray([0.0, 0.7, 4.4])
    slope = eqx.filter_jit(eqx.filter_vmap(jax.grad(lambda s: envelope.R_Gamma(s))))
    found, step = slope(lag), 1e-5
    expected = (envelope.R_Gamma(lag + step) - envelope.R_Gamma(lag - step)) / (2 * step)
    if name == "steep":  # at 0 the slope turns within tau
        expected = expected.at[0].set(0.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVELOPES)
def test_single_precision(name):
    envelope = ENVELOPES[name]
    t = np.linspace(-9, 12, 12).reshape(3, 4)
    lag, omega = np.linspace(0, 20, 5), np.linspace(0, 5, 5)
    double = evaluate(envelope, jnp.asarray(t), jnp.asarray(lag), jnp.asarray(omega))
    with jax.enable_x64(False):
        single_envelope = envelope.set(envelope.param_dict)
        single = evaluate(single_envelope, *(jnp.asarray(a, jnp.float32) for a in (t, lag, omega)))
    for found, expected in zip(single, double, strict=True):
        assert found.dtype in (jnp.float32, jnp.complex64)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["short plateau", "no plateau", "asymmetric triangle", "triple"])
def test_positive_semidefinite(name):
    lag = np.linspace(0, ENVELOPES[name].kernel_support() * 1.2, 120)
    matrix = np.asarray(ENVELOPES[name].R_Gamma(lag[:, None] - lag))
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * matrix[0, 0] * len(lag)


def test_vmap_equals_loop():
    plateaus = jnp.asarray([0.0, 1.0, 7.0])
    batch = eqx.filter_vmap(lambda l: TrapezoidSymmetricEnvelope(l, 2.0).R_Gamma(1.5))(plateaus)
    loop = [TrapezoidSymmetricEnvelope(l, 2.0).R_Gamma(1.5) for l in (0.0, 1.0, 7.0)]
    np.testing.assert_allclose(batch, loop, rtol=1e-14)


def test_steep_trapezoid_is_exact():
    # closed form for plateaus longer than the ramps
    l, tau = 60.0, 1e-3
    s = np.array([0.0, 4e-4, 1e-3, 1.0, 59.9995])
    near = l + 0.4 * tau - 4 * s**2 / (3 * tau) + 2 * s**3 / (3 * tau**2) - s**5 / (15 * tau**4)
    expected = np.where(s <= tau, near, l + 2 * tau / 3 - s)
    np.testing.assert_allclose(TrapezoidSymmetricEnvelope(l, tau).R_Gamma(s), expected, atol=1e-11)


def test_ramp_series_meets_the_closed_form():
    envelope = TrapezoidSymmetricEnvelope(0.0, 1.0)
    omega = np.array([1.0 - 1e-14, 1.0 + 1e-14])
    below, above = np.asarray(envelope.Gamma_hat(omega)).real
    assert abs(below - above) < 1e-13


def test_reference(reference):
    for case, values in reference.values():
        envelope = getattr(spotgp, case["envelope"])(**case["envelope_params"])
        names = ("t", "lag", "omega", "Gamma_area", "R_Gamma", "Gamma_hat_re", "Gamma_hat_im")
        t, lag, omega, profile, r, real, imaginary = (values[name] for name in names)
        found = evaluate(envelope, t, lag, omega)
        np.testing.assert_allclose(np.asarray(found[0]) ** 2, profile, atol=1e-12)
        np.testing.assert_allclose(found[1], r, rtol=0, atol=1e-11 * r[0])
        np.testing.assert_allclose(found[2], real + 1j * imaginary, rtol=0, atol=1e-11 * r[0])


def test_supports_and_parameters():
    envelope = ENVELOPES["symmetric"]
    assert envelope.kernel_support() == 25.0
    assert envelope.param_keys == ("lspot", "tau_spot")
    assert envelope.param_dict == {"lspot": 15.0, "tau_spot": 5.0}
    assert type(envelope.param_dict["lspot"]) is float
    assert ENVELOPES["triple"].kernel_support() == pytest.approx(21.7)
    traced = jax.jit(lambda tau: ExponentialAsymmetricEnvelope(1.0, tau).kernel_support())(4.0)
    assert traced == pytest.approx(ENVELOPES["two rates"].kernel_support(), rel=1e-12)


def test_envelope_without_profile():
    class Empty(AbstractEnvelope):
        width: jax.Array = param()

    with pytest.raises(TypeError, match=r"Empty has no profile: define Gamma\(t\)"):
        Empty(1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TrapezoidSymmetricEnvelope(-1.0, 1.0), r"TrapezoidSymmetricEnvelope.lspot = -1 d"),
        (lambda: TrapezoidAsymmetricEnvelope(1.0, 1.0, 0.0), r"tau_dec = 0 d .* \(0, inf\)"),
        (lambda: ExponentialEnvelope(-2.0), "ExponentialEnvelope.tau_spot = -2 d"),
        (lambda: ModulatedGammaEnvelope(1.0, 1.0, 1.0, 1.0), r"a = 1 .* \(-1, 1\)"),
        (lambda: ModulatedGammaEnvelope(0.0, 1.0), "alpha = 0"),
        (lambda: DoubleTrapezoidEnvelope(1.0, 1.0, -0.5), "t_gap = -0.5 d"),
    ],
)
def test_bad_values(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "times", [(6.0, 2.0), (2.0, 6.0), (4.0, 4.0), (0.0, 3.0)], ids=lambda x: str(x)
)
def test_slopes_where_pieces_of_the_trapezoid_meet(times):
    """R_Gamma has one slope everywhere: that of differences from either side."""

    def correlation(x):
        return spotgp.TrapezoidSymmetricEnvelope(x[0], x[1]).R_Gamma(x[2])

    value, slope = jax.jit(correlation), jax.jit(jax.grad(correlation))
    plateau, ramp = times
    for lag in {ramp, plateau, plateau + ramp, plateau + 2.0 * ramp} - {0.0}:
        at = np.array([plateau, ramp, lag])
        for k, step in enumerate(1e-5 * np.eye(3)):
            sides = [(value(at + step) - value(at)) / 1e-5]
            if at[k] > 0.0:  # no plateau is shorter than none
                sides.append((value(at) - value(at - step)) / 1e-5)
            np.testing.assert_allclose(sides, slope(at)[k], atol=3e-5, err_msg=f"{lag}, {k}")
