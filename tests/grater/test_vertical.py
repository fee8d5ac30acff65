"""The Lorentzian vertical profile: values, column, images with wings, gradients, precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater

from . import oracle
from .test_radial import intensity

EXPONENTS = {"wide": (5.0, -5.0), "narrow": (20.0, -10.0)}


def disk_of(inclination, height=0.5, ring="wide", beta=1.0, **changes):
    alpha_in, alpha_out = EXPONENTS[ring]
    return grater.Disk(
        40.0,
        inclination,
        20.0,
        alpha_in=alpha_in,
        alpha_out=alpha_out,
        vertical=grater.VerticalLorentzian(height, beta),
        phase=grater.HenyeyGreenstein(0.3),
        **changes,
    )


def test_values_and_column():
    vertical = grater.VerticalLorentzian(2.0, 0.5)
    q, z = np.array([0.25, 1.0, 4.0]), np.array([3.0, 0.0, 10.0])
    height = vertical.height(jnp.asarray(q))
    np.testing.assert_allclose(height, 2.0 * np.sqrt(q), rtol=1e-12)
    profile = vertical.profile(jnp.asarray(z) / height)
    np.testing.assert_allclose(profile, 1.0 / (1.0 + (z / (2.0 * np.sqrt(q))) ** 2), rtol=1e-12)
    # by tan of an angle: the whole axis
    angle = (np.arange(4000) + 0.5) / 4000 * np.pi - 0.5 * np.pi
    t = np.abs(np.tan(angle))
    whole = np.mean(np.asarray(vertical.profile(jnp.asarray(t))) / np.cos(angle) ** 2) * np.pi
    np.testing.assert_allclose(vertical.column(jnp.asarray(q)), whole * height, rtol=1e-9)


@pytest.mark.parametrize("ring", EXPONENTS)
@pytest.mark.parametrize("inclination", [0.0, 5.0, 60.0, 88.0, 90.0])
def test_images_within_the_accuracy(ring, inclination):
    """The wings of a thin disk, face-on too, where the light is ten scale heights and more away."""
    disk, rule = disk_of(inclination, 0.5, ring), grater.Rule(1e-5)
    x, y = oracle.around(disk)
    alpha = EXPONENTS[ring]
    expected = oracle.intensity(
        disk,
        lambda q, _, z: oracle.two_power_law(q, *alpha) / (1.0 + (z / (0.5 * q)) ** 2),
        oracle.henyey_greenstein(0.3),
        x,
        y,
        points=300001,
    )
    got = intensity(disk, jnp.asarray(x), jnp.asarray(y), rule)
    np.testing.assert_allclose(got, expected, atol=2e-5 * expected.max(), rtol=0)


def test_a_cusp_with_wings():
    """An exponent of one half: both a kink in the midplane and light at a hundred heights."""
    disk = grater.Disk(40, 0, 0, alpha_in=5, alpha_out=-5, scale_height=0.05, gamma=0.5, beta=0.0)
    x, y = oracle.around(disk)
    expected = oracle.intensity(
        disk,
        lambda q, _, z: oracle.two_power_law(q, 5, -5) * np.exp(-np.sqrt(np.abs(z) / 0.05)),
        oracle.henyey_greenstein(0.0),
        x,
        y,
        points=300001,
    )
    got = intensity(disk, jnp.asarray(x), jnp.asarray(y), grater.Rule(1e-5))
    np.testing.assert_allclose(got, expected, atol=2e-5 * expected.max(), rtol=0)


def test_gradients():
    disk = disk_of(50.0, 1.0, beta=0.8, density_normalization="column")
    oracle.check_gradient(disk, ["vertical.scale_height", "vertical.beta", "inclination"], 1e-5)


@pytest.mark.parametrize("double", [True, False])
def test_finite_everywhere(double):
    with jax.enable_x64(double):
        vertical = grater.VerticalLorentzian(1.0)
        t = jnp.asarray([0.0, 1e-30, 1.0, 1e10, 1e25, 1e37], float)
        for value in jax.vmap(jax.value_and_grad(vertical.profile))(t):
            assert np.all(np.isfinite(value))
        # one pixel per case is enough to see what is no number
        x, y = jnp.asarray([5.0, 40.0]), jnp.asarray([1.0, -30.0])
        total = eqx.filter_jit(
            eqx.filter_value_and_grad(lambda d: d.intensity(x, y, grater.Rule(1e-4)).sum())
        )
        for inclination in (0.0, 90.0):
            value, slope = total(disk_of(inclination))
            assert np.isfinite(value)
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
