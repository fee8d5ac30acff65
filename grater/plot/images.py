"""Figures of images, fits and phase functions; matplotlib is imported when one is drawn.

No figure touches pyplot or the configuration of matplotlib. Each function returns a Figure, which
has ``savefig``; to have pyplot show it, pass ``figure=plt.figure(layout="compressed")``.
"""

import math
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pytreefit import Model, jit
from pytreefit.extend import check_kind

from .._arrays import real_array
from ..data.observation import Observation
from ..dust.bands import Bands
from ..scene import Scene
from ..view.view import Grid

Stretch = Literal["asinh", "log", "linear"]
_MASKED = "0.6"  # grey


def plot_fit(
    scene: Scene,
    observation: Observation,
    *,
    stretch: Stretch = "asinh",
    limits: tuple[float, float] | None = None,
    n_sigma: float = 5.0,
    cmap: str = "inferno",
    titles: tuple[str, str, str] = ("data", "model", "residual / noise"),
    figure: Any = None,
):
    r"""Draw data, model and residual / noise side by side.

    The third panel shows :math:`(D - M) / w` with the width :math:`w` of the scene's noise, for
    `GaussianNoise` its scale times the error map. Masked pixels of the data and the residuals are
    grey. From data with starlight the best is subtracted.

    Parameters
    ----------
    scene, observation
        The model (also a Fit, for its best model) and the data, an `Observation`.
    stretch : {"asinh", "log", "linear"}
        Brightness scale of data and model, the same for both; "asinh" is linear within the noise
        and logarithmic above.
    limits, n_sigma
        Brightness at the ends of the colour scale; the residuals' ends at ``n_sigma``.
    cmap, titles
        Colour map of data and model; titles of the three panels.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new figure, which is returned.

    Raises
    ------
    ValueError
        If the scene is not on the observation's grid or ``stretch`` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Observation, Scene
    >>> noise = np.random.default_rng(0).normal(size=(15, 15))
    >>> data = Observation(noise, 1.0, pixel_scale=0.2, distance=60.0)
    >>> disk = Disk(40, 60, 0, alpha_in=5, alpha_out=-5, scale_height=2)
    >>> figure = plot_fit(Scene(disk, grid=data.grid, accuracy=1e-2), data)
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['data', 'model', 'residual / noise']
    """
    scene = getattr(scene, "model", scene)  # of a Fit
    images, grid = residual_of(scene, observation), observation.seen(scene).grid
    look = {"stretch": stretch, "limits": limits, "n_sigma": n_sigma, "cmap": cmap}
    look |= {"titles": titles, "figure": figure}
    return draw_fit(images, grid, observation.unit, **look)


def draw_fit(
    images,
    grid,
    unit,
    *,
    titles,
    stretch="asinh",
    limits=None,
    n_sigma=5.0,
    cmap="inferno",
    figure=None,
):
    """The three panels of `plot_fit`, of data, model, residual / noise and noise."""
    from matplotlib.colors import Normalize

    data, model, residual, error = images
    norm = norm_of(stretch, data[np.isfinite(data)], error[np.isfinite(data)], limits)

    figure = new_figure(figure, (10.2, 4.3))
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    _panel(axes[0], data, grid, norm, cmap)
    shown = _panel(axes[1], model, grid, norm, cmap)
    spread = Normalize(-n_sigma, n_sigma)
    residuals = _panel(axes[2], residual, grid, spread, "RdBu_r")
    _scale_bar(axes[0], grid)
    _north_east_arrows(axes[0], grid)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title)
        ax.label_outer()
    look = {"orientation": "horizontal", "extend": "both", "pad": 0.02}
    bar = figure.colorbar(shown, ax=axes[:2], shrink=0.6, aspect=35, **look)
    _label_brightness(bar, norm, unit)
    bar = figure.colorbar(residuals, ax=axes[2], shrink=0.9, aspect=24, **look)
    bar.set_label("(data \N{MINUS SIGN} model) / noise")
    return figure


