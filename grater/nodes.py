"""The nodes of all lines of sight through a disk: by which rule, how many, how good they are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .quadrature import Lines, Rule, View, choose_nodes, measure_support, measure_wedge, place_lines
from .slabs import MOST_SURFACES, Slabs, Steps, choose_steps, cut_slabs, kept_off_zero


class Nodes(NamedTuple):
    """Nodes on surfaces of equal height where some number of them is enough, else on segments.

    What a rule never uses is None.
    """

    enough: Bool[Array, ""]  # surfaces
    number: Int[Array, ""]
    error: Float[Array, ""]  # largest that was found on a hundred lines of sight, of the peak
    surfaces: tuple[Steps, Slabs] | None
    lines: Lines | None

    def node(self, index):
        """Position and weight of one node on all lines of sight, in semi-major axes."""
        if self.surfaces is None:
            assert self.lines is not None
            return self.lines.node(index)
        steps, slabs = self.surfaces

        def on_surface():
            t, weight = steps.at(index)
            l, step = slabs.node(t)
            return l, weight * step

        if self.lines is None:
            return on_surface()
        lines = self.lines
        return jax.lax.cond(self.enough, on_surface, lambda: lines.node(index))


def most_nodes(rule: Rule) -> int:
    """No disk gets more nodes than this."""
    return max(MOST_SURFACES, 4 * rule.numbers[-1])


def place_nodes(view: View, radial, vertical, moving, brightness, unit, x, y, rule: Rule) -> Nodes:
    """Nodes for the lines of sight through a disk.

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
    support = measure_support(radial, rule.truncation, x.dtype)

    def height(q):
        return vertical.height(q) / unit

    distance = x**2 + y**2
    radii = jnp.sqrt(jnp.min(distance)), jnp.sqrt(jnp.max(distance))
    tested = _lines_to_test(view, support, height, radii)

    def light(l):
        return jax.vmap(brightness, (None, None, 0))(*tested, l)

    def lines():
        # all of them together, since the program that places them is long
        number = tested[0].size
        places = (jnp.append(pixels, t) for pixels, t in zip((x, y), tested, strict=True))
        wedge = measure_wedge(vertical, support, rule.truncation, unit)
        placed = place_lines(view, support, wedge, height, *places, rule)
        along = x.size + number

        def part(value, which, shape):
            if value.ndim == 0 or value.shape[-1] != along:
                return value
            return value[..., which].reshape(*value.shape[:-1], *shape)

        own = jax.tree.map(lambda v: part(v, slice(x.size), x.shape), placed)
        few = jax.tree.map(lambda v: part(v, slice(x.size, along), (number,)), placed)
        return choose_nodes(own, few, light, rule)

    if rule.nodes_on == "segments":
        placed, error = lines()
        return Nodes(jnp.asarray(False), 4 * placed.number, error, None, placed)

    largest, softened = Steps.for_profile(vertical, moving, rule.accuracy, x.dtype)
    few = cut_slabs(view, height, support.q_peak, largest, *tested)
    steps, error, enough = choose_steps(few, largest, softened, light, rule.accuracy)
    slabs = cut_slabs(view, height, support.q_peak, largest, x, y)
    if rule.nodes_on == "surfaces":
        return Nodes(enough, steps.number, error, (steps, slabs), None)
    if rule.nodes_on == "surfaces or none":
        return Nodes(enough, jnp.where(enough, steps.number, 0), error, (steps, slabs), None)

    def no_lines():
        return jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(lines))

    placed, line_error = jax.lax.cond(enough, no_lines, lines)
    return Nodes(
        enough,
        jnp.where(enough, steps.number, 4 * placed.number),
        jnp.where(enough, error, line_error),
        (steps, slabs),
        placed,
    )


def _lines_to_test(view: View, support, height, radii):
    """Sky coordinates of lines of sight that cross a disk all over."""
    dtype = radii[0].dtype
    cos_i = kept_off_zero(view.cos_i)
    # from the hole, across which the halo of the ring is seen, outwards
    low = jnp.maximum(radii[0], 0.1 * support.q_peak)
    high = jnp.maximum(jnp.minimum(support.q_high, radii[1] / jnp.abs(cos_i)), low)
    spread = jnp.asarray(np.linspace(0.0, 1.0, 10), dtype)
    ring = jnp.asarray([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype) * support.log_width
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
