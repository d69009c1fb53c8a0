"""What a network says of every finding, and the four-class view of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    NO_TUMOR_INDEX,
    TUMOR_CLASSES,
    Lesion,
)

_OTHER = FINDINGS.index(Lesion.OTHER)
_VASCULAR = FINDINGS.index(Lesion.VASCULAR)
_KINDS = len(TUMOR_CLASSES)


def class_view(findings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probabilities of the four classes, as a four-class network would.

    No tumour is whatever is none: vascular lesions too. A tumour of another kind is a
    tumour, so its share goes to the three kinds, in proportion to what each has.

    Parameters
    ----------
    findings
        Shape (N, F), rows sum to 1: in the order of `FINDINGS`, or of the four
        classes alone.

    Returns
    -------
    ndarray
        Shape (N, 4), rows sum to 1; one minus the last is the probability of any
        tumour.
    """
    if findings.shape[1] == len(CLASSES):
        return findings
    kinds = np.maximum(findings[:, :_KINDS], 1e-12)
    clear = findings[:, NO_TUMOR_INDEX] + findings[:, _VASCULAR]
    scale = (1.0 - clear) / kinds.sum(axis=1)
    return np.concatenate([kinds * scale[:, None], clear[:, None]], axis=1)


def decided_view(findings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probabilities of what a decision can name.

    Parameters
    ----------
    findings
        As for `class_view`.

    Returns
    -------
    ndarray
        Shape (N, 5), rows sum to 1, in the order of `DECIDED`; of a network that
        knows the four classes alone (N, 4).
    """
    if findings.shape[1] == len(CLASSES):
        return findings
    view = findings[:, : len(DECIDED)].copy()
    view[:, NO_TUMOR_INDEX] += findings[:, _VASCULAR]
    return view


def named_probabilities(
    probabilities: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give what a decision can name, from the four-class view and other tumours.

    Parameters
    ----------
    probabilities
        Shape (N, 4), from `class_view`.
    other
        Shape (N,): probability of a tumour of another kind; NaN where the model
        knows none.

    Returns
    -------
    ndarray
        Shape (N, 5), rows sum to 1, in the order of `DECIDED`.
    """
    share = np.where(np.isfinite(other), other, 0.0)
    tumor = 1.0 - probabilities[:, NO_TUMOR_INDEX]
    kept = 1.0 - share / np.maximum(tumor, 1e-12)
    scale = np.ones_like(probabilities)
    scale[:, :_KINDS] = np.maximum(kept, 0.0)[:, None]
    return np.concatenate([probabilities * scale, share[:, None]], axis=1)


def other_lesions(findings: NDArray[np.float64]) -> dict[Lesion, float]:
    """Name the probabilities of lesions that are none of the four classes.

    Parameters
    ----------
    findings
        Shape (F,), of one slice.

    Returns
    -------
    dict
        Empty for a network that knows the four classes alone.
    """
    if len(findings) == len(CLASSES):
        return {}
    return {
        Lesion.OTHER: float(findings[_OTHER]),
        Lesion.VASCULAR: float(findings[_VASCULAR]),
    }
