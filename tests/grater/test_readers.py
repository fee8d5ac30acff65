"""Files and arrays of all kinds: what comes in is used rightly, or refused with the reason."""

import functools

import jax
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from astropy.utils.masked import Masked
from astropy.wcs import WCS

import grater
from grater import Observation, noise_map
from grater.io.headers import sky_axes

SETUP = {"pixel_scale": 0.014166, "distance": 72.0}
ARCSEC = 1 / 3600
SCALE = 0.014166 * ARCSEC
SKY = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
RNG = np.random.default_rng(8)
IMAGE = RNG.normal(size=(21, 21))
BAD = np.zeros((21, 21), bool)
BAD[10, 13] = True
SPOILED = np.where(BAD, 1e5, IMAGE)


def turned(angle, parity=1, scale=SCALE):
    """The matrix of an image whose y axis points to a position angle."""
    sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    return scale * np.array([[-parity * cosine, sine], [parity * sine, cosine]])


def cards(kind, matrix, **others):
    numbers = {f"{kind}{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)}
    return {**numbers, **others}


def write(path, *images, **header):
    hdus = [fits.PrimaryHDU()]
    for name, data in images:
        hdus.append(fits.ImageHDU(data, name=name))
    hdus[1].header.update(header)
    fits.HDUList(hdus).writeto(path)
    return path


# headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (cards("CD", turned(30.0)), (0.014166, 30.0, 1)),
        (cards("CD", turned(-140.0, -1), **SKY), (0.014166, -140.0, -1)),
        ({"CD1_2": -SCALE, "CD2_1": -SCALE, **SKY}, (0.014166, -90.0, 1)),
        ({"CDELT1": -SCALE, "CDELT2": SCALE, **SKY}, (0.014166, 0.0, 1)),
        ({"CDELT1": SCALE, "CDELT2": SCALE, "PC1_1": 1.0}, (0.014166, 0.0, -1)),
        ({"CDELT1": -0.05, "CDELT2": 0.05, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}, (0.05, 0, 1)),
        ({"CDELT1": -SCALE, "CDELT2": SCALE, "CROTA2": 20.0, **SKY}, (0.014166, -20.0, 1)),
        (cards("PC", turned(30.0, scale=1.0), CDELT1=SCALE, CDELT2=SCALE), (0.014166, 30.0, 1)),
        # what others leave beside: CDELT beside CD, an axis of Stokes parameters
        (cards("CD", turned(5.0), CDELT1=1.0, CD3_3=1.0, PC3_3=1.0), (0.014166, 5.0, 1)),
        # declination first
        (
            cards("CD", turned(30.0)[::-1], CTYPE1="DEC--TAN", CTYPE2="RA---TAN"),
            (0.014166, 30.0, 1),
        ),
    ],
)
def test_headers_of_all_kinds(header, expected):
    scale, roll, parity, skew, distortion = sky_axes(fits.Header(header))
    np.testing.assert_allclose((scale, roll, parity), expected, rtol=1e-9, atol=1e-9)
    assert skew < 1e-9
    np.testing.assert_allclose(distortion, np.eye(2), atol=1e-9)


@pytest.mark.parametrize("header", [{}, SKY, {"CTYPE1": "LINEAR", "CDELT1": 2.0}, {"CDELT1": 1.0}])
def test_headers_without_a_place_on_the_sky(header):
    assert sky_axes(fits.Header(header)) is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"CDELT1": 1.0, "CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "axes 'GLON' and 'GLAT'"),
        ({"CD1_1": 1.0}, "no usable matrix: .* singular"),
    ],
)
def test_headers_that_cannot_be_used(header, message):
    with pytest.raises(ValueError, match=message):
        sky_axes(fits.Header(header))


