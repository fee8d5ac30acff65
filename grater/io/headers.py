"""What the header of an image says of the sky: North, the size of a pixel, the star."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

_MATRIX = [f"{kind}{i}_{j}" for kind in ("CD", "PC") for i in (1, 2) for j in (1, 2)]
_TURNED = 0.5  # degrees from North that are not let pass
_KEYS = ("CTYPE", "CUNIT", "CDELT", "CROTA", "CRPIX", "CRVAL")


class SkyAxes(NamedTuple):
    """How the axes of an image lie on the sky.

    Parameters
    ----------
    pixel_scale
        Arcsec.
    roll
        Position angle of the y axis in degrees, from North through East.
    parity
        1 where East is to the left of North, -1 in a mirrored image.
    skew
        How far the pixels are from squares, relative to their side.
    distortion
        Matrix (2, 2) of `View`, of determinant 1; the unit matrix for squares.
    """

    pixel_scale: float
    roll: float
    parity: int
    skew: float
    distortion: np.ndarray


def sky_axes(header: Any) -> SkyAxes | None:
    """How the first two axes lie on the sky by a header's CD, PC, CDELT, CROTA and CUNIT.

    None where the header has none of these, or they are not of the sky. Axes without CTYPE are
    taken for right ascension and declination.

    Raises
    ------
    ValueError
        For other coordinates on the sky, and for matrices without an inverse.
    """
    from astropy import units
    from astropy.wcs import WCS, WcsError

    if not any(key in header for key in (*_MATRIX, "CDELT1", "CDELT2")):
        return None
    try:
        wcs = WCS(_of_two_axes(header), fix=False).wcs
        wcs.set()
    except WcsError as error:
        raise ValueError(f"no usable matrix: {' '.join(str(error).split())}") from None
    kinds = [str(kind).split("-")[0] for kind in wcs.ctype]
    matrix = wcs.cd if wcs.has_cd() else np.diag(wcs.cdelt) @ wcs.get_pc()
    if kinds == ["", ""] and not any(map(str, wcs.cunit)) and np.array_equal(matrix, np.eye(2)):
        return None
    if sorted(kinds) not in (["", ""], ["DEC", "RA"]):
        if not any(kind.endswith(("LON", "LAT")) for kind in kinds):
            return None
        raise ValueError(f"axes {kinds[0]!r} and {kinds[1]!r}, not right ascension and declination")
    factors = [units.Unit(str(unit) or "deg").to("arcsec") for unit in wcs.cunit]
    matrix = np.diag(factors) @ matrix
    if kinds[0] == "DEC":
        matrix = matrix[::-1]
    determinant = float(np.linalg.det(matrix))
    scale = math.sqrt(abs(determinant))
    x_axis, y_axis = matrix.T / scale
    roll = math.atan2(y_axis[0], y_axis[1])
    parity = 1 if determinant < 0 else -1
    # offsets to the West and to the North, turned back
    turn = np.array([[-math.cos(roll), math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    return SkyAxes(
        pixel_scale=scale,
        roll=math.degrees(roll),
        parity=parity,
        skew=float(max(abs(x_axis @ y_axis), abs(math.log(math.hypot(*y_axis))))),
        distortion=turn @ np.stack([parity * x_axis, y_axis], axis=1),
    )


def _of_two_axes(header: Any) -> Any:
    """The first two axes of a header alone, without what distorts them or is of other axes."""
    from astropy.io import fits

    plain = fits.Header({"WCSAXES": 2})
    linear = _MATRIX[:4] if any(key in header for key in _MATRIX[:4]) else _MATRIX[4:]
    for key in (*linear, *(f"{key}{axis}" for key in _KEYS for axis in (1, 2))):
        if key in header and not (key.startswith(("CDELT", "CROTA")) and linear is _MATRIX[:4]):
            value = header[key]
            plain[key] = value.replace("-SIP", "") if isinstance(value, str) else value
    return plain


def star_in(header: Any) -> tuple[float, float] | None:
    """The star's pixel (x, y), zero-based, by PSFCENTX and PSFCENTY; None without them."""
    if "PSFCENTX" in header and "PSFCENTY" in header:
        return float(header["PSFCENTX"]), float(header["PSFCENTY"])
    return None


