"""The projected area of a circular cap on a sphere seen from far away."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def _x_minus_sin(x):
    """The difference x - sin(x) without cancellation, for x >= 0."""
    small = x < 1.0
    x2 = jnp.where(small, x, 0.0) ** 2
    series = jnp.ones_like(x2)
    for k in (17, 15, 13, 11, 9, 7, 5):
        series = 1.0 - x2 * series / (k * (k - 1))
    return jnp.where(small, jnp.where(small, x, 0.0) * x2 * series / 6.0, x - jnp.sin(x))


def projected_cap_area(
    alpha: Float[Array, "..."], cos_beta: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Area on the sky of a circular cap of a unit sphere, the part behind the limb left out.

    .. math::

        A = \pi \sin^2\!\alpha \cos\beta \quad (\beta \le \pi/2 - \alpha), \qquad
        A = \psi - \cos\alpha\, q + \cos\beta \sin^2\!\alpha\,
            \operatorname{atan2}(q, -\cos\alpha \cos\beta)
            \quad (|\beta - \pi/2| < \alpha), \qquad A = 0 \text{ beyond},

    with :math:`q^2 = \sin^2\alpha - \cos^2\beta` and
    :math:`\psi = \operatorname{atan2}(q, \cos\alpha)`. It is smooth to order 5/2 where the cap
    touches the limb; first derivatives are finite and right everywhere. The unit is the squared
    stellar radius: the whole disk is pi.

    Parameters
    ----------
    alpha
        Angular radius of the cap in radians, 0 <= alpha < pi/2.
    cos_beta
        Cosine of the angle between the cap's centre and the line of sight, -1 to 1; any shape that
        broadcasts with `alpha`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> area = projected_cap_area(jnp.asarray(0.1), jnp.asarray([1.0, 0.0, -1.0]))
    >>> [f"{a:.6f}" for a in area]
    ['0.031311', '0.000665', '0.000000']
    """
    alpha, mu = jnp.asarray(alpha, float), jnp.asarray(cos_beta, float)
    sin_a, cos_a = jnp.sin(alpha), jnp.cos(alpha)
    crossing = jnp.abs(mu) < sin_a
    # everything at the limb is written so that it is O(alpha^3) term by term
    m = jnp.where(crossing, mu, 0.0)
    q2 = jnp.where(crossing, (sin_a - m) * (sin_a + m), 1.0)
    q = jnp.sqrt(q2)
    s2 = 1.0 - m * m
    psi = jnp.arctan2(q, jnp.where(crossing, cos_a, 1.0))
    theta = jnp.arctan2(q, jnp.where(crossing, -m * cos_a, 1.0))
    limb = 0.5 * _x_minus_sin(2.0 * psi) + m * m * q * cos_a / s2 + m * sin_a**2 * theta
    full = jnp.pi * sin_a**2 * jnp.maximum(mu, 0.0)
    return jnp.where(crossing, limb, full)
