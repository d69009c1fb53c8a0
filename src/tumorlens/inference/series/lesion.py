"""The lesion in a series: smoothed evidence, one connected spot, its place and size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry import placements_of, slice_gap, uneven_depths
from tumorlens.imaging.preprocess.slice import filled
from tumorlens.imaging.study import Placement, Point, Slice
from tumorlens.inference.slice.prediction import MIN_PEAK, OUTLINE_LEVEL


class Side(StrEnum):
    """Side of the patient's head."""

    LEFT = "left"
    MIDLINE = "midline"
    RIGHT = "right"


@dataclass(frozen=True)
class Lesion:
    """The connected spot of evidence that holds the run's peak.

    Evidence is smoothed along slices. Its outline runs at the level that fits
    radiologists' outlines best, where the bundle gives one, else at half height.

    Parameters
    ----------
    box
        First and last-plus-one index along slices, rows and columns:
        (z0, y0, x0, z1, y1, x1).
    voxels
        How many voxels it spans.
    peak
        Slice, row, column of the strongest evidence.
    size_mm
        Size of the box along slices, rows and columns; None without a known place.
    centroid
        LPS mm; None without a known place.
    side
        Left or right of the head's middle; None without a known place.
    location
        Location in words, for example ``left, anterior third, upper third``; thirds of
        the head as far as the series shows it. Empty without a known place.
    mask
        Shape of the box (z1 - z0, y1 - y0, x1 - x0): the spot itself; None in a
        lesion that was stored without it.
    """

    box: tuple[int, int, int, int, int, int]
    voxels: int
    peak: tuple[int, int, int]
    size_mm: tuple[float, float, float] | None = None
    centroid: Point | None = None
    side: Side | None = None
    location: str = ""
    mask: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)


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


MIDLINE_SHARE = 0.06
"""Within this share of the head's width from its middle a lesion is midline."""

PEAK_DEPTH = 1.0
"""A spot reaches at least this far below its peak, in log-odds."""

_TISSUE = 0.1
"""Share of the way from air to the series' bright end from which on is head."""

_ALONG = ("anterior third", "middle third", "posterior third")
_UPWARDS = ("lower third", "middle third in height", "upper third")


def find_lesion(
    evidence: NDArray[np.uint8],
    slices: Sequence[Slice],
    run: tuple[int, int],
    level: float | None = None,
) -> Lesion | None:
    """Find the spot that holds the strongest evidence of the run.

    Evidence is smoothed along slices first, see `smoothed_odds`.

    Parameters
    ----------
    evidence
        Shape (D, H, W), uint8, 255 for certainty.
    slices
        The D slices.
    run
        First and last-plus-one index of the slices that decided.
    level
        Probability from which on a voxel belongs to the spot, between 0 and 1;
        None for half of the peak's.

    Returns
    -------
    Lesion or None
        None where no spot of the run reaches `MIN_PEAK`.
    """
    odds = smoothed_odds(evidence, slice_gap(slices), uneven_depths(slices))
    return spot_in(odds, slices, run, level)


def spot_in(
    odds: NDArray[np.int8],
    slices: Sequence[Slice],
    run: tuple[int, int],
    level: float | None,
) -> Lesion | None:
    """Find the spot in evidence that is already smoothed, see `find_lesion`."""
    part = odds[slice(*run)]
    z, y, x = (int(item) for item in np.unravel_index(part.argmax(), part.shape))
    z += run[0]
    top = float(odds[z, y, x])
    if top < ODDS_STEPS * _logit(MIN_PEAK):
        return None
    if level is None:
        bar = ODDS_STEPS * _logit(OUTLINE_LEVEL / (1.0 + math.exp(-top / ODDS_STEPS)))
    else:
        # A peak that hardly passes the level still has a spot around it.
        bar = min(ODDS_STEPS * _logit(level), top - ODDS_STEPS * PEAK_DEPTH)
    spots = _grow(odds, (z, y, x), bar)
    rows = np.concatenate([np.nonzero(spot)[0] for spot in spots.values()])
    columns = np.concatenate([np.nonzero(spot)[1] for spot in spots.values()])
    z0, z1 = min(spots), max(spots) + 1
    y0, y1 = int(rows.min()), int(rows.max()) + 1
    x0, x1 = int(columns.min()), int(columns.max()) + 1
    mask = np.stack([spots[index][y0:y1, x0:x1] for index in range(z0, z1)])
    lesion = Lesion((z0, y0, x0, z1, y1, x1), len(rows), (z, y, x), mask=mask)
    places = placements_of(slices)
    if places is None:
        return lesion
    return _placed(lesion, spots, slices, places)


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


