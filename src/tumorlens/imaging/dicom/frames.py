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
from tumorlens.imaging.dicom.pixels import (
    Layout,
    Lookup,
    decode,
    layout,
    modality_lookup,
    unstated_padding,
    with_likely_bits,
    without_padding,
)
from tumorlens.imaging.dicom.words import (
    check_scope,
    computed_words,
    guess_sequence,
    localiser_words,
)
from tumorlens.imaging.limits import check_unpacked
from tumorlens.imaging.study import (
    MRSequence,
    Placement,
    Plane,
    Point,
    Slice,
    to_slice,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LINEAR = ("", "LINEAR", "LINEAR_EXACT")
_FARTHEST_WINDOW = 1e12

MAX_PIXEL_ASPECT = 8.0
"""Height over width of a pixel, or the reverse: beyond, the tag is no ratio."""


@dataclass(frozen=True)
class Frame:
    """One picture of a DICOM file, and what sorts it into a series.

    Parameters
    ----------
    slice
        Its pixels and place; the index counts frames of the file.
    header
        The file's data set without pixel data.
    uid
        SOPInstanceUID; empty where missing.
    series
        Names of the series: SeriesInstanceUID and SeriesNumber, with the study
        and all that describes a series where the UID is missing.
    number
        InstanceNumber, or 0.
    position
        ImagePositionPatient, LPS mm; None where missing.
    direction
        Unit vectors along the rows and down the columns, one after the other;
        None where missing.
    seats
        Other signs of the order: SliceLocation, the place by tags of before 1993,
        the position in the stack, the vendor's own number of the slice,
        InstanceNumber; None where missing.
    traits
        Traits in which repeats at one place may differ, by the names of `TRAITS`.
    aside
        Why the frame is not to be judged, as the end of a sentence that starts
        with its name; empty where it is.
    """

    slice: Slice
    header: Dataset
    uid: str
    series: tuple[str, ...]
    number: int
    position: Point | None
    direction: tuple[float, ...] | None
    seats: tuple[float | None, ...]
    traits: dict[str, str]
    aside: str = ""


TRAITS: dict[str, tuple[str, ...]] = {
    # Some anonymisers give everybody the same identifiers of series.
    "patient": ("PatientID",),
    "series": ("SeriesDescription", "SeriesTime"),
    "echo": ("EffectiveEchoTime", "EchoTime", "EchoNumbers"),
    "inversion": ("InversionTime", "InversionTimes"),
    "component": ("ComplexImageComponent",),
    "diffusion": ("DiffusionBValue", "DiffusionGradientOrientation"),
    "contrast": ("ContrastBolusAgent",),
    "kind": ("FrameType", "ImageType"),
    "flip": ("FlipAngle",),
    "repetition": ("RepetitionTime",),
    "sequence": ("SequenceName", "PulseSequenceName", "ScanningSequence"),
    "time point": ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    "trigger": ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "acquisition": ("AcquisitionNumber",),
    "acquisition time": ("AcquisitionDateTime", "AcquisitionTime"),
}
"""Traits that may part acquisitions at one place, the most telling first, and
the tags that state them: all of them together."""

STRONG_TRAITS = (
    *("patient", "series", "echo", "inversion", "component", "contrast", "flip"),
)
"""Those that differ between acquisitions alone, never inside one."""

_SERIES_WORDS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesDescription",
    "ProtocolName",
    "SeriesDate",
    "SeriesTime",
    "SequenceName",
)
"""Tags that describe a series, where its UID was taken away."""

_PHILIPS_SLICE = 0x2001100A
_GE_COMPONENT = 0x0043102F
_GE_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")


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
        shape = with_likely_bits(header, layout(header, name))
        pixels = shape.frames * shape.rows * shape.columns
        value_bytes = shape.samples * shape.allocated // 8
        check_unpacked(pixels, value_bytes, len(data), name)
        lookup = modality_lookup(header, name)
        sequences: dict[_Settings, MRSequence | None] = {}
        pictures = [
            _frame(header, values, padded, index, name, shape, lookup, sequences)
            for index, (values, padded) in enumerate(decode(header, shape, name))
        ]
        bare = copy.copy(header)
        del bare.PixelData
    return [replace(item, header=bare) for item in pictures]


