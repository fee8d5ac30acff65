"""Reading images out of FITS files, with errors that say what a file does hold."""

import os
from typing import Any

import numpy as np

_GPI_PIXEL_SCALE = 0.014166  # arcsec


def describe_hdus(path: str | os.PathLike) -> str:
    """Return the numbers, names and shapes of a file's HDUs in one line."""
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


def read_image(
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


def read_gpi_planes(
    path: str | os.PathLike, check_scale: bool
) -> tuple[np.ndarray, np.ndarray, str, tuple[float, float] | None]:
    """Return Q_phi, U_phi, the unit and the star's pixel of a GPI file in radial Stokes.

    Pixels where all Stokes parameters are exactly 0 become NaN: some versions of the pipeline leave
    such stripes outside of the detector's field.
    """
    from astropy.io import fits

    path = os.fspath(path)
    with fits.open(path) as hdus:
        found = _find_image(hdus, "SCI", path, "image") if "SCI" in hdus else None
        if found is None:
            raise ValueError(
                f"{path} has no HDU 'SCI', which holds the image in files of the GPI pipeline; "
                f"its HDUs are {_describe(hdus)}. Read other files with Observation.from_fits."
            )
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
    star = None
    if "PSFCENTX" in header and "PSFCENTY" in header:
        star = (float(header["PSFCENTX"]), float(header["PSFCENTY"]))
    elif "CRPIX1" in header and "CRPIX2" in header:  # the WCS counts pixels from 1
        star = (float(header["CRPIX1"]) - 1.0, float(header["CRPIX2"]) - 1.0)
    planes = np.where((data == 0).all(axis=0), np.nan, data[1:3].astype(np.float64))
    return planes[0], planes[1], str(header.get("BUNIT", "")), star


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
    if check_scale and abs(scale / _GPI_PIXEL_SCALE - 1.0) > 0.01:
        raise ValueError(
            f"{path} has pixels of {scale:.5f} arcsec, GPI's are {_GPI_PIXEL_SCALE}: give "
            "pixel_scale= to say what is right."
        )
