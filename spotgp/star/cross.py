r"""Correlation of what a rotating spot does to two channels, as pure functions.

While its longitude is :math:`|\theta| < \theta_v` a spot adds to a channel

.. math:: w(\theta) = \sum_{k=0}^{K} \left(a_k \cos k\theta + b_k \sin k\theta\right),

and nothing else. The correlation of two channels then has a closed form, all harmonics at once.
With :math:`d = D \bmod 2\pi` and a prime on what belongs to the second channel,

.. math::

    A(D) = \frac{1}{2\pi} \int w(\theta)\, w'(\theta + D)\, d\theta
         = E(d) + E(2\pi - d) + O(d) - O(2\pi - d),

where E and O are 0 unless :math:`d < 2\theta_v`, and otherwise

.. math::

    2\pi E(d) &= \sum_k \left[(2\theta_v - d) h_k (a_k a_k' + b_k b_k')
        + a_k U_k' + a_k' U_k - b_k \bar U_k' - b_k' \bar U_k\right] \cos kd \\
      &+ \sum_k \left[-a_k W_k' - a_k' W_k + b_k \bar W_k' + b_k' \bar W_k\right] \sin kd, \\
    2\pi O(d) &= \sum_k \left[(2\theta_v - d) h_k (a_k b_k' - b_k a_k')
        - a_k \bar U_k' + a_k' \bar U_k + b_k' U_k - b_k U_k'\right] \sin kd \\
      &+ \sum_k \left[-a_k \bar W_k' + a_k' \bar W_k + b_k' W_k - b_k W_k'\right] \cos kd

with :math:`h_0 = 1, h_k = \frac12` and, for each channel by itself,

.. math::

    U_k, \bar U_k = \tfrac12 \sum_l (a_l, b_l) (S_{k+l} \pm S_{k-l}), \quad
    W_k, \bar W_k = \tfrac12 \sum_l (a_l, b_l) (C_{k+l} \pm C_{k-l}), \quad
    S_m = \frac{\sin m\theta_v}{m}, \quad C_m = \frac{\cos m\theta_v}{m}, \quad S_0 = C_0 = 0.

E is the part that is even in D and the same for both orders of the channels, O is odd and changes
its sign.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..kernel.trig import cos_sin, reduced
from .acf import TWO_PI, Window, cosine_polynomial, none_if_zero


class Weight(NamedTuple):
    """What a spot adds to a channel: the a_k of cosines and b_k of sines, k = 0 ... K."""

    cosines: list[Array]
    sines: list[Array]


def weight_of(terms: Mapping[int, Sequence[Array]], a0, a1, speed) -> Weight:
    r"""The weight :math:`\sum_j p_j(\mu) x^j` of polynomials in mu, given by the power of x.

    Here :math:`\mu = a_0 + a_1 \cos\theta`, and x is ``speed`` times :math:`\sin\theta`.
    """
    total = Weight([], [])
    for power, polynomial in terms.items():
        cosines = [q * speed**power for q in cosine_polynomial(polynomial, a0, a1)]
        one = Weight(cosines, [jnp.zeros_like(a0) for _ in cosines])
        for _ in range(power):
            one = _times_sine(one)
        total = Weight(*(_sum(*lists) for lists in zip(total, one, strict=True)))
    return total


def _times_sine(weight: Weight) -> Weight:
    size = len(weight.cosines) + 1
    cosines, sines = ([jnp.zeros_like(weight.cosines[0])] * size for _ in range(2))
    for k, (a, b) in enumerate(zip(*weight, strict=True)):
        # sin(theta) cos(k theta) and sin(theta) sin(k theta), each of two halves
        for order, sign in ((k + 1, 0.5), (k - 1, -0.5)):
            sines[abs(order)] = sines[abs(order)] + float(np.sign(order)) * sign * a
            cosines[abs(order)] = cosines[abs(order)] - sign * b
    return Weight(cosines, sines)


def _sum(first: list[Array], second: list[Array]) -> list[Array]:
    longer, shorter = (first, second) if len(first) > len(second) else (second, first)
    return [x + y for x, y in zip(longer, shorter, strict=False)] + longer[len(shorter) :]


class CrossCurve(NamedTuple):
    """Correlations of all pairs of channels, a function of the rotation angle.

    Parameters
    ----------
    even, odd
        Coefficients of the functions of `_bases` at each latitude, for the pairs (0, 0), (0, 1) ...
        (1, 1) ...; the odd ones of a channel with itself are 0. ``odd`` is None where nothing is.
    span
        Twice the half angle of visibility, infinite if always seen, negative if never.
    """

    even: Float[Array, "3k+2 pairs m"]
    odd: Float[Array, "3k+1 pairs m"] | None
    span: Float[Array, "m"]

    def mean(self, weight, omega, lags):
        """Weighted sums over latitudes (m,) at the angles omega (m,) times lags (n,).

        Shape (c c, n): of each ordered pair of channels, the lag being from the first to the other.
        """
        even, odd = (
            None if part is None else part * weight[None, None, :] for part in (self.even, self.odd)
        )
        return _mean(even, odd, self.span, omega, lags)


def _bases(span, angle, degree: int, mixed: bool):
    """The even functions of the angle that correlations are sums of, and the odd ones or None."""
    turn = jnp.asarray(TWO_PI, angle.dtype)
    delta = reduced(angle)
    delta = jnp.where(delta < 0.0, delta + turn, delta)
    ahead, behind = (
        jnp.where(span > gap, 1.0, 0.0).astype(angle.dtype) for gap in (delta, turn - delta)
    )
    both, apart = ahead + behind, ahead - behind
    shift = (delta - turn) * behind - delta * ahead
    cos, sin = cos_sin(angle)
    cosines, sines = [jnp.ones_like(cos), cos], [jnp.zeros_like(sin), sin]
    while len(cosines) <= degree:
        cosines.append(2.0 * cos * cosines[-1] - cosines[-2])
        sines.append(2.0 * cos * sines[-1] - sines[-2])
    cosines, sines = cosines[: degree + 1], sines[1 : degree + 1]

    def products(first, second):
        return [g * x for g, some in ((both, first), (shift, first), (apart, second)) for x in some]

    return products(cosines, sines), products(sines, cosines) if mixed else None


def _contracted(even, odd, bases):
    """Sums over functions and latitudes, put together for all ordered pairs."""
    number = math.isqrt(2 * even.shape[1])
    total = _summed(even, bases[0])
    first, second = np.triu_indices(number)
    place = np.zeros((number, number), int)
    place[first, second] = place[second, first] = np.arange(first.size)
    total = total[place.ravel()]
    if odd is None:
        return total
    sign = np.sign(np.arange(number)[None, :] - np.arange(number)[:, None]).ravel()
    more = _summed(odd, bases[1])[place.ravel()]
    return total + jnp.asarray(sign, more.dtype)[:, None] * more


def _summed(coefficients, functions):
    """Pairs and latitudes times latitudes and lags, for one function after the other."""
    first, *rest = (c @ f for c, f in zip(coefficients, functions, strict=True))
    return sum(rest, start=first)


@jax.custom_jvp
def _mean(even, odd, span, omega, lags):
    degree = (len(even) - 2) // 3
    angle = omega[:, None] * lags[None, :]
    return _contracted(even, odd, _bases(span[:, None], angle, degree, odd is not None))


def _mean_jvp(primals, tangents):
    """Written as contractions, so that reverse mode is contractions over the lags."""
    even, odd, span, omega, lags = primals
    even_dot, odd_dot, _, omega_dot, lags_dot = (none_if_zero(dot) for dot in tangents)
    degree, mixed = (len(even) - 2) // 3, odd is not None
    angle = omega[:, None] * lags[None, :]

    def bases(angle):
        return _bases(span[:, None], angle, degree, mixed)

    found, slopes = jax.jvp(bases, (angle,), (jnp.ones_like(angle),))
    mean = _contracted(even, odd, found)
    mean_dot = jnp.zeros_like(mean)
    if even_dot is not None or odd_dot is not None:
        moved = (_or_zero(even_dot, even), _or_zero(odd_dot, odd))
        mean_dot = mean_dot + _contracted(*moved, found)
    if omega_dot is not None:
        mean_dot = mean_dot + _turned(omega_dot[:, None] * lags[None, :], even, odd, slopes)
    if lags_dot is not None:
        mean_dot = mean_dot + _turned(omega[:, None] * lags_dot[None, :], even, odd, slopes)
    return mean, mean_dot


def _turned(angle_dot, even, odd, slopes):
    return _contracted(even, odd, jax.tree.map(lambda slope: slope * angle_dot, slopes))


def _or_zero(dot, value):
    return None if value is None else jnp.zeros_like(value) if dot is None else dot


_mean.defjvp(_mean_jvp, symbolic_zeros=True)


def cross_correlation(weights: Sequence[Weight], window: Window, mixed: bool) -> CrossCurve:
    """The correlations of all pairs of channels at some latitudes, from the weights of each.

    ``mixed`` says whether any of them has sines.
    """
    size = max(len(one.cosines) for one in weights)
    zero = jnp.zeros_like(window.half_angle)
    a, b = (
        jnp.stack([jnp.stack(part + [zero] * (size - len(part))) for part in parts])
        for parts in zip(*weights, strict=True)
    )
    i, j = np.triu_indices(len(weights))
    (u, u_odd), (w, w_odd) = _boundary_sums(a, b, window)
    half = jnp.asarray(np.where(np.arange(size) == 0, 1.0, 0.5), a.dtype)[None, :, None]
    line = half * (a[i] * a[j] + b[i] * b[j])
    at = a[i] * u[j] + a[j] * u[i] - b[i] * u_odd[j] - b[j] * u_odd[i]
    beyond = b[i] * w_odd[j] + b[j] * w_odd[i] - a[i] * w[j] - a[j] * w[i]
    across = 2.0 * window.half_angle
    wide = across[None, None, :]
    even = jnp.concatenate([at + wide * line, line, beyond[:, 1:]], axis=1)
    odd = None
    if mixed:
        line = half * (a[i] * b[j] - b[i] * a[j])
        at = a[j] * u_odd[i] - a[i] * u_odd[j] + b[j] * u[i] - b[i] * u[j]
        beyond = a[j] * w_odd[i] - a[i] * w_odd[j] + b[j] * w[i] - b[i] * w[j]
        odd = jnp.concatenate([(at + wide * line)[:, 1:], line[:, 1:], beyond], axis=1)
        odd = jnp.moveaxis(odd, 1, 0) / TWO_PI
    span = jnp.where(window.always, jnp.inf, jnp.where(window.never, -jnp.inf, across))
    return CrossCurve(jnp.moveaxis(even, 1, 0) / TWO_PI, odd, jax.lax.stop_gradient(span))


def _boundary_sums(a, b, window: Window):
    """U, its barred twin, W and its, each of shape (channels, k, m)."""
    size = a.shape[1]
    order = jnp.arange(1, 2 * size - 1, dtype=a.dtype)[:, None]
    angle = order * window.half_angle[None, :]
    nothing = jnp.zeros_like(window.half_angle)[None, :]
    sine = jnp.where(window.always[None, :], 0.0, jnp.sin(angle) / order)
    s, c = (jnp.concatenate([nothing, x]) for x in (sine, jnp.cos(angle) / order))
    k, l = np.arange(size)[:, None], np.arange(size)[None, :]
    sign = jnp.asarray(np.sign(k - l), a.dtype)[..., None]
    first, second = (s[k + l], s[abs(k - l)]), (c[k + l], sign * c[abs(k - l)])

    def both(plus, minus):
        return [
            0.5 * jnp.einsum("klm,clm->ckm", kernel, x, precision="highest")
            for kernel, x in ((plus + minus, a), (plus - minus, b))
        ]

    return both(*first), both(*second)
