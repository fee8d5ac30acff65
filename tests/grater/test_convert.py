"""Converters from the dictionaries of VIP and GRaTeR-JAX."""

import jax.numpy as jnp
import numpy as np
import pytest

import grater

VIP = {
    "nx": 24,
    "ny": 25,
    "distance": 50.0,
    "pxInArcsec": 0.04,
    "itilt": 60.0,
    "pa": 25.0,
    "omega": 110.0,
    "xdo": 1.5,
    "ydo": -0.5,
    "density_dico": {
        "name": "2PowerLaws",
        "a": 15.0,
        "ain": 9.0,
        "aout": -5.0,
        "e": 0.1,
        "ksi0": 0.7,
        "gamma": 1.8,
        "beta": 1.2,
        "dens_at_r0": 3.0,
    },
    "spf_dico": {"name": "HG", "g": 0.4, "polar": False},
}
JAX_DISK = {
    "accuracy": 5e-3,
    "alpha_in": 9.0,
    "alpha_out": -5.0,
    "sma": 15.0,
    "e": 0.1,
    "ksi0": 0.7,
    "gamma": 1.8,
    "beta": 1.2,
    "rmin": 0.0,
    "dens_at_r0": 3.0,
    "inclination": 60.0,
    "position_angle": 25.0,
    "x_center": 12.0,
    "y_center": 12.0,
    "omega": 110.0,
}
JAX_MISC = {
    "distance": 50.0,
    "pxInArcsec": 0.04,
    "nx": 24,
    "ny": 25,
    "halfNbSlices": 25,
    "flux_scaling": 100.0,
}
JAX_SPLINE = {
    "backscatt_bound": -0.8,
    "forwardscatt_bound": 0.9,
    "num_knots": 5,
    "knot_values": (2.4, 1.5, 0.7, 0.6, 0.75),
}


def changed(dictionary, inner=None, **changes):
    if inner is not None:
        changes = {inner: {**dictionary[inner], **changes}}
    return {**dictionary, **changes}


def geometry(disk):
    paths = (
        "semi_major_axis",
        "inclination",
        "position_angle",
        "eccentricity",
        "argument_of_pericenter",
        "offset_x",
        "offset_y",
        "radial.alpha_in",
        "radial.alpha_out",
        "vertical.scale_height",
        "vertical.gamma",
        "vertical.beta",
    )
    return {path: float(disk.get(path)) for path in paths}


EXPECTED = {
    "semi_major_axis": 15.0,
    "inclination": 60.0,
    "position_angle": 25.0,
    "eccentricity": 0.1,
    "argument_of_pericenter": 290.0,
    "offset_x": 1.5,
    "offset_y": -0.5,
    "radial.alpha_in": 9.0,
    "radial.alpha_out": -5.0,
    "vertical.scale_height": 0.7,
    "vertical.gamma": 1.8,
    "vertical.beta": 1.2,
}
COSINES = jnp.linspace(-1.0, 1.0, 41)


def scattering(disk):
    """What multiplies the density: flux times the normalised phase function."""
    factor = disk.phase.factor(disk.phase_normalization)
    return np.asarray(disk.flux * factor * disk.phase.prepared()(COSINES))


def henyey_greenstein(g):
    c = np.asarray(COSINES)
    return (1 - g**2) / (4 * np.pi * (1 + g**2 - 2 * g * c) ** 1.5)


def test_vip_geometry_and_flux():
    disk = grater.from_vip(VIP)
    assert geometry(disk) == pytest.approx(EXPECTED)
    assert float(disk.flux) == pytest.approx(3.0 * (50.0 * 0.04) ** 2)
    assert isinstance(disk.phase, grater.HenyeyGreenstein)


def test_vip_defaults_are_those_of_its_code():
    disk = grater.from_vip({})
    assert float(disk.semi_major_axis) == 40.0
    assert float(disk.vertical.gamma) == 2.0
    assert float(disk.inclination) == 60.0
    inner = grater.from_vip({"density_dico": {"name": "2PowerLaws"}})
    assert float(inner.semi_major_axis) == 60.0
    assert float(inner.vertical.gamma) == 1.0


