"""Files of pipelines other than the missions' own: small ones of the same layout."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from spotgp import TimeSeriesData

N = 40
TIME = 1500.0 + 0.02 * np.arange(N)
FLUX = 1.0 + 0.01 * np.sin(TIME)


def write(path, columns, telescope="TESS", name="LIGHTCURVE", header=None, **more):
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": telescope, "OBJECT": "a star", **more})
    kinds = {"i": "J", "f": "D", "U": "2A"}
    table = fits.BinTableHDU.from_columns(
        [fits.Column(key, kinds[np.asarray(c).dtype.kind], array=c) for key, c in columns.items()]
    )
    table.name = name
    table.header.update(header or {})
    fits.HDUList([primary, table]).writeto(path)
    return path


def flags(*values):
    """The first points have these flags, the others none."""
    found = np.zeros(N, int)
    found[: len(values)] = values
    return found


MANUAL = 128  # a manual exclusion, for TESS
LAYOUTS = {
    # columns, points that are left out, flux, error, mission
    "TASOC": (
        {
            "TIME": TIME, "FLUX_RAW": FLUX, "FLUX_CORR": 1e6 * (FLUX - 1.0),
            "FLUX_CORR_ERR": np.full(N, 1e3), "QUALITY": np.arange(N),
            "PIXEL_QUALITY": flags(MANUAL, 1),
        },
        2, 1e-3, "TESS",
    ),
    "QLP, old": (
        {"TIME": TIME, "SAP_FLUX": FLUX, "KSPSAP_FLUX": 1 + 0 * FLUX, "QUALITY": flags(MANUAL),
         "KSPSAP_FLUX_ERR": np.full(N, 1e-3)},
        1, None, "TESS",
    ),
    "QLP, new": (
        {"TIME": TIME, "SAP_FLUX": 2 * FLUX, "SYS_RM_FLUX": FLUX, "DET_FLUX": 1 + 0 * FLUX,
         "DET_FLUX_ERR": np.full(N, 1e-3), "QUALITY": flags(MANUAL)},
        1, None, "TESS",
    ),
    "TGLC": (
        {"time": TIME, "psf_flux": FLUX, "aperture_flux": 2 * FLUX, "cal_psf_flux": 1 + 0 * FLUX,
         "cal_aper_flux": 1 + 0 * FLUX, "TESS_flags": flags(MANUAL), "TGLC_flags": flags(0, 1)},
        2, None, "TESS",
    ),
    "CDIPS": (
        {"TMID_BJD": TIME + 2457000.0, "IFL1": FLUX, "IFE1": np.full(N, 1e-3),
         "IRQ1": np.where(np.arange(N) < 3, "X", "G")},
        3, 1e-3, "TESS",
    ),
    "eleanor": (
        {"TIME": TIME, "RAW_FLUX": 2 * FLUX, "CORR_FLUX": FLUX, "FLUX_ERR": np.full(N, 1e-3),
         "QUALITY": flags(4096, 1)},
        2, 1e-3, "TESS",
    ),
    "K2SC": (
        {"TIME": TIME, "FLUX": FLUX, "ERROR": np.full(N, 1e-3), "QUALITY": flags(1),
         "TREND_P": FLUX, "TREND_T": FLUX},
        1, 1e-3, "K2",
    ),
    "EVEREST": (
        {"TIME": TIME, "FLUX": FLUX, "FRAW": 2 * FLUX, "FRAW_ERR": np.full(N, 1e-3),
         "QUALITY": flags(1 << 22, 1 << 24)},
        1, 1e-3, "K2",
    ),
    "K2SFF": (
        {"T": TIME, "FRAW": 2 * FLUX, "FCOR": FLUX, "MOVING": flags(1, 1, 1, 1)},
        4, None, "K2",
    ),
    "KASOC": (
        {"TIME": TIME, "FLUX": 1e6 * (FLUX - 1.0), "FLUX_ERR": np.full(N, 1e3), "XLONG": FLUX,
         "FILTER": FLUX, "KASOC_FLAG": flags(1, 8, 128)},
        3, 1e-3, "Kepler",
    ),
    "CoRoT": (
        {"DATEHEL": TIME + 2457000.0, "WHITEFLUX": FLUX, "WHITEFLUXDEV": np.full(N, 1e-3),
         "STATUS": flags(4)},
        1, 1e-3, "CoRoT",
    ),
}  # fmt: skip
ZERO = {"TESS": 2457000.0, "K2": 2454833.0, "CoRoT": 0.0, "Kepler": None}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layouts_of_producers(tmp_path, name):
    columns, left_out, error, mission = LAYOUTS[name]
    more = {"MISSION": "K2"} if mission == "K2" else {}
    telescope = "Kepler" if mission == "K2" else mission
    # the mission's own zero would be wrong for KASOC
    hdu = "BESTAPER" if name == "K2SFF" else "LIGHTCURVE"
    path = write(tmp_path / "a.fits", columns, telescope, hdu, **more)
    data = TimeSeriesData.from_fits(path)
    np.testing.assert_allclose(data.flux, FLUX[left_out:], rtol=1e-12)
    zero = ZERO[mission] if name != "CDIPS" else 0.0
    assert data.reference == zero
    days = TIME + (2457000.0 if zero == 0.0 else 0.0)
    np.testing.assert_allclose(data.time, days[left_out:], rtol=0, atol=1e-9)
    assert data.name == "a star"
    if error is not None:
        np.testing.assert_allclose(data.flux_err, error)
    whole = TimeSeriesData.from_fits(path, quality="none")
    np.testing.assert_allclose(whole.flux, FLUX, rtol=1e-12)
    assert not any("filtered" in note for note in data.history)


@pytest.mark.parametrize(
    ("name", "kept", "other"),
    [
        ("QLP, old", "KSPSAP_FLUX", "SAP_FLUX"),
        ("TGLC", "CAL_PSF_FLUX", "PSF_FLUX or APERTURE_FLUX"),
    ],
)
def test_filtered_columns_are_named(tmp_path, name, kept, other):
    columns = {key.upper(): column for key, column in LAYOUTS[name][0].items()}
    columns[kept] = 1.0 + 1e-4 * np.sin(50.0 * TIME)
    path = write(tmp_path / "a.fits", columns)
    note = f"{name.partition(',')[0]} has filtered {kept}: slow rotation is weakened or gone."
    chosen = TimeSeriesData.from_fits(path, kept.lower(), quality="none")
    assert f"{note} Or choose flux={other}." in chosen.history
    alone = {key: of for key, of in columns.items() if key == kept or not key.endswith("_FLUX")}
    assert note in TimeSeriesData.from_fits(write(tmp_path / "b.fits", alone)).history


def test_the_scale_and_the_error_are_those_of_the_chosen_column(tmp_path):
    raw = 1e4 * FLUX
    tasoc = LAYOUTS["TASOC"][0] | {"FLUX_RAW": raw, "FLUX_RAW_ERR": np.full(N, 20.0)}
    data = TimeSeriesData.from_fits(write(tmp_path / "a.fits", tasoc), "FLUX_RAW")
    np.testing.assert_allclose(data.flux, raw[2:])
    np.testing.assert_allclose(data.flux_err, 20.0)
    corot = LAYOUTS["CoRoT"][0] | {"REDFLUX": raw, "REDFLUXDEV": np.full(N, 30.0), "BLUEFLUX": raw}
    red = write(tmp_path / "b.fits", corot, "CoRoT")
    np.testing.assert_allclose(TimeSeriesData.from_fits(red, "REDFLUX").flux_err, 30.0)
    rng = np.random.default_rng(0)
    noisy = LAYOUTS["CDIPS"][0] | {"PCA1": raw + 50.0 * rng.normal(size=N)}
    for path, flux in ((red, "BLUEFLUX"), (write(tmp_path / "c.fits", noisy), "PCA1")):
        history = TimeSeriesData.from_fits(path, flux).history
        assert any(note.startswith("Estimated flux_err") for note in history)


def test_flags_of_any_table(tmp_path):
    columns = {"TIME": TIME, "FLUX": FLUX, "QUALITY": flags(MANUAL, 1024)}
    tess = write(tmp_path / "a.fits", columns)
    assert len(TimeSeriesData.from_fits(tess)) == N - 1
    assert len(TimeSeriesData.from_fits(tess, quality="hard")) == N - 2
    assert len(TimeSeriesData.from_fits(tess, quality="none")) == N
    other = write(tmp_path / "b.fits", columns, "")
    data = TimeSeriesData.from_fits(other)
    assert (len(data), data.history[0]) == (N, "Read FLUX of table from b.fits; QUALITY not used.")
    assert len(TimeSeriesData.from_fits(other, quality=1024)) == N - 1
    letters = {**columns, "QUALITY": np.full(N, "G")}
    said = TimeSeriesData.from_fits(write(tmp_path / "c.fits", letters)).history[0]
    assert said.endswith("c.fits; QUALITY not used.")


def test_what_kasoc_masks_and_counts_from(tmp_path):
    # a jump that was mended is no bad point
    columns = {**LAYOUTS["KASOC"][0], "KASOC_FLAG": flags(1, 2, 256, 8)}
    header = {"BJDREFI": 2400000, "BJDREFF": 0.5}
    path = write(tmp_path / "a.fits", columns, "Kepler", header=header)
    data = TimeSeriesData.from_fits(path)
    assert (len(data), data.reference, data.unit) == (N - 2, 2400000.5, "")
    assert "Read FLUX of Kepler from a.fits." in data.history
    assert len(TimeSeriesData.from_fits(path, quality="hard")) == N - 4
    assert len(TimeSeriesData.from_fits(path, quality=2)) == N - 1


@pytest.mark.parametrize(
    ("comment", "zero"),
    [
        ("Column 1: time, truncated barycentric Julian date", None),
        ("Column 1: time (BJD - 2400000)", 2400000.0),
        ("Column 1: time (BJD-2454833.0)", 2454833.0),
    ],
)
def test_kasoc_in_text(tmp_path, comment, zero):
    path = tmp_path / "kplr001234567_kasoc-ts_llc_v1.dat"
    lines = [f"# {comment}", "# Column 2: relative flux (ppm)", "# Column 3: error (ppm)", "#"]
    rows = np.stack([TIME, 1e6 * (FLUX - 1.0), np.full(N, 1e3)], axis=1).tolist()
    lines += [" ".join(f"{number:.9f}" for number in row) for row in rows]
    lines.insert(6, "1500.03 NaN NaN")
    path.write_text("\n".join(lines))
    data = TimeSeriesData.from_text(path)
    assert (len(data), data.reference) == (N, zero)
    np.testing.assert_allclose(data.time, TIME)
    np.testing.assert_allclose(data.flux, FLUX, rtol=1e-12)
    np.testing.assert_allclose(data.flux_err, 1e-3)
    # other tables of theirs are in other units
    path.write_text(path.read_text().replace("ppm", "e-/s"))
    with pytest.raises(ValueError, match="no column of the time"):
        TimeSeriesData.from_text(path)
    named = TimeSeriesData.from_text(path, columns=("time", "flux", "flux_err"))
    np.testing.assert_allclose(named.flux, 1e6 * (FLUX - 1.0), atol=1e-8)


def test_another_column_and_none_at_all(tmp_path):
    columns = LAYOUTS["TGLC"][0]
    path = write(tmp_path / "a.fits", columns)
    np.testing.assert_allclose(TimeSeriesData.from_fits(path, "aperture_flux").flux, 2 * FLUX[2:])
    with pytest.raises(ValueError, match=r"no column RAW.*Choose the flux.*CAL_PSF_FLUX"):
        TimeSeriesData.from_fits(path, "raw")
    plain = write(tmp_path / "b.fits", {"TIME": TIME, "FLUX": FLUX, "FLUX_ERR": 0.1 * FLUX}, "")
    data = TimeSeriesData.from_fits(plain)
    assert (len(data), data.reference) == (N, None)
    unknown = write(tmp_path / "c.fits", {"TIME": TIME, "COUNTS": FLUX})
    with pytest.raises(ValueError, match=r"its columns are TIME, COUNTS.*pass arrays"):
        TimeSeriesData.from_fits(unknown)
    no_flags = write(tmp_path / "d.fits", {"TIME": TIME, "PDCSAP_FLUX": FLUX})
    assert len(TimeSeriesData.from_fits(no_flags, quality="none")) == N
    with pytest.raises(ValueError, match="flags are missing"):
        TimeSeriesData.from_fits(no_flags)


def test_asas_sn_with_limits_and_cameras(tmp_path):
    path = tmp_path / "asassn.csv"
    rows = [
        f"{2458000.5 + k},ba,{14.0 + 0.1 * (k % 2)},0.01,{10.0 - k % 2},0.1,g" for k in range(9)
    ]
    rows.append("2458010.5,ba,>16.3,99.99,0.2,0.4,g")
    path.write_text("HJD,Camera,mag,mag_err,flux(mJy),flux_err,Filter\n" + "\n".join(rows))
    data = TimeSeriesData.from_text(path)
    np.testing.assert_allclose(data.flux[:2], [10.0, 9.0])
    assert data.reference == 0.0
    magnitudes = TimeSeriesData.from_text(path, flux="mag")
    assert len(magnitudes) == 9
    assert magnitudes.flux[1] / magnitudes.flux[0] == pytest.approx(10 ** (-0.04))
    np.testing.assert_allclose(magnitudes.flux_err / magnitudes.flux, 0.00921, rtol=1e-3)


def test_ztf_with_flags_and_bands(tmp_path):
    path = tmp_path / "ztf.csv"
    rows = [
        f"{58000.5 + k},15.0,0.02,{32768 * (k == 3)},{'zg' if k < 8 else 'zr'}" for k in range(12)
    ]
    path.write_text("mjd,mag,magerr,catflags,filtercode\n" + "\n".join(rows))
    with pytest.raises(ValueError, match=r"bands zg, zr: choose one with band="):
        TimeSeriesData.from_text(path)
    data = TimeSeriesData.from_text(path, band="zg")
    assert (len(data), data.reference) == (7, 2400000.5)
    np.testing.assert_allclose(data.flux, 1.0)
    with pytest.raises(ValueError, match="no band 'zi'"):
        TimeSeriesData.from_text(path, band="zi")


def test_plain_columns(tmp_path):
    path = tmp_path / "columns.txt"
    np.savetxt(path, np.stack([TIME, FLUX, np.full(N, 1e-3)], axis=1))
    data = TimeSeriesData.from_text(path, columns=("time", "flux", "flux_err"))
    np.testing.assert_allclose(data.flux, FLUX)
    np.testing.assert_allclose(data.flux_err, 1e-3)
    path.write_text("when brightness\n1.0 2.0\n2.0 3.0\n")
    with pytest.raises(ValueError, match=r"no column of the time.*are when, brightness"):
        TimeSeriesData.from_text(path)


@pytest.mark.parametrize("names", ["Vmag e_Vmag", "gmag gmag_err", "mag_auto err"])
def test_magnitudes_by_other_names(tmp_path, names):
    path = tmp_path / "star.txt"
    path.write_text(f"time {names}\n1.0 12.0 0.01\n2.0 12.1 0.01\n3.0 12.0 0.02\n")
    data = TimeSeriesData.from_text(path, names.split()[0])
    np.testing.assert_allclose(data.flux, [1.0, 10.0**-0.04, 1.0])
    np.testing.assert_allclose(data.flux_err[0], 0.01 * 0.4 * np.log(10.0))


def test_units_in_a_table(tmp_path):
    t = np.arange(4.0) + 100.0
    flux = [2.0, 3.0, 2.0, 1.0] * u.mJy
    table = Table({"time": (t * u.d).to(u.h), "flux": flux, "flux_err": [100.0] * 4 * u.uJy})
    path = tmp_path / "star.ecsv"
    table.write(path)
    data = TimeSeriesData.from_text(path)
    np.testing.assert_allclose(data.time, t)
    np.testing.assert_allclose(data.flux_err, 0.1)
    assert data.unit == "mJy"
    table["time"] = Time(2458000.0 + t, format="jd", scale="tdb")
    table.write(path, overwrite=True)
    data = TimeSeriesData.from_text(path)
    np.testing.assert_allclose(data.time + data.reference, 2458000.0 + t)
    table["mag"] = [12000.0, 12100.0, 12000.0, 12000.0] * u.Unit("mmag")
    table.write(path, overwrite=True)
    np.testing.assert_allclose(TimeSeriesData.from_text(path, "mag").flux[1], 10.0**-0.04)
    table["flux_err"] = [0.1] * 4 * u.m
    table.write(path, overwrite=True)
    with pytest.raises(ValueError, match=r"column flux_err is in m.*mJy"):
        TimeSeriesData.from_text(path)


@pytest.mark.parametrize("name", ["err", "sigma", "flux_unc", "e_flux", "uncertainty"])
def test_errors_by_other_names(tmp_path, name):
    path = tmp_path / "star.txt"
    path.write_text(f"time flux {name}\n1.0 1.01 0.003\n2.0 0.99 0.004\n3.0 1.0 0.005\n")
    np.testing.assert_allclose(TimeSeriesData.from_text(path).flux_err, [0.003, 0.004, 0.005])


@pytest.mark.parametrize(("name", "zero"), [("BTJD", 2457000.0), ("BKJD", 2454833.0)])
def test_times_of_tess_and_kepler_in_text(tmp_path, name, zero):
    path = tmp_path / "star.csv"
    path.write_text(f"{name},flux,error\n1.0,1.01,0.003\n2.0,0.99,0.004\n")
    data = TimeSeriesData.from_text(path)
    assert data.reference == zero
    np.testing.assert_allclose(data.time, [1.0, 2.0])


def test_flags_in_letters_and_flags_that_are_not_used(tmp_path):
    path = tmp_path / "star.csv"
    rows = "1.0,1.0,0.1,G,1\n2.0,1.1,0.1,B,0\n3.0,1.2,0.2,G,0\n"
    path.write_text("jd,flux,flux error,quality,my_flag\n" + rows)
    data = TimeSeriesData.from_text(path)
    np.testing.assert_allclose(data.flux, [1.0, 1.2])
    np.testing.assert_allclose(data.flux_err, [0.1, 0.2])
    assert data.history[0] == "Read flux from star.csv; my_flag not used."


def test_a_text_that_is_no_table_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "star.txt"
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"star.txt is empty\."):
        TimeSeriesData.from_text(path)
    path.write_text("1.0 1.01 0.003\n2.0 0.99 0.004\n")
    with pytest.raises(ValueError, match=r"no table with the 2 columns time, flux that \S+ can"):
        TimeSeriesData.from_text(path, columns=("time", "flux"))


def with_units(path, columns, **units):
    """A table of no known producer, with units of its columns."""
    made = [
        fits.Column(name, "D", unit=units.get(name), array=values)
        for name, values in columns.items()
    ]
    table = fits.BinTableHDU.from_columns(made, name="LIGHTCURVE")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


COLUMNS = {"TIME": TIME, "FLUX": FLUX, "FLUX_ERR": np.full(N, 1e-3)}


@pytest.mark.parametrize(
    ("columns", "units"),
    [
        ({"TIME": 24.0 * TIME}, {"TIME": "h"}),
        ({"TIME": 86400.0 * TIME}, {"TIME": "s"}),
        ({"TIME": TIME}, {"TIME": "BJD - 2457000, days"}),
        ({"TIME": TIME}, {"TIME": "D", "FLUX_ERR": "electron / s"}),
        ({"FLUX": 1e3 * FLUX}, {"FLUX": "mJy", "FLUX_ERR": "Jy"}),
        ({"FLUX": 10.0 - 2.5 * np.log10(FLUX), "FLUX_ERR": 2.5 / np.log(10) * 1e-3 / FLUX},
         {"FLUX": "mag(AB)", "FLUX_ERR": "mag"}),
    ],
)  # fmt: skip
def test_units_of_a_table_are_converted(tmp_path, columns, units):
    data = TimeSeriesData.from_fits(with_units(tmp_path / "a.fits", COLUMNS | columns, **units))
    np.testing.assert_allclose(data.time, TIME, rtol=1e-12)
    median = np.median(data.flux)
    np.testing.assert_allclose(data.flux / median, FLUX / np.median(FLUX), rtol=1e-9)
    np.testing.assert_allclose(data.flux_err / median, 1e-3 / np.median(FLUX), rtol=1e-9)


@pytest.mark.parametrize(("name", "unit"), [("TIME", "m"), ("FLUX_ERR", "d")])
def test_units_of_a_table_that_do_not_fit(tmp_path, name, unit):
    units = {"FLUX": "Jy", name: unit}
    path = with_units(tmp_path / "a.fits", COLUMNS, **units)
    with pytest.raises(ValueError, match=f"a.fits: the column {name} is in {unit}, which is not"):
        TimeSeriesData.from_fits(path)
