"""An exposure in its detector's own frame, as files of cameras hold it."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from pytreefit.extend import (
    as_booleans,
    as_data,
    as_number,
    check_choice,
    check_kind,
    unit_of,
)

from .._arrays import as_unit, check_pixels, opened, position, square_about, unit_for
from ..data.observation import Observation
from ..view.view import Grid, View
from .readers import read_jwst


@dataclasses.dataclass(frozen=True, eq=False)
class Exposure:
    """An image as a detector took it, and how that lay on the sky.

    It makes both sides of a fit, on the same pixels: `observation` the data, `view` how a scene is
    seen. Exposures of reference stars are read the same way, and their ``image`` goes into
    `Starlight`.

    Parameters
    ----------
    image, error : array (ny, nx)
        NaN where there is none; the error may be one number. A Quantity is converted as for
        `Observation`.
    mask : array of bool (ny, nx)
        True where a pixel can be used.
    pixel_scale : float
        Arcsec, the root of a pixel's area.
    center : (x, y)
        The star, zero-based.
    roll, parity, distortion
        As for `Grid`.
    transmission : array (ny, nx), optional
        Of the coronagraph.
    pixel_area : float, optional
        Steradian, by the header; it turns MJy/sr into a flux.
    unit, name : str
        Of the image, and of the target.

    Raises
    ------
    ValueError, TypeError
        For shapes that disagree, what holds no numbers (a mask: no booleans), errors that are not
        positive in a pixel that can be used, and where there is no such pixel.

    Examples
    --------
    >>> import numpy as np
    >>> used = np.ones((9, 9), bool)
    >>> exposure = Exposure(np.ones((9, 9)), 0.1, used, 0.063, center=(3.6, 4.2), roll=110.0)
    >>> small = exposure.crop(5)
    >>> small.image.shape, [round(x, 1) for x in small.center]
    ((5, 5), [1.6, 2.2])
    >>> float(small.view(distance=19.4).grid.roll), small.observation(distance=19.4).shape
    (110.0, (5, 5))
    """

    image: np.ndarray
    error: np.ndarray
    mask: np.ndarray
    pixel_scale: float
    center: tuple[float, float]
    roll: float = 0.0
    parity: int = 1
    distortion: np.ndarray | None = None
    transmission: np.ndarray | None = None
    pixel_area: float | None = None
    unit: str = ""
    name: str = ""

    def __post_init__(self):
        unit = str(self.unit) if hasattr(self.unit, "to_string") else self.unit  # of astropy
        check_kind("Exposure.unit", unit, str)
        check_kind("Exposure.name", self.name, str)
        image = opened(self.image)
        own = unit or unit_of(image)
        values, error = as_data("Exposure.image", image, own), opened(self.error)
        to = unit_for(error, own, "Exposure", of=unit_of(image))
        error = as_data("Exposure.error", error, to)
        shape = values.shape
        every = {
            "image": values,
            "error": np.full(shape, error) if error.ndim == 0 else error,
            "mask": as_booleans("Exposure.mask", self.mask),
            "unit": "" if own is None else str(own),
        }
        check_pixels(*(every[name] for name in ("image", "error", "mask")), "Exposure")
        for name, of in (("pixel_scale", "arcsec"), ("roll", "deg"), ("pixel_area", "sr")):
            if (value := getattr(self, name)) is not None or name != "pixel_area":
                every[name] = as_number(f"Exposure.{name}", value, of)
        for name, wanted in (("transmission", shape), ("distortion", (2, 2))):
            if (value := getattr(self, name)) is not None:
                every[name] = as_data(f"Exposure.{name}", opened(value), "", shape=wanted)
        every["center"] = position("Exposure.center", self.center)
        check_choice("Exposure.parity", self.parity, (1, -1))
        for name, value in every.items():
            object.__setattr__(self, name, value)  # frozen

    @classmethod
    def from_jwst(
        cls,
        path: str | os.PathLike,
        *,
        transmission: Any = None,
        center: Any = None,
        dq_bits: int = 1,
    ) -> Self:
        """Read a calibrated exposure of the James Webb Space Telescope (`calints`, `cal`, `i2d`).

        The integrations of a cube are averaged, with the error of a mean of independent ones.
        Orientation and distortion are those of the header's matrix, at its reference pixel.

        Parameters
        ----------
        path : path
            FITS file with the HDUs SCI, ERR and, unless resampled, DQ.
        transmission : path or array (ny, nx), optional
            The coronagraph's transmission, such as a ``_psfmask`` file of spaceKLIP.
        center : (x, y), optional
            The star, zero-based. By default CRPIX, where the centre of the coronagraph is, of files
            in detector pixels that were taken through one; the star is there to some tenth of a
            pixel.
        dq_bits : int
            Sum of the flags in DQ that exclude a pixel, by default DO_NOT_USE alone.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file or HDU is not there, the telescope is another, shapes or units disagree, no
            pixel is left, or the header does not say where the star is or how the image lies on the
            sky.
        """
        return cls(**read_jwst(path, center, transmission, dq_bits))

    def crop(self, size: int) -> Self:
        """Return the square of ``size`` (odd) pixels centred on the star's pixel."""
        rows, columns = square_about(self.image.shape, self.center, size)
        x, y = self.center
        maps = ("image", "error", "mask", "transmission")
        cut = {k: None if (v := getattr(self, k)) is None else v[rows, columns] for k in maps}
        center = x - columns.start, y - rows.start
        return dataclasses.replace(self, **cut, center=center)

    def observation(self, distance: Any, **more: Any) -> Observation:
        """Return the data with their errors.

        Parameters
        ----------
        distance
            Of the star, pc.
        **more
            Further arguments of `Observation`, such as ``starlight``; a ``mask`` leaves out pixels
            beside those that cannot be used, and an ``error`` stands in place of the exposure's.

        Raises
        ------
        ValueError, TypeError
            As for `Observation`, also for a ``mask`` of another shape or that holds no booleans.
        """
        mask = self.mask
        if (given := more.pop("mask", None)) is not None:
            where = "Exposure.observation: mask"
            mask = mask & as_booleans(where, given, shape=self.image.shape)
        image, error = (as_unit(values, self.unit) for values in (self.image, self.error))
        error = more.pop("error", error)
        where = dict(pixel_scale=self.pixel_scale, center=self.center, unit=self.unit)
        where |= self._on_sky
        return Observation(image, error, mask=mask, distance=distance, **{**where, **more})

    def view(self, distance: Any, **more: Any) -> View:
        """Return how a scene is seen.

        Parameters
        ----------
        distance
            Of the star, pc.
        **more
            Further arguments of `View`, such as ``psf`` and ``accuracy``. Of ``channel`` each has
            the transmission itself.

        Raises
        ------
        ValueError, TypeError
            As for `View`, and where the exposure has a transmission, but a channel has none.
        """
        grid = Grid(self.image.shape, self.pixel_scale, distance, self.center, **self._on_sky)
        channel = more.get("channel")
        if channel is None:
            return View(grid, **{"transmission": self.transmission, **more})
        every = channel.values() if isinstance(channel, Mapping) else (channel,)
        lacking = any(getattr(one, "transmission", None) is None for one in every)
        if self.transmission is not None and lacking:
            raise ValueError(
                "Exposure.view got channel=, and the exposure has a transmission: give it to each "
                "Channel, Channel(transmission=exposure.transmission, ...)."
            )
        return View(grid, **more)

    @property
    def _on_sky(self) -> dict[str, Any]:
        return {"roll": self.roll, "parity": self.parity, "distortion": self.distortion}
