"""What the start of a file says: its format, its series, how many slices it holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.header import (
    parse,
    quiet,
    text,
)
from tumorlens.imaging.formats import (
    SUFFIXES,
    format_of,
    is_archive,
    is_dicom,
    is_dicomdir,
    is_raster,
)
from tumorlens.scale.archive.sources import (
    HEAD_BYTES,
    ArchiveFile,
    read_file,
    read_head,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

_ARCHIVE_SUFFIX = ".zip"
_ENDINGS = (*sorted(SUFFIXES), _ARCHIVE_SUFFIX)
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".avif", ".heic", ".gif")
_SLICES_OF_A_VOLUME = 64
"""What a volume or an archive is counted as, before it is read."""

_MOST_FRAMES = 1_000
_LAST_GROUP = 0x0028
_READERS = 8
"""Files whose start is asked for at once: object stores answer late, but many."""


@dataclass(frozen=True)
class FileHeader:
    """What is known of a file before its pixels are read.

    Parameters
    ----------
    is_picture
        Whether it is to be judged: false for a file of a folder that is no picture.
    size
        In bytes; 0 where it cannot be read.
    slices
        Number of slices, as far as its start tells.
    series
        SeriesInstanceUID of a DICOM file; None for all others, and where missing.
    """

    is_picture: bool
    size: int = 0
    slices: int = 1
    series: str | None = None


def read_headers(
    files: Sequence[ArchiveFile], asked_for: Sequence[bool]
) -> list[FileHeader]:
    """Read the starts of several files.

    Parameters
    ----------
    files
        Paths or URLs.
    asked_for
        For each whether the user named it.

    Raises
    ------
    SourceDownError
        An object store does not answer.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_read_header, files, asked_for))


def _read_header(file: ArchiveFile, asked_for: bool) -> FileHeader:
    try:
        head, size = read_head(file)
        if is_dicom(head) and not is_dicomdir(head):
            header = _dicom_header(file, head, size)
            return FileHeader(
                True, size, _frames(header), text(header, "SeriesInstanceUID") or None
            )
    except InputError:
        # Judging reads it again, and says in its row what is wrong.
        return FileHeader(True)
    name = file.location.lower()
    is_picture = (
        name.endswith(_ENDINGS) or format_of(head) is not None or is_archive(head)
    ) and not is_dicomdir(head)
    is_several = is_picture and not (is_raster(head) or name.endswith(_PICTURES))
    slices = _SLICES_OF_A_VOLUME if is_several else 1
    return FileHeader(asked_for or is_picture, size, slices)


def _dicom_header(file: ArchiveFile, head: bytes, size: int) -> Dataset:
    """Parse a data set up to its pixels; as a whole where its start is very long."""
    from pydicom.filereader import read_partial

    def is_behind(tag: BaseTag, _: str | None, __: int) -> bool:
        return tag.group > _LAST_GROUP

    try:
        with quiet():
            header: Dataset = read_partial(
                io.BytesIO(head), stop_when=is_behind, force=True
            )
            # Values are parsed when they are asked for, and may be cut off.
            if size <= HEAD_BYTES or text(header, "SeriesInstanceUID"):
                return header
    # What pydicom raises on broken files is not documented, and is nearly all kinds.
    except Exception as error:
        if size <= HEAD_BYTES:
            raise InputError(f"{file.name} has a broken header.") from error
    return parse(read_file(file), file.name)


def _frames(header: Dataset) -> int:
    try:
        return min(_MOST_FRAMES, max(1, int(header.get("NumberOfFrames") or 1)))
    except (TypeError, ValueError):
        return 1
