"""How the C library of Linux handles the temporary memory of compiled programs."""

import numpy as np

# a little less than the largest limit that glibc moves to by itself, 32 MiB
_LARGEST = (32 << 20) - (64 << 10)


def keep_freed_blocks() -> None:
    """Let freed blocks of up to 32 MiB be used again in place of new ones from the kernel.

    A compiled program takes all its temporary memory in one block. glibc takes blocks from a
    certain size on straight from the kernel and gives them back, so that each of their pages is
    filled with zeros at every call: for an image of 140 x 140 pixels that was half of the time. The
    limit rises to the size of the largest block that was freed; of this one no page is ever used.
    """
    np.empty(_LARGEST, np.uint8)
