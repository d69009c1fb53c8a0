"""Labelled slices in memory, and the batches that training draws from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError, InputError
from tumorlens.imaging.preprocess import Preprocessing, cut, find_head
from tumorlens.imaging.preprocess import normalise_intensity as normalise
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Slice
from tumorlens.learn.augment import augment
from tumorlens.learn.manifest import Record
from tumorlens.learn.strip import brain_mask
from tumorlens.learn.targets import cell_targets
from tumorlens.taxonomy import CLASSES, TumorClass

STORED_SIZE = 256
"""Edge of the cached squares: a little over the model's, so that zooms stay sharp."""

PAIRED_SOURCE = 3.0
"""See `sampling_weights`."""

Sampling = Literal["natural", "class", "class-source"]


@dataclass(frozen=True)
class Sample:
    """One cached slice.

    Parameters
    ----------
    record
        Where it came from.
    square
        Shape (256, 256), uint8: the prepared head.
    outline
        Shape (256, 256), uint8, 255 inside the radiologist's outline; None
        where there is none.
    brain
        Shape (256, 256), uint8, 255 inside the brain; None where not found.
    """

    record: Record
    square: NDArray[np.uint8]
    outline: NDArray[np.uint8] | None
    brain: NDArray[np.uint8] | None

    @property
    def label(self) -> TumorClass:
        """The slice's class."""
        if self.record.label is None:
            raise DatasetError(
                f"{self.record.path} has no label.", "Fill the label column."
            )
        return self.record.label

    @property
    def index(self) -> int:
        """The class's place in the taxonomy."""
        return CLASSES.index(self.label)


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


def _has_tissue(item: Slice) -> bool:
    """Tell a slice of a head from the blank ends of a scan."""
    small = cv2.resize(item.pixels, (64, 64), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (5, 99))
    return bool(high - low >= 8.0)


def load_sample(record: Record) -> Sample | None:
    """Read and prepare one labelled slice.

    Parameters
    ----------
    record
        A row of the manifest.

    Returns
    -------
    Sample or None
        None for a slice that shows no tissue, as the ends of a scan do.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    item = read_study(record.path).slices[0]
    if not _has_tissue(item):
        return None
    facts = Preprocessing(size=STORED_SIZE)
    lifted = item.pixels - item.pixels.min()
    crop = find_head(lifted, facts)
    square = normalise(cut(lifted, crop, STORED_SIZE), facts)
    stored = np.rint(square * 255.0).astype(np.uint8)
    outline = None
    if record.mask is not None:
        drawn = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
        if drawn is None or drawn.shape != item.pixels.shape:
            raise DatasetError(
                f"The outline {record.mask} of {record.path} is unreadable or has "
                f"another size than the picture {item.pixels.shape}.",
                "Export the outline at the picture's size.",
            )
        outline = (cut(drawn.astype(np.uint8), crop, STORED_SIZE) > 127).astype(
            np.uint8
        ) * np.uint8(255)
    return Sample(record, stored, outline, brain_mask(stored))


def load_samples(
    records: Sequence[Record], threads: int = 2
) -> tuple[list[Sample], list[str]]:
    """Read and prepare many labelled slices, in order.

    Parameters
    ----------
    records
        Rows of a manifest.
    threads
        Readers at work at a time.

    Returns
    -------
    samples
        Those that could be used.
    left_out
        One sentence for each that could not.
    """

    def load(record: Record) -> Sample | str:
        try:
            return load_sample(record) or f"{record.path} shows no tissue."
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        loaded = list(pool.map(load, records))
    samples = [item for item in loaded if isinstance(item, Sample)]
    if not samples:
        raise DatasetError(
            "None of the listed pictures can be used.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    return samples, [item for item in loaded if isinstance(item, str)]


def sampling_weights(
    samples: Sequence[Sample], sampling: Sampling
) -> NDArray[np.float64]:
    """Chance of each sample to be drawn.

    Parameters
    ----------
    samples
        The training set.
    sampling
        ``natural``: all alike. ``class``: every class equally often.
        ``class-source``: also, within a class, every source equally often,
        so that no class is known by its scanner alone; of the tumour-free
        slices, those of a source that also shows tumours are drawn
        `PAIRED_SOURCE` times as often as another's, since only they teach
        what a tumour is rather than what a scanner is.

    Returns
    -------
    ndarray
        Shape (N,), summing to 1.
    """
    by_class, by_source = sampling != "natural", sampling == "class-source"
    keys = [
        (
            sample.label if by_class else None,
            sample.record.source if by_source else None,
        )
        for sample in samples
    ]
    slices = Counter(keys)
    shares = {
        key: PAIRED_SOURCE if by_source and _is_paired(key, slices) else 1.0
        for key in slices
    }
    totals: dict[TumorClass | None, float] = defaultdict(float)
    for (label, _), share in shares.items():
        totals[label] += share
    weights = np.array([shares[key] / (slices[key] * totals[key[0]]) for key in keys])
    return weights / weights.sum()


def _is_paired(
    key: tuple[TumorClass | None, str | None],
    slices: Mapping[tuple[TumorClass | None, str | None], int],
) -> bool:
    """Tell tumour-free slices whose source also shows tumours."""
    label, source = key
    return label is TumorClass.NO_TUMOR and any(
        other == source and name is not label for name, other in slices
    )


def served_pixels(samples: Sequence[Sample], size: int) -> NDArray[np.float32]:
    """Show unchanged samples as serving would see them.

    Parameters
    ----------
    samples
        N of them.
    size
        Edge of the input, in pixels.

    Returns
    -------
    ndarray
        Shape (N, size, size, 3), float32, in [0, 1].
    """
    return _as_input(
        [
            cv2.resize(sample.square, (size, size), interpolation=cv2.INTER_AREA)
            for sample in samples
        ]
    )


def _as_input(squares: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    grey = np.stack(squares).astype(np.float32) / np.float32(255.0)
    return np.repeat(grey[..., None], 3, axis=-1)


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
        _as_input(squares),
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
        stride: int,
    ) -> None:
        self._samples = samples
        self._weights = weights
        self._batch_size = batch_size
        self._seed = seed
        self._strip_share = strip_share
        self._stride = stride

    def batch(self, step: int, size: int) -> Batch:
        """Make the batch of one step."""
        rng = np.random.default_rng((self._seed, step))
        rows = rng.choice(len(self._samples), self._batch_size, p=self._weights)
        chosen = [self._samples[row] for row in rows]
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
