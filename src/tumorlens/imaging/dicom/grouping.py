"""DICOM files become series: copies drop out, acquisitions part, slices are sorted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from tumorlens.errors import InputError, MissingFileError, TooLargeError
from tumorlens.imaging.dicom.frames import STRONG_TRAITS, TRAITS, Frame, frames_of
from tumorlens.imaging.dicom.header import numbers, patient_of, text
from tumorlens.imaging.dicom.order import (
    SAME_PLACE_MM,
    depths,
    distinct_seats,
    gap_note,
    places_of,
    repeats_place,
    sort_slices,
    without_place,
)
from tumorlens.imaging.dicom.words import LOCALISER
from tumorlens.imaging.limits import MAX_STUDY_PIXELS, BrokenFiles, check_unpacked
from tumorlens.imaging.preprocess.framing import are_inverted
from tumorlens.imaging.study import Series, Study, left_out

_SAME_WAY = 0.01
_CROSSED = 0.7
"""Cosine between two normals below which slices cross rather than tilt."""

_LEAST_STACK = 3
"""Slices of an acquisition that lies among another's, not in the same places."""

_LOCALISER_SLICES = 15
"""A localiser has at most so many in each of its three planes."""

_LEAST_LOCALISER_SLICES = 5
"""The same, where they share their name with a stack."""

_DENSE = 0.75
"""Distance of slices over the one that the header states: below, there are more
acquisitions than one."""

_PAIRED = 0.25
_LEAST_PAIRED, _MOST_PAIRED = 0.4, 0.85
"""Share of distances that are under a quarter of the longest: slices lie in pairs or
fives; more are a stack with a gap."""

_MOST_REPETITIONS = 20
"""Acquisitions in one place; phases of a contrast agent, or echoes, are fewer."""

_DYNAMIC = "functional, perfusion or diffusion series"

_EVEN = 0.1
"""Share of their mean by which the distances of a regular stack differ."""


NEGATIVE = (
    "The greys of a series are inverted (air is white), which its header does not say; "
    "they were turned round."
)


def read_dicom(data: bytes, name: str) -> Study:
    """Read one DICOM file: a slice, or the frames of a multi-frame file.

    Size and content are checked from the header before any pixel is decoded.
    Values are rescaled (modality), not windowed; MONOCHROME1 is inverted.

    Parameters
    ----------
    data
        The whole file, with or without preamble.
    name
        The name of the file, for messages and for `Slice.source`.

    Returns
    -------
    Study
        One series; several where a multi-frame file mixes them.

    Raises
    ------
    DamagedFileError
        Where it is cut off, broken, or no decoder for it is installed.
    TooLargeError, TooSmallError
        Where a limit is passed.
    InputError
        Where it is no MR slice of a head, with the reason.
    """
    arranged = arrange(frames_of(data, name))
    if not arranged.series:
        raise arranged.failures[0][1]
    return Study(arranged.series, arranged.notes)


def gather_series(
    files: Iterable[tuple[str, bytes]], broken: BrokenFiles | None = None
) -> tuple[Study, tuple[tuple[str, InputError], ...]]:
    """Read DICOM files that may belong to several series.

    Parameters
    ----------
    files
        Name and bytes of each; taken one by one.
    broken
        Cost so far of other broken files of the same study.

    Returns
    -------
    study
        Series in the order of their first file; what was left out is a note.
    failures
        Name and error of each file that was left out.

    Raises
    ------
    InputError
        Where no file can be used: the first file's error.
    TooLargeError
        Where all slices together pass a limit (see `limits`).
    TooManyBrokenError
        Where the broken files cost too much.
    """
    frames: list[Frame] = []
    failures: list[tuple[str, InputError]] = []
    broken = broken or BrokenFiles("The study")
    total = size = 0
    for name, data in files:
        size += len(data)
        of_file: list[Frame] = []
        with broken.passing_over(name, failures):
            of_file = frames_of(data, name)
        total += sum(item.slice.pixels.size for item in of_file)
        if total > MAX_STUDY_PIXELS:
            raise TooLargeError(
                f"The study holds more than {MAX_STUDY_PIXELS // 10**6} million "
                f"pixels, up to {name}.",
                "Give one series at a time.",
            )
        check_unpacked(total, 4, size, f"The study up to {name}")
        frames += of_file
    if not frames:
        raise failures[0][1] if failures else MissingFileError("There is no file.")
    arranged = arrange(frames)
    if not arranged.series:
        raise arranged.failures[0][1]
    notes = (*arranged.notes, *left_out(failures))
    return Study(arranged.series, notes), (*failures, *arranged.failures)


