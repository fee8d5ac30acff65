"""How large a kernel must be for the width of its PSF."""

import math

from pytreefit.extend import as_number, as_whole_number, is_traced, unit_of


def kernel_size(name: str, fwhm, reach: float, size: int | None, field: str = "fwhm") -> int:
    """Pixels along a side, by default as many as reach to so many times the FWHM."""
    if unit_of(fwhm) is not None and unit_of(fwhm).is_equivalent("arcsec"):
        raise TypeError(
            f"{name}.{field} = {fwhm} is an angle, but pixels are needed: divide it by the pixel "
            "scale, for example 0.05 / 0.014166."
        )
    if size is not None:
        return as_whole_number(f"{name}.size", size)
    if not is_traced(fwhm):
        fwhm = as_number(f"{name}.{field}", fwhm, "pix")
    try:
        return 2 * max(1, math.ceil(reach * float(fwhm))) + 1
    except Exception as error:
        raise ValueError(
            "The size of a PSF's kernel is part of the compiled program and cannot follow an FWHM "
            "that is not a finite number there: pass size=..."
        ) from error


def check_size(psf, reach: float, fwhm) -> None:
    """ValueError where a kernel is of no odd number of pixels, or too small for a width."""
    name = type(psf).__name__
    if psf.size < 1 or psf.size % 2 == 0:
        raise ValueError(f"{name}.size = {psf.size} is not an odd number of pixels.")
    try:
        fwhm = float(fwhm)
    except Exception:  # traced: nothing to check
        return
    if said := cut_off(psf, reach, fwhm):
        raise ValueError(said)


def cut_off(psf, reach: float, fwhm: float) -> str:
    """A sentence where a kernel is too small for a width, or nothing."""
    if psf.size // 2 >= reach * fwhm - 1.0:
        return ""
    return (
        f"{type(psf).__name__}.size = {psf.size} pixels cut off a PSF of FWHM {fwhm:.3g}: give a "
        f"size of at least {2 * math.ceil(reach * fwhm) + 1}."
    )
