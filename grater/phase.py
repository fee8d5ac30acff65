"""Phase functions: how much light the dust scatters into each direction."""

import abc
from collections.abc import Callable, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model, param

from ._math import inverse_sqrt
from .quadrature import gauss_legendre

PhaseNormalization = Literal["sphere", "right_angle"]
Curve = Callable[[Float[Array, "..."]], Float[Array, "..."]]


class AbstractPhaseFunction(Model):
    r"""Scattered light against the cosine of the scattering angle.

    A new phase function is a class with its parameters as fields and one method, `__call__`, in
    any normalisation: a disk brings all of them to the same one through `normalized`. Forward
    scattering is :math:`\cos\theta = +1`.
    """

    @abc.abstractmethod
    def __call__(self, cos_scatter: Float[Array, "..."]) -> Float[Array, "..."]:
        """Intensity at the cosine of the scattering angle, -1 to 1, any shape."""

    def prepared(self) -> Curve:
        """The same curve with all that does not depend on the angle worked out once."""
        return self

    def integral(self) -> Float[Array, ""]:
        r"""Integral over the sphere, :math:`2\pi \int_{-1}^{1} p(c)\,dc`."""
        node, weight = (jnp.asarray(a, float) for a in gauss_legendre(200))
        curve = self.prepared()
        # c = 1 - 2 s^2 crowds the nodes where forward peaks are
        return 8.0 * jnp.pi * jnp.sum(weight * node * curve(1.0 - 2.0 * node**2))

    def right_angle(self) -> Float[Array, ""]:
        """Value at a scattering angle of 90 deg."""
        return self.prepared()(jnp.zeros(()))

    def factor(self, normalization: PhaseNormalization) -> Float[Array, ""]:
        """The factor that brings the curve to a normalisation, see `normalized`."""
        return 1.0 / (self.integral() if normalization == "sphere" else self.right_angle())

    def normalized(self, normalization: PhaseNormalization) -> tuple[Curve, Float[Array, ""]]:
        """The curve, and the factor that brings it to a normalisation.

        Parameters
        ----------
        normalization
            "sphere": the integral over all directions is 1, so a disk's flux means the same
            amount of scattering dust whatever its phase function. "right_angle": the value at
            90 deg is 1, for free shapes whose unseen part would decide the integral.
        """
        return self.prepared(), self.factor(normalization)

    def curves(self, names: Sequence[str | None]) -> Callable[[Float[Array, "..."]], tuple]:
        """A function of the cosine that returns the values of several curves, a tuple.

        A phase function with more than one curve, as of polarised light or of several bands,
        returns those that it is asked for. All share its normalisation.

        Parameters
        ----------
        names
            Of the curves; None is the phase function itself.

        Raises
        ------
        TypeError
            For a curve that it does not have.
        """
        for name in names:
            if name is not None:
                raise TypeError(
                    f"{type(self).__name__} has no curve {name!r}. For images of the total and "
                    "the polarised intensity take Polarized(phase)."
                )
        return _Repeated(self.prepared(), len(names))


class _Repeated(eqx.Module):
    curve: Curve
    number: int = eqx.field(static=True)

    def __call__(self, cos_scatter):
        return (self.curve(cos_scatter),) * self.number


class Isotropic(AbstractPhaseFunction):
    r"""Light scattered equally into all directions, :math:`p = 1 / 4\pi`."""

    def __call__(self, cos_scatter):
        return jnp.full_like(cos_scatter, 0.25 / np.pi)

    def integral(self):
        return jnp.ones(())


def _henyey_greenstein(g, cos_scatter):
    s = inverse_sqrt(1.0 + g**2 - 2.0 * g * cos_scatter)
    return (1.0 - g**2) * (0.25 / np.pi) * (s * s * s)


