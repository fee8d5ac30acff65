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
from collections.abc import Sequence
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


class Layer(NamedTuple):
    """What a line-of-sight integral is made of.

    Parameters
    ----------
    orbit
        A disk's geometry.
    radial, vertical
        Density profiles, see `AbstractRadialProfile` and `AbstractVerticalProfile`.
    phase
        A function of the cosine of the scattering angle. One that returns a tuple has so many
        integrals: what its parts have in common, and all the rest, is then worked out once.
    """

    orbit: Orbit
    radial: Any
    vertical: Any
    phase: Any


def line_of_sight_integrals(layers: Sequence[Layer], x_sky, y_sky, rule: Rule) -> list:
    r"""Scattered light of each of some disks at points on the sky.

    Disks of the same kinds of components, of which the same parameters are differentiated, are one
    program.

    Parameters
    ----------
    layers
        The disks.
    x_sky, y_sky
        Offsets from the star in au to the West and to the North, any shape, never both 0.
    rule
        How finely the lines of sight are sampled.

    Returns
    -------
    list of array
        :math:`\int \rho f p / d^2\, dl` in 1 / au, of the shape of x_sky; where the phase function
        is a tuple of several, shape (several, *x_sky).
    """
    shape, size = jnp.shape(x_sky), jnp.size(x_sky)
    blocks = _number_of_blocks(size, rule)
    spare = -size % (blocks * ALIGNED)
    x_sky, y_sky = (jnp.pad(jnp.ravel(v), (0, spare), "edge") for v in (x_sky, y_sky))
    integrands = [_separate(layer, x_sky, y_sky) for layer in layers]
    orbits = jax.lax.stop_gradient([layer.orbit for layer in layers])
    found = _integrals(integrands, orbits=orbits, rule=rule, blocks=blocks)
    found = [[image[:size].reshape(shape) for image in images] for images in found]
    right = [layer.phase(jnp.zeros((), x_sky.dtype)) for layer in layers]
    return [
        jnp.stack(images) if isinstance(value, tuple) else images[0]
        for images, value in zip(found, right, strict=True)
    ]


def integration_error(layer: Layer, x_sky, y_sky, rule: Rule):
    """Error of `line_of_sight_integrals` as it was found on a hundred lines of sight.

    Parameters are those of `line_of_sight_integrals`, of one disk.

    Returns
    -------
    array
        Relative to the largest of the integrals, shape ().
    """
    integrand = _separate(layer, x_sky, y_sky)
    return _plan(integrand, _none_moves(layer.vertical), layer.orbit, rule).error()


def _separate(layer: Layer, x_sky, y_sky):
    """The geometry of the integrand, its components, and the pixels along the disk's axes."""
    orbit, radial, vertical, phase = layer
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

    def phases(self, cos_scatter):
        """Values of all phase functions, a tuple."""
        return _several(self.phase(cos_scatter))


def _several(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _at_right_angle(phase, like):
    return phase(jnp.zeros((), like.dtype))


def _plan(primals, moving, orbit: Orbit, rule: Rule) -> Plan:
    """Nodes that do for derivatives in what is moving of the vertical profile, too."""
    ellipse, dust, x, y = jax.lax.stop_gradient(primals)
    a = orbit.semi_major_axis
    sin_i, cos_i = _unit(orbit.inclination)
    omega = jnp.deg2rad(orbit.argument_of_pericenter)
    offsets = orbit.offset_x / a, orbit.offset_y / a
    view = View(sin_i, cos_i, orbit.eccentricity, jnp.cos(omega), jnp.sin(omega), *offsets)

    def brightness(x, y, l):
        lights = _brightness(ellipse, dust, a * x, a * y, a * l, SMALLEST_RADIUS * a)
        if len(lights) == 1:
            return lights[0]
        # all of them together, each about as bright as the others
        right = _at_right_angle(dust.phase, x)
        tiny = jnp.finfo(x.dtype).tiny
        return sum(light / jnp.maximum(p, tiny) for light, p in zip(lights, right, strict=True))

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


def _number_of_phases(dust: Dust, like) -> int:
    return len(jax.eval_shape(dust.phases, like))


def _brightness(ellipse: Ellipse, dust: Dust, x, y, l, innermost):
    x_d, y_d, z, r = _place_sample(ellipse, _unit(ellipse.inclination), x, y, l, innermost)
    per_d = inverse_sqrt(x**2 + y**2 + l**2)
    density = dust.density(_radius(ellipse, x_d, y_d, r), z)
    return [density * phase * per_d**2 for phase in dust.phases(l * per_d)]


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


def _alike(function, arguments) -> list:
    """A function of each of some arguments, compiled once for those that differ by values only."""
    kinds: dict = {}
    for index, argument in enumerate(arguments):
        arrays, rest = eqx.partition(argument, eqx.is_array)
        leaves, tree = jax.tree.flatten(arrays)
        others, structure = jax.tree.flatten(rest)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        kinds.setdefault((tree, shapes, structure, tuple(others)), []).append(index)
    found = {}
    for members in kinds.values():
        if len(members) == 1:
            found[members[0]] = function(arguments[members[0]])
            continue
        arrays, rest = zip(
            *(eqx.partition(arguments[index], eqx.is_array) for index in members), strict=True
        )
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *arrays)
        results = jax.lax.map(lambda own, rest=rest[0]: function(eqx.combine(own, rest)), stacked)
        for k, index in enumerate(members):
            found[index] = jax.tree.map(lambda result, k=k: result[k], results)
    return [found[index] for index in range(len(arguments))]


