"""Envelopes without corners: skewed Gaussian, logistic plateau, modulated gamma."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln, log_ndtr
from jaxtyping import Array, Float
from scipy.special import zeta

from pytreefit import param
from pytreefit.extend import arctan

from ..component import to_float
from ..kernel.symbolic import symbols
from ..kernel.trig import cos_sin
from .envelope import AbstractEnvelope, AbstractPlateauEnvelope, duration, time_scale
from .envelope_quadrature import autocorrelation, map_lags, sinhc, transform

_NEWTON_STEPS = 40
_TAIL = 7.5  # widths after which a Gaussian is below 1e-12


def _mills(x):
    """Density over distribution function of the standard normal."""
    return jnp.exp(-0.5 * x * x - 0.5 * np.log(2.0 * np.pi) - log_ndtr(x))


class SkewedGaussianEnvelope(AbstractEnvelope):
    r"""A spot whose area follows a skew-normal curve.

    .. math:: \Gamma^2(t) \propto e^{-t^2 / 2 \sigma^2}
        \left[1 + \mathrm{erf}\left(\frac{n t}{\sigma \sqrt 2}\right)\right]

    over its maximum. `Gamma_hat` and `R_Gamma` are integrated.

    Parameters
    ----------
    sigma_sn
        Width sigma in days, > 0.
    n_sn
        Skewness n: 0 is a Gaussian, positive values rise fast and decay slowly.

    References
    ----------
    Forgács-Dajka, Dobos & Ballai 2021, A&A 653, A50.

    Examples
    --------
    >>> envelope = SkewedGaussianEnvelope(sigma_sn=5.0, n_sn=3.0)
    >>> bool(envelope.Gamma(3.0) > envelope.Gamma(-3.0))  # it grows faster than it decays
    True
    """

    sigma_sn: Float[Array, ""] = time_scale(r"$\sigma_\mathrm{sn}$", "width")
    n_sn: Float[Array, ""] = param(label=r"$n_\mathrm{sn}$", doc="skewness")

    def Gamma(self, t):
        return self._unscaled(to_float(t)) / self._unscaled(self.sigma_sn * self._mode())

    def _unscaled(self, t):
        u = t / self.sigma_sn
        return jnp.exp(0.5 * (log_ndtr(self.n_sn * u) - 0.5 * u * u))

    def breakpoints(self):
        # one factor rises within sigma / n, the other one is a Gaussian
        width = _TAIL / jnp.sqrt(1.0 + self.n_sn**2)
        ends = jnp.stack([-width, width, jnp.full_like(width, _TAIL)])
        return self.sigma_sn * jnp.where(self.n_sn < 0, -ends[::-1], ends)

    def Gamma_hat(self, omega):
        peak = self._unscaled(self.sigma_sn * self._mode()) ** 2
        value = transform(self._unscaled, self.breakpoints(), to_float(omega))
        return jax.lax.complex(value.real / peak, value.imag / peak)

    def R_Gamma(self, lag):
        peak = self._unscaled(self.sigma_sn * self._mode()) ** 4
        return autocorrelation(self._unscaled, self.breakpoints(), to_float(lag)) / peak

    def _mode(self):
        """Where the area is largest, in units of the width."""
        skew = jax.lax.stop_gradient(jnp.abs(self.n_sn))

        def slope(u, n):
            mills = _mills(n * u)
            return n * mills - u, -1.0 - n * n * mills * (n * u + mills)

        # the slope is convex and falls: from 0 Newton's steps go up to its root and never beyond
        def step(_, u):
            first, second = slope(u, skew)
            return u - first / second

        mode = jax.lax.fori_loop(0, _NEWTON_STEPS, step, jnp.zeros_like(skew))
        mode = jax.lax.stop_gradient(jnp.where(self.n_sn < 0, -mode, mode))
        # one more, which knows how the root moves
        first, second = slope(mode, self.n_sn)
        return mode - first / second

    def _equations(self):
        import sympy as sp

        (t, _, _), (sigma,) = symbols("sigma_sn")
        n, peak = sp.Symbol("n_sn", real=True), sp.Symbol("A_max", positive=True)
        area = sp.exp(-(t**2) / (2 * sigma**2)) * (1 + sp.erf(n * t / (sigma * sp.sqrt(2))))
        return sp.sqrt(area / peak), None, None


def _slow_decay(u, tau):
    """|u| / (exp(|u| / tau) - 1)."""
    x = jnp.abs(u) / tau
    near = jnp.where(x < 1.0, x, 0.0)
    far = jnp.where(x < 1.0, 1.0, x)
    small = jnp.exp(-0.5 * near) / sinhc(0.5 * near)
    return tau * jnp.where(x < 1.0, small, far * jnp.exp(-far) / -jnp.expm1(-far))


# of v^n in sqrt(v) coth(sqrt(v)), n = 1, 2, ...
_COTH = [2.0 * (-1.0) ** (n + 1) * float(zeta(2 * n)) / np.pi ** (2 * n) for n in range(1, 28)]


def _twice_sinhc(x):
    """sinhc(2 x) for |x| < 1.25."""
    return sinhc(x) * jnp.cosh(x)


def _logistic_autocorrelation(plateau, tau, s):
    """R of the logistic plateau: two forms, for plateaus longer and shorter than 2 tau."""
    half = 0.5 * plateau / tau
    long = half > 1.0
    b = jnp.where(long, half, 1.0)
    # C^2 [Q(s + l) + Q(s - l) - 2 Q(s)] without the straight parts of Q, which cancel
    length = 2.0 * tau * b
    bracket = jnp.maximum(length - s, 0.0) - 2.0 * _slow_decay(s, tau)
    bracket = bracket + _slow_decay(s + length, tau) + _slow_decay(s - length, tau)
    first = bracket * ((1.0 + jnp.exp(-b)) / jnp.expm1(-b)) ** 2

    # the same as 2 tau (1 + cosh b)^2 (a coth a - b coth b) / (sinh^2 a - sinh^2 b)
    b = jnp.where(long, 1.0, half)
    a = 0.5 * s / tau
    close = a < 1.5
    near, far = jnp.where(close, a, 0.0), jnp.where(close, 1.5, a)
    # numerator and denominator over a^2 - b^2, which is what vanishes at a = b
    quotient, numerator, power = jnp.zeros_like(near), jnp.zeros_like(near), jnp.ones_like(b)
    for coefficient in _COTH:
        quotient = near * near * quotient + power
        numerator = numerator + coefficient * quotient
        power = power * b * b
    ratio_near = numerator / (_twice_sinhc(0.5 * (near + b)) * _twice_sinhc(0.5 * (near - b)))
    decay = jnp.exp(-2.0 * far)
    coth_a, coth_b = far * (1.0 + decay) / (1.0 - decay), jnp.cosh(b) / sinhc(b)
    squares = 0.25 * (1.0 - decay) ** 2 - decay * jnp.sinh(b) ** 2
    ratio_far = decay * (coth_a - coth_b) / squares
    second = 2.0 * tau * (1.0 + jnp.cosh(b)) ** 2 * jnp.where(close, ratio_near, ratio_far)
    return jnp.where(long, first, second)


class LogisticPlateauEnvelope(AbstractPlateauEnvelope):
    r"""A spot whose area grows and decays along logistic curves.

    .. math::
        \Gamma^2(t) = \frac{S((t + l/2) / \tau)\, S((l/2 - t) / \tau)}{S(l / 2 \tau)^2}, \qquad
        S(x) = \frac{1}{1 + e^{-x}}

    .. math:: \hat\Gamma(\omega) = \frac{2 \pi \tau C \sin(\omega l / 2)}{\sinh(\pi \tau \omega)},
        \qquad C = \coth\frac{l}{4 \tau}

    Parameters
    ----------
    lspot
        Time l between the points of half the area in days, >= 0.
    tau_spot
        Time scale tau of the growth and of the decay in days, > 0.

    Examples
    --------
    >>> envelope = LogisticPlateauEnvelope(lspot=8.0, tau_spot=1.0)
    >>> round(float(envelope.Gamma(0.0)), 6)
    1.0
    """

    plateau, ramps = "lspot", ("tau_spot",)

    lspot: Float[Array, ""] = duration(r"$\ell_\mathrm{spot}$", "length of the plateau")
    tau_spot: Float[Array, ""] = time_scale(r"$\tau_\mathrm{spot}$", "time of growth and decay")

    def Gamma(self, t):
        t = to_float(t)
        half = 0.5 * self.lspot
        log_area = jax.nn.log_sigmoid((t + half) / self.tau_spot)
        log_area = log_area + jax.nn.log_sigmoid((half - t) / self.tau_spot)
        return jnp.exp(0.5 * log_area - jax.nn.log_sigmoid(half / self.tau_spot))

    def Gamma_hat(self, omega):
        omega = to_float(omega)
        x = self.lspot / self.tau_spot
        # x / (1 - e^-x) / S^2 = C x, finite where there is no plateau
        scaled = (_slow_decay(x, jnp.ones_like(x)) + x) * (1.0 + jnp.exp(-0.5 * x)) ** 2
        sine = jnp.sinc(omega * self.lspot / (2.0 * np.pi))
        y = jnp.abs(np.pi * self.tau_spot * omega)
        near, far = jnp.where(y < 1.0, y, 0.0), jnp.where(y < 1.0, 1.0, y)
        damped = 2.0 * far * jnp.exp(-far) / -jnp.expm1(-2.0 * far)
        real = self.tau_spot * scaled * sine * jnp.where(y < 1.0, 1.0 / sinhc(near), damped)
        return jax.lax.complex(real, jnp.zeros_like(real))

    def R_Gamma(self, lag):
        return _logistic_autocorrelation(self.lspot, self.tau_spot, jnp.abs(to_float(lag)))

    def _equations(self):
        import sympy as sp

        (t, omega, lag), (l, tau) = symbols("lspot", "tau_spot")

        def sigmoid(x):
            return 1 / (1 + sp.exp(-x))

        def q(u):
            return u / 2 * sp.coth(u / (2 * tau))

        area = sigmoid((t + l / 2) / tau) * sigmoid((l / 2 - t) / tau) / sigmoid(l / (2 * tau)) ** 2
        c = sp.coth(l / (4 * tau))
        return (
            sp.sqrt(area),
            2 * sp.pi * tau * c * sp.sin(omega * l / 2) / sp.sinh(sp.pi * tau * omega),
            c**2 * (q(lag + l) + q(lag - l) - 2 * q(lag)),
        )


class ModulatedGammaEnvelope(AbstractEnvelope):
    r"""A spot that emerges at t = 0 and whose decaying area is modulated.

    .. math:: \Gamma^2(t) \propto \left(\frac{t}{\tau}\right)^\alpha e^{-t / \tau}
        (1 + a \cos \omega t), \quad t > 0

    over its maximum. `Gamma_hat` has a closed form; `R_Gamma` is a sum of three integrals, each
    along the direction in the complex plane in which it decays without oscillating.

    Parameters
    ----------
    alpha
        Exponent of the rise, > 0.
    tau
        e-fold of the decay in days, > 0.
    a
        Depth of the modulation, -1 < a < 1.
    omega
        Angular frequency of the modulation in rad / day, >= 0.

    Examples
    --------
    >>> envelope = ModulatedGammaEnvelope(alpha=1.0, tau=4.0, a=0.3, omega=1.5)
    >>> float(envelope.Gamma(-1.0))  # before the spot emerges
    0.0
    """

    alpha: Float[Array, ""] = param(
        bounds="(0, inf)", label=r"$\alpha$", doc="exponent of the rise"
    )
    tau: Float[Array, ""] = time_scale(r"$\tau$", "e-fold of the decay")
    a: Float[Array, ""] = param(
        bounds="(-1, 1)", label="$a$", doc="depth of the modulation", default=0.0
    )
    omega: Float[Array, ""] = param(
        unit="rad / d",
        bounds="[0, inf)",
        label=r"$\omega$",
        doc="angular frequency of the modulation",
        default=0.0,
    )

    def time_scales(self):
        return ("tau",)

    def default_priors(self, data):
        """As for any envelope, but the modulation is fixed if its frequency is 0."""
        priors = super().default_priors(data)
        turns = dist.LogUniform(2.0 * np.pi / (3.0 * data.span), np.pi / data.cadence)
        modulation = {"a": priors.pop("a"), "omega": turns}
        del priors["omega"]
        return priors | modulation if float(self.omega) > 0 else priors

    def Gamma(self, t):
        x = to_float(t) / self.tau
        visible = x > 0
        inside = jnp.where(visible, x, 1.0)
        log_area = self._log_area(inside) - self._log_area(self._mode())
        return jnp.where(visible, jnp.exp(0.5 * log_area), 0.0)

    def _log_area(self, x):
        cosine = jnp.cos(self.omega * self.tau * x)
        return self.alpha * jnp.log(x) - x + jnp.log1p(self.a * cosine)

    def _mode(self):
        """Where the area is largest, in units of tau."""
        alpha, a = jax.lax.stop_gradient((self.alpha, self.a))
        turn = jax.lax.stop_gradient(self.omega * self.tau)
        # no further from alpha than one period, nor than where the decay outweighs the modulation
        weight = jnp.log1p(jnp.abs(a)) - jnp.log1p(-jnp.abs(a))
        reach = weight + jnp.sqrt(weight * (weight + 2.0 * alpha))
        moving = turn > 0
        period = jnp.where(moving, 2.0 * np.pi / jnp.where(moving, turn, 1.0), reach)
        reach = jnp.minimum(reach, period)
        low, high = jnp.maximum(alpha - reach, 1e-3 * alpha), alpha + reach
        x = low + (high - low) * jnp.linspace(0.0, 1.0, 257, dtype=alpha.dtype)
        value = alpha * jnp.log(x) - x + jnp.log1p(a * jnp.cos(turn * x))
        best, cell = x[jnp.argmax(value)], (high - low) / 256.0

        def slopes(x, alpha, a, turn):
            sine, cosine = jnp.sin(turn * x), jnp.cos(turn * x)
            ratio = a / (1.0 + a * cosine)
            first = alpha / x - 1.0 - turn * sine * ratio
            return first, -alpha / x**2 - turn**2 * ratio * (cosine + ratio * sine**2)

        def newton(x, *arguments):
            first, second = slopes(x, *arguments)
            return jnp.where(second < 0, first / jnp.where(second < 0, second, -1.0), 0.0)

        def step(_, x):
            new = x - newton(x, alpha, a, turn)
            return jnp.clip(new, best - cell, best + cell)

        mode = jax.lax.stop_gradient(jax.lax.fori_loop(0, 20, step, best))
        return mode - newton(mode, self.alpha, self.a, self.omega * self.tau)

    def breakpoints(self):
        return super().breakpoints().at[0].set(0.0)

    def Gamma_hat(self, omega):
        omega = to_float(omega)
        order = self.alpha + 1.0
        size = self.tau * jnp.exp(gammaln(order) - self._log_area(self._mode()))
        total = jnp.zeros_like(omega), jnp.zeros_like(omega)
        for shift, weight in ((0.0, 1.0), (1.0, 0.5 * self.a), (-1.0, 0.5 * self.a)):
            y = (omega + shift * self.omega) * self.tau
            modulus = size * weight * jnp.exp(-0.5 * order * jnp.log1p(y * y))
            angle = order * arctan(y)
            total = total[0] + modulus * jnp.cos(angle), total[1] - modulus * jnp.sin(angle)
        return jax.lax.complex(*total)

    def R_Gamma(self, lag):
        scaled = jnp.abs(to_float(lag)) / self.tau
        turn = self.omega * self.tau
        peak = self._log_area(self._mode())
        return _gamma_autocorrelation(self.alpha, self.tau, self.a, turn, peak, scaled)

    def _equations(self):
        import sympy as sp

        (t, omega, _), (alpha, tau) = symbols("alpha", "tau_spot")
        a, turn = sp.Symbol("a", real=True), sp.Symbol("omega_mod", nonnegative=True)
        peak = sp.Symbol("A_max", positive=True)
        area = (t / tau) ** alpha * sp.exp(-t / tau) * (1 + a * sp.cos(turn * t)) / peak

        def term(frequency):
            return (1 + sp.I * frequency * tau) ** (-alpha - 1)

        terms = term(omega) + a / 2 * (term(omega + turn) + term(omega - turn))
        return (
            sp.Piecewise((sp.sqrt(area), t > 0), (0, True)),
            tau * sp.gamma(alpha + 1) / peak * terms,
            None,
        )


def _gamma_nodes(alpha, count: int = 161):
    """Logarithms of nodes and of weights for the integral of y^alpha (y + s)^alpha e^-y, s >= 0."""
    alpha = jax.lax.stop_gradient(alpha)
    order = alpha + 1.0
    lowest = jnp.log(order) - 38.0 / order - jnp.minimum(1.0, 9.0 / jnp.sqrt(order))
    low = jnp.where(lowest > 0, lowest, -jnp.log1p(jnp.maximum(-lowest, 0.0)))
    high = jnp.log(2.0 * order + 9.0 * jnp.sqrt(2.0 * order) + 40.0)
    v = low + (high - low) * jnp.linspace(0.0, 1.0, count, dtype=alpha.dtype)
    # y = exp(v - e^-v) and the trapezoidal rule: both ends vanish faster than exponentially
    log_y = v - jnp.exp(-v)
    return log_y, log_y + jnp.log1p(jnp.exp(-v)) + jnp.log((high - low) / (count - 1))


@jax.jit
def _gamma_autocorrelation(alpha, tau, a, turn, log_peak, lag):
    """R of the modulated gamma at lags in units of tau; turn is omega tau."""
    log_y, log_weight = _gamma_nodes(alpha)
    y = jnp.exp(log_y)

    def single(s):
        total = jnp.zeros_like(s)
        both = (0.5 * a * a, turn * s)
        for k, factors in enumerate((((1.0, 0.0), both), ((a, 0.0), (a, turn * s)), (both,))):
            # int x^alpha (x + s)^alpha e^-zx dx with z = 2 - i k turn, along x = y / z
            slant = 0.5 * k * turn
            log_z, angle_z = jnp.log(2.0) + 0.5 * jnp.log1p(slant**2), -arctan(slant)
            scale = y / (2.0 * (1.0 + slant**2))
            real, imaginary = scale + s, scale * slant
            log_sum = jnp.log(real) + 0.5 * jnp.log1p((imaginary / real) ** 2)
            modulus = alpha * (log_y + log_sum - log_z) - log_z - y - s - 2.0 * log_peak
            modulus = jnp.exp(modulus + log_weight)
            angle = alpha * (arctan(imaginary / real) - angle_z) - angle_z
            for factor, phase in factors:
                total = total + factor * jnp.sum(modulus * cos_sin(angle + phase)[0])
        return tau * total

    return map_lags(single, lag)