@pytest.mark.parametrize(("angle", "parity"), [(30.0, 1), (-110.0, -1)])
def test_a_view_of_the_header_is_where_astropy_has_it(angle, parity):
    """The grid of a header's roll and parity sees the sky as the file does."""
    header = cards("CD", turned(angle, parity), CRPIX1=4.0, CRPIX2=3.0, **SKY)
    header |= {"CRVAL1": 80.0, "CRVAL2": 0.0}
    scale, roll, parity, *_ = sky_axes(fits.Header(header))
    grid = grater.Grid((6, 7), scale, 72.0, center=(3.0, 2.0), roll=roll, parity=parity)
    x, y, inside = grater.View(grid).sky_coordinates()
    column, row = np.meshgrid(np.arange(7), np.arange(6))
    ra, dec = WCS(fits.Header(header)).pixel_to_world_values(column, row)
    seen = ~np.asarray(inside)
    west, north = -(ra - 80.0) * 3600 * 72.0, dec * 3600 * 72.0
    np.testing.assert_allclose(np.asarray(x)[seen], west[seen], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.asarray(y)[seen], north[seen], rtol=1e-6, atol=1e-6)


TURNED = [
    (cards("CD", turned(30.0)), (30.0, 1)),
    (cards("PC", turned(30.0, scale=1.0), CDELT1=SCALE, CDELT2=SCALE, **SKY), (30.0, 1)),
    ({"CD1_2": -SCALE, "CD2_1": -SCALE, **SKY}, (-90.0, 1)),
    ({"CDELT1": SCALE, "CDELT2": SCALE, "PC1_1": 1.0, **SKY}, (0.0, -1)),
]


def readers(tmp_path, header):
    """What reads the same file, of its own header and of others."""
    cube = np.stack([IMAGE] * 4)
    path = write(tmp_path / "a.fits", ("SCI", cube), STKESTYP="RADIAL", PSFCENTX=10, **header)
    fits.setval(path, "PSFCENTY", value=10, ext=1)
    return (
        functools.partial(Observation.from_fits, path, image_plane=1, error=1.0, **SETUP),
        functools.partial(Observation.from_gpi, path, 72.0, inner=2.0, outer=np.inf),
    )


@pytest.mark.parametrize(("header", "turn"), TURNED)
def test_readers_follow_a_turned_header_and_say_so(tmp_path, header, turn):
    for read in readers(tmp_path, header):
        with pytest.warns(UserWarning, match="image is not rotated.* give roll=0 and parity=1"):
            found = read()
        np.testing.assert_array_equal(found.image, IMAGE)
        for on_sky in (found, found.grid):
            assert (float(on_sky.roll), on_sky.parity) == (pytest.approx(turn[0]), turn[1])
            assert on_sky.distortion is None
        assert ("mirrored" in repr(found)) == (turn[1] < 0)
        # the image was rotated since: nothing to say
        found = read(roll=0, parity=1)
        assert (float(found.roll), found.parity) == (0.0, 1)
        with pytest.warns(UserWarning, match=rf"give roll={turn[0]:g} and parity={turn[1]}\."):
            found = read(check_header=False)
        assert (float(found.roll), found.parity) == (0.0, 1)
        found = read(check_header=False, roll=7 * u.deg, parity=-1)
        assert (float(found.roll), found.parity) == (pytest.approx(7.0), -1)


@pytest.mark.parametrize(
    ("given", "advice", "said"),
    [
        ({"roll": 30.0}, "mirrored", "parity=1"),
        ({"parity": 1}, "position angle 30 deg", "roll=0"),
        ({"roll": 30.0, "check_header": False}, "mirrored", "parity=-1"),
        ({"parity": 1, "check_header": False}, "position angle 30 deg", "roll=30"),
    ],
)
def test_half_of_an_orientation_is_not_all(tmp_path, given, advice, said):
    for read in readers(tmp_path, cards("CD", turned(30.0, -1))):
        with pytest.warns(UserWarning, match=rf"{advice}.* give {said}\."):
            read(**given)


