"""Views: rolled and mirrored detectors, several of one scene, light from beyond the frame."""

import functools

import numpy as np
import pytest

import grater
from factories import make_disk as disk, make_scene as scene
from pytreefit import Posterior, fit

from .conftest import render

ROUGH = {"accuracy": 1e-4, "nodes_on": "surfaces"}  # half of the program that "auto" takes
ODD = grater.Grid((17, 17), 0.1, 60.0)
SPIDER = np.random.default_rng(0).uniform(size=(5, 5))
SPIDER[2, 2] = 2.1


def turned(image):
    """North to East is anticlockwise, rows go up: a position angle 90 deg larger."""
    return np.rot90(np.asarray(image)[::-1], 1)[::-1]


def test_a_detector_rolled_by_90_deg_sees_a_turned_scene():
    """What is at position angle PA is at PA - roll from the detector's y axis."""
    straight = scene(grid=ODD, psf=grater.ImagePSF(SPIDER))
    rolled = np.asarray(render(straight.set({"grid.roll": 90.0})))
    around = np.asarray(render(straight.set({"disk.position_angle": 30.0 - 90.0})))
    np.testing.assert_allclose(rolled, around, rtol=1e-9, atol=1e-12 * around.max())
    sharp = scene(grid=ODD)
    rolled = np.asarray(render(sharp.set({"grid.roll": 90.0})))
    np.testing.assert_allclose(turned(rolled), render(sharp), rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("roll", [-37.0, 63.81, 128.5, 360.0])
def test_only_the_angle_to_the_detector_counts(roll):
    shifted = scene(grid=ODD).set({"grid.center": (7.3, 8.4)})
    together = shifted.set({"grid.roll": roll, "disk.position_angle": 30.0 + roll})
    np.testing.assert_allclose(render(together), render(shifted), rtol=1e-9)


def test_exposures_may_be_measured_brighter_than_others():
    """All light of an image is multiplied: the disk's, that of sources, and Q and U."""
    channels = {
        "image": grater.Channel(grater.GaussianPSF(1.5), throughput=np.full((17, 17), 0.5)),
        "Q": grater.Channel(grater.GaussianPSF(1.5), stokes="Q"),
    }
    companion = grater.PointSource(0.3, 0.2, 2.0)
    seen = grater.Scene(disk(), source=companion, grid=ODD, channel=channels)
    scales = {"channel.image.flux_scale": 1.25, "channel.Q.flux_scale": 0.5}
    before, after = seen.images(), seen.set(scales).images()
    np.testing.assert_allclose(after["image"], 1.25 * np.asarray(before["image"]), rtol=1e-12)
    np.testing.assert_allclose(after["Q"], 0.5 * np.asarray(before["Q"]), rtol=1e-12)
    with pytest.raises(ValueError, match="flux_scale"):
        grater.Channel(flux_scale=0.0)


def test_directions_of_the_sky():
    """West and North from offsets on the detector, as an exposure's header has them."""
    view = grater.View(ODD.set({"parity": -1}), roll=25.0)
    x, y, _ = view.sky_coordinates()
    dx, dy, phi = -(12.0 - 8.0), 3.0 - 8.0, np.deg2rad(25.0)
    size = float(ODD.pixel_size)
    assert float(x[3, 12]) == pytest.approx(size * (dx * np.cos(phi) - dy * np.sin(phi)))
    assert float(y[3, 12]) == pytest.approx(size * (dx * np.sin(phi) + dy * np.cos(phi)))


def test_a_mirrored_detector():
    straight = scene(grid=ODD, psf=grater.GaussianPSF(1.5))
    mirrored = render(straight.set({"grid.parity": -1}))
    np.testing.assert_allclose(mirrored, np.asarray(render(straight))[:, ::-1], rtol=1e-9)


def test_several_views_of_one_scene():
    """Each observation names its view; their likelihoods add up, and share what is on the sky."""
    psf = grater.GaussianPSF(1.5)
    views = {
        "first": grater.View(ODD, psf=psf, **ROUGH),
        "second": grater.View(ODD, psf=psf, roll=40.0, **ROUGH),
    }
    truth = grater.Scene(disk(), view=views)
    images = {name: np.asarray(truth.of(name).image()) for name in views}
    noise = 0.02 * images["first"].max()
    rng = np.random.default_rng(1)
    data = [
        grater.Observation(
            image + rng.normal(0, noise, image.shape),
            noise,
            pixel_scale=0.1,
            distance=60.0,
            view=name,
        )
        for name, image in images.items()
    ]

    def log_likelihood(scene):
        return data[0].log_likelihood(scene) + data[1].log_likelihood(scene)

    alone = grater.Scene(disk(), view=views["second"])
    assert float(data[1].log_likelihood(truth)) == pytest.approx(
        float(data[1].set({"view": None}).log_likelihood(alone))
    )
    priors = {"disk.position_angle": (0.0, 90.0), "view.second.grid.roll": (20.0, 60.0)}
    start = truth.set({"disk.position_angle": 33.0, "view.second.grid.roll": 36.0})
    found = fit(Posterior(start, log_likelihood, priors)).model
    assert abs(float(found.get("disk.position_angle")) - 30.0) < 2.0
    assert abs(float(found.get("view.second.grid.roll")) - 40.0) < 2.0


PSFS = {
    "gaussian": grater.GaussianPSF(2.5),
    "moffat": grater.MoffatPSF(2.0, 1.8),
    "image": grater.ImagePSF(SPIDER),
    "off centre": grater.ImagePSF(np.pad(SPIDER, 4), center=(5.3, 6.8)),
}


@functools.cache
def framed(shape, psf):
    grid = grater.Grid(shape, 0.05, 60.0)
    of = disk(semi_major_axis=60.0, alpha_out=-2.5)
    scene = grater.Scene(of, grid=grid, psf=PSFS[psf], accuracy=1e-8, nodes_on="surfaces")
    return np.asarray(render(scene))


@pytest.mark.parametrize("psf", PSFS)
def test_light_from_beyond_the_frame(psf):
    """A cut of a large image is the small image."""
    large = framed((81, 81), psf)
    small = framed((41, 41), psf)
    np.testing.assert_allclose(small, large[20:61, 20:61], rtol=0, atol=1e-6 * large.max())


def test_a_cut_image_fits_the_same_slope():
    """Of the outermost rows some 40 % come from outside: without them the slope is another."""
    cut = framed((41, 41), "gaussian")
    error = 1e-3 * cut.max()
    data = grater.Observation(cut, error, pixel_scale=0.05, distance=60.0).mask_radius(3)
    of = disk(semi_major_axis=60.0, alpha_out=-2.7)
    start = grater.Scene(of, grid=data.grid, psf=PSFS["gaussian"], **ROUGH)
    priors = {"disk.radial.alpha_out": (-5.0, -1.0), "disk.flux": (0.1, 10.0)}
    found = fit(Posterior(start, data.log_likelihood, priors)).model
    assert abs(float(found.get("disk.radial.alpha_out")) + 2.5) < 1e-3
    assert float(data.reduced_chi_square(found)) < 0.01
    assert float(data.reduced_chi_square(found.set({"margin": 0}))) > 1.0
