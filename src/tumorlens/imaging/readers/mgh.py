"""FreeSurfer volumes (.mgh, .mgz) become slices, turned by their directions.

The format is as https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat sets it
out: a header of 284 bytes, big-endian, then the voxels.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import GZIP_START, is_mgh, unpacked_start
from tumorlens.imaging.geometry import LPS_TO_RAS
from tumorlens.imaging.readers.volume_file import (
    VolumeHeader,
    inflate,
    read_volume,
)
from tumorlens.imaging.study import Study

_HEADER = struct.Struct(">7ih15f")
"""Version, width, height, depth, frames, type, degrees of freedom; whether directions
are stated; voxel sizes; directions of columns, rows and slices; the centre."""

_DATA_START = 284
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_CORONAL = (-1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0)
"""Directions where the file states none, as FreeSurfer takes them."""


def read_mgh(data: bytes, name: str) -> Study:
    """Read a FreeSurfer volume as slices of the plane in which it was acquired.

    Parameters
    ----------
    data
        The whole file, plain or packed by gzip.
    name
        The name of the file, for messages and for `Slice.source`.

    Raises
    ------
    DamagedFileError
        Where the file is cut off or its content is broken.
    TooLargeError, TooSmallError
        Where the stated size passes a limit (see `limits`).
    InputError
        Where it holds several volumes, or none on a straight grid.
    """
    if not is_mgh(data):
        raise DamagedFileError(f"{name} has no whole MGH header.")
    _, width, height, depth, frames, kind, _, stated, *numbers = _HEADER.unpack_from(
        unpacked_start(data, _HEADER.size)
    )
    if frames > 1:
        raise InputError(
            f"{name} holds {frames} volumes.",
            "Save one of them as a file of its own (mri_convert --frame 0).",
        )
    shape = (depth, height, width)
    affine = _affine(numbers, shape, stated > 0)
    dtype = np.dtype(_TYPES[kind])
    header = VolumeHeader(shape, dtype, affine, stated > 0)
    size = header.voxel_bytes

    def stored() -> bytearray | memoryview:
        if data.startswith(GZIP_START):
            return inflate(data, _DATA_START, size, name)
        voxels = memoryview(data)[_DATA_START : _DATA_START + size]
        if len(voxels) < size:
            raise DamagedFileError(
                f"{name} is cut off: {len(data)} of {_DATA_START + size} bytes are "
                "there."
            )
        return voxels

    return read_volume(header, stored, len(data), name)


def _affine(
    numbers: list[float], shape: tuple[int, int, int], stated: bool
) -> NDArray[np.float64]:
    """(column, row, slice, 1) to LPS mm; the header gives the centre of the volume."""
    sides = np.array(numbers[:3] if stated else (1.0, 1.0, 1.0))
    ways = np.array(numbers[3:12] if stated else _CORONAL).reshape(3, 3)
    centre = np.array(numbers[12:15] if stated else (0.0, 0.0, 0.0))
    matrix = np.eye(4)
    with np.errstate(all="ignore"):
        matrix[:3, :3] = ways.T * sides
        matrix[:3, 3] = centre - matrix[:3, :3] @ (np.array(shape[::-1]) / 2.0)
        return np.asarray(LPS_TO_RAS @ matrix)
