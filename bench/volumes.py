"""Drawn scans: a stack of heads as a NIfTI file."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np

from bench.pictures import draw_head

SIZE = 256
SPACING_MM = (0.9, 0.9, 1.2)

_DIFFERENT = 20


def write_volume(path: Path, slices: int) -> Path:
    """Write an axial scan, every slice of which shows brain.

    Parameters
    ----------
    path
        Ends in ``.nii.gz``.
    slices
        How many; the middle fifth shows a bright disc. Their content repeats
        after 20.

    Returns
    -------
    Path
        The same: int16, indexed column, row, slice.
    """
    heads = {
        (seed, lesion): cv2.resize(
            draw_head(seed, lesion), (SIZE, SIZE), interpolation=cv2.INTER_AREA
        )
        for seed in range(_DIFFERENT)
        for lesion in (False, True)
    }
    voxels = np.empty((SIZE, SIZE, slices), np.int16)
    for index in range(slices):
        lesion = abs(index + 0.5 - slices / 2) < slices / 10
        voxels[:, :, index] = heads[index % _DIFFERENT, lesion].T
    # From the patient's right and front, as the rows and columns of a slice go.
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path
