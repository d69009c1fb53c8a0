"""The files of an uploaded scan: taken from a request, and read as one study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from werkzeug.datastructures import FileStorage

from tumorlens.errors import OutputError, TooLargeError
from tumorlens.imaging.collection import read_collection
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.limits import MAX_ENTRIES, check_file_size
from tumorlens.imaging.read import read_study
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


def save_upload(uploads: Sequence[FileStorage], folder: Path) -> None:
    """Write the files of a request under names of our own.

    Parameters
    ----------
    uploads
        Hidden files and DICOM's table of contents are passed over.
    folder
        Exists and is empty.

    Raises
    ------
    OutputError
        Where the disk is full or the folder is gone.
    """
    try:
        for number, upload in enumerate(uploads, 1):
            base = (upload.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
            if len(uploads) > 1 and (base.startswith(".") or base == "DICOMDIR"):
                continue
            upload.save(folder / f"{number:05d}")
    except OSError as error:
        raise OutputError(
            f"The upload cannot be kept: {error.strerror}.",
            "Make room on the disk, or delete analyses.",
        ) from error


def read_upload(folder: Path, label: str) -> Study:
    """Read what `save_upload` wrote.

    Parameters
    ----------
    folder
        A single file may be of any format; several are read as one study.
    label
        What the user calls it.

    Raises
    ------
    InputError
        Where nothing can be used, or a limit is passed.
    """
    paths = sorted(folder.iterdir())
    if len(paths) == 1:
        return read_study(paths[0], label)
    return read_collection(_contents(paths, label), label)


def _contents(paths: Sequence[Path], label: str) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        name = f"{label}#{int(path.name)}"
        check_file_size(path.stat().st_size, name)
        yield name, path.read_bytes()
