r"""The image of a disk: the line-of-sight integral of its scattered light, as a pure function.

.. math::
    I(x, y) = F \int \rho(q)\, f(z, q)\, \frac{p(\cos\theta)}{d^2}\, dl, \qquad
    \cos\theta = l / d

with :math:`l` positive towards the observer and :math:`d` the distance from the star. Derivatives
are taken through the integrand at fixed nodes (see `quadrature` and `slabs`), in the same sweep as
the image: each is an image of its own, so that the memory of a gradient does not grow with the
number of nodes.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._math import added_together, computed_once, inverse_sqrt
from .nodes import Nodes, most_nodes, place_nodes
from .quadrature import SMALLEST_RADIUS, Rule, View
from .slabs import in_each_number

# components with more numbers than this are differentiated in reverse mode
_MOST_DIRECTIONS = 48


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
    steep = folded > 45.0
    small = jnp.deg2rad(jnp.where(steep, 90.0 - folded, folded))
    sine, cosine = jnp.sin(small), jnp.cos(small)
    sine, cosine = jnp.where(steep, cosine, sine), jnp.where(steep, sine, cosine)
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
        How finely the lines of sight are sampled.

    Returns
    -------
    array
        :math:`\int \rho f p / d^2\, dl` in 1 / au, of the shape of x_sky.
    """
    shape = jnp.shape(x_sky)
    # in one dimension, where the compiler leaves no end of a row to be done number by number
    x_sky, y_sky = jnp.ravel(x_sky), jnp.ravel(y_sky)
    arguments = _separate(orbit, radial, vertical, phase, x_sky, y_sky)
    integral = _integral(*arguments, orbit=jax.lax.stop_gradient(orbit), rule=rule)
    return integral.reshape(shape)


def integration_error(orbit: Orbit, radial, vertical, phase, x_sky, y_sky, rule: Rule):
    """Error of `line_of_sight_integral` as it was found on a hundred lines of sight.

    Parameters are those of `line_of_sight_integral`.

    Returns
    -------
    array
        Relative to the largest of the integrals, shape ().
    """
    arguments = _separate(orbit, radial, vertical, phase, x_sky, y_sky)
    return _place_nodes(arguments, _none_moves(vertical), orbit, rule).error


def _separate(orbit: Orbit, radial, vertical, phase, x_sky, y_sky):
    """The geometry of the integrand, its components, and the pixels along the disk's axes."""
    a, e = orbit.semi_major_axis, orbit.eccentricity
    omega = jnp.deg2rad(orbit.argument_of_pericenter)
    e_cos, e_sin = e * jnp.cos(omega), e * jnp.sin(omega)
    x, y = sky_to_disk(orbit.position_angle, x_sky, y_sky)
    ellipse = Ellipse(
        orbit.inclination, a * (1.0 - e**2), e_cos, e_sin, orbit.offset_x, orbit.offset_y
    )
    if not isinstance(phase, eqx.Module):  # a function that may hold parameters
        phase = eqx.filter_closure_convert(phase, jax.lax.stop_gradient(x))
    return ellipse, Dust(radial, vertical, phase), x, y


def _none_moves(component):
    return jax.tree.map(lambda _: None, component)


class Ellipse(NamedTuple):
    """What the integrand knows of an orbit; inclination in degrees, lengths in au."""

    inclination: Float[Array, ""]
    parameter: Float[Array, ""]  # a (1 - e^2)
    e_cos: Float[Array, ""]
    e_sin: Float[Array, ""]
    offset_x: Float[Array, ""]
    offset_y: Float[Array, ""]


class Dust(NamedTuple):
    """The components of the integrand that a user may exchange."""

    radial: Any
    vertical: Any
    phase: Any

    def density(self, q, z):
        """Density at radii in reference ellipses and heights in au."""
        return self.radial.density(q) * self.vertical.profile(jnp.abs(z) / self.vertical.height(q))


def _place_nodes(primals, moving, orbit: Orbit, rule: Rule) -> Nodes:
    """Nodes that do for derivatives in what is moving of the vertical profile, too."""
    ellipse, dust, x, y = jax.lax.stop_gradient(primals)
    a = orbit.semi_major_axis
    sin_i, cos_i = _unit(orbit.inclination)
    omega = jnp.deg2rad(orbit.argument_of_pericenter)
    offsets = orbit.offset_x / a, orbit.offset_y / a
    view = View(sin_i, cos_i, orbit.eccentricity, jnp.cos(omega), jnp.sin(omega), *offsets)

    def brightness(x, y, l):
        return _brightness(ellipse, dust, a * x, a * y, a * l, SMALLEST_RADIUS * a)

    per_a = 1.0 / a
    places = x * per_a, y * per_a
    nodes = place_nodes(view, dust.radial, dust.vertical, moving, brightness, a, *places, rule)
    return jax.lax.stop_gradient(nodes)


