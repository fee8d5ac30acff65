r"""Lines of sight cut by surfaces of equal height in scale heights: few nodes, unless near edge-on.

The surface of the number :math:`t` is :math:`z^2 = t^2 (H^2 + b\,(r^2 - r_0^2))`, a hyperboloid
between a cone and a plane that follows the scale height about the point where a line of sight
crosses the midplane, at the radius :math:`r_0` with the scale height :math:`H`. A line of sight
meets it in closed form. In the variable :math:`t` a smooth vertical profile is nearly all there is
to the integrand, and equal steps converge exponentially. For a profile with a kink at the midplane
(or with a derivative that has one, as that in the vertical exponent) the steps are equal in s with
:math:`t \propto s^3 / (s^2 + \delta^2)`. How many steps are needed is measured on a few lines of
sight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jaxtyping import Array, Bool, Float, Int

from .quadrature import SMALLEST_RADIUS, Lines, Rule, Support, View, vertical_extent

# the finest steps, and how many of them the coarser ones take at once
_INTERVALS = 120
_STRIDES = (15, 12, 10, 8, 6, 5, 4, 3, 2)
MOST_SURFACES = _INTERVALS // _STRIDES[-1] - 1
# delta squared, for 3-5 digits with 15-20 nodes at any vertical exponent from 1 to 4
_SOFTENING = 0.5
# cosine of the inclination below which lines of sight are taken not to cross the midplane
_STEEPEST = 1e-3


class Slabs(NamedTuple):
    """Lines of sight and the surfaces that cut them; lengths in semi-major axes."""

    y: Float[Array, "*pixels"]  # along the minor axis on the sky
    crossing: Float[Array, "*pixels"]  # along the minor axis in the disk plane
    height: Float[Array, "*pixels"]  # H
    opening: Float[Array, "*pixels"]  # b
    sin_i: Float[Array, ""]
    cos_i: Float[Array, ""]

    def node(self, t):
        """Position on the lines where they cross a surface, and its derivative in t."""
        tan_i = self.sin_i / self.cos_i
        tilt = t * self.opening * tan_i
        rest = 1.0 - t * tilt * tan_i
        shift = tilt * self.crossing
        slope = (shift + jnp.sqrt(shift**2 + rest * self.height**2)) / rest
        z = t * slope
        step = slope**2 / (slope - tilt * (self.crossing + z * tan_i))
        return (z + self.y * self.sin_i) / self.cos_i, step / jnp.abs(self.cos_i)


class Steps(NamedTuple):
    """Heights of the surfaces and their weights, all scalars."""

    largest: Float[Array, ""]
    softened: Bool[Array, ""]
    stride: Int[Array, ""]

    @property
    def number(self) -> Int[Array, ""]:
        """Of surfaces."""
        return _INTERVALS // self.stride - 1

    def at(self, index):
        """Height and weight of one or several of them."""
        s = (2.0 / _INTERVALS) * (self.stride * (index + 1)).astype(self.largest.dtype) - 1.0
        width = (2.0 / _INTERVALS) * self.stride.astype(s.dtype) * self.largest
        rest = s**2 / (s**2 + _SOFTENING)
        t = jnp.where(self.softened, (1.0 + _SOFTENING) * s * rest, s)
        slope = jnp.where(self.softened, (1.0 + _SOFTENING) * rest * (3.0 - 2.0 * rest), 1.0)
        return self.largest * t, width * slope


class Nodes(NamedTuple):
    """The nodes of all lines of sight: on surfaces, or else on segments."""

    by_slabs: Bool[Array, ""]
    number: Int[Array, ""]
    steps: Steps
    slabs: Slabs
    lines: Lines

    def node(self, index, rule: Rule):
        """Position and weight of one node on all of them, in semi-major axes."""

        def on_slab():
            t, weight = self.steps.at(index)
            l, step = self.slabs.node(t)
            return l, weight * step

        return jax.lax.cond(self.by_slabs, on_slab, lambda: self.lines.node(index, rule))


def cut_slabs(view: View, height, largest, x, y) -> Slabs:
    """Lines of sight through a disk with the surfaces that follow its scale height.

    Parameters
    ----------
    view
        The disk.
    height
        Function of q: the scale height in units of the semi-major axis.
    largest
        Number of scale heights that matter.
    x, y
        Sky coordinates as for `place_lines`.
    """
    e, cos_i = view.eccentricity, _kept_off_zero(view.cos_i)
    x0, y0 = x - view.offset_x, y / cos_i - view.offset_y
    radius = jnp.maximum(jnp.hypot(x0, y0), SMALLEST_RADIUS)
    q = (radius + e * (x0 * view.cos_omega + y0 * view.sin_omega)) / (1.0 - e**2)
    at_crossing, flaring = jax.jvp(height, (q,), (q,))
    flaring = jnp.clip(flaring / at_crossing, 0.0, 1.0)
    # no wider than lets every line of sight meet every surface once on either side
    widest = 0.6 * (cos_i / (largest * jnp.maximum(view.sin_i, _STEEPEST))) ** 2
    opening = jnp.minimum(flaring * (at_crossing / radius) ** 2, widest)
    return Slabs(y, y0, at_crossing, opening, view.sin_i, cos_i)


def _kept_off_zero(cosine):
    steepest = jnp.where(cosine < 0, -_STEEPEST, _STEEPEST).astype(cosine.dtype)
    return jnp.where(jnp.abs(cosine) < _STEEPEST, steepest, cosine)


def choose_steps(
    view: View, support: Support, height, vertical, moving, brightness, radii, accuracy: float
):
    """The fewest surfaces that are accurate enough on lines of sight all over the disk.

    Parameters
    ----------
    view, support
        The disk.
    height
        As for `cut_slabs`.
    vertical
        Vertical profile.
    moving
        Its tangents, None where no derivative is asked for.
    brightness
        Function of x, y and the position along the line of sight, in semi-major axes.
    radii
        Smallest and largest distance of a pixel from the star, in semi-major axes.
    accuracy
        Error that an image may have, relative to its peak.

    Returns
    -------
    steps
        The surfaces.
    enough
        Whether there is a number of surfaces that is enough.
    """
    dtype = radii[0].dtype
    index = jnp.arange(_INTERVALS - 1)
    chosen = np.array([(np.arange(1, _INTERVALS) % s == 0) * s for s in (*_STRIDES, 1)])
    chosen = jnp.asarray(chosen, dtype)

    def integrals(values, steps):
        """With every stride, shape (strides + 1, ...)."""
        t, weight = steps.at(index)
        return chosen @ (values(t) * weight[:, None])

    def columns(t):
        t = jnp.abs(t)
        derivatives = in_each_number(lambda part: part.profile(t), vertical, moving)
        moved = [derivative for derivative in derivatives if not isinstance(derivative, float)]
        return jnp.stack([vertical.profile(t), *moved], axis=1)

    largest = vertical_extent(vertical, 0.2 * accuracy, dtype)
    equal = Steps(largest, jnp.asarray(False), jnp.asarray(1))
    softened = Steps(largest, jnp.asarray(True), jnp.asarray(1))
    truth = integrals(columns, softened)[-1]
    middle = len(_STRIDES) // 2
    errors = [
        jnp.max(jnp.abs(integrals(columns, steps)[middle] - truth)) for steps in (equal, softened)
    ]
    steps = equal._replace(softened=errors[1] < errors[0])

    # lines of sight that cross the midplane all over the disk
    cos_i = _kept_off_zero(view.cos_i)
    low = jnp.maximum(support.q_low, radii[0])
    high = jnp.maximum(jnp.minimum(support.q_high, radii[1] / jnp.abs(cos_i)), low)
    spread = jnp.asarray(np.linspace(0.0, 1.0, 6), dtype)
    ring = jnp.asarray([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype) * support.log_width
    q = jnp.concatenate([low * (high / low) ** spread, support.q_peak * jnp.exp(ring)])
    q, angle = jnp.repeat(q, 8), jnp.tile(jnp.asarray(np.pi * np.arange(8) / 4.0, dtype), q.size)
    cos_a, sin_a = jnp.cos(angle), jnp.sin(angle)
    e = view.eccentricity
    radius = q * (1.0 - e**2) / (1.0 + e * (cos_a * view.cos_omega + sin_a * view.sin_omega))
    x, y = radius * cos_a + view.offset_x, (radius * sin_a + view.offset_y) * cos_i
    slabs = cut_slabs(view, height, largest, x, y)

    def light(t):
        l, step = jax.vmap(slabs.node)(t)
        return jax.vmap(brightness, (None, None, 0))(x, y, l) * step

    found = integrals(light, steps)
    errors = jnp.max(jnp.abs(found[:-1] - found[-1:]), axis=1) / jnp.max(jnp.abs(found[-1]))
    tolerance = jnp.maximum(0.5 * accuracy, 50.0 * jnp.finfo(dtype).eps)
    enough = errors <= tolerance
    which = jnp.argmax(enough)
    return steps._replace(stride=jnp.asarray(_STRIDES)[which]), jnp.any(enough)


def in_each_number(function, component, tangent):
    """Derivatives of a function of a component in every number of it that moves.

    One for each number in the order of the tangent's leaves; 0. where the function does not depend
    on it.
    """
    leaves, tree = jax.tree.flatten(component, is_leaf=_is_none)
    derivatives = []
    for k, dot in enumerate(jax.tree.leaves(tangent, is_leaf=_is_none)):
        if dot is None:
            continue

        def at(leaf, k=k):
            return function(tree.unflatten([*leaves[:k], leaf, *leaves[k + 1 :]]))

        if not _depends(at, leaves[k]):
            derivatives += [0.0] * dot.size
            continue
        for index in np.ndindex(dot.shape):
            basis = np.zeros(dot.shape, dot.dtype)
            basis[index] = 1.0
            derivatives.append(jax.jvp(at, (leaves[k],), (jnp.asarray(basis),))[1])
    return derivatives


def _depends(function, argument) -> bool:
    jaxpr = jax.make_jaxpr(function)(argument).jaxpr
    reached = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in reached for v in equation.invars):
            reached.update(equation.outvars)
    return any(not isinstance(v, Literal) and v in reached for v in jaxpr.outvars)


def _is_none(value):
    return value is None
