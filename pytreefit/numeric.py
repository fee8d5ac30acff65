"""Small numerical pieces that packages of models share."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np


@functools.cache
def gauss_legendre(
    nodes: int, low: float = -1.0, high: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature between two limits, read-only."""
    node, weight = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * (high - low)
    node, weight = low + half * (node + 1.0), half * weight
    node.flags.writeable = weight.flags.writeable = False
    return node, weight


def stopped(model: Any) -> Any:
    """The same model, through which no gradients flow."""
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Within it JAX promotes dtypes and ranks as by default: for libraries that mix them."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