def residual_of(scene, observation):
    """Data, model, residual in units of the noise, and noise; NaN where pixels are masked."""
    check_kind("plot_fit: observation", observation, Observation)
    return tuple(map(np.asarray, compared(scene, observation)))


def compared(scene, observation):
    """What `residual_of` returns, of traced scenes too."""
    observation = observation.without_starlight(scene)
    seen = observation.seen(scene)
    image = seen.image()
    data, model, error, used = observation.compared(image)
    width = seen.noise.width(model, error)
    data = jnp.where(used, data, jnp.nan)
    return data, image, (data - model) / width, width


def plot_image(
    source: Observation | Scene | Any,
    *,
    grid: Grid | None = None,
    stretch: Stretch = "asinh",
    limits: tuple[float, float] | None = None,
    cmap: str = "inferno",
    title: str = "",
    unit: str = "",
    figure: Any = None,
):
    """Draw one image with a scale bar, a colour bar, and arrows to the North and to the East.

    It is drawn as the detector has it. Where North is not up, the axes are "to the left" and
    "upwards".

    Parameters
    ----------
    source : Observation, Scene or array (ny, nx)
        What to draw. Masked pixels and NaN are grey.
    grid : Grid, optional
        The pixel grid of an array.
    stretch, limits, cmap, figure
        As for `plot_fit`.
    title, unit : str
        Title of the figure; unit of an array or a scene, for the colour bar.

    Raises
    ------
    ValueError
        If an array comes without its grid, or this has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Grid
    >>> figure = plot_image(np.eye(9), grid=Grid((9, 9), 0.1, 60.0), title="a diagonal")
    >>> figure.axes[0].get_title()
    'a diagonal'
    """
    image, noise, grid = _pixels_of(source, grid)
    if isinstance(source, Observation):
        unit = unit or source.unit
    norm = norm_of(stretch, image[np.isfinite(image)], noise, limits)
    figure = new_figure(figure, (5.0, 4.4))
    ax = figure.subplots()
    shown = _panel(ax, image, grid, norm, cmap)
    _scale_bar(ax, grid)
    _north_east_arrows(ax, grid)
    ax.set_title(title)
    _label_brightness(figure.colorbar(shown, ax=ax, extend="both"), norm, unit)
    return figure


def _pixels_of(source, grid):
    """Image, errors (None: not known), and grid of what is drawn."""
    if isinstance(source, Scene):
        return np.asarray(source.image()), None, source.grid
    if isinstance(source, Observation):
        used = np.asarray(source.used)
        image = np.where(used, np.asarray(source.image), np.nan)
        return image, np.asarray(source.error)[used], source.grid
    image = np.asarray(real_array("plot_image: source", source))
    if not isinstance(grid, Grid) or grid.shape != image.shape:
        raise ValueError(
            "plot_image needs an Observation, a Scene, or a 2-d array with its grid=; got an array "
            f"of shape {image.shape} and grid={grid}."
        )
    return image, None, grid


