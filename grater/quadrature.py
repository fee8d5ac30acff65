r"""Quadrature nodes along the line of sight, chosen for each pixel from the disk's geometry.

A line of sight :math:`l` crosses a disk where two conditions meet: it is inside the wedge
:math:`|z| \le K h(r)` that holds all but a fraction ``truncation`` of the vertical profile, and
inside the shell :math:`q_{lo} \le q \le q_{hi}` that holds all but the same fraction of the
radial one. Both are bounded by conics, so every end point is the root of a quadratic (tightened
by chords where eccentricity or flaring make that of the wedge loose). What is left are at most
two pieces, in front of and behind the hole; each is cut where the midplane is crossed (a kink of
the density for a vertical exponent below 2) and carries Gauss-Legendre nodes in :math:`v`, where
:math:`l = l_t + R \sinh u`, :math:`u = u_c + s \sinh v`. About the point :math:`l_t` nearest to
the star, at the projected distance :math:`R`, every power of the radius and a flared disk's
height change on the scale 1 of :math:`u`; the ring's crossing :math:`u_c` has the finer scale
:math:`s`.

Nothing here is differentiated: nodes and weights are constants of the integral, so derivatives of
the image are quadratures of the derivatives of the integrand.
"""

import functools
import math
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# in reference radii: what is nearer to the ring's centre is taken to be there
SMALLEST_RADIUS = 1e-3
# elements of which long arrays have a multiple: the compiler's loops are over the widest vectors,
# in each thread, and what is left over is done one by one, for several times as much
ALIGNED = 64
# points of the grids on which profiles are measured
_MEASURED = 1216
# sine of the inclination below which every line of sight is taken to see a disk
_STEEP = 0.5
# pieces of a disk, from the ring outwards, of each of which the height is known
_SHELLS = 8

NodesOn = Literal["auto", "surfaces", "segments", "surfaces or none"]


class Rule(eqx.Module):
    """How finely a line of sight is sampled, from the error that an image may have.

    Parameters
    ----------
    accuracy
        Error relative to the peak of the image, 1e-10 to 0.1.
    nodes_on
        Where the nodes lie: "surfaces" of equal height, "segments" of the lines of sight, or
        "auto", which goes by what is accurate enough. "surfaces or none" makes an image of NaN
        where they are not.
    """

    accuracy: float = eqx.field(static=True)
    nodes_on: NodesOn = eqx.field(static=True, default="auto")

    def __check_init__(self):
        if self.nodes_on not in get_args(NodesOn):
            raise ValueError(
                f"nodes_on = {self.nodes_on!r} is unknown. Choose one of {get_args(NodesOn)}."
            )
        if not 1e-10 <= self.accuracy <= 0.1:
            raise ValueError(
                f"accuracy = {self.accuracy} is outside [1e-10, 0.1]. It is the error of the image "
                "relative to its peak: 1e-4 is a good start, 1e-6 a reference."
            )

    @property
    def numbers(self) -> tuple[int, ...]:
        """Gauss-Legendre nodes per segment that a disk may get."""
        digits = -math.log10(self.accuracy)
        usual = 2.5 + 2.0 * digits + (digits / 2.75) ** 3
        return tuple(math.ceil(factor * usual) for factor in (1.0, 1.4, 2.0, 3.0))

    @property
    def truncation(self) -> float:
        """Densities below this fraction of the largest are left out."""
        return self.accuracy / 30.0


def tolerance(accuracy: float, dtype):
    """Error that is allowed on a few lines of sight, with some margin for the others."""
    return max(0.2 * accuracy, 50.0 * float(jnp.finfo(dtype).eps))


class Support(NamedTuple):
    """Where a disk's density matters, measured on its own profiles (all scalars, lengths in a)."""

    q_low: Float[Array, ""]
    q_peak: Float[Array, ""]
    q_high: Float[Array, ""]
    log_width: Float[Array, ""]


