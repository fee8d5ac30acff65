"""Cosine and sine together, an order of magnitude faster than XLA's own on a CPU.

With ``PYTREEFIT_PLAIN_XLA=1`` they are XLA's own.
"""

import math

import jax
import jax.numpy as jnp

from pytreefit.extend import plain

# Taylor series for a half angle within a quarter of a turn: below rounding in double precision
_SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(10)]
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(11)]
# a turn in two parts, so that a whole number of the first is exact
_TURN = 6.28125, 0.001935307179586476925286766559


def _series(coefficients, x):
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def reduced(angle):
    """The angle within half a turn of 0."""
    turns = jnp.floor(angle * (0.5 / math.pi) + 0.5)
    return (angle - turns * _TURN[0]) - turns * _TURN[1]


def cos_sin(angle):
    """Cosine and sine of angles in radians, any shape."""
    return (jnp.cos(angle), jnp.sin(angle)) if plain() else _by_series(angle)


@jax.custom_jvp
def _by_series(angle):
    half = 0.5 * reduced(angle)
    squared = half * half
    sin, cos = half * _series(_SINE, squared), _series(_COSINE, squared)
    return 1.0 - 2.0 * sin * sin, 2.0 * sin * cos


@_by_series.defjvp
def _by_series_jvp(primals, tangents):
    cos, sin = _by_series(*primals)
    return (cos, sin), (-sin * tangents[0], cos * tangents[0])
