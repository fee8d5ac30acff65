import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from grater.derived import (
    DERIVED_UNITS,
    derived,
    derived_draws,
    derived_table,
    near_side,
    near_side_position_angle,
    peak_radius,
    ring_center,
    surface_density,
)
from grater.dust.density import GaussianRing, TwoPowerLaw, VerticalExponential
from grater.dust.disk import Disk
from grater.dust.phase import HenyeyGreenstein
from grater.scene import Scene
from grater.view.view import Grid
from pytreefit import Model

compute = eqx.filter_jit(derived)


def make(**changes):
    disk = Disk(
        77.0,
        76.0,
        26.0,
        alpha_in=20.0,
        alpha_out=-9.0,
        scale_height=1.0,
        eccentricity=0.06,
        argument_of_pericenter=-70.0,
        offset_x=1.0,
        offset_y=-2.0,
    )
    return disk.set(changes)


@pytest.mark.parametrize(
    ("alpha_in", "alpha_out", "beta"),
    [(20, -9, 1), (3, -2.5, 0), (200, -100, 1), (40, -1.5, 1), (1, -1.2, 0), (5, -5, 0)],
)
def test_peak_of_two_power_laws_is_the_closed_form(alpha_in, alpha_out, beta):
    changes = {"radial": TwoPowerLaw(alpha_in, alpha_out), "vertical.beta": beta}
    ratio = -(alpha_in + beta) / (alpha_out + beta)
    expected = 77.0 * ratio ** (1 / (2 * alpha_in - 2 * alpha_out))
    np.testing.assert_allclose(compute(make(**changes))["peak_radius"], expected, rtol=1e-12)


@pytest.mark.parametrize("width", [1e-3, 0.05, 0.2])
def test_gaussian_rings_have_the_width_of_a_gaussian(width):
    flat = compute(make(**{"radial": GaussianRing(width), "vertical.beta": 0.0}))
    np.testing.assert_allclose(flat["peak_radius"], 77.0, rtol=1e-12)
    np.testing.assert_allclose(flat["fwhm"], 77 * width * np.sqrt(8 * np.log(2)), rtol=1e-9)
    flared = compute(make(radial=GaussianRing(width)))
    expected = 77 * (1 + np.sqrt(1 + 4 * width**2)) / 2
    np.testing.assert_allclose(flared["peak_radius"], expected, rtol=1e-9)


@pytest.mark.parametrize("alpha_in", [2.0, 20.0, 150.0])
def test_half_maxima_are_half_the_maximum(alpha_in):
    disk = make(**{"radial.alpha_in": alpha_in})
    ring = compute(disk)
    peak, inner, outer = (
        surface_density(disk, ring[name] / 77.0)
        for name in ("peak_radius", "inner_half_maximum", "outer_half_maximum")
    )
    np.testing.assert_allclose([inner / peak, outer / peak], 0.5, rtol=1e-10)
    assert ring["inner_half_maximum"] < ring["peak_radius"] < ring["outer_half_maximum"]


def test_a_surface_density_without_a_maximum_has_no_ring():
    rising = compute(make(**{"radial.alpha_out": -0.5}))
    assert np.isnan(rising["peak_radius"])
    assert np.isnan(rising["fwhm"])
    assert rising["scattering_angle_min"] == 14.0


def test_ring_center_is_the_centroid_of_the_ellipse_and_projects_as_the_ring_does():
    disk = make()
    a, e, omega = float(peak_radius(disk)), 0.06, np.deg2rad(-70.0)
    t = np.linspace(0.0, 2 * np.pi, 200_001)
    # the orbit equation about the focus, which is at the offset
    r = a * (1 - e**2) / (1 + e * np.cos(t - omega))
    x, y = 1.0 + r * np.cos(t), -2.0 + r * np.sin(t)
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    centroid = [np.sum((v[:-1] + v[1:]) * cross) / (3 * np.sum(cross)) for v in (x, y)]
    np.testing.assert_allclose(ring_center(disk), centroid, atol=1e-6)
    values = compute(disk)
    np.testing.assert_allclose(values["ring_center_offset"], np.hypot(*centroid), rtol=1e-6)
    pericenter = np.argmin(r)
    distance = np.hypot(x[pericenter], y[pericenter])
    np.testing.assert_allclose(values["pericenter_distance"], distance, rtol=1e-6)

    # North, East, away from the observer: incline about the major axis, then turn it to the PA
    tilt, pa = np.deg2rad(76.0), np.deg2rad(26.0)
    along, west_of_it = centroid[0], centroid[1] * np.cos(tilt)
    north = along * np.cos(pa) + west_of_it * np.sin(pa)
    east = along * np.sin(pa) - west_of_it * np.cos(pa)
    np.testing.assert_allclose(values["ring_center_north"], north, atol=1e-6)
    np.testing.assert_allclose(values["ring_center_east"], east, atol=1e-6)


