"""A file becomes a Study: its format is told by content, not by name."""

from __future__ import annotations

import stat
from pathlib import Path

from tumorlens.errors import (
    EmptyFileError,
    InputError,
    MissingFileError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging.archive import is_zip, read_zip
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.folder import read_folder
from tumorlens.imaging.formats import FILE_FORMATS, Format
from tumorlens.imaging.limits import check_file_size
from tumorlens.imaging.readers.nifti import is_nifti, read_nifti
from tumorlens.imaging.study import Study

FORMATS: tuple[Format, ...] = (*FILE_FORMATS, Format(is_zip, read_zip, ()))
"""All that is read; archives are not searched for in folders."""

SUFFIXES: frozenset[str] = frozenset(end for item in FORMATS for end in item.suffixes)
"""Endings of the names of files that can be read."""


def read_study(
    source: str | Path | bytes, name: str | None = None, volume: int | None = None
) -> Study:
    """Read a file, whatever its format, or a folder of a study.

    Parameters
    ----------
    source
        A path to a file or folder, or the bytes of a file.
    name
        What the user calls it; by default the path, or ``picture``.
    volume
        Which volume of a NIfTI file that holds several (4-D), from 0.

    Returns
    -------
    Study
        At least one slice.

    Raises
    ------
    InputError
        One of its kinds: the file is missing, empty, not readable, in an
        unknown format, damaged, or passes a limit on size; a volume is given
        where there is none to choose. The message names the file.
    """
    if isinstance(source, bytes):
        label = display_name(name) if name else "picture"
        data = source
        check_file_size(len(data), label)
    else:
        label = display_name(name or source)
        path = Path(source)
        if _is_folder(path):
            if volume is not None:
                raise _nothing_to_choose(label)
            return read_folder(path, label)
        data = _read_bytes(path, label)
    if not data:
        raise EmptyFileError(f"{label} is empty.")
    if volume is not None:
        if not is_nifti(data):
            raise _nothing_to_choose(label)
        return read_nifti(data, label, volume)
    for item in FORMATS:
        if item.matches(data):
            return item.read(data, label)
    raise UnknownFormatError(f"{label} is in no picture format that is known.")


def _nothing_to_choose(label: str) -> InputError:
    return InputError(
        f"{label} is no NIfTI file, so there is no volume to choose.",
        "Leave the volume out.",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _read_bytes(path: Path, label: str) -> bytes:
    try:
        status = path.stat()
        # A pipe or a device could keep the reader waiting for ever.
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(
                f"{label} is no ordinary file.", "Copy its content into a file."
            )
        check_file_size(status.st_size, label)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise MissingFileError(f"{label} does not exist.") from error
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise UnreadableFileError(f"{label} cannot be read: {reason}.") from error