class Arranged(NamedTuple):
    """Frames, sorted into series.

    Parameters
    ----------
    series
        Each of one direction and size, its slices indexed from 0.
    notes
        Notes of what was set aside, parted or ordered by a guess; full sentences.
    failures
        Name and error of each file of which all frames were set aside.
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...]
    failures: tuple[tuple[str, InputError], ...]


def arrange(frames: Sequence[Frame]) -> Arranged:
    """Sort frames into series, and each series along the patient.

    Copies drop out first. What then makes frames different acquisitions parts them:
    identifiers, size and direction, contrast, echo, part of the signal, time. What is
    not to be judged is set aside.

    Parameters
    ----------
    frames
        At least one frame, of any files.
    """
    notes: list[str] = []
    kept = _without_copies(frames)
    if len(kept) < len(frames):
        count = len(frames) - len(kept)
        repeat = "slice repeats" if count == 1 else "slices repeat"
        notes.append(f"{count} {repeat} another, pixel by pixel, and left the series.")
    kept, asides = _set_aside(_one_name(kept, notes))
    stacks: list[list[Frame]] = []
    repeated: set[int] = set()
    for named in _split(kept, lambda frame: frame.series):
        parts: list[list[Frame]] = []
        for turned in _by_direction(named):
            taken = _acquisitions(turned, notes)
            if _MOST_REPETITIONS < len(taken) < len(turned):
                reason = f"is of one of {len(taken)} repetitions of a {_DYNAMIC}"
                asides += [(frame, reason) for frame in turned]
                repeated |= {id(frame) for frame in turned}
            else:
                parts += taken
        if len(parts) > 1:
            notes.append(
                "A series holds several directions, echoes, contrasts or time points; "
                f"it was split into {len(parts)}."
            )
        for part in parts:
            ordered, note = sort_slices(part)
            notes += [item for item in (note, gap_note(ordered)) if item]
            stacks.append(ordered)
    series: list[Series] = []
    for ordered in _without_copied_stacks(stacks, notes):
        if _is_negative(ordered):
            notes.append(NEGATIVE)
            series.append(_series(_turned_round(ordered)))
        else:
            series.append(_series(ordered))
    used = {id(frame.header) for frame in kept if id(frame) not in repeated}
    failures = {
        frame.slice.source: InputError(
            f"{frame.slice.source} {reason}.", "Give a diagnostic series of the head."
        )
        for frame, reason in asides
        if id(frame.header) not in used
    }
    coloured = sum(frame.slice.colorfulness > 0.0 for frame in kept)
    if coloured:
        which = "slice is" if coloured == 1 else "slices are"
        notes.append(
            f"{coloured} {which} in colour. The model sees brightness alone, so "
            "marks, a colour map or another program's result laid over a slice change "
            "the answer."
        )
    for reason, count in Counter(reason for _, reason in asides).items():
        each = (
            "slice was set aside: it" if count == 1 else "slices were set aside: each"
        )
        notes.append(f"{count} {each} {reason}.")
    return Arranged(tuple(series), tuple(dict.fromkeys(notes)), tuple(failures.items()))


_Item = TypeVar("_Item")


def _split(
    items: Iterable[_Item], key: Callable[[_Item], Hashable]
) -> list[list[_Item]]:
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _without_copies(frames: Sequence[Frame]) -> list[Frame]:
    """Drop frames that repeat another: the same pixels, traits, and name or place."""
    kept: list[Frame] = []
    seen: defaultdict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        traits = tuple(
            value
            for trait, value in frame.traits.items()
            if trait != "patient" and not trait.startswith("acquisition")
        )
        place: Hashable = (frame.position, frame.direction)
        if frame.position is None:
            place = (frame.number, frame.seats)
        key = (frame.series, traits, place)
        if any(_equal(frame, other) for other in seen[key]):
            continue
        seen[key].append(frame)
        kept.append(frame)
    return kept


def _without_copied_stacks(
    stacks: list[list[Frame]], notes: list[str]
) -> list[list[Frame]]:
    """Drop stacks that another one holds whole, under another name."""
    kept: list[list[Frame]] = []
    for stack in sorted(stacks, key=len, reverse=True):
        if any(_holds(other, stack) for other in kept):
            notes.append(
                f"A series of {len(stack)} repeats another, pixel by pixel, under "
                "another name; it was left out."
            )
        else:
            kept.append(stack)
    return [stack for stack in stacks if any(stack is item for item in kept)]


def _holds(stack: Sequence[Frame], part: Sequence[Frame]) -> bool:
    """Tell whether each frame of a part, of several, is in a stack, in its place."""
    by_place = {frame.position: frame for frame in stack}
    if len(part) < 2 or None in by_place:
        return False
    for frame in part:
        other = by_place.get(frame.position)
        if other is None or _taken_otherwise(frame, other):
            return False
        if not np.array_equal(frame.slice.pixels, other.slice.pixels):
            return False
    return True


def _taken_otherwise(one: Frame, two: Frame) -> bool:
    """Tell whether two frames differ in more than their names and times."""
    return any(
        one.traits[trait] != two.traits[trait]
        for trait in TRAITS
        if trait not in ("patient", "series") and not trait.startswith("acquisition")
    )


def _equal(one: Frame, two: Frame) -> bool:
    same_name = one.uid == two.uid and one.slice.index == two.slice.index
    # Two blank slices whose place nobody knows may both belong to the series.
    if not same_name and (one.position is None or one.slice.index != two.slice.index):
        return False
    return np.array_equal(one.slice.pixels, two.slice.pixels)


def _one_name(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Give files one name that only their anonymiser named apart.

    Some replace the series' identifier anew in each file. Files that agree in all
    else that names a series, each alone in its own, are one.
    """
    frames = _with_one_number(frames, notes)
    sizes = Counter(frame.series for frame in frames)
    alone = [frame for frame in frames if sizes[frame.series] == 1 and not frame.aside]
    renamed: dict[int, tuple[str, ...]] = {}
    groups = _split(alone, _other_names)
    # Where a series' time differs in each file too, it names none.
    timed = {id(frame) for group in groups if len(group) > 1 for frame in group}
    untimed = [frame for frame in alone if id(frame) not in timed]
    groups += _split(untimed, lambda frame: _other_names(frame, is_timed=False))
    for group in groups:
        for turned in _by_direction(group):
            if len(turned) < _LEAST_STACK:
                continue
            # Without a number of the series only a regular stack is proof enough.
            numbered = text(turned[0].header, "SeriesNumber") != ""
            apart = distinct_seats(turned) is not None or not repeats_place(turned)
            if not (numbered and apart) and not _lies_evenly(turned):
                continue
            name = ("", *(str(x) for x in _other_names(turned[0])))
            renamed |= {id(frame): name for frame in turned}
            notes.append(
                f"{len(turned)} files name a series of their own each, and agree in "
                "all else; they were taken as one series."
            )
    return [
        replace(frame, series=renamed[id(frame)]) if id(frame) in renamed else frame
        for frame in frames
    ]


