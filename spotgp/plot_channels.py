"""Figures of a star's channels: all of them over each other, and a planet's folded velocity."""

from typing import Any

import numpy as np

from pytreefit.extend import as_data, as_number, check_choice, check_kind

from .gp.channel_solver import ChannelSolver
from .gp.mean import SumMean
from .plot import new_figure


def _points(gp: ChannelSolver, channel: str):
    """Of each instrument of a channel: name, days, values less its offset, and errors."""
    data, offsets = gp.data, gp.offsets()
    number = data.channels.index(channel)
    time = np.asarray(data.time, float) + float(data.epoch)
    for k, name in enumerate(data.instruments):
        own = (np.asarray(data.channel) == number) & (np.asarray(data.instrument) == k)
        if own.any():
            value = np.asarray(data.value, float)[own] - offsets[name][0]
            yield name, time[own], value, np.asarray(data.error, float)[own]


def _predicted(gp: ChannelSolver, channel: str, t):
    """What the spots do to a channel, the mean function, and the prediction's error.

    The error is that of the channel with its offset: data tell the sum of both far better than
    each by itself.
    """
    spots = np.asarray(gp.predict(t, channel, parts="spots").mean)
    function = gp.process.means.get(channel)
    mean = np.zeros(len(t)) if function is None else np.broadcast_to(function(t), t.shape)
    variance = gp.predict(t, channel).variance
    return spots, np.asarray(mean), np.sqrt(np.asarray(variance))


def plot_channels(gp: ChannelSolver, theta=None, *, t=None, figure: Any = None):
    r"""Draw all channels over each other: data less offsets, prediction with 1 and 2 sigma bands.

    What the spots do to a velocity by their causes, rotation and convection, is drawn as lines of
    their own, and so is the mean function, such as planets. Trends are not drawn.

    Parameters
    ----------
    gp
        The process.
    theta
        Parameters, see `ChannelSolver.values`.
    t
        Days at which to draw the predictions; by default 1,000 times over the data.
    figure
        Where to draw; by default a new figure.

    Raises
    ------
    TypeError
        For what is no `ChannelSolver`.
    """
    check_kind("plot_channels: gp", gp, ChannelSolver)
    gp = gp if theta is None else gp.at(gp.values(theta))
    time = np.asarray(gp.data.time, float) + float(gp.data.epoch)
    t = np.linspace(time[0], time[-1], 1000) if t is None else as_data("t", t, "d", ndim=1)
    names = gp.data.channels
    figure = new_figure(figure, (9.0, 2.2 * len(names) + 0.6))
    panels = np.atleast_1d(figure.subplots(len(names), 1, sharex=True))
    for ax, name in zip(panels, names, strict=True):
        spots, mean, error = _predicted(gp, name, t)
        for k in (2, 1):
            low, high = (spots + mean + sign * k * error for sign in (-1, 1))
            ax.fill_between(t, low, high, color="C0", alpha=0.25, lw=0)
        ax.plot(t, spots + mean, "C0", lw=1.0, label="prediction")
        for color, cause in enumerate(gp.process.channels[name].causes, 1):
            part = np.asarray(gp.predict(t, name, parts=cause).mean)
            if np.any(part != 0.0):
                ax.plot(t, part, f"C{color}", lw=0.8, label=cause)
        if name in gp.process.means:
            ax.plot(t, mean, "C4", lw=0.8, label="mean")
        for k, (instrument, at, value, error) in enumerate(_points(gp, name)):
            style = {"fmt": "os^Dv"[k % 5], "ms": 2.5, "lw": 0.5, "c": "0.25"}
            ax.errorbar(at, value, error, **style, label=instrument, zorder=3)
        unit = gp.process.channels[name].unit
        ax.set_ylabel(f"{name} [{unit}]" if unit else name)
        ax.legend(fontsize="x-small", ncols=3, loc="upper right")
        ax.margins(x=0)
    panels[-1].set_xlabel("time [d]")
    return figure


