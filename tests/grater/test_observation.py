import os
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy import units as u
from astropy.io import fits

import grater
from factories import make_scene
from grater.data.noise import GaussianNoise, StudentTNoise
from grater.data.observation import Observation
from grater.starts.search import default_scene
from grater.starts.templates import levels_of
from grater.view.view import Grid
from pytreefit import Model, Posterior, param

SETUP = {"pixel_scale": 0.014, "distance": 72.0}


class Slope(Model):
    """A scene whose image is as plain as can be."""

    level: jax.Array = param(default=0.0)
    noise: Model = GaussianNoise()
    shape: tuple = eqx.field(static=True, default=(5, 7))

    def image(self):
        return self.level * jnp.ones(self.shape)


def image_and_error(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5, 7)), rng.uniform(0.5, 1.5, (5, 7))


@pytest.fixture
def gapped():
    image, error = image_and_error()
    image[0, 1], image[2, 2], error[3, 4] = np.nan, np.inf, np.nan
    return Observation(image, error, **SETUP), image, error


def test_pixels_that_are_not_finite_are_masked_and_counted(gapped):
    observation, image, error = gapped
    used = np.isfinite(image) & np.isfinite(error)
    np.testing.assert_array_equal(observation.used, used)
    assert (observation.n_used, observation.n_masked_nan) == (32, 3)
    image, model, error, _ = (np.asarray(a) for a in observation.compared(jnp.ones((5, 7))))
    for values, filled in ((image, 0.0), (model, 0.0), (error, 1.0)):
        np.testing.assert_array_equal(values[~used], filled)
        assert np.isfinite(values).all()
    assert "32 of 35 pixels used, 3 NaN masked" in repr(observation)


def test_chi_square_and_likelihoods_leave_masked_pixels_out(gapped):
    observation, image, error = gapped
    z = ((image - 0.3) / error)[np.asarray(observation.used)]
    np.testing.assert_allclose(observation.chi_square(Slope(0.3)), np.sum(z**2), rtol=1e-12)
    reduced = observation.reduced_chi_square(Slope(0.3), n_free=2)
    np.testing.assert_allclose(reduced, np.sum(z**2) / 30, rtol=1e-12)
    residuals = observation.residuals(Slope(0.3)).reshape(5, 7)
    np.testing.assert_allclose(np.asarray(residuals)[np.asarray(observation.used)], z, rtol=1e-12)
    assert (np.asarray(residuals)[~np.asarray(observation.used)] == 0).all()
    for noise in (GaussianNoise(2.0), StudentTNoise(2.0)):
        scene = Slope(0.3, noise)
        expected = noise.log_likelihood(
            observation.image, jnp.full((5, 7), 0.3), observation.error, observation.used
        )
        np.testing.assert_allclose(observation.log_likelihood(scene), expected, rtol=1e-12)


def test_gradient_is_finite_where_the_data_are_not(gapped):
    gradient = eqx.filter_grad(gapped[0].log_likelihood)(Slope(0.3))
    assert np.isfinite(gradient.level)
    assert gradient.level != 0


def test_a_fit_needs_more_pixels_than_parameters(gapped):
    with pytest.raises(ValueError, match="n_free = 32 must be below the number of pixels used"):
        gapped[0].reduced_chi_square(Slope(), n_free=32)


def test_a_second_observation_compiles_nothing():
    traces = []

    @eqx.filter_jit
    def value(observation, scene):
        traces.append(1)
        return observation.log_likelihood(scene)

    image, error = image_and_error()
    first = Observation(image, error, **SETUP)
    image[0, :3] = np.nan
    second = Observation(2 * image, error, pixel_scale=0.02, distance=50.0, center=(1.0, 2.0))
    assert value(first, Slope()) != value(second, Slope())
    assert len(traces) == 1


