"""Small functions whose values or derivatives need care."""

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
def power(base, exponent):
    """Power of a base >= 0 to a scalar exponent >= 0, with finite derivatives at base = 0."""
    # no guard within the logarithm: XLA shares it with the logarithms of others
    raised = jnp.exp(exponent * jnp.log(base))
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
            dot = dot + jnp.where(positive, value * jnp.log(base), 0.0) * exponent_dot
        return value, dot

    return jvp


power.defjvp(_power_jvp(power), symbolic_zeros=True)


@jax.custom_jvp
def usual_power(base, exponent):
    """`power` at the cost of a multiplication where the exponent is 1 or 2."""
    which = jnp.where(exponent == 1.0, 1, jnp.where(exponent == 2.0, 2, 0))
    return jax.lax.switch(which, [lambda b: power(b, exponent), lambda b: b, lambda b: b * b], base)


usual_power.defjvp(_power_jvp(usual_power), symbolic_zeros=True)


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
