"""The files of an uploaded scan: taken from a request, and read as one study.

Tested in `tests/web/views/api/test_series.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from werkzeug.datastructures import FileStorage

from tumorlens.errors import TooLargeError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.limits import MAX_ENTRIES, check_file_size
from tumorlens.imaging.read import read_collection, read_study
from tumorlens.imaging.study import Study

_NAME_LENGTH = 200


def label_of(uploads: Sequence[FileStorage]) -> str:
    """Name an upload for people.

    Names of the files of a folder are the sender's and may hold the patient's:
    only the name of a single file, which the user chose, is kept.
    """
    if len(uploads) == 1:
        return display_name((uploads[0].filename or "scan")[-_NAME_LENGTH:])
    return f"{len(uploads)} files"


def check_count(uploads: Sequence[FileStorage]) -> None:
    """Refuse more files than a study has.

    Raises
    ------
    TooLargeError
        Above `MAX_ENTRIES`.
    """
    if len(uploads) > MAX_ENTRIES:
        raise TooLargeError(
            f"The upload has {len(uploads):,} files; at most {MAX_ENTRIES:,} are read.",
            "Give one study at a time.",
        )


def sent_files(uploads: Sequence[FileStorage]) -> dict[str, BinaryIO]:
    """Give the files of a request names of our own.

    Hidden files and DICOM's table of contents are passed over.
    """
    files: dict[str, BinaryIO] = {}
    for number, upload in enumerate(uploads, 1):
        base = (upload.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        if len(uploads) > 1 and (base.startswith(".") or base == "DICOMDIR"):
            continue
        files[f"{number:05d}"] = upload.stream  # type: ignore[assignment]
    return files


def read_upload(files: Mapping[str, Path], label: str) -> Study:
    """Read what was sent.

    Parameters
    ----------
    files
        By the names that `sent_files` gave. A single one may be of any format;
        several are read as one study.
    label
        What the user calls it.

    Raises
    ------
    InputError
        Where nothing can be used, or a limit is passed.
    """
    if len(files) == 1:
        return read_study(next(iter(files.values())), label)
    return read_collection(_contents(files, label), label)


def _contents(files: Mapping[str, Path], label: str) -> Iterator[tuple[str, bytes]]:
    for number, path in files.items():
        name = f"{label}#{int(number)}"
        check_file_size(path.stat().st_size, name)
        yield name, path.read_bytes()
