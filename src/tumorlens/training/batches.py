"""The batches that training draws from labelled slices, and the targets of their cells.

Tested in `tests/training/test_batches.py` and `tests/training/test_fit.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import LEARNED_SEQUENCES
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import CLASSES, Finding, Lesion, clear_places, is_no_lesion
from tumorlens.training.augment.slice import (
    augment,
    enhances,
    invert_contrast,
    without_agent,
)
from tumorlens.training.augment.transplant import Transplants
from tumorlens.training.dataset import Sample, as_input

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


FLAIR_STRIPPED = 0.5
"""Least share of the FLAIR heads that lose their skull. All strokes come without one,
so without such gliomas beside them the missing skull would be the sign of a stroke."""
INVERTED = 0.2
"""Share of the T1 heads shown with inverted contrast, which is like T2: of T2 itself
nobody drew any outline."""
AS_T2 = 0.5
"""Share of the FLAIR heads shown as T2, where T1 of the same slice is at hand."""
WITHOUT_AGENT = 0.2
"""Share of the enhancing tumours shown as T1 without contrast agent would; a part of
these, `INVERTED_TUMORS`, is shown with inverted contrast too."""
INVERTED_TUMORS = 0.4


@dataclass(frozen=True)
class Batch:
    """Pictures and targets of one training step.

    Parameters
    ----------
    pixels
        Shape (N, S, S, 3), float32, in [0, 1].
    labels
        Shape (N, F), float32: 1 for each finding that the picture may show.
    cells, cell_weights
        Shapes (N, g, g, F) and (N, g, g), float32.
    unplaced
        Shape (N,), float32: 1 where it is known what lesion the picture shows, and
        not where it lies.
    sequences
        Shape (N, S), float32: one-hot over `LEARNED_SEQUENCES`; 0 where unknown.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.float32]
    cells: NDArray[np.float32]
    cell_weights: NDArray[np.float32]
    unplaced: NDArray[np.float32]
    sequences: NDArray[np.float32]


def augmented(
    samples: Sequence[Sample],
    size: int,
    grid: int,
    seed: tuple[int, ...],
    strip_share: float,
    order: Sequence[Finding] = CLASSES,
) -> Batch:
    """Make a batch of randomly changed samples.

    Parameters
    ----------
    samples
        N of them.
    size
        Edge of the input, in pixels.
    grid
        Cells along an edge of the evidence grid.
    seed
        The same seed and samples give the same batch.
    strip_share
        Share of the heads that lose their skull.
    order
        The findings that the network tells apart, in the order of its outputs.
    """
    squares, targets = [], []
    labels = np.zeros((len(samples), len(order)), np.float32)
    unplaced = np.zeros(len(samples), np.float32)
    sequences = np.zeros((len(samples), len(LEARNED_SEQUENCES)), np.float32)
    for row, sample in enumerate(samples):
        rng = np.random.default_rng((*seed, row))
        whole, sequence, share = sample.square, sample.record.sequence, strip_share
        if sequence is MRSequence.FLAIR:
            share = max(share, FLAIR_STRIPPED)
        # Only where every sequence is to be read: else nobody meets such a contrast.
        if Lesion.OTHER in order:
            whole, sequence = _in_another_sequence(sample, rng)
        square, outline = augment(whole, sample.outline, sample.brain, size, rng, share)
        squares.append(square)
        targets.append(cell_targets(sample.findings, outline, grid, order))
        labels[row, [order.index(item) for item in sample.findings]] = 1.0
        has_one_finding = len(sample.findings) == 1 and not sample.is_clear
        unplaced[row] = float(has_one_finding and outline is None)
        if sequence in LEARNED_SEQUENCES:
            sequences[row, LEARNED_SEQUENCES.index(sequence)] = 1.0
    return Batch(
        as_input(squares),
        labels,
        np.stack([target.classes for target in targets]),
        np.stack([target.weights for target in targets]),
        unplaced,
        sequences,
    )


def _in_another_sequence(
    sample: Sample, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], MRSequence | None]:
    """Show a head as it is or, by chance, as another sequence would.

    Returns
    -------
    square
        Shape (256, 256), uint8.
    sequence
        None where the contrast only resembles a sequence's.
    """
    square, sequence = sample.square, sample.record.sequence
    if sequence is MRSequence.T1 and rng.random() < INVERTED:
        return invert_contrast(square), None
    if sample.as_t2 is not None and rng.random() < AS_T2:
        return sample.as_t2, MRSequence.T2
    outline, brain = sample.outline, sample.brain
    if (
        sequence is MRSequence.T1_CONTRAST
        and outline is not None
        and brain is not None
        and rng.random() < WITHOUT_AGENT
        and enhances(square, outline, brain)
    ):
        square = without_agent(square, outline, brain, rng)
        if rng.random() < INVERTED_TUMORS:
            square = invert_contrast(square)
        return square, None
    return square, sequence


class BatchStream:
    """Training batches, made ahead in the background.

    The batch of a step depends on the seed and the step alone, so that a run
    that was killed goes on with the batches it would have seen.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        weights: NDArray[np.float64],
        batch_size: int,
        seed: int,
        strip_share: float,
        transplant_share: float,
        stride: int,
        findings: Sequence[Finding] = CLASSES,
    ) -> None:
        self._samples = samples
        self._weights = weights
        self._batch_size = batch_size
        self._seed = seed
        self._strip_share = strip_share
        self._transplants = Transplants(samples, transplant_share)
        self._stride = stride
        self._findings = findings

    def batch(self, step: int, size: int) -> Batch:
        """Make the batch of one step."""
        rng = np.random.default_rng((self._seed, step))
        rows = rng.choice(len(self._samples), self._batch_size, p=self._weights)
        chosen = [self._transplants.change(self._samples[row], rng) for row in rows]
        grid = size // self._stride
        seed = (self._seed, step)
        return augmented(chosen, size, grid, seed, self._strip_share, self._findings)

    def batches(
        self, start: int, stop: int, size_at: Callable[[int], int]
    ) -> Iterator[Batch]:
        """Yield the batches of steps ``start`` to ``stop`` (excluded)."""
        ready: Queue[Batch | BaseException] = Queue(maxsize=6)
        stopped = Event()

        def produce() -> None:
            try:
                for step in range(start, stop):
                    if stopped.is_set():
                        return
                    ready.put(self.batch(step, size_at(step)))
            except BaseException as error:  # handed to the consumer
                ready.put(error)

        Thread(target=produce, daemon=True).start()
        try:
            for _ in range(start, stop):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            while not ready.empty():
                ready.get_nowait()
