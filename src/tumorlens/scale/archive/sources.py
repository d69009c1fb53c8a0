"""Sources of an archive: where its files lie, and what the start of each says.

Files come from folders, manifests and object stores. The start of one tells its format,
its series, and how many slices it holds.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tumorlens.errors import (
    DatasetError,
    InputError,
    MissingFileError,
    SettingError,
    SourceDownError,
    UnreadableFileError,
)
from tumorlens.imaging.bids import reason_aside
from tumorlens.imaging.dicom.header import (
    parse,
    quiet,
    text,
)
from tumorlens.imaging.formats import (
    SUFFIXES,
    display_name,
    format_of,
    is_archive,
    is_dicom,
    is_dicomdir,
    is_raster,
)
from tumorlens.imaging.limits import check_file_size
from tumorlens.imaging.readers.detached import data_file_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag


MANIFEST_SUFFIX = ".csv"
FILE_COLUMN = "file"

HEAD_BYTES = 64 * 2**10
"""What is read of a file to tell its format and its series."""

_TRIES = 4
_FIRST_PAUSE = 0.5
"""Seconds before an object store is asked again; each further pause is doubled."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Source:
    """One place that the user gave.

    Parameters
    ----------
    given
        The start of its files' names, as the user wrote it.
    base
        The same as an absolute path or URL, which every worker can open.
    """

    given: str
    base: str


@dataclass(frozen=True)
class ArchiveFile:
    """One file of an archive.

    Parameters
    ----------
    location
        Absolute path or URL.
    name
        The file's name for people, as `predict` shows it.
    """

    location: str
    name: str


@dataclass(frozen=True)
class ListedFile:
    """One file of a source, before anything of it was read.

    Parameters
    ----------
    path
        From the source's base; empty for the base itself, absolute or a URL where
        a manifest says so.
    asked_for
        Whether the user named it: then it becomes a row whatever it holds. Of a
        folder, files that are no picture are skipped.
    """

    path: str
    asked_for: bool = False