def _frame(
    header: Dataset,
    values: NDArray[Any],
    padded: NDArray[np.bool_] | None,
    index: int,
    name: str,
    shape: Layout,
    lookup: Lookup | None,
    sequences: dict[_Settings, MRSequence | None],
) -> Frame:
    groups = _groups(header, index, name)
    slope, summand = (1.0, 0.0) if lookup is not None else _rescale(groups, name)
    # In the file's own units: windowing and scaling are the preprocessing's part.
    if lookup is not None and values.ndim == 2:
        values = lookup.apply(values)
    elif values.ndim == 2 and (slope, summand) != (1.0, 0.0):
        values = (values * np.float64(slope) + summand).astype(np.float32)
    picture = to_slice(values, name, index)
    if padded is None and values.ndim == 2:
        padded = unstated_padding(picture.pixels)
    if padded is not None:
        picture = replace(picture, pixels=without_padding(picture.pixels, padded))
    spacing = _spacing(groups)
    position = _position(groups)
    direction = _direction(groups)
    placement = _placement(position, direction, spacing)
    picture = replace(
        picture,
        spacing_mm=spacing,
        placement=placement,
        plane=None if direction is None else _plane(direction),
        window=_window(groups, shape, slope, summand),
        sequence=_sequence(groups, sequences),
        pixel_aspect=_pixel_aspect(groups, spacing),
    )
    traits = {
        title: "\\".join(_first(groups, keyword) for keyword in keywords).casefold()
        for title, keywords in TRAITS.items()
    }
    traits["component"] = component = _component(groups)
    aside = ""
    if component in ("PHASE", "IMAGINARY"):
        aside = f"shows {_COMPONENTS[component]}, not the strength of the signal"
    return Frame(
        slice=picture,
        header=header,
        uid=text(header, "SOPInstanceUID"),
        series=_series_names(header),
        number=_number(header, name),
        position=position,
        direction=direction,
        seats=(
            _seat(groups, "SliceLocation"),
            _retired_seat(groups, direction),
            _seat(groups, "InStackPositionNumber"),
            _seat(groups, _PHILIPS_SLICE),
            _seat(groups, "InstanceNumber"),
        ),
        traits=traits,
        aside=localiser_words(header) or aside or computed_words(groups),
    )


_SETTINGS = {
    "EchoTime": ("EffectiveEchoTime", "EchoTime"),
    "RepetitionTime": ("RepetitionTime",),
    "InversionTime": ("InversionTimes", "InversionTime"),
    "FlipAngle": ("FlipAngle",),
    "DiffusionBValue": ("DiffusionBValue",),
}
"""Numbers that tell a weighting, and where enhanced files state them for each frame."""

_Settings = tuple[float | str | None, ...]


def _sequence(
    groups: list[Dataset], known: dict[_Settings, MRSequence | None]
) -> MRSequence | None:
    """Name a frame's weighting, once for all frames of a file with its settings."""
    from pydicom.dataset import Dataset

    *own, header = groups
    stated = {
        keyword: next(
            (
                number
                for tag in keywords
                for group in own
                if (number := _first_number(group, tag)) is not None
            ),
            None,
        )
        for keyword, keywords in _SETTINGS.items()
    }
    contrast = _first(own, "AcquisitionContrast")
    settings = (*stated.values(), contrast)
    if settings not in known:
        # A copy by `copy` shares its elements: one frame's would be all others' too.
        described = Dataset(dict(header.items()))
        for keyword, number in stated.items():
            if number is not None:
                described.add_new(keyword, "FD", number)
        if contrast:
            described.add_new("AcquisitionContrast", "CS", contrast)
        known[settings] = guess_sequence(described)
    return known[settings]


_COMPONENTS = {"PHASE": "phase", "IMAGINARY": "the imaginary part of the signal"}
_COMPONENT_LETTERS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}


