"""Robustness: the loss of accuracy when pictures are damaged as scanners and files do.

The kinds follow what MRI simulators and robustness benchmarks damage (TorchIO:
Perez-Garcia et al. 2021, Comput Methods Programs Biomed; ImageNet-C: Hendrycks
and Dietterich 2019, ICLR); strengths were set by eye so that 1 is hardly seen
and 5 is a picture that a radiographer would take again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick_of_each_class, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.scored_slices import (
    MeasuredBundle,
    judge_slices,
    share_of_each,
)
from tumorlens.imaging.study import Slice
from tumorlens.inference.classifier import Classifier
from tumorlens.statistics import (
    Figure,
    auroc_figure,
    mean_figure,
    share_figure,
)
from tumorlens.taxonomy import Finding, TumorClass, Verdict, is_tumor
from tumorlens.training.augment.kspace import (
    add_spike,
    picture_of,
    spare_lowest,
    spectrum_of,
    take_lines,
    weakened_lines,
)

Picture = NDArray[np.float32]
Lines = TypeVar("Lines", int, NDArray[np.intp])
Damage = Callable[[Picture, float, np.random.Generator], Picture]
STRENGTHS = (1, 2, 3, 4, 5)
_REFERENCE_SIDE = 256.0
"""Widths in pixels are said for a picture of this side, and scaled to others."""

_OF_EACH_CLASS = 50


def corrupt(pixels: Picture, kind: str, strength: int, seed: int) -> Picture:
    """Damage a picture.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, any range.
    kind
        A key of `CORRUPTIONS`.
    strength
        1 to 5.
    seed
        Seed of what is drawn at random; the same at every strength, so that a
        stronger one is more of the same damage.

    Returns
    -------
    ndarray
        Shape (H, W), smaller only for ``crop``; float32, in the same units,
        not below the picture's darkest value.
    """
    damage, levels = CORRUPTIONS[kind]
    floor = float(pixels.min())
    span = float(np.percentile(pixels, 99.5)) - floor or 1.0
    rng = np.random.default_rng((seed, list(CORRUPTIONS).index(kind)))
    unit = (pixels - np.float32(floor)) / np.float32(span)
    damaged = np.maximum(damage(unit, levels[strength - 1], rng), 0.0)
    return np.ascontiguousarray(damaged * span + floor, np.float32)


def _noise(unit: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Rician: noise of `level` in both channels of a magnitude picture."""
    real = unit + level * rng.standard_normal(unit.shape)
    imaginary = level * rng.standard_normal(unit.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def _blur(unit: Picture, width: float, rng: np.random.Generator) -> Picture:
    """Gaussian of `width` pixels in a picture of the reference side."""
    sigma = width * max(unit.shape) / _REFERENCE_SIDE
    return _as_picture(cv2.GaussianBlur(unit, (0, 0), sigma))


def _bias_field(unit: Picture, ratio: float, rng: np.random.Generator) -> Picture:
    """Smooth gain whose brightest spot is `ratio` times its darkest."""
    y, x = np.meshgrid(
        *(np.linspace(-1.0, 1.0, side) for side in unit.shape), indexing="ij"
    )
    powers = [(i, j) for i in range(4) for j in range(4 - i) if i + j > 0]
    field = np.sum([rng.normal() * x**i * y**j for i, j in powers], axis=0)
    field = (field - field.min()) / np.ptp(field) - 0.5
    return _as_picture(unit * np.exp(np.log(ratio) * field))


def _ghosting(unit: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Every n-th line of k-space loses `share` of its signal, the middle spared."""
    axis, period = int(rng.integers(0, 2)), int(rng.integers(2, 5))
    lines = unit.shape[axis]
    first = int(rng.integers(0, period))
    spared = max(1, lines // 128)
    gain = np.fft.ifftshift(weakened_lines(lines, first, period, share))
    spare_lowest(gain, spared + 1, spared)
    spectrum = spectrum_of(unit) * (gain[:, None] if axis == 0 else gain[None, :])
    return picture_of(spectrum)


def _spikes(unit: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Three points of k-space flare up to `share` of its strongest."""
    spectrum = spectrum_of(unit)
    height, width = unit.shape
    for _ in range(3):
        y = _lowest_first(int(height * rng.uniform(0.2, 0.8)), height)
        x = _lowest_first(int(width * rng.uniform(0.2, 0.8)), width)
        add_spike(spectrum, y, x, share)
    return picture_of(spectrum)


def _motion(unit: Picture, degrees: float, rng: np.random.Generator) -> Picture:
    """Turn the head by about `degrees`, and shift it, while k-space is filled.

    Each stretch of lines comes from the head where it was by then, and it moves
    while the middle lines are filled, which hold most of the picture. A degree
    goes with half a per cent of the picture's side.
    """
    height, width = unit.shape
    edges = (height * np.sort(rng.uniform(0.35, 0.65, 5))).astype(int)
    spectrum = spectrum_of(unit)
    for start, end in zip(edges, [*edges[1:], height], strict=True):
        reach = rng.uniform(0.5, 1.0, 3) * rng.choice((-1.0, 1.0), 3) * degrees
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), reach[0], 1.0)
        turn[:, 2] += 0.005 * max(unit.shape) * reach[1:]
        moved = cv2.warpAffine(unit, turn, (width, height))
        take_lines(spectrum, _lowest_first(np.arange(start, end), height), moved)
    return picture_of(spectrum)


