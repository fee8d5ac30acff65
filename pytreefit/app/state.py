"""What a page shows, without any page: values of the free parameters, and what follows of them."""

import abc
import copy
import os
from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import numpy as np

from ..arrays import as_number, as_whole_number, check_kind
from ..model import Model, lookup_parameter
from ..optimize.fit import Fit
from ..posterior import Posterior
from ..prior import prior_limits
from ..results.files import load, save
from .server import open_page, require_app
from .sliders import Slider, sliders_of

_VAGUE = ("scale", "values")  # names that say nothing without their owner's


class Explorer(abc.ABC):
    """The parameters of a posterior, moved by hand, and the arrays that follow from them.

    Parameters
    ----------
    posterior
        Its free parameters can be moved, from the values of its model.
    recipe
        Python that makes the data and a model of the same structure, with which `code` begins.
    """

    #: ending of the names of the files that `export` writes
    exported: str

    def __init__(self, posterior: Posterior, recipe: str = ""):
        check_kind("posterior", posterior, Posterior)
        check_kind("recipe", recipe, str)
        self.posterior, self.recipe = posterior, recipe
        self.sliders: tuple[Slider, ...] = sliders_of(posterior)
        self._values = _arrays(posterior.initial)

    @abc.abstractmethod
    def arrays(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All that is drawn, as NumPy arrays and numbers by name.

        Parameters
        ----------
        values
            Of the free parameters by path; by default the present ones.
        """

    @abc.abstractmethod
    def code(self) -> str:
        """Python that makes the same model, with its priors, and evaluates it."""

    @abc.abstractmethod
    def export(self, path: str | os.PathLike) -> None:
        """Write what is drawn into a file for other programs; `exported` says of which kind."""

    @abc.abstractmethod
    def draw(self, document: Any, title: str) -> None:
        """Fill a document of Bokeh with the page."""

    def open(self, title: str = "explorer", port: int = 0, browser: bool = True) -> None:
        """Serve the page until Ctrl-C.

        It is for this computer alone, at an address with a token, which is printed.

        Parameters
        ----------
        title
            Of the page.
        port
            Of 127.0.0.1; 0 takes a free one.
        browser
            Whether to open the page in the browser.

        Raises
        ------
        ValueError
            Where Bokeh is not installed, or the port cannot be used.
        """
        require_app()
        self.arrays()  # compiled before anybody waits
        open_page(self, title, as_whole_number("port", port, 0), browser)

    def label(self, slider: Slider) -> str:
        """What is written beside a slider."""
        owner, _, last = slider.name.rpartition(".")
        alike = [s for s in self.sliders if s.name.rpartition(".")[2] == last]
        short = f"{owner.rpartition('.')[2]} {last}" if len(alike) > 1 or last in _VAGUE else last
        return short.replace("_", " ")

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The present values of the free parameters by path."""
        return {name: value.copy() for name, value in self._values.items()}

    @property
    def model(self) -> Model:
        """The model at the present values."""
        return self.posterior.model_at(self._values)

    def copy(self) -> Self:
        """The same with values of its own; what is compiled is shared."""
        other = copy.copy(self)
        other._values = self.values
        return other

    def get(self, name: str) -> float:
        """The value of a slider."""
        slider = self._slider(name)
        return float(self._values[slider.path][slider.index])

    def set(self, name: str, value: float) -> None:
        """Move one number.

        Raises
        ------
        ValueError
            For a name without a slider, and values that the parameter or its prior excludes.
        """
        slider = self._slider(name)
        value_of_path = self.values[slider.path]
        value_of_path[slider.index] = as_number(name, value)
        self.move_to({slider.path: value_of_path})

    def move_to(self, values: Mapping[str, Any]) -> None:
        """Take over values by path, of all free parameters or some; ValueError as by `set`."""
        changed = self.values
        for slider in self.sliders:
            if slider.path in values:
                value = float(np.asarray(values[slider.path])[slider.index])
                info = lookup_parameter(self.posterior.model, slider.path).info
                low, high = prior_limits(self.posterior.priors[slider.path])
                if not (low <= value <= high and np.all(info.contains(np.asarray(value)))):
                    raise ValueError(
                        f"{slider.name} = {value:g} must be between {low:g} and {high:g}, the ends "
                        "of its prior."
                    )
                changed[slider.path][slider.index] = value
        self.posterior.model_at(changed)  # refuses what a model of these values does not allow
        self._values = changed

    def reset(self) -> None:
        """Go back to the values of the posterior's own model."""
        self._values = _arrays(self.posterior.initial)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model at the present values, for :func:`pytreefit.load`."""
        save(path, self.model)

    def load(self, path: str | os.PathLike) -> None:
        """Take over the free parameters of a saved model, or of the model of a saved `Fit`.

        Raises
        ------
        ValueError
            For a file without these parameters, values that `set` refuses, and whatever
            :func:`pytreefit.load` refuses.
        """
        found = load(path)
        model: Any = found.model if isinstance(found, Fit) else found
        if not isinstance(model, eqx.Module):
            raise ValueError(f"{os.fspath(path)} holds a {type(found).__name__}, not a model.")
        values = {}
        for name, shape in self.posterior.shapes.items():
            values[name] = np.asarray(lookup_parameter(model, name).value)
            if values[name].shape != shape:
                raise ValueError(
                    f"{os.fspath(path)}: {name} has the shape {values[name].shape} but must have "
                    f"{shape}."
                )
        self.move_to(values)

    def _slider(self, name: str) -> Slider:
        for slider in self.sliders:
            if slider.name == name:
                return slider
        names = ", ".join(slider.name for slider in self.sliders)
        raise ValueError(f"{name!r} has no slider; these have: {names}.")


def _arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values that may be written into."""
    return {name: np.array(value) for name, value in values.items()}
