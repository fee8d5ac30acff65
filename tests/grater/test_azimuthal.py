"""Clumps and arcs: values, images by brute force, gradients, symmetries, precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0e

import grater

from . import oracle
from .test_radial import intensity

PROFILES = {
    "clump": grater.Clump(0.8, 30.0, 250.0),
    "gap": grater.Clump(-0.9, 8.0, 30.0),
    "arc": grater.Arc(4.0, 120.0),
}


def von_mises(azimuth, kappa, centre):
    return np.exp(kappa * (np.cos(azimuth - np.deg2rad(centre)) - 1.0))


FACTORS = {
    "clump": lambda azimuth: 1.0 + 0.8 * von_mises(azimuth, 30.0, 250.0),
    "gap": lambda azimuth: 1.0 - 0.9 * von_mises(azimuth, 8.0, 30.0),
    "arc": lambda azimuth: von_mises(azimuth, 4.0, 120.0),
}


def disk_of(azimuthal, inclination=63.0, **changes):
    return grater.Disk(
        **{
            "semi_major_axis": 40.0,
            "inclination": inclination,
            "position_angle": 25.0,
            "alpha_in": 8.0,
            "alpha_out": -5.0,
            "scale_height": 2.0,
            "eccentricity": 0.2,
            "argument_of_pericenter": 50.0,
            "offset_x": 2.0,
            "offset_y": -1.0,
            "phase": grater.HenyeyGreenstein(0.4),
            "azimuthal": azimuthal,
            **changes,
        }
    )


@pytest.mark.parametrize("name", PROFILES)
def test_values_and_mean(name):
    azimuth = np.arange(720) * np.pi / 360
    got = PROFILES[name].density(jnp.cos(azimuth), jnp.sin(azimuth))
    np.testing.assert_allclose(got, FACTORS[name](azimuth), rtol=1e-11)
    amplitude = {"clump": 0.8, "gap": -0.9}.get(name)
    kappa = float(PROFILES[name].concentration)
    mean = i0e(kappa) if amplitude is None else 1.0 + amplitude * i0e(kappa)
    np.testing.assert_allclose(np.mean(got), mean, rtol=1e-12)


@pytest.mark.parametrize("inclination", [0.0, 86.0, 117.0])
def test_images_of_a_clump(inclination):
    """Through the clump's centre and beside it, within the accuracy."""
    check_image("clump", inclination)


def test_image_of_an_arc():
    check_image("arc", 63.0)


def check_image(name, inclination):
    disk = disk_of(PROFILES[name], inclination)
    x, y = oracle.around(disk)
    expected = oracle.intensity(
        disk,
        lambda q, azimuth, z: (
            oracle.two_power_law(q, 8.0, -5.0) * oracle.gaussian(z, q, 2.0) * FACTORS[name](azimuth)
        ),
        oracle.henyey_greenstein(0.4),
        x,
        y,
    )
    got = intensity(disk, jnp.asarray(x), jnp.asarray(y), grater.Rule(1e-5))
    np.testing.assert_allclose(got, expected, atol=1e-5 * expected.max(), rtol=0)


def test_all_gradients():
    names = ["inclination", "position_angle", "semi_major_axis", "eccentricity", "offset_x"]
    names += ["argument_of_pericenter", "offset_y", "radial.alpha_in", "vertical.scale_height"]
    names += [f"azimuthal.{name}" for name in ("amplitude", "concentration", "azimuth")]
    disk = disk_of(PROFILES["clump"].set({"concentration": 6.0}))
    oracle.check_gradient(disk, [*names, "phase.g"], 1e-5)


