"""The order of slices along the patient."""

from __future__ import annotations

import numpy as np

from tumorlens.imaging.dicom.frames import Frame

_SAME_PLACE_MM = 0.01


def repeats_place(frames: list[Frame]) -> bool:
    """Tell whether two of these frames lie in one place."""
    depths = _depths(frames)
    return depths is not None and bool(
        np.any(np.diff(np.sort(depths)) < _SAME_PLACE_MM)
    )


def sort_slices(frames: list[Frame]) -> tuple[list[Frame], int]:
    """Sort along the normal, and count what repeats a place."""
    depths = _depths(frames)
    if depths is None:
        ordered = sorted(
            frames, key=lambda x: (x.number, x.slice.source, x.slice.index)
        )
        return ordered, 0
    pairs = sorted(zip(depths, frames, strict=True), key=lambda x: (x[0], x[1].number))
    kept = [pairs[0]]
    for pair in pairs[1:]:
        if pair[0] - kept[-1][0] >= _SAME_PLACE_MM:
            kept.append(pair)
    return [item for _, item in kept], len(pairs) - len(kept)


def _depths(frames: list[Frame]) -> list[float] | None:
    """Place of each along the first one's normal, in mm; None where one has none."""
    first = frames[0].slice.placement
    if first is None:
        return None
    depths = []
    for item in frames:
        place = item.slice.placement
        if place is None:
            return None
        depths.append(float(np.dot(place.origin, first.normal)))
    return depths
