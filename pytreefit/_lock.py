"""A file that one process at a time has; the system forgets the lock of a killed one."""

import contextlib
import errno
import os
import socket

try:
    import fcntl
except ImportError:  # of Windows, where nothing is locked
    fcntl = None


def lock(name: str | os.PathLike) -> int:
    """A descriptor of a file that nobody else has locked; BlockingIOError says who has."""
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _flock(descriptor)
        except BlockingIOError:
            owner = os.read(descriptor, 300).decode(errors="replace")
            os.close(descriptor)
            raise BlockingIOError(owner or "just begun") from None
        # its owner may have deleted it before it was locked here
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(name)):
                break
        os.close(descriptor)
    with contextlib.suppress(OSError):  # a disk that is full
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return descriptor


def unlock(name: str | os.PathLike, descriptor: int) -> None:
    """Give up what `lock` returned."""
    with contextlib.suppress(OSError):
        os.unlink(name)
    os.close(descriptor)


def _flock(descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # of a file system without locks
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
