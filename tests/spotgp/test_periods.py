"""Periods against direct sums, known signals and processes of known lifetime."""

import numpy as np
import pytest
from astropy import units as u
from scipy.optimize import curve_fit

from spotgp.periods import autocorrelation, lomb_scargle
from spotgp.periods.correlation import _decay, _falling


def uneven(n=400, span=60.0, seed=0, gap=(20.0, 29.0)):
    time = np.sort(np.random.default_rng(seed).uniform(0.0, span, n))
    return time[(time < gap[0]) | (time > gap[1])]


def quasi_periodic(period, tau, span=1500.0, step=0.1, seed=0, noise=0.02):
    """A sinusoid whose amplitudes are Ornstein-Uhlenbeck processes of lifetime tau."""
    rng = np.random.default_rng(seed)
    n = int(span / step)
    keep = np.exp(-step / tau)
    kicks = rng.standard_normal((n, 2)) * np.sqrt(1.0 - keep**2)
    amplitude = np.empty((n, 2))
    amplitude[0] = rng.standard_normal(2)
    for i in range(1, n):
        amplitude[i] = keep * amplitude[i - 1] + kicks[i]
    time = step * np.arange(n)
    angle = 2.0 * np.pi * time / period
    flux = amplitude[:, 0] * np.cos(angle) + amplitude[:, 1] * np.sin(angle)
    return time, flux + noise * rng.standard_normal(n)


def test_power_is_the_share_of_chi_square_a_sinusoid_explains():
    rng = np.random.default_rng(1)
    time = uneven() + 2455000.0
    error = rng.uniform(0.5, 2.0, time.size)
    flux = 5.0 + np.sin(2 * np.pi * time / 7.3) + error * rng.standard_normal(time.size)
    result = lomb_scargle(time, flux, error, min_period=2.0, max_period=20.0)
    weight = 1.0 / error
    ones = np.ones_like(time)
    for i in range(0, result.frequency.size, 29):
        angle = 2 * np.pi * result.frequency[i] * (time - time[0])
        chi = []
        for columns in ([ones], [ones, np.cos(angle), np.sin(angle)]):
            basis = np.stack(columns, axis=-1) * weight[:, None]
            coefficients = np.linalg.lstsq(basis, flux * weight, rcond=None)[0]
            chi.append(np.sum((flux * weight - basis @ coefficients) ** 2))
        # the sums by FFT are approximate
        assert result.power[i] == pytest.approx(1.0 - chi[1] / chi[0], abs=2e-3)
    assert result.periods[0] == pytest.approx(20.0)
    assert result.periods[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("period", [0.7, 3.3, 11.0])
def test_period_and_gaussian_width_of_the_peak(period):
    time = np.arange(0.0, 90.0, 0.02)
    result = lomb_scargle(time, 1.0 + 0.01 * np.sin(2 * np.pi * time / period + 0.4))
    assert result.period == pytest.approx(period, rel=2e-3)
    near = result.power > 0.5 * result.power.max()
    fitted, _ = curve_fit(
        lambda x, a, x0, s: a * np.exp(-((x - x0) ** 2) / (2 * s**2)),
        result.frequency[near],
        result.power[near],
        p0=(1.0, 1.0 / period, 0.4 / 90.0),
    )
    assert result.uncertainty == pytest.approx(period**2 * fitted[2], rel=0.05)
    assert result.false_alarm_probability < 1e-10
    assert f"period={result.period:.4g}" in repr(result)


def test_a_peak_near_the_end_of_the_grid_has_its_half_width():
    time = np.arange(0.0, 60.0, 0.05)
    result = lomb_scargle(time, np.sin(2 * np.pi * time / 20.0), max_period=21.0)
    assert result.period == pytest.approx(20.0, rel=0.03)
    assert 0.2 < result.uncertainty / (20.0**2 / 60.0) < 0.5
    assert not result.at_edge


def test_the_end_of_the_grid_is_no_peak():
    time = np.arange(0.0, 60.0, 0.05)
    wave = np.sin(2 * np.pi * time / 7.0)
    trend = lomb_scargle(time, wave + 0.08 * time, max_period=60.0)
    assert trend.power.argmax() == 0
    assert trend.period == pytest.approx(7.0, rel=0.02)
    assert trend.at_edge
    assert "at the end of the grid" in repr(trend)
    assert trend.peaks(1)[0][0] == pytest.approx(7.0, rel=0.02)
    # what is longer than the range has side lobes in it
    assert lomb_scargle(time, np.sin(2 * np.pi * time / 26.0), max_period=25.0).at_edge
    none = lomb_scargle(time, wave, min_period=7.5, max_period=7.6)
    assert np.isnan([none.period, none.uncertainty, none.false_alarm_probability]).all()
    assert none.peaks()[0].size == 0
    assert none.at_edge


def test_false_alarms_of_noise_and_harmonics():
    rng = np.random.default_rng(7)
    time = uneven(800)
    probabilities = [
        lomb_scargle(time, rng.standard_normal(time.size)).false_alarm_probability
        for _ in range(20)
    ]
    assert min(probabilities) > 1e-3  # 1 in 20 is expected near 0.05
    phase = 2 * np.pi * time / 6.0
    flux = 0.3 * np.sin(phase) + np.sin(2 * phase)
    assert lomb_scargle(time, flux).period == pytest.approx(3.0, rel=0.01)
    two = lomb_scargle(time, flux, n_terms=2, max_period=8.0)
    assert two.period == pytest.approx(6.0, rel=0.01)
    assert np.isnan(two.false_alarm_probability)
    even = np.arange(0.0, 60.0, 0.1)
    phase = 2 * np.pi * even / 6.0
    found, power = lomb_scargle(even, 0.5 * np.sin(phase) + np.sin(2 * phase)).peaks(2)
    np.testing.assert_allclose(np.sort(found), [3.0, 6.0], rtol=0.02)
    assert power[0] > power[1]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (dict(min_period=5.0, max_period=4.0), r"min_period = 5 d is not below max_period = 4 d"),
        (dict(min_period=-1.0), r"min_period = -1.0 must be a finite number above 0"),
        (dict(oversampling=1.0), r"oversampling = 1.0 must be 2 or more"),
        (dict(n_terms=3), r"n_terms = 3: at these .* can't be told apart"),
    ],
)
def test_bad_ranges(keywords, message):
    time = np.arange(30.0)
    with pytest.raises(ValueError, match=message):
        lomb_scargle(time, np.sin(time), **keywords)


