"""Rates of shadow mode are those that can be counted by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tumorlens.evaluation.shadow import disagreements, measure_shadow
from tumorlens.taxonomy import Answer, Decided, Finding, Lesion, TumorClass, Verdict

GLIOMA, NONE = TumorClass.GLIOMA, TumorClass.NO_TUMOR


@dataclass(frozen=True)
class Case:
    patient: str
    answer: Answer
    label: Decided | None
    kinds: tuple[Finding, ...] = ()
    week: str = "2026-W48"
    sequence: str = "T1"
    scanner: str = "drawn"
    is_part: bool = False
    reason: str = ""
    model_version: str = "1"


CASES = [
    Case("a", Answer.TUMOR, GLIOMA, (GLIOMA,)),
    Case("b", Answer.TUMOR, GLIOMA, (TumorClass.MENINGIOMA, GLIOMA), week="2026-W47"),
    Case("c", Answer.UNCERTAIN, Verdict.TUMOR, sequence="T2"),
    Case("d", Answer.NOT_BRAIN_MRI, TumorClass.PITUITARY, reason="unlike brain MRI"),
    Case("e", Answer.NO_TUMOR, NONE),
    Case("f", Answer.LESION, Lesion.VASCULAR, (Lesion.VASCULAR,), week="2026-W47"),
    Case("g", Answer.TUMOR, NONE, (GLIOMA,), scanner="other"),
    Case("h", Answer.NO_TUMOR, None, is_part=True),
]


def test_rates_count_refusals_apart_and_leave_out_what_has_no_label() -> None:
    found = measure_shadow(CASES, CASES)["all"]
    assert (found["cases"], found["labelled"], found["tumor"], found["free"]) == (
        *(8, 7, 4, 3),
    )
    assert found["sensitivity"]["value"] == 2 / 3
    assert found["sensitivity_of_all"]["value"] == 2 / 4
    assert found["specificity"]["value"] == 2 / 3
    assert found["specificity_of_all"]["value"] == 2 / 3
    # Among found tumours of a known kind.
    assert found["kind_named"]["value"] == 1 / 2
    assert found["kind_among_named"]["value"] == 1.0
    low, high = (found["sensitivity"][end] for end in ("low", "high"))
    assert 0.0 <= low < 2 / 3 < high <= 1.0


def test_intervals_are_over_patients_and_not_over_studies() -> None:
    once = [Case(str(n), Answer.TUMOR, GLIOMA) for n in range(10)]
    (single,) = {json.dumps(measure_shadow([], once)["all"]["sensitivity"])}
    # Ten studies of each patient say no more than one.
    again = measure_shadow([], 10 * once)["all"]
    assert json.dumps(again["sensitivity"]) == single
    assert (again["cases"], again["patients"]) == (100, 10)
    assert again["sensitivity"]["low"] == 0.025 ** (1 / 10)


def test_weeks_sequences_and_scanners_are_counted_apart() -> None:
    found = measure_shadow(CASES, CASES)
    assert found["chosen_week"] == "2026-W48"
    assert found["week"]["cases"] == 6 and found["week"]["series_partial"] == 1
    assert list(found["weeks"]) == ["2026-W47", "2026-W48"]
    assert found["weeks"]["2026-W47"]["sensitivity"]["value"] == 1.0
    assert measure_shadow(CASES, CASES, "2026-W47")["week"]["cases"] == 2
    assert measure_shadow(CASES, CASES, "2020-W01")["week"]["cases"] == 0
    assert found["by_sequence"]["T2"]["sensitivity"]["value"] == 0.0
    assert found["by_scanner"]["other"]["specificity"]["value"] == 0.0
    assert found["refusals"] == {"unlike brain MRI": 1}
    assert found["answers"]["glioma"]["tumor"] == 2
    assert found["answers"]["tumor"]["uncertain"] == 1
    assert list(found["answers"])[-1] == "tumor"


def test_what_turned_out_otherwise_is_listed() -> None:
    assert [case.patient for case in disagreements(CASES)] == ["c", "d", "g"]


def test_a_node_that_has_judged_nothing_has_no_rates() -> None:
    found = measure_shadow([], [])
    assert found["all"]["sensitivity"] is None and found["weeks"] == {}
    json.dumps(found, allow_nan=False)
