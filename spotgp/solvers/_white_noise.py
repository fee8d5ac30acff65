"""Sums over the data as functions of the white noise beyond the stated errors."""

import math

import jax.numpy as jnp
import numpy as np

_MOST_COEFFICIENTS = 512


def chebyshev_noise(low, high, most_noise):
    """Noise variances in which sums over the data are to be known, as many as are needed.

    The sums are linear in weights (r + noise) / (variance + noise), with the reference r of a group
    of data. In u = r / (r + noise) such a weight is 1 / (1 + (variance / r - 1) u): what has to be
    known of it are its values at Chebyshev points, few where variances differ little.

    Parameters
    ----------
    low, high
        Least and largest variance in each group of data, shape (groups,).
    most_noise
        Largest variance of white noise that will be asked for.

    Returns
    -------
    reference, noise
        Shapes (groups,) and (number, groups).
    """
    reference = np.sqrt(low * high)
    if most_noise == 0:
        return reference, np.zeros((1, reference.size))
    ratio = math.sqrt(np.max(high / low))
    slopes = np.array([ratio, 1.0 / ratio]) - 1.0
    least = float(np.min(reference))
    least = least / (least + most_noise)
    trial = np.linspace(-1.0, 1.0, 301)

    def weight(x):
        u = 0.5 * (1.0 + least + (1.0 - least) * x)
        return 1.0 / (1.0 + slopes[None, :] * u[:, None])

    number = 1
    while True:
        series = _to_chebyshev(number) @ weight(_points(number))
        found = np.cos(np.outer(np.arccos(trial), np.arange(number))) @ series
        if np.max(np.abs(found / weight(trial) - 1.0)) < 1e-12:
            break
        number += 1 + number // 4
        if number > _MOST_COEFFICIENTS:
            low, high = math.sqrt(np.min(low)), math.sqrt(np.max(high))
            raise ValueError(
                f"The errors of the data, {low:.3g} to {high:.3g}, differ too much for an "
                "approximate solver with a free jitter: give the jitter a prior with a lower upper "
                "end, or use another solver."
            )
    least = reference / (reference + most_noise)
    u = 0.5 * (1.0 + least + (1.0 - least) * _points(number)[:, None])
    return reference, reference * (1.0 / u - 1.0)


def _points(number):
    """Chebyshev points."""
    return np.cos(np.pi * (np.arange(number) + 0.5) / number)


def _to_chebyshev(number):
    """Matrix from values at the Chebyshev points to coefficients."""
    k = np.arange(number)
    matrix = np.cos(np.outer(k, np.pi * (k + 0.5) / number)) * (2.0 / number)
    matrix[0] *= 0.5
    return matrix


def as_series(tables: list) -> list[np.ndarray]:
    """Coefficients of Chebyshev series, given each part's values at the points in turn."""
    to_series = _to_chebyshev(len(tables))
    return [np.tensordot(to_series, np.stack(part), axes=1) for part in zip(*tables, strict=True)]


def at_noise(series, reference, most_noise, noise):
    """Values of the series with some white noise.

    Parameters
    ----------
    series
        Coefficients along the first axis of each, from `as_series`; groups along the second one.
    reference, most_noise
        Of the groups, and the largest noise that the series are made for.
    noise
        Variance of the noise.
    """
    number = series[0].shape[0]
    basis = [jnp.ones_like(reference)]
    if number > 1:
        least = reference / (reference + most_noise)
        x = (2.0 * reference / (reference + noise) - 1.0 - least) / (1.0 - least)
        basis.append(x)
        for _ in range(number - 2):
            basis.append(2.0 * x * basis[-1] - basis[-2])

    def value(part):
        total = 0.0
        for polynomial, coefficients in zip(basis, part, strict=True):
            more = (1,) * (coefficients.ndim - polynomial.ndim)
            total = total + polynomial.reshape(polynomial.shape + more) * coefficients
        return total

    return [value(part) for part in series]