@pytest.mark.parametrize("normalization", ["sphere", "right_angle"])
@pytest.mark.parametrize(
    ("spf", "expected"),
    [
        ({"name": "HG", "g": 0.4}, henyey_greenstein(0.4)),
        (
            {"name": "DoubleHG", "g": [0.6, -0.3], "weight": 0.8},
            0.8 * henyey_greenstein(0.6) + 0.2 * henyey_greenstein(-0.3),
        ),
        (
            {"name": "HG", "g": 0.4, "polar": True},
            henyey_greenstein(0.4) * np.asarray((1 - COSINES**2) / (1 + COSINES**2)),
        ),
        (
            {"name": "HG", "g": 0.4, "polar": True, "polar_polynom_coeff": [1e-4, 0.01]},
            henyey_greenstein(0.4) * (1e-4 * np.rad2deg(np.arccos(COSINES)) + 0.01),
        ),
    ],
)
def test_vip_phase_functions_keep_their_brightness(spf, expected, normalization):
    vip = changed(VIP, spf_dico=spf)
    disk = grater.from_vip(vip, phase_normalization=normalization)
    assert disk.phase_normalization == normalization
    np.testing.assert_allclose(scattering(disk), 12.0 * expected, rtol=2e-4)


def test_vip_table_is_its_monotone_cubic():
    interpolate = pytest.importorskip("scipy.interpolate")
    phi, values = [0, 20, 50, 90, 140, 180], [5.0, 2.0, 0.6, 0.3, 0.25, 0.4]
    disk = grater.from_vip(
        changed(VIP, spf_dico={"name": "interpolated", "phi": phi, "spf": values})
    )
    angle = np.rad2deg(np.arccos(np.asarray(COSINES)))
    expected = 12.0 * interpolate.PchipInterpolator(phi, values)(angle)
    np.testing.assert_allclose(scattering(disk), expected, rtol=1e-6)


def test_inner_edges_are_those_of_the_other_codes():
    vip = grater.from_vip(changed(VIP, "density_dico", amin=12.0))
    jax = grater.from_grater_jax({**JAX_DISK, "rmin": 12.0}, {"g": 0.4}, JAX_MISC)
    q = np.array([0.3, 0.75, 0.85, 1.0, 2.0])
    # VIP: 0 where r (1 - e cos) <= amin (1 - e^2), else as without
    expected = np.sqrt(2.0 / (q**-18.0 + q**10.0)) * (15.0 * q > 12.0)
    for disk in (vip, jax):
        np.testing.assert_allclose(disk.radial.density(jnp.asarray(q)), expected, atol=1e-9)
        assert float(disk.get("radial.alpha_in")) == 9.0


def test_vip_maximum_sets_the_flux():
    vip = changed(VIP, flux_max=7.0)
    disk = grater.from_vip(vip)
    grid = grater.Grid((25, 24), pixel_scale=0.04, distance=50.0)
    image = np.asarray(grater.Scene(disk, grid=grid).image())
    far = np.hypot(*np.meshgrid(np.arange(24) - 12, np.arange(25) - 12)) > 2.0
    assert image[far].max() == pytest.approx(7.0, rel=2e-3)


@pytest.mark.parametrize(
    ("vip", "message"),
    [
        (changed(VIP, "density_dico", amin=-5.0), r"InnerEdge.inner = -0.333.* outside \(0, inf\)"),
        (changed(VIP, "density_dico", name="gap"), r"density_dico\['name'\] = 'gap'"),
        (changed(VIP, "density_dico", gama=2.0), "unknown key 'gama'. Did you mean 'gamma'"),
        (changed(VIP, inclination=5.0), "parameters has the unknown key 'inclination'"),
        (changed(VIP, spf_dico={"name": "Mie"}), r"spf_dico\['name'\] = 'Mie'"),
        (changed(VIP, spf_dico={"name": "HG"}), "spf_dico lacks the key 'g'"),
        (
            changed(VIP, spf_dico={"name": "DoubleHG", "g": [0.1], "weight": 1.0}),
            r"spf_dico\['g'\] = \[0.1\]",
        ),
        (
            changed(VIP, spf_dico={"name": "interpolated", "phi": [0, 140], "spf": [2, 1]}),
            "covers 0 to 140 deg.*from 30 to 150 deg",
        ),
        (
            changed(
                VIP,
                spf_dico={"name": "interpolated", "phi": [0, 180], "spf": [2, 1], "kind": "cubic"},
            ),
            r"spf_dico\['kind'\] = 'cubic'",
        ),
        (
            changed(VIP, "spf_dico", polar=True, polar_polynom_coeff=[-1.0, 90.0]),
            "polar_polynom_coeff.*negative",
        ),
        (changed(VIP, flux_max=1.0, xs=900.0, ys=0.0), "flux_max = 1.0 cannot be used"),
        (changed(VIP, "density_dico", e=1.2), "eccentricity = 1.2"),
    ],
)
def test_vip_refuses(vip, message):
    with pytest.raises(ValueError, match=message):
        grater.from_vip(vip)


def test_vip_wants_dictionaries():
    with pytest.raises(TypeError, match="density_dico is a float"):
        grater.from_vip({"density_dico": 3.0})


