"""MetaImage volumes (.mha, .mhd) become slices, turned by their matrix.

The format is as https://itk.org/Wiki/ITK/MetaIO/Documentation sets it out: lines of
``key = value``, the last of which says where the voxels lie.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import METAIMAGE_LAST_KEY
from tumorlens.imaging.readers.volume_file import VolumeHeader, inflate, read_volume
from tumorlens.imaging.study import Study

_MAX_HEADER = 2**16
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def metaimage_data_file(data: bytes) -> str:
    """Name the file that holds the voxels; empty where this one does."""
    fields, _ = _fields(data, "")
    place = fields["elementdatafile"]
    return "" if place.upper() in ("LOCAL", "LIST") or "%" in place else place


def with_metaimage_data(data: bytes, voxels: bytes) -> bytes:
    """Join a header with the voxels of its second file."""
    _, end = _fields(data, "")
    start = data.rindex(METAIMAGE_LAST_KEY, 0, end)
    return data[:start] + METAIMAGE_LAST_KEY + b" = LOCAL\n" + voxels


def read_metaimage(data: bytes, name: str) -> Study:
    """Read a MetaImage file as slices of the plane in which it was acquired.

    Parameters
    ----------
    data
        The whole file, header and voxels.
    name
        The name of the file, for messages and for `Slice.source`.

    Raises
    ------
    DamagedFileError
        Where the file is cut off or its content is broken.
    TooLargeError, TooSmallError
        Where the stated size passes a limit (see `limits`).
    InputError
        Where its voxels lie in another file, or it is no 3-D volume of real numbers
        on a straight grid.
    """
    fields, start = _fields(data, name)
    place = fields["elementdatafile"].upper()
    if "%" in place or place.startswith("LIST"):
        raise InputError(
            f"{name} is a MetaImage header whose voxels lie in another file for each "
            "slice.",
            "Save header and voxels as one .mha file (3D Slicer does).",
        )
    if place != "LOCAL":
        raise InputError(
            f"{name} is a MetaImage header whose voxels lie in another file.",
            "Give the folder that holds both, or save them as one .mha file.",
        )
    if fields.get("elementnumberofchannels", "1") != "1":
        raise InputError(
            f"{name} holds several numbers for each voxel.",
            "Save one intensity for each voxel.",
        )
    if not _is_true(fields.get("binarydata", "True")):
        raise InputError(
            f"{name} holds its voxels as text.", "Save them as binary numbers."
        )
    shape, sides = _shape(fields, name)
    affine, placed = _affine(fields, len(sides), name)
    header = VolumeHeader(shape, _dtype(fields, name), affine, placed)
    size = header.voxel_bytes

    def stored() -> bytearray | memoryview:
        view = memoryview(data)
        if _is_true(fields.get("compresseddata", "False")):
            return inflate(view[start:], 0, size, name, gzip=False)
        skip = _integers(fields.get("headersize", "0"), 1, name)[0]
        first = len(data) - size if skip == -1 else start + max(0, skip)
        voxels = view[max(start, first) : max(start, first) + size]
        if len(voxels) < size:
            raise DamagedFileError(
                f"{name} is cut off: {len(voxels)} of {size} bytes of voxels are there."
            )
        return voxels

    return read_volume(header, stored, len(data), name)


def _fields(data: bytes, name: str) -> tuple[dict[str, str], int]:
    """Keys in lower case with their values, and where the header ends."""
    fields: dict[str, str] = {}
    place = 0
    while place < min(len(data), _MAX_HEADER):
        end = data.find(b"\n", place, _MAX_HEADER)
        if end < 0:
            end = min(len(data), _MAX_HEADER)
        line = data[place:end].decode("latin-1")
        place = end + 1
        key, sign, value = line.partition("=")
        if not sign:
            continue
        fields[key.strip().lower()] = value.strip()
        if key.strip() == METAIMAGE_LAST_KEY.decode():
            return fields, place
    raise DamagedFileError(f"{name} has no whole MetaImage header.")


def _is_true(value: str) -> bool:
    return value.strip().lower() in ("true", "1", "yes")


def _numbers(value: str, count: int, name: str) -> list[float]:
    try:
        numbers = [float(item) for item in value.split()]
    except ValueError as error:
        raise DamagedFileError(f"{name} has a broken MetaImage header.") from error
    if len(numbers) != count:
        raise DamagedFileError(f"{name} has a broken MetaImage header.")
    return numbers


def _integers(value: str, count: int, name: str) -> list[int]:
    numbers = _numbers(value, count, name)
    if not all(item.is_integer() and abs(item) < 2**40 for item in numbers):
        raise DamagedFileError(f"{name} has a broken MetaImage header.")
    return [int(item) for item in numbers]


def _shape(fields: dict[str, str], name: str) -> tuple[tuple[int, int, int], list[int]]:
    """Slices, rows and columns; and all sizes as the header has them."""
    count = _integers(fields.get("ndims", ""), 1, name)[0]
    if not 2 <= count <= 4:
        raise InputError(
            f"{name} has {count} dimensions.", "Give a volume of three dimensions."
        )
    sides = _integers(fields.get("dimsize", ""), count, name)
    if count == 4 and sides[3] != 1:
        raise InputError(
            f"{name} holds {sides[3]} volumes.", "Save one as a file of its own."
        )
    depth = sides[2] if count > 2 else 1
    return (depth, sides[1], sides[0]), sides


def _dtype(fields: dict[str, str], name: str) -> np.dtype[np.generic]:
    kind = fields.get("elementtype", "").upper()
    if kind not in _TYPES:
        raise InputError(
            f"{name} holds values of the type {kind[:24]!r}.",
            "Save the volume as 16-bit integers or 32-bit floats.",
        )
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", ""))
    return np.dtype(_TYPES[kind]).newbyteorder(">" if _is_true(order) else "<")


def _affine(
    fields: dict[str, str], count: int, name: str
) -> tuple[NDArray[np.float64], bool]:
    """(column, row, slice, 1) to LPS mm, and whether the header states directions."""
    spacing = fields.get("elementspacing", fields.get("elementsize"))
    sides = np.ones(3)
    if spacing is not None:
        sides[: min(3, count)] = np.abs(_numbers(spacing, count, name)[:3])
    matrix = np.eye(4)
    directions = next(
        (
            fields[key]
            for key in ("transformmatrix", "rotation", "orientation")
            if key in fields
        ),
        None,
    )
    if directions is not None:
        # Each line of the matrix is the direction of one axis of the file.
        rows = np.array(_numbers(directions, count * count, name)).reshape(count, count)
        axes = min(3, count)
        matrix[:axes, :axes] = rows[:axes, :axes].T
    matrix[:3, :3] = matrix[:3, :3] * sides
    origin = next(
        (fields[key] for key in ("offset", "position", "origin") if key in fields), None
    )
    if origin is not None:
        axes = min(3, count)
        matrix[:axes, 3] = _numbers(origin, count, name)[:axes]
    return matrix, directions is not None and count > 2
