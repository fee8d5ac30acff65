"""Light curves and their processes in files."""

import numpy as np

from factories import make_star
from pytreefit import load, save
from spotgp import GPSolver, TimeSeriesData


def light_curve():
    time = np.sort(np.random.default_rng(1).uniform(0.0, 30.0, 40))
    return TimeSeriesData(time, 1.0 + 0.01 * np.sin(time), 1e-3, name="star", unit="e/s")


def test_time_series(tmp_path):
    data = light_curve().normalize()
    save(tmp_path / "data.npz", data)
    loaded = load(tmp_path / "data.npz")
    assert repr(loaded) == repr(data)
    np.testing.assert_array_equal(loaded.flux, data.flux)
    assert not loaded.flux.flags.writeable
    assert loaded.history == data.history


def test_a_process(tmp_path):
    gp = GPSolver.from_data(light_curve(), make_star(), solver="dense")
    save(tmp_path / "gp.npz", gp)
    loaded = load(tmp_path / "gp.npz")
    assert loaded.param_keys == gp.param_keys
    assert float(loaded.log_likelihood()) == float(gp.log_likelihood())
