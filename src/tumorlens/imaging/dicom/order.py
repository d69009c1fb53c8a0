"""The order of slices along the patient, and what of them is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.dicom.frames import Frame
from tumorlens.imaging.dicom.header import numbers

SAME_PLACE_MM = 0.01
"""Slices nearer to each other than this lie in one place."""

_SEATS = (
    "the tag SliceLocation",
    "the retired tags of their position",
    "their position in the stack",
    "the scanner's own number of the slice",
    "the tag InstanceNumber",
)
"""Tags that tell the order where places do not, in the order of `Frame.seats`."""

_NUMBER = len(_SEATS) - 1
_LEAST_ARM = 3
"""Slices on either side of the middle from which on a lost sign is told."""

_DENSE_COUNT = 4
"""Numbers of a counter that may pass for each slice that it counts."""

_MISSING_FROM = 1.5
"""Times the usual distance between slices: from here on one is missing."""

_UNEVEN = 0.25
"""Share by which a distance differs from the usual one without a slice missing."""


def depths(frames: Sequence[Frame]) -> NDArray[np.float64] | None:
    """Measure where each frame lies along the stack.

    Parameters
    ----------
    frames
        Frames of one direction.

    Returns
    -------
    ndarray or None
        Shape (N,), mm along the first frame's normal; where no direction is
        stated, along the line that the positions lie on. None where a frame has
        no position.
    """
    positions = [frame.position for frame in frames if frame.position is not None]
    if len(positions) != len(frames):
        return None
    origins = np.array(positions)
    direction = frames[0].direction
    if direction is not None:
        return np.asarray(origins @ np.cross(direction[:3], direction[3:]))
    way = origins.max(axis=0) - origins.min(axis=0)
    axis = int(np.argmax(way))
    return np.asarray(origins[:, axis])


def places_of(frames: Sequence[Frame]) -> list[int] | None:
    """Count the places of frames along the stack; None where one has none."""
    along = depths(frames)
    if along is None:
        return None
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order], prepend=along[order[0]])
    numbers = np.empty(len(frames), int)
    numbers[order] = np.cumsum(steps >= SAME_PLACE_MM)
    return [int(number) for number in numbers]


def repeats_place(frames: Sequence[Frame]) -> bool:
    """Tell whether two of these frames lie in one place."""
    places = places_of(frames)
    return places is not None and len(set(places)) < len(frames)


def distinct_seats(frames: Sequence[Frame]) -> int | None:
    """Find what tells the order of frames whose places do not.

    Returns
    -------
    int or None
        The first of `Frame.seats` that each frame has, and no two alike.
    """
    for seat in range(len(_SEATS)):
        values = {frame.seats[seat] for frame in frames}
        if None in values or len(values) < len(frames):
            continue
        if seat == _NUMBER or not _lost_its_sign(frames, seat):
            return seat
    return None


def _lost_its_sign(frames: Sequence[Frame], seat: int) -> bool:
    """Tell whether a place falls and rises again where the numbers of slices run on.

    Some senders write how far a slice lies from the middle, without the side.
    """
    pairs = [(frame.seats[_NUMBER], frame.seats[seat]) for frame in frames]
    if any(number is None for number, _ in pairs) or len(pairs) < 2 * _LEAST_ARM:
        return False
    pairs.sort(key=lambda pair: pair[0] or 0.0)
    values = np.array([value for _, value in pairs], np.float64)
    low = int(np.argmin(values))
    if values.min() < 0.0 or not _LEAST_ARM <= low < len(values) - _LEAST_ARM:
        return False
    falls, rises = np.diff(values[: low + 1]), np.diff(values[low:])
    return bool((falls < 0.0).all() and (rises > 0.0).all())


def without_place(frames: Sequence[Frame]) -> list[Frame]:
    """Take the places away from frames that state wrong ones; the plane stays."""
    return [
        replace(frame, position=None, slice=replace(frame.slice, placement=None))
        for frame in frames
    ]


def sort_slices(frames: Sequence[Frame]) -> tuple[list[Frame], str]:
    """Sort frames along the patient, by what can be trusted most.

    Parameters
    ----------
    frames
        Frames of one acquisition and direction, no two in one place.

    Returns
    -------
    frames
        Frames in order.
    note
        A full sentence where the order is not that of known places, or nothing else
        is known of them; else empty.
    """
    along = depths(frames)
    if along is not None:
        order = np.argsort(along, kind="stable")
        return [frames[int(index)] for index in order], _unknown_grid(frames[0])
    if len(frames) == 1:
        return list(frames), ""
    seat = distinct_seats(frames)
    counts = _counts_of_identifiers(frames) if seat is None else None
    if counts is not None:
        ordered = [frames[int(index)] for index in np.argsort(counts, kind="stable")]
        return ordered, (
            "The order of the slices is a guess: the files state neither where they "
            "lie nor a number for each, so it follows what their identifiers "
            "(SOPInstanceUID) count."
        )
    if seat is None:
        ordered = sorted(frames, key=lambda item: (item.number, item.slice.index))
        one = len({frame.slice.source for frame in frames}) == 1
        followed = "the frames in the file" if one else "the names of the files"
        return ordered, (
            "The order of the slices is a guess: the files state neither where they "
            f"lie nor a number for each, so it follows {followed}."
        )
    values = [frame.seats[seat] or 0.0 for frame in frames]
    ordered = [frames[int(index)] for index in np.argsort(values, kind="stable")]
    return ordered, (
        "The files do not say where the slices lie in the patient: their order "
        f"follows {_SEATS[seat]}, and sizes across slices are not known."
    )


def _counts_of_identifiers(frames: Sequence[Frame]) -> list[int] | None:
    """Read a counter at the end of identifiers; None where they hold none.

    Files of one scanner often share all but the last number.
    """
    parts = [frame.uid.rpartition(".") for frame in frames]
    if len({start for start, _, _ in parts}) > 1 or not all(
        end.isdecimal() and len(end) < 18 for _, _, end in parts
    ):
        return None
    counts = [int(end) for _, _, end in parts]
    if len(set(counts)) < len(counts):
        return None
    return counts if max(counts) - min(counts) < _DENSE_COUNT * len(counts) else None


def _unknown_grid(frame: Frame) -> str:
    """Say what is not known of slices whose order follows their positions."""
    if frame.direction is None:
        return (
            "The files do not state how the slices are turned: their order follows "
            "their positions; planes, sides and sizes are not known."
        )
    if frame.slice.spacing_mm is None:
        return (
            "The files do not state the spacing of pixels: the order of the slices "
            "follows their positions, and sizes are not known."
        )
    return ""


def gap_note(frames: Sequence[Frame]) -> str:
    """Say where slices are missing or unevenly apart.

    Parameters
    ----------
    frames
        Frames in order.

    Returns
    -------
    str
        A full sentence; empty where slices are evenly apart, or where nobody
        knows.
    """
    along = depths(frames)
    if len(frames) < 4:
        return ""
    if along is None:
        return _gap_in_seats(frames)
    steps = np.abs(np.diff(along))
    usual = float(np.median(steps))
    if usual < SAME_PLACE_MM:
        return ""
    gaps = [
        (index, round(float(step) / usual) - 1, float(step))
        for index, step in enumerate(steps)
        if step > _MISSING_FROM * usual
    ]
    if gaps:
        places = ", ".join(
            f"about {missing} between slices {index + 1} and {index + 2} "
            f"({step:.3g} mm apart)"
            for index, missing, step in gaps[:5]
        )
        more = f", and {len(gaps) - 5} further gaps" if len(gaps) > 5 else ""
        return (
            f"Slices are missing in a series of {len(frames)}: {places}{more}, where "
            f"the others lie {usual:.3g} mm apart."
        )
    if np.abs(steps - usual).max() > max(_UNEVEN * usual, 0.1):
        return (
            f"The slices of a series lie unevenly apart, from {steps.min():.3g} to "
            f"{steps.max():.3g} mm; sizes across slices follow their places."
        )
    return _thinned_note(frames[0], usual)


def _gap_in_seats(frames: Sequence[Frame]) -> str:
    """Say which numbers are missing where no place tells."""
    seat = distinct_seats(frames)
    if seat is None:
        return ""
    values = np.sort([frame.seats[seat] or 0.0 for frame in frames])
    steps = np.diff(values)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > _MISSING_FROM * usual)
    # Numbers that jump everywhere count something else.
    if not gaps.size or 4 * gaps.size > steps.size:
        return ""
    places = ", ".join(
        f"about {round(float(steps[index]) / usual) - 1} between slices {index + 1} "
        f"and {index + 2}"
        for index in gaps[:5]
    )
    more = f", and {gaps.size - 5} further gaps" if gaps.size > 5 else ""
    return (
        f"Slices are missing in a series of {len(frames)}, by {_SEATS[seat]}: "
        f"{places}{more}."
    )


def _thinned_note(frame: Frame, usual: float) -> str:
    """Say where slices lie a whole number of times as far apart as the header says."""
    stated = numbers(frame.header, "SpacingBetweenSlices", 1)
    thickness = numbers(frame.header, "SliceThickness", 1)
    # Some senders write the gap between slices, which is less than a slice.
    if stated is None or stated[0] <= 0.0 or (thickness and thickness[0] > stated[0]):
        return ""
    times = usual / stated[0]
    if not 1.9 < times < 4.1 or abs(times - round(times)) > 0.05 * times:
        return ""
    return (
        f"The slices of a series lie {usual:.3g} mm apart where their header states "
        f"{stated[0]:.3g} mm: of {round(times)} slices one may be here, the others "
        "missing; sizes follow their places."
    )
