"""Point spread functions: against SciPy's direct convolution, and what they keep."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u
from astropy.utils.masked import Masked
from jax.extend.core import jaxprs_in_params
from scipy.signal import convolve2d

import grater
import pytreefit


@eqx.filter_jit
def convolve(psf, image):
    return psf.convolve(image)


@eqx.filter_jit
def kernel(psf):
    return psf.kernel()


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def random_stamp(*shape, seed=0):
    """A random PSF with its peak in the centre."""
    fades = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape))
    image = random_image(*shape, seed=seed) ** 2 * fades
    image[shape[0] // 2, shape[1] // 2] = 2.1 * image.max()
    return image


def direct(image, kernel):
    """SciPy's convolution, the pixel (size // 2) of the kernel taken as its centre."""
    (ny, nx), (ky, kx) = image.shape, kernel.shape
    full = convolve2d(image, kernel, mode="full")
    return full[ky // 2 : ky // 2 + ny, kx // 2 : kx // 2 + nx]


PSFS = {
    "gaussian": grater.GaussianPSF(2.3),
    "elliptical": grater.EllipticalGaussianPSF(3.1, 1.7, 35.0),
    "moffat": grater.MoffatPSF(2.0, 2.5),
    "odd": grater.ImagePSF(random_stamp(7, 5)),
    "even": grater.ImagePSF(random_stamp(6, 4)),
    "larger than the image": grater.ImagePSF(random_stamp(31, 30)),
}


@pytest.mark.parametrize("shape", [(16, 16), (15, 18)])
@pytest.mark.parametrize("name", PSFS)
def test_convolution_is_scipys(name, shape):
    image = random_image(*shape, seed=1)
    psf = PSFS[name]
    expected = direct(image, np.asarray(psf.kernel()))
    np.testing.assert_allclose(convolve(psf, image), expected, atol=1e-13)


@pytest.mark.parametrize("margin", [(3, 2), (9, 4)])
@pytest.mark.parametrize("name", PSFS)
def test_margins_are_cut_off(name, margin):
    image = random_image(33, 21, seed=2)
    rows, columns = margin
    expected = convolve(PSFS[name], image)[rows : 33 - rows, columns : 21 - columns]
    np.testing.assert_allclose(PSFS[name].convolve(image, margin), expected, atol=1e-14)


@pytest.mark.parametrize("name", ["gaussian", "moffat", "odd", "even"])
def test_flux_is_kept(name):
    image = np.zeros((41, 40))
    image[20, 19] = 3.0
    np.testing.assert_allclose(np.sum(convolve(PSFS[name], image)), 3.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "moffat", "odd", "even"])