def _grow(
    odds: NDArray[np.int8], peak: tuple[int, int, int], bar: float
) -> dict[int, NDArray[np.bool_]]:
    """Follow the pieces of each slice that overlap a neighbour's, both ways."""
    labels: dict[int, NDArray[np.uint16]] = {}
    spot: dict[int, set[int]] = {}

    def pieces(index: int) -> NDArray[np.uint16]:
        if index not in labels:
            mask = (odds[index] >= bar).view(np.uint8)
            labels[index] = np.asarray(
                cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)[1],
                np.uint16,
            )
        return labels[index]

    z, y, x = peak
    waiting = [(z, int(pieces(z)[y, x]))]
    while waiting:
        index, piece = waiting.pop()
        if piece in spot.setdefault(index, set()):
            continue
        spot[index].add(piece)
        here = pieces(index) == piece
        for other in (index - 1, index + 1):
            if 0 <= other < len(odds):
                touched = np.unique(pieces(other)[here])
                waiting += [(other, int(item)) for item in touched if item]
    return {
        index: np.isin(pieces(index), sorted(numbers))
        for index, numbers in spot.items()
    }


def _placed(
    lesion: Lesion,
    spots: dict[int, NDArray[np.bool_]],
    slices: Sequence[Slice],
    places: Sequence[Placement],
) -> Lesion:
    total, count = np.zeros(3), 0
    for index, spot in spots.items():
        rows, columns = np.nonzero(spot)
        total += len(rows) * places[index].at(columns.mean(), rows.mean())
        count += len(rows)
    centre = total / count
    z0, y0, x0, z1, y1, x1 = lesion.box
    down, across = places[lesion.peak[0]].spacing_mm
    size = (_thickness(slices, z0, z1), (y1 - y0) * down, (x1 - x0) * across)
    head = _head_box(slices, places)
    side, location = (None, "") if head is None else _in_words(centre, *head)
    return replace(
        lesion,
        size_mm=size,
        centroid=(float(centre[0]), float(centre[1]), float(centre[2])),
        side=side,
        location=location,
    )


def _thickness(slices: Sequence[Slice], first: int, last: int) -> float:
    """Measure slices `first` to `last` less one, in mm: from face to face."""
    gap = slice_gap(slices)
    if gap is None:
        return 0.0
    depths = uneven_depths(slices)
    if depths is None:
        return (last - first) * gap
    return abs(float(depths[last - 1] - depths[first])) + gap


def _head_box(
    slices: Sequence[Slice], places: Sequence[Placement]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Lowest and highest LPS coordinates of the head, as far as it was scanned."""
    corners = []
    bright = max(float(np.percentile(item.pixels[::4, ::4], 99)) for item in slices)
    air = _air(slices)
    bar = air + _TISSUE * (bright - air)
    for item, place in zip(slices, places, strict=True):
        mask = filled((item.pixels > bar).astype(np.uint8))
        # A slice with a speck of noise is air.
        if cv2.countNonZero(mask) < 0.02 * mask.size:
            continue
        x, y, width, height = cv2.boundingRect(mask)
        for column in (x, x + width - 1):
            corners += [place.at(column, row) for row in (y, y + height - 1)]
    if not corners:
        return None
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _air(slices: Sequence[Slice]) -> float:
    """Measure how bright air is: what most of the slices' frames show.

    It is not 0 everywhere, as in a rescaled file, nor always the darkest value:
    voxels may be padded with less, or counted from the brain's mean.
    """
    edges = [
        edge
        for pixels in (item.pixels for item in slices)
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    ]
    return float(np.median(np.concatenate(edges)))


def _in_words(
    centre: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[Side, str]:
    """Name side and thirds; LPS grows to the left, the back and the top."""
    shares = (centre - low) / np.maximum(high - low, 1e-6)
    if abs(shares[0] - 0.5) <= MIDLINE_SHARE:
        side = Side.MIDLINE
    else:
        side = Side.LEFT if shares[0] > 0.5 else Side.RIGHT
    back, top = (min(2, max(0, int(3 * share))) for share in shares[1:])
    return side, f"{side.value}, {_ALONG[back]}, {_UPWARDS[top]} of the scanned head"
