"""S_ph and R_var against closed forms, and with noise."""

import numpy as np
import pytest
from astropy import units as u

from spotgp import TimeSeriesData, photometric_activity, variability_range

TIME = np.arange(0.0, 200.0, 0.05)
PERIOD, AMPLITUDE, NOISE = 8.0, 0.01, 0.004
WAVE = AMPLITUDE * np.sin(2.0 * np.pi * TIME / PERIOD)
RANGE = 2.0 * AMPLITUDE * np.cos(0.05 * np.pi)  # between the percentiles of a sine


def test_a_sinusoid():
    found = photometric_activity(TIME, 1.0 + WAVE, 1e-9, period=PERIOD)
    # 5 windows of 40 days
    assert found.windows.size == 5
    np.testing.assert_allclose(found.windows, AMPLITUDE / np.sqrt(2.0), rtol=1e-3)
    assert found.error < 1e-6
    assert variability_range(TIME, 1.0 + WAVE) == pytest.approx(RANGE, rel=1e-3)
    width = 1.0
    x = np.pi * width / PERIOD
    smoothed = variability_range(TIME, WAVE, smoothing=width)
    assert smoothed == pytest.approx(RANGE * np.sin(x) / x, rel=0.01)


def test_noise_is_taken_out():
    rng = np.random.default_rng(0)
    values, ranges, smoothed, errors = [], [], [], []
    for _ in range(40):
        flux = 1.0 + WAVE + NOISE * rng.normal(size=TIME.size)
        found = photometric_activity(TIME, flux, NOISE, period=PERIOD)
        values.append(found.value)
        errors.append(found.error)
        ranges.append(variability_range(TIME, flux))
        smoothed.append(variability_range(TIME, flux, smoothing=1.0))
    truth = AMPLITUDE / np.sqrt(2.0)
    assert np.mean(values) == pytest.approx(truth, abs=4.0 * np.std(values) / np.sqrt(40))
    # the windows say how much the mean scatters
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.3)
    assert np.mean(ranges) > 1.05 * RANGE
    assert np.mean(smoothed) == pytest.approx(RANGE, rel=0.04)
    estimated = photometric_activity(TIME, flux, period=PERIOD)
    assert estimated.value == pytest.approx(found.value, rel=0.01)


def test_noise_alone_is_no_activity():
    flux = 1.0 + NOISE * np.random.default_rng(1).normal(size=TIME.size)
    found = photometric_activity(TIME, flux, NOISE, period=PERIOD)
    assert 0.0 <= found.value < 0.2 * NOISE


def test_segments_gaps_and_order():
    parts = (TIME > 95.0).astype(int)
    flux = (1.0 + WAVE) * np.where(parts == 1, 3.0, 1.0)
    kept = (TIME < 60.0) | (TIME > 82.0)
    data = TimeSeriesData(TIME[kept], flux[kept], 1e-6 * flux[kept], parts[kept])
    found = data.photometric_activity(period=PERIOD)
    # 40 days and 20 before the gap, 40, 40 and 38 after it
    assert found.windows.size == 5
    np.testing.assert_allclose(found.windows, AMPLITUDE / np.sqrt(2.0), rtol=0.1)
    assert data.variability_range() == pytest.approx(RANGE, rel=0.02)
    assert data.variability_range(smoothing=4.0 * u.h) == pytest.approx(RANGE, rel=0.02)
    backward = photometric_activity(
        TIME[kept][::-1] * u.d, flux[kept][::-1], period=PERIOD, segment=parts[kept][::-1]
    )
    forward = photometric_activity(TIME[kept], flux[kept], period=PERIOD, segment=parts[kept])
    assert backward.value == forward.value


def test_windows_with_few_points_are_left_out():
    # the second of five windows has a tenth of the points
    kept = (TIME < 44.0) | (TIME > 90.0)
    found = photometric_activity(TIME[kept], WAVE[kept], 1e-6, period=PERIOD)
    assert found.windows.size == 4
    short = TIME < 20.0
    alone = photometric_activity(TIME[short], WAVE[short], 1e-6, period=PERIOD)
    assert alone.windows.size == 1
    assert np.isnan(alone.error)
    with pytest.raises(ValueError, match="period = 30 d is longer than the span"):
        photometric_activity(TIME[short], WAVE[short], 1e-6, period=30.0)
    with pytest.raises(ValueError, match="No window of 5 rotations"):
        photometric_activity(TIME[::400], WAVE[::400] + TIME[::400], 1e-6, period=PERIOD)
