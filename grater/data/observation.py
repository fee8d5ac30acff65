"""Observations: an image with its errors and mask, and its likelihood under a scene."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

import math
import os
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Key

from pytreefit import param
from pytreefit.extend import as_whole_number, check_kind

from .._arrays import (
    binned,
    boolean_array,
    check_pixels,
    distortion_matrix,
    field_radius,
    image_and_error,
    largest_crop,
    real_array,
    square_about,
    squared_radius,
    unit_for,
)
from ..io.readers import read_fits, read_gpi
from ..scene import Scene
from ..view.view import Grid, check_on_sky
from .likelihood import AbstractObservation, scaled_to
from .starlight import Starlight, StarlightFit, StarlitNoise

# what a `Grid` is made of, beside its shape
_PLACE = ("pixel_scale", "distance", "center", "roll", "parity", "distortion")


def _field(name):
    return eqx.field(converter=lambda value: real_array(f"Observation.{name}", value))


class Observation(AbstractObservation):
    r"""An image of a disk with its error map and the mask of the pixels to use.

    Pixels that are not finite in the image or in the error map are not used, and are counted. All
    arrays are leaves: a second observation of the same shape compiles nothing.

    Parameters
    ----------
    image : array (ny, nx)
        The image; row index up = North, column index right = West (East left), unless ``roll`` and
        ``parity`` say otherwise. Astropy's ``Quantity``, ``Masked``, ``CCDData`` and masked arrays of
        NumPy are taken; masked pixels are not used.
    error : array (ny, nx) or float
        Standard deviation of every pixel, > 0 in the pixels in use: plain numbers in the unit of
        the image, or a Quantity. None takes the uncertainty that comes with a ``CCDData``.
    pixel_scale : float
        Size of a pixel, arcsec, > 0.
    distance : float
        Distance of the star, pc, > 0.
    mask : array of bool (ny, nx), optional
        True where a pixel is used; by default everywhere.
    center : (x, y), optional
        Pixel of the star, zero-based; by default ``(nx // 2, ny // 2)``.
    roll, parity, distortion
        How the pixels lie on the sky, as for `Grid`; by default North is up and East left.
    unit : str
        Unit of the image; a Quantity is converted to it.
    view : str, optional
        Name of the scene's view, or channel, that it is an image of; not needed for a single one.
    starlight : Starlight, optional
        Reference images whose coefficients are integrated out; the noise must be Gaussian.

    Raises
    ------
    ValueError
        If shapes disagree, if an error is zero or negative in a pixel in use, or if no pixel is
        left to use.
    TypeError
        If an array does not hold real numbers, or the mask no booleans, or where units do not
        agree.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.ones((5, 5))
    >>> image[0, 0] = np.nan
    >>> Observation(image, 0.1, pixel_scale=0.014, distance=72.0)
    Observation(5 x 5 pixels of 0.014 arcsec at 72 pc, star at (2, 2); 24 of 25 pixels used, 1 NaN masked)
    """  # noqa: E501

    image: Array = _field("image")
    error: Array = _field("error")
    mask: Array = eqx.field(converter=lambda value: boolean_array("Observation.mask", value))
    unit: str = eqx.field(static=True)
    view: str | None = eqx.field(static=True)
    starlight: Starlight | None
    pixel_scale: Array = param(unit="arcsec", bounds="(0, inf)", doc="size of a pixel")
    distance: Array = param(unit="pc", bounds="(0, inf)", doc="distance of the star")
    center: Array = param(unit="pix", shape=(2,), doc="pixel of the star (x, y), zero-based")
    roll: Array = param(unit="deg", doc="position angle of the detector's y axis")
    parity: int = eqx.field(static=True)
    distortion: Array | None = eqx.field(converter=distortion_matrix)

    def __init__(
        self,
        image: Any,
        error: Any,
        *,
        pixel_scale: Any,
        distance: Any,
        mask: Any = None,
        center: Any = None,
        roll: Any = 0.0,
        parity: int = 1,
        distortion: Any = None,
        unit: str = "",
        view: str | None = None,
        starlight: Starlight | None = None,
    ):
        self.image, self.error, self.unit = image_and_error("Observation", image, error, unit)
        self.mask = np.ones(self.image.shape, bool) if mask is None else mask
        self.pixel_scale, self.distance = pixel_scale, distance
        *_, ny, nx = (1, 1, *self.image.shape)
        self.center = (nx // 2, ny // 2) if center is None else center
        self.roll, self.parity, self.distortion = roll, parity, distortion
        self.view, self.starlight = view, starlight

    def __check_init__(self):
        check_kind("Observation.view", self.view, str | None)
        check_kind("Observation.starlight", self.starlight, Starlight | None)
        check_pixels(self.image, self.error, self.mask)
        check_on_sky(self.parity, self.distortion)
        if self.starlight is not None:
            self.starlight.check(self.error, self.used, self.center)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the image."""
        ny, nx = self.image.shape
        return ny, nx

    @property
    def grid(self) -> Grid:
        """The pixel grid on which a scene must be rendered to be compared with the image."""
        return Grid(self.shape, **{name: getattr(self, name) for name in _PLACE})

    @property
    def finite(self) -> Bool[Array, "ny nx"]:
        """Where the image and its error are finite."""
        return jnp.isfinite(self.image) & jnp.isfinite(self.error)

    @property
    def used(self) -> Bool[Array, "ny nx"]:
        """The pixels in use: those of the mask that are finite."""
        return self.mask & self.finite

    @property
    def n_used(self) -> int:
        """Number of pixels in use."""
        return int(jnp.sum(self.used))

    @property
    def n_masked_nan(self) -> int:
        """Number of pixels that are not used because the image or its error is not finite."""
        return int(jnp.sum(~self.finite))

    @property
    def radius(self) -> Float[Array, "ny nx"]:
        """Distance of every pixel from the star, in pixels."""
        return jnp.sqrt(squared_radius(self.shape, self.center))

    def __repr__(self) -> str:
        if self.image.ndim != 2 or isinstance(self.image, Tracer):
            return super().__repr__()
        ny, nx = self.shape
        x, y = (f"{float(c):g}" for c in self.center)
        unit = f" in {self.unit}" if self.unit else ""
        turned = f", y axis at {float(self.roll):.4g} deg" if float(self.roll) else ""
        turned += "" if self.parity > 0 else ", mirrored"
        return (
            f"Observation({ny} x {nx} pixels of {float(self.pixel_scale):g} arcsec at "
            f"{float(self.distance):g} pc{unit}, star at ({x}, {y}){turned}; "
            f"{self.n_used} of "
            f"{self.image.size} pixels used, {self.n_masked_nan} NaN masked)"
        )

    def seen(self, scene: Scene) -> Scene:
        """Return the scene in the view of this observation."""
        return scene if self.view is None else scene.of(self.view)

    def _images(self):
        return [self]

    def _models(self, scene):
        return [self.seen(scene).image()]

    def _noises(self, scene):
        return [self.seen(scene).noise]

    def _scattered(self, noise):
        """What scatters the image about the model: noise, and starlight if there is any."""
        if self.starlight is None:
            return noise
        columns = self.starlight.columns(self.shape, self.center)
        return StarlitNoise(noise, columns, self.starlight.widths())

    def compared(self, model: Float[Array, "ny nx"]):
        """Return image, model, error and pixels in use; the other pixels are 0, with error 1.

        So no number that is not finite enters a gradient.
        """
        if model.shape != self.shape:
            raise ValueError(
                f"The scene's image has shape {model.shape}, the observation's {self.shape}: "
                "build the scene with grid=observation.grid."
            )
        used = self.used
        image, model = (jnp.where(used, values, 0.0) for values in (self.image, model))
        return image, model, jnp.where(used, self.error, 1.0), used

    def best_starlight(self, scene: Scene) -> StarlightFit:
        """Return the most probable starlight once a scene is subtracted, and its error.

        With a scene of flux 0 it is what classical reference differential imaging subtracts.
        """
        if self.starlight is None:
            raise ValueError("This Observation has no starlight: give it starlight=Starlight(...).")
        ((noise, *parts),) = self._parts(scene)
        return noise.best(self.starlight.names, *parts)

    def without_starlight(self, scene: Scene) -> Self:
        """Return the observation without the best starlight, for figures; fit this one itself."""
        if self.starlight is None:
            return self
        return self.set({"image": self.image - self.best_starlight(scene).image, "starlight": None})

    def reduced_chi_square(self, scene: Scene, n_free: int = 0) -> Float[Array, ""]:
        """Return chi-square per degree of freedom, for ``n_free`` fitted numbers.

        The coefficients of starlight count as fitted.
        """
        used = jnp.sum(self.used)
        n_free += 0 if self.starlight is None else len(self.starlight.names)
        if not isinstance(used, Tracer) and n_free >= used:
            raise ValueError(f"n_free = {n_free} must be below the number of pixels used ({used}).")
        freedom = used.astype(self.image.dtype) - n_free
        return self.chi_square(scene) / freedom

    def scaled_to_data(self, scene: Scene) -> Scene:
        r"""Return the scene with all fluxes multiplied by the factor that fits the image best.

        .. math:: f = \frac{\sum M D / \sigma^2}{\sum M^2 / \sigma^2}

        One factor is exact for any number of them because the model image :math:`M` is linear in
        their fluxes. Use it for a start, since the unit of flux is whatever the image is in. The
        fluxes the scene has say how bright the disks are relative to each other, no more.

        Raises
        ------
        ValueError
            If the best factor is not positive: the model does not resemble the data.
        """
        return scaled_to(self, scene)

    def with_mask(self, mask: Any) -> Self:
        """Return an observation that uses only those of its pixels where ``mask`` is True."""
        return self.set({"mask": self.mask & boolean_array("with_mask: mask", mask)})

    def mask_radius(self, inner: float = 0.0, outer: float | None = None) -> Self:
        """Return an observation that uses only the pixels at ``inner <= r <= outer`` [pixels]."""
        if outer is not None and not 0 <= inner < outer:
            raise ValueError(f"mask_radius needs 0 <= inner < outer; got {inner} and {outer}.")
        squared = squared_radius(self.shape, self.center)
        keep = squared >= inner**2
        return self.with_mask(keep if outer is None else keep & (squared <= outer**2))

    def with_image(self, image: Any) -> Self:
        """Return the same observation with another image; works under `jax.vmap` and ``jit``."""
        return self.set({"image": real_array("with_image: image", image, self.unit or None)})

    @property
    def largest_crop(self) -> int:
        """Side of the largest square of pixels about the star, see `crop`."""
        return largest_crop(self.shape, self.center)

    def crop(self, size: int) -> Self:
        """Return the square of ``size`` (odd) pixels centred on the star's pixel."""
        window = square_about(self.shape, self.center, size)
        cut = {name: getattr(self, name)[window] for name in ("image", "error", "mask")}
        offset = jnp.asarray([window[1].start, window[0].start], self.center.dtype)
        if self.starlight is not None and self.starlight.references is not None:
            images = self.starlight.references[:, *window]
            cut["starlight"] = self.starlight.set({"references": images})
        return self.set({**cut, "center": self.center - offset})

    def bin(self, n: int) -> Self:
        """Return means of n x n pixels, of independent errors; used where all of them are.

        A unit per pixel stays that of the old pixels. A PSF has to be given in the new ones.
        """
        return self.set(binned(self, as_whole_number("bin: n", n, 1)))

    @classmethod
    def simulate(cls, scene: Scene, error: Any, key: Key[Array, ""], unit: str = "") -> Self:
        """Return a simulated observation: the scene's image with a draw of its noise.

        Parameters
        ----------
        scene : Scene
            Gives the image, the grid and the noise model.
        error : array (ny, nx) or float
            Error map, > 0; the noise drawn is ``scene.noise.scale`` times as wide.
        key : jax.random.key
            Random key.
        unit : str
            Unit of the image, for labels.
        """
        image, grid = scene.image(), scene.grid
        error = real_array("simulate: error", error, unit_for(error, unit or None))
        error = jnp.broadcast_to(error, image.shape)
        return cls(
            scene.noise.draw(key, image, error),
            error,
            **{name: getattr(grid, name) for name in _PLACE},
            unit=unit,
        )

    @classmethod
    def from_fits(
        cls,
        path: str | os.PathLike,
        *,
        distance: Any,
        pixel_scale: Any = None,
        image_hdu: int | str | None = None,
        image_plane: int | tuple[int, ...] | None = None,
        error: Any = None,
        error_hdu: int | str | None = None,
        error_plane: int | tuple[int, ...] | None = None,
        noise_width: float = 1.5,
        mask: Any = None,
        dq_bits: int | None = None,
        center: Any = None,
        roll: Any = None,
        parity: int | None = None,
        unit: str | None = None,
        check_header: bool = True,
    ) -> Self:
        """Read an observation from FITS files.

        Parameters
        ----------
        path, distance, mask
            File of the image; the others as for `Observation`.
        pixel_scale, unit : optional
            By default what the header says (unit: BUNIT, which is converted to another one).
        image_hdu, image_plane : optional
            Number or name of the HDU, by default the first that holds an image, and plane of a
            cube, zero-based. Axes of length 1 do not count.
        error, error_hdu, error_plane : optional
            The error map: an array; a file (by default ``path`` itself) with HDU (by default the
            one named ERR, STD or the like) and plane (by default the image's, of a cube of its
            shape); or "annular" for `noise_map` of the image.
        noise_width : float
            Half the width of the annuli of "annular", pixels.
        dq_bits : int, optional
            Sum of the flags in an HDU DQ that exclude a pixel; by default all, for JWST 1.
        center : (x, y), optional
            The star, zero-based; by default (PSFCENTX, PSFCENTY) of the header, then the default
            of `Observation`, with a warning where that is a guess.
        roll, parity : optional
            How the image lies on the sky, as for `Grid`; by default as the header says, with a
            warning where North is not up or East not to the left. No image is rotated.
        check_header : bool
            Whether the header is read, and pixel scale, star and unit must be what it says.

        Raises
        ------
        FileNotFoundError, ValueError, TypeError
            If a file or HDU cannot be read, no error map is named, or the header disagrees.
        """
        place, error_place = (image_hdu, image_plane), (error_hdu, error_plane)
        geometry = pixel_scale, center, (roll, parity), check_header
        more = unit, mask, dq_bits, noise_width
        return cls(**read_fits(path, place, error, error_place, geometry, *more), distance=distance)

    @classmethod
    def from_gpi(
        cls,
        path: str | os.PathLike,
        distance: Any,
        *,
        stokes: str = "Q_phi",
        crop: int | None = None,
        inner: float = 12.0,
        outer: float | None = None,
        noise_width: float = 1.5,
        pixel_scale: Any = None,
        center: Any = None,
        roll: Any = None,
        parity: int | None = None,
        check_header: bool = True,
    ) -> Self:
        r"""Read a Gemini Planet Imager image in radial Stokes parameters.

        Its error is the `noise_map` of :math:`U_\phi` over the full frame.

        Parameters
        ----------
        path : path
            FITS file of the GPI pipeline with STKESTYP = RADIAL.
        distance : float
            Distance of the star, pc.
        stokes : str
            "Q_phi" or "U_phi"; both fit a `Channel` of the same ``stokes``.
        crop : int, optional
            Odd size of the square about the star, pixels; by default 5 more a side than the mask's.
        inner : float
            Pixels nearer to the star, in residual starlight, are masked.
        outer : float, optional
            Pixels farther from the star are masked; by default where the annuli of the noise map
            begin to leave the detector's field, whose edge holds bad pixels of many sigma.
            ``math.inf`` keeps all.
        noise_width : float
            Half the width of the noise map's annuli, pixels.
        pixel_scale : float, optional
            Arcsec; by default 0.014166, the instrument's (older headers have 0.01414).
        center, roll, parity : optional
            As for `from_fits`, of the full frame; the star must be given here or in the header.
        check_header : bool
            Whether the header is read, and the pixel scale (given, or 0.014166) must be its.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file or its HDU 'SCI' is not there, or holds no such image at GPI's scale.
        """
        geometry = pixel_scale, center, (roll, parity), check_header
        observation = cls(**read_gpi(path, stokes, geometry, noise_width), distance=distance)
        if outer is None:
            outer = field_radius(np.asarray(observation.finite), observation.center, inner)
        if crop is None and math.isfinite(outer):
            crop = min(2 * (math.ceil(outer) + 5) + 1, observation.largest_crop)
        cut = observation if crop is None else observation.crop(crop)
        return cut.mask_radius(inner, outer)