def test_big_endian_integers_quantities_and_scalar_errors():
    image, _ = image_and_error()
    plain = Observation(image, 0.5, **SETUP)
    for same in (
        Observation(image.astype(">f8"), 0.5, **SETUP),
        Observation(image * u.Jy, 500 * u.mJy, pixel_scale=14 * u.mas, distance=0.072 * u.kpc),
        Observation(np.ma.masked_array(image, np.zeros((5, 7), bool)), 0.5, **SETUP),
        Observation(image.tolist(), np.float32(0.5), **SETUP),
    ):
        np.testing.assert_allclose(same.image, plain.image)
        np.testing.assert_allclose(same.error, 0.5)
        np.testing.assert_allclose([same.pixel_scale, same.distance], [0.014, 72.0])
    assert Observation(image * u.Jy, 1 * u.Jy, **SETUP).unit == "Jy"
    assert Observation(np.ones((5, 7), ">i2"), 1, **SETUP).image.dtype == jnp.float64


def test_masked_arrays_are_masked():
    image = np.ma.masked_less(image_and_error()[0], 0.0)
    observation = Observation(image, 1.0, **SETUP)
    np.testing.assert_array_equal(observation.used, ~image.mask)


def test_float32():
    image, error = image_and_error()
    expected = float(Observation(image, error, **SETUP).log_likelihood(Slope(0.3)))
    with jax.enable_x64(False):
        observation = Observation(image, error, **SETUP)
        assert observation.image.dtype == jnp.float32
        scene = Slope(np.float32(0.3), GaussianNoise(1.0))
        np.testing.assert_allclose(observation.log_likelihood(scene), expected, rtol=1e-5)


def test_new_images_under_vmap():
    images = jnp.stack([jnp.asarray(image_and_error(k)[0]) for k in range(3)])
    observation = Observation(images[0], 0.5, **SETUP)
    values = jax.vmap(lambda image: observation.with_image(image).chi_square(Slope()))(images)
    expected = [Observation(image, 0.5, **SETUP).chi_square(Slope()) for image in images]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


class Lamp(Model):
    flux: jax.Array = param()


class Lamps(Model):
    """A scene of several sources, each a column of light."""

    disk: Lamp | dict | tuple
    source = None
    disk_paths = grater.Scene.disk_paths
    source_paths = grater.Scene.source_paths
    flux_paths = grater.Scene.flux_paths
    grid: Grid = Grid((40, 41), **SETUP)
    noise: Model = GaussianNoise(3.0)

    def image(self):
        lamps = jax.tree.leaves(self.disk, is_leaf=lambda x: isinstance(x, Lamp))
        columns = jnp.arange(41.0)[None, :] * jnp.ones((40, 1))
        return sum(lamp.flux * jnp.exp(-columns / (k + 2)) for k, lamp in enumerate(lamps))


def test_simulated_noise_has_the_width_of_the_error_map():
    scene = Lamps(Lamp(0.0))
    observation = Observation.simulate(scene, 0.5, jax.random.key(0), unit="mJy")
    assert (observation.shape, observation.unit) == ((40, 41), "mJy")
    np.testing.assert_allclose(observation.center, [20.0, 20.0])
    np.testing.assert_allclose(jnp.std(observation.image), 1.5, rtol=0.05)


@pytest.mark.parametrize(
    ("disk", "paths"),
    [
        (Lamp(7.0), ["disk.flux"]),
        ({"inner": Lamp(7.0), "outer": Lamp(3.0)}, ["disk.inner.flux", "disk.outer.flux"]),
        ((Lamp(7.0), Lamp(3.0)), ["disk.0.flux", "disk.1.flux"]),
    ],
)
def test_scaled_to_data_finds_the_flux_of_all_disks(disk, paths):
    truth = Lamps(disk)
    mask = np.random.default_rng(3).random((40, 41)) < 0.7
    observation = Observation(truth.image(), 0.2, mask=mask, **SETUP)
    start = truth.set({path: truth.get(path) / 5 for path in paths})
    found = observation.scaled_to_data(start)
    for path in paths:
        np.testing.assert_allclose(found.get(path), truth.get(path), rtol=1e-12)
    negative = observation.with_image(-observation.image)
    with pytest.raises(ValueError, match="fluxes multiplied by -5, which is not positive"):
        negative.scaled_to_data(start)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("unit", [1e-30, 1e-20, 1.0, 1e5, 1e12])
