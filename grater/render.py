r"""The image of a disk: the line-of-sight integral of its scattered light, as a pure function.

.. math::
    I(x, y) = F \int \rho(q)\, f(z, q)\, \frac{p(\cos\theta)}{d^2}\, dl, \qquad
    \cos\theta = l / d

with :math:`l` positive towards the observer and :math:`d` the distance from the star. Derivatives
are taken through the integrand at fixed nodes (see `quadrature`); the sweep over the nodes keeps
nothing for the way back but recomputes it, so the memory of a gradient does not grow with their
number.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .quadrature import (
    SMALLEST_RADIUS,
    Rule,
    View,
    gauss_legendre,
    measure_support,
    place_lines,
)


class Orbit(NamedTuple):
    """Where a disk lies; lengths in au, angles in degrees, all scalars."""

    semi_major_axis: Float[Array, ""]
    inclination: Float[Array, ""]
    position_angle: Float[Array, ""]
    eccentricity: Float[Array, ""]
    argument_of_pericenter: Float[Array, ""]
    offset_x: Float[Array, ""]
    offset_y: Float[Array, ""]


def sky_to_disk(position_angle, x_sky, y_sky):
    """Sky offsets from the star (West, North) along the major axis and along the minor axis.

    The minor axis points to the near side of a disk with an inclination below 90 deg, the
    position angle minus 90 deg.
    """
    angle = jnp.deg2rad(position_angle)
    sin_pa, cos_pa = jnp.sin(angle), jnp.cos(angle)
    return cos_pa * y_sky - sin_pa * x_sky, cos_pa * x_sky + sin_pa * y_sky


def _unit(angle):
    """Sine and cosine of an angle in degrees, exact at 0, 90 and 180 in value and derivative."""
    folded = jnp.where(angle > 90.0, 180.0 - angle, angle)
    sine = jnp.where(
        folded > 45.0, jnp.cos(jnp.deg2rad(90.0 - folded)), jnp.sin(jnp.deg2rad(folded))
    )
    cosine = jnp.where(
        folded > 45.0, jnp.sin(jnp.deg2rad(90.0 - folded)), jnp.cos(jnp.deg2rad(folded))
    )
    return sine, jnp.where(angle > 90.0, -cosine, cosine)


def line_of_sight_integral(orbit: Orbit, radial, vertical, phase, x_sky, y_sky, rule: Rule):
    r"""Scattered light of one disk at points on the sky.

    Parameters
    ----------
    orbit
        The disk's geometry.
    radial, vertical
        Density profiles, see `AbstractRadialProfile` and `AbstractVerticalProfile`.
    phase
        A curve of the cosine of the scattering angle.
    x_sky, y_sky
        Offsets from the star in au to the West and to the North, any shape, never both 0.
    rule
        Number of nodes and truncation.

    Returns
    -------
    array
        :math:`\int \rho f p / d^2\, dl` in 1 / au, of the shape of x_sky.
    """
    a, e = orbit.semi_major_axis, orbit.eccentricity
    sin_i, cos_i = _unit(orbit.inclination)
    omega = jnp.deg2rad(orbit.argument_of_pericenter)
    cos_w, sin_w = jnp.cos(omega), jnp.sin(omega)

    x, y = sky_to_disk(orbit.position_angle, x_sky, y_sky)
    view = View(sin_i, cos_i, e, cos_w, sin_w, orbit.offset_x / a, orbit.offset_y / a)
    stopped = jax.lax.stop_gradient((view, radial, vertical, a, x / a, y / a))
    support = measure_support(stopped[1], stopped[2], rule.truncation, stopped[3])

    def wedge(q):
        return support.extent * stopped[2].height(q) / stopped[3]

    lines = place_lines(stopped[0], support, wedge, stopped[4], stopped[5])
    fixed_a = stopped[3]

    node, weight = (jnp.asarray(v, x.dtype) for v in gauss_legendre(rule.nodes))
    innermost = (SMALLEST_RADIUS * fixed_a) ** 2

    def brightness(l):
        x_d = x - orbit.offset_x
        y_d = y * cos_i + l * sin_i - orbit.offset_y
        z = l * cos_i - y * sin_i
        # kept off 0, where neither the radius nor its logarithm has a derivative
        r = jnp.sqrt(jnp.maximum(x_d**2 + y_d**2, innermost))
        q = (r + e * (x_d * cos_w + y_d * sin_w)) / (a * (1.0 - e**2))
        d_squared = x_sky**2 + y_sky**2 + l**2
        density = radial.density(q) * vertical.profile(jnp.abs(z) / vertical.height(q))
        return density * phase(l / jnp.sqrt(d_squared)) / d_squared

    @jax.checkpoint
    def at_node(segment, t):
        l, step = lines.node(segment, t)
        return brightness(fixed_a * l), fixed_a * step

    def add_node(total, node_and_weight, segment):
        t, w = node_and_weight
        value, step = at_node(segment, t)
        return total + w * step * value, None

    def add_segment(total, segment):
        total, _ = jax.lax.scan(lambda acc, tw: add_node(acc, tw, segment), total, (node, weight))
        return total, None

    total, _ = jax.lax.scan(add_segment, jnp.zeros_like(x), lines.segments)
    return total
