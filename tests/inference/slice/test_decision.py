"""Decisions by operating point, prediction set and rules; views of findings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tumorlens.errors import SettingError
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import Calibration
from tumorlens.inference.slice.decision import (
    apply_operating_point,
    calibrated_probabilities,
    class_view,
    decide,
    decided_view,
    named_probabilities,
    other_lesions,
    pool_evidence,
    prediction_set,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.session import RawOutputs
from tumorlens.taxonomy import CLASSES, DECIDED, Lesion, TumorClass, Verdict

GLIOMA, MENINGIOMA, PITUITARY, NO_TUMOR = CLASSES
THRESHOLDS = dict.fromkeys(CLASSES, 0.2)


def settle(*probabilities, threshold=0.1):
    values = np.array(probabilities)
    return apply_operating_point(values, prediction_set(values, THRESHOLDS), threshold)


def test_below_the_operating_point_there_is_no_tumor():
    assert settle(0.03, 0.03, 0.03, 0.91) == (NO_TUMOR, ())


def test_one_likely_tumor_is_named():
    assert settle(0.1, 0.8, 0.05, 0.05) == (MENINGIOMA, ())


def test_two_likely_tumors_are_inconclusive_and_both_named():
    decision, reasons = settle(0.45, 0.45, 0.05, 0.05)
    assert decision is Verdict.INCONCLUSIVE
    assert "glioma" in reasons[0]
    assert "meningioma" in reasons[0]


def test_a_weak_sign_is_neither_cleared_nor_named():
    decision, reasons = settle(0.15, 0.05, 0.02, 0.78)
    assert decision is Verdict.INCONCLUSIVE
    assert reasons


def test_no_threshold_ever_clears_what_another_point_would_not():
    rng = np.random.default_rng(0)
    for values in rng.dirichlet(np.ones(4) * 0.4, 500):
        strict, _ = settle(*values, threshold=0.05)
        loose, _ = settle(*values, threshold=0.5)
        assert not (strict is NO_TUMOR and loose is not NO_TUMOR)


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
    assert found.predicted is TumorClass.GLIOMA
    assert found.reasons


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
    assert apply_operating_point(view[0], options, 0.5) == (Lesion.OTHER, ())
    assert apply_operating_point(view[1], options, 0.5)[0] is TumorClass.NO_TUMOR


def test_a_kind_beside_another_kind_is_no_answer() -> None:
    view = decided_view(SAID)[0]
    options = prediction_set(view, dict.fromkeys(DECIDED, 0.15))
    assert options == (TumorClass.GLIOMA, TumorClass.NO_TUMOR, Lesion.OTHER)
    label, (reason,) = apply_operating_point(view, options, 0.5)
    assert label is Verdict.INCONCLUSIVE
    assert "another kind of tumour" in reason


def test_what_a_decision_rests_on_is_found_again_from_the_four_classes() -> None:
    again = named_probabilities(class_view(SAID), SAID[:, 4])
    np.testing.assert_allclose(again, decided_view(SAID), atol=1e-9)
    four = np.array([[0.7, 0.1, 0.1, 0.1]])
    found = named_probabilities(four, np.array([np.nan]))
    np.testing.assert_allclose(found, [[0.7, 0.1, 0.1, 0.1, 0.0]])
