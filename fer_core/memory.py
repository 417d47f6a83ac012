"""Memory that is asked for again at every step stays with the process."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # as malloc.h numbers them


def keep_freed_memory() -> bool:
    """From now on, in this process: glibc keeps what is freed instead of giving it back to the system, which fills it
    with zeros page by page whenever it is asked for anew. Returns whether that was done; without glibc it is not.

    A step of a training frees and asks for some hundred MiB on a CPU.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    return all(libc.mallopt(what, value) for what, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1)))
