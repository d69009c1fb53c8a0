"""Place of a slice in the patient.

Tested in `tests/imaging/geometry/test_volume.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Plane(StrEnum):
    """Anatomical plane of a slice."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


Point: TypeAlias = tuple[float, float, float]
"""Left, posterior, superior (LPS) in mm, as DICOM counts (PS3.3 C.7.6.2.1.1)."""

_PLANES = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)


@dataclass(frozen=True)
class Placement:
    """A slice's place in the patient, in LPS millimetres.

    Parameters
    ----------
    origin
        Centre of the pixel in the first row and column.
    across
        Step from a pixel to the next in its row.
    down
        Step from a pixel to the one below it.
    """

    origin: Point
    across: Point
    down: Point

    @classmethod
    def of(
        cls,
        origin: NDArray[np.float64],
        across: NDArray[np.float64],
        down: NDArray[np.float64],
    ) -> Self:
        """Make one of arrays of shape (3,), in LPS mm."""
        return cls(_point(origin), _point(across), _point(down))

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance between rows and between columns, in mm."""
        return float(np.linalg.norm(self.down)), float(np.linalg.norm(self.across))

    @property
    def normal(self) -> NDArray[np.float64]:
        """Shape (3,): unit vector across the slice, right-handed."""
        product = np.cross(self.across, self.down)
        return np.asarray(product / np.linalg.norm(product), np.float64)

    @property
    def plane(self) -> Plane:
        """The anatomical plane that is nearest."""
        return _PLANES[int(np.argmax(np.abs(self.normal)))]

    def at(self, column: float, row: float) -> NDArray[np.float64]:
        """Find a spot of the slice in the patient.

        Parameters
        ----------
        column, row
            Coordinates from 0 at the centre of the first pixel.

        Returns
        -------
        ndarray
            Shape (3,), LPS mm.
        """
        steps = column * np.array(self.across) + row * np.array(self.down)
        return np.asarray(np.array(self.origin) + steps, np.float64)


def _point(values: NDArray[np.float64]) -> Point:
    left, posterior, superior = (float(item) for item in values)
    return left, posterior, superior
