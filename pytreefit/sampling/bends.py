r"""One-dimensional maps that make skew or heavy-tailed distributions nearly Gaussian.

.. math:: u = \xi + \eta \sinh\left(\frac{\operatorname{arsinh} w + \epsilon}{\delta}\right)

for each coordinate by itself (Jones & Pewsey 2009, Biometrika 96, 761). A bend is an array of the
rows xi, eta, epsilon, delta; eta = delta = 1 and epsilon = 0 is none.
"""

import numpy as np
from jaxtyping import Float

_MOST_SKEW, _MOST_TAIL = 3.0, 1.5
_QUANTILES = 200


def straight(dim: int) -> Float[np.ndarray, "4 dim"]:
    """The bend that changes nothing."""
    return np.repeat(np.array([[0.0], [1.0], [0.0], [1.0]]), dim, axis=1)


def bent(w, bend):
    """Coordinates u, where w is nearly Gaussian."""
    place, size, skew, tail = bend
    return place + size * np.sinh((np.arcsinh(w) + skew) / tail)


def unbent(u, bend):
    """The inverse of ``bent``."""
    place, size, skew, tail = bend
    return np.sinh(tail * np.arcsinh((u - place) / size) - skew)


def log_slopes(u, bend):
    """Logarithm of dw / du for each coordinate."""
    place, size, skew, tail = bend
    flat = (u - place) / size
    steep = tail * np.arcsinh(flat) - skew
    return np.logaddexp(steep, -steep) + np.log(0.5 * tail / size) - 0.5 * np.log1p(flat**2)


def fitted(u: Float[np.ndarray, " n"], weights=None) -> Float[np.ndarray, " 4"]:
    """The bend that makes quantiles of some numbers those of a Gaussian, by least squares."""
    from scipy.optimize import least_squares
    from scipy.special import ndtri

    order = np.argsort(u)
    weights = np.ones(len(u)) if weights is None else weights[order]
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    below = np.cumsum(weights) - 0.5 * weights
    quantiles = np.interp(levels, below / np.sum(weights), u[order])
    width = max(np.std(quantiles), 1e-300)
    gaussian = np.arcsinh(ndtri(levels))

    def off(p):
        there = p[0] + np.exp(p[1]) * np.sinh((gaussian + p[2]) / np.exp(p[3]))
        return (there - quantiles) / width

    start = [np.median(quantiles), np.log(width), 0.0, 0.0]
    limits = [-np.inf, -np.inf, -_MOST_SKEW, -_MOST_TAIL], [np.inf, np.inf, _MOST_SKEW, _MOST_TAIL]
    place, size, skew, tail = least_squares(off, start, bounds=limits).x
    return np.array([place, np.exp(size), skew, np.exp(tail)])
