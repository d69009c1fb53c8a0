"""Zip archives are read in memory: nothing is ever unpacked onto the disk."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.bids import (
    MAX_SIDECAR_BYTES,
    inherited_sidecar,
    sidecar_names,
)
from tumorlens.imaging.formats import (
    START_BYTES,
    display_name,
    format_of,
    is_dicom,
    is_dicomdir,
    is_zip,
    natural_order,
    unknown_format,
)
from tumorlens.imaging.limits import (
    FREE_UNPACKED_BYTES,
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_UNPACKED_BYTES,
)
from tumorlens.imaging.readers.detached import data_file_names, joined

_END = b"PK\5\6"
_MAX_DIRECTORY_BYTES = 8 * 2**20
_SMALL_BYTES = 2**20


def zip_contents(
    data: bytes,
    name: str,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Unpack the pictures of an archive, one after the other.

    Of each file the first bytes tell whether it is one; what is none, however large,
    is skipped unread.

    Parameters
    ----------
    data
        The whole archive.
    name
        Name for messages, and the start of each file's name.
    failures
        List that gets the name and error of each skipped file.
    sidecars
        Gets the sidecar of each volume that has one, by the volume's name.

    Yields
    ------
    tuple of str and bytes
        Name and content of each file. Names of DICOM files are the sender's, and may
        hold the patient's: they are numbered; others keep their last part.

    Raises
    ------
    DamagedFileError
        Where it is cut off or broken, or a member is not as long as stated.
    TooLargeError
        Where it holds or inflates to more than `limits` allow.
    InputError
        Where it is encrypted, holds an archive, a link, or a name that leads
        out of it.
    """
    _check_directory(data, name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            _check_members(archive.infolist(), len(data), name)
            yield from _contents(archive, members, name, len(data), failures, sidecars)
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        IndexError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DamagedFileError(
            f"{name} starts like a zip archive, but is cut off or broken."
        ) from error


def _check_directory(data: bytes, name: str) -> None:
    """Look at the end record first: a long list of members takes much memory."""
    end = data.rfind(_END, max(0, len(data) - 2**16 - 22))
    if end < 0 or end + 22 > len(data):
        raise DamagedFileError(f"{name} starts like a zip archive, but has no end.")
    count = int.from_bytes(data[end + 10 : end + 12], "little")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    wide = data[max(0, end - 20) : end].startswith(b"PK\6\7")
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY_BYTES or wide:
        raise _too_many(name)


def _too_many(name: str) -> TooLargeError:
    return TooLargeError(
        f"{name} holds more than {MAX_ENTRIES:,} files.", "Give one study at a time."
    )


def _check_members(members: list[zipfile.ZipInfo], size: int, name: str) -> None:
    if len(members) > MAX_ENTRIES:
        raise _too_many(name)
    for item in members:
        path = item.orig_filename.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
            raise InputError(
                f"{name} holds a file whose name leads out of the archive.",
                "Pack the files again, without paths.",
            )
        if stat.S_ISLNK(item.external_attr >> 16):
            raise InputError(
                f"{name} holds a link.", "Pack the files themselves, not links."
            )
        if item.flag_bits & 0x1:
            raise InputError(
                f"{name} is encrypted.", "Pack the files again without a password."
            )


class _Total:
    """Total of the bytes unpacked so far, compared with the archive's limit."""

    def __init__(self, size: int, name: str) -> None:
        self._most = min(MAX_UNPACKED_BYTES, max(FREE_UNPACKED_BYTES, MAX_RATIO * size))
        self._size = size
        self._name = name
        self._unpacked = 0

    def add(self, item: zipfile.ZipInfo) -> None:
        """Count a file that is to be read."""
        much = item.file_size > MAX_RATIO * max(1, item.compress_size)
        if item.file_size > MAX_FILE_BYTES or (much and item.file_size > _SMALL_BYTES):
            raise inflating(item, self._name)
        self._unpacked += item.file_size
        if self._unpacked > self._most:
            raise TooLargeError(
                f"{self._name} inflates from {self._size / 2**20:.1f} MB to over "
                f"{self._most / 2**20:.0f} MB.",
                "Give one series at a time.",
            )


def inflating(item: zipfile.ZipInfo, name: str) -> TooLargeError:
    """Refuse a file that is too large, or packed too well, for a picture."""
    return TooLargeError(
        f"{name} holds a file that inflates to {item.file_size / 2**20:.0f} MB "
        f"from {item.compress_size / 2**10:.0f} KB.",
        "Give the files without an archive.",
    )


def _contents(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    name: str,
    size: int,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes] | None,
) -> Iterator[tuple[str, bytes]]:
    total = _Total(size, name)
    by_path = {item.filename: item for item in members}
    numbers = {item.filename: number for number, item in enumerate(members, 1)}
    joined_files: set[str] = set()
    used: set[str] = set()
    own_sidecars = {x for path in by_path for x in _sidecar_paths(path)[:1]}
    for item in sorted(members, key=lambda item: natural_order(item.filename)):
        folder, _, base = item.filename.rpartition("/")
        # What systems add of their own.
        if base.startswith(".") or "__MACOSX" in item.filename or not item.file_size:
            continue
        if item.filename in own_sidecars:
            continue
        numbered = f"{name}#{numbers[item.filename]}"
        start = _start(archive, item)
        if start is None:
            error = InputError(
                f"{numbered} is packed by a method that is not read.",
                "Pack the archive again, by deflate.",
            )
            failures.append((numbered, error))
            continue
        if is_dicomdir(start) or item.filename in joined_files:
            continue
        pair = data_file_names(start, base) if item.file_size < START_BYTES else ()
        if format_of(start) is None and not pair:
            # A file that could be anything but a picture is not worth its reason.
            much = item.file_size > MAX_RATIO * max(1, item.compress_size)
            unread = much and item.file_size > _SMALL_BYTES
            if is_zip(start):
                error = InputError(
                    f"{numbered} is another archive.",
                    "Give the inner archive by itself.",
                )
            else:
                error = unknown_format(start, numbered)
            failures.append((numbered, inflating(item, name) if unread else error))
            continue
        total.add(item)
        content = _content(archive, item, name)
        second = next(
            (
                by_path[path]
                for path in (f"{folder}/{x}".lstrip("/") for x in pair)
                if path in by_path
            ),
            None,
        )
        if second is not None:
            total.add(second)
            joined_files.add(second.filename)
            content = joined(content, _content(archive, second, name), numbered)
        shown = numbered
        if not is_dicom(content):
            shown = f"{name}/{display_name(base)}"
            if shown in used:
                shown = f"{numbered}/{display_name(base)}"
            used.add(shown)
        sidecar = next((x for x in _sidecar_paths(item.filename) if x in by_path), None)
        if sidecars is not None and sidecar is not None:
            described_by = by_path[sidecar]
            if described_by.file_size <= MAX_SIDECAR_BYTES:
                total.add(described_by)
                sidecars[shown] = _content(archive, described_by, name)
        yield shown, content


def _sidecar_paths(path: str) -> list[str]:
    """Name the sidecars that a volume may have in the archive, its own first."""
    folder, _, base = path.rpartition("/")
    paths = [f"{folder}/{name}".lstrip("/") for name in sidecar_names(base)]
    inherited = inherited_sidecar(base)
    while inherited:
        paths.append(f"{folder}/{inherited}".lstrip("/"))
        if not folder:
            break
        folder = folder.rpartition("/")[0]
    return paths


def _start(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes | None:
    """Unpack the first bytes of a file; None where its method is not read."""
    if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None
    with archive.open(item) as file:
        return file.read(min(START_BYTES, item.file_size + 1))


def _content(archive: zipfile.ZipFile, item: zipfile.ZipInfo, name: str) -> bytes:
    with archive.open(item) as file:
        # One byte more than stated: a member may lie about its size.
        content = file.read(item.file_size + 1)
    if len(content) != item.file_size:
        raise DamagedFileError(f"{name} holds a file that is not as long as it states.")
    return content
