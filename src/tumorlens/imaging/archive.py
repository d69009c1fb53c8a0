"""Zip archives are read in memory: nothing is ever unpacked onto the disk."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.limits import (
    FREE_UNPACKED_BYTES,
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_UNPACKED_BYTES,
)

_START = (b"PK\3\4", b"PK\5\6")
_END = b"PK\5\6"
_MAX_DIRECTORY_BYTES = 8 * 2**20
_SMALL_BYTES = 2**20


def is_zip(data: bytes) -> bool:
    """Tell whether a file starts like a zip archive."""
    return data.startswith(_START)


def zip_contents(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Unpack the files of an archive, one after the other.

    Parameters
    ----------
    data
        The whole archive.
    name
        What the user calls it, for messages and as the start of each file's name.

    Yields
    ------
    tuple of str and bytes
        Name and content of each file that the archive holds.

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
            yield from _contents(archive, members, name)
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
        if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{name} is packed by a method that is not read.",
                "Pack the files again as an ordinary zip (deflate).",
            )
        much = item.file_size > MAX_RATIO * max(1, item.compress_size)
        if item.file_size > MAX_FILE_BYTES or (much and item.file_size > _SMALL_BYTES):
            raise TooLargeError(
                f"{name} holds a file that inflates to {item.file_size / 2**20:.0f} MB "
                f"from {item.compress_size / 2**10:.0f} KB.",
                "Give the files without an archive.",
            )
    unpacked = sum(item.file_size for item in members)
    ratio = unpacked > max(FREE_UNPACKED_BYTES, MAX_RATIO * size)
    if unpacked > MAX_UNPACKED_BYTES or ratio:
        raise TooLargeError(
            f"{name} inflates from {size / 2**20:.1f} MB to {unpacked / 2**20:.0f} MB.",
            "Give one series at a time.",
        )


def _contents(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], name: str
) -> Iterator[tuple[str, bytes]]:
    for number, item in enumerate(members, 1):
        base = item.filename.rsplit("/", 1)[-1]
        # What systems add of their own, and DICOM's table of contents.
        if base.startswith(".") or "__MACOSX" in item.filename or base == "DICOMDIR":
            continue
        with archive.open(item) as file:
            # One byte more than stated: a member may lie about its size.
            content = file.read(item.file_size + 1)
        if len(content) != item.file_size:
            raise DamagedFileError(
                f"{name} holds a file that is not as long as it states."
            )
        if content.startswith(_START):
            raise InputError(
                f"{name} holds another archive.", "Give the inner archive by itself."
            )
        # Members' names are the sender's, and may hold the patient's name.
        yield f"{name}#{number}", content