def _place_sample(ellipse: Ellipse, tilt, x, y, l, innermost):
    """Disk-plane coordinates, height and distance from the ring's centre of a sample."""
    sin_i, cos_i = tilt
    x_d = x - ellipse.offset_x
    y_d = y * cos_i + l * sin_i - ellipse.offset_y
    # kept off 0, where neither the radius nor its logarithm has a derivative
    r = jnp.sqrt(jnp.maximum(x_d**2 + y_d**2, innermost**2))
    return x_d, y_d, l * cos_i - y * sin_i, r


def _radius(ellipse: Ellipse, x_d, y_d, r):
    return (r + ellipse.e_cos * x_d + ellipse.e_sin * y_d) * (1.0 / ellipse.parameter)


def _brightness(ellipse: Ellipse, dust: Dust, x, y, l, innermost):
    x_d, y_d, z, r = _place_sample(ellipse, _unit(ellipse.inclination), x, y, l, innermost)
    per_d = inverse_sqrt(x**2 + y**2 + l**2)
    density = dust.density(_radius(ellipse, x_d, y_d, r), z)
    return density * dust.phase(l * per_d) * per_d**2


def _sweep(start, add_sample, nodes: Nodes, unit):
    """Sum over all nodes of a weight times a function of the position along the line of sight."""

    def add_node(index, total):
        l, step = nodes.node(index)
        return add_sample(total, unit * l, unit * step)

    return jax.lax.fori_loop(0, nodes.number, add_node, start)


@eqx.filter_custom_jvp
def _integral(ellipse, dust, x, y, *, orbit, rule):
    nodes = _place_nodes((ellipse, dust, x, y), _none_moves(dust.vertical), orbit, rule)
    unit = orbit.semi_major_axis

    def add_sample(total, l, weight):
        return total + weight * _brightness(ellipse, dust, x, y, l, SMALLEST_RADIUS * unit)

    integral = _sweep(jnp.zeros_like(x), add_sample, nodes, unit)
    if rule.nodes_on == "surfaces or none":
        return jnp.where(nodes.enough, integral, jnp.nan)
    return integral


