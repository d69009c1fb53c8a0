"""What a file becomes: a Study of Series of Slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Plane(StrEnum):
    """Anatomical plane of a slice."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


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
    """

    pixels: NDArray[np.float32]
    source: str
    index: int = 0
    spacing_mm: tuple[float, float] | None = None
    plane: Plane | None = None
    colorfulness: float = 0.0

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class Series:
    """Slices taken together, in order."""

    slices: tuple[Slice, ...]
    description: str = ""


@dataclass(frozen=True)
class Study:
    """All that one file, folder or archive holds.

    Parameters
    ----------
    series
        At least one.
    notes
        What a user should know about how it was read, as full sentences (for
        example that only the first frame of an animation was used).
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Every slice of every series, in order."""
        return tuple(item for series in self.series for item in series.slices)
