"""Sums over the data as functions of the white noise beyond the stated errors."""

import math

import jax.numpy as jnp
import numpy as np

_MOST_COEFFICIENTS = 512


def chebyshev_noise(variance, most_noise, typical):
    """Noise variances at Chebyshev points of log(1 + noise / typical), as many as are needed."""
    if most_noise == 0:
        return np.zeros(1)
    top = math.log1p(most_noise / typical)
    extremes = np.array([np.min(variance), np.max(variance)])
    trial = typical * np.expm1(np.linspace(0.0, top, 301))
    number = 1
    while True:
        x = 0.5 * top * (1.0 + np.cos(np.pi * (np.arange(number) + 0.5) / number))
        noise = typical * np.expm1(x)

        def ratio(noise):
            return (typical + noise)[:, None] / (extremes[None, :] + noise[:, None])

        series = _to_chebyshev(number) @ ratio(noise)
        y = 2.0 * np.log1p(trial / typical) / top - 1.0
        found = np.cos(np.outer(np.arccos(np.clip(y, -1.0, 1.0)), np.arange(number))) @ series
        if np.max(np.abs(found / ratio(trial) - 1.0)) < 1e-12:
            return noise
        number *= 2
        if number > _MOST_COEFFICIENTS:
            low, high = np.sqrt(extremes)
            raise ValueError(
                f"The errors of the data, {low:.3g} to {high:.3g}, differ too much for an "
                "approximate solver with a free jitter: give the jitter a prior with a lower upper "
                "end, or use another solver."
            )


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


def at_noise(series, variance, most_noise, noise):
    """Typical variance with this noise, and the values of the series there.

    Parameters
    ----------
    series
        Coefficients along the first axis of each, from `as_series`.
    variance, most_noise
        A typical one of the data, and the largest noise that the series are made for.
    noise
        Variance of the noise.
    """
    number = series[0].shape[0]
    polynomials = [jnp.ones_like(noise)]
    if number > 1:
        largest = jnp.log1p(most_noise / variance)
        x = 2.0 * jnp.log1p(noise / variance) / largest - 1.0
        polynomials.append(x)
        for _ in range(number - 2):
            polynomials.append(2.0 * x * polynomials[-1] - polynomials[-2])
    basis = jnp.stack(polynomials)
    return variance + noise, [jnp.tensordot(basis, part, axes=1) for part in series]
