"""Figures of how the pixels of noise are correlated."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arrays import real_array
from .images import new_figure


def plot_correlation(correlations: Any, *, figure: Any = None):
    """Draw how pixels are correlated: a map for each, and the mean at each distance.

    Parameters
    ----------
    correlations : array or dict of arrays (2 k + 1, 2 k + 1)
        Of `residual_correlation` or `pixel_correlation`, by the names in the legend.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure, which is returned.

    Raises
    ------
    ValueError
        For arrays that are not square.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import pixel_correlation
    >>> noise = np.random.default_rng(0).normal(size=(15, 15))
    >>> figure = plot_correlation({"white": pixel_correlation(noise, reach=3)})
    >>> len(figure.axes)  # the map, the means at each distance, the colour bar
    3
    """
    maps = correlations if isinstance(correlations, Mapping) else {"": correlations}
    tables = {name: np.asarray(real_array("plot_correlation", maps[name])) for name in maps}
    for name, table in tables.items():
        if table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise ValueError(
                f"plot_correlation: {name!r} has shape {table.shape}, not (2 k + 1, 2 k + 1)."
            )
    figure = new_figure(figure, (3.6 * (len(tables) + 1), 3.2), "constrained")
    *panels, curve = figure.subplots(1, len(tables) + 1)
    shown = None
    for ax, (name, table) in zip(panels, tables.items(), strict=True):
        reach = len(table) // 2
        edges = (-reach - 0.5, reach + 0.5) * 2
        shown = ax.imshow(table, origin="lower", extent=edges, vmin=-1, vmax=1, cmap="RdBu_r")
        ax.set(title=name, xlabel="lag in x (pixels)")
        y, x = np.indices(table.shape) - reach
        distance = np.round(np.hypot(x, y)).astype(int)
        steps = np.arange(reach + 1)
        means = [np.nanmean(table[distance == step]) for step in steps]
        curve.plot(steps, means, marker="o", ms=3, label=name)
    panels[0].set_ylabel("lag in y (pixels)")
    figure.colorbar(shown, ax=panels, label="correlation")
    curve.axhline(0.0, color="0.7", lw=0.8, zorder=0)
    curve.set(xlabel="distance (pixels)", ylabel="mean correlation")
    if any(tables):
        curve.legend()
    return figure