def plot_phase_function(
    source: Any, path: str = "disk.phase", *, log: bool = True, label: str = "", figure: Any = None
):
    """Draw a phase function, relative to its value at 90 deg, against the scattering angle.

    Angles that a flat disk of this inclination does not show are shaded: there the curve is an
    extrapolation.

    Parameters
    ----------
    source : pytreefit.Samples, Model or Fit
        Posterior draws, for the median with its 68 % and 95 % bands, or one model, for a line.
    path : str
        Where the phase function is in the model, such as "disk.phase" or "disk.inner.phase". Of
        `Bands` all are drawn. Of `Polarized` it is that of the polarised intensity; that of the
        total intensity is one level below, at "disk.phase.phase".
    log, label : bool, str
        Whether the vertical axis is logarithmic; name of the curve in the legend.
    figure : matplotlib Figure or SubFigure, optional
        Where to draw; by default a new one. A second curve is drawn over the first.
    """
    model = getattr(source, "model", source)
    draws = hasattr(source, "models")
    source = source if draws else model
    if isinstance(model, Model) and isinstance(phase := model.get(path), Bands):
        for name in phase.names:
            look = {"log": log, "label": name, "figure": figure}
            figure = plot_phase_function(source, f"{path}.bands.{name}", **look)
        return figure
    angle = np.linspace(0.0, 180.0, 361)
    cosine = jnp.asarray(np.cos(np.deg2rad(angle)), dtype=float)
    values, inclination = (np.asarray(x) for x in _phase_curves(source, path, cosine))
    values = np.atleast_2d(values)
    low95, low68, middle, high68, high95 = np.percentile(values, [2.5, 16, 50, 84, 97.5], axis=0)

    figure = new_figure(figure, (5.6, 4.0))
    ax = figure.axes[0] if figure.axes else figure.subplots()
    name = f"{label}: " if label and draws else label
    (line,) = ax.plot(angle, middle, label=f"{name}median" if draws else label or None, zorder=3)
    if draws:
        color = line.get_color()
        ax.fill_between(angle, low68, high68, color=color, alpha=0.35, lw=0, label=f"{name}68 %")
        ax.fill_between(angle, low95, high95, color=color, alpha=0.15, lw=0, label=f"{name}95 %")
    if np.isfinite(inclination).all() and len(ax.lines) == 1:
        inclination = float(np.median(inclination))
        tilt = min(inclination, 180.0 - inclination)
        hidden = {"color": "0.85", "lw": 0, "zorder": 0}
        ax.axvspan(0.0, 90.0 - tilt, label="not probed", **hidden)
        ax.axvspan(90.0 + tilt, 180.0, **hidden)
    if log and (middle > 0).all():
        _set_log_scale(ax)
    ax.set(
        xlim=(0.0, 180.0),
        xticks=range(0, 181, 30),
        xlabel="scattering angle (deg)",
        ylabel="phase function relative to 90 deg",
    )
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return figure


def _set_log_scale(ax):
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


@jit
def _phase_curves(source, path, cosine):
    """Phase function relative to 90 deg, and inclination of its disk (NaN without one)."""
    draws = hasattr(source, "models")
    model = source.models() if draws else source

    def curve(phase):
        return phase(cosine) / phase(jnp.zeros((1,), cosine.dtype))

    names, inclination = path.split("."), getattr(model, "inclination", jnp.nan)
    for k in range(1, len(names)):  # down to the disk
        inclination = getattr(model.get(".".join(names[:k])), "inclination", inclination)
    values = (eqx.filter_vmap(curve) if draws else curve)(model.get(path))
    return values, inclination


