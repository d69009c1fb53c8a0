"""What a reader may say of a result, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tumorlens.errors import InputError
from tumorlens.report.feedback import Feedback
from tumorlens.taxonomy import Lesion, OwnClass, TumorClass, is_tumor, own_classes

OWN = own_classes({"lymphoma": True, "abscess": False, "healthy": False})


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


@pytest.mark.parametrize(
    ("decision", "correct", "sent", "meant"),
    [
        ("lymphoma", True, None, "lymphoma"),
        ("lymphoma", False, "abscess", "abscess"),
        # Which of the two that are no tumour it is, is not said.
        ("no_tumor", True, None, None),
        ("no_tumor", True, "abscess", "abscess"),
        ("no_tumor", False, "lymphoma", "lymphoma"),
        ("tumor", True, "lymphoma", "lymphoma"),
        ("uncertain", True, "healthy", "healthy"),
    ],
)
def test_results_in_a_users_own_classes_are_marked_in_their_names(
    decision: str, correct: bool, sent: str | None, meant: str | None
) -> None:
    mark = Feedback.on(decision, correct, sent, 0.0, OWN)
    assert (mark.correct, mark.finding) == (correct, meant)
    again = Feedback.read(mark.to_json())
    assert again == mark
    if again.finding is not None:
        assert isinstance(again.finding, OwnClass)
        assert is_tumor(again.finding) is (meant == "lymphoma")


def test_the_one_class_free_of_tumour_is_meant_by_none() -> None:
    two = own_classes({"lesion": True, "clear": False})
    assert Feedback.on("no_tumor", True, None, 0.0, two).finding == "clear"
    assert Feedback.on("clear", True, "clear", 0.0, two).finding == "clear"


@pytest.mark.parametrize(
    ("decision", "correct", "sent", "message"),
    [
        ("lymphoma", True, "abscess", "does not fit the finding: abscess"),
        ("no_tumor", False, "abscess", "does not fit"),
        ("no_tumor", True, "lymphoma", "does not fit"),
        ("tumor", True, "healthy", "does not fit"),
        ("lymphoma", False, "glioma", "There is no finding 'glioma'"),
        ("lymphoma", False, "other", "There is no finding 'other'"),
    ],
)
def test_marks_that_contradict_results_in_own_classes_are_refused(
    decision: str, correct: bool, sent: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Feedback.on(decision, correct, sent, 0.0, OWN)
