"""A star that is moved by hand: what is drawn, and the code that makes it again."""

import argparse

import numpy as np
import pytest
from astropy.table import QTable

import pytreefit
import spotgp
from spotgp.commands import main
from spotgp.commands.explore import explorer as explorer_of
from spotgp.explore.sphere import graticule, outlines

STAR = "--period 4 --days 40 --cadence 480 --lifetime 10 --growth 3 --noise 3e-4 --seed 2"
PERIOD, INCLINATION = "model.visibility.peq", "model.visibility.inc"


@pytest.fixture(autouse=True, scope="module")
def without_cache():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spotgp.commands.program.cache_programs", lambda: None)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("star") / "star.ecsv"
    assert main(["simulate", *STAR.split(), "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def made(path):
    """The explorer of the command, of which tests take copies."""
    reading = {"files": [path], "flux": None, "columns": None, "quality": "default"}
    reading |= {"days": None, "points": 60}
    return explorer_of(argparse.Namespace(**reading, priors={"kappa": None}))[0]


@pytest.fixture
def explorer(made):
    return made.copy()


def test_curves_are_those_of_the_process(explorer):
    explorer.set(PERIOD, 4.4)
    explorer.set(INCLINATION, 0.9)
    arrays, gp = explorer.arrays(), explorer.gp.at(explorer.values)
    assert arrays["log_likelihood"] == pytest.approx(float(gp.log_likelihood()))
    prediction = gp.predict(arrays["curve_time"])
    assert np.allclose(arrays["mean"], prediction.mean, rtol=1e-8)
    assert np.allclose(arrays["sd"] ** 2, prediction.variance, rtol=1e-4, atol=1e-14)
    kernel = gp.process.spot_kernel()
    _, psd = kernel.compute_psd(2.0 * np.pi * arrays["frequency"])
    white = np.mean(explorer.data.flux_err**2) * explorer.data.cadence
    assert np.allclose(arrays["psd"], psd + white, rtol=0.03)
    value = np.asarray(kernel.kernel(arrays["lag"]))
    steady = np.asarray(kernel.kernel_components(arrays["lag"], (0,)))[0]
    assert np.allclose(arrays["kernel"] * (value[0] - steady[0]), value - steady, atol=1e-8)
    assert arrays["kernel"][0] == pytest.approx(1.0)
    assert arrays["period"] == pytest.approx(float(gp.process.model.effective_period()))
    assert arrays["inc"] == 0.9


def test_spots_turn_with_the_star(explorer):
    arrays = explorer.arrays()
    turned = np.diff(arrays["longitude"], axis=0)
    equator = np.diff(arrays["equator"])[:, None]
    assert np.all(turned <= equator + 1e-12)
    assert arrays["equator"][-1] == pytest.approx(6.0 * np.pi)
    assert np.any(arrays["radius"] > 0)
    explorer.set(PERIOD, 1.01 * explorer.get(PERIOD))  # the same spots, moved a little
    assert np.allclose(explorer.arrays()["latitude"], arrays["latitude"])


def test_a_candidate_is_the_period_of_the_light_curve(explorer):
    period, _ = explorer.candidates[0]
    explorer.set("model.visibility.inc", 1.2)
    explorer.set_period(1.1 * period)
    assert explorer.arrays()["period"] == pytest.approx(1.1 * period)
    with pytest.raises(ValueError, match="must be between"):
        explorer.set_period(1e3)


def test_the_code_runs_and_makes_the_same_process(explorer, capsys):
    explorer.set("jitter", 1.7e-4)
    explorer.set("model.envelope.tau_spot", 2.9)
    names: dict = {}
    exec(explorer.code(), names)
    gp = names["gp"]
    assert gp.param_keys == explorer.gp.param_keys
    value = explorer.arrays()["log_likelihood"]
    assert float(gp.log_likelihood()) == pytest.approx(float(value), rel=1e-9)
    assert f"log likelihood {value:.8g}" in capsys.readouterr().out
    prior = float(explorer.posterior.log_prior(explorer.values))
    assert float(gp.posterior.log_prior(explorer.values)) == pytest.approx(prior)


def test_saved_loaded_and_exported(explorer, tmp_path):
    explorer.set(PERIOD, 4.2)
    explorer.save(tmp_path / "star.npz")
    assert float(pytreefit.load(tmp_path / "star.npz").model.visibility.peq) == 4.2
    explorer.reset()
    explorer.load(tmp_path / "star.npz")
    assert explorer.get(PERIOD) == 4.2
    explorer.export(tmp_path / "star.ecsv")
    table = QTable.read(tmp_path / "star.ecsv")
    assert np.allclose(table["mean"], explorer.arrays()["mean"])
    assert table.meta[PERIOD] == 4.2


def test_labels_are_the_short_names(explorer):
    labels = [explorer.label(slider) for slider in explorer.sliders]
    assert labels == ["peq", "inc", "lspot", "tau_spot", "sigma_k", "jitter"]


@pytest.mark.parametrize("inc", [0.3, 1.0, np.pi / 2])
def test_outlines_are_ellipses_about_the_spot(inc):
    latitude, longitude, radius = 0.5, 0.2, 0.1
    (x,), (y,) = outlines([latitude], [longitude], [radius], inc)
    toward = np.array([np.sin(inc), 0.0, np.cos(inc)])
    center = np.array(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
         np.sin(latitude)]
    )  # fmt: skip
    z = np.sqrt(1.0 - x**2 - y**2)
    right, up = np.array([0.0, 1.0, 0.0]), np.cross(toward, [0.0, 1.0, 0.0])
    rim = x[:, None] * right + y[:, None] * up + z[:, None] * toward
    assert np.allclose(rim @ center, np.cos(radius))


def test_what_is_behind_the_limb_is_not_drawn():
    x, y = outlines([0.0, 0.0, 0.0], [0.0, np.pi, 0.5 * np.pi], [0.1, 0.1, 0.2], np.pi / 2)
    assert len(x) == len(y) == 2
    assert np.all(np.hypot(x[1], y[1]) <= 1.0 + 1e-12)
    assert np.max(np.hypot(x[1], y[1])) == pytest.approx(1.0)
    assert outlines([0.0], [0.0], [0.0], 1.0) == ([], [])


def test_seen_from_the_pole_latitudes_are_circles():
    xs, ys = graticule(0.3, 0.0)
    north = np.hypot(xs[3], ys[3])
    assert np.allclose(north, np.cos(np.radians(30.0)))
    assert np.all(np.isnan(xs[0]))  # 60 deg south


def test_without_bokeh_nothing_is_read(path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["explore", str(path)]) == 1
    assert "pip install 'grater-spotgp[app]'" in capsys.readouterr().err


def test_a_star_with_segments_has_them_in_its_points():
    t = np.concatenate([np.arange(0.0, 20.0, 0.5), np.arange(30.0, 50.0, 0.5)])
    flux = 1.0 + 0.01 * np.sin(2 * np.pi * t / 6.0)
    data = spotgp.TimeSeriesData(t, flux, 1e-3, segment=(t > 25).astype(int))
    explorer = spotgp.StarExplorer(
        spotgp.GPSolver.from_data(data, spotgp.SpotEvolutionModel(
            envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
            visibility=spotgp.VisibilityFunction(peq=6.0, kappa=0.1, inc=1.0),
            sigma_k=0.01,
        )), data,
    )  # fmt: skip
    arrays = explorer.arrays()
    assert np.array_equal(arrays["segment"], (t > 25).astype(int))
    assert np.all(np.isfinite(arrays["mean"]))


def test_a_star_of_several_populations():
    t = np.arange(0.0, 30.0, 0.5)
    data = spotgp.TimeSeriesData(t, 1.0 + 0.01 * np.sin(2.0 * np.pi * t / 6.0), 1e-3)
    polar = spotgp.LatitudeBand(1.0, 1.2)
    star = spotgp.SpottedStar(
        spotgp.VisibilityFunction(peq=6.0, kappa=0.1, inc=1.0),
        {
            "spots": spotgp.Population(spotgp.ExponentialEnvelope(5.0), 0.01),
            "polar": spotgp.Population(spotgp.ExponentialEnvelope(9.0), 0.005, latitude=polar),
        },
    )
    arrays = spotgp.StarExplorer(spotgp.GPSolver.from_data(data, star), data).arrays()
    assert arrays["longitude"].shape == arrays["radius"].shape
    # in programs they are in the order of their names
    high = np.abs(arrays["latitude"][: arrays["latitude"].size // 2])
    assert np.all((high > 1.0) & (high < 1.2))
    assert np.all(np.isfinite(arrays["mean"]))
