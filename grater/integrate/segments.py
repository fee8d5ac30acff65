r"""Nodes on four segments of each line of sight, for disks near edge-on.

A line of sight :math:`l` crosses a disk where two conditions meet: it is inside the wedge
:math:`|z| \le K h(r)` that holds all but a fraction ``truncation`` of the vertical profile, and
inside the shell :math:`q_{low} \le q \le q_{high}` that holds all but the same fraction of the
radial one. Both are bounded by conics, so every end is the root of a quadratic (tightened by chords
where eccentricity or flaring make that of the wedge loose). What is left are at most two pieces, in
front of and behind the hole; each is cut where the midplane is crossed (a kink of the density for a
vertical exponent below 2) and carries Gauss-Legendre nodes in a coordinate that crowds them where
the line crosses the ring. `cut_lines` takes these steps one by one.

Nothing here is differentiated: nodes and weights are constants of the integral, so derivatives of
the image are quadratures of the derivatives of the integrand.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pytreefit.extend import arcsinh, gauss_legendre, sinh_cosh

from .extents import Support, Wedge
from .geometry import SMALLEST_RADIUS, Geometry, kept_off_zero
from .rule import Rule

# what is divided by is at least this, and near face-on the sine of the inclination is this
_TINY, _SMALLEST_SINE = 1e-6, 0.05
# chords from the midplane that tighten the wedge
_CHORDS = 3


class Range(NamedTuple):
    """Positions l along lines of sight, in semi-major axes, shapes (..., *pixels)."""

    low: Float[Array, "*pixels"]
    high: Float[Array, "*pixels"]


class Coordinates(NamedTuple):
    r"""The coordinate v that crowds nodes: :math:`l = l_t + R \sinh u, u = u_c + s \sinh v`.

    About the point :math:`l_t` where the elliptic radius is least, at the projected distance
    :math:`R`, powers of the radius and a flared disk's height change on the scale 1 of u; the
    ring's crossing :math:`u_c` has the finer scale s.
    """

    nearest: Float[Array, "*pixels"]  # l_t
    distance: Float[Array, "*pixels"]  # R
    scale: Float[Array, "*pixels"]  # s
    centre: Float[Array, "pieces *pixels"]  # u_c of each piece, in front of and behind the star

    def of(self, l, centre):
        """V of positions l, shape (..., *centre)."""
        nearest, per_distance, per_scale = (
            jnp.broadcast_to(part, l.shape)
            for part in (self.nearest, 1.0 / self.distance, 1.0 / self.scale)
        )
        u = arcsinh((l - nearest) * per_distance)
        return arcsinh((u - jnp.broadcast_to(centre, l.shape)) * per_scale)

    def at(self, v, centre):
        """Positions l, and their derivative in v."""
        sinh_v, cosh_v = sinh_cosh(v)
        sinh_u, cosh_u = sinh_cosh(centre + self.scale * sinh_v)
        return self.nearest + self.distance * sinh_u, self.distance * cosh_u * self.scale * cosh_v


class Choice(NamedTuple):
    """How many nodes each segment gets."""

    number: Int[Array, ""]
    fractions: Float[Array, " n"]
    weights: Float[Array, " n"]
    error: Float[Array, ""]  # the largest that was found, relative to the largest integral


class Lines(NamedTuple):
    """Four segments of every line of sight: v from start to end, away from the midplane."""

    coordinates: Coordinates
    start: Float[Array, "4 *pixels"]
    end: Float[Array, "4 *pixels"]

    def node(self, choice: Choice, index):
        """Position and weight of one node on all lines, in semi-major axes."""
        segment, inner = index // choice.number, index % choice.number
        fraction, weight = choice.fractions[inner], choice.weights[inner]
        start, span = self.start[segment], self.end[segment] - self.start[segment]
        centre = self.coordinates.centre[segment // 2]
        l, step = self.coordinates.at(start + fraction * span, centre)
        return l, weight * (step * jnp.abs(span))


def cut_lines(geometry: Geometry, support: Support, wedge: Wedge, height, x, y) -> Lines:
    """Cut every line of sight into four segments that hold the disk, step by step."""
    hole, ring, shell, nearest = shell_crossings(geometry, support, x, y)
    roots = wedge_roots(geometry, wedge, x, y)
    inside, hole = within_wedge(shell, hole, *roots)
    midplane = midplane_crossing(geometry, y)
    inside = tightened(geometry, wedge, height, inside, midplane, x, y)
    pieces, order, both = split_at_hole(inside, hole)
    coordinates = crowded_coordinates(geometry, support, ring, order, nearest, x, y)
    return Lines(coordinates, *cut_in_four(coordinates, pieces, midplane, both))


def shell_crossings(geometry: Geometry, support: Support, x, y):
    r"""Where lines of sight enter and leave the hole, the ring and the outermost ellipse.

    The roots s of `Geometry.crossings` at :math:`q_{low}, q_{peak}, q_{high}`, over
    :math:`\sin i`; a line that stays outside of an ellipse gets its point that is nearest to it
    twice.

    Returns
    -------
    hole, ring, shell
        Ranges inside of each.
    nearest
        The point :math:`l_t` where the elliptic radius is least.
    """
    slant = _slant(geometry)
    x0, y0 = geometry.midplane_point(x, y)
    e_sin = geometry.e_sin
    nearest = -(y0 + (e_sin / jnp.sqrt(1.0 - e_sin**2)) * jnp.abs(x0)) * (1.0 / slant)
    levels = jnp.stack([support.q_low, support.q_peak, support.q_high])
    middle, half, outside = geometry.crossings(levels, x, y)
    low, high = (
        jnp.where(outside, nearest[None], (middle + side * half) * (1.0 / slant))
        for side in (-1.0, 1.0)
    )
    return *(Range(low[k], high[k]) for k in range(3)), nearest


def wedge_roots(geometry: Geometry, wedge: Wedge, x, y):
    r"""Where lines of sight meet :math:`z^2 = C + \kappa r^2`, which bounds the disk's height.

    With :math:`z = l \cos i - y \sin i` and :math:`r^2 = x_0^2 + (y_0 + l \sin i)^2`,

    .. math::
        (\cos^2 i - \kappa \sin^2 i)\, l^2 - 2 \sin i\,(y \cos i + \kappa y_0)\, l
        + y^2 \sin^2 i - C - \kappa (x_0^2 + y_0^2) = 0,

    where :math:`\kappa` is the wedge's slope over :math:`(1 - e)^2`, since
    :math:`q \le r / (1 - e)` in semi-major axes.

    Returns
    -------
    roots
        The two, in order.
    closed
        Whether the disk is between the roots (and not outside of them, edge-on).
    real
        Whether there are any.
    """
    sin_i, cos_i = geometry.tilt
    x0, y0 = geometry.midplane_point(x, y)
    eccentricity = jnp.sqrt(geometry.e_cos**2 + geometry.e_sin**2)
    kappa = wedge.slope / (1.0 - eccentricity) ** 2
    a = kept_off_zero(cos_i**2 - kappa * sin_i**2, _TINY)
    b = sin_i * (cos_i * y + kappa * y0)
    c = (sin_i * y) ** 2 - wedge.constant - kappa * (x0**2 + y0**2)
    squared = b**2 - a * c
    root = jnp.sqrt(jnp.maximum(squared, 0.0))
    # not the difference of two numbers that are nearly the same
    larger = b + jnp.where(b < 0, -root, root)
    larger = jnp.where(jnp.abs(larger) < _TINY**2, _TINY**2, larger)
    first, second = larger * (1.0 / a), c / larger
    roots = Range(jnp.minimum(first, second), jnp.maximum(first, second))
    return roots, a > 0, squared > 0


def within_wedge(shell: Range, hole: Range, roots: Range, closed, real) -> tuple[Range, Range]:
    """What of the shell is inside the wedge, and the hole with what is outside of it.

    A closed wedge ends the line. An open one leaves out what lies between its branches: that is
    joined to the ring's hole where they overlap, or else the longer of the two is the hole.
    """
    inside = Range(
        jnp.where(closed, jnp.maximum(shell.low, roots.low), shell.low),
        jnp.where(closed, jnp.minimum(shell.high, roots.high), shell.high),
    )
    overlap = (roots.low < hole.high) & (hole.low < roots.high)
    longer = (roots.high - roots.low) > (hole.high - hole.low)
    low = jnp.where(overlap, jnp.minimum(hole.low, roots.low), roots.low)
    high = jnp.where(overlap, jnp.maximum(hole.high, roots.high), roots.high)
    changed = ~closed & real & (overlap | longer)
    return inside, Range(jnp.where(changed, low, hole.low), jnp.where(changed, high, hole.high))


def midplane_crossing(geometry: Geometry, y) -> Float[Array, "*pixels"]:
    r"""Where lines of sight cross the midplane, :math:`l = y \tan i`."""
    sin_i, cos_i = geometry.tilt
    return y * (sin_i / kept_off_zero(cos_i, _TINY))


def tightened(geometry: Geometry, wedge: Wedge, height, inside: Range, midplane, x, y) -> Range:
    r"""Ends moved towards the true end of the wedge, where :math:`f(l) = |z| - K h(q) = 0`.

    It lies between the midplane, with :math:`f < 0`, and an end with :math:`f > 0`. The root of the
    chord between both,

    .. math:: l \to l_0 + (l - l_0) \frac{f(l_0)}{f(l_0) - f(l)},

    stays outside and never cuts too much, as h is convex along the line, or nearly.
    """
    sin_i, cos_i = geometry.tilt
    side = kept_off_zero(cos_i, _TINY)
    x0, y0 = (part[None] for part in geometry.midplane_point(x, y))

    def outside(l):
        y_disk = y0 + l * sin_i
        q = geometry.radius(x0, y_disk, jnp.sqrt(x0**2 + y_disk**2))
        return jnp.abs((l - midplane[None]) * side) - wedge.extent * height(q)

    ends = jnp.stack(inside)
    crossed = (midplane > inside.low) & (midplane < inside.high)
    start = jnp.where(crossed[None], midplane[None], ends)
    at_start = outside(start)

    def chord(_, end):
        at_end = outside(end)
        fraction = at_start / jnp.where(at_start < at_end, at_start - at_end, -1.0)
        trial = start + (end - start) * jnp.clip(fraction, 0.0, 1.0)
        better = (at_start < 0) & (at_end > 0) & (outside(trial) >= 0)
        return jnp.where(better, trial, end)

    return Range(*jax.lax.fori_loop(0, _CHORDS, chord, ends))


def split_at_hole(inside: Range, hole: Range):
    """Pieces in front of the hole and behind it, or twice the only one that is left.

    Returns
    -------
    pieces
        Ranges, shape (2, *pixels).
    order
        Whether each is where it belongs, before and after the hole.
    both
        Whether there are two.
    """
    end, start = jnp.minimum(hole.low, inside.high), jnp.maximum(hole.high, inside.low)
    first, second = end > inside.low, inside.high > start
    both = first & second
    low_1 = jnp.where(first, inside.low, start)
    high_1 = jnp.where(first, end, inside.high)
    low = jnp.stack([low_1, jnp.where(both, start, low_1)])
    high = jnp.stack([high_1, jnp.where(both, inside.high, high_1)])
    return Range(low, jnp.maximum(low, high)), jnp.stack([first, both | ~first]), both


def crowded_coordinates(geometry: Geometry, support: Support, ring: Range, order, nearest, x, y):
    r"""The coordinate in which nodes are spread, see `Coordinates`.

    Half of the ring's chord is :math:`c = (l_2 - l_1) \sin i / 2`. The density changes over
    :math:`\sqrt{c^2 + 2 w m^2} - c` beside the crossing, w being the ring's width in the logarithm
    of the radius and m the larger of its radius and :math:`|x_0|`; over
    :math:`\sqrt{R^2 \sin^2 i + c^2}` that is the scale s in u.
    """
    slant = _slant(geometry)
    x0, _ = geometry.midplane_point(x, y)
    half = 0.5 * (ring.high - ring.low) * slant
    reach = jnp.maximum(support.q_peak, jnp.abs(x0))
    width = jnp.sqrt(half**2 + 2.0 * support.log_width * reach**2) - half
    # never 0, not even where the pixel's centre is the ring's
    squared = jnp.maximum(x0**2 + y**2, SMALLEST_RADIUS**2)
    distance = jnp.sqrt(squared) * (1.0 / slant)
    centre = arcsinh((jnp.stack(ring) - nearest[None]) * (1.0 / distance)[None])
    centre = jnp.where(order, centre, centre[::-1])
    return Coordinates(nearest, distance, width / jnp.sqrt(squared + half**2), centre)


def cut_in_four(coordinates: Coordinates, pieces: Range, midplane, both: Bool[Array, "*pixels"]):
    """Start and end of four segments in the coordinate v, each of shape (4, *pixels).

    Each piece is cut at the midplane, or half way where it does not cross it. The only piece takes
    all four segments. They start at their ends nearer to the midplane.
    """
    midplane = jnp.clip(midplane[None], *pieces)
    lengths = jnp.stack([pieces.low, midplane, pieces.high])
    start, middle, end = coordinates.of(lengths, coordinates.centre)
    crossed = (midplane > pieces.low) & (midplane < pieces.high)
    cut = jnp.where(crossed, middle, 0.5 * (start + end))
    first = jnp.where(both, cut[0], 0.5 * (start + cut)[0])
    second = jnp.where(both, cut[1], 0.5 * (cut + end)[0])
    starts = jnp.stack([start[0], first, jnp.where(both, start[1], cut[0]), second])
    ends = jnp.stack([first, jnp.where(both, end[0], cut[0]), second, end[1]])
    before = ends <= jnp.repeat(middle, 2, axis=0)
    return jnp.where(before, ends, starts), jnp.where(before, starts, ends)


def choose_nodes(tested: Lines, brightness, rule: Rule, wings) -> Choice:
    """The fewest nodes that are accurate enough on some lines of sight, or the most there are.

    Parameters
    ----------
    tested
        The lines of sight, shape (n,).
    brightness
        Function of positions along these, shape (m, n), in semi-major axes.
    wings
        Into how many scale heights the vertical profile's wings reach, towards the first of which
        nodes are crowded; 0 if there are none.
    """
    most = rule.numbers[-1]
    tables = [gauss_legendre(number, 0.0, 1.0) for number in rule.numbers]
    padded = np.array([[np.pad(row, (0, most - row.size)) for row in table] for table in tables])
    table = jnp.asarray(padded, tested.start.dtype)
    reach = jnp.arcsinh(jnp.maximum(wings, 1.0))
    sinh, cosh = sinh_cosh(reach * table[:, 0])
    crowded = jnp.stack([sinh, reach * cosh * table[:, 1]], axis=1) / jnp.sinh(reach)
    table = jnp.where(wings > 0, crowded, table)

    def integral(table):
        every = Choice(jnp.asarray(most), *table, error=table[0, 0])
        l, weight = jax.vmap(functools.partial(tested.node, every))(jnp.arange(4 * most))
        return jnp.sum(brightness(l) * weight, axis=0)

    found = jax.lax.map(integral, table)
    errors = jnp.max(jnp.abs(found[:-1] - found[-1:]), axis=1) / jnp.max(jnp.abs(found[-1]))
    enough = errors <= rule.tolerance(errors.dtype)
    # where none is enough the most are taken, whose error is below that of the next
    which = jnp.where(jnp.any(enough), jnp.argmax(enough), errors.size)
    error = errors[jnp.minimum(which, errors.size - 1)]
    return Choice(jnp.asarray(rule.numbers)[which], table[which, 0], table[which, 1], error)


def _slant(geometry: Geometry):
    """Sine of the inclination: near face-on radial limits do not matter, but its inverse does."""
    return jnp.maximum(geometry.tilt[0], _SMALLEST_SINE)
