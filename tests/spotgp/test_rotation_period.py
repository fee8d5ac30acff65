"""The period search: its likelihood, and light curves whose period or lack of one is known."""

import numpy as np
import pytest

from spotgp import TimeSeriesData, autocorrelation, rotation_period
from spotgp.periods import rotation
from spotgp.periods.oscillators import Models, log_likelihoods


def test_the_recursion_is_the_dense_likelihood():
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0.0, 30.0, 60))
    value, noise = rng.normal(size=60), rng.uniform(0.2, 0.4, 60)
    models = Models(
        period=np.array([5.0, 3.0]),
        decay=np.array([7.0, 2.0]),
        variance=np.array([[0.3, 0.0], [1.0, 0.5], [0.2, 0.7]]),
    )
    lag = np.abs(time[:, None] - time)
    for k, found in enumerate(log_likelihoods(time, value, noise, models)):
        c, matrix = 1.0 / models.decay[k], np.diag(noise)
        angular = 0.05 * c, 2.0 * np.pi / models.period[k], 4.0 * np.pi / models.period[k]
        for d, v in zip(angular, models.variance[:, k], strict=True):
            matrix = matrix + v * np.exp(-c * lag) * (np.cos(d * lag) + c / d * np.sin(d * lag))
        logarithm = np.linalg.slogdet(2.0 * np.pi * matrix)[1]
        wanted = -0.5 * (value @ np.linalg.solve(matrix, value) + logarithm)
        assert found == pytest.approx(wanted, rel=1e-9)


def wave(time, period, noise, seed=0):
    rng = np.random.default_rng(seed)
    phase = 2.0 * np.pi * time / period
    flux = 0.01 * np.sin(phase) + 0.004 * np.sin(2.0 * phase + 1.0)
    return 1.0 + flux + noise * rng.normal(size=time.size)


@pytest.mark.parametrize("period", [0.2378, 1.3, 6.0, 20.0])
def test_even_cadences(period):
    time = np.arange(0.0, 60.0, 1.0 / 24.0)
    found = rotation_period(time, wave(time, period, 1e-3), 1e-3)
    assert found.period == pytest.approx(period, rel=0.03)
    assert abs(found.period - period) < 4.0 * found.uncertainty
    assert found.good
    assert found.probability > 0.9


@pytest.mark.parametrize("period", [0.7, 1.7, 3.3, 6.1])
def test_nightly_points(period):
    rng = np.random.default_rng(1)
    time = np.sort(np.repeat(np.arange(120.0), 2) + rng.uniform(-0.15, 0.15, 240))
    found = rotation_period(time, wave(time, period, 3e-3), 3e-3)
    assert found.period == pytest.approx(period, rel=0.03)


def test_what_the_data_cannot_say_is_said():
    time = np.arange(0.0, 27.4, 1.0 / 48.0)
    long = rotation_period(time, 1.0 + 0.01 * np.sin(2.0 * np.pi * time / 20.0 + 0.4), 1e-3)
    assert long.period == pytest.approx(20.0, rel=0.2)
    assert "longer than half of the baseline" in long.flags
    assert not long.good
    rng = np.random.default_rng(2)
    noise = rotation_period(time, 1.0 + 1e-3 * rng.normal(size=time.size), 1e-3)
    assert noise.flags == ("nothing but white noise was found",)
    walk = np.cumsum(rng.normal(size=time.size))
    assert not rotation_period(time, walk + rng.normal(size=time.size), 1.0).good
    # one point a night at the same hour tells no period from its alias
    nights = np.arange(90.0) + 0.003 * rng.normal(size=90)
    alias = rotation_period(nights, wave(nights, 0.72, 1e-3), 1e-3, min_period=0.5)
    assert not alias.good


def test_unequal_errors_count():
    rng = np.random.default_rng(3)
    time = np.arange(0.0, 60.0, 1.0 / 24.0)
    error = np.where(rng.uniform(size=time.size) < 0.1, 0.1, 1e-3)
    flux = wave(time, 4.0, 0.0) + error * rng.normal(size=time.size)
    data = TimeSeriesData(time, flux, error)
    assert data.rotation_period().period == pytest.approx(4.0, rel=0.03)
    assert data.autocorrelation().period == pytest.approx(4.0, rel=0.03)
    assert data.autocorrelation().heights[0] > 10.0 * autocorrelation(time, flux).heights[0]


def slow_star(time, period, rng):
    """Waves of one period whose phases change in a few periods."""
    flux, phase = np.zeros(time.size), 2.0 * np.pi * time / period
    for middle in np.arange(-2.0 * period, time[-1] + 2.0 * period, 2.0 * period):
        a, b = rng.normal(size=2)
        wave = a * np.cos(phase) + b * np.sin(phase) + 0.3 * a * np.cos(2.0 * phase + 1.0)
        flux += np.exp(-0.5 * ((time - middle) / (3.0 * period)) ** 2) * wave
    return flux / np.std(flux)


def test_slow_stars_are_judged_on_all_of_a_long_light_curve(monkeypatch):
    # as 5,000 of the many points of four years: of a hundred days alone 40 d could not be told
    monkeypatch.setattr(rotation, "_MOST_POINTS", 500)
    rng = np.random.default_rng(5)
    time = np.arange(0.0, 1400.0, 0.2)
    flux = slow_star(time, 40.0, rng) + 2.0 * rng.normal(size=time.size)
    found = rotation_period(time, flux, 2.0)
    assert found.period == pytest.approx(40.0, rel=0.1)
    assert found.good
    # fast ones on the first part, which does not matter if the whole agrees
    fast = 100.0 * wave(time, 2.5, 3e-3)
    assert rotation_period(time, fast, 0.3).good
    # this star has a fast wave at first only
    mixed = np.where(time < 150.0, fast - 100.0, 2.0 * slow_star(time, 40.0, rng))
    (flag,) = rotation_period(time, mixed + 0.1 * rng.normal(size=time.size), 0.3).flags
    assert flag.startswith("judged on the first 100 of 1400 d, while all data peak at ")


def test_units_and_levels_do_not_matter():
    time = np.arange(0.0, 40.0, 0.05)
    flux = wave(time, 5.0, 1e-3)
    one = rotation_period(time, flux, 1e-3)
    other = rotation_period(time[::-1] + 2e6, 1e6 * flux[::-1] - 3.0, 1e3)
    assert other.period == pytest.approx(one.period, rel=1e-6)
    parts = (time > 18.0).astype(int)
    jumped = rotation_period(time, flux + 0.3 * parts, 1e-3, segment=parts)
    assert jumped.period == pytest.approx(5.0, rel=0.03)


def test_a_narrow_range():
    time = np.arange(0.0, 40.0, 0.05)
    found = rotation_period(time, wave(time, 5.0, 1e-3), 1e-3, min_period=4.995, max_period=5.002)
    assert 4.995 <= found.period <= 5.002


def test_a_few_points_are_refused():
    with pytest.raises(ValueError, match="time has 5 points"):
        rotation_period(np.arange(5.0), np.array([1.0, 2.0, 1.0, 2.0, 1.0]))
