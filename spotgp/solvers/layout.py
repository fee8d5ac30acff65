"""How a light curve is laid in tiles, of which only near ones are correlated."""

from typing import NamedTuple

import numpy as np

_MOST_TILES = 10  # before it that a tile is correlated with
# of the time of a product of large tiles, per operation: a point's covariance, a step's overhead
_ENTRY = 700.0
_STEP = 1e6


class Layout(NamedTuple):
    """Number and length of the tiles that hold a light curve, and how many of them interact."""

    tiles: int
    size: int
    band: int


def bandwidth(time: np.ndarray, reach: float) -> int:
    """Largest number of points that follow a point within ``reach``; ``time`` is ascending.

    Counted from the lags themselves: no even or typical spacing is supposed.
    """
    following = np.searchsorted(time, time + reach, side="right") - 1
    return int(np.max(following - np.arange(time.size)))


def cost(layout: Layout) -> float:
    """Time of a likelihood and its gradient, in operations of a product of large tiles."""
    tiles, size, band = layout
    # triangular solves count double
    products = 3 * band**2 + 12 * band + 10
    column = products * size**3 * (1.0 + 16.0 / size) + _ENTRY * (band + 1) * size**2
    return tiles * (column + _STEP * (band + 1))


def fastest(n: int, width: int, *, dense: bool = True, unit: int = 1) -> Layout:
    """The fastest layout for ``n`` points of which ``width + 1`` neighbours are correlated.

    With a ``unit``, for groups of so many points, and the size of a tile is a number of groups.
    """
    width, found = max(width, 1), []
    for band in range(1, _MOST_TILES + 1):
        # tiles that are farther apart must be uncorrelated: band * size >= width
        least = -(-width // band)
        tiles = n // least
        if tiles > band:
            # all of them full, or a last one that is not
            found += [Layout(tiles, -(-n // tiles), band), Layout(-(-n // least), least, band)]
    if dense or not found:
        found.append(Layout(1, n, 0))
    return min(found, key=lambda layout: cost(layout._replace(size=layout.size * unit)))
