"""What a run will take is told before it starts, and what is left while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.heads import TINY, draw_person
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass
from tumorlens.training import plan
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample
from tumorlens.training.networks.registry import find_network
from tumorlens.training.plan import (
    ExpectedCost,
    Pace,
    duration,
    expected_cost,
    steps_for,
)

CONFIG = TrainingConfig(epochs=10, steps_per_epoch=60)


def seconds_of_run(config, step_seconds, validation_seconds, compile_seconds):
    """Give the time of every step, and of what follows each epoch."""
    steps, seen = [], set()
    for step in range(config.total_steps):
        size = config.size_at(step)
        extra = 0.0 if size in seen else compile_seconds
        seen.add(size)
        steps.append(step_seconds * (size / config.early_size) ** 2 + extra)
    # At the end normalisation is counted anew, by passes without a compiled graph.
    counting = 40 * steps[-1] / 1.3
    return steps, [validation_seconds] * config.epochs, counting


@pytest.mark.parametrize("validation", [2.0, 20.0])
def test_the_time_left_is_right_within_a_fifth_after_the_first_minute(validation):
    steps, after, counting = seconds_of_run(
        CONFIG, 1.0, validation, compile_seconds=30.0
    )
    slices = round(3.0 * validation * CONFIG.batch_size / 1.96)
    pace, passed = Pace(CONFIG, slices), 0.0
    for step, seconds in enumerate(steps, 1):
        passed += seconds
        pace.step_done(seconds, CONFIG.size_at(step - 1))
        if step % CONFIG.steps_per_epoch == 0:
            passed += after[0]
            pace.epoch_done(after[0])
        left = sum(steps) + sum(after) + counting - passed
        if passed >= 60.0 and left > 60.0:
            assert pace.left(step) == pytest.approx(left, rel=0.2)
    assert pace.left(CONFIG.total_steps) == pytest.approx(counting)


def test_the_first_step_compiles_and_tells_no_time():
    pace = Pace(CONFIG, 10)
    pace.step_done(900.0, CONFIG.early_size)
    assert pace.knows_compiling_alone
    pace.step_done(1.0, CONFIG.early_size)
    assert not pace.knows_compiling_alone
    # A new size compiles too, and the pace of the old one is known.
    pace.step_done(900.0, CONFIG.size)
    assert not pace.knows_compiling_alone


def test_before_the_first_step_nobody_knows():
    assert Pace(CONFIG, 10).left(0) is None


def test_a_resumed_run_has_less_left():
    pace = Pace(CONFIG, 0)
    pace.step_done(1.0, CONFIG.early_size)
    assert pace.left(300) < 0.7 * pace.left(0)


@pytest.mark.parametrize(
    ("slices", "steps"), [(44, 10), (480, 20), (481, 21), (100_000, 110)]
)
def test_an_epoch_is_as_long_as_the_data(slices, steps):
    assert steps_for(slices, batch_size=24, most=110) == steps


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (61.0, "1 min 01 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_times_are_written_for_people(seconds, words):
    assert duration(seconds) == words


def test_too_little_memory_is_said(monkeypatch):
    cost = ExpectedCost(600.0, 4 * 2**30)
    monkeypatch.setattr(plan, "available_bytes", lambda: 8 * 2**30)
    said = cost.sentence(CONFIG)
    assert "600 steps in at most 10 epochs of 60, about 10 min 00 s" in said
    assert "4.0 GiB of memory" in said and "free" not in said
    monkeypatch.setattr(plan, "available_bytes", lambda: 2**30)
    assert "Only 1.0 GiB are free" in cost.sentence(CONFIG)


def test_a_run_is_estimated_without_a_change_to_the_network():
    model = find_network("seed-cnn").build(None)
    before = [item.copy() for item in model.get_weights()]
    square = np.asarray(draw_person(0, 256), np.uint8)
    record = Record(Path("head.png"), TumorClass.GLIOMA)
    samples = [Sample(record, square, None, None)] * 3
    small = replace(TINY, steps_per_epoch=4, batch_size=2)
    cost = expected_cost(model, small, samples, samples[:1])
    assert cost.seconds > 0.0
    assert all(
        np.array_equal(one, other)
        for one, other in zip(before, model.get_weights(), strict=True)
    )
    # A batch twice as large takes more memory, and so do more pictures.
    larger = replace(small, batch_size=4)
    assert expected_cost(model, larger, samples, []).memory_bytes > cost.memory_bytes
    more = expected_cost(model, small, samples * 100, samples[:1])
    assert more.memory_bytes - cost.memory_bytes == 297 * square.nbytes
