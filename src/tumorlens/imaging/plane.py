"""The three anatomical planes."""

from __future__ import annotations

from enum import StrEnum


class Plane(StrEnum):
    """Anatomical plane of a slice."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
