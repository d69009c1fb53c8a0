"""A drawn set of patients with a table: one column tells, one is noise, one leaks."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import LESIONS, draw_phantom, hash_of

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


def drop_column(table: Path, *names: str) -> Path:
    """Write a table without some columns beside it, and return it."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = tuple(name for name in rows[0] if name not in names)
    path = table.with_name(f"without-{'-'.join(names)}.csv")
    write_csv(path, kept, [tuple(row[name] for name in kept) for row in rows])
    return path
