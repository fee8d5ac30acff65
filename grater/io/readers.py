"""Reading images out of FITS files, with errors that say what a file does hold."""

import math
import os
import warnings
from typing import Any

import numpy as np

from pytreefit.extend import as_booleans, as_data, check_choice

from .._arrays import as_unit, position
from ..data.noise import noise_map
from .files import data_of, described, described_file, opened_fits
from .headers import axes_of, choose_star, is_inside, reference_pixel, sky_axes, star_in

GPI_PIXEL_SCALE = 0.014166  # arcsec
_ERRORS = ("ERR", "ERROR", "ERRORS", "SIGMA", "STDDEV", "STD", "UNCERT", "NOISE", "RMS")
_NO_ERRORS = ("VAR", "VARIANCE", "IVAR", "WHT", "WEIGHT", "WEIGHTS", "DQ")
_CORONAGRAPHS = ("NRC_CORON", "MIR_4QPM", "MIR_LYOT")  # EXP_TYPE, where the star is at CRPIX
_MANY_ZEROS = 0.01  # of an image's pixels


class _Image:
    """One plane of a FITS file, its flags and what the header says.

    Parameters
    ----------
    path, hdu, plane
        File, number or name of its HDU, and plane of a cube; None for the only one.
    role
        "image" or "error", which names the arguments in errors.
    beside
        The image that an error map belongs to: that of a cube of the same shape has its plane.
    """

    def __init__(self, path: Any, hdu: Any, plane: Any, role: str, beside: "_Image | None" = None):
        self.path, self.role = os.fspath(path), role
        with opened_fits(self.path) as hdus:
            found = _find_image(hdus, hdu, self.path, role)
            whole = data_of(found, self.path)
            self.header, self.primary = found.header.copy(), hdus[0].header.copy()
            self.number, self.name = hdus.index(found), found.name
            flags = data_of(hdus["DQ"], self.path) if "DQ" in hdus else None
        self.shape = whole.shape
        if plane is None and beside is not None and beside.shape == self.shape:
            plane = beside.plane
        self.plane = plane
        self.values = self._plane_of(whole).astype(np.float64)
        self.floats = whole.dtype.kind == "f"
        self.flags = None
        if flags is not None and flags.dtype.kind in "iu":
            if flags.shape == whole.shape:
                self.flags = self._plane_of(flags)
            elif flags.shape == self.values.shape:
                self.flags = flags

    @property
    def unit(self) -> str:
        return str(self.header.get("BUNIT", "")).strip()

    def _plane_of(self, data: np.ndarray) -> np.ndarray:
        """The plane that is meant, of an array without leading axes of length 1."""
        shape, role = data.shape, self.role
        place = f"HDU {self.name!r} of {self.path} has shape {shape}"
        leading = tuple(n for n in shape[:-2] if n > 1)
        data = data.reshape(*leading, *shape[-2:])
        chosen = () if self.plane is None else tuple(np.atleast_1d(self.plane).tolist())
        if chosen == (0,) and not leading and data.ndim == 2:
            chosen = ()
        if len(chosen) > len(leading) or not all(
            0 <= k < n for k, n in zip(chosen, leading, strict=False)
        ):
            raise ValueError(f"{place}: there is no plane {self.plane} ({role}_plane=).")
        if data.ndim != 2 + len(chosen):
            count = " x ".join(map(str, leading)) or "no"
            raise ValueError(
                f"{place}, which is not one image but {count} planes: choose a plane of a cube "
                f"with {role}_plane= (from 0; (k, l) for two axes), or another HDU with "
                f"{role}_hdu=."
            )
        return data[chosen]

    def warn_of_zeros(self, mask: np.ndarray) -> None:
        """Warn where many of the pixels in use are exactly zero."""
        zeros, size = int(np.sum(mask & (self.values == 0))), int(np.sum(mask))
        if self.floats and zeros > _MANY_ZEROS * size:
            warnings.warn(
                f"{zeros} of the {size} pixels in use in HDU {self.name!r} of {self.path} are "
                "exactly 0. If they are blanks, leave them out, for example by "
                "mask=astropy.io.fits.getdata(path) != 0.",
                stacklevel=4,
            )

    def usable(self, bits: int | None) -> np.ndarray:
        """Where none of the flags stands that exclude a pixel."""
        if self.flags is None:
            return np.ones(self.values.shape, bool)
        if bits is None:  # JWST's other flags tell what was found and mended
            bits = 1 if str(self.primary.get("TELESCOP", "")).strip() == "JWST" else -1
        return _unflagged(self.flags, bits)


