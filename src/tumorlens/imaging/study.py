"""Study of Series of Slices: the result of reading a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import warn_of_old_name
from tumorlens.imaging.limits import MAX_PIXELS
from tumorlens.imaging.placement import Placement, Plane

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "Corners",
    "MRSequence",
    "PictureView",
    "Plane",
    "Series",
    "Slice",
    "Study",
    "VoxelGrid",
    "stacks_of",
]

MAX_PIXEL_RATIO = 1.1
"""Longer over shorter side of a pixel, above which pictures are made square."""


class MRSequence(StrEnum):
    """Weighting of an MR series, as far as its header states it."""

    T1 = "T1"
    T1_CONTRAST = "T1 with contrast"
    T2 = "T2"
    FLAIR = "FLAIR"
    DIFFUSION = "DWI"
    OTHER = "other"


Corners: TypeAlias = tuple[
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
]
"""Upper left, upper right, lower right and lower left corner: x, then y, in pixels."""


@dataclass(frozen=True)
class PictureView:
    """Part of a picture that is the slice.

    Parameters
    ----------
    corners
        Corners in pixels of the picture, edges of pixels being whole numbers.
    shape
        Rows and columns of the slice once it is cut out and straight.
    inverted
        Whether air is white, so that greys have to be turned round.
    """

    corners: Corners
    shape: tuple[int, int]
    inverted: bool = False

    @property
    def is_box(self) -> bool:
        """True where it can be cut out without turning."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = self.corners
        straight = (y0, x1, y2, x3) == (y1, x2, y3, x0)
        whole = all(float(x).is_integer() for point in self.corners for x in point)
        return straight and whole


@dataclass(frozen=True)
class Slice:
    """One picture of a series.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, in the file's own units, brighter is
        higher.
    source
        The name of the file it came from, as the user knows it.
    index
        Position in the series, from 0.
    spacing_mm
        Distance between rows and between columns in mm; None where the format
        does not say.
    plane
        None where the format does not say.
    colorfulness
        Mean spread between the colour channels, 0 (grey) to 1; MRI is grey.
    placement
        Place in the patient; None where the format does not state it.
    window
        Lowest and highest value that the file asks viewers to tell apart, in the
        units of `pixels`; None where it does not. Only for showing: the model's
        input does not depend on it.
    sequence
        The weighting of its series; None where the format does not say.
    pixel_aspect
        Height over width of a pixel; 1 where the format does not say.
    view
        Part of a picture that is the slice, where it shows more; else None.
    """

    pixels: NDArray[np.float32]
    source: str
    index: int = 0
    spacing_mm: tuple[float, float] | None = None
    plane: Plane | None = None
    colorfulness: float = 0.0
    placement: Placement | None = None
    window: tuple[float, float] | None = None
    sequence: MRSequence | None = None
    pixel_aspect: float = 1.0
    view: PictureView | None = None

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class VoxelGrid:
    """The grid of a volume's file, which its slices were turned from.

    Parameters
    ----------
    shape
        Slices, rows, columns, as the file counts them.
    affine
        Shape (4, 4): (column, row, slice, 1) to LPS mm.
    plane
        Plane in which the volume was sliced.
    placed
        Whether the file says where it lies in the patient.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    plane: Plane
    placed: bool


@dataclass(frozen=True)
class Series:
    """Slices taken together, in order.

    Parameters
    ----------
    slices
        At least one slice; sorted along the patient where their place is known.
    description
        Name that the sender gives. It may name a person: never log or store it.
    sequence
        None where the format does not say.
    headers
        Data set behind each slice of DICOM, in the same order, without
        pixel data (a multi-frame file's stands once for each frame); else
        empty. They name the patient: they are for the results that go back
        into the patient's own study, and are never logged, stored beside a
        result or shown.
    frames
        Frame of its file that each slice of DICOM is, from 0; else empty.
    place_guessed
        Whether the file did not say where the slices lie, and their placements
        follow from the order of its voxels alone.
    grid
        Grid of a volume's file, so that maps can go back onto it; else
        None.
    """

    slices: tuple[Slice, ...]
    description: str = ""
    sequence: MRSequence | None = None
    headers: tuple[Dataset, ...] = field(default=(), repr=False)
    frames: tuple[int, ...] = ()
    place_guessed: bool = False
    grid: VoxelGrid | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Study:
    """All that one file, folder or archive holds.

    Parameters
    ----------
    series
        At least one series.
    notes
        Notes for the user on how it was read, as full sentences (for
        example that only the first frame of an animation was used).
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Every slice of every series, in order."""
        return tuple(item for series in self.series for item in series.slices)

    @property
    def is_pictures(self) -> bool:
        """True where it holds single pictures alone, no series of several slices."""
        return all(len(series.slices) == 1 for series in self.series)


def stacks_of(study: Study) -> Study:
    """Leave single pictures out where there are series beside them.

    Rates of whole series hold for stacks alone; a lone slice beside one is judged
    by itself, or not at all.

    Parameters
    ----------
    study
        Study that was read.

    Returns
    -------
    Study
        The series of several slices, with a note on what was left out; unchanged
        where there is none.
    """
    stacks = tuple(series for series in study.series if len(series.slices) > 1)
    count = len(study.series) - len(stacks)
    if not stacks or not count:
        return study
    what = "1 single picture belongs" if count == 1 else f"{count} pictures belong"
    were = "was" if count == 1 else "were"
    note = f"{what} to no series of several slices, and {were} left out."
    return Study(stacks, (*study.notes, note))


def square_shape(height: int, width: int, aspect: float) -> tuple[int, int]:
    """Count the rows and columns of a picture once its pixels are square.

    Parameters
    ----------
    height, width
        The picture's, in pixels.
    aspect
        Height over width of a pixel.

    Returns
    -------
    tuple of int
        The finer side stays, unless the picture would pass `limits.MAX_PIXELS`;
        unchanged where pixels are nearly square.
    """
    if 1.0 / MAX_PIXEL_RATIO <= aspect <= MAX_PIXEL_RATIO:
        return height, width
    if height * width * max(aspect, 1.0 / aspect) > MAX_PIXELS:
        if aspect > 1.0:
            return height, max(1, round(width / aspect))
        return max(1, round(height * aspect)), width
    if aspect > 1.0:
        return round(height * aspect), width
    return height, round(width / aspect)


def __getattr__(name: str) -> object:
    if name != "Sequence":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_of_old_name("Sequence", "MRSequence")
    return MRSequence
