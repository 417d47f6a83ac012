"""Memory that is asked for again at every step stays with the process."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
_LARGEST_KEPT = 32 << 20  # bytes; more is refused


def keep_freed_memory() -> bool:
    """From now on, in this process: glibc keeps what is freed instead of giving it back to the system, which fills it
    with zeros page by page whenever it is asked for anew. Returns whether that was done; without glibc it is not.

    A step of a training frees and asks for some hundred MiB on a CPU.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    return all(
        libc.mallopt(what, size) for what, size in ((_MMAP_THRESHOLD, _LARGEST_KEPT), (_TRIM_THRESHOLD, 2**31 - 1))
    )
