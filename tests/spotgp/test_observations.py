"""Light curves: what is read, masked, counted and refused, and what each step does."""

import os
import pathlib
import types

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.time import Time, TimeDelta
from astropy.timeseries import TimeSeries
from astropy.utils.masked import Masked

from spotgp.io.observations import TimeSeriesData

CADENCE = 0.02
needs_data = pytest.mark.skipif(
    "GRATER_DATA" not in os.environ, reason="GRATER_DATA names no folder with light curves"
)


def star(n=2000, seed=1, noise=1e-3):
    """A spotted star in three stretches, the middle one at another level."""
    rng = np.random.default_rng(seed)
    time = CADENCE * np.arange(n) + 100.0
    time = np.delete(time, slice(n // 3, n // 3 + 60))
    flux = 1.0 + 0.02 * np.sin(2 * np.pi * time / 5.3) + noise * rng.standard_normal(time.size)
    return time, flux


def write_file(path, telescope="Kepler", part=("QUARTER", 7), mission=None, level=1000.0, **more):
    """A light-curve file as the missions' archives hold them, 200 points with flags and NaN."""
    rng = np.random.default_rng(5)
    time = more.pop("start", 130.0) + CADENCE * np.arange(200)
    flux = (level * (1.0 + 0.01 * rng.standard_normal(200))).astype(np.float32)
    quality = np.zeros(200, np.int32)
    quality[:3], quality[3:8], quality[8] = 1, 128, 64  # both missions: tweak; Kepler: cosmic ray
    flux[20:24], time[30] = np.nan, np.nan
    flag = "QUALITY" if telescope == "TESS" else "SAP_QUALITY"
    name = more.pop("flux_name", "PDCSAP_FLUX")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("TIME", "D", array=time),
            fits.Column(name, "E", unit="e-/s", array=flux),
            fits.Column(name + "_ERR", "E", unit="e-/s", array=0.01 * flux),
            fits.Column(flag, "J", array=quality),
        ],
        name="LIGHTCURVE",
    )
    zero = 2457000 if telescope == "TESS" else 2454833
    table.header["BJDREFI"], table.header["BJDREFF"] = more.pop("zero", zero), 0.0
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["OBJECT"] = telescope, "KIC 1"
    primary.header[part[0]] = part[1]
    if mission:
        primary.header["MISSION"] = mission
    fits.HDUList([primary, table]).writeto(path)
    return path, time, flux, quality


def test_what_is_not_finite_or_masked_is_left_out_and_counted():
    time, flux = star(300)
    error = np.full_like(flux, 1e-3)
    time[0], flux[[3, 4, 5]], error[[5, 9]] = np.inf, np.nan, np.nan
    mask = np.ones(time.size, bool)
    mask[[4, 20]] = False
    data = TimeSeriesData(time, flux, error, mask=mask)
    gone = [0, 3, 4, 5, 9, 20]
    np.testing.assert_array_equal(data.time, np.delete(time, gone))
    np.testing.assert_array_equal(data.flux, np.delete(flux, gone))
    assert len(data) == time.size - 6
    assert data.n_dropped == 6
    assert data.history == (
        f"Masked 2 of {time.size} points by mask.",
        f"Masked 4 of {time.size} points that are not finite: 1 time, 2 flux, 2 flux_err.",
    )
    assert repr(data).startswith(f"TimeSeriesData({len(data)} points in 1 segment over ")
    assert "6 dropped" in repr(data)
    assert data.history[1] in repr(data)


