"""A disk that is moved by hand: what is drawn, and the code that makes it again."""

import argparse

import jax
import numpy as np
import pytest
from astropy.io import fits

import grater
import pytreefit
from grater.commands import main
from grater.commands.explore import explorer as explorer_of
from grater.explore.state import DiskExplorer

RING = "--radius 20 --inclination 60 --position-angle 40 --alpha-in 6 --alpha-out -5"
IMAGE = "--scale-height 1 --distance 60 --pixel-scale 0.06 --size 25 --fwhm 2 --noise 0.04"
INCLINATION = "disk.inclination"


@pytest.fixture(autouse=True, scope="module")
def without_cache():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grater.commands.program.cache_programs", lambda: None)
        yield


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.fits"
    assert main(["simulate", *RING.split(), *IMAGE.split(), "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def made(image):
    """The explorer of the command, of which tests take copies."""
    nothing = dict.fromkeys(
        ("pixel_scale", "center", "roll", "parity", "hdu", "plane", "error", "crop", "outer", "psf")
    )
    start = {"radius": 21.0, "inclination": 57.0, "position_angle": 35.0, "knots": 2}
    own = {"files": [image], "distance": 60.0, "inner": 1.0, "fwhm": 2.0, "stokes": None}
    priors = {"disk.offset_x": None, "disk.offset_y": None}
    return explorer_of(argparse.Namespace(**nothing, **start, **own, priors=priors))[0]


@pytest.fixture
def explorer(made):
    return made.copy()


def test_images_and_curves_are_those_of_the_scene(explorer):
    explorer.set(INCLINATION, 66.0)
    explorer.set("disk.phase.values[1]", 2.0)
    arrays, scene, data = explorer.arrays(), explorer.model, explorer.data
    assert float(scene.get(INCLINATION)) == 66.0
    image = np.asarray(scene.image())
    assert np.allclose(arrays["model"], image, rtol=1e-9)
    used = np.asarray(data.used)
    assert np.all(np.isnan(arrays["data"]) == ~used)
    residual = (np.asarray(data.image) - image)[used] / np.asarray(data.error)[used]
    assert np.allclose(arrays["residual"][used], residual, rtol=1e-6)
    assert arrays["chi_square"] == pytest.approx(np.sum(residual**2))
    assert arrays["reduced"] == pytest.approx(
        np.sum(residual**2) / (used.sum() - explorer.posterior.dim)
    )
    at = np.cos(np.deg2rad(arrays["angle"]))
    assert np.allclose(arrays["phase"][0], scene.disk.phase(at), rtol=1e-6)
    assert arrays["phase"][0][90] == pytest.approx(1.0)
    assert np.allclose(arrays["seen"], [24.0, 156.0])
    peak = arrays["radius"][0][np.argmax(arrays["density"][0])]
    assert peak == pytest.approx(float(grater.peak_radius(scene.disk)), rel=0.02)


def test_a_slider_compiles_nothing(explorer):
    explorer.set(INCLINATION, 60.5)
    explorer.arrays()
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("jax._src.interpreters.pxla.logger.log", lambda *a: said.append(a))
        explorer.set(INCLINATION, 61.0)
        explorer.arrays()
    assert said == []


def test_the_code_runs_and_makes_the_same_image(explorer, capsys):
    explorer.set("disk.flux", explorer.get("disk.flux") / 3.0)
    explorer.set("disk.phase.values[0]", 0.7)
    names: dict = {}
    exec(explorer.code(), names)
    arrays = explorer.arrays()
    assert np.allclose(names["image"], arrays["model"], rtol=1e-9)
    assert f"chi-square {arrays['chi_square']:.6g} of" in capsys.readouterr().out
    assert names["posterior"].names == explorer.posterior.names
    at = explorer.values
    assert names["posterior"].log_prior(at) == pytest.approx(
        float(explorer.posterior.log_prior(at))
    )


def test_saved_loaded_and_exported(explorer, tmp_path):
    explorer.set(INCLINATION, 63.0)
    path = tmp_path / "scene.npz"
    explorer.save(path)
    assert float(pytreefit.load(path).get(INCLINATION)) == 63.0
    explorer.reset()
    assert explorer.get(INCLINATION) == 57.0
    explorer.load(path)
    assert explorer.get(INCLINATION) == 63.0
    explorer.export(tmp_path / "scene.fits")
    with fits.open(tmp_path / "scene.fits") as hdus:
        assert np.allclose(hdus["MODEL"].data, explorer.arrays()["model"], rtol=1e-5)
        assert "disk.inclination = 63 deg" in str(hdus[0].header["HISTORY"])


def test_sliders_of_a_free_phase_function_are_named_after_angles(explorer):
    labels = [explorer.label(slider) for slider in explorer.sliders]
    assert labels[:2] == ["semi major axis", "inclination"]
    assert "phase at 33°" in labels
    assert "noise scale" in labels


def test_several_disks_have_a_curve_each():
    disk = grater.Disk(8.0, 50.0, 20.0, alpha_in=8, alpha_out=-5, scale_height=1)
    grid = grater.Grid((9, 9), 0.1, 30.0)
    scene = grater.Scene({"inner": disk, "outer": disk}, grid=grid)
    data = grater.Observation(np.ones((9, 9)), 1.0, pixel_scale=0.1, distance=30.0)
    arrays = DiskExplorer(scene, data, {"disk.outer.inclination": (10, 80)}).arrays()
    assert arrays["density"].shape == (2, 400)
    assert arrays["phase"].shape == (2, 181)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "the distance of simulated disk is not known here: give --distance"),
        ("--distance 60 --prior disk.incl=1:20", "disk.incl"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(image, capsys, line, says):
    pytest.importorskip("bokeh")
    start = "--radius 21 --inclination 57 --position-angle 35".split()
    assert main(["explore", str(image), *start, *line.split(), "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("grater explore: ")
    assert says in said


def test_without_bokeh_nothing_is_read(image, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["explore", str(image)]) == 1
    assert "pip install 'grater-spotgp[app]'" in capsys.readouterr().err


@pytest.mark.parametrize("stretch", ["asinh", "log", "linear"])
def test_the_colour_bar_has_round_numbers_in_order(stretch):
    pytest.importorskip("bokeh")
    from grater.explore.page import ticks_of
    from grater.plot.images import norm_of

    norm = norm_of(stretch, np.linspace(0.0, 3.0, 100), np.full(100, 0.01), None)
    ticks = ticks_of(norm)
    places, values = list(ticks), [float(text) for text in ticks.values()]
    assert len(ticks) > 3
    assert places == sorted(places)
    assert values == sorted(values)
    assert np.allclose(norm(values), places)
