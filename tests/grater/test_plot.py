import subprocess
import sys
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import AsinhNorm, LogNorm, Normalize
from matplotlib.figure import Figure

from grater.data.noise import GaussianNoise
from grater.data.observation import Observation
from grater.dust.disk import Disk
from grater.dust.phase import HenyeyGreenstein
from grater.plot.images import plot_fit, plot_image, plot_phase_function
from grater.scene import Scene
from grater.view.view import Grid

SHAPE = (31, 33)


@pytest.fixture(scope="module")
def scene():
    grid = Grid(SHAPE, pixel_scale=0.05, distance=80.0, center=(16.0, 15.0))
    disk = Disk(
        40.0, 60.0, 30.0, alpha_in=10, alpha_out=-5, scale_height=1.0, flux=1e5,
        phase=HenyeyGreenstein(0.3),
    )  # fmt: skip
    return Scene(disk, grid=grid, noise=GaussianNoise(2.0))


@pytest.fixture(scope="module")
def observation(scene):
    peak = float(jnp.max(scene.image()))
    whole = Observation.simulate(scene, peak / 20, jax.random.key(0), unit="mJy")
    return whole.mask_radius(2, 14)


def draw(figure):
    FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize(
    ("stretch", "norm"), [("asinh", AsinhNorm), ("log", LogNorm), ("linear", Normalize)]
)
def test_fit_shows_data_model_and_standardized_residuals(scene, observation, stretch, norm):
    before = dict(mpl.rcParams)
    figure = draw(plot_fit(scene, observation, stretch=stretch))
    assert dict(mpl.rcParams) == before
    data, model, residual = (ax.images[0] for ax in figure.axes[:3])
    mask = np.asarray(observation.used)
    np.testing.assert_array_equal(data.get_array().mask, ~mask)
    np.testing.assert_allclose(data.get_array()[mask], observation.image[mask])
    np.testing.assert_allclose(model.get_array(), scene.image())
    assert type(data.norm) is norm
    assert data.norm is model.norm
    scaled = np.asarray(observation.residuals(scene)).reshape(SHAPE)
    np.testing.assert_allclose(residual.get_array()[mask], scaled[mask])
    assert residual.get_clim() == (-5.0, 5.0)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["data", "model", "residual / noise"]
    assert figure.axes[3].get_xlabel() == "brightness (mJy)"


def test_axes_count_arcsec_from_the_star_with_east_to_the_left(scene, observation):
    figure = plot_fit(scene, observation)
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    np.testing.assert_allclose([left, right], [16.5 * 0.05, -16.5 * 0.05])
    np.testing.assert_allclose([bottom, top], [-15.5 * 0.05, 15.5 * 0.05])
    assert figure.axes[0].get_xlim() == (left, right)


def test_scale_bar_has_a_round_length_and_arrows_point_north_and_east(scene):
    ax = plot_image(scene).axes[0]
    texts = {text.get_text(): text for text in ax.texts}
    # 0.3 of 33 pixels is 39.6 au
    assert "20 au" in texts
    assert "0.25\N{DOUBLE PRIME}" in texts
    x = ax.lines[-1].get_xdata()
    np.testing.assert_allclose(abs(x[1] - x[0]), 20 / 80)
    north, east = texts["N"].xy, texts["E"].xy
    assert north[1] > east[1]
    assert east[0] > north[0]  # which is to the left: the axis runs backwards
    assert ax.get_xlim()[0] > ax.get_xlim()[1]


@pytest.mark.parametrize(("roll", "parity"), [(63.8, 1), (-120.0, -1), (0.0, -1)])
def test_arrows_of_a_rolled_detector(scene, roll, parity):
    """They point where the view's coordinates grow, and stay in the panel."""
    turned = scene.set({"grid.roll": roll, "grid.parity": parity})
    ax = plot_image(turned).axes[0]
    assert ax.get_xlabel() == "to the left (arcsec)"
    west, north, _ = turned.view.sky_coordinates()
    arrows = [text for text in ax.texts if text.arrow_patch is not None]
    for arrow, values in zip(arrows, (np.asarray(north), -np.asarray(west)), strict=True):
        tip, start = np.array(arrow.xy), np.array(arrow.xyann)
        upwards, to_the_right = (np.diff(values, axis=k)[0, 0] for k in (0, 1))
        growth = np.array([-to_the_right, upwards]) / np.hypot(upwards, to_the_right)
        length = np.linalg.norm(tip - start)
        np.testing.assert_allclose((tip - start) / length, growth, atol=1e-5)
        assert np.all(np.abs([*tip, *start]) < 0.83)


def arrows_of(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text() in ("N", "E")]


@pytest.mark.parametrize(
    ("roll", "label"), [(0.0, "\N{GREEK CAPITAL LETTER DELTA}RA"), (63.8, "to")]
)
def test_the_grid_says_where_north_is(scene, observation, roll, label):
    turned = scene.set({"grid.roll": roll})
    expected = plot_image(turned).axes[0]
    array = {"source": np.asarray(observation.image), "grid": turned.grid}
    for given in ({"source": observation.set({"roll": roll})}, array):
        figure = plot_image(**given)
        assert arrows_of(figure) == ["N", "E"]
        ax = figure.axes[0]
        assert ax.get_xlabel() == expected.get_xlabel()
        assert ax.get_xlabel().startswith(label)
        for one, other in zip(ax.texts, expected.texts, strict=True):
            np.testing.assert_allclose(one.xy, other.xy)