def reference_pixel(header: Any) -> tuple[float, float] | None:
    """CRPIX as a zero-based pixel (x, y), where many files have the star; None without it."""
    if "CRPIX1" in header and "CRPIX2" in header:  # the WCS counts pixels from 1
        return float(header["CRPIX1"]) - 1.0, float(header["CRPIX2"]) - 1.0
    return None


def check_axes(header: Any, path: str, pixel_scale: float | None) -> SkyAxes | None:
    """Refuse a frame that is not North up and East left, or not of the pixel scale that is given.

    Parameters
    ----------
    header, path
        Of the image.
    pixel_scale
        Arcsec; None for whatever the header says.

    Raises
    ------
    ValueError
        With all that disagrees.
    """
    try:
        axes = sky_axes(header)
    except ValueError as error:
        raise ValueError(f"The header of {path} has {error}. {_OVERRIDE}") from None
    if axes is None:
        return None
    scale, roll, parity, skew, _ = axes
    problems = []
    if parity < 0 or abs(roll) > _TURNED:
        mirrored = " and East is to the right of it, mirrored" if parity < 0 else ""
        problems.append(
            f"it is not oriented North up and East left: the y axis points to position angle "
            f"{roll:.4g} deg{mirrored}. Rotate the image, or render in its own frame, with "
            f"View(roll={roll:.4g}, parity={parity}), check_header=False and "
            f"pixel_scale={scale:.6g}"
        )
    if skew > 0.05:
        problems.append(f"its pixels are no squares (off by {100 * skew:.2g} %): resample it")
    if pixel_scale is not None and abs(scale / pixel_scale - 1.0) > 0.01:
        problems.append(
            f"it has pixels of {scale:.5f} arcsec, not {pixel_scale:.6g}: give the right "
            "pixel_scale="
        )
    if problems:
        raise ValueError(f"By the header of {path}, {'; and '.join(problems)}. {_OVERRIDE}")
    return axes


_OVERRIDE = "Where the header is wrong: check_header=False."


def warn_of_turn(header: Any, path: str) -> None:
    """Warn where a header that is not followed says that North is not up, or East to the right."""
    try:
        axes = sky_axes(header)
    except ValueError:
        return
    if axes is not None and (axes.parity < 0 or abs(axes.roll) > _TURNED):
        warnings.warn(
            f"By the header of {path} the y axis points to position angle {axes.roll:.4g} deg with "
            f"parity {axes.parity}, and check_header=False leaves that out: unless the header is "
            f"wrong, give View(roll={axes.roll:.4g}, parity={axes.parity}) in every scene, that of "
            "search as well.",
            stacklevel=5,
        )


def choose_star(
    header: Any, path: str, shape: tuple[int, int], center: Any, check: bool
) -> tuple[float, float]:
    """The star's pixel: as given, else by the header, else the default of an `Observation`.

    Warns where the default is a guess: in a frame of even size, or where CRPIX is elsewhere.

    Raises
    ------
    ValueError
        Where the star that is given is not where the header says.
    """
    said, (ny, nx) = star_in(header), shape
    if center is not None:
        if check and said is not None and math.dist(said, center) > 0.5:
            raise ValueError(
                f"By the header of {path} (PSFCENTX, PSFCENTY) the star is at {said}, not at "
                f"center = {tuple(center)}; both count from 0. {_OVERRIDE}"
            )
        return center
    if said is not None:
        return said
    default = (float(nx // 2), float(ny // 2))
    near = reference_pixel(header)
    if near is not None and math.dist(near, default) > 0.1:
        hint = f"the header's CRPIX is ({near[0]:g}, {near[1]:g}) from 0"
    elif near is None and (nx % 2 == 0 or ny % 2 == 0):
        hint = f"the middle of {ny} x {nx} pixels is between pixels"
    else:
        return default
    warnings.warn(
        f"{path} does not say where the star is: it is taken to be at pixel ({nx // 2}, "
        f"{ny // 2}) from 0, but {hint}. Give center=(x, y).",
        stacklevel=5,
    )
    return default