def is_url(path: str) -> bool:
    """Tell whether a path is a URL of an object store."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def archive_file(source: Source, path: str) -> ArchiveFile:
    """Say where a listed file lies, and what people call it.

    Parameters
    ----------
    source
        The place that lists it.
    path
        Path, as in `ListedFile`.
    """
    if not path:
        return ArchiveFile(source.base, display_name(source.given))
    if is_url(path):
        return ArchiveFile(path, display_name(path))
    if is_url(source.base):
        base = source.base.rstrip("/")
        given = source.given.rstrip("/")
        return ArchiveFile(f"{base}/{path}", display_name(f"{given}/{path}"))
    return ArchiveFile(
        os.path.join(source.base, path),  # noqa: PTH118 - keeps bytes that are no UTF-8
        display_name(Path(source.given, path)),
    )


def open_source(given: str) -> Source:
    """Turn what the user gave into a source.

    Parameters
    ----------
    given
        A file, folder, manifest (a name that ends in ``.csv``) or URL.
    """
    if is_url(given):
        if _is_manifest(given):
            folder = given.rsplit("/", 1)[0]
            return Source(folder, folder)
        return Source(given, given)
    path = Path(given).parent if _is_manifest(given) else Path(given)
    shown = str(path) if _is_manifest(given) else given
    return Source(shown, os.path.abspath(path))  # noqa: PTH100 - links keep their names


def _is_manifest(given: str) -> bool:
    return given.lower().endswith(MANIFEST_SUFFIX)


def list_files(given: str) -> Iterator[ListedFile]:
    """List the files of one source, one by one.

    Folders are searched through all their subfolders; names that start with a dot,
    ``DICOMDIR`` and what is no ordinary file are passed over. A place that cannot be
    opened, or holds nothing, is listed itself, so that it becomes a row.

    Parameters
    ----------
    given
        Source, as `open_source` takes it.

    Raises
    ------
    DatasetError
        A manifest cannot be read.
    SettingError
        The URL's kind is unknown, or the package for it is not installed.
    SourceDownError
        An object store does not answer.
    """
    if _is_manifest(given):
        yield from _manifest_files(given)
    elif is_url(given):
        yield from _stored_files(given)
    elif os.path.isdir(given):  # noqa: PTH112 - `Path.is_dir` raises on closed folders
        yield from _folder_files(given)
    else:
        yield ListedFile("", asked_for=True)


def _folder_files(folder: str) -> Iterator[ListedFile]:
    refused: list[OSError] = []
    listed = False
    for place, folders, names in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or name == "DICOMDIR":
                continue
            listed = True
            yield ListedFile(os.path.relpath(os.path.join(place, name), folder))  # noqa: PTH118
    for problem in refused:
        listed = True
        path = os.path.relpath(problem.filename or folder, folder)
        yield ListedFile("" if path == "." else path, asked_for=True)
    if not listed:
        yield ListedFile("", asked_for=True)


def _stored_files(url: str) -> Iterator[ListedFile]:
    store, root = _store(url)
    if _patiently(url, lambda: bool(store.isfile(root))):
        yield ListedFile("", asked_for=True)
        return
    listed = False
    start = root.rstrip("/") + "/"
    waiting = [root]
    while waiting:
        here = waiting.pop()
        try:
            entries = _patiently(url, lambda here=here: store.ls(here, detail=True))  # type: ignore[misc]
        except FileNotFoundError:
            continue
        folders = []
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            place = str(entry["name"]).rstrip("/")
            name = place.rsplit("/", 1)[-1]
            if place == here.rstrip("/") or name.startswith("."):
                continue
            if entry["type"] == "directory":
                folders.append(place)
            elif name != "DICOMDIR":
                listed = True
                yield ListedFile(place.removeprefix(start))
        waiting += reversed(folders)
    if not listed:
        yield ListedFile("", asked_for=True)


def _manifest_files(given: str) -> Iterator[ListedFile]:
    name = display_name(given)
    try:
        with _open_text(given) as lines:
            reader = csv.DictReader(lines)
            if FILE_COLUMN not in (reader.fieldnames or ()):
                raise DatasetError(
                    f"{name} has no column '{FILE_COLUMN}'.",
                    "Name there the pictures, one a row: paths from the manifest's "
                    "folder, absolute paths or URLs.",
                )
            for row in reader:
                path = (row[FILE_COLUMN] or "").strip()
                if not path:
                    raise DatasetError(
                        f"{name}, line {reader.line_num}: the column '{FILE_COLUMN}' "
                        "is empty.",
                        "Name the picture.",
                    )
                yield ListedFile(path, asked_for=True)
    except FileNotFoundError as error:
        raise MissingFileError(f"{name} does not exist.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{name} cannot be read as CSV: {error}.", "Save it as CSV in UTF-8."
        ) from error


def _open_text(given: str) -> Any:  # noqa: ANN401 - a text file, of fsspec or not
    if is_url(given):
        store, path = _store(given)
        return store.open(path, "rt", encoding="utf-8-sig", newline="")
    return Path(given).open(encoding="utf-8-sig", newline="")


def read_file(file: ArchiveFile) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    file
        A path or URL.

    Raises
    ------
    InputError
        One of its kinds: it is missing, may not be read or is too large.
    SourceDownError
        An object store does not answer.
    """
    if is_url(file.location):
        store, path = _store(file.location)
        with _input_errors(file):
            size = _patiently(file.location, lambda: store.size(path))
            check_file_size(int(size or 0), file.name)
            data: bytes = _patiently(file.location, lambda: store.cat_file(path))
        return data
    with _input_errors(file), Path(file.location).open("rb") as handle:
        status = os.fstat(handle.fileno())
        _check_ordinary(status, file)
        check_file_size(status.st_size, file.name)
        return handle.read()


