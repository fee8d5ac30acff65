r"""Integrals over the visible part of a circular cap on a star, in the plane of the sky.

The rim of a cap of angular radius :math:`\alpha` at the angle :math:`\beta` from the centre of the
disk crosses the circle at the angle :math:`\gamma` from that centre at the azimuths
:math:`\pm\chi_m(\gamma)` from the cap's own direction,

.. math::
    \sin^2\frac{\chi_m}{2} = \frac{\sin\frac{\alpha + \beta - \gamma}{2}
    \sin\frac{\alpha - \beta + \gamma}{2}}{\sin\gamma\,\sin\beta}

so that an integral over what is seen of the cap is, without any kink at the limb,

.. math::
    \int_{\mathrm{cap},\,\mu > 0} f\,d\Omega = \int_0^{\pi/2} \sin\gamma
    \int_{-\chi_m}^{\chi_m} f\,d\chi\,d\gamma .
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit.extend import gauss_legendre

from ..kernel.trig import cos_sin

_RINGS = 10  # circles about the centre of the disk, of those that the rim cuts and of whole ones
_HALF = 5  # nodes on one half of a circle: 1e-6 of a cap for radii up to 0.5


class _Ring(NamedTuple):
    """Where circles lie between the limits of gamma, and nodes on half of each, with weights."""

    whole: np.ndarray
    level: np.ndarray
    step: np.ndarray
    at: np.ndarray
    share: np.ndarray


def _rings() -> _Ring:
    node, weight = gauss_legendre(_RINGS)
    arc, share = (a[_HALF:] for a in gauss_legendre(2 * _HALF))
    # gamma = middle - half cos(u): the square roots at both ends become smooth
    angle = 0.5 * np.pi * (node + 1.0)
    cut = np.sin(0.5 * angle) ** 2, 0.25 * np.pi * weight * np.sin(angle)
    whole = 0.5 * (node + 1.0), 0.5 * weight
    # evenly spaced on a whole circle, so that what is odd cancels
    even, same = (np.arange(_HALF) + 0.5) / _HALF, np.full(_HALF, 1.0 / _HALF)
    rows = [(False, x, w, arc, share) for x, w in zip(*cut, strict=True)]
    rows += [(True, x, w, even, same) for x, w in zip(*whole, strict=True)]
    return _Ring(*map(np.array, zip(*rows, strict=True)))


class Direction(NamedTuple):
    """Unit vectors from the star's centre, any shape, in a frame that does not rotate.

    x points to the receding limb along the equator, y to the projected pole, mu to the observer.
    """

    x: Float[Array, "..."]
    y: Float[Array, "..."]
    mu: Float[Array, "..."]


def direction(
    inc: Float[Array, ""], latitude: Float[Array, "..."], theta: Float[Array, "..."]
) -> Direction:
    """Of the surface at a latitude and a rotation angle past the meridian, both in rad."""
    (cos_i, sin_i), (cos_lat, sin_lat) = cos_sin(inc), cos_sin(latitude)
    cos_theta, sin_theta = cos_sin(theta)
    return Direction(
        cos_lat * sin_theta,
        sin_i * sin_lat - cos_i * cos_lat * cos_theta,
        cos_i * sin_lat + sin_i * cos_lat * cos_theta,
    )


def cap_integral(
    function: Callable[[Direction], tuple[Float[Array, "..."], ...]],
    alpha: Float[Array, "..."],
    centre: Direction,
) -> tuple[Float[Array, "..."], ...]:
    r"""Integrals of several functions over the visible part of a cap, divided by pi.

    .. math:: \frac{1}{\pi} \int_{\mathrm{cap},\,\mu > 0} f\,d\Omega

    by Gauss-Legendre quadrature on circles about the centre of the disk.

    Parameters
    ----------
    function
        Takes directions of any one shape and returns the functions there, each of that shape.
    alpha
        Angular radius of the cap in rad, 0 to pi/2.
    centre
        Its centre, of the shape of alpha.
    """
    # directions are unknown at the centre of the disk: a cap there is moved by next to nothing, up
    tiny = jnp.finfo(centre.mu.dtype).eps ** 0.5
    y = centre.y + jnp.where(centre.x**2 + centre.y**2 < tiny**2, 2.0 * tiny, 0.0)
    away = jnp.sqrt(centre.x**2 + y**2)
    toward = centre.x / away, y / away
    beta = jnp.arctan2(away, centre.mu)
    rim = jnp.minimum(jnp.abs(alpha - beta), 0.5 * np.pi)
    whole = jnp.where(beta < alpha, rim, 0.0)
    cut = jnp.maximum(jnp.minimum(alpha + beta, 0.5 * np.pi) - rim, 0.0)

    def add(total, ring):
        gamma = jnp.where(ring.whole, whole * ring.level, rim + cut * ring.level)
        mu, sine = cos_sin(gamma)
        above = jnp.sin(0.5 * (alpha + beta - gamma)) * jnp.sin(0.5 * (alpha - beta + gamma))
        below = sine * away
        crossed = (above > 0.0) & (above < below) & ~ring.whole
        ratio = jnp.where(crossed, above / jnp.where(crossed, below, 1.0), 0.25)
        outside = jnp.where((above < below) & ~ring.whole, 0.0, np.pi)
        reach = jnp.where(crossed, 2.0 * jnp.arcsin(jnp.sqrt(ratio)), outside)
        area = sine * reach * ring.step * jnp.where(ring.whole, whole, cut) / np.pi
        for k in range(_HALF):
            along, across = (sine * part for part in cos_sin(reach * ring.at[k]))
            for side in (across, -across):
                x = along * toward[0] - side * toward[1]
                y = along * toward[1] + side * toward[0]
                values = function(Direction(x, y, mu))
                share = area * ring.share[k]
                total = tuple(a + share * b for a, b in zip(total, values, strict=True))
        return total, None

    zero = tuple(jnp.zeros_like(beta) for _ in jax.eval_shape(function, centre))
    rings = _Ring(*(jnp.asarray(a, None if a.dtype == bool else beta.dtype) for a in _rings()))
    return jax.lax.scan(add, zero, rings)[0]
