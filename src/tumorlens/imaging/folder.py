"""A folder is read as one study."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tumorlens.errors import TooLargeError, UnreadableFileError
from tumorlens.imaging.collection import read_collection
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.limits import MAX_ENTRIES, check_file_size
from tumorlens.imaging.study import Study


def read_folder(path: Path, label: str) -> Study:
    """Read all files of a folder and of those inside it, by content.

    Links, hidden files and what is no ordinary file are passed over.

    Parameters
    ----------
    path
        The folder.
    label
        What the user calls it, for messages and for `Slice.source`.

    Raises
    ------
    InputError
        Where no file in it can be used, or a limit is passed.
    """
    return read_collection(_contents(path, label), label)


def _contents(folder: Path, label: str) -> Iterator[tuple[str, bytes]]:
    count = 0
    for place, inside, names in os.walk(folder, onerror=_refuse(label)):
        inside[:] = sorted(item for item in inside if not item.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if name.startswith(".") or name == "DICOMDIR":
                continue
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise TooLargeError(
                    f"{label} holds more than {MAX_ENTRIES:,} files.",
                    "Give one study at a time.",
                )
            shown = f"{label}/{display_name(file.relative_to(folder))}"
            check_file_size(status.st_size, shown)
            try:
                content = file.read_bytes()
            except OSError as error:
                raise _unreadable(shown, error) from error
            yield shown, content


def _unreadable(label: str, error: OSError) -> UnreadableFileError:
    reason = (error.strerror or "unknown reason").lower()
    return UnreadableFileError(f"{label} cannot be read: {reason}.")


def _refuse(label: str) -> Callable[[OSError], None]:
    def refuse(error: OSError) -> None:
        raise _unreadable(label, error) from error

    return refuse
