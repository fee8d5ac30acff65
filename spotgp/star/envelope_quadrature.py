"""Integrals of an envelope that is given only by its values."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import gauss_legendre

from ..kernel.trig import cos_sin

Profile = Callable[[Float[Array, "..."]], Float[Array, "..."]]

NEGLIGIBLE_AREA = 1e-12  # of the peak of Gamma^2: what lies below it is outside of an envelope
NEGLIGIBLE_R = 1e-10  # of R_Gamma(0): what lies below it is beyond the kernel's support
PANELS = 64
_KINKS = 16  # edges for them
_REFINEMENTS = 3  # of the points that look for kinks
_NODES_R, _NODES_HAT = 7, 12
_SHORTEST, _LONGEST = 1e-4, 1e5  # days: between them an envelope is searched for
_CHUNK = 128  # lags whose nodes are in memory at once


@functools.cache
def _search_grid() -> np.ndarray:
    side = np.geomspace(_SHORTEST, _LONGEST, 1024)
    return np.concatenate([-side[::-1], [0.0], side])


def _edges(area: Profile, below, above, threshold):
    """The points next to `above`, towards `below`, where the area comes down to a threshold."""
    fraction = jnp.linspace(0.0, 1.0, 33, dtype=below.dtype)

    def narrowed(_, ends):
        below, above = ends
        t = below[:, None] + (above - below)[:, None] * fraction[None, :]
        first = jnp.maximum(jnp.argmax(area(t) > threshold, axis=1), 1)[:, None]
        return tuple(jnp.take_along_axis(t, k, axis=1)[:, 0] for k in (first - 1, first))

    return jax.lax.fori_loop(0, 3, narrowed, (below, above))[0]


@jit
def measured_breakpoints(profile: Profile) -> Float[Array, " k"]:
    """Edges of panels on which any profile can be integrated.

    They end where the squared profile falls below `NEGLIGIBLE_AREA` of its peak, between 1e-4 and
    1e5 days on either side of 0, lie densest where it or its slope changes most, and enclose kinks
    in panels too narrow to count.
    """

    def area(t):
        value = profile(t)
        return jnp.where(jnp.isfinite(value), value, 0.0) ** 2

    grid = jnp.asarray(_search_grid(), jnp.result_type(float))
    value = area(grid)
    threshold = NEGLIGIBLE_AREA * jnp.max(value)
    matters = value > threshold
    first = jnp.maximum(jnp.argmax(matters), 1)
    last = grid.size - 1 - jnp.maximum(jnp.argmax(matters[::-1]), 1)
    below, above = jnp.stack([first - 1, last + 1]), jnp.stack([first, last])
    start, stop = _edges(area, grid[below], grid[above], threshold)

    points = jnp.clip(grid, start, stop)
    # a kink lies in one cell of the points, which becomes about a hundred cells of the next points
    points = jax.lax.fori_loop(
        0, _REFINEMENTS, lambda _, points: _equidistributed(area, points, points.size)[0], points
    )
    edges, bend = _equidistributed(area, points, PANELS - _KINKS + 1)
    # both ends of the cells with the sharpest bends enclose the kinks
    kinks = points[1:-1][jax.lax.top_k(bend, _KINKS)[1]]
    return jnp.sort(jnp.concatenate([edges, kinks]))


def _equidistributed(area: Profile, points, count: int):
    """New points, dense where a profile or its slope changes; the bends at the inner old ones."""
    epsilon = jnp.finfo(points.dtype).eps
    width, value = jnp.diff(points), area(points)
    change = jnp.diff(value)
    apart = width > 0
    safe = jnp.where(apart, width, 1.0)
    slope = jnp.where(apart, change / safe, 0.0)
    size = jnp.maximum(jnp.abs(points[1:]), jnp.abs(points[:-1]))
    noise = 8.0 * epsilon * (jnp.max(value) + size * jnp.abs(slope)) / safe
    noise = jnp.where(apart, noise, 0.0)
    bend = jnp.maximum(jnp.abs(jnp.diff(slope)) - noise[1:] - noise[:-1], 0.0)
    bend = jnp.where(apart[1:] & apart[:-1], bend, 0.0)
    bends = jnp.pad(bend, (0, 1)) + jnp.pad(bend, (1, 0))

    share = jnp.zeros_like(width)
    for part, weight in ((width, 0.25), (jnp.abs(change), 0.25), (bends, 0.5)):
        total = jnp.sum(part)
        share = share + weight * part / jnp.where(total > 0, total, 1.0)
    reached = jnp.concatenate([jnp.zeros(1, points.dtype), jnp.cumsum(share)])
    levels = reached[-1] * jnp.linspace(0.0, 1.0, count, dtype=points.dtype)
    new = jnp.interp(levels, reached, points)
    new = new.at[0].set(points[0]).at[-1].set(points[-1])
    return jnp.clip(new, points[0], points[-1]), bend


def _panels(breakpoints):
    """Breakpoints with every interval cut into equal parts, so that there are enough panels."""
    parts = math.ceil(PANELS / (breakpoints.size - 1))
    fraction = jnp.arange(parts, dtype=breakpoints.dtype) / parts
    inner = breakpoints[:-1, None] + jnp.diff(breakpoints)[:, None] * fraction[None, :]
    return jnp.concatenate([inner.ravel(), breakpoints[-1:]])


@jit
def autocorrelation(profile: Profile, breakpoints, lag):
    r"""R(lag) of the squared profile, by Gauss-Legendre quadrature.

    The panels of :math:`\Gamma^2(t)` and of :math:`\Gamma^2(t + s)` are merged for every lag.
    """
    panels = _panels(breakpoints)
    node, weight = (jnp.asarray(a, panels.dtype) for a in gauss_legendre(_NODES_R, 0.0, 1.0))

    def single(s):
        edges = jnp.concatenate([panels, panels - s])
        edges = jnp.sort(jnp.clip(edges, panels[0], jnp.maximum(panels[-1] - s, panels[0])))
        width = jnp.diff(edges)
        t = edges[:-1, None] + width[:, None] * node[None, :]
        return jnp.sum(width[:, None] * weight[None, :] * (profile(t) * profile(t + s)) ** 2)

    return map_lags(single, jnp.abs(lag))


def map_lags(single: Callable, lag):
    """A function of one lag at all lags, in chunks: the nodes of all at once would not fit."""
    flat = lag.ravel()
    if flat.size <= _CHUNK:
        return jax.vmap(single)(flat).reshape(lag.shape)
    # checkpoint: reverse mode works the nodes out again instead of storing them
    return jax.lax.map(jax.checkpoint(single), flat, batch_size=_CHUNK).reshape(lag.shape)


def _spherical_bessel(theta, count: int):
    r""":math:`j_0 \dots j_{count-1}`, stacked in front."""
    cosine, sine = cos_sin(theta)
    # ratios of neighbours by their continued fraction, below the first zeros
    near = jnp.where(jnp.abs(theta) < 2.5, theta, 1.0)
    ratio, ratios = jnp.zeros_like(near), []
    for order in range(count + 14, 0, -1):
        ratio = near / (2 * order + 1 - near * ratio)
        ratios.append(ratio)
    small = [jnp.sinc(near / np.pi)]
    for order in range(1, count):
        small.append(small[-1] * ratios[-order])
    # upwards from the first two, stable where the argument is not small against the order
    far = jnp.where(jnp.abs(theta) < 2.5, 2.5, theta)
    large = [sine / far, sine / far**2 - cosine / far]
    for order in range(1, count - 1):
        large.append((2 * order + 1) / far * large[-1] - large[-2])
    return jnp.where(jnp.abs(theta) < 2.5, jnp.stack(small), jnp.stack(large[:count]))


@functools.cache
def _legendre_projection(nodes: int) -> np.ndarray:
    """Legendre coefficients (rows) of the polynomial through the values at the Gauss nodes."""
    node, weight = gauss_legendre(nodes, 0.0, 1.0)
    values = np.polynomial.legendre.legvander(2.0 * node - 1.0, nodes - 1)
    return (2.0 * np.arange(nodes) + 1.0)[:, None] * (weight[:, None] * values).T


@jit
def transform(profile: Profile, breakpoints, omega):
    r"""Fourier transform of the squared profile, as accurate at high frequencies as at low ones.

    A Filon rule: on every panel the square is replaced by the polynomial of degree 11 through 12
    Gauss nodes, whose transform is a sum of spherical Bessel functions.
    """
    panels = _panels(breakpoints)
    half, middle = 0.5 * jnp.diff(panels), 0.5 * (panels[1:] + panels[:-1])
    node = jnp.asarray(gauss_legendre(_NODES_HAT, 0.0, 1.0)[0], panels.dtype)
    t = panels[:-1, None] + 2.0 * half[:, None] * node[None, :]
    projection = jnp.asarray(_legendre_projection(_NODES_HAT), panels.dtype)
    coefficient = 2.0 * half[None, :] * (projection @ (profile(t) ** 2).T)

    def single(frequency):
        # P_l transforms into 2 (-i)^l j_l
        terms = coefficient * _spherical_bessel(frequency * half, _NODES_HAT)
        even = jnp.sum(terms[0::4] - terms[2::4], axis=0)
        odd = jnp.sum(terms[1::4] - terms[3::4], axis=0)
        phase = frequency * middle
        cosine, sine = cos_sin(phase)
        real = jnp.sum(even * cosine - odd * sine)
        imaginary = -jnp.sum(even * sine + odd * cosine)
        return jax.lax.complex(real, imaginary)

    return map_lags(single, omega)


@jit
def last_lag(autocorrelation: Callable, longest):
    """The first of finely spaced lags beyond which R stays below `NEGLIGIBLE_R` of R(0)."""
    longest = jnp.asarray(longest, jnp.result_type(float))
    low, high = jnp.zeros_like(longest), longest
    threshold = NEGLIGIBLE_R * autocorrelation(low)

    def narrowed(_, ends):
        low, high = ends
        lag = low + (high - low) * jnp.linspace(0.0, 1.0, 65, dtype=low.dtype)
        last = lag.size - 1 - jnp.argmax((autocorrelation(lag) > threshold)[::-1])
        return lag[jnp.minimum(last, lag.size - 2)], lag[jnp.minimum(last + 1, lag.size - 1)]

    return jax.lax.fori_loop(0, 3, narrowed, (low, high))[1]


def sinhc(x):
    """sinh(x) / x for |x| < 1 (wrong beyond)."""
    square, total = x * x, jnp.ones_like(x)
    for k in range(9, 0, -1):
        total = 1.0 + square / (2 * k * (2 * k + 1)) * total
    return total