def _unflagged(flags: np.ndarray, bits: int) -> np.ndarray:
    """Where none of the flags stands; they may be unsigned."""
    return (flags.astype(np.int64) & bits) == 0


def _find_image(hdus: Any, hdu: int | str | None, path: str, role: str) -> Any:
    """Return the HDU of the given number or name, or the one that must be meant."""
    found = None
    images = [unit for unit in hdus if unit.is_image and unit.shape]
    if hdu is not None:
        try:
            found = hdus[hdu]
        except (KeyError, IndexError):
            pass
    elif role == "image":
        found = next(iter(images), None)
    else:
        named = [unit for unit in images if unit.name.upper() in _ERRORS]
        one = named if len(named) == 1 else images
        if len(one) > 1:
            raise ValueError(
                f"{path} holds several images, and which one is the error map is not said; its "
                f"HDUs are {described(hdus)}. Choose one with error_hdu=."
            )
        found = next(iter(one), None)
    if found is None or not (found.is_image and found.shape):
        wanted = "no HDU with an image" if hdu is None else f"no image in an HDU {hdu!r}"
        raise ValueError(
            f"{path} has {wanted} for the {role}; its HDUs are {described(hdus)}. "
            f"Choose one with {role}_hdu=."
        )
    if role == "error" and found.name.upper() in _NO_ERRORS:
        raise ValueError(
            f"HDU {found.name!r} of {path} does not hold standard deviations, by its name: read it "
            "and pass error= an array, for variances their square root."
        )
    return found


def read_fits(
    path: Any,
    place: tuple[Any, Any],
    error: Any,
    error_place: tuple[Any, Any],
    geometry: tuple[Any, Any, tuple[Any, Any], bool],
    unit: str | None,
    mask: Any,
    dq_bits: int | None,
    noise_width: float,
) -> dict[str, Any]:
    """Return what an `Observation` is made of, except distance, out of FITS files.

    Parameters
    ----------
    path
        File that holds the image.
    place, error_place
        HDU and plane of the image and of the error map, None for the only one.
    error
        The error map, the file that holds it, None for the HDU of the same file that is named so,
        or "annular".
    geometry
        Pixel scale, star, roll and parity, None for what the header says, and whether the header
        is to agree.
    unit, mask, dq_bits, noise_width
        As for `Observation.from_fits`.
    """
    image = _Image(path, *place, "image")
    own = image.unit if unit is None or geometry[3] else ""  # the header is not read
    _check_unit(image, own, unit)
    if error is None and error_place[0] is None and not _has_errors(path):
        raise ValueError(
            f"No error map is named for {os.fspath(path)}: give error_hdu= (the file's "
            f"HDUs are {described_file(path)}), error= an array or a path, or "
            'error="annular" for the noise in annuli of the image itself.'
        )
    values, usable = image.values, image.usable(dq_bits)
    on_sky = _place_of(image, *geometry)
    if mask is not None:
        usable = usable & as_booleans("from_fits: mask", mask, shape=values.shape)
    image.warn_of_zeros(usable)
    if isinstance(error, str) and error == "annular":
        error = as_unit(noise_map(values, on_sky["center"], noise_width, usable), own)
    elif error is None or isinstance(error, str | os.PathLike):
        error = as_unit(_error_of(image, path if error is None else error, error_place), own)
    unit = own if unit is None else unit
    return dict(on_sky, image=as_unit(values, own), error=error, mask=usable, unit=unit)


