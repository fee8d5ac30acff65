"""Reading images out of FITS files, with errors that say what a file does hold."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

GPI_PIXEL_SCALE = 0.014166  # arcsec


def _describe_file(path: str | os.PathLike) -> str:
    from astropy.io import fits

    with fits.open(path) as hdus:
        return _describe(hdus)


def _describe(hdus: Any) -> str:
    return ", ".join(
        f"{number} {hdu.name!r} {hdu.shape if hdu.is_image and hdu.shape else '(no image)'}"
        for number, hdu in enumerate(hdus)
    )


def _find_image(hdus: Any, hdu: int | str | None, path: str, role: str) -> Any:
    """Return the HDU of the given number or name, or the first that holds an image."""
    found = None
    if hdu is None:
        found = next((unit for unit in hdus if unit.is_image and unit.shape), None)
    else:
        try:
            found = hdus[hdu]
        except (KeyError, IndexError):
            pass
    if found is None or not (found.is_image and found.shape):
        wanted = "no HDU with an image" if hdu is None else f"no image in an HDU {hdu!r}"
        raise ValueError(
            f"{path} has {wanted} for the {role}; its HDUs are {_describe(hdus)}. "
            f"Choose one with {role}_hdu=."
        )
    return found


def read_fits(
    path: str | os.PathLike,
    place: tuple[int | str | None, int | None],
    error: Any,
    error_place: tuple[int | str | None, int | None],
    noise_of: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, Any, str]:
    """Return an image, its error map and its unit.

    Parameters
    ----------
    path
        File that holds the image.
    place, error_place
        HDU and plane of the image and of the error map, None for the first.
    error
        The error map, the file that holds it, None for the same file, or "annular".
    noise_of
        For "annular", the noise of an image.
    """
    image, header = _read_image(path, *place, "image")
    if isinstance(error, str) and error == "annular":
        error = noise_of(image)
    elif isinstance(error, str | os.PathLike):
        error = _read_image(error, *error_place, "error")[0]
    elif error is None:
        if error_place[0] is None:
            raise ValueError(
                f"No error map is named for {os.fspath(path)}: give error_hdu= (the file's "
                f"HDUs are {_describe_file(path)}), error= an array or a path, or "
                'error="annular" for the noise in annuli of the image itself.'
            )
        error = _read_image(path, *error_place, "error")[0]
    return image, error, str(header.get("BUNIT", ""))


def _read_image(
    path: str | os.PathLike, hdu: int | str | None, plane: int | None, role: str
) -> tuple[np.ndarray, Any]:
    """Return a 2-d image in native float64 and its header; ``role`` names it in errors."""
    from astropy.io import fits

    path = os.fspath(path)
    with fits.open(path) as hdus:
        found = _find_image(hdus, hdu, path, role)
        data, header, name = np.asarray(found.data), found.header.copy(), found.name
    if plane is not None or (data.ndim == 3 and data.shape[0] == 1):
        plane = 0 if plane is None else plane
        if data.ndim != 3 or not 0 <= plane < data.shape[0]:
            raise ValueError(
                f"HDU {name!r} of {path} has shape {data.shape}: there is no plane {plane} "
                f"({role}_plane=)."
            )
        data = data[plane]
    if data.ndim != 2:
        raise ValueError(
            f"HDU {name!r} of {path} has shape {data.shape}, which is not one image: choose a "
            f"plane of a cube with {role}_plane=, or another HDU with {role}_hdu=."
        )
    return data.astype(np.float64), header


def read_gpi(
    path: str | os.PathLike, check_scale: bool, center: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, str, tuple[float, float]]:
    """Return Q_phi, U_phi, the unit and the star's pixel of a GPI file in radial Stokes.

    Pixels where all Stokes parameters are exactly 0 become NaN: some versions of the pipeline leave
    such stripes outside of the detector's field. A ``center`` that is given is the star's pixel.
    """
    from astropy.io import fits

    path = os.fspath(path)
    with fits.open(path) as hdus:
        if "SCI" not in hdus:
            raise ValueError(
                f"{path} has no HDU 'SCI', which holds the image in files of the GPI pipeline; "
                f"its HDUs are {_describe(hdus)}. Read other files with Observation.from_fits."
            )
        found = _find_image(hdus, "SCI", path, "image")
        data, header = np.asarray(found.data), found.header.copy()
    kind = str(header.get("STKESTYP", "not given")).strip()
    if kind.upper() != "RADIAL":
        raise ValueError(
            f"HDU 'SCI' of {path} has STKESTYP {kind}; the radial Stokes parameters (I, Q_phi, "
            "U_phi, V with STKESTYP = RADIAL) are needed. Convert the cube to radial Stokes first."
        )
    if data.ndim != 3 or data.shape[0] < 3:
        raise ValueError(
            f"HDU 'SCI' of {path} has shape {data.shape}; a Stokes cube (4, ny, nx) is needed."
        )
    _check_wcs(header, path, check_scale)
    planes = np.where((data == 0).all(axis=0), np.nan, data[1:3].astype(np.float64))
    center = _star_in(header, path) if center is None else center
    return planes[0], planes[1], str(header.get("BUNIT", "")), center


def _star_in(header: Any, path: str) -> tuple[float, float]:
    """Zero-based pixel of the star in a GPI header."""
    if "PSFCENTX" in header and "PSFCENTY" in header:
        return float(header["PSFCENTX"]), float(header["PSFCENTY"])
    if "CRPIX1" in header and "CRPIX2" in header:  # the WCS counts pixels from 1
        return float(header["CRPIX1"]) - 1.0, float(header["CRPIX2"]) - 1.0
    raise ValueError(
        f"{path} does not say where the star is (no PSFCENTX, PSFCENTY, CRPIX1 and CRPIX2 in HDU "
        "'SCI'): give center=(x, y), zero-based."
    )


def _check_wcs(header: Any, path: str, check_scale: bool) -> None:
    """Refuse a frame that is not North up and East left, or not at GPI's pixel scale."""
    keys = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
    if any(key not in header for key in keys):
        return
    cd = np.array([float(header[key]) for key in keys]).reshape(2, 2) * 3600.0
    scale = float(np.sqrt(abs(np.linalg.det(cd))))
    if scale == 0 or not np.allclose(cd / scale, [[-1.0, 0.0], [0.0, 1.0]], atol=0.01):
        raise ValueError(
            f"{path} is not oriented North up and East left (CD matrix {cd.tolist()} arcsec): "
            "rotate the cube first."
        )
    if check_scale and abs(scale / GPI_PIXEL_SCALE - 1.0) > 0.01:
        raise ValueError(
            f"{path} has pixels of {scale:.5f} arcsec, GPI's are {GPI_PIXEL_SCALE}: give "
            "pixel_scale= to say what is right."
        )
