"""The nodes of all lines of sight through a disk: by which rule, how many, how good they are."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .dust import Integrand
from .extents import measure_shells, measure_support, measure_wedge, sees_shells
from .geometry import Geometry, kept_off_zero
from .rule import Rule
from .segments import Lines, choose_nodes, cut_lines
from .surfaces import (
    MOST_SURFACES,
    SMALLEST_COSINE,
    WIDE,
    Slabs,
    choose_steps,
    cut_slabs,
    steps_for,
)


def most_nodes(rule: Rule) -> int:
    """No disk gets more nodes than this."""
    return max(MOST_SURFACES, 4 * rule.numbers[-1])


class Plan:
    """By which rule, and with how many nodes, the lines of sight through a disk are integrated.

    Surfaces of equal height are the rule where some number of them is accurate enough on a hundred
    lines of sight all over the disk, and segments are where none is. Nothing of it is
    differentiated.

    Parameters
    ----------
    integrand
        The disk and all of its pixels.
    moving
        What is differentiated of the vertical profile: the nodes have to do for that, too.
    rule
        Accuracy.
    """

    def __init__(self, integrand: Integrand, moving, rule: Rule):
        integrand = jax.lax.stop_gradient(integrand)
        self.rule, dust = rule, integrand.dust
        self.unit = unit = integrand.geometry.semi_major_axis
        self.geometry = integrand.geometry.scaled
        self.height = lambda q: dust.vertical.height(q) / unit
        squared = integrand.x**2 + integrand.y**2
        nearest, farthest = (jnp.sqrt(end(squared)) / unit for end in (jnp.min, jnp.max))
        profile = dust.radial, dust.phase, nearest
        self.support = measure_support(*profile, rule.truncation, integrand.x.dtype)
        densest = _densest_azimuth(dust.azimuthal, integrand.x.dtype)
        ends = nearest, farthest
        tested = _lines_to_test(self.geometry, self.support, self.height, ends, densest)
        light = _light(integrand, *(unit * part for part in tested))
        self.enough, self.error = jnp.asarray(False), None
        if rule.nodes_on != "segments":
            finest = steps_for(dust.vertical, moving, rule.accuracy, integrand.x.dtype)
            self.largest = finest.largest
            slabs = self._slabs(*tested)
            self.steps, self.error, self.enough = choose_steps(slabs, finest, light, rule)
        if not self.cuts_segments:
            return
        profiles = dust.radial, dust.vertical
        self.wedge = measure_wedge(dust.vertical, self.support, rule.truncation, unit)
        self.shells = measure_shells(*profiles, self.support, 0.1 * rule.truncation, unit)
        self.choice = self._unless_enough(lambda: self._choose(tested, light))
        self.error = self._chosen(self.error, self.choice.error)

    @property
    def cuts_segments(self) -> bool:
        """Whether segments may be the rule."""
        return self.rule.nodes_on != "surfaces"

    def _slabs(self, x, y) -> Slabs:
        q_peak = self.support.q_peak
        return cut_slabs(self.geometry, self.height, q_peak, self.largest, x, y)

    def _cut(self, x, y) -> Lines:
        return cut_lines(self.geometry, self.support, self.wedge, self.height, x, y)

    def _choose(self, tested, light):
        """Nodes on segments; wings are felt as far as the disk is wide."""
        extent, q = self.wedge.extent, self.support.q_peak
        wings = jnp.where(extent > WIDE, jnp.minimum(extent, 3.0 * q / self.height(q)), 0.0)
        return choose_nodes(self._cut(*tested), light, self.rule, wings)

    def _chosen(self, on_surfaces, on_segments):
        """What holds for the rule that is taken."""
        if on_surfaces is None:
            return on_segments
        return jnp.where(self.enough, on_surfaces, on_segments)

    def _unless_enough(self, function):
        """What a function returns, or zeros where surfaces are enough."""
        if self.rule.nodes_on == "segments":
            return function()
        shapes = jax.eval_shape(function)
        return jax.lax.cond(
            self.enough,
            lambda: jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), shapes),
            function,
        )

    def lit(self, x, y) -> Bool[Array, " n"]:
        """Which lines of sight see the disk at all, by the rule of segments; others give 0."""
        seen = sees_shells(self.geometry, self.shells, x / self.unit, y / self.unit)
        return seen | self.enough

    def nodes(self, x, y):
        """How many nodes some of the lines of sight get, and where they are.

        Parameters
        ----------
        x, y
            Of these lines, in au, shape (n,).

        Returns
        -------
        number
            Shape ().
        node
            Function of a node's index that returns positions and weights in au, shape (n,).
        """
        places = jax.lax.stop_gradient((x / self.unit, y / self.unit))
        if self.rule.nodes_on == "segments":
            return self._on_segments(places)
        number, on_surface = self._on_surfaces(places)
        if not self.cuts_segments:
            return number, on_surface
        of_segments, on_segment = self._on_segments(places)
        return self._chosen(number, of_segments), lambda index: jax.lax.cond(
            self.enough, on_surface, on_segment, index
        )

    def _on_surfaces(self, places):
        slabs = self._slabs(*places)

        def node(index):
            t, weight = self.steps.at(index)
            l, step = slabs.node(t)
            return self.unit * l, self.unit * (weight * step)

        number = self.steps.number
        return jnp.where(self.enough, number, 0) if self.rule.or_none else number, node

    def _on_segments(self, places):
        lines = self._unless_enough(lambda: self._cut(*places))

        def node(index):
            l, weight = lines.node(self.choice, index)
            return self.unit * l, self.unit * weight

        return 4 * self.choice.number, node


def _light(integrand: Integrand, x, y):
    """The integrand on some lines of sight, a function of positions in semi-major axes."""
    tilt, unit = integrand.geometry.tilt, integrand.geometry.semi_major_axis

    def brightness(l):
        lights = integrand.brightness(tilt, x, y, unit * l)
        if len(lights) == 1:
            return lights[0]
        # all of them together, each about as bright as the others
        middle = integrand.dust.phase(jnp.asarray([-0.5, 0.0, 0.5], x.dtype))
        tiny = jnp.finfo(x.dtype).tiny
        units = [jnp.maximum(jnp.mean(jnp.abs(p)), tiny) for p in middle]
        return sum(light / unit for light, unit in zip(lights, units, strict=True))

    return jax.vmap(brightness)


def _densest_azimuth(azimuthal, dtype):
    """Azimuth in radians at which a ring has the most dust."""
    azimuth = jnp.asarray(np.arange(720) * (np.pi / 360.0), dtype)
    return azimuth[jnp.argmax(azimuthal.density(jnp.cos(azimuth), jnp.sin(azimuth)))]


def _lines_to_test(geometry: Geometry, support, height, ends, densest):
    """Sky coordinates of 144 lines of sight all over a disk, between two distances.

    Some of them meet the ring at an azimuth that is given.
    """
    nearest, farthest = ends
    dtype = nearest.dtype
    sin_i, cos_i = geometry.tilt
    cos_i = kept_off_zero(cos_i, SMALLEST_COSINE)
    # from the hole, across which the halo of the ring is seen, outwards
    low = jnp.maximum(nearest, 0.1 * support.q_peak)
    high = jnp.maximum(jnp.minimum(support.q_high, farthest / jnp.abs(cos_i)), low)
    spread = jnp.asarray(np.linspace(0.0, 1.0, 10), dtype)
    ring = jnp.asarray([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0], dtype) * support.log_width
    q = jnp.concatenate([low * (high / low) ** spread, support.q_peak * jnp.exp(ring)])
    # every other ring of them beside the midplane, which matters edge-on, and turned a little
    odd = np.repeat(np.arange(q.size) % 2, 8)
    turn = np.tile(np.arange(8) / 8.0, q.size) + odd / 16.0
    q, angle = jnp.repeat(q, 8), densest + jnp.asarray(2.0 * np.pi * turn, dtype)
    above = height(q) * sin_i * jnp.asarray(odd, dtype)
    cos_a, sin_a = jnp.cos(angle), jnp.sin(angle)
    along = 1.0 + geometry.e_cos * cos_a + geometry.e_sin * sin_a
    radius = q * geometry.semi_latus_rectum / along
    return radius * cos_a + geometry.offset_x, (radius * sin_a + geometry.offset_y) * cos_i + above
