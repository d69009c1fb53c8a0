"""A file becomes a Study: its format is told by content, not by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tumorlens.errors import (
    EmptyFileError,
    MissingFileError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging.limits import check_file_size
from tumorlens.imaging.raster import is_raster, read_raster
from tumorlens.imaging.study import Study


class Format(NamedTuple):
    """One format that is read.

    Parameters
    ----------
    matches
        Tells from the bytes whether they are in this format.
    read
        Turns the bytes, and the file's name for messages, into a study.
    suffixes
        Endings of file names by which a folder is searched, in lower case.
    """

    matches: Callable[[bytes], bool]
    read: Callable[[bytes, str], Study]
    suffixes: tuple[str, ...]


FORMATS: tuple[Format, ...] = (
    Format(
        is_raster,
        read_raster,
        (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
    ),
)

SUFFIXES: frozenset[str] = frozenset(end for item in FORMATS for end in item.suffixes)
"""Endings of the names of files that can be read."""

_NOT_YET: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a DICOM file", lambda data: data[128:132] == b"DICM"),
    ("a NIfTI file", lambda data: data[344:348] in (b"n+1\0", b"ni1\0")),
    ("a compressed file or archive", lambda data: data[:2] in (b"\x1f\x8b", b"PK")),
)


def display_name(path: str | os.PathLike[str]) -> str:
    r"""Write a path so that it can be printed anywhere.

    Parameters
    ----------
    path
        May hold bytes that are no UTF-8, line breaks or control characters.

    Returns
    -------
    str
        The path, with such characters written as ``\xff``; never empty.
    """
    raw = os.fsencode(os.fspath(path))
    text = raw.decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )
    return shown or "''"


def read_study(source: str | Path | bytes, name: str | None = None) -> Study:
    """Read a file, whatever its format.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    name
        What the user calls it; by default the path, or ``picture``.

    Returns
    -------
    Study
        At least one slice.

    Raises
    ------
    InputError
        One of its kinds: the file is missing, empty, not readable, in an
        unknown format, damaged, or passes a limit on size. The message names
        the file.
    """
    if isinstance(source, bytes):
        label = display_name(name) if name else "picture"
        data = source
        check_file_size(len(data), label)
    else:
        label = display_name(name or source)
        data = _read_bytes(Path(source), label)
    if not data:
        raise EmptyFileError(f"{label} is empty.")
    for item in FORMATS:
        if item.matches(data):
            return item.read(data, label)
    raise _unknown(data, label)


def _read_bytes(path: Path, label: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableFileError(
                f"{label} is a folder.", "Give the files in it one by one."
            )
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


def _unknown(data: bytes, label: str) -> UnknownFormatError:
    for title, matches in _NOT_YET:
        if matches(data):
            return UnknownFormatError(
                f"{label} is {title}, which this version cannot read.",
                "DICOM, NIfTI and archives come with a later version; "
                "until then export the slice as a PNG picture.",
            )
    return UnknownFormatError(f"{label} is in no picture format that is known.")