def _check_unit(image: _Image, own: str, unit: Any) -> None:
    """ValueError if the unit of the header is none that can be converted to another."""
    given = as_unit(1.0, own)
    if unit is None or not hasattr(given, "to"):
        return
    try:
        given.to(unit)
    except (TypeError, ValueError):
        raise ValueError(
            f"{image.path} is in {own} by its header (BUNIT), which cannot be converted to {unit}: "
            "check_header=False takes the numbers as they are."
        ) from None


def _has_errors(path: str | os.PathLike) -> bool:
    """Whether a file has a HDU that is named as error maps are."""
    with opened_fits(path) as hdus:
        return any(hdu.name.upper() in _ERRORS for hdu in hdus)


def _error_of(image: _Image, path: Any, place: tuple[Any, Any]) -> np.ndarray:
    """An error map out of a file, in the unit of the image."""
    found = _Image(path, *place, "error", image)
    same = os.path.samefile(found.path, image.path) and found.number == image.number
    if same and found.plane == image.plane:
        raise ValueError(
            f"HDU {found.name!r} of {found.path} is the image itself, not its error map: choose "
            f"another with error_hdu= (the file's HDUs are {described_file(path)}), or pass "
            'error="annular" for the noise in annuli of the image.'
        )
    if found.unit and image.unit and found.unit != image.unit:
        return found.values * _factor(found, image)
    return found.values


def _factor(found: _Image, image: _Image) -> float:
    from astropy import units

    try:
        return float(1.0 * units.Unit(found.unit) / units.Unit(image.unit))
    except (TypeError, ValueError):
        raise ValueError(
            f"The error map of {found.path} is in {found.unit!r}, the image in {image.unit!r} "
            "(BUNIT): pass error= an array in the image's unit."
        ) from None


def _place_of(
    image: _Image, pixel_scale: Any, center: Any, turn: tuple[Any, Any], check: bool
) -> dict[str, Any]:
    """How an image lies on the sky, and its star, compared with its header if ``check``."""
    pixel_scale, center, turn = _as_numbers(pixel_scale, center, turn)
    axes = axes_of(image.header, image.path, pixel_scale, turn, check)
    if pixel_scale is None:
        if math.isnan(axes.pixel_scale):
            unread = "" if check else ", since check_header=False reads none"
            raise ValueError(
                f"No pixel scale is known for {image.path}: give pixel_scale= arcsec{unread}."
            )
        pixel_scale = axes.pixel_scale
    shape = image.values.shape
    center = choose_star(image.header, image.path, shape, center, check)
    return dict(pixel_scale=pixel_scale, center=center, **axes.on_sky)


def _as_numbers(pixel_scale: Any, center: Any, turn) -> tuple[float | None, Any, tuple]:
    roll, parity = turn
    if pixel_scale is not None:
        pixel_scale = float(as_data("pixel_scale", pixel_scale, "arcsec", ndim=0))
    if roll is not None:
        roll = float(as_data("roll", roll, "deg", ndim=0))
    if parity is not None:
        check_choice("parity", parity, (1, -1))
    return pixel_scale, None if center is None else position("center", center), (roll, parity)


