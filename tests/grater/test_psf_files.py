"""PSFs out of files: the places, the order, the sampling and the sums they hold."""

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import fftconvolve

import grater

SHAPE = (10, 12)
PLACES = np.array([(x, y) for x in (0.0, 30.0) for y in (0.0, 40.0)])  # x first, as STPSF has them


def gaussians(size, widths, scale=1.0):
    """About the middle of the stamp, of sum 1; widths in pixels."""
    row, column = (np.indices((size, size)) - (size - 1) / 2) * scale
    stamps = np.array([np.exp(-(row**2 + column**2) / (2 * w**2)) for w in widths])
    return stamps / stamps.sum(axis=(1, 2), keepdims=True)


def brightest_at(psf, x, y):
    """The PSF of a point source."""
    n = psf.oversample
    image = np.zeros(tuple(n * m for m in SHAPE))
    image[n * y : n * (y + 1), n * x : n * (x + 1)] = 1.0
    return np.asarray(psf.convolve(jnp.asarray(image)))[n * y, n * x]


def written(path, cube, header, table=None):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(cube, fits.Header(header))]
    if table is not None:
        columns = [
            fits.Column(name=name, format="D", array=values) for name, values in table.items()
        ]
        hdus.append(fits.BinTableHDU.from_columns(columns))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("size", [26, 27])