def test_scaled_to_data_in_any_unit_from_any_flux(unit, double):
    rng = np.random.default_rng(5)
    shape = np.exp(-np.arange(41.0) / 2) * np.ones((40, 1))
    spread = rng.uniform(0.5, 5.0, shape.shape)
    image = 3.0 * shape + 0.1 * spread * rng.normal(size=shape.shape)
    right = np.sum(image * shape / spread**2) / np.sum((shape / spread) ** 2)
    with jax.enable_x64(double):
        observation = Observation(image * unit, 0.1 * spread * unit, **SETUP)
        for start in (1e-30, 1.0, 1e30):
            scene = Lamps(Lamp(start), Grid((40, 41), **SETUP), GaussianNoise(3.0))
            found = observation.scaled_to_data(scene).get("disk.flux") / unit
            assert float(found) == pytest.approx(right, rel=1e-12 if double else 1e-5)


def test_scaled_to_data_needs_light():
    with pytest.raises(ValueError, match=r"fluxes multiplied by nan.* with a flux that is not 0"):
        Observation(np.ones((40, 41)), 1.0, **SETUP).scaled_to_data(Lamps(Lamp(0.0)))


def test_masks_add_up_and_crops_follow_the_star():
    rng = np.random.default_rng(4)
    image = rng.normal(size=(30, 34))
    image[8, 20] = np.nan
    whole = Observation(image, 1.0, center=(20.0, 9.0), **SETUP)
    ring = whole.mask_radius(2, 5)
    radius = np.hypot(np.arange(34) - 20.0, np.arange(30)[:, None] - 9.0)
    np.testing.assert_array_equal(ring.used, (radius >= 2) & (radius <= 5) & np.isfinite(image))
    np.testing.assert_allclose(whole.radius, radius)
    half = ring.with_mask(np.arange(34) * np.ones((30, 1)) < 20)
    np.testing.assert_array_equal(half.used, np.asarray(ring.used) & (np.arange(34) < 20))

    cut = ring.crop(13)
    np.testing.assert_array_equal(cut.center, [6.0, 6.0])
    np.testing.assert_array_equal(cut.mask, np.asarray(ring.mask)[3:16, 14:27])
    np.testing.assert_array_equal(cut.image, np.asarray(ring.image)[3:16, 14:27])
    assert cut.n_masked_nan == 1
    np.testing.assert_allclose(cut.grid.center, [6.0, 6.0])
    shifted = Observation(image, 1.0, center=(20.3, 8.6), **SETUP).crop(5)
    np.testing.assert_allclose(shifted.center, [2.3, 1.6])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": np.zeros((5, 7))}, "zero or negative in 35 of the 35 pixels in use; the first"),
        ({"error": -1.0}, "the first is -1 at row 0, column 0"),
        ({"error": np.ones((7, 5))}, r"error has shape \(7, 5\), the image \(5, 7\)"),
        ({"mask": np.ones(7, bool)}, r"mask has shape \(7,\), the image \(5, 7\)"),
        ({"mask": np.zeros((5, 7), bool)}, "mask leaves no pixel to use: of 35 pixels 0"),
        ({"image": np.full((5, 7), np.nan)}, "leaves no pixel to use: of 35 pixels 35 are not fin"),
        ({"image": np.zeros((4, 5, 7))}, r"a 2-d image \(ny, nx\) is needed: select one plane"),
        ({"pixel_scale": 0.0}, r"Observation.pixel_scale = 0 arcsec is outside \(0, inf\)"),
        ({"distance": -3.0}, r"Observation.distance = -3 pc is outside \(0, inf\)"),
        ({"center": (1.0, 2.0, 3.0)}, r"Observation.center has shape \(3,\)"),
    ],
)
def test_bad_values_are_refused(change, message):
    arguments = {"image": np.ones((5, 7)), "error": np.ones((5, 7)), **SETUP, **change}
    with pytest.raises(ValueError, match=message):
        Observation(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.ones((5, 7), complex)}, "image holds complex128, not real numbers"),
        ({"image": np.ones((5, 7), bool)}, "image holds booleans, not real numbers"),
        ({"mask": np.ones((5, 7), int)}, "mask holds int64, not booleans.*flags == 0"),
        ({"distance": 3 * u.s}, "Observation.distance = 3.0 s cannot be converted"),
    ],
)
def test_bad_types_are_refused(change, message):
    arguments = {"image": np.ones((5, 7)), "error": np.ones((5, 7)), **SETUP, **change}
    with pytest.raises(TypeError, match=message):
        Observation(**arguments)


