"""Pictures of the spots of a light curve: maps, the butterfly diagram, an animation.

No figure touches pyplot or the configuration of matplotlib. Each function returns a Figure, which
has ``savefig``; to have pyplot show it, pass ``figure=plt.figure(layout="constrained")``.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit.extend import as_data

from .plot import new_figure
from .simulation.simulate import LightcurveModel, radii
from .simulation.spots import support

# of pictures of the surface
_LOOK = {
    "origin": "lower",
    "cmap": "afmhot",
    "vmin": 0.0,
    "vmax": 1.0,
    "interpolation": "bilinear",
}
_LIGHT = 0.80  # place of the unspotted surface in the colour map


def plot_spot_map(lc: LightcurveModel, time: float, *, pixels: int = 400, figure: Any = None):
    """Draw the spots at one time: on the visible disk, and on a map of the whole surface.

    On the disk the rotation axis points up, its visible end (for an inclination below pi/2)
    towards us, and the surface moves to the right. Meridians, every 30 deg, turn with the equator;
    the thick one faced the observer at time 0. On the map longitude 0 faces the observer, and what
    is behind the limb is shaded. Where spots overlap they are darker, as in the light curve.

    Parameters
    ----------
    lc : LightcurveModel
        The light curve and its spots.
    time : float
        Time, days.
    pixels : int
        Pixels across the disk.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure.

    Examples
    --------
    >>> from spotgp import *
    >>> model = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> lc = LightcurveModel.from_spot_model(model, nspot=9, tsim=20, tsamp=0.5)
    >>> figure = plot_spot_map(lc, time=10.0, pixels=50)
    >>> len(figure.axes)  # the disk and the map
    2
    """
    star = _Star(lc)
    figure = new_figure(figure, (9.6, 3.7))
    disk, surface = figure.subplots(1, 2, width_ratios=(1.0, 1.75))
    _Disk(disk, star, pixels).update(time)
    disk.set_title(f"t = {time:.2f} d")
    _draw_surface(surface, star, time)
    return figure


def plot_butterfly(lc: LightcurveModel, *, figure: Any = None):
    """Draw the butterfly diagram: the latitude of every spot against time.

    The disks' areas go with those of the spots at their largest, their colour with the rotation
    period at their latitude. A line shows how long a spot is there; times outside of the light
    curve are shaded.

    Parameters
    ----------
    lc : LightcurveModel
        The light curve and its spots.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure.

    Examples
    --------
    >>> from spotgp import *
    >>> model = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> lc = LightcurveModel.from_spot_model(model, nspot=9, tsim=20, tsamp=0.5)
    >>> figure = plot_butterfly(lc)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['latitude (deg)', 'rotation period (d)']
    """
    star = _Star(lc)
    figure = new_figure(figure, (8.0, 4.2))
    ax = figure.subplots()
    latitude, area = np.degrees(star.latitude), np.sin(star.spots.alpha_max) ** 2
    look = {"color": "0.7", "alpha": min(1.0, 300.0 / max(latitude.size, 1)), "zorder": 1}
    ax.hlines(latitude, star.first, star.last, lw=0.6, **look)
    size = 120.0 * area / max(area.max(initial=0.0), 1e-300)
    period = 2.0 * np.pi / star.omega
    look = {"cmap": "viridis", "edgecolors": "black", "linewidths": 0.4, "zorder": 2}
    shown = ax.scatter(star.t_peak, latitude, s=size, c=period, **look)
    figure.colorbar(shown, ax=ax, label="rotation period (d)", pad=0.02)
    if latitude.size:
        begin, end = star.first.min(), star.last.max()
    else:
        begin, end = star.t.min(), star.t.max()
    for low, high in ((begin, star.t.min()), (star.t.max(), end)):
        if low < high:
            ax.axvspan(low, high, color="0.93", zorder=0, lw=0)
    ax.axhline(0.0, color="0.5", lw=0.6, ls="--", zorder=0)
    ax.set(xlim=(begin, end), ylim=(-90, 90), yticks=range(-90, 91, 30))
    ax.set(xlabel="time (d)", ylabel="latitude (deg)")
    if latitude.size:
        _size_legend(ax, area)
    return figure


def animate(
    lc: LightcurveModel,
    path: str | Path | None = None,
    *,
    times: Any = None,
    frames: int = 100,
    fps: float = 20.0,
    pixels: int = 200,
    figure: Any = None,
):
    """Animate the rotating star, with its light curve below.

    Parameters
    ----------
    lc : LightcurveModel
        The light curve and its spots.
    path : str or Path, optional
        Where to save it, as a GIF (needs Pillow, which comes with matplotlib).
    times : array (nframes,), optional
        Time of each picture, days; by default ``frames`` even ones from the first time of the
        light curve to the last.
    frames : int
        Number of pictures, at least 2.
    fps : float
        Pictures per second.
    pixels : int
        Pixels across the disk.
    figure : matplotlib Figure, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        The animation; unless ``path`` is given, keep it and call its ``save`` or ``to_jshtml``.

    Raises
    ------
    ValueError
        If there are fewer than 2 pictures, or the path is not that of a GIF.
    """
    from matplotlib.animation import FuncAnimation, PillowWriter

    star, times = _Star(lc), _picture_times(lc, times, frames)
    if path is not None and Path(path).suffix.lower() != ".gif":
        raise ValueError(f"path = {str(path)!r} is not that of a GIF: end it in .gif.")
    figure = new_figure(figure, (4.6, 5.6))
    above, below = figure.subplots(2, 1, height_ratios=(2.6, 1.0))
    disk, curve = _Disk(above, star, pixels), _RunningCurve(below, star, times)
    # the layout is found once: axes that move from picture to picture are hard to look at
    disk.update(times[0])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def draw(time):
        return [*disk.update(time), *curve.update(time)]

    movie = FuncAnimation(figure, draw, frames=times, interval=1000.0 / fps, blit=False)
    if path is not None:
        movie.save(path, writer=PillowWriter(fps=fps), dpi=100)
    return movie


def _picture_times(lc: LightcurveModel, times, frames: int) -> np.ndarray:
    """Times of the pictures, at least two of them."""
    if times is None:
        if frames < 2:
            raise ValueError(f"frames = {frames} makes no animation: at least 2.")
        return np.linspace(lc.t.min(), lc.t.max(), frames)
    times = as_data("times", times, "d")
    if times.ndim != 1 or times.size < 2:
        raise ValueError(f"times has shape {times.shape} but must be one-dimensional, at least 2.")
    return times


class _RunningCurve:
    """The light curve in one Axes, drawn black up to a time that moves on."""

    def __init__(self, ax, star: "_Star", times):
        order = np.argsort(star.t)
        self.t, self.flux = star.t[order], star.flux[order]
        ax.plot(self.t, self.flux, color="0.75", lw=1.0)
        (self.past,) = ax.plot([], [], color="black", lw=1.2)
        (self.now,) = ax.plot([], [], "o", color="tab:red", ms=5)
        ax.set_xlim(min(self.t[0], times.min()), max(self.t[-1], times.max()))
        ax.set(xlabel="time (d)", ylabel="relative flux")

    def update(self, time):
        gone = self.t <= time
        self.past.set_data(self.t[gone], self.flux[gone])
        self.now.set_data([time], [np.interp(time, self.t, self.flux)])
        return [self.past, self.now]


class _Star:
    """NumPy arrays for the pictures, without the spots of weight 0."""

    def __init__(self, lc: LightcurveModel):
        spots, visibility = lc.spots, lc.model.visibility
        real = np.asarray(spots.weight) != 0
        self.lc = lc
        self.t, self.flux = np.asarray(lc.t, float), np.asarray(lc.flux, float)
        self.spots = jax.tree.map(lambda column: column[real], spots.with_stretches())
        columns = (spots.t_peak, spots.latitude, spots.longitude, spots.weight)
        self.t_peak, self.latitude, self.longitude, self.weight = (
            np.asarray(column, float)[real] for column in columns
        )
        self.omega = np.asarray(visibility.omega0(spots.latitude), float)[real]
        self.equator = 2.0 * np.pi / float(visibility.peq)
        self.inc = float(visibility.inc)
        ages = np.asarray(support(lc.model.envelope.of_one_spot()), float)
        self.first, self.last = self.t_peak + ages[:, None] * np.asarray(self.spots.stretch)

    def at(self, time):
        """Unit vectors (n, 3) in the star's frame, angular radii and weights of the spots there."""
        age = time - self.t_peak
        ages = jnp.asarray(age)[:, None]
        alpha = np.asarray(radii(self.lc.model.envelope, self.spots, ages), float)[:, 0]
        there = alpha > 0
        longitude = (self.longitude + self.omega * age)[there]
        latitude = self.latitude[there]
        return unit_vectors(latitude, longitude), alpha[there], self.weight[there]

    def darkness(self, directions, time, pixel: float):
        """What the spots take away at unit vectors (..., 3), their rims softened over a pixel."""
        dark = np.zeros(directions.shape[:-1])
        for center, alpha, weight in zip(*self.at(time), strict=True):
            distance = np.arccos(np.clip(directions @ center, -1.0, 1.0))
            dark += weight * np.clip((alpha - distance) / pixel + 0.5, 0.0, 1.0)
        return dark


