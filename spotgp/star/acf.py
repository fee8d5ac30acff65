r"""Harmonics and autocorrelation of what a rotating spot shows, as pure functions.

A spot seen while its longitude :math:`|\theta| < \theta_v` shows
:math:`V(\theta) = \sum_{k=0}^{K} q_k \cos k\theta` then and nothing else. Both its Fourier
coefficients and its autocorrelation have closed forms for any such cosine polynomial.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..kernel.trig import cos_sin, reduced

TWO_PI = 2.0 * jnp.pi


class Window(NamedTuple):
    """When a spot is seen: ``|longitude| < half_angle``, pi if always, 0 if never, in radians."""

    half_angle: Float[Array, "..."]
    always: Float[Array, "..."]
    never: Float[Array, "..."]


def visible_window(a0: Float[Array, "..."], a1: Float[Array, "..."], edge=None) -> Window:
    r"""The longitudes where a foreshortening exceeds a limit, :math:`a_0 + a_1 \cos\theta > e`.

    .. math:: \theta_v = \arccos\frac{e - a_0}{a_1}

    for a1 >= 0, and e = 0 if ``edge`` is None. Derivatives are finite also where the spot just
    never or always is seen.
    """
    if edge is not None:
        a0 = a0 - edge
    squared = (a1 - a0) * (a1 + a0)
    # nearer than this to always or never, the difference is below rounding, its derivative is not
    crosses = squared > float(jnp.finfo(a0.dtype).eps) ** (2.0 / 3.0) * a1 * a1
    # arctan2 keeps its digits where arccos loses half of them
    root = jnp.sqrt(jnp.where(crosses, squared, 1.0))
    angle = jnp.arctan2(root, jnp.where(crosses, -a0, 1.0))
    always = ~crosses & (a0 > 0.0)
    half = jnp.where(crosses, angle, jnp.where(always, jnp.asarray(jnp.pi, a0.dtype), 0.0))
    return Window(half, always, ~crosses & ~always)


def cosine_polynomial(
    powers: Sequence[Array], a0: Float[Array, "..."], a1: Float[Array, "..."]
) -> list[Array]:
    r"""Coefficients :math:`q_k` of :math:`\sum_j b_j \mu^j = \sum_k q_k \cos k\theta`.

    Here :math:`\mu = a_0 + a_1 \cos\theta`, and ``powers`` are the scalars :math:`b_j`, constant
    term first.
    """
    q = [jnp.broadcast_to(powers[-1], a0.shape)]
    for b in reversed(powers[:-1]):
        product = [a0 * x for x in q] + [jnp.zeros_like(a0)]
        for k, x in enumerate(q):
            half = 0.5 * a1 * x
            # cos(theta) cos(k theta) has two halves, which are one where k = 0
            product[k + 1] = product[k + 1] + half
            product[abs(k - 1)] = product[abs(k - 1)] + half
        product[0] = product[0] + b
        q = product
    return q


def _sines(window: Window, count: int) -> list[Array]:
    """sin(p theta_v) / p for p = 0 ... count, which is theta_v at 0."""
    half = window.half_angle
    return [half] + [
        jnp.where(window.always, 0.0, jnp.sin(p * half) / p) for p in range(1, count + 1)
    ]


def window_harmonics(q: Sequence[Array], window: Window, orders: tuple[int, ...]) -> Array:
    r"""Fourier coefficients of a windowed cosine polynomial.

    .. math::

        c_n = \frac{1}{\pi} \int_0^{\theta_v} V \cos n\theta \, d\theta
            = \frac{1}{2\pi} \sum_k q_k \left[S_{n-k} + S_{n+k}\right], \quad
        S_p = \frac{\sin p\theta_v}{p}, \quad S_0 = \theta_v

    for orders n >= 0, which are the last axis.
    """
    sines = _sines(window, max(orders, default=0) + len(q) - 1)
    columns = [
        sum((x * (sines[abs(n - k)] + sines[n + k]) for k, x in enumerate(q)), jnp.zeros_like(q[0]))
        for n in orders
    ]
    if not columns:
        return jnp.zeros((*q[0].shape, 0), q[0].dtype)
    return jnp.stack(columns, axis=-1) / TWO_PI


def clenshaw(coefficients: Sequence[Array], twice_cos: Array) -> tuple[Array, Array]:
    """Last two terms b_0, b_1 of Clenshaw's recurrence."""
    b1 = b2 = jnp.zeros_like(coefficients[0])
    for c in reversed(coefficients[1:]):
        b1, b2 = c + twice_cos * b1 - b2, b1
    return coefficients[0] + 0.5 * twice_cos * b1 - b2, b1


