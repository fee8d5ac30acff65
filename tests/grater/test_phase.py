"""Phase functions against SciPy, their normalisation and their ends."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u
from jax.test_util import check_grads
from scipy.interpolate import CubicSpline, PchipInterpolator

import grater

KNOTS = (-0.8, -0.35, 0.25, 0.6, 0.9)
VALUES = (1.4, 0.9, 1.3, 2.5, 6.0)
ANGLES = (5.0, 20.0, 45.0, 100.0, 130.0, 170.0)
TABLE = (9.0, 4.0, 1.5, 1.5, 0.7, 1.1)
PHASES = {
    "isotropic": grater.Isotropic(),
    "henyey_greenstein": grater.HenyeyGreenstein(0.6),
    "backward": grater.HenyeyGreenstein(-0.5),
    "mixed": grater.MixedHenyeyGreenstein([0.9, 0.3, -0.2], [1.0, 3.0, 0.5]),
    "two": grater.TwoHenyeyGreenstein(0.8, -0.2, 0.7),
    "spline": grater.SplinePhase(KNOTS, VALUES),
    "legendre": grater.LegendrePhase([1.1, -0.4, 0.3, 0.2]),
    "zodiacal": grater.MixedHenyeyGreenstein.zodiacal(),
    "tabulated": grater.TabulatedPhase(ANGLES, TABLE),
    "polarized": grater.Polarized(grater.HenyeyGreenstein(0.4), 0.3),
}


@eqx.filter_jit
def compiled(curve, c):
    return curve(c)


def evaluate(curve, c):
    return np.asarray(compiled(curve, jnp.asarray(c, float)))


@eqx.filter_jit
def normalized(phase, normalization):
    return phase.prepared(), phase.factor(normalization)


def over_the_sphere(curve, breaks=()):
    """Integral over all directions, in the angle, piece by piece between the breaks."""
    edges = np.concatenate([[0.0], np.sort(breaks), [np.pi]])
    node, weight = np.polynomial.legendre.leggauss(200)
    half = 0.5 * np.diff(edges)[:, None]
    angle = edges[:-1, None] + half * (1.0 + node)
    values = evaluate(curve, np.cos(angle))
    return np.sum(2.0 * np.pi * np.sin(angle) * half * weight * values)


@pytest.mark.parametrize("g", [-0.7, 0.0, 0.3, 0.95])
def test_henyey_greenstein_integral_and_mean_cosine(g):
    phase = grater.HenyeyGreenstein(g)
    np.testing.assert_allclose(over_the_sphere(phase), 1.0, rtol=1e-10)
    mean = over_the_sphere(lambda c: c * phase(c))
    np.testing.assert_allclose(mean, g, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PHASES)
def test_normalized_over_the_sphere(name):
    phase = PHASES[name]
    breaks = {"spline": np.arccos([*KNOTS, 0.0]), "tabulated": np.deg2rad(ANGLES)}.get(name, ())
    curve, factor = normalized(phase, "sphere")
    if name == "polarized":  # keeps the normalisation of the total intensity
        curve = phase.phase
    assert over_the_sphere(curve, breaks) * factor == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("name", PHASES)
def test_normalized_at_right_angle(name):
    curve, factor = normalized(PHASES[name], "right_angle")
    expected = 0.3 if name == "polarized" else 1.0
    np.testing.assert_allclose(evaluate(curve, 0.0) * factor, expected, rtol=1e-14)


@pytest.mark.parametrize("name", PHASES)
def test_shape_and_precision(name):
    c = np.linspace(-1, 1, 12).reshape(3, 4)
    in_double = evaluate(PHASES[name], c)
    assert in_double.shape == (3, 4)
    assert np.all(in_double >= 0)
    with jax.enable_x64(False):
        parameters = {
            row[0]: np.asarray(PHASES[name].get(row[0])) for row in PHASES[name].parameters()
        }
        in_single = compiled(PHASES[name].set(parameters), jnp.asarray(c, float))
        assert in_single.dtype == jnp.float32
    # cos = +-1 in a polarised phase function is 0 to rounding
    np.testing.assert_allclose(in_single, in_double, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("name", PHASES)
def test_gradients_are_finite_at_both_ends(name):
    @eqx.filter_jit
    @eqx.filter_grad
    def slope(phase_and_c):
        phase, c = phase_and_c
        return jnp.sum(phase(c))

    gradients = slope((PHASES[name], jnp.asarray([-1.0, 1.0, 0.0])))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_isotropic():
    assert evaluate(PHASES["isotropic"], [-1.0, 0.2]) == pytest.approx(0.25 / np.pi)


def test_mixed_is_the_weighted_sum():
    c = np.linspace(-1, 1, 7)
    parts = [evaluate(grater.HenyeyGreenstein(g), c) for g in (0.9, 0.3, -0.2)]
    expected = (parts[0] + 3 * parts[1] + 0.5 * parts[2]) / 4.5
    np.testing.assert_allclose(evaluate(PHASES["mixed"], c), expected, rtol=1e-13)


def test_two_is_a_mixture_of_two():
    c = np.linspace(-1, 1, 7)
    mixed = grater.MixedHenyeyGreenstein([0.8, -0.2], [0.7, 0.3])
    np.testing.assert_allclose(evaluate(PHASES["two"], c), evaluate(mixed, c), rtol=1e-13)


def test_polarized_fraction():
    c = np.linspace(-1, 1, 9)
    total = evaluate(grater.HenyeyGreenstein(0.4), c)
    expected = total * 0.3 * (1 - c**2) / (1 + c**2)
    np.testing.assert_allclose(evaluate(PHASES["polarized"], c), expected, rtol=1e-13)


def natural(knots=KNOTS, values=VALUES):
    """SciPy's natural spline through the logarithms, the fixed point at 90 deg among them."""
    order = np.argsort([*knots, 0.0])
    x, y = np.array([*knots, 0.0])[order], np.log([*values, 1.0])[order]
    return CubicSpline(x, y, bc_type="natural")


