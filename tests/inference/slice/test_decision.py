"""Decisions by operating point, prediction set and rules; views of findings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tumorlens.errors import SettingError
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import Calibration, Margins
from tumorlens.inference.slice.decision import (
    OUT_OF_DISTRIBUTION,
    SOME_LESION,
    UNSURE_TUMOR,
    WEAK_TUMOR,
    RawOutputs,
    apply_operating_point,
    calibrated_probabilities,
    class_view,
    decide,
    decided_view,
    firm_decision,
    named_probabilities,
    other_lesions,
    pool_evidence,
    prediction_set,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    Answer,
    Lesion,
    TumorClass,
    Verdict,
    decision_of,
)

GLIOMA, MENINGIOMA, PITUITARY, NO_TUMOR = CLASSES
THRESHOLDS = dict.fromkeys(CLASSES, 0.2)


def settle(*probabilities, threshold=0.1, vascular=0.0):
    values = np.array(probabilities)
    options = prediction_set(values, THRESHOLDS)
    return apply_operating_point(values, options, threshold, vascular)


def test_below_the_operating_point_there_is_no_tumor():
    assert settle(0.03, 0.03, 0.03, 0.91) == (Answer.NO_TUMOR, (), ())


def test_one_likely_tumor_is_named():
    assert settle(0.1, 0.8, 0.05, 0.05) == (Answer.TUMOR, (MENINGIOMA,), ())


def test_two_likely_tumors_are_a_tumor_of_open_kind_the_likeliest_first():
    outcome = settle(0.42, 0.48, 0.05, 0.05)
    assert outcome.finding is Answer.TUMOR
    assert outcome.kinds == (MENINGIOMA, GLIOMA)
    assert "meningioma or glioma" in outcome.reasons[0]


def test_a_kind_that_is_less_likely_than_not_never_stands_alone():
    outcome = settle(0.4, 0.13, 0.12, 0.35)
    assert outcome.kinds == (GLIOMA, MENINGIOMA)


def test_a_tumor_is_never_of_no_kind():
    # Together likelier than not, though none of them is in the prediction set.
    outcome = settle(0.18, 0.18, 0.18, 0.46)
    assert outcome.finding is Answer.TUMOR
    assert outcome.kinds == (GLIOMA, MENINGIOMA, PITUITARY)


def test_a_weak_sign_is_uncertain():
    assert settle(0.15, 0.05, 0.02, 0.78) == (Answer.UNCERTAIN, (), (WEAK_TUMOR,))


def test_a_tumor_short_of_a_strict_point_is_uncertain():
    outcome = settle(0.5, 0.05, 0.0, 0.45, threshold=0.569)
    assert outcome == (Answer.UNCERTAIN, (), (UNSURE_TUMOR,))


def test_a_vascular_lesion_is_a_lesion_and_no_tumor():
    outcome = settle(0.02, 0.02, 0.01, 0.95, vascular=0.9)
    assert outcome == (Answer.LESION, (Lesion.VASCULAR,), ())
    assert decision_of(outcome.finding, outcome.kinds) is NO_TUMOR


def test_a_lesion_that_may_be_a_tumor_is_uncertain():
    outcome = settle(0.2, 0.1, 0.0, 0.7, vascular=0.4, threshold=0.4)
    assert outcome == (Answer.UNCERTAIN, (), (SOME_LESION,))
    outcome = settle(0.2, 0.0, 0.0, 0.8, vascular=0.7)
    assert outcome == (Answer.UNCERTAIN, (), (WEAK_TUMOR,))


def test_no_threshold_ever_clears_what_another_point_would_not():
    rng = np.random.default_rng(0)
    for values in rng.dirichlet(np.ones(4) * 0.4, 500):
        strict = settle(*values, threshold=0.05).finding
        loose = settle(*values, threshold=0.9).finding
        assert not (strict is Answer.NO_TUMOR and loose is not Answer.NO_TUMOR)


def test_the_set_is_never_empty():
    values = np.full(4, 0.25)
    everything = dict.fromkeys(CLASSES, 0.9)
    assert prediction_set(values, everything) == (GLIOMA,)


def test_the_strongest_cells_decide():
    evidence = np.zeros((1, 14, 14, 4), np.float32)
    evidence[0, 3, 4, 2] = 6.0
    assert pool_evidence(evidence, 1)[0].tolist() == [0.0, 0.0, 6.0, 0.0]
    assert pool_evidence(evidence, 3)[0, 2] == pytest.approx(2.0)


def test_probabilities_sum_to_one_and_follow_both_heads():
    facts = Calibration(0.5, 0.25, (0.0, 0.1, 0.0, -0.1), 1)
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20, 4)).astype(np.float32) * 50
    pooled = rng.normal(size=(20, 4)).astype(np.float32)
    found = calibrated_probabilities(logits, pooled, facts)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    raised = calibrated_probabilities(logits, pooled + np.eye(4)[0], facts)
    assert (raised[:, 0] >= found[:, 0]).all()


def ask(bundle, domain, point="screening"):
    outputs = RawOutputs(
        np.array([[4.0, 0.0, 0.0, 0.0]], np.float32),
        np.zeros((1, 14, 14, 4), np.float32),
        np.zeros((1, 7, 7, 4), np.float32),
        np.zeros((1, len(domain.center)), np.float32),
    )
    slice_ = Slice(np.zeros((8, 8), np.float32), "x.png")
    return decide(outputs, 0, slice_, bundle, domain, point, 0.3)


def test_a_foreign_picture_is_refused_whatever_it_looks_like(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    domain = OodModel.load(tiny_bundle / "domain.npz")
    strict = replace(domain, cut=np.asarray(np.float32(1.1)))
    found = ask(bundle, strict)
    assert found.label is Verdict.NOT_BRAIN_MRI
    assert (found.predicted, found.probabilities, found.p_tumor) == (None, None, None)
    assert found.raw_probabilities[GLIOMA] > 0.7
    assert found.reasons == (OUT_OF_DISTRIBUTION,)


def test_an_unknown_operating_point_is_refused_with_those_there_are(tiny_bundle):
    domain = OodModel.load(tiny_bundle / "domain.npz")
    with pytest.raises(SettingError, match="screening"):
        ask(load_bundle(tiny_bundle), domain, "certain")


# Glioma, meningioma, pituitary, no tumour, another kind, vascular.
SAID = np.array([[0.2, 0.1, 0.1, 0.1, 0.4, 0.1], [0.0, 0.0, 0.0, 0.2, 0.1, 0.7]])


def test_four_classes_are_their_own_view() -> None:
    four = np.array([[0.7, 0.1, 0.1, 0.1]])
    assert class_view(four) is four
    assert decided_view(four) is four
    assert other_lesions(four[0]) == {}


def test_another_kind_is_a_tumour_and_a_stroke_is_none() -> None:
    found = class_view(SAID)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[0], [0.4, 0.2, 0.2, 0.2])
    assert found[1, 3] == pytest.approx(0.9)


def test_the_most_probable_class_is_never_another_lesion() -> None:
    assert class_view(SAID).shape == (2, len(CLASSES))


def test_a_decision_may_name_another_kind() -> None:
    view = decided_view(SAID)
    np.testing.assert_allclose(view.sum(axis=1), 1.0)
    assert view[0, DECIDED.index(Lesion.OTHER)] == pytest.approx(0.4)
    options = prediction_set(view[0], dict.fromkeys(DECIDED, 0.3))
    assert options == (Lesion.OTHER,)
    sure = np.array([0.1, 0.1, 0.0, 0.1, 0.7])
    outcome = apply_operating_point(sure, (Lesion.OTHER,), 0.5)
    assert outcome == (Answer.TUMOR, (Lesion.OTHER,), ())
    assert decision_of(outcome.finding, outcome.kinds) is Lesion.OTHER
    clear = apply_operating_point(view[1], options, 0.5, SAID[1, 5])
    assert clear.finding is Answer.LESION


def test_a_kind_beside_another_kind_is_open() -> None:
    view = decided_view(SAID)[0]
    options = prediction_set(view, dict.fromkeys(DECIDED, 0.15))
    assert options == (TumorClass.GLIOMA, TumorClass.NO_TUMOR, Lesion.OTHER)
    outcome = apply_operating_point(view, options, 0.5)
    assert outcome.finding is Answer.TUMOR
    assert outcome.kinds == (Lesion.OTHER, TumorClass.GLIOMA)
    assert "another kind of tumour" in outcome.reasons[0]


def test_what_a_decision_rests_on_is_found_again_from_the_four_classes() -> None:
    again = named_probabilities(class_view(SAID), SAID[:, 4])
    np.testing.assert_allclose(again, decided_view(SAID), atol=1e-9)
    four = np.array([[0.7, 0.1, 0.1, 0.1]])
    found = named_probabilities(four, np.array([np.nan]))
    np.testing.assert_allclose(found, [[0.7, 0.1, 0.1, 0.1, 0.0]])


@pytest.mark.parametrize("distance", [-0.2, 0.2])
def test_errors_that_reach_a_border_could_change_a_decision(tiny_bundle, distance):
    # A glioma at so many log-odds from the operating point's threshold of 0.3.
    odds = np.log(0.3 / 0.7) + distance
    assert not close(tiny_bundle, odds, Margins(0.1, 0.0))
    assert close(tiny_bundle, odds, Margins(0.3, 0.0))


def test_errors_that_reach_another_kind_could_change_a_decision(tiny_bundle):
    kinds = (6.0, 5.6, -20.0, -20.0)
    assert not close(tiny_bundle, 0.0, Margins(0.1, 0.0), kinds)
    assert close(tiny_bundle, 0.0, Margins(0.3, 0.0), kinds)


def test_the_level_of_the_domain_score_is_a_border_and_beyond_it_is_none(tiny_bundle):
    # Grey pictures have a score of 6 log-odds above the level.
    assert not close(tiny_bundle, 9.0, Margins(0.1, 5.9))
    assert close(tiny_bundle, 9.0, Margins(0.1, 6.1))
    # What is refused for good has no decision that could change.
    border = np.log(0.3 / 0.7)
    assert close(tiny_bundle, border + 0.01, Margins(0.1, 0.0))
    assert not close(tiny_bundle, border + 0.01, Margins(0.1, 0.0), colour=0.9)


def close(folder, odds, margins, logits=None, colour=0.0):
    """Ask of a slice whose log-odds of a glioma are given, or all of its logits."""
    values = (2.0 * odds, -40.0, -40.0, 0.0) if logits is None else logits
    domain = OodModel.load(folder / "domain.npz")
    outputs = RawOutputs(
        np.array([values], np.float32),
        np.zeros((1, 14, 14, 4), np.float32),
        np.zeros((1, 7, 7, 4), np.float32),
        np.zeros((1, len(domain.center)), np.float32),
    )
    slice_ = Slice(np.zeros((8, 8), np.float32), "x.png", colorfulness=colour)
    bundle = load_bundle(folder)
    given = (outputs, 0, slice_, bundle, domain, "screening", 0.3)
    decision = firm_decision(*given, margins)
    assert decision is None or decision == decide(*given)
    return decision is None
