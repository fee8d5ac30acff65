"""Conversions of brightness against astropy, and maps of the scattering angle against vectors."""

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest

import grater
from factories import make_disk

IMAGE = np.array([[1.0, -2.0], [0.0, 3.5]])
SCALE, STAR = 0.0123, 4.2
AREA = (SCALE * u.arcsec) ** 2
# the same brightness in all units
SAME = {
    "mJy / arcsec2": 1.0,
    "MJy / sr": (1 * u.mJy / u.arcsec**2).to_value("MJy / sr"),
    "uJy": (1 * u.mJy / u.arcsec**2 * AREA).to_value("uJy"),
    "uJy / pix": (1 * u.mJy / u.arcsec**2 * AREA).to_value("uJy"),
    "": (1 * u.mJy / u.arcsec**2 * AREA / (STAR * u.Jy)).to_value(""),
    "1 / pix": (1 * u.mJy / u.arcsec**2 * AREA / (STAR * u.Jy)).to_value(""),
    "1 / arcsec2": (1 * u.mJy / u.arcsec**2 / (STAR * u.Jy)).to_value("1 / arcsec2"),
}


@pytest.mark.parametrize("unit", SAME)
@pytest.mark.parametrize("to", SAME)
def test_from_every_unit_to_every_other(unit, to):
    got = grater.convert_brightness(
        IMAGE * SAME[unit], to, unit=unit, pixel_scale=SCALE, star_flux=STAR
    )
    np.testing.assert_allclose(got, IMAGE * SAME[to], rtol=1e-12)


def test_quantities_stay_quantities():
    got = grater.convert_brightness(
        IMAGE * u.mJy / u.pix, "Jy / sr", pixel_scale=12.3 * u.mas, star_flux=1.0
    )
    assert got.unit == u.Jy / u.sr
    np.testing.assert_allclose(got.value, IMAGE * 1e-3 / AREA.to_value("sr"), rtol=1e-12)
    by_star = grater.convert_brightness(
        jnp.asarray(IMAGE), "", unit="mJy", pixel_scale=1.0, star_flux=4200 * u.mJy
    )
    np.testing.assert_allclose(by_star, IMAGE / 4200.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"unit": None}, TypeError, "image has no unit"),
        ({"image": 1.0 * u.Jy}, TypeError, "image has a unit, Jy, and unit = mJy"),
        ({"to": "1 / pix"}, ValueError, r"to = '1 / pix' is relative to the star: give star_flux"),
        ({"to": "m"}, ValueError, "to = 'm' is no brightness"),
        ({"unit": "adu / pix"}, ValueError, "unit = 'adu / pix' is no brightness"),
        ({"to": "milly"}, ValueError, "to = 'milly' is no unit"),
        ({"pixel_scale": 0.0}, ValueError, "pixel_scale = 0.0 arcsec is not > 0"),
        ({"star_flux": -1.0}, ValueError, "star_flux = -1.0 Jy is not > 0"),
    ],
)
def test_bad_input(changes, kind, message):
    values = {"image": 1.0, "to": "Jy / sr", "unit": "mJy", "pixel_scale": 0.1} | changes
    with pytest.raises(kind, match=message):
        grater.convert_brightness(values.pop("image"), values.pop("to"), **values)


@pytest.mark.parametrize("inclination", [0.0, 50.0, 90.0, 130.0])
@pytest.mark.parametrize("roll", [0.0, 40.0])
def test_scattering_angles_of_the_midplane(inclination, roll):
    """The angle between the way from the star to the dust and on to us, with vectors."""
    disk = make_disk(inclination=inclination, position_angle=65.0, offset_x=3.0)
    grid = grater.Grid((9, 11), 0.1, 60.0, center=(4.3, 5.1))
    fine = grater.ImagePSF(np.ones((3, 3)), oversample=2)
    view = grater.View(grid, roll=roll, psf=fine, oversample=2)
    got = np.asarray(grater.scattering_angle_map(disk, view if roll else grid))
    x, y, inside = (np.asarray(v) for v in grater.View(grid, roll=roll).sky_coordinates())
    assert got.shape == (9, 11)
    np.testing.assert_array_equal(np.isnan(got), inside)
    # the normal of the midplane, from the axes on the sky: West, North, towards us
    pa, i = np.deg2rad(65.0), np.deg2rad(89.9999999 if inclination == 90.0 else inclination)
    near = np.array([np.cos(pa), np.sin(pa), 0.0])
    normal = -np.sin(i) * near + np.array([0.0, 0.0, np.cos(i)])
    l = -(x * normal[0] + y * normal[1]) / normal[2]
    expected = np.rad2deg(np.arccos(l / np.sqrt(x**2 + y**2 + l**2)))
    np.testing.assert_allclose(got[~inside], expected[~inside], atol=1e-5)
    if 0 < inclination < 90 and not roll:
        low, high = grater.scattering_angles(disk)
        assert low - 1e-9 <= np.nanmin(got)
        assert np.nanmax(got) <= high + 1e-9