def _brightness(visibility, mu):
    """Brightness of the surface relative to the disk's centre; of finite spots, their star's."""
    law = visibility.powers_of_mu().items()
    value = sum(np.asarray(b) * np.asarray(mu, float) ** (power - 1.0) for power, b in law)
    return value / sum(float(b) for _, b in law)


def unit_vectors(latitude, longitude):
    """Cartesian unit vectors (..., 3) on the star: the axis is z, longitude 0 faces along x."""
    latitude, longitude = np.broadcast_arrays(latitude, longitude)
    across = np.cos(latitude)
    return np.stack(
        [across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def to_sky(inc: float) -> np.ndarray:
    """The matrix from the star's axes to the sky's: right, up, towards us."""
    cos_i, sin_i = np.cos(inc), np.sin(inc)
    return np.array([[0.0, 1.0, 0.0], [-cos_i, 0.0, sin_i], [sin_i, 0.0, cos_i]])


class _Disk:
    """The visible disk in one Axes, to be drawn again and again."""

    def __init__(self, ax, star: _Star, pixels: int):
        from matplotlib.patches import Circle

        self.star, self.pixel = star, 2.0 / pixels
        x = (np.arange(pixels) + 0.5) * self.pixel - 1.0
        x, y = np.meshgrid(x, x)
        # pixels just outside look as the limb does: a circle cuts the picture
        z = np.sqrt(np.maximum(1.0 - x**2 - y**2, 1e-4))
        self.bright = _brightness(star.lc.model.visibility, jnp.asarray(z))
        cos_i, sin_i = np.cos(star.inc), np.sin(star.inc)
        self.directions = np.stack([sin_i * z - cos_i * y, x, cos_i * z + sin_i * y], axis=-1)
        self.to_sky = to_sky(star.inc)

        self.image = ax.imshow(np.full((pixels, pixels), np.nan), extent=(-1, 1, -1, 1), **_LOOK)
        self.image.set_clip_path(Circle((0, 0), 1.0, transform=ax.transData))
        thin = {"color": "black", "lw": 0.5, "alpha": 0.35}
        self.meridians = [
            ax.plot([], [], **(thin | {"lw": 1.4 if k == 0 else 0.5}))[0] for k in range(12)
        ]
        longitude = np.linspace(0.0, 2.0 * np.pi, 181)
        for degrees in range(-60, 61, 30):
            ax.plot(*self._visible(np.radians(degrees), longitude), **thin)
        ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        ax.set_axis_off()

    def _visible(self, latitude, longitude):
        x, y, z = np.moveaxis(unit_vectors(latitude, longitude) @ self.to_sky.T, -1, 0)
        return np.where(z > 0, x, np.nan), np.where(z > 0, y, np.nan)

    def update(self, time):
        dark = self.star.darkness(self.directions, time, self.pixel)
        shown = _LIGHT * self.bright * np.clip(1.0 - dark, 0.0, 1.0 / _LIGHT)
        self.image.set_data(shown)
        latitude = np.linspace(-0.5, 0.5, 91) * np.pi
        for k, line in enumerate(self.meridians):
            longitude = k * np.pi / 6.0 + self.star.equator * time
            line.set_data(*self._visible(latitude, longitude))
        return [self.image, *self.meridians]


def _draw_surface(ax, star: _Star, time):
    latitude = np.radians(np.arange(-89.75, 90.0, 0.5))
    longitude = np.radians(np.arange(-179.75, 180.0, 0.5))
    directions = unit_vectors(latitude[:, None], longitude[None, :])
    dark = star.darkness(directions, time, np.radians(0.5))
    shown = _LIGHT * np.clip(1.0 - dark, 0.0, 1.0 / _LIGHT)
    ax.imshow(shown, extent=(-180, 180, -90, 90), **_LOOK)
    toward = np.array([np.sin(star.inc), 0.0, np.cos(star.inc)])
    mu = directions @ toward
    x, y = np.degrees(longitude), np.degrees(latitude)
    ax.contourf(x, y, mu, levels=[-1.0, 0.0], colors=["black"], alpha=0.35)
    if mu.min() < 0:
        ax.contour(x, y, mu, levels=[0.0], colors="white", linewidths=1.0)
    ax.set(xticks=range(-180, 181, 60), yticks=range(-90, 91, 30), ylabel="latitude (deg)")
    ax.set_xlabel("longitude from the observer's meridian (deg)")
    ax.grid(color="black", lw=0.4, alpha=0.3)


def _size_legend(ax, area):
    """Three sizes with the angular radii that they stand for, or one if all are alike."""
    radii = np.degrees(np.arcsin(np.sqrt([area.max()])))
    if area.min() < 0.5 * area.max():
        radii = radii * np.array([1.0, 0.7, 0.4])
    for radius in radii:
        size = 120.0 * math.sin(math.radians(radius)) ** 2 / area.max()
        look = {"s": size, "facecolors": "none", "edgecolors": "black", "linewidths": 0.6}
        ax.scatter([], [], label=f"{radius:.1f}\N{DEGREE SIGN}", **look)
    ax.legend(title="radius", loc="upper right", fontsize="small", title_fontsize="small")