def test_half_of_an_orientation_that_is_usual(tmp_path):
    for read in readers(tmp_path, cards("CD", turned(30.0))):
        for check in (True, False):
            assert read(roll=3.0, check_header=check).parity == 1


def test_a_star_outside_of_the_image(tmp_path):
    path = write(tmp_path / "c.fits", ("SCI", IMAGE))
    with pytest.warns(UserWarning, match=r"\(1000.0, -50.0\), outside of the 21 x 21 pixels"):
        Observation.from_fits(path, error=1.0, center=(1000, -50), **SETUP)
    said = write(tmp_path / "b.fits", ("SCI", IMAGE), PSFCENTX=100.0, PSFCENTY=3.0)
    with pytest.raises(ValueError, match=r"\(100.0, 3.0\), outside of its 21 x 21 pixels: give ce"):
        Observation.from_fits(said, error=1.0, **SETUP)
    with pytest.warns(UserWarning, match="unless the image is a part without the star"):
        read = Observation.from_fits(said, error=1.0, center=(100, 3), **SETUP)
    assert read.center.tolist() == [100.0, 3.0]
    other = {"center": (10, 10), "check_header": False}
    assert Observation.from_fits(said, error=1.0, **other, **SETUP).center.tolist() == [10.0, 10.0]
    gpi = readers(tmp_path, {})[1]
    with pytest.raises(ValueError, match=r"star is at \(10, 40\), outside of the 21 x 21 pixels"):
        gpi(center=(10, 40))


def test_a_pixel_scale_of_gpi_is_compared_too(tmp_path):
    gpi = readers(tmp_path, {"CDELT1": -SCALE, "CDELT2": SCALE, **SKY})[1]
    with pytest.raises(ValueError, match=r"0.01417 arcsec, not 0.02: .*check_header=False"):
        gpi(pixel_scale=0.02)
    for value, check in ((0.0142, True), (0.02, False)):
        assert float(gpi(pixel_scale=value, check_header=check).pixel_scale) == value


def test_readers_compare_the_pixel_scale_with_the_header(tmp_path):
    message = "pixels of 0.02833 arcsec, not 0.014166.*check_header=False"
    for read in readers(tmp_path, {"CDELT1": -2 * SCALE, "CDELT2": 2 * SCALE, **SKY}):
        with pytest.raises(ValueError, match=message):
            read()
        np.testing.assert_array_equal(read(check_header=False).pixel_scale, 0.014166)


def test_pixels_that_are_no_squares(tmp_path):
    for read in readers(tmp_path, {"CDELT1": -1.2 * SCALE, "CDELT2": SCALE / 1.2, **SKY}):
        found = read()
        np.testing.assert_allclose(found.distortion, np.diag([1.2, 1 / 1.2]), rtol=1e-9)
        np.testing.assert_allclose(found.grid.distortion, found.distortion)


@pytest.mark.parametrize("change", [{"roll": "north"}, {"parity": 2}, {"roll": [1.0, 2.0]}])
def test_turns_that_are_none(tmp_path, change):
    for read in readers(tmp_path, {}):
        with pytest.raises((TypeError, ValueError), match=next(iter(change))):
            read(**change)


def test_the_header_says_scale_and_star(tmp_path):
    header = cards("CD", turned(0.0, scale=0.05 * ARCSEC), PSFCENTX=9.5, PSFCENTY=11.25)
    path = write(tmp_path / "a.fits", ("SCI", IMAGE), **header)
    read = Observation.from_fits(path, distance=72.0, error=1.0)
    np.testing.assert_allclose(read.center, [9.5, 11.25])
    np.testing.assert_allclose(read.pixel_scale, 0.05)
    with pytest.raises(ValueError, match=r"star is at \(9.5, 11.25\), not at center = \(10.*False"):
        Observation.from_fits(path, distance=72.0, error=1.0, center=(10, 10))
    read = Observation.from_fits(
        path, distance=72.0, error=1.0, center=(10, 10) * u.pix, check_header=False, pixel_scale=1.0
    )
    np.testing.assert_allclose(read.center, [10, 10])
    silent = write(tmp_path / "b.fits", ("SCI", IMAGE))
    with pytest.raises(ValueError, match=r"No pixel scale is known for .*give pixel_scale="):
        Observation.from_fits(silent, distance=72.0, error=1.0)


