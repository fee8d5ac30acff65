"""Figures of checks; matplotlib is imported when one is drawn."""

from typing import Any

import numpy as np

from pytreefit.extend import check_kind

from ..plot import new_figure
from .check import Check

_ROTATIONS = 5.5  # of the autocorrelation that are drawn
_HARMONICS = 4.0


def plot_check(found: Check, *, figure: Any = None):
    """Draw the data beside what the model predicts for them, see `check`.

    Autocorrelation and periodogram, each with the median and the 90 % range of the draws; the
    standardised residuals of each point predicted from all others, over time and their
    distribution; and where the data are in the distribution of each statistic, in units of the
    distance from its median to the end of the 90 % range: what fails is red.

    Parameters
    ----------
    found
        The result of `check`.
    figure
        Where to draw; by default a new figure.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=20.0, tau_spot=10.0),
    ...     visibility=VisibilityFunction(peq=10.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> noise = np.random.default_rng(0).normal(size=30)
    >>> gp = GPSolver(np.arange(30.0), 1.0 + 0.01 * noise, 1e-4, star)  # errors far too small
    >>> figure = plot_check(check(gp, draws=100))
    >>> figure.get_suptitle()
    'The model fails'
    """
    check_kind("found", found, Check)
    figure = new_figure(figure, (9.0, 8.5))
    curves, table = figure.subfigures(2, 1, height_ratios=(2.0, 1.2))
    grid = curves.add_gridspec(2, 4)
    _autocorrelation(curves.add_subplot(grid[0, :2]), found)
    _periodogram(curves.add_subplot(grid[0, 2:]), found)
    time, residual = found.residuals
    ax = curves.add_subplot(grid[1, :3])
    ax.plot(time, residual, ".", ms=3, c="0.3")
    ax.axhline(0.0, c="C0", lw=0.8)
    ax.set(xlabel="time [d]", ylabel="left-out residual")
    ax.margins(x=0)
    _histogram(curves.add_subplot(grid[1, 3], sharey=ax), residual)
    _statistics(table.subplots(), found)
    figure.suptitle("The model fails" if found.failing else "Nothing fails", fontsize="medium")
    return figure


def _band(ax, x, rows):
    """The first row, and median and 90 % range of the others."""
    low, middle, high = np.quantile(rows[1:], [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(x, low, high, color="C0", alpha=0.25, lw=0)
    ax.plot(x, middle, "C0", lw=1.0, label="model")
    ax.plot(x, rows[0], "0.2", lw=1.0, label="data")


def _autocorrelation(ax, found: Check):
    curves = found.curves
    inside = curves.lag <= min(_ROTATIONS * found.period, 0.5 * curves.lag[-1])
    inside &= np.isfinite(curves.autocorrelation[0])
    _band(ax, curves.lag[inside], curves.autocorrelation[:, inside])
    ax.axhline(0.0, c="0.7", lw=0.6, zorder=0)
    ax.set(xlabel="lag [d]", ylabel="autocorrelation")
    ax.margins(x=0)
    ax.legend(frameon=False)


def _periodogram(ax, found: Check):
    curves, period = found.curves, found.period
    inside = (curves.frequency > 0) & (curves.frequency * period <= _HARMONICS)
    _band(ax, curves.frequency[inside], curves.power[:, inside])
    for harmonic in (1, 2, 3):
        if harmonic / period < curves.frequency[-1]:
            ax.axvline(harmonic / period, c="0.7", lw=0.6, zorder=0)
    ax.set(xlabel="frequency [1/d]", ylabel="power, relative to the mean", yscale="log")
    ax.margins(x=0)


def _histogram(ax, residual):
    edges = np.linspace(-5.0, 5.0, 41)
    ax.hist(
        np.clip(residual, -5.0, 5.0), edges, orientation="horizontal", density=True, color="0.6"
    )
    middle = 0.5 * (edges[1:] + edges[:-1])
    ax.plot(np.exp(-0.5 * middle**2) / np.sqrt(2.0 * np.pi), middle, "C0")
    ax.set_xticks([])
    ax.tick_params(labelleft=False)


def _statistics(ax, found: Check):
    """Where the data are in the draws of each statistic."""
    low, middle, high = np.quantile(found.draws, [0.05, 0.5, 0.95], axis=0)
    width = np.where(found.data > middle, high - middle, middle - low)
    # a statistic that is the same in all draws has no width
    away = np.divide(found.data - middle, width, out=np.zeros_like(middle), where=width > 0.0)
    place = np.clip(away, -4.0, 4.0)
    rows = np.arange(len(found.names))[::-1]
    colors = ["C3" if name in found.failing else "0.2" for name in found.names]
    ax.axvspan(-1.0, 1.0, color="C0", alpha=0.25, lw=0)
    ax.axvline(0.0, c="C0", lw=1.0)
    ax.scatter(place, rows, c=colors, zorder=3)
    ax.set_yticks(rows, found.names)
    ax.set(xlim=(-4.3, 4.3), xlabel="data's place in the draws (shaded: 90 %)")