def test_zero_errors_are_allowed_where_the_mask_excludes_them():
    image, error = image_and_error()
    error[1, 2] = 0.0
    assert Observation(image, error, mask=error > 0, **SETUP).n_used == 34
    with pytest.raises(ValueError, match=r"in 1 of the 35 pixels in use.* row 1, column 2"):
        Observation(image, error, **SETUP)


def test_set_checks_as_the_constructor_does(gapped):
    with pytest.raises(ValueError, match="leaves no pixel to use"):
        gapped[0].set({"image": jnp.full((5, 7), jnp.nan)})
    image = np.where(np.eye(5, 7) > 0, np.nan, 1.0)
    assert gapped[0].set({"image": image}).n_masked_nan == 6


def test_a_scene_on_another_grid_is_refused(gapped):
    with pytest.raises(ValueError, match=r"shape \(3, 3\), the observation's \(5, 7\): build the"):
        gapped[0].chi_square(Slope(shape=(3, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.crop(4), "crop = 4 must be a positive odd number"),
        (
            lambda o: o.crop(7),
            r"does not fit .*shape \(5, 7\).* at \(3, 2\): the largest crop is 5",
        ),
        (lambda o: o.mask_radius(5, 3), "needs 0 <= inner < outer; got 5 and 3"),
        (lambda o: o.mask_radius(50), "mask leaves no pixel to use"),
    ],
)
def test_impossible_crops_and_masks_are_refused(gapped, call, message):
    with pytest.raises(ValueError, match=message):
        call(gapped[0])


@pytest.fixture(scope="module")
def fits_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fits") / "disk.fits"
    image, error = image_and_error()
    primary = fits.PrimaryHDU()
    science = fits.ImageHDU(image.astype(np.float32), name="SCI")
    science.header["BUNIT"] = "mJy"
    cube = fits.ImageHDU(np.stack([error, 2 * error]), name="ERR")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(2))], name="TAB")
    fits.HDUList([primary, science, cube, table]).writeto(path)
    return path, image, error


def test_from_fits_by_number_name_path_and_array(fits_file):
    path, image, error = fits_file
    read = {
        "number": {"image_hdu": 1, "error_hdu": 2, "error_plane": 0},
        "name": {"image_hdu": "SCI", "error_hdu": "ERR", "error_plane": 0},
        "path": {"error": str(path), "error_hdu": "ERR", "error_plane": 0},
        "array": {"error": error},
    }
    for arguments in read.values():
        observation = Observation.from_fits(path, **SETUP, **arguments)
        np.testing.assert_allclose(observation.image, image, rtol=1e-6)
        np.testing.assert_allclose(observation.error, error, rtol=1e-12)
        assert observation.unit == "mJy"


def test_from_fits_takes_what_is_named_an_error_map(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "image.fits"
    image, error = rng.normal(size=(2, 5, 7)).astype(np.float32)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")]
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(ValueError, match=r"No error map is named .*1 'SCI' \(5, 7\)"):
        Observation.from_fits(path, **SETUP)
    error_map = fits.ImageHDU(np.abs(error), name="STD")
    fits.HDUList([*hdus, error_map]).writeto(path, overwrite=True)
    observation = Observation.from_fits(path, **SETUP)
    np.testing.assert_allclose(observation.error, np.abs(error), rtol=1e-6)


def test_from_fits_with_the_noise_of_the_image_itself(fits_file):
    path, image, _ = fits_file
    observation = Observation.from_fits(path, error="annular", noise_width=20.0, **SETUP)
    np.testing.assert_allclose(observation.error, np.std(image), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"'ERR' .* has shape \(2, 5, 7\).*choose a plane .* error_plane="),
        ({"image_hdu": "DATA", "error": 1.0}, "no image in an HDU 'DATA' .*1 'SCI'.*image_hdu="),
        ({"image_hdu": 9, "error": 1.0}, "no image in an HDU 9 for the image; its HDUs are 0 "),
        ({"image_hdu": 0, "error": 1.0}, "no image in an HDU 0"),
        ({"image_hdu": "TAB", "error": 1.0}, "no image in an HDU 'TAB'"),
        ({"error_hdu": "ERR"}, r"'ERR' .* has shape \(2, 5, 7\).*choose a plane .* error_plane="),
        ({"error_hdu": "ERR", "error_plane": 2}, "there is no plane 2"),
    ],
)
def test_from_fits_says_what_the_file_holds(fits_file, arguments, message):
    with pytest.raises(ValueError, match=message):
        Observation.from_fits(fits_file[0], **SETUP, **arguments)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Observation.from_fits(tmp_path / "none.fits", error=1.0, **SETUP)
    with pytest.raises(FileNotFoundError):
        Observation.from_gpi(tmp_path / "none.fits", 72.0)


