r"""Planets: the motion of a star about the centre of mass, as a mean of its radial velocity.

.. math::
    v(t) = K \left[\cos(\omega + f) + e \cos\omega\right], \qquad
    \cos f = \frac{\cos E - e}{1 - e \cos E}, \quad
    \sin f = \frac{\sqrt{1 - e^2}\,\sin E}{1 - e \cos E}, \quad E - e \sin E = M .
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import as_data

from .mean import AbstractMean

_STEPS = 4  # of Halley's method: rounding is reached for eccentricities up to 0.99


@jax.custom_jvp
def eccentric_anomaly(
    mean_anomaly: Float[Array, "..."], eccentricity: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Solution E of Kepler's equation, :math:`E - e \sin E = M`.

    By Halley's method from above, :math:`E \le \min(M + e,\, M / (1 - e),\, \sqrt[3]{12 M / e})`
    for positive M, with the derivatives of the equation itself.

    Parameters
    ----------
    mean_anomaly
        M in rad, -pi to pi, any shape.
    eccentricity
        e, of that shape, in [0, 1).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from spotgp.gp.orbit import eccentric_anomaly
    >>> e, anomaly = jnp.array(0.6), jnp.array(0.3)
    >>> E = eccentric_anomaly(anomaly, e)
    >>> print(f"{E:.6f} {E - e * jnp.sin(E):.6f}")
    0.674884 0.300000
    """
    m, e = jnp.abs(mean_anomaly), eccentricity
    E = jnp.minimum(m + e, m / (1.0 - e))
    E = jnp.minimum(E, jnp.cbrt(12.0 * m / jnp.maximum(e, 0.1)))
    for _ in range(_STEPS):
        e_sine, e_cosine = e * jnp.sin(E), e * jnp.cos(E)
        excess, slope = E - e_sine - m, 1.0 - e_cosine
        E = E - excess * slope / (slope * slope - 0.5 * excess * e_sine)
    return jnp.where(mean_anomaly < 0.0, -E, E)


@eccentric_anomaly.defjvp
def _eccentric_anomaly_jvp(primals, tangents):
    E = eccentric_anomaly(*primals)
    e = primals[1]
    return E, (tangents[0] + jnp.sin(E) * tangents[1]) / (1.0 - e * jnp.cos(E))


