"""Radial profiles that are cut off, and free ones: values, images, gradients, precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
