"""Many files of any format become one Study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tumorlens.errors import (
    InputError,
    MissingFileError,
    TooLargeError,
    TooManyBrokenError,
    UnknownFormatError,
)
from tumorlens.imaging.broken_files import BrokenFiles
from tumorlens.imaging.dicom.file import is_dicom
from tumorlens.imaging.dicom.series import gather_series, left_out
from tumorlens.imaging.formats import FILE_FORMATS
from tumorlens.imaging.limits import MAX_STUDY_PIXELS, check_unpacked
from tumorlens.imaging.study import Series, Study


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
            found = None
            with broken.passing_over(name, failures):
                found = _read(data, name)
            if found is None:
                continue
            others.append(found)
            pixels += sum(item.pixels.size for item in found.slices)
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


def _read(data: bytes, name: str) -> Study:
    for item in FILE_FORMATS:
        if item.matches(data):
            return item.read(data, name)
    raise UnknownFormatError(f"{name} is in no picture format that is known.")
