"""Volumes in two files: a header names the second, which lies beside it.

Header and voxels are joined into what one file of the same format holds, so that
one reader serves both. Only a plain name in the header's own folder is looked for.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import is_metaimage, is_nrrd
from tumorlens.imaging.readers.metaimage import (
    metaimage_data_file,
    with_metaimage_data,
)

_NIFTI_1 = 348
_NIFTI_2 = 540
_NIFTI_MAGIC = 344
_VOX_OFFSET = 108
_JOINED_START = 352
_MAX_HEADER = 2**16

Beside = Callable[[str], bytes | None]
"""Returns the content of a file beside the header, by name; None where none is."""


def data_file_names(data: bytes, name: str) -> tuple[str, ...]:
    """Name the second file of a volume, by what its header says.

    Parameters
    ----------
    data
        The whole header file.
    name
        The name of the header, with its ending.

    Returns
    -------
    tuple of str
        Plain names that the second file may have, in order; empty where the file is
        no header of two files.
    """
    stem = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem = stem[: stem.rfind(".")] if "." in stem else stem
    if _is_pair_header(data):
        return tuple(f"{stem}{end}" for end in (".img", ".IMG"))
    try:
        if is_metaimage(data):
            return _plain(metaimage_data_file(data))
        if is_nrrd(data):
            return _plain(_nrrd_data_file(data))
    except InputError:
        return ()
    return ()


def joined(data: bytes, voxels: bytes, name: str) -> bytes:
    """Join header and voxels into one file of the header's format.

    Raises
    ------
    DamagedFileError
        Where the header is broken.
    """
    if _is_pair_header(data):
        return _joined_nifti(data, voxels, name)
    if is_metaimage(data):
        return with_metaimage_data(data, voxels)
    all_lines = data[:_MAX_HEADER].split(b"\n")
    header_lines = [
        line for line in all_lines if not _is_data_file(line) and line.strip()
    ]
    return b"\n".join(header_lines) + b"\n\n" + voxels


def _plain(place: str) -> tuple[str, ...]:
    plain = place.replace("\\", "/").rsplit("/", 1)[-1]
    return (plain,) if plain and plain not in (".", "..") else ()


def _is_pair_header(data: bytes) -> bool:
    """Tell a NIfTI header of two files, or one of Analyze 7.5, by its length."""
    if len(data) == _NIFTI_2 and data[4:8] == b"ni2\0":
        return True
    if not _NIFTI_1 <= len(data) <= _JOINED_START + 2**14:
        return False
    if data[_NIFTI_MAGIC : _NIFTI_MAGIC + 4] == b"ni1\0":
        return True
    if len(data) not in (_NIFTI_1, _JOINED_START):
        return False
    size = struct.pack("<i", _NIFTI_1), struct.pack(">i", _NIFTI_1)
    return data[:4] in size and data[_NIFTI_MAGIC : _NIFTI_MAGIC + 3] != b"n+1"


def _joined_nifti(data: bytes, voxels: bytes, name: str) -> bytes:
    if len(data) == _NIFTI_2:
        header = bytearray(data)
        header[4:8] = b"n+2\0"
        order = "<" if data[:4] == struct.pack("<i", _NIFTI_2) else ">"
        start = struct.unpack_from(f"{order}q", header, 168)[0]
        struct.pack_into(f"{order}q", header, 168, _NIFTI_2 + 4)
    else:
        header = bytearray(data[:_NIFTI_1])
        order = "<" if data[:4] == struct.pack("<i", _NIFTI_1) else ">"
        if header[_NIFTI_MAGIC : _NIFTI_MAGIC + 3] != b"ni1":
            # Analyze: what stands where NIfTI has its orientation means nothing.
            header[252:344] = bytes(92)
            header[112:120] = bytes(8)
            header[123] = 0
        header[_NIFTI_MAGIC : _NIFTI_MAGIC + 4] = b"n+1\0"
        start = struct.unpack_from(f"{order}f", header, _VOX_OFFSET)[0]
        struct.pack_into(f"{order}f", header, _VOX_OFFSET, float(_JOINED_START))
    if not 0 <= start < len(voxels):
        raise DamagedFileError(f"{name} states that its voxels start at byte {start}.")
    return bytes(header) + bytes(4) + voxels[int(start) :]


def _nrrd_data_file(data: bytes) -> str:
    for line in io.BytesIO(data[:_MAX_HEADER]):
        if not line.strip():
            break
        if _is_data_file(line):
            place = line.split(b":", 1)[1].decode("utf-8", "replace").strip()
            return "" if "%" in place or place.upper().startswith("LIST") else place
    return ""


def _is_data_file(line: bytes) -> bool:
    return line.lower().startswith((b"data file:", b"datafile:"))
