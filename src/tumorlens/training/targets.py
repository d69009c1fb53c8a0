"""Targets of the cells of the evidence grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.taxonomy import CLASSES, Finding, clear_places, is_no_lesion

TUMOR_FROM = 0.35
"""A cell with at least this share of outline shows the tumour."""
CLEAR_BELOW = 0.02
"""A cell with less than this share of outline shows none; between is ignored."""


@dataclass(frozen=True)
class CellTargets:
    """Targets of one slice.

    Parameters
    ----------
    classes
        Shape (g, g, F), float32, one-hot, for F findings; (d, g, g, F) of a volume.
        All 0 in a cell of a slice with an outline that is ignored.
    weights
        The same without classes, float32; 0 where the cell is ignored. They sum
        to the number of cells: tumour and background cells weigh alike,
        whatever the tumour's size.
    """

    classes: NDArray[np.float32]
    weights: NDArray[np.float32]


def cell_targets(
    findings: Sequence[Finding],
    outline: NDArray[np.uint8] | None,
    grid: int,
    order: Sequence[Finding] = CLASSES,
) -> CellTargets:
    """Lay a radiologist's outline over the evidence grid.

    Parameters
    ----------
    findings
        Findings that the slice may show; one where that is known.
    outline
        Shape (S, S), uint8, 255 inside; None where nobody drew one.
    grid
        Cells along an edge.
    order
        The findings that the network tells apart, in the order of its outputs.

    Returns
    -------
    CellTargets
        Targets for a lesion without an outline, or where it is not known what the slice
        shows, every weight is 0: nobody knows where it is.
    """
    share = None
    if outline is not None:
        share = np.asarray(
            cv2.resize(
                outline.astype(np.float32) / 255.0,
                (grid, grid),
                interpolation=cv2.INTER_AREA,
            ),
            np.float32,
        )
    return targets_of(findings, share, (grid, grid), order)


def targets_of(
    findings: Sequence[Finding],
    share: NDArray[np.float32] | None,
    shape: tuple[int, ...],
    order: Sequence[Finding] = CLASSES,
) -> CellTargets:
    """Turn the share of outline in each cell into targets, in any dimension.

    Parameters
    ----------
    findings
        Findings that the whole may show; one where that is known.
    share
        Shares of the given shape, 0 to 1; None where nobody drew an outline.
    shape
        Cells along each axis.
    order
        The same as in `cell_targets`.
    """
    classes = np.zeros((*shape, len(order)), np.float32)
    # Cells tell tumours from none; which class free of tumour it is, the slice tells.
    classes[..., clear_places(order)[0]] = 1.0
    if len(findings) == 1 and is_no_lesion(findings[0]):
        return CellTargets(classes, np.ones(shape, np.float32))
    weights = np.zeros(shape, np.float32)
    if len(findings) > 1 or share is None or not share.any():
        return CellTargets(classes, weights)
    # A tumour smaller than a cell still has its cell.
    tumor = share >= min(TUMOR_FROM, float(share.max()))
    clear = share < CLEAR_BELOW
    classes[tumor] = 0.0
    classes[tumor, order.index(findings[0])] = 1.0
    cells = float(weights.size)
    weights[tumor] = 0.5 * cells / tumor.sum()
    if clear.any():
        weights[clear] = 0.5 * cells / clear.sum()
    classes[weights == 0.0] = 0.0
    return CellTargets(classes, weights)
