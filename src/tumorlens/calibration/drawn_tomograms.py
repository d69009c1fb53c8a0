"""Brain MRI made to look like CT, to teach what is refused.

Real CT of heads are few, of few scanners and people: a probe taught on them alone takes
MRI from an unknown scanner for CT, and unknown CT for MRI. A slice drawn anew, its
skull bright and its brain nearly even, differs from its own MRI in what tells CT from
MRI and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.ood_pictures import DRAWN_CT, Outlier
from tumorlens.data.skull_stripping import AIR
from tumorlens.imaging.preprocess.slice import (
    disc,
    filled,
)
from tumorlens.training.dataset import Sample

_LEAST_BRAIN = 0.15
"""Share of the square: below it there is hardly a skull around the brain to draw."""

Square = NDArray[np.uint8]
Picture = NDArray[np.float32]


def drawn_tomograms(samples: Sequence[Sample], count: int, seed: int) -> list[Outlier]:
    """Draw CT from slices that train.

    Parameters
    ----------
    samples
        Samples of any kind; those without a known brain, or with little, are left out.
    count
        Number to draw, at most one from a slice.
    seed
        The same seed and samples give the same pictures.
    """
    brains = [
        (sample.square, sample.brain)
        for sample in samples
        if sample.brain is not None and (sample.brain > 0).mean() >= _LEAST_BRAIN
    ]
    rows = np.random.default_rng((seed, len(brains))).permutation(len(brains))[:count]
    return [
        Outlier(DRAWN_CT, draw_tomogram(*brains[row], (seed, row)))
        for row in map(int, rows)
    ]


def draw_tomogram(square: Square, brain: Square, seed: tuple[int, ...]) -> Picture:
    """Redraw one slice.

    Parameters
    ----------
    square
        Shape (S, S), uint8: a prepared head.
    brain
        Shape (S, S), uint8: not 0 inside the brain, somewhere at least.
    seed
        The same seed draws the same picture.

    Returns
    -------
    ndarray
        Shape (S, S), float32, 0 to 255.
    """
    rng = np.random.default_rng(seed)
    head = filled((cv2.GaussianBlur(square, (0, 0), 2.0) > AIR).astype(np.uint8))
    inside = _inside(brain, rng)
    space = cv2.dilate(inside, disc(int(rng.integers(1, 4))))
    bone = cv2.dilate(space, disc(int(rng.integers(4, 12))))
    level = float(rng.uniform(60.0, 150.0))
    grey = _around_middle(square, brain)
    canvas = np.where(head > 0, level * rng.uniform(0.3, 0.9) + 8.0 * grey, 0.0)
    # The skull lies where MRI shows next to nothing, which may not count as head.
    ring = (bone > 0) & ((head > 0) | (rng.random() < 0.5))
    canvas[ring] = rng.uniform(215.0, 255.0)
    canvas[space > 0] = level * rng.uniform(0.4, 1.0)
    canvas[inside > 0] = _tissue(grey, level, rng)[inside > 0]
    return _scanned(canvas.astype(np.float32), head, rng)


def _inside(brain: Square, rng: np.random.Generator) -> Square:
    """Close the gaps of a crude mask; mostly as round as a skull is inside."""
    mask = (brain > 0).astype(np.uint8)
    if rng.random() < 0.6:
        hull = np.zeros_like(mask)
        outline = cv2.convexHull(cv2.findNonZero(mask))
        return cv2.drawContours(hull, [outline], -1, 1, -1).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(4)).astype(np.uint8)


def _around_middle(square: Square, brain: Square) -> NDArray[np.float64]:
    tissue = square[brain > 0].astype(np.float64)
    spread = float(tissue.std()) + 1e-3
    return np.clip((square - float(np.median(tissue))) / spread, -2.0, 2.0)


def _tissue(
    grey: NDArray[np.float64], level: float, rng: np.random.Generator
) -> Picture:
    """Nearly even, grey matter mostly the brighter; fluid dark."""
    tissue = level + rng.uniform(-14.0, 10.0) * grey
    # On T1 fluid is darker than white and grey matter by far.
    dark = np.clip(-grey - 1.0, 0.0, 1.0).astype(np.float32)
    fluid = cv2.GaussianBlur(dark, (0, 0), 1.0)
    tissue = tissue - fluid * level * rng.uniform(0.3, 0.7)
    blur = float(rng.uniform(0.6, 1.8))
    return cv2.GaussianBlur(tissue.astype(np.float32), (0, 0), blur).astype(np.float32)


def _scanned(canvas: Picture, head: Square, rng: np.random.Generator) -> Picture:
    """Add blur and grain, and at times the arc of the table's head rest."""
    edge = canvas.shape[0]
    soft = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.5, 1.4)))
    grain = cv2.GaussianBlur(
        rng.normal(size=canvas.shape), (0, 0), float(rng.uniform(0.4, 1.2))
    )
    near = cv2.dilate(head, disc(2)) > 0
    soft = (soft + rng.uniform(2.0, 9.0) * grain * near).astype(np.float32)
    if rng.random() < 0.4:
        reach = float(rng.uniform(0.41, 0.49)) * edge
        axes = (round(0.8 * reach), round(reach))
        light = float(rng.uniform(60.0, 140.0))
        cv2.ellipse(soft, (edge // 2, edge // 2), axes, 0, 20, 160, light, 1)
    return np.clip(soft, 0.0, 255.0).astype(np.float32)
