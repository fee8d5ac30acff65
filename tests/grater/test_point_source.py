"""Point sources: the PSF between the pixels, where they are in a view, gradients, a fit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater
import pytreefit
from factories import make_disk
from pytreefit.extend import rebuild

from .conftest import render

GRID = grater.Grid((31, 33), 0.05, 60.0, center=(15.2, 14.7))
ROUGH = {"grid": GRID, "accuracy": 1e-2, "nodes_on": "surfaces"}
PSF = grater.GaussianPSF(4.0, size=25)
DARK = make_disk(flux=0.0)
ROW, COLUMN = np.indices((31, 33))


def scene_of(source, disk=DARK, **changes):
    return grater.Scene(disk, source=source, **{"psf": PSF, **ROUGH, **changes})


def gaussian(column, row, fwhm=4.0):
    """Of sum 1, sampled where the source is."""
    squared = (COLUMN - column) ** 2 + (ROW - row) ** 2
    return np.exp(-4 * np.log(2) * squared / fwhm**2) * (4 * np.log(2) / np.pi / fwhm**2)


@pytest.mark.parametrize("pixel", [(18.0, 11.0), (17.37, 12.81), (16.5, 20.5)])
def test_a_gaussian_between_the_pixels(pixel):
    """Sampled anew where the source is."""
    column, row = pixel
    source = grater.PointSource(-(column - 15.2) * 0.05, (row - 14.7) * 0.05, 3.0)
    image = np.asarray(render(scene_of(source)))
    np.testing.assert_allclose(image, 3.0 * gaussian(column, row), atol=1e-6 * 3.0 * 0.06)


def test_at_the_edge_of_the_frame():
    """The point's far wings are cut at the margin, where the PSF hardly reaches the frame."""
    source = grater.PointSource(-(31.6 - 15.2) * 0.05, (1.3 - 14.7) * 0.05, 3.0)
    image = np.asarray(render(scene_of(source)))
    np.testing.assert_allclose(image, 3.0 * gaussian(31.6, 1.3), atol=1e-5 * 3.0 * 0.06)


def test_light_from_beyond_the_frame_and_none_from_afar():
    image = np.asarray(render(scene_of(grater.PointSource((15.2 + 3.0) * 0.05, 0.0, 2.0))))
    np.testing.assert_allclose(image, 2.0 * gaussian(-3.0, 14.7), atol=1e-6 * 2.0 * 0.06)
    assert image[:, 0].max() > 1e-3 * 2.0 * 0.06
    far = np.asarray(render(scene_of(grater.PointSource(9.0, 9.0, 2.0))))
    np.testing.assert_array_equal(far, 0.0)


def test_disk_and_sources_add():
    star = grater.PointSource(0.2, 0.3, 2.0)
    disk = make_disk()
    both = scene_of({"b": star, "c": grater.PointSource(-0.3, 0.1, -1.0)}, disk)
    assert float(both.get("source.b.flux")) == 2.0
    parts = [
        render(scene_of(both.source["b"])),
        render(scene_of([both.source["c"]])),
        render(scene_of(None, disk)),
    ]
    np.testing.assert_allclose(render(both), sum(map(np.asarray, parts)), atol=1e-12)


def test_where_it_is_in_any_view():
    """A source where the sky's coordinates of a pixel are peaks at that pixel."""
    how = dict(roll=35.0, parity=-1, distortion=[[1.1, 0.1], [-0.05, 0.9]])
    view = grater.View(GRID.set(how), psf=PSF)
    west, north, _ = (np.asarray(v)[9, 21] for v in view.sky_coordinates())
    source = grater.PointSource(-west / 60.0, north / 60.0, 1.0)
    image = np.asarray(view.image(grater.Scene(DARK, source=source)))
    np.testing.assert_allclose(image, gaussian(21, 9), atol=1e-6 * 0.06)


def test_transmission_and_throughput():
    transmission = 0.2 + 0.02 * COLUMN + 0.005 * ROW
    scene = scene_of(
        grater.PointSource(0.035, 0.04, 1.0),
        transmission=transmission,
        throughput=np.full((31, 33), 0.5),
    )
    column, row = 15.2 - 0.7, 14.7 + 0.8
    passed = 0.2 + 0.02 * column + 0.005 * row
    expected = 0.5 * passed * gaussian(column, row)
    np.testing.assert_allclose(render(scene), expected, atol=1e-6 * 0.06)