@_integral.def_jvp
def _integral_jvp(primals, tangents, *, orbit, rule):
    """The image and, in the same sweep, its derivative in every parameter that moves.

    All of them are sums over the nodes, as the image is, so that reverse mode is one product of
    images for each parameter and forward mode is no dearer. Of the components only derivatives of
    a function of one or two variables are needed, whoever wrote them.
    """
    (ellipse, dust, x, y), (ellipse_dot, dust_dot, x_dot, y_dot) = primals, tangents
    nodes = _place_nodes(primals, dust_dot.vertical, orbit, rule)
    unit = orbit.semi_major_axis
    moving = [dot for dot in jax.tree.leaves(dust_dot) if dot is not None]
    if sum(dot.size for dot in moving) > _MOST_DIRECTIONS:
        return _plain_jvp(primals, tangents, nodes, unit, rule)
    of_ellipse = {name for name, dot in ellipse_dot._asdict().items() if dot is not None}
    of_sky = {
        *(("offset_x", "distance") if x_dot is not None else ()),
        *(("offset_y", "height", "distance") if y_dot is not None else ()),
    }
    names = sorted(of_ellipse | of_sky)
    innermost, per_parameter = SMALLEST_RADIUS * unit, 1.0 / ellipse.parameter
    sin_i, cos_i = tilt = _unit(ellipse.inclination)

    def add_sample(l, weight, *sums):
        x_d, y_d, z, r = _place_sample(ellipse, tilt, x, y, l, innermost)
        q, per_r = _radius(ellipse, x_d, y_d, r), 1.0 / r
        per_d = inverse_sqrt(x**2 + y**2 + l**2)
        cos_scatter = l * per_d
        along = jnp.ones_like(q)
        density, density_q = jax.jvp(dust.radial.density, (q,), (along,))
        height, height_q = jax.jvp(dust.vertical.height, (q,), (along,))
        per_height = 1.0 / height
        t = jnp.abs(z) * per_height
        profile, profile_t = jax.jvp(dust.vertical.profile, (t,), (along,))
        phase, phase_c = jax.jvp(dust.phase, (cos_scatter,), (along,))
        slope = profile_t * per_height
        in_height = -t * slope

        light = weight * per_d**2
        lit, dense = light * phase, light * density
        flat = lit * density
        dense, total = dense * profile, flat * profile
        in_q = lit * (density_q * profile + density * in_height * height_q)
        in_z = flat * (jnp.sign(z) * slope)
        geometric = {
            "inclination": lambda: (
                in_q * (y_d * per_r + ellipse.e_sin) * (z * per_parameter)
                - in_z * (y_d + ellipse.offset_y)
            ),
            "parameter": lambda: in_q * q,
            "e_cos": lambda: in_q * x_d,
            "e_sin": lambda: in_q * y_d,
            "offset_x": lambda: in_q * (x_d * per_r + ellipse.e_cos) * per_parameter,
            "offset_y": lambda: in_q * (y_d * per_r + ellipse.e_sin) * per_parameter,
            "height": lambda: in_z,
            "distance": lambda: (total + 0.5 * dense * phase_c * cos_scatter) * per_d**2,
        }
        of_radial, of_height, of_profile, of_phase = (
            [factor * derivative for derivative in in_each_number(function, part, dot)]
            for factor, function, part, dot in (
                (lit * profile, lambda p: p.density(q), dust.radial, dust_dot.radial),
                (flat * in_height, lambda p: p.height(q), dust.vertical, dust_dot.vertical),
                (flat, lambda p: p.profile(t), dust.vertical, dust_dot.vertical),
                (dense, lambda p: p(cos_scatter), dust.phase, dust_dot.phase),
            )
        )
        of_vertical = [sum(both) for both in zip(of_height, of_profile, strict=True)]
        terms = [
            total,
            *(geometric[name]() for name in names),
            *(of_radial + of_vertical + of_phase),
        ]
        return added_together(sums, terms)

    def add_once(sums, l, weight):
        return computed_once(add_sample, l, weight, *sums)

    count = 1 + len(names) + sum(dot.size for dot in moving)
    image, *sums = _sweep([jnp.zeros_like(x)] * count, add_once, nodes, unit)
    slope = dict(zip(names, sums, strict=False))
    image_dot = jnp.zeros_like(x)
    factors = {
        "inclination": jnp.deg2rad(1.0),
        "parameter": -per_parameter,
        "e_cos": per_parameter,
        "e_sin": per_parameter,
        "offset_x": -1.0,
        "offset_y": -1.0,
    }
    for name in of_ellipse:
        image_dot = image_dot + slope[name] * (factors[name] * getattr(ellipse_dot, name))
    if x_dot is not None:
        image_dot = image_dot + (slope["offset_x"] - 2.0 * x * slope["distance"]) * x_dot
    if y_dot is not None:
        tilted = cos_i * slope["offset_y"] - sin_i * slope["height"]
        image_dot = image_dot + (tilted - 2.0 * y * slope["distance"]) * y_dot
    numbers = jnp.concatenate([jnp.ravel(dot) for dot in moving]) if moving else ()
    for number, total in zip(numbers, sums[len(names) :], strict=True):
        image_dot = image_dot + total * number
    return image, image_dot


def _plain_jvp(primals, tangents, nodes, unit, rule):
    """By JAX's own rules, for components of so many numbers that an image for each is too much."""
    moving, rest = eqx.partition(primals, eqx.is_inexact_array)
    dots = jax.tree.map(
        lambda value, dot: jnp.zeros_like(value) if dot is None else dot, moving, tangents
    )

    @jax.checkpoint
    def at_node(moving, index):
        ellipse, dust, x, y = eqx.combine(moving, rest)
        l, step = nodes.node(index)
        return unit * step * _brightness(ellipse, dust, x, y, unit * l, SMALLEST_RADIUS * unit)

    def integral(moving):
        def add_node(total, index):
            used = index < nodes.number
            return jax.lax.cond(used, lambda: total + at_node(moving, index), lambda: total), None

        most = jnp.arange(most_nodes(rule))
        return jax.lax.scan(add_node, jnp.zeros_like(primals[2]), most)[0]

    return jax.jvp(integral, (moving,), (dots,))
