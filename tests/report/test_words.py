"""What predictions say in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.samples.drawn_series import known_prediction, unjudged_prediction
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import (
    LITTLE_BRAIN,
    OperatingPoint,
    PredictionSets,
    Rate,
)
from tumorlens.inference.series.decision import MOSTLY_REFUSED, NO_CONTRAST
from tumorlens.inference.slice.decision import COLOURED, OUT_OF_DISTRIBUTION
from tumorlens.inference.slice.prediction import Box, Failure, Prediction
from tumorlens.report import words
from tumorlens.taxonomy import (
    CLASSES,
    TUMOR_CLASSES,
    Answer,
    Finding,
    Lesion,
    TumorClass,
)

GLIOMA, MENINGIOMA, PITUITARY = TUMOR_CLASSES


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


def told(prediction: Prediction, finding: Answer, *kinds: Finding) -> Prediction:
    """Give a prediction other answers."""
    decision = replace(prediction.decision, finding=finding, kinds=kinds)
    return replace(prediction, decision=decision)


@pytest.mark.parametrize(
    ("kinds", "title"),
    [
        ((MENINGIOMA,), "Tumour: meningioma"),
        ((MENINGIOMA, GLIOMA), "Tumour: meningioma or glioma"),
        (
            (PITUITARY, GLIOMA, MENINGIOMA),
            "Tumour: pituitary tumour, glioma or meningioma",
        ),
        ((GLIOMA, Lesion.OTHER), "Tumour: glioma or another kind"),
        (
            (Lesion.OTHER,),
            "Tumour: another kind than glioma, meningioma or pituitary tumour",
        ),
    ],
)
def test_a_tumour_is_headed_by_the_kinds_that_are_left(
    prediction: Prediction, kinds: tuple[Finding, ...], title: str
) -> None:
    assert words.headline(told(prediction, Answer.TUMOR, *kinds)) == title


def test_what_is_no_tumour_is_headed_by_what_it_is(prediction: Prediction) -> None:
    assert words.headline(told(prediction, Answer.NO_TUMOR)) == "No tumour seen"
    lesion = told(prediction, Answer.LESION, Lesion.VASCULAR)
    said = words.headline(lesion)
    assert said == "Lesion, not a tumour: vascular, such as a stroke"
    assert "stroke" in words.sentence(lesion)


@pytest.mark.parametrize(
    ("p_tumor", "vascular", "title"),
    [
        (0.2, 0.0, "Unclear: a faint sign in the upper right of the picture"),
        (0.52, 0.0, "Unclear: possibly a tumour in the upper right of the picture"),
        (0.3, 0.3, "Unclear: a sign of a lesion in the upper right of the picture"),
        (
            0.2,
            0.7,
            "Unclear: a lesion, probably not a tumour, in the upper right of the "
            "picture",
        ),
    ],
)
def test_what_is_unclear_is_headed_by_what_was_seen_and_where(
    prediction: Prediction, p_tumor: float, vascular: float, title: str
) -> None:
    decision = replace(
        prediction.decision,
        finding=Answer.UNCERTAIN,
        kinds=(),
        raw_probabilities={
            **dict.fromkeys(CLASSES, p_tumor / 3),
            TumorClass.NO_TUMOR: 1.0 - p_tumor,
        },
        other_lesions={Lesion.OTHER: 0.0, Lesion.VASCULAR: vascular},
    )
    case = replace(prediction, decision=decision)
    assert words.headline(case) == title
    bare = replace(case, explanation=replace(case.explanation, box=None))
    assert "upper" not in words.headline(bare)
    dark = replace(case, decision=replace(decision, reasons=(LITTLE_BRAIN,)))
    assert words.headline(dark) == "Unclear: the slice shows too little brain"


def test_a_refused_picture_is_headed_by_why(prediction: Prediction) -> None:
    refused = told(prediction, Answer.NOT_BRAIN_MRI)
    assert words.headline(refused).startswith("Not judged: this does not look like")
    coloured = replace(refused.decision, reasons=(OUT_OF_DISTRIBUTION, COLOURED))
    said = words.headline(replace(refused, decision=coloured))
    assert said == "Not judged: this looks like a photograph"


@pytest.mark.parametrize("answer", list(Answer))
def test_every_answer_has_a_sentence(prediction: Prediction, answer: Answer) -> None:
    kinds = {Answer.TUMOR: (GLIOMA,), Answer.LESION: (Lesion.VASCULAR,)}.get(answer, ())
    case = told(prediction, answer, *kinds)
    assert words.sentence(case).endswith(".")
    unsure = (Answer.UNCERTAIN, Answer.NOT_BRAIN_MRI)
    assert words.is_uncertain(case) == (answer in unsure)
    assert words.is_refused(case) == (answer is Answer.NOT_BRAIN_MRI)


def test_a_file_that_failed_is_not_judged() -> None:
    failure = Failure("a.png", "damaged_file", "a.png is cut off.", "Copy it again.")
    assert words.failure_headline(failure) == "Not judged: a.png is cut off"


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
    assert words.location_sentence(bare) == "No spot is outlined."


def test_nothing_is_outlined_where_no_tumour_is_seen(prediction: Prediction) -> None:
    clear = told(prediction, Answer.NO_TUMOR)
    assert words.location_sentence(clear) == "No spot is outlined."


def test_a_spot_has_the_name_of_a_kind_only_where_one_is_left(
    prediction: Prediction,
) -> None:
    assert words.location_sentence(prediction).startswith("Signs of glioma are")
    open_ = told(prediction, Answer.TUMOR, GLIOMA, MENINGIOMA)
    assert words.location_sentence(open_).startswith("The signs are")


def test_kinds_are_listed_with_their_coverage(prediction: Prediction) -> None:
    facts = PredictionSets(0.95, {})
    said = words.kinds_sentence((GLIOMA,), facts)
    assert said.startswith("Kind: glioma. ")
    assert "of 100 tumours" in said
    assert "about 95 have" in said
    said = words.kinds_sentence((MENINGIOMA, GLIOMA), facts)
    assert said.startswith("Kind: meningioma or glioma, the likeliest first.")
    assert len(words.kinds_sentences(prediction.decision, facts)) == 1
    clear = told(prediction, Answer.NO_TUMOR).decision
    assert words.kinds_sentences(clear, facts) == ()


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


@pytest.mark.parametrize("answer", list(Answer))
def test_every_answer_has_a_sentence_on_the_series(answer: Answer) -> None:
    kinds = (GLIOMA, MENINGIOMA) if answer is Answer.TUMOR else ()
    text = words.series_sentence(answer, kinds)
    assert text.endswith(".")
    assert "slice" not in text


def test_every_slice_is_counted_once() -> None:
    text = words.slices_sentence(9, 2, 1)
    assert text == "9 slices: 6 judged, 2 without brain, 1 refused"
    assert words.slices_sentence(1, 0, 0).startswith("1 slice: 1 judged")


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


def test_a_series_without_an_answer_has_no_number() -> None:
    finding = unjudged_prediction()
    assert words.tumor_percent(finding.p_tumor) == "not judged"
    said = words.series_line(finding)
    assert said == "Not judged: no slice shows enough brain"
    said = words.series_sentence(finding.finding, (), finding.not_judged)
    assert "Do not take it for a clear one" in said


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        (MOSTLY_REFUSED, "Not judged: most slices do not look like brain MRI"),
        (NO_CONTRAST, "Not judged: the series has the same value everywhere"),
        ("Another.", "Not judged: this does not look like a brain MRI"),
    ],
)
def test_a_series_that_was_refused_is_headed_by_why(reason: str, title: str) -> None:
    refused = replace(
        known_prediction(), finding=Answer.NOT_BRAIN_MRI, kinds=(), reasons=(reason,)
    )
    assert words.series_line(refused) == title


def test_a_series_with_an_answer_has_one() -> None:
    finding = known_prediction()
    assert words.tumor_percent(finding.p_tumor) == "93.8 %"
    assert words.series_line(finding) == "Tumour: glioma (any tumour 93.8 %)"


def test_an_unclear_series_has_slices_and_the_side_only_where_it_is_known() -> None:
    values = dict(zip(CLASSES, (0.2, 0.05, 0.05, 0.7), strict=True))
    finding = replace(
        known_prediction(), finding=Answer.UNCERTAIN, kinds=(), raw_probabilities=values
    )
    said = words.series_headline(finding)
    assert said == "Unclear: a faint sign on the right, in slices 5 to 7"
    guessed = replace(finding, place_guessed=True)
    assert words.series_headline(guessed) == "Unclear: a faint sign in slices 5 to 7"
    nowhere = replace(finding, lesion=None)
    assert words.series_headline(nowhere) == "Unclear: a faint sign"


def test_names_are_joined_as_in_a_sentence() -> None:
    assert words.joined(["T1"]) == "T1"
    assert words.joined(["T1", "T2"]) == "T1 and T2"
    assert words.joined(["T1", "T2", "FLAIR"]) == "T1, T2 and FLAIR"


def test_rates_of_a_threshold_above_one_half_say_that_fewer_are_called_clear():
    share = Rate(0.9, 0.8, 0.95)
    low, high = (OperatingPoint(level, share, share) for level in (0.5, 0.569))
    assert words.measured_sentence(low).endswith("(95 % interval 80.0 to 95.0 %).")
    said = words.measured_sentence(high)
    assert "These hold from 56.9 % on; below it, from 50.0 % on" in said
