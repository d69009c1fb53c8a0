"""Drawn heads as whole scans: a scalp, a brain with texture, and a lesion or none."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

EDGE_MM = 4.0
SHAPE = (40, 48, 40)
"""Slices from the feet up, rows from front to back, columns from right to left."""
LESION = (25, 16, 12)
RADIUS = 5.0


def draw_head(
    lesion: tuple[int, int, int] | None = None, seed: int = 0
) -> NDArray[np.float32]:
    """Draw an upright head: shape `SHAPE`, float32, 0 to 255."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    ball = np.sqrt(((z - 20) / 17) ** 2 + ((y - 24) / 22) ** 2 + ((x - 20) / 17) ** 2)
    # A nose, so that front and back differ.
    nose = ((z - 14) ** 2 + (y - 2) ** 2 + (x - 20) ** 2) < 9
    head = np.where((ball < 1) | nose, 150.0, 0.0)
    head[ball < 0.88] = 90.0
    texture = np.stack(
        [cv2.GaussianBlur(item, (0, 0), 2) for item in rng.normal(0, 25, SHAPE)]
    )
    head += np.where(ball < 0.88, texture, 0)
    if lesion is not None:
        head[inside(lesion) > 0] = 245.0
    head += rng.normal(0, 2, SHAPE)
    return np.clip(head, 0, 255).astype(np.float32)


def inside(lesion: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The lesion's outline: shape `SHAPE`, uint8, 1 inside."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    far = (z - lesion[0]) ** 2 + (y - lesion[1]) ** 2 + (x - lesion[2]) ** 2
    return (far <= RADIUS**2).astype(np.uint8)


def save_volume(voxels: NDArray[np.float32], path: Path) -> Path:
    """Write an upright head as NIfTI."""
    affine = np.diag([-EDGE_MM, -EDGE_MM, EDGE_MM, 1.0])
    image = nibabel.Nifti1Image(np.transpose(voxels, (2, 1, 0)), affine)
    nibabel.save(image, path)
    return path


def draw_set(folder: Path, patients: int = 6) -> Path:
    """A manifest of drawn scans, half of them with a lesion and its outline."""
    with (folder / "volumes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient", "mask", "split", "source", "part"))
        for number in range(patients):
            split = ("train", "train", "train", "validation", "validation", "test")[
                number % 6
            ]
            for label, spot in (("glioma", LESION), ("no_tumor", None)):
                name = f"{label}{number}"
                head = draw_head(spot, seed=len(label) + 10 * number)
                save_volume(head, folder / f"{name}.nii.gz")
                mask = ""
                if spot is not None:
                    mask = f"{name}-outline.nii.gz"
                    save_volume(inside(spot).astype(np.float32), folder / mask)
                writer.writerow(
                    (f"{name}.nii.gz", label, name, mask, split, "drawn", "whole")
                )
    return folder / "volumes.csv"
