"""Observations: an image with its errors and mask, from arrays or FITS files."""

import math
import os
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from pytreefit import Model, param

from ._arrays import boolean_array, check_shape, field_radius, real_array, squared_radius
from ._fits import describe_hdus, read_gpi_planes, read_image
from .noise import GaussianNoise, noise_map
from .scene import Grid, Scene, disk_paths


class Observation(Model):
    r"""An image of a disk with its error map and the mask of the pixels to use.

    The log-likelihood of a scene with the model image :math:`M` is the sum of its noise model's
    log-density over the pixels in use. Pixels that are not finite in the image or in the error map
    are masked and counted; at every masked pixel the image is set to 0 and the error to 1, so
    that no NaN enters a gradient. All arrays are leaves: a second observation of the same shape
    compiles nothing.

    Parameters
    ----------
    image : array (ny, nx)
        The image; row index up = North, column index right = West (East left).
    error : array (ny, nx) or float
        Standard deviation of every pixel in the unit of the image, > 0 in the pixels in use.
    pixel_scale : float
        Size of a pixel, arcsec, > 0.
    distance : float
        Distance of the star, pc, > 0.
    mask : array of bool (ny, nx), optional
        True where a pixel is used; by default everywhere.
    center : (x, y), optional
        Pixel of the star, zero-based; by default ``(nx // 2, ny // 2)``.
    unit : str
        Unit of the image, for labels.

    Raises
    ------
    ValueError
        If shapes disagree, if an error is zero or negative in a pixel in use, or if no pixel is
        left to use.
    TypeError
        If an array does not hold real numbers, or the mask no booleans.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.ones((5, 5))
    >>> image[0, 0] = np.nan
    >>> Observation(image, 0.1, pixel_scale=0.014, distance=72.0)
    Observation(5 x 5 pixels of 0.014 arcsec at 72 pc, star at (2, 2); 24 of 25 pixels used, 1 NaN masked)
    """  # noqa: E501

    image: Array
    error: Array
    mask: Array
    missing: Array
    unit: str = eqx.field(static=True)
    pixel_scale: Array = param(unit="arcsec", bounds="(0, inf)", doc="size of a pixel")
    distance: Array = param(unit="pc", bounds="(0, inf)", doc="distance of the star")
    center: Array = param(unit="pix", shape=(2,), doc="pixel of the star (x, y), zero-based")

    def __init__(
        self,
        image: Any,
        error: Any,
        *,
        pixel_scale: Any,
        distance: Any,
        mask: Any = None,
        center: Any = None,
        unit: str = "",
    ):
        if hasattr(image, "unit") and not unit:
            unit = str(image.unit)
        error = error.to_value(image.unit) if hasattr(image, "unit") else error
        image, error = real_array("image", image), real_array("error", error)
        if image.ndim != 2:
            raise ValueError(
                f"Observation.image has shape {image.shape}; a 2-d image (ny, nx) is needed: "
                "select one plane of a cube, for example image[0]."
            )
        error = jnp.broadcast_to(error, image.shape) if error.ndim == 0 else error
        check_shape("error", error, image.shape)
        used = jnp.ones(image.shape, bool) if mask is None else boolean_array("mask", mask)
        check_shape("mask", used, image.shape)

        self.missing = ~(jnp.isfinite(image) & jnp.isfinite(error))
        self.mask = used & ~self.missing
        self.image = jnp.where(self.mask, image, jnp.zeros_like(image))
        self.error = jnp.where(self.mask, error, jnp.ones_like(error))
        self.pixel_scale, self.distance = pixel_scale, distance
        ny, nx = image.shape
        star: Any = (nx // 2, ny // 2) if center is None else center
        self.center = star
        self.unit = str(unit)

    def __check_init__(self):
        for name in ("error", "mask", "missing"):
            check_shape(name, getattr(self, name), self.image.shape)
        leaves = (self.image, self.error, self.mask, self.missing)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return
        image, error, mask, missing = (np.asarray(leaf) for leaf in leaves)
        if not mask.any():
            raise ValueError(
                f"Observation.mask leaves no pixel to use: of {mask.size} pixels {missing.sum()} "
                "are not finite in the image or the error map, and the mask excludes the others. "
                "The mask is True where a pixel is USED: invert it if it marks bad pixels."
            )
        bad = mask & ~(error > 0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"Observation.error is zero or negative in {bad.sum()} of the {mask.sum()} pixels "
                f"in use; the first is {error[row, column]:g} at row {row}, column {column}. "
                "Give these pixels an error > 0, or mask them (mask=, True = used)."
            )
        if not np.isfinite(image).all():
            raise ValueError(
                "Observation.image holds values that are not finite. Build a new Observation from "
                "the image (or use with_image), which masks and counts them."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the image."""
        ny, nx = self.image.shape
        return ny, nx

    @property
    def grid(self) -> Grid:
        """The pixel grid on which a scene must be rendered to be compared with the image."""
        return Grid(
            self.shape, pixel_scale=self.pixel_scale, distance=self.distance, center=self.center
        )

    @property
    def n_used(self) -> int:
        """Number of pixels in use."""
        return int(jnp.sum(self.mask))

    @property
    def n_masked_nan(self) -> int:
        """Number of pixels masked because the image or its error is not finite there."""
        return int(jnp.sum(self.missing))

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
        return (
            f"Observation({ny} x {nx} pixels of {float(self.pixel_scale):g} arcsec at "
            f"{float(self.distance):g} pc{unit}, star at ({x}, {y}); {self.n_used} of "
            f"{self.image.size} pixels used, {self.n_masked_nan} NaN masked)"
        )

    def _difference(self, scene: Scene) -> Float[Array, "ny nx"]:
        model = scene.image()
        if model.shape != self.image.shape:
            raise ValueError(
                f"The scene's image has shape {model.shape}, the observation's {self.shape}: "
                "build the scene with grid=observation.grid."
            )
        return jnp.where(self.mask, self.image - model, jnp.zeros_like(self.image))

    def log_likelihood(self, scene: Scene) -> Float[Array, ""]:
        """Return the log-likelihood of the image under the scene and its noise model.

        Parameters
        ----------
        scene : Scene
            Rendered on this observation's grid; ``scene.noise`` says how residuals scatter.
        """
        return scene.noise.log_likelihood(self._difference(scene), self.error, self.mask)

    def residuals(self, scene: Scene) -> Float[Array, " pixels"]:
        r"""Return the standardised residuals as a vector of ny * nx values, 0 at masked pixels.

        .. math:: r = (D - M) / (s\,\sigma)

        with the noise scale :math:`s` of the scene.
        """
        return jnp.ravel(self._difference(scene) / (scene.noise.scale * self.error))

    def log_normalization(self, scene: Scene) -> Float[Array, " pixels"] | None:
        r"""Return what the log-likelihood has besides the squares of the residuals.

        .. math:: \ln L = \sum_{pixels} \left( n - r^2 / 2 \right), \qquad
                  n = -\ln (s\,\sigma) - \tfrac12 \ln 2\pi

        Shape (ny * nx,), 0 at masked pixels; None where the noise is not Gaussian, so that the fit
        is no least-squares problem.
        """
        if not isinstance(scene.noise, GaussianNoise):
            return None
        width = scene.noise.scale * self.error
        density = scene.noise.log_density(jnp.zeros_like(width)) - jnp.log(width)
        return jnp.ravel(jnp.where(self.mask, density, 0.0))

    def chi_square(self, scene: Scene) -> Float[Array, ""]:
        """Return the sum of the squared residuals in units of the error map."""
        return jnp.sum(jnp.square(self._difference(scene) / self.error))

    def reduced_chi_square(self, scene: Scene, n_free: int = 0) -> Float[Array, ""]:
        """Return chi-square per degree of freedom, for ``n_free`` fitted numbers."""
        used = jnp.sum(self.mask)
        if not isinstance(used, Tracer) and n_free >= used:
            raise ValueError(f"n_free = {n_free} must be below the number of pixels used ({used}).")
        freedom = used.astype(self.image.dtype) - n_free
        return self.chi_square(scene) / freedom

    def scaled_to_data(self, scene: Scene) -> Scene:
        r"""Return the scene with the fluxes of all its disks multiplied to fit the image best.

        .. math:: f = \frac{\sum M D / \sigma^2}{\sum M^2 / \sigma^2}

        One factor is exact for any number of disks because the model image :math:`M` is linear in
        their fluxes. Use it for a start, since the unit of flux is whatever the image is in.

        Raises
        ------
        ValueError
            If the best factor is not positive: the model does not resemble the data.
        """
        data = self.image / self.error
        model = data - self._difference(scene) / self.error
        model = jnp.where(self.mask, model, jnp.zeros_like(model))
        factor = jnp.sum(model * data) / jnp.sum(jnp.square(model))
        if not isinstance(factor, Tracer) and not factor > 0:
            raise ValueError(
                f"The scene fits the image best with its fluxes multiplied by {float(factor):g}, "
                "which is not positive: start from a geometry nearer to the data."
            )
        paths = [f"{path}.flux" for path in disk_paths(scene)]
        return scene.set({path: scene.get(path) * factor for path in paths})

    def with_mask(self, mask: Any) -> Self:
        """Return an observation that uses only those of its pixels where ``mask`` is True."""
        keep = boolean_array("mask", mask)
        check_shape("mask", keep, self.shape)
        keep = keep & self.mask
        return self.set(
            {
                "mask": keep,
                "image": jnp.where(keep, self.image, jnp.zeros_like(self.image)),
                "error": jnp.where(keep, self.error, jnp.ones_like(self.error)),
            }
        )

    def mask_radius(self, inner: float = 0.0, outer: float | None = None) -> Self:
        """Return an observation that uses only the pixels at ``inner <= r <= outer`` [pixels]."""
        if outer is not None and not 0 <= inner < outer:
            raise ValueError(f"mask_radius needs 0 <= inner < outer; got {inner} and {outer}.")
        squared = squared_radius(self.shape, self.center)
        keep = squared >= inner**2
        return self.with_mask(keep if outer is None else keep & (squared <= outer**2))

    def with_image(self, image: Any) -> Self:
        """Return the same observation with another image; works under ``jax.vmap`` and ``jit``."""
        return type(self)(
            image,
            self.error,
            pixel_scale=self.pixel_scale,
            distance=self.distance,
            mask=self.mask,
            center=self.center,
            unit=self.unit,
        )

    def _largest_crop(self) -> int:
        x, y = np.rint(np.asarray(self.center)).astype(int).tolist()
        ny, nx = self.shape
        return max(2 * min(x, y, nx - 1 - x, ny - 1 - y) + 1, 0)

    def crop(self, size: int) -> Self:
        """Return the square of ``size`` (odd) pixels centred on the star's pixel."""
        if int(size) != size or size < 1 or size % 2 == 0:
            raise ValueError(
                f"crop = {size} must be a positive odd number of pixels, so that the star's pixel "
                "is in the middle."
            )
        largest = self._largest_crop()
        middle = np.rint(np.asarray(self.center)).astype(int)
        if size > largest:
            raise ValueError(
                f"crop = {size} does not fit into the image of shape {self.shape} around the star "
                f"at {tuple(middle.tolist())}: the largest crop is {largest}."
            )
        x0, y0 = middle - int(size) // 2
        window = (slice(y0, y0 + int(size)), slice(x0, x0 + int(size)))
        cut = {name: getattr(self, name)[window] for name in ("image", "error", "mask", "missing")}
        offset = jnp.asarray([x0, y0], self.center.dtype)
        return self.set({**cut, "center": self.center - offset})

    @classmethod
    def simulate(cls, scene: Scene, error: Any, key: Key[Array, ""], unit: str = "") -> Self:
        """Return a simulated observation: the scene's image plus a draw of its noise.

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
        image = scene.image()
        error = jnp.broadcast_to(real_array("error", error), image.shape)
        grid = scene.grid
        return cls(
            image + scene.noise.draw(key, error),
            error,
            pixel_scale=grid.pixel_scale,
            distance=grid.distance,
            center=grid.center,
            unit=unit,
        )

    @classmethod
    def from_fits(
        cls,
        path: str | os.PathLike,
        *,
        pixel_scale: Any,
        distance: Any,
        image_hdu: int | str | None = None,
        image_plane: int | None = None,
        error: Any = None,
        error_hdu: int | str | None = None,
        error_plane: int | None = None,
        noise_width: float = 1.5,
        mask: Any = None,
        center: tuple[float, float] | None = None,
        unit: str | None = None,
    ) -> Self:
        """Read an observation from FITS files; North must be up and East left.

        Parameters
        ----------
        path : path
            File that holds the image.
        pixel_scale, distance, mask, center
            As for `Observation`.
        image_hdu : int or str, optional
            Number or name of the image's HDU; by default the first that holds an image.
        image_plane : int, optional
            Plane of a cube, zero-based.
        error : array, path or "annular", optional
            The error map, or the file that holds it (by default ``path`` itself, with
            ``error_hdu``), or "annular" for `noise_map` of the image itself.
        error_hdu, error_plane : optional
            As ``image_hdu`` and ``image_plane``, for the error map.
        noise_width : float
            Half the width of the annuli of "annular", pixels.
        unit : str, optional
            Unit of the image; by default the header's BUNIT.

        Raises
        ------
        FileNotFoundError
            If a file is not there.
        ValueError
            If an HDU is not there or holds no image, or no error map is named.
        """
        image, header = read_image(path, image_hdu, image_plane, "image")
        if isinstance(error, str) and error == "annular":
            error = noise_map(image, center, noise_width)
        elif isinstance(error, str | os.PathLike):
            error = read_image(error, error_hdu, error_plane, "error")[0]
        elif error is None:
            if error_hdu is None:
                raise ValueError(
                    f"No error map is named for {os.fspath(path)}: give error_hdu= (the file's "
                    f"HDUs are {describe_hdus(path)}), error= an array or a path, or "
                    'error="annular" for the noise in annuli of the image itself.'
                )
            error = read_image(path, error_hdu, error_plane, "error")[0]
        return cls(
            image,
            error,
            pixel_scale=pixel_scale,
            distance=distance,
            mask=mask,
            center=center,
            unit=str(header.get("BUNIT", "")) if unit is None else unit,
        )

    @classmethod
    def from_gpi(
        cls,
        path: str | os.PathLike,
        distance: Any,
        *,
        crop: int | None = None,
        inner: float = 12.0,
        outer: float | None = None,
        noise_width: float = 1.5,
        pixel_scale: Any = None,
        center: tuple[float, float] | None = None,
    ) -> Self:
        r"""Read a Gemini Planet Imager image in radial Stokes parameters.

        The image is :math:`Q_\phi` (plane 1 of HDU 'SCI'), its error the `noise_map` of
        :math:`U_\phi` (plane 2) over the full frame, before any crop.

        Parameters
        ----------
        path : path
            FITS file of the GPI pipeline with STKESTYP = RADIAL, North up, East left.
        distance : float
            Distance of the star, pc.
        crop : int, optional
            Odd size of the square to keep about the star, pixels; by default as many as leave 5
            pixels around the mask, for the wings of the PSF.
        inner : float
            Pixels nearer to the star are masked: residual starlight. The default, 12 pixels, is
            0.17 arcsec; the focal-plane mask in H ends at 9.
        outer : float, optional
            Pixels farther from the star are masked; by default where the annuli of the noise map
            begin to leave the detector's field (81 to 92 pixels in typical data), because the
            field's edge holds bad pixels of many sigma. ``math.inf`` keeps all.
        noise_width : float
            Half the width of the noise map's annuli, pixels.
        pixel_scale : float, optional
            Size of a pixel, arcsec; by default 0.014166, the instrument's, whatever the header
            says (older versions of the pipeline wrote 0.01414).
        center : (x, y), optional
            Pixel of the star in the full frame, zero-based; by default the header's PSFCENTX and
            PSFCENTY or, if they are missing, CRPIX1 - 1 and CRPIX2 - 1.

        Raises
        ------
        FileNotFoundError
            If the file is not there.
        ValueError
            If HDU 'SCI' is missing, its Stokes parameters are not radial, its shape is not
            (3 or more, ny, nx), North is not up, or its scale is not GPI's.
        """
        q_phi, u_phi, unit, star = read_gpi_planes(path, check_scale=pixel_scale is None)
        center = star if center is None else center
        if center is None:
            raise ValueError(
                f"{os.fspath(path)} does not say where the star is (no PSFCENTX, PSFCENTY, CRPIX1 "
                "and CRPIX2 in HDU 'SCI'): give center=(x, y), zero-based."
            )
        observation = cls(
            q_phi,
            noise_map(u_phi, center, noise_width),
            pixel_scale=0.014166 if pixel_scale is None else pixel_scale,
            distance=distance,
            center=center,
            unit=unit,
        )
        if outer is None:
            outer = field_radius(np.isfinite(q_phi) & np.isfinite(u_phi), center, inner)
        if crop is None and math.isfinite(outer):
            crop = min(2 * (math.ceil(outer) + 5) + 1, observation._largest_crop())
        observation = observation if crop is None else observation.crop(crop)
        return observation.mask_radius(inner, outer)
