"""A scan seen in three planes, where its voxels allow it."""

from __future__ import annotations

from enum import StrEnum

from tumorlens.imaging.geometry.volume import Volume, series_of, volume_of
from tumorlens.imaging.placement import Plane
from tumorlens.imaging.study import Series

MAX_SPACING_RATIO = 1.5
"""Longest over shortest spacing up to which a volume is seen in other planes.
Beyond it the other planes look like no slice that the model was trained on."""

NO_STACK = (
    "Only the acquired plane was judged: the slices are no regular stack whose place "
    "in the patient is known."
)
UNEVEN = (
    "Only the acquired plane was judged: the voxels measure {spacing} mm, and other "
    "planes need sides that differ by a factor of at most {ratio}."
)


class Planes(StrEnum):
    """In which planes a scan is judged."""

    ACQUIRED = "acquired"
    ALL = "all"


def sliceable(series: Series) -> tuple[Volume | None, str]:
    """Make a series a block that can be seen in every plane.

    Parameters
    ----------
    series
        Slices in order.

    Returns
    -------
    volume, reason
        The block; or None, and why the series can only be seen as acquired.
    """
    volume = volume_of(series)
    if volume is None or series.slices[0].plane is None:
        return None, NO_STACK
    if max(volume.spacing_mm) > MAX_SPACING_RATIO * min(volume.spacing_mm):
        spacing = " x ".join(f"{item:.2g}" for item in volume.spacing_mm)
        return None, UNEVEN.format(spacing=spacing, ratio=MAX_SPACING_RATIO)
    return volume, ""


def other_planes(volume: Volume, series: Series) -> list[tuple[Plane, Series]]:
    """Slice a block in the two planes in which it was not acquired.

    Parameters
    ----------
    volume, series
        From `sliceable`, and as it was acquired.

    Raises
    ------
    TooSmallError, TooLargeError, InputError
        Where slices in another plane pass a limit, as `volume.check_view`.
    """
    own, source = series.slices[0].plane, series.slices[0].source
    return [
        (plane, series_of(volume, plane, source)) for plane in Plane if plane is not own
    ]
