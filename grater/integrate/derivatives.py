r"""The integrals' derivatives in everything that moves, in the same sweep as the integrals.

All of them are sums over the nodes: an image for each parameter, so that reverse mode is one
product of images each, forward mode is no dearer, and the memory of a gradient does not grow with
the number of nodes. The geometry takes eight sums at most, whatever the profiles; of a component
only derivatives of a function of one variable and in its own numbers are needed, by `jax.jvp`,
whoever wrote it. With :math:`t = |z| / h(q)` the density :math:`\rho(q) f(t)` has

.. math::
    \frac{\partial}{\partial q} = \rho' f - \rho f' \frac{t h'}{h}, \qquad
    \frac{\partial}{\partial z} = \rho f' \frac{\mathrm{sgn}\,z}{h}.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pytreefit.extend import computed_once, fused_sum

from .dust import Dust, Integrand, in_each_number
from .geometry import Geometry
from .nodes import Plan, most_nodes
from .rule import Rule
from .sweep import sum_over_nodes

_OF_GEOMETRY = ("inclination", "semi_latus_rectum", "e_cos", "e_sin", "offset_x", "offset_y")


class Moving(NamedTuple):
    """What an integral is differentiated in."""

    geometry: tuple[str, ...]
    dust: Dust  # shapes of the numbers, None where they are fixed

    @classmethod
    def of(cls, dots: Integrand) -> "Moving":
        names = {name for name in _OF_GEOMETRY if getattr(dots.geometry, name) is not None}
        if dots.x is not None:
            names |= {"offset_x", "distance"}
        if dots.y is not None:
            names |= {"offset_y", "height", "distance"}
        shapes = jax.tree.map(lambda dot: jax.ShapeDtypeStruct(dot.shape, dot.dtype), dots.dust)
        return cls(tuple(sorted(names)), shapes)

    @property
    def count(self) -> int:
        """Sums for each phase function: the integral and its derivatives."""
        return 1 + len(self.geometry) + number_of_numbers(self.dust)


def number_of_numbers(dust: Dust) -> int:
    """How many numbers of the components are differentiated."""
    return sum(number.size for number in jax.tree.leaves(dust))


def sums_with_derivatives(integrand: Integrand, moving: Moving, rule: Rule) -> list[list[Array]]:
    """For each phase function the integral, its derivatives in the geometry and in the numbers."""
    geometry, dust, tilt = integrand.geometry, integrand.dust, integrand.geometry.tilt
    each, phases = moving.count, dust.number_of_phases(integrand.x)

    def add_sample(dust, x, y, l, weight, *sums):
        place = geometry.place(tilt, x, y, l)
        q = geometry.radius(*place[:2], place[3])
        per_d = jnp.sqrt(1.0 / (x**2 + y**2 + l**2))
        density = _differentiated_density(dust, moving.dust, q, place)
        curves = _differentiated_phases(dust, moving.dust, l * per_d)
        light = weight * per_d**2
        terms = []
        for phase, in_cosine, in_numbers in curves:
            lit, dense = light * phase, light * density.value
            total, in_q, in_z = lit * density.value, lit * density.in_q, lit * density.in_z
            turned = density.in_azimuth
            in_azimuth = None if turned is None else lit * turned
            along = (total + 0.5 * dense * in_cosine * (l * per_d)) * per_d**2
            of_geometry = _in_geometry(geometry, place, q, (in_q, in_azimuth, in_z), along)
            terms += [total, *(of_geometry[name]() for name in moving.geometry)]
            terms += [lit * derivative for derivative in density.in_numbers]
            terms += [dense * derivative for derivative in in_numbers]
        return fused_sum(sums, terms)

    def sample(dust, x, y, l, weight, sums):
        return computed_once(functools.partial(add_sample, dust), x, y, l, weight, *sums)

    sums, _ = sum_over_nodes(sample, integrand, moving.dust.vertical, rule, each * phases)
    return [sums[k * each : (k + 1) * each] for k in range(phases)]


class _Density(NamedTuple):
    """The density at some points and its derivatives."""

    value: Array
    in_q: Array
    in_azimuth: Array | None  # None if it is the same at all
    in_z: Array
    in_numbers: list[Array]  # of the radial profile, the vertical and the azimuthal one


def _differentiated_density(dust: Dust, moving: Dust, q, place) -> _Density:
    x_disk, y_disk, z, r = place
    along, per_r = jnp.ones_like(q), 1.0 / r
    azimuth = x_disk * per_r, y_disk * per_r
    density, density_q = jax.jvp(dust.radial.density, (q,), (along,))
    height, height_q = jax.jvp(dust.vertical.height, (q,), (along,))
    per_height = 1.0 / height
    t = jnp.abs(z) * per_height
    profile, profile_t = jax.jvp(dust.vertical.profile, (t,), (along,))
    slope = profile_t * per_height
    in_height = -t * slope
    factor, turned = dust.turned(*azimuth)
    upright, density = density * profile, density * factor
    of_factor = in_each_number(lambda p: p.density(*azimuth), dust.azimuthal, moving.azimuthal)
    of_density = in_each_number(lambda p: p.density(q), dust.radial, moving.radial)
    of_height, of_profile = (
        in_each_number(function, dust.vertical, moving.vertical)
        for function in (lambda p: p.height(q), lambda p: p.profile(t))
    )
    return _Density(
        density * profile,
        density_q * factor * profile + density * in_height * height_q,
        None if turned is None else upright * turned,
        density * jnp.sign(z) * slope,
        [factor * profile * derivative for derivative in of_density]
        + [density * (in_height * a + b) for a, b in zip(of_height, of_profile, strict=True)]
        + [upright * derivative for derivative in of_factor],
    )


def _differentiated_phases(dust: Dust, moving: Dust, cos_scatter) -> list:
    """Of each phase function its value, its derivative in the cosine and those in its numbers."""
    along = jnp.ones_like(cos_scatter)
    values, in_cosine = jax.jvp(dust.phase, (cos_scatter,), (along,))
    numbers = in_each_number(lambda phase: phase(cos_scatter), dust.phase, moving.phase)
    of_each = [
        [number if isinstance(number, float) else number[k] for number in numbers]
        for k in range(len(values))
    ]
    return list(zip(values, in_cosine, of_each, strict=True))


def _in_geometry(geometry: Geometry, place, q, in_place, along):
    r"""Derivatives in the geometry, as functions so that only those that are needed are made.

    By the chain rule through q, the azimuth and z, of which

    .. math::
        \frac{\partial q}{\partial y'} = \frac{y' / r + e_s}{p}, \quad
        \frac{\partial \phi}{\partial y'} = \frac{x'}{r^2}, \quad
        \frac{\partial y'}{\partial i} = z, \quad
        \frac{\partial z}{\partial i} = -(y' + \Delta y).

    Factors that are the same for all nodes are left to `chain_rule`; "distance" is the derivative
    in :math:`-d^2 / 2`, "height" that in z.
    """
    x_disk, y_disk, z, r = place
    in_q, in_azimuth, in_z = in_place
    per_p, per_r = 1.0 / geometry.semi_latus_rectum, 1.0 / r

    def in_x():
        by_radius = in_q * (x_disk * per_r + geometry.e_cos) * per_p
        return by_radius if in_azimuth is None else by_radius - in_azimuth * y_disk * per_r**2

    def in_y():
        by_radius = in_q * (y_disk * per_r + geometry.e_sin) * per_p
        return by_radius if in_azimuth is None else by_radius + in_azimuth * x_disk * per_r**2

    return {
        "inclination": lambda: in_y() * z - in_z * (y_disk + geometry.offset_y),
        "semi_latus_rectum": lambda: in_q * q,
        "e_cos": lambda: in_q * x_disk,
        "e_sin": lambda: in_q * y_disk,
        "offset_x": in_x,
        "offset_y": in_y,
        "height": lambda: in_z,
        "distance": lambda: along,
    }


def chain_rule(integrand: Integrand, dots: Integrand, sums: list[list[Array]]):
    """The integrals, and what the tangents make of their derivatives, lists."""
    geometry, x, y = integrand.geometry, integrand.x, integrand.y
    names = Moving.of(dots).geometry
    per_p = 1.0 / geometry.semi_latus_rectum
    sin_i, cos_i = geometry.tilt
    leaves = jax.tree.leaves(dots.dust)
    numbers = jnp.concatenate([jnp.ravel(dot) for dot in leaves]) if leaves else ()
    factors = (jnp.deg2rad(1.0), -per_p, per_p, per_p, -1.0, -1.0)

    def derivative(sums):
        slope = dict(zip(names, sums, strict=False))
        total = jnp.zeros_like(x)
        for name, factor in zip(_OF_GEOMETRY, factors, strict=True):
            dot = getattr(dots.geometry, name)
            if dot is not None:
                total = total + slope[name] * (factor * dot)
        if dots.x is not None:
            total = total + (slope["offset_x"] - 2.0 * x * slope["distance"]) * dots.x
        if dots.y is not None:
            tilted = cos_i * slope["offset_y"] - sin_i * slope["height"]
            total = total + (tilted - 2.0 * y * slope["distance"]) * dots.y
        for number, in_number in zip(numbers, sums[len(names) :], strict=True):
            total = total + in_number * number
        return total

    return [of_phase[0] for of_phase in sums], [derivative(of_phase[1:]) for of_phase in sums]


def through_a_scan(integrand: Integrand, dots: Integrand, rule: Rule):
    """The same by JAX's own rules, for components of so many numbers that images are too many."""
    plan = Plan(integrand, dots.dust.vertical, rule)
    number, node = plan.nodes(integrand.x, integrand.y)
    moving, rest = eqx.partition(integrand, eqx.is_inexact_array)
    tangents = jax.tree.map(
        lambda value, dot: jnp.zeros_like(value) if dot is None else dot, moving, dots
    )

    @jax.checkpoint
    def at_node(moving, index):
        whole = eqx.combine(moving, rest)
        l, weight = node(index)
        lights = whole.brightness(whole.geometry.tilt, whole.x, whole.y, l)
        return jnp.stack([weight * light for light in lights])

    def integral(moving):
        def add_node(total, index):
            used = index < number
            return jax.lax.cond(used, lambda: total + at_node(moving, index), lambda: total), None

        phases = integrand.dust.number_of_phases(integrand.x)
        start = jnp.zeros((phases, *integrand.x.shape), integrand.x.dtype)
        return list(jax.lax.scan(add_node, start, jnp.arange(most_nodes(rule)))[0])

    return jax.jvp(integral, (moving,), (tangents,))
