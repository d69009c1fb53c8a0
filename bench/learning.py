"""Does training wait for its pictures? Augmentation beside the training step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.figures import Asked, Figure, times
from bench.keras_side import why_not
from bench.pictures import LESION, SIZE, draw_head
from bench.timing import spread

if TYPE_CHECKING:
    from tumorlens.training.dataset import Sample

SIZES = (160, 224)


def measure(_model: Path, steps: int = 15, warm_up: int = 3) -> Iterator[Figure | str]:
    """Time a batch's augmentation and a training step on it, by turns."""
    reason = why_not()
    if reason is not None:
        yield reason
        return
    for size in SIZES:
        yield at_size(size, steps, warm_up)


def at_size(size: int, steps: int, warm_up: int) -> Figure:
    """Measure evidence-net at one size of the input, in pixels."""
    from tumorlens.training.batches import augmented
    from tumorlens.training.config import TrainingConfig
    from tumorlens.training.fit import compile_model
    from tumorlens.training.networks.registry import find_network

    config = TrainingConfig()
    network = find_network(config.network).build(size)
    compile_model(network, config)
    samples = draw_samples(config.batch_size)
    drawn, learnt = [], []
    threads = cv2.getNumThreads()
    for step in range(warm_up + steps):
        cv2.setNumThreads(1)
        start = time.perf_counter()
        batch = augmented(
            samples, size, size // 8, (config.seed, step), config.strip_share
        )
        middle = time.perf_counter()
        cv2.setNumThreads(threads)
        network.train_on_batch(
            batch.pixels,
            {"logits": batch.labels, "evidence": batch.cells},
            {
                "logits": np.ones(len(batch.labels), np.float32),
                "evidence": batch.cell_weights,
            },
        )
        end = time.perf_counter()
        if step >= warm_up:
            drawn.append(config.batch_size / (middle - start))
            learnt.append(config.batch_size / (end - middle))
    return times(
        f"Augmentation at {size} px, 1 thread",
        spread(drawn, "images/s"),
        "training step, all cores",
        spread(learnt, "images/s"),
        "times as fast",
        Asked("ratio", 1.0, at_least=True),
    )


def draw_samples(count: int) -> list[Sample]:
    """Draw heads with outlines, as training reads them from files."""
    from tumorlens.data.manifest import Record
    from tumorlens.taxonomy import CLASSES, TumorClass
    from tumorlens.training.dataset import load_samples

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outline = np.zeros((SIZE, SIZE), np.uint8)
        cv2.circle(outline, *LESION, 255, -1)
        mask = folder / "mask.png"
        cv2.imwrite(str(mask), outline)
        records = []
        for number in range(count):
            label = CLASSES[number % len(CLASSES)]
            sick = label is not TumorClass.NO_TUMOR
            path = folder / f"{number}.png"
            cv2.imwrite(str(path), draw_head(number, lesion=sick))
            records.append(Record(path, label, mask=mask if sick else None))
        samples, _ = load_samples(records)
    return samples
