"""Drawn people in two folds, and the shortest run that trains on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.samples.heads import draw_people
from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.training.config import TrainingConfig

TINY = TrainingConfig(
    network="seed-cnn",
    epochs=1,
    steps_per_epoch=2,
    batch_size=4,
    size=64,
    early_size=32,
)


def draw_two_folds(folder: Path) -> list[Record]:
    """Draw 16 people and deal them, all classes in both folds: FOLDER/folds.csv."""
    dealt = [
        replace(row, fold=number // 4 % 2)
        for number, row in enumerate(draw_people(folder, 16))
    ]
    write_manifest(dealt, folder / "folds.csv")
    return read_manifest(folder / "folds.csv")
