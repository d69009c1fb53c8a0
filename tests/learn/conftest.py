"""Fixtures for the tests of learning: drawn data sets, and quiet backends."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LESIONS = {
    "glioma": (90, 110, 22),
    "meningioma": (180, 90, 14),
    "pituitary": (128, 170, 10),
    "no_tumor": None,
}


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory, phantom: Callable[..., np.ndarray]) -> Path:
    """A manifest of drawn heads: 4 classes, 3 patients each, 2 slices a patient."""
    folder = tmp_path_factory.mktemp("drawn")
    splits = ("train", "train", "validation")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient", "mask", "split", "source"))
        for label, lesion in LESIONS.items():
            for patient, split in enumerate(splits):
                for number in range(2):
                    name = f"{label}-{patient}-{number}"
                    seed = hash_of(name)
                    picture = phantom(lesion=lesion, seed=seed)
                    cv2.imwrite(str(folder / f"{name}.png"), picture)
                    mask = ""
                    if lesion is not None:
                        outline = np.zeros_like(picture)
                        cv2.circle(outline, lesion[:2], lesion[2], 255, -1)
                        mask = f"{name}-mask.png"
                        cv2.imwrite(str(folder / mask), outline)
                    row = (f"{name}.png", label, f"{label}{patient}", mask, split)
                    writer.writerow((*row, "a" if patient == 0 else "b"))
    return folder / "manifest.csv"


def hash_of(name: str) -> int:
    """A seed that is the same on every machine."""
    return int.from_bytes(name.encode()[-6:], "big") % 100_000