def test_unsorted_times_are_sorted_with_a_note_and_duplicates_stay():
    data = TimeSeriesData([3.0, 1.0, 1.0, 2.0], [30.0, 10.0, 11.0, 20.0], 0.1, [7, 2, 7, 2])
    np.testing.assert_array_equal(data.time, [1.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(data.flux, [10.0, 11.0, 20.0, 30.0])
    np.testing.assert_array_equal(data.segment, [0, 1, 0, 1])
    assert data.n_segments == 2
    assert data.history == (
        "Sorted by time: 1 of 4 points came before its predecessor.",
        "Segments 2, 7 are now numbered 0 to 1.",
    )
    assert not TimeSeriesData([1.0, 1.0, 2.0], [1.0, 2.0, 1.0], 0.1).history


def test_it_is_immutable_and_independent_of_what_was_passed():
    time, flux = star(50)
    data = TimeSeriesData(time, flux, 0.1)
    flux[0] = 99.0
    assert data.flux[0] != 99.0
    with pytest.raises(ValueError, match="read-only"):
        data.flux[0] = 1.0
    with pytest.raises(AttributeError):
        data.flux = flux  # pyright: ignore


@pytest.mark.parametrize("dtype", [">f8", ">f4", "float32", "int32"])
def test_everything_becomes_native_float64(dtype):
    data = TimeSeriesData(np.arange(5).astype(dtype), np.arange(5)[::-1].astype(dtype), 1)
    for array in (data.time, data.flux, data.flux_err):
        assert array.dtype == np.float64
        assert array.dtype.isnative
    np.testing.assert_array_equal(data.flux, [4, 3, 2, 1, 0])


def test_quantities_masked_arrays_and_times():
    hours = TimeSeriesData([0, 12, 24] * u.h, [1, 2, 4] * u.mJy, [1e-5, 1e-5, 1e-5] * u.Jy)
    np.testing.assert_allclose(hours.time, [0, 0.5, 1.0])
    np.testing.assert_allclose(hours.flux_err, 0.01)
    assert hours.unit == "mJy"
    for hidden in (
        np.ma.masked_array([1, 2, 3, 4], [0, 1, 0, 0]),
        Masked([1.0, 2.0, 3.0, 4.0] * u.mJy, mask=[False, True, False, False]),
    ):
        np.testing.assert_array_equal(TimeSeriesData(range(4), hidden, 0.1).time, [0, 2, 3])
    absolute = TimeSeriesData(Time([2459000.75, 2459001.5], format="jd", scale="utc"), [1, 2], 0.1)
    np.testing.assert_array_equal(absolute.time, [0.75, 1.5])
    assert (absolute.reference, absolute.time_scale) == (2459000.0, "utc")
    with pytest.raises(TypeError, match=r"flux_err.*cannot be converted to unit 'mJy'"):
        TimeSeriesData([0, 1], [1, 2] * u.mJy, [1, 1] * u.d)
    with pytest.raises(TypeError, match=r"logarithmic.*10\*\*\(-0\.4 \* \(m - median"):
        TimeSeriesData([0, 1], [12.1, 12.2] * u.mag, 0.01)
    with pytest.raises(TypeError, match=r"time.*cannot be converted to unit 'd'"):
        TimeSeriesData([0, 1] * u.m, [1, 2], 0.1)


@pytest.mark.parametrize("amplitude", [0.0, 0.02])
def test_errors_are_estimated_from_first_differences_of_each_segment(amplitude):
    rng = np.random.default_rng(3)
    time = CADENCE * np.arange(20000)
    segment = (time > 300.0).astype(int)
    noise = np.where(segment == 1, 4e-4, 1e-4)
    flux = 1.0 + amplitude * np.sin(2 * np.pi * time / 5.0) + noise * rng.standard_normal(time.size)
    flux[::100] += 0.1  # outliers do not matter
    data = TimeSeriesData(time, flux, segment=segment)
    for k, expected in ((0, 1e-4), (1, 4e-4)):
        values = np.unique(data.flux_err[data.segment == k])
        assert values.size == 1
        np.testing.assert_allclose(values[0], expected, rtol=0.06)
    assert data.history[-1].startswith("Estimated flux_err from the first differences")
    few = TimeSeriesData([0.0, 1.0, 2.0], [1.0, 1.5, 1.0])
    np.testing.assert_allclose(few.flux_err, 1.4826 * 0.5 / np.sqrt(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1, 2, 3], 1), r"flux has shape \(3,\) but must have shape \(2,\)"),
        (([0, 1], [1, 2], [1, 1, 1]), r"flux_err has shape \(3,\) but must have shape \(2,\)"),
        (([0, 1], [1, 2], 1, [0, 0, 1]), r"segment has shape \(3,\)"),
        (
            (np.ones((2, 2)), np.ones((2, 2)), 1),
            r"time has shape \(2, 2\) but must be one-dimensional",
        ),
        (([0, 1, 2], [1, 2, 3], [1, 0, -2]), r"flux_err is zero or negative at 2 of the 3 points"),
        (([0, 1, 2], [1, 2, 3], 0.0), r"first is 0 at time 0\. Give them errors > 0, mask them"),
        (([0, 1], [np.nan, np.nan], 1), r"TimeSeriesData\.flux holds no finite value"),
        (([0, 1], [1, 2], [np.nan] * 2), r"flux_err holds no finite value\. Leave flux_err out"),
        (([0], [1], 1), r"has 1 points to use and needs at least 2: of 1 given 0 are masked"),
        (([], [], 1), r"has 0 points to use"),
        (([0, 1, 2], [1, np.nan, np.inf], 1), r"has 1 points.*2 not finite \(2 flux\)"),
        ((range(9), np.ones(9)), r"flux_err cannot be estimated: half of the first differences"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeSeriesData(*arguments)


def test_bad_types_are_refused():
    with pytest.raises(TypeError, match=r"flux holds strings, not real numbers"):
        TimeSeriesData([0, 1], ["a", "b"], 1)
    with pytest.raises(TypeError, match=r"segment holds float64, not integers"):
        TimeSeriesData([0, 1], [1, 2], 1, [0.0, 1.0])
    with pytest.raises(TypeError, match=r"mask holds int64, not booleans: pass True where"):
        TimeSeriesData([0, 1], [1, 2], 1, mask=[0, 1])


def test_astropy_time_series_and_back():
    start = Time(2455000.25, format="jd", scale="tdb")
    series = TimeSeries(
        time=start + TimeDelta([0.0, 6.0, 12.0] * u.h),
        data={"f": [1, 2, 3] * u.mJy, "e": [1, 1, 1] * u.uJy, "q": [0, 0, 1]},
    )
    data = TimeSeriesData.from_timeseries(series, "f", "e", "q", name="X")
    np.testing.assert_allclose(data.time, [0.25, 0.5, 0.75], rtol=1e-14)
    np.testing.assert_allclose(data.flux_err, 1e-3)
    assert (data.reference, data.unit, data.n_segments, data.name) == (2455000.0, "mJy", 2, "X")
    back = TimeSeriesData.from_timeseries(data.to_timeseries(), segment="segment")
    np.testing.assert_array_equal(back.time, data.time)
    np.testing.assert_array_equal(back.segment, data.segment)
    assert back.unit == "mJy"
    assert TimeSeriesData.from_timeseries(series, "f", None, reference=2454833.0).time[0] == 167.25
    with pytest.raises(
        ValueError, match=r"no column 'flux' or 'flux_err'; its columns are time, f"
    ):
        TimeSeriesData.from_timeseries(series)


def test_relative_times_and_unknown_units_survive():
    data = TimeSeriesData([0.0, 0.5, 2.0], [1.0, 2.0, 3.0], 0.1, unit="a count of mine")
    series = data.to_timeseries()
    assert isinstance(series.time, TimeDelta)
    np.testing.assert_array_equal(TimeSeriesData.from_timeseries(series).time, data.time)


def fake_lightkurve(**changes):
    values = dict(
        time=Time([2455000.5, 2455000.6, 2455000.7, 2455000.8], format="jd", scale="tdb"),
        flux=[10.0, 11.0, np.nan, 9.0] * u.electron / u.s,
        flux_err=[0.1, 0.1, 0.1, 0.1] * u.electron / u.s,
        quality=np.array([0, 128, 0, 0]),
        meta={"MISSION": "Kepler", "OBJECT": "KIC 1"},
    )
    return types.SimpleNamespace(**(values | changes))


def test_lightkurve_objects():
    data = TimeSeriesData.from_lightkurve(fake_lightkurve())
    np.testing.assert_allclose(data.flux, [10.0, 11.0, 9.0])
    assert (data.unit, data.name, data.reference) == ("electron / s", "KIC 1", 0.0)
    assert data.history[0] == (
        "Masked 0 of 4 points by their quality flags ('default', bits 1130799)."
    )
    hard = TimeSeriesData.from_lightkurve(fake_lightkurve(), quality="hard")
    np.testing.assert_allclose(hard.flux, [10.0, 9.0])
    tess = TimeSeriesData.from_lightkurve(fake_lightkurve(meta={"TELESCOP": "TESS"}))
    np.testing.assert_allclose(tess.flux, [10.0, 9.0])  # 128 is a manual exclusion there
    plain = fake_lightkurve(flux_err=np.full(4, np.nan))
    del plain.quality, plain.meta
    assert "Estimated" in TimeSeriesData.from_lightkurve(plain).history[-1]
    with pytest.raises(
        ValueError, match=r"quality = 'default' means different.*mission is not giv"
    ):
        TimeSeriesData.from_lightkurve(fake_lightkurve(meta={}))


@pytest.mark.parametrize(
    ("telescope", "part", "quality", "masked"),
    [
        ("Kepler", ("QUARTER", 7), "default", 3),
        ("Kepler", ("QUARTER", 7), "hard", 8),
        ("Kepler", ("QUARTER", 7), "none", 0),
        ("Kepler", ("QUARTER", 7), 64, 1),
        ("TESS", ("SECTOR", 14), "default", 8),
        ("TESS", ("SECTOR", 14), "hard", 9),
    ],
)
def test_fits_files(tmp_path, telescope, part, quality, masked):
    path, time, flux, _ = write_file(tmp_path / "a.fits", telescope, part)
    data = TimeSeriesData.from_fits(path, quality=quality, mission=telescope)
    keep = np.ones(200, bool)
    keep[: {3: 3, 8: 8, 9: 9}.get(masked, 0)] = False
    if quality == 64:
        keep[8] = False
    keep[[20, 21, 22, 23, 30]] = False
    np.testing.assert_array_equal(data.time, time[keep])
    np.testing.assert_array_equal(data.flux, flux[keep].astype(float))
    assert data.flux_err.dtype == np.float64
    assert data.flux_err.dtype.isnative
    assert data.reference == (2457000.0 if telescope == "TESS" else 2454833.0)
    assert (data.unit, data.name) == ("electron/s", "KIC 1")
    assert data.n_dropped == 200 - keep.sum()
    name = f"'{quality}', " if isinstance(quality, str) else ""
    assert data.history[0] == (
        f"Read PDCSAP_FLUX of {telescope} {part[0].lower()} {part[1]} from a.fits."
    )
    assert data.history[1].startswith(
        f"Masked {masked} of 200 points by their quality flags ({name}bits "
    )
    assert data.history[2].endswith("not finite: 1 time, 4 flux, 4 flux_err.")
    assert data.to_timeseries()["flux"].unit == u.electron / u.s


def test_several_files_are_one_series_with_a_segment_each(tmp_path):
    later, *_ = write_file(tmp_path / "b.fits", part=("QUARTER", 8), start=140.0, level=2000.0)
    first, *_ = write_file(tmp_path / "a.fits")
    data = TimeSeriesData.from_fits([later, first])
    one = TimeSeriesData.from_fits(first)
    assert (data.n_segments, len(data), data.n_dropped) == (2, 2 * len(one), 2 * one.n_dropped)
    np.testing.assert_array_equal(data.select(segment=1).flux, one.flux)  # order of the paths
    assert np.all(np.diff(data.time) >= 0)
    assert "[0 KIC 1] Read PDCSAP_FLUX of Kepler quarter 8 from b.fits." in data.history
    assert len(TimeSeriesData.from_fits([first])) == len(one)
    shifted, *_ = write_file(tmp_path / "c.fits", "TESS", ("SECTOR", 1), start=130.0)
    both = TimeSeriesData.from_fits([first, shifted])
    assert both.time[-1] > 2457000 - 2454833 + 130.0
    with pytest.raises(ValueError, match="path is an empty sequence"):
        TimeSeriesData.from_fits([])


def test_wrong_files_are_refused(tmp_path):
    kepler, *_ = write_file(tmp_path / "k.fits")
    k2, *_ = write_file(tmp_path / "k2.fits", part=("CAMPAIGN", 3), mission="K2")
    tess, *_ = write_file(tmp_path / "t.fits", "TESS", ("SECTOR", 2))
    other, *_ = write_file(tmp_path / "o.fits", "Gaia")
    with pytest.raises(ValueError, match=r"a light curve of TESS, but mission='Kepler' was asked"):
        TimeSeriesData.from_fits(tess, mission="Kepler")
    with pytest.raises(ValueError, match=r"a light curve of Kepler, but mission='TESS'.*Pass miss"):
        TimeSeriesData.from_fits(kepler, mission="TESS")
    with pytest.raises(ValueError, match=r"light curve of Kepler, but mission='K2'"):
        TimeSeriesData.from_fits(kepler, mission="K2")
    assert "K2 campaign 3" in TimeSeriesData.from_fits(k2, mission="Kepler").history[0]
    with pytest.raises(ValueError, match=r"TELESCOP Gaia, which is neither.*pass arrays"):
        TimeSeriesData.from_fits(other)
    with pytest.raises(ValueError, match=r"mission = 'HST' is not known"):
        TimeSeriesData.from_fits(kepler, mission="HST")
    with pytest.raises(ValueError, match=r"quality = 'best' is not known. Pass 'default', 'hard'"):
        TimeSeriesData.from_fits(kepler, quality="best")
    with pytest.raises(ValueError, match=r"quality = -1 is negative"):
        TimeSeriesData.from_fits(kepler, quality=-1)
    with pytest.raises(
        ValueError,
        match=r"no column KSP_FLUX in its table 'LIGHTCURVE'.*its columns are TIME, PDCS",
    ):
        TimeSeriesData.from_fits(kepler, flux="KSP_FLUX")
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match=r"holds no table, so it is no light-curve file"):
        TimeSeriesData.from_fits(tmp_path / "image.fits")


def test_normalize_per_segment_and_all():
    time, flux = star()
    segment = (time > 115.0).astype(int)
    data = TimeSeriesData(
        time, flux * np.where(segment, 50.0, 10.0), flux * 0.1, segment, unit="Jy"
    )
    each = data.normalize()
    for k in (0, 1):
        assert np.median(each.flux[each.segment == k]) == pytest.approx(1.0)
    np.testing.assert_allclose(each.flux / each.flux_err, data.flux / data.flux_err)
    assert np.median(data.normalize(per_segment=False).flux) == pytest.approx(1.0)
    assert (each.unit, data.unit) == ("", "Jy")
    assert each.history[-1] == "Divided by the median flux of each segment."
    with pytest.raises(ValueError, match=r"median flux is .* \(segment 1\), no more than"):
        TimeSeriesData(time, np.where(segment, -1.0, 1.0) * flux, 0.1, segment).normalize()
    with pytest.raises(ValueError, match="has had its mean taken off"):
        TimeSeriesData(time, 1e6 * (flux - 0.9999), 100.0).normalize()


@pytest.mark.parametrize("unit", ["mag", "mmag", "mag(AB)", "dex"])
def test_magnitudes_are_not_divided_by_their_median(unit):
    data = TimeSeriesData(np.arange(9.0), 12.0 + 0.01 * np.arange(9.0), 1e-3, unit=unit)
    for step in (data.normalize, data.to):
        with pytest.raises(ValueError, match=r"relative to the star: pass the flux 10\*\*"):
            step()


def test_detrend_takes_exactly_a_polynomial_off_each_segment():
    time, _ = star()
    segment = (time > 115.0).astype(int)
    error = np.random.default_rng(0).uniform(0.5, 2.0, time.size)
    x = time - 110.0
    trend = np.where(segment, 3.0 + 0.1 * x - 0.02 * x**2, 5.0 - 0.3 * x)
    data = TimeSeriesData(time, trend, error, segment)
    flat = data.detrend(order=2)
    for k in (0, 1):
        own = data.segment == k
        np.testing.assert_allclose(flat.flux[own], np.median(trend[own]), rtol=1e-10)
    np.testing.assert_array_equal(flat.flux_err, data.flux_err)
    assert np.ptp(data.detrend().flux[data.segment == 0]) < 1e-10
    assert np.ptp(data.detrend().flux[data.segment == 1]) > 0.1
    with pytest.raises(ValueError, match=r"order = 1 and window = 3 are both given"):
        data.detrend(order=1, window=3)
    with pytest.raises(ValueError, match=r"order = 2.5 is no order"):
        data.detrend(order=2.5)
    with pytest.raises(ValueError, match=r"order = 3 is too high for segment 0, .* at 2 times"):
        TimeSeriesData([0, 1, 2, 3, 4], [1, 2, 1, 2, 3], 1, [0, 0, 1, 1, 1]).detrend(order=3)


def test_detrend_by_a_running_median_is_the_median_in_time():
    rng = np.random.default_rng(2)
    time = np.sort(rng.uniform(0, 10, 300))
    flux = rng.standard_normal(300)
    data = TimeSeriesData(time, flux, 1.0).detrend(window=0.8)
    expected = [
        f - np.median(flux[np.abs(time - t) <= 0.4]) for t, f in zip(time, flux, strict=True)
    ]
    np.testing.assert_allclose(data.flux, np.array(expected) + np.median(flux), atol=1e-12)


def test_sigma_clip_takes_outliers_and_leaves_the_rotation():
    time, flux = star(3000)
    rng = np.random.default_rng(4)
    up, down = np.split(rng.choice(time.size, 40, replace=False), 2)
    flux[up] += 0.02
    flux[down] -= 0.02
    data = TimeSeriesData(time, flux, 1e-3)
    clean = data.sigma_clip(6.0)
    np.testing.assert_array_equal(clean.time, np.delete(time, np.concatenate([up, down])))
    assert clean.n_dropped == 40
    assert clean.history[-1] == (
        f"Clipped 40 of {time.size:,} points beyond 6 sigma of what their neighbours predict: 40 "
        "single."
    )
    above = data.sigma_clip(6.0, lower=np.inf)
    np.testing.assert_array_equal(above.time, np.delete(time, up))
    with pytest.raises(ValueError, match=r"sigma = -1.* must be above 0"):
        data.sigma_clip(-1)


def test_bins_are_weighted_means_within_segments():
    rng = np.random.default_rng(6)
    time = np.sort(rng.uniform(0.0, 4.0, 60))
    time = time[(time < 1.0) | (time > 2.1)]
    flux, error = rng.standard_normal(time.size), rng.uniform(0.5, 2.0, time.size)
    segment = (time > 2.6).astype(int)
    data = TimeSeriesData(time, flux, error, segment)
    binned = data.bin(0.5)
    expected = []
    for k in (0, 1):
        t, f, w = time[segment == k], flux[segment == k], error[segment == k] ** -2
        for j in range(8):
            inside = np.floor((t - t[0]) / 0.5) == j
            if inside.any():
                s = w[inside].sum()
                row = (w * t)[inside].sum() / s, (w * f)[inside].sum() / s, s**-0.5, k
                expected.append(row)
    expected = np.array(sorted(expected))
    found = np.stack([binned.time, binned.flux, binned.flux_err, binned.segment], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(binned) < 9
    assert f"in bins of 0.5 d: {len(binned)} are left" in binned.history[-1]
    with pytest.raises(ValueError, match=r"width = 100 d leaves a single bin"):
        data.select(segment=0).bin(100.0)
    with pytest.raises(ValueError, match=r"width = 0 must be a finite number above 0"):
        data.bin(0)


def test_thinning_keeps_points_as_they_were_measured():
    time = np.arange(10.0)
    series = TimeSeriesData(time, 1.0 + 0.1 * time, 0.01)
    thin = series.thin(4)
    np.testing.assert_array_equal(thin.time // 3, [0, 1, 2, 3])
    np.testing.assert_array_equal(thin.time, series.thin(4).time)
    np.testing.assert_array_equal(thin.flux, 1.0 + 0.1 * thin.time)
    assert "one in 3" in repr(thin)
    assert len(series.thin(100)) == 10
    with pytest.raises(ValueError, match="number = 1"):
        series.thin(1)


def test_binning_a_line_keeps_it():
    time = np.linspace(2459000.0, 2459010.0, 501)
    data = TimeSeriesData(time, 3.0 * (time - 2459000.0), np.linspace(1, 5, 501)).bin(0.3)
    np.testing.assert_allclose(data.flux, 3.0 * (data.time - 2459000.0), atol=1e-7)


def test_split_by_gaps_inside_segments():
    time = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 0.5, 1.5, 30.0, 31.0])
    segment = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    data = TimeSeriesData(time, np.arange(9.0), 1.0, segment).split(gap=3.0)
    assert data.n_segments == 4
    for k, times in enumerate(([0, 1, 2], [0.5, 1.5], [10, 11], [30, 31])):
        np.testing.assert_array_equal(data.time[data.segment == k], times)
    assert data.history[-1] == "Split at gaps over 3 d: from 2 to 4 segments."


def test_gaps_cadence_and_span():
    data = TimeSeriesData([0, 1, 2, 5, 6, 7.2, 20], np.arange(7.0), 1.0)
    assert data.cadence == pytest.approx(1.1)
    assert data.span == 20
    np.testing.assert_array_equal(data.gaps, [[2, 5], [7.2, 20]])
    two = TimeSeriesData([0, 0.5, 1, 1.5], [1, 2, 3, 4], 1.0, [0, 1, 0, 1])
    assert two.cadence == 1.0
    assert np.isnan(TimeSeriesData([1, 1], [1, 2], 1.0).cadence)


def test_selections_masks_and_concatenation():
    time, flux = star(600)
    data = TimeSeriesData(time, flux, 1e-3).split(gap=1.0)
    assert data.n_segments == 2
    early = data.first(2.0)
    np.testing.assert_array_equal(early.time, time[time < time[0] + 2.0])
    middle = data.select(101.0, 103.0)
    np.testing.assert_array_equal(middle.time, time[(time >= 101.0) & (time <= 103.0)])
    parts = [data.select(segment=k) for k in (1, 0)]
    joined = TimeSeriesData.concatenate(parts)
    np.testing.assert_array_equal(joined.time, data.time)
    np.testing.assert_array_equal(joined.segment, 1 - data.segment)
    masked = data.mask(np.abs(data.flux - 1.0) < 0.01, "my transit mask")
    assert len(masked) == np.sum(np.abs(flux - 1.0) < 0.01)
    assert "by my transit mask." in masked.history[-1]
    assert masked.n_dropped == len(data) - len(masked)
    assert len(data) == time.size  # none of it changed the first one
    with pytest.raises(ValueError, match=r"segment = 5 is not there: segments are 0 to 1"):
        data.select(segment=5)
    with pytest.raises(ValueError, match=r"Selected times 500 to inf d: 0 points.*at least 2"):
        data.select(500.0)
    with pytest.raises(TypeError, match=r"keep holds int64, not booleans"):
        data.mask(np.ones(len(data), int))
    with pytest.raises(ValueError, match=r"differ in unit: '', 'Jy'"):
        TimeSeriesData.concatenate([data, TimeSeriesData(time, flux, 1.0, unit="Jy")])
    with pytest.raises(ValueError, match=r"some have|Some of the series.*reference"):
        TimeSeriesData.concatenate([data, TimeSeriesData(time, flux, 1.0, reference=0.0)])


def test_photons_that_count_twice_and_stars_that_are_mixed():
    def sector(start, cadence, name="TIC 1", days=20.0):
        time = start + np.arange(0.0, days, cadence)
        return TimeSeriesData(time, 1.0 + 0.01 * np.sin(time), 1e-3, name=name)

    slow, fast, next_one = sector(0.0, 0.1), sector(0.004, 0.01), sector(19.9, 0.1)
    with pytest.warns(UserWarning, match=r"Numbers 0 and 2 of .* points at the same times"):
        TimeSeriesData.concatenate([slow, next_one, fast.mask(fast.time < 15.0)])
    with pytest.warns(UserWarning, match=r"different names, TIC 1, KIC 2: join them only if"):
        TimeSeriesData.concatenate([slow, sector(50.0, 0.1, "KIC 2"), sector(80.0, 0.1, "")])
    # no warning: a point or two in common, and another telescope's gaps
    TimeSeriesData.concatenate([slow, next_one])
    nights = np.arange(0.0, 9.0)[:, None] + np.array([0.0, 0.01, 0.02])
    by_night, later = (
        TimeSeriesData(t.ravel(), np.arange(27.0), 1.0) for t in (nights, nights + 0.5)
    )
    assert TimeSeriesData.concatenate([by_night, later]).n_segments == 2


@pytest.fixture(scope="module")
def kic1430163():
    folder = pathlib.Path(os.environ["GRATER_DATA"], "lightcurves")
    return TimeSeriesData.from_fits(
        folder / "kplr001430163-2010355172524_llc.fits.gz", mission="Kepler"
    ).normalize()


@pytest.fixture(scope="module")
def kepler63():
    table = np.load(pathlib.Path(os.environ["GRATER_DATA"], "lightcurves", "kepler63.npz"))
    return TimeSeriesData(table["time"], table["flux"], table["flux_err"], name="Kepler-63")


@needs_data
def test_kic1430163(kic1430163):
    data = kic1430163
    assert (len(data), data.n_dropped, data.reference) == (4226, 149, 2454833.0)
    assert (data.name, data.unit, data.flux.dtype.isnative) == ("KIC 1430163", "", True)
    assert data.cadence == pytest.approx(0.02043, abs=1e-5)
    periodogram, acf = data.lomb_scargle(), data.autocorrelation()
    assert periodogram.period == pytest.approx(3.51, abs=0.02)
    assert periodogram.uncertainty == pytest.approx(0.06, abs=0.01)
    assert acf.period == pytest.approx(3.76, abs=0.03)
    assert 5.0 < acf.decay_time < 60.0
    with pytest.raises(ValueError, match="light curve of Kepler, but mission='TESS'"):
        TimeSeriesData.from_fits(
            pathlib.Path(os.environ["GRATER_DATA"], "lightcurves").joinpath(
                "kplr001430163-2010355172524_llc.fits.gz"
            ),
            mission="TESS",
        )


@needs_data
def test_kepler63(kepler63):
    assert (len(kepler63), kepler63.n_dropped) == (63869, 226)
    assert "Sorted by time: 2 of 63,869 points" in repr(kepler63)
    assert np.all(np.diff(kepler63.time) >= 0)
    data = kepler63.first(200)
    periodogram, acf = data.lomb_scargle(), data.autocorrelation()
    assert periodogram.period == pytest.approx(5.39, abs=0.01)
    assert periodogram.uncertainty == pytest.approx(0.08, abs=0.02)
    assert 5.35 < acf.period < 5.55
    assert kepler63.autocorrelation().period == pytest.approx(5.45, abs=0.05)
    estimated = TimeSeriesData(data.time, data.flux).flux_err[0]
    assert estimated == pytest.approx(np.median(data.flux_err), rel=0.5)