def test_a_guessed_star_is_said(tmp_path):
    even = write(tmp_path / "even.fits", ("SCI", IMAGE[1:, 1:]))
    with pytest.warns(UserWarning, match=r"pixel \(10, 10\) from 0, but the middle of 20 x 20"):
        Observation.from_fits(even, error=1.0, **SETUP)
    elsewhere = write(tmp_path / "off.fits", ("SCI", IMAGE), CRPIX1=9.0, CRPIX2=12.5)
    with pytest.warns(UserWarning, match=r"CRPIX is \(8, 11.5\) from 0\. Give center="):
        Observation.from_fits(elsewhere, error=1.0, **SETUP)
    for path in (even, elsewhere):
        assert Observation.from_fits(path, error=1.0, center=(9, 9), **SETUP).center[0] == 9
    agreeing = write(tmp_path / "on.fits", ("SCI", IMAGE[1:, 1:]), CRPIX1=11.0, CRPIX2=11.0)
    np.testing.assert_array_equal(Observation.from_fits(agreeing, error=1.0, **SETUP).center, 10)


def test_stokes_type_in_the_primary_header(tmp_path):
    path = write(tmp_path / "a.fits", ("SCI", np.stack([IMAGE] * 4)), PSFCENTX=10, PSFCENTY=10)
    fits.setval(path, "STKESTYP", value="RADIAL", ext=0)
    assert Observation.from_gpi(path, 72.0, inner=2, outer=np.inf).n_used > 400


# planes, HDUs, flags, blanks


def test_axes_of_length_one_do_not_count(tmp_path):
    one = write(tmp_path / "one.fits", ("SCI", IMAGE[None, None]))
    for plane in (None, 0):
        read = Observation.from_fits(one, error=1.0, image_plane=plane, **SETUP)
        np.testing.assert_array_equal(read.image, IMAGE)
    cube = np.arange(1.0, 9.0)[:, None, None] * IMAGE
    eight = write(tmp_path / "eight.fits", ("SCI", cube[None]))
    read = Observation.from_fits(eight, error=1.0, image_plane=3, **SETUP)
    np.testing.assert_array_equal(read.image, 4 * IMAGE)
    with pytest.raises(ValueError, match=r"\(1, 8, 21, 21\), .* 8 planes: .*image_plane="):
        Observation.from_fits(eight, error=1.0, **SETUP)
    with pytest.raises(ValueError, match="there is no plane 8"):
        Observation.from_fits(eight, error=1.0, image_plane=8, **SETUP)
    two = write(tmp_path / "two.fits", ("SCI", cube.reshape(2, 4, 21, 21)))
    read = Observation.from_fits(two, error=1.0, image_plane=(1, 2), **SETUP)
    np.testing.assert_array_equal(read.image, 7 * IMAGE)


def test_the_error_map_is_never_the_image(tmp_path):
    error = np.full((21, 21), 0.1)
    path = write(tmp_path / "a.fits", ("SCI", IMAGE), ("VAR", error**2), ("ERR", error))
    for arguments in ({"error": path}, {"error": str(path)}, {"error_hdu": "ERR"}):
        np.testing.assert_array_equal(Observation.from_fits(path, **arguments, **SETUP).error, 0.1)
    for hdu in ("SCI", 1):
        with pytest.raises(ValueError, match=r"'SCI' of .* is the image itself, not its error map"):
            Observation.from_fits(path, error_hdu=hdu, **SETUP)
    with pytest.raises(ValueError, match=r"'VAR' of .* does not hold standard deviations.*square"):
        Observation.from_fits(path, error_hdu="VAR", **SETUP)
    alone = write(tmp_path / "b.fits", ("SCI", IMAGE))
    with pytest.raises(ValueError, match="is the image itself"):
        Observation.from_fits(alone, error=alone, **SETUP)
    many = write(tmp_path / "c.fits", ("A", IMAGE), ("B", error))
    with pytest.raises(ValueError, match=r"several images, .* not said; .*error_hdu="):
        Observation.from_fits(alone, error=many, **SETUP)