def read_head(file: ArchiveFile) -> tuple[bytes, int]:
    """Read the start of a file.

    Parameters
    ----------
    file
        A path or URL.

    Returns
    -------
    tuple of bytes and int
        The first `HEAD_BYTES`, and the size of the file in bytes.

    Raises
    ------
    InputError, SourceDownError
        Where `read_file` raises them.
    """
    if is_url(file.location):
        store, path = _store(file.location)
        with _input_errors(file):
            size = int(_patiently(file.location, lambda: store.size(path)) or 0)
            end = min(HEAD_BYTES, size)
            # A range of no bytes is an error to object stores.
            if not end:
                return b"", 0
            head: bytes = _patiently(
                file.location, lambda: store.cat_file(path, start=0, end=end)
            )
        return head, size
    with _input_errors(file), Path(file.location).open("rb") as handle:
        status = os.fstat(handle.fileno())
        _check_ordinary(status, file)
        return handle.read(HEAD_BYTES), status.st_size


def _check_ordinary(status: os.stat_result, file: ArchiveFile) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError(
            f"{file.name} is no ordinary file.", "Copy its content into a file."
        )


@contextmanager
def _input_errors(file: ArchiveFile) -> Iterator[None]:
    """Turn what the system says of one file into the error of that file."""
    try:
        yield
    except IsADirectoryError as error:
        # Listed itself because nothing in it could be: closed, or empty.
        if os.access(file.location, os.R_OK | os.X_OK):
            raise MissingFileError(
                f"The folder {file.name} holds no picture."
            ) from error
        raise UnreadableFileError(f"{file.name} cannot be opened.") from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise MissingFileError(f"{file.name} does not exist.") from error
    except OSError as error:
        reason = (error.strerror or "access was refused").lower()
        raise UnreadableFileError(f"{file.name} cannot be read: {reason}.") from error


def _store(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    root = url.partition("://")[0]
    import fsspec

    try:
        store = _file_system(root, os.getpid())
        return store, str(type(store)._strip_protocol(url))
    except ImportError as error:
        raise SettingError(
            f"Files at {root}:// need a package that is not installed.", f"{error}."
        ) from error
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise SettingError(
            f"{root}:// is no kind of address that is known.", f"Known are: {known}."
        ) from error


@lru_cache(maxsize=16)
def _file_system(protocol: str, process: int) -> Any:  # noqa: ANN401
    """Open a file system once a process: a client does not outlive a fork."""
    del process
    import fsspec

    # A cache of listings would grow with the archive, and miss what is new.
    return fsspec.filesystem(protocol, use_listings_cache=False)


def _patiently(url: str, ask: Callable[[], _Answer]) -> _Answer:
    """Ask an object store, again where it does not answer.

    Raises
    ------
    FileNotFoundError, PermissionError
        Where that is its answer.
    SourceDownError
        It gives none: a fault of the network must not become a file's row.
    """
    pause = _FIRST_PAUSE
    for left in reversed(range(_TRIES)):
        try:
            return ask()
        except (FileNotFoundError, PermissionError, IsADirectoryError, InputError):
            raise
        # Clients of object stores have classes of their own for a broken line.
        except Exception as error:
            if not left:
                place = "/".join(url.split("/")[:3])
                raise SourceDownError(
                    f"{display_name(place)} does not answer: {error}."
                ) from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


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
        Whether it is to be judged: false for a file of a folder that is no picture, or
        by its name a mask or a map.
    size
        Size in bytes; 0 where it cannot be read.
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
        Whether the user named each.

    Raises
    ------
    SourceDownError
        An object store does not answer.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_read_header, files, asked_for))


def _read_header(file: ArchiveFile, asked_for: bool) -> FileHeader:
    name = file.location.rpartition("/")[2]
    if not asked_for and reason_aside(name):
        return FileHeader(False)
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
    ending = name.lower()
    is_picture = (
        ending.endswith(_ENDINGS)
        or format_of(head) is not None
        or is_archive(head)
        or bool(data_file_names(head, name))
    ) and not is_dicomdir(head)
    is_several = is_picture and not (is_raster(head) or ending.endswith(_PICTURES))
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
