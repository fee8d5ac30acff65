"""Sliders: one for each number of a posterior's free parameters."""

import math
from typing import NamedTuple

import numpy as np
import numpyro.distributions as dist

from ..model import lookup_parameter
from ..posterior import Posterior
from ..prior import quantiles, support_limits

_TAIL = 0.02  # of a prior without ends, that is beyond the slider on either side
_EDGE = 1e-4  # of a slider, by which it stays inside of a prior with ends
_FAR = 2.0  # distance of a prior's end from what is likely, in units of that range
_WIDE = 100.0  # ratio of the ends from which a positive parameter is moved by its logarithm


class Slider(NamedTuple):
    """One number that can be moved, between two ends.

    Parameters
    ----------
    name
        The parameter's path, of an entry of an array with its index: ``disk.phase.values[2]``.
    path, index
        Where the number is in the model.
    unit, doc
        Of the parameter.
    low, high
        Ends of the slider. The prior may reach farther.
    log
        Whether it moves by the logarithm.
    """

    name: str
    path: str
    index: tuple[int, ...]
    unit: str
    doc: str
    low: float
    high: float
    log: bool

    def position(self, value: float) -> float:
        """Where a value is: 0 at the low end, 1 at the high end, which it does not pass."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = self._scaled(min(max(value, self.low), self.high))
        return (value - low) / (high - low)

    def value(self, position: float) -> float:
        """The value at a position from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = low + position * (high - low)
        return math.exp(value) if self.log else value

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def sliders_of(posterior: Posterior) -> tuple[Slider, ...]:
    """The sliders of all free numbers; their ends are the priors', or what these make likely."""
    return tuple(
        _slider(posterior, name, index)
        for name, shape in posterior.shapes.items()
        for index in np.ndindex(shape)
    )


def plain_prior(prior: dist.Distribution) -> dist.Distribution:
    """The prior of one number behind that of an array of independent ones."""
    while isinstance(prior, dist.Independent | dist.ExpandedDistribution):
        prior = prior.base_dist  # pyright: ignore[reportAttributeAccessIssue]
    return prior


def _slider(posterior: Posterior, name: str, index: tuple[int, ...]) -> Slider:
    prior, info = posterior.priors[name], lookup_parameter(posterior.model, name).info
    low, high = _ends(name, prior, float(posterior.initial[name][index]), index)
    plain = isinstance(plain_prior(prior), dist.LogUniform | dist.LogNormal)
    log = low > 0.0 and (plain or high > _WIDE * low)
    full = name + "".join(f"[{k}]" for k in index)
    slider = Slider(full, name, index, info.unit, info.doc, low, high, log)
    # an end itself is no start of a fit
    return slider._replace(low=slider.value(_EDGE), high=slider.value(1.0 - _EDGE))


def _ends(name: str, prior, start: float, index) -> tuple[float, float]:
    limits = [_entry(end, prior.event_shape, index) for end in support_limits(prior)]
    try:
        shares = (_TAIL, 1.0 - _TAIL)
        tails = [
            _entry(quantiles(name, prior, np.full(prior.event_shape, share)), (), index)
            for share in shares
        ]
    except ValueError:
        width = abs(start) or 1.0
        tails = [start - width, start + width]
    inside = tails[1] - tails[0]
    # ends far beyond all that is likely would leave no room on the slider
    low, high = (
        end if abs(end - tail) < _FAR * inside else tail
        for end, tail in zip(limits, tails, strict=True)
    )
    if low == 0.0 and isinstance(plain_prior(prior), dist.LogNormal):
        low = tails[0]
    if low == 0.0 and 0.0 < start < high / _WIDE:
        low = start / _WIDE
    return low, high


def _entry(values, shape, index) -> float:
    values = np.broadcast_to(np.asarray(values, float), shape or np.shape(values))
    return float(values[index] if values.ndim else values)
