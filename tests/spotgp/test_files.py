"""Light curves and their processes in files."""

import equinox as eqx
import numpy as np
import pytest

from factories import make_star
from pytreefit import load, save
from spotgp import (
    ExponentialEnvelope,
    GPSolver,
    Keplerian,
    Passband,
    PopulationEnvelope,
    SpectrumTable,
    SumMean,
    TemperatureBand,
    TimeSeriesData,
)


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


SPECTRA = SpectrumTable([4000.0, 5000.0], [400.0, 500.0], np.ones((2, 2)))


@pytest.mark.parametrize(
    "component",
    [
        SumMean({"b": Keplerian(4.0, 50.0, 1.0, 0.3, 0.5)}),
        PopulationEnvelope(ExponentialEnvelope(3.0), 0.4, 1.0, 4),
        TemperatureBand(4000.0, 5000.0, "V"),
        TemperatureBand(4000.0, 5000.0, Passband.tophat(400.0, 500.0), spectrum=SPECTRA),
    ],
    ids=lambda component: type(component).__name__,
)
def test_components(tmp_path, component):
    save(tmp_path / "component.npz", component)
    assert eqx.tree_equal(load(tmp_path / "component.npz"), component)


def test_text_between_semicolons_and_columns_of_missions(tmp_path):
    path = tmp_path / "star.csv"
    path.write_text(
        "TIME;PDCSAP_FLUX;PDCSAP_FLUX_ERR\n1325.3;9869.5;2.0\n1325.4;9866.7;2.5\n1326;9870;2"
    )
    data = TimeSeriesData.from_text(path)
    np.testing.assert_allclose(data.time, [1325.3, 1325.4, 1326.0])
    np.testing.assert_allclose(data.flux, [9869.5, 9866.7, 9870.0])
    np.testing.assert_allclose(data.flux_err, [2.0, 2.5, 2.0])
    path.write_text("time;flux;flux_err\n0,0;0,98;0,002\n0,1;0,99;0,002\n0,2;0,97;0,002\n")
    with pytest.raises(ValueError, match=r"Decimal commas are not read|first line is 'time;flux"):
        TimeSeriesData.from_text(path)
