"""Evidence in three dimensions: joined over planes, smoothed along slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

ODDS_STEPS = 20
"""Steps of smoothed evidence to one unit of log-odds; a byte holds about ±6."""

SMOOTH_MM = 2.5
"""Standard deviation of the smoothing along slices, in mm."""

LEAST_SMOOTH = 0.7
"""The same in slices, where they are far apart or their distance is not known:
a slice then weighs about as much as its two neighbours together."""

_ROWS = 32
"""Rows smoothed at a time, so that memory stays flat."""


def _code_odds() -> NDArray[np.float32]:
    shares = np.clip(np.arange(256) / 255.0, 0.5 / 255.0, 254.5 / 255.0)
    return np.log(shares / (1.0 - shares)).astype(np.float32)


CODE_ODDS = _code_odds()
"""Log-odds of each byte of evidence; half a step from certainty at both ends."""


def joined_evidence(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Average evidence that several planes give for the same voxels.

    In log-odds, so that a spot has to be seen in most planes to be strong
    (logarithmic opinion pool: Genest and Zidek 1986, Statistical Science).

    Parameters
    ----------
    parts
        Shape (D, H, W) each, uint8: 255 times a probability.

    Returns
    -------
    ndarray
        Shape (D, H, W), uint8. 0 where no plane has any evidence.
    """
    joined = np.zeros_like(parts[0])
    for index in range(len(joined)):
        odds = np.mean([CODE_ODDS[part[index]] for part in parts], axis=0)
        share = np.rint(255.0 / (1.0 + np.exp(-odds)))
        joined[index] = np.where(odds <= CODE_ODDS[0], 0.0, share)
    return joined


def smoothed_odds(
    evidence: NDArray[np.uint8],
    gap_mm: float | None,
    depths: NDArray[np.float64] | None = None,
) -> NDArray[np.int8]:
    """Smooth evidence along slices, in log-odds.

    A lesion shows in neighbouring slices; a spot in a single one is mostly a
    false alarm, and each slice's outline is off by another bit.

    Parameters
    ----------
    evidence
        Shape (D, H, W), uint8: 255 times a probability.
    gap_mm
        Distance between neighbouring slices; None where it is not known.
    depths
        Shape (D,): where slices lie, in mm, if they are not evenly apart.

    Returns
    -------
    ndarray
        Shape (D, H, W), int8: log-odds times `ODDS_STEPS`.
    """
    sigma = LEAST_SMOOTH
    if gap_mm is not None and gap_mm > 0.0:
        sigma = max(sigma, SMOOTH_MM / gap_mm)
    size = 2 * math.ceil(3.0 * sigma) + 1
    table = ODDS_STEPS * CODE_ODDS
    smooth = np.empty(evidence.shape, np.int8)
    weights = None
    if depths is not None and gap_mm:
        weights = _weights(depths, sigma * gap_mm)
    for row in range(0, evidence.shape[1], _ROWS):
        block = table[evidence[:, row : row + _ROWS]]
        flat = block.reshape(len(block), -1)
        if weights is not None:
            smooth[:, row : row + _ROWS] = np.rint(weights @ flat).reshape(block.shape)
            continue
        # To OpenCV the block is a picture with a row for each slice.
        blurred = cv2.GaussianBlur(
            flat,
            (1, size),
            sigmaX=1.0,
            sigmaY=sigma,
            borderType=cv2.BORDER_REPLICATE,
        )
        smooth[:, row : row + _ROWS] = np.rint(blurred).reshape(block.shape)
    return smooth


def _weights(depths: NDArray[np.float64], sigma_mm: float) -> NDArray[np.float32]:
    """Weigh slices by how near they lie to each, shape (D, D); rows sum to 1."""
    apart = (depths[:, None] - depths[None, :]) / sigma_mm
    weights = np.exp(-0.5 * np.square(apart))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
