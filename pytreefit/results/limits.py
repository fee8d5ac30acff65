"""Marginals that pile up at a bound of their parameter: limits, not values with errors."""

import math
from typing import NamedTuple

import numpy as np

from ..model import lookup_parameter
from ..table import rounded

_LEVEL = 0.95
_BINS = 10  # between the bound and where 95 % of the draws are
_NEAR = math.exp(-1.0)  # of the peak: a density above it at the bound has not fallen off
_FAR = 0.05  # of the peak: a density above it at the last draw is cut off by a prior
_FEWEST = 1000  # draws that show a density
_EVEN = (0.03, 0.3)  # share of the nearest draws in the first tenth: 0.1 for a finite density
_RISE = math.e  # of the density, from which there is a second mode


class Limit(NamedTuple):
    """A limit at 95 %.

    Parameters
    ----------
    sign
        ``"<"`` above a lower bound, ``">"`` below an upper one.
    value
        Where 95 % of the draws are between the bound and it, in the parameter's unit.
    bound
        The bound at which the draws pile up.

    Examples
    --------
    >>> import jax
    >>> import numpyro.distributions as dist
    >>> from pytreefit import LogNormalLaw, Posterior, sample
    >>> law, half = LogNormalLaw(median=1.0, width=0.1), dist.TruncatedNormal(0.0, 0.1, low=0.0)
    >>> prior_alone = Posterior(law, lambda law: 0.0 * law.width, {"width": half})
    >>> samples = sample(prior_alone, jax.random.key(0), method="mixture", progress=False)
    >>> limit = samples.limits["width"]
    >>> limit.sign, round(limit.value, 1)  # 1.96 times 0.1
    ('<', 0.2)
    """

    sign: str
    value: float
    bound: float

    def __str__(self):
        return f"{self.sign} {rounded(self.value, abs(self.value - self.bound))} (95 %)"


def limits_of(model, columns, weights=None) -> dict[str, Limit]:
    """The limit of each number whose draws pile up at one bound, or mirror, of its parameter.

    ``columns`` holds draws by name, ``weights`` of the same shape one weight for each draw.
    """
    found = {}
    for name, draws in columns.items():
        info = lookup_parameter(model, name.partition("[")[0]).info
        x = np.ravel(np.asarray(draws, float))
        w = np.full(x.shape, 1.0) if weights is None else np.ravel(np.asarray(weights, float))
        if len(x) < _FEWEST or not np.isfinite(x).all():
            continue
        for bound in info.ends:
            above = bool(np.mean(x) > bound)
            sign, inwards = ("<", 1.0) if above else (">", -1.0)
            away = inwards * (x - bound)
            # draws on both sides of where a parameter is mirrored are cut off by nothing
            if np.min(away) >= 0.0 and _piles_up(away, w / w.sum()):
                value = bound + inwards * _quantile(away, w, _LEVEL)
                found[name] = Limit(sign, value, bound)
    return found


def _piles_up(away: np.ndarray, weights: np.ndarray) -> bool:
    """Whether a density is near its peak at 0, and falls off before the last of its draws."""
    end, last = _quantile(away, weights, _LEVEL), float(np.max(away))
    nearest = _quantile(away, weights, 1.0 - _LEVEL)
    if not nearest > 0.0:
        return False
    share = weights[away < 0.1 * nearest].sum() / (1.0 - _LEVEL)
    counts = np.histogram(away, _BINS, (0.0, end), weights=len(away) * weights)[0]
    lowest = np.minimum.accumulate(counts)[:-1]
    rises = counts[1:] > _RISE * lowest + 3.0 * np.sqrt(counts[1:])
    tail = len(away) * weights[away > 0.9 * last].sum() * end / (0.1 * last * _BINS)
    falls = counts[0] > _NEAR * counts.max() and tail < _FAR * counts.max()
    return bool(_EVEN[0] < share < _EVEN[1] and falls and not rises.any())


def _quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, level * below[-1])])
