"""Sums over the data as functions of the white noise beyond the stated errors."""

import math

import jax.numpy as jnp
import numpy as np

_MOST_COEFFICIENTS = 512
_FEW = 16  # that are added up one by one


def chebyshev_noise(low, high, most_noise):
    """Noise variances in which sums over the data are to be known, as many as are needed.

    The sums are linear in weights (r + noise) / (variance + noise), with the reference r of a group
    of data. What has to be known are their values at Chebyshev points: of noise / (r + noise) with
    the middle of the variances as r, few where these differ little, or of log(1 + noise / r) with
    the least of them, fewer where they differ by much.

    Parameters
    ----------
    low, high
        Least and largest variance in each group of data, shape (groups,).
    most_noise
        Largest variance of white noise that will be asked for.

    Returns
    -------
    reference, noise, logarithmic
        Shapes (groups,) and (number, groups), and which of the two.
    """
    references = np.sqrt(low * high), low
    if most_noise == 0:
        return references[0], np.zeros((1, low.size)), False
    at, ratio = np.linspace(-1.0, 1.0, 301), float(np.max(high / low))

    def enough(number, logarithmic):
        least = np.min(references[logarithmic], keepdims=True)
        # the nearest pole is that of the least variance, or of one in between
        spread = np.geomspace(1.0, ratio, 9) * (1.0 if logarithmic else ratio**-0.5)

        def weight(x):
            noise = _noise_at(x, least, most_noise, logarithmic)
            return (least + noise) / (least * spread + noise)

        series = _to_chebyshev(number) @ weight(_points(number))
        found = np.cos(np.outer(np.arccos(at), np.arange(number))) @ series
        wanted = weight(at)
        # a weight of 1e-2 and less matters little beside those of about 1
        return np.max(np.abs(found - wanted) / np.maximum(wanted, 1e-2)) < 1e-12

    number = 1
    while number <= _MOST_COEFFICIENTS:
        for logarithmic, reference in enumerate(references):
            if enough(number, logarithmic):
                noise = _noise_at(_points(number), reference, most_noise, logarithmic)
                return reference, noise, bool(logarithmic)
        number += 1 + number // 4
    first, last = math.sqrt(np.min(low)), math.sqrt(np.max(high))
    raise ValueError(
        f"The errors of the data, {first:.3g} to {last:.3g}, differ too much for an approximate "
        "solver with a free jitter: give the jitter a prior with a lower upper end, or use another "
        "solver."
    )


def _noise_at(x, reference, most_noise, logarithmic):
    """Noise of each group, from 0 at x = -1 to the largest at 1; shape (number, groups)."""
    part = 0.5 * (1.0 + x[:, None])
    if logarithmic:
        return reference * np.expm1(part * np.log1p(most_noise / reference))
    return reference * part / (reference / most_noise + (1.0 - part))


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


def at_noise(series, reference, most_noise, logarithmic, noise):
    """Values of the series with some white noise.

    Parameters
    ----------
    series
        Coefficients along the first axis of each, from `as_series`; groups along the second one.
    reference, most_noise, logarithmic
        Of the groups, the largest noise that the series are made for, and in what they are.
    noise
        Variance of the noise.
    """
    number = series[0].shape[0]
    basis = [jnp.ones_like(reference)]
    if number > 1:
        ratio = noise * (reference + most_noise) / (most_noise * (reference + noise))
        logarithms = jnp.log1p(noise / reference) / jnp.log1p(most_noise / reference)
        x = 2.0 * jnp.where(logarithmic, logarithms, ratio) - 1.0
        basis.append(x)
        for _ in range(number - 2):
            basis.append(2.0 * x * basis[-1] - basis[-2])

    def value(part):
        def wide(polynomial):
            return polynomial.reshape(polynomial.shape + (1,) * (part.ndim - 1 - polynomial.ndim))

        if number > _FEW:
            return jnp.sum(jnp.stack([wide(polynomial) for polynomial in basis]) * part, axis=0)
        total = wide(basis[0]) * part[0]
        for polynomial, coefficients in zip(basis[1:], part[1:], strict=True):
            total = total + wide(polynomial) * coefficients
        return total

    return [value(part) for part in series]
