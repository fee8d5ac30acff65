"""Exposures of JWST: what the files say, the detector's own frame, and what is refused."""

import os
import pathlib

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.wcs import WCS

import grater
from factories import make_disk
from grater import Exposure

from .conftest import render

SHAPE = 11, 13
RNG = np.random.default_rng(4)
IMAGES = RNG.normal(size=(3, *SHAPE)) + 2.0
ERRORS = RNG.uniform(0.5, 1.5, (3, *SHAPE))
FLAGS = np.zeros((3, *SHAPE), np.uint32)
FLAGS[1, 4, 5] = 5  # bits 1 and 4
FLAGS[:, 2, 2] = 1
FLAGS[0, 6, 6] = 4
IMAGES[2, 7, 8] = np.nan
ERRORS[0, 8, 3] = 0.0
MATRIX = np.array([[-7.6775448, 15.683427], [15.423721, 7.7148932]]) * 1e-6
HEADER = {
    "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRPIX1": 7.0, "CRPIX2": 6.0,
    "CRVAL1": 311.29, "CRVAL2": -31.34, "BUNIT": "MJy/sr", "PIXAR_SR": 9.2e-14, "PA_APER": 63.81,
    **{f"CD{i + 1}_{j + 1}": MATRIX[i, j] for i in (0, 1) for j in (0, 1)},
}  # fmt: skip

PRIMARY = {
    "TELESCOP": "JWST", "EXP_TYPE": "NRC_CORON", "CORONMSK": "MASKA335R", "TARGPROP": "AU-MIC"
}  # fmt: skip


def write(path, images=IMAGES, errors=ERRORS, flags=FLAGS, primary=None, **header):
    """A file as the pipeline writes them; header entries of None are left out."""
    first = fits.PrimaryHDU()
    first.header.update({k: v for k, v in {**PRIMARY, **(primary or {})}.items() if v is not None})
    hdus = [first]
    for name, data in (("SCI", images), ("ERR", errors), ("DQ", flags)):
        if data is not None:
            hdus.append(fits.ImageHDU(data, name=name))
    cards = {key: value for key, value in {**HEADER, **header}.items() if value is not None}
    hdus[1].header.update(cards)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_integrations_are_averaged(tmp_path):
    exposure = Exposure.from_jwst(write(tmp_path / "a_calints.fits"))
    assert exposure.image[0, 0] == pytest.approx(IMAGES[:, 0, 0].mean())
    assert exposure.error[0, 0] == pytest.approx(np.sqrt(np.sum(ERRORS[:, 0, 0] ** 2)) / 3.0)
    # each of those in which the pixel can be used
    for place, left in (((4, 5), [0, 2]), ((7, 8), [0, 1]), ((8, 3), [1, 2]), ((6, 6), [0, 1, 2])):
        assert exposure.image[place] == pytest.approx(IMAGES[left, *place].mean())
        error = np.sqrt(np.sum(ERRORS[left, *place] ** 2)) / len(left)
        assert exposure.error[place] == pytest.approx(error)
    assert not exposure.mask[2, 2]
    assert np.isnan(exposure.image[2, 2])
    assert exposure.mask.sum() == exposure.mask.size - 1
    strict = Exposure.from_jwst(tmp_path / "a_calints.fits", dq_bits=5)
    assert strict.image[6, 6] == pytest.approx(IMAGES[1:, 6, 6].mean())


def test_one_image_and_one_without_flags(tmp_path):
    path = write(tmp_path / "a.fits", IMAGES[0], ERRORS[0] + 1.0, None)
    exposure = Exposure.from_jwst(path)
    np.testing.assert_array_equal(exposure.image, IMAGES[0])
    np.testing.assert_array_equal(exposure.error, ERRORS[0] + 1.0)
    assert (exposure.unit, exposure.name, exposure.pixel_area) == ("MJy/sr", "AU-MIC", 9.2e-14)


def test_directions_are_those_of_the_header(tmp_path):
    """West and North of each pixel, by astropy, though its pixels are neither squares nor even."""
    exposure = Exposure.from_jwst(write(tmp_path / "a.fits"))
    assert exposure.center == (6.0, 5.0)
    assert exposure.roll == pytest.approx(63.81, abs=0.01)
    assert np.linalg.det(exposure.distortion) == pytest.approx(1.0)
    wcs = WCS({k: v for k, v in HEADER.items() if k.startswith(("C", "R"))}, fix=False)
    row, column = np.indices(SHAPE)
    x, y = wcs.wcs_pix2world(np.stack([column.ravel(), row.ravel()], 1), 0).T
    west = -(x - HEADER["CRVAL1"]) * np.cos(np.deg2rad(HEADER["CRVAL2"])) * 3600.0
    north = (y - HEADER["CRVAL2"]) * 3600.0
    found = exposure.view(10.0).sky_coordinates()
    for offset, expected in zip(found[:2], (west, north), strict=True):
        offset = np.where(found[2], 0.0, offset / 10.0)
        expected = np.where(found[2], 0.0, expected.reshape(SHAPE))
        np.testing.assert_allclose(offset, expected, atol=1e-5)