class HenyeyGreenstein(AbstractPhaseFunction):
    r"""The Henyey-Greenstein phase function.

    .. math:: p(c) = \frac{1}{4\pi} \frac{1 - g^2}{(1 + g^2 - 2 g c)^{3/2}}

    Parameters
    ----------
    g
        Asymmetry, the mean cosine of the scattering angle, -1 < g < 1; positive scatters forward.

    References
    ----------
    Henyey & Greenstein 1941, ApJ 93, 70.
    """

    g: Float[Array, ""] = param(bounds="(-1, 1)", label="$g$", doc="asymmetry, mean of cos(angle)")

    def __call__(self, cos_scatter):
        return _henyey_greenstein(self.g, cos_scatter)

    def integral(self):
        return jnp.ones(())


class MixedHenyeyGreenstein(AbstractPhaseFunction):
    r"""Weighted sum of any number of Henyey-Greenstein functions.

    .. math:: p(c) = \frac{\sum_k w_k p_{HG}(c; g_k)}{\sum_k w_k}

    Parameters
    ----------
    g
        Asymmetries, shape (n,), each in (-1, 1).
    weight
        Weights, shape (n,), >= 0 with a positive sum; only their ratios matter, so fix one of them
        in a fit. `TwoHenyeyGreenstein` has the single weight that papers use.
    """

    g: Float[Array, " n"] = param(shape=None, bounds="(-1, 1)", label="$g$", doc="asymmetries")
    weight: Float[Array, " n"] = param(
        shape=None, bounds="[0, inf)", label="$w$", doc="weights, up to a common factor"
    )

    def __check_init__(self):
        if self.g.shape != self.weight.shape:
            raise ValueError(
                f"MixedHenyeyGreenstein.g has shape {self.g.shape} and .weight has shape "
                f"{self.weight.shape}. Give one weight for each asymmetry."
            )
        weight = _concrete(self.weight)
        if weight is not None and not np.sum(weight) > 0:
            raise ValueError(
                f"MixedHenyeyGreenstein.weight = {weight} has no positive sum. Give at least one "
                "asymmetry a weight above 0."
            )

    def __call__(self, cos_scatter):
        total = jnp.zeros_like(cos_scatter)
        for k in range(self.g.size):
            total = total + self.weight[k] * _henyey_greenstein(self.g[k], cos_scatter)
        return total / jnp.sum(self.weight)

    def integral(self):
        return jnp.ones(())


class TwoHenyeyGreenstein(AbstractPhaseFunction):
    r"""Two Henyey-Greenstein functions with one weight, each parameter free by itself.

    .. math:: p(c) = w\,p_{HG}(c; g_1) + (1 - w)\,p_{HG}(c; g_2)

    Parameters
    ----------
    g1, g2
        Asymmetries, each in (-1, 1).
    weight
        Weight of the first, 0 to 1.
    """

    g1: Float[Array, ""] = param(bounds="(-1, 1)", label="$g_1$", doc="asymmetry of the first")
    g2: Float[Array, ""] = param(bounds="(-1, 1)", label="$g_2$", doc="asymmetry of the second")
    weight: Float[Array, ""] = param(bounds="[0, 1]", label="$w$", doc="weight of the first")

    def __call__(self, cos_scatter):
        first = self.weight * _henyey_greenstein(self.g1, cos_scatter)
        return first + (1.0 - self.weight) * _henyey_greenstein(self.g2, cos_scatter)

    def integral(self):
        return jnp.ones(())


# of the cosine, over which a spline bends into a constant outside of its knots
_BEND = 0.25


class _SplineCurve(eqx.Module):
    """Exponential of a natural cubic spline, continued outside of its knots."""

    knots: Float[Array, " n"]
    value_slope: Float[Array, " 2"]
    jumps: Float[Array, " n"]
    last_slope: Float[Array, ""]

    def __call__(self, cos_scatter):
        first, last = self.knots[0], self.knots[-1]
        # truncated powers: no search for the interval and no gather, which are slow on every device
        below, above = -_positive(first - cos_scatter), _positive(cos_scatter - last)
        inside = cos_scatter - below - above
        log_p = self.value_slope[0] + self.value_slope[1] * (inside - first)
        for k in range(self.knots.size - 1):
            log_p = log_p + self.jumps[k] * _positive(inside - self.knots[k]) ** 3
        beyond = self.value_slope[1] * below + self.last_slope * above
        bend = inverse_sqrt(1.0 + ((below + above) / _BEND) ** 2)
        return jnp.exp(log_p + beyond * bend)


