"""Which side of the patient a direction leads to, by letter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
"""Where each LPS axis leads, forwards and backwards (DICOM PS3.3 C.7.6.1.1.1)."""


def sides_of(way: Sequence[float]) -> tuple[str, str]:
    """Name the patient's sides at both ends of a direction, by its longest part.

    Parameters
    ----------
    way
        Three parts along LPS, not all 0.

    Returns
    -------
    tuple of str
        Where it leads, and where it comes from: L, R, P, A, H or F.
    """
    axis = int(np.argmax(np.abs(way)))
    there, back = _LETTERS[axis]
    return (there, back) if way[axis] >= 0 else (back, there)
