"""How a light curve is laid in blocks, of which only neighbours are correlated."""

from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """Number and length of the blocks that hold a light curve."""

    blocks: int
    size: int


def bandwidth(time: np.ndarray, reach: float) -> int:
    """Largest number of points that follow a point within ``reach``; ``time`` is ascending.

    Counted from the lags themselves: no even or typical spacing is supposed.
    """
    following = np.searchsorted(time, time + reach, side="right") - 1
    return int(np.max(following - np.arange(time.size)))


def lay_out(time: np.ndarray, reach: float) -> Layout:
    """The layout of fewest operations for a covariance that vanishes beyond ``reach`` days.

    Parameters
    ----------
    time
        Times in days, ascending.
    reach
        Largest lag with a covariance.

    Returns
    -------
    Layout
        A single block where a band saves nothing.
    """
    n = time.size
    blocks = n // max(bandwidth(time, reach), 1)
    if blocks < 2:
        return Layout(1, n)
    # no shorter than the band: points of blocks that are not neighbours are then uncorrelated
    size = -(-n // blocks)
    operations = blocks * size**3 / 3.0 + (blocks - 1) * 3.0 * size**3
    return Layout(blocks, size) if operations < n**3 / 3.0 else Layout(1, n)
