"""Asks the C library to keep freed memory for the next array, instead of giving it back at once.

glibc returns large blocks to the system when they are freed, and the system clears every page of a
new one. A training step frees and allocates the same sizes again and again, and that would cost
more than its arithmetic (docs/decisions/0006).
"""

from __future__ import annotations

import os
import sys

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_TRIM = 256 << 20  # bytes free at the top of the heap before some go back
_LARGEST = 32 << 20  # bytes of a block that still comes from the heap; glibc's own upper limit


def keep_freed_memory() -> bool:
    """Set the thresholds of this process; says whether it did.

    Only glibc has them. A user who set them in the environment knows better, and is left alone.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    import ctypes  # browsers, which have come to their answer by now, would pay for it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _TRIM))