@pytest.mark.parametrize(
    ("knots", "values"),
    [
        (KNOTS, VALUES),
        ((0.2, 0.7), (1.5, 4.0)),
        ((-0.9, -0.1), (3.0, 0.5)),
        ((-1.0, 1.0), (2.0, 5.0)),
        (tuple(np.linspace(-0.9, 0.95, 12)), tuple(np.geomspace(0.3, 30, 12))),
    ],
)
def test_spline_is_scipys_natural_spline(knots, values):
    phase = grater.SplinePhase(knots, values)
    np.testing.assert_allclose(evaluate(phase, knots), values, rtol=1e-10)
    assert evaluate(phase, 0.0) == pytest.approx(1.0, rel=1e-12)
    c = np.linspace(min(knots[0], 0.0), max(knots[-1], 0.0), 301)
    expected = np.exp(natural(knots, values)(c))
    np.testing.assert_allclose(evaluate(phase, c), expected, rtol=1e-10)


def test_spline_with_one_knot_is_an_exponential():
    phase = grater.SplinePhase([0.5], [4.0])
    np.testing.assert_allclose(evaluate(phase, [0.0, 0.25, 0.5]), [1.0, 2.0, 4.0], rtol=1e-13)


def test_spline_is_positive_for_wild_values():
    rng = np.random.default_rng(2)
    c = np.linspace(-1, 1, 401)
    for _ in range(20):
        phase = grater.SplinePhase([-0.6, -0.3, 0.3, 0.6], np.exp(rng.normal(0.0, 4.0, 4)))
        value = evaluate(phase, c)
        assert np.all(np.isfinite(value))
        assert np.all(value > 0)


@pytest.mark.parametrize(("knot", "side"), [(-0.8, -1.0), (0.9, 1.0)])
def test_spline_goes_on_with_its_slope_and_bends_into_a_constant(knot, side):
    phase = PHASES["spline"]
    curve = natural()
    beyond = side * np.array([0.0, 0.01, 0.1])
    bent = beyond / np.sqrt(1 + (beyond / 0.25) ** 2)
    expected = np.exp(curve(knot) + curve(knot, 1) * bent)
    np.testing.assert_allclose(evaluate(phase, knot + beyond), expected, rtol=1e-11)
    # no jump in the first two derivatives
    near = jnp.asarray([knot - 1e-7, knot + 1e-7])
    logarithm = lambda c: jnp.log(phase(c))  # noqa: E731
    slope = jax.jit(jax.vmap(jax.grad(logarithm)))(near)
    np.testing.assert_allclose(slope, curve(knot, 1), rtol=1e-5)
    bend = jax.jit(jax.vmap(jax.grad(jax.grad(logarithm))))(near)
    np.testing.assert_allclose(bend, 0.0, atol=1e-4)


