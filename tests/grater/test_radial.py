"""Radial profiles that are cut off, and free ones: values, images, gradients, precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import erfc

import grater

from . import oracle

EDGES = {"inner": 0.8, "inner_width": 0.05, "outer": 1.4, "outer_width": 0.08}


def cut(inner=0.8, inner_width=0.05, outer=1.4, outer_width=0.08):
    power = grater.TwoPowerLaw(1.5, -2.5)
    return grater.OuterEdge(grater.InnerEdge(power, inner, inner_width), outer, outer_width)


def cut_density(q):
    inside = 0.5 * erfc((0.8 - q) / (np.sqrt(2) * 0.05 * 0.8))
    outside = 0.5 * erfc((q - 1.4) / (np.sqrt(2) * 0.08 * 1.4))
    return oracle.two_power_law(q, 1.5, -2.5) * inside * outside


def disk_of(profile, inclination=63.0, **changes):
    return grater.Disk(
        40.0,
        inclination,
        25.0,
        radial=profile,
        scale_height=2.0,
        beta=0.7,
        eccentricity=0.2,
        argument_of_pericenter=50.0,
        offset_x=2.0,
        offset_y=-1.0,
        phase=grater.HenyeyGreenstein(0.4),
        **changes,
    )


@eqx.filter_jit
def density(profile, q):
    return profile.density(q)


@eqx.filter_jit
def intensity(disk, x, y, rule):
    return disk.intensity(x, y, rule)


def test_edges_are_error_functions():
    q = np.geomspace(1e-3, 1e3, 200)
    np.testing.assert_allclose(density(cut(), jnp.asarray(q)), cut_density(q), rtol=1e-11)
    assert {row[0] for row in cut().parameters()} == {"alpha_in", "alpha_out", *EDGES}


@pytest.mark.parametrize("inclination", [0.0, 63.0, 88.0])
def test_images_with_edges(inclination):
    """Against brute force, within the accuracy asked for and the error stated."""
    disk, rule = disk_of(cut(), inclination), grater.Rule(1e-5)
    x, y = oracle.around(disk)
    expected = oracle.intensity(
        disk,
        lambda q, _, z: cut_density(q) * oracle.gaussian(z, q, 2.0, 0.7),
        oracle.henyey_greenstein(0.4),
        x,
        y,
    )
    got = intensity(disk, jnp.asarray(x), jnp.asarray(y), rule)
    np.testing.assert_allclose(got, expected, atol=1e-5 * expected.max(), rtol=0)


def test_gradients_in_edges():
    oracle.check_gradient(disk_of(cut()), [f"radial.{name}" for name in EDGES])


KNOTS, VALUES = (0.7, 0.85, 1.3, 1.6), (0.9, 0.2, 0.15, 0.3)


def spline():
    return grater.SplineProfile(KNOTS, VALUES, 8.0, -6.0)


def spline_density(q):
    x, y = np.log([*KNOTS[:2], 1.0, *KNOTS[2:]]), np.log([*VALUES[:2], 1.0, *VALUES[2:]])
    curve = CubicSpline(x, y, bc_type=((1, 8.0), (1, -6.0)))
    log_q = np.log(q)
    beyond = 8.0 * np.minimum(log_q - x[0], 0.0) - 6.0 * np.maximum(log_q - x[-1], 0.0)
    return np.exp(curve(np.clip(log_q, x[0], x[-1])) + beyond)


def test_a_spline_is_scipys_with_power_laws_beyond():
    q = np.geomspace(1e-2, 1e2, 400)
    np.testing.assert_allclose(density(spline(), jnp.asarray(q)), spline_density(q), rtol=1e-9)
    at_knots = density(spline(), jnp.asarray([*KNOTS, 1.0]))
    np.testing.assert_allclose(at_knots, [*VALUES, 1.0], rtol=1e-10)
    # one knot, and the reference radius alone between two slopes
    two = grater.SplineProfile([2.0], [0.25], 3.0, -3.0)
    np.testing.assert_allclose(density(two, jnp.asarray([0.5, 2.0, 4.0])), [0.125, 0.25, 0.03125])


def test_image_of_a_spline_with_an_edge():
    """Two rings and a third that is cut, all prepared once."""
    disk = disk_of(grater.OuterEdge(spline(), 1.7, 0.1))
    x, y = oracle.around(disk)
    expected = oracle.intensity(
        disk,
        lambda q, _, z: (
            spline_density(q)
            * 0.5
            * erfc((q - 1.7) / (np.sqrt(2) * 0.1 * 1.7))
            * oracle.gaussian(z, q, 2.0, 0.7)
        ),
        oracle.henyey_greenstein(0.4),
        x,
        y,
    )
    got = intensity(disk, jnp.asarray(x), jnp.asarray(y), grater.Rule(1e-5))
    np.testing.assert_allclose(got, expected, atol=1e-5 * expected.max(), rtol=0)


def test_gradients_in_a_spline():
    paths = ["knots", "values", "alpha_in", "alpha_out"]
    oracle.check_gradient(disk_of(spline()), [f"radial.{path}" for path in paths], 1e-5)


@pytest.mark.parametrize("double", [True, False])
def test_a_spline_is_finite_everywhere(double):
    with jax.enable_x64(double):
        profile = spline()
        q = jnp.asarray([1e-3, 0.7, 1.0, 1.6, 1e3], float)
        values = density(profile, q)
        assert values.dtype == (jnp.float64 if double else jnp.float32)
        np.testing.assert_allclose(values, spline_density(np.asarray(q)), rtol=1e-4)
        slopes = jax.jit(jax.jacobian(lambda p: p.density(q)))(profile)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("width", [1e-3, 0.5])
@pytest.mark.parametrize("double", [True, False])
def test_finite_far_from_the_edges(width, double):
    with jax.enable_x64(double):
        profile = cut(inner_width=width, outer_width=width)
        q = jnp.asarray(np.geomspace(1e-3, 1e3, 60), float)
        value, slope = jax.jit(jax.vmap(jax.value_and_grad(profile.density)))(q)
        of_numbers = jax.jit(jax.jacobian(lambda p: p.density(q)))(profile)
        for leaf in [value, slope, *jax.tree.leaves(of_numbers)]:
            assert leaf.dtype == (jnp.float64 if double else jnp.float32)
            assert np.all(np.isfinite(leaf))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: grater.SplineProfile([], [], 1, -1), ValueError, "at least one knot"),
        (lambda: grater.SplineProfile([2, 0.5], [1, 1], 1, -1), ValueError, "must increase"),
        (lambda: grater.SplineProfile([1.0], [1], 1, -1), ValueError, "leave that knot out"),
        (lambda: cut(inner=0.0), ValueError, r"InnerEdge.inner = 0.* outside \(0, inf\)"),
        (lambda: cut(outer_width=-1.0), ValueError, r"outer_width = -1.* outside \(0, inf\)"),
        (
            lambda: grater.InnerEdge(3.0, 1.0),
            TypeError,
            r"InnerEdge.profile = 3.0 is not.*InnerEdge\(TwoPowerLaw",
        ),
        (lambda: grater.OuterEdge(None, 1.0), TypeError, "OuterEdge.profile = None is not"),
    ],
)
def test_bad_input(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
