"""Degrees of polarisation: tables, splines and scattering matrices, their images and gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.interpolate import CubicSpline, PchipInterpolator

import grater
from grater.dust.disk import intensities

from . import oracle
from .test_azimuthal import disk_of
from .test_phase import compiled, evaluate

ANGLES = np.linspace(0.0, 180.0, 19)
COSINES = np.cos(np.deg2rad(ANGLES))
# forward, with a negative branch near backscattering, as of real dust
S11 = 1.0 / (1.0 + 0.36 - 1.2 * COSINES) ** 1.5
DEGREE = 0.5 * (1.0 - COSINES**2) * (COSINES + 0.85)
KNOTS, VALUES = (-0.9, -0.3, 0.2, 0.7), (-0.05, 0.3, 0.4, 0.1)
CURVES = {
    "rayleigh": grater.RayleighPolarization(),
    "table": grater.TabulatedPolarization(ANGLES, DEGREE),
    "spline": grater.SplinePolarization(KNOTS, VALUES),
}


def test_a_table_is_scipys_pchip_of_either_sign():
    theta = np.linspace(0.0, 180.0, 301)
    got = evaluate(CURVES["table"], np.cos(np.deg2rad(theta)))
    np.testing.assert_allclose(got, PchipInterpolator(ANGLES, DEGREE)(theta), atol=1e-9)
    assert np.min(got) < -1e-3


def test_a_spline_is_the_tangent_of_scipys():
    knots, values = [-1.0, *KNOTS, 1.0], np.arctanh([0.0, *VALUES, 0.0])
    c = np.linspace(-1.0, 1.0, 201)
    expected = np.tanh(CubicSpline(knots, values, bc_type="natural")(c))
    np.testing.assert_allclose(evaluate(CURVES["spline"], c), expected, atol=1e-12)
    np.testing.assert_allclose(evaluate(CURVES["spline"], KNOTS), VALUES, rtol=1e-10)


def test_a_spline_stays_between_its_bounds():
    rng = np.random.default_rng(2)
    c = np.linspace(-1, 1, 401)
    for _ in range(20):
        values = np.tanh(rng.normal(0.0, 3.0, 4))
        curve = grater.SplinePolarization(KNOTS, values)
        got = evaluate(curve, c)
        assert np.all(np.abs(got) <= 1.0)
        # the curve is a sum of cubes of up to 2, whose rounding differs between processors
        terms = 8.0 * np.sum(np.abs(curve.prepared().spline.jumps))
        assert terms < 2e4
        np.testing.assert_allclose(got[[0, -1]], 0.0, atol=np.finfo(float).eps * terms)


def test_spline_gradients_are_finite_differences():
    c = jnp.linspace(-0.95, 0.95, 7)
    curve = jax.jit(lambda knots, values: grater.SplinePolarization(knots, values)(c))
    check_grads(curve, (jnp.asarray(KNOTS), jnp.asarray(VALUES)), order=1, modes=["rev"])


def test_a_scattering_matrix_has_both_curves():
    phase = grater.Polarized.from_matrix(ANGLES, 7.0 * S11, -7.0 * S11 * DEGREE)
    total, polarized = phase.curves(("total", "polarized"))(jnp.asarray(COSINES))
    factor = phase.factor("sphere")
    # over the sphere, of the table's own curve
    theta = np.linspace(0.0, np.pi, 20001)
    curve = PchipInterpolator(ANGLES, 7.0 * S11)(np.rad2deg(theta))
    whole = np.trapezoid(2.0 * np.pi * np.sin(theta) * curve, theta)
    np.testing.assert_allclose(factor * total, 7.0 * S11 / whole, rtol=1e-5)
    np.testing.assert_allclose(polarized, 7.0 * S11 * DEGREE, atol=1e-7)
    assert float(phase.peak) == 1.0


def test_images_of_both_curves_of_a_matrix():
    """The polarised one is of either sign, and both are as accurate as is asked for."""
    phase = grater.Polarized.from_matrix(ANGLES, S11, -S11 * DEGREE)
    disk = disk_of(None, 75.0, phase=phase, phase_normalization="right_angle")
    x, y = oracle.around(disk, 8)
    total = PchipInterpolator(ANGLES, S11)
    degree = PchipInterpolator(ANGLES, DEGREE)
    render = eqx.filter_jit(
        lambda disk, x, y: intensities([disk], x, y, grater.Rule(1e-5), ("total", "polarized"))[0]
    )
    got = render(disk, jnp.asarray(x), jnp.asarray(y))
    for image, curve in zip(got, (total, lambda angle: total(angle) * degree(angle)), strict=True):
        expected = oracle.intensity(
            disk,
            lambda q, _, z: oracle.two_power_law(q, 8.0, -5.0) * oracle.gaussian(z, q, 2.0),
            lambda c, curve=curve: curve(np.rad2deg(np.arccos(np.clip(c, -1, 1)))) / total(90.0),
            x,
            y,
        )
        np.testing.assert_allclose(image, expected, atol=2e-5 * np.abs(expected).max(), rtol=0)


def test_gradients_of_a_free_curve_in_an_image():
    phase = grater.Polarized(grater.HenyeyGreenstein(0.3), 0.8, CURVES["spline"])
    paths = ["phase.peak", "phase.polarization.values", "phase.phase.g", "inclination"]
    oracle.check_gradient(disk_of(None, phase=phase), paths, 1e-5, ("total", "polarized"))


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("double", [True, False])
def test_finite_to_both_ends(name, double):
    with jax.enable_x64(double):
        curve = CURVES[name]
        curve = curve.set({row[0]: np.asarray(curve.get(row[0])) for row in curve.parameters()})
        c = jnp.asarray([-1.0, -1.0 + 1e-7, 0.0, 1.0 - 1e-7, 1.0], float)
        value = compiled(curve, c)
        slope = jax.jit(jax.vmap(jax.grad(curve)))(c)
        for leaf in (value, slope):
            assert leaf.dtype == (jnp.float64 if double else jnp.float32)
            assert np.all(np.isfinite(leaf))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grater.TabulatedPolarization([0.0, 90.0], [0.0, 1.5]), r"outside \[-1, 1\]"),
        (lambda: grater.TabulatedPolarization([0.0], [0.0]), "at least two angles"),
        (lambda: grater.TabulatedPolarization([90.0, 0.0], [0.0, 0.1]), "angle is out of order"),
        (lambda: grater.SplinePolarization([], []), "at least one knot"),
        (lambda: grater.SplinePolarization([0.2, 0.1], [0.1, 0.1]), "out of order.*backward"),
        (lambda: grater.SplinePolarization([0.2], [1.0]), r"values.*outside \(-1, 1\)"),
        (
            lambda: grater.Polarized.from_matrix([0.0, 180.0], [1.0, 1.0], [0.0, 2.0]),
            r"s11 = 1 and s12 = 2 at index 1 are no scattering matrix",
        ),
        (
            lambda: grater.Polarized.from_matrix([0.0, 180.0], [1.0, 0.0], [0.0, 0.0]),
            r"s11 = 0 .*at index 1",
        ),
        (
            lambda: grater.Polarized.from_matrix([0.0, 180.0], [1.0, 1.0], [0.0]),
            r"s11 has shape \(2,\) and s12 \(1,\)",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_polarization_is_a_curve():
    with pytest.raises(TypeError, match=r"Polarized.polarization = 0.3 is not an Abstract"):
        grater.Polarized(grater.Isotropic(), 1.0, 0.3)
