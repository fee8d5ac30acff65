r"""Nodes on surfaces of equal height in scale heights: few are enough, unless near edge-on.

The surface of the number :math:`t` is

.. math:: z^2 = t^2 \left(H^2 + b\,(r^2 - r_0^2)\right),

a hyperboloid between a cone and a plane that follows the scale height about the point where a line
of sight crosses the midplane, at the radius :math:`r_0` with the scale height :math:`H`. In the
variable :math:`t` a smooth vertical profile is nearly all there is to the integrand, and equal
steps converge exponentially. For a profile with a kink at the midplane (or with a derivative that
has one, as that in the vertical exponent) the steps are equal in s with
:math:`t \propto s^3 / (s^2 + \delta^2)`. For a profile with wings it is :math:`\sinh` of a
multiple of all this. How many steps are needed is measured on a few lines of
sight.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .dust import in_each_number
from .extents import vertical_extent
from .geometry import SMALLEST_RADIUS, Geometry, kept_off_zero
from .rule import Rule

# steps through a disk that are tried, and those that are taken to be right
_INTERVALS, _FINEST, _USUAL = (8, 10, 12, 15, 20, 24, 30, 40, 60), 120, 20
# for images that need not be more accurate than this
_LOOSE, _FEW_INTERVALS, _FINE = 5e-4, (5, 6, 7, 8, 9, 10, 12, 15, 20, 30), 60
MOST_SURFACES = _INTERVALS[-1] - 1
# delta squared, for 3-5 digits with 15-20 nodes at any vertical exponent from 1 to 4
_SOFTENING = 0.5
# scale heights beyond which a profile has wings
WIDE = 40.0
# cosine of the inclination below which lines of sight are taken not to cross the midplane
SMALLEST_COSINE = 1e-3


class Slabs(NamedTuple):
    """Lines of sight and the surfaces that cut them; lengths in semi-major axes."""

    y: Float[Array, "*pixels"]  # along the minor axis on the sky
    crossing: Float[Array, "*pixels"]  # y' where the midplane is crossed
    height: Float[Array, "*pixels"]  # H
    opening: Float[Array, "*pixels"]  # b
    sin_i: Float[Array, ""]
    cos_i: Float[Array, ""]

    def node(self, t):
        r"""Where lines of sight cross a surface.

        With the height :math:`z = t w`, the line is at :math:`y' = y_0' + z \tan i`, so that

        .. math:: w^2 = H^2 + b\,(2 y_0' t w \tan i + (t w \tan i)^2).

        Returns
        -------
        l, step
            Position :math:`(t w + y \sin i) / \cos i` and :math:`|dl / dt|`, in semi-major axes.
        """
        # products with reciprocals: of many numbers a quotient costs several times as much
        per_cos = 1.0 / self.cos_i
        tan_i = self.sin_i * per_cos
        tilt = (t * tan_i) * self.opening
        rest = 1.0 - (t * tan_i) * tilt
        shift = tilt * self.crossing
        root = jnp.sqrt(shift**2 + rest * self.height**2)
        w = (shift + root) / rest
        return (t * w + self.y * self.sin_i) * per_cos, w**2 / root * jnp.abs(per_cos)


class Steps(NamedTuple):
    """Heights of the surfaces and their weights, all scalars."""

    largest: Float[Array, ""]
    wide: Bool[Array, ""]
    softened: Bool[Array, ""]
    intervals: Int[Array, ""]

    @property
    def number(self) -> Int[Array, ""]:
        """Of surfaces."""
        return self.intervals - 1

    def at(self, index):
        """Height and weight of one or several of them."""
        step = 2.0 / self.intervals.astype(self.largest.dtype)
        t, slope = self.between(step * (index + 1).astype(step.dtype) - 1.0)
        return t, slope * step

    def between(self, s):
        """Height at places s between -1 and 1, and its derivative."""
        rest = s**2 / (s**2 + _SOFTENING)
        t = jnp.where(self.softened, (1.0 + _SOFTENING) * s * rest, s)
        slope = jnp.where(self.softened, (1.0 + _SOFTENING) * rest * (3.0 - 2.0 * rest), 1.0)
        reach = jnp.arcsinh(self.largest)
        t_wide, slope_wide = jnp.sinh(reach * t), reach * slope * jnp.cosh(reach * t)
        return (
            jnp.where(self.wide, t_wide, self.largest * t),
            jnp.where(self.wide, slope_wide, self.largest * slope),
        )


def steps_for(vertical, moving, accuracy: float, dtype) -> Steps:
    """The finest steps of the kind that suits a vertical profile and its derivatives."""

    def columns(t):
        t = jnp.abs(t)
        derivatives = in_each_number(lambda part: part.profile(t), vertical, moving)
        moved = [derivative for derivative in derivatives if not isinstance(derivative, float)]
        return jnp.stack([vertical.profile(t), *moved], axis=1)

    largest = vertical_extent(vertical, 0.2 * accuracy, dtype)
    wide = largest > WIDE
    # both kinds at once: what counts here is how much there is to compile
    kinds = Steps(largest, wide, jnp.array([[False], [True]]), jnp.asarray(_FINEST))
    places, sums = _places((_USUAL, _FINEST), dtype)
    t, slope = (part.ravel() for part in kinds.between(places[None]))
    values = (columns(t) * slope[:, None]).reshape(2, places.size, -1)
    found = jnp.einsum("st,ktc->skc", jnp.asarray(sums, dtype), values)
    error = jnp.max(jnp.abs(found[0] - found[1, 1][None]), axis=1)
    return Steps(largest, wide, error[1] < error[0], jnp.asarray(_FINEST))


def cut_slabs(geometry: Geometry, height, q_peak, largest, x, y) -> Slabs:
    r"""Lines of sight through a disk with the surfaces that follow its scale height.

    With the flaring :math:`\beta = d \ln h / d \ln q` it is :math:`b = \beta H^2 / r_0^2`.

    Parameters
    ----------
    q_peak
        Where the disk is brightest.
    largest
        Number of scale heights that matter.
    """
    sin_i, cos_i = geometry.tilt
    cos_i = kept_off_zero(cos_i, SMALLEST_COSINE)
    x0, y0 = x - geometry.offset_x, y * (1.0 / cos_i) - geometry.offset_y
    radius = jnp.maximum(jnp.sqrt(x0**2 + y0**2), SMALLEST_RADIUS)
    q = geometry.radius(x0, y0, radius)
    at_crossing, flaring = jax.jvp(height, (q,), (q,))
    flaring = jnp.clip(flaring / at_crossing, 0.0, 1.0)
    # in the hole of a disk that flares strongly still as high as the ring
    highest = height(q_peak) / q_peak
    at_crossing = jnp.maximum(at_crossing, jnp.where(q < q_peak, highest * q, 0.0))
    # no wider than lets every line of sight meet every surface once on either side
    widest = 0.6 * (cos_i / (largest * jnp.maximum(sin_i, SMALLEST_COSINE))) ** 2
    opening = jnp.minimum(flaring * (at_crossing / radius) ** 2, widest)
    return Slabs(y, y0, at_crossing, opening, sin_i, cos_i)


def choose_steps(slabs: Slabs, finest: Steps, brightness, rule: Rule):
    """The fewest surfaces that are accurate enough on some lines of sight.

    Parameters
    ----------
    slabs
        These lines of sight, shape (n,).
    finest
        Steps of the kind that `steps_for` finds.
    brightness
        Function of positions along these lines, shape (m, n), in semi-major axes.

    Returns
    -------
    steps
        The surfaces.
    error
        The largest error among these lines, relative to the largest integral.
    enough
        Whether there is a number of surfaces that is enough.
    """
    loose = rule.accuracy >= _LOOSE
    intervals, finest_number = (_FEW_INTERVALS, _FINE) if loose else (_INTERVALS, _FINEST)
    largest = finest.largest
    places, sums = _places((*intervals, finest_number), largest.dtype)
    t, slope = finest.between(places)
    # and at the last surfaces, beyond which light is left out: there may be some in a disk's hole
    one = jnp.ones(2, t.dtype)
    t = jnp.concatenate([t, largest * jnp.array([-1.0, 1.0], t.dtype)])
    l, step = jax.vmap(slabs.node)(t)
    sums = np.pad(sums, [(0, 1), (0, 2)])
    sums[-1, -2:] = 1.0
    weighted = brightness(l) * step * jnp.concatenate([slope, one])[:, None]
    found = jnp.asarray(sums, t.dtype) @ weighted
    truth = found[-2:-1]
    worst = jnp.max(jnp.abs(jnp.concatenate([found[:-2] - truth, found[-2:]])), axis=1)
    errors, beyond = worst[:-2] / worst[-2], worst[-1] / worst[-2]
    allowed = rule.tolerance(errors.dtype)
    enough = (errors <= allowed) & (beyond <= 2.0 * allowed)
    # where none is enough the most are the best there is
    which = jnp.where(jnp.any(enough), jnp.argmax(enough), errors.size - 1)
    chosen = finest._replace(intervals=jnp.asarray(intervals)[which])
    return chosen, errors[which] + beyond, jnp.any(enough)


def _places(intervals, dtype):
    """Places between -1 and 1 that some numbers of steps meet, and what sums up these with each.

    Shapes (places,) and (numbers, places).
    """
    whole = math.lcm(*intervals)
    met = np.unique(np.concatenate([np.arange(1, n) * (whole // n) for n in intervals]))
    sums = np.array([(met * n % whole == 0) * (2.0 / n) for n in intervals])
    return jnp.asarray(2.0 * met / whole - 1.0, dtype), sums
