"""Many DICOM files become series, each sorted along the patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from tumorlens.errors import InputError, MissingFileError, TooLargeError
from tumorlens.imaging.dicom.frames import Frame, frames_of
from tumorlens.imaging.dicom.header import text
from tumorlens.imaging.dicom.order import repeats_place, sort_slices
from tumorlens.imaging.limits import MAX_STUDY_PIXELS, BrokenFiles, check_unpacked
from tumorlens.imaging.study import Series, Study

_SAME_WAY = 0.01


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
    series, notes = arrange(frames_of(data, name))
    return Study(series, notes)


def gather_series(
    files: Iterable[tuple[str, bytes]], broken: BrokenFiles | None = None
) -> tuple[Study, tuple[tuple[str, InputError], ...]]:
    """Read DICOM files that may belong to several series.

    Parameters
    ----------
    files
        Name and bytes of each; taken one by one.
    broken
        What other files of the same study have cost already.

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
    series, notes = arrange(frames)
    return Study(series, (*notes, *left_out(failures))), tuple(failures)


def left_out(failures: Iterable[tuple[str, InputError]]) -> tuple[str, ...]:
    """Say how many files were left out and why, without their names."""
    reasons = Counter(
        error.message.removeprefix(name).strip() for name, error in failures
    )
    return tuple(
        f"{count} {'file was' if count == 1 else 'files were'} left out: it {reason}"
        for reason, count in reasons.most_common(10)
    )


def arrange(frames: list[Frame]) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """Sort frames into series, and each series along the patient.

    Parameters
    ----------
    frames
        At least one, of any files.

    Returns
    -------
    series
        Each of one orientation and size, its slices indexed from 0.
    notes
        What was split or dropped.
    """
    series: list[Series] = []
    notes: list[str] = []
    for uid_group in _split(frames, lambda item: item.series):
        parts = [
            part
            for turned in _by_orientation(uid_group)
            for part in _without_repeats(turned)
        ]
        if len(parts) > 1:
            notes.append(
                "A series holds several orientations, echoes or time points; "
                f"it was split into {len(parts)}."
            )
        for part in parts:
            kept, dropped = sort_slices(part)
            if dropped:
                notes.append(
                    f"{dropped} of {len(part)} slices of a series repeat a place; "
                    "the first at each place was used."
                )
            series.append(_series(kept))
    return tuple(series), tuple(notes)


def _split(frames: list[Frame], key: Callable[[Frame], object]) -> list[list[Frame]]:
    groups: dict[object, list[Frame]] = {}
    for item in frames:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _by_orientation(frames: list[Frame]) -> list[list[Frame]]:
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
    first, second = one.slice.placement, two.slice.placement
    if first is None or second is None:
        return first is second
    ways = (
        np.subtract(first.across, second.across),
        np.subtract(first.down, second.down),
    )
    return max(float(np.abs(way).max()) for way in ways) < _SAME_WAY


def _without_repeats(frames: list[Frame]) -> list[list[Frame]]:
    """Split by one trait after the other, as long as places repeat."""
    groups = [frames]
    for trait in range(len(frames[0].traits)):
        if not any(repeats_place(group) for group in groups):
            break
        groups = [
            part
            for group in groups
            for part in (
                _split(group, lambda item: item.traits[trait])  # noqa: B023
                if repeats_place(group)
                else [group]
            )
        ]
    return groups


def _series(frames: list[Frame]) -> Series:
    return Series(
        slices=tuple(
            replace(item.slice, index=index) for index, item in enumerate(frames)
        ),
        description=text(frames[0].header, "SeriesDescription"),
        sequence=frames[0].slice.sequence,
        headers=tuple(item.header for item in frames),
        frames=tuple(item.slice.index for item in frames),
    )
