r"""The image of a disk: the line-of-sight integral of its scattered light, as a pure function.

.. math::
    I(x, y) = F \int \rho(q)\, f(z, q)\, \frac{p(\cos\theta)}{d^2}\, dl, \qquad
    \cos\theta = l / d

with :math:`l` positive towards the observer and :math:`d` the distance from the star. Derivatives
are taken through the integrand at fixed nodes (see `quadrature` and `slabs`), in the same sweep as
the image: each is an image of its own, so that the memory of a gradient does not grow with the
number of nodes.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._math import added_together, computed_once, inverse_sqrt
from .nodes import Nodes, Plan, most_nodes
from .quadrature import ALIGNED, SMALLEST_RADIUS, Rule, View
from .slabs import in_each_number

# components with more numbers than this are differentiated in reverse mode
_MOST_DIRECTIONS = 48
# lines of sight that are integrated at once, about, and how many times as many without derivatives
_BLOCK = {"surfaces": 5120, "surfaces or none": 5120, "segments": 2048, "auto": 4096}
_LARGER = 4


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
    shape, size = jnp.shape(x_sky), jnp.size(x_sky)
    blocks = _number_of_blocks(size, rule)
    spare = -size % (blocks * ALIGNED)
    x_sky, y_sky = (jnp.pad(jnp.ravel(v), (0, spare), "edge") for v in (x_sky, y_sky))
    arguments = _separate(orbit, radial, vertical, phase, x_sky, y_sky)
    orbit = jax.lax.stop_gradient(orbit)
    integral = _integral(*arguments, orbit=orbit, rule=rule, blocks=blocks)
    return integral[:size].reshape(shape)


def integration_error(orbit: Orbit, radial, vertical, phase, x_sky, y_sky, rule: Rule):
    """Error of `line_of_sight_integral` as it was found on a hundred lines of sight.

    Parameters are those of `line_of_sight_integral`.

    Returns
    -------
    array
        Relative to the largest of the integrals, shape ().
    """
    arguments = _separate(orbit, radial, vertical, phase, x_sky, y_sky)
    return _plan(arguments, _none_moves(vertical), orbit, rule).error()


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


def _plan(primals, moving, orbit: Orbit, rule: Rule) -> Plan:
    """Nodes that do for derivatives in what is moving of the vertical profile, too."""
    ellipse, dust, x, y = jax.lax.stop_gradient(primals)
    a = orbit.semi_major_axis
    sin_i, cos_i = _unit(orbit.inclination)
    omega = jnp.deg2rad(orbit.argument_of_pericenter)
    offsets = orbit.offset_x / a, orbit.offset_y / a
    view = View(sin_i, cos_i, orbit.eccentricity, jnp.cos(omega), jnp.sin(omega), *offsets)

    def brightness(x, y, l):
        return _brightness(ellipse, dust, a * x, a * y, a * l, SMALLEST_RADIUS * a)

    return Plan(view, dust.radial, dust.vertical, moving, brightness, a, x / a, y / a, rule)


def _number_of_blocks(size: int, rule: Rule) -> int:
    """Blocks for a gradient: those of an image, which has fewer sums, are `_LARGER` of them."""
    blocks = size / _BLOCK[rule.nodes_on]
    return max(1, round(blocks) if blocks < _LARGER else _LARGER * round(blocks / _LARGER))


def _integrate(sample, primals, moving, orbit: Orbit, rule: Rule, blocks: int, count: int):
    """Sums of samples over the nodes of all lines of sight.

    The lines of sight are taken in blocks, whose numbers stay in the processor's caches.

    Parameters
    ----------
    sample
        Function of the dust, the pixels x and y, the position along the line of sight, the weight
        of the node and the sums so far that returns the new sums.
    primals, moving, orbit, rule
        As for `_plan`.
    blocks
        Number of equal blocks.
    count
        Number of sums.

    Returns
    -------
    sums
        Images, a list.
    enough
        Whether surfaces of equal height are accurate enough.
    """
    _, dust, x, y = primals
    plan = _plan(primals, moving, orbit, rule)
    unit = jax.lax.stop_gradient(orbit.semi_major_axis)

    def through(x, y, choice, first):
        places = jax.lax.stop_gradient((x / unit, y / unit))
        nodes, choice = plan.nodes(*places, choice, first)
        nodes, choice = jax.lax.stop_gradient((nodes, choice))
        start = [jnp.zeros_like(x)] * count
        return _sweep(start, functools.partial(sample, x, y), dust, nodes, unit), choice

    if blocks == 1:
        return through(x, y, plan.no_choice(), True)[0], plan.enough
    size, used = x.size // blocks, blocks
    if plan.cuts_segments:
        # those that see the disk come first
        lit = plan.lit(*jax.lax.stop_gradient((x / unit, y / unit)))
        place = jnp.cumsum(lit) - 1
        used = (place[-1] + size) // size
        target = jnp.where(lit, place, x.size)
        x, y = (v[-1:].repeat(v.size).at[target].set(v, mode="drop") for v in (x, y))

    def block(index, state):
        images, choice = state
        own = (jax.lax.dynamic_slice(v, (index * size,), (size,)) for v in (x, y))
        sums, choice = through(*own, choice, index == 0)
        both = zip(images, sums, strict=True)
        images = [jax.lax.dynamic_update_slice(i, s, (index * size,)) for i, s in both]
        return images, choice

    state = [jnp.zeros_like(x)] * count, plan.no_choice()
    images, _ = jax.lax.fori_loop(0, used, block, state)
    if plan.cuts_segments:
        images = [jnp.where(lit, image.at[place].get(mode="clip"), 0.0) for image in images]
    return images, plan.enough


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


def _sweep(start, sample, dust: Dust, nodes: Nodes, unit):
    """Sums over all nodes of some lines of sight."""

    def through(dust):
        def add_node(index, sums):
            l, step = nodes.node(index)
            return sample(dust, unit * l, unit * step, sums)

        return jax.lax.fori_loop(0, nodes.number, add_node, start)

    cheaper = dust.vertical.cheaper()
    if cheaper is None:
        return through(dust)
    holds, vertical = cheaper
    return jax.lax.cond(
        holds, lambda: through(dust._replace(vertical=vertical)), lambda: through(dust)
    )


@eqx.filter_custom_jvp
def _integral(ellipse, dust, x, y, *, orbit, rule, blocks):
    innermost = SMALLEST_RADIUS * orbit.semi_major_axis

    def sample(x, y, dust, l, weight, sums):
        return [sums[0] + weight * _brightness(ellipse, dust, x, y, l, innermost)]

    primals = ellipse, dust, x, y
    moving = _none_moves(dust.vertical)
    fewer = max(1, blocks // _LARGER)
    (image,), enough = _integrate(sample, primals, moving, orbit, rule, fewer, 1)
    return jnp.where(enough, image, jnp.nan) if rule.nodes_on == "surfaces or none" else image


@_integral.def_jvp
def _integral_jvp(primals, tangents, *, orbit, rule, blocks):
    """The image and, in the same sweep, its derivative in every parameter that moves.

    All of them are sums over the nodes, as the image is, so that reverse mode is one product of
    images for each parameter and forward mode is no dearer. Of the components only derivatives of
    a function of one or two variables are needed, whoever wrote them.
    """
    (ellipse, _, x, y), (ellipse_dot, dust_dot, x_dot, y_dot) = primals, tangents
    moving = [dot for dot in jax.tree.leaves(dust_dot) if dot is not None]
    if sum(dot.size for dot in moving) > _MOST_DIRECTIONS:
        return _plain_jvp(primals, tangents, orbit, rule)
    of_ellipse = {name for name, dot in ellipse_dot._asdict().items() if dot is not None}
    of_sky = {
        *(("offset_x", "distance") if x_dot is not None else ()),
        *(("offset_y", "height", "distance") if y_dot is not None else ()),
    }
    names = sorted(of_ellipse | of_sky)
    innermost, per_parameter = SMALLEST_RADIUS * orbit.semi_major_axis, 1.0 / ellipse.parameter
    sin_i, cos_i = tilt = _unit(ellipse.inclination)

    def add_sample(dust, x, y, l, weight, *sums):
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

    def sample(x, y, dust, l, weight, sums):
        return computed_once(functools.partial(add_sample, dust), x, y, l, weight, *sums)

    count = 1 + len(names) + sum(dot.size for dot in moving)
    (image, *sums), _ = _integrate(sample, primals, dust_dot.vertical, orbit, rule, blocks, count)
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


def _plain_jvp(primals, tangents, orbit, rule):
    """By JAX's own rules, for components of so many numbers that an image for each is too much."""
    unit = orbit.semi_major_axis
    plan = _plan(primals, tangents[1].vertical, orbit, rule)
    places = jax.lax.stop_gradient((primals[2] / unit, primals[3] / unit))
    nodes = jax.lax.stop_gradient(plan.nodes(*places, plan.no_choice(), True)[0])
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
