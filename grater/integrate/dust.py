"""What a line-of-sight integral is made of, and its derivatives in any number of a component."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from .geometry import Geometry, sky_to_disk


class Dust(NamedTuple):
    """The components of the integrand that a user may exchange.

    Parameters
    ----------
    radial, vertical
        Density profiles, see `AbstractRadialProfile` and `AbstractVerticalProfile`.
    azimuthal
        A factor of the density, see `AbstractAzimuthalProfile`.
    phase
        A function of the cosine of the scattering angle that returns a tuple. There are as many
        integrals: what its parts have in common, and all the rest, is worked out once.
    """

    radial: Any
    vertical: Any
    azimuthal: Any
    phase: Any

    def density(self, q, cos_azimuth, sin_azimuth, z):
        """Density at elliptic radii, azimuths and heights in au."""
        profile = self.vertical.profile(jnp.abs(z) / self.vertical.height(q))
        return self.radial.density(q) * profile * self.azimuthal.density(cos_azimuth, sin_azimuth)

    def turned(self, cos_azimuth, sin_azimuth):
        """The azimuthal factor, and its derivative in the azimuth or None if it has none."""
        function, azimuth = self.azimuthal.density, (cos_azimuth, sin_azimuth)
        if not depends(lambda cosine: function(cosine, sin_azimuth), cos_azimuth) and not depends(
            lambda sine: function(cos_azimuth, sine), sin_azimuth
        ):
            return function(*azimuth), None
        return jax.jvp(function, azimuth, (-sin_azimuth, cos_azimuth))

    def number_of_phases(self, like) -> int:
        """How many there are, for cosines such as these."""
        return len(jax.eval_shape(self.phase, like))


class Integrand(NamedTuple):
    """A disk, and the pixels along its axes in au, shape (n,)."""

    geometry: Geometry
    dust: Dust
    x: Any
    y: Any

    @classmethod
    def of(cls, geometry: Geometry, dust: Dust, x_sky, y_sky) -> "Integrand":
        """With pixels by their offsets to the West and to the North."""
        # the unit of the nodes, of which nothing depends
        unit = jax.lax.stop_gradient(geometry.semi_major_axis)
        places = sky_to_disk(geometry.position_angle, x_sky, y_sky)
        return cls(geometry._replace(semi_major_axis=unit), dust, *places)

    def brightness(self, tilt, x, y, l):
        r"""The integrand :math:`\rho f p / d^2` of each phase function, a list."""
        x_disk, y_disk, z, r = self.geometry.place(tilt, x, y, l)
        per_d = jnp.sqrt(1.0 / (x**2 + y**2 + l**2))
        q, per_r = self.geometry.radius(x_disk, y_disk, r), 1.0 / r
        density = self.dust.density(q, x_disk * per_r, y_disk * per_r, z)
        return [density * phase * per_d**2 for phase in self.dust.phase(l * per_d)]


def in_each_number(function, component, tangent) -> list:
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

        if not depends(at, leaves[k]):
            derivatives += [0.0] * dot.size
            continue
        for index in np.ndindex(dot.shape):
            basis = np.zeros(dot.shape, dot.dtype)
            basis[index] = 1.0
            derivatives.append(jax.jvp(at, (leaves[k],), (jnp.asarray(basis),))[1])
    return derivatives


def depends(function, argument) -> bool:
    """Whether what a function returns depends on its argument."""
    jaxpr = jax.make_jaxpr(function)(argument).jaxpr
    reached = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in reached for v in equation.invars):
            reached.update(equation.outvars)
    return any(not isinstance(v, Literal) and v in reached for v in jaxpr.outvars)


def _is_none(value):
    return value is None
