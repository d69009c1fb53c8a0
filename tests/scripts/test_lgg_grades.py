"""Slices and columns of the grade's question: whose, which, and nothing known later."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.test_house import load
from tumorlens.data.manifest import read_manifest
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.clinical import read_clinical_table

# Patients with the codes of their grade; the last has none.
PATIENTS = {"TCGA-CS-1": "1", "TCGA-CS-2": "2", "TCGA-DU-3": ""}
PLACES = range(1, 31)
TUMOR = range(8, 20)
STACKED = (4, 22, 28)
"""Those that would be chosen, were they not there to complete the scan."""

SEQUENCES = (MRSequence.T1_CONTRAST, MRSequence.FLAIR)
AGES = {"TCGA-CS-1": "31", "TCGA-CS-2": "67"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files, made of drawn sets; the second patient has no T1 with contrast."""
    data = tmp_path_factory.mktemp("data")
    lgg: list[dict[str, str]] = []
    others: list[dict[str, str]] = []
    for patient in PATIENTS:
        for place in PLACES:
            drawn = place in TUMOR
            row = {
                "class": "glioma" if drawn else "no_tumor",
                "patient": patient,
                "site": patient[5:7],
                "slice": str(place),
                "gap_to_tumor_slice": "3",
                "use": "stack" if place in STACKED else "learn",
            }
            name = f"{patient}_{place}"
            if patient != "TCGA-CS-2":
                lgg.append({**row, "id": name})
            others += [
                {
                    **row,
                    "file": f"{name}_{sequence.lower()}.jpg",
                    "sequence": sequence,
                    "mask": f"masks/{name}.png" if drawn else "",
                }
                for sequence in ("FLAIR", "T1")
            ]
    table = [
        {
            "patient": patient,
            "neoplasm_histologic_grade": grade,
            "age_at_initial_pathologic": AGES.get(patient, ""),
            "gender": grade,
            "laterality": "3",
            "tumor_location": "6" if grade == "1" else "",
            "histological_type": "4711",
            "death01": "1",
        }
        for patient, grade in PATIENTS.items()
    ]
    write_rows(data / "lgg" / "lgg.csv", lgg)
    write_rows(data / "lgg_sequences" / "lgg_sequences.csv", others)
    write_rows(data / "lgg_sequences" / "lgg_clinical.csv", table)
    touch_files(data, [*lgg, *others])
    script: Any = load("lgg_grades")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lgg_grades.py", str(data), str(data / "out")])
        script.main()
    return data / "out"


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def touch_files(data: Path, rows: list[dict[str, str]]) -> None:
    """Make the files that a manifest names; nothing here looks into them."""
    for row in rows:
        folder = data / ("lgg_sequences" if "file" in row else "lgg")
        picture = row.get("file") or f"{row['id']}.jpg"
        for name in (f"images/{picture}", row.get("mask") or "masks/no.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        (folder / "masks" / f"{row['patient']}_{row['slice']}.png").touch()


def test_slices_are_of_the_grade_or_free_and_spread_evenly(made: Path) -> None:
    rows = read_manifest(made / "grades.csv", may_be_own=True)
    assert {str(item) for item in rows[0].label.siblings} == {
        *("grade 2", "grade 3", "no tumor"),
    }
    labels = {(row.patient, str(row.label)) for row in rows}
    assert labels == {
        ("lgg:TCGA-CS-1", "grade 2"),
        ("lgg:TCGA-CS-1", "no tumor"),
        ("lgg:TCGA-CS-2", "grade 3"),
        ("lgg:TCGA-CS-2", "no tumor"),
    }
    first = [row for row in rows if row.patient == "lgg:TCGA-CS-1"]
    places = {
        label: sorted({int(row.extra["slice"]) for row in first if row.label == label})
        for label in ("grade 2", "no tumor")
    }
    assert places["grade 2"] == [9, 11, 14, 16, 18]
    assert len(places["no tumor"]) == 3 and not {*STACKED} & {*places["no tumor"]}
    assert {row.sequence for row in first} == {*SEQUENCES}
    assert len(first) == 2 * (5 + 3)
    second = [row for row in rows if row.patient == "lgg:TCGA-CS-2"]
    assert {row.sequence for row in second} == {MRSequence.FLAIR}


def test_the_table_names_slices_with_tumour_and_nothing_known_later(
    made: Path,
) -> None:
    table = read_clinical_table(made / "columns.csv")
    assert table.columns == ("age", "sex", "laterality", "location")
    rows = read_manifest(made / "grades.csv", may_be_own=True)
    for row in rows:
        place = table.place_of_file(row.path)
        if str(row.label) == "no tumor":
            assert place is None
            continue
        assert place is not None
        graded_2 = row.patient == "lgg:TCGA-CS-1"
        assert table.rows[place] == {
            "age": "31" if graded_2 else "67",
            "sex": "female" if graded_2 else "male",
            "laterality": "right",
            "location": "place 6" if graded_2 else "",
        }
    assert "4711" not in (made / "columns.csv").read_text()
