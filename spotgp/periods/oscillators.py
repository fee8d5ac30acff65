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
    # many models share what takes longest: sines of a period, decays of a time
    pairs, of = np.unique([models.period, models.decay], axis=1, return_inverse=True)
    of = of.ravel()
    turn, rate = 2.0 * np.pi / pairs[0], 1.0 / pairs[1]
    angular = np.stack([_SLOW * rate, turn, 2.0 * turn])
    cosine = np.ascontiguousarray(models.variance)
    sine = cosine * (rate / angular)[:, of]
    total, t = np.sum(cosine, axis=0), time - time[0]
    step = np.diff(t, prepend=0.0)
    size, states = of.size, 2 * len(cosine)
    carried, product = np.zeros((2, states, states, size))
    mean, weight = np.zeros((2, states, size))
    known, left, found = np.ones(size), np.zeros(size), np.zeros(size)
    for k in range(t.size):
        fade = np.exp(-rate * step[k])[of]
        column = np.concatenate([np.cos(angular * t[k]), np.sin(angular * t[k])])[:, of]
        c, s = column[:3], column[3:]
        row = np.concatenate([cosine * c + sine * s, cosine * s - sine * c])
        carried += np.multiply(weight[:, None], known * weight, out=product)
        carried *= fade**2
        mean = (mean + weight * left) * fade
        seen = np.sum(np.multiply(carried, row, out=product), axis=1)
        known = noise[k] + total - np.sum(row * seen, axis=0)
        weight = (column - seen) / known
        left = value[k] - np.sum(row * mean, axis=0)
        found -= 0.5 * (left**2 / known + np.log(known))
    return found - 0.5 * t.size * np.log(2.0 * np.pi)
