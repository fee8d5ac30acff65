"""Envelopes that grow and decay exponentially, with or without a plateau."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import lambertw

from pytreefit.extend import stopped

from ..component import plain, to_float
from ..kernel.symbolic import symbols
from .envelope import AbstractEnvelope, AbstractPlateauEnvelope, duration, time_scale
from .envelope_quadrature import NEGLIGIBLE_AREA, NEGLIGIBLE_R, last_lag, sinhc


def two_decays(em, dec, s):
    r""":math:`(e^{-s/d} - e^{-s/e}) / (1/e - 1/d)`, smooth where both times are equal."""
    rate_em, rate_dec = 1.0 / em, 1.0 / dec
    half = 0.5 * s * (rate_em - rate_dec)
    close = jnp.abs(half) < 1.0
    near = jnp.where(close, half, 0.0)
    together = s * jnp.exp(-0.5 * s * (rate_em + rate_dec)) * sinhc(near)
    difference = jnp.where(close, 1.0, rate_em - rate_dec)
    apart = (jnp.exp(-s * rate_dec) - jnp.exp(-s * rate_em)) / difference
    return jnp.where(close, together, apart)


class _AbstractExponential(AbstractEnvelope):
    """An area that rises exponentially, stays, and decays exponentially."""

    @abc.abstractmethod
    def _lengths(self) -> tuple[Any, Any, Any]:
        """The e-fold of the area before the plateau, the plateau, and the e-fold after it."""

    def Gamma(self, t):
        t = to_float(t)
        em, plateau, dec = self._lengths()
        before, after = t + 0.5 * plateau, t - 0.5 * plateau
        return jnp.exp(0.5 * (jnp.minimum(before, 0.0) / em - jnp.maximum(after, 0.0) / dec))

    def breakpoints(self):
        em, plateau, dec = self._lengths()
        tails = -np.log(NEGLIGIBLE_AREA)
        start, stop = -0.5 * plateau, 0.5 * plateau
        return jnp.stack([start - tails * em, start, stop, stop + tails * dec])

    def Gamma_hat(self, omega):
        omega = to_float(omega)
        em, plateau, dec = self._lengths()
        half = 0.5 * omega * plateau
        cosine, sine = jnp.cos(half), jnp.sin(half)
        up, down = em / (1.0 + (omega * em) ** 2), dec / (1.0 + (omega * dec) ** 2)
        real = plateau * jnp.sinc(half / np.pi)
        real = real + up * (cosine - omega * em * sine) + down * (cosine - omega * dec * sine)
        imaginary = up * (sine + omega * em * cosine) - down * (sine + omega * dec * cosine)
        return jax.lax.complex(real, imaginary)

    def R_Gamma(self, lag):
        s = jnp.abs(to_float(lag))
        em, plateau, dec = self._lengths()
        beyond = jnp.maximum(s - plateau, 0.0)
        total = jnp.maximum(plateau - s, 0.0) + two_decays(em, dec, beyond)
        for tau in (em, dec):
            total = total + tau * (jnp.exp(-beyond / tau) - 0.5 * jnp.exp(-s / tau))
        return total

    def kernel_support(self):
        envelope = stopped(self)
        em, plateau, dec = envelope._lengths()
        longest = plateau + _SUPPORT * jnp.maximum(em, dec)
        return plain(last_lag(envelope.R_Gamma, longest))


# (1 + x) e^-x = 1e-10
_SUPPORT = float(-1.0 - lambertw(-NEGLIGIBLE_R / np.e, -1).real)


class ExponentialEnvelope(_AbstractExponential):
    r"""A spot whose area grows and decays exponentially, at the same rate.

    .. math::
        \Gamma^2(t) = e^{-|t| / \tau}, \qquad
        \hat\Gamma(\omega) = \frac{2 \tau}{1 + \omega^2 \tau^2}, \qquad
        R_\Gamma(s) = (\tau + |s|)\, e^{-|s| / \tau}

    Parameters
    ----------
    tau_spot
        e-fold tau of the area in days, > 0.

    Examples
    --------
    >>> ExponentialEnvelope(tau_spot=3.0).param_dict
    {'tau_spot': 3.0}
    """

    tau_spot: Float[Array, ""] = time_scale(r"$\tau_\mathrm{spot}$", "e-fold of the area")

    def _lengths(self):
        return self.tau_spot, jnp.zeros_like(self.tau_spot), self.tau_spot

    def kernel_support(self):
        return plain(_SUPPORT * self.tau_spot)

    def _equations(self):
        import sympy as sp

        (t, omega, lag), (tau,) = symbols("tau_spot")
        return (
            sp.exp(-sp.Abs(t) / (2 * tau)),
            2 * tau / (1 + omega**2 * tau**2),
            (tau + sp.Abs(lag)) * sp.exp(-sp.Abs(lag) / tau),
        )


class ExponentialAsymmetricEnvelope(_AbstractExponential):
    r"""A spot whose area grows and decays exponentially, at two rates.

    .. math::
        \Gamma^2(t) = e^{t / \tau_{em}} \;(t < 0), \quad e^{-t / \tau_{dec}} \;(t \ge 0),
        \qquad \hat\Gamma(\omega) = \frac{\tau_{em}}{1 - i \omega \tau_{em}}
        + \frac{\tau_{dec}}{1 + i \omega \tau_{dec}}

    Parameters
    ----------
    tau_em, tau_dec
        e-folds of the area in days while the spot emerges and while it decays, > 0.

    Examples
    --------
    >>> envelope = ExponentialAsymmetricEnvelope(tau_em=1.0, tau_dec=5.0)
    >>> round(float(envelope.R_Gamma(0.0)), 3)  # (tau_em + tau_dec) / 2
    3.0
    """

    tau_em: Float[Array, ""] = time_scale(r"$\tau_\mathrm{em}$", "e-fold of the rising area")
    tau_dec: Float[Array, ""] = time_scale(r"$\tau_\mathrm{dec}$", "e-fold of the falling area")

    def _lengths(self):
        return self.tau_em, jnp.zeros_like(self.tau_em), self.tau_dec

    def _equations(self):
        import sympy as sp

        (t, omega, lag), (em, dec) = symbols("tau_em", "tau_dec")
        s = sp.Abs(lag)
        different = (sp.exp(-s / dec) - sp.exp(-s / em)) / (1 / em - 1 / dec)
        mixed = sp.Piecewise((s * sp.exp(-s / em), sp.Eq(em, dec)), (different, True))
        return (
            sp.Piecewise((sp.exp(t / (2 * em)), t < 0), (sp.exp(-t / (2 * dec)), True)),
            em / (1 - sp.I * omega * em) + dec / (1 + sp.I * omega * dec),
            em / 2 * sp.exp(-s / em) + dec / 2 * sp.exp(-s / dec) + mixed,
        )


class ExponentialPlateauEnvelope(AbstractPlateauEnvelope, _AbstractExponential):
    r"""A spot that grows exponentially, stays, and decays exponentially.

    .. math::
        \Gamma(t) = \exp\left[-\frac{\max(-t - p/2,\, 0)}{\tau_{em}}
        - \frac{\max(t - p/2,\, 0)}{\tau_{dec}}\right]

    Unlike those of the other exponential envelopes, its times are e-folds of the radius; the
    area has half of them.

    Parameters
    ----------
    tau_em, tau_dec
        e-folds of the radius in days before and after the plateau, > 0.
    tau_plat
        Length p of the plateau in days, >= 0; it is centred on t = 0.

    Examples
    --------
    >>> envelope = ExponentialPlateauEnvelope(tau_em=2.0, tau_plat=6.0, tau_dec=8.0)
    >>> round(float(envelope.Gamma(2.0)), 3)  # on the plateau
    1.0
    """

    plateau, ramps = "tau_plat", ("tau_em", "tau_dec")

    tau_em: Float[Array, ""] = time_scale(r"$\tau_\mathrm{em}$", "e-fold of the rising radius")
    tau_plat: Float[Array, ""] = duration(r"$\tau_\mathrm{plat}$", "length of the plateau")
    tau_dec: Float[Array, ""] = time_scale(r"$\tau_\mathrm{dec}$", "e-fold of the falling radius")

    def _lengths(self):
        return 0.5 * self.tau_em, self.tau_plat, 0.5 * self.tau_dec

    def _equations(self):
        import sympy as sp

        (t, omega, lag), (em, plateau, dec) = symbols("tau_em", "tau_plat", "tau_dec")
        s, up, down = sp.Abs(lag), em / 2, dec / 2
        x = sp.Max(s - plateau, 0)
        different = (sp.exp(-x / down) - sp.exp(-x / up)) / (1 / up - 1 / down)
        mixed = sp.Piecewise((x * sp.exp(-x / up), sp.Eq(em, dec)), (different, True))
        half = omega * plateau / 2
        return (
            sp.Piecewise(
                (sp.exp((t + plateau / 2) / em), t < -plateau / 2),
                (sp.S.One, t <= plateau / 2),
                (sp.exp((plateau / 2 - t) / dec), True),
            ),
            plateau * sp.sinc(half)
            + up * sp.exp(sp.I * half) / (1 - sp.I * omega * up)
            + down * sp.exp(-sp.I * half) / (1 + sp.I * omega * down),
            sp.Max(plateau - s, 0)
            + mixed
            + up * (sp.exp(-x / up) - sp.exp(-s / up) / 2)
            + down * (sp.exp(-x / down) - sp.exp(-s / down) / 2),
        )