def test_the_plane_of_the_image_is_that_of_its_errors(tmp_path):
    errors = np.arange(1.0, 4.0)[:, None, None] * np.ones((21, 21))
    path = write(tmp_path / "a.fits", ("SCI", errors * IMAGE), ("ERR", errors))
    read = functools.partial(Observation.from_fits, path, image_plane=1, **SETUP)
    np.testing.assert_array_equal(read().error, 2.0)
    np.testing.assert_array_equal(read(error_plane=2).error, 3.0)
    with pytest.raises(ValueError, match="is the image itself"):
        read(error_hdu="SCI")
    other = write(tmp_path / "b.fits", ("ERR", errors[:2]))
    with pytest.raises(ValueError, match=r"2 planes: .*error_plane="):
        read(error=other)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_files_that_cannot_be_read(tmp_path):
    whole = write(tmp_path / "whole.fits", ("SCI", RNG.normal(size=(2, 21, 21)))).read_bytes()
    path = tmp_path / "a.fits"
    readers = (
        functools.partial(Observation.from_fits, path, error=1.0, image_plane=0, **SETUP),
        functools.partial(Observation.from_gpi, path, 72.0),
        functools.partial(grater.Exposure.from_jwst, path),
        functools.partial(grater.read_psf_grid, path, (9, 9)),
    )
    for content, message in (
        (b"", "a.fits is empty"),
        (b"no image" * 999, "a.fits is no FITS file, or its header is cut off"),
        (whole[:1000], "a.fits is no FITS file, or its header is cut off"),
    ):
        path.write_bytes(content)
        for read in readers:
            with pytest.raises(ValueError, match=message):
                read()
    path.write_bytes(whole[:6000])
    for read in (readers[0], readers[3]):
        with pytest.raises(ValueError, match=r"HDU 'SCI' of .*a.fits cannot be read, .* cut off"):
            read()
    with pytest.raises(ValueError, match=r"HDU 'SCI' of .* cannot be read"):
        Observation.from_fits(write(tmp_path / "b.fits", ("SCI", IMAGE)), error=path, **SETUP)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(ValueError, match="no HDU with an image"):
        readers[0]()
    with pytest.raises(IsADirectoryError):
        Observation.from_fits(tmp_path, error=1.0, **SETUP)


def test_units_of_image_and_error_map_in_files(tmp_path):
    image = write(tmp_path / "a.fits", ("SCI", IMAGE), BUNIT="mJy")
    for unit, factor in (("Jy", 1000.0), ("mJy", 1.0)):
        error = write(tmp_path / f"{unit}.fits", ("ERR", np.ones((21, 21))), BUNIT=unit)
        read = Observation.from_fits(image, error=error, **SETUP)
        np.testing.assert_allclose(read.error, factor)
    np.testing.assert_allclose(Observation.from_fits(image, error=1 * u.Jy, **SETUP).error, 1000.0)
    errors = {"a file": error, "a Quantity": 1e-3 * np.ones((21, 21)) * u.Jy, "none": "annular"}
    before = Observation.from_fits(image, error="annular", **SETUP)
    for name, given in errors.items():
        data = Observation.from_fits(image, error=given, unit="Jy", **SETUP)
        assert data.unit == "Jy"
        np.testing.assert_allclose(data.image, 1e-3 * IMAGE, err_msg=name)
        if name == "none":
            np.testing.assert_allclose(data.error, 1e-3 * np.asarray(before.error))
        else:
            np.testing.assert_allclose(data.error, 1e-3)
    with pytest.raises(TypeError, match=r"error has no unit, .* converted from mJy to Jy"):
        Observation.from_fits(image, error=np.ones((21, 21)), unit="Jy", **SETUP)
    with pytest.raises(ValueError, match=r"in mJy by its header .* check_header=False takes"):
        Observation.from_fits(image, error="annular", unit="peaks of the star", **SETUP)
    as_is = Observation.from_fits(image, error=1.0, unit="Jy", check_header=False, **SETUP)
    np.testing.assert_allclose(as_is.image, IMAGE)
    counts = write(tmp_path / "c.fits", ("ERR", np.ones((21, 21))), BUNIT="ADU per coadd")
    with pytest.raises(ValueError, match="is in 'ADU per coadd', the image in 'mJy'"):
        Observation.from_fits(image, error=counts, **SETUP)


