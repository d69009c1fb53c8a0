"""A file, a folder or an archive becomes a Study: formats are told by content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tumorlens.errors import (
    EmptyFileError,
    InputError,
    MissingFileError,
    TooLargeError,
    TooManyBrokenError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging.archive import is_zip, zip_contents
from tumorlens.imaging.dicom.grouping import gather_series, left_out
from tumorlens.imaging.dicom.header import is_dicom
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.formats import FILE_FORMATS, Format
from tumorlens.imaging.limits import (
    MAX_ENTRIES,
    MAX_STUDY_PIXELS,
    BrokenFiles,
    check_file_size,
    check_unpacked,
)
from tumorlens.imaging.readers.nifti import is_nifti, read_nifti
from tumorlens.imaging.study import Series, Study


def read_zip(data: bytes, name: str) -> Study:
    """Read an archive of slices or series.

    Parameters
    ----------
    data
        The whole archive.
    name
        What the user calls it, for messages and as the start of `Slice.source`.

    Raises
    ------
    InputError
        Whatever `zip_contents` and `read_collection` raise it.
    """
    return read_collection(zip_contents(data, name), name)


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
    return read_collection(_folder_contents(path, label), label)


def _folder_contents(folder: Path, label: str) -> Iterator[tuple[str, bytes]]:
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


def read_collection(files: Iterable[tuple[str, bytes]], label: str) -> Study:
    """Read the files of a folder or an archive together.

    DICOM files are sorted into series; each other file is a series of its own.
    Files that cannot be used are left out, with a note.

    Parameters
    ----------
    files
        Name and bytes of each; taken one by one.
    label
        What the user calls the whole.

    Raises
    ------
    InputError
        Where no file can be used: the first one's reason.
    TooManyBrokenError
        Where the files that cannot be read cost too much (see `BrokenFiles`).
    """
    others: list[Study] = []
    failures: list[tuple[str, InputError]] = []
    broken = BrokenFiles(label)
    pixels = size = 0

    def dicom_only() -> Iterator[tuple[str, bytes]]:
        nonlocal pixels, size
        for name, data in files:
            if is_dicom(data):
                yield name, data
                continue
            size += len(data)
            study = None
            with broken.passing_over(name, failures):
                study = _read_one(data, name)
            if study is None:
                continue
            others.append(study)
            pixels += sum(item.pixels.size for item in study.slices)
            if pixels > MAX_STUDY_PIXELS:
                raise TooLargeError(
                    f"{label} holds more than {MAX_STUDY_PIXELS // 10**6} million "
                    "pixels.",
                    "Give one series at a time.",
                )
            check_unpacked(pixels, 4, size, label)

    series: tuple[Series, ...] = ()
    notes: tuple[str, ...] = ()
    first: InputError | None = None
    try:
        study, _ = gather_series(dicom_only(), broken)
        series, notes = study.series, study.notes
    except (TooLargeError, TooManyBrokenError):
        raise
    except MissingFileError:
        pass
    except InputError as error:
        first = error
    for item in others:
        series += item.series
        notes += item.notes
    if not series:
        if first is not None:
            raise first
        if failures:
            raise failures[0][1]
        raise MissingFileError(f"{label} holds no file that can be read.")
    if first is not None:
        notes += ("Its DICOM files could not be used.",)
    return Study(series, (*notes, *left_out(failures)))


def _read_one(data: bytes, name: str) -> Study:
    for item in FILE_FORMATS:
        if item.matches(data):
            return item.read(data, name)
    raise UnknownFormatError(f"{name} is in no picture format that is known.")
