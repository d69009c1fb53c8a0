"""Sequences together are measured inside hospitals, with what they add to T1C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.samples.scored_slices import made_set
from tumorlens.evaluation.performance.by_sequence import sequence_figures
from tumorlens.evaluation.performance.study import study_figures
from tumorlens.evaluation.scoring.scored_slices import ScoredSlices
from tumorlens.imaging.study import MRSequence
from tumorlens.report.evaluation.performance import sequence_tables

T1C, FLAIR = MRSequence.T1_CONTRAST, MRSequence.FLAIR


def two_sequences(patients: int = 24) -> ScoredSlices:
    """Each sequence is sure of every other tumour, and unsure of the rest."""
    said, facts, shares = [], [], []
    for patient in range(patients):
        for number in range(8):
            label = "glioma" if number % 2 else "no_tumor"
            for sequence, is_sure in ((T1C, number % 4 > 1), (FLAIR, number % 4 < 2)):
                sure = 0.99 if label == "glioma" else 0.01
                share = sure if is_sure else 0.5
                said.append((f"s:{patient}", label, label))
                shares.append([share, 0.0, 0.0, 1.0 - share])
                site = "AB"[patient % 2]
                number_of_slice = {"slice": str(number)}
                facts.append(
                    {"sequence": sequence, "site": site, "extra": number_of_slice}
                )
    scored = made_set(said, probabilities=np.array(shares))
    records = [
        replace(row, **more) for row, more in zip(scored.records, facts, strict=True)
    ]
    return replace(scored, records=records)


def test_every_set_of_sequences_is_measured_in_every_hospital() -> None:
    found = study_figures(two_sequences())
    names = ("T1C", "FLAIR", "T1C + FLAIR")
    assert set(found) == {
        *names,
        *(f"{site} {name}" for site in "AB" for name in names),
    }
    assert found["T1C + FLAIR"]["slices"] == 192
    assert found["A T1C"]["patients"] == 12


def test_what_is_added_is_measured_against_t1c_alone() -> None:
    found = study_figures(two_sequences())
    both, alone = found["T1C + FLAIR"], found["T1C"]
    assert both["auroc_tumor"]["value"] == 1.0
    gain = both["auroc_tumor"]["value"] - alone["auroc_tumor"]["value"]
    assert both["auroc_gain"]["value"] == gain > 0.05
    assert "auroc_gain" not in alone
    assert both["calibration_error"]["value"] < 0.05


def test_few_patients_are_not_measured() -> None:
    assert study_figures(two_sequences(patients=6)) == {}


def test_the_figures_stand_in_a_table_of_their_own() -> None:
    table = sequence_tables({"one": sequence_figures(two_sequences())})[-1]
    assert ("T1C + FLAIR", "Tumour or none, AUROC", "192", "1.000") in table.rows
    assert any(row[1] == "Above T1C alone, AUROC" for row in table.rows)