def write_gpi(path, *, name="SCI", shape=(4, 61, 61), **header):
    rng = np.random.default_rng(5)
    cube = rng.normal(size=shape).astype(">f4")
    y, x = np.indices(shape[-2:]) - 30
    cube[..., np.hypot(x, y) > 25] = np.nan
    cube[..., 0, :3] = 0.0  # a stripe outside of the field
    hdu = fits.ImageHDU(cube, name=name)
    scale = 0.014166 / 3600
    cards = {"STKESTYP": "RADIAL", "PSFCENTX": 30, "PSFCENTY": 30, "BUNIT": "ADU per coadd"}
    cards |= {"CRPIX1": 31.0, "CRPIX2": 31.0, "CD1_1": -scale, "CD1_2": 0.0}
    cards |= {"CD2_1": 0.0, "CD2_2": scale, **header}
    for key, value in cards.items():
        if value is not None:
            hdu.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path, cube


def test_from_gpi(tmp_path):
    path, cube = write_gpi(tmp_path / "gpi.fits")
    observation = Observation.from_gpi(path, 72.0, inner=5)
    radius = np.asarray(observation.radius)
    used = np.asarray(observation.used)
    # the field ends at 25 pixels, its last complete annulus of half-width 1.5 at 23
    assert (radius[used].min(), radius[used].max()) == (5.0, 23.0)
    assert observation.shape == (57, 57)
    assert observation.unit == "ADU per coadd"
    np.testing.assert_allclose(observation.pixel_scale, 0.014166)
    np.testing.assert_array_equal(observation.image[used], cube[1, 2:-2, 2:-2][used])
    y, x = np.indices((61, 61)) - 30
    annulus = (np.abs(np.hypot(x, y) - 13) <= 1.5) & (np.hypot(x, y) <= 25)
    np.testing.assert_allclose(
        observation.error[28 + 5, 28 + 12], cube[2, annulus].std(), rtol=1e-6
    )
    other = Observation.from_gpi(path, 72.0, inner=5, stokes="U_phi")
    np.testing.assert_array_equal(other.image[used], cube[2, 2:-2, 2:-2][used])
    np.testing.assert_array_equal(other.error, observation.error)
    with pytest.raises(ValueError, match="stokes = 'V' is unknown"):
        Observation.from_gpi(path, 72.0, stokes="V")


def test_from_gpi_keeps_every_finite_pixel_when_asked(tmp_path):
    path, cube = write_gpi(tmp_path / "gpi.fits", PSFCENTX=None, PSFCENTY=None)
    observation = Observation.from_gpi(path, 72.0, inner=0, outer=np.inf)
    assert observation.shape == (61, 61)
    np.testing.assert_array_equal(observation.center, [30.0, 30.0])
    assert observation.n_used == np.isfinite(cube[1]).sum() - 3
    assert Observation.from_gpi(path, 72.0, crop=21, inner=4).shape == (21, 21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "IMG"}, r"has no HDU 'SCI'.*HDUs are 0 'PRIMARY' \(no image\), 1 'IMG' \(4, 61"),
        ({"STKESTYP": "CARTESIAN"}, "has STKESTYP CARTESIAN; the radial Stokes parameters"),
        ({"STKESTYP": None}, "has STKESTYP not given"),
        ({"shape": (2, 61, 61)}, r"shape \(2, 61, 61\); a Stokes cube \(4, ny, nx\)"),
        (
            {"CD1_1": -2e-6, "CD2_2": 2e-6},
            "has pixels of 0.00720 arcsec, not 0.014166: give the right",
        ),
        ({"PSFCENTX": None, "CRPIX1": None}, "does not say where the star is"),
    ],
)
def test_from_gpi_refuses_other_files(tmp_path, change, message):
    path, _ = write_gpi(tmp_path / "gpi.fits", **change)
    with pytest.raises(ValueError, match=message):
        Observation.from_gpi(path, 72.0)