def test_spline_knots_over_what_an_inclination_shows():
    phase = grater.SplinePhase.for_inclination(30.0, n=4)
    np.testing.assert_allclose(phase.knots, [-0.5, -0.25, 0.25, 0.5], rtol=1e-14)
    np.testing.assert_allclose(evaluate(phase, np.linspace(-1, 1, 9)), 1.0, rtol=1e-14)


def test_legendre_is_numpys_series():
    c = np.linspace(-1, 1, 41)
    a = [0.8, -0.5, 0.3, 0.0, -0.2, 0.1, 0.05]
    expected = np.exp(np.polynomial.legendre.legval(c, [0.0, *a]))
    np.testing.assert_allclose(evaluate(grater.LegendrePhase(a), c), expected, rtol=1e-12)


def test_legendre_gradients_are_finite_differences():
    c = jnp.linspace(-1, 1, 9)
    curve = jax.jit(lambda a, c: grater.LegendrePhase(a)(c))
    check_grads(curve, (jnp.asarray([0.8, -0.5, 0.3]), c), order=1, modes=["fwd", "rev"])


def test_zodiacal_light_is_that_of_hong():
    """Forward, at right angles and backward, from the sum written out."""
    c = np.array([1.0, 0.0, -1.0])
    three = [(0.665, 0.7), (0.33, -0.2), (0.005, -0.81)]
    expected = sum(w * (1 - g**2) / (4 * np.pi * (1 + g**2 - 2 * g * c) ** 1.5) for w, g in three)
    np.testing.assert_allclose(evaluate(PHASES["zodiacal"], c), expected, rtol=1e-13)


def test_spline_in_single_precision_keeps_its_values():
    with jax.enable_x64(False):
        phase = grater.SplinePhase(np.linspace(-0.95, 0.9, 10), np.geomspace(0.2, 20, 10))
        np.testing.assert_allclose(compiled(phase, phase.knots), phase.values, rtol=1e-4)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_table_is_scipys_pchip(n):
    angle, value = ANGLES[:n], TABLE[:n]
    theta = np.linspace(angle[0], angle[-1], 301)
    phase = grater.TabulatedPhase(angle, value)
    expected = np.interp(theta, angle, value) if n == 2 else PchipInterpolator(angle, value)(theta)
    np.testing.assert_allclose(evaluate(phase, np.cos(np.deg2rad(theta))), expected, rtol=1e-10)


def test_table_ends_as_scipys_do():
    rng = np.random.default_rng(3)
    for _ in range(20):
        angle, value = np.sort(rng.uniform(0, 180, 6)), rng.uniform(0, 1, 6)
        theta = np.linspace(angle[0], angle[-1], 50)[1:-1]
        expected = PchipInterpolator(angle, value)(theta)
        got = evaluate(grater.TabulatedPhase(angle, value), np.cos(np.deg2rad(theta)))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_table_is_constant_outside():
    value = evaluate(PHASES["tabulated"], np.cos(np.deg2rad([0.0, 3.0, 172.0, 180.0])))
    np.testing.assert_allclose(value, [9.0, 9.0, 1.1, 1.1], rtol=1e-13)


def test_table_gradients_of_hardly_any_light_are_finite():
    values = jnp.asarray([17.0, 0.0, 3e-299, 1.0, 3e-160, 2e-160])
    c = jnp.cos(jnp.deg2rad(jnp.asarray([10.0, 45.0, 95.0, 130.0, 172.0])))
    curve = jax.jacobian(lambda v: grater.TabulatedPhase(jnp.asarray(ANGLES), v)(c))
    assert np.all(np.isfinite(curve(values)))


