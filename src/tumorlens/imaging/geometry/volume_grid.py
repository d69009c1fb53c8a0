"""Place of a grid of voxels in the patient, as its affine states it.

Tested in `tests/imaging/geometry/test_volume.py`.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.placement import Plane

LPS_TO_RAS: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM counts towards left and posterior, NIfTI towards right and anterior."""

MAX_SKEW = 0.01
"""Cosine between two axes of a grid: 0.6 degrees off the right angle."""

NEAR_ISOTROPIC = 1.3
"""Largest over smallest spacing, below which no plane was the acquired one."""

_ACROSS = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}
"""The LPS axis that a plane's slices follow each other on."""


def skew(affine: NDArray[np.float64]) -> float:
    """Largest cosine between two axes of a grid: 0 where all are at right angles."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(steps.T @ steps - np.eye(3)).max())


def nearest_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """Find the grid's axis that runs most nearly along each of the patient's.

    Parameters
    ----------
    affine
        Shape (4, 4), as `Volume.affine` or `Volume.affine_ras` gives it.

    Returns
    -------
    tuple
        Axes left-right, front-back and down-up: 0 for the columns' axis, 1 for
        the rows', 2 for the slices'. Each stands once.
    """
    steps = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    left, front, up = max(
        permutations((0, 1, 2)),
        key=lambda order: float(np.prod([steps[w, a] for w, a in enumerate(order)])),
    )
    return left, front, up


def acquired_plane(
    spacing: tuple[float, float, float], affine: NDArray[np.float64]
) -> Plane:
    """Guess in which plane a block of voxels was taken: across its widest step.

    Parameters
    ----------
    spacing
        Between slices, rows and columns, in mm, as `Volume.spacing_mm`.
    affine
        Shape (4, 4), as `Volume.affine`.

    Returns
    -------
    Plane
        Axial where the spacings are near each other (ratio below 1.3).
    """
    if max(spacing) < NEAR_ISOTROPIC * min(spacing):
        return Plane.AXIAL
    return plane_across(2 - int(np.argmax(spacing)), affine)


def plane_across(axis: int, affine: NDArray[np.float64]) -> Plane:
    """Name the plane that an axis of the grid (0 columns, 1 rows, 2 slices) crosses."""
    world = nearest_axes(affine).index(axis)
    return next(plane for plane, across in _ACROSS.items() if across == world)
