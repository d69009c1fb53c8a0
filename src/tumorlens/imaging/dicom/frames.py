"""A DICOM file becomes frames: pixels, place, and what tells series apart."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError
from tumorlens.imaging.dicom.header import integer, numbers, parse, quiet, text
from tumorlens.imaging.dicom.pixels import Layout, decode, layout
from tumorlens.imaging.dicom.words import check_scope, guess_sequence
from tumorlens.imaging.grey import to_slice
from tumorlens.imaging.limits import check_unpacked
from tumorlens.imaging.placement import Placement
from tumorlens.imaging.study import Slice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LINEAR = ("", "LINEAR", "LINEAR_EXACT")
_FARTHEST_WINDOW = 1e12


@dataclass(frozen=True)
class Frame:
    """One picture of a DICOM file, and what sorts it into a series.

    Parameters
    ----------
    slice
        Its pixels and place; the index counts frames of the file.
    header
        The file's data set without pixel data.
    series
        SeriesInstanceUID; empty where missing.
    number
        InstanceNumber, or 0.
    traits
        What repeats at one place may differ in: echo time, b-value, kind of
        image, time point, acquisition.
    """

    slice: Slice
    header: Dataset
    series: str
    number: int
    traits: tuple[object, ...]


def frames_of(data: bytes, name: str) -> list[Frame]:
    """Read every frame of one DICOM file.

    Parameters
    ----------
    data
        The whole file.
    name
        The name of the file, for messages and for `Slice.source`.

    Raises
    ------
    InputError
        One of its kinds, where the file is broken, passes a limit, or is no MR
        slice of a head.
    """
    header = parse(data, name)
    with quiet():
        check_scope(header, name)
        shape = layout(header, name)
        pixels = shape.frames * shape.rows * shape.columns
        value_bytes = shape.samples * shape.allocated // 8
        check_unpacked(pixels, value_bytes, len(data), name)
        pictures = [
            _frame(header, values, index, name, shape)
            for index, values in enumerate(decode(header, shape, name))
        ]
        bare = copy.copy(header)
        del bare.PixelData
    return [replace(item, header=bare) for item in pictures]


def _frame(
    header: Dataset, values: NDArray[Any], index: int, name: str, shape: Layout
) -> Frame:
    groups = _groups(header, index, name)
    slope, summand = _rescale(groups, name)
    # In the file's own units: windowing and scaling are the preprocessing's part.
    if values.ndim == 2 and (slope, summand) != (1.0, 0.0):
        values = (values * np.float64(slope) + summand).astype(np.float32)
    picture = to_slice(values, name, index)
    spacing = _spacing(groups)
    placement = _placement(groups, spacing)
    picture = replace(
        picture,
        spacing_mm=spacing,
        placement=placement,
        plane=placement.plane if placement else None,
        window=_window(groups, shape, slope, summand),
        sequence=guess_sequence(header),
    )
    return Frame(
        slice=picture,
        header=header,
        series=text(header, "SeriesInstanceUID"),
        number=_number(header, name),
        traits=tuple(
            _first(groups, keyword)
            for keyword in (
                "EffectiveEchoTime",
                "EchoTime",
                "DiffusionBValue",
                "ImageType",
                "TemporalPositionIdentifier",
                "TemporalPositionIndex",
                "AcquisitionNumber",
            )
        ),
    )


def _number(header: Dataset, name: str) -> int:
    try:
        return integer(header, "InstanceNumber", name, 0)
    except DamagedFileError:
        return 0


def _groups(header: Dataset, index: int, name: str) -> list[Dataset]:
    """Return the frame's own groups, the shared ones, then the data set."""
    groups: list[Dataset] = []
    for keyword, place in (
        ("PerFrameFunctionalGroupsSequence", index),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        try:
            groups += _nested(header, keyword, place)
        # pydicom reads an element when it is asked for, and raises what it likes.
        except Exception as error:
            raise DamagedFileError(f"{name} holds a broken {keyword}.") from error
    return [*groups, header]


def _nested(header: Dataset, keyword: str, place: int) -> list[Dataset]:
    items = header.get(keyword)
    if items is None or isinstance(items, bytes) or len(items) <= place:
        return []
    return [
        element.value[0]
        for element in items[place]
        if element.VR == "SQ" and element.value
    ]


def _first(groups: list[Dataset], keyword: str) -> str:
    return next((x for x in (text(group, keyword) for group in groups) if x), "")


def _values(
    groups: list[Dataset], keyword: str, count: int
) -> tuple[float, ...] | None:
    for group in groups:
        values = numbers(group, keyword, count)
        if values is not None:
            return values
    return None


def _rescale(groups: list[Dataset], name: str) -> tuple[float, float]:
    group = next((item for item in groups if "RescaleSlope" in item), None)
    if group is None:
        return 1.0, 0.0
    slope = numbers(group, "RescaleSlope", 1)
    summand = numbers(group, "RescaleIntercept", 1) or (0.0,)
    if slope is None or slope[0] == 0 or abs(slope[0]) > 1e12 or abs(summand[0]) > 1e12:
        raise DamagedFileError(f"{name} cannot be rescaled by the tag RescaleSlope.")
    return slope[0], summand[0]


def _window(
    groups: list[Dataset], shape: Layout, slope: float, summand: float
) -> tuple[float, float] | None:
    """Read the window, turned round where `decode` turned the values round."""
    window = None if shape.samples > 1 else _stored_window(groups)
    if window is None or shape.colours != "MONOCHROME1":
        return window
    ends = slope * shape.top + 2.0 * summand
    return ends - window[1], ends - window[0]


def _spacing(groups: list[Dataset]) -> tuple[float, float] | None:
    spacing = _values(groups, "PixelSpacing", 2)
    # Some senders write 0 or 1e9 where they do not know.
    if spacing is None or not all(0.01 <= x <= 50 for x in spacing):
        return None
    return spacing[0], spacing[1]


def _placement(
    groups: list[Dataset], spacing: tuple[float, float] | None
) -> Placement | None:
    """DICOM PS3.3 C.7.6.2.1.1; None unless the axes are unit and at right angles."""
    origin = _values(groups, "ImagePositionPatient", 3)
    axes = _values(groups, "ImageOrientationPatient", 6)
    if origin is None or axes is None or spacing is None:
        return None
    across, down = np.array(axes[:3]), np.array(axes[3:])
    lengths = np.array([np.linalg.norm(across), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > 0.02 or abs(float(across @ down)) > 0.02:
        return None
    if max(abs(x) for x in origin) > 1e5:
        return None
    return Placement.of(
        np.array(origin),
        across / lengths[0] * spacing[1],
        down / lengths[1] * spacing[0],
    )


def _stored_window(groups: list[Dataset]) -> tuple[float, float] | None:
    """Read the first window that a frame's header holds (PS3.3 C.11.2.1.2).

    Parameters
    ----------
    groups
        Where to look, the frame's own first.

    Returns
    -------
    tuple of float or None
        Lowest and highest value, in rescaled units: centre less and plus half
        the width, so that both read as the header has them; the half step that
        LINEAR is off by is not seen. None where there is none, where it is no
        number, or where the curve is no line.
    """
    for group in groups:
        centre, width = (
            _first_number(group, "WindowCenter"),
            _first_number(group, "WindowWidth"),
        )
        if centre is None or width is None:
            continue
        if width <= 0.0 or text(group, "VOILUTFunction") not in _LINEAR:
            return None
        return centre - width / 2.0, centre + width / 2.0
    return None


def _first_number(group: Dataset, keyword: str) -> float | None:
    """Return the first of the values: a header may offer several windows."""
    try:
        number = float(text(group, keyword).split("\\")[0])
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < _FARTHEST_WINDOW else None
