"""Where a disk's density matters, measured on its profiles: any will do, none knows its extent."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .geometry import SMALLEST_RADIUS, Geometry

# points of the grids on which profiles are measured
_MEASURED = 1216
_LARGEST_RADIUS = 1e3
# pieces of a disk, from the ring outwards, of each of which the height is known
_SHELLS = 8
# sine of the inclination below which every line of sight is taken to see a disk
_STEEP = 0.5


class Support(NamedTuple):
    """Elliptic radii between which the dust is bright enough to matter, all scalars."""

    q_low: Float[Array, ""]
    q_peak: Float[Array, ""]
    q_high: Float[Array, ""]
    log_width: Float[Array, ""]  # of the ring, in the logarithm of the radius


class Wedge(NamedTuple):
    """Heights that hold the vertical profile of a disk seen nearly edge-on, all scalars."""

    extent: Float[Array, ""]  # K, in scale heights
    constant: Float[Array, ""]  # K^2 h^2 <= constant + slope q^2, in semi-major axes
    slope: Float[Array, ""]


class Shells(NamedTuple):
    """Up to which height there is light in some ranges of the radius, shape (n,)."""

    q: Float[Array, " n"]  # outer ends; the next one begins there
    height: Float[Array, " n"]  # in semi-major axes


def measure_support(radial, phase, nearest, truncation: float, dtype) -> Support:
    """Measure where a radial profile, with the star's light, is bright.

    Far in front of the star and behind it dust scatters by angles nearer to 0 and 180 deg than the
    ring does. Where a phase function has a narrow peak there, the line of sight ``nearest`` to the
    star (in semi-major axes) sees dust that is farther out.
    """
    log_q, lit = _log_radii(dtype), _illuminated(radial, dtype)
    peak = jnp.argmax(lit)
    tangent = nearest / jnp.exp(log_q)
    seen = lit * _towards_axis(phase, tangent, peak) > truncation * lit[peak]
    first, last = jnp.argmax(seen), seen.size - 1 - jnp.argmax(seen[::-1])
    first, last = jnp.maximum(first - 1, 0), jnp.minimum(last + 1, seen.size - 1)
    log_lit = jnp.log(jnp.maximum(lit, jnp.finfo(dtype).tiny))
    slope = (jnp.roll(log_lit, -1) - jnp.roll(log_lit, 1)) * (0.5 / (log_q[1] - log_q[0]))
    inner = (np.arange(lit.size) % (lit.size - 1)) > 0
    bright = inner & (lit > 0.05 * lit[peak])
    rise, fall = (jnp.max(jnp.where(bright, s, -jnp.inf)) for s in (slope, -slope))
    q = jnp.exp(log_q)
    return Support(q[first], q[peak], q[last], 2.0 / jnp.maximum(rise + fall, 0.1))


def _towards_axis(phase, tangent, peak):
    """How much more light is scattered nearly straight on or back than by the ring.

    1 where it is less than twice as much, which truncation has to spare.
    """
    cosine, most = 1.0 / jnp.sqrt(1.0 + tangent**2), jnp.ones_like(tangent)
    tiny = jnp.finfo(tangent.dtype).tiny
    for light in (*phase(cosine), *phase(-cosine)):
        light = jnp.abs(light)
        most = jnp.maximum(most, light / jnp.maximum(light[peak], tiny))
    return jnp.where(most > 2.0, most, 1.0)


def measure_wedge(vertical, support: Support, truncation: float, unit) -> Wedge:
    r"""Measure how high a disk is: the tighter bound of :math:`K^2 h^2` over its support.

    It is a cone, :math:`\propto q^2`, or the tangent in :math:`q^2` where the disk is brightest,
    shifted to be above everywhere.
    """
    dtype = support.q_peak.dtype
    q = jnp.exp(_log_radii(dtype))
    extent = vertical_extent(vertical, truncation, dtype)
    squared, q2 = (extent * jax.vmap(vertical.height)(q) / unit) ** 2, q**2
    used = (q >= support.q_low) & (q <= support.q_high)
    peak = jnp.argmax(q >= support.q_peak)
    tangent = (squared[peak + 1] - squared[peak - 1]) / (q2[peak + 1] - q2[peak - 1])
    tangent = jnp.maximum(tangent, 0.0)
    shift = jnp.max(jnp.where(used, squared - tangent * q2, 0.0))
    cone = jnp.max(jnp.where(used, squared / q2, 0.0))
    is_cone = cone * q2[peak] < shift + tangent * q2[peak]
    return Wedge(extent, jnp.where(is_cone, 0.0, shift), jnp.where(is_cone, cone, tangent))


def measure_shells(radial, vertical, support: Support, truncation: float, unit) -> Shells:
    """Measure up to which height there is light, in steps from the ring outwards."""
    dtype = support.q_peak.dtype
    q, lit = jnp.exp(_log_radii(dtype)), _illuminated(radial, dtype)
    steps = np.arange(1, _SHELLS + 1) / _SHELLS
    ends = support.q_peak * (support.q_high / support.q_peak) ** jnp.asarray(steps, dtype)
    starts = jnp.concatenate([jnp.zeros(1, dtype), ends[:-1]])
    # a step of the grid more on either side
    step = (_LARGEST_RADIUS / SMALLEST_RADIUS) ** (1.0 / (_MEASURED - 1))
    within = (q[None] * step >= starts[:, None]) & (q[None] <= step * ends[:, None])
    brightest = jnp.max(jnp.where(within, lit[None], 0.0), axis=1) / jnp.max(lit)
    extent = _highest(brightest[:, None] * _profile(vertical, dtype)[None] > truncation, dtype)
    highest = jnp.max(jnp.where(within, jax.vmap(vertical.height)(q)[None] / unit, 0.0), axis=1)
    return Shells(ends, extent * highest)


def sees_shells(geometry: Geometry, shells: Shells, x, y) -> Bool[Array, "*pixels"]:
    r"""Whether lines of sight come near enough to the midplane to see anything.

    Above an ellipse a line is at heights :math:`z = s \cot i - y \sin i`, see
    `Geometry.crossings`; it is dark if these are above the light of every shell.
    """
    sin_i, cos_i = geometry.tilt
    cotangent = cos_i / jnp.maximum(sin_i, _STEEP)
    middle, half, outside = geometry.crossings(shells.q, x, y)
    lowest = jnp.abs(middle * cotangent - (y * sin_i)[None]) - half * jnp.abs(cotangent)
    # false for NaN: an image that is none is no dark one
    dark = outside | (lowest >= shells.height.reshape((-1,) + (1,) * x.ndim))
    return ~jnp.all(dark, axis=0) | (sin_i < _STEEP)


def vertical_extent(vertical, truncation: float, dtype) -> Float[Array, ""]:
    """Height in scale heights above which a profile stays below a fraction of the midplane's.

    All that is above stays below it, too, which matters for profiles with wings.
    """
    profile, t = _profile(vertical, dtype), _heights(dtype)
    pieces = 0.5 * (profile[1:] + profile[:-1]) * jnp.diff(t)
    above = jnp.append(jnp.cumsum(pieces[::-1])[::-1], 0.0)
    return _highest(jnp.maximum(profile, above) > truncation, dtype)


def _highest(inside, dtype):
    """The first of the heights above which nothing is inside, along the last axis."""
    t = _heights(dtype)
    last = jnp.minimum(t.size - jnp.argmax(inside[..., ::-1], axis=-1), t.size - 1)
    return jnp.where(jnp.any(inside, axis=-1), t[last], t[0])


def _heights(dtype):
    """Heights on which profiles are measured, in scale heights."""
    return jnp.asarray(np.geomspace(0.1, 1e4, _MEASURED), dtype)


def _profile(vertical, dtype):
    return jax.vmap(vertical.profile)(_heights(dtype))


def _log_radii(dtype):
    """Logarithms of the elliptic radii on which profiles are measured."""
    ends = math.log(SMALLEST_RADIUS), math.log(_LARGEST_RADIUS)
    return jnp.asarray(np.linspace(*ends, _MEASURED), dtype)


def _illuminated(radial, dtype):
    """The density times the illumination on the grid of radii."""
    q = jnp.asarray(np.geomspace(SMALLEST_RADIUS, _LARGEST_RADIUS, _MEASURED), dtype)
    # it falls as 1 / d^2, with d ~ r outside the ring; inside, a line of sight need not come near
    # the star, so nothing may be gained there from the light being stronger
    return jax.vmap(radial.density)(q) / jnp.maximum(q, 1.0) ** 2
