"""Each rule's gain and price, counted on sets small enough to count by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.samples.scored_slices import made_set, random_set
from tumorlens.evaluation.performance.rules import measure_rules
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.inference.bundle.facts import Rules
from tumorlens.report.evaluation.performance import RULES, rules_section
from tumorlens.taxonomy import Verdict

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
