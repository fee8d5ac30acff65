"""What the page of a star draws: the light curve, correlation, spectrum, and a turning sphere."""

from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import Band, Button, ColumnDataSource, Div, Range1d, Span, Toggle
from bokeh.plotting import figure

from pytreefit.app.page import Page

from .sphere import graticule, outlines

if TYPE_CHECKING:
    from .state import StarExplorer

_WIDTH = 970
_BLUE, _ORANGE, _GREY = "#1f5fa8", "#c2571a", "#9a9a9a"
_TICK = 100  # milliseconds between two pictures of the sphere
_LOOK: dict[str, Any] = {"toolbar_location": None, "tools": "pan,wheel_zoom,reset"}


class StarDrawings:
    """Curves and spots of a star, see `pytreefit.app.page.Drawings`."""

    def __init__(self, document, explorer: "StarExplorer"):
        self.explorer, self._document = explorer, document
        self._arrays: dict[str, Any] = {}
        self._frame, self._turning = 0, None
        self.page: Any = None
        light = self._light_curve()
        self.layout = column(
            self._candidates(), light, row(self._correlation(), self._spectrum(), self._sphere())
        )

    def update(self, arrays: dict[str, Any]) -> None:
        """Draw new curves and spots; the first time the data, too."""
        if not self._arrays:
            self._show_data(arrays)
        self._arrays = arrays
        mean, sd = arrays["mean"], arrays["sd"]
        self._prediction.data = {
            "x": arrays["curve_time"],
            "y": 100.0 * mean,
            "low": 100.0 * (mean - sd),
            "high": 100.0 * (mean + sd),
        }
        self._kernel.data = {"x": arrays["lag"], "y": arrays["kernel"]}
        self._psd.data = {"x": arrays["frequency"], "y": arrays["psd"]}
        self._turn(0)

    def facts(self, arrays: dict[str, Any]) -> dict[str, str]:
        """The logarithm of the likelihood, and the period that the light curve has."""
        return {
            "ln L": f"{float(arrays['log_likelihood']):.2f}",
            "period": f"{float(arrays['period']):.4g} d",
        }

    def _show_data(self, arrays) -> None:
        segment = arrays["segment"]
        self._points.data = {
            "x": arrays["time"],
            "y": 100.0 * arrays["flux"],
            "color": np.where(segment % 2 == 0, "#333333", "#8a6d3b"),
        }
        self._data_acf.data = {"x": arrays["data_lag"], "y": arrays["data_acf"]}
        self._data_psd.data = {"x": arrays["data_frequency"], "y": arrays["data_psd"]}
        top = max(np.max(arrays["psd"]), np.max(arrays["data_psd"]))
        self._power.start, self._power.end = 1e-5 * top, 5.0 * top

    def _light_curve(self):
        own = figure(
            title="light curve and prediction", name="light curve", width=_WIDTH, height=270,
            tools="pan,wheel_zoom,box_zoom,reset,save", active_scroll="wheel_zoom",
        )  # fmt: skip
        own.xaxis.axis_label, own.yaxis.axis_label = "time [d]", "flux [%]"
        self._prediction = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        self._points = ColumnDataSource({"x": [], "y": [], "color": []})
        own.line("x", "y", source=self._prediction, color=_BLUE, line_width=1.5)
        band = Band(
            base="x", lower="low", upper="high", source=self._prediction,
            fill_color=_BLUE, fill_alpha=0.2, line_width=0,
        )  # fmt: skip
        own.add_layout(band)
        own.scatter("x", "y", source=self._points, color="color", size=3)
        time, segment = (self.explorer.arrays()[name] for name in ("time", "segment"))
        for start in np.flatnonzero(np.diff(segment)):
            place = 0.5 * float(time[start] + time[start + 1])
            own.add_layout(Span(location=place, dimension="height", line_color=_GREY))
        return own

    def _correlation(self):
        own = figure(
            title="autocorrelation", name="autocorrelation", width=370, height=280, **_LOOK
        )
        own.xaxis.axis_label, own.yaxis.axis_label = "lag [d]", "correlation"
        own.y_range = Range1d(-1.05, 1.05)
        own.x_range = Range1d(0, float(self.explorer.arrays()["lag"][-1]))
        self._data_acf, self._kernel = self._pair(own)
        own.legend.location = "top_right"
        own.legend.label_text_font_size = "11px"
        return own

    def _spectrum(self):
        look = {"y_axis_type": "log", "width": 370, "height": 280, **_LOOK}
        own = figure(title="power spectrum", name="spectrum", **look)
        own.xaxis.axis_label, own.yaxis.axis_label = "frequency [1/d]", "power [d]"
        self._power = Range1d(1e-9, 1.0)
        own.y_range = self._power
        own.x_range = Range1d(0, float(self.explorer.arrays()["frequency"][-1]))
        self._data_psd, self._psd = self._pair(own)
        own.legend.visible = False
        return own

    def _pair(self, own):
        """The data in grey, and the kernel above them."""
        data, kernel = (ColumnDataSource({"x": [], "y": []}) for _ in range(2))
        own.line("x", "y", source=data, color=_GREY, line_width=1.2, legend_label="data")
        own.line("x", "y", source=kernel, color=_ORANGE, line_width=2, legend_label="kernel")
        return data, kernel

    def _sphere(self):
        own = figure(
            title="such a star, spots at random", name="sphere", width=215, height=240,
            x_range=Range1d(-1.08, 1.08), y_range=Range1d(-1.08, 1.08), match_aspect=True,
            **{**_LOOK, "tools": ""},
        )  # fmt: skip
        own.axis.visible = own.grid.visible = False
        own.outline_line_color = None
        own.image_rgba([_disk(300)], x=-1.0, y=-1.0, dw=2.0, dh=2.0)
        self._lines = ColumnDataSource({"x": [], "y": []})
        self._spots = ColumnDataSource({"x": [], "y": []})
        own.multi_line("x", "y", source=self._lines, color="black", alpha=0.2, line_width=0.7)
        own.patches(
            "x", "y", source=self._spots, fill_color="#3b1d05", fill_alpha=0.8, line_width=0
        )
        play = Toggle(label="turn", width=80, name="turn")
        play.on_change("active", lambda _, old, new: self._play(new))
        return column(own, play)

    def _play(self, on: bool) -> None:
        if on:
            self._turning = self._document.add_periodic_callback(lambda: self._turn(1), _TICK)
        elif self._turning is not None:
            self._document.remove_periodic_callback(self._turning)
            self._turning = None

    def _turn(self, frames: int) -> None:
        """Draw the sphere, so many pictures later."""
        arrays = self._arrays
        if not arrays:
            return
        self._frame = k = (self._frame + frames) % len(arrays["equator"])
        inc = float(arrays["inc"])
        shown = outlines(arrays["latitude"], arrays["longitude"][k], arrays["radius"][k], inc)
        lines = graticule(float(arrays["equator"][k]), inc)
        for source, (x, y) in ((self._spots, shown), (self._lines, lines)):
            source.data = {"x": x, "y": y}

    def _candidates(self):
        """A button for each period that the data suggest."""
        buttons = []
        for period, probability in self.explorer.candidates:
            button = Button(label=f"{period:.4g} d ({100 * probability:.0f} %)", width=120)
            button.name = f"period {period:.4g}"
            button.on_click(lambda period=period: self._choose(period))
            buttons.append(button)
        text = '<div style="font-family: system-ui, sans-serif">periods in the data</div>'
        return row(Div(text=text, margin=(10, 5, 0, 5)), *buttons, margin=(0, 0, 0, 40))

    def _choose(self, period: float) -> None:
        self.page.change(self.explorer.set_period, period)


def _disk(pixels: int) -> np.ndarray:
    """A bright disk, darker to its limb, as red, green, blue and opacity of each pixel."""
    x = (np.arange(pixels) + 0.5) * 2.0 / pixels - 1.0
    r = np.hypot(x[:, None], x[None, :])
    light = 255.0 * (0.5 + 0.5 * np.sqrt(np.maximum(1.0 - r**2, 0.0)))
    opacity = 255.0 * np.clip(0.5 * pixels * (1.0 - r) + 0.5, 0.0, 1.0)
    colors = np.stack([light, 0.86 * light, 0.55 * light, opacity], axis=-1)
    return colors.astype(np.uint8).view(np.uint32)[..., 0]


def build(document, explorer: "StarExplorer", title: str) -> None:
    """Fill a document with the page of a star."""
    drawings = StarDrawings(document, explorer)
    drawings.page = Page(document, explorer, title, drawings)
