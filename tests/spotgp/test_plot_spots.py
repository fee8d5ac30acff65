"""Pictures of spots: what they show, not how they look."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from spotgp.plot_spots import animate, plot_butterfly, plot_spot_map
from spotgp.simulation.simulate import LightcurveModel
from spotgp.simulation.spots import Spots
from spotgp.star.limb_darkening import LimbDarkenedVisibilityFunction
from spotgp.star.model import SpotEvolutionModel
from spotgp.star.trapezoid import TrapezoidSymmetricEnvelope

STAR = LimbDarkenedVisibilityFunction(peq=10.0, kappa=0.0, inc=1.2, u1=0.4, u2=0.2)
MODEL = SpotEvolutionModel(TrapezoidSymmetricEnvelope(15.0, 5.0), STAR, sigma_k=0.01)
T = np.arange(40.0)


def star_with(*spots):
    columns = np.array(spots, float).reshape(-1, 5).T
    return LightcurveModel(MODEL, Spots(*columns), T)


@pytest.fixture(scope="module")
def lc():
    return star_with((10.0, 0.5, 0.0, 0.3, 1.0), (20.0, -0.4, 1.0, 0.2, 0.6), (5.0, 0, 0, 0.2, 0.0))


def panels(figure):
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def dark_pixels(image, below=0.5):
    rows, columns = np.nonzero(image < below * np.nanmax(image))
    return rows, columns


def test_light_missing_on_the_disk_is_that_of_the_light_curve():
    spotted = star_with((10.0, 0.5, 0.3, 0.3, 1.0))
    clean = star_with()
    t = 10.0
    disk, empty = (panels(plot_spot_map(lc, t))[0] for lc in (spotted, clean))
    y, x = (np.indices(disk.shape) + 0.5) * 2 / disk.shape[0] - 1
    inside = x**2 + y**2 < 1
    missing = 1 - disk[inside].sum() / empty[inside].sum()
    assert missing == pytest.approx(1 - float(spotted.flux[10]), rel=3e-3)


def test_a_spot_is_drawn_where_it_is():
    # an eighth of a rotation after it faced us, it is on the right; its latitude is north
    lc = star_with((10.0, 0.5, 0.0, 0.2, 1.0))
    disk, surface = panels(plot_spot_map(lc, 11.25))
    rows, columns = dark_pixels(surface)
    assert (columns.mean() + 0.5) / surface.shape[1] * 360 - 180 == pytest.approx(45, abs=0.5)
    assert (rows.mean() + 0.5) / surface.shape[0] * 180 - 90 == pytest.approx(
        np.degrees(0.5), abs=0.5
    )
    y, x = (np.indices(disk.shape) + 0.5) * 2 / disk.shape[0] - 1
    spot = (disk < 0.05) & (x**2 + y**2 < 0.99)
    expected_x = np.cos(0.5) * np.sin(np.pi / 4)
    expected_y = np.sin(1.2) * np.sin(0.5) - np.cos(1.2) * np.cos(0.5) * np.cos(np.pi / 4)
    assert x[spot].mean() == pytest.approx(expected_x * np.cos(0.2), abs=0.02)
    assert y[spot].mean() == pytest.approx(expected_y * np.cos(0.2), abs=0.02)


def test_butterfly_shows_every_real_spot(lc):
    figure = plot_butterfly(lc)
    shown = figure.axes[0].collections[1]
    np.testing.assert_allclose(shown.get_offsets()[:, 0], [10.0, 20.0])
    np.testing.assert_allclose(shown.get_offsets()[:, 1], np.degrees([0.5, -0.4]))
    areas = np.sin([0.3, 0.2]) ** 2
    np.testing.assert_allclose(shown.get_sizes() / shown.get_sizes()[0], areas / areas[0])


def test_a_star_without_spots_is_drawn():
    lc = star_with()
    for figure in (plot_butterfly(lc), plot_spot_map(lc, 0.0)):
        figure.draw_without_rendering()


def test_animation_is_saved(lc, tmp_path):
    path = tmp_path / "star.gif"
    animate(lc, path, times=[5.0, 10.0, 15.0], fps=10, pixels=60)
    with Image.open(path) as movie:
        assert movie.n_frames == 3
        assert movie.info["duration"] == 100
        frames = []
        for k in range(3):
            movie.seek(k)
            frames.append(np.asarray(movie.convert("L"), float))
    assert np.abs(frames[0] - frames[1]).max() > 50


def test_drawn_into_a_figure_of_ones_own(lc):
    figure = plt.figure()
    assert plot_butterfly(lc, figure=figure) is figure
    plt.close(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, "frames = 1 makes no animation"),
        ({"times": [3.0]}, r"times has shape \(1,\)"),
        ({"path": "star.mp4"}, "path = 'star.mp4' is not that of a GIF"),
    ],
)
def test_bad_input(lc, options, message):
    with pytest.raises(ValueError, match=message):
        animate(lc, **options)
