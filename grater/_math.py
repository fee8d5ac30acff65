"""Small functions whose values or derivatives need care."""

import math

import jax
import jax.numpy as jnp


@jax.custom_jvp
def inverse_sqrt(x):
    """1 / sqrt(x) for x > 0, in the form that XLA's CPU backend makes fastest."""
    return jnp.sqrt(1.0 / x)


@inverse_sqrt.defjvp
def _inverse_sqrt_jvp(primals, tangents):
    value = inverse_sqrt(*primals)
    return value, -0.5 * (value * value * value) * tangents[0]


@jax.custom_jvp
def log(x):
    r"""Natural logarithm to 2 units in the last place; XLA's own in double takes 5 times as long.

    With :math:`x = 2^k m` and :math:`s = (m - 1) / (m + 1)` it is
    :math:`k \log 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)`. Subnormal numbers count as 0.
    """
    if x.dtype != jnp.float64:
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


@log.defjvp
def _log_jvp(primals, tangents):
    return log(*primals), tangents[0] / primals[0]


@jax.custom_jvp
def power(base, exponent):
    """Power of a base >= 0 to a scalar exponent >= 0, with finite derivatives at base = 0."""
    # no guard within the logarithm: XLA shares it with the logarithms of others
    raised = jnp.exp(exponent * log(base))
    return jnp.where(base > 0, raised, jnp.where(exponent == 0, 1.0, 0.0).astype(base.dtype))


def _power_jvp(power):
    def jvp(primals, tangents):
        base, exponent = primals
        base_dot, exponent_dot = tangents
        value = power(base, exponent)
        positive = base > 0
        safe = jnp.where(positive, base, 1.0)
        dot = jnp.zeros_like(value)
        if not isinstance(base_dot, jax.custom_derivatives.SymbolicZero):
            at_zero = (exponent == 1.0).astype(value.dtype)
            slope = jnp.where(positive, exponent * value / safe, at_zero)
            dot = dot + slope * base_dot
        # only where it is asked for: a fixed exponent costs no logarithm
        if not isinstance(exponent_dot, jax.custom_derivatives.SymbolicZero):
            # the same logarithm as the value's, so that it is taken once
            dot = dot + jnp.where(positive, value * log(base), 0.0) * exponent_dot
        return value, dot

    return jvp


power.defjvp(_power_jvp(power), symbolic_zeros=True)


@jax.custom_jvp
def usual_power(base, exponent):
    """`power` at the cost of a multiplication where the exponent is 1 or 2."""
    which = jnp.where(exponent == 1.0, 1, jnp.where(exponent == 2.0, 2, 0))
    return jax.lax.switch(which, [lambda b: power(b, exponent), lambda b: b, lambda b: b * b], base)


usual_power.defjvp(_power_jvp(usual_power), symbolic_zeros=True)


@jax.custom_jvp
def first_power(base, exponent):
    """`power` where the exponent is known to be 1; its derivatives are those of any exponent."""
    del exponent
    return base


first_power.defjvp(_power_jvp(first_power), symbolic_zeros=True)


@jax.custom_jvp
def second_power(base, exponent):
    """`power` where the exponent is known to be 2; its derivatives are those of any exponent."""
    del exponent
    return base * base


second_power.defjvp(_power_jvp(second_power), symbolic_zeros=True)


def computed_once(function, *arguments):
    """The function's arrays, in memory: XLA's CPU backend would work them out for each use anew."""
    # always true, of NaN as well, which must come out as NaN; but the compiler does not know
    use = ~(arguments[0].ravel()[0] > jnp.inf)
    out = jax.eval_shape(function, *arguments)

    def nothing(*_):
        return jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), out)

    return jax.lax.cond(use, function, nothing, *arguments)


def added_together(sums, terms):
    """The sum of each pair of arrays of one shape, by one kernel for all pairs.

    XLA's CPU backend makes a kernel of each array that a program needs, which reads all that the
    array is made of. A reduction of several arrays is one kernel: here, of two rows each.
    """
    first = jax.lax.broadcasted_iota(jnp.int32, (2, *sums[0].shape), 0) == 0
    rows = [jnp.where(first, a[None], b[None]) for a, b in zip(sums, terms, strict=True)]

    def add(left, right):
        return tuple(a + b for a, b in zip(left, right, strict=True))

    return list(jax.lax.reduce(tuple(rows), tuple(jnp.zeros((), a.dtype) for a in sums), add, (0,)))
