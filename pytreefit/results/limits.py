"""Marginals that pile up at a bound of their parameter: limits, not values with errors."""

import math
from typing import NamedTuple

import numpy as np
import numpyro.distributions as dist

from ..model import lookup_parameter
from ..prior import prior_limits
from ..table import rounded

_ANGLES = ("deg", "rad")
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
        for bound in info.ends:
            if inwards := _piled_up(x, w, bound):
                value = bound + inwards * _quantile(inwards * (x - bound), w, _LEVEL)
                found[name] = Limit("<" if inwards > 0.0 else ">", value, bound)
    return found


def cut_off(priors, model, columns) -> list[str]:
    """A sentence for each number whose draws its prior cuts off, inside of the parameter's bounds.

    ``priors`` and ``columns`` hold priors and draws by name.
    """
    found = []
    for name, draws in columns.items():
        path = name.partition("[")[0]
        info, x = lookup_parameter(model, path).info, np.ravel(np.asarray(draws, float))
        for edge in _chosen_ends(priors[path]) if path in priors else ():
            if np.isclose(edge, info.ends).any() or not _piled_up(x, np.ones_like(x), edge):
                continue
            turns = info.unit in _ANGLES and not info.ends
            advice = "Shift the range (the angle goes on at its other end)" if turns else "Widen it"
            found.append(
                f"The draws of {name} pile up at {edge:g}, where its prior ends: there is more "
                f"beyond. {advice}, unless that is meant."
            )
    return found


def _chosen_ends(prior: dist.Distribution) -> tuple[float, ...]:
    """Ends of a prior that may cut off what is beyond them.

    Not the lower one of a log-uniform prior: of what is too small to be seen, it has to be there.
    """
    low, high = prior_limits(prior)
    return (high,) if isinstance(prior, dist.LogUniform) else (low, high)


def _piled_up(x: np.ndarray, w: np.ndarray, bound: float) -> float:
    """The direction from a bound into the draws that pile up at it; 0 where they do not."""
    if len(x) < _FEWEST or not (np.isfinite(x).all() and math.isfinite(bound)):
        return 0.0
    inwards = 1.0 if np.mean(x) > bound else -1.0
    away = inwards * (x - bound)
    # draws on both sides of where a parameter is mirrored are cut off by nothing
    return inwards if np.min(away) >= 0.0 and _piles_up(away, w / w.sum()) else 0.0


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
