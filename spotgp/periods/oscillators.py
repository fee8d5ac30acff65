r"""Likelihoods of many simple rotation models at once, in time linear in the number of points.

Each model is a sum of stochastic oscillators: one without a period, for how much of the star is
spotted, one at the period and one at half of it,

.. math:: k(\tau) = \sum_{j=0}^{2} v_j\, e^{-c \tau} \bigl(\cos d_j \tau
          + \tfrac{c}{d_j} \sin d_j \tau\bigr), \qquad
          d_j = \frac{2 \pi j}{P}, \quad c = \frac{1}{T},

smooth enough at lag 0 that a light curve of high signal to noise does not look like a random walk.
They share one Cholesky recursion along the points.

References
----------
Foreman-Mackey, Agol, Ambikasaran & Angus 2017, AJ 154, 220.
"""

from typing import NamedTuple

import numpy as np

_SLOW = 0.05  # d_0 in units of c: near enough to 0


class Models(NamedTuple):
    """Rotation models.

    Parameters
    ----------
    period, decay : array (models,)
        P and T in days.
    variance : array (3, models)
        Of the oscillator without a period, that at the period and that at its half.
    """

    period: np.ndarray
    decay: np.ndarray
    variance: np.ndarray


def log_likelihoods(time, value, noise, models: Models) -> np.ndarray:
    """Log-likelihood of each model, for points in order of time with some white noise's variance.

    Shapes (n,), (n,), (n,) and (models,).
    """
    rate, turn = 1.0 / models.decay, 2.0 * np.pi / models.period
    angular = np.stack([_SLOW * rate, turn, 2.0 * turn])
    cosine, sine = models.variance, models.variance * rate / angular
    total, t = np.sum(cosine, axis=0), time - time[0]
    step = np.diff(t, prepend=0.0)
    size, states = rate.size, 2 * len(cosine)
    carried, mean = np.zeros((states, states, size)), np.zeros((states, size))
    known, weight, left = np.ones(size), np.zeros((states, size)), np.zeros(size)
    found = np.zeros(size)
    for k in range(t.size):
        fade = np.exp(-rate * step[k])
        c, s = np.cos(angular * t[k]), np.sin(angular * t[k])
        row = np.concatenate([cosine * c + sine * s, cosine * s - sine * c])
        column = np.concatenate([c, s])
        carried = (carried + known * weight[:, None] * weight[None]) * fade**2
        mean = (mean + weight * left) * fade
        seen = np.einsum("im,ijm->jm", row, carried)
        known = noise[k] + total - np.sum(row * seen, axis=0)
        weight = (column - seen) / known
        left = value[k] - np.sum(row * mean, axis=0)
        found -= 0.5 * (left**2 / known + np.log(known))
    return found - 0.5 * t.size * np.log(2.0 * np.pi)
