"""Two bundles on the same slices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.scored_slices import made_set
from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance.comparison import compare
from tumorlens.evaluation.performance.figures import set_figures
from tumorlens.report.evaluation.performance import comparison_section

NONE = "no_tumor"
ACCURACY = "4-class accuracy, by slice"


def answers(right: int, patients: int = 40):
    said = []
    for row in range(patients):
        true = "glioma" if row % 2 else NONE
        other = NONE if row % 2 else "glioma"
        word = true if row < right else other
        said += [(f"p{row}", true, word)] * 2
    return made_set(said)


def test_a_bundle_beside_itself_differs_by_nothing():
    found = compare(answers(30), answers(30))
    assert found["mcnemar"] == {"only_first": 0, "only_second": 0, "p": 1.0}
    for figures in found["figures"].values():
        assert figures["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert figures["p"] == 1.0


def test_a_clearly_better_bundle_is_found_so():
    found = compare(answers(40), answers(20))
    assert found["figures"][ACCURACY]["difference"]["value"] == 0.5
    assert found["figures"][ACCURACY]["difference"]["low"] > 0.0
    assert found["figures"][ACCURACY]["p"] == pytest.approx(0.001)
    assert found["mcnemar"]["only_first"] == 20
    assert found["mcnemar"]["p"] == pytest.approx(2 * 0.5**20)


def test_patients_are_swapped_not_slices():
    # One patient of 50 slices alone differs: that is one coin, not fifty.
    rest = [(f"p{row}", "glioma", "glioma") for row in range(10)]
    right = made_set([("big", NONE, NONE)] * 50 + rest)
    wrong = made_set([("big", NONE, "glioma")] * 50 + rest)
    found = compare(right, wrong)
    assert found["figures"][ACCURACY]["p"] == 1.0
    assert found["mcnemar"] == {"only_first": 1, "only_second": 0, "p": 1.0}


def test_a_patient_with_slices_of_two_classes_is_one_patient():
    right = [("both", "glioma", "glioma"), ("both", NONE, NONE)]
    wrong = [("both", "glioma", NONE), ("both", NONE, "glioma")]
    rest = [(f"p{row}", "glioma", "glioma") for row in range(4)]
    alone = compare(made_set(right + rest), made_set(wrong + rest))["mcnemar"]
    assert alone == {"only_first": 1, "only_second": 0, "p": 1.0}
    # Better on one class and worse on the other is neither.
    evens = compare(made_set([right[0], wrong[1]]), made_set([wrong[0], right[1]]))
    assert evens["mcnemar"] == {"only_first": 0, "only_second": 0, "p": 1.0}


def test_each_side_has_the_figures_it_has_alone():
    one, two = answers(33), answers(25)
    found = compare(one, two)["figures"]
    alone = set_figures(one)
    for name, key in (
        ("4-class accuracy, by patient", "accuracy_by_patient"),
        ("Tumour specificity", "tumor_specificity"),
        ("AUROC, tumour or none", "auroc_tumor"),
        ("Brier score", "brier"),
    ):
        assert found[name]["first"]["value"] == pytest.approx(alone[key]["value"])
    assert "Recall, meningioma" not in found


def test_slices_are_matched_by_file_whatever_their_order():
    one = answers(30)
    backwards = one.take(np.arange(len(one.records))[::-1][:60])
    found = compare(one, backwards)
    assert found["slices"] == 60
    assert found["figures"][ACCURACY]["difference"]["value"] == 0.0


def test_no_slice_in_common_is_an_error():
    one = answers(3, 4)
    moved = [replace(item, path=Path("x") / item.path) for item in one.records]
    with pytest.raises(DatasetError, match="no slice in common"):
        compare(one, replace(one, records=moved))


def test_the_section_names_both_bundles_and_the_tests():
    figures = {**compare(answers(40), answers(20)), "names": ["new 1", "old 2"]}
    figures["statements"] = ["All are held out.", "These are not."]
    shown = comparison_section(figures, 999, 2)
    assert shown.id == "comparison-2"
    assert shown.tables[0].columns[1:3] == ("new 1", "old 2")
    assert shown.paragraphs[0].endswith("old 2: These are not.")
    assert "McNemar" in shown.paragraphs[2]
    assert "< 0.001" in shown.paragraphs[2]


def test_a_perfect_share_has_the_interval_that_it_has_by_itself():
    first = answers(40)
    found = compare(first, answers(20))["figures"]
    alone = set_figures(first)
    assert found[ACCURACY]["first"] == pytest.approx(alone["accuracy"])
    assert found["Tumour sensitivity"]["first"] == alone["tumor_sensitivity"]
    assert found["Recall, glioma"]["first"]["low"] < 1.0
