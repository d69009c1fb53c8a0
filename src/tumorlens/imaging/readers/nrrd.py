"""NRRD volumes become slices, turned by their space directions.

The format is as https://teem.sourceforge.net/nrrd/format.html sets it out.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import is_nrrd
from tumorlens.imaging.geometry import LPS_TO_RAS
from tumorlens.imaging.readers.volume_file import (
    VolumeHeader,
    inflate,
    read_volume,
)
from tumorlens.imaging.study import Study

_MAX_HEADER = 2**16
"""Bytes of the header: tags of diffusion scans and segmentations fit."""

_MAX_SKIP = 2**24

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": (
        "short",
        "short int",
        "signed short",
        "signed short int",
        "int16",
        "int16_t",
    ),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long"),
        *("signed long long int", "int64", "int64_t"),
    ),
    "u8": (
        *("ulonglong", "unsigned long long", "unsigned long long int"),
        *("uint64", "uint64_t"),
    ),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {title: code for code, titles in _TYPES.items() for title in titles}

_LPS = np.eye(4)
_SPACES: dict[str, NDArray[np.float64]] = {
    "left-posterior-superior": _LPS,
    "lps": _LPS,
    "right-anterior-superior": LPS_TO_RAS,
    "ras": LPS_TO_RAS,
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0, 1.0]),
    "las": np.diag([1.0, -1.0, 1.0, 1.0]),
}
"""The matrix that turns each space into LPS."""


def read_nrrd(data: bytes, name: str) -> Study:
    """Read a NRRD file as slices of the plane in which it was acquired.

    All that the header states is checked before any voxel is unpacked. Only
    voxels in the file itself are read, raw or packed by gzip: a path that the
    header names is never opened.

    Parameters
    ----------
    data
        The whole file.
    name
        The name of the file, for messages and for `Slice.source`.

    Returns
    -------
    Study
        One series. Where the header does not place it in the patient, a note
        says so.

    Raises
    ------
    DamagedFileError
        Where the file is cut off or its content is broken.
    TooLargeError, TooSmallError
        Where the stated size passes a limit (see `limits`).
    InputError
        Where it is no 3-D volume of real numbers on a straight grid, its
        voxels lie elsewhere or in another encoding, or none of its values is finite.
    """
    header, start = _header(data, name)
    place = str(header.get("data file", header.get("datafile", "")))
    if "%" in place or place.upper().startswith("LIST"):
        raise InputError(
            f"{name} is a NRRD header whose voxels lie in another file for each slice.",
            "Save header and voxels as one .nrrd file (3D Slicer does).",
        )
    if place:
        raise InputError(
            f"{name} is a NRRD header whose voxels lie in another file.",
            "Save header and voxels as one .nrrd file.",
        )
    _check_encoding(header, name)
    shape, axes = _shape(header, name)
    affine, placed = _affine(header, axes, name)
    grid = VolumeHeader(shape, _dtype(header, name), affine, placed)
    return read_volume(
        grid,
        lambda: _stored(data, start, grid.voxel_bytes, header, name),
        len(data),
        name,
    )


def _header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    """Field names in lower case with their values, and where the header ends."""
    import nrrd  # type: ignore[import-untyped]

    head = data[:_MAX_HEADER]
    ends = [
        head.find(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if mark in head
    ]
    if not ends or not is_nrrd(data):
        raise DamagedFileError(
            f"{name} has no NRRD header that ends within {_MAX_HEADER // 1024} KB."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fields = nrrd.read_header(io.BytesIO(data[: min(ends)]))
    # The parser says nowhere what it raises on a broken line.
    except Exception as error:
        raise DamagedFileError(f"{name} has a broken NRRD header.") from error
    return {str(key).lower(): value for key, value in fields.items()}, min(ends)


def _check_encoding(header: dict[str, Any], name: str) -> None:
    encoding = str(header.get("encoding", "")).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(
            f"{name} is in the encoding {_shown(encoding)}.",
            "Save it in the encoding raw or gzip.",
        )


def _dtype(header: dict[str, Any], name: str) -> np.dtype[np.generic]:
    kind = str(header.get("type", "")).lower()
    if kind not in _CODES:
        raise InputError(
            f"{name} holds values of the type {_shown(kind)}.",
            "Save the volume as 16-bit integers or 32-bit floats.",
        )
    code = _CODES[kind]
    if code.endswith("1"):
        return np.dtype(code)
    endian = str(header.get("endian", "")).lower()
    if endian not in ("little", "big"):
        raise DamagedFileError(f"{name} does not state the order of its bytes.")
    return np.dtype(code).newbyteorder("<" if endian == "little" else ">")


def _shown(text: str) -> str:
    """Quote a word of a header, cut short: it may hold anything."""
    return repr(text[:24])


def _shape(
    header: dict[str, Any], name: str
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Slices, rows and columns, and which of the file's axes they are, reversed."""
    try:
        sizes = [int(item) for item in header["sizes"]]
        count = int(header["dimension"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFileError(f"{name} states no sizes.") from error
    if count != len(sizes):
        raise DamagedFileError(f"{name} states {count} dimensions, {len(sizes)} sizes.")
    axes = tuple(range(count))
    # An axis of length 1 (a lone component or time) takes no room.
    if count == 4 and 1 in sizes:
        lone = _lone_axis(header, sizes)
        axes = tuple(axis for axis in axes if axis != lone)
    if len(axes) != 3:
        several_volumes = ", several volumes" if count == 4 else ""
        raise InputError(
            f"{name} has {count} dimensions{several_volumes}.",
            "Save one volume of three dimensions as a file of its own.",
        )
    width, height, depth = (sizes[axis] for axis in axes)
    return (depth, height, width), axes


def _lone_axis(header: dict[str, Any], sizes: list[int]) -> int:
    """Choose the axis of length 1 to drop: one that has no direction in space."""
    directions = header.get("space directions")
    ones = [axis for axis, size in enumerate(sizes) if size == 1]
    for axis in ones:
        row = None if directions is None else directions[axis : axis + 1]
        if row is None or len(row) == 0 or row[0] is None:
            return axis
        if np.isnan(np.asarray(row[0], np.float64)).all():
            return axis
    return ones[0]


def _affine(
    header: dict[str, Any], axes: tuple[int, ...], name: str
) -> tuple[NDArray[np.float64], bool]:
    """(column, row, slice, 1) to LPS mm, and whether the header states it."""
    matrix = np.eye(4)
    space = str(header.get("space", "")).lower()
    try:
        if "space directions" in header:
            rows = [np.asarray(header["space directions"][axis]) for axis in axes]
            matrix[:3, :3] = np.array(rows, np.float64).T
            if "space origin" in header:
                matrix[:3, 3] = np.asarray(header["space origin"], np.float64)
        elif "spacings" in header:
            sides = [abs(float(header["spacings"][axis])) for axis in axes]
            matrix[:3, :3] = np.diag(sides)
        else:
            raise InputError(
                f"{name} states neither space directions nor spacings.",
                "Save the volume again with its orientation.",
            )
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DamagedFileError(f"{name} states no usable orientation.") from error
    placed = space in _SPACES and "space directions" in header
    with np.errstate(all="ignore"):
        return _SPACES.get(space, LPS_TO_RAS) @ matrix, placed


def _stored(
    data: bytes, start: int, size: int, header: dict[str, Any], name: str
) -> bytearray | memoryview:
    """Bytes of the voxels."""
    encoding = str(header.get("encoding", "")).lower()
    skips = []
    for field in ("line skip", "lineskip", "byte skip", "byteskip"):
        try:
            skips.append(int(header.get(field, 0)))
        except (TypeError, ValueError, OverflowError) as error:
            raise DamagedFileError(f"{name} states no usable {field}.") from error
    lines, skip = skips[0] or skips[1], skips[2] or skips[3]
    from_end = skip == -1 and encoding == "raw"
    if lines != 0 or not (0 <= skip <= _MAX_SKIP or from_end):
        raise InputError(
            f"{name} has its voxels at an unusual place.",
            "Save it again, without line skip or byte skip.",
        )
    if encoding != "raw":
        return inflate(memoryview(data)[start:], skip, size, name)
    first = max(start, len(data) - size) if from_end else start + skip
    raw = memoryview(data)[first : first + size]
    if len(raw) < size:
        raise DamagedFileError(
            f"{name} is cut off: {len(raw)} of {size} bytes of voxels are there."
        )
    return raw