class WindowedCurve(NamedTuple):
    r"""Autocorrelation of a windowed cosine polynomial, a function of the rotation angle.

    .. math:: A(\phi, D) = \sum_j c_j(\phi)\, E_j(\phi, D)

    where the E are the Chebyshev polynomials of `window_autocorrelation`, cut to the angles at
    which the windows overlap: ``span`` is twice the half angle of visibility, infinite if always
    seen, negative if never.
    """

    coefficients: Float[Array, "3k-1 *phi"]
    span: Float[Array, "*phi"]

    def __call__(self, angle):
        """A at the rotation angles D in radians, of a shape that broadcasts with the latitudes'."""
        basis = self._basis(self.span, angle)
        return sum((c * e for c, e in zip(self.coefficients, basis, strict=True)), start=0.0)

    def mean(self, weight, omega, lags):
        """Weighted sum over latitudes (m,) at the angles omega (m,) times lags (n,), shape (n,)."""
        flat = WindowedCurve(
            self.coefficients.reshape(-1, weight.size, 1), self.span.reshape(-1, 1)
        )
        return _mean(flat, weight, omega, lags)

    def _basis(self, span, angle):
        count = (len(self.coefficients) + 1) // 3
        turn = jnp.asarray(TWO_PI, angle.dtype)
        delta = reduced(angle)
        delta = jnp.where(delta < 0.0, delta + turn, delta)
        cos, sin = cos_sin(angle)
        first, second = [jnp.ones_like(cos), cos], [jnp.ones_like(cos), 2.0 * cos]
        while len(first) < count:
            first.append(2.0 * cos * first[-1] - first[-2])
            second.append(2.0 * cos * second[-1] - second[-2])
        ahead, behind = (
            jnp.where(span > gap, 1.0, 0.0).astype(angle.dtype) for gap in (delta, turn - delta)
        )
        both, apart = ahead + behind, sin * (ahead - behind)
        shift = (delta - turn) * behind - delta * ahead
        return [
            *(both * chebyshev for chebyshev in first[:count]),
            *(shift * chebyshev for chebyshev in first[:count]),
            *(apart * chebyshev for chebyshev in second[: count - 1]),
        ]


@jax.custom_jvp
def _mean(curve: WindowedCurve, weight, omega, lags):
    return weight @ curve(omega[:, None] * lags[None, :])


def _mean_jvp(primals, tangents):
    """Written as contractions, so that reverse mode is contractions over the lags.

    What XLA makes of the transposed sums of products, sample by sample, is ten times slower.
    """
    curve, weight, omega, lags = primals
    curve_dot, weight_dot, omega_dot, lags_dot = (none_if_zero(dot) for dot in tangents)
    angle = omega[:, None] * lags[None, :]
    value, slope = jax.jvp(curve, (angle,), (jnp.ones_like(angle),))
    turned = weight[:, None] * slope
    coefficients, coefficients_dot = curve.coefficients[..., 0], curve_dot.coefficients
    moved = jnp.zeros_like(coefficients)
    if coefficients_dot is not None:
        moved = moved + coefficients_dot[..., 0] * weight[None]
    if weight_dot is not None:
        moved = moved + coefficients * weight_dot[None]
    basis = curve._basis(curve.span, angle)
    mean_dot = sum((row @ part for row, part in zip(moved, basis, strict=True)), start=0.0)
    if omega_dot is not None:
        mean_dot = mean_dot + (omega_dot @ turned) * lags
    if lags_dot is not None:
        mean_dot = mean_dot + (omega @ turned) * lags_dot
    return weight @ value, mean_dot


_mean.defjvp(_mean_jvp, symbolic_zeros=True)


def none_if_zero(dot):
    """A tangent, with None in the place of leaves that are known to be 0."""

    def is_zero(leaf):
        return isinstance(leaf, jax.custom_derivatives.SymbolicZero)

    return jax.tree.map(lambda leaf: None if is_zero(leaf) else leaf, dot, is_leaf=is_zero)


def window_autocorrelation(q: Sequence[Array], window: Window) -> WindowedCurve:
    r"""Autocorrelation of a windowed cosine polynomial, all harmonics at once.

    .. math::

        A(D) = \frac{1}{2\pi} \int V(\theta) V(\theta + D)\, d\theta
             = \frac{G(\delta, \sin D) + G(2\pi - \delta, -\sin D)}{2\pi}, \qquad
        \delta = D \bmod 2\pi,

    where, as long as the two windows overlap (:math:`2\theta_v > d`; otherwise it is 0),

    .. math::

        G(d, s) = (2\theta_v - d) \sum_m L_m T_m(\cos D) + \sum_m C_m T_m(\cos D)
                + s \sum_m B_m U_{m-1}(\cos D)

    with Chebyshev polynomials and coefficients that depend on :math:`\theta_v` and q alone, so
    that a sample costs one sine and one cosine. The angle D in radians may have any value, and a
    shape that broadcasts with the window's (as many axes).
    """
    order = range(len(q))
    half = window.half_angle
    u = _sines(window, 2 * len(q))
    w = [jnp.cos(p * half) / max(p, 1) for p in range(2 * len(q))]
    zero = jnp.zeros_like(half)
    linear, cosine, sine = [], [], []
    for m in order:
        linear.append((1.0 if m == 0 else 0.5) * q[m] ** 2)
        c, b = zero, zero
        for k in order:
            if m + k > 0:
                c, b = c + q[k] * u[m + k], b + q[k] * w[m + k]
            if m > k:
                c, b = c + q[k] * u[m - k], b + q[k] * w[m - k]
            if m < k:
                c, b = c + q[k] * u[k - m], b - q[k] * w[k - m]
        cosine.append(q[m] * c)
        sine.append(-q[m] * b)

    # always seen: both windows overlap whatever the rounding of delta
    span = jnp.where(window.always, jnp.inf, jnp.where(window.never, -jnp.inf, 2.0 * half))
    constant = [2.0 * half * slope + c for slope, c in zip(linear, cosine, strict=True)]
    coefficients = jnp.stack([*constant, *linear, *sine[1:]]) / TWO_PI
    return WindowedCurve(coefficients, jax.lax.stop_gradient(span))
