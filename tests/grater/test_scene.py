"""Scenes: sums of disks, the star's place, what light passes through, many models at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import convolve2d

import grater
from factories import GRID, make_disk as disk, make_scene as scene
from pytreefit import grid, map_models, vary

from .conftest import render


@pytest.fixture(scope="module")
def image():
    return np.asarray(render(scene()))


def test_grid():
    assert GRID.center.tolist() == [8, 8]
    assert grater.Grid((15, 16), 0.1, 60.0).center.tolist() == [8, 7]
    assert float(GRID.pixel_size) == pytest.approx(6.0)
    with_units = pytest.importorskip("astropy.units")
    other = grater.Grid((4, 4), 100 * with_units.mas, 200 * with_units.lyr, center=(1.5, 2))
    assert float(other.pixel_scale) == pytest.approx(0.1)
    assert float(other.distance) == pytest.approx(61.32, rel=1e-3)
    assert other.center.tolist() == [1.5, 2.0]


def test_sum_of_disks(image):
    inner = disk(semi_major_axis=18.0, inclination=20.0, phase=grater.HenyeyGreenstein(-0.2))
    both = scene({"outer": disk(), "inner": inner})
    expected = image + np.asarray(render(scene(inner)))
    np.testing.assert_allclose(render(both), expected, rtol=1e-12)
    assert float(both.get("disk.inner.inclination")) == 20.0
    moved = both.set({"disk.inner.phase.g": 0.1})
    assert float(moved.disk["inner"].phase.g) == 0.1
    assert float(moved.disk["outer"].phase.g) == 0.3

    listed = scene([disk(), inner])
    assert float(listed.get("disk.1.inclination")) == 20.0
    assert float(listed.set({"disk.0.flux": 3.0}).disk[0].flux) == 3.0
    assert [float(d.inclination) for d in listed.disks] == [60.0, 20.0]


def test_star_moved_by_whole_pixels_moves_the_image(image):
    moved = render(scene(grid=grater.Grid((16, 16), 0.1, 60.0, center=(10.0, 7.0))))
    np.testing.assert_allclose(moved[:-1, 2:], image[1:, :-2], rtol=1e-9)


def test_star_between_pixels_blurs_nothing():
    """The same points in half as large pixels, with the star in the middle of one."""
    between = np.asarray(render(scene().set({"grid.center": (8.5, 7.5)})))
    fine = grater.Grid((32, 32), 0.05, 60.0, center=(17.0, 15.0))
    expected = np.array(render(scene(grid=fine)))[::2, ::2]
    # four pixels share the star's surroundings
    seen = np.hypot(*(np.indices((16, 16)) - np.array([7.5, 8.5])[:, None, None])) > 1
    assert np.sum(~seen) == 4
    np.testing.assert_allclose(between, np.where(seen, expected, 0.0), rtol=1e-9)


def test_transmission_comes_before_and_throughput_after_the_psf(image):
    rng = np.random.default_rng(0)
    transmission, throughput = rng.uniform(size=(2, 16, 16))
    kernel = rng.uniform(size=(5, 5))
    kernel[2, 2] = 2.1
    whole = scene(
        psf=grater.ImagePSF(kernel, "none"), transmission=transmission, throughput=throughput
    )
    around = np.asarray(render(scene(grid=grater.Grid((20, 20), 0.1, 60.0))))
    lit = around * np.pad(transmission, 2, mode="edge")
    expected = convolve2d(lit, kernel, mode="valid") * throughput
    np.testing.assert_allclose(render(whole), expected, rtol=1e-10)
    changed = whole.set({"throughput": 2 * throughput})
    np.testing.assert_allclose(render(changed), 2 * expected, rtol=1e-10)
    # without the light from beyond the frame
    expected = convolve2d(image * transmission, kernel, mode="same") * throughput
    np.testing.assert_allclose(render(whole.set({"margin": 0})), expected, rtol=1e-10)


def test_radial_map():
    got = grater.radial_map(GRID, [1.0, 3.0], [0.0, 1.0])
    assert got.shape == (16, 16)
    assert got[8, 8] == 0.0
    assert got[8, 10] == 0.5
    assert got[0, 0] == 1.0


def test_nearer_than_the_inner_radius_is_zero(image):
    assert image[8, 8] == 0.0
    assert np.all(image[[7, 9, 8, 8], [8, 8, 7, 9]] > 0)
    row, column = np.indices((16, 16))
    for radius in (0.5, 1.0, 3.0, 4.2):
        _, _, inside = scene(inner_radius=radius).view.sky_coordinates()
        np.testing.assert_array_equal(inside, np.hypot(row - 8, column - 8) < radius)


def test_oversampling_keeps_the_light_of_a_disk_thinner_than_a_pixel():
    """Isotropic light does not depend on the direction: the sum is an integral over the dust."""
    thin = disk(inclination=89.0, alpha_in=8.0, alpha_out=-12.0, scale_height=0.3)
    thin = thin.set({"phase.g": 0.0})

    def ring(r):
        q = r / 30.0
        column = 0.3 * q * np.sqrt(np.pi) * np.sqrt(2 / (q**-16.0 + q**24.0))
        return 2 * np.pi * r * column / r**2

    expected = quad(ring, 3, 120, points=[30.0])[0] / (4 * np.pi)
    one = 36.0 * np.sum(render(scene(thin)))
    many = 36.0 * np.sum(render(scene(thin, oversample=12, inner_radius=0.02)))
    assert abs(one / expected - 1) > 0.1
    assert many == pytest.approx(expected, rel=0.01)


def test_many_models_through_one_compilation(image):
    traces = 0

    def total(scene):
        nonlocal traces
        traces += 1
        return jnp.sum(scene.image())

    axes = {"disk.inclination": [60.0, 80.0], "grid.center": [(8.0, 8.0), (8.4, 8.0)]}
    fluxes = np.asarray(map_models(total, grid(scene(), axes))).reshape(2, 2)
    first = traces
    assert fluxes[0, 0] == pytest.approx(image.sum(), rel=1e-12)
    moved = scene().set({"disk.inclination": 80.0, "grid.center": (8.4, 8.0)})
    assert fluxes[1, 1] == pytest.approx(float(np.sum(render(moved))), rel=1e-10)

    others = {"disk.phase.g": np.full(4, 0.3), "disk.flux": np.arange(1.0, 5.0)}
    fluxes = map_models(total, vary(scene(), others))
    np.testing.assert_allclose(fluxes, image.sum() * np.arange(1.0, 5.0), rtol=1e-10)
    assert traces == first


def test_float32(image):
    with jax.enable_x64(False):
        single = grater.Scene(
            disk(phase=grater.HenyeyGreenstein(0.3)), grid=grater.Grid((16, 16), 0.1, 60.0)
        )
        rendered = render(single)
        assert rendered.dtype == jnp.float32
    np.testing.assert_allclose(rendered, image, atol=1e-4 * image.max())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            dict(transmission=np.ones((4, 16))),
            ValueError,
            r"transmission has shape \(4, 16\), the grid has \(16, 16\)",
        ),
        (dict(throughput=np.ones(16)), ValueError, r"throughput has shape \(16,\)"),
        (dict(transmission=np.full((16, 16), np.nan)), ValueError, "transmission has NaN"),
        (dict(oversample=0), ValueError, "oversample = 0 must be a whole number >= 1"),
        (dict(inner_radius=0.0), ValueError, "inner_radius = 0.0 is not .* > 0"),
        (dict(inner_radius=np.nan), ValueError, "inner_radius = nan is not a finite number"),
        (dict(accuracy=1.0), ValueError, r"accuracy = 1.0 is outside \[1e-10, 0.1\]"),
        (dict(nodes_on="planes"), ValueError, "nodes_on = 'planes' is unknown: choose one of"),
        (dict(of=3.0), TypeError, "Scene.disk = 3.0 is not a Disk, nor"),
        (dict(of={}), TypeError, "Scene.disk = .* is not a Disk, nor"),
        (dict(of=[disk(), 1]), TypeError, "is not a Disk, nor"),
        (dict(noise=1.0), TypeError, "noise = 1.0 is not an AbstractNoise"),
        (dict(grid=(16, 16)), TypeError, r"grid = \(16, 16\) is not a Grid"),
        (dict(margin=-1), ValueError, "margin = -1 must be a whole number >= 0"),
        (dict(channel={}), TypeError, "channel = {} is not a Channel, nor a dictionary"),
        (dict(view=3.0, grid=None), ValueError, "Scene got view= and also grid. Give"),
        (dict(psf=None, channel=grater.Channel()), ValueError, "got channel= and also psf. Give"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        scene(**{"disk" if name == "of" else name: value for name, value in changes.items()})


def test_views_of_other_distances_are_said():
    near, far, same = (
        grater.View(grater.Grid((9, 9), 0.1, distance)) for distance in (71.9, 72.8, 71.9)
    )
    grater.Scene(disk(), view={"H": near, "K": same})
    with pytest.warns(UserWarning, match=r"71.9 in 'H', 72.8 in 'K'\. .* all grids one distance"):
        both = grater.Scene(disk(), view={"H": near, "K": far})
    with pytest.warns(UserWarning, match="other distances"):
        alike = both.set({"disk.flux": 2.0}).set({"view.K.grid.distance": 71.9})
    # what is free is not known
    jax.jit(lambda d: alike.set({"view.K.grid.distance": d}).disk.flux)(80.0)


def test_sources_in_pixels_of_other_sizes_are_said():
    curves = {"H": (0.1, "H"), "K": (0.2, "K")}
    views = {
        name: grater.View(grater.Grid((9, 9), scale, 60.0), curve=curve)
        for name, (scale, curve) in curves.items()
    }
    banded = disk(phase=grater.Bands({name: grater.HenyeyGreenstein(0.3) for name in curves}))
    star = grater.PointSource(0.1, 0.2, 1.0)
    with pytest.warns(UserWarning, match=r"Scene.source.a .*: 0.1 in 'H', 0.2 in 'K'\. .*curve="):
        grater.Scene(banded, source={"a": star}, view=views)
    grater.Scene(banded, view=views)
    own = {name: grater.PointSource(0.1, 0.2, 1.0, curve=name) for name in curves}
    grater.Scene(banded, source=own, view=views)
    grater.Scene(banded, source=star, view={"a": views["H"], "b": views["H"]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grater.Grid((16,), 0.1, 60.0), r"Grid.shape = \(16,\) is not"),
        (lambda: grater.Grid((0, 4), 0.1, 60.0), r"Grid.shape = \(0, 4\) is not"),
        (lambda: grater.Grid((4, 4), 0.1, 60.0, parity=0), "parity = 0 is unknown: choose one of"),
        (lambda: grater.Grid((4, 4), -0.1, 60.0), r"Grid.pixel_scale = -0.1 arcsec is outside"),
        (lambda: grater.Grid((4, 4), 0.1, 0.0), "Grid.distance = 0 pc is outside"),
        (lambda: grater.Grid((4, 4), 0.1, 6.0, center=(1,)), r"Grid.center has shape \(1,\)"),
        (lambda: scene().set({"grid.shape": (4,)}), r"Grid.shape = \(4,\) is not"),
        (lambda: grater.Scene(disk(), view={}).image(), "Scene has the views : choose"),
        (lambda: grater.Scene(disk()).image(), "This Scene has no view: give it grid="),
        (lambda: scene().of("total"), "View has no channel 'total', only image"),
        (lambda: grater.Scene(disk(), view={"a": scene().view}).of("b"), "no view 'b', only a"),
    ],
)
def test_bad_grid(make, message):
    with pytest.raises(ValueError, match=message):
        make()