def test_mirrored_detectors(tmp_path):
    mirrored = MATRIX * [[-1.0, 1.0], [-1.0, 1.0]]
    cards = {f"CD{i + 1}_1": mirrored[i, 0] for i in (0, 1)}
    one = Exposure.from_jwst(write(tmp_path / "a.fits"))
    two = Exposure.from_jwst(write(tmp_path / "b.fits", **cards))
    assert (one.parity, two.parity) == (1, -1)
    for a, b in zip(
        one.view(10.0).sky_coordinates(), two.view(10.0).sky_coordinates(), strict=True
    ):
        np.testing.assert_allclose(a, np.asarray(b)[:, ::-1], atol=1e-12)


def test_pixels_that_are_no_squares_show_a_stretched_disk():
    """Twice as wide as high: as an image of every second column."""
    wide = grater.View(grater.Grid((17, 9), 0.1, 60.0, distortion=[[2.0, 0.0], [0.0, 1.0]]))
    fine = grater.View(grater.Grid((17, 17), 0.1, 60.0))
    disk = make_disk()
    one, two = (render(grater.Scene(disk, view=view)) for view in (wide, fine))
    np.testing.assert_allclose(one, np.asarray(two)[:, ::2], rtol=1e-9, atol=1e-20)


def test_a_crop_has_everything(tmp_path):
    path = write(tmp_path / "a.fits")
    transmission = np.linspace(0.0, 1.0, 143).reshape(SHAPE)
    whole = Exposure.from_jwst(path, transmission=transmission, center=(7, 5))
    cut = whole.crop(5)
    window = slice(3, 8), slice(5, 10)
    np.testing.assert_array_equal(cut.image, whole.image[window])
    np.testing.assert_array_equal(cut.transmission, transmission[window])
    assert cut.center == (2.0, 2.0)
    mask = np.ones((5, 5), bool)
    mask[0] = False
    light = grater.Starlight(constant=True)
    data = cut.observation(9.7, mask=mask, starlight=light, view="roll")
    assert data.n_used == 20
    assert (data.unit, data.view, data.starlight.names) == ("MJy/sr", "roll", ("constant",))
    other = cut.observation(9.7, mask=mask, unit="Jy / arcsec2")
    for name in ("image", "error"):
        ratio = np.nanmedian(getattr(other, name) / getattr(data, name))
        assert ratio == pytest.approx((1.0 * units.MJy / units.sr).to_value("Jy / arcsec2"))
    assert float(data.pixel_scale) == pytest.approx(0.06247, rel=1e-3)
    np.testing.assert_array_equal(cut.observation(9.7, error=2.0).error, 2.0)
    view = cut.view(9.7, psf=grater.GaussianPSF(2.0))
    np.testing.assert_allclose(view.channel.transmission, transmission[window])
    np.testing.assert_allclose(view.grid.center, (2.0, 2.0))
    with pytest.raises(ValueError, match="crop = 13 does not fit into the image"):
        whole.crop(13)


def test_the_transmission_is_read_from_a_file(tmp_path):
    path, mask = write(tmp_path / "a.fits"), tmp_path / "a_psfmask.fits"
    half = np.full(SHAPE, 0.5)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(half, name="SCI")]).writeto(mask)
    np.testing.assert_array_equal(Exposure.from_jwst(path, transmission=mask).transmission, half)
    with pytest.raises(ValueError, match=r"transmission has shape \(2, 2\)"):
        Exposure.from_jwst(path, transmission=np.ones((2, 2)))


OTHER_MASKS = [
    ((FLAGS[0] == 0).astype(int), TypeError, "mask holds int64, not booleans"),
    (np.full(SHAPE, "yes"), TypeError, "mask holds strings, not booleans"),
    (np.ones(SHAPE[1], bool), ValueError, r"mask has shape \(13,\) but must have shape \(11, 13\)"),
    (True, ValueError, r"mask has shape \(\) but"),
]


@pytest.mark.parametrize(("mask", "kind", "message"), OTHER_MASKS)
def test_masks_of_another_kind_are_refused(tmp_path, mask, kind, message):
    exposure = Exposure.from_jwst(write(tmp_path / "a.fits"))
    with pytest.raises(kind, match=rf"Exposure\.observation: {message}"):
        exposure.observation(9.7, mask=mask)


