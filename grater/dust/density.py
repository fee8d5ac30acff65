"""Density of the dust: how it falls off with the radius and with the height above the midplane."""

import abc
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float

from pytreefit import Model, param
from pytreefit.extend import fast_log


class AbstractRadialProfile(Model):
    """The dust density in the midplane along the radius.

    A new profile is a class with its parameters as fields and one method, `density`; nothing else
    has to be told, the integrator measures where the profile matters.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class LogNormalRing(AbstractRadialProfile):
    ...     width: jax.Array = param(bounds="(0, inf)")
    ...
    ...     def density(self, q):
    ...         return jnp.exp(-0.5 * (jnp.log(q) / self.width) ** 2)
    >>> round(float(LogNormalRing(width=0.2).density(jnp.exp(0.2))), 4)  # exp(-1 / 2)
    0.6065
    """

    @abc.abstractmethod
    def density(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Density without unit, of order 1 at its peak, of the shape of q.

        Parameters
        ----------
        q
            Radius in units of the reference ellipse, 1 on it, any shape, > 0.
        """

    def prepared(self) -> "AbstractRadialProfile":
        """The same profile with all that does not depend on the radius worked out once."""
        return self


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

    Examples
    --------
    >>> ring = TwoPowerLaw(alpha_in=8.0, alpha_out=-4.0)
    >>> round(float(ring.density(2.0) / ring.density(1.0)), 3)  # at twice the radius
    0.088
    """

    alpha_in: Float[Array, ""] = param(bounds="(0, inf)", label=r"$\alpha_{in}$", doc="inner slope")
    alpha_out: Float[Array, ""] = param(
        bounds="(-inf, 0)", label=r"$\alpha_{out}$", doc="outer slope"
    )

    def density(self, q):
        # half the difference of the slopes, and neither power by itself: both would overflow
        log_q = fast_log(q)
        bend = 0.5 * (self.alpha_in - self.alpha_out) * jnp.abs(log_q)
        ruling = jnp.exp(0.5 * (self.alpha_in + self.alpha_out) * log_q - bend)
        return ruling * jnp.sqrt(2.0 / (1.0 + jnp.exp(-4.0 * bend)))


class GaussianRing(AbstractRadialProfile):
    r"""Ring with a Gaussian profile.

    .. math:: \rho(q) = \exp\left(-\frac{(q - 1)^2}{2 w^2}\right)

    Parameters
    ----------
    width
        Standard deviation :math:`w` in units of the reference radius, > 0.

    Examples
    --------
    >>> ring = GaussianRing(width=0.1)
    >>> round(float(ring.density(1.1) / ring.density(1.0)), 3)  # a standard deviation outwards
    0.607
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

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class Isothermal(AbstractVerticalProfile):
    ...     scale_height: jax.Array = param(unit="au", bounds="(0, inf)")
    ...
    ...     def height(self, q):
    ...         return self.scale_height * jnp.ones_like(q)
    ...
    ...     def profile(self, t):
    ...         return 1.0 / jnp.cosh(t) ** 2
    >>> round(float(Isothermal(scale_height=2.0).column(jnp.array(1.0))), 4)  # twice the height
    4.0
    """

    @abc.abstractmethod
    def height(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Scale height in au at the radius q (in reference ellipses), of the shape of q."""

    @abc.abstractmethod
    def profile(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """Density relative to the midplane at t = abs(z) / height >= 0, of the shape of t."""

    def simpler(self) -> "tuple[Bool[Array, ''], AbstractVerticalProfile] | None":
        """Whether a form that takes less time holds, and that form, with the same fields."""
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

    Examples
    --------
    >>> vertical = VerticalExponential(scale_height=1.2)
    >>> round(float(vertical.profile(1.0)), 3)  # a scale height above the midplane
    0.368
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

    # exponents of the radius and of the height, where they are known
    _known_powers: ClassVar[tuple[int | None, int | None]] = (None, None)

    def height(self, q):
        return self.scale_height * power(q, self.beta, self._known_powers[0])

    def column(self, q):
        return 2.0 * self.height(q) * jnp.exp(gammaln(1.0 + 1.0 / self.gamma))

    def profile(self, t):
        # nothing is left where the power is e^9, and far beyond it would not be a number
        limit = jnp.exp(9.0 / jax.lax.stop_gradient(self.gamma))
        # not the minimum, whose derivative takes a division
        return jnp.exp(-power(jnp.where(t < limit, t, limit), self.gamma, self._known_powers[1]))

    def simpler(self):
        wedge = _GaussianWedge(self.scale_height, self.gamma, self.beta)
        return (self.gamma == 2.0) & (self.beta == 1.0), wedge


class VerticalLorentzian(AbstractVerticalProfile):
    r"""Lorentzian about the midplane, with wings, and a scale height that flares.

    .. math:: f(z, q) = \frac{1}{1 + z^2 / H^2}, \quad H = H_0 q^\beta

    It is 1 in the midplane, and its integral over the height is :math:`\pi H`.

    Parameters
    ----------
    scale_height
        :math:`H_0` in au at the reference radius, > 0: half of the full width at half maximum.
    beta
        Flaring, >= 0: 0 a constant thickness, 1 a constant opening angle.

    Notes
    -----
    Half of the dust is farther from the midplane than H, and a hundredth farther than 64 H: most of
    the wings is far outside of a thin disk.

    Examples
    --------
    >>> from grater import Disk
    >>> vertical = VerticalLorentzian(scale_height=0.8)
    >>> disk = Disk(40.0, 88.0, 30.0, alpha_in=5, alpha_out=-5, vertical=vertical)
    """

    scale_height: Float[Array, ""] = param(
        unit="au", bounds="(0, inf)", label="$H_0$", doc="half width at the reference radius"
    )
    beta: Float[Array, ""] = param(
        default=1.0, bounds="[0, inf)", label=r"$\beta$", doc="flaring exponent"
    )

    def height(self, q):
        return self.scale_height * power(q, self.beta)

    def column(self, q):
        return jnp.pi * self.height(q)

    def profile(self, t):
        # far beyond, the square would overflow
        return 1.0 / (1.0 + jnp.square(jnp.minimum(t, 1e15)))


class _GaussianWedge(VerticalExponential):
    """The profile with gamma = 2 and beta = 1, most often fitted: no power is worked out."""

    _known_powers = 1, 2


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def power(base, exponent, known: int | None = None):
    """Power of a base >= 0 to a scalar exponent >= 0, with finite derivatives at base = 0.

    Derivatives are those of any exponent, also of one that is ``known`` to be 1 or 2.
    """
    if known is not None:
        return base**known

    def any_power(base):
        # no guard within the logarithm: XLA shares it with the logarithms of others
        raised = jnp.exp(exponent * fast_log(base))
        return jnp.where(base > 0, raised, jnp.where(exponent == 0, 1.0, 0.0).astype(base.dtype))

    # most disks are fitted with the exponents 1 and 2, at the cost of a multiplication
    which = jnp.where(exponent == 1.0, 1, jnp.where(exponent == 2.0, 2, 0))
    return jax.lax.switch(which, [any_power, lambda base: base, lambda base: base * base], base)


def _power_jvp(known, primals, tangents):
    base, exponent = primals
    base_dot, exponent_dot = tangents
    value, positive = power(base, exponent, known), base > 0
    dot = jnp.zeros_like(value)
    if not isinstance(base_dot, SymbolicZero):
        at_zero = (exponent == 1.0).astype(value.dtype)
        safe = jnp.where(positive, base, 1.0)
        dot = dot + jnp.where(positive, exponent * value / safe, at_zero) * base_dot
    # only where it is asked for: a fixed exponent costs no logarithm
    if not isinstance(exponent_dot, SymbolicZero):
        dot = dot + jnp.where(positive, value * fast_log(base), 0.0) * exponent_dot
    return value, dot


power.defjvp(_power_jvp, symbolic_zeros=True)
