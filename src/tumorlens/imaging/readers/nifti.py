"""NIfTI volumes (.nii, .nii.gz) become slices, turned by their affine.

The header is as https://nifti.nimh.nih.gov/nifti-1 and nifti-2 set it out.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.formats import (
    GZIP_START,
    NIFTI_START_BYTES,
    nifti_version,
    unpacked_start,
)
from tumorlens.imaging.geometry import (
    LPS_TO_RAS,
    MAX_SKEW,
    skew,
)
from tumorlens.imaging.readers.volume_file import (
    LABELLED,
    VolumeHeader,
    inflate,
    read_volume,
)
from tumorlens.imaging.study import Study

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_HEADER_1 = 348
_HEADER_2 = 540
_UNIT_MASK = 7
_METRE, _MICRON = 1, 3
_MM = {_METRE: 1000.0, _MICRON: 0.001}
"""mm in a unit of length; 0 (not said) and 2 are millimetres."""

_MAX_OFFSET = 16 * 2**20
"""Bytes before the voxels: the header, and what programs add to it."""

_MAX_VOLUMES = 100_000
_LABELS = 1002
"""NIFTI_INTENT_LABEL: each value is an index of a list of structures."""

_STATISTICS = range(2, 25)
_VECTORS = (1006, 1007)
_CALCULATED = (
    (rb"SPM\{", "a map of a statistic"),
    (rb"Tissue class \d", "the share of a tissue in each voxel, as SPM writes it"),
    (rb"(Inverse )?Deformation|Jacobian", "a deformation between two volumes"),
)
"""Starts of descriptions that SPM gives to what it calculates."""

_LEAST_WHOLE = 2**15
"""Bytes from which on a file is more than a header."""


def read_nifti(data: bytes, name: str, volume: int | None = None) -> Study:
    """Read a NIfTI file as slices of the plane in which it was acquired.

    All that the header states is checked before any voxel is unpacked. The
    place in the patient is taken from the sform, else from the qform; fields that
    disagree are weighed against each other, and a note says so.

    Parameters
    ----------
    data
        The whole file, plain or packed by gzip.
    name
        The name of the file, for messages and for `Slice.source`.
    volume
        Number of the volume in a 4-D file, from 0; needed where it holds several.

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
        Where it is no 3-D volume of real numbers, or of colours that are greys, on a
        straight grid, or holds no number that is finite.
    """
    header = _header(unpacked_start(data, NIFTI_START_BYTES), len(data), name)
    _check_intent(header, name)
    shape, volume_number = _shape(header, name, volume)
    affine, placed, notes = _affine(header, shape, name)
    if int(header["intent_code"]) == _LABELS:
        # Outlines are read here too, so it is no error.
        notes += (
            f"The header says that the values are labels {LABELLED}, and no "
            "intensities: give the series itself.",
        )
    dtype, channels = _dtype(header, name)
    # The standard scales no colours.
    scale = _scale(header) if channels == 1 else (1.0, 0.0)
    grid = VolumeHeader(shape, dtype, affine, placed, scale, notes)
    size = channels * grid.voxel_bytes
    start = _offset(header, name) + volume_number * size

    def stored() -> bytearray | memoryview | bytes:
        if data.startswith(GZIP_START):
            return _grey(inflate(data, start, size, name), channels, name)
        voxels = memoryview(data)[start : start + size]
        if len(voxels) < size:
            raise DamagedFileError(
                f"{name} is cut off: {len(data)} of {start + size} bytes are there."
            )
        return _grey(voxels, channels, name)

    return read_volume(grid, stored, len(data), name)


def _header(start: bytes, size: int, name: str) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.wrapstruct import WrapStructError

    version = nifti_version(start)
    kind, length = (
        (Nifti2Header, _HEADER_2) if version == 2 else (Nifti1Header, _HEADER_1)
    )
    if not version or len(start) < length:
        raise DamagedFileError(f"{name} has no whole NIfTI header.")
    is_pair = start[4:7] == b"ni2" or (version == 1 and start[344:347] == b"ni1")
    # Some programs leave that mark in files that hold both.
    if is_pair and size < _LEAST_WHOLE:
        raise InputError(
            f"{name} is a NIfTI header whose voxels lie in a second file.",
            "Save header and voxels as one .nii or .nii.gz file.",
        )
    try:
        return kind(start[:length], check=False)  # type: ignore[no-untyped-call]
    except (WrapStructError, ValueError, struct.error) as error:
        raise DamagedFileError(f"{name} has a broken NIfTI header.") from error


def _check_intent(header: Nifti1Header, name: str) -> None:
    """Refuse what a header calls calculated: statistics, shares, deformations."""
    intent = int(header["intent_code"])
    described = bytes(header["descrip"].item())
    what = next((what for start, what in _CALCULATED if re.match(start, described)), "")
    if intent in _STATISTICS:
        what = "a map of a statistic"
    elif intent in _VECTORS:
        what = "a deformation or other field of vectors"
    if what:
        raise InputError(
            f"{name} is {what} by its header, and holds no intensities.",
            "Give the scan itself.",
        )


def _shape(
    header: Nifti1Header, name: str, volume: int | None
) -> tuple[tuple[int, int, int], int]:
    """Slices, rows and columns, and the number of the volume to read."""
    count, *sides = (int(item) for item in header["dim"])
    if not 1 <= count <= 7:
        raise DamagedFileError(f"{name} states {count} dimensions.")
    # Dimensions of one step, or of none, add nothing.
    while count > 4 and sides[count - 1] in (0, 1):
        count -= 1
    # Vectors and channels stand in the fifth dimension.
    if count == 5 and sides[3] in (0, 1):
        sides[3], count = sides[4], 4
    if count not in (2, 3, 4):
        raise InputError(
            f"{name} has {count} dimensions.", "Give a volume of three dimensions."
        )
    width, height = sides[:2]
    depth = sides[2] if count > 2 else 1
    volumes = sides[3] if count > 3 else 1
    # A dimension of no step is one that was not filled in.
    volumes = volumes or 1
    if not 1 <= volumes <= _MAX_VOLUMES:
        raise DamagedFileError(f"{name} states {volumes} volumes.")
    if volume is None and volumes > 1:
        if depth == 1:
            raise InputError(
                f"{name} holds {volumes} volumes of one slice each (4-D).",
                "If they are the slices of one series, save them in three dimensions "
                "(nibabel's squeeze_image does); if they are points in time, judge "
                "one with tumorlens predict.",
            )
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


def _grey(
    stored: bytearray | memoryview, channels: int, name: str
) -> bytearray | memoryview | bytes:
    """Take one channel of colours that are greys: all three are equal."""
    if channels == 1:
        return stored
    voxels = np.frombuffer(stored, np.uint8).reshape(-1, channels)
    red = np.ascontiguousarray(voxels[:, 0])
    # What is left of a fourth channel is how opaque a voxel is, which hides nothing.
    if not all(np.array_equal(red, voxels[:, other]) for other in (1, 2)):
        raise InputError(
            f"{name} holds colours, as an overlay or a map has them, and no "
            "intensities.",
            "Give the scan itself, without the colours laid over it.",
        )
    return red.tobytes()


def _dtype(header: Nifti1Header, name: str) -> tuple[np.dtype[np.generic], int]:
    """Type of one channel, and the number of channels."""
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
    if dtype.names is not None and set(dtype.names) >= {"R", "G", "B"}:
        return np.dtype(np.uint8), dtype.itemsize
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{name} holds {_TITLES.get(dtype.kind, dtype.name)}, not real numbers.",
            "Save one intensity for each voxel, as integers or 32-bit floats.",
        )
    return dtype, 1


_TITLES = {"c": "complex numbers", "f": "numbers of over 64 bits"}


def _scale(header: Nifti1Header) -> tuple[float, float]:
    """Factor and summand; a factor of 0, or none that is finite, means no scaling.

    A summand that is not finite adds nothing.
    """
    slope, summand = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    return slope, summand if math.isfinite(summand) else 0.0


def _offset(header: Nifti1Header, name: str) -> int:
    """Byte at which the voxels start."""
    offset = float(header["vox_offset"])
    least = _HEADER_2 if isinstance(header["vox_offset"].item(), int) else _HEADER_1
    # Some programs leave it 0, and put the voxels right behind the header.
    if offset == 0:
        return least + 4
    if not (offset.is_integer() and least <= offset <= _MAX_OFFSET):
        raise DamagedFileError(f"{name} states that its voxels start at byte {offset}.")
    return int(offset)


UNKNOWN_SIZE = (
    "The header does not state how large a voxel is: 1 mm was taken, so sizes may be "
    "wrong."
)

_LIKELY_MM = (0.05, 20.0)
"""Sides of a voxel that an MR scanner writes."""

_LIKELY_FIELD_MM = (20.0, 800.0)
"""Longest side of what it scans."""

_SIZES_AGREE = 0.05
_WAYS_AGREE = 0.98
"""Cosine between axes: 11 degrees."""


def _affine(
    header: Nifti1Header, shape: tuple[int, int, int], name: str
) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """(column, row, slice, 1) to LPS mm, whether the header states it, and notes."""
    sides = np.abs(header["pixdim"][1:4].astype(np.float64))
    forms: list[tuple[str, NDArray[np.float64]]] = []
    broken: list[str] = []
    for form in ("sform", "qform"):
        if int(header[f"{form}_code"]) <= 0:
            continue
        matrix = _form(header, form)
        if matrix is None:
            broken.append(form)
        else:
            forms.append((form, matrix))
    usable = [item for item in forms if _is_usable(item[1])]
    notes: list[str] = []
    placed = bool(forms or broken)
    if usable:
        form, matrix = usable[0]
        if len(usable) == 1 and len(forms) + len(broken) > 1:
            other = "qform" if form == "sform" else "sform"
            notes.append(
                f"The header's {other} is no orientation; the {form} was used."
            )
        if len(usable) == 2:
            form, matrix = _weighed(usable, shape)
            notes += _disagreement(usable, form)
    elif forms and np.isfinite(forms[0][1]).all():
        # What is wrong with it is said by who checks the grid.
        matrix = forms[0][1]
    else:
        placed = False
        unstated = ~(np.isfinite(sides) & (sides > 0.0))
        matrix = np.diag([*np.where(unstated, 1.0, sides), 1.0])
        if forms or broken:
            notes.append("The header's orientation is broken, and was not used.")
        if unstated.any():
            notes.append(UNKNOWN_SIZE)
    unit, unit_notes = _unit(header, matrix, shape)
    with np.errstate(all="ignore"):
        matrix = LPS_TO_RAS @ matrix
        matrix[:3] *= unit
    return matrix, placed, (*notes, *unit_notes)


def _form(header: Nifti1Header, form: str) -> NDArray[np.float64] | None:
    from nibabel.spatialimages import HeaderDataError

    try:
        with np.errstate(all="ignore"):
            stated = getattr(header, f"get_{form}")()
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        return None
    return np.asarray(stated, np.float64)


@np.errstate(all="ignore")
def _is_usable(matrix: NDArray[np.float64]) -> bool:
    if not np.isfinite(matrix).all():
        return False
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(lengths.min() > 0.0) and skew(matrix) <= MAX_SKEW


def _weighed(
    forms: list[tuple[str, NDArray[np.float64]]], shape: tuple[int, int, int]
) -> tuple[str, NDArray[np.float64]]:
    """Take the sform, unless only the qform's voxels are of a size that scans have."""
    likely = [item for item in forms if _is_likely(item[1], shape)]
    return likely[0] if len(likely) == 1 else forms[0]


