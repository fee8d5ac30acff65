"""Files of PSFs: a single one, and those that change over the field."""

import math
import os
import re
import warnings
from typing import Any

import numpy as np

from pytreefit.extend import as_number, as_whole_number, as_whole_numbers, check_kind

from .._arrays import position
from ..io.files import data_of, described, opened_fits
from .field_psf import FieldPSF, Interpolation
from .psf import ImagePSF
from .stamps import OFF_CENTRE, centred_stamps, light_center

_OTHER_SCALE = 0.01  # relative, of pixels


# what STPSF and WebbPSF call the PSFs in detector pixels, with distortion and without
_IN_PIXELS = ("DET_DIST", "DET_SAMP")


def read_psf(
    path: str | os.PathLike,
    *,
    hdu: int | str | None = None,
    center: Any = None,
    pixel_scale: Any = None,
) -> ImagePSF:
    """Read a PSF out of a FITS file, such as a star's image or a file of STPSF.

    Points per pixel are OVERSAMP of the header, 1 without it; the model is rendered on as many,
    ``Scene(oversample=psf.oversample)``.

    Parameters
    ----------
    path
        The file.
    hdu
        Number or name of the HDU; by default DET_DIST or DET_SAMP, which are in detector pixels, or
        the first that holds an image.
    center
        Its centre (x, y), zero-based; by default the middle of the stamp or, of an even size, the
        pixel right of it and above where that is nearer to the light.
    pixel_scale
        Of the image that is fitted, arcsec, which PIXELSCL in the header is compared with.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no file or image, for a cube, for pixels of another scale, and as by
        `ImagePSF`.

    Warns
    -----
    UserWarning
        Where the light is not about the centre that is taken, and as by `ImagePSF`.
    """
    path = os.fspath(path)
    with opened_fits(path) as hdus:
        found = _psf_in(hdus, hdu, path)
        header, image = found.header.copy(), np.squeeze(np.asarray(data_of(found, path), float))
    if image.ndim != 2:
        raise ValueError(f"{path} holds no image but an array of shape {image.shape}")
    n = as_whole_number("OVERSAMP", header.get("OVERSAMP", 1), 1)
    _check_scale(path, header, n, pixel_scale)
    center = _middle(path, image) if center is None else center
    return ImagePSF(image, center=center, oversample=n)


def _psf_in(hdus, hdu: int | str | None, path: str):
    """The HDU that is named, or that must be meant."""
    images = [one for one in hdus if one.is_image and one.shape]
    if hdu is not None:
        try:
            images = [one for one in (hdus[hdu],) if one in images]
        except (KeyError, IndexError):
            images = []
    if not images:
        where = "" if hdu is None else f" in an HDU {hdu!r}"
        raise ValueError(f"{path} holds no image{where}: its HDUs are {described(hdus)}")
    named = {one.name: one for one in images}
    return next((named[name] for name in _IN_PIXELS if name in named), images[0])


def check_psf_scale(path: str | os.PathLike, pixel_scale: float) -> None:
    """ValueError if a file of a PSF says that its pixels are of another scale, in arcsec."""
    with opened_fits(path) as hdus:
        header = _psf_in(hdus, None, os.fspath(path)).header.copy()
    _check_scale(os.fspath(path), header, int(header.get("OVERSAMP", 1)), pixel_scale)


def _check_scale(path: str, header, n: int, pixel_scale: Any) -> None:
    if pixel_scale is None or "PIXELSCL" not in header:
        return
    wanted = as_number("pixel_scale", pixel_scale, "arcsec")
    own = n * float(header["PIXELSCL"])
    if abs(own / wanted - 1.0) > _OTHER_SCALE:
        raise ValueError(
            f"the PSF of {path} is for pixels of {own:.5g} arcsec (PIXELSCL), and the image has "
            f"pixels of {wanted:.5g}: make it for these"
        )