class Keplerian(AbstractMean):
    r"""Radial velocity of a star with a planet, m/s, positive receding.

    .. math:: v(t) = K \left[\cos(\omega + f(t)) + e \cos\omega\right]

    The phase is that of the inferior conjunction, when the planet would transit, at the true
    anomaly :math:`f = \pi/2 - \omega`: unlike the time of periastron it is known for a circular
    orbit too.

    Parameters
    ----------
    period
        Orbital period in days, > 0.
    semi_amplitude
        K in m/s, >= 0.
    conjunction
        A time of inferior conjunction (of transit) in days, in the data's own time.
    eccentricity
        e in [0, 1).
    omega
        Argument of the periastron of the star's orbit in rad.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import Keplerian
    >>> planet = Keplerian(period=4.0, semi_amplitude=50.0, conjunction=1.0)
    >>> print(planet(np.array([0.0, 1.0, 2.0])).round(6))  # after a transit the star approaches
    [ 50.   0. -50.]
    """

    period: Float[Array, ""] = param(unit="d", bounds="(0, inf)", label="$P$", doc="orbital period")
    semi_amplitude: Float[Array, ""] = param(
        unit="m / s", bounds="[0, inf)", label="$K$", doc="semi-amplitude of the velocity"
    )
    conjunction: Float[Array, ""] = param(
        unit="d", label="$T_c$", doc="time of inferior conjunction (transit)"
    )
    eccentricity: Float[Array, ""] = param(
        bounds="[0, 1)", default=0.0, label="$e$", doc="eccentricity"
    )
    omega: Float[Array, ""] = param(
        unit="rad", default=0.0, label=r"$\omega$", doc="argument of periastron of the star"
    )

    @classmethod
    def from_periastron(
        cls, period, semi_amplitude, periastron, eccentricity, omega
    ) -> "Keplerian":
        """The same from a time of periastron in days in place of that of conjunction."""
        orbit = cls(period, semi_amplitude, 0.0, eccentricity, omega)
        at_periastron = cls(orbit.period, 0.0, periastron).conjunction
        return orbit.set({"conjunction": at_periastron - orbit.periastron})

    @property
    def periastron(self) -> Float[Array, ""]:
        """The time of periastron in days that is next to the conjunction."""
        return self.conjunction - self.period * self._mean_at_conjunction() / (2.0 * np.pi)

    def _mean_at_conjunction(self):
        # cos f = sin(omega) and sin f = cos(omega)
        e = self.eccentricity
        sine = jnp.sqrt((1.0 - e) * (1.0 + e)) * jnp.cos(self.omega)
        over = 1.0 + e * jnp.sin(self.omega)
        return jnp.arctan2(sine, e + jnp.sin(self.omega)) - e * sine / over

    def default_priors(self, data):
        """Period and conjunction around their values, the semi-amplitude up to 10 scatters.

        The period is within a fifth, the conjunction within half a period, the eccentricity has the
        beta distribution of known planets (Kipping 2013, MNRAS 434, L51). An orbit that is circular
        stays so, and has no periastron.
        """
        period, middle = float(self.period), float(self.conjunction)
        priors = {
            "period": dist.LogUniform(period / 1.2, 1.2 * period),
            "semi_amplitude": dist.Uniform(0.0, 10.0 * data.scatter),
            "conjunction": dist.Uniform(middle - 0.5 * period, middle + 0.5 * period),
        }
        if float(self.eccentricity) > 0:
            priors["eccentricity"] = dist.Beta(0.867, 3.03)
            priors["omega"] = dist.Uniform(-np.pi, np.pi)
        return priors

    def __call__(self, t):
        e = self.eccentricity
        turns = (t - self.conjunction) / self.period + self._mean_at_conjunction() / (2.0 * np.pi)
        # whole orbits are taken off before anything is multiplied by pi
        mean = 2.0 * np.pi * (turns - jnp.floor(turns + 0.5))
        E = eccentric_anomaly(mean, jnp.broadcast_to(e, mean.shape))
        cosine, sine = jnp.cos(E), jnp.sin(E)
        along, across = cosine - e, jnp.sqrt((1.0 - e) * (1.0 + e)) * sine
        turned = jnp.cos(self.omega) * along - jnp.sin(self.omega) * across
        return self.semi_amplitude * (turned / (1.0 - e * cosine) + e * jnp.cos(self.omega))


def minimum_mass(semi_amplitude, period, eccentricity, star_mass):
    r"""Smallest mass of a companion, that of an orbit seen from the side.

    .. math:: \frac{m^3}{(M_\star + m)^2} = \frac{P K^3 (1 - e^2)^{3/2}}{2 \pi G}

    Parameters
    ----------
    semi_amplitude
        K in m/s, any shape, such as that of posterior draws, or with a unit.
    period
        Orbital period in days, or with a unit.
    eccentricity
        e in [0, 1).
    star_mass
        Mass of the star in solar masses, or with a unit.

    Returns
    -------
    astropy.units.Quantity
        In Earth masses.

    Raises
    ------
    TypeError, ValueError
        For values that are no numbers, have another kind of unit, or are out of range.

    Examples
    --------
    >>> from spotgp import minimum_mass
    >>> print(f"{minimum_mass(12.47, 4332.6, 0.0489, 1.0):.0f}")  # the Sun and Jupiter
    318 earthMass
    """
    from astropy import units
    from astropy.constants import G  # pyright: ignore[reportAttributeAccessIssue]

    given = {
        "semi_amplitude": (semi_amplitude, "m / s", 0.0, np.inf),
        "period": (period, "d", 0.0, np.inf),
        "eccentricity": (eccentricity, "", 0.0, 1.0),
        "star_mass": (star_mass, "solMass", 0.0, np.inf),
    }
    values = {}
    for name, (value, unit, low, high) in given.items():
        numbers = np.asarray(as_data(name, value, unit), float)
        if not np.all((numbers >= low) & (numbers < high)):
            raise ValueError(f"{name} must be in [{low:g}, {high:g}){' ' + unit if unit else ''}.")
        values[name] = units.Quantity(numbers, unit)
    K, P, e, star = values.values()
    ratio = P * K**3 * (1 - e**2) ** 1.5 / (2 * np.pi * G * star)
    ratio = ratio.to_value(units.dimensionless_unscaled)
    mass = np.zeros_like(ratio)
    for _ in range(200):  # a contraction, by a third and more unless the companion is the heavier
        mass = np.cbrt(ratio * (1.0 + mass) ** 2)
    return (mass * star).to(units.earthMass)