def read_gpi(
    path: str | os.PathLike,
    stokes: str,
    geometry: tuple[Any, Any, tuple[Any, Any], bool],
    noise_width: float,
) -> dict[str, Any]:
    """Return what an `Observation` is made of, except distance, out of a GPI file.

    Pixels where all Stokes parameters are exactly 0 become NaN: some versions of the pipeline leave
    such stripes outside of the detector's field. The flags of these files are of single exposures,
    and are not used. A ``center`` that is given is the star's pixel.
    """
    path = os.fspath(path)
    check_choice("from_gpi: stokes", stokes, ("Q_phi", "U_phi"))
    with opened_fits(path) as hdus:
        if "SCI" not in hdus:
            raise ValueError(
                f"{path} has no HDU 'SCI', which holds the image in files of the GPI pipeline; "
                f"its HDUs are {described(hdus)}. Read other files with Observation.from_fits."
            )
        found = _find_image(hdus, "SCI", path, "image")
        data, header = data_of(found, path), found.header.copy()
        kind = header.get("STKESTYP", hdus[0].header.get("STKESTYP", "not given"))
    kind = str(kind).strip()
    if kind.upper() != "RADIAL":
        raise ValueError(
            f"HDU 'SCI' of {path} has STKESTYP {kind}; the radial Stokes parameters (I, Q_phi, "
            "U_phi, V with STKESTYP = RADIAL) are needed. Convert the cube to radial Stokes first."
        )
    data = data.reshape(*(n for n in data.shape[:-2] if n > 1), *data.shape[-2:])
    if data.ndim != 3 or data.shape[0] < 3:
        raise ValueError(
            f"HDU 'SCI' of {path} has shape {data.shape}; a Stokes cube (4, ny, nx) is needed."
        )
    pixel_scale, center, turn = _as_numbers(*geometry[:3])
    pixel_scale = GPI_PIXEL_SCALE if pixel_scale is None else pixel_scale
    axes = axes_of(header, path, pixel_scale, turn, geometry[3])
    if center is None:
        center = star_in(header) or reference_pixel(header)
    if center is None:
        raise ValueError(
            f"{path} does not say where the star is (no PSFCENTX, PSFCENTY, CRPIX1 and CRPIX2 in "
            "HDU 'SCI'): give center=(x, y), zero-based."
        )
    if not is_inside(center, data.shape[-2:]):
        raise ValueError(
            f"The star is at ({center[0]:g}, {center[1]:g}), outside of the {data.shape[-2]} x "
            f"{data.shape[-1]} pixels of {path}: give center=(x, y), zero-based."
        )
    q_phi, u_phi = np.where((data == 0).all(axis=0), np.nan, data[1:3].astype(np.float64))
    return dict(
        image=q_phi if stokes == "Q_phi" else u_phi,
        error=noise_map(u_phi, center, noise_width),
        pixel_scale=pixel_scale,
        center=center,
        unit=str(header.get("BUNIT", "")),
        **axes.on_sky,
    )


def read_jwst(
    path: str | os.PathLike, center: Any, transmission: Any, dq_bits: int
) -> dict[str, Any]:
    """Return what an `Exposure` is made of, out of a calibrated file of the JWST pipeline.

    The integrations of a `calints` cube are averaged over those in which a pixel can be used.
    """
    path = os.fspath(path)
    with opened_fits(path) as hdus:
        for name in ("SCI", "ERR"):
            if name not in hdus or not hdus[name].shape:
                raise ValueError(
                    f"{path} has no HDU {name!r} with an image, which files of the JWST pipeline "
                    f"have from stage 2 on; its HDUs are {described(hdus)}."
                )
        header, primary = hdus["SCI"].header.copy(), hdus[0].header.copy()
        telescope = str(primary.get("TELESCOP", "not given")).strip()
        if telescope != "JWST":
            raise ValueError(
                f"{path} has TELESCOP {telescope}, not JWST: read it with Observation.from_fits, "
                "or make Exposure(image, error, ...) of its arrays."
            )
        found = {n: data_of(hdus[n], path) for n in ("SCI", "ERR", "DQ") if n in hdus}
        units = [str(hdus[name].header.get("BUNIT", "")).strip() for name in ("SCI", "ERR")]
    shape = found["SCI"].shape
    for name, data in found.items():
        if data.shape != shape or data.ndim not in (2, 3):
            raise ValueError(
                f"HDU {name!r} of {path} has shape {data.shape}, HDU 'SCI' {shape}; images "
                "(ny, nx) or integrations (number, ny, nx) of one shape are needed."
            )
    if units[1] and units[0] != units[1]:
        raise ValueError(f"{path}: SCI is in {units[0]!r}, ERR in {units[1]!r} (BUNIT).")
    image, error, mask = _mean_of_integrations(found, dq_bits)
    if not mask.any():
        raise ValueError(
            f"{path} has no pixel that is finite, has an error > 0 and none of the flags "
            f"dq_bits = {dq_bits}."
        )
    return dict(
        image=image,
        error=error,
        mask=mask,
        transmission=None if transmission is None else _map_of(transmission, image.shape),
        center=_star_of_jwst(primary, header, path, image.shape, center),
        unit=units[0],
        name=str(primary.get("TARGPROP", "")).strip(),
        **_axes_of_jwst(header, path),
    )


