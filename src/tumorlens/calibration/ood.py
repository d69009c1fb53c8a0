"""Teach a bundle what a brain MRI looks like to its network.

Some MRI is drawn anew as CT, to teach what is refused. Real CT of heads are few, of few
scanners and people: a probe taught on them alone takes MRI from an unknown scanner for
CT, and unknown CT for MRI. A slice drawn anew, its skull bright and its brain nearly
even, differs from its own MRI in what tells CT from MRI and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tumorlens.data.ood_pictures import CT_FLAG, DRAWN_CT, OodSample
from tumorlens.data.skull_stripping import AIR
from tumorlens.imaging.preprocess.slice import (
    disc,
    filled,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.statistics import auroc
from tumorlens.training.dataset import Sample

PASS_RATE = 0.99
"""Share of validation slices that must pass."""
REFUSED_RATE = 0.99
"""Share of pictures that are not above whose scores no threshold is needed."""
_TOWARDS_BRAIN_MRI = 0.125
"""Place of the threshold on the way from other pictures to brain MRI."""
_DIRECTIONS = 96
_PROBE_STRENGTH = 3e-4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """A set of pictures as the network sees them.

    Parameters
    ----------
    embedding, logits, colorfulness
        Shapes (N, E), (N, 4) and (N,).
    """

    embedding: Floats
    logits: Floats
    colorfulness: Floats

    @classmethod
    def of_grey(cls, outputs: Mapping[str, Floats]) -> Embedded:
        """Keep what a network gives for pictures or series without colour."""
        logits = outputs["logits"]
        return cls(outputs["embedding"], logits, np.zeros(len(logits), np.float32))

    def rows(self, rows: NDArray[np.bool_]) -> Embedded:
        """Keep some of the pictures."""
        return Embedded(
            self.embedding[rows], self.logits[rows], self.colorfulness[rows]
        )


def fit_ood_model(
    training: Embedded, validation: Embedded, ood: Embedded, kinds: Sequence[str]
) -> tuple[OodModel, dict[str, float]]:
    """Fit the out-of-distribution score.

    Parameters
    ----------
    training, validation
        Brain MRI of different patients: the first shapes distances and probe,
        the second weights and threshold.
    ood
        Pictures that are no brain MRI.
    kinds
        Kind of each of them. Each is scored by a probe that never saw its kind, since
        real ones are of kinds that nobody foresaw.

    Returns
    -------
    model
        The model, whose threshold passes at least 99 % of the validation slices:
        more, where there is room between them and pictures that are not.
    figures
        ``auroc`` of the score, validation against pictures that are not, each by a
        probe without its kind; ``refused`` at the threshold. The weights that
        join the features saw every kind, so the figures flatter the score.
    """
    base = _distances(training)
    names = np.asarray(kinds)
    everything = np.ones(len(names), bool)
    whole = _with_probe(base, training, ood, everything)
    brain_features = _features(whole, validation)
    ood_features = np.zeros((len(names), brain_features.shape[1]), np.float32)
    for kind in sorted(set(kinds)):
        blind = _with_probe(base, training, ood, names != kind)
        ood_features[names == kind] = _features(blind, ood.rows(names == kind))
    model = _with_weights(whole, brain_features, ood_features)
    passed = model.scores(brain_features)
    refused = model.scores(ood_features)
    far = ~np.isin(names, (CT_FLAG, DRAWN_CT))
    refused_far = model.scores(_features(whole, ood))[far]
    cut = _threshold(passed, refused_far)
    model = replace(model, cut=np.asarray(cut))
    figures = {
        "auroc": auroc(
            np.concatenate([passed, refused]).astype(np.float64),
            np.arange(len(passed) + len(refused)) < len(passed),
        ),
        "refused": float((refused < cut).mean()),
        "threshold": float(cut),
    }
    for kind in sorted(set(kinds)):
        figures[f"refused_{kind}"] = float((refused[names == kind] < cut).mean())
    return model, figures


def _threshold(brain: Floats, ood: Floats) -> np.float32:
    """Choose where to refuse: a little above what is no brain MRI, in log-odds.

    Unknown scanners score far lower than the slices that are known here,
    so most of the room between the two is theirs. CT of heads, real or drawn,
    leaves none, and is not to be among the pictures out of distribution here.
    """
    passes = float(np.quantile(brain, 1.0 - PASS_RATE))
    if not len(ood):
        return np.float32(passes)
    refuses = float(np.quantile(ood, REFUSED_RATE))
    ends = np.clip((passes, min(passes, refuses)), 1e-6, 1.0 - 1e-6)
    upper, lower = np.log(ends / (1.0 - ends))
    level = lower + _TOWARDS_BRAIN_MRI * (upper - lower)
    return np.float32(1.0 / (1.0 + np.exp(-level)))


def _distances(training: Embedded) -> OodModel:
    center = training.embedding.mean(axis=0)
    scale = training.embedding.std(axis=0) + np.float32(1e-3)
    standard = (training.embedding - center) / scale
    # Columns that hardly move over brain MRI but jump elsewhere must not explode.
    _, values, rows = np.linalg.svd(standard, full_matrices=False)
    count = min(_DIRECTIONS, len(values))
    basis = rows[:count].T
    spread = values[:count] / np.sqrt(max(1, len(standard) - 1)) + 1e-3
    empty = np.zeros(0, np.float32)
    return OodModel(
        center=center.astype(np.float32),
        scale=scale.astype(np.float32),
        basis=basis.astype(np.float32),
        spread=spread.astype(np.float32),
        probe=np.zeros(len(center) + 1, np.float32),
        feature_center=empty,
        feature_scale=empty,
        weights=empty,
        cut=np.asarray(np.float32(0.0)),
    )


def _with_probe(
    base: OodModel, training: Embedded, ood: Embedded, kept: NDArray[np.bool_]
) -> OodModel:
    inputs = np.concatenate([training.embedding, ood.embedding[kept]])
    standard = np.clip((inputs - base.center) / base.scale, -8.0, 8.0)
    is_brain = np.arange(len(standard)) < len(training.embedding)
    fitted = LogisticRegression(
        C=_PROBE_STRENGTH, class_weight="balanced", max_iter=300
    ).fit(standard, is_brain)
    probe = np.concatenate([fitted.coef_[0], fitted.intercept_]).astype(np.float32)
    return replace(base, probe=probe)


def _features(model: OodModel, pictures: Embedded) -> Floats:
    return model.features(pictures.embedding, pictures.logits, pictures.colorfulness)


def _with_weights(model: OodModel, own: Floats, ood_features: Floats) -> OodModel:
    center = own.mean(axis=0)
    scale = own.std(axis=0) + np.float32(0.02)
    inputs = np.clip(
        (np.concatenate([own, ood_features]) - center) / scale, -12.0, 12.0
    )
    labels = np.arange(len(inputs)) < len(own)
    # In single precision some BLAS flag an invalid value where none is.
    fitted = LogisticRegression(C=0.05, class_weight="balanced", max_iter=1000).fit(
        inputs.astype(np.float64), labels
    )
    weights = np.concatenate([fitted.coef_[0], fitted.intercept_])
    return replace(
        model,
        feature_center=center.astype(np.float32),
        feature_scale=scale.astype(np.float32),
        weights=weights.astype(np.float32),
    )


_LEAST_BRAIN = 0.15
"""Share of the square: below it there is hardly a skull around the brain to draw."""

Square = NDArray[np.uint8]
Picture = NDArray[np.float32]


def drawn_tomograms(
    samples: Sequence[Sample], count: int, seed: int
) -> list[OodSample]:
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
        OodSample(DRAWN_CT, draw_tomogram(*brains[row], (seed, row)))
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
