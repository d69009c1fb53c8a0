"""The batches that training draws from labelled slices.

Tested in `tests/training/test_fit.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from tumorlens.taxonomy import CLASSES
from tumorlens.training.augment.slice import augment
from tumorlens.training.augment.transplant import Transplants
from tumorlens.training.dataset import Sample, as_input
from tumorlens.training.targets import cell_targets


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Parameters
    ----------
    pixels
        Shape (N, S, S, 3), float32, in [0, 1].
    labels
        Shape (N, 4), float32, one-hot.
    cells, cell_weights
        Shapes (N, g, g, 4) and (N, g, g), float32.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.float32]
    cells: NDArray[np.float32]
    cell_weights: NDArray[np.float32]


def augmented(
    samples: Sequence[Sample],
    size: int,
    grid: int,
    seed: tuple[int, ...],
    strip_share: float,
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
    """
    squares = []
    outlines = []
    for row, sample in enumerate(samples):
        rng = np.random.default_rng((*seed, row))
        square, outline = augment(
            sample.square, sample.outline, sample.brain, size, rng, strip_share
        )
        squares.append(square)
        outlines.append(outline)
    targets = [
        cell_targets(sample.label, outline, grid)
        for sample, outline in zip(samples, outlines, strict=True)
    ]
    labels = np.zeros((len(samples), len(CLASSES)), np.float32)
    labels[np.arange(len(samples)), [sample.index for sample in samples]] = 1.0
    return Batch(
        as_input(squares),
        labels,
        np.stack([target.classes for target in targets]),
        np.stack([target.weights for target in targets]),
    )


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
    ) -> None:
        self._samples = samples
        self._weights = weights
        self._batch_size = batch_size
        self._seed = seed
        self._strip_share = strip_share
        self._transplants = Transplants(samples, transplant_share)
        self._stride = stride

    def batch(self, step: int, size: int) -> Batch:
        """Make the batch of one step."""
        rng = np.random.default_rng((self._seed, step))
        rows = rng.choice(len(self._samples), self._batch_size, p=self._weights)
        chosen = [self._transplants.change(self._samples[row], rng) for row in rows]
        grid = size // self._stride
        return augmented(chosen, size, grid, (self._seed, step), self._strip_share)

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
