"""The four-class view of what a network says of all findings."""

from __future__ import annotations

import numpy as np
import pytest

from tumorlens.inference.slice.decision import apply_operating_point, prediction_set
from tumorlens.inference.slice.findings import (
    class_view,
    decided_view,
    named_probabilities,
    other_lesions,
)
from tumorlens.taxonomy import CLASSES, DECIDED, Lesion, TumorClass, Verdict

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