def _positive(x):
    # not jnp.maximum, whose derivative takes a division
    return jnp.where(x > 0, x, 0.0)


class SplinePhase(AbstractPhaseFunction):
    r"""Free phase function: a smooth positive curve through values at chosen angles.

    .. math:: p(c) = \exp S(c), \quad S(c_k) = \ln v_k, \quad S(0) = 0

    with :math:`S` the natural cubic spline in :math:`c = \cos\theta` through all knots and through
    the value 1 at 90 deg, which fixes the scale. It is positive whatever the values. Outside of the
    outermost knots :math:`S` goes on with its slope :math:`S'` there and bends into a constant,

    .. math:: S(c) = S(c_k) + S'(c_k) \frac{c - c_k}{\sqrt{1 + ((c - c_k) / 0.25)^2}},

    without a jump in its first two derivatives: dust above the midplane scatters at angles a little
    outside of the knots, and at a kink there the integral would need several times the nodes.

    Parameters
    ----------
    knots
        Cosines of the scattering angles, shape (n,), increasing, in [-1, 1], without 0.
    values
        Phase function there relative to 90 deg, shape (n,), > 0.
    """

    knots: Float[Array, " n"] = param(
        shape=None, bounds="[-1, 1]", label="$c_k$", doc="cosines of the scattering angles"
    )
    values: Float[Array, " n"] = param(
        shape=None, bounds="(0, inf)", label="$v_k$", doc="values relative to 90 deg"
    )

    def __check_init__(self):
        if self.knots.shape != self.values.shape:
            raise ValueError(
                f"SplinePhase.knots has shape {self.knots.shape} and .values has shape "
                f"{self.values.shape}. Give one value for each knot."
            )
        if self.knots.size < 1:
            raise ValueError("SplinePhase.knots is empty. Give the cosine of at least one angle.")
        knots = _concrete(self.knots)
        if knots is not None:
            if not np.all(np.diff(knots) > 0):
                raise ValueError(
                    f"SplinePhase.knots = {knots} are out of order. They are cosines of scattering "
                    "angles and must increase, from backward (-1) to forward (+1)."
                )
            if np.any(np.abs(knots) < 1e-3):
                raise ValueError(
                    f"SplinePhase.knots = {knots} has a knot at 90 deg (cosine 0). The value there "
                    "is 1 by definition: leave that knot out."
                )

    @classmethod
    def for_inclination(cls, inclination, n: int = 6, value=1.0) -> "SplinePhase":
        r"""Evenly spaced knots over what a flat disk lets one see, :math:`|c| \le \sin i`.

        Parameters
        ----------
        inclination
            Of the disk in degrees (or a quantity), 0 < i < 180.
        n
            Number of free knots, even; the one at 90 deg comes on top.
        value
            Value at all knots, or one for each, shape (n,).
        """
        if hasattr(inclination, "to_value"):
            inclination = inclination.to_value("deg")
        if n < 2 or n % 2:
            raise ValueError(f"n = {n} is not an even number >= 2: as many knots on either side.")
        reach = np.sin(np.deg2rad(float(inclination)))
        if not reach > 0.01:
            raise ValueError(
                f"inclination = {inclination} deg shows scattering angles near 90 deg only. Place "
                "the knots yourself: SplinePhase(knots, values)."
            )
        knots = np.delete(np.linspace(-reach, reach, n + 1), n // 2)
        return cls(knots=knots, values=np.broadcast_to(np.asarray(value, float), (n,)))

    def prepared(self):
        order = jnp.argsort(jnp.append(self.knots, 0.0))
        c = jnp.append(self.knots, 0.0)[order]
        log_v = jnp.append(jnp.log(self.values), 0.0)[order]
        second = _natural_second_derivatives(c, log_v)
        step = jnp.diff(c)
        slope = jnp.diff(log_v) / step - step * (2.0 * second[:-1] + second[1:]) / 6.0
        third = jnp.diff(second) / step
        jumps = jnp.append(jnp.diff(third, prepend=jnp.zeros(1, third.dtype)), 0.0) / 6.0
        last_slope = (
            jnp.diff(log_v)[-1] / step[-1] + step[-1] * (second[-2] + 2.0 * second[-1]) / 6.0
        )
        return _SplineCurve(c, jnp.stack([log_v[0], slope[0]]), jumps, last_slope)

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


def _natural_second_derivatives(x, y):
    """Second derivatives at the knots of the natural cubic spline, zero at both ends."""
    if x.size < 3:
        return jnp.zeros_like(y)
    step = jnp.diff(x)
    slope = jnp.diff(y) / step
    matrix = (
        jnp.diag((step[:-1] + step[1:]) / 3.0)
        + jnp.diag(step[1:-1] / 6.0, 1)
        + jnp.diag(step[1:-1] / 6.0, -1)
    )
    inner = jnp.linalg.solve(matrix, jnp.diff(slope))
    zero = jnp.zeros(1, y.dtype)
    return jnp.concatenate([zero, inner, zero])


class TabulatedPhase(AbstractPhaseFunction):
    """Phase function from a table, for instance of Mie theory or of a measurement.

    Between the angles a monotone cubic (PCHIP) is drawn, outside of them the nearest value holds.

    Parameters
    ----------
    angle
        Scattering angles in degrees, shape (n,), increasing, in [0, 180]; 0 is forward.
    values
        Phase function there in any normalisation, shape (n,), >= 0.

    References
    ----------
    Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17, 238 (the monotone cubic).
    """

    angle: Float[Array, " n"] = param(
        unit="deg", shape=None, bounds="[0, 180]", doc="scattering angles"
    )
    values: Float[Array, " n"] = param(shape=None, bounds="[0, inf)", doc="values at the angles")

    def __check_init__(self):
        if self.angle.shape != self.values.shape or self.angle.size < 2:
            raise ValueError(
                f"TabulatedPhase.angle has shape {self.angle.shape} and .values has shape "
                f"{self.values.shape}. Give one value for each of at least two angles."
            )
        angle = _concrete(self.angle)
        if angle is not None and not np.all(np.diff(angle) > 0):
            raise ValueError(
                "TabulatedPhase.angle is out of order. The angles must increase, from forward (0) "
                "to backward (180 deg)."
            )
        values = _concrete(self.values)
        if values is not None and not np.any(values > 0):
            raise ValueError("TabulatedPhase.values are all 0: at least one must be positive.")

    def prepared(self):
        angle = jnp.deg2rad(self.angle)
        return _TableCurve(angle, self.values, _monotone_slopes(angle, self.values))

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


class _TableCurve(eqx.Module):
    """Cubic Hermite curve in the scattering angle (radians), constant outside of its table."""

    angle: Float[Array, " n"]
    values: Float[Array, " n"]
    slopes: Float[Array, " n"]

    def __call__(self, cos_scatter):
        c = jnp.clip(cos_scatter, -1.0, 1.0)
        # arccos has no derivative at +-1, where the curve does not depend on the angle's sign
        interior = jnp.abs(c) < 1.0
        angle = jnp.where(
            interior,
            jnp.arccos(jnp.where(interior, c, 0.0)),
            jnp.where(c > 0, 0.0, jnp.asarray(np.pi, c.dtype)),
        )
        angle = jnp.clip(angle, self.angle[0], self.angle[-1])
        left = jnp.searchsorted(self.angle, angle, side="right") - 1
        left = jnp.clip(left, 0, self.angle.size - 2)
        step = self.angle[left + 1] - self.angle[left]
        t = (angle - self.angle[left]) / step
        rise = self.values[left + 1] - self.values[left]
        bend = self.slopes[left] * step - rise, rise - self.slopes[left + 1] * step
        return self.values[left] + t * (rise + (1.0 - t) * ((1.0 - t) * bend[0] + t * bend[1]))


def _monotone_slopes(x, y):
    """Slopes of the monotone cubic through points (PCHIP, as SciPy takes them)."""
    step = jnp.diff(x)
    secant = jnp.diff(y) / step
    if x.size == 2:
        return jnp.broadcast_to(secant, (2,))
    before, after = secant[:-1], secant[1:]
    alike = jnp.sign(before) * jnp.sign(after) > 0
    # in units of the steeper one: neither the slopes nor their derivatives overflow
    unit = jax.lax.stop_gradient(jnp.maximum(jnp.abs(before), jnp.abs(after)))
    unit = jnp.where(alike, unit, 1.0)
    before, after = before / unit, after / unit
    weight = 2.0 * step[1:] + step[:-1], step[1:] + 2.0 * step[:-1]
    total = jnp.where(alike, weight[0] * after + weight[1] * before, 1.0)
    mean = (weight[0] + weight[1]) * before * after / total
    inner = jnp.where(alike, unit * mean, 0.0)

    def end(h0, h1, s0, s1):
        slope = ((2.0 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
        steep = (s0 * s1 < 0) & (jnp.abs(slope) > 3.0 * jnp.abs(s0))
        return jnp.where(slope * s0 > 0, jnp.where(steep, 3.0 * s0, slope), 0.0)

    first = end(step[0], step[1], secant[0], secant[1])
    last = end(step[-1], step[-2], secant[-1], secant[-2])
    return jnp.concatenate([first[None], inner, last[None]])


class Polarized(AbstractPhaseFunction):
    r"""Polarised intensity of dust with a Rayleigh-like degree of polarisation.

    .. math:: p_{pol}(c) = p(c)\, p_{max} \frac{1 - c^2}{1 + c^2}

    It keeps the normalisation of the total intensity's phase function :math:`p`, so that the same
    disk seen in total and in polarised light has one flux.

    Parameters
    ----------
    phase
        Phase function of the total intensity.
    peak
        Largest degree of polarisation :math:`p_{max}`, at 90 deg, 0 to 1. With nothing but
        polarised data it cannot be told from the flux: leave it at 1.
    """

    phase: AbstractPhaseFunction
    peak: Float[Array, ""] = param(
        default=1.0, bounds="[0, 1]", label="$p_{max}$", doc="largest degree of polarisation"
    )

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)

    def prepared(self):
        return _PolarizedCurve(self.phase.prepared(), self.peak)

    def integral(self):
        return self.phase.integral()

    def right_angle(self):
        return self.phase.right_angle()

    def curves(self, names):
        """The curves "total" and "polarized"; None is the polarised one."""
        unknown = set(names) - {None, "total", "polarized"}
        if unknown:
            raise TypeError(f"Polarized has the curves 'total' and 'polarized', no {unknown}.")
        return _PolarizedCurves(self.prepared(), tuple(names))


class _PolarizedCurve(eqx.Module):
    total: Curve
    peak: Float[Array, ""]

    def both(self, cos_scatter):
        total, squared = self.total(cos_scatter), cos_scatter**2
        return total, total * self.peak * (1.0 - squared) / (1.0 + squared)

    def __call__(self, cos_scatter):
        return self.both(cos_scatter)[1]


class _PolarizedCurves(eqx.Module):
    curve: _PolarizedCurve
    names: tuple[str | None, ...] = eqx.field(static=True)

    def __call__(self, cos_scatter):
        total, polarized = self.curve.both(cos_scatter)
        return tuple(total if name == "total" else polarized for name in self.names)


def _concrete(x) -> np.ndarray | None:
    """The numbers of an array, or None while it is traced."""
    return None if isinstance(x, Tracer) else np.asarray(x)
