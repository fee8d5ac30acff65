r"""Stokes parameters about the star, before and after the PSF.

Single scattering polarises light at right angles to the direction to the star. With the position
angle :math:`\varphi` of a point about the star, from North through East, light of polarised
intensity :math:`P` has

.. math:: Q = -P \cos 2\varphi, \qquad U = -P \sin 2\varphi.

A detector sees both convolved with the PSF, and pipelines turn them back in each pixel,

.. math:: Q_\phi = -Q \cos 2\varphi - U \sin 2\varphi, \qquad
          U_\phi = Q \sin 2\varphi - U \cos 2\varphi,

so that :math:`Q_\phi` is less than the convolved :math:`P` close to the star, and :math:`U_\phi` is
not 0 (Schmid, Joos & Tschan 2006, A&A 452, 657; Heikamp & Keller 2019, A&A 627, A156).
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Stokes = Literal["Q", "U", "Q_phi", "U_phi"]


def double_angle(
    west: Float[Array, "ny nx"], north: Float[Array, "ny nx"]
) -> tuple[Float[Array, "ny nx"], Float[Array, "ny nx"]]:
    """Cosine and sine of twice the position angle about the star; both 0 at the star itself."""
    squared = west**2 + north**2
    squared = jnp.where(squared > 0.0, squared, 1.0)
    return (north**2 - west**2) / squared, -2.0 * north * west / squared


def emitted(light, cosine, sine) -> Float[Array, "2 ny nx"]:
    """Q and U of light that is polarised about the star."""
    return jnp.stack([-light * cosine, -light * sine])


def measured(name: Stokes, q, u, cosine, sine) -> Float[Array, "ny nx"]:
    """One of the Stokes parameters, out of Q and U."""
    if name == "Q_phi":
        return -q * cosine - u * sine
    if name == "U_phi":
        return q * sine - u * cosine
    return q if name == "Q" else u
