"""Figures of made-up sets, against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    roc_auc_score,
    roc_curve,
)

from tests.samples.scored_slices import made_set, random_set
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance import (
    BOTH_KINDS,
    ONE_KIND,
    compare,
    curve_figures,
    like_position_auroc,
    measure_rules,
    middle_auroc,
    operating_costs,
    set_figures,
    slice_positions,
    source_kinds,
    subgroup_figures,
)
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.inference.bundle.facts import Rules
from tumorlens.inference.slice.decision import apply_operating_point
from tumorlens.report.evaluation.performance import (
    RULES,
    comparison_section,
    curve_sections,
    rules_section,
    subgroup_section,
)
from tumorlens.report.page_parts import FIGURES
from tumorlens.statistics import Resampling, calibration_error
from tumorlens.taxonomy import CLASSES, Answer, TumorClass, Verdict

NONE = "no_tumor"


@pytest.fixture(scope="module")
def scored_slices():
    return random_set()


@pytest.fixture(scope="module")
def figures(scored_slices):
    return set_figures(scored_slices)


def test_figures_are_plain_json_and_hold_what_the_docs_ask_for(figures):
    again = json.loads(json.dumps(figures, allow_nan=False))
    assert again == figures
    assert {key for _, key in FIGURES} <= set(figures)


def test_class_figures_agree_with_scikit_learn(scored_slices, figures):
    labels, said = scored_slices.labels, scored_slices.probabilities.argmax(axis=1)
    found = figures["classes"]["by_slice"]
    precision = precision_score(labels, said, average=None)
    for row, name in enumerate(CLASSES):
        own = found["classes"][name]
        assert own["precision"]["value"] == pytest.approx(precision[row])
        wanted = roc_auc_score(labels == row, scored_slices.probabilities[:, row])
        assert own["auroc"]["value"] == pytest.approx(wanted)
        others = labels != row
        assert own["specificity"]["value"] == pytest.approx(
            (said != row)[others].mean()
        )
    assert found["macro_f1"]["value"] == pytest.approx(
        f1_score(labels, said, average="macro")
    )


def test_the_calibration_error_is_the_one_of_metrics(scored_slices, figures):
    wanted = calibration_error(scored_slices.probabilities, scored_slices.labels)
    assert figures["calibration_error"]["value"] == pytest.approx(wanted)


def test_the_calibration_error_lies_inside_its_interval():
    # Right as often as it is sure, in every bin: all draws are further off.
    sure = np.linspace(0.4, 0.99, 400)
    right = np.floor(np.cumsum(sure)) > np.floor(np.cumsum(sure) - sure)
    said = [
        (f"p{row % 100}", "glioma" if hit else "pituitary", "glioma")
        for row, hit in enumerate(right)
    ]
    rest = np.repeat(((1.0 - sure) / 3.0)[:, None], 3, axis=1)
    honest = made_set(said, probabilities=np.c_[sure, rest])
    found = set_figures(honest)["calibration_error"]
    assert found["value"] < 0.02
    assert found["low"] <= found["value"] < found["high"] < 0.1


def test_the_brier_score_of_certain_and_wrong_is_two():
    wrong = np.eye(4)[[1, 1]]
    said = [("a", "glioma", "glioma"), ("b", "glioma", "glioma")]
    assert set_figures(made_set(said, probabilities=wrong))["brier"]["value"] == 2.0


def test_a_patient_is_judged_by_the_mean_of_the_slices():
    two_of_three = [("a", "glioma", word) for word in ("glioma", "glioma", NONE)]
    found = set_figures(made_set([*two_of_three, ("b", NONE, NONE)]))
    assert found["accuracy"]["value"] == pytest.approx(0.75)
    assert found["accuracy_by_patient"]["value"] == 1.0
    assert found["patients"] == 2


def test_who_has_both_kinds_of_slices_counts_for_each():
    found = set_figures(made_set([("a", "glioma", "glioma"), ("a", NONE, "glioma")]))
    assert found["classes"]["by_patient"]["count"] == 2
    assert found["accuracy_by_patient"]["value"] == 0.5


def test_a_refused_slice_is_neither_missed_nor_cleared():
    said = [("a", "glioma", NONE), ("b", NONE, NONE)]
    refused = [Verdict.NOT_BRAIN_MRI, Verdict.NOT_BRAIN_MRI]
    found = set_figures(made_set(said, decisions=refused))
    assert found["tumor_sensitivity"]["value"] == 1.0
    assert found["tumor_specificity"]["value"] == 0.0
    rates = found["operating_points"]["screening"]
    assert rates["sensitivity"]["value"] == 1.0
    assert rates["specificity"]["value"] == 0.0
    assert rates["negative_predictive_value"] is None


@pytest.mark.parametrize("decided", [Verdict.TUMOR, Verdict.UNCERTAIN])
def test_a_tumour_without_a_kind_is_found(decided):
    said = [("a", "glioma", "glioma")]
    found = set_figures(made_set(said, decisions=[decided]))
    assert found["tumor_sensitivity"]["value"] == 1.0
    assert found["inconclusive"]["value"] == 1.0


def test_each_row_is_held_to_its_own_threshold():
    said = [("a", "glioma", NONE), ("b", "glioma", NONE)]
    found = set_figures(made_set(said, thresholds=np.array([0.3, 0.05])))
    rates = found["operating_points"]
    assert rates["screening"]["sensitivity"]["value"] == 0.5
    assert rates["balanced"]["sensitivity"]["value"] == 0.0


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 0.7, 0.99])
def test_rates_count_what_is_served(threshold):
    """Above one half nothing is called free of tumour, whatever the threshold is."""
    shares = np.array([0.01, 0.1, 0.4, 0.6, 0.98])
    probabilities = np.stack([shares, *np.zeros((2, 5)), 1.0 - shares], axis=1)
    said = [(f"p{row}", "glioma", "glioma") for row in range(5)]
    scored_slices = made_set(
        said, probabilities=probabilities, thresholds=np.full(5, threshold)
    )
    served = [
        apply_operating_point(row, (TumorClass.GLIOMA,), threshold).finding
        for row in probabilities
    ]
    missed = np.mean([finding is Answer.NO_TUMOR for finding in served])
    found = set_figures(scored_slices)["operating_points"]["screening"]
    assert found["sensitivity"]["value"] == pytest.approx(1.0 - missed)


def test_a_bundle_without_a_point_has_no_rates_for_it():
    unknown = np.array([np.nan])
    found = set_figures(made_set([("a", NONE, NONE)], balanced_thresholds=unknown))
    assert set(found["operating_points"]) == {"screening"}


def test_only_places_with_both_kinds_are_judged_from_inside():
    tumors = [(f"t{row}", "glioma", "glioma") for row in range(10)]
    healthy = [(f"n{row}", NONE, NONE) for row in range(10)]
    sites = ["both"] * 5 + ["tumours"] * 5 + ["both"] * 5 + ["none"] * 5
    found = set_figures(made_set([*tumors, *healthy], site=sites))["within_sites"]
    assert set(found) == {"source made", "site both"}
    assert found["site both"]["auroc_tumor"]["value"] == 1.0
    assert found["site both"]["tumor_slices"] == 5


def test_parts_have_only_figures_that_can_be_had():
    said = [("a", "glioma", "glioma"), ("b", NONE, "glioma")]
    found = set_figures(made_set(said, source=["x", "y"]))["by_source"]
    assert "tumor_specificity" not in found["x"]
    assert found["y"]["tumor_specificity"]["value"] == 0.0
    assert found["x"]["slices"] == 1


def test_a_part_of_one_patient_has_no_area_under_a_curve():
    said = [("a", "glioma", "glioma"), ("a", NONE, NONE)] * 5
    more = [("b", "glioma", "glioma"), ("c", NONE, NONE)] * 5
    found = set_figures(made_set([*said, *more], source=["x"] * 10 + ["y"] * 10))
    assert "auroc_tumor" not in found["by_source"]["x"]
    assert found["by_source"]["y"]["auroc_tumor"]["value"] == 1.0
    assert set(found["within_sites"]) == {"source y"}


def test_localisation_counts_outlined_slices_alone(scored_slices, figures):
    known = np.isfinite(scored_slices.peak_inside)
    assert figures["outlined_slices"] == known.sum()
    wanted = scored_slices.peak_inside[known].mean()
    assert figures["peak_inside_outline"]["value"] == pytest.approx(wanted)
    assert "localisation" not in set_figures(made_set([("a", NONE, NONE)]))


def test_coverage_counts_the_true_class_in_the_set():
    sets = np.array([[1, 1, 0, 0], [0, 1, 0, 0]], bool)
    said = [("a", "glioma", "glioma"), ("b", "glioma", "meningioma")]
    found = set_figures(made_set(said, sets=sets))
    assert found["coverage"]["glioma"]["value"] == 0.5
    assert found["coverage"]["pituitary"] is None
    assert found["set_size"]["value"] == 1.5


def test_coverage_by_patient_weighs_patients_alike():
    sets = np.array([[1, 0, 0, 0]] * 3 + [[0, 1, 0, 0]] + [[0, 0, 0, 1]], bool)
    said = [("a", "glioma", "glioma")] * 3 + [("b", "glioma", "meningioma")]
    found = set_figures(made_set([*said, ("a", NONE, NONE)], sets=sets))
    assert found["coverage"]["glioma"]["value"] == 0.75
    assert found["coverage_by_patient"]["glioma"]["value"] == 0.5
    assert found["coverage_by_patient"]["no_tumor"]["value"] == 1.0
    assert found["coverage_by_patient"]["pituitary"] is None


def test_the_classes_are_those_of_the_taxonomy(figures):
    assert set(figures["recall"]) == {name.value for name in TumorClass}


def row(patient, number, plane=""):
    extra = {} if number is None else {"slice": str(number)}
    name = f"{patient}-{plane}-{number}.png"
    return Record(Path(name), None, patient, plane=plane, extra=extra)


def test_positions_run_from_a_patients_lowest_slice_to_the_highest():
    rows = [row("a", 3), row("b", 10), row("a", 7), row("b", 30), row("a", 4)]
    np.testing.assert_allclose(slice_positions(rows), [0, 0, 1, 1, 0.25])


def test_planes_of_one_patient_are_numbered_apart():
    rows = [row("a", 0, "axial"), row("a", 4, "axial"), row("a", 4, "sagittal")]
    rows.append(row("a", 6, "sagittal"))
    np.testing.assert_allclose(slice_positions(rows), [0, 1, 0, 1])


def test_slices_without_a_number_or_a_neighbour_have_no_position():
    rows = [row("a", None), row("a", 1), row("b", 2), row("b", "x")]
    assert np.isnan(slice_positions(rows)).all()


@pytest.fixture
def scans():
    """Eight patients of 12 slices; tumours in the middle, and one near each end."""
    positions = np.tile(np.arange(12) / 11, 8)
    tumor = np.tile(np.isin(np.arange(12), (1, 4, 5, 7, 10)), 8)
    groups = np.repeat([f"p{number}" for number in range(8)], 12)
    return positions, tumor, Resampling(groups.tolist())


def test_a_score_that_knows_the_height_alone_tells_nothing_between_like_slices(scans):
    positions, tumor, draws = scans
    sixth = np.minimum(np.floor(positions * 6), 5)
    coarse = -np.abs(sixth - 2.5)
    assert draws.auroc(coarse, tumor)[0] > 0.6
    assert like_position_auroc(coarse, tumor, positions, draws)[0] == 0.5
    assert middle_auroc(positions, tumor, draws)[0] > 0.6


def test_a_score_that_sees_the_tumour_keeps_its_area(scans):
    positions, tumor, draws = scans
    found = like_position_auroc(tumor.astype(float), tumor, positions, draws)
    np.testing.assert_array_equal(found[np.isfinite(found)], 1.0)
    assert len(found) == 201


def test_each_part_weighs_as_many_tumours_as_it_holds():
    """Three tumours that are told in one sixth, one that is not in another."""
    positions = np.array([0.05, 0.05, 0.05, 0.1, 0.95, 0.9])
    tumor = np.array([True, True, True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.1, 0.2, 0.3])
    draws = Resampling(["a"] * 6)
    assert like_position_auroc(scores, tumor, positions, draws)[0] == 0.75


def test_without_positions_there_is_no_figure():
    tumor = np.array([True, False])
    nowhere = np.full(2, np.nan)
    draws = Resampling(["a", "b"])
    assert np.isnan(like_position_auroc(nowhere, tumor, nowhere, draws)).all()
    assert np.isnan(middle_auroc(nowhere, tumor, draws)).all()


def test_costs_count_a_refused_slice_as_not_cleared():
    said = [
        ("a", "glioma", "glioma"),
        ("a", "glioma", NONE),
        ("a", NONE, NONE),
        ("a", NONE, NONE),
    ]
    refused = [TumorClass.GLIOMA, *[TumorClass.NO_TUMOR] * 2, Verdict.NOT_BRAIN_MRI]
    found = operating_costs(
        made_set(
            said, outline_shares=np.array([0.2, 0.1, np.nan, np.nan]), decisions=refused
        )
    )["screening"]["all"]
    assert found["large_lesions"]["value"] == 1.0
    assert found["faint_lesions"]["value"] == 0.0
    assert found["same_scanner"]["value"] == 0.5
    assert found["same_scanner"]["slices"] == 2


@pytest.fixture(scope="module")
def drawn_slices():
    return random_set(3)


@pytest.fixture(scope="module")
def curves(drawn_slices):
    return curve_figures(drawn_slices)


def test_the_roc_is_that_of_scikit_learn(drawn_slices, curves):
    false, found, _ = roc_curve(drawn_slices.tumor, drawn_slices.p_tumor)
    roc = curves["roc"]["tumor"]
    assert roc["y"] == pytest.approx(np.interp(roc["x"], false, found), abs=0.02)
    assert all(
        low <= value <= high
        for low, value, high in zip(roc["low"], roc["y"], roc["high"], strict=True)
    )


def test_the_average_precision_is_that_of_scikit_learn(drawn_slices, curves):
    found = curves["precision_recall"]["tumor"]
    wanted = average_precision_score(drawn_slices.tumor, drawn_slices.p_tumor)
    assert found["average_precision"]["value"] == pytest.approx(wanted)
    assert found["prevalence"] == pytest.approx(0.75)


def test_acting_on_the_truth_is_worth_the_share_of_tumours():
    truth = np.eye(4)[[0, 3, 3, 3]]
    said = [(f"p{row}", name, name) for row, name in enumerate(["glioma", *[NONE] * 3])]
    curve = curve_figures(made_set(said, probabilities=truth))["decision"]
    assert curve["y"] == [0.25] * len(curve["x"])


def test_the_net_benefit_weighs_false_alarms_by_the_odds():
    said = [("a", "glioma", "glioma"), ("b", NONE, "glioma")]
    curve = curve_figures(made_set(said))["decision"]
    at = curve["x"].index(0.75)
    # One of two found, less one of two false alarms at odds of three to one.
    assert curve["y"][at] == pytest.approx(0.5 - 0.5 * 3)
    assert curve["all"][at] == pytest.approx(curve["y"][at])


def test_reliability_counts_every_slice_once(drawn_slices, curves):
    bins = curves["reliability"]["most_probable"]["bins"]
    assert sum(row["slices"] for row in bins) == len(drawn_slices.records)
    right = sum(row["slices"] * row["right"]["value"] for row in bins)
    wanted = (drawn_slices.probabilities.argmax(axis=1) == drawn_slices.labels).sum()
    assert right == pytest.approx(wanted)


def test_one_kind_alone_has_no_roc_but_a_reliability():
    drawn_slices = made_set([("a", "glioma", "glioma"), ("b", "glioma", NONE)])
    found = curve_figures(drawn_slices)
    assert found["roc"] == {}
    assert "decision" not in found
    ids = [item.id for item in curve_sections({"curves": found})]
    assert ids == ["calibration"]


def test_the_sections_show_the_operating_points(drawn_slices, curves):
    metrics = {**set_figures(drawn_slices), "curves": curves}
    first, *_ = curve_sections(metrics)
    points = first.charts[0].lines[-1]
    assert points.name == "Operating points"
    assert len(points.x) == 2


def test_parts_add_up_and_unnamed_ones_are_left_out():
    scored_slices = random_set(4)
    found = subgroup_figures(scored_slices)
    planes = found["plane"]
    assert set(planes) == {"axial", "coronal"}
    named = sum(record.plane != "" for record in scored_slices.records)
    assert sum(part["slices"] for part in planes.values()) == named
    outlined = np.isfinite(scored_slices.outline_shares).sum()
    sizes = found["tumor_size"]
    assert sum(part["slices"] for part in sizes.values()) == outlined
    assert [name.split()[0] for name in sizes] == ["smallest", "middle", "largest"]


def test_the_smallest_third_holds_the_smallest_tumours():
    said = [
        (f"p{row}", "glioma", word)
        for row, word in enumerate(["no_tumor"] * 3 + ["glioma"] * 6)
    ]
    shares = np.arange(9) / 100
    found = subgroup_figures(made_set(said, outline_shares=shares))["tumor_size"]
    found_by_size = [part["tumor_sensitivity"]["value"] for part in found.values()]
    assert found_by_size == [0.0, 1.0, 1.0]


def test_a_set_of_one_kind_has_no_subgroups_of_it():
    scored_slices = made_set([("a", "glioma", "glioma"), ("b", "glioma", "glioma")])
    assert subgroup_figures(scored_slices) == {}


def test_the_section_has_a_table_for_each_kind():
    found = subgroup_figures(random_set(5))
    assert len(subgroup_section(found).tables) == len(found)


SAID = [
    ("a", "glioma", "glioma"),
    ("b", "meningioma", "glioma"),
    ("c", "no_tumor", "no_tumor"),
    ("d", "glioma", "no_tumor"),
    ("e", "no_tumor", "no_tumor"),
]

SOURCES = ["cheng", "cheng", "web", "lgg", "lgg"]


def test_each_kind_of_source_has_its_own_figures():
    found = source_kinds(made_set(SAID, source=SOURCES))
    one, both = found[ONE_KIND], found[BOTH_KINDS]
    assert one["sources"] == ["cheng", "web"]
    assert (one["slices"], one["patients"]) == (3, 3)
    assert one["accuracy"]["value"] == 2 / 3
    assert one["recall"]["meningioma"]["value"] == 0.0
    assert one["tumor_sensitivity"]["value"] == 1.0
    assert both["sources"] == ["lgg"]
    assert both["tumor_sensitivity"]["value"] == 0.0
    assert both["tumor_specificity"]["value"] == 1.0


def test_sources_that_are_all_alike_are_not_told_apart():
    assert source_kinds(made_set(SAID[:3], source=SOURCES[:3])) == {}
    assert source_kinds(made_set(SAID[3:], source=SOURCES[3:])) == {}


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


BOTH = Rules(head_disagreement=0.5, min_brain_share=0.1)


def ten_slices() -> ScoredSlices:
    """Ten slices of ten patients.

    The first two are wrong and the heads disagree on them, as on the third,
    which is right. The fourth, a tumour, is cleared and shows little brain, as
    the last, which is rightly cleared, does.
    """
    said = [
        ("a", "glioma", "meningioma"),
        ("b", "glioma", "meningioma"),
        ("c", "glioma", "glioma"),
        ("d", "glioma", "no_tumor"),
        *((name, "no_tumor", "no_tumor") for name in "efghij"),
    ]
    heads = made_set(said).probabilities
    spots = heads.copy()
    spots[:3] = [[0.7, 0.2, 0.1, 0.0], [0.7, 0.2, 0.1, 0.0], [0.2, 0.7, 0.1, 0.0]]
    brain = np.full(10, 0.3)
    brain[[3, 9]] = 0.05
    return made_set(said, evidence_head=spots, brain_shares=brain)


def values(figures: dict, *keys: str) -> list[float]:
    return [figures[key]["value"] for key in keys]


def test_without_rules_every_slice_is_named() -> None:
    found = measure_rules(ten_slices())
    assert found["without"]["error"]["value"] == pytest.approx(0.3)
    assert found["all"]["held"]["value"] == 0.0
    assert found["levels"] == {"heads_disagree": [], "little_brain": []}


def test_what_a_rule_catches_and_loses() -> None:
    found = measure_rules(ten_slices(), BOTH)["rules"]
    keys = ("held", "errors_caught", "right_lost", "wrong_among_held", "error_after")
    heads = values(found["heads_disagree"], *keys)
    assert heads == pytest.approx([3 / 10, 2 / 3, 1 / 7, 2 / 3, 1 / 7])
    brain = values(found["little_brain"], *keys)
    assert brain == pytest.approx([2 / 10, 1 / 3, 1 / 7, 1 / 2, 2 / 8])


def test_a_cleared_tumour_that_is_held_is_no_longer_missed() -> None:
    found = measure_rules(ten_slices(), BOTH)
    changes = ("sensitivity_change", "specificity_change")
    assert values(found["without"], "sensitivity", "specificity") == [0.75, 1.0]
    brain = values(found["rules"]["little_brain"], *changes)
    assert brain == pytest.approx([1 / 4, -1 / 6])
    assert values(found["rules"]["heads_disagree"], *changes) == [0.0, 0.0]
    assert values(found["all"], *changes) == pytest.approx([1 / 4, -1 / 6])


def test_what_another_rule_holds_too_is_not_added() -> None:
    scored_slices = ten_slices()
    scored_slices.brain_shares[:3] = 0.0
    found = measure_rules(scored_slices, BOTH)["rules"]
    assert found["heads_disagree"]["adds"]["held"]["value"] == 0.0
    assert found["little_brain"]["adds"]["held"]["value"] == pytest.approx(0.2)


def test_refused_pictures_are_left_out() -> None:
    scored_slices = ten_slices()
    scored_slices.decisions[0] = Verdict.NOT_BRAIN_MRI
    found = measure_rules(scored_slices, BOTH)
    assert found["slices"] == 9
    assert found["rules"]["heads_disagree"]["held"]["value"] == pytest.approx(2 / 9)


def test_refusal_is_measured_on_all_slices() -> None:
    scored_slices = ten_slices()
    scored_slices.decisions[0] = scored_slices.decisions[4] = Verdict.NOT_BRAIN_MRI
    found = measure_rules(scored_slices, BOTH)
    keys = ("held", "errors_caught", "right_lost", "error_after")
    assert values(found["refusal"], *keys) == pytest.approx(
        [2 / 10, 1 / 3, 1 / 7, 2 / 8]
    )
    # With the rules only five right slices are left.
    together = values(found["refusal_and_all"], *keys)
    assert together == pytest.approx([6 / 10, 1.0, 3 / 7, 0.0])


def test_pooled_folds_may_have_different_rules() -> None:
    folds = [BOTH] * 5 + [Rules()] * 5
    found = measure_rules(ten_slices(), folds)
    assert found["rules"]["little_brain"]["held"]["value"] == pytest.approx(0.1)
    assert found["levels"] == {"heads_disagree": [0.5], "little_brain": [0.1]}


def test_the_rules_together_are_the_decisions_of_the_bundle() -> None:
    scored_slices = random_set()
    found = measure_rules(scored_slices)["all"]["held"]["value"]
    p, sets = scored_slices.probabilities, scored_slices.sets[:, :3].sum(axis=1)
    unnamed = (p.argmax(axis=1) == 3) | (sets > 1)
    assert found == pytest.approx((unnamed & (scored_slices.p_tumor >= 0.3)).mean())


def test_holding_back_the_least_sure_lowers_the_error() -> None:
    curve = measure_rules(random_set())["curves"]["probability"]
    assert curve["held"][0] == 0.0
    assert curve["error"][-1] < curve["error"][0]
    assert curve["held"] == sorted(curve["held"])


def test_the_section_is_made_from_plain_json() -> None:
    figures = json.loads(json.dumps(measure_rules(ten_slices(), BOTH)))
    found = rules_section(figures)
    names = [row[0] for row in found.tables[0].rows]
    assert names == [*RULES.values(), "All together"]
    assert found.tables[2].rows[0][0] == "Refused as no brain MRI"
    assert "threshold 0.500" in " ".join(found.paragraphs)
    assert len(found.charts[0].lines) == 3


def test_a_set_that_was_refused_whole_says_so() -> None:
    scored_slices = ten_slices()
    scored_slices.decisions[:] = [Verdict.NOT_BRAIN_MRI] * 10
    assert "refused" in rules_section(measure_rules(scored_slices)).paragraphs[0]