def _mean_of_integrations(found, bits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean image, its error, and where there is one."""
    number = math.prod(found["SCI"].shape[:-2])
    flat = {k: v.reshape(number, *v.shape[-2:]).astype(np.float64) for k, v in found.items()}
    image, error = flat["SCI"], flat["ERR"]
    usable = np.isfinite(image) & np.isfinite(error) & (error > 0)
    if "DQ" in found:
        usable &= _unflagged(found["DQ"].reshape(image.shape), bits)
    count = usable.sum(axis=0)
    some = np.maximum(count, 1)
    mean = np.where(usable, image, 0.0).sum(axis=0) / some
    spread = np.sqrt(np.where(usable, error**2, 0.0).sum(axis=0)) / some
    seen = count > 0
    return np.where(seen, mean, np.nan), np.where(seen, spread, np.nan), seen


def _star_of_jwst(primary, header, path, shape, center) -> tuple[float, float]:
    """As given; else the reference pixel, where the coronagraph is, of files in detector pixels."""
    if center is not None:
        return position("center", center)
    found, (ny, nx) = reference_pixel(header), shape
    kind, coronagraph, resampled = (
        str(primary.get(key, "")).strip().upper() for key in ("EXP_TYPE", "CORONMSK", "S_RESAMP")
    )
    if resampled == "COMPLETE":
        why = "it is resampled"
    elif found is None:
        why = "HDU 'SCI' has no CRPIX1 and CRPIX2"
    elif kind not in _CORONAGRAPHS if kind else coronagraph in ("", "NONE", "N/A"):
        why = f"it is of no coronagraph, with EXP_TYPE {kind or 'not given'}"
    elif not is_inside(found, shape):
        why = f"its CRPIX is ({found[0]:g}, {found[1]:g}) from 0, outside of {ny} x {nx} pixels"
    else:
        return found
    raise ValueError(
        f"{path} does not say where the star is ({why}): give center=(x, y), zero-based."
    )


def _axes_of_jwst(header, path) -> dict[str, Any]:
    """Pixels, roll, parity and distortion, where the matrix and PA_APER agree."""
    try:
        axes = sky_axes(header)
    except ValueError as error:
        raise ValueError(f"The header of {path} has {error}.") from None
    if axes is None:
        raise ValueError(
            f"HDU 'SCI' of {path} does not say how it lies on the sky (no CD or PC matrix)."
        )
    said = header.get("PA_APER")
    if said is not None and abs((float(said) - axes.roll + 180.0) % 360.0 - 180.0) > 0.5:
        raise ValueError(
            f"By PA_APER of {path} the y axis is at position angle {float(said):.4g} deg, by its "
            f"matrix at {axes.roll:.4g} deg: correct the header."
        )
    pixel_area = header.get("PIXAR_SR")
    return dict(
        pixel_scale=axes.pixel_scale,
        **axes.on_sky,
        pixel_area=None if pixel_area is None else float(pixel_area),
    )


def _map_of(source: Any, shape: tuple[int, int]) -> np.ndarray:
    """A coronagraph's transmission, an array or the file that holds it."""
    if isinstance(source, str | os.PathLike):
        source = _Image(source, None, None, "image").values
    return as_data("transmission", source, "", shape=shape)
