"""NIfTI volumes (.nii, .nii.gz) become slices, turned by their affine.

The header is as https://nifti.nimh.nih.gov/nifti-1 and nifti-2 set it out.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.geometry.volume_grid import LPS_TO_RAS
from tumorlens.imaging.readers.volume_file import (
    GZIP_START,
    VolumeHeader,
    inflate,
    read_volume,
)
from tumorlens.imaging.study import Study

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_HEADER_1 = 348
_HEADER_2 = 540
_MAGIC_1 = (b"n+1\0", b"ni1\0")
_MAGIC_2 = (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")
_UNIT_MASK = 7
_METRE, _MICRON = 1, 3
_MM = {_METRE: 1000.0, _MICRON: 0.001}
"""mm in a unit of length; 0 (not said) and 2 are millimetres."""

_MAX_OFFSET = 16 * 2**20
"""Bytes before the voxels: the header, and what programs add to it."""

_MAX_VOLUMES = 100_000


def is_nifti(data: bytes) -> bool:
    """Tell whether a file starts like NIfTI, plain or packed by gzip."""
    return _version(_start(data)) > 0


def _start(data: bytes) -> bytes:
    """Return the first 540 bytes, unpacked; fewer where the file has no more."""
    if not data.startswith(GZIP_START):
        return data[:_HEADER_2]
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return unpacker.decompress(memoryview(data)[: 2**16], _HEADER_2)
    except zlib.error:
        return b""


def _version(start: bytes) -> int:
    """1 or 2; 0 where it is no NIfTI header."""
    if start[4:12] in _MAGIC_2:
        return 2
    return 1 if start[344:348] in _MAGIC_1 else 0


def read_nifti(data: bytes, name: str, volume: int | None = None) -> Study:
    """Read a NIfTI file as slices of the plane in which it was acquired.

    All that the header states is checked before any voxel is unpacked. The
    place in the patient is taken from the sform, else from the qform.

    Parameters
    ----------
    data
        The whole file, plain or packed by gzip.
    name
        The name of the file, for messages and for `Slice.source`.
    volume
        Which volume of a 4-D file, from 0; needed where it holds several.

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
        Where it is no 3-D volume of real numbers on a straight grid, or holds
        values that are not finite.
    """
    header = _header(_start(data), name)
    shape, wanted = _shape(header, name, volume)
    affine, placed = _affine(header, name)
    grid = VolumeHeader(
        shape, _dtype(header, name), affine, placed, _scale(header, name)
    )
    size = grid.voxel_bytes
    start = _offset(header, name) + wanted * size

    def stored() -> bytearray | memoryview:
        if data.startswith(GZIP_START):
            return inflate(data, start, size, name)
        voxels = memoryview(data)[start : start + size]
        if len(voxels) < size:
            raise DamagedFileError(
                f"{name} is cut off: {len(data)} of {start + size} bytes are there."
            )
        return voxels

    return read_volume(grid, stored, len(data), name)


def _header(start: bytes, name: str) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.wrapstruct import WrapStructError

    version = _version(start)
    kind, length = (
        (Nifti2Header, _HEADER_2) if version == 2 else (Nifti1Header, _HEADER_1)
    )
    if not version or len(start) < length:
        raise DamagedFileError(f"{name} has no whole NIfTI header.")
    if start[4:7] == b"ni2" or (version == 1 and start[344:347] == b"ni1"):
        raise InputError(
            f"{name} is a NIfTI header whose voxels lie in a second file.",
            "Save header and voxels as one .nii or .nii.gz file.",
        )
    try:
        return kind(start[:length], check=False)  # type: ignore[no-untyped-call]
    except (WrapStructError, ValueError, struct.error) as error:
        raise DamagedFileError(f"{name} has a broken NIfTI header.") from error


def _shape(
    header: Nifti1Header, name: str, volume: int | None
) -> tuple[tuple[int, int, int], int]:
    """Slices, rows and columns, and the number of the volume to read."""
    count, *sides = (int(item) for item in header["dim"])
    if not 1 <= count <= 7:
        raise DamagedFileError(f"{name} states {count} dimensions.")
    if count not in (2, 3, 4):
        raise InputError(
            f"{name} has {count} dimensions.", "Give a volume of three dimensions."
        )
    width, height = sides[:2]
    depth = sides[2] if count > 2 else 1
    volumes = sides[3] if count > 3 else 1
    if not 1 <= volumes <= _MAX_VOLUMES:
        raise DamagedFileError(f"{name} states {volumes} volumes.")
    if volume is None and volumes > 1:
        raise InputError(
            f"{name} holds {volumes} volumes (4-D), and which to read is not said.",
            f"Choose one from 0 to {volumes - 1} (tumorlens scan --volume N), or save "
            "it as a file of its own.",
        )
    if not 0 <= (volume or 0) < volumes:
        raise InputError(
            f"{name} has no volume {volume}.", f"Choose one from 0 to {volumes - 1}."
        )
    return (depth, height, width), volume or 0


def _dtype(header: Nifti1Header, name: str) -> np.dtype[np.generic]:
    from nibabel.spatialimages import HeaderDataError

    try:
        stated = header.get_data_dtype()  # type: ignore[no-untyped-call]
        dtype: np.dtype[np.generic] = np.dtype(stated)
    except (HeaderDataError, KeyError, TypeError) as error:
        code = int(header["datatype"])
        raise InputError(
            f"{name} states the unknown data type {code}.",
            "Save the volume as 16-bit integers or 32-bit floats.",
        ) from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{name} holds {_TITLES.get(dtype.kind, dtype.name)}, not real numbers.",
            "Save one intensity for each voxel, as integers or 32-bit floats.",
        )
    return dtype


_TITLES = {"c": "complex numbers", "V": "colours", "f": "numbers of over 64 bits"}


def _scale(header: Nifti1Header, name: str) -> tuple[float, float]:
    """Factor and summand; a factor of 0, or none that is finite, means no scaling."""
    slope, summand = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(summand):
        raise DamagedFileError(f"{name} states the intercept {summand} for its values.")
    return slope, summand


def _offset(header: Nifti1Header, name: str) -> int:
    """Byte at which the voxels start."""
    offset = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    # Some programs leave it 0, and put the voxels right behind the header.
    if offset == 0:
        return least
    if not (offset.is_integer() and least <= offset <= _MAX_OFFSET):
        raise DamagedFileError(f"{name} states that its voxels start at byte {offset}.")
    return int(offset)


def _affine(header: Nifti1Header, name: str) -> tuple[NDArray[np.float64], bool]:
    """(column, row, slice, 1) to LPS mm, and whether the header states it."""
    from nibabel.spatialimages import HeaderDataError

    matrix: NDArray[np.float64] = np.eye(4)
    placed = True
    try:
        with np.errstate(all="ignore"):
            if int(header["sform_code"]) > 0:
                stated = header.get_sform()  # type: ignore[no-untyped-call]
                matrix = np.asarray(stated, np.float64)
            elif int(header["qform_code"]) > 0:
                stated = header.get_qform()  # type: ignore[no-untyped-call]
                matrix = np.asarray(stated, np.float64)
            else:
                placed = False
                sides = np.abs(header["pixdim"][1:4].astype(np.float64))
                matrix[:3, :3] = np.diag(sides)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise DamagedFileError(f"{name} states no usable orientation.") from error
    unit = _MM.get(int(header["xyzt_units"]) & _UNIT_MASK, 1.0)
    with np.errstate(all="ignore"):
        matrix = LPS_TO_RAS @ matrix
        matrix[:3] *= unit
    return matrix, placed
