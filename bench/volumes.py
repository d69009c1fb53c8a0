"""A whole series of as many slices as are asked for, from a real healthy head."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import nibabel
import numpy as np

SIZE = 256
SPACING_MM = (0.9, 0.9, 1.2)

_HEAD = "volumes/IXI013-HH-1212-T1_ds.nii.gz"
_BRAIN = (0.45, 0.85)
"""Where every axial slice shows brain, in shares of the series' height."""


def write_volume(path: Path, slices: int) -> Path:
    """Write an axial series, every slice of which shows brain.

    It has to be a real head: drawn ones are refused, and what is refused leaves
    nothing to explain or to write. It is stretched to `SPACING_MM`, so that the
    slices are taken as they were meant.

    Parameters
    ----------
    path
        Ends in ``.nii.gz``.
    slices
        How many.

    Returns
    -------
    Path
        The same: int16, indexed column, row, slice.

    Raises
    ------
    RuntimeError
        The data sets are not on this machine.
    """
    head = Path(os.environ.get("TUMORLENS_DATA", "../shared/data")) / _HEAD
    if not head.exists():
        raise RuntimeError(f"{head} is not there: set TUMORLENS_DATA.")
    image = nibabel.as_closest_canonical(nibabel.load(head))
    whole = np.asarray(image.dataobj, np.float32)
    places = np.linspace(*(share * (whole.shape[2] - 1) for share in _BRAIN), slices)
    voxels = np.empty((SIZE, SIZE, slices), np.int16)
    for index, place in enumerate(places):
        below = int(place)
        above = min(below + 1, whole.shape[2] - 1)
        share = place - below
        flat = whole[:, :, below] * (1.0 - share) + whole[:, :, above] * share
        voxels[:, :, index] = np.rint(cv2.resize(flat, (SIZE, SIZE)))
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*SPACING_MM, 1.0])), path)
    return path
