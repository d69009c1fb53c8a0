"""A scan's key slices as pictures, with what is drawn on them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.placement import Placement
from tumorlens.imaging.study import Series, Slice
from tumorlens.inference.series.results import ScanFinding
from tumorlens.report.patient_sides import sides_of
from tumorlens.report.series.lesion_outline import lesion_in_slice, outlines
from tumorlens.report.slice.overlay import heat_layer, lay_over, window_picture


@dataclass(frozen=True)
class KeyPicture:
    """One slice to be shown.

    Parameters
    ----------
    index
        In the series, from 0.
    p_tumor
        Of the slice, 0 to 1; None where only the scan as a whole has one.
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


def key_pictures(finding: ScanFinding, series: Series) -> tuple[KeyPicture, ...]:
    """Draw the key slices, in the order of the series.

    Parameters
    ----------
    finding
        With its evidence.
    series
        That it was made from.
    """
    return tuple(
        _picture(finding, series.slices[index], index)
        for index in sorted(finding.key_slices)
    )


def _picture(finding: ScanFinding, item: Slice, index: int) -> KeyPicture:
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
        Of the slice.

    Returns
    -------
    tuple of str
        At the left, right, upper and lower edge: L, R, P, A, H or F.
    """
    right, left = sides_of(place.across)
    lower, upper = sides_of(place.down)
    return left, right, upper, lower
