"""The page: sliders with number boxes, a fit in the background, files, code; and what is drawn."""

import functools
import html
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    CustomJS,
    Div,
    Slider as SliderWidget,
    TextAreaInput,
    TextInput,
)

from .background import BackgroundFit
from .sliders import Slider
from .state import Explorer

_STEPS = 1000  # of a slider
_LOOK = 250  # milliseconds between two looks at a fit
_WIDTH, _CODE_WIDTH = 370, 970
_FONT = "font-family: system-ui, sans-serif; color: #222;"
# not InlineStyleSheet: a model of Bokeh belongs to one document, and each tab has its own
_SMALL = ".noUi-handle { cursor: grab; } :host { margin: 0; }"
_BOX = ".bk-input.bk-input { padding: 3px 7px; height: 27px; }"
_CODE = "textarea { font: 11px monospace; white-space: pre; }"


class Drawings(Protocol):
    """What one kind of page draws."""

    #: what is laid out to the right of the sliders
    layout: Any

    def update(self, arrays: dict[str, Any]) -> None:
        """Draw the arrays of an explorer."""
        ...

    def facts(self, arrays: dict[str, Any]) -> dict[str, str]:
        """Numbers to be written, by what they are."""
        ...


class Page:
    """One session's page.

    Pictures are computed in a thread. What is moved meanwhile is drawn next, at its latest values
    only, so that no queue builds up behind a slider.

    Parameters
    ----------
    document
        Bokeh's.
    explorer
        What can be moved; the page's own.
    title
        Of the page.
    drawings
        What follows from the values.
    """

    def __init__(self, document, explorer: Explorer, title: str, drawings: Drawings):
        self.document, self.explorer, self.drawings = document, explorer, drawings
        self._pool = ThreadPoolExecutor(1)
        self._moved: dict[str, float] = {}
        self._drawing = self._wanted = self._quiet = self._ended = False
        self._fit: BackgroundFit | None = None
        self._poll: Any = None
        self._files: set[Path] = set()  # that are the page's own
        # of fixed size: whatever changes its own makes the browser lay out everything again
        self.facts = Div(width=_WIDTH, height=24, name="facts")
        self.said = Div(width=_WIDTH, height=60, name="said")
        self.rows = {slider.name: self._row(slider) for slider in explorer.sliders}
        heading = Div(
            text=f'<div style="{_FONT} font-size: 19px"><b>{html.escape(title)}</b></div>'
        )
        left = column(
            heading,
            self.facts,
            *(widgets[0] for widgets in self.rows.values()),
            *self._actions(),
            width=_WIDTH + 20,
        )
        right = column(drawings.layout, *self._code())
        document.add_root(row(left, right, styles={"padding": "12px"}))
        document.title = title
        document.on_session_destroyed(self._closed)
        document.add_next_tick_callback(self.redraw)  # once there is a session to draw in

    def redraw(self) -> None:
        """Draw the present values as soon as may be."""
        self._wanted = True
        if not self._drawing:
            self._begin()

    def change(self, function, *arguments) -> bool:
        """Let a function change the explorer, show and draw its values; False where it refuses."""
        self._latest()
        good = self._try(function, *arguments)
        self._show_values()
        self.redraw()
        return good

    def say(self, text: str, bad: bool = False) -> None:
        """Write a line under the buttons."""
        color = "#b00020" if bad else "#444"
        self.said.text = f'<div style="{_FONT} color: {color}">{html.escape(text)}</div>'

    def _begin(self) -> None:
        if self._ended:
            return
        self._drawing, self._wanted = True, False
        future = self._pool.submit(self.explorer.arrays, self._latest().values)
        tell = self.document.add_next_tick_callback
        future.add_done_callback(lambda done: tell(functools.partial(self._drawn, done)))

    def _drawn(self, done: Future) -> None:
        self._drawing = False
        try:
            arrays = done.result()
        except (ValueError, TypeError) as error:
            self.say(str(error), bad=True)
        else:
            self.document.hold("combine")  # one message, one picture
            try:
                self._show(arrays)
            finally:
                self.document.unhold()
        if self._wanted:
            self._begin()

    def _show(self, arrays) -> None:
        self.drawings.update(arrays)
        facts = self.drawings.facts(arrays).items()
        numbers = "".join(
            f'<span style="margin-right: 16px">{name} <b>{text}</b></span>' for name, text in facts
        )
        self.facts.text = f'<div style="{_FONT} font-size: 14px">{numbers}</div>'

    def _row(self, slider: Slider):
        """Label, slider and number box of one number; and the two that are moved."""
        name, value = slider.name, self.explorer.get(slider.name)
        text = f'<div style="{_FONT}" title="{html.escape(f"{name}: {slider.doc}")}">{{}}</div>'
        unit = f' <span style="color: #888">{html.escape(slider.unit)}</span>' * bool(slider.unit)
        label = Div(
            text=text.format(html.escape(self.explorer.label(slider)) + unit),
            width=130,
            margin=(7, 0, 0, 0),
        )
        look = {"title": None, "show_value": False, "tooltips": False, "margin": (11, 12, 0, 4)}
        bar = SliderWidget(
            start=0, end=_STEPS, step=1, value=_STEPS * slider.position(value), width=130, **look
        )
        bar.stylesheets = [_SMALL]
        bar.name = f"slider {name}"
        box = TextInput(value=_written(value), width=84, margin=(2, 0, 0, 0), stylesheets=[_BOX])
        box.name = f"number {name}"
        bar.on_change("value", lambda _, old, new: self._slid(slider, box, new))
        box.on_change("value", lambda _, old, new: self._typed(slider, new))
        return row(label, bar, box, margin=(1, 0, 1, 5)), bar, box

    def _slid(self, slider: Slider, box, position: float) -> None:
        if not self._quiet:
            self._moved[slider.name] = slider.value(position / _STEPS)
            self._quietly(box, _written(self._moved[slider.name]))
            self.redraw()

    def _typed(self, slider: Slider, text: str) -> None:
        if not self._quiet:
            self.change(self._set_text, slider.name, text)

    def _set_text(self, name: str, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name} = {text!r} is no number.") from None
        self.explorer.set(name, value)

    def _show_values(self) -> None:
        self._moved = {}
        for slider in self.explorer.sliders:
            _, bar, box = self.rows[slider.name]
            value = self.explorer.get(slider.name)
            self._quietly(bar, _STEPS * slider.position(value))
            self._quietly(box, _written(value))

    def _quietly(self, widget, value) -> None:
        """Change a widget without an answer to it."""
        self._quiet = True
        widget.value = value
        self._quiet = False

    def _try(self, function, *arguments) -> bool:
        try:
            function(*arguments)
        except (ValueError, TypeError, OSError) as error:
            self._show_values()  # first: who reads the sentence may type again at once
            self.say(str(error), bad=True)
            return False
        return True

    def _actions(self) -> list[Any]:
        """Buttons, and what belongs to them."""
        self.fit_button = _button("fit from here", self._begin_fit, "primary", 125)
        self.stop_button = _button("stop", self._stop_fit)
        self.stop_button.disabled = True
        self.file = TextInput(value="explorer.npz", width=125, name="file")
        return [
            row(self.fit_button, self.stop_button, _button("reset", self._reset)),
            self.said,
            row(
                self.file,
                _button("save", self._save, width=60),
                _button("load", self._load, width=60),
                _button("export", self._export, width=70),
            ),
        ]

    def _code(self) -> list[Any]:
        """The button for code, and the place for it."""
        copy = _button("copy as Python", self._copy, width=125)
        self.python = TextAreaInput(
            rows=8, width=_CODE_WIDTH, max_length=None, stylesheets=[_CODE], name="code"
        )
        self.python.js_on_change(
            "value", CustomJS(code="navigator.clipboard?.writeText(cb_obj.value)")
        )
        return [copy, self.python]

    def _begin_fit(self) -> None:
        if self._fit is not None:
            return
        self.say("fit: compiling")
        self.fit_button.disabled, self.stop_button.disabled = True, False
        self._fit = BackgroundFit(self.explorer.posterior, self._latest().values)
        self._poll = self.document.add_periodic_callback(self._look, _LOOK)

    def _latest(self) -> Explorer:
        """The explorer, with whatever was moved a moment ago."""
        moved, self._moved = self._moved, {}
        for name, value in moved.items():
            self._try(self.explorer.set, name, value)
        return self.explorer

    def _look(self) -> None:
        """See how far the fit is."""
        if self._fit is None:
            return
        if self._fit.running:
            if self._fit.lines:
                self.say(self._fit.lines[-1])
            return
        self.document.remove_periodic_callback(self._poll)
        ended, self._fit = self._fit, None
        try:
            found = ended.result()
        except (ValueError, TypeError) as error:
            self.say(str(error), bad=True)
        else:
            self.say(found.message)
            self.change(self.explorer.move_to, found.values)
        # last: who sees the button again shall see what was found, too
        self.fit_button.disabled, self.stop_button.disabled = False, True

    def _stop_fit(self) -> None:
        if self._fit is not None:
            self._fit.stop()
            self.say("fit: it ends after these steps")

    def _reset(self) -> None:
        self.change(self.explorer.reset)

    def _save(self) -> None:
        path = Path(self.file.value)
        if self._try(self._write, self._latest().save, path):
            self.say(f"saved as {path.resolve()}")

    def _load(self) -> None:
        if self.change(self.explorer.load, Path(self.file.value)):
            self.say(f"values of {self.file.value}")

    def _export(self) -> None:
        path = Path(self.file.value or "explorer").with_suffix(self.explorer.exported)
        if self._try(self._write, self._latest().export, path):
            self.say(f"exported as {path.resolve()}")

    def _write(self, write, path: Path) -> None:
        """Write a file, but over none that was there before this page."""
        if path.exists() and path.resolve() not in self._files:
            raise ValueError(f"{path} is there already: choose another name")
        write(path)
        self._files.add(path.resolve())

    def _copy(self) -> None:
        self.python.value = self._latest().code()

    def _closed(self, _) -> None:
        self._ended = True
        if self._fit is not None:
            self._fit.stop()
        self._pool.shutdown(wait=False)


def _button(label: str, done, kind="default", width=85) -> Button:
    made = Button(label=label, button_type=kind, width=width, name=label)
    made.on_click(done)
    return made


def _written(value: float) -> str:
    text = f"{value:.5g}"
    return f"{value:.3g}" if len(text) > 8 else text  # as much as the box shows
