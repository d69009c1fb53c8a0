"""Figures by sequence and set, and on lesions beside the four classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.samples.scored_slices import made_set
from tumorlens.evaluation.by_sequence import sequence_figures, study_figures, together
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.imaging.study import MRSequence
from tumorlens.report.evaluation.performance import sequence_tables
from tumorlens.taxonomy import Lesion, TumorClass

GLIOMA, CLEAR = "glioma", "no_tumor"
T1, T2 = MRSequence.T1, MRSequence.T2


def with_facts(
    scored_slices: ScoredSlices, facts: list[dict[str, Any]]
) -> ScoredSlices:
    records = [
        replace(row, **more)
        for row, more in zip(scored_slices.records, facts, strict=True)
    ]
    return replace(scored_slices, records=records)


def value(found: dict[str, Any], key: str) -> float:
    return float(found[key]["value"])


def test_sets_and_sequences_stand_apart() -> None:
    said = [("a:1", GLIOMA, GLIOMA), ("a:2", GLIOMA, CLEAR), ("b:1", CLEAR, CLEAR)]
    scored_slices = with_facts(
        made_set(said), [{"sequence": T1}, {"sequence": T2}, {"sequence": None}]
    )
    found = sequence_figures(scored_slices)["sequences"]
    assert set(found) == {"a T1", "a T2", "b ?"}
    assert value(found["a T1"], "recall_glioma") == 1.0
    assert value(found["a T2"], "recall_glioma") == 0.0
    assert "recall_glioma" not in found["b ?"]


def test_other_lesions_are_counted_by_what_they_are_called() -> None:
    said = [(f"a:{row}", GLIOMA, GLIOMA) for row in range(4)]
    other = {"label": None, "lesion": Lesion.OTHER, "kind": "schwannoma"}
    scored_slices = with_facts(made_set(said), 4 * [{"sequence": T1, **other}])
    # The network itself names another kind on two of four.
    lesions = np.array([[0.9, 0.0], [0.9, 0.0], [0.0, 0.0], [np.nan, np.nan]])
    decisions = [Lesion.OTHER, TumorClass.GLIOMA, TumorClass.NO_TUMOR, CLEAR]
    scored_slices = replace(
        scored_slices,
        lesions=lesions,
        decisions=[*decisions[:3], TumorClass.GLIOMA],
    )
    found = sequence_figures(scored_slices)["kinds"]["schwannoma T1"]
    assert value(found, "other_called_kind") == 0.5
    assert value(found, "other_called_clear") == 0.0
    assert value(found, "other_decided_kind") == 0.5
    assert value(found, "other_cleared") == 0.25


def test_a_stroke_is_neither_tumour_nor_clear() -> None:
    said = [(f"a:{row}", CLEAR, CLEAR) for row in range(6)]
    said += [(f"b:{row}", GLIOMA, GLIOMA) for row in range(6)]
    said += [(f"c:{row}", GLIOMA, GLIOMA) for row in range(6)]
    stroke = {"label": None, "lesion": Lesion.VASCULAR, "kind": "stroke"}
    facts = [{"sequence": T1}] * 12 + [{"sequence": T1, **stroke}] * 6
    one_set = [{"patient": f"x:{row}", **item} for row, item in enumerate(facts)]
    found = sequence_figures(with_facts(made_set(said), one_set))
    assert value(found["sequences"]["x T1"], "auroc_tumor") == 1.0
    assert value(found["kinds"]["stroke T1"], "vascular_called_kind") == 1.0


def test_sequences_of_one_slice_are_added_up() -> None:
    said, facts, shares = [], [], []
    for row in range(12):
        label = GLIOMA if row % 2 else CLEAR
        for sequence, sure in ((T1, row % 4 > 1), (T2, row % 4 < 2)):
            # Each sequence sees half of the tumours, and is unsure of the rest.
            share = 0.5 if not sure else (0.99 if label is GLIOMA else 0.01)
            said.append((f"s:{row}", label, label))
            facts.append({"sequence": sequence, "site": "X", "extra": {"slice": "1"}})
            shares.append([share, 0.0, 0.0, 1.0 - share])
    scored_slices = with_facts(made_set(said, probabilities=np.array(shares)), facts)
    alone = sequence_figures(scored_slices)["sites"]
    assert value(alone["s X T1"], "auroc_tumor") < 0.95
    found = together(scored_slices)
    assert set(found) == {"s X T1 + T2"}
    assert found["s X T1 + T2"]["slices"] == 12
    assert value(found["s X T1 + T2"], "auroc_tumor") == 1.0


def test_models_stand_side_by_side() -> None:
    said = [("a:1", GLIOMA, GLIOMA), ("a:2", GLIOMA, GLIOMA)]
    scored_slices = with_facts(made_set(said), 2 * [{"sequence": T1}])
    one = sequence_figures(scored_slices)
    tables = sequence_tables({"one": one, "two": sequence_figures(scored_slices)})
    first = tables[0]
    assert first.columns == ("", "Figure", "Slices", "one", "two")
    (row,) = [row for row in first.rows if row[1] == "Recall, glioma"]
    assert row[0] == "a T1"
    assert row[3] == row[4]
    assert row[3].startswith("1.000")
    with pytest.raises(StopIteration):
        next(row for row in first.rows if row[1] == "Recall, pituitary")


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