@pytest.mark.parametrize(
    ("primary", "bits", "excluded"),
    [({}, None, 2), ({"TELESCOP": "JWST"}, None, 1), ({}, 4, 1), ({}, 0, 0)],
)
def test_flags_exclude_pixels(tmp_path, primary, bits, excluded):
    flags = np.zeros((21, 21), np.int32)
    flags[10, 13], flags[4, 4] = 1, 4
    path = write(tmp_path / "a.fits", ("SCI", SPOILED), ("DQ", flags))
    for key, value in primary.items():
        fits.setval(path, key, value=value, ext=0)
    read = Observation.from_fits(path, error="annular", dq_bits=bits, **SETUP)
    assert read.n_used == 441 - excluded
    # what is flagged does not spoil the noise of its annulus
    flagged = flags != 0 if bits is None and not primary else (flags & (bits or 0)) != 0
    flagged |= BAD if primary else False
    expected = noise_map(SPOILED, mask=~flagged)
    np.testing.assert_allclose(read.error, expected, rtol=1e-12)


def test_many_zeros_are_said(tmp_path):
    y, x = np.indices((21, 21)) - 10
    blank = np.hypot(x, y) > 9
    path = write(tmp_path / "a.fits", ("SCI", np.where(blank, 0.0, IMAGE)))
    with pytest.warns(UserWarning, match=r"of the 441 pixels in use .* exactly 0.*mask="):
        Observation.from_fits(path, error=1.0, **SETUP)
    read = Observation.from_fits(path, error="annular", mask=~blank, **SETUP)
    np.testing.assert_allclose(read.error, noise_map(np.where(blank, np.nan, IMAGE)))
    counts = write(tmp_path / "b.fits", ("SCI", np.where(blank, 0, 7).astype(np.int16)))
    assert Observation.from_fits(counts, error=1.0, **SETUP).n_used == 441


# arrays with masks and units


@pytest.mark.parametrize(
    "image",
    [
        np.ma.array(SPOILED, mask=BAD),
        Masked(SPOILED, mask=BAD),
        Masked(SPOILED * u.mJy, mask=BAD),
        CCDData(SPOILED, mask=BAD, unit="mJy"),
    ],
)
def test_masked_pixels_spoil_no_noise(image):
    expected = noise_map(np.where(BAD, np.nan, SPOILED))
    found = noise_map(image)
    np.testing.assert_array_equal(getattr(found, "value", found), expected)
    np.testing.assert_array_equal(noise_map(SPOILED, mask=~BAD), expected)
    read = Observation(image, found, **SETUP)
    np.testing.assert_array_equal(read.used, ~BAD)
    np.testing.assert_array_equal(read.error, expected)


def test_noise_maps_keep_the_unit():
    noise = noise_map(IMAGE * u.mJy, center=(10, 10) * u.pix)
    np.testing.assert_array_equal(noise.value, noise_map(IMAGE))
    in_jansky = Observation(IMAGE * 1e-3 * u.Jy, noise, **SETUP)
    np.testing.assert_allclose(in_jansky.error, 1e-3 * noise.value)
    with pytest.raises(ValueError, match=r"noise_map: mask has shape \(3,\)"):
        noise_map(IMAGE, mask=np.ones(3, bool))
    with pytest.raises(ValueError, match=r"noise_map: center = \(nan, 2\) is not finite"):
        noise_map(IMAGE, center=(np.nan, 2))