@np.errstate(all="ignore")
def _is_likely(
    matrix: NDArray[np.float64], shape: tuple[int, int, int], unit: float = 1.0
) -> bool:
    lengths = unit * np.linalg.norm(matrix[:3, :3], axis=0)
    field = float((lengths * shape[::-1]).max())
    low, high = _LIKELY_MM
    return bool(low <= lengths.min() and lengths.max() <= high) and (
        _LIKELY_FIELD_MM[0] <= field <= _LIKELY_FIELD_MM[1]
    )


def _disagreement(
    forms: list[tuple[str, NDArray[np.float64]]], used: str
) -> Iterator[str]:
    """Say where both forms state different voxels or directions."""
    first, second = (matrix[:3, :3] for _, matrix in forms)
    one, two = np.linalg.norm(first, axis=0), np.linalg.norm(second, axis=0)
    if np.abs(one - two).max() > _SIZES_AGREE * max(one.max(), two.max()):
        shown = " x ".join(f"{x:.3g}" for x in one), " x ".join(f"{x:.3g}" for x in two)
        yield (
            f"The header contradicts itself: voxels of {shown[0]} mm by the sform, of "
            f"{shown[1]} mm by the qform; the {used} was used."
        )
    if np.einsum("ij,ij->j", first / one, second / two).min() < _WAYS_AGREE:
        yield (
            "The header contradicts itself: its sform and qform state different "
            f"orientations; the {used} was used, and planes and sides may be wrong."
        )


def _unit(
    header: Nifti1Header, matrix: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[float, tuple[str, ...]]:
    """Millimetres in the header's unit; a unit that no scanner has is not believed."""
    code = int(header["xyzt_units"]) & _UNIT_MASK
    unit = _MM.get(code, 1.0)
    if unit == 1.0 or _is_likely(matrix, shape, unit):
        return unit, ()
    if not _is_likely(matrix, shape):
        return unit, ()
    title = "metres" if code == _METRE else "micrometres"
    return 1.0, (
        f"The header states its voxels in {title}, which makes no head; they were "
        "taken as millimetres.",
    )
