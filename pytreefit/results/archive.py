"""The container of a saved file: a zip archive of arrays as `numpy.savez` writes it."""

import contextlib
import math
import os
import stat
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

KINDS = "biufcSU"  # of arrays in a file


class Archive:
    """The arrays of a file that is open, each to be taken once.

    What a file says of its sizes is compared with the size that it has before anything is read, so
    that a small file can't fill the memory.
    """

    def __init__(self, stream: IO[bytes]):
        size = os.fstat(stream.fileno()).st_size
        self.zip = zipfile.ZipFile(stream)
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self.zip.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(
                    f"{member.filename!r} in it is compressed or encrypted, which pytreefit.save "
                    "does not do: refused."
                )
            if member.file_size != member.compress_size or member.filename in self.members:
                raise ValueError(f"its entry {member.filename!r} contradicts itself: damaged.")
            self.members[member.filename] = member
        if sum(member.file_size for member in self.members.values()) > size:
            raise ValueError("it says that it holds more than its size: damaged.")

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self.members

    def take(self, name: str, dtype: str | None = None, shape: tuple[int, ...] | None = None):
        """An array, of the type and shape that are expected, or of any."""
        member = self.members.pop(f"{name}.npy")
        with self.zip.open(member) as stream:
            found_shape, found = _described(stream)
            if found.kind not in KINDS or not found.itemsize:
                raise ValueError(f"is an array of {found}, which is never saved")
            if (dtype or found.str, found_shape if shape is None else shape) != (
                found.str,
                found_shape,
            ):
                raise ValueError(
                    f"is {found.str} of shape {found_shape} but the header says {dtype} of shape "
                    f"{shape}: the file is damaged"
                )
            if stream.tell() + math.prod(found_shape) * found.itemsize != member.file_size:
                raise ValueError("has not the size of its shape: the file is damaged")
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)


def _described(stream) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array in a ``.npy`` file."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"has version {version} of NumPy's format, which is never saved")
    return shape, dtype


def write(path: str | os.PathLike, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a file in one step, as :func:`pytreefit.save` promises."""
    path = Path(os.path.realpath(path))  # where a symbolic link leads to: the link stays
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = plain_file(path).st_mode
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def plain_file(path: str | os.PathLike) -> os.stat_result:
    """What the system says of a file; ValueError of a folder, a pipe or a device."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ValueError(f"{os.fspath(path)} is {kind}: give the name of a plain file.")
    return status
