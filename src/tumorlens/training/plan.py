"""Plan of a run: its cost before it starts, and the time left while it runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample
from tumorlens.training.weights import NORMALISATION_BATCHES

FEWEST_STEPS = 10
"""Steps of an epoch, at least: else validation would take most of the time."""

_STEP_OF_PASS = 1.3
"""Time of a training step over that of a forward pass without a compiled graph:
measured 1.2 to 1.4 (evidence-net at 160 pixels, seed-cnn at 96)."""
_PART_OF_BATCH = 4
"""A quarter of a batch is enough to time a pass."""
_KEPT = 1.5
"""Memory of a step over that of every layer's output: 1.2 fits evidence-net, which
keeps few of its frozen layers' outputs, at 160 pixels."""
_COPIES = 5
"""Weights, gradients, two moments of Adam, and the average."""
_FRAMEWORK_BYTES = 700 * 2**20
_RECENT = 50


def steps_for(slices: int, batch_size: int, most: int) -> int:
    """Size an epoch by the data: once through, as far as drawing by chance goes.

    Parameters
    ----------
    slices
        Number of slices to train on.
    batch_size
        Slices a step.
    most
        Steps of an epoch of a large set, which is validated before it is through.
    """
    return min(most, max(FEWEST_STEPS, -(-slices // batch_size)))


@dataclass(frozen=True)
class ExpectedCost:
    """Time and memory that a run is expected to take.

    Parameters
    ----------
    seconds
        Time by the clock on this machine as busy as it is now.
    memory_bytes
        Memory at its largest.
    """

    seconds: float
    memory_bytes: int

    def of_runs(self, runs: int, jobs: int) -> ExpectedCost:
        """Give the cost of several runs like this one, so many at a time.

        A process for each of several at a time reads the samples for itself.
        """
        return ExpectedCost(self.seconds * -(-runs // jobs), self.memory_bytes * jobs)

    def sentence(self, config: TrainingConfig, runs: int = 1) -> str:
        """Say steps, time and memory before a run, or several alike, start."""
        start = "" if runs == 1 else f"{runs} runs, each of "
        epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
        said = (
            f"{start}{config.total_steps:,} steps in at most {epochs} of "
            f"{config.steps_per_epoch}, about {duration(self.seconds)} on this machine "
            f"as busy as it is now, and about {self.memory_bytes / 2**30:.1f} GiB of "
            "memory."
        )
        free = available_bytes()
        if free is not None and self.memory_bytes > free:
            said += (
                f" Only {free / 2**30:.1f} GiB are free: use a smaller --batch-size or "
                "--size."
            )
        return said


def expected_cost(
    model: keras.Model,
    config: TrainingConfig,
    training: Sequence[Sample],
    validation: Sequence[Sample],
) -> ExpectedCost:
    """Estimate what a run will take, from one pass of blank pictures.

    Parameters
    ----------
    model
        The network; nothing in it changes.
    config
        Every choice of the run.
    training, validation
        Samples of the run.
    """
    activations = keras.Model(
        model.input, [layer.output for layer in model.layers[1:]]
    )(_blank(model, 1, config.early_size), training=False)
    count = max(1, config.batch_size // _PART_OF_BATCH)
    pixels = _blank(model, count, config.early_size)
    started = time.perf_counter()
    model(pixels, training=False)
    seconds = (time.perf_counter() - started) * config.batch_size / count
    pace = Pace(config, len(validation))
    pace.step_done(_STEP_OF_PASS * seconds, config.early_size)
    per_picture = sum(4 * int(np.prod(item.shape)) for item in activations)
    growth = (config.size / config.early_size) ** 2
    samples = sum(map(_sample_bytes, (*training, *validation)))
    memory = (
        _FRAMEWORK_BYTES
        + samples
        + _COPIES * 4 * model.count_params()
        + int(_KEPT * config.batch_size * per_picture * growth)
    )
    return ExpectedCost(pace.left(0) or 0.0, memory)


@dataclass(frozen=True)
class StepProgress:
    """How far a run is.

    Parameters
    ----------
    step, total
        Steps done, and of the whole run.
    epoch, epochs
        The epoch at work, from 1, and their number.
    seconds_left
        Time that is left, if the run does not stop early; None where nothing but the
        first step is known, which compiles the network.
    """

    step: int
    total: int
    epoch: int
    epochs: int
    seconds_left: float | None


class Pace:
    """Tells how long a run still takes, by its latest steps.

    Early steps see smaller pictures than late ones, so that their time is scaled by
    the number of pixels; what validation takes counts too.

    Parameters
    ----------
    config
        Every choice of the run.
    validated
        Number of slices that an epoch ends with validating.
    """

    def __init__(self, config: TrainingConfig, validated: int) -> None:
        self._config = config
        self._validated = validated
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._size = self._steps = 0
        self._validation: float | None = None
        self.knows_compiling_alone = False

    def step_done(self, seconds: float, size: int) -> None:
        """Note a step's time; the first at a size compiles, and counts for little."""
        if size != self._size:
            known = [item * (size / self._size) ** 2 for item in self._recent]
            self._recent.clear()
            self._recent.extend(known)
            self._size, self._steps = size, 0
        self._steps += 1
        if self._steps == 2:
            self._recent.clear()
        self.knows_compiling_alone = not self._recent and self._steps == 1
        if self._steps > 1 or not self._recent:
            self._recent.append(seconds)

    def epoch_done(self, seconds: float) -> None:
        """Note what came after an epoch's steps: validation, weights, checkpoint."""
        self._validation = seconds

    def left(self, step: int) -> float | None:
        """Estimate the seconds that are left after a step; None before the first."""
        if not self._recent:
            return None
        config, now = self._config, float(np.mean(self._recent))
        late_from = int(np.ceil(config.early_share * config.total_steps))
        early = max(0, late_from - step)
        late = config.total_steps - max(step, late_from)
        paces = {
            size: now * (size / self._size) ** 2
            for size in (config.early_size, config.size)
        }
        epochs = config.epochs - step // config.steps_per_epoch
        after = self._validation
        if after is None:
            # A pass alone is a good third of a step.
            batches = self._validated / config.batch_size
            after = batches * paces[config.size] / 3.0
        counting = min(NORMALISATION_BATCHES, config.total_steps) / _STEP_OF_PASS
        return (
            early * paces[config.early_size]
            + (late + counting) * paces[config.size]
            + epochs * after
        )


def duration(seconds: float) -> str:
    """Write a time for people, such as ``2 h 05 min`` or ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def available_bytes() -> int | None:
    """Read how much memory is free; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    words = fields.get("MemAvailable", "").split()
    return 1024 * int(words[0]) if words and words[0].isdecimal() else None


def _blank(model: keras.Model, count: int, size: int) -> NDArray[np.float32]:
    _, *shape = model.inputs[0].shape
    edges = (size if edge is None else edge for edge in shape)
    return np.zeros((count, *edges), np.float32)


def _sample_bytes(sample: Sample) -> int:
    arrays = (sample.square, sample.outline, sample.brain)
    return sum(0 if item is None else int(item.nbytes) for item in arrays)
