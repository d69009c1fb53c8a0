"""Zip archives from elsewhere, read without trusting what they say."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tumorlens.errors import DatasetError, OutputError

MAX_MEMBERS = 200_000
MAX_BYTES = 20 * 1024**3
"""Largest size of all members together, unpacked."""

_MEND = "Fetch the archive again from its owner."


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open an archive whose every member may be unpacked.

    Parameters
    ----------
    path
        The archive.

    Yields
    ------
    archive, members
        The members that are files.

    Raises
    ------
    DatasetError
        If it is damaged, too large, or holds a path that leads out of the
        folder, or a link.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            _check(path, members)
            yield archive, members
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DatasetError(
            f"{path} is damaged or no archive that can be read ({error}).", _MEND
        ) from error


def extract(path: Path, folder: Path) -> None:
    """Unpack an archive; the folder appears only when all is there.

    Parameters
    ----------
    path
        The archive.
    folder
        Must not exist.

    Raises
    ------
    DatasetError
        The same as for `open_archive`.
    OutputError
        If the folder cannot be written.
    """
    unfinished = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        with open_archive(path) as (archive, members):
            for item in members:
                place = unfinished / item.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(item) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
        unfinished.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}."
        ) from error


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    # zipfile itself never reads more of a member than its stated size.
    size = sum(item.file_size for item in members)
    if len(members) > MAX_MEMBERS or size > MAX_BYTES:
        raise DatasetError(
            f"{path} would unpack to {len(members):,} files of {size:,} bytes, "
            f"more than {MAX_MEMBERS:,} files or {MAX_BYTES:,} bytes.",
            _MEND,
        )
    for item in members:
        inside = PurePosixPath(item.filename.replace("\\", "/"))
        drive = ":" in inside.parts[0] if inside.parts else True
        if inside.is_absolute() or ".." in inside.parts or drive:
            raise DatasetError(
                f"{path} holds the path {item.filename!r}, which leads elsewhere.",
                "Do not use this archive.",
            )
        if stat.S_ISLNK(item.external_attr >> 16):
            raise DatasetError(
                f"{path} holds the link {item.filename!r}.", "Do not use this archive."
            )
