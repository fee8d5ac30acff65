"""Where the C library takes the temporary memory of compiled programs from."""

import ctypes
import subprocess
import sys

import pytest

BLOCK = """
import ctypes
import pytreefit

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Counts
library.malloc.restype = ctypes.c_void_p
before = library.mallinfo2().hblkhd
block = library.malloc(24 << 20)
print(library.mallinfo2().hblkhd - before)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="a matter of glibc 2.33 and later"
)
def test_blocks_of_an_images_size_are_kept():
    """A block taken straight from the kernel comes with new pages at every call."""
    found = subprocess.check_output([sys.executable, "-c", BLOCK], text=True)
    assert int(found) == 0
