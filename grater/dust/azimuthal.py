r"""Structure of a ring along its azimuth: clumps and arcs.

The azimuth :math:`\phi` is the angle in the disk plane about the ring's focus (the star, moved by
the disk's offset) from the major axis, as the argument of pericentre is counted.
"""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import Model, param


class AbstractAzimuthalProfile(Model):
    """How dense a ring is with the azimuth, a factor to its density.

    A new profile is a class with its parameters as fields and one method, `density`.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import param
    >>> class Lopsided(AbstractAzimuthalProfile):  # denser towards the major axis
    ...     contrast: jax.Array = param(bounds="[0, 1]")
    ...
    ...     def density(self, cos_azimuth, sin_azimuth):
    ...         return 1.0 + self.contrast * cos_azimuth
    >>> float(Lopsided(contrast=0.5).density(1.0, 0.0))
    1.5
    """

    @abc.abstractmethod
    def density(
        self, cos_azimuth: Float[Array, "..."], sin_azimuth: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Factor >= 0 of the density, of order 1, of the shape of the cosine.

        Parameters
        ----------
        cos_azimuth, sin_azimuth
            Of the azimuth, any shape. What is made of them needs no angle, and repeats after a
            turn by itself.
        """


class Axisymmetric(AbstractAzimuthalProfile):
    """The same density at all azimuths.

    Examples
    --------
    >>> from grater import Disk
    >>> Disk(40, 70, 30, alpha_in=5, alpha_out=-5, scale_height=1).azimuthal == Axisymmetric()
    True
    """

    def density(self, cos_azimuth, sin_azimuth):
        return jnp.ones_like(cos_azimuth)


class Arc(AbstractAzimuthalProfile):
    r"""Dust about one azimuth alone.

    .. math:: A(\phi) = \exp\left(\kappa\,(\cos(\phi - \phi_0) - 1)\right)

    It is 1 at its centre; its mean over the azimuth is :math:`e^{-\kappa} I_0(\kappa)`. A ring and
    an arc with a radial profile of its own are two disks of a scene.

    Parameters
    ----------
    concentration
        :math:`\kappa` >= 0; about one over the square of the standard deviation in radians, 0 for a
        ring without an arc.
    azimuth
        Centre :math:`\phi_0` in degrees, from the major axis in the disk plane.

    References
    ----------
    The density of von Mises; Mardia & Jupp 2000, Directional Statistics, section 3.5.4.

    Examples
    --------
    >>> from grater import Disk
    >>> arc = Arc(concentration=5.0, azimuth=60.0)
    >>> disk = Disk(40, 70, 30, alpha_in=5, alpha_out=-5, scale_height=1, azimuthal=arc)
    >>> float(disk.get("azimuthal.concentration"))
    5.0
    """

    concentration: Float[Array, ""] = param(
        bounds="[0, inf)", label=r"$\kappa$", doc="one over the squared width in radians"
    )
    azimuth: Float[Array, ""] = param(
        unit="deg", label=r"$\phi_0$", doc="centre, from the major axis in the disk plane"
    )

    def density(self, cos_azimuth, sin_azimuth):
        return _von_mises(self.concentration, self.azimuth, cos_azimuth, sin_azimuth)


class Clump(AbstractAzimuthalProfile):
    r"""A ring with more dust about one azimuth, or less.

    .. math:: A(\phi) = 1 + a\,\exp\left(\kappa\,(\cos(\phi - \phi_0) - 1)\right)

    The disk's flux is that of the ring without the clump; the clump adds
    :math:`a\,e^{-\kappa} I_0(\kappa)` of the ring's dust.

    Parameters
    ----------
    amplitude
        :math:`a` >= -1: how much denser the ring is at the clump's centre; below 0 it is a gap.
    concentration
        :math:`\kappa` >= 0; about one over the square of the standard deviation in radians.
    azimuth
        Centre :math:`\phi_0` in degrees, from the major axis in the disk plane.

    References
    ----------
    The density of von Mises; Mardia & Jupp 2000, Directional Statistics, section 3.5.4.

    Examples
    --------
    >>> from grater import Disk
    >>> clump = Clump(amplitude=0.5, concentration=20.0, azimuth=60.0)
    >>> disk = Disk(40, 70, 30, alpha_in=5, alpha_out=-5, scale_height=1, azimuthal=clump)
    >>> float(disk.get("azimuthal.azimuth"))
    60.0
    """

    amplitude: Float[Array, ""] = param(
        bounds="[-1, inf)", label="$a$", doc="excess of density at the centre"
    )
    concentration: Float[Array, ""] = param(
        bounds="[0, inf)", label=r"$\kappa$", doc="one over the squared width in radians"
    )
    azimuth: Float[Array, ""] = param(
        unit="deg", label=r"$\phi_0$", doc="centre, from the major axis in the disk plane"
    )

    def density(self, cos_azimuth, sin_azimuth):
        shape = _von_mises(self.concentration, self.azimuth, cos_azimuth, sin_azimuth)
        return 1.0 + self.amplitude * shape


def _von_mises(concentration, azimuth, cos_azimuth, sin_azimuth):
    centre = jnp.deg2rad(azimuth)
    along = jnp.cos(centre) * cos_azimuth + jnp.sin(centre) * sin_azimuth
    return jnp.exp(concentration * (along - 1.0))
