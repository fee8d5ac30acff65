"""Gauss-Legendre quadrature: nodes and weights that are worked out once."""

from functools import lru_cache

import numpy as np


@lru_cache
def gauss_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on (-1, 1), NumPy arrays."""
    node, weight = np.polynomial.legendre.leggauss(nodes)
    node.flags.writeable = weight.flags.writeable = False
    return node, weight


@lru_cache
def sine_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre quadrature on (-1, 1) in the arcsine: it tames square roots at both ends."""
    node, weight = gauss_legendre(nodes)
    x, w = np.sin(0.5 * np.pi * node), 0.5 * np.pi * weight * np.cos(0.5 * np.pi * node)
    x.flags.writeable = w.flags.writeable = False
    return x, w


@lru_cache
def unit_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on (0, 1), NumPy arrays."""
    node, weight = gauss_legendre(nodes)
    return 0.5 * (node + 1.0), 0.5 * weight