def test_what_is_masked_in_a_mask_is_left_out(tmp_path):
    exposure = Exposure.from_jwst(write(tmp_path / "a.fits"))
    mask = np.ma.masked_array(np.ones(SHAPE, bool), np.indices(SHAPE)[0] < 4)
    data = exposure.observation(9.7, mask=mask)
    np.testing.assert_array_equal(data.mask, exposure.mask & ~mask.mask)
    assert exposure.observation(9.7, mask=None).n_used == exposure.mask.sum()


def test_an_exposure_by_hand():
    """Lists, numbers and quantities are the same as arrays."""
    pixels = np.arange(25.0).reshape(5, 5)
    maps = dict(transmission=np.ones((5, 5)).tolist(), distortion=np.eye(2).tolist())
    one = Exposure(pixels.tolist(), 2, [[True] * 5] * 5, 0.1, [2, 2], unit=units.mJy, **maps)
    two = Exposure(pixels * units.Jy, 3.0 * units.mJy, np.eye(5) > 0, 0.1 * units.arcsec, (2, 2))
    assert (one.unit, two.unit) == ("mJy", "Jy")
    np.testing.assert_array_equal(two.image, pixels)
    for exposure, error, used in ((one, 2.0, 9), (two, 0.003, 3)):
        cut = exposure.crop(3)
        np.testing.assert_allclose(cut.error, np.full((3, 3), error))
        assert cut.observation(10.0).n_used == used
        assert cut.view(10.0).grid.shape == (3, 3)


def test_channels_have_the_transmission_themselves():
    pixels = np.ones((5, 5))
    open_ = Exposure(pixels, 1.0, pixels > 0, 0.1, (2, 2))
    channels = {"total": grater.Channel(), "other": grater.Channel(transmission=pixels)}
    assert open_.view(10.0, channel=channels).channels.keys() == channels.keys()
    behind = Exposure(pixels, 1.0, pixels > 0, 0.1, (2, 2), transmission=0.5 * pixels)
    for channel in (channels, channels["total"]):
        with pytest.raises(ValueError, match=r"give it to each Channel, Channel\(transmission="):
            behind.view(10.0, channel=channel)
    np.testing.assert_array_equal(behind.view(10.0).channel.transmission, 0.5)
    one = behind.view(10.0, channel=grater.Channel(transmission=behind.transmission))
    np.testing.assert_array_equal(one.channel.transmission, 0.5)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"image": np.ones(5)}, ValueError, r"image has shape \(5,\); a 2-d image"),
        ({"error": np.ones(5)}, ValueError, r"error has shape \(5,\), the image \(5, 5\)"),
        ({"error": 1.0 * units.Jy}, TypeError, "error is in Jy, but the image has no unit"),
        ({"mask": np.ones((5, 5))}, TypeError, "mask holds float64, not booleans"),
        ({"error": np.zeros((5, 5))}, ValueError, "error is zero or negative in 25 of the 25"),
        ({"mask": np.zeros((5, 5), bool)}, ValueError, "mask leaves no pixel to use"),
        ({"mask": [True]}, ValueError, r"mask has shape \(1,\)"),
        ({"transmission": 1.0}, ValueError, r"transmission has shape \(\)"),
        ({"distortion": np.eye(3)}, ValueError, r"distortion has shape \(3, 3\)"),
        ({"center": (1.0, np.inf)}, ValueError, "center = .* is not finite"),
        ({"pixel_scale": "small"}, TypeError, "pixel_scale holds strings"),
        ({"parity": 0}, ValueError, "parity = 0 is unknown"),
        ({"unit": 3}, TypeError, "unit is a int"),
    ],
)
def test_parts_that_do_not_fit_are_refused(how, kind, message):
    pixels = np.ones((5, 5))
    parts = dict(image=pixels, error=1.0, mask=pixels > 0, pixel_scale=0.1, center=(2, 2))
    with pytest.raises(kind, match=rf"Exposure\.{message}"):
        Exposure(**{**parts, **how})


RESAMPLED = {"S_RESAMP": "COMPLETE"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"errors": None}, "has no HDU 'ERR' with an image"),
        ({"errors": ERRORS[0]}, r"HDU 'ERR' of .* has shape \(11, 13\), HDU 'SCI' \(3, 11, 13\)"),
        ({"flags": FLAGS[0]}, r"HDU 'DQ' of .* has shape \(11, 13\)"),
        ({"images": np.ones(5), "errors": np.ones(5), "flags": None}, r"shape \(5,\)"),
        ({"errors": 0.0 * ERRORS}, "has no pixel that is finite, has an error > 0"),
        ({"primary": RESAMPLED}, r"where the star is \(it is resampled\): give center="),
        ({"primary": {"EXP_TYPE": "NRC_IMAGE"}}, "no coronagraph, with EXP_TYPE NRC_IMAGE.: give"),
        (
            {"primary": {"EXP_TYPE": None, "CORONMSK": "NONE"}},
            "no coronagraph, with EXP_TYPE not given",
        ),
        ({"CRPIX1": 15.0}, r"CRPIX is \(14, 5\) from 0, outside of 11 x 13 pixels\): give center="),
        ({"primary": {"TELESCOP": "HST"}}, "has TELESCOP HST, not JWST"),
        ({"primary": {"TELESCOP": None}}, "has TELESCOP not given, not JWST"),
        ({"CRPIX1": None}, "has no CRPIX1 and CRPIX2"),
        ({f"CD{i}_{j}": None for i in (1, 2) for j in (1, 2)}, "no CD or PC matrix"),
        ({"PA_APER": 73.0}, "By PA_APER of .* 73 deg, by its matrix at 63.81 deg"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "axes 'GLON' and 'GLAT'"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, how, message):
    path = write(tmp_path / "a.fits", **how)
    with pytest.raises(ValueError, match=message):
        Exposure.from_jwst(path)