def _middle(path: str, image: np.ndarray) -> tuple[float, float]:
    """The middle of a stamp, or of an even size the pixel after it if that is nearer to the light.

    A star in the middle of an even stamp is at a corner of four pixels; others put it on a pixel.
    """
    ky, kx = image.shape
    if not (np.all(np.isfinite(image)) and image.max() > 0):
        return kx // 2, ky // 2  # ImagePSF says what is wrong
    light = light_center(image)
    either = ((kx - 1) / 2, (ky - 1) / 2), (float(kx // 2), float(ky // 2))
    x, y = min(either, key=lambda place: math.dist(place, light))
    if math.dist((x, y), light) > OFF_CENTRE:
        warnings.warn(
            f"The light of the PSF in {path} is about ({light[0]:.2f}, {light[1]:.2f}), from 0, "
            f"and its centre is taken to be ({x:g}, {y:g}), the middle of its {ky} x {kx} pixels: "
            "if that is wrong the model is shifted.",
            stacklevel=3,
        )
    return x, y


def read_psf_grid(
    path: str | os.PathLike,
    shape: tuple[int, int],
    *,
    origin: Any = (0.0, 0.0),
    interpolation: Interpolation = "linear",
    accuracy: float = 1e-3,
    sorted_by_y: bool | None = None,
) -> FieldPSF:
    """Read a cube of PSFs and the places where they hold out of a FITS file.

    The cube is the first image of the file, of shape (n, ky, kx), with each PSF about the middle of
    its stamp, and OVERSAMP in its header the points per pixel (1 without it). The places are in one
    of two forms.

    - A table HDU with columns X and Y: zero-based pixels. The PSFs are used as they are.
    - Keywords DET_YX0, DET_YX1, ... with (y, x), as ``psf_grid`` of STPSF and WebbPSF write them.
      Those PSFs hold the response of a pixel already, and the sum of all that are a pixel apart is
      1: they are read at the centres of the pixels.

    Parameters
    ----------
    path
        The file.
    shape
        Rows and columns (ny, nx) of the image.
    origin
        Place (x, y) of the image's first pixel in the coordinates of the file, as for a part of a
        detector.
    interpolation, accuracy
        As for `FieldPSF.from_positions`.
    sorted_by_y
        Whether the cube is sorted by y, then by x, whatever the order of the keywords is: STPSF
        sorts the cube alone since it takes it from a model of photutils. By default it has the
        order of the keywords, with a warning where these are not sorted.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no file, cube or place, or not as many places as PSFs.
    """
    corner = np.array(position("read_psf_grid: origin", origin))
    check_kind("read_psf_grid: sorted_by_y", sorted_by_y, bool | None)
    stamps, places, n, gridded = _opened(os.fspath(path))
    if gridded:
        stamps, places = _at_pixels(stamps, places, n, sorted_by_y, path)
        n, center = 1, None
    else:
        center = tuple((k - 1) / 2 for k in stamps.shape[:0:-1])
    return FieldPSF.from_positions(
        stamps,
        places - corner,
        shape,
        interpolation=interpolation,
        accuracy=accuracy,
        oversample=n,
        center=center,
    )


def _opened(path: str):
    """PSFs, places (x, y), points per pixel, and whether the places are keywords."""
    from astropy.io import fits

    with opened_fits(path) as hdus:
        cubes = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 3]
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not cubes:
            raise ValueError(f"{path} has no cube of PSFs, an image HDU of shape (n, ky, kx).")
        cube, header = np.asarray(data_of(cubes[0], path), float), cubes[0].header.copy()
        columns = [
            np.stack([np.asarray(hdu.data[name], float) for name in ("X", "Y")], axis=-1)
            for hdu in tables
            if {"X", "Y"} <= {str(name).upper() for name in data_of(hdu, path).dtype.names or ()}
        ]
    n = as_whole_number("OVERSAMP", header.get("OVERSAMP", 1), 1)
    found = {int(key[6:]): header[key] for key in header if re.fullmatch(r"DET_YX\d+", key)}
    keywords = [
        [float(number) for number in re.findall(r"[-+.\dEe]+", str(found[k]))]
        for k in sorted(found)
    ]
    if any(len(pair) != 2 for pair in keywords):
        raise ValueError(f"{path} has keywords DET_YX that are not two numbers (y, x).")
    if not columns and not keywords:
        raise ValueError(
            f"{path} does not say where its {len(cube)} PSFs hold: neither a table with columns X "
            "and Y nor keywords DET_YX0, ... are there."
        )
    places = columns[0] if columns else np.array(keywords)[:, ::-1]
    if len(places) != len(cube):
        raise ValueError(f"{path} has {len(cube)} PSFs, but {len(places)} places for them.")
    return cube, places, n, not columns


def _at_pixels(stamps, places, n, sorted_by_y, path):
    """Pixel-integrated PSFs at the pixels' centres, in the order of their places."""
    order = np.lexsort(places.T)
    if sorted_by_y:
        places = places[order]
    elif sorted_by_y is None and np.any(np.diff(order) < 0):
        warnings.warn(
            f"The keywords DET_YX of {os.fspath(path)} are not sorted by y, and the cube is taken "
            "to have their order. Some versions of STPSF sort the cube alone, which exchanges x "
            "and y: look at a PSF off the diagonal, and say sorted_by_y=True or False.",
            stacklevel=3,
        )
    center = ((stamps.shape[2] - 1) / 2, (stamps.shape[1] - 1) / 2)
    stamps = centred_stamps(stamps, center, "read_psf_grid: center")
    rows, columns = (slice((k // 2) % n, None, n) for k in stamps.shape[1:])
    stamps = stamps[:, rows, columns]
    return stamps, places


def read_grater_jax_optics(
    folder: str | os.PathLike,
    shape: tuple[int, int],
    *,
    roll: int = 0,
    suffix: str = "",
    accuracy: float = 1e-3,
) -> dict[str, Any]:
    """Read PSFs and transmission of one roll out of the files of GRaTeR-JAX and Winnie.

    These are ``psfs``, shape (n, ky, kx), ``psf_inds_rolls``, the index of the nearest PSF at each
    point, and ``im_mask_rolls``, the transmission there, both of shape
    (rolls, oversample ny, oversample nx), in files ``.npy``. The roll's angle is the view's.

    Parameters
    ----------
    folder
        Where the files are.
    shape
        Rows and columns (ny, nx) of the exposure.
    roll
        Number of the roll from 0.
    suffix
        What the names end with before ``.npy``, such as ``"_F444W"``.
    accuracy
        As for `FieldPSF.from_positions`.

    Returns
    -------
    dict
        ``psf``, ``transmission`` and ``oversample`` of a `View`:
        ``exposure.view(distance, **found)``.

    Raises
    ------
    FileNotFoundError, ValueError
        Where a file is not there, or arrays do not fit together.
    """
    pixels = as_whole_numbers("read_grater_jax_optics: shape", shape)
    check_kind("read_grater_jax_optics: suffix", suffix, str)
    roll = as_whole_number("read_grater_jax_optics: roll", roll, 0)
    stamps, zones, masks = (
        np.load(os.path.join(folder, f"{name}{suffix}.npy"))
        for name in ("psfs", "psf_inds_rolls", "im_mask_rolls")
    )
    if zones.ndim != 3 or zones.shape != masks.shape:
        raise ValueError(
            f"psf_inds_rolls has shape {zones.shape}, im_mask_rolls {masks.shape}, in "
            f"{os.fspath(folder)}: both are needed as (rolls, rows, columns)."
        )
    if roll >= len(zones):
        raise ValueError(f"roll = {roll}, but {os.fspath(folder)} has {len(zones)}, from 0.")
    n = max(zones.shape[1] // pixels[0], 1)
    if zones.shape[1:] != tuple(n * side for side in pixels):
        raise ValueError(
            f"psf_inds_rolls has {zones.shape[1:]} points, which are no whole number for each of "
            f"shape = {pixels} pixels along a side."
        )
    psf = FieldPSF.from_zones(stamps, zones[roll], accuracy=accuracy, oversample=n)
    return {"psf": psf, "transmission": masks[roll], "oversample": n}
