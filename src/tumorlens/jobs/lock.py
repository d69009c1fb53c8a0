"""A store's lock: one process at a time, and free again however that one ends.

Tested in `tests/jobs/test_store.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tumorlens.errors import OutputError

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """Holds a file's lock, which the operating system frees when the process ends.

    The file itself stays: whether it exists says nothing.

    Parameters
    ----------
    path
        The file, made where it is missing.

    Raises
    ------
    OutputError
        Another process, or another store of this one, holds the lock.
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        # Children that are started later do not inherit it.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            raise OutputError(
                f"The store {path.parent} is locked: another process uses it.",
                "Stop that one, or choose another folder; one process at a time.",
            ) from error

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)