def test_circular_centred_rings_are_centred_with_finite_gradients():
    disk = make(eccentricity=0.0, offset_x=0.0, offset_y=0.0)
    values = compute(disk)
    assert values["ring_center_offset"] == 0.0
    np.testing.assert_allclose(values["pericenter_distance"], values["peak_radius"])
    gradient = jax.jit(jax.grad(lambda d: derived(d)["ring_center_offset"]))(disk)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.fixture(scope="module")
def render():
    grid = Grid((25, 25), pixel_scale=0.1, distance=50.0)
    return eqx.filter_jit(lambda disk: Scene(disk, grid=grid).image())


@pytest.mark.parametrize(("inclination", "expected"), [(50.0, 300.0), (130.0, 120.0)])
def test_forward_scattering_dust_is_brighter_on_the_near_side(render, inclination, expected):
    disk = make(
        semi_major_axis=40.0, inclination=inclination, position_angle=30.0, eccentricity=0.0,
        offset_x=0.0, offset_y=0.0, phase=HenyeyGreenstein(0.5),
    )  # fmt: skip
    angle = float(near_side_position_angle(disk))
    assert angle == expected
    north, east = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    y, x = np.indices((25, 25)) - 12
    toward = y * north - x * east  # columns run to the West
    image = np.asarray(render(disk))
    assert image[toward > 0.5].sum() > 2.0 * image[toward < -0.5].sum()


@pytest.mark.parametrize(
    ("inclination", "reach"), [(0, 0), (76, 76), (90, 90), (104, 76), (180, 0)]
)
def test_scattering_angles(inclination, reach):
    values = compute(make(inclination=inclination))
    assert values["scattering_angle_min"] == 90.0 - reach
    assert values["scattering_angle_max"] == 90.0 + reach


def test_gradients_are_finite_differences():
    parameters, static = eqx.partition(make(), eqx.is_inexact_array)

    def values(parameters):
        found = derived(eqx.combine(parameters, static))
        return jnp.stack([found[name] for name in sorted(found)])

    check_grads(jax.jit(values), (parameters,), order=1, modes=["rev"], rtol=1e-5, eps=1e-5)


def test_vmap_is_a_loop():
    inclinations = jnp.array([20.0, 70.0, 100.0])
    batch = jax.jit(jax.vmap(lambda i: derived(make(inclination=i))))(inclinations)
    loop = [compute(make(inclination=i)) for i in inclinations]
    for name, values in batch.items():
        np.testing.assert_allclose(values, [v[name] for v in loop], rtol=1e-12)


def test_float32():
    double = compute(make())
    with jax.enable_x64(False):
        single = compute(make())
    for name, value in single.items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, double[name], rtol=1e-4, atol=1e-3)


class Held(Model):
    disk: Disk


class Draws(eqx.Module):
    """Stands for the samples of a posterior."""

    values: dict

    def __init__(self, **values):
        self.values = {name: jnp.asarray(v) for name, v in values.items()}

    def models(self):
        return eqx.filter_vmap(lambda v: Held(make(**v)))(self.values)


def test_table_of_a_posterior():
    rng = np.random.default_rng(6)
    inclination = rng.normal(76.0, 0.5, 400)
    inclination[:40] = 180.0 - inclination[:40]
    samples = Draws(
        inclination=inclination,
        position_angle=rng.normal(90.0, 1.0, 400),
        semi_major_axis=rng.normal(77.0, 2.0, 400),
    )
    draws = derived_draws(samples)
    assert tuple(draws) == tuple(DERIVED_UNITS)
    rows = {row[0]: row[1:] for row in derived_table(samples)}
    low, median, high = np.percentile(draws["peak_radius"], [16, 50, 84])
    expected = [median, median - low, high - median]
    np.testing.assert_allclose([float(x) for x in rows["peak_radius"][:3]], expected, atol=0.06)
    assert rows["peak_radius"][3:] == ("au", 400)
    # the near side is at 0 deg, on both sides of the seam
    side = float(rows["near_side_position_angle"][0])
    assert min(side, 360.0 - side) < 0.3
    assert float(rows["near_side_position_angle"][1]) < 1.5
    assert rows["near_side_probability"][0] == "0.900"


def test_table_counts_the_draws_that_have_a_quantity():
    alpha_out = np.full(10, -9.0)
    alpha_out[:3] = -0.5

    rows = {row[0]: row for row in derived_table(Draws(**{"radial.alpha_out": alpha_out}))}
    assert rows["fwhm"][-1] == 7
    assert rows["scattering_angle_min"][-1] == 10


def test_near_side_of_draws_on_two_sides():
    angles = np.array([359.0, 1.0, 0.0, 2.0, 358.0, 180.0, 181.0])
    side, probability = near_side(angles)
    assert min(side, 360.0 - side) < 1.0
    np.testing.assert_allclose(probability, 5 / 7)


def test_a_vertical_profile_without_flaring_leaves_the_midplane_density():
    disk = make(vertical=VerticalExponential(1.0, 2.0, 0.0))
    q = jnp.linspace(0.5, 2.0, 7)
    ratio = surface_density(disk, q) / disk.radial.density(q)
    np.testing.assert_allclose(ratio, ratio[0] * np.ones(7), rtol=1e-12)
