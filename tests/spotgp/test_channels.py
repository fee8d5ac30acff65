"""The joint covariances of a star's channels, against independent values and differences."""

import itertools
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from spotgp.star.acf import visible_window
from spotgp.star.cross import cross_correlation, weight_of

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-7  # of the root of both channels' variances
ENVELOPES = {
    "trapezoid": spotgp.TrapezoidSymmetricEnvelope,
    "exponential": spotgp.ExponentialEnvelope,
}


def channel(case, v_eq):
    """A channel of the reference."""
    limb = spotgp.QuadraticLimbDarkening(*case["u"]) if "u" in case else spotgp.UniformDisk()
    if case["kind"] == "flux":
        return spotgp.FluxBand(case["contrast"], limb)
    if case["kind"] == "indicator":
        return spotgp.ActivityIndicator(case["scale"], limb)
    rest = {name: case[name] for name in ("contrast", "convective")}
    return spotgp.RadialVelocity(v_eq, **rest, limb=limb)


def kernel_of(case):
    """The kernel of a case of the reference."""
    name, *lives = case["envelope"]
    star = {key: case["star"][key] for key in ("peq", "kappa", "inc")}
    model = spotgp.SpotEvolutionModel(
        ENVELOPES[name](*lives), spotgp.VisibilityFunction(**star), case["sigma_k"]
    )
    v_eq = case["star"]["v_eq"]
    channels = {key: channel(one, v_eq) for key, one in case["channels"].items()}
    return spotgp.ChannelKernel(model, channels)


CASES = json.loads((DATA / "spot_channels.json").read_text())["cases"]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["name"])
def case(request):
    """A kernel of the reference, its lags, and its covariances by pair."""
    name = request.param["name"]
    kernel = kernel_of(request.param)
    with np.load(DATA / "spot_channels.npz") as arrays:
        names = itertools.product(kernel.channels, repeat=2)
        pairs = {(a, b): arrays[f"{name}/{a}|{b}"] for a, b in names}
        return kernel, arrays[f"{name}/lag"], pairs


def test_all_pairs_of_the_reference(case):
    kernel, lag, pairs = case
    variance = {a: value[lag == 0.0][0] for (a, b), value in pairs.items() if a == b}
    found = kernel.kernels(lag)
    assert found.keys() == pairs.keys()
    for (a, b), expected in pairs.items():
        scale = np.sqrt(variance[a] * variance[b])
        np.testing.assert_allclose(found[a, b], expected, rtol=0.0, atol=TOLERANCE * scale)


def random_terms(rng):
    return [
        {power: [jnp.asarray(b) for b in rng.normal(size=size)] for power, size in one.items()}
        for one in ({0: 2}, {0: 4, 1: 3}, {2: 3, 1: 2}, {3: 2})
    ]


@pytest.mark.parametrize(
    ("a0", "a1"), [(0.1, 0.8), (-0.3, 0.5), (0.8, 0.3), (-0.8, 0.3), (0.0, 1.0), (0.5, 0.0)]
)
def test_correlations_of_any_polynomial_of_mu_and_velocity(a0, a1):
    # all powers of the velocity, by quadrature between the windows' edges
    rng = np.random.default_rng(0)
    terms, speed = random_terms(rng), 0.7
    at = (jnp.asarray([a0]), jnp.asarray([a1]))
    weights = [weight_of(one, *at, jnp.asarray([speed])) for one in terms]
    window = visible_window(*at)
    lags = np.array([-7.3, -3.0, -0.4, 0.0, 0.2, 1.0, 2.2, 3.1, 5.9])
    curve = cross_correlation(weights, window, mixed=True)
    found = curve.mean(jnp.ones(1), jnp.ones(1), jnp.asarray(lags)).reshape(4, 4, -1)
    half = float(window.half_angle[0])
    for k, lag in enumerate(lags):
        expected = sum(
            (products(terms, a0, a1, speed, *ends) for ends in overlaps(half, lag)),
            start=np.zeros((4, 4)),
        )
        np.testing.assert_allclose(found[..., k], expected, rtol=1e-11, atol=1e-13)


def overlaps(half, lag):
    """Shift of the second window, and the ends of its overlap with the first."""
    if half == np.pi:
        yield lag, -np.pi, np.pi
    elif half > 0.0:
        for shift in lag + 2.0 * np.pi * np.arange(-2, 3):
            low, high = max(-half, -half - shift), min(half, half - shift)
            if high > low:
                yield shift, low, high


def products(terms, a0, a1, speed, shift, low, high):
    """The integral of all products of two weights, over 2 pi."""
    node, rule = np.polynomial.legendre.leggauss(40)
    theta = 0.5 * (low + high) + 0.5 * (high - low) * node

    def values(theta):
        mu, x = a0 + a1 * np.cos(theta), speed * np.sin(theta)
        return np.array([sum(np.polyval(p[::-1], mu) * x**k for k, p in t.items()) for t in terms])

    weighted = values(theta) * rule * 0.5 * (high - low)
    return weighted @ values(theta + shift).T / (2.0 * np.pi)


def test_gradients_in_every_field():
    kernel, lag = kernel_of(CASES[1]), np.linspace(-9.1, 10.3, 12)
    rng = np.random.default_rng(3)
    factor = {
        pair: rng.normal(size=lag.size) for pair in itertools.product(kernel.channels, repeat=2)
    }
    arrays, static = eqx.partition(kernel, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(arrays)

    @jax.jit
    def total(flat):
        found = eqx.combine(unravel(flat), static).kernels(jnp.asarray(lag))
        return sum(jnp.sum(found[pair] * factor[pair]) for pair in factor)

    gradient = jax.grad(total)(flat)
    for k in range(flat.size):
        step = 1e-4 * max(abs(float(flat[k])), 0.1)
        near, far = (
            (total(flat.at[k].add(h)) - total(flat.at[k].add(-h))) / (2.0 * h)
            for h in (step, 2.0 * step)
        )
        expected = (4.0 * near - far) / 3.0
        scale = float(jnp.abs(total(flat)) / max(abs(float(flat[k])), 0.1))
        np.testing.assert_allclose(gradient[k], expected, rtol=1e-5, atol=1e-5 * scale)


class Moment(spotgp.AbstractChannel):
    """A channel of one's own, with a weight that may be wrong."""

    terms: dict

    def weight(self, visibility):
        return self.terms


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ({}, "must be a dictionary of polynomials of mu"),
        ({-1: [jnp.ones(())]}, "by the power 0, 1, 2"),
        ({1: []}, "lists of their coefficients"),
        ({1: [jnp.ones(3)]}, r"a coefficient has shape \(3,\)"),
        ([1.0], "pass a dictionary"),
    ],
)
def test_wrong_weights(terms, sentence):
    star = kernel_of(CASES[0]).model
    with pytest.raises((ValueError, TypeError), match=sentence):
        spotgp.ChannelKernel(star, {"moment": Moment(terms)})


def test_channels_of_powers_of_the_velocity():
    # a width of the line is even in the lag with a light curve, and larger than 0 at lag 0
    kernel = kernel_of(CASES[1])
    width = Moment({2: [jnp.zeros(()), -jnp.ones(())]})
    found = spotgp.ChannelKernel(
        kernel.model, {"flux": kernel.channels["flux"], "width": width}
    ).kernels(np.array([-1.3, 0.0, 1.3]))
    np.testing.assert_allclose(found["flux", "width"], found["width", "flux"], rtol=1e-10)
    assert found["flux", "width"][1] > 0.0
    assert found["width", "width"][1] < found["flux", "flux"][1]
