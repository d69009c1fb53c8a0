"""Key slices as pictures: evidence, the lesion's outline, letters of sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import Placement, Series, Slice
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.report.slice.overlay import heat_layer, lay_over, window_picture

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


def lesion_in_slice(finding: SeriesPrediction, index: int) -> NDArray[np.uint8] | None:
    """Mark the lesion in one slice.

    Parameters
    ----------
    finding
        Prediction for a series.
    index
        Index of the slice, from 0.

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
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return tuple(np.asarray(contour[:, 0, :], np.int32) for contour in contours)


@dataclass(frozen=True)
class KeyPicture:
    """One slice to be shown.

    Parameters
    ----------
    index
        Index in the series, from 0.
    p_tumor
        Probability of tumour in the slice, 0 to 1; None where only the series as a
        whole has one.
    grey
        Shape (H, W), uint8: the slice.
    overlay
        Shape (H, W, 3), uint8, RGB: the slice with its evidence; None where
        there is no evidence volume.
    outline
        Closed polygons of shape (K, 2), int32, x then y: the lesion.
    aspect
        Height of a pixel over its width.
    edges
        Letters of the patient's sides at the left, right, upper and lower
        edge; None where the place is not known.
    """

    index: int
    p_tumor: float | None
    grey: NDArray[np.uint8] = field(repr=False)
    overlay: NDArray[np.uint8] | None = field(repr=False)
    outline: tuple[NDArray[np.int32], ...] = field(repr=False)
    aspect: float
    edges: tuple[str, str, str, str] | None


def key_pictures(finding: SeriesPrediction, series: Series) -> tuple[KeyPicture, ...]:
    """Draw the key slices, in the order of the series.

    Parameters
    ----------
    finding
        Prediction with its evidence.
    series
        Series that it was made from.
    """
    return tuple(
        _picture(finding, series.slices[index], index)
        for index in sorted(finding.key_slices)
    )


def _picture(finding: SeriesPrediction, item: Slice, index: int) -> KeyPicture:
    grey = window_picture(item.pixels)
    overlay = None
    if finding.evidence is not None:
        overlay = lay_over(grey, heat_layer(finding.evidence[index]))
    mask = lesion_in_slice(finding, index)
    down, across = item.spacing_mm or (1.0, 1.0)
    return KeyPicture(
        index=index,
        p_tumor=finding.slice_p_tumor[index],
        grey=grey,
        overlay=overlay,
        outline=() if mask is None else outlines(mask),
        aspect=down / across,
        edges=None if item.placement is None else edge_letters(item.placement),
    )


def edge_letters(place: Placement) -> tuple[str, str, str, str]:
    """Name the patient's sides at a picture's edges, as viewers do.

    Parameters
    ----------
    place
        Placement of the slice.

    Returns
    -------
    tuple of str
        At the left, right, upper and lower edge: L, R, P, A, H or F.
    """
    right, left = sides_of(place.across)
    lower, upper = sides_of(place.down)
    return left, right, upper, lower
