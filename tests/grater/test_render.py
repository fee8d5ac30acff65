"""The line-of-sight integral against references, an independent quadrature and its symmetries."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import grater
from grater.integrate import sky_to_disk

from .conftest import CASES, general_disk as small_disk, reference_scene, render


def error(scene, truth):
    image = np.array(render(scene))
    ny, nx = image.shape
    image[ny // 2, nx // 2] = truth[ny // 2, nx // 2]
    return np.max(np.abs(image - truth)) / np.max(truth)


@pytest.mark.parametrize("name", CASES)
def test_reference_images(reference, name):
    case, truth = reference[name]
    assert error(reference_scene(case, 1e-3), truth) < 1e-3
    assert error(reference_scene(case, 1e-6), truth) < (1e-5 if case["gamma"] == 1 else 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_reference_images_float32(reference, name):
    case, truth = reference[name]
    with jax.enable_x64(False):
        scene = reference_scene(case, 1e-3)
        assert render(scene).dtype == jnp.float32
        assert error(scene, truth) < 1e-3


GRID = grater.Grid((21, 21), 0.1, 60.0)


def brute_force(disk: grater.Disk, x_sky: float, y_sky: float, profile=None) -> float:
    """The integral as the conventions state it, with NumPy and adaptive quadrature."""
    value = {row[0]: float(disk.get(row[0])) for row in disk.parameters()}
    pa, i, w = np.deg2rad(
        [value["position_angle"], value["inclination"], value["argument_of_pericenter"]]
    )
    a, e, g = value["semi_major_axis"], value["eccentricity"], value["phase.g"]
    x_d = -np.sin(pa) * x_sky + np.cos(pa) * y_sky
    y_m = np.cos(pa) * x_sky + np.sin(pa) * y_sky

    def integrand(l):
        x = x_d - value["offset_x"]
        y = y_m * np.cos(i) + l * np.sin(i) - value["offset_y"]
        z = -y_m * np.sin(i) + l * np.cos(i)
        theta = np.arctan2(y, x)
        q = np.hypot(x, y) * (1 + e * np.cos(theta - w)) / (a * (1 - e**2))
        if profile is None:
            inner, outer = value["radial.alpha_in"], value["radial.alpha_out"]
            ring = np.sqrt(2 / (q ** (-2 * inner) + q ** (-2 * outer)))
        else:
            ring = profile(q)
        height = value["vertical.scale_height"] * q ** value["vertical.beta"]
        ring *= np.exp(-((np.abs(z) / height) ** value["vertical.gamma"]))
        d = np.sqrt(x_d**2 + y_m**2 + l**2)
        phase = (1 - g**2) / (4 * np.pi * (1 + g**2 - 2 * g * l / d) ** 1.5)
        return ring * phase / d**2

    midplane = y_m * np.tan(i)
    edges = np.unique(np.concatenate([[-600.0, 600.0], midplane + np.linspace(-60, 60, 61)]))
    pieces = itertools.pairwise(edges)
    return sum(quad(integrand, lo, hi, epsabs=0, epsrel=1e-10)[0] for lo, hi in pieces)


@pytest.mark.parametrize("inclination", [30.0, 63.0, 117.0])
def test_independent_quadrature(inclination):
    disk = small_disk(inclination=inclination)
    image = np.asarray(render(grater.Scene(disk, grid=GRID, accuracy=1e-8)))
    size = float(GRID.pixel_size)
    for row, column in [(10, 16), (4, 9), (15, 5), (11, 11)]:
        truth = brute_force(disk, (column - 10) * size, (row - 10) * size)
        assert abs(image[row, column] - truth) < 2e-7 * image.max()


@pytest.mark.parametrize("inclination", [0.0, 55.0, 90.0])
def test_line_of_sight_through_the_centre_of_the_ring(inclination):
    """Where every length that a line of sight has to the ring is 0 at once."""
    disk = small_disk(inclination=inclination, position_angle=0.0, offset_x=12.0, offset_y=0.0)
    through = grater.Scene(disk, grid=GRID, accuracy=1e-8)
    image = np.asarray(render(through))
    beside = np.asarray(render(through.set({"disk.offset_x": 12.0 + 1e-6})))
    np.testing.assert_allclose(image, beside, atol=1e-6 * image.max())
    if inclination == 55.0:
        assert abs(image[12, 10] - brute_force(disk, 0.0, 12.0)) < 2e-7 * image.max()


def test_accuracy_is_kept_where_a_disk_is_hard():
    disk = small_disk(alpha_in=2.2, alpha_out=-10.0, inclination=78.0, gamma=1.0, scale_height=1.5)
    truth = np.asarray(render(grater.Scene(disk, grid=GRID, accuracy=1e-8)))
    errors = [
        np.max(np.abs(np.asarray(render(grater.Scene(disk, grid=GRID, accuracy=a))) - truth))
        for a in (1e-2, 1e-4, 1e-6)
    ]
    assert errors[0] < 5e-2 * truth.max()
    assert errors[1] < 1e-3 * truth.max()
    assert errors[2] < 1e-5 * truth.max()


def test_position_angle_rotates_the_image():
    image = render(grater.Scene(small_disk(), grid=GRID))
    turned = render(grater.Scene(small_disk(position_angle=115.0), grid=GRID))
    # rows go up to North and columns to the right to West: North to East is anticlockwise
    expected = np.rot90(np.asarray(image)[::-1], 1)[::-1]
    np.testing.assert_allclose(turned, expected, rtol=1e-9, atol=1e-9 * float(image.max()))


def test_near_side_scatters_forward():
    scene = grater.Scene(small_disk(eccentricity=0.0, offset_x=0.0, offset_y=0.0), grid=GRID)
    image = np.asarray(render(scene))
    x, y, _ = scene.view.sky_coordinates()
    _, towards_near_side = sky_to_disk(scene.disk.position_angle, x, y)
    near = np.asarray(towards_near_side) > 0
    assert image[near].sum() > 2 * image[~near].sum()
    other = np.asarray(render(scene.set({"disk.inclination": 117.0})))
    assert other[~near].sum() > 2 * other[near].sum()


def test_inclination_beyond_edge_on_mirrors_the_disk():
    image = np.asarray(render(grater.Scene(small_disk(position_angle=0.0), grid=GRID)))
    beyond = small_disk(position_angle=0.0, inclination=180.0 - 63.0)
    mirrored = np.asarray(render(grater.Scene(beyond, grid=GRID)))
    np.testing.assert_allclose(mirrored, image[:, ::-1], rtol=1e-9, atol=1e-9 * image.max())


def test_image_scales_with_size():
    """Twice as large at twice the distance is half as bright: 1 / d^2 against the path dl."""
    large = small_disk(semi_major_axis=80.0, scale_height=4.0, offset_x=4.0, offset_y=-2.0)
    image = render(grater.Scene(small_disk(), grid=GRID))
    scaled = render(grater.Scene(large, grid=grater.Grid((21, 21), 0.1, 120.0)))
    np.testing.assert_allclose(2 * scaled, image, rtol=1e-10)


def test_thin_face_on_disk_is_its_surface_density():
    """Seen from above, a thin disk is its surface density over r^2, times p(90 deg)."""
    disk = small_disk(
        inclination=0.0, scale_height=0.02, gamma=2.0, eccentricity=0.0, offset_x=0.0, offset_y=0.0
    )
    scene = grater.Scene(disk, grid=GRID, accuracy=1e-8)
    x, y, inside = scene.view.sky_coordinates()
    r = np.hypot(x, y)
    q = r / 40.0
    column = np.asarray(disk.radial.density(jnp.asarray(q))) * 0.02 * q**0.7 * np.sqrt(np.pi)
    expected = np.where(inside, 0.0, column * float(disk.phase(jnp.zeros(()))) / r**2)
    np.testing.assert_allclose(render(scene), expected, atol=1e-6 * expected.max())


def test_near_edge_on_is_continuous_through_90():
    images = [
        np.asarray(render(grater.Scene(small_disk(inclination=i), grid=GRID, accuracy=1e-6)))
        for i in (90.0 - 1e-4, 90.0, 90.0 + 1e-4)
    ]
    np.testing.assert_allclose(
        images[1], 0.5 * (images[0] + images[2]), atol=2e-6 * images[1].max()
    )


def test_vmap_equals_loop():
    scenes = [grater.Scene(small_disk(inclination=i), grid=GRID) for i in (10.0, 63.0, 90.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)
    together = eqx.filter_jit(eqx.filter_vmap(lambda s: s.image()))(stacked)
    for scene, image in zip(scenes, together, strict=True):
        np.testing.assert_allclose(render(scene), image, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("inclination", [45.0, 70.0, 88.0])
def test_estimate_of_the_error(inclination):
    """The stated error is the true one, to a few per cent."""
    disk = small_disk(inclination=inclination, alpha_in=15.0)
    truth = np.asarray(render(grater.Scene(disk, grid=GRID, accuracy=1e-8)))
    scene = grater.Scene(disk, grid=GRID, accuracy=1e-3)
    (estimate,) = np.asarray(scene.integration_error())
    true = np.max(np.abs(np.asarray(render(scene)) - truth)) / truth.max()
    np.testing.assert_allclose(estimate, true, rtol=0.05)
    assert 1e-7 < true < 1e-3


def test_halo_in_the_hole_of_a_flared_disk():
    """Surfaces that follow the low height in the hole would end within the halo of the ring."""
    disk = grater.Disk(
        40.0, 123.6, 218.5, alpha_in=22.4, alpha_out=-3.3, scale_height=1.44, gamma=1.0, beta=1.49,
        offset_x=3.2, offset_y=1.7, phase=grater.HenyeyGreenstein(0.38),
    )  # fmt: skip
    grid = grater.Grid((40, 40), 0.045, 72.8)
    rough, fine = (
        np.asarray(render(grater.Scene(disk, grid=grid, accuracy=setting)))
        for setting in (1e-4, 1e-9)
    )
    assert np.max(np.abs(rough - fine)) < 1e-4 * np.max(fine)


def test_estimate_says_where_no_number_of_nodes_is_enough():
    """A ring so sharp that the largest number of nodes cannot follow it."""
    disk = small_disk(radial=grater.GaussianRing(2e-4), alpha_in=None, alpha_out=None)
    scene = grater.Scene(disk, grid=GRID, accuracy=1e-6)
    assert np.asarray(scene.integration_error())[0] > 1e-6


@pytest.mark.parametrize(("inclination", "rule"), [(63.0, "surfaces"), (89.0, "segments")])
def test_rule_that_is_settled_is_the_one_that_auto_takes(inclination, rule):
    scene = grater.Scene(small_disk(inclination=inclination, gamma=2.0), grid=GRID)
    settled = grater.Scene(scene.disk, grid=GRID, nodes_on=rule)
    compiled = np.asarray(render(scene))
    np.testing.assert_allclose(render(settled), compiled, rtol=1e-10, atol=1e-12 * compiled.max())
    # outside of compiled functions: one rule after the other
    np.testing.assert_allclose(scene.image(), compiled, rtol=1e-10, atol=1e-12 * compiled.max())


def test_image_of_two_disks_of_which_one_is_edge_on():
    disks = [small_disk(gamma=2.0), small_disk(inclination=89.0, gamma=2.0)]
    scene = grater.Scene(disks, grid=GRID)
    total = sum(np.asarray(render(grater.Scene(disk, grid=GRID))) for disk in disks)
    np.testing.assert_allclose(scene.image(), total, atol=1e-4 * total.max())


def test_constant_scene_in_a_compiled_function():
    scene = grater.Scene(small_disk(gamma=2.0), grid=GRID)
    twice = jax.jit(lambda factor: factor * scene.image())(2.0)
    np.testing.assert_allclose(twice, 2.0 * np.asarray(render(scene)), rtol=1e-10)


def test_surfaces_where_they_are_not_enough_say_so():
    scene = grater.Scene(small_disk(inclination=89.9), grid=GRID, nodes_on="surfaces")
    assert float(scene.integration_error()[0]) > 1e-3
    image = np.asarray(scene.image())
    assert np.all(np.isfinite(image))


def test_accuracy_out_of_range():
    with pytest.raises(ValueError, match=r"accuracy = 0.5 is outside \[1e-10, 0.1\]"):
        grater.Scene(small_disk(), grid=GRID, accuracy=0.5)


def test_another_profile():
    disk = small_disk(alpha_in=None, alpha_out=None, radial=grater.GaussianRing(0.05))
    image = np.asarray(render(grater.Scene(disk, grid=GRID, accuracy=1e-4)))
    size = float(GRID.pixel_size)
    for row, column in [(10, 16), (4, 9), (14, 4), (10, 11)]:
        place = (column - 10) * size, (row - 10) * size
        truth = brute_force(disk, *place, lambda q: np.exp(-0.5 * ((q - 1.0) / 0.05) ** 2))
        assert abs(image[row, column] - truth) < 5e-4 * image.max()