def test_polarised_channels_do_not_show_it():
    dust = make_disk(phase=grater.Polarized(grater.HenyeyGreenstein(0.3)), flux=0.0)
    channel = {name: grater.Channel(PSF, curve=name) for name in ("total", "polarized")}
    view = grater.View(GRID, channel=channel, accuracy=1e-2, nodes_on="surfaces")
    images = view.images(grater.Scene(dust, source=grater.PointSource(0.1, 0.1, 1.0)))
    assert np.max(images["total"]) > 0.05
    np.testing.assert_array_equal(images["polarized"], 0.0)
    shown = [
        grater.PointSource(0, 0, 1, curve).shown(of)
        for curve, of in [(None, "K"), (None, "K.polarized"), ("K", "K"), ("K", "H"), ("K", None)]
    ]
    assert shown == [True, False, True, False, False]
    band = grater.PointSource(0, 0, 1, "K")
    assert [band.shown(of) for of in ("K.total", "K.polarized", "H.total")] == [True, False, False]


def test_gradients_and_a_fit():
    scene = scene_of(grater.PointSource(0.21, -0.13, 5.0))
    weight = jnp.asarray(np.random.default_rng(1).uniform(size=(31, 33)))
    paths = ["source.east", "source.north", "source.flux", "psf.fwhm"]
    values = {path: scene.get(path) for path in paths}
    total = jax.jit(lambda values: jnp.sum(weight * scene.set(values).image()))
    slopes = jax.jit(jax.grad(total))(values)
    for path, value in values.items():
        step = 1e-4 * abs(float(value))
        above, below = (float(total({**values, path: value + s})) for s in (step, -step))
        np.testing.assert_allclose(slopes[path], (above - below) / (2 * step), rtol=1e-5)

    image = render(scene) + 0.01 * np.random.default_rng(2).normal(size=(31, 33))
    data = grater.Observation(image, 0.01, pixel_scale=0.05, distance=60.0, center=(15.2, 14.7))
    priors = {"source.east": (-0.5, 0.5), "source.north": (-0.5, 0.5), "source.flux": (0.1, 20.0)}
    start = scene.set({"source.east": 0.18, "source.north": -0.1, "source.flux": 3.0})
    found = pytreefit.fit(
        pytreefit.Posterior(start, data.log_likelihood, priors), progress=False
    ).model
    # four standard deviations of a Gaussian's place and flux in white noise
    width = 4.0 / np.sqrt(8 * np.log(2))
    apart = 4 * 0.05 * np.sqrt(8 * np.pi) * width**2 * 0.01 / 5.0
    assert abs(float(found.get("source.east")) - 0.21) < apart
    assert abs(float(found.get("source.north")) + 0.13) < apart
    assert abs(float(found.get("source.flux")) - 5.0) < 4 * np.sqrt(4 * np.pi) * width * 0.01


def test_scaled_with_the_disks():
    """One factor for all that is in the image."""
    sources = {"b": grater.PointSource(0.2, 0.3, 2.0), "c": grater.PointSource(-0.3, 0.1, 1.0)}
    scene = scene_of(sources, make_disk(flux=50.0))
    image = 3.0 * render(scene)
    data = grater.Observation(image, 0.01, pixel_scale=0.05, distance=60.0, center=(15.2, 14.7))
    scaled = data.scaled_to_data(scene)
    found = [float(scaled.get(path)) for path in scene.flux_paths]
    assert scene.flux_paths == ["disk.flux", "source.b.flux", "source.c.flux"]
    np.testing.assert_allclose(found, [150.0, 6.0, 3.0], rtol=1e-6)


@pytest.mark.parametrize("double", [True, False])
def test_finite_wherever_it_is(double):
    with jax.enable_x64(double):

        @eqx.filter_jit
        def total(source):
            grid = grater.Grid((9, 9), 0.1, 60.0)
            psf = grater.GaussianPSF(2.0, size=7)
            dark = make_disk(flux=0.0)
            return jnp.sum(
                grater.Scene(dark, source=source, grid=grid, psf=psf, nodes_on="surfaces").image()
            )

        for east in (0.0, 0.05, 0.45, -3.6, 1e6):
            source = grater.PointSource(east, 0.0, 1.0)
            value, slope = eqx.filter_value_and_grad(total)(source)
            assert value.dtype == (jnp.float64 if double else jnp.float32)
            assert np.isfinite(value)
            assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("column", [8.4, 19.8])
