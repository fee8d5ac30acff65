"""How a disk is put together: units, shortcuts and what it refuses."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grater

from .conftest import render

ORDINARY = dict(
    semi_major_axis=40.0,
    inclination=60.0,
    position_angle=30.0,
    alpha_in=5.0,
    alpha_out=-4.0,
    scale_height=1.5,
)


@jax.jit
def lines(disk, x, y):
    """Some lines of sight at the usual accuracy."""
    return disk.intensity(x, y, grater.Rule(1e-4))


def disk(**changes):
    return grater.Disk(**{**ORDINARY, **changes})


def test_quantities_are_converted_once():
    with_units = grater.Disk(
        semi_major_axis=(40 * u.au).to(u.km),
        inclination=60 * u.deg,
        position_angle=np.pi / 6 * u.rad,
        alpha_in=5 * u.dimensionless_unscaled,
        alpha_out=-4,
        scale_height=1.5 * u.au,
        argument_of_pericenter=1 * u.rad,
        offset_x=(2 * u.au).to(u.pc),
    )
    plain = disk(argument_of_pericenter=np.rad2deg(1.0), offset_x=2.0)
    for (path, *_), (other, *_) in zip(with_units.parameters(), plain.parameters(), strict=True):
        assert path == other
        np.testing.assert_allclose(with_units.get(path), plain.get(path), rtol=1e-12)
        assert isinstance(with_units.get(path), jax.Array)


@pytest.mark.parametrize(
    ("field", "quantity"),
    [
        ("inclination", 5 * u.au),
        ("semi_major_axis", 3 * u.deg),
        ("scale_height", 1 * u.arcsec),
        ("eccentricity", 0.1 * u.au),
        ("alpha_in", 5 * u.m),
    ],
)
def test_quantity_of_the_wrong_dimension(field, quantity):
    with pytest.raises(TypeError, match=rf"\.{field} .*{quantity.unit}"):
        disk(**{field: quantity})


def test_shortcuts_are_the_profiles():
    short = disk(gamma=1.0, beta=0.5)
    long = disk(
        alpha_in=None,
        alpha_out=None,
        scale_height=None,
        radial=grater.TwoPowerLaw(5.0, -4.0),
        vertical=grater.VerticalExponential(1.5, gamma=1.0, beta=0.5),
    )
    assert list(short.parameters()) == list(long.parameters())
    assert float(disk().get("vertical.gamma")) == 2.0
    assert float(disk().get("vertical.beta")) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(radial=grater.GaussianRing(0.1)), "radial= and also alpha_in, alpha_out"),
        (dict(vertical=grater.VerticalExponential(1.0)), "vertical= and also scale_height"),
        (dict(alpha_in=None), "needs alpha_in for its radial profile"),
        (dict(alpha_in=None, alpha_out=None), "needs alpha_in and alpha_out .*radial=..."),
        (dict(scale_height=None), "needs scale_height for its vertical profile"),
        (dict(eccentricity=1.0), r"Disk.eccentricity = 1 is outside \[0, 1\)"),
        (dict(eccentricity=1.2), r"Disk.eccentricity = 1.2 is outside \[0, 1\)"),
        (dict(eccentricity=-0.1), r"Disk.eccentricity = -0.1 is outside \[0, 1\)"),
        (dict(inclination=181.0), r"Disk.inclination = 181 deg is outside \[0, 180\]"),
        (dict(semi_major_axis=0.0), r"Disk.semi_major_axis = 0 au is outside \(0, inf\)"),
        (dict(scale_height=-1.0), r"scale_height = -1 au is outside \(0, inf\)"),
        (dict(alpha_out=0.0), r"TwoPowerLaw.alpha_out = 0 is outside \(-inf, 0\)"),
        (dict(alpha_out=2.0), r"TwoPowerLaw.alpha_out = 2 is outside \(-inf, 0\)"),
        (dict(alpha_in=-2.0), r"TwoPowerLaw.alpha_in = -2 is outside \(0, inf\)"),
        (dict(gamma=0.0), r"gamma = 0 is outside \(0, inf\)"),
        (dict(beta=-0.5), r"beta = -0.5 is outside \[0, inf\)"),
        (dict(flux=np.nan), "Disk.flux = nan"),
        (dict(flux=[1.0, 2.0]), r"Disk.flux has shape \(2,\)"),
        (
            dict(phase_normalization="peak"),
            "phase_normalization = 'peak' is unknown: choose one of 'sphere', 'right_angle'",
        ),
    ],
)
def test_bad_values(changes, message):
    with pytest.raises(ValueError, match=message):
        disk(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(phase=lambda c: c), "Disk.phase = .* is not an AbstractPhaseFunction"),
        (
            dict(alpha_in=None, alpha_out=None, radial=grater.HenyeyGreenstein(0.1)),
            "Disk.radial = .* is not an AbstractRadialProfile",
        ),
    ],
)
def test_parts_of_the_wrong_kind(changes, message):
    with pytest.raises(TypeError, match=message):
        disk(**changes)


def test_set_checks_as_the_constructor_does():
    with pytest.raises(ValueError, match=r"alpha_out = 1 is outside \(-inf, 0\)"):
        disk().set({"radial.alpha_out": 1.0})
    with pytest.raises(ValueError, match=r"did you mean 'radial.alpha_in'"):
        disk().set({"alpha_in": 1.0})
    assert disk().set({"radial": grater.GaussianRing(0.1)}).get("radial.width") == 0.1


def test_two_power_law_is_the_equation():
    q = np.geomspace(0.5, 2.0, 21)
    profile = grater.TwoPowerLaw(7.0, -3.0)
    expected = np.sqrt(2.0 / (q**-14.0 + q**6.0))
    np.testing.assert_allclose(profile.density(jnp.asarray(q)), expected, rtol=1e-13)
    # far out, where each power alone is no number any more
    with jax.enable_x64(False):
        steep = grater.TwoPowerLaw(40.0, -40.0)
        far = steep.density(jnp.asarray([1e-3, 1.0, 1e3]))
        slope = jax.grad(lambda q: jnp.sum(steep.density(q)))(jnp.asarray([1e-3, 1.0, 1e3]))
    np.testing.assert_array_equal(far, [0.0, 1.0, 0.0])
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0, 3.7, 12.0])
def test_vertical_profile_is_the_equation(gamma):
    vertical = grater.VerticalExponential(2.0, gamma=gamma, beta=0.6)
    t = jnp.asarray([0.0, 0.2, 1.0, 1.7])
    np.testing.assert_allclose(vertical.profile(t), np.exp(-(np.asarray(t) ** gamma)), rtol=1e-12)
    np.testing.assert_allclose(vertical.height(jnp.asarray(1.3)), 2.0 * 1.3**0.6, rtol=1e-13)
    # and far from the midplane it is 0 with a derivative of 0, in any precision
    with jax.enable_x64(False):
        vertical = grater.VerticalExponential(2.0, gamma=gamma, beta=0.6)
        value, slope = jax.value_and_grad(vertical.profile)(jnp.asarray(1e30))
    assert value == 0.0
    assert slope == 0.0


GRID = grater.Grid((16, 16), 0.1, 60.0)


def test_flux_means_the_same_for_all_phase_functions():
    """Face-on, all light is scattered by 90 deg: p(90 deg) over its integral is what counts."""
    face_on = dict(inclination=0.0, scale_height=0.02)
    isotropic = render(grater.Scene(disk(**face_on, phase=grater.HenyeyGreenstein(0.0)), grid=GRID))
    spline = grater.SplinePhase([-0.6, 0.5], [2.0, 5.0])
    image = render(grater.Scene(disk(**face_on, phase=spline), grid=GRID))
    c = np.linspace(-1.0, 1.0, 20001)
    integral = 2 * np.pi * np.trapezoid(spline(jnp.asarray(c)), c)
    outside = np.asarray(isotropic) > 0
    ratio = np.asarray(image)[outside] / np.asarray(isotropic)[outside]
    np.testing.assert_allclose(ratio, 4 * np.pi / integral, rtol=1e-3)


@pytest.mark.parametrize("g", [0.999, 0.99, -0.99])
def test_narrow_peaks_edge_on_are_integrated_to_the_end(g):
    """Dust far in front of the star, or behind it, is lit where a phase function is narrow."""
    edge_on = disk(inclination=90.0, position_angle=0.0, phase=grater.HenyeyGreenstein(g))
    offsets = np.array([-3.0, -1.0, 1.5, 6.0, 20.0, 40.0])
    found = lines(edge_on, jnp.zeros(6), jnp.asarray(offsets))

    def brightness(logarithm, b, sign):
        l = np.exp(logarithm)
        q, cosine = np.hypot(b, l) / 40.0, sign * l / np.hypot(b, l)
        density = np.sqrt(2.0 / (q**-10.0 + q**8.0))
        phase = (1 - g**2) / (1 + g**2 - 2 * g * cosine) ** 1.5 / (4 * np.pi)
        return l * density * phase / (b**2 + l**2)

    grid = np.linspace(np.log(1e-3), np.log(4e5), 40_001)
    expected = [
        sum(np.trapezoid(brightness(grid, b, sign), grid) for sign in (1, -1)) for b in offsets
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.max(expected))
