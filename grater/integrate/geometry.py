r"""Where a disk lies, and where a line of sight meets it.

Coordinates, all from the star unless said otherwise: on the sky :math:`x` along the major axis and
:math:`y` along the minor one, towards the near side; :math:`l` along the line of sight, towards the
observer. In the disk, from the ring's centre,

.. math::
    x' = x - \Delta x, \quad y' = y \cos i + l \sin i - \Delta y, \quad z = l \cos i - y \sin i

and the elliptic radius, 1 on the reference ellipse, is

.. math:: q = \frac{r + e_c x' + e_s y'}{p}, \quad r = \sqrt{x'^2 + y'^2}, \quad p = a (1 - e^2)

with :math:`e_c = e \cos\omega` and :math:`e_s = e \sin\omega`. No angle is taken of any sample.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

# in reference radii: what is nearer to the ring's centre is taken to be there
SMALLEST_RADIUS = 1e-3


class Geometry(NamedTuple):
    """Where a disk lies: angles in degrees, lengths in au or (`scaled`) in semi-major axes.

    All fields are scalars. The integral depends on the first six, which it is differentiated in;
    position_angle turns the sky, and semi_major_axis is but the unit of its nodes.
    """

    inclination: Float[Array, ""]
    semi_latus_rectum: Float[Array, ""]  # p
    e_cos: Float[Array, ""]
    e_sin: Float[Array, ""]
    offset_x: Float[Array, ""]
    offset_y: Float[Array, ""]
    position_angle: Float[Array, ""]
    semi_major_axis: Float[Array, ""]

    @property
    def tilt(self):
        """Sine and cosine of the inclination, exact at 0, 90 and 180, derivatives included."""
        angle = self.inclination
        folded = jnp.where(angle > 90.0, 180.0 - angle, angle)
        steep = folded > 45.0
        small = jnp.deg2rad(jnp.where(steep, 90.0 - folded, folded))
        sine, cosine = jnp.sin(small), jnp.cos(small)
        sine, cosine = jnp.where(steep, cosine, sine), jnp.where(steep, sine, cosine)
        return sine, jnp.where(angle > 90.0, -cosine, cosine)

    @property
    def scaled(self) -> "Geometry":
        """The same in units of the semi-major axis."""
        lengths = ("semi_latus_rectum", "offset_x", "offset_y", "semi_major_axis")
        unit = self.semi_major_axis
        return self._replace(**{name: getattr(self, name) / unit for name in lengths})

    def midplane_point(self, x, y):
        """Where lines of sight are at l = 0, in the disk plane from the ring's centre."""
        return x - self.offset_x, y * self.tilt[1] - self.offset_y

    def place(self, tilt, x, y, l):
        """Coordinates x', y', z and r of points on lines of sight; tilt is that of this geometry.

        The radius is kept off 0, where neither it nor its logarithm has a derivative.
        """
        sin_i, cos_i = tilt
        x_disk = x - self.offset_x
        y_disk = y * cos_i + l * sin_i - self.offset_y
        smallest = SMALLEST_RADIUS * self.semi_major_axis
        r = jnp.sqrt(jnp.maximum(x_disk**2 + y_disk**2, smallest**2))
        return x_disk, y_disk, l * cos_i - y * sin_i, r

    def radius(self, x_disk, y_disk, r):
        """The elliptic radius q of a point in the disk plane."""
        return (r + self.e_cos * x_disk + self.e_sin * y_disk) * (1.0 / self.semi_latus_rectum)

    def crossings(self, levels, x, y):
        r"""Where lines of sight cross the ellipses of some elliptic radii, looked at from above.

        With :math:`s = l \sin i`, the point :math:`(x_0, y_0)` at l = 0 and
        :math:`P = q p - e_c x_0 - e_s y_0`, the ellipse :math:`r = P - e_s s` is a quadratic:

        .. math:: (1 - e_s^2) s^2 + 2 (y_0 + e_s P) s + x_0^2 + y_0^2 - P^2 = 0

        Parameters
        ----------
        levels
            Elliptic radii q, shape (n,).
        x, y
            Sky coordinates along the disk's axes in the units of this geometry, any shape.

        Returns
        -------
        middle, half
            Lines are inside where :math:`|s - middle| < half`, shape (n, *x).
        outside
            Whether they are inside nowhere, shape (n, *x).
        """
        x0, y0 = self.midplane_point(x, y)
        p = levels.reshape((-1,) + (1,) * x.ndim) * self.semi_latus_rectum
        p = p - (self.e_cos * x0 + self.e_sin * y0)[None]
        a2, a1 = 1.0 - self.e_sin**2, y0[None] + p * self.e_sin
        squared = a1**2 - a2 * ((x0**2 + y0**2)[None] - p**2)
        return -a1 / a2, jnp.sqrt(jnp.maximum(squared, 0.0)) / a2, squared <= 0


def sky_to_disk(position_angle, x_sky, y_sky):
    """Sky offsets from the star (West, North) along the major axis and along the minor axis.

    The minor axis points to the near side of a disk with an inclination below 90 deg, the
    position angle minus 90 deg.
    """
    angle = jnp.deg2rad(position_angle)
    sin_pa, cos_pa = jnp.sin(angle), jnp.cos(angle)
    return cos_pa * y_sky - sin_pa * x_sky, cos_pa * x_sky + sin_pa * y_sky


def kept_off_zero(value, smallest):
    """A number of either sign that something is divided by, at least as large as the smallest."""
    least = jnp.where(value < 0, -smallest, smallest).astype(value.dtype)
    return jnp.where(jnp.abs(value) < smallest, least, value)
