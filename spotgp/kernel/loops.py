"""A sum of functions whose number, and that of the rows they are wanted at, may be traced.

JAX differentiates loops of unknown length in forward mode only. Here each step is computed again on
the way back, so that reverse mode works and nothing is kept of the steps.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp


def sum_at_rows(prepare: Callable, arguments, parts, number, rows, several: tuple[int, ...] = ()):
    """The sum over k of ``prepare(arguments, k)(row)`` at the first rows, and zeros at the others.

    The k are the first ``parts`` integers from 0, the rows the first ``number`` of ``rows``, which
    has shape (r, n); both may be traced. Of functions with several values, shape ``(*several, n)``
    at a row, it has the shape ``(r, *several, n)``. Derivatives are those with respect to the
    floating-point arrays of ``arguments``, any PyTree.
    """
    arrays, rest = eqx.partition(arguments, eqx.is_inexact_array)
    others, static = eqx.partition(rest, eqx.is_array)
    return _rows(
        (prepare, static, several), arrays, (others, parts, number, jax.lax.stop_gradient(rows))
    )


def _value(how, arrays, fixed):
    (prepare, static, several), (others, parts, number, rows) = how, fixed
    arguments = eqx.combine(arrays, others, static)

    def part(k, total):
        function = prepare(arguments, k)
        return jax.lax.fori_loop(0, number, lambda j, t: t.at[j].add(function(rows[j])), total)

    start = jnp.zeros((rows.shape[0], *several, rows.shape[1]), rows.dtype)
    return jax.lax.fori_loop(0, parts, part, start)


_rows = jax.custom_vjp(_value, nondiff_argnums=(0,))


def _forward(how, arrays, fixed):
    return _value(how, arrays, fixed), (arrays, fixed)


def _backward(how, saved, cotangent):
    (prepare, static, _), (arrays, fixed) = how, saved
    others, parts, number, rows = fixed
    plus = functools.partial(jax.tree.map, jnp.add)

    def part(k, total):
        def prepared(arrays):
            arguments = eqx.combine(arrays, others, static)
            return eqx.filter_closure_convert(prepare(arguments, k), rows[0])

        function, pull = eqx.filter_vjp(prepared, arrays)
        own, rest = eqx.partition(function, eqx.is_inexact_array)

        def row(j, back):
            through = jax.vjp(lambda own: eqx.combine(own, rest)(rows[j]), own)[1]
            return plus(back, through(cotangent[j])[0])

        back = jax.lax.fori_loop(0, number, row, jax.tree.map(jnp.zeros_like, own))
        return plus(total, pull(back)[0])

    total = jax.lax.fori_loop(0, parts, part, jax.tree.map(jnp.zeros_like, arrays))
    return total, None


_rows.defvjp(_forward, _backward)
