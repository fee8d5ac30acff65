"""Density of the dust: how it falls off with the radius and with the height above the midplane."""

import abc

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float

from pytreefit import Model, param

from ._math import first_power, log, power, second_power, usual_power


class AbstractRadialProfile(Model):
    """The dust density in the midplane along the radius.

    A new profile is a class with its parameters as fields and one method, `density`; nothing else
    has to be told, the integrator measures where the profile matters.
    """

    @abc.abstractmethod
    def density(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Density, of order 1 at its peak.

        Parameters
        ----------
        q
            Radius in units of the reference ellipse, 1 on it, any shape, > 0.
        """


class TwoPowerLaw(AbstractRadialProfile):
    r"""Ring that rises as one power of the radius and falls as another.

    .. math:: \rho(q) = \sqrt{\frac{2}{q^{-2 \alpha_{in}} + q^{-2 \alpha_{out}}}}

    It is 1 at the reference radius; its maximum is elsewhere unless
    :math:`\alpha_{in} = -\alpha_{out}`.

    Parameters
    ----------
    alpha_in
        Slope inside the ring, > 0.
    alpha_out
        Slope outside of the ring, < 0.

    References
    ----------
    Augereau et al. 1999, A&A 348, 557, equation 1.
    """

    alpha_in: Float[Array, ""] = param(bounds="(0, inf)", label=r"$\alpha_{in}$", doc="inner slope")
    alpha_out: Float[Array, ""] = param(
        bounds="(-inf, 0)", label=r"$\alpha_{out}$", doc="outer slope"
    )

    def density(self, q):
        return _two_powers(q, self.alpha_in, self.alpha_out)


@jax.custom_jvp
def _two_powers(q, alpha_in, alpha_out):
    # neither power is formed by itself: both overflow where the other one rules
    log_q, _, root = _ratio(q, alpha_in, alpha_out)
    ruling = log_q * jnp.where(log_q < 0, alpha_in, alpha_out)
    return jnp.exp(ruling) * root


def _ratio(q, alpha_in, alpha_out):
    """Logarithm of q; the smaller power over the larger; root of 2 / (1 + that)."""
    log_q = log(q)
    smaller = jnp.exp(-2.0 * (alpha_in - alpha_out) * jnp.abs(log_q))
    return log_q, smaller, jnp.sqrt(2.0 / (1.0 + smaller))


def _two_powers_jvp(primals, tangents):
    q, alpha_in, alpha_out = primals
    value = _two_powers(*primals)
    log_q, smaller, root = _ratio(*primals)
    inner = jnp.where(log_q < 0, 0.5, 0.5 * smaller) * (root * root)
    dot = jnp.zeros_like(value)
    for number, tangent in enumerate(tangents):
        if isinstance(tangent, SymbolicZero):
            continue
        slope = (
            (alpha_out + (alpha_in - alpha_out) * inner) / q,
            log_q * inner,
            log_q * (1.0 - inner),
        )[number]
        dot = dot + value * slope * tangent
    return value, dot


_two_powers.defjvp(_two_powers_jvp, symbolic_zeros=True)


class GaussianRing(AbstractRadialProfile):
    r"""Ring with a Gaussian profile.

    .. math:: \rho(q) = \exp\left(-\frac{(q - 1)^2}{2 w^2}\right)

    Parameters
    ----------
    width
        Standard deviation :math:`w` in units of the reference radius, > 0.
    """

    width: Float[Array, ""] = param(
        bounds="(0, inf)", label="$w$", doc="standard deviation of the ring, in reference radii"
    )

    def density(self, q):
        return jnp.exp(-0.5 * ((q - 1.0) / self.width) ** 2)


class AbstractVerticalProfile(Model):
    """The dust density with the height above the midplane.

    A new profile has two methods: `height`, the scale height, and `profile`, the shape, which has
    to fall with its argument.
    """

    @abc.abstractmethod
    def height(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scale height in au at the radius q (in units of the reference ellipse)."""

    @abc.abstractmethod
    def profile(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """Density relative to the midplane at t = abs(z) / height >= 0."""

    def cheaper(self) -> "tuple[Bool[Array, ''], AbstractVerticalProfile] | None":
        """Whether a form that takes less time holds, and that form; None if there is none.

        It has the same fields, and the same derivatives in them.
        """
        return None

    def column(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Integral of the profile over the height in au, both sides, at the radius q."""
        t = jnp.asarray(np.linspace(0.0, 1.0, 2001)[1:] ** 3 * 100.0, jnp.asarray(q).dtype)
        t = jnp.concatenate([jnp.zeros(1, t.dtype), t])
        return 2.0 * self.height(q) * jnp.trapezoid(self.profile(t), t)


class VerticalExponential(AbstractVerticalProfile):
    r"""Generalised Gaussian about the midplane, with a scale height that flares.

    .. math:: f(z, q) = \exp\left(-\left(\frac{|z|}{h_0 q^\beta}\right)^\gamma\right)

    Parameters
    ----------
    scale_height
        :math:`h_0` in au at the reference radius, > 0. The density falls to 1/e there, so that a
        Gaussian (gamma = 2) has the standard deviation :math:`h_0 / \sqrt 2`.
    gamma
        Vertical exponent, > 0: 1 an exponential, 2 a Gaussian.
    beta
        Flaring, >= 0: 0 a constant thickness, 1 a constant opening angle.

    References
    ----------
    Augereau et al. 1999, A&A 348, 557, equation 1.
    """

    scale_height: Float[Array, ""] = param(
        unit="au", bounds="(0, inf)", label="$h_0$", doc="scale height at the reference radius"
    )
    gamma: Float[Array, ""] = param(
        default=2.0, bounds="(0, inf)", label=r"$\gamma$", doc="vertical exponent"
    )
    beta: Float[Array, ""] = param(
        default=1.0, bounds="[0, inf)", label=r"$\beta$", doc="flaring exponent"
    )

    def height(self, q):
        return self.scale_height * power(q, self.beta)

    def column(self, q):
        return 2.0 * self.height(q) * jnp.exp(gammaln(1.0 + 1.0 / self.gamma))

    def profile(self, t):
        return self._profile(t, usual_power)

    def _profile(self, t, power):
        # nothing is left where the power is e^9, and far beyond it would not be a number
        limit = jnp.exp(9.0 / jax.lax.stop_gradient(self.gamma))
        # not the minimum, whose derivative takes a division
        return jnp.exp(-power(jnp.where(t < limit, t, limit), self.gamma))

    def cheaper(self):
        usual = (self.gamma == 2.0) & (self.beta == 1.0)
        return usual, _GaussianWedge(self.scale_height, self.gamma, self.beta)


class _GaussianWedge(VerticalExponential):
    """The profile with gamma = 2 and beta = 1, most often fitted: without powers."""

    def height(self, q):
        return self.scale_height * first_power(q, self.beta)

    def profile(self, t):
        return self._profile(t, second_power)
