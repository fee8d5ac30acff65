"""An exposure in its detector's own frame, as files of cameras hold it."""

import os
from typing import Any, NamedTuple, Self

import numpy as np

from ._arrays import square_about
from .observation import Observation
from .readers import read_jwst
from .view import Grid, View


class Exposure(NamedTuple):
    """An image as a detector took it, and how that lay on the sky.

    It makes both sides of a fit, on the same pixels: `observation` the data, `view` how a scene is
    seen. Exposures of reference stars are read the same way, and their ``image`` goes into
    `Starlight`.

    Parameters
    ----------
    image, error : array (ny, nx)
        NaN where there is none.
    mask : array of bool (ny, nx)
        True where a pixel can be used.
    pixel_scale : float
        Arcsec, the root of a pixel's area.
    center : (x, y)
        The star, zero-based.
    roll, parity, distortion
        As for `View`.
    transmission : array (ny, nx), optional
        Of the coronagraph.
    pixel_area : float, optional
        Steradian.
    unit, name
        Of the image, and of the target.
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
            The star, zero-based. By default CRPIX of files in detector pixels, where the centre of
            the coronagraph is; the star is there to some tenth of a pixel.
        dq_bits : int
            Sum of the flags in DQ that exclude a pixel, by default DO_NOT_USE alone.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file or HDU is not there, shapes or units disagree, no pixel is left, or the header
            does not say how the image lies on the sky.
        """
        return cls(**read_jwst(path, center, transmission, dq_bits))

    def crop(self, size: int) -> Self:
        """Return the square of ``size`` (odd) pixels centred on the star's pixel."""
        rows, columns = square_about(self.image.shape, self.center, size)
        x, y = self.center
        maps = ("image", "error", "mask", "transmission")
        cut = {k: None if (v := getattr(self, k)) is None else v[rows, columns] for k in maps}
        return self._replace(**cut, center=(x - columns.start, y - rows.start))

    def observation(self, distance: Any, **more: Any) -> Observation:
        """Return the data with their errors.

        Parameters
        ----------
        distance
            Of the star, pc.
        **more
            Further arguments of `Observation`, such as ``starlight``; a ``mask`` leaves out pixels
            beside those that cannot be used, and an ``error`` stands in place of the exposure's.
        """
        mask = self.mask & np.asarray(more.pop("mask", True), bool)
        error = more.pop("error", self.error)
        where = dict(pixel_scale=self.pixel_scale, center=self.center, unit=self.unit)
        return Observation(self.image, error, mask=mask, distance=distance, **{**where, **more})

    def view(self, distance: Any, **more: Any) -> View:
        """Return how a scene is seen.

        Parameters
        ----------
        distance
            Of the star, pc.
        **more
            Further arguments of `View`, such as ``psf`` and ``accuracy``.
        """
        grid = Grid(self.image.shape, self.pixel_scale, distance, self.center)
        how = dict(roll=self.roll, parity=self.parity, distortion=self.distortion)
        return View(grid, **{**how, "transmission": self.transmission, **more})
