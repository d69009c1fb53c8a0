"""A DICOM file becomes frames: pixels, place, and what tells series apart."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DamagedFileError
from tumorlens.imaging.dicom.header import integer, numbers, parse, quiet, text
from tumorlens.imaging.dicom.pixels import Layout, decode, layout
from tumorlens.imaging.dicom.scope import check_scope
from tumorlens.imaging.dicom.weighting import guess_sequence
from tumorlens.imaging.dicom.window import stored_window
from tumorlens.imaging.limits import check_unpacked
from tumorlens.imaging.placement import Placement
from tumorlens.imaging.readers.raster import to_slice
from tumorlens.imaging.study import Slice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


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
        Of the file, for messages and for `Slice.source`.

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
    found: list[Dataset] = []
    for keyword, place in (
        ("PerFrameFunctionalGroupsSequence", index),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        try:
            found += _nested(header, keyword, place)
        # pydicom reads an element when it is asked for, and raises what it likes.
        except Exception as error:
            raise DamagedFileError(f"{name} holds a broken {keyword}.") from error
    return [*found, header]


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
        found = numbers(group, keyword, count)
        if found is not None:
            return found
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
    found = None if shape.samples > 1 else stored_window(groups)
    if found is None or shape.colours != "MONOCHROME1":
        return found
    ends = slope * shape.top + 2.0 * summand
    return ends - found[1], ends - found[0]


def _spacing(groups: list[Dataset]) -> tuple[float, float] | None:
    found = _values(groups, "PixelSpacing", 2)
    # Some senders write 0 or 1e9 where they do not know.
    if found is None or not all(0.01 <= x <= 50 for x in found):
        return None
    return found[0], found[1]


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
