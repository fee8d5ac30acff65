"""What figures draw of the data."""

import numpy as np
import pytest

from spotgp import TimeSeriesData
from spotgp.plot import days_per_point, periodogram_of


def test_the_spectrum_of_data_with_gaps_and_without_a_mean():
    rng = np.random.default_rng(0)
    time = np.concatenate([np.arange(0.0, 20.0, 0.1), np.arange(200.0, 230.0, 0.1)])
    flux = 2e-3 * rng.normal(size=time.size)
    about_one = TimeSeriesData(time, 1.0 + flux, 1e-3)
    assert days_per_point(about_one) == pytest.approx(0.1)
    frequency, power = periodogram_of(about_one, 4.0)
    # of white noise, the variance times the step
    assert np.mean(power) == pytest.approx(2e-3**2 * 0.1, rel=0.15)
    parts = TimeSeriesData(time, 1e6 * flux, 1e3, unit="ppm")
    np.testing.assert_allclose(periodogram_of(parts, 4.0), (frequency, power), rtol=1e-9)


def test_nights_are_no_long_gaps_of_nightly_points():
    nightly = TimeSeriesData(np.arange(50.0), np.sin(np.arange(50.0)), 0.1)
    assert days_per_point(nightly) == pytest.approx(1.0)