def _with_one_number(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Pass over numbers of a series that are missing here and there, or count slices.

    Two numbers under one identifier are two series; a number for each slice is none.
    """
    kept = list(frames)
    for named in _split(frames, lambda frame: frame.series[0]):
        numbers_of = {frame.series[1] for frame in named}
        if not named[0].series[0] or len(numbers_of) == 1:
            continue
        counted = len(numbers_of) == len(named) >= _LEAST_STACK
        counted = counted and all(_lies_evenly(part) for part in _by_direction(named))
        missing = "" in numbers_of and len(numbers_of) == 2
        if not counted and not missing:
            continue
        if counted:
            notes.append(
                f"{len(named)} files of one series have a number of a series of their "
                "own each, which was passed over."
            )
        number = "" if counted else max(numbers_of)
        places = {id(frame) for frame in named}
        kept = [
            replace(frame, series=(frame.series[0], number, *frame.series[2:]))
            if id(frame) in places
            else frame
            for frame in kept
        ]
    return kept


def _other_names(frame: Frame, *, is_timed: bool = True) -> tuple[Hashable, ...]:
    header = frame.header
    return (
        *(text(header, x) for x in ("PatientID", "SeriesNumber", "SeriesDescription")),
        frame.traits["series"] if is_timed else "",
        *(frame.traits[x] for x in ("echo", "kind", "repetition", "flip")),
        frame.slice.pixels.shape,
    )


def _set_aside(
    frames: list[Frame],
) -> tuple[list[Frame], list[tuple[Frame, str]]]:
    """Part what is to be judged from what is not, with the reason of each."""
    kept: list[Frame] = []
    asides: list[tuple[Frame, str]] = []
    planning = {frame.series for frame in frames if frame.aside == LOCALISER}
    # Anonymisers give all series one identifier: what a series calls itself counts.
    for named in _split(frames, lambda frame: (frame.series, _called(frame))):
        # What was taken with a localiser is one, whatever it calls itself.
        whole = any(frame.aside == LOCALISER for frame in named) or (
            named[0].series in planning and len(named) <= _LEAST_LOCALISER_SLICES
        )
        crossed = set() if whole else _crossed_planes(named)
        for frame in named:
            reason = LOCALISER if whole or id(frame) in crossed else frame.aside
            if reason:
                asides.append((frame, reason))
            else:
                kept.append(frame)
    return kept, asides


def _called(frame: Frame) -> str:
    return text(frame.header, "SeriesDescription").casefold()


def _crossed_planes(frames: Sequence[Frame]) -> set[int]:
    """Find the frames of a series that look at the head from three sides, a few each.

    Returns
    -------
    set of int
        `id` of each such frame; empty where there are none.
    """
    directions = _by_direction(frames)
    few = [group for group in directions if len(group) <= _LOCALISER_SLICES]
    if len(few) < len(directions):
        # Beside a stack, three stacks of its own may stand in the other planes.
        few = [group for group in few if len(group) <= _LEAST_LOCALISER_SLICES]
    normals = [
        np.cross(way[:3], way[3:])
        for way in (group[0].direction for group in few)
        if way is not None
    ]
    crossed = [
        normal
        for index, normal in enumerate(normals)
        if all(abs(float(normal @ other)) < _CROSSED for other in normals[:index])
    ]
    if len(normals) < len(few) or len(crossed) < 3:
        return set()
    return {id(frame) for group in few for frame in group}


def _by_direction(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Split by size and direction; rounding in the header must not split."""
    groups: list[list[Frame]] = []
    for item in frames:
        for group in groups:
            if _alike(item, group[0]):
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


def _alike(one: Frame, two: Frame) -> bool:
    if one.slice.pixels.shape != two.slice.pixels.shape:
        return False
    spacing, other = one.slice.spacing_mm, two.slice.spacing_mm
    if spacing and other and not np.allclose(spacing, other, rtol=_SAME_WAY):
        return False
    first, second = one.direction, two.direction
    if first is None or second is None:
        return first is second
    return float(np.abs(np.subtract(first, second)).max()) < _SAME_WAY


def _acquisitions(frames: list[Frame], notes: list[str]) -> list[list[Frame]]:
    """Part the acquisitions of one direction that share a name."""
    frames = _without_wrong_places(_with_mended_places(frames, notes), notes)
    groups = [frames]
    for trait in STRONG_TRAITS:
        groups = [part for group in groups for part in _by_strong_trait(group, trait)]
    for trait in TRAITS:
        groups = [
            part
            for group in groups
            for part in (
                _by_strong_trait(group, trait) if _is_too_dense(group) else [group]
            )
        ]
    groups = [part for group in groups for part in _by_repeated_number(group)]
    groups = [part for group in groups for part in _by_runs(group)]
    for trait in TRAITS:
        if not any(_repeats(group) for group in groups):
            return groups
        groups = [part for group in groups for part in _by_trait(group, trait)]
    return [part for group in groups for part in _by_rank(group, notes)]


def _is_too_dense(frames: Sequence[Frame]) -> bool:
    """Tell whether slices lie nearer to each other than their header says, or in pairs.

    Slices of one acquisition that overlap are told from two acquisitions by what is
    then tried: each part has to be a regular stack of its own.
    """
    along = depths(frames)
    if along is None or len(frames) < 2 * _LEAST_STACK:
        return False
    header = frames[0].header
    stated = numbers(header, "SpacingBetweenSlices", 1)
    stated = stated or numbers(header, "SliceThickness", 1)
    steps = np.diff(np.sort(along))
    near = float((steps < _PAIRED * steps.max()).mean())
    if _LEAST_PAIRED < near < _MOST_PAIRED:
        return True
    usual = float(np.median(steps))
    return stated is not None and 0.0 < usual < _DENSE * abs(stated[0])


def _by_runs(frames: list[Frame]) -> list[list[Frame]]:
    """Part acquisitions whose numbers go on: places that run on, then jump back."""
    along = depths(frames)
    counts = Counter(frame.seats[-1] for frame in frames)
    if along is None or None in counts or len(counts) < len(frames):
        return [frames]
    if not _is_too_dense(frames):
        return [frames]
    order = np.argsort([frame.seats[-1] or 0.0 for frame in frames], kind="stable")
    steps = np.diff(along[order])
    way = np.sign(np.median(steps))
    breaks = np.flatnonzero(np.sign(steps) != way) + 1
    parts = [
        [frames[int(index)] for index in run] for run in np.split(order, list(breaks))
    ]
    return parts if all(_is_stack(part) for part in parts) else [frames]


def _by_repeated_number(frames: list[Frame]) -> list[list[Frame]]:
    """Part acquisitions that lie among each other and count their slices alike."""
    counts = Counter(frame.seats[-1] for frame in frames)
    if None in counts or len(set(counts.values())) > 1 or not _is_too_dense(frames):
        return [frames]
    ranks: Counter[float | None] = Counter()
    parts: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[ranks[frame.seats[-1]]].append(frame)
        ranks[frame.seats[-1]] += 1
    stacks = list(parts.values())
    return stacks if all(_is_stack(part) for part in stacks) else [frames]


def _with_mended_places(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Put a slice where its number belongs, whose position contradicts all others.

    Places and numbers of a stack lie on a line. A position that is off it, and puts
    its slice among or over others, was left over from another slice or never written.
    """
    count = len(frames)
    along = depths(frames)
    seat = distinct_seats(frames)
    if along is None or seat is None or frames[0].direction is None:
        return frames
    if count < _LEAST_LINE:
        return frames
    values = np.array([frame.seats[seat] for frame in frames], np.float64)
    order = np.argsort(values)
    steps = np.diff(along[order]) / np.diff(values[order])
    slope = float(np.median(steps))
    if slope == 0.0:
        return frames
    start = float(np.median(along - slope * values))
    usual = float(np.median(np.abs(np.diff(along[order]))))
    off = np.abs(along - (start + slope * values)) > 0.5 * usual
    right = np.flatnonzero(~off)
    wrong = np.flatnonzero(off)
    if not 0 < wrong.size <= max(1, count // _MOST_WRONG):
        return frames
    # Where the order agrees all the same, slices are only unevenly apart.
    sorted_along = np.sign(slope) * along[order]
    if (np.diff(sorted_along) > SAME_PLACE_MM).all():
        return frames
    # Each has to fill a hole: one slice taken again is numbered behind the others.
    meant = start + slope * values[wrong]
    inside = (meant > along[right].min()) & (meant < along[right].max())
    nearest = np.abs(meant[:, None] - along[right]).min(axis=1)
    if not inside.all() or nearest.min() < 0.75 * usual:
        return frames
    stated = np.array([frame.position for frame in frames], np.float64)
    line = np.polynomial.polynomial.polyfit(values[right], stated[right], 1)
    mended = list(frames)
    for index in wrong:
        x, y, z = (float(item) for item in line[0] + values[index] * line[1])
        frame = frames[index]
        place = frame.slice.placement
        if place is not None:
            place = replace(place, origin=(x, y, z))
        mended[index] = replace(
            frame, position=(x, y, z), slice=replace(frame.slice, placement=place)
        )
    state = "states" if wrong.size == 1 else "state"
    notes.append(
        f"{wrong.size} of {count} slices {state} a position that contradicts all "
        "others; "
        "each was put where its number belongs."
    )
    return mended


_LEAST_LINE = 8
_MOST_WRONG = 10
"""One in so many slices may state a wrong position."""


def _without_wrong_places(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Take places away that cannot be right: one for all slices, or two slices in one.

    Repeats are right where acquisitions lie over each other, which a trait tells.
    """
    places = places_of(frames)
    if places is None or len(set(places)) == len(frames):
        return frames
    parted = [frames]
    for trait in TRAITS:
        if not trait.startswith("acquisition"):
            parted = [part for group in parted for part in _by_trait(group, trait)]
    if not any(_repeats(part) for part in parted):
        return frames
    located = [frame.seats[0] for frame in frames]
    apart = None not in located and len(set(located)) == len(frames)
    if not apart and len(set(places)) > 1:
        return frames
    notes.append(
        f"{len(frames)} slices of a series state the same positions in the patient, "
        "which cannot be right; their places were taken as unknown."
    )
    return without_place(frames)


def _repeats(frames: Sequence[Frame]) -> bool:
    """Tell whether frames lie over each other, by their places, else their numbers."""
    if depths(frames) is not None:
        return repeats_place(frames)
    if len(frames) < 2 or distinct_seats(frames) is not None:
        return False
    # One number for all slices counts nothing.
    return _numbered(frames) and len({frame.seats[-1] for frame in frames}) > 1


def _numbered(frames: Sequence[Frame]) -> bool:
    return all(frame.seats[-1] is not None for frame in frames)


def _by_trait(frames: list[Frame], trait: str) -> list[list[Frame]]:
    """Split by a trait that tells apart what lies in one place, and little else."""
    if not _repeats(frames):
        return [frames]
    parts = _split(frames, lambda frame: frame.traits[trait])
    # A trait that is another in each slice says nothing of acquisitions.
    if not 1 < len(parts) <= 2 * _layers(frames):
        return [frames]
    return parts


def _layers(frames: Sequence[Frame]) -> int:
    """Count how many frames lie in the fullest place."""
    places: Sequence[Hashable] | None = places_of(frames)
    if places is None:
        places = [frame.seats[-1] for frame in frames]
    return max(Counter(places).values())


def _by_strong_trait(frames: list[Frame], trait: str) -> list[list[Frame]]:
    """Split acquisitions that lie among each other, not in the same places.

    Each has to be a regular stack by itself: a tag that is another here and there
    parts nothing.
    """
    if _repeats(frames):
        return _by_trait(frames, trait)
    parts = _split(frames, lambda frame: frame.traits[trait])
    if len(parts) < 2 or not all(_is_stack(part) for part in parts):
        return [frames]
    return parts if _interleaved(parts) else [frames]


def _is_stack(frames: Sequence[Frame]) -> bool:
    if len(frames) < _LEAST_STACK:
        return False
    return depths(frames) is None or _lies_evenly(frames)


def _lies_evenly(frames: Sequence[Frame]) -> bool:
    along = depths(frames)
    if along is None:
        return False
    steps = np.diff(np.sort(along))
    mean = float(steps.mean())
    return mean > 0.0 and bool(np.abs(steps - mean).max() <= _EVEN * mean)


def _interleaved(parts: Sequence[Sequence[Frame]]) -> bool:
    """Tell whether stacks overlap along the patient; true where nobody knows."""
    reaches = []
    for part in parts:
        along = depths(part)
        if along is None:
            return True
        reaches.append((float(along.min()), float(along.max())))
    reaches.sort()
    return all(two[0] < one[1] for one, two in pairwise(reaches))


def _by_rank(frames: list[Frame], notes: list[str]) -> list[list[Frame]]:
    """Part what still lies in one place: the first at each, the second at each, ..."""
    if not _repeats(frames):
        return [frames]
    places: Sequence[Hashable] | None = places_of(frames)
    if places is None:
        places = [frame.seats[-1] for frame in frames]
    pairs = sorted(
        zip(frames, places, strict=True),
        key=lambda pair: (pair[0].number, pair[0].traits["acquisition time"]),
    )
    ranks: Counter[Hashable] = Counter()
    parts: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame, place in pairs:
        parts[ranks[place]].append(frame)
        ranks[place] += 1
    if len({len(part) for part in parts.values()}) > 1:
        extra = sum(len(part) for rank, part in parts.items() if rank)
        notes.append(
            f"{extra} of {len(frames)} slices of a series lie where another one lies "
            "and differ from it; they were put into a series of their own."
        )
    return list(parts.values())


def _is_negative(frames: Sequence[Frame]) -> bool:
    """Tell whether most slices show white air, though no tag says so."""
    declared = text(frames[0].header, "PhotometricInterpretation") == "MONOCHROME1"
    # One slice is no reason to doubt what a header says of its greys.
    if declared and len(frames) < _LEAST_STACK:
        return False
    return are_inverted([frame.slice.pixels for frame in frames])


def _turned_round(frames: Sequence[Frame]) -> list[Frame]:
    top = max(float(frame.slice.pixels.max()) for frame in frames)
    top += min(float(frame.slice.pixels.min()) for frame in frames)
    inverted_frames = []
    for frame in frames:
        window = frame.slice.window
        if window is not None:
            window = top - window[1], top - window[0]
        pixels = np.float32(top) - frame.slice.pixels
        inverted_frames.append(
            replace(frame, slice=replace(frame.slice, pixels=pixels, window=window))
        )
    return inverted_frames


def _series(frames: Sequence[Frame]) -> Series:
    return Series(
        slices=tuple(
            replace(item.slice, index=index) for index, item in enumerate(frames)
        ),
        description=text(frames[0].header, "SeriesDescription"),
        sequence=frames[0].slice.sequence,
        headers=tuple(item.header for item in frames),
        frames=tuple(item.slice.index for item in frames),
        patient=patient_of(frames[0].header),
    )
