"""A scene: what is on the sky around a star, and the views of it."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import inline, is_traced

from .dust.disk import Disk
from .point_source import PointSource
from .view.view import View

_CALLER = 5  # levels of the stack between a warning and what makes a Scene


class Scene(Model):
    """Disks around a star, sources beside them, and how they are seen.

    Parameters
    ----------
    disk
        A `Disk`, or several as a dictionary of names or a sequence: their parameters are then at
        paths such as ``disk.inner.inclination`` or ``disk.0.inclination``.
    source
        A `PointSource`, such as a companion, or several as a dictionary or a sequence, with paths
        such as ``source.companion.flux``.
    view
        A `View`, whose parameters have paths such as ``psf.fwhm``, or several as a dictionary, with
        paths such as ``view.roll1.psf.fwhm``. Without one the scene is on the sky only, and any
        view can be taken of it: ``view.image(scene)``.
    **seen
        ``grid``, ``psf``, ``noise`` and all else that a `View` takes: a short way to write
        ``view=View(grid, psf=psf, ...)``.

    Raises
    ------
    ValueError, TypeError
        For parts of the wrong kind, and whatever `View` refuses.

    Examples
    --------
    >>> import grater
    >>> disk = grater.Disk(60.0, 70.0, 30.0, alpha_in=10, alpha_out=-6, scale_height=2)
    >>> grid = grater.Grid((48, 48), pixel_scale=0.05, distance=70.0)
    >>> scene = Scene(disk, grid=grid, psf=grater.GaussianPSF(2.5))
    >>> float(scene.get("psf.fwhm"))
    2.5
    """

    disk: Disk | Mapping[str, Disk] | Sequence[Disk]
    source: PointSource | Mapping[str, PointSource] | Sequence[PointSource] | None
    view: View | Mapping[str, View] | None = inline()

    def __init__(self, disk, *, source=None, view=None, **seen: Any):
        if view is not None and seen:
            raise ValueError(
                f"Scene got view= and also {', '.join(seen)}. Give the view or what it consists "
                "of, not both."
            )
        if seen and "grid" not in seen:
            raise TypeError(f"Scene got {', '.join(seen)} without a grid: give grid=Grid(...).")
        self.disk = tuple(disk) if isinstance(disk, Sequence) else disk
        self.source = tuple(source) if isinstance(source, Sequence) else source
        self.view = View(**seen) if seen else view

    def __check_init__(self):
        disks = self.disks if isinstance(self.disk, Disk | Mapping | Sequence) else ()
        if not disks or not all(isinstance(d, Disk) for d in disks):
            raise TypeError(
                f"Scene.disk = {self.disk!r} is not a Disk, nor a dictionary or a sequence of them."
            )
        if not all(isinstance(source, PointSource) for source in self.sources):
            raise TypeError(
                f"Scene.source = {self.source!r} is not a PointSource, nor a dictionary or a "
                "sequence of them."
            )
        for path, source in zip(self.source_paths, self.sources, strict=True):
            if source.curve is not None:
                _check_curve(f"Scene.{path}", source.curve, self.disks)
        views = self.view.values() if isinstance(self.view, Mapping) else (self.view,)
        if self.view is not None and not all(isinstance(view, View) for view in views):
            raise TypeError(f"Scene.view = {self.view!r} is not a View, nor a dictionary of them.")
        if isinstance(self.view, Mapping) and len(self.view) > 1:
            _warn_of_distances(self.view)
            for path, source in zip(self.source_paths, self.sources, strict=True):
                _warn_of_pixels(f"Scene.{path}", source, self.view)

    @property
    def disks(self) -> tuple[Disk, ...]:
        """All disks, whatever holds them."""
        return _all_of(self.disk)

    @property
    def sources(self) -> tuple[PointSource, ...]:
        """All point sources, whatever holds them."""
        return () if self.source is None else _all_of(self.source)

    @property
    def disk_paths(self) -> list[str]:
        """Paths of all disks, such as ``disk`` or ``disk.inner``."""
        return _paths_of("disk", self.disk)

    @property
    def source_paths(self) -> list[str]:
        """Paths of all point sources, such as ``source.companion``."""
        return [] if self.source is None else _paths_of("source", self.source)

    @property
    def flux_paths(self) -> list[str]:
        """Paths of the fluxes of all disks and sources, in which the image is linear."""
        return [f"{path}.flux" for path in (*self.disk_paths, *self.source_paths)]

    def of(self, name: str | None) -> "Scene":
        """The same disks and sources in one of several views, or in one channel of the view.

        Parameters
        ----------
        name
            Of the view or of the channel; with None the scene must have one view.

        Raises
        ------
        ValueError
            If there is none of this name.
        """
        if name is None:
            return self
        if not isinstance(self.view, Mapping):
            return Scene(self.disk, source=self.source, view=self._only_view.only(name))
        if name not in self.view:
            raise ValueError(f"Scene has no view {name!r}, only {', '.join(self.view)}.")
        return Scene(self.disk, source=self.source, view=self.view[name])

    @property
    def _only_view(self) -> View:
        if isinstance(self.view, View):
            return self.view
        if self.view is None:
            raise ValueError("This Scene has no view: give it grid=Grid(...), or a View.")
        raise ValueError(f"Scene has the views {', '.join(self.view)}: choose one by of(name).")

    @property
    def grid(self):
        """The pixels of the view."""
        return self._only_view.grid

    @property
    def channels(self):
        """The channels of the view by their names."""
        return self._only_view.channels

    @property
    def noise(self):
        """The noise of the view's one channel."""
        if len(self.channels) > 1:
            raise ValueError(
                f"Scene has the channels {', '.join(self.channels)}, each with a noise of its own: "
                "choose one by of(name), or by the view= of the observation."
            )
        (channel,) = self.channels.values()
        return channel.noise

    def image(self) -> Float[Array, "ny nx"]:
        """The image in the one view, see `View.image`."""
        return self._only_view.image(self)

    def images(self) -> dict[str, Float[Array, "ny nx"]]:
        """The images of all channels of the one view, see `View.images`."""
        return self._only_view.images(self)

    def integration_error(self) -> Float[Array, " disks"]:
        """How exact the view's images are, see `View.integration_error`."""
        return self._only_view.integration_error(self)


