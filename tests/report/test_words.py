"""What predictions say in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.samples.drawn_series import known_prediction
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import PredictionSets
from tumorlens.inference.slice.results import Box, Prediction
from tumorlens.report import words
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (0.0004, "< 0.1 %"),
        (0.001, "0.1 %"),
        (0.5, "50.0 %"),
        (0.999, "99.9 %"),
        (0.99951, "> 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_share_is_never_rounded_to_certainty(share: float, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize("decided", [*CLASSES, *Verdict])
def test_every_decision_has_words(
    prediction: Prediction, decided: TumorClass | Verdict
) -> None:
    case = replace(prediction, decision=replace(prediction.decision, label=decided))
    assert words.headline(case)
    assert words.sentence(case).endswith(".")
    assert words.is_uncertain(case) == isinstance(decided, Verdict)
    assert words.is_refused(case) == (decided == "not_brain_mri")


@pytest.mark.parametrize(
    ("box", "place"),
    [
        (Box(0, 0, 10, 10), "upper left"),
        (Box(70, 50, 80, 60), "lower right"),
        (Box(30, 20, 50, 40), "the centre of"),
        (Box(0, 0, 80, 60), "the centre of"),
        (Box(30, 0, 50, 10), "upper centre"),
        (Box(79, 59, 80, 60), "lower right"),
    ],
)
def test_the_place_is_told_as_one_sees_it(
    prediction: Prediction, box: Box, place: str
) -> None:
    placed = replace(prediction, explanation=replace(prediction.explanation, box=box))
    assert place in words.location_sentence(placed)


def test_no_box_is_no_place(prediction: Prediction) -> None:
    bare = replace(prediction, explanation=replace(prediction.explanation, box=None))
    assert words.location_sentence(bare) == "No spot stands out as glioma."


def test_a_prediction_set_is_listed_with_its_coverage() -> None:
    facts = PredictionSets(0.95, {})
    glioma, meningioma, pituitary = CLASSES[:3]
    said = words.prediction_set_sentence((glioma,), facts)
    assert said.startswith("Only glioma cannot be ruled out")
    assert "95 %" in said
    said = words.prediction_set_sentence((glioma, meningioma, pituitary), facts)
    assert said.startswith("Glioma, meningioma and pituitary tumour cannot be")


def test_another_model_s_result_is_marked(
    prediction: Prediction, tiny_bundle: Path
) -> None:
    bundle = load_bundle(tiny_bundle)
    said = words.warnings(prediction, bundle)
    assert "version 1.2.3; the one in use now is 0.0.1" in said[-1]
    same = replace(prediction, model_version=bundle.version)
    assert words.warnings(same, bundle) == said[:-1]


def test_one_minute_is_one() -> None:
    assert words.minutes(1) == "1 minute"
    assert words.minutes(60) == "60 minutes"


@pytest.mark.parametrize("decided", [*CLASSES, *Verdict])
def test_every_decision_has_words_on_the_scan(decided: TumorClass | Verdict) -> None:
    text = words.series_sentence(decided)
    assert text.endswith(".")
    assert "slice" not in text


def test_every_slice_is_counted_once() -> None:
    text = words.slices_sentence(9, 2, 1)
    assert text == "9 slices: 6 judged, 2 without brain, 1 refused"


def test_a_lesion_has_place_slices_and_size() -> None:
    lesion = known_prediction().lesion
    assert lesion is not None
    text = words.lesion_sentence(lesion)
    assert "right, middle third" in text
    assert "slices 5 to 7, strongest in 5" in text
    assert "21 × 20 × 15 mm" in text


def test_a_lesion_without_a_known_place_has_its_slice() -> None:
    lesion = known_prediction().lesion
    assert lesion is not None
    bare = replace(lesion, box=(4, 0, 0, 5, 9, 9), size_mm=None, location="")
    text = words.lesion_sentence(bare)
    assert text == "Most suspicious spot: in slice 5; slice 5, strongest in 5."


@pytest.mark.parametrize("decided", list(Verdict))
def test_a_scan_without_an_answer_has_no_number(decided: Verdict) -> None:
    assert words.tumor_percent(decided, None) == "not judged"
    said = words.series_headline(decided, None)
    assert said.endswith("(nothing could be judged)")
    assert "%" not in said
    assert "Do not take it for a clear one" in words.series_sentence(decided, "Why.")


def test_a_scan_that_was_refused_has_no_number_either() -> None:
    refused = Verdict.NOT_BRAIN_MRI
    assert words.tumor_percent(refused, 0.001) == "no answer"
    assert "%" not in words.series_headline(refused, 0.001)


def test_a_scan_with_an_answer_has_one() -> None:
    assert words.tumor_percent(TumorClass.GLIOMA, 0.938) == "93.8 %"
    assert words.series_headline(TumorClass.GLIOMA, 0.938) == "Glioma (tumour 93.8 %)"
    unsure = words.series_headline(Verdict.INCONCLUSIVE, 0.5)
    assert unsure == "Inconclusive (tumour 50.0 %)"
