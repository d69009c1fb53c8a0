"""Memory of a process that reads many pictures: what it has had goes back.

Tested in `tests/cli/services/test_serve.py`.
"""

from __future__ import annotations

import ctypes
import sys

_ARENA_MAX, _ARENAS = -8, 2
"""M_ARENA_MAX of glibc's malloc.h, and how many threads share."""

_MMAP_THRESHOLD, _LARGE_BYTES = -3, 2**19
"""M_MMAP_THRESHOLD, and the size: the model's input and most pictures are larger."""


def share_heaps() -> None:
    """Let all threads share two heaps, and large arrays go back when they are free.

    Called before there are other threads. glibc would give up to eight times as many
    heaps as there are cores, and would soon put large arrays there, too; what pictures
    and drawings leave in each stays there. Other libraries have no such settings.
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_ARENA_MAX, _ARENAS)
            set_option(_MMAP_THRESHOLD, _LARGE_BYTES)