def test_table_gradients_are_finite_differences():
    c = jnp.cos(jnp.deg2rad(jnp.asarray([10.0, 30.0, 80.0, 120.0, 150.0])))
    # no two values alike: where they are, a monotone curve has a kink in its values
    angle, value = jnp.asarray(ANGLES), jnp.asarray([9.0, 4.0, 1.8, 1.5, 0.7, 1.1])
    curve = jax.jit(lambda a, v: grater.TabulatedPhase(a, v)(c))
    check_grads(curve, (angle, value), order=1, modes=["rev"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grater.HenyeyGreenstein(1.0), r"HenyeyGreenstein.g = 1.* outside \(-1, 1\)"),
        (
            lambda: grater.MixedHenyeyGreenstein([0.1, 0.2], [1.0]),
            r"\.g has shape \(2,\) and \.weight has shape \(1,\).*one weight for each",
        ),
        (lambda: grater.MixedHenyeyGreenstein([0.1], [0.0]), "weight = .* has no positive sum"),
        (lambda: grater.TwoHenyeyGreenstein(0.1, 0.2, 1.5), r"weight = 1.5 is outside \[0, 1\]"),
        (
            lambda: grater.SplinePhase([0.5, 0.2], [1.0, 1.0]),
            r"knots = .* out of order.*increase, from backward",
        ),
        (lambda: grater.SplinePhase([0.2, 0.2], [1.0, 1.0]), "knots = .* out of order"),
        (
            lambda: grater.SplinePhase([-0.5, 0.0, 0.5], [1.0, 1.0, 1.0]),
            "a knot at 90 deg .*leave that knot out",
        ),
        (
            lambda: grater.SplinePhase([-0.5, 0.5], [1.0]),
            r"knots has shape \(2,\) and \.values has shape \(1,\).*one value for each knot",
        ),
        (lambda: grater.SplinePhase([], []), "knots is empty"),
        (
            lambda: grater.SplinePhase([-0.9, 0.0011, 0.9], [1, 999, 1]),
            r"function of exp\(\d+\) some",
        ),
        (lambda: grater.SplinePhase([-0.5, 0.5, 0.501], [1, 1, 9999]), r"close to each other"),
        (lambda: grater.SplinePhase([0.0011], [9.0]), r"exp\(\d+\) somewhere.*further apart"),
        (lambda: grater.SplinePhase([-0.5, 1.5], [1.0, 1.0]), r"knots.*outside \[-1, 1\]"),
        (lambda: grater.SplinePhase([-0.5, 0.5], [1.0, 0.0]), r"values.*outside \(0, inf\)"),
        (lambda: grater.SplinePhase([-0.5, 0.5], [-1.0, 1.0]), r"values.*outside \(0, inf\)"),
        (lambda: grater.SplinePhase.for_inclination(60.0, n=5), "n = 5 is not an even number"),
        (lambda: grater.SplinePhase.for_inclination(0.0), "inclination = 0.0 deg shows"),
        (lambda: grater.LegendrePhase([]), "coefficients is empty"),
        (lambda: grater.LegendrePhase([300.0, -90.0]), r"may reach exp\(390\).*must be smaller"),
        (lambda: grater.TabulatedPhase([0.0], [1.0]), "at least two angles"),
        (lambda: grater.TabulatedPhase([90.0, 0.0], [1.0, 1.0]), "angle is out of order"),
        (lambda: grater.TabulatedPhase([0.0, 90.0], [0.0, 0.0]), "values are all 0"),
        (lambda: grater.TabulatedPhase([0.0, 90.0], [-1.0, 1.0]), r"values.*outside \[0, inf\)"),
        (lambda: grater.Polarized(grater.Isotropic(), 1.2), r"peak = 1.2 is outside \[0, 1\]"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()


def test_tables_in_radians_are_said():
    angle = np.linspace(0.0, np.pi, 7)
    for kind, values in ((grater.TabulatedPhase, 1.0), (grater.TabulatedPolarization, 0.1)):
        with pytest.warns(UserWarning, match="angle ends at 3.14159 deg.*If the angles are in rad"):
            kind(angle, np.full(7, values))
        assert float(kind(angle * u.rad, np.full(7, values)).angle[-1]) == pytest.approx(180.0)