def test_a_clump_is_turned_with_the_ring():
    """Face-on and round, a turn of the clump is one of the position angle."""
    round_disk = dict(inclination=0.0, eccentricity=0.0, offset_x=0.0, offset_y=0.0)
    x, y = (jnp.asarray(v) for v in oracle.around(disk_of(PROFILES["clump"])))
    rule = grater.Rule(1e-8)
    one = disk_of(grater.Clump(0.8, 30.0, 250.0), **round_disk)
    # the azimuth grows from the position angle towards the near side, position angle - 90
    other = disk_of(grater.Clump(0.8, 30.0, 220.0), **round_disk, position_angle=25.0 - 30.0)
    np.testing.assert_allclose(intensity(one, x, y, rule), intensity(other, x, y, rule), rtol=1e-10)


def test_no_clump_is_no_clump():
    x, y = (jnp.asarray(v) for v in oracle.around(disk_of(PROFILES["clump"])))
    images = [
        intensity(disk_of(azimuthal), x, y, grater.Rule(1e-6))
        for azimuthal in (None, grater.Clump(0.0, 30.0, 10.0))
    ]
    np.testing.assert_allclose(images[1], images[0], rtol=1e-12)


def test_the_stated_error_holds_for_narrow_clumps():
    """Some of the lines of sight on which it is measured go through the clump, where it is."""
    pixels = np.meshgrid(*[np.linspace(-80.0, 80.0, 20)] * 2)
    pa = np.deg2rad(25.0)
    for kappa, resolved in ((300.0, True), (3000.0, False)):
        disk = disk_of(grater.Clump(5.0, kappa, 11.0), inclination=75.0)
        azimuth = np.deg2rad(11.0) + np.linspace(-2.0, 2.0, 5) / np.sqrt(kappa)
        radius = 40.0 * 0.96 / (1.0 + 0.2 * np.cos(azimuth - np.deg2rad(50.0)))
        along = radius * np.cos(azimuth) + 2.0
        across = (radius * np.sin(azimuth) - 1.0) * np.cos(np.deg2rad(75.0))
        x, y = across * np.cos(pa) - along * np.sin(pa), along * np.cos(pa) + across * np.sin(pa)
        expected = oracle.intensity(
            disk,
            lambda q, azimuth, z, kappa=kappa: (
                oracle.two_power_law(q, 8.0, -5.0)
                * oracle.gaussian(z, q, 2.0)
                * (1.0 + 5.0 * von_mises(azimuth, kappa, 11.0))
            ),
            oracle.henyey_greenstein(0.4),
            x,
            y,
        )
        got = intensity(disk, jnp.asarray(x), jnp.asarray(y), grater.Rule(1e-4))
        error = np.max(np.abs(got - expected)) / expected.max()
        stated = float(stated_error(disk, *map(jnp.asarray, pixels), grater.Rule(1e-4)))
        assert error < max(stated, 1e-4)
        assert (stated < 1e-4) is resolved


@eqx.filter_jit
def stated_error(disk, x, y, rule):
    return disk.integration_error(x, y, rule)


@pytest.mark.parametrize("double", [True, False])
def test_finite_everywhere(double):
    with jax.enable_x64(double):
        profile = grater.Clump(1e3, 1e6, 180.0)
        cos, sin = jnp.asarray([-1.0, 0.0, 1.0, 0.0]), jnp.asarray([0.0, 1.0, 0.0, -1.0])
        values = jax.jit(lambda p: p.density(cos, sin))(profile)
        slopes = jax.jit(jax.jacobian(lambda p: p.density(cos, sin)))(profile)
        for leaf in [values, *jax.tree.leaves(slopes)]:
            assert leaf.dtype == (jnp.float64 if double else jnp.float32)
            assert np.all(np.isfinite(leaf))


def test_bad_input():
    with pytest.raises(ValueError, match=r"Clump.amplitude = -1.5 is outside \[-1, inf\)"):
        grater.Clump(-1.5, 3.0, 0.0)
    with pytest.raises(ValueError, match=r"Arc.concentration = -1.* outside \[0, inf\)"):
        grater.Arc(-1.0, 0.0)
    with pytest.raises(TypeError, match=r"Disk.azimuthal = 3.0 is not an AbstractAzimuthal"):
        disk_of(3.0)
