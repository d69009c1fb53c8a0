"""Training: augmentation beside a step, and the loop beside Keras's own.

The loop of `tumorlens train` draws and augments its pictures as it goes; beside it
stands a plain ``model.fit`` of the same network on such pictures in memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bench.figures import Amount, Asked, Figure, times
from bench.keras_side import why_not
from bench.pictures import LESION, SIZE, draw_head
from bench.timing import by_turns, spread

if TYPE_CHECKING:
    from tumorlens.training.dataset import Sample

SIZES = (160, 224)
STEPS_OF_A_TURN = 10


def measure(
    _model: Path, steps: int = 15, warm_up: int = 3, rounds: int = 5
) -> Iterator[Figure | str]:
    """Time augmentation and training step, and the loop and Keras's, by turns."""
    reason = why_not()
    if reason is not None:
        yield reason
        return
    for size in SIZES:
        yield at_size(size, steps, warm_up)
    for size in SIZES:
        yield beside_fit(size, rounds)


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


def beside_fit(size: int, rounds: int) -> Figure:
    """Measure the loop of `tumorlens train` beside Keras's, at one size in pixels.

    Both train networks of one recipe, with the same losses and optimizer. Ours makes
    its batches in each turn; Keras has them in arrays.
    """
    from tumorlens.training.config import TrainingConfig
    from tumorlens.training.fit import (
        build_first,
        compile_model,
        targets_and_weights,
        train_step,
        training_stream,
    )

    config = TrainingConfig()
    stream = training_stream(draw_samples(4 * config.batch_size), config)
    ours, plain = build_first(config), build_first(config)
    for network in (ours, plain):
        compile_model(network, config)
    batches = list(stream.batches(0, STEPS_OF_A_TURN, lambda _: size))
    pixels = np.concatenate([batch.pixels for batch in batches])
    parts = [targets_and_weights(plain, batch) for batch in batches]
    targets, weights = (
        {
            name: np.concatenate([part[which][name] for part in parts])
            for name in parts[0][which]
        }
        for which in (0, 1)
    )

    def loop() -> None:
        for batch in stream.batches(0, STEPS_OF_A_TURN, lambda _: size):
            train_step(ours, batch)

    def fit() -> None:
        plain.fit(
            pixels,
            targets,
            sample_weight=weights,
            batch_size=config.batch_size,
            verbose=0,
        )

    found, beside = (
        _rate(time_of_turn, len(pixels))
        for time_of_turn in by_turns((loop, fit), rounds, warm_up=1)
    )
    return times(
        f"Training at {size} px, loop of tumorlens train",
        found,
        "Keras fit, pictures in memory",
        beside,
        "times as fast",
        Asked("ratio", 0.95, at_least=True),
    )


def _rate(turn: Amount, images: int) -> Amount:
    """Turn the time that so many images took into images a second."""
    assert turn.low is not None
    assert turn.high is not None
    value, low, high = (
        1000.0 * images / milliseconds
        for milliseconds in (turn.value, turn.high, turn.low)
    )
    return Amount(value, "images/s", low, high)


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