def new_figure(figure, size, layout="compressed"):
    """The figure, or a new one where there is none."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout) if figure is None else figure


def norm_of(stretch, values, noise, limits):
    """Brightness scale from the values in use and, where it is known, their noise."""
    from matplotlib.colors import AsinhNorm, LogNorm, Normalize

    high = float(np.percentile(values, 99.8))
    if not high > 0:
        high = float(np.max(np.abs(values))) or 1.0
    width = high / 30.0 if noise is None else float(np.clip(np.median(noise), high / 1e3, high / 3))
    low = 0.0 if noise is None else -width
    if stretch == "asinh":
        low, high = limits or (low, high)
        return AsinhNorm(width, low, high)
    if stretch == "linear":
        low, high = limits or (low, high)
        return Normalize(low, high)
    if stretch == "log":
        low, high = limits or (width / 3.0, high)
        if not low > 0:
            raise ValueError(f"limits = {limits}: a log stretch needs a lower limit > 0.")
        return LogNorm(low, high, clip=True)
    raise ValueError(f"stretch = {stretch!r} is unknown: use 'asinh', 'log' or 'linear'.")


def _label_brightness(bar, norm, unit):
    """Label a colour bar; the ticks of curved scales are round numbers that do not collide."""
    from matplotlib.colors import Normalize

    bar.set_label(f"brightness ({unit})" if unit else "brightness")
    if type(norm) is Normalize:
        return
    low, high = norm.vmin, norm.vmax
    apart = 0.16 if bar.orientation == "horizontal" else 0.09
    powers = range(math.floor(math.log10(high)) - 8, math.floor(math.log10(high)) + 1)
    round_numbers = np.array([m * 10.0**p for p in powers for m in (1, 2, 5)])
    kept = [0.0] if low <= 0 else []
    for tick in [sign * x for x in round_numbers[::-1] for sign in (1, -1)]:
        spread = np.abs(norm(np.array([*kept, tick])) - norm(tick))[:-1]
        if low <= tick <= high and (spread > apart).all():
            kept.append(float(tick))
    bar.set_ticks(kept, labels=[f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in kept])
    bar.minorticks_off()


def is_north_up(grid: Grid) -> bool:
    """Whether North is up, and East to the left."""
    return float(grid.roll) == 0.0 and grid.parity == 1


def _panel(ax, image, grid, norm, cmap):
    """One image on axes of arcsec from the star, which grow to the left and upwards."""
    from matplotlib import colormaps

    ny, nx = image.shape
    scale = float(grid.pixel_scale)
    x0, y0 = (float(c) for c in grid.center)
    edges = np.array([x0 + 0.5, x0 + 0.5 - nx, -y0 - 0.5, ny - 0.5 - y0]) * scale
    shown = ax.imshow(
        image,
        origin="lower",
        extent=edges,
        norm=norm,
        cmap=colormaps[cmap].with_extremes(bad=_MASKED),
        interpolation="nearest",
    )
    ax.plot(0.0, 0.0, marker="+", color="white", ms=6, mew=1.0, zorder=3)
    sky = "\N{GREEK CAPITAL LETTER DELTA}RA", "\N{GREEK CAPITAL LETTER DELTA}Dec"
    x, y = sky if is_north_up(grid) else ("to the left", "upwards")
    ax.set_xlabel(f"{x} (arcsec)")
    ax.set_ylabel(f"{y} (arcsec)")
    return shown


def _outline():
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.0, foreground="black", alpha=0.7)]


def _round_down(value):
    """The largest of 1, 2, 5 times a power of ten that is not above the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(m for m in (1.0, 2.0, 5.0) if m * power <= value * (1 + 1e-9)) * power


def _scale_bar(ax, grid):
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    distance = float(grid.distance)
    length_au = _round_down(0.3 * abs(right - left) * distance)
    length = length_au / distance
    x, y = left + 0.06 * (right - left), bottom + 0.12 * (top - bottom)
    look = {"color": "white", "path_effects": _outline(), "zorder": 4}
    ax.plot([x, x - length], [y, y], lw=2, solid_capstyle="butt", **look)
    text = {"ha": "center", "fontsize": "small", "textcoords": "offset points", **look}
    middle = (x - length / 2, y)
    ax.annotate(f"{length_au:g} au", middle, (0, 3), va="bottom", **text)
    arcsec = f"{length:#.2g}\N{DOUBLE PRIME}" if length < 10 else f"{length:.0f}\N{DOUBLE PRIME}"
    ax.annotate(arcsec, middle, (0, -4), va="top", **text)


def _north_east_arrows(ax, grid):
    """Arrows to the North and to the East: up and to the left where nothing is turned."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    size = 0.13 * min(abs(right - left), abs(top - bottom))
    angle, parity = math.radians(float(grid.roll)), grid.parity
    steps = np.array(
        [
            (-parity * math.sin(angle), math.cos(angle)),
            (parity * math.cos(angle), math.sin(angle)),
        ]
    )
    corner = np.array([right - 0.08 * (right - left), bottom + 0.08 * (top - bottom)])
    corner = corner + size * np.maximum(-steps.min(axis=0), 0.0)  # all of it within the panel
    look = {"color": "white", "path_effects": _outline(), "zorder": 4}
    for name, step in zip("NE", steps, strict=True):
        tip = corner + size * step
        arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "lw": 1.2, **look}
        ax.annotate("", tip, corner, arrowprops=arrow)
        place = corner + 1.3 * size * step
        ax.annotate(name, place, ha="center", va="center", fontsize="small", **look)
