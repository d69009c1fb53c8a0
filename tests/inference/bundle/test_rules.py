"""The rules that keep a slice inconclusive, and their way through a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import build_tiny_bundle
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import Bundle, load_bundle, save_bundle
from tumorlens.inference.bundle.rules import Rules, disagreement, disagrees, lacks_brain
from tumorlens.inference.slice.decision import decide
from tumorlens.inference.slice.ood import DomainModel
from tumorlens.inference.slice.results import Decision, RawOutputs
from tumorlens.taxonomy import TumorClass, Verdict

BOTH = Rules(head_disagreement=0.6, min_brain_share=0.1)
GLIOMA = (5.0, 0.0, 0.0, 0.0)
MENINGIOMA = (0.0, 5.0, 0.0, 0.0)
NO_TUMOR = (0.0, 0.0, 0.0, 5.0)


def judge(
    folder: Path,
    rules: Rules,
    *,
    spots: tuple[float, ...] = GLIOMA,
    share: float = 0.3,
    foreign: bool = False,
) -> Decision:
    """Judge a slice that as a whole is a glioma, and whose cells all say `spots`."""
    bundle = replace(load_bundle(folder), rules=rules)
    domain = DomainModel.load(folder / "domain.npz")
    if foreign:
        domain = replace(domain, cut=np.asarray(np.float32(1.1)))
    outputs = RawOutputs(
        np.array([[14.0, 0.0, 0.0, 0.0]], np.float32),
        np.tile(np.array(spots, np.float32), (1, 14, 14, 1)),
        np.zeros((1, 7, 7, 4), np.float32),
        np.zeros((1, len(domain.center)), np.float32),
    )
    slice_ = Slice(np.zeros((8, 8), np.float32), "x.png")
    return decide(outputs, 0, slice_, bundle, domain, "screening", share)


def test_without_rules_nothing_is_held_back(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, Rules(), spots=MENINGIOMA, share=0.0)
    assert found.decision is TumorClass.GLIOMA
    assert found.reasons == ()


def test_heads_that_agree_on_a_slice_full_of_brain_pass(tiny_bundle: Path) -> None:
    assert judge(tiny_bundle, BOTH).decision is TumorClass.GLIOMA


def test_heads_that_disagree_are_inconclusive_and_both_are_quoted(
    tiny_bundle: Path,
) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA)
    assert found.decision is Verdict.INCONCLUSIVE
    (reason,) = found.reasons
    assert "as a whole looks like glioma" in reason
    assert "look like meningioma" in reason
    assert found.predicted is TumorClass.GLIOMA


def test_a_tumour_beside_none_is_left_to_the_probability(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=NO_TUMOR)
    assert found.decision is TumorClass.GLIOMA


def test_too_little_brain_is_inconclusive_whatever_the_probability(
    tiny_bundle: Path,
) -> None:
    found = judge(tiny_bundle, BOTH, share=0.05)
    assert found.probabilities[TumorClass.GLIOMA] > 0.99
    assert found.decision is Verdict.INCONCLUSIVE
    assert "too little brain" in found.reasons[0]
    assert found.brain_share == 0.05


def test_every_reason_is_given(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA, share=0.05)
    assert len(found.reasons) == 2
    assert all(reason.endswith(".") for reason in found.reasons)


def test_a_foreign_picture_is_refused_before_any_rule(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA, share=0.0, foreign=True)
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert len(found.reasons) == 1


def test_a_decision_says_what_each_head_says_alone(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, Rules(), spots=MENINGIOMA)
    assert np.argmax(found.slice_head) == 0
    assert np.argmax(found.evidence_head) == 1
    assert sum(found.slice_head) == pytest.approx(1.0)
    assert sum(found.evidence_head) == pytest.approx(1.0)


def test_disagreement_is_as_firm_as_the_less_sure_head() -> None:
    whole = np.array([[0.9, 0.1, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0], [0.4, 0.6, 0.0, 0.0]])
    spots = np.array([[0.3, 0.7, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(disagreement(whole, spots), [0.7, 0.0, 0.0])
    np.testing.assert_allclose(disagreement(spots, whole), [0.7, 0.0, 0.0])


def test_agreement_is_never_held_back() -> None:
    assert not disagrees(Rules(head_disagreement=0.0), np.zeros(3)).any()
    assert disagrees(Rules(head_disagreement=0.5), np.array([0.5])).all()


def test_as_much_brain_as_asked_is_enough() -> None:
    found = lacks_brain(Rules(min_brain_share=0.1), np.array([0.0999, 0.1]))
    assert found.tolist() == [True, False]


@pytest.mark.parametrize(
    "rules", [BOTH, Rules(), Rules(min_brain_share=0.0), Rules(head_disagreement=0.7)]
)
def test_a_bundle_keeps_its_rules(tmp_path: Path, rules: Rules) -> None:
    build_tiny_bundle(tmp_path)
    assert resave(load_bundle(tmp_path), rules).rules == rules
    assert load_bundle(tmp_path).rules == rules


def resave(old: Bundle, rules: Rules) -> Bundle:
    return save_bundle(
        old.folder,
        name=old.name,
        version=old.version,
        preprocessing=old.preprocessing,
        calibration=old.calibration,
        operating_points=old.operating_points,
        default_operating_point=old.default_operating_point,
        prediction_sets=old.prediction_sets,
        domain=old.domain,
        provenance=old.provenance,
        metrics=old.metrics,
        rules=rules,
    )
