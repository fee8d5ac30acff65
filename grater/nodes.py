"""The nodes of all lines of sight through a disk: by which rule, how many, how good they are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .quadrature import (
    Choice,
    Lines,
    Rule,
    View,
    choose_nodes,
    measure_shells,
    measure_support,
    measure_wedge,
    place_lines,
    sees_shells,
)
from .slabs import MOST_SURFACES, Slabs, Steps, choose_steps, cut_slabs, kept_off_zero


class Nodes(NamedTuple):
    """Nodes on surfaces of equal height where some number of them is enough, else on segments.

    What a rule never uses is None.
    """

    enough: Bool[Array, ""]  # surfaces
    number: Int[Array, ""]
    surfaces: tuple[Steps, Slabs] | None
    lines: tuple[Lines, Choice] | None

    def node(self, index):
        """Position and weight of one node on all lines of sight, in semi-major axes."""
        if self.surfaces is None:
            assert self.lines is not None
            lines, choice = self.lines
            return lines.node(choice, index)
        steps, slabs = self.surfaces

        def on_surface():
            t, weight = steps.at(index)
            l, step = slabs.node(t)
            return l, weight * step

        if self.lines is None:
            return on_surface()
        lines, choice = self.lines
        return jax.lax.cond(self.enough, on_surface, lambda: lines.node(choice, index))


def most_nodes(rule: Rule) -> int:
    """No disk gets more nodes than this."""
    return max(MOST_SURFACES, 4 * rule.numbers[-1])


class Plan:
    """By which rule, and with how many nodes, the lines of sight through a disk are integrated.

    Surfaces of equal height are the rule where some number of them is accurate enough on a hundred
    lines of sight all over the disk, and segments are where none is.

    Parameters
    ----------
    view
        The disk's geometry.
    radial, vertical
        Its profiles.
    moving
        Tangents of the vertical profile, None where no derivative is asked for: the nodes have to
        do for derivatives, too.
    brightness
        Function of x, y and the position along the line of sight, in semi-major axes.
    unit
        Semi-major axis in au, shape ().
    x, y
        Sky coordinates of the pixels along the disk's major and minor axis from the star, in units
        of the semi-major axis, any shape.
    rule
        Accuracy.
    """

    def __init__(self, view: View, radial, vertical, moving, brightness, unit, x, y, rule: Rule):
        self.view, self.rule, self.dtype = view, rule, x.dtype
        self.support = measure_support(radial, rule.truncation, x.dtype)
        self.height = lambda q: vertical.height(q) / unit
        distance = x**2 + y**2
        radii = jnp.sqrt(jnp.min(distance)), jnp.sqrt(jnp.max(distance))
        tested = self.tested = _lines_to_test(view, self.support, self.height, radii)
        self.light = lambda l: jax.vmap(brightness, (None, None, 0))(*tested, l)
        self.enough = jnp.asarray(False)
        if self.cuts_segments:
            self.wedge = measure_wedge(vertical, self.support, rule.truncation, unit)
            fainter = 0.1 * rule.truncation
            self.shells = measure_shells(radial, vertical, self.support, fainter, unit)
        if rule.nodes_on == "segments":
            return
        self.largest, softened = Steps.for_profile(vertical, moving, rule.accuracy, x.dtype)
        chosen = choose_steps(
            self._slabs(*tested), self.largest, softened, self.light, rule.accuracy
        )
        self.steps, self.error_on_surfaces, self.enough = chosen

    def _slabs(self, x, y):
        return cut_slabs(self.view, self.height, self.support.q_peak, self.largest, x, y)

    @property
    def cuts_segments(self) -> bool:
        """Whether segments may be the rule."""
        return self.rule.nodes_on in ("segments", "auto")

    def no_choice(self) -> Choice:
        """Of nodes for segments, to begin with."""
        return Choice.none(self.rule, self.dtype)

    def lit(self, x, y) -> Bool[Array, "*pixels"]:
        """Which lines of sight see the disk at all, by the rule of segments; others give 0."""
        return sees_shells(self.view, self.shells, x, y) | self.enough

    def nodes(self, x, y, choice: Choice, first) -> tuple[Nodes, Choice]:
        """Nodes for some of the lines of sight.

        Parameters
        ----------
        x, y
            Of these lines, shape (n,).
        choice
            How many nodes each segment gets.
        first
            Whether that has not been chosen yet.
        """
        nodes_on = self.rule.nodes_on

        def lines():
            # the tested lines with all others, since the program that places them is long
            places = (jnp.append(pixels, t) for pixels, t in zip((x, y), self.tested, strict=True))
            placed = place_lines(self.view, self.support, self.wedge, self.height, *places)
            own, tested = (
                jax.tree.map(lambda v, part=part: v[..., part], placed)
                for part in (slice(x.size), slice(x.size, None))
            )

            def choose():
                return choose_nodes(tested, self.light, self.rule)

            return own, jax.lax.cond(first, choose, lambda: choice)

        if nodes_on == "segments":
            placed, choice = lines()
            return Nodes(self.enough, 4 * choice.number, None, (placed, choice)), choice

        surfaces = self.steps, self._slabs(x, y)
        if nodes_on == "surfaces":
            return Nodes(self.enough, self.steps.number, surfaces, None), choice
        if nodes_on == "surfaces or none":
            number = jnp.where(self.enough, self.steps.number, 0)
            return Nodes(self.enough, number, surfaces, None), choice

        def no_lines():
            return jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(lines))

        placed, choice = jax.lax.cond(self.enough, no_lines, lines)
        number = jnp.where(self.enough, self.steps.number, 4 * choice.number)
        return Nodes(self.enough, number, surfaces, (placed, choice)), choice

    def error(self) -> Float[Array, ""]:
        """The largest that is found on the tested lines of sight, relative to the peak."""
        if not self.cuts_segments:
            return self.error_on_surfaces
        _, choice = self.nodes(*self.tested, self.no_choice(), True)
        if self.rule.nodes_on == "segments":
            return choice.error
        return jnp.where(self.enough, self.error_on_surfaces, choice.error)


def _lines_to_test(view: View, support, height, radii):
    """Sky coordinates of lines of sight that cross a disk all over."""
    dtype = radii[0].dtype
    cos_i = kept_off_zero(view.cos_i)
    # from the hole, across which the halo of the ring is seen, outwards
    low = jnp.maximum(radii[0], 0.1 * support.q_peak)
    high = jnp.maximum(jnp.minimum(support.q_high, radii[1] / jnp.abs(cos_i)), low)
    spread = jnp.asarray(np.linspace(0.0, 1.0, 10), dtype)
    ring = jnp.asarray([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0], dtype) * support.log_width
    q = jnp.concatenate([low * (high / low) ** spread, support.q_peak * jnp.exp(ring)])
    # every other ring of them beside the midplane, which matters edge-on, and turned a little
    odd = np.repeat(np.arange(q.size) % 2, 8)
    turn = np.tile(np.arange(8) / 8.0, q.size) + odd / 16.0
    q, angle = jnp.repeat(q, 8), jnp.asarray(2.0 * np.pi * turn, dtype)
    above = height(q) * view.sin_i * jnp.asarray(odd, dtype)
    cos_a, sin_a = jnp.cos(angle), jnp.sin(angle)
    e = view.eccentricity
    radius = q * (1.0 - e**2) / (1.0 + e * (cos_a * view.cos_omega + sin_a * view.sin_omega))
    y = (radius * sin_a + view.offset_y) * cos_i + above
    return radius * cos_a + view.offset_x, y
