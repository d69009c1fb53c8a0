"""Base of the volume formats: their grid is checked before their voxels are read.

Tested in `tests/imaging/readers/test_nifti.py`.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.formats import GZIP_START
from tumorlens.imaging.geometry import (
    MAX_SKEW,
    Volume,
    acquired_plane,
    check_view,
    plane_across,
    series_of,
    skew,
)
from tumorlens.imaging.limits import MAX_STUDY_PIXELS, check_unpacked, check_values
from tumorlens.imaging.preprocess.framing import are_inverted
from tumorlens.imaging.study import Plane, Slice, Study, VoxelGrid

MAX_RATIO = 250
"""Inflated over packed bytes: outlines of organs reach about 200, heads 10."""

FREE_BYTES = 32 * 2**20
"""Up to here a file may inflate by any ratio: it does no harm."""

MAX_INFLATED = 2**30
"""Bytes that are inflated at most, those before the wanted ones counted in."""

PLACE_UNKNOWN = (
    "The file does not say how the volume lies in the patient: its axes were "
    "taken to run to the right, to the front and upwards, so planes and sides "
    "may be wrong."
)

_CHUNK = 2**20
_PIECE = 2**16
_MOST_MEMBERS = 20_000
_SPACINGS = (0.01, 100.0)
_FARTHEST_MM = 100_000.0
_MIN_STACK = 32


@dataclass(frozen=True)
class VolumeHeader:
    """Shape, type and place of the voxels that the header of a volume states.

    Parameters
    ----------
    shape
        Slices, rows, columns.
    dtype
        Integers or real floats, with their byte order; columns run fastest.
    affine
        Shape (4, 4): (column, row, slice, 1) to LPS mm.
    placed
        Whether the file says where the volume lies in the patient.
    scale
        Factor and summand of the values.
    notes
        Notes for the user on how the header was read.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    affine: NDArray[np.float64]
    placed: bool
    scale: tuple[float, float] = (1.0, 0.0)
    notes: tuple[str, ...] = ()

    @property
    def voxel_bytes(self) -> int:
        """Bytes that all voxels take."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_volume(
    header: VolumeHeader,
    stored: Callable[[], bytes | bytearray | memoryview],
    size: int,
    name: str,
) -> Study:
    """Read a volume as slices of the plane in which it was acquired.

    Parameters
    ----------
    header
        Header of the file.
    stored
        Returns the bytes of the voxels; called once the grid was checked.
    size
        Bytes of the file.
    name
        Name of the file, for messages and for `Slice.source`.

    Returns
    -------
    Study
        One series. Where the header does not place it in the patient, a note
        says so.

    Raises
    ------
    InputError
        Whatever `check_grid` and `voxels_of` raise it.
    """
    plane = check_grid(header.shape, header.affine, size, name)
    is_real = header.dtype.kind == "f" or header.scale != (1.0, 0.0)
    voxels, missing = voxels_of(
        stored(), header.dtype, header.shape, header.scale, name
    )
    notes = header.notes
    if missing:
        share = 100.0 * missing / voxels.size
        notes += (
            f"{share:.2g} % of the voxels are no finite numbers (NaN or infinity); "
            "they were read as air.",
        )
    _check_mr(voxels, name)
    if is_real and _is_masked_by_zeros(voxels):
        voxels[voxels == 0.0] = voxels.min()
        notes += (MASKED,)
    series = series_of(Volume.of(voxels, header.affine), plane, name)
    # Few values are labels: an outline is what was drawn, with or without air in it.
    negative = are_inverted([item.pixels for item in series.slices])
    if negative and np.unique(voxels).size >= _LEAST_GREYS:
        # Air is what the negative has brightest; values keep their range.
        top = voxels.max() + voxels.min()
        series = series_of(Volume.of(top - voxels, header.affine), plane, name)
        notes += (NEGATIVE,)
    grid = VoxelGrid(header.shape, header.affine, plane, header.placed)
    series = replace(series, grid=grid, place_guessed=not header.placed)
    if not header.placed:
        notes += (PLACE_UNKNOWN,)
    return Study((series,), notes)


MASKED = (
    "Air is 0 in the volume, between darker and brighter tissue, as it is where values "
    "were normalised within a mask; it was read as the darkest."
)
_LEAST_MASKED = 0.2
"""Share of voxels that are 0 outside a mask."""

_HOUNSFIELD_AIR = (-3100.0, -900.0)
_HOUNSFIELD_TISSUE = (-20.0, 120.0)
_LEAST_AIR = 0.1
_LEAST_TISSUE = 0.3


def _is_masked_by_zeros(voxels: NDArray[np.float32]) -> bool:
    """Tell whether 0 is what lies outside a mask, and no value of tissue is lower."""
    corners = voxels[:: len(voxels) - 1 or 1, :: voxels.shape[1] - 1 or 1]
    if voxels.min() >= 0.0 or corners[..., (0, -1)].any():
        return False
    return bool(1.0 - np.count_nonzero(voxels) / voxels.size >= _LEAST_MASKED)


def _check_mr(voxels: NDArray[np.float32], name: str) -> None:
    """Refuse values that are Hounsfield units: the header of a volume names no CT."""
    low, high = _HOUNSFIELD_AIR
    if not low <= float(voxels.min()) <= high:
        return
    some = voxels[::2, ::_COARSE, ::_COARSE]
    body = some[some > -0.5 * abs(high)]
    lowest, highest = _HOUNSFIELD_TISSUE
    if (
        1.0 - body.size / some.size >= _LEAST_AIR
        and np.count_nonzero((body >= lowest) & (body <= highest))
        >= _LEAST_TISSUE * body.size
    ):
        raise InputError(
            f"{name} holds the values of a computed tomography (CT): air at -1,000, "
            "soft tissue at 0 to 100.",
            "Give an MR series.",
        )


_LEAST_GREYS = 16

LABELLED = "(a segmentation)"
_MOST_LABELS = 8
_LEAST_LABELLED = 0.001
"""Share of voxels with labels: fewer are marks."""

_COARSE = 4


def holds_labels(slices: Sequence[Slice]) -> bool:
    """Tell whether slices hold so few values that they are labels, no intensities.

    Parameters
    ----------
    slices
        All slices of a volume.
    """
    # A coarse look at the middle tells nearly all scans.
    middle = slices[len(slices) // 2].pixels[::_COARSE, ::_COARSE]
    if np.unique(middle).size > _MOST_LABELS:
        return False
    counts: Counter[float] = Counter()
    for item in slices:
        values, each = np.unique(item.pixels, return_counts=True)
        counts.update(dict(zip(values.tolist(), each.tolist(), strict=True)))
        if len(counts) > _MOST_LABELS:
            return False
    labelled = counts.total() - max(counts.values())
    whole = all(value.is_integer() for value in counts)
    return whole and labelled >= _LEAST_LABELLED * counts.total()


NEGATIVE = (
    "The greys of the volume are inverted (air is white); they were turned round "
    "before it was judged."
)


def check_grid(
    shape: tuple[int, int, int], affine: NDArray[np.float64], size: int, name: str
) -> Plane:
    """Refuse a grid that no MR volume has, and choose the plane to read it in.

    Parameters
    ----------
    shape
        Slices, rows, columns, as the header states them.
    affine
        Shape (4, 4): (column, row, slice, 1) to LPS mm.
    size
        The size of the file, in bytes.
    name
        The name of the file, for messages.

    Raises
    ------
    InputError
        Where a side is not positive, the affine is not finite, has no volume,
        is sheared or steps under 0.01 mm or over 100 mm, or a limit is passed.
    """
    depth, height, width = shape
    if min(shape) < 1:
        raise DamagedFileError(
            f"{name} states the sizes {width} x {height} x {depth}; "
            "each must be at least 1."
        )
    if depth * height * width > MAX_STUDY_PIXELS:
        raise TooLargeError(
            f"{name} states {width} x {height} x {depth} voxels; "
            f"at most {MAX_STUDY_PIXELS // 10**6} million are read.",
            "Crop the volume to the head, or resample it to 1 mm.",
        )
    spacing = _checked_spacing(affine, name)
    # Of a slab too thin to be seen from its side, take the broad side.
    if min(shape) < _MIN_STACK:
        plane = plane_across(2 - int(np.argmin(shape)), affine)
    else:
        plane = acquired_plane(spacing, affine)
    check_unpacked(check_view(shape, affine, plane, name), 4, size, name)
    return plane


def _checked_spacing(
    affine: NDArray[np.float64], name: str
) -> tuple[float, float, float]:
    """Spacing between slices, rows and columns in mm, of an affine that holds."""
    hint = "Save the volume again with its orientation set right."
    if not np.isfinite(affine).all():
        raise InputError(
            f"{name} states an affine with values that are not finite numbers.", hint
        )
    if np.abs(affine).max() > _FARTHEST_MM:
        raise InputError(
            f"{name} states an affine that leads out of any scanner.", hint
        )
    across, down, step = (
        float(item) for item in np.linalg.norm(affine[:3, :3], axis=0)
    )
    low, high = _SPACINGS
    if not all(low <= item <= high for item in (across, down, step)):
        raise InputError(
            f"{name} states voxels of {across:.4g} x {down:.4g} x {step:.4g} mm; "
            f"each side must have {low:g} to {high:g} mm.",
            hint,
        )
    if skew(affine) > MAX_SKEW:
        raise InputError(
            f"{name} has a sheared affine: its axes are not at right angles "
            f"(cosine {skew(affine):.3f}).",
            "Resample the volume to a straight grid.",
        )
    return step, down, across


def inflate(
    data: bytes | memoryview, start: int, size: int, name: str, gzip: bool = True
) -> bytearray:
    """Unpack a part of packed data, and no more than is asked for.

    Parameters
    ----------
    data
        The packed bytes; several gzip members may follow each other.
    start, size
        The part, in bytes of the unpacked content.
    name
        The name of the file, for messages.
    gzip
        Whether the data are members of gzip; else one stream of zlib.

    Returns
    -------
    bytearray
        `size` bytes.

    Raises
    ------
    TooLargeError
        Where a limit on unpacked bytes or on their ratio to packed ones is
        passed; told before anything is unpacked.
    DamagedFileError
        Where the content is broken or shorter.
    """
    end = start + size
    if end > MAX_INFLATED or (end > FREE_BYTES and end > MAX_RATIO * len(data)):
        raise TooLargeError(
            f"{name} has {len(data) / 1e6:.2f} MB and claims to hold "
            f"{end / 1e6:,.0f} MB unpacked, more than an MR volume does.",
            "Save the volume again, without compression if need be.",
        )
    part = bytearray()
    passed = 0
    for chunk in unpacked_chunks(data, end + _CHUNK, name, gzip):
        lower = max(0, start - passed)
        passed += len(chunk)
        if lower < len(chunk) and len(part) < size:
            part += chunk[lower : lower + size - len(part)]
    if len(part) < size:
        raise DamagedFileError(
            f"{name} is cut off: {passed} of {end} bytes are there once unpacked."
        )
    return part


def unpacked_chunks(
    data: bytes | memoryview, most: int, name: str, gzip: bool = True
) -> Iterator[bytes]:
    """Unpack up to `most` bytes, a chunk at a time.

    Asking for a little more than is needed reaches the end of a whole file,
    where gzip keeps its checksum.

    Parameters
    ----------
    data
        The packed bytes; several gzip members may follow each other.
    most
        How many unpacked bytes are given at most.
    name
        The name of the file, for messages.
    gzip
        Whether the data are members of gzip; else one stream of zlib.

    Raises
    ------
    DamagedFileError
        Where the content is broken or cut off.
    TooLargeError
        Where there are more members than a file has.
    """
    view = memoryview(data)
    place = members = 0
    try:
        start = GZIP_START if gzip else view[:2]
        while most > 0 and view[place : place + 2] == start:
            members += 1
            if members > _MOST_MEMBERS:
                raise TooLargeError(
                    f"{name} has over {_MOST_MEMBERS} gzip parts.", "Pack it as one."
                )
            unpacker = zlib.decompressobj(
                zlib.MAX_WBITS | 16 if gzip else zlib.MAX_WBITS
            )
            while most > 0 and not unpacker.eof:
                piece = unpacker.unconsumed_tail or view[place : place + _PIECE]
                if not piece:
                    raise DamagedFileError(f"{name} is cut off inside its packed part.")
                if not unpacker.unconsumed_tail:
                    place += len(piece)
                chunk = unpacker.decompress(piece, min(_CHUNK, most))
                most -= len(chunk)
                yield chunk
            place -= len(unpacker.unused_data)
            if not gzip:
                return
    except zlib.error as error:
        raise DamagedFileError(f"{name} has a broken packed part.") from error


def voxels_of(
    raw: bytes | bytearray | memoryview,
    dtype: np.dtype[np.generic],
    shape: tuple[int, int, int],
    scale: tuple[float, float],
    name: str,
) -> tuple[NDArray[np.float32], int]:
    """Turn stored bytes into voxels, slice by slice so that memory stays low.

    Parameters
    ----------
    raw
        Bytes, at least as many as `dtype` and `shape` ask for.
    dtype
        Integers or real floats, with their byte order.
    shape
        Slices, rows, columns (D, H, W); columns run fastest.
    scale
        Factor and summand of the values.
    name
        The name of the file, for messages.

    Returns
    -------
    voxels
        Shape (D, H, W), float32, finite; what is stored as NaN or infinity is 0, or
        the lowest value where that is less.
    missing
        Number of such voxels.

    Raises
    ------
    InputError
        Where no value is finite, or one passes a limit (see `limits.check_values`).
    """
    depth, height, width = shape
    stored = np.frombuffer(raw, dtype, depth * height * width).reshape(shape)
    voxels = np.empty(shape, np.float32)
    factor, summand = scale
    gaps: dict[int, NDArray[np.bool_]] = {}
    lowest = np.float32(np.inf)
    for index in range(depth):
        with np.errstate(over="ignore", invalid="ignore"):
            if (factor, summand) == (1.0, 0.0):
                voxels[index] = stored[index]
            else:
                voxels[index] = stored[index].astype(np.float64) * factor + summand
        values = voxels[index]
        # A sum is finite where all are: far quicker than to ask each.
        if not np.isfinite(cv2.sumElems(values)[0]):
            gap = ~np.isfinite(stored[index])
            if not np.isfinite(values[~gap]).all():
                raise InputError(
                    f"{name} holds values beyond what 32 bits count, the first in "
                    f"slice {index}.",
                    "Scale the values down before giving the volume.",
                )
            gaps[index] = gap
            values = values[~gap]
        if values.size:
            low, high = float(values.min()), float(values.max())
            check_values(low, high, name)
            lowest = min(lowest, np.float32(low))
    if not np.isfinite(lowest):
        raise InputError(
            f"{name} holds no finite number.", "Give a volume that holds intensities."
        )
    # Where all values are above 0, that is what was masked.
    air = min(np.float32(0.0), lowest)
    for index, gap in gaps.items():
        voxels[index][gap] = air
    return voxels, sum(int(np.count_nonzero(gap)) for gap in gaps.values())
