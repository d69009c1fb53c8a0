"""Where the lesion lies in a slice."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.inference.series.results import ScanFinding


def lesion_in_slice(finding: ScanFinding, index: int) -> NDArray[np.uint8] | None:
    """Mark the lesion in one slice.

    Parameters
    ----------
    finding
        Of a scan.
    index
        Of the slice, from 0.

    Returns
    -------
    ndarray or None
        Shape (H, W), uint8, 1 inside; all 0 where the lesion does not reach the
        slice. None where the finding has no lesion, none with a mask, or no
        evidence volume.
    """
    lesion = finding.lesion
    if lesion is None or lesion.mask is None or finding.evidence is None:
        return None
    z0, y0, x0, z1, y1, x1 = lesion.box
    mask = np.zeros(finding.evidence.shape[1:], np.uint8)
    if z0 <= index < z1:
        mask[y0:y1, x0:x1] = lesion.mask[index - z0]
    return mask


def outlines(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], ...]:
    """Trace the outer edges of a mask.

    Parameters
    ----------
    mask
        Shape (H, W), uint8, above 0 inside.

    Returns
    -------
    tuple of ndarray
        Closed polygons of shape (K, 2), int32, x then y, through the centres of
        the outermost pixels.
    """
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return tuple(np.asarray(contour[:, 0, :], np.int32) for contour in found)