def test_from_gpi_needs_a_field_or_an_outer_radius(tmp_path):
    path, _ = write_gpi(tmp_path / "gpi.fits")
    with pytest.raises(ValueError, match=r"not complete at 24 pixels .* give outer="):
        Observation.from_gpi(path, 72.0, inner=24)


@pytest.mark.skipif("GRATER_DATA" not in os.environ, reason="GRATER_DATA names no data folder")
def test_hr4796a_without_a_disk_has_the_known_chi_square():
    path = pathlib.Path(os.environ["GRATER_DATA"], "disks", "hr4796a_H_pol.fits.gz")
    observation = Observation.from_gpi(path, 71.9, crop=141, inner=12, outer=68)
    assert observation.shape == (141, 141)
    assert observation.n_used == 14_068
    nothing = Slope(shape=(141, 141))
    assert round(float(observation.chi_square(nothing))) == 130_142


def test_how_the_pixels_lie_on_the_sky_stays_theirs():
    """Crops, bins and simulations of a turned image are turned; so is the scene of a search."""
    how = {"roll": 35.0, "parity": -1, "distortion": [[1.1, 0.0], [0.0, 1 / 1.1]]}
    grid = grater.Grid((21, 21), 0.1, 60.0, **how)
    data = grater.Observation.simulate(make_scene(grid=grid), 1.0, jax.random.key(0))
    (level, *_) = levels_of(data, default_scene(data), (5.0, 100.0))
    for on_sky in (data, data.crop(11).grid, data.bin(2).grid, level.scene.grid):
        assert (float(on_sky.roll), on_sky.parity) == (35.0, -1)
        np.testing.assert_allclose(on_sky.distortion, how["distortion"])


OTHER_PIXELS = [
    ("roll", 35.0, "the scene is rendered elsewhere"),
    ("parity", -1, "grid has parity = -1, the observation 1"),
    ("center", (9.0, 10.0), r"center = \[9.0, 10.0\], the observation \[10.0, 10.0\]"),
    ("pixel_scale", 0.11, "pixel_scale = 0.11"),
]


@pytest.mark.parametrize(("name", "value", "message"), OTHER_PIXELS)
def test_a_scene_on_other_pixels_is_noticed(name, value, message):
    scene = make_scene(grid=grater.Grid((21, 21), 0.1, 60.0))
    data = grater.Observation.simulate(scene, 1.0, jax.random.key(0))
    other = scene.set({f"grid.{name}": value})
    priors = {"disk.flux": dist.LogNormal(0.0, 1.0)}
    with pytest.warns(UserWarning, match=message):
        Posterior(other, data.log_likelihood, priors)
    Posterior(scene, data.log_likelihood, priors)
    if name != "parity":  # what is fitted may be elsewhere
        around = dist.TruncatedNormal(np.asarray(value), 0.1, low=0.0)
        Posterior(other, data.log_likelihood, priors | {f"grid.{name}": around})


def test_a_scene_on_pixels_of_another_shape_is_noticed():
    square, flat = (
        grater.Grid((21, 21), 0.1, 60.0, distortion=distortion)
        for distortion in (None, [[1.02, 0.0], [0.0, 1.0]])
    )
    data = grater.Observation.simulate(make_scene(grid=flat), 1.0, jax.random.key(0))
    priors = {"disk.flux": dist.LogNormal(0.0, 1.0)}
    with pytest.warns(UserWarning, match="distortion"):
        Posterior(make_scene(grid=square), data.log_likelihood, priors)
    Posterior(make_scene(grid=flat), data.log_likelihood, priors)
