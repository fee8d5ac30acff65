"""FITS files that are opened and read, with errors that name the file and say what is wrong."""

import contextlib
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def opened_fits(path: str | os.PathLike) -> Iterator[Any]:
    """The HDUs of a FITS file, which is closed again.

    Raises
    ------
    OSError
        Where there is no file, or it must not be read.
    ValueError
        Where it is empty, or no FITS file.
    """
    from astropy.io import fits

    try:
        file = fits.open(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:  # of the system, which names the file
            raise
        size = os.path.getsize(path)
        what = "is no FITS file, or its header is cut off" if size else "is empty"
        raise ValueError(f"{os.fspath(path)} {what}: give another file.") from None
    with file:
        yield file


def data_of(hdu: Any, path: str | os.PathLike) -> np.ndarray:
    """The numbers of an HDU that has some.

    Raises
    ------
    ValueError
        Where the file ends before they do.
    """
    try:
        return np.asarray(hdu.data)
    except (TypeError, OSError, EOFError) as error:
        raise ValueError(
            f"HDU {hdu.name!r} of {os.fspath(path)} cannot be read, as of a file that is cut off: "
            f"copy or download it again ({error})."
        ) from None


def described(hdus: Any) -> str:
    """What the HDUs of a file are: number, name and shape of each."""
    return ", ".join(
        f"{number} {hdu.name!r} {hdu.shape if hdu.is_image and hdu.shape else '(no image)'}"
        for number, hdu in enumerate(hdus)
    )


def described_file(path: str | os.PathLike) -> str:
    """What the HDUs of a file are that is not open."""
    with opened_fits(path) as hdus:
        return described(hdus)
