"""Figures of light curves, kernels and spectra; matplotlib is imported when one is drawn.

No figure touches pyplot or the configuration of matplotlib. Each function returns a Figure, which
has ``savefig``; to have pyplot show it, pass ``figure=plt.figure(layout="constrained")``.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pytreefit.extend import as_data

from .gp.solver import GPSolver
from .io.observations import TimeSeriesData
from .kernel.analytic import AnalyticKernel

_LONG_GAP = 10.0  # cadences


def new_figure(figure, size):
    """The given figure, or a new one of this size in inches, outside of pyplot."""
    if figure is not None:
        return figure
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _percent(flux):
    return 100.0 * np.asarray(flux)


def plot_light_curve(
    gp: GPSolver,
    theta=None,
    *,
    t=None,
    parts: bool | None = None,
    figure: Any = None,
):
    r"""Draw the data, the process given the data with its 1 and 2 :math:`\sigma` band, residuals.

    Parameters
    ----------
    gp
        The process.
    theta
        Parameters, see `GPSolver.values`.
    t
        Days at which to draw the prediction; by default 1,000 times over the data.
    parts
        Whether to draw the terms' predictions in panels of their own; by default if there are any.
    figure
        Where to draw; by default a new figure.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t = np.arange(9.0)
    >>> gp = GPSolver(t, 1.0 + 1e-3 * np.sin(t), 1e-4, star)
    >>> figure = plot_light_curve(gp, t=np.arange(0.0, 8.0, 0.1))
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['flux [%]', 'residual [%]']
    """
    own, terms = gp.data, gp.process.terms
    time = np.asarray(own.time, float) + float(own.epoch)
    flux, error = np.asarray(own.flux, float), np.asarray(own.flux_err, float)
    t = np.linspace(time[0], time[-1], 1000) if t is None else as_data("t", t, "d", ndim=1)
    names = ("spots", *terms) if parts or (parts is None and terms) else ()
    figure = new_figure(figure, (9.0, 4.5 + 1.5 * len(names)))
    heights = [3.0] + [1.5] * len(names) + [1.0]
    data, *panels, residual = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    points = {"fmt": ".", "ms": 2, "lw": 0.5, "c": "0.3", "zorder": 1}
    data.errorbar(time, _percent(flux), _percent(error), **points)
    _draw_prediction(data, t, gp.predict(t, theta), "C0", "flux [%]", bands=(2, 1))
    data.ticklabel_format(axis="y", useOffset=False)
    for ax, name in zip(panels, names, strict=True):
        _draw_prediction(ax, t, gp.predict(t, theta, parts=name), "C1", f"{name} [%]")
    at_data = np.asarray(gp.predict(None, theta).mean)
    residual.plot(time, _percent(flux - at_data), ".", ms=2, c="0.3")
    residual.axhline(0.0, color="C0", lw=0.8)
    residual.set(ylabel="residual [%]", xlabel="time [d]")
    residual.margins(x=0)
    return figure


def _draw_prediction(ax, t, prediction, color: str, label: str, bands=(1,)):
    """A mean and its bands of so many standard deviations."""
    mean, variance = (np.asarray(x) for x in prediction)
    for k in bands:
        low, high = (_percent(mean + sign * k * np.sqrt(variance)) for sign in (-1, 1))
        ax.fill_between(t, low, high, color=color, alpha=0.25, lw=0)
    ax.plot(t, _percent(mean), color, lw=1.0)
    ax.set_ylabel(label)


def plot_kernel(
    kernel: AnalyticKernel,
    *,
    max_lag: float | None = None,
    data: TimeSeriesData | None = None,
    components: int = 4,
    figure: Any = None,
):
    """Draw the correlation against the lag, its harmonics, and the data's autocorrelation.

    Parameters
    ----------
    kernel
        The kernel.
    max_lag
        Days; by default the kernel's support.
    data
        A light curve whose autocorrelation function is drawn too.
    components
        Number of harmonics to draw.
    figure
        Where to draw; by default a new figure.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> figure = plot_kernel(AnalyticKernel(star))
    >>> float(figure.axes[0].get_xlim()[1])  # days: the plateau and both ramps
    14.0
    """
    reach = float(kernel.model.kernel_support()) if max_lag is None else float(max_lag)
    lag = np.linspace(0.0, reach, 800)
    value = np.asarray(kernel.kernel(lag))
    figure = new_figure(figure, (8.0, 4.0))
    ax = figure.subplots()
    orders = range(components) if kernel.orders is None else kernel.orders[:components]
    parts = np.asarray(kernel.kernel_components(lag, orders)) if components else []
    for order, part in zip(orders, parts, strict=True):
        ax.plot(lag, part / value[0], lw=0.8, ls="--", label=f"n = {order}")
    ax.plot(lag, value / value[0], "k", lw=1.5, label="kernel")
    if data is not None:
        acf = data.autocorrelation(max_lag=reach)
        level = np.asarray(kernel.kernel_components(lag, (0,)))[0] / value[0]
        # the data's mean was taken out: the constant part of the kernel is not in them
        ax.plot(acf.lag, acf.acf * (1.0 - level[0]) + np.interp(acf.lag, lag, level), "C3", lw=1.0,
                label="data")  # fmt: skip
    ax.axhline(0.0, color="0.7", lw=0.6, zorder=0)
    ax.set(xlabel="lag [d]", ylabel=r"$k(\tau) / k(0)$", xlim=(0.0, reach))
    ax.legend(frameon=False)
    return figure


def plot_psd(
    kernel: AnalyticKernel,
    *,
    max_frequency: float | None = None,
    data: TimeSeriesData | None = None,
    components: int = 4,
    figure: Any = None,
):
    """Draw the power spectral density, its harmonics, and the data's periodogram.

    Parameters
    ----------
    kernel
        The kernel.
    max_frequency
        Cycles per day; by default six times the rotation frequency.
    data
        A light curve of relative flux (`normalize`) whose periodogram is drawn too.
    components
        Number of harmonics to draw.
    figure
        Where to draw; by default a new figure.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> figure = plot_psd(AnalyticKernel(star, orders=(0, 1, 2)))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['n = 0', 'n = 1', 'n = 2', 'kernel']
    """
    top = 6.0 / float(kernel.model.peq) if max_frequency is None else float(max_frequency)
    omega = np.linspace(0.0, 2.0 * math.pi * top, 600)
    frequency, power = (np.asarray(x) for x in kernel.compute_psd(omega))
    figure = new_figure(figure, (8.0, 4.0))
    ax = figure.subplots()
    if data is not None:
        f, p = periodogram_of(data, top)
        ax.plot(f, p, color="0.75", lw=0.6, label="data", zorder=0)
    orders = range(components) if kernel.orders is None else kernel.orders[:components]
    _, parts = kernel.psd_components(omega, orders)
    for order, part in zip(orders, np.asarray(parts), strict=True):
        ax.plot(frequency, part, lw=0.8, ls="--", label=f"n = {order}")
    ax.plot(frequency, power, "k", lw=1.5, label="kernel")
    ax.set(
        xlabel="frequency [1 / d]",
        ylabel=r"power [d]",
        yscale="log",
        xlim=(0.0, top),
        ylim=(1e-6 * power.max(), 3.0 * power.max()),
    )
    ax.legend(frameon=False)
    return figure


def periodogram_of(data: TimeSeriesData, top: float):
    """Frequencies in 1 / d and power spectral density of a light curve of relative flux, days."""
    from astropy.timeseries import LombScargle

    flux = data.to("").flux
    frequency = np.arange(1.0, math.ceil(top * data.span)) / data.span
    power = LombScargle(data.time, flux - flux.mean()).power(frequency, normalization="psd")
    return frequency, power * days_per_point(data)


def days_per_point(data: TimeSeriesData) -> float:
    """The mean step in time without long gaps, in which there is no power."""
    step = np.diff(data.time)
    return float(np.mean(step[~(step > _LONG_GAP * data.cadence)]))


def plot_periods(periods: Mapping[str, Any], *, figure: Any = None):
    """Draw the distribution of periods over the draws of a posterior, others' periods marked.

    Parameters
    ----------
    periods
        By name, either draws (an array), or ``(value, uncertainty)`` of another method.
    figure
        Where to draw; by default a new figure.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(0).normal(5.0, 0.1, 500)
    >>> figure = plot_periods({"spotgp": draws, "Lomb-Scargle": (5.2, 0.3)})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['spotgp', 'Lomb-Scargle']
    """
    figure = new_figure(figure, (7.0, 3.5))
    ax = figure.subplots()
    for k, (name, value) in enumerate(periods.items()):
        value = np.ravel(as_data(f"periods[{name!r}]", value, "d"))
        if value.size > 2:
            ax.hist(
                value, bins="auto", density=True, histtype="stepfilled", alpha=0.4, color=f"C{k}"
            )
            ax.plot([], [], color=f"C{k}", lw=5, alpha=0.4, label=name)
        else:
            ax.axvline(value[0], color=f"C{k}", ls="--", lw=1.2, label=name)
            if value.size > 1:
                ax.axvspan(value[0] - value[1], value[0] + value[1], color=f"C{k}", alpha=0.08)
    ax.set(xlabel="period [d]", yticks=[])
    ax.legend(frameon=False)
    return figure