class Wedge(NamedTuple):
    """The heights that hold the vertical profile, of a disk seen nearly edge-on (all scalars)."""

    extent: Float[Array, ""]  # K, in scale heights
    constant: Float[Array, ""]  # K^2 h^2 <= constant + slope q^2, lengths in a
    slope: Float[Array, ""]


class View(NamedTuple):
    """A disk as it is seen: sines and cosines of its angles, lengths in semi-major axes."""

    sin_i: Float[Array, ""]
    cos_i: Float[Array, ""]
    eccentricity: Float[Array, ""]
    cos_omega: Float[Array, ""]
    sin_omega: Float[Array, ""]
    offset_x: Float[Array, ""]
    offset_y: Float[Array, ""]


class Segments(NamedTuple):
    """Four pieces of every line of sight: v from start to end, u = centre + scale sinh(v)."""

    start: Float[Array, "4 *pixels"]
    end: Float[Array, "4 *pixels"]
    centre: Float[Array, "4 *pixels"]
    scale: Float[Array, "4 *pixels"]


class Choice(NamedTuple):
    """How many nodes each segment gets, and the error that was found for that."""

    number: Int[Array, ""]
    fractions: Float[Array, " n"]
    weights: Float[Array, " n"]
    error: Float[Array, ""]

    @classmethod
    def none(cls, rule: Rule, dtype):
        row = jnp.zeros(rule.numbers[-1], dtype)
        return cls(jnp.zeros((), int), row, row, row[0])


