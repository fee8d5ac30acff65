"""Phase functions of free shape: through the values at some angles."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

from pytreefit import param
from pytreefit.extend import is_traced

from .phase import AbstractPhaseFunction, Curve

_PI = 3.1416  # what angles in radians end at

# of the cosine, over which a spline bends into a constant outside of its knots
_BEND = 0.25


class SplineCurve(eqx.Module):
    """A natural cubic spline in the cosine that bends into a constant outside of its knots."""

    knots: Float[Array, " n"]
    value_slope: Float[Array, " 2"]
    jumps: Float[Array, " n"]
    last_slope: Float[Array, ""]

    def __call__(self, cos_scatter):
        first, last = self.knots[0], self.knots[-1]
        # truncated powers: no search for the interval and no gather, which are slow on every device
        below, above = -_positive(first - cos_scatter), _positive(cos_scatter - last)
        inside = cos_scatter - below - above
        value = self.value_slope[0] + self.value_slope[1] * (inside - first)
        for k in range(self.knots.size - 1):
            value = value + self.jumps[k] * _positive(inside - self.knots[k]) ** 3
        beyond = self.value_slope[1] * below + self.last_slope * above
        bend = jnp.sqrt(1.0 / (1.0 + ((below + above) / _BEND) ** 2))
        return value + beyond * bend


class _Exponential(eqx.Module):
    spline: SplineCurve

    def __call__(self, cos_scatter):
        return jnp.exp(self.spline(cos_scatter))


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

    Raises
    ------
    ValueError
        If knots are out of order, at 90 deg, or so close that the curve between them overflows.

    Examples
    --------
    >>> import numpy as np
    >>> knots = np.cos(np.deg2rad([150.0, 120.0, 60.0, 30.0]))
    >>> phase = SplinePhase(knots, [0.5, 0.7, 1.8, 3.0])  # relative to 90 deg
    >>> round(float(phase(knots[3]) / phase(0.0)), 3)
    3.0
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
        knots = self.knots
        if not is_traced(knots):
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
            if not is_traced(self.values) and np.all(self.values > 0):
                self._check_peak()

    def _check_peak(self):
        """ValueError where the curve is so high that images overflow."""
        c = np.append(np.asarray(self.knots), 0.0)
        order = np.argsort(c)
        c, log_v = c[order], np.append(np.log(np.asarray(self.values)), 0.0)[order]
        spline = CubicSpline(c, log_v, bc_type="natural")
        inside = spline(np.linspace(c[:-1], c[1:], 16))
        beyond = log_v[[0, -1]] + _BEND * np.maximum(spline(c[[0, -1]], 1) * [-1.0, 1.0], 0.0)
        peak = max(np.max(inside), np.max(beyond))
        # images and their squares are finite
        highest = np.log(float(jnp.finfo(self.knots.dtype).max)) / 2.0
        if not peak <= highest:
            raise ValueError(
                f"SplinePhase.values = {self.values} at .knots = {self.knots} lead to a phase "
                f"function of exp({peak:.0f}) somewhere, which is more than the numbers here hold "
                f"(exp({highest:.0f})). Knots that are close to each other, or to the one at 90 "
                "deg (cosine 0), need values that are close too: place them further apart."
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
        return _Exponential(natural_spline(c, log_v))

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


def natural_spline(x, y) -> SplineCurve:
    """The natural cubic spline through points, shape (n,), n >= 2, x increasing."""
    second, step = _natural_second_derivatives(x, y), jnp.diff(x)
    slope = jnp.diff(y) / step - step * (2.0 * second[:-1] + second[1:]) / 6.0
    third = jnp.diff(second) / step
    jumps = jnp.append(jnp.diff(third, prepend=jnp.zeros(1, third.dtype)), 0.0) / 6.0
    last_slope = jnp.diff(y)[-1] / step[-1] + step[-1] * (second[-2] + 2.0 * second[-1]) / 6.0
    return SplineCurve(x, jnp.stack([y[0], slope[0]]), jumps, last_slope)


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


class LegendrePhase(AbstractPhaseFunction):
    r"""Free phase function: the exponential of a sum of Legendre polynomials.

    .. math:: \ln p(c) = \sum_{l=1}^{n} a_l P_l(c)

    It is positive and smooth whatever the coefficients, and has no knots to place: the first ones
    give the asymmetry forward and the symmetric part, further ones finer structure. The
    term :math:`l = 0` is a factor, which the normalisation takes away.

    Parameters
    ----------
    coefficients
        :math:`a_1, \dots, a_n`, shape (n,), n >= 1. Priors about 0 keep the part of the curve
        that no pixel shows from wandering.

    Raises
    ------
    ValueError
        If there are none, or such large ones that the curve overflows.

    Examples
    --------
    >>> phase = LegendrePhase([1.0, 0.5])
    >>> round(float(phase.right_angle()), 6)  # exp(-0.5 / 2)
    0.778801
    """

    coefficients: Float[Array, " n"] = param(
        shape=None, label="$a_l$", doc="of the Legendre polynomials, from l = 1"
    )

    def __check_init__(self):
        if self.coefficients.size < 1:
            raise ValueError("LegendrePhase.coefficients is empty. Give at least that of l = 1.")
        if is_traced(self.coefficients):
            return
        # images and their squares are finite; no polynomial exceeds 1
        highest = np.log(float(jnp.finfo(self.coefficients.dtype).max)) / 2.0
        peak = np.sum(np.abs(np.asarray(self.coefficients)))
        if not peak <= highest:
            raise ValueError(
                f"LegendrePhase.coefficients = {self.coefficients} may reach exp({peak:.0f}), "
                f"which is more than the numbers here hold (exp({highest:.0f})): the sum of "
                "their sizes must be smaller."
            )

    def __call__(self, cos_scatter):
        before, polynomial = jnp.ones_like(cos_scatter), cos_scatter
        log_p = jnp.zeros_like(cos_scatter)
        for l in range(1, self.coefficients.size + 1):
            log_p = log_p + self.coefficients[l - 1] * polynomial
            # Bonnet: (l + 1) P_{l+1} = (2 l + 1) c P_l - l P_{l-1}
            onward = (2 * l + 1) * cos_scatter * polynomial - l * before
            before, polynomial = polynomial, onward * (1.0 / (l + 1))
        return jnp.exp(log_p)


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

    Examples
    --------
    >>> phase = TabulatedPhase([0.0, 60.0, 120.0, 180.0], [4.0, 1.5, 1.0, 1.2])
    >>> round(float(phase(1.0) / phase(0.5)), 3)  # at 0 and 60 deg
    2.667
    """

    angle: Float[Array, " n"] = param(
        unit="deg", shape=None, bounds="[0, 180]", doc="scattering angles"
    )
    values: Float[Array, " n"] = param(shape=None, bounds="[0, inf)", doc="values at the angles")

    def __check_init__(self):
        check_table("TabulatedPhase", self.angle, self.values)
        values = self.values
        if not is_traced(values) and not np.any(values > 0):
            raise ValueError("TabulatedPhase.values are all 0: at least one must be positive.")

    def prepared(self):
        return table_curve(self.angle, self.values)

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


def check_table(owner: str, angle, values) -> None:
    """ValueError for angles out of order or not one for each value; a warning of radians."""
    if angle.shape != values.shape or angle.size < 2:
        raise ValueError(
            f"{owner}.angle has shape {angle.shape} and .values has shape {values.shape}. Give one "
            "value for each of at least two angles."
        )
    if is_traced(angle):
        return
    if not np.all(np.diff(angle) > 0):
        raise ValueError(
            f"{owner}.angle is out of order. The angles must increase, from forward (0) to "
            "backward (180 deg)."
        )
    if angle[-1] <= _PI:
        warnings.warn(
            f"{owner}.angle ends at {float(angle[-1]):g} deg, and the last value holds beyond. If "
            "the angles are in radians, give them as a Quantity or convert them by numpy.rad2deg.",
            stacklevel=6,
        )


def table_curve(angle, values) -> Curve:
    """The monotone cubic through values at angles in degrees, a function of the cosine."""
    angle = jnp.deg2rad(angle)
    return _TableCurve(angle, values, _monotone_slopes(angle, values))


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