@pytest.mark.parametrize("function", [lomb_scargle, autocorrelation])
def test_bad_data(function):
    with pytest.raises(ValueError, match=r"flux is 1 everywhere"):
        function(np.arange(100.0), np.ones(100))
    with pytest.raises(ValueError, match=r"not finite. TimeSeriesData\(time, flux\) masks"):
        function(np.arange(3.0), [1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match=r"time has shape \(3,\) and flux \(4,\)"):
        function(np.arange(3.0), np.arange(4.0))
    with pytest.raises(ValueError, match=r"time is 2 at every point"):
        function([2.0, 2.0, 2.0], [1.0, 2.0, 3.0])


def test_autocorrelation_equals_the_sum_over_all_pairs():
    time = uneven(300, seed=3)
    time[50] = time[51]  # a duplicate
    flux = np.random.default_rng(2).standard_normal(time.size) + np.sin(time)
    result = autocorrelation(time, flux, step=0.3, max_lag=25.0)
    slot = np.floor((time - time[0]) / 0.3 + 0.5).astype(int)
    deviation = flux - flux.mean()
    distance = slot[None, :] - slot[:, None]
    product = deviation[:, None] * deviation[None, :]
    for k in range(1, result.lag.size):
        pairs = distance == k
        assert result.pairs[k] == pairs.sum()
        if pairs.any():
            expected = product[pairs].mean() / np.mean(deviation**2)
            assert result.acf[k] == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(result.lag, 0.3 * np.arange(result.lag.size))
    assert result.acf[0] == 1.0
    raw = autocorrelation(time, flux, step=0.3, max_lag=25.0, smoothing=0.0)
    there = np.isfinite(raw.smoothed[1:])
    np.testing.assert_allclose(raw.smoothed[1:][there], raw.acf[1:][there])


def test_smoothing_is_that_of_all_lags_even_at_the_last_ones():
    time = uneven(2000)
    flux = np.sin(2 * np.pi * time / 5.0)
    short = autocorrelation(time, flux, max_lag=12.0, step=0.05)
    long = autocorrelation(time, flux, max_lag=25.0, step=0.05)
    np.testing.assert_allclose(short.smoothed, long.smoothed[: short.lag.size], rtol=1e-9)


@pytest.mark.parametrize("period", [1.3, 4.0, 13.0])
def test_period_of_a_sinusoid_with_gaps_and_noise(period):
    rng = np.random.default_rng(11)
    time = np.arange(0.0, 120.0, 0.0204) + 1e-3 * rng.standard_normal(5883)
    time = time[(time < 31.0) | (time > 38.0)]
    time = rng.permutation(time)
    flux = 1.0 + 0.01 * np.sin(2 * np.pi * time / period) + 0.005 * rng.standard_normal(time.size)
    result = autocorrelation(time, flux)
    assert result.period == pytest.approx(period, rel=0.01)
    multiples = period * np.arange(1, result.peaks.size + 1)
    np.testing.assert_allclose(result.peaks, multiples, rtol=0.01)
    assert result.uncertainty < 0.03 * period
    assert result.decay_time > 120.0


def test_two_groups_of_spots_half_a_turn_apart():
    time = np.arange(0.0, 100.0, 0.05)
    phase = 2 * np.pi * time / 8.0
    result = autocorrelation(time, 0.4 * np.cos(phase) + np.cos(2 * phase))
    assert result.period == pytest.approx(8.0, rel=0.01)
    np.testing.assert_allclose(result.peaks, 8.0 * np.arange(1, result.peaks.size + 1), rtol=0.02)
    assert result.peaks.size >= 5


def test_years_between_sectors_cost_nothing():
    time = np.concatenate([start + np.arange(0.0, 27.0, 0.0014) for start in (0.0, 26.0, 730.0)])
    flux = np.sin(2 * np.pi * time / 4.2)
    result = autocorrelation(time, flux)
    assert result.period == pytest.approx(4.2, rel=0.01)
    assert np.isnan(result.acf[result.pairs == 0]).all()
    assert (result.pairs == 0).any()


@pytest.mark.parametrize("tau", [12.0, 30.0])
def test_decay_time_of_a_process_of_known_lifetime(tau):
    found = [
        autocorrelation(*quasi_periodic(5.0, tau, seed=seed), max_lag=60.0).decay_time
        for seed in range(8)
    ]
    # the error of one star's autocorrelation over 1500 d is about sqrt(tau / 1500) of its height
    assert np.median(found) == pytest.approx(tau, rel=0.25)


def test_envelopes_of_exact_heights():
    peaks = 5.0 * np.arange(9)
    decay, _ = _decay(peaks, 0.7 * np.exp(-peaks / 13.0))
    assert decay == pytest.approx(13.0, rel=1e-4)
    for zero in (6.0, 23.0, 120.0):
        _, support = _decay(peaks, 0.7 * np.maximum(1 - peaks / zero, 0.0))
        assert support == pytest.approx(zero, rel=1e-4)
    assert _decay(peaks, np.full(9, 0.5)) == (np.inf, np.inf)
    assert np.isnan(_decay(peaks[:1], np.ones(1))).all()


def test_revived_peaks_do_not_lengthen_the_decay():
    lag = 0.1 * np.arange(400)
    acf = np.cos(2 * np.pi * lag / 5.0)
    peaks, heights = 5.0 * np.arange(1, 7), np.array([1.2, 0.7, 0.4, 0.6, 0.9, 0.2])
    used, height = _falling(peaks, heights, lag, acf)
    np.testing.assert_array_equal(used, [0.0, 5.0, 10.0, 15.0])
    np.testing.assert_allclose(height, [1.0 + acf[1], 1.2, 0.7, 0.4])


def test_no_peak_is_nan_and_no_error():
    time = np.arange(0.0, 30.0, 0.05)
    result = autocorrelation(time, time)
    assert np.isnan([result.period, result.uncertainty, result.decay_time, result.support]).all()
    assert result.peaks.size == 0
    assert "period=nan" in repr(result)
    with pytest.raises(ValueError, match=r"max_lag = 0.05 d holds no two steps of 0.05 d"):
        autocorrelation(time, np.sin(time), max_lag=0.05)
    with pytest.raises(ValueError, match=r"smoothing = -1 must be 0 or more"):
        autocorrelation(time, np.sin(time), smoothing=-1)


@pytest.mark.parametrize("method", [lomb_scargle, autocorrelation])
def test_any_kind_of_array_will_do(method):
    time = np.arange(0.0, 40.0, 0.25)
    flux = np.round(1000.0 + 50.0 * np.sin(time))
    expected = method(time, flux).period
    assert method((24.0 * time) * u.h, flux.astype(">i4") * u.mJy).period == pytest.approx(expected)
    assert method(list(time), np.ma.masked_array(flux)).period == expected
    with pytest.raises(ValueError, match="not finite"):
        method(time, np.ma.masked_greater(flux, 1040.0))
    with pytest.raises(TypeError, match="logarithmic"):
        method(time, flux * u.mag)