class Lines(NamedTuple):
    """Lines of sight, l = nearest + distance sinh(u), and their segments; lengths in a."""

    nearest: Float[Array, "*pixels"]
    distance: Float[Array, "*pixels"]
    segments: Segments

    def node(self, choice: Choice, index):
        """Position and weight of one node on all of them."""
        segment = jax.tree.map(lambda part: part[index // choice.number], self.segments)
        inner = index % choice.number
        t, w = choice.fractions[inner], choice.weights[inner]
        span = segment.end - segment.start
        sinh_v, cosh_v = _sinh_cosh(segment.start + t * span)
        sinh_u, cosh_u = _sinh_cosh(segment.centre + segment.scale * sinh_v)
        step = self.distance * cosh_u * segment.scale * cosh_v * span
        return self.nearest + self.distance * sinh_u, w * step


def _sinh_cosh(x):
    """Both from one exponential: XLA's own are several times slower."""
    grown = jnp.exp(x)
    shrunk = 1.0 / grown
    return 0.5 * (grown - shrunk), 0.5 * (grown + shrunk)


def _arcsinh(x):
    """Good to rounding in absolute terms, all that end points need, at a third of the cost."""
    magnitude = jnp.abs(x)
    return jnp.sign(x) * jnp.log(magnitude + jnp.sqrt(magnitude * magnitude + 1.0))


def gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the n-point rule on (0, 1)."""
    node, weight = np.polynomial.legendre.leggauss(n)
    return 0.5 * (node + 1.0), 0.5 * weight


def vertical_extent(vertical, truncation: float, dtype) -> Float[Array, ""]:
    """Height in scale heights above which a profile stays below a fraction of the midplane's."""
    t = _heights(dtype)
    inside = jax.vmap(vertical.profile)(t) > truncation
    return t[jnp.minimum(t.size - jnp.argmax(inside[::-1]), t.size - 1)]


def _heights(dtype):
    """Heights on which profiles are measured, in scale heights."""
    return jnp.asarray(np.geomspace(0.1, 1e4, _MEASURED), dtype)


def _radii(dtype):
    """Logarithms of the elliptic radii on which profiles are measured, in semi-major axes."""
    return jnp.asarray(np.linspace(math.log(SMALLEST_RADIUS), math.log(1e3), _MEASURED), dtype)


def measure_support(radial, truncation: float, dtype) -> Support:
    """Measure a radial profile on a grid: any will do, none has to know its own extent.

    Parameters
    ----------
    radial
        The disk's radial profile.
    truncation
        Densities below this fraction of the largest are left out.
    dtype
        Of the image.
    """
    log_q = _radii(dtype)
    lit = _illuminated(radial, dtype)
    peak = jnp.argmax(lit)
    seen = lit > truncation * lit[peak]
    first, last = jnp.argmax(seen), seen.size - 1 - jnp.argmax(seen[::-1])
    first, last = jnp.maximum(first - 1, 0), jnp.minimum(last + 1, seen.size - 1)
    log_lit = jnp.log(jnp.maximum(lit, jnp.finfo(dtype).tiny))
    slope = (jnp.roll(log_lit, -1) - jnp.roll(log_lit, 1)) * (0.5 / (log_q[1] - log_q[0]))
    inner = (np.arange(lit.size) % (lit.size - 1)) > 0
    bright = inner & (lit > 0.05 * lit[peak])
    rise, fall = (jnp.max(jnp.where(bright, s, -jnp.inf)) for s in (slope, -slope))
    log_width = 2.0 / jnp.maximum(rise + fall, 0.1)
    q = jnp.exp(log_q)
    return Support(q[first], q[peak], q[last], log_width)


def _illuminated(radial, dtype):
    """The density times the illumination on the grid of radii."""
    q = jnp.asarray(np.geomspace(SMALLEST_RADIUS, 1e3, _MEASURED), dtype)
    # it falls as 1 / d^2, with d ~ r outside the ring; inside, a line of sight need not come near
    # the star, so nothing may be gained there from the light being stronger
    return jax.vmap(radial.density)(q) / jnp.maximum(q, 1.0) ** 2


class Shells(NamedTuple):
    """Up to which height there is light in some ranges of the radius; lengths in a, shape (n,)."""

    q: Float[Array, " n"]  # outer ends; the next one begins there
    height: Float[Array, " n"]


def measure_shells(radial, vertical, support: Support, truncation: float, unit) -> Shells:
    """Measure where a disk is bright enough to matter at all.

    Parameters
    ----------
    radial, vertical
        The disk's profiles.
    support
        Of the radial one.
    truncation
        Light below this fraction of the largest is left out.
    unit
        Semi-major axis in au, shape ().
    """
    dtype = support.q_peak.dtype
    q, lit = jnp.exp(_radii(dtype)), _illuminated(radial, dtype)
    steps = np.arange(1, _SHELLS + 1) / _SHELLS
    ends = support.q_peak * (support.q_high / support.q_peak) ** jnp.asarray(steps, dtype)
    starts = jnp.concatenate([jnp.zeros(1, dtype), ends[:-1]])
    # a step of the grid more on either side
    step = math.exp(math.log(1e6) / (_MEASURED - 1))
    within = (q[None] * step >= starts[:, None]) & (q[None] <= step * ends[:, None])
    brightest = jnp.max(jnp.where(within, lit[None], 0.0), axis=1) / jnp.max(lit)
    t = _heights(dtype)
    seen = brightest[:, None] * jax.vmap(vertical.profile)(t)[None] > truncation
    extent = t[jnp.minimum(t.size - jnp.argmax(seen[:, ::-1], axis=1), t.size - 1)]
    extent = jnp.where(jnp.any(seen, axis=1), extent, t[0])
    highest = jnp.max(jnp.where(within, jax.vmap(vertical.height)(q)[None] / unit, 0.0), axis=1)
    return Shells(ends, extent * highest)


def sees_shells(view: View, shells: Shells, x, y):
    """Whether lines of sight come near enough to the midplane to see anything.

    Parameters
    ----------
    view, shells
        The disk.
    x, y
        Sky coordinates as for `place_lines`.
    """
    sin_i, cos_i, e = view.sin_i, view.cos_i, view.eccentricity
    per_sin = 1.0 / jnp.maximum(sin_i, _STEEP)
    x0, y0 = x - view.offset_x, y * cos_i - view.offset_y
    e_sin = e * view.sin_omega
    e0 = e * (x0 * view.cos_omega + y0 * view.sin_omega)
    a2 = 1.0 - e_sin**2
    p = shells.q.reshape((-1,) + (1,) * x.ndim) * (1.0 - e**2) - e0[None]
    a1 = y0[None] + p * e_sin
    squared = a1**2 - a2 * ((x0**2 + y0**2)[None] - p**2)
    # height above the midplane where the line enters the ellipse, and where it leaves it
    root = jnp.sqrt(jnp.maximum(squared, 0.0))
    middle = -a1 * (cos_i * per_sin / a2) - (y * sin_i)[None]
    half = root * jnp.abs(cos_i * per_sin / a2)
    highest = shells.height.reshape(p.shape[:1] + (1,) * x.ndim)
    # so that lines of sight of a disk whose numbers are none are not dark, but come out as NaN
    dark = (squared <= 0) | (jnp.abs(middle) - half >= highest)
    return ~jnp.all(dark, axis=0) | (sin_i < _STEEP)


def measure_wedge(vertical, support: Support, truncation: float, semi_major_axis) -> Wedge:
    """Measure how high a disk is: the tightest of a tangent and a cone over its support.

    Parameters
    ----------
    vertical
        The disk's vertical profile.
    support
        Of its radial profile.
    truncation
        Densities below this fraction of the largest are left out.
    semi_major_axis
        In au, shape ().
    """
    dtype = support.q_peak.dtype
    q = jnp.exp(_radii(dtype))
    extent = vertical_extent(vertical, truncation, dtype)
    squared = (extent * jax.vmap(vertical.height)(q) / semi_major_axis) ** 2
    used = (q >= support.q_low) & (q <= support.q_high)
    peak = jnp.argmax(q >= support.q_peak)
    t_axis = q**2
    low, high = squared[peak - 1], squared[peak + 1]
    tangent = jnp.maximum((high - low) / (t_axis[peak + 1] - t_axis[peak - 1]), 0.0)
    shift = jnp.max(jnp.where(used, squared - tangent * t_axis, 0.0))
    cone = jnp.max(jnp.where(used, squared / t_axis, 0.0))
    is_cone = cone * t_axis[peak] < shift + tangent * t_axis[peak]
    return Wedge(extent, jnp.where(is_cone, 0.0, shift), jnp.where(is_cone, cone, tangent))


def place_lines(view: View, support: Support, wedge: Wedge, height, x, y) -> Lines:
    """Cut every line of sight into four segments that hold the disk.

    Parameters
    ----------
    view, support, wedge
        The disk.
    height
        Function of q: the scale height h(q) in units of the semi-major axis.
    x, y
        Sky coordinates of the pixels along the disk's major and minor axis from the star, in units
        of the semi-major axis, any shape.
    """
    dtype = x.dtype
    tiny = jnp.asarray(1e-6, dtype)
    sin_i, cos_i, e = view.sin_i, view.cos_i, view.eccentricity
    # near face-on the radial limits do not matter, and a small number would cost float32 dearly
    slant = jnp.maximum(sin_i, jnp.asarray(0.05, dtype))
    # products with reciprocals: a quotient is dear, and the compiler makes a kernel of each
    per_slant = 1.0 / slant
    x0, y0 = x - view.offset_x, y * cos_i - view.offset_y
    e_sin = e * view.sin_omega
    e0 = e * (x0 * view.cos_omega + y0 * view.sin_omega)
    a2 = 1.0 - e_sin**2
    per_parameter, per_a2 = 1.0 / (1.0 - e**2), per_slant / a2

    def q_at(length):
        radius = jnp.sqrt(x0**2 + (y0 + length * sin_i) ** 2)
        return (radius + e0 + e_sin * sin_i * length) * per_parameter

    # where q = level: two points, or the nearest one twice where the line of sight stays outside
    nearest = -(y0 + (e_sin / jnp.sqrt(a2)) * jnp.abs(x0)) * per_slant
    levels = jnp.stack([support.q_low, support.q_peak, support.q_high])
    p = levels.reshape((3,) + (1,) * x.ndim) * (1.0 - e**2) - e0[None]
    a1 = y0[None] + p * e_sin
    squared = a1**2 - a2 * ((x0**2 + y0**2)[None] - p**2)
    root = jnp.sqrt(jnp.maximum(squared, 0.0))
    met = squared > 0
    hole_1, c1, low = jnp.where(met, (-a1 - root) * per_a2, nearest[None])
    hole_2, c2, high = jnp.where(met, (-a1 + root) * per_a2, nearest[None])

    # the wedge
    kappa = wedge.slope / (1.0 - e) ** 2
    constant = wedge.constant
    wa = cos_i**2 - kappa * sin_i**2
    wb = sin_i * (cos_i * y + kappa * y0)
    wc = (sin_i * y) ** 2 - constant - kappa * (x0**2 + y0**2)
    wa = jnp.where(jnp.abs(wa) < tiny, jnp.where(wa < 0, -tiny, tiny), wa)
    squared = wb**2 - wa * wc
    root = jnp.sqrt(jnp.maximum(squared, 0.0))
    larger = wb + jnp.where(wb < 0, -root, root)
    larger = jnp.where(jnp.abs(larger) < tiny**2, tiny**2, larger)
    r1, r2 = larger * (1.0 / wa), wc / larger
    w_low, w_high = jnp.minimum(r1, r2), jnp.maximum(r1, r2)
    closed = wa > 0
    low = jnp.where(closed, jnp.maximum(low, w_low), low)
    high = jnp.where(closed, jnp.minimum(high, w_high), high)
    # an open wedge leaves out what lies between its branches: join that to the ring's hole where
    # they overlap, or keep the longer of the two
    w_hole = ~closed & (squared > 0)
    overlap = (w_low < hole_2) & (hole_1 < w_high)
    longer = (w_high - w_low) > (hole_2 - hole_1)
    joined_1 = jnp.where(overlap, jnp.minimum(hole_1, w_low), jnp.where(longer, w_low, hole_1))
    joined_2 = jnp.where(overlap, jnp.maximum(hole_2, w_high), jnp.where(longer, w_high, hole_2))
    hole_1, hole_2 = jnp.where(w_hole, joined_1, hole_1), jnp.where(w_hole, joined_2, hole_2)

    # the true end of the wedge, where |z| = K h, lies between the midplane and an end outside; as
    # h is convex along the line (or nearly), a chord's root stays outside and never cuts too much
    side = jnp.where(jnp.abs(cos_i) < tiny, jnp.where(cos_i < 0, -tiny, tiny), cos_i)
    midplane = y * (sin_i / side)
    crossed = (midplane > low) & (midplane < high)

    def outside(lengths):
        return jnp.abs((lengths - midplane[None]) * side) - wedge.extent * height(
            jax.vmap(q_at)(lengths)
        )

    def tighten(end):
        start = jnp.where(crossed[None], midplane[None], end)
        at_start = outside(start)

        def chord(_, end):
            at_end = outside(end)
            fraction = at_start / jnp.where(at_start < at_end, at_start - at_end, -1.0)
            trial = start + (end - start) * jnp.clip(fraction, 0.0, 1.0)
            better = (at_start < 0) & (at_end > 0) & (outside(trial) >= 0)
            return jnp.where(better, trial, end)

        return jax.lax.fori_loop(0, 3, chord, end)

    low, high = tighten(jnp.stack([low, high]))

    # the ring's crossings and how far from them the density changes
    half = 0.5 * (c2 - c1) * slant
    reach = jnp.maximum(support.q_peak, jnp.abs(x0))
    scale = jnp.sqrt(half**2 + 2.0 * support.log_width * reach**2) - half
    # never 0, not even where the pixel's centre is the ring's
    squared = jnp.maximum(x0**2 + y**2, SMALLEST_RADIUS**2)
    distance = jnp.sqrt(squared) * per_slant
    per_distance, per_scale = 1.0 / distance, jnp.sqrt(squared + half**2) / scale
    scale = 1.0 / per_scale
    u1, u2 = _arcsinh((jnp.stack([c1, c2]) - nearest[None]) * per_distance[None])

    # two pieces, in front of the hole and behind it, or twice the only one that is left
    has_1, has_2 = jnp.minimum(hole_1, high) > low, high > jnp.maximum(hole_2, low)
    both = has_1 & has_2
    start_1 = jnp.where(has_1, low, jnp.maximum(hole_2, low))
    end_1 = jnp.where(has_1, jnp.minimum(hole_1, high), high)
    start_2 = jnp.where(both, jnp.maximum(hole_2, low), start_1)
    end_2 = jnp.where(both, high, end_1)
    centre_1 = jnp.where(has_1, u1, u2)
    centre_2 = jnp.where(both, u2, centre_1)
    start, end = jnp.stack([start_1, start_2]), jnp.stack([end_1, end_2])
    end = jnp.maximum(start, end)
    centre = jnp.stack([centre_1, centre_2])

    # each cut at the midplane, or half way
    midplane = jnp.clip(midplane[None], start, end)
    lengths = jnp.stack([start, midplane, end])
    u = _arcsinh((lengths - nearest[None, None]) * per_distance[None, None])
    v0, vm, v1 = _arcsinh((u - centre[None]) * per_scale[None, None])
    cut = jnp.where((midplane > start) & (midplane < end), vm, 0.5 * (v0 + v1))
    # the only piece takes all four segments
    halves = 0.5 * (v0 + cut)[0], 0.5 * (cut + v1)[0]
    first, second = jnp.where(both, cut[0], halves[0]), jnp.where(both, cut[1], halves[1])
    segments = Segments(
        jnp.stack([v0[0], first, jnp.where(both, v0[1], cut[0]), second]),
        jnp.stack([first, jnp.where(both, v1[0], cut[0]), second, v1[1]]),
        jnp.repeat(centre, 2, axis=0),
        jnp.broadcast_to(scale[None], (4, *scale.shape)),
    )
    return Lines(nearest, distance, segments)


def choose_nodes(tested: Lines, brightness, rule: Rule) -> Choice:
    """The fewest nodes that are accurate enough on some lines of sight, or the most there are.

    Parameters
    ----------
    tested
        The lines of sight, shape (n,).
    brightness
        Function of positions along these, shape (m, n), in semi-major axes.
    rule
        Accuracy.

    Returns
    -------
    Choice
        Its error is the largest among the lines, relative to the largest integral.
    """
    most = rule.numbers[-1]
    tables = [gauss_legendre(number) for number in rule.numbers]
    padded = np.array([[np.pad(row, (0, most - row.size)) for row in table] for table in tables])
    table = jnp.asarray(padded, tested.nearest.dtype)

    def integral(table):
        every = Choice(jnp.asarray(most), *table, error=table[0, 0])
        l, weight = jax.vmap(functools.partial(tested.node, every))(jnp.arange(4 * most))
        return jnp.sum(brightness(l) * weight, axis=0)

    found = jax.lax.map(integral, table)
    errors = jnp.max(jnp.abs(found[:-1] - found[-1:]), axis=1) / jnp.max(jnp.abs(found[-1]))
    enough = errors <= tolerance(rule.accuracy, errors.dtype)
    # where none is enough the most are taken, whose error is below that of the next
    which = jnp.where(jnp.any(enough), jnp.argmax(enough), errors.size)
    error = errors[jnp.minimum(which, errors.size - 1)]
    return Choice(jnp.asarray(rule.numbers)[which], table[which, 0], table[which, 1], error)