def test_nothing_wraps_round(name):
    image = np.zeros((41, 40))
    image[0, 39] = 1.0
    blurred = np.asarray(convolve(PSFS[name], image))
    assert np.abs(blurred[20:]).max() < 1e-15
    assert np.abs(blurred[:, :15]).max() < 1e-15
    ky, kx = kernel(PSFS[name]).shape
    expected = np.asarray(kernel(PSFS[name]))[ky // 2 :, : kx // 2 + 1]
    np.testing.assert_allclose(blurred[: ky - ky // 2, 39 - kx // 2 :], expected, atol=1e-15)


@pytest.mark.parametrize(
    "psf", [grater.GaussianPSF(6.0, size=41), grater.MoffatPSF(6.0, 1.5, size=41)]
)
def test_full_width_at_half_maximum(psf):
    image = np.asarray(kernel(psf))
    assert image.shape == (41, 41)
    assert image.sum() == pytest.approx(1.0, rel=1e-13)
    assert image[20, 23] == pytest.approx(0.5 * image[20, 20], rel=1e-13)
    assert image[17, 20] == pytest.approx(0.5 * image[20, 20], rel=1e-13)
    np.testing.assert_allclose(image, image.T, rtol=1e-13)


def test_moffat_wings():
    image = np.asarray(kernel(grater.MoffatPSF(4.0, 2.5, size=41)))
    alpha = 4.0 / (2 * np.sqrt(2 ** (1 / 2.5) - 1))
    assert image[20, 35] / image[20, 20] == pytest.approx((1 + (15 / alpha) ** 2) ** -2.5)


def test_kernels_reach_far_enough():
    assert grater.GaussianPSF(3.8).size == 25
    assert grater.MoffatPSF(3.8, 3.0).size == 47


@pytest.mark.parametrize(
    ("psf", "widest"),
    [
        (grater.GaussianPSF(2.5), {"psf.fwhm": 9.0}),
        (grater.MoffatPSF(2.0, 3.0), {"psf.fwhm": 14.0}),
        (grater.EllipticalGaussianPSF(2.0, 2.0, 10.0), {"psf.fwhm_major": 9.0}),
    ],
)
def test_a_free_width_that_outgrew_its_kernel_is_said(psf, widest):
    disk = grater.Disk(30.0, 50.0, 20.0, alpha_in=5, alpha_out=-5, scale_height=1)
    image = grater.Observation(np.ones((15, 15)), 1.0, pixel_scale=0.1, distance=60.0)
    scene = grater.Scene(disk, grid=image.grid, psf=psf)
    ((path, value),) = widest.items()
    posterior = pytreefit.Posterior(scene, image.log_likelihood, {path: (1.0, 20.0)})
    assert posterior.remark(posterior.initial) == ""
    assert "cut off a PSF of FWHM" in posterior.remark({path: value})


def test_an_elliptical_gaussian():
    """Its moments are those of its axes, from up to the left; a round one is a GaussianPSF."""
    kernel = np.asarray(grater.EllipticalGaussianPSF(7.0, 4.0, 30.0).kernel())
    row, column = np.indices(kernel.shape) - kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1.0, rel=1e-13)
    up, left = np.sum(kernel * row**2), np.sum(kernel * column**2)
    both = -np.sum(kernel * row * column)
    major, minor = (width**2 / (8 * np.log(2)) for width in (7.0, 4.0))
    turn = np.deg2rad(30.0)
    assert up == pytest.approx(major * np.cos(turn) ** 2 + minor * np.sin(turn) ** 2, rel=1e-6)
    assert left == pytest.approx(major * np.sin(turn) ** 2 + minor * np.cos(turn) ** 2, rel=1e-6)
    assert both == pytest.approx((major - minor) * np.sin(turn) * np.cos(turn), rel=1e-6)
    round_one = grater.EllipticalGaussianPSF(2.3, 2.3, 77.0)
    np.testing.assert_allclose(round_one.kernel(), PSFS["gaussian"].kernel(), atol=1e-16)
    slope = jax.jacfwd(lambda a: grater.EllipticalGaussianPSF(7.0, 4.0, a, 43).kernel())(30.0)
    two = [grater.EllipticalGaussianPSF(7.0, 4.0, a, 43).kernel() for a in (30.001, 29.999)]
    np.testing.assert_allclose(slope, (two[0] - two[1]) / 2e-3, atol=1e-10)
    with pytest.raises(TypeError, match=r"EllipticalGaussianPSF.fwhm_minor = 0.05 arcsec is an"):
        grater.EllipticalGaussianPSF(3.0, 0.05 * u.arcsec, 0.0)


FINE = np.array([[row, column] for row in range(15) for column in range(21)]).reshape(15, 21, 2)
FINE = np.exp(-((FINE[..., 0] - 7) ** 2) / 20 - (FINE[..., 1] - 10) ** 2 / 40 + FINE[..., 1] / 50)


@pytest.mark.parametrize(("psf", "oversample"), [(3, 6), (1, 3)])
def test_a_psf_of_more_points_than_pixels(psf, oversample):
    """Transmission, convolution at the PSF's points, mean over the pixels; in this order."""
    grid = grater.Grid((8, 9), 0.1, 60.0, center=(4.2, 3.9))
    rough = {"accuracy": 1e-3, "nodes_on": "surfaces", "oversample": oversample}
    mask = np.linspace(0.2, 1.0, 72).reshape(8, 9)
    loss = mask[::-1, ::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # off its centre
        stamp = grater.ImagePSF(FINE, oversample=psf)
    seen = grater.Scene(DISK, grid=grid, psf=stamp, transmission=mask, throughput=loss, **rough)
    rows, columns = stamp.reach
    assert (rows, columns) == {3: (3, 4), 1: (7, 10)}[psf]
    n = oversample
    points = grater.Grid(
        (n * (8 + 2 * rows), n * (9 + 2 * columns)),
        0.1 / n,
        60.0,
        center=(n * (4.2 + columns + 0.5) - 0.5, n * (3.9 + rows + 0.5) - 0.5),
    )
    rough = {**rough, "oversample": 1, "inner_radius": n}
    light = np.asarray(grater.Scene(DISK, grid=points, **rough).image())

    def blocks(image, n):
        ny, nx = image.shape
        return image.reshape(ny // n, n, nx // n, n).mean(axis=(1, 3))

    light = blocks(light, oversample // psf)
    passed = np.kron(np.pad(mask, ((rows, rows), (columns, columns)), "edge"), np.ones((psf, psf)))
    blurred = blocks(direct(light * passed, FINE / FINE.sum()), psf)
    expected = blurred[rows:-rows, columns:-columns] * loss
    np.testing.assert_allclose(seen.image(), expected, rtol=0, atol=1e-10 * expected.max())
    if psf == 3:  # a mask as fine as the points
        coarse = seen.channels["image"]
        fine = grater.Channel(stamp, np.kron(mask, np.ones((3, 3))), loss)
        both = (channel.through(jnp.asarray(light), (rows, columns)) for channel in (coarse, fine))
        np.testing.assert_array_equal(*both)


def test_points_that_do_not_fit_are_refused():
    stamp = grater.ImagePSF(gaussian_image(15, 7, 7), oversample=3)
    for n in (1, 2, 4):
        message = f"oversample = {n}, but the psf has 3 points per pixel: render on as many"
        with pytest.raises(ValueError, match=message):
            grater.View(GRID, psf=stamp, oversample=n)
    with pytest.raises(ValueError, match=r"transmission has shape \(24, 28\), the grid has"):
        grater.View(GRID, psf=stamp, oversample=3, transmission=np.ones((24, 28)))


@pytest.mark.parametrize("name", ["gaussian", "moffat"])
def test_width_gradient_is_a_finite_difference(name):
    image = jnp.asarray(random_image(16, 16, seed=3))

    @eqx.filter_jit
    def value_and_slope(fwhm):
        psf = PSFS[name].set({"fwhm": fwhm})
        return jax.value_and_grad(lambda w: jnp.sum(psf.set({"fwhm": w}).convolve(image) ** 2))(
            fwhm
        )

    slope = value_and_slope(jnp.asarray(2.2))[1]
    high, low = (value_and_slope(jnp.asarray(2.2 + step))[0] for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-8)


def test_image_normalization():
    image = np.array([[1.0, 2.0], [1.0, 4.0]])
    for normalization, scale in (("sum", 8.0), ("peak", 4.0), ("none", 1.0)):
        psf = grater.ImagePSF(image, normalization)
        np.testing.assert_allclose(psf.kernel(), image / scale, rtol=1e-15)


def test_a_peak_of_one_with_more_points_than_pixels():
    """A surface is as bright as with one point per pixel, which has a peak of 1."""
    coarse, fine = (
        grater.ImagePSF(gaussian_image(16 * n + 1, 8 * n, 8 * n, 1.7 * n), "peak", oversample=n)
        for n in (1, 3)
    )
    np.testing.assert_allclose(jnp.sum(coarse.kernel()), 2 * np.pi * 1.7**2, rtol=1e-4)
    np.testing.assert_allclose(jnp.sum(fine.kernel()), jnp.sum(coarse.kernel()), rtol=1e-4)


def gaussian_image(size, x, y, sigma=1.7):
    row, column = np.indices((size, size))
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))


def test_a_stamp_with_its_sky_is_said():
    star = np.asarray(grater.GaussianPSF(fwhm=4.0, size=61).kernel())
    sky = 1e-3 * star.max()
    with pytest.warns(UserWarning, match=r"background of .*\d+ % of its sum"):
        grater.ImagePSF(star + sky)
    wings = star + star.max() / (1.0 + np.hypot(*np.mgrid[-30:31, -30:31])) ** 2
    for stamp in (star, wings, wings[20:41, 20:41]):  # light that declines
        grater.ImagePSF(stamp)
    grater.ImagePSF(star + sky, normalization="peak")


@pytest.mark.parametrize("size", [20, 21])
def test_center_between_pixels_is_shifted_without_blurring(size):
    """A measured PSF that was caught off centre does what the centred one does."""
    middle = size // 2
    off = grater.ImagePSF(
        gaussian_image(size, middle + 0.3, middle - 0.45), center=(middle + 0.3, middle - 0.45)
    )
    centred = grater.ImagePSF(gaussian_image(size, middle, middle))
    image = random_image(24, 23, seed=4)
    np.testing.assert_allclose(convolve(off, image), convolve(centred, image), atol=2e-6)


def test_center_of_whole_pixels_is_a_roll():
    psf = grater.ImagePSF(gaussian_image(15, 7, 7), center=(6.0, 9.0))
    image = np.zeros((40, 40))
    image[20, 20] = 1.0
    rolled = np.roll(convolve(PSFS["gaussian"], image), 0)
    row, column = np.unravel_index(np.argmax(convolve(psf, image)), (40, 40))
    assert (row, column) == (18, 21)
    assert np.unravel_index(np.argmax(rolled), (40, 40)) == (20, 20)


DISK = grater.Disk(30.0, 50.0, 20.0, alpha_in=5, alpha_out=-4, scale_height=1.5)
GRID = grater.Grid((12, 14), 0.1, 60.0)


def scene(psf):
    return grater.Scene(DISK, grid=GRID, psf=psf, accuracy=1e-2)


def count_ffts(psf):
    """Fourier transforms in the program that makes a scene's image, whatever they are inside."""
    arrays, static = eqx.partition(scene(psf), eqx.is_array)
    program = jax.make_jaxpr(lambda a: eqx.combine(a, static).image())(arrays)

    def count(jaxpr):
        inner = jaxprs_in_params
        return sum(
            (eqn.primitive.name == "fft") + sum(count(j) for j in inner(eqn.params))
            for eqn in jaxpr.eqns
        )

    return count(program.jaxpr)


@pytest.mark.parametrize("name", ["odd", "gaussian"])
def test_number_of_transforms(name):
    assert count_ffts(PSFS[name]) == 3


def test_another_psf_of_the_same_shape_compiles_nothing():
    traces = 0

    @eqx.filter_jit
    def image(scene):
        nonlocal traces
        traces += 1
        return scene.image()

    first = image(scene(PSFS["odd"]))
    other = grater.ImagePSF(random_stamp(7, 5, seed=9))
    second = image(scene(other))
    assert traces == 1
    assert np.abs(second - first).max() > 0.05 * first.max()
    # set takes a PSF as the constructor does
    third = image(scene(PSFS["odd"]).set({"psf": other}))
    assert traces == 1
    np.testing.assert_array_equal(third, second)


def test_another_image_is_normalized_as_the_first():
    changed = scene(PSFS["odd"]).set({"psf.image": np.full((3, 3), 2.0)})
    np.testing.assert_allclose(changed.channels["image"].psf.kernel(), 1 / 9)


def test_psf_of_the_wrong_kind():
    with pytest.raises(TypeError, match=r"(?s)psf = .* is not a PSF.*ImagePSF"):
        scene(np.ones((3, 3)))


def test_float32():
    with jax.enable_x64(False):
        for psf in (grater.GaussianPSF(2.3), grater.ImagePSF(random_stamp(6, 4))):
            blurred = convolve(psf, jnp.asarray(random_image(16, 16, seed=1), float))
            assert blurred.dtype == jnp.float32
            expected = direct(random_image(16, 16, seed=1), np.asarray(psf.kernel()))
            np.testing.assert_allclose(blurred, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grater.ImagePSF(np.full((3, 3), np.nan)), "9 NaN, infinite or masked pixels of 9"),
        (lambda: grater.ImagePSF(np.ones(4)), r"shape \(4,\), not \(ky, kx\)"),
        (lambda: grater.ImagePSF(np.zeros((3, 3))), "a sum of 0, which cannot normalise it"),
        (lambda: grater.ImagePSF(-np.ones((3, 3)), "peak"), "a peak of -1, which cannot"),
        (
            lambda: grater.ImagePSF(np.ones((3, 3)), "max"),
            "normalization = 'max' is unknown.*'sum', 'peak', 'none'",
        ),
        (lambda: grater.ImagePSF(np.ones((3, 3)), center=(1.0,)), r"center has shape \(1,\)"),
        (lambda: grater.ImagePSF(np.ones((3, 3)), center=(1.0, 2.6)), r"center = .*\(x, y\)"),
        (lambda: grater.ImagePSF(np.ones((3, 3)), center=(1.0, np.nan)), r"center = .*\(x, y\)"),
        (lambda: grater.GaussianPSF(3.0, size=10), "size = 10 is not an odd number"),
        (lambda: grater.GaussianPSF(9.0, size=5), "size = 5 pixels cut off .*FWHM 9"),
        (lambda: grater.GaussianPSF(-1.0), r"GaussianPSF.fwhm = -1 pix is outside \(0, inf\)"),
        (lambda: grater.MoffatPSF(3.0, 1.0), r"MoffatPSF.beta = 1 is outside \(1, inf\)"),
        (lambda: jax.jit(grater.GaussianPSF)(3.0), "pass size="),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_stamp_off_its_centre_is_said():
    """A stamp of even size is about a corner of pixels as often as about one."""
    even = gaussian_image(16, 7.5, 7.5)
    with pytest.warns(UserWarning, match=r"about \(7.50, 7.50\).* pixel \(8, 8\) .*Give center="):
        grater.ImagePSF(even)
    with pytest.warns(UserWarning, match=r"about \(10.3\d, 10.00\), but .*pixel \(10, 10\)"):
        grater.ImagePSF(gaussian_image(21, 10.3, 10.0) + 0.2, normalization="peak")
    said = grater.ImagePSF(even, center=[7.5, 7.5] * u.pix)
    assert said.center == (7.5, 7.5)
    grater.ImagePSF(gaussian_image(16, 8.1, 7.9))  # near enough


@pytest.mark.parametrize("psf", [grater.GaussianPSF, lambda w, **k: grater.MoffatPSF(w, 3.0, **k)])
def test_widths_are_in_pixels(psf):
    assert psf(3.8 * u.pix).size == psf(3.8).size
    for size in ({}, {"size": 41}):
        with pytest.raises(TypeError, match=r"PSF.fwhm = 0.05 arcsec is an angle.*divide it by"):
            psf(0.05 * u.arcsec, **size)


def test_masked_pixels_of_a_stamp_are_refused():
    bad = np.eye(5) > 0
    for image in (np.ma.array(np.ones((5, 5)), mask=bad), Masked(np.ones((5, 5)), mask=bad)):
        with pytest.raises(ValueError, match="5 NaN, infinite or masked pixels of 25"):
            grater.ImagePSF(image)
