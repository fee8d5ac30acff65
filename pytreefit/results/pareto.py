"""Pareto-smoothed importance weights."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_SHORTEST_TAIL = 5
_ROUNDING = 1e-7  # log ratios that differ by less are called equal


class Smoothed(NamedTuple):
    """Importance weights that sum to 1, and the shape of the tail that they were smoothed by."""

    weights: Float[np.ndarray, " n"]
    pareto_k: float


def pareto_smoothed(log_ratios: Float[np.ndarray, " n"], efficiency: float = 1.0) -> Smoothed:
    r"""Importance weights whose largest are replaced by quantiles of a fitted Pareto distribution.

    The M largest ratios r, beyond the cutoff u, are taken to follow

    .. math::

        p(r \mid r > u) = \frac{1}{\sigma} \left(1 + k\,\frac{r - u}{\sigma}\right)^{-1 - 1/k}

    and the one of rank z among them becomes the quantile at :math:`(z - 1/2) / M`, but no larger
    than the largest ratio. The k is minus infinity where all weights are equal, infinity where
    there are too few draws to fit it. The logarithm of a ratio of densities is minus infinity where
    the weight is 0, not everywhere. With the ``efficiency``, the effective number of draws over
    their number, :math:`M = \min(n / 5, 3 \sqrt{n / \mathrm{efficiency}})`.

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao & Gabry (2024, JMLR 25, 72), with the estimator of Zhang &
    Stephens (2009, Technometrics 51, 316) for k and sigma.
    """
    logs = np.asarray(log_ratios, float)
    logs = logs - np.max(logs)
    number = logs.size
    length = int(np.ceil(min(0.2 * number, 3.0 * np.sqrt(number / efficiency))))
    length = min(length, np.count_nonzero(np.isfinite(logs)) - 1)
    order = np.argsort(logs, kind="stable")
    tail = order[number - length :]
    ratios = np.exp(logs)
    if logs[order[0]] > -_ROUNDING:
        k = -np.inf
    elif length < _SHORTEST_TAIL:
        k = np.inf
    elif logs[tail[0]] > -_ROUNDING:
        k = -np.inf  # as many equal ones as the tail is long: bounded
    else:
        cutoff = ratios[order[number - length - 1]]
        k, sigma = _fit(np.maximum(ratios[tail] - cutoff, np.finfo(float).tiny))
        levels = (np.arange(length) + 0.5) / length
        ratios[tail] = np.minimum(cutoff + _quantiles(levels, k, sigma), 1.0)
    return Smoothed(ratios / np.sum(ratios), float(k))


def _quantiles(level, k: float, sigma: float):
    exponent = -np.log1p(-level)
    return sigma * (exponent if abs(k) < 1e-12 else np.expm1(k * exponent) / k)


def _fit(excess: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """Shape k and scale sigma of a generalised Pareto distribution, from ascending excesses.

    The average of b = -k / sigma over its profile likelihood, on the quantiles of a prior that
    depends on the largest excess and the first quartile. The shape is drawn towards 1/2 with the
    weight of ten excesses.
    """
    number = excess.size
    points = 30 + int(np.sqrt(number))
    rank = np.arange(1, points + 1) - 0.5
    quartile = excess[int(0.25 * number + 0.5) - 1]
    b = 1.0 / excess[-1] + (1.0 - np.sqrt(points / rank)) / (3.0 * quartile)
    shape = np.mean(np.log1p(-b[:, None] * excess[None, :]), axis=1)
    profile = number * (np.log(-b / shape) - shape - 1.0)
    weight = np.exp(profile - np.max(profile))
    best = np.sum(b * weight) / np.sum(weight)
    k = float(np.mean(np.log1p(-best * excess)))
    return (number * k + 5.0) / (number + 10.0), -k / best