def test_a_cube_with_a_table(tmp_path, size):
    """Stamps of even size are about a corner of points; `origin` is where the image begins."""
    cube = gaussians(size, (1.2, 1.4, 1.6, 1.8), 0.5)
    table = {"x": PLACES[:, 0], "Y": PLACES[:, 1]}
    path = written(tmp_path / "psfs.fits", cube, {"OVERSAMP": 2}, table)
    psf = grater.read_psf_grid(path, SHAPE, accuracy=0)
    assert (psf.oversample, psf.terms, psf.shape) == (2, 4, SHAPE)
    np.testing.assert_allclose(psf.images[0], gaussians(27, (1.2,), 0.5)[0], atol=1e-6)
    assert psf.weights[:, psf.weights.shape[1] // 2 - 9, 14].argmax() == 0
    moved = grater.read_psf_grid(path, SHAPE, accuracy=0, origin=(25, 0))
    assert moved.weights[:, 14, -1].argmax() == 2  # beyond x = 30, near y = 0


def gridded(order):
    """What psf_grid writes: convolved with a pixel, times the square of the oversampling."""
    widths = 1.5 + 0.1 * np.arange(4)
    fine = gaussians(100, widths, 0.25)
    pixel = np.ones((5, 5)) / 16  # of 4 points, the outermost by half
    pixel[[0, -1]] /= 2
    pixel[:, [0, -1]] /= 2
    return np.array([16 * fftconvolve(stamp, pixel, mode="same") for stamp in fine])[order]


def keywords(**more):
    found = {f"DET_YX{k}": f"({y}, {x})" for k, (x, y) in enumerate(PLACES)}
    return {"OVERSAMP": 4, **found, **more}


def test_a_grid_of_stpsf(tmp_path):
    """At the centres of pixels each PSF is the light that a pixel gets, of sum 1."""
    path = written(tmp_path / "grid.fits", gridded(np.arange(4)), keywords())
    with pytest.warns(UserWarning, match="DET_YX of .* not sorted by y.*sorted_by_y=True or False"):
        psf = grater.read_psf_grid(path, SHAPE, accuracy=0)
    np.testing.assert_allclose(np.sum(psf.images, axis=(1, 2)), 1.0, atol=1e-4)
    assert psf.oversample == 1
    row = np.arange(-3, 4)
    middle = psf.images.shape[1] // 2
    inside = np.arange(-2, 3) / 4
    for k, width in enumerate(1.5 + 0.1 * np.arange(4)):
        # the trapezoidal rule over a pixel, as STPSF has it
        line = np.exp(-0.5 * ((row[:, None] + inside) / width) ** 2) @ [1, 2, 2, 2, 1] / 8
        expected = np.outer(line, line) / (2 * np.pi * width**2)
        found = psf.images[k, middle - 3 : middle + 4, middle - 3 : middle + 4]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    # sorted by y, then x: the second keyword's place holds the third PSF
    same = written(tmp_path / "sorted.fits", gridded([0, 2, 1, 3]), keywords())
    again = grater.read_psf_grid(same, SHAPE, accuracy=0, sorted_by_y=True)
    origin = {"accuracy": 0, "origin": (25, 35)}
    one = grater.read_psf_grid(path, SHAPE, sorted_by_y=False, **origin)
    two = grater.read_psf_grid(same, SHAPE, sorted_by_y=True, **origin)
    assert again.terms == 4
    for x, y in ((0, 0), (11, 0), (3, 9)):
        assert brightest_at(one, x, y) == pytest.approx(brightest_at(two, x, y), rel=1e-12)
    assert brightest_at(one, 8, 0) != pytest.approx(brightest_at(one, 0, 8), rel=1e-3)


@pytest.mark.parametrize(
    ("cube", "header", "message"),
    [
        (np.ones((4, 5, 5)), {}, "does not say where its 4 PSFs hold: neither a table"),
        (np.ones((3, 5, 5)), keywords(), "has 3 PSFs, but 4 places"),
        (np.ones((5, 5)), {}, r"no cube of PSFs, an image HDU of shape \(n, ky, kx\)"),
        (np.ones((4, 5, 5)), keywords(DET_YX2="(1, b)"), r"DET_YX that are not two numbers"),
        (np.ones((4, 5, 5)), keywords(OVERSAMP=2.5), "OVERSAMP = 2.5"),
    ],
)
def test_bad_cubes(tmp_path, cube, header, message):
    path = written(tmp_path / "bad.fits", cube, header)
    with pytest.raises((ValueError, TypeError), match=message):
        grater.read_psf_grid(path, SHAPE)


@pytest.fixture
def winnie(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "psfs": gaussians(7, (0.9, 1.0, 1.2, 1.5), 0.5),
        "psf_inds_rolls": rng.integers(0, 4, (2, 20, 24)),
        "im_mask_rolls": rng.uniform(size=(2, 20, 24)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}_F444W.npy", array)
    return tmp_path, arrays


def test_files_of_grater_jax(winnie):
    """Zones convolved one by one and added, after the transmission, as Winnie does it."""
    folder, arrays = winnie
    grid = grater.Grid(SHAPE, 0.1, 60.0)
    for roll in (0, 1):
        which = {"roll": roll, "suffix": "_F444W"}
        optics = grater.read_grater_jax_optics(folder, SHAPE, accuracy=0, **which)
        view = grater.View(grid, **optics)
        light = np.random.default_rng(2).uniform(size=(20, 24))
        passed = light * arrays["im_mask_rolls"][roll]
        parts = [
            fftconvolve(np.where(arrays["psf_inds_rolls"][roll] == k, passed, 0.0), psf, "same")
            for k, psf in enumerate(arrays["psfs"])
        ]
        expected = np.sum(parts, axis=0)
        found = view.channels["image"].through(jnp.asarray(light), (0, 0))
        expected = expected.reshape(10, 2, 12, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(found, expected, atol=1e-13)


def test_bad_files_of_grater_jax(winnie):
    folder, arrays = winnie
    with pytest.raises(FileNotFoundError):
        grater.read_grater_jax_optics(folder, SHAPE)
    for shape, roll, message in (
        ((10, 13), 0, r"\(20, 24\) points, which are no whole number"),
        (SHAPE, 2, "roll = 2, but .* has 2, from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            grater.read_grater_jax_optics(folder, shape, roll=roll, suffix="_F444W")
    np.save(folder / "im_mask_rolls_F444W.npy", arrays["im_mask_rolls"][0])
    with pytest.raises(ValueError, match=r"im_mask_rolls \(20, 24\)"):
        grater.read_grater_jax_optics(folder, SHAPE, suffix="_F444W")


def stpsf_file(path, n=4):
    """What calc_psf writes, without distortion: in finer pixels first, about the middle."""
    header = fits.Header({"OVERSAMP": n, "DET_SAMP": n, "PIXELSCL": 0.063 / n})
    fine = fits.ImageHDU(gaussians(24 * n, (2.0,), 1 / n)[0], header, "OVERSAMP")
    header = fits.Header({"OVERSAMP": 1, "DET_SAMP": 1, "PIXELSCL": 0.063})
    coarse = fits.ImageHDU(gaussians(24, (2.0,))[0], header, "DET_SAMP")
    fits.HDUList([fits.PrimaryHDU(), fine, coarse]).writeto(path)
    return path


def test_a_file_of_stpsf_is_read_in_detector_pixels(tmp_path):
    path = stpsf_file(tmp_path / "psf.fits")
    psf = grater.read_psf(path, pixel_scale=0.063)
    assert (psf.oversample, psf.center) == (1, (11.5, 11.5))
    np.testing.assert_allclose(psf.kernel(), gaussians(25, (2.0,))[0], atol=1e-6)
    fine = grater.read_psf(path, hdu="OVERSAMP", pixel_scale=0.063)
    assert fine.oversample == 4
    with pytest.raises(ValueError, match=r"for pixels of 0\.063 arcsec .*pixels of 0\.031: make"):
        grater.read_psf(path, pixel_scale=0.031)
    with pytest.raises(ValueError, match=r"no image in an HDU 'SCI': its HDUs are 0 'PRIMARY'"):
        grater.read_psf(path, hdu="SCI")


@pytest.mark.parametrize(("size", "at"), [(24, 11.5), (24, 12.0), (25, 12.0)])
def test_the_centre_of_a_stamp_is_where_its_light_is(tmp_path, size, at):
    row, column = np.indices((size, size)) - at
    fits.PrimaryHDU(np.exp(-(row**2 + column**2) / 8.0)).writeto(tmp_path / "star.fits")
    assert grater.read_psf(tmp_path / "star.fits").center == (at, at)
    fits.PrimaryHDU(np.exp(-((row - 1.0) ** 2 + column**2) / 8.0)).writeto(tmp_path / "off.fits")
    with pytest.warns(UserWarning, match="the model is shifted"):
        grater.read_psf(tmp_path / "off.fits")
    assert grater.read_psf(tmp_path / "off.fits", center=(at, at + 1.0)).center == (at, at + 1.0)
