"""What ``grater fit`` reads: an image with its noise, and a point spread function."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytreefit.extend import Option, existing_file, number, one_of, whole_number

from ..data.observation import Observation
from ..io.files import opened_fits
from ..view.psf import AbstractPSF, GaussianPSF
from ..view.psf_files import check_psf_scale, read_psf

# pc (Gaia), of disks that were observed often
DISTANCES = {"HR 4796A": 71.9, "HD 117214": 107.6, "HD 145560": 120.4, "HD 157587": 100.5}


def pixel(text: str) -> tuple[float, float]:
    """A kind of option: a position x,y in pixels."""
    try:
        x, y = (float(part) for part in text.strip("()").split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no position X,Y") from None
    return x, y


def as_parity(text: str) -> int:
    """A kind of option: 1 or -1."""
    if text not in ("1", "-1"):
        raise ValueError(f"{text!r} is neither 1 nor -1")
    return int(text)


READING = (
    Option("distance", number(0.0), None, "of the star, pc; known for a few stars"),
    Option("pixel_scale", number(0.0), None, "arcsec per pixel; by default the header's"),
    Option("center", pixel, None, "X,Y of the star, zero-based pixels; by default the header's"),
    Option("roll", number(), None, "position angle of the y axis, deg; by default the header's"),
    Option("parity", as_parity, None, "-1 if East is right of North; by default the header's"),
    Option("hdu", str, None, "number or name of the image's HDU; by default the first image"),
    Option("plane", whole_number(0), None, "of a cube, zero-based"),
    Option("error", str, None, "file of the error map, or annular: the image's own scatter"),
    Option("stokes", one_of("Q_phi", "U_phi"), None, "what images are; by default Q_phi of cubes"),
    Option("crop", whole_number(3), None, "side of the square that is used, odd, pixels"),
    Option("inner", number(-1e-9), 12.0, "radius of the central mask, pixels"),
    Option("outer", number(0.0), None, "largest radius that is used, pixels"),
    Option("psf", existing_file, None, "FITS file of the point spread function"),
    Option("psf_center", pixel, None, "X,Y of its centre, zero-based; by default its middle"),
    Option(
        "fwhm",
        number(0.0),
        None,
        "of a Gaussian in its place, pixels; 3.8 for GPI in H",
    ),
)

# arguments of `Observation.from_fits` that are options by another name
_ARGUMENTS = {"image_hdu": "--hdu", "image_plane": "--plane", "pixel_scale": "--pixel-scale"}
_OTHER_DISTANCE = 0.01  # relative
_FEW = 3  # stars that are named
_GPI_FWHM = 3.8  # pixels, in the H band

NOISE = Option("noise", one_of("correlated", "independent"), "correlated", "what pixels are")


def target_of(path: Path) -> str:
    """The name of the star, or of the file."""
    return _object_of(path) or path.name.partition(".")[0]


def _object_of(path: Path) -> str:
    """The name of the star in the header, or nothing."""
    with opened_fits(path) as hdus:
        return str(hdus[0].header.get("OBJECT", "")).strip()


def read(path: Path, settings) -> Observation:
    """The observation in a file; ValueError where its distance is not known."""
    data: Any = Observation
    try:
        for name, given, named in _steps(path, settings):
            data = getattr(data, name)(*given, **named)
    except (ValueError, TypeError) as error:
        said = str(error)
        for argument, option in _ARGUMENTS.items():
            said = said.replace(f"{argument}=", option)
        raise ValueError(said) from error
    if settings.psf is not None:
        check_psf_scale(settings.psf, float(data.grid.pixel_scale))
    return data


def python_of_reading(path: Path, settings) -> str:
    """Python that does what `read` does."""
    called = []
    for name, given, named in _steps(path, settings):
        said = [f"{key}={value!r}" for key, value in named.items() if value is not None]
        called.append(f"    .{name}({', '.join([*map(repr, given), *said])})")
    return "\n".join(["data = (", "    grater.Observation", *called, ")"])


def _steps(path: Path, settings) -> list[tuple[str, tuple, dict[str, Any]]]:
    """Methods that are called one after the other, with their arguments."""
    target = target_of(path)
    distance = settings.distance or DISTANCES.get(target)
    if distance is None:
        raise ValueError(f"the distance of {target} is not known here: give --distance")
    given = ("pixel_scale", "center", "roll", "parity")
    where = {"distance": distance, **{name: getattr(settings, name) for name in given}}
    file = (str(path.resolve()),)
    if _is_radial(path):
        for name in ("error", "hdu", "plane"):
            if getattr(settings, name) is not None:
                raise ValueError(f"--{name} is not for radial Stokes cubes, such as {path.name}")
        crop = settings.crop or 141
        edges = {"inner": settings.inner, "outer": settings.outer}
        return [("from_gpi", file, {"stokes": _stokes(settings), "crop": crop, **edges, **where})]
    hdu = settings.hdu
    what = {
        "image_hdu": int(hdu) if hdu and hdu.isdigit() else hdu,
        "image_plane": settings.plane,
        "error": settings.error,
    }
    cut = [] if settings.crop is None else [("crop", (settings.crop,), {})]
    mask = ("mask_radius", (settings.inner, settings.outer), {})
    return [("from_fits", file, {**what, **where}), *cut, mask]


def optics_of(paths: Sequence[Path], settings) -> dict[str, Any]:
    """How images of one kind are seen, as arguments of a `Scene`; ValueError if that is not known.

    Images of Q_phi and U_phi are of polarised light, which passes the telescope as Q and U.
    """
    kinds = {_is_radial(path) for path in paths if not _is_broken(path)}
    if len(kinds) > 1:
        raise ValueError(
            "some files are radial Stokes cubes and some are not: make a survey of each kind"
        )
    stokes = {"stokes": _stokes(settings)} if True in kinds or settings.stokes else {}
    of_gpi = all(_is_broken(path) or _is_of_gpi_in_h(path) for path in paths)
    psf = _psf(settings, known=_GPI_FWHM if of_gpi else None)
    fine = {} if psf.points_per_pixel == 1 else {"oversample": psf.points_per_pixel}
    return {"psf": psf, **fine, **stokes}


def _stokes(settings) -> str:
    return settings.stokes or "Q_phi"


def warn_of_distances(paths: Sequence[Path], settings) -> None:
    """Warn where one --distance is for several stars, or is not that of a star that is known."""
    if settings.distance is None:
        return
    named = (_object_of(path) for path in paths if not _is_broken(path))
    stars = list({"".join(name.lower().split()): name for name in named if name}.values())
    if len(stars) > 1:
        few = ", ".join(stars[:_FEW]) + ", ..." * (len(stars) > _FEW)
        warnings.warn(
            f"distance={settings.distance:g} is taken for {len(stars)} stars: {few}.", stacklevel=2
        )
    for star in stars:
        known = DISTANCES.get(star, settings.distance)
        if abs(settings.distance / known - 1.0) > _OTHER_DISTANCE:
            warnings.warn(
                f"{star} is at {known:g} pc (Gaia), and distance={settings.distance:g} is taken.",
                stacklevel=2,
            )


def _psf(settings, known: float | None) -> AbstractPSF:
    """The point spread function of the settings, or a Gaussian of a known width in pixels."""
    if settings.psf is None:
        width = settings.fwhm or known
        if width is None:
            raise ValueError("the point spread function is not known: give --psf or --fwhm")
        return GaussianPSF(fwhm=width)
    return read_psf(settings.psf, center=settings.psf_center)


def _is_of_gpi_in_h(path: Path) -> bool:
    """Whether an image is of the Gemini Planet Imager in its H band, whose PSF is known."""
    with opened_fits(path) as hdus:
        return any("_H_" in str(hdu.header.get("IFSFILT", "")) for hdu in hdus)


def _is_broken(path: Path) -> bool:
    """Whether a file is none that can be read, of which its row in a survey will say why."""
    try:
        with opened_fits(path):
            return False
    except (OSError, ValueError):
        return True


def _is_radial(path: Path) -> bool:
    """Whether a file is a radial Stokes cube as of the Gemini Planet Imager."""
    with opened_fits(path) as hdus:
        return any(str(hdu.header.get("STKESTYP", "")).strip() == "RADIAL" for hdu in hdus)
