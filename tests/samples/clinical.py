"""Patients with clinical columns: as arrays, and as a table with drawn pictures."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import LESIONS, draw_phantom, hash_of
from tumorlens.calibration.clinical import ClinicalData, deal_folds
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.taxonomy import CLASSES, own_classes


def made_patients(
    seed: int = 0, patients: int = 60, slices: int = 2, effect: float = 0.0
) -> ClinicalData:
    """Make patients of all classes whom the image tells apart fairly well.

    Parameters
    ----------
    seed
        Of everything drawn.
    patients, slices
        How many, and of each.
    effect
        How many standard deviations meningiomas lie above the others in the
        first of three columns; the other two are noise.
    """
    rng = np.random.default_rng(seed)
    whose = np.repeat(np.arange(patients), slices)
    labels = np.arange(patients) % len(CLASSES)
    scores = rng.normal(0.0, 1.2, (len(whose), len(CLASSES)))
    scores[np.arange(len(whose)), labels[whose]] += 1.5
    powers = np.exp(scores)
    columns = rng.normal(0.0, 1.0, (patients, 3))
    columns[:, 0] += effect * (labels == 1)
    return ClinicalData(
        powers / powers.sum(axis=1, keepdims=True),
        columns[whose],
        labels[whose],
        whose,
        deal_folds(labels[whose], whose, 5),
    )


AGES = {"glioma": 38.0, "meningioma": 66.0, "no_tumor": 51.0}
"""Mean ages; the tiny network cannot tell meningioma, age can."""

COLUMNS = ("age", "sex", "noise", "copy", "name", "birth_date", "scanner")
SECRET = "Zyxwvut"
"""In every patient's name, and nowhere else."""


def draw_patients(folder: Path, patients: int = 8, split: str = "validation") -> Path:
    """Draw heads of three classes with a manifest and a table; return the manifest.

    The table ``table.csv`` has a row for all but the last patient of each
    class, and no age for every seventh.
    """
    rng = np.random.default_rng(5)
    records, rows = [], []
    for label, age in AGES.items():
        for number in range(patients):
            patient = f"{label}{number}"
            place = folder / patient
            place.mkdir(parents=True)
            seed = hash_of(patient)
            picture = draw_phantom(lesion=LESIONS[label], seed=seed)
            cv2.imwrite(str(place / "0.png"), picture)
            records.append((f"{patient}/0.png", label, patient, split))
            known = len(rows) % 7 != 3
            values = (
                f"{rng.normal(age, 6.0):.9f}" if known else "NA",
                "FM"[number % 2],
                f"{rng.normal():.9f}",
                label,
                f"{SECRET} {patient}",
                f"1950-01-{number + 1:02d}",
                "3T",
            )
            if number < patients - 1:
                rows.append((patient, patient, *values))
    write_csv(folder / "manifest.csv", ("file", "label", "patient", "split"), records)
    write_csv(folder / "table.csv", ("patient", "file", *COLUMNS), rows)
    return folder / "manifest.csv"


def write_csv(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


OWN = own_classes({"astro": True, "meningeal": True, "cyst": False, "healthy": False})
"""Classes of a user's own for the tiny network, which has four outputs."""

OWN_LABELS = {"glioma": "astro", "meningioma": "meningeal", "no_tumor": "healthy"}


def relabel(manifest: Path) -> Path:
    """Write the manifest of `draw_patients` in classes of a user's own beside it."""
    by_name = {str(item): item for item in OWN}
    rows = [
        replace(row, label=by_name[OWN_LABELS[str(row.label)]])
        for row in read_manifest(manifest)
    ]
    path = manifest.with_name("own.csv")
    write_manifest(rows, path)
    return path


def drop_column(table: Path, *names: str) -> Path:
    """Write a table without some columns beside it, and return it."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = tuple(name for name in rows[0] if name not in names)
    path = table.with_name(f"without-{'-'.join(names)}.csv")
    write_csv(path, kept, [tuple(row[name] for name in kept) for row in rows])
    return path