def test_beside_an_edge_of_zones(column):
    """All of its light has the PSF of the zone where it is."""
    zones = np.where(np.arange(33) < 14, 0, 1) * np.ones((31, 1))
    stamps = [gaussian(12, 12, fwhm)[:25, :25] for fwhm in (4.0, 6.0)]
    psf = grater.FieldPSF.from_zones([stamps[0], 0.3 * stamps[1]], zones, accuracy=0)
    source = grater.PointSource(-(column - 15.2) * 0.05, 0.3 * 0.05, 1.0)
    expected = gaussian(column, 15.0, 4.0) if column < 14 else 0.3 * gaussian(column, 15.0, 6.0)
    found = scene_of(source, psf=psf).image()
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.max(expected))


def test_bad_input():
    with pytest.raises(TypeError, match=r"Scene.source = 3.0 is not a PointSource"):
        scene_of(3.0)
    with pytest.raises(ValueError, match="no image without a PSF: give the view psf="):
        scene_of(grater.PointSource(0.0, 0.0, 1.0), psf=None).image()


def test_in_bands_frames_and_finer_psfs():
    """Where channels, orientations and points per pixel meet point sources."""
    grid = grater.Grid((33, 33), 0.05, 60.0)
    disk = make_disk(flux=1e-12)
    star = grater.PointSource(east=0.3, north=-0.22, flux=2.0)
    coarse = grater.GaussianPSF(4.0)
    expected = grater.Scene(disk, source=star, grid=grid, psf=coarse).image()
    # a PSF of two points per pixel
    y, x = np.indices((41, 41)) - 20
    fine = grater.ImagePSF(np.exp(-4 * np.log(2) * (x**2 + y**2) / 8.0**2), oversample=2)
    found = grater.Scene(disk, source=star, grid=grid, psf=fine, oversample=2).image()
    assert float(jnp.sum(found)) == pytest.approx(2.0, rel=1e-3)
    y, x = np.indices((33, 33))
    # the mean over the points of each pixel, of a star at (10, 11.6)
    points = [
        np.exp(-4 * np.log(2) * ((x + dx - 10.0) ** 2 + (y + dy - 11.6) ** 2) / 16.0)
        for dx in (-0.25, 0.25)
        for dy in (-0.25, 0.25)
    ]
    mean = 2.0 * np.mean(points, axis=0) * 4 * np.log(2) / np.pi / 16.0
    np.testing.assert_allclose(found, mean, atol=1e-4 * mean.max())
    # frames turn it
    scene = grater.Scene(disk, source=star, grid=grid, psf=coarse)
    frames = grater.FrameSequence(
        np.ones((2, 33, 33)), 1.0, angles=[0.0, 40.0], pixel_scale=0.05, distance=60.0
    )
    rolled = scene.set({"grid.roll": 40.0}).image()
    both = frames.models(scene)
    np.testing.assert_allclose(both, np.stack([expected, rolled]), atol=1e-9)
    # a band of its own
    phase = grater.Bands({"H": grater.Isotropic(), "K": grater.Isotropic()})
    channels = {name: grater.Channel(coarse, curve=name) for name in ("H", "K")}
    banded = make_disk(phase=phase, flux=1e-12)
    only = {"a": rebuild(star, {"curve": "K"})}
    images = grater.Scene(banded, source=only, grid=grid, channel=channels).images()
    np.testing.assert_allclose(images["K"], expected, atol=1e-9)
    assert float(jnp.max(jnp.abs(images["H"]))) < 1e-9
    with pytest.raises(TypeError, match=r"PointSource\.curve"):
        grater.PointSource(east=0.0, north=0.0, flux=1.0, curve=3)
    with pytest.raises(ValueError, match=r"Scene.source.b.curve = 'Hk', which no disk has: .*'Hk'"):
        scene_of({"b": grater.PointSource(0.2, 0.3, 2.0, curve="Hk")}, banded)