def test_files_that_are_not_there_and_units_that_disagree(tmp_path):
    with pytest.raises(FileNotFoundError):
        Exposure.from_jwst(tmp_path / "none.fits")
    path = write(tmp_path / "a.fits")
    fits.setval(path, "BUNIT", value="DN/s", ext=2)
    with pytest.raises(ValueError, match="SCI is in 'MJy/sr', ERR in 'DN/s'"):
        Exposure.from_jwst(path)
    with pytest.raises(ValueError, match=r"center = \(nan, 1\) is not finite"):
        Exposure.from_jwst(write(tmp_path / "b.fits"), center=(np.nan, 1))


@pytest.mark.parametrize(
    "how",
    [
        {"primary": RESAMPLED},
        {"primary": {"EXP_TYPE": "NRC_IMAGE", "CORONMSK": None}},
        {"CRPIX1": 15.0},
    ],
)
def test_the_star_can_be_given(tmp_path, how):
    given = Exposure.from_jwst(write(tmp_path / "c.fits", **how), center=(5.5, 4.5))
    assert given.center == (5.5, 4.5)


@pytest.mark.parametrize(
    "primary",
    [{"EXP_TYPE": "MIR_LYOT", "CORONMSK": None}, {"EXP_TYPE": "MIR_4QPM"}, {"EXP_TYPE": None}],
)
def test_the_star_behind_a_coronagraph(tmp_path, primary):
    assert Exposure.from_jwst(write(tmp_path / "a.fits", primary=primary)).center == (6.0, 5.0)


@pytest.mark.parametrize(
    "matrix",
    [np.ones((2, 2)), np.eye(3), [[1.0, 0.0], [0.0, np.nan]], [[-1.0, 0.0], [0.0, 1.0]]],
)
def test_matrices_without_an_inverse(matrix):
    with pytest.raises(ValueError, match="distortion"):
        grater.Grid((5, 5), 0.1, 60.0, distortion=matrix)


# --- real files ---


needs_data = pytest.mark.skipif(
    "GRATER_DATA" not in os.environ, reason="GRATER_DATA names no data folder"
)


@needs_data
def test_references_of_au_mic():
    """As in the quickstart: where one has no pixel the observation leaves it out."""
    folder = pathlib.Path(os.environ["GRATER_DATA"], "jwst_aumic")
    files = sorted(folder.glob("jw01184*_calints.fits.gz"))
    assert len(files) == 8
    exposure, references = Exposure.from_jwst(files[0]).crop(101), files[2:]
    references = np.stack([Exposure.from_jwst(file).crop(101).image for file in references])
    light = grater.Starlight(references, constant=True)
    with pytest.raises(ValueError, match=r"reference \d is not finite in .* pixels in use"):
        exposure.observation(9.71, starlight=light)
    mask = np.isfinite(references).all(axis=0)
    assert not mask.all()
    data = exposure.observation(9.71, mask=mask, starlight=light)
    assert data.n_used == np.sum(mask & exposure.mask)


@needs_data
def test_au_mic():
    folder = pathlib.Path(os.environ["GRATER_DATA"], "jwst_aumic")
    name = "jw01184002001_03106_00001_nrcalong_calints"
    mask = folder / f"{name}_psfmask.fits.gz"
    exposure = Exposure.from_jwst(folder / f"{name}.fits.gz", transmission=mask)
    assert exposure.center == (150.0, 174.0)
    assert exposure.roll == pytest.approx(73.82, abs=0.01)
    assert (exposure.parity, exposure.unit, exposure.name) == (1, "MJy/sr", "V-AU-MIC")
    assert exposure.mask.sum() == 320**2 - 639
    assert exposure.pixel_scale**2 == pytest.approx(exposure.pixel_area * 206264.806**2, rel=0.01)
    assert exposure.transmission[174, 150] < 1e-3
    assert exposure.transmission[174, 220] == pytest.approx(1.0, abs=0.01)
