"""Small functions whose values or derivatives need care."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def power(base, exponent):
    """Power of a base >= 0 to a scalar exponent >= 0, with finite derivatives at base = 0.

    The usual exponents 1 and 2 cost a multiplication instead of a logarithm and an exponential.
    """

    def general(b):
        positive = b > 0
        raised = jnp.exp(exponent * jnp.log(jnp.where(positive, b, 1.0)))
        return jnp.where(positive, raised, jnp.where(exponent == 0, 1.0, 0.0).astype(b.dtype))

    which = jnp.where(exponent == 1.0, 1, jnp.where(exponent == 2.0, 2, 0))
    return jax.lax.switch(which, [general, lambda b: b, lambda b: b * b], base)


def _power_jvp(primals, tangents):
    base, exponent = primals
    base_dot, exponent_dot = tangents
    value = power(base, exponent)
    positive = base > 0
    safe = jnp.where(positive, base, 1.0)
    dot = jnp.zeros_like(value)
    if not isinstance(base_dot, jax.custom_derivatives.SymbolicZero):
        slope = jnp.where(positive, exponent * value / safe, (exponent == 1.0).astype(value.dtype))
        dot = dot + slope * base_dot
    # only where it is asked for: a fixed exponent costs no logarithm
    if not isinstance(exponent_dot, jax.custom_derivatives.SymbolicZero):
        dot = dot + jnp.where(positive, value * jnp.log(safe), 0.0) * exponent_dot
    return value, dot


power.defjvp(_power_jvp, symbolic_zeros=True)
