"""What the header of an image says of the sky: North, the size of a pixel, the star."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

_MATRIX = [f"{kind}{i}_{j}" for kind in ("CD", "PC") for i in (1, 2) for j in (1, 2)]
_TURNED = 0.5  # degrees from North from which it is said
_ROUNDING = 1e-3  # degrees that are none
_SKEW = 1e-4  # of pixels that are squares
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
        Matrix (2, 2) of `Grid`, of determinant 1; the unit matrix or None for squares.
    """

    pixel_scale: float
    roll: float
    parity: int
    skew: float
    distortion: np.ndarray | None

    @property
    def on_sky(self) -> dict[str, Any]:
        """What a `Grid` takes of it, beside the pixel scale."""
        return {"roll": self.roll, "parity": self.parity, "distortion": self.distortion}


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


def is_inside(star: tuple[float, float], shape: tuple[int, int]) -> bool:
    """Whether a star (x, y) is in one of the pixels of an image."""
    (x, y), (ny, nx) = star, shape
    return -0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5


def axes_of(
    header: Any, path: str, pixel_scale: float | None, turn: tuple[Any, Any], check: bool
) -> SkyAxes:
    """How an image lies on the sky by its header, unless that is given.

    Warns where the header says that North is not up or East not to the left, of which the caller
    says nothing: images that were rotated often keep the header of before.

    Parameters
    ----------
    header, path
        Of the image.
    pixel_scale
        Arcsec; None for whatever the header says.
    turn
        Roll and parity as given; None for the header's.
    check
        Whether the header is followed. Otherwise a warning says where it is turned.

    Returns
    -------
    SkyAxes
        Of pixel scale NaN where the header says nothing.

    Raises
    ------
    ValueError
        Where the header has no usable axes, or another pixel scale than is given.
    """
    if not check:
        return _unchecked_axes(header, path, turn)
    try:
        axes = sky_axes(header)
    except ValueError as error:
        raise ValueError(f"The header of {path} has {error}. {_OVERRIDE}") from None
    if axes is None:
        return _as_given(turn)
    scale = axes.pixel_scale
    if pixel_scale is not None and abs(scale / pixel_scale - 1.0) > 0.01:
        raise ValueError(
            f"By the header of {path}, it has pixels of {scale:.5f} arcsec, not {pixel_scale:.6g}: "
            f"give the right pixel_scale=. {_OVERRIDE}"
        )
    if _is_turned(axes, turn):
        warnings.warn(
            f"By the header of {path} {_turned(axes, turn)}. The model is rendered so, and the "
            "image is not rotated. If the image was rotated after the header was written, give "
            f"{_missing(turn, 0.0, 1)}.",
            stacklevel=5,
        )
    said = 0.0 if abs(axes.roll) < _ROUNDING else axes.roll, axes.parity
    roll, parity = (h if given is None else given for h, given in zip(said, turn, strict=True))
    distortion = axes.distortion if axes.skew > _SKEW else None
    return axes._replace(roll=roll, parity=parity, distortion=distortion)


def _unchecked_axes(header: Any, path: str, turn: tuple[Any, Any]) -> SkyAxes:
    """How an image lies on the sky without its header; warns where that says it is turned."""
    try:
        axes = sky_axes(header)
    except ValueError:
        axes = None
    if axes is not None and _is_turned(axes, turn):
        warnings.warn(
            f"By the header of {path} {_turned(axes, turn)}, and check_header=False leaves that "
            f"out: unless the header is wrong, give {_missing(turn, axes.roll, axes.parity)}.",
            stacklevel=6,
        )
    return _as_given(turn)


def _is_turned(axes: SkyAxes, turn: tuple[Any, Any]) -> bool:
    """Whether the header has another roll or parity than usual, of those that are not given."""
    roll, parity = turn
    return (parity is None and axes.parity < 0) or (roll is None and abs(axes.roll) > _TURNED)


def _turned(axes: SkyAxes, turn: tuple[Any, Any]) -> str:
    roll, parity = turn
    said = [] if roll is not None else [f"the y axis points to position angle {axes.roll:.4g} deg"]
    if parity is None and axes.parity < 0:
        said.append("East is to the right of North, mirrored")
    return ", and ".join(said)


def _missing(turn: tuple[Any, Any], *values: float) -> str:
    """What to give of roll and parity that is not given."""
    every = zip(("roll", "parity"), turn, values, strict=True)
    return " and ".join(f"{name}={value:.4g}" for name, given, value in every if given is None)


def _as_given(turn) -> SkyAxes:
    roll, parity = turn
    return SkyAxes(math.nan, roll or 0.0, 1 if parity is None else parity, 0.0, None)


_OVERRIDE = "Where the header is wrong: check_header=False."


def choose_star(
    header: Any, path: str, shape: tuple[int, int], center: Any, check: bool
) -> tuple[float, float]:
    """The star's pixel: as given, else by the header, else the default of an `Observation`.

    Warns where the default is a guess: in a frame of even size, or where CRPIX is elsewhere; and
    where the star that is given is outside of the image, as in a part of one.

    Raises
    ------
    ValueError
        Where the star that is given is not where the header says, and where the header alone says
        that it is outside of the image.
    """
    said, (ny, nx) = star_in(header), shape
    size = f"{ny} x {nx} pixels"
    if center is not None:
        if check and said is not None and math.dist(said, center) > 0.5:
            raise ValueError(
                f"By the header of {path} (PSFCENTX, PSFCENTY) the star is at {said}, not at "
                f"center = {tuple(center)}; both count from 0. {_OVERRIDE}"
            )
        if not is_inside(center, shape):
            warnings.warn(
                f"The star is at center = {tuple(center)}, outside of the {size} of {path}: give "
                "the pixel (x, y) from 0, unless the image is a part without the star.",
                stacklevel=5,
            )
        return center
    if said is not None:
        if not is_inside(said, shape):
            raise ValueError(
                f"By the header of {path} (PSFCENTX, PSFCENTY) the star is at {said}, outside of "
                f"its {size}: give center=(x, y) from 0, the same for a part without the star, or "
                "another with check_header=False where the header is wrong."
            )
        return said
    default = (float(nx // 2), float(ny // 2))
    near = reference_pixel(header)
    if near is not None and math.dist(near, default) > 0.1:
        hint = f"the header's CRPIX is ({near[0]:g}, {near[1]:g}) from 0"
    elif near is None and (nx % 2 == 0 or ny % 2 == 0):
        hint = f"the middle of {size} is between pixels"
    else:
        return default
    warnings.warn(
        f"{path} does not say where the star is: it is taken to be at pixel ({nx // 2}, "
        f"{ny // 2}) from 0, but {hint}. Give center=(x, y).",
        stacklevel=5,
    )
    return default
