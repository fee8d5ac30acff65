"""Outliers of light curves whose clean points are known."""

import numpy as np
import pytest

from spotgp import TimeSeriesData
from spotgp.io.outliers import find


def light_curve(period, noise, seed=0, gaps=True):
    """Times and fluxes of a sine of 1.2 per cent at the cadence of Kepler."""
    rng = np.random.default_rng(seed)
    time = np.arange(3922) / 48.0
    if gaps:
        time = time[((time % 30.0) > 1.3) & ~((time > 41.0) & (time < 48.0))]
        time = time[rng.uniform(size=time.size) > 0.03]
    wave = 0.012 * np.sin(2.0 * np.pi * time / period + 0.3)
    return time, 1.0 + wave + noise * rng.normal(size=time.size), rng


def clipped(time, flux, error=1e-4):
    found = find(time, flux, np.full(time.size, error), np.zeros(time.size, int), (5.0, 5.0))
    return found.outliers | found.flares | found.dips


@pytest.mark.parametrize("period", [0.2, 0.5, 1.7, 4.0, 30.0])
@pytest.mark.parametrize("noise", [1e-5, 3e-4, 1e-3])
def test_outliers_of_a_steep_star_and_nothing_else(period, noise):
    time, flux, rng = light_curve(period, noise)
    assert np.sum(clipped(time, flux)) <= 2
    where = rng.choice(time.size, 20, replace=False)
    where[:2] = 0, time.size - 1  # at the ends, too
    flux[where] += 0.02 * rng.choice([-1.0, 1.0], 20)
    bad = clipped(time, flux)
    assert np.all(bad[where])
    assert np.sum(bad) <= 22


def test_flares_and_dips_are_kinds_of_their_own():
    time, flux, _ = light_curve(6.0, 2e-4, gaps=False)
    flares, dips = np.zeros((2, time.size), bool)
    for start in (500, 1500, 2600):
        flares[start : start + 4] = True
        flux[start : start + 8] += 0.02 * np.exp(-np.arange(8) / 2.0)
    for start in (900, 2000, 3100):
        dips[start : start + 7] = True
        flux[start : start + 7] -= 0.01
    flux[[100, 1200]] -= 0.02
    data = TimeSeriesData(time, flux, 2e-4)
    clean = data.sigma_clip()
    assert not np.isin(time[flares | dips], clean.time).any()
    assert len(clean) >= len(data) - 2 - np.sum(dips) - 24
    assert "2 single, 3 flares (" in clean.history[-1]
    assert "3 dips (21)" in clean.history[-1]
    assert "1 dip (7)" in data.first(1100 * (time[1] - time[0])).sigma_clip().history[-1]
    kept = data.sigma_clip(flares=False)
    assert np.isin(time[flares], kept.time).all()
    assert ", kept)" in kept.history[-1]


def test_a_long_dip_at_a_fast_cadence():
    rng = np.random.default_rng(3)
    time = np.arange(0.0, 12.0, 2.0 / 1440.0)
    flux = 1.0 + 2e-3 * np.sin(time) + 2e-3 * rng.normal(size=time.size)
    deep = np.abs(time - 6.0) < 0.1
    flux[deep] -= 0.01
    found = find(time, flux, np.full(time.size, 2e-3), np.zeros(time.size, int), (5.0, 5.0))
    assert np.mean(found.dips[deep]) > 0.8
    assert not found.dips[np.abs(time - 6.0) > 0.15].any()


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_uneven_times(noise):
    rng = np.random.default_rng(4)
    time = np.sort(rng.uniform(0.0, 60.0, 900))
    flux = 0.012 * np.sin(2.0 * np.pi * time / 12.0) + noise * rng.normal(size=time.size)
    assert np.sum(clipped(time, flux)) <= 2
    flux[[50, 400, 700]] += 0.02
    assert clipped(time, flux)[[50, 400, 700]].all()


def test_points_with_large_errors_may_be_off_by_as_much():
    time, flux, rng = light_curve(4.0, 3e-4)
    error = np.full(time.size, 3e-4)
    poor = rng.choice(time.size, time.size // 10, replace=False)
    error[poor] = 0.03
    flux[poor] += 0.03 * rng.normal(size=poor.size)
    segment = np.zeros(time.size, int)
    found = find(time, flux, error, segment, (5.0, 5.0))
    assert sum(np.sum(kind) for kind in found) <= 1
    flux[poor[3]] += 0.3
    assert find(time, flux, error, segment, (5.0, 5.0)).outliers[poor[3]]


def test_transits_whose_times_are_known():
    time = np.arange(0.0, 30.0, 0.02)
    data = TimeSeriesData(time, np.ones(time.size), 1e-3).mask_transits(7.0, 3.0, 0.5)
    distance = np.abs(time[:, None] - np.array([3.0, 10.0, 17.0, 24.0, 31.0])).min(axis=1)
    np.testing.assert_array_equal(data.time, time[distance > 0.25])
    assert "transits every 7 d" in data.history[-1]
    with pytest.raises(ValueError, match="period = 0"):
        data.mask_transits(0.0, 3.0, 0.5)


def test_the_epoch_of_transits_may_be_a_julian_date():
    time = np.arange(1300.0, 1330.0, 0.02)
    known, unknown = (
        TimeSeriesData(time, np.ones(time.size), 1e-3, reference=zero) for zero in (2457000.0, None)
    )
    data, same = (known.mask_transits(7.0, epoch, 0.5) for epoch in (2458303.0, 1303.0))
    np.testing.assert_array_equal(data.time, same.time)
    assert "the middle of one at 2458303 taken for 1303." in data.history[-1]
    assert "taken for" not in same.history[-1]
    with pytest.raises(
        ValueError, match=r"epoch = 2458303 is more than .* days since their time 0"
    ):
        unknown.mask_transits(7.0, 2458303.0, 0.5)
    julian = TimeSeriesData(time + 2457000.0, np.ones(time.size), 1e-3, reference=0.0)
    with pytest.raises(ValueError, match=r"since their time 0 of JD 0\."):
        julian.mask_transits(7.0, 1303.0, 0.5)


def test_few_points_are_left_alone():
    assert not clipped(np.arange(5.0), np.array([1.0, 1.0, 9.0, 1.0, 1.0])).any()


def test_a_constant_light_curve_has_none():
    data = TimeSeriesData(np.arange(600) * 0.02, np.ones(600), 1e-4).sigma_clip()
    assert len(data) == 600