@eqx.filter_custom_jvp
def _integrals(integrands, *, orbits, rule, blocks):
    fewer = max(1, blocks // _LARGER)

    def integral(argument):
        integrand, orbit = argument
        ellipse, dust, x, _ = integrand
        innermost = SMALLEST_RADIUS * orbit.semi_major_axis

        def sample(x, y, dust, l, weight, sums):
            lights = _brightness(ellipse, dust, x, y, l, innermost)
            return [total + weight * light for total, light in zip(sums, lights, strict=True)]

        moving, count = _none_moves(dust.vertical), _number_of_phases(dust, x)
        images, enough = _integrate(sample, integrand, moving, orbit, rule, fewer, count)
        if rule.nodes_on == "surfaces or none":
            images = [jnp.where(enough, image, jnp.nan) for image in images]
        return images

    return _alike(integral, list(zip(integrands, orbits, strict=True)))


@_integrals.def_jvp
def _integrals_jvp(primals, tangents, *, orbits, rule, blocks):
    """The images and, in the same sweep, their derivatives in every parameter that moves.

    All of them are sums over the nodes, as the images are, so that reverse mode is one product of
    images for each parameter and forward mode is no dearer. Of the components only derivatives of
    a function of one or two variables are needed, whoever wrote them.
    """
    ((integrands,), (dots,)), found = (primals, tangents), {}
    few = []
    for index, (integrand, dot, orbit) in enumerate(zip(integrands, dots, orbits, strict=True)):
        if sum(number.size for number in jax.tree.leaves(dot[1])) > _MOST_DIRECTIONS:
            found[index] = _plain_jvp(integrand, dot, orbit, rule)
        else:
            few.append(index)

    def sums_of(argument):
        return _sums_with_derivatives(*argument, rule=rule, blocks=blocks)

    arguments = [(integrands[k], _moving_of(dots[k]), orbits[k]) for k in few]
    for k, sums in zip(few, _alike(sums_of, arguments), strict=True):
        found[k] = _images_and_derivatives(integrands[k], dots[k], sums)
    images, derivatives = zip(*(found[k] for k in range(len(integrands))), strict=True)
    return list(images), list(derivatives)


class Moving(NamedTuple):
    """What an image is differentiated in."""

    geometry: tuple[str, ...]
    dust: Dust  # shapes of the numbers, None where they are fixed


def _moving_of(dots) -> Moving:
    ellipse, dust, x, y = dots
    of_ellipse = {name for name, dot in ellipse._asdict().items() if dot is not None}
    of_sky = {
        *(("offset_x", "distance") if x is not None else ()),
        *(("offset_y", "height", "distance") if y is not None else ()),
    }
    shapes = jax.tree.map(lambda dot: jax.ShapeDtypeStruct(dot.shape, dot.dtype), dust)
    return Moving(tuple(sorted(of_ellipse | of_sky)), shapes)


def _sums_with_derivatives(integrand, moving: Moving, orbit: Orbit, *, rule: Rule, blocks: int):
    """For each phase function the image, its derivatives in the geometry and in the numbers."""
    ellipse, dust, x, _ = integrand
    names, dust_dot = moving
    innermost, per_parameter = SMALLEST_RADIUS * orbit.semi_major_axis, 1.0 / ellipse.parameter
    tilt = _unit(ellipse.inclination)

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
        phases, phases_c = jax.jvp(dust.phases, (cos_scatter,), (along,))
        slope = profile_t * per_height
        in_height = -t * slope

        light = weight * per_d**2
        of_density = in_each_number(lambda p: p.density(q), dust.radial, dust_dot.radial)
        of_height, of_profile = (
            in_each_number(function, dust.vertical, dust_dot.vertical)
            for function in (lambda p: p.height(q), lambda p: p.profile(t))
        )
        of_vertical = [in_height * a + b for a, b in zip(of_height, of_profile, strict=True)]

        of_phases = in_each_number(lambda p: _several(p(cos_scatter)), dust.phase, dust_dot.phase)

        def terms(k, phase, phase_c):
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
            numbers = [
                factor * derivative
                for factor, derivatives in (
                    (lit * profile, of_density),
                    (flat, of_vertical),
                    (dense, [d[k] if isinstance(d, tuple) else d for d in of_phases]),
                )
                for derivative in derivatives
            ]
            return [total, *(geometric[name]() for name in names), *numbers]

        every = zip(range(len(phases)), phases, phases_c, strict=True)
        return added_together(sums, [term for each in every for term in terms(*each)])

    def sample(x, y, dust, l, weight, sums):
        return computed_once(functools.partial(add_sample, dust), x, y, l, weight, *sums)

    each = 1 + len(names) + sum(number.size for number in jax.tree.leaves(dust_dot))
    count = each * _number_of_phases(dust, x)
    sums, _ = _integrate(sample, integrand, dust_dot.vertical, orbit, rule, blocks, count)
    return [sums[start : start + each] for start in range(0, count, each)]


def _images_and_derivatives(integrand, dots, sums):
    """The images and what the tangents make of their derivatives."""
    ellipse, _, x, y = integrand
    ellipse_dot, dust_dot, x_dot, y_dot = dots
    names = _moving_of(dots).geometry
    per_parameter = 1.0 / ellipse.parameter
    sin_i, cos_i = _unit(ellipse.inclination)
    leaves = jax.tree.leaves(dust_dot)
    numbers = jnp.concatenate([jnp.ravel(dot) for dot in leaves]) if leaves else ()
    factors = {
        "inclination": jnp.deg2rad(1.0),
        "parameter": -per_parameter,
        "e_cos": per_parameter,
        "e_sin": per_parameter,
        "offset_x": -1.0,
        "offset_y": -1.0,
    }

    def derivative(sums):
        slope = dict(zip(names, sums, strict=False))
        image_dot = jnp.zeros_like(x)
        for name, dot in ellipse_dot._asdict().items():
            if dot is not None:
                image_dot = image_dot + slope[name] * (factors[name] * dot)
        if x_dot is not None:
            image_dot = image_dot + (slope["offset_x"] - 2.0 * x * slope["distance"]) * x_dot
        if y_dot is not None:
            tilted = cos_i * slope["offset_y"] - sin_i * slope["height"]
            image_dot = image_dot + (tilted - 2.0 * y * slope["distance"]) * y_dot
        for number, in_number in zip(numbers, sums[len(names) :], strict=True):
            image_dot = image_dot + in_number * number
        return image_dot

    return [of_phase[0] for of_phase in sums], [derivative(of_phase[1:]) for of_phase in sums]


def _plain_jvp(integrand, dots, orbit, rule):
    """By JAX's own rules, for components of so many numbers that an image for each is too much."""
    unit = orbit.semi_major_axis
    plan = _plan(integrand, dots[1].vertical, orbit, rule)
    places = jax.lax.stop_gradient((integrand[2] / unit, integrand[3] / unit))
    nodes = jax.lax.stop_gradient(plan.nodes(*places, plan.no_choice(), True)[0])
    moving, rest = eqx.partition(integrand, eqx.is_inexact_array)
    tangents = jax.tree.map(
        lambda value, dot: jnp.zeros_like(value) if dot is None else dot, moving, dots
    )

    @jax.checkpoint
    def at_node(moving, index):
        ellipse, dust, x, y = eqx.combine(moving, rest)
        l, step = nodes.node(index)
        lights = _brightness(ellipse, dust, x, y, unit * l, SMALLEST_RADIUS * unit)
        return jnp.stack([unit * step * light for light in lights])

    def integral(moving):
        def add_node(total, index):
            used = index < nodes.number
            return jax.lax.cond(used, lambda: total + at_node(moving, index), lambda: total), None

        start = jnp.zeros((_number_of_phases(integrand[1], integrand[2]), *integrand[2].shape))
        start = start.astype(integrand[2].dtype)
        return list(jax.lax.scan(add_node, start, jnp.arange(most_nodes(rule)))[0])

    return jax.jvp(integral, (moving,), (tangents,))