def _part(gp: ChannelSolver, channel: str, part: str | None):
    """The mean function to fold, one of a sum; ValueError where it must or cannot be chosen."""
    mean = gp.process.means[channel]
    if not isinstance(mean, SumMean):
        if part is not None:
            raise ValueError(
                f"plot_folded: part = {part!r} chooses one mean of a SumMean, but that of "
                f"{channel!r} is a {type(mean).__name__}: leave it out."
            )
        return mean
    names = tuple(mean.parts)
    if part is None and len(names) > 1:
        raise ValueError(
            f"plot_folded: the mean of {channel!r} is the sum of {', '.join(names)}, which have "
            f"no period in common. Choose the one to fold, such as part={names[0]!r}."
        )
    if part is not None:
        check_choice("plot_folded: part", part, names)
    return mean.parts[names[0] if part is None else part]


def _of_part(gp: ChannelSolver, channel: str, part):
    """Of each instrument: name, days, values less all that is predicted but a part of the mean.

    Then their errors, without those of what is taken off and with them.
    """
    offsets = gp.offsets()
    for name, time, value, error in _points(gp, channel):
        whole = gp.predict(time, channel, instrument=name)
        left = value + offsets[name][0] - np.asarray(whole.mean) + np.asarray(part(time))
        yield name, time, left, error, np.hypot(error, np.sqrt(np.asarray(whole.variance)))


def plot_folded(
    gp: ChannelSolver,
    channel: str,
    period,
    theta=None,
    *,
    part: str | None = None,
    zero=0.0,
    figure: Any = None,
):
    """Draw a channel without its spots, folded with a period: a planet's velocity.

    Offsets, trends and the other parts of the mean are taken off too. Errors hold the white noise
    alone; what is taken off is uncertain too, and grey bars show that.

    Parameters
    ----------
    gp
        The process.
    channel
        Whose data are drawn, one with a mean function.
    period
        Days, > 0.
    theta
        Parameters, see `ChannelSolver.values`.
    part
        Name of the part that is folded, where the mean is a `SumMean` of several.
    zero
        Time of phase 0, days, such as that of a conjunction.
    figure
        Where to draw; by default a new figure.

    Raises
    ------
    ValueError, TypeError
        For a channel without a mean, a sum without ``part``, and a period that is not positive.
    """
    check_kind("plot_folded: gp", gp, ChannelSolver)
    check_choice("plot_folded: channel", channel, tuple(gp.process.means))
    period, zero = as_number("plot_folded: period", period, "d"), as_number("zero", zero, "d")
    if not period > 0:
        raise ValueError(f"plot_folded: period = {period:g} must be > 0.")
    gp = gp if theta is None else gp.at(gp.values(theta))
    own = _part(gp, channel, part)
    figure = new_figure(figure, (6.0, 4.0))
    ax = figure.subplots()
    for k, (instrument, time, left, error, wide) in enumerate(_of_part(gp, channel, own)):
        phase = (time - zero) / period % 1.0
        ax.errorbar(phase, left, wide, fmt="none", ecolor="0.75", lw=0.6, zorder=1)
        style = {"fmt": "os^Dv"[k % 5], "ms": 4, "lw": 0.9, "c": f"C{k}"}
        ax.errorbar(phase, left, error, **style, label=instrument, zorder=3)
    fine = np.linspace(0.0, 1.0, 400)
    curve = np.asarray(own(zero + period * fine))
    ax.plot(fine, np.broadcast_to(curve, fine.shape), "0.2", lw=1.2, zorder=2)
    unit = gp.process.channels[channel].unit
    label = f"{channel} without spots" if part is None else f"{channel} of {part} alone"
    label += f" [{unit}]" if unit else ""
    ax.set(xlabel=f"phase (period {period:.4g} d)", ylabel=label, xlim=(0.0, 1.0))
    ax.legend(fontsize="small")
    return figure