def _component(groups: list[Dataset]) -> str:
    """Name which part of the complex signal a frame shows; empty where not said."""
    stated = _first(groups, "ComplexImageComponent").upper()
    if stated and stated != "MIXED":
        return stated
    kind = _first(groups, "FrameType") or _first(groups, "ImageType")
    parts = kind.upper().split("\\")[2:]
    for part in parts:
        if part in ("PHASE", "PHASE MAP", "VELOCITY MAP"):
            return "PHASE"
        if part in ("REAL", "IMAGINARY", "MAGNITUDE"):
            return part
    letters = [part for part in parts if part in _COMPONENT_LETTERS]
    if letters:
        return _COMPONENT_LETTERS[letters[0]]
    number = _seat(groups, _GE_COMPONENT)
    if number is not None and 0 <= number < len(_GE_COMPONENTS):
        return _GE_COMPONENTS[int(number)]
    return ""


def _series_names(header: Dataset) -> tuple[str, ...]:
    uid = text(header, "SeriesInstanceUID")
    names = (uid, text(header, "SeriesNumber"))
    if uid:
        return names
    return (*names, *(text(header, keyword) for keyword in _SERIES_WORDS))


def _seat(groups: list[Dataset], keyword: str | int) -> float | None:
    for group in groups:
        stated = numbers(group, keyword, 1)
        if stated is not None:
            return stated[0]
    return None


def _retired_seat(
    groups: list[Dataset], direction: tuple[float, ...] | None
) -> float | None:
    """Read where a slice lies along its stack by tags of before DICOM, in mm.

    Which way their axes ran differs between makers, so they tell an order and no side.
    """
    location = _seat(groups, "Location")
    position = _values(groups, "ImagePosition", 3)
    if location is not None or position is None:
        return location
    axes = direction or _values(groups, "ImageOrientation", 6)
    if axes is None:
        return None
    return float(np.dot(position, np.cross(axes[:3], axes[3:])))


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
    # An empty tag says as little as a missing one.
    group = next((item for item in groups if text(item, "RescaleSlope")), None)
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


def _pixel_aspect(groups: list[Dataset], spacing: tuple[float, float] | None) -> float:
    """Height over width of a pixel, by the spacing, else by PixelAspectRatio."""
    stated: tuple[float, ...] | None = spacing
    for keyword in ("PixelAspectRatio", "ImagerPixelSpacing"):
        stated = stated or _values(groups, keyword, 2)
    if stated is None or min(stated) <= 0.0:
        return 1.0
    aspect = stated[0] / stated[1]
    return aspect if 1.0 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT else 1.0


def _position(groups: list[Dataset]) -> Point | None:
    position = _values(groups, "ImagePositionPatient", 3)
    if position is None or max(abs(x) for x in position) > 1e5:
        return None
    return position[0], position[1], position[2]


def _direction(groups: list[Dataset]) -> tuple[float, ...] | None:
    """Read the axes of the picture; None unless of unit length, at right angles."""
    axes = _values(groups, "ImageOrientationPatient", 6)
    if axes is None:
        return None
    across, down = np.array(axes[:3]), np.array(axes[3:])
    lengths = np.array([np.linalg.norm(across), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > 0.02 or abs(float(across @ down)) > 0.02:
        return None
    return tuple(
        float(x) for x in np.concatenate((across / lengths[0], down / lengths[1]))
    )


def _plane(direction: tuple[float, ...]) -> Plane:
    across, down = np.array(direction[:3]), np.array(direction[3:])
    return Placement.of(np.zeros(3), across, down).plane


def _placement(
    position: Point | None,
    direction: tuple[float, ...] | None,
    spacing: tuple[float, float] | None,
) -> Placement | None:
    """Place a slice in the patient (DICOM PS3.3 C.7.6.2.1.1)."""
    if position is None or direction is None or spacing is None:
        return None
    across, down = np.array(direction[:3]), np.array(direction[3:])
    return Placement.of(np.array(position), across * spacing[1], down * spacing[0])


def _stored_window(groups: list[Dataset]) -> tuple[float, float] | None:
    """Read the first window that a frame's header holds (PS3.3 C.11.2.1.2).

    Parameters
    ----------
    groups
        Groups to look in, the frame's own first.

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
