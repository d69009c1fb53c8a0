"""Drawn heads that differ as those of different people do, and folds of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.taxonomy import CLASSES, TumorClass
from tumorlens.training.config import TrainingConfig


def disc(radius: int, centre: tuple[int, int] = (128, 128)) -> NDArray[np.uint8]:
    """Draw a disc of 255 on black, shape (256, 256); the centre is (column, row)."""
    picture = np.zeros((256, 256), np.uint8)
    cv2.circle(picture, centre, radius, 255, -1)
    return picture


def draw_person(number: int, size: int = 160) -> NDArray[np.uint8]:
    """Draw the head of one person: shape (size, size), uint8."""
    rng = np.random.default_rng(number)
    picture = np.zeros((size, size), np.float32)
    middle = (size // 2, size // 2)
    axes = (round(size * rng.uniform(0.3, 0.4)), round(size * rng.uniform(0.38, 0.46)))
    cv2.ellipse(picture, middle, axes, rng.uniform(-10, 10), 0, 360, 110.0, -1)
    inside = picture > 0
    for _ in range(14):
        spot = tuple(int(v) for v in rng.uniform(0.25 * size, 0.75 * size, 2))
        form = tuple(int(v) for v in rng.uniform(0.03 * size, 0.14 * size, 2))
        grey = float(rng.uniform(20, 240))
        cv2.ellipse(picture, spot, form, rng.uniform(0, 180), 0, 360, grey, -1)
    picture *= inside
    picture = cv2.GaussianBlur(picture, (0, 0), 1.2)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def draw_people(folder: Path, count: int) -> list[Record]:
    """Draw one slice each of so many people, in all classes by turns.

    Tumours are bright spots, with an outline beside the picture.
    """
    found = []
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        picture, mask = draw_person(number, 256), None
        if label is not TumorClass.NO_TUMOR:
            outline = np.zeros_like(picture)
            cv2.circle(outline, (110, 120), 18, 255, -1)
            picture[outline > 0] = 250
            mask = folder / f"{number}-mask.png"
            cv2.imwrite(str(mask), outline)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), picture)
        found.append(Record(path, label, f"p{number}", mask, source="drawn"))
    return found


TINY = TrainingConfig(
    network="seed-cnn",
    epochs=1,
    steps_per_epoch=2,
    batch_size=4,
    size=64,
    early_size=32,
)


def draw_two_folds(folder: Path, count: int = 16) -> list[Record]:
    """Draw people and deal them, all classes in both folds: FOLDER/folds.csv."""
    dealt = [
        replace(row, fold=number // 4 % 2)
        for number, row in enumerate(draw_people(folder, count))
    ]
    write_manifest(dealt, folder / "folds.csv")
    return read_manifest(folder / "folds.csv")
