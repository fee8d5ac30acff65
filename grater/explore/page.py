"""What the page of a disk draws: three images, the phase function and the surface density."""

from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    BoxAnnotation,
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    RadioButtonGroup,
    Range1d,
)
from bokeh.plotting import figure
from matplotlib import colormaps
from matplotlib.colors import to_hex

from pytreefit.app.page import Page

from ..plot.images import is_north_up, norm_of

if TYPE_CHECKING:
    from .state import DiskExplorer

_STRETCHES = ("asinh", "log", "linear")
_SIDE = 300  # pixels of the screen
_SIGMA = 5.0  # at the ends of the residuals' colours
_GREY = "#b8b8b8"  # of masked pixels
_COLORS = ("#1f5fa8", "#c2571a", "#2d7d46", "#7a3b8f")


class DiskDrawings:
    """Images and curves of a disk, see `pytreefit.app.page.Drawings`."""

    def __init__(self, explorer: "DiskExplorer"):
        self.explorer, self._arrays = explorer, None
        grid = explorer.data.grid
        scale, (ny, nx) = float(grid.pixel_scale), grid.shape
        x, y = (float(c) for c in grid.center)
        # East is to the left: columns are turned round, on an axis that falls
        place = {"x": -(nx - 0.5 - x) * scale, "y": -(y + 0.5) * scale}
        self._place = place = {**place, "dw": nx * scale, "dh": ny * scale}
        ranges = {
            "x_range": Range1d(place["x"] + place["dw"], place["x"]),
            "y_range": Range1d(place["y"], place["y"] + place["dh"]),
        }
        palette, spread = (
            [to_hex(colormaps[name](k / 255)) for k in range(256)] for name in ("inferno", "RdBu_r")
        )
        self._brightness = LinearColorMapper(palette, low=0.0, high=1.0, nan_color=_GREY)
        self._sigmas = LinearColorMapper(spread, low=-_SIGMA, high=_SIGMA, nan_color=_GREY)
        self._sources, self._bars = {}, {}
        panels = [
            self._panel("data", self._brightness, ranges),
            self._panel("model", self._brightness, ranges),
            self._panel("residual", self._sigmas, ranges),
        ]
        self._stretch = RadioButtonGroup(labels=list(_STRETCHES), active=0, name="stretch")
        self._stretch.on_change("active", lambda _, old, new: self._show_images(again=True))
        self.layout = column(
            row(self._stretch, margin=(0, 0, 0, 50)), row(*panels), row(*self._curves())
        )

    def update(self, arrays: dict[str, Any]) -> None:
        """Draw new images and curves."""
        first, self._arrays = self._arrays is None, arrays
        self._show_images(again=first)
        n = len(arrays["phase"])
        looks = {"color": [_COLORS[k % len(_COLORS)] for k in range(n)]}
        angles = [arrays["angle"]] * n
        self._phase.data = {"x": angles, "y": list(arrays["phase"]), **looks}
        self._density.data = {"x": list(arrays["radius"]), "y": list(arrays["density"]), **looks}
        self._seen.left, self._seen.right = (float(end) for end in arrays["seen"])

    def facts(self, arrays: dict[str, Any]) -> dict[str, str]:
        """Chi-square, and the same for each degree of freedom."""
        return {
            "χ²": f"{float(arrays['chi_square']):.6g}",
            "reduced": f"{float(arrays['reduced']):.4f}",
            "ln L": f"{float(arrays['log_likelihood']):.7g}",
        }

    def _panel(self, title, mapper, ranges):
        source = ColumnDataSource({"image": [], "value": []})
        own = figure(
            title=title if title != "residual" else "residual / noise",
            width=_SIDE, height=_SIDE + 70, tools="pan,wheel_zoom,box_zoom,reset,save",
            active_scroll="wheel_zoom", toolbar_location=None if title != "residual" else "right",
            name=title, **ranges,
        )  # fmt: skip
        north = is_north_up(self.explorer.data.grid)
        own.xaxis.axis_label = "ΔRA [arcsec]" if north else "offset to the left [arcsec]"
        own.yaxis.axis_label = "ΔDec [arcsec]" if north else "offset upwards [arcsec]"
        own.yaxis.visible = title == "data"
        # beside two of them are the axis and the tools
        own.width = _SIDE + {"data": 55, "model": 0, "residual": 34}[title]
        own.grid.visible = False
        own.image(image="image", source=source, color_mapper=mapper, **self._place)
        own.scatter([0.0], [0.0], marker="star", size=9, color="white", line_color="black")
        own.add_tools(HoverTool(tooltips=[("offset", "$x{0.00}, $y{0.00}"), ("value", "@value")]))
        bar = ColorBar(color_mapper=mapper, height=10, padding=4, label_standoff=4)
        bar.ticker = BasicTicker()
        own.add_layout(bar, "below")
        self._sources[title], self._bars[title] = source, bar
        return own

    def _show_images(self, again: bool) -> None:
        """Model and residual; where the scale or the session is new, the data too."""
        if self._arrays is None:
            return
        arrays = self._arrays
        if again:
            self._new_scale(arrays)
            self._show("data", self._scaled(arrays["data"]), arrays["data"])
        self._show("model", self._scaled(arrays["model"]), arrays["model"])
        self._show("residual", arrays["residual"], arrays["residual"])

    def _new_scale(self, arrays) -> None:
        used = np.isfinite(arrays["data"])
        stretch = _STRETCHES[self._stretch.active or 0]
        self._norm: Any = norm_of(stretch, arrays["data"][used], arrays["noise"][used], None)
        ticks = ticks_of(self._norm)
        for name in ("data", "model"):
            self._bars[name].major_label_overrides = ticks
            self._bars[name].ticker = FixedTicker(ticks=list(ticks))

    def _scaled(self, image):
        return np.where(np.isfinite(image), np.ma.filled(self._norm(image), 0.0), np.nan)

    def _show(self, name: str, scaled, values) -> None:
        turned = (np.ascontiguousarray(a[:, ::-1], np.float32) for a in (scaled, values))
        self._sources[name].data = dict(zip(("image", "value"), ([a] for a in turned), strict=True))

    def _curves(self):
        empty = {"x": [], "y": [], "color": []}
        self._phase, self._density = ColumnDataSource(empty), ColumnDataSource(empty)
        look = {"height": 250, "toolbar_location": None, "tools": "pan,wheel_zoom,reset"}
        phase = figure(
            title="phase function", y_axis_type="log", x_range=Range1d(0, 180), width=490, **look
        )
        self._seen = BoxAnnotation(left=0, right=180, fill_color="#f2d16b", fill_alpha=0.25)
        phase.add_layout(self._seen)
        phase.xaxis.axis_label = "scattering angle [deg]; shaded: what is seen"
        phase.yaxis.axis_label = "relative to 90 deg"
        phase.xaxis.ticker = FixedTicker(ticks=list(range(0, 181, 30)))
        first = self.explorer.posterior.model.disks[0]  # pyright: ignore
        top = 3.0 * float(first.semi_major_axis)
        density = figure(title="surface density", x_range=Range1d(0, top), width=490, **look)
        density.y_range = Range1d(0, 1.05)
        density.xaxis.axis_label = "radius [au]"
        density.yaxis.axis_label = "relative to the maximum"
        for own, source in ((phase, self._phase), (density, self._density)):
            own.multi_line("x", "y", color="color", line_width=2, source=source)
        return phase, density


def ticks_of(norm) -> dict[float, str]:
    """Round brightnesses that are apart on a scale from 0 to 1, with their places on it."""
    high = float(norm.vmax)
    decades = 10.0 ** np.arange(np.floor(np.log10(high)) - 4, np.floor(np.log10(high)) + 1)
    found: dict[float, str] = {}
    for value in sorted([0.0, *(k * d for d in decades for k in (1, 2, 5))], reverse=True):
        if norm.vmin <= value <= high and not (value == 0.0 and norm.vmin > 0.0):
            place = float(norm(value))
            if all(abs(place - other) > 0.13 for other in found):
                found[place] = f"{value:g}"
    return dict(sorted(found.items()))  # Bokeh leaves out labels that are out of order


def build(document, explorer: "DiskExplorer", title: str) -> None:
    """Fill a document with the page of a disk."""
    Page(document, explorer, title, DiskDrawings(explorer))