def _resolution(unit: Picture, factor: float, rng: np.random.Generator) -> Picture:
    """Fewer pixels by `factor` a side, then as many as before."""
    height, width = unit.shape
    small = (max(8, round(width / factor)), max(8, round(height / factor)))
    coarse = cv2.resize(unit, small, interpolation=cv2.INTER_AREA)
    return _as_picture(
        cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    )


def _jpeg(unit: Picture, quality: float, rng: np.random.Generator) -> Picture:
    """JPEG at `quality` of 100."""
    top = float(unit.max()) or 1.0
    grey = np.round(unit * (255.0 / top)).astype(np.uint8)
    _, data = cv2.imencode(".jpg", grey, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))
    back = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    return _as_picture(back * (top / 255.0))


def _gamma(unit: Picture, power: float, rng: np.random.Generator) -> Picture:
    """Brightness to the power of `power`, or of its inverse."""
    return _as_picture(unit ** (power if rng.random() < 0.5 else 1.0 / power))


def _crop(unit: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Keep a window, randomly placed, that lacks `share` of each side."""
    height, width = unit.shape
    rows, columns = round(height * (1.0 - share)), round(width * (1.0 - share))
    top = int(rng.random() * (height - rows + 1))
    left = int(rng.random() * (width - columns + 1))
    return unit[top : top + rows, left : left + columns]


def _rotation(unit: Picture, degrees: float, rng: np.random.Generator) -> Picture:
    """Turn by `degrees`, one way or the other; corners are air."""
    height, width = unit.shape
    angle = degrees if rng.random() < 0.5 else -degrees
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return _as_picture(cv2.warpAffine(unit, turn, (width, height)))


def _lowest_first(line: Lines, lines: int) -> Lines:
    """Count lines from the lowest frequency, which is in the middle otherwise."""
    return (line - lines // 2) % lines


def _as_picture(values: NDArray[Any]) -> Picture:
    return np.asarray(values, np.float32)


CORRUPTIONS: dict[str, tuple[Damage, tuple[float, ...]]] = {
    "noise": (_noise, (0.02, 0.04, 0.07, 0.11, 0.16)),
    "blur": (_blur, (0.6, 1.0, 1.5, 2.2, 3.2)),
    "bias field": (_bias_field, (1.3, 1.7, 2.3, 3.2, 4.5)),
    "ghosting": (_ghosting, (0.15, 0.3, 0.45, 0.6, 0.8)),
    "k-space spikes": (_spikes, (0.04, 0.08, 0.14, 0.22, 0.35)),
    "motion": (_motion, (0.7, 1.4, 2.5, 4.0, 6.0)),
    "resolution": (_resolution, (1.5, 2.0, 3.0, 4.0, 6.0)),
    "JPEG": (_jpeg, (50.0, 30.0, 18.0, 11.0, 6.0)),
    "gamma": (_gamma, (1.2, 1.4, 1.7, 2.1, 2.7)),
    "crop": (_crop, (0.04, 0.08, 0.12, 0.16, 0.2)),
    "rotation": (_rotation, (4.0, 8.0, 14.0, 22.0, 35.0)),
}
"""Each kind's function and what the strengths 1 to 5 mean for it."""


@dataclass(frozen=True)
class _Sample:
    """N slices, by who judges them, with their classes, patients, and tumours (N,)."""

    parts: Sequence[tuple[Classifier, Sequence[Slice]]]
    labels: NDArray[np.str_]
    tumor: NDArray[np.bool_]
    patients: Sequence[str]


@dataclass(frozen=True)
class _Answers:
    """Answers of the bundle for the sample; each of shape (N,)."""

    predicted: NDArray[np.str_]
    p_tumor: NDArray[np.float64]
    cleared: NDArray[np.bool_]
    refused: NDArray[np.bool_]


def measure_corruption(
    measured_bundles: Sequence[MeasuredBundle],
    say: Callable[[str], None] = print,
    of_each_class: int = _OF_EACH_CLASS,
) -> dict[str, Any]:
    """Judge a sample clean, then under each corruption at each strength.

    Parameters
    ----------
    measured_bundles
        Bundles, of which each one's own operating point decides, and records:
        labelled ones are drawn from, flagged ones are left out.
    say
        Receives lines of progress.
    of_each_class
        Slices of each class at most, shared by the bundles, of as many patients
        as there are.

    Returns
    -------
    dict
        Plain JSON. ``bundles`` counts them. ``clean`` and ``kinds`` (by corruption,
        five strengths each) hold ``accuracy`` of the most probable class,
        ``auroc_tumor``, ``tumor_sensitivity`` (a tumour slice is missed when its
        decision is no tumour), ``tumor_specificity`` and ``refused``; ``drop``,
        ``sensitivity_drop`` and ``specificity_drop`` are the mean loss over all
        of them, in points of 100, paired slice by slice.
    """
    sample = _read(measured_bundles, share_of_each(of_each_class, measured_bundles))
    figures: dict[str, Any] = {
        "bundles": len(measured_bundles),
        "slices": len(sample.patients),
        "patients": len(set(sample.patients)),
    }
    if not sample.patients:
        return figures
    clean = _judge(sample)
    figures["clean"] = _figures(clean, sample)
    figures["kinds"] = {}
    lost, cleared = [], []
    for kind in CORRUPTIONS:
        say(f"Damaging {len(sample.patients)} slices: {kind}.")
        answers = [_judge(sample, kind, strength) for strength in STRENGTHS]
        lost.append(_lost(clean, answers, sample))
        cleared.append(_cleared(clean, answers))
        figures["kinds"][kind] = {
            "strengths": [_figures(item, sample) for item in answers],
            "drop": mean_figure(lost[-1], sample.patients),
        }
    figures["drop"] = mean_figure(np.mean(lost, axis=0), sample.patients)
    more = np.mean(cleared, axis=0)
    figures["sensitivity_drop"] = mean_figure(
        np.where(sample.tumor, more, np.nan), sample.patients
    )
    figures["specificity_drop"] = mean_figure(
        np.where(sample.tumor, np.nan, -more), sample.patients
    )
    return figures


def _lost(
    clean: _Answers, answers: Sequence[_Answers], sample: _Sample
) -> NDArray[np.float64]:
    """Points of accuracy that each slice loses, (N,), mean over strengths."""
    right = np.mean([item.predicted == sample.labels for item in answers], axis=0)
    return np.asarray(100.0 * ((clean.predicted == sample.labels) - right))


def _cleared(clean: _Answers, answers: Sequence[_Answers]) -> NDArray[np.float64]:
    """Compute how much oftener each slice is called tumour-free, (N,), in points."""
    share = np.mean([item.cleared for item in answers], axis=0)
    return np.asarray(100.0 * (share - clean.cleared))


def _unflagged(records: Sequence[Record]) -> list[Record]:
    return [item for item in records if item.label is not None and not item.flag]


def _read(measured_bundles: Sequence[MeasuredBundle], of_each_class: int) -> _Sample:
    parts: list[tuple[Classifier, list[Slice]]] = []
    labels: list[Finding] = []
    patients: list[str] = []
    for item in measured_bundles:
        slices = []
        for record in pick_of_each_class(_unflagged(item.records), of_each_class):
            slice_ = read_labelled_slice(record)
            if slice_ is not None and record.label is not None:
                slices.append(slice_)
                labels.append(record.label)
                patients.append(record.group)
        parts.append((item.classifier, slices))
    return _Sample(
        parts,
        np.array([str(label) for label in labels], np.str_),
        np.array([is_tumor(label) for label in labels], np.bool_),
        patients,
    )


def _judge(sample: _Sample, kind: str = "", strength: int = 0) -> _Answers:
    """Judge the sample as it is, or damaged: each slice by a draw of its own."""
    draws = count()

    def shown(item: Slice) -> Slice:
        if not kind:
            return item
        return replace(item, pixels=corrupt(item.pixels, kind, strength, next(draws)))

    decisions = [
        decision
        for classifier, slices in sample.parts
        for decision in judge_slices(classifier, map(shown, slices))
    ]
    labels = [item.label for item in decisions]
    return _Answers(
        np.array([str(item.raw_predicted) for item in decisions], np.str_),
        np.array([item.raw_p_tumor for item in decisions]),
        np.array([item is TumorClass.NO_TUMOR for item in labels]),
        np.array([item is Verdict.NOT_BRAIN_MRI for item in labels]),
    )


def _figures(answers: _Answers, sample: _Sample) -> dict[str, Any]:
    tumor, patients = sample.tumor, sample.patients

    def among(values: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Figure | None:
        return share_figure(np.where(rows, values, np.nan), patients)

    return {
        "accuracy": share_figure(answers.predicted == sample.labels, patients),
        "auroc_tumor": auroc_figure(answers.p_tumor, tumor, patients),
        "tumor_sensitivity": among(~answers.cleared, tumor),
        "tumor_specificity": among(answers.cleared, ~tumor),
        "refused": share_figure(answers.refused, patients),
    }