def test_uncertainties_of_any_kind_are_standard_deviations():
    error = np.full((21, 21), 0.5)
    for uncertainty in (StdDevUncertainty(error), VarianceUncertainty(error**2)):
        data = CCDData(IMAGE, unit="mJy", uncertainty=uncertainty)
        np.testing.assert_allclose(Observation(data, None, **SETUP).error, 0.5)
        np.testing.assert_allclose(Observation(data, data.uncertainty, **SETUP).error, 0.5)


def test_units_of_image_and_error():
    for image, error, unit in (
        (IMAGE * u.mJy, 1e-4 * u.Jy, ""),
        (IMAGE, 1e-4 * u.Jy, "mJy"),
        (IMAGE * 1e-3 * u.Jy, 1e-4 * u.Jy, "mJy"),
        (IMAGE * u.mJy, 0.1, ""),
    ):
        read = Observation(image, error, unit=unit, **SETUP)
        np.testing.assert_allclose(read.image, IMAGE)
        np.testing.assert_allclose(read.error, 0.1)
        assert read.unit == "mJy"
        np.testing.assert_allclose(read.with_image(IMAGE * u.Jy).image, 1e3 * IMAGE)
    with pytest.raises(TypeError, match=r"error is in Jy, but the image has no unit: .*unit="):
        Observation(IMAGE, 1e-4 * u.Jy, **SETUP)
    with pytest.raises(TypeError, match="cannot be converted to unit 'ADU per coadd'"):
        Observation(IMAGE * u.Jy, 1e-4, unit="ADU per coadd", **SETUP)


def test_maps_of_factors_have_no_unit():
    half = grater.Channel(transmission=np.full((3, 3), 50.0) * u.percent)
    np.testing.assert_allclose(half.transmission, 0.5)
    with pytest.raises(
        TypeError, match=r"transmission = .* cannot be converted to a dimensionless"
    ):
        grater.Channel(transmission=np.ones((3, 3)) * u.Jy)
    with pytest.raises(ValueError, match="throughput has NaN, infinite or masked pixels"):
        grater.Channel(throughput=np.ma.array(np.ones((3, 3)), mask=np.eye(3) > 0))


@pytest.mark.parametrize(
    ("radius", "value", "kind", "message"),
    [
        ([2.0, 1.0], [0.0, 1.0], ValueError, "radius is not increasing"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), [0.0, 1.0], ValueError, "radius has NaN, infinite"),
        ([1.0, 2.0] * u.arcsec, [0.0, 1.0], TypeError, "cannot be converted to unit 'pix'"),
        ([1.0, 2.0], [0.0], ValueError, r"value has shape \(1,\) but must have shape \(2,\)"),
    ],
)
def test_curves_of_maps_are_checked(radius, value, kind, message):
    with pytest.raises(kind, match=message):
        grater.radial_map(grater.Grid((3, 3), 0.1, 60.0), radius, value)


def test_single_precision_reads_the_same(tmp_path):
    path = write(tmp_path / "a.fits", ("SCI", IMAGE * 1e-30))
    with jax.enable_x64(False):
        read = Observation.from_fits(path, error="annular", **SETUP)
        np.testing.assert_allclose(read.error, 1e-30 * noise_map(IMAGE), rtol=1e-6)


def test_an_unread_header_gives_no_pixel_scale(tmp_path):
    path = write(tmp_path / "a.fits", ("IMAGE", IMAGE), ("ERR", np.ones_like(IMAGE)))
    with pytest.raises(ValueError, match="since check_header=False reads none"):
        Observation.from_fits(path, distance=72.0, check_header=False)
