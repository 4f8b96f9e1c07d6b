"""Memory that one step frees is kept for the next one: a third of a large world's time went into getting it anew."""

from __future__ import annotations

import ctypes
from functools import cache

#: Of glibc's `mallopt`.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Arrays up to this size come from the heap (glibc takes no more), of which so much stays when it is free, bytes.
_FROM_HEAP, _KEPT = 32 * 2**20, 512 * 2**20


@cache
def keep_freed() -> bool:
    """Have the C library keep freed memory in this process; returns whether it does, which only glibc can be told.

    As it comes, it maps an array of more than 128 KiB anew, or cuts the heap after it was freed, and the kernel fills
    every page with zeros once more.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _FROM_HEAP)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