def test_grater_jax_geometry_and_flux():
    disk = grater.from_grater_jax({**JAX_DISK, "xdo": 1.5, "ydo": -0.5}, {"g": 0.4}, JAX_MISC)
    assert geometry(disk) == pytest.approx(EXPECTED)
    np.testing.assert_allclose(scattering(disk), 1200.0 * henyey_greenstein(0.4), rtol=1e-5)


def test_grater_jax_old_names():
    renamed = {**JAX_DISK, "itilt": 50.0, "pa": 3.0}
    del renamed["inclination"], renamed["position_angle"]
    disk = grater.from_grater_jax(renamed, {"g": 0.4}, JAX_MISC)
    assert (float(disk.inclination), float(disk.position_angle)) == (50.0, 3.0)


def test_grater_jax_double_henyey_greenstein():
    disk = grater.from_grater_jax(JAX_DISK, {"g1": 0.6, "g2": -0.3, "weight": 0.8}, JAX_MISC)
    expected = 0.8 * henyey_greenstein(0.6) + 0.2 * henyey_greenstein(-0.3)
    np.testing.assert_allclose(scattering(disk), 1200.0 * expected, rtol=1e-5)


def grater_jax_spline():
    """The curve of GRaTeR-JAX: forward knots, one of 1 at 90 deg, backward knots."""
    interpolate = pytest.importorskip("scipy.interpolate")
    knots = [0.9, 0.45, 0.0, -0.8 / 3, -1.6 / 3, -0.8]
    values = [2.4, 1.5, 1.0, 0.7, 0.6, 0.75]
    spline = interpolate.CubicSpline(knots[::-1], values[::-1], bc_type="not-a-knot")
    c = np.asarray(COSINES)
    curve = spline(np.clip(c, -0.8, 0.9))
    return np.where(c > 0.9, 2.4 + spline(0.9, 1) * (c - 0.9), curve)


@pytest.mark.parametrize("normalization", ["sphere", "right_angle"])
def test_grater_jax_spline_is_the_same_curve(normalization):
    disk = grater.from_grater_jax(JAX_DISK, JAX_SPLINE, JAX_MISC, phase_normalization=normalization)
    np.testing.assert_allclose(scattering(disk), 1200.0 * grater_jax_spline(), rtol=1e-4)


def test_grater_jax_spline_to_be_fitted_goes_through_the_same_knots():
    disk = grater.from_grater_jax(JAX_DISK, JAX_SPLINE, JAX_MISC, spline="free")
    assert isinstance(disk.phase, grater.SplinePhase)
    np.testing.assert_allclose(disk.phase.knots, [-0.8, -1.6 / 3, -0.8 / 3, 0.45, 0.9], rtol=1e-6)
    np.testing.assert_allclose(disk.phase.values, [0.75, 0.6, 0.7, 1.5, 2.4], rtol=1e-6)
    right_angle = np.argmin(np.abs(np.asarray(COSINES)))
    assert scattering(disk)[right_angle] == pytest.approx(1200.0, rel=1e-5)


@pytest.mark.parametrize(
    ("disk", "spf", "misc", "message"),
    [
        ({"rmin": -3.0}, {"g": 0.1}, {}, r"InnerEdge.inner = -0.2 is outside \(0, inf\)"),
        ({"inclnation": 3.0}, {"g": 0.1}, {}, "'inclnation'.*Did you mean 'inclination'"),
        ({"sma": None}, {"g": 0.1}, {}, "disk_params lacks the key 'sma'"),
        ({}, {"g": 0.1}, {"flux_scaling": None}, "misc_params lacks the key 'flux_scaling'"),
        ({}, {}, {}, "describe no phase function"),
        ({}, {"g1": 0.1, "g2": 0.2}, {}, "spf_params lacks the key 'weight'"),
        ({}, {**JAX_SPLINE, "num_knots": 6}, {}, "num_knots'] = 6, but 'knot_values' has 5"),
        ({}, {"knot_values": (1.0, 1.0)}, {}, "needs at least 3"),
        ({}, {"knot_values": (1.0, 1.0, -2.0, 1.0)}, {}, "knot_values'] makes.*negative"),
    ],
)
def test_grater_jax_refuses(disk, spf, misc, message):
    with pytest.raises(ValueError, match=message):
        grater.from_grater_jax({**JAX_DISK, **disk}, spf, {**JAX_MISC, **misc})


def test_grater_jax_spline_choice_is_checked():
    with pytest.raises(ValueError, match="'cubic' is neither 'tabulated' nor 'free'"):
        grater.from_grater_jax(JAX_DISK, JAX_SPLINE, JAX_MISC, spline="cubic")
