"""Volumes in two files: a header names the second, which lies beside it.

Header and voxels are joined into what one file of the same format holds, so that
one reader serves both. Only a plain name in the header's own folder is looked for;
of files that come loose, without names, the size tells which belong together.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Sequence

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import (
    GZIP_START,
    is_metaimage,
    is_nrrd,
    unpacked_start,
)
from tumorlens.imaging.readers.metaimage import (
    metaimage_data_file,
    with_metaimage_data,
)

HEADER_SUFFIXES = (".hdr", ".hdr.gz", ".mhd", ".nhdr", ".nrrd")
"""Endings, in lower case, of files that may be headers of voxels in another file."""

_NIFTI_1 = 348
_NIFTI_2 = 540
_NIFTI_MAGIC = 344
_VOX_OFFSET, _VOX_OFFSET_2 = 108, 168
_JOINED_START = 352
_MAX_HEADER = 2**16
_VOXEL_SUFFIXES = (".img", ".IMG", ".img.gz", ".IMG.GZ")


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
    data = _header_bytes(data)
    stem = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem = stem[:-3] if stem.lower().endswith(".gz") else stem
    stem = stem[: stem.rfind(".")] if "." in stem else stem
    if _is_pair_header(data):
        return tuple(f"{stem}{end}" for end in _VOXEL_SUFFIXES)
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
    data = _header_bytes(data)
    if _is_pair_header(data):
        return _joined_nifti(data, voxels, name)
    if is_metaimage(data):
        return with_metaimage_data(data, voxels)
    all_lines = data[:_MAX_HEADER].split(b"\n")
    header_lines = [
        line for line in all_lines if not _is_data_file(line) and line.strip()
    ]
    return b"\n".join(header_lines) + b"\n\n" + voxels


def is_detached_header(data: bytes) -> bool:
    """Tell whether a file is the header of a volume whose voxels lie in another."""
    return bool(data_file_names(data, "header"))


def loose_pairs(
    headers: Sequence[tuple[int, bytes]], others: Sequence[tuple[int, bytes]]
) -> tuple[dict[int, int], bool]:
    """Match headers with the files of their voxels, of which no name is known.

    A file of voxels has as many bytes as its header states. Where several have, the
    next one after the header is its own, as a list sorted by name has it; a header
    that states no size takes the only other file there is.

    Parameters
    ----------
    headers, others
        Place among all files that came, and content, in the order of places.

    Returns
    -------
    pairs
        Place of the voxels by place of the header.
    by_order
        Whether the order decided between files of one size.
    """
    pairs: dict[int, int] = {}
    by_order = False
    for place, header in headers:
        size = _stated_bytes(header)
        fitting = [
            other
            for other, content in others
            if other not in pairs.values()
            and (_unpacked_size(content) == size or (size is None and len(others) == 1))
        ]
        if fitting:
            by_order |= len(fitting) > 1
            following = [other for other in fitting if other > place]
            pairs[place] = min(following) if following else max(fitting)
    return pairs, by_order


def _stated_bytes(header: bytes) -> int | None:
    """Count the bytes of voxels that a NIfTI or Analyze header states."""
    header = _header_bytes(header)
    if not _is_pair_header(header):
        return None
    size, sides_at, bits_at, start_at, side_kind, start_kind = (
        (_NIFTI_2, 16, 14, 168, "q", "q")
        if len(header) == _NIFTI_2
        else (_NIFTI_1, 40, 72, _VOX_OFFSET, "h", "f")
    )
    order = "<" if header[:4] == struct.pack("<i", size) else ">"
    count, *sides = struct.unpack_from(f"{order}8{side_kind}", header, sides_at)
    (bits,) = struct.unpack_from(f"{order}h", header, bits_at)
    (start,) = struct.unpack_from(f"{order}{start_kind}", header, start_at)
    if not (0 < count < 8 and bits > 0 and math.isfinite(start) and start >= 0):
        return None
    voxels = math.prod(max(1, int(side)) for side in sides[:count])
    return int(start) + voxels * int(bits) // 8


def _header_bytes(data: bytes) -> bytes:
    """Unpack a header that gzip packed; a whole volume comes back cut."""
    is_packed = data.startswith(GZIP_START) and len(data) < _MAX_HEADER
    return unpacked_start(data, _MAX_HEADER) if is_packed else data


def _unpacked_size(content: bytes) -> int:
    """Count the bytes of voxels; where gzip packed them, as its last bytes state."""
    if not content.startswith(GZIP_START):
        return len(content)
    return int.from_bytes(content[-4:], "little")


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
        start = struct.unpack_from(f"{order}q", header, _VOX_OFFSET_2)[0]
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
    is_packed = voxels.startswith(GZIP_START)
    if not 0 <= start < (_MAX_HEADER if is_packed else len(voxels)):
        raise DamagedFileError(f"{name} states that its voxels start at byte {start}.")
    _set_offset(header, order, len(header) + 4 + (int(start) if is_packed else 0))
    if is_packed:
        # A second member of gzip goes on where the first one ends.
        return gzip.compress(bytes(header) + bytes(4)) + voxels
    return bytes(header) + bytes(4) + voxels[int(start) :]


def _set_offset(header: bytearray, order: str, offset: int) -> None:
    """State at which byte of the joined file the voxels start."""
    if len(header) == _NIFTI_2:
        struct.pack_into(f"{order}q", header, _VOX_OFFSET_2, offset)
    else:
        struct.pack_into(f"{order}f", header, _VOX_OFFSET, float(offset))


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
