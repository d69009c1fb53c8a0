"""What a reader may say of a result, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tumorlens.errors import InputError
from tumorlens.report.feedback import Feedback, require_markable
from tumorlens.taxonomy import Lesion, TumorClass


@pytest.mark.parametrize(
    ("decision", "correct", "sent", "meant"),
    [
        ("glioma", True, None, TumorClass.GLIOMA),
        ("glioma", True, "glioma", TumorClass.GLIOMA),
        ("glioma", False, "pituitary", TumorClass.PITUITARY),
        ("glioma", False, "", None),
        ("no_tumor", False, "vascular", Lesion.VASCULAR),
        ("tumor", True, None, None),
        ("tumor", True, "other", Lesion.OTHER),
        ("tumor", False, "no_tumor", TumorClass.NO_TUMOR),
        ("uncertain", True, "glioma", TumorClass.GLIOMA),
        ("not_brain_mri", True, None, None),
        ("not_brain_mri", False, "glioma", TumorClass.GLIOMA),
    ],
)
def test_a_mark_names_what_is_shown(
    decision: str, correct: bool, sent: str | None, meant: object
) -> None:
    mark = Feedback.on(decision, correct, sent, 0.0)
    assert (mark.correct, mark.finding) == (correct, meant)
    assert mark.at == datetime(1970, 1, 1, tzinfo=UTC)
    assert Feedback.read(mark.to_json()) == mark


@pytest.mark.parametrize(
    ("decision", "correct", "sent"),
    [
        ("glioma", True, "meningioma"),
        ("glioma", False, "glioma"),
        ("tumor", True, "no_tumor"),
        ("not_brain_mri", True, "glioma"),
    ],
)
def test_a_mark_that_contradicts_itself_is_refused(
    decision: str, correct: bool, sent: str
) -> None:
    with pytest.raises(InputError, match="does not fit"):
        Feedback.on(decision, correct, sent, 0.0)


def test_results_in_a_users_own_classes_are_not_marked() -> None:
    require_markable({"decision": "glioma"})
    with pytest.raises(InputError, match="cannot be marked"):
        require_markable({"decision": "glioma", "tumor_classes": ["glioma"]})