def test_colour_bar_ticks_are_round_and_apart(scene, observation):
    figure = draw(plot_fit(scene, observation))
    bar = figure.axes[3]
    ticks = bar.get_xticks()
    norm = figure.axes[0].images[0].norm
    assert 3 <= len(ticks) < 12
    assert np.diff(np.sort(norm(ticks))).min() > 0.16  # labels are wide
    assert 0.0 in ticks


def test_image_of_an_observation_a_scene_and_an_array(scene, observation):
    masked = draw(plot_image(observation)).axes[0].images[0].get_array()
    np.testing.assert_array_equal(masked.mask, ~np.asarray(observation.used))
    image = np.array(scene.image())
    image[3, 4] = np.nan
    figure = draw(plot_image(image, grid=scene.grid, limits=(0.0, 2.0), title="T", unit="Jy"))
    assert figure.axes[0].images[0].get_clim() == (0.0, 2.0)
    assert figure.axes[0].get_title() == "T"
    assert figure.axes[1].get_ylabel() == "brightness (Jy)"


def test_images_of_nothing_and_of_negative_values_can_be_drawn(scene):
    for image in (np.zeros(SHAPE), -np.ones(SHAPE)):
        for stretch in ("asinh", "log", "linear"):
            draw(plot_image(image, grid=scene.grid, stretch=stretch))


def test_a_figure_can_be_given(scene, observation):
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    assert plot_fit(scene, observation, figure=upper) is upper
    assert plot_phase_function(scene, figure=lower) is lower
    draw(figure)


def test_a_fit_stands_for_its_model(scene, observation):
    best = SimpleNamespace(model=scene)
    titles = [ax.get_title() for ax in plot_fit(best, observation).axes[:3]]
    assert titles == ["data", "model", "residual / noise"]
    (ax,) = plot_phase_function(best).axes
    np.testing.assert_array_equal(
        ax.lines[0].get_ydata(), plot_phase_function(scene).axes[0].lines[0].get_ydata()
    )


class Draws(eqx.Module):
    """Stands for the samples of a posterior."""

    scene: Scene
    g: jax.Array

    def models(self):
        return eqx.filter_vmap(lambda g: self.scene.set({"disk.phase.g": g}))(self.g)


def test_bands_of_a_phase_function_are_quantiles(scene):
    g = np.linspace(0.2, 0.4, 41)
    ax = draw(plot_phase_function(Draws(scene, jnp.asarray(g)))).axes[0]
    angle, median = ax.lines[0].get_data()
    cosine = np.cos(np.deg2rad(angle))
    curves = (1 + g[:, None] ** 2) ** 1.5 / (1 + g[:, None] ** 2 - 2 * g[:, None] * cosine) ** 1.5
    np.testing.assert_allclose(median, np.median(curves, axis=0), rtol=1e-10)
    band68, band95 = (c.get_paths()[0].vertices for c in ax.collections[:2])
    for band, (low, high) in ((band68, (16, 84)), (band95, (2.5, 97.5))):
        at_zero = band[band[:, 0] == 0.0][:, 1]
        expected = np.percentile(curves[:, 0], [low, high])
        np.testing.assert_allclose([at_zero.min(), at_zero.max()], expected, rtol=1e-10)


def test_angles_that_the_disk_does_not_show_are_shaded(scene):
    ax = plot_phase_function(scene).axes[0]
    spans = sorted(patch.get_extents().x0 for patch in ax.patches)
    assert len(spans) == 2
    edges = {round(float(v), 6) for p in ax.patches for v in (p.get_x(), p.get_x() + p.get_width())}
    assert edges == {0.0, 30.0, 150.0, 180.0}


def test_a_second_curve_joins_the_first(scene):
    figure = plot_phase_function(scene, label="one")
    plot_phase_function(scene.set({"disk.phase.g": 0.6}), label="two", figure=figure)
    (ax,) = figure.axes
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["one", "not probed", "two"]
    assert len(ax.patches) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, o: plot_fit(s, o, stretch="sqrt"), "stretch = 'sqrt' is unknown: use 'asinh'"),
        (lambda s, o: plot_fit(s, o, stretch="log", limits=(0, 1)), "a log stretch needs a lower"),
        (lambda s, o: plot_image(np.ones((3, 3))), "a 2-d array with its grid="),
        (lambda s, o: plot_image(np.ones((3, 3)), grid=s.grid), r"of shape \(3, 3\) and grid=Grid"),
        (lambda s, o: plot_phase_function(s, "disk.phas"), "did you mean 'disk.phase'"),
    ],
)
def test_bad_arguments_are_refused(scene, observation, call, message):
    with pytest.raises(ValueError, match=message):
        call(scene, observation)


def test_importing_loads_no_pyplot():
    code = "import grater.plot.images, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
