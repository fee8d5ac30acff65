"""Transits of a planet, which dim the light of a spotted star."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import gauss_legendre, lenient

from ..star.limb_darkening import check_quadratic, u1_param, u2_param
from .data import checked_exposure
from .mean import AbstractMean

_NODES = 8  # of the average over an exposure


def _exposure(given):
    return None if given is None else checked_exposure(given)


class Transit(AbstractMean):
    r"""The light of a star with a transiting planet on a circular orbit.

    .. math:: m(t) = F \left[1 - \delta(z, p)\right], \qquad
        z^2 = \frac{a^2}{R_\star^2} \sin^2 M + b^2 \cos^2 M, \quad M = 2\pi \frac{t - T_c}{P}

    with the light :math:`\delta` that a planet of the radius p takes from a limb-darkened star of
    radius 1 at the distance z from its centre, while it is before the star. It multiplies what the
    spots do, :math:`y = m(t) (1 + f(t))`: the covariance of the star is :math:`m(t)\, k\, m(t')`.
    Crossings of spots are no part of it.

    It takes the package jaxoplanet, ``pip install "grater-spotgp[transit]"``.

    Parameters
    ----------
    period
        Orbital period in days, > 0.
    conjunction
        A time of the middle of a transit in days, in the data's own time.
    radius_ratio
        Radius p of the planet in radii of the star, >= 0.
    impact
        Distance b from the centre of the star at mid-transit in its radii, >= 0.
    scaled_axis
        Semi-major axis of the orbit :math:`a / R_\star`, > 1.
    u1, u2
        Quadratic limb darkening, u1 + u2 <= 1.
    level
        Flux F beside the transits.
    exposure_time
        Length of the exposures in days, over which the transit is averaged, or None.

    References
    ----------
    Agol, Luger & Foreman-Mackey (2020), AJ 159, 123.

    Examples
    --------
    >>> planet = Transit(3.5, 1.0, radius_ratio=0.1, impact=0.2, scaled_axis=9.0, u1=0.4, u2=0.2)
    >>> round(float(planet.distance(1.0)), 3)  # at mid-transit, the impact parameter
    0.2
    """

    multiplies: ClassVar[bool] = True

    period: Float[Array, ""] = param(unit="d", bounds="(0, inf)", label="$P$", doc="orbital period")
    conjunction: Float[Array, ""] = param(unit="d", label="$T_c$", doc="time of mid-transit")
    radius_ratio: Float[Array, ""] = param(
        bounds="[0, inf)", label=r"$R_p / R_\star$", doc="radius of the planet over the star's"
    )
    impact: Float[Array, ""] = param(bounds="[0, inf)", label="$b$", doc="impact parameter")
    scaled_axis: Float[Array, ""] = param(
        bounds="(1, inf)", label=r"$a / R_\star$", doc="semi-major axis over the star's radius"
    )
    u1: Float[Array, ""] = u1_param()
    u2: Float[Array, ""] = u2_param()
    level: Float[Array, ""] = param(default=1.0, label="$F$", doc="flux beside the transits")
    exposure_time: float | None = eqx.field(static=True, default=None, converter=_exposure)

    def __check_init__(self):
        check_quadratic("Transit", self.u1, self.u2)

    def default_priors(self, data):
        """About the values, as far as a transit stays where it is; limb darkening is fixed.

        The period within a thousandth, the conjunction within a fiftieth of it, the radius up to a
        third of the star's, the impact up to 1, the axis within a factor of 2, the level normal
        with ten times the scatter of the flux.
        """
        period, middle = float(self.period), float(self.conjunction)
        return {
            "period": dist.LogUniform(period / 1.001, 1.001 * period),
            "conjunction": dist.Uniform(middle - 0.02 * period, middle + 0.02 * period),
            "radius_ratio": dist.Uniform(0.0, 0.33),
            "impact": dist.Uniform(0.0, 1.0),
            "scaled_axis": dist.LogUniform(
                max(0.5 * float(self.scaled_axis), 1.01), 2.0 * float(self.scaled_axis)
            ),
            "level": dist.Normal(float(self.level), 10.0 * data.scatter),
        }

    def distance(self, t) -> Float[Array, "n"]:
        """Distance z of the planet from the centre of the star's disk in its radii."""
        turns = (t - self.conjunction) / self.period
        anomaly = 2.0 * np.pi * (turns - jnp.floor(turns + 0.5))
        across = self.scaled_axis * jnp.sin(anomaly)
        # of the root at 0 the slope is taken to be 0
        square = across**2 + (self.impact * jnp.cos(anomaly)) ** 2
        root = jnp.where(square > 0.0, jnp.sqrt(jnp.where(square > 0.0, square, 1.0)), 0.0)
        far = 2.0 + self.radius_ratio  # behind the star
        return jnp.where(jnp.abs(anomaly) < 0.5 * np.pi, root, jnp.maximum(root, far))

    def __call__(self, t):
        if self.exposure_time is None:
            return self.level * (1.0 + self._deficit(t))
        node, weight = gauss_legendre(_NODES)
        total = jnp.zeros_like(t)
        for x, w in zip(node, weight, strict=True):
            total = total + 0.5 * w * self._deficit(t + 0.5 * x * self.exposure_time)
        return self.level * (1.0 + total)

    def _deficit(self, t):
        try:
            from jaxoplanet.core.limb_dark import (  # pyright: ignore[reportMissingImports]
                light_curve,
            )
        except ImportError:
            raise ImportError(
                'Transit takes the package jaxoplanet: pip install "grater-spotgp[transit]".'
            ) from None
        limb = jnp.stack([self.u1, self.u2])
        with lenient():
            return light_curve(limb, self.distance(t), self.radius_ratio)
