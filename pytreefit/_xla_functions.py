"""Functions in the form that XLA's CPU compiler makes fastest, each with its plain form.

The plain forms are taken where `plain` says so; results are the same to rounding.
"""

import math

import jax
import jax.numpy as jnp

from ._xla import plain


def computed_once(function, *arguments):
    """A function's arrays, kept in memory.

    Reason: XLA works out anew, for each use of an array, what it is made of, and moves out of a
    loop what several uses share. A conditional that is always true keeps it from both. Gain: a
    gradient takes two thirds of the time. The first argument is a float array with an element.
    """
    if plain():
        return function(*arguments)
    # true of NaN as well, which must come out as NaN; but the compiler does not know
    use = ~(arguments[0].ravel()[0] > jnp.inf)
    out = jax.eval_shape(function, *arguments)

    def nothing(*_):
        return jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), out)

    return jax.lax.cond(use, function, nothing, *arguments)


def fused_sum(sums: list, terms: list) -> list:
    """The sum of each pair of arrays, all of one shape.

    Reason: XLA makes a kernel of each array that a program needs, and each reads all that the array
    is made of. A reduction of several arrays is one kernel: here, of two rows each. Gain: a
    gradient takes three fifths of the time.
    """
    if plain():
        return [a + b for a, b in zip(sums, terms, strict=True)]
    first = jax.lax.broadcasted_iota(jnp.int32, (2, *sums[0].shape), 0) == 0
    rows = [jnp.where(first, a[None], b[None]) for a, b in zip(sums, terms, strict=True)]

    def add(left, right):
        return tuple(a + b for a, b in zip(left, right, strict=True))

    return list(jax.lax.reduce(tuple(rows), tuple(jnp.zeros((), a.dtype) for a in sums), add, (0,)))


@jax.custom_jvp
def fast_log(x):
    r"""Natural logarithm of positive numbers to 2 units in the last place.

    Reason: XLA's own in double precision takes five times as long. With :math:`x = 2^k m` and
    :math:`s = (m - 1) / (m + 1)` it is :math:`k \log 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)`.
    Subnormal numbers count as 0. Gain: an image in double precision takes seven tenths.
    """
    if plain() or x.dtype != jnp.float64:
        return jnp.log(x)
    bits = jax.lax.bitcast_convert_type(x, jnp.int64)
    # the exponent with which the mantissa lies between sqrt(1/2) and sqrt(2)
    exponent = (bits - _SQRT_HALF) >> 52
    mantissa = jax.lax.bitcast_convert_type(bits - (exponent << 52), jnp.float64)
    # as a number, by bits of 2^52 + 2048 + exponent: conversions are not vectorized everywhere
    shifted = jax.lax.bitcast_convert_type((exponent + 2048) | _TWO_52, jnp.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    squared = s * s
    series = jnp.full_like(x, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series = series * squared + coefficient
    value = (shifted - (2.0**52 + 2048.0)) * math.log(2.0) + s * series
    value = jnp.where(x < jnp.inf, value, x)
    outside = jnp.where(x == 0, -jnp.inf, jnp.nan)
    return jnp.where(x >= jnp.finfo(x.dtype).tiny, value, jnp.where(x > 0, -jnp.inf, outside))


# bits of sqrt(1/2) and of 2^52, and the series in s^2, whose rest is below 1e-17
_SQRT_HALF, _TWO_52 = 0x3FE6A09E667F3BCD, 0x4330000000000000
_SERIES = tuple(2.0 / (2 * k + 1) for k in range(11))


@fast_log.defjvp
def _fast_log_jvp(primals, tangents):
    return fast_log(*primals), tangents[0] / primals[0]


def sinh_cosh(x):
    """Hyperbolic sine and cosine from one exponential.

    Reason: XLA's own are several times slower. Gain: an image near edge-on takes six tenths of the
    time. The sine has absolute precision only.
    """
    if plain():
        return jnp.sinh(x), jnp.cosh(x)
    grown = jnp.exp(x)
    shrunk = 1.0 / grown
    return 0.5 * (grown - shrunk), 0.5 * (grown + shrunk)


def arctan(x):
    """Arc tangent, any shape.

    Reason: XLA's own is wrong for 32 numbers and more where vectors are of 512 bits (jaxlib 0.10.2,
    https://github.com/jax-ml/jax/issues/39352); with two arguments it is right, as long as the
    compiler doesn't know that the second one is 1.
    """
    return jnp.arctan2(x, jnp.where(jnp.isnan(x), x, 1.0))


def arcsinh(x):
    """Inverse of the hyperbolic sine, to rounding in absolute terms.

    Reason: XLA's own is several times slower. Gain: an image near edge-on takes five sixths.
    """
    if plain():
        return jnp.arcsinh(x)
    magnitude = jnp.abs(x)
    return jnp.sign(x) * jnp.log(magnitude + jnp.sqrt(magnitude * magnitude + 1.0))