def _check_curve(where: str, curve: str, disks: Sequence[Disk]) -> None:
    """ValueError where no disk has a curve, so that no channel can show the source."""
    said = ""
    for disk in disks:
        try:
            disk.phase.curves((curve,))
        except (ValueError, TypeError) as error:
            said = str(error)
        else:
            return
    raise ValueError(f"{where}.curve = {curve!r}, which no disk has: {said}")


def _numbers(views: Mapping[str, View], name: str) -> dict[str, float]:
    """One number of each view's grid, of those where it is known."""
    held = {key: getattr(view.grid, name) for key, view in views.items()}
    return {k: float(v) for k, v in held.items() if not is_traced(v) and np.shape(v) == ()}


def _differing(values: dict[str, float], apart: float) -> str:
    """The two of several numbers > 0 that differ most, or nothing where all agree."""
    if len(values) < 2:
        return ""
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if not values[most] > (1.0 + apart) * values[least]:
        return ""
    return f"{values[least]:g} in {least!r}, {values[most]:g} in {most!r}"


def _warn_of_distances(views: Mapping[str, View]) -> None:
    if said := _differing(_numbers(views, "distance"), 1e-5):
        warnings.warn(
            f"The views of a Scene have other distances of the star (pc): {said}. A disk of the "
            "same au then has another size in each: give all grids one distance.",
            stacklevel=_CALLER,
        )


def _warn_of_pixels(where: str, source: PointSource, views: Mapping[str, View]) -> None:
    """Warn where a source is shown in pixels of other sizes: its flux is a sum over them."""
    seen = {
        name: view
        for name, view in views.items()
        if any(source.shown(channel.curve) for channel in view.channels.values())
    }
    if said := _differing(_numbers(seen, "pixel_scale"), 0.01):
        warnings.warn(
            f"{where} is shown in views of other pixel scales (arcsec): {said}. Its flux is a sum "
            "over pixels, disks are surface brightness: in units per solid angle it means per "
            "pixel of its view. Give each view a source of its own, by curve=.",
            stacklevel=_CALLER,
        )


def _paths_of(field: str, held) -> list[str]:
    """Paths of what a field holds."""
    if isinstance(held, Mapping):
        return [f"{field}.{name}" for name in held]
    if isinstance(held, Sequence):
        return [f"{field}.{index}" for index in range(len(held))]
    return [field]


def _all_of(held) -> tuple:
    """What a field holds: one thing, a dictionary or a sequence of them."""
    if isinstance(held, Mapping):
        return tuple(held.values())
    return tuple(held) if isinstance(held, Sequence) else (held,)
