r"""The light that a dark circular cap takes from a star with any limb darkening.

A star's disk is described by its visibility :math:`V(\mu)`, foreshortened brightness over flux. By
Green's theorem the light of a cap is an integral along its rim,

.. math::
    b = \frac{1}{\pi} \int_\mathrm{cap} V\,d\Omega = \frac{2}{\pi} \left[ \int_0^{\theta} G(\mu)
    \sin\alpha\,(\sin\alpha\cos\beta - \cos\alpha\sin\beta\cos\psi)\,d\psi + W(1)\,\psi_l \right],

.. math::
    W(\mu) = \int_0^\mu V, \quad G(\mu) = \frac{W(1) - W(\mu)}{1 - \mu^2}, \quad
    \mu(\psi) = \cos\alpha\cos\beta + \sin\alpha\sin\beta\cos\psi,

over the visible part of the rim, :math:`\psi < \theta`, and the azimuths :math:`\psi_l` at which
the cap reaches the limb. Its derivatives are rim integrals too:

.. math::
    \frac{\partial b}{\partial\alpha} = \frac{2}{\pi} \sin\alpha \int_0^\theta V\,d\psi, \qquad
    \frac{\partial b}{\partial\cos\beta} = \frac{2}{\pi} \sin^2\!\alpha
    \int_0^\theta V' \sin^2\!\psi\,d\psi.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit.extend import gauss_legendre

from .geometry import projected_cap_area

_NODES = 10  # on half of the rim: 1e-7 of a cap's light for radii up to 0.5


class _Rim(NamedTuple):
    """The visible rim of a cap: half its length in azimuth and its reach along the limb."""

    sin_alpha: Float[Array, "..."]
    cos_alpha: Float[Array, "..."]
    root: Float[Array, "..."]
    theta: Float[Array, "..."]
    psi_limb: Float[Array, "..."]


def _rim(alpha, cos_beta) -> _Rim:
    sin_a, cos_a = jnp.sin(alpha), jnp.cos(alpha)
    crossing = jnp.abs(cos_beta) < sin_a
    m = jnp.where(crossing, cos_beta, 0.0)
    root = jnp.sqrt(jnp.where(crossing, (sin_a - m) * (sin_a + m), 1.0))
    pi = jnp.asarray(np.pi, root.dtype)
    whole = jnp.where(cos_beta > 0.0, pi, 0.0)
    theta = jnp.where(crossing, 0.5 * pi + jnp.arctan2(m * cos_a, root), whole)
    psi_limb = jnp.where(crossing, jnp.arctan2(root, jnp.where(crossing, cos_a, 1.0)), 0.0)
    return _Rim(sin_a, cos_a, jnp.where(crossing, root, 0.0), theta, psi_limb)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def cap_light(
    alpha: Float[Array, "..."], cos_beta: Float[Array, "..."], power: float
) -> Float[Array, "..."]:
    r"""Light of a circular cap for one power of the foreshortening, :math:`V = \mu^p`.

    .. math:: b_p = \frac{1}{\pi} \int_{\mathrm{cap},\,\mu > 0} \mu^p \, d\Omega

    The cap's angular radius alpha is in rad, 0 to pi/2, its centre at the angle beta from that of
    the disk; both may have any one shape. The exponent p >= 1 is a multiple of 1/2: 1 is the
    uniform disk, the projected area over pi. The whole disk gives 2 / (p + 1).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> light = cap_light(jnp.full(3, 0.1), jnp.array([1.0, 0.0, -1.0]), 2.0)
    >>> [f"{b:.6f}" for b in light]
    ['0.009942', '0.000012', '0.000000']
    """
    if power == 1.0:
        return projected_cap_area(alpha, cos_beta) / np.pi
    rim = _rim(alpha, cos_beta)
    mu, cosine, weight = _nodes(rim, cos_beta)
    sin_a, cos_a = rim.sin_alpha[..., None], rim.cos_alpha[..., None]
    across = sin_a * cos_beta[..., None] - cos_a * _sine(cos_beta)[..., None] * cosine
    integral = jnp.sum(weight * _remainder(mu, power) * sin_a * across, axis=-1)
    return 2.0 / np.pi * (integral + rim.psi_limb / (power + 1.0))


@cap_light.defjvp
def _cap_light_jvp(power, primals, tangents):
    alpha, cos_beta = primals
    rim = _rim(alpha, cos_beta)
    if power == 1.0:
        square = 1.0 - cos_beta**2
        inside = rim.root > 0.0
        turn = rim.cos_alpha * cos_beta * rim.root / jnp.where(inside, square, 1.0)
        by_alpha = rim.cos_alpha * cos_beta * rim.theta + rim.root
        by_cosine = rim.sin_alpha**2 * rim.theta + turn
        by_alpha, by_cosine = 2.0 * rim.sin_alpha * by_alpha / np.pi, by_cosine / np.pi
    else:
        mu, cosine, weight = _nodes(rim, cos_beta)
        scale = 2.0 / np.pi * rim.sin_alpha
        by_alpha = scale * jnp.sum(weight * _half_power(mu, power), axis=-1)
        slope = power * _half_power(mu, power - 1.0) * (1.0 - cosine**2)
        by_cosine = scale * rim.sin_alpha * jnp.sum(weight * slope, axis=-1)
    value = cap_light(alpha, cos_beta, power)
    return value, by_alpha * tangents[0] + by_cosine * tangents[1]


def _nodes(rim, cos_beta):
    """Foreshortening and cosine of the azimuth at the nodes of the rim, and their weights."""
    node, weight = gauss_legendre(_NODES)
    # psi = theta sin(x): the square roots of half powers at the limb become smooth
    angle = 0.25 * np.pi * (node + 1.0)
    shape = (1,) * rim.theta.ndim + (-1,)
    node = jnp.asarray(np.sin(angle).reshape(shape), rim.theta.dtype)
    weight = jnp.asarray((0.25 * np.pi * weight * np.cos(angle)).reshape(shape), rim.theta.dtype)
    theta = rim.theta[..., None]
    cosine = jnp.cos(theta * node)
    reach = (rim.sin_alpha * _sine(cos_beta))[..., None]
    mu = (rim.cos_alpha * cos_beta)[..., None] + reach * cosine
    return jnp.clip(mu, 0.0, 1.0), cosine, theta * weight


def _sine(cosine):
    square = (1.0 - cosine) * (1.0 + cosine)
    positive = square > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def _root(mu):
    positive = mu > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, mu, 1.0)), 0.0)


def _half_power(mu, power: float):
    """A power of mu that is a multiple of 1/2, by multiplications and one root."""
    whole = int(power)
    value = mu**whole
    return value if whole == power else value * _root(mu)


def _remainder(mu, power: float):
    r"""G of :math:`\mu^p`, :math:`(1 - \mu^{p+1}) / ((p + 1)(1 - \mu^2))`, without 0/0 at 1."""
    if power == int(power):
        x, count, below = mu, int(power) + 1, 1.0 + mu
    else:
        x = _root(mu)
        count, below = int(2 * power) + 2, (1.0 + x) * (1.0 + mu)
    total = jnp.ones_like(x)
    for _ in range(count - 1):
        total = 1.0 + x * total
    return total / ((power + 1.0) * below)
