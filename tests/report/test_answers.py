"""No state of the numbers contradicts the headline; the page of answers is right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples.drawn_series import known_prediction
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.bundle.facts import (
    Calibration,
    OperatingPoint,
    PredictionSets,
    Rate,
    Rules,
)
from tumorlens.inference.series.decision import SeriesPrediction, decide_series
from tumorlens.inference.slice.decision import Decision, RawOutputs, by_class, decide
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report import words
from tumorlens.report.series import series_to_json
from tumorlens.report.slice.document import (
    CSV_COLUMNS,
    csv_row,
    prediction_from_json,
    prediction_to_json,
)
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    FINDINGS,
    INFO,
    TUMOR_FINDINGS,
    Answer,
    Lesion,
    TumorClass,
)

PAGE = Path(__file__).parents[2] / "docs" / "answers.md"
RATE = Rate(0.9, 0.8, 1.0)
STARTS = {
    Answer.TUMOR: "Tumour: ",
    Answer.LESION: "Lesion, not a tumour: ",
    Answer.NO_TUMOR: "No tumour seen",
    Answer.UNCERTAIN: "Unclear: ",
    Answer.NOT_BRAIN_MRI: "Not judged: ",
}
DECISIONS = {
    *("glioma", "meningioma", "pituitary", "no_tumor", "tumor", "other", "uncertain"),
    "not_brain_mri",
}
BRAIN = 0.1

Judge = Callable[..., Decision]
loaded = cache(load_bundle)


@pytest.fixture(scope="module")
def judge(tiny_bundle: Path) -> Judge:
    """Return a function that decides by the real path on made-up outputs."""
    ood = OodModel.load(tiny_bundle / "domain.npz")
    return partial(_judge, load_bundle(tiny_bundle), ood)


def _judge(
    bundle: Bundle,
    ood: OodModel,
    shares: np.ndarray,
    threshold: float = 0.3,
    level: float = 0.2,
    spots: np.ndarray | None = None,
    brain: float = 1.0,
    foreign: bool = False,
    colour: float = 0.0,
    lean: float = 0.0,
) -> Decision:
    """Decide a slice whose calibrated probabilities are `shares`, shape (4,) or (6,).

    `level` is the prediction set's; `spots` is what the evidence head says alone, and
    `lean` the log-odds by which the slice head alone sees more of a tumour.
    """
    found = len(shares)
    bias = np.zeros(found)
    bias[CLASSES.index(TumorClass.NO_TUMOR)] = lean
    logits = (np.log(np.maximum(shares, 1e-9)) - bias).astype(np.float32)
    evidence = np.zeros((1, 14, 14, found), np.float32)
    if spots is not None:
        evidence[:] = np.log(np.maximum(spots, 1e-9))
    made = replace(
        bundle,
        calibration=Calibration(1.0, 0.0, tuple(bias), 1),
        operating_points={"point": OperatingPoint(threshold, RATE, RATE)},
        prediction_sets=PredictionSets(0.9, dict.fromkeys(DECIDED, level)),
        rules=Rules(head_disagreement=0.6, min_brain_share=BRAIN),
        findings=FINDINGS[:found],
    )
    cut = np.asarray(np.float32(1.1 if foreign else -1.0))
    outputs = RawOutputs(
        logits[None],
        evidence,
        np.zeros((1, 7, 7, found), np.float32),
        np.zeros((1, len(ood.center)), np.float32),
    )
    slice_ = Slice(np.zeros((8, 8), np.float32), "x.png", colorfulness=colour)
    # The score reads four logits; what it makes of them is not asked here.
    return decide(outputs, 0, slice_, made, replace(ood, cut=cut), "point", brain)


def six(glioma=0.0, meningioma=0.0, other=0.0, vascular=0.0) -> np.ndarray:
    """Give the probabilities of a network that knows other lesions."""
    rest = 1.0 - glioma - meningioma - other - vascular
    return np.array([glioma, meningioma, 0.0, rest, other, vascular])


SURE_GLIOMA = np.array([0.97, 0.01, 0.01, 0.01, 0.0, 0.0])
STATES: tuple[tuple[str, np.ndarray, dict[str, object]], ...] = (
    ("*p* under the threshold and under 50 %", six(0.1), {}),
    ("the same, and *v* at least 50 %", six(0.1, vascular=0.8), {}),
    (
        "the same, *v* under 50 %, but *p* and *v* together at least 50 %",
        six(0.25, vascular=0.45),
        {},
    ),
    ("*p* at or above the threshold, but under 50 %", six(0.4), {}),
    ("the same, and *v* at least 50 %", six(0.4, vascular=0.55), {}),
    ("*p* at least 50 %, but under the threshold", six(0.6), {"threshold": 0.7}),
    (
        "*p* at least 50 % and at or above the threshold, one kind left",
        six(meningioma=0.9),
        {},
    ),
    ("the same, several kinds left", six(0.4, 0.5), {}),
    (
        "the same, the two heads name different kinds",
        six(0.05, 0.9),
        {"spots": SURE_GLIOMA},
    ),
    ("the same, only another kind left", six(other=0.9), {}),
    (
        "*p* under the threshold, and the two heads name different kinds",
        six(meningioma=0.2),
        {"spots": SURE_GLIOMA, "lean": 4.0},
    ),
    (
        "the slice shows too little brain, whatever *p* is",
        six(0.9),
        {"brain": 0.01},
    ),
    ("the picture is unlike brain MRI", six(0.9), {"foreign": True}),
    ("the same, and it is in colour", six(0.9), {"foreign": True, "colour": 0.3}),
)


def row_of(state: str, decision: Decision, prediction: Prediction) -> str:
    """Write a row of the page's table."""
    title = words.headline(replace(prediction, decision=decision))
    kinds = ", ".join(f"`{name}`" for name in decision.kinds)
    answers = f"`{decision.finding}` | {kinds} | `{decision.label}`"
    return f"| {state} | {answers} | {title} |"


def test_the_page_shows_every_state_as_it_is_said(
    judge: Judge, prediction: Prediction
) -> None:
    expected = [
        row_of(state, judge(shares, **options), prediction)
        for state, shares, options in STATES
    ]
    page = PAGE.read_text(encoding="utf-8")
    shown = page[page.index("<!-- states") : page.index("<!-- end of states")]
    assert shown.splitlines()[3:] == expected


shares_of = st.sampled_from([4, 6]).flatmap(
    lambda count: (
        st.lists(
            st.floats(0.0, 1.0, allow_subnormal=False), min_size=count, max_size=count
        )
        .filter(lambda values: sum(values) > 0.01)
        .map(lambda values: np.array(values) / sum(values))
    )
)
share = st.floats(0.0, 1.0)
walk = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@walk
@given(
    shares=shares_of,
    threshold=share,
    level=share,
    spots=st.sampled_from([None, 0, 1, 2, 3]),
    brain=st.sampled_from([0.0, BRAIN, 0.5]),
    foreign=st.booleans(),
    colour=st.sampled_from([0.0, 0.5]),
    lean=st.sampled_from([0.0, 4.0]),
    outlined=st.booleans(),
)
def test_no_state_of_a_slice_contradicts_its_headline(
    judge: Judge,
    prediction: Prediction,
    shares: np.ndarray,
    threshold: float,
    level: float,
    spots: int | None,
    brain: float,
    foreign: bool,
    colour: float,
    lean: float,
    outlined: bool,
) -> None:
    sure = None
    if spots is not None:
        sure = np.full(len(shares), 0.01)
        sure[spots] = 1.0 - 0.01 * (len(shares) - 1)
    decision = judge(shares, threshold, level, sure, brain, foreign, colour, lean)
    explanation = prediction.explanation
    if not outlined:
        explanation = replace(explanation, box=None, outline=())
    case = replace(prediction, decision=decision, explanation=explanation)
    document = json.loads(json.dumps(prediction_to_json(case)))
    row = dict(zip(CSV_COLUMNS, csv_row(case), strict=True))
    check_words(decision.finding, document, foreign)
    assert row["finding"] == document["finding"]
    assert row["kinds"].split() == (document["kinds"] or [])
    nothing = np.zeros((0, 0), np.float32)
    assert (
        prediction_from_json(document, nothing, nothing, nothing).decision == decision
    )
    if foreign:
        for name in ("predicted", "kinds", "p_tumor", "p_other", "p_no_tumor"):
            assert row[name] == ""
        return
    p_tumor = decision.raw_p_tumor
    vascular = decision.other_lesions.get(Lesion.VASCULAR, 0.0)
    assert document["predicted"] in set(TumorClass)
    assert document["predicted"] == max(
        CLASSES, key=lambda name: document["probabilities"][name]
    )
    if decision.finding is Answer.NO_TUMOR:
        assert p_tumor < threshold
        assert p_tumor + vascular < 0.5
    if decision.finding is Answer.LESION:
        assert p_tumor < min(threshold, 0.5) <= vascular or vascular >= 0.5 > p_tumor
    if p_tumor >= max(threshold, 0.5) and brain >= BRAIN:
        assert decision.finding is Answer.TUMOR
    if decision.finding is Answer.TUMOR:
        check_kinds(decision, shares)


def check_kinds(decision: Decision, shares: np.ndarray) -> None:
    """A tumour has kinds that are together likelier than not, the likeliest first."""
    by_name = dict(zip(FINDINGS, shares, strict=False))
    held = [by_name[name] for name in decision.kinds]
    assert set(decision.kinds) <= set(TUMOR_FINDINGS)
    assert sum(held) >= 0.5 - 1e-6
    assert all(before >= after - 1e-6 for before, after in pairwise(held))
    left = {name for name in decision.prediction_set if name in TUMOR_FINDINGS}
    assert left <= set(decision.kinds)
    if len(decision.kinds) == 1 and decision.kinds[0] is not Lesion.OTHER:
        assert decision.predicted is decision.kinds[0]


def check_words(finding: Answer, document: dict[str, object], refused: bool) -> None:
    """What holds for every document, of a slice or a series."""
    title = str(document["headline"])
    assert title.startswith(STARTS[finding])
    assert "inconclusive" not in title.lower()
    assert document["finding"] == finding
    assert document["decision"] in DECISIONS
    if refused:
        assert finding is Answer.NOT_BRAIN_MRI
        for name in ("predicted", "kinds", "probabilities", "p_tumor"):
            assert document[name] is None
        named = {INFO[name].title.lower() for name in CLASSES} | set(CLASSES)
        assert not any(name in title.lower() for name in named)
        assert not re.search(r"\d", title)
        return
    kinds, p_tumor = document["kinds"], document["p_tumor"]
    assert isinstance(kinds, list)
    assert isinstance(p_tumor, float)
    assert (finding in (Answer.TUMOR, Answer.LESION)) == bool(kinds)
    assert (document["decision"] == "tumor") == (len(kinds) > 1)
    if finding is Answer.TUMOR:
        assert p_tumor >= 0.5
        for name in kinds:
            word = "another kind" if name == "other" else INFO[TumorClass(name)].title
            assert word.lower() in title
    if finding in (Answer.NO_TUMOR, Answer.LESION):
        assert p_tumor < 0.5


@walk
@given(
    values=st.lists(share, min_size=4, max_size=4)
    .filter(lambda values: sum(values) > 0.01)
    .map(lambda values: np.array(values) / sum(values)),
    threshold=share,
    level=share,
    judged=st.integers(0, 20),
    refused=st.integers(0, 20),
    outlined=st.booleans(),
)
def test_no_state_of_a_series_contradicts_its_headline(
    tiny_bundle: Path,
    values: np.ndarray,
    threshold: float,
    level: float,
    judged: int,
    refused: int,
    outlined: bool,
) -> None:
    refused = min(refused, judged)
    points = {"point": OperatingPoint(threshold, RATE, RATE)}
    bundle = replace(
        loaded(tiny_bundle),
        operating_points=points,
        prediction_sets=PredictionSets(0.9, dict.fromkeys(CLASSES, level)),
    )
    outcome = decide_series(
        values if refused < judged else None, judged, refused, bundle, "point"
    )
    known = known_prediction()
    finding: SeriesPrediction = replace(
        known,
        finding=outcome.finding,
        kinds=outcome.kinds,
        reasons=outcome.reasons,
        raw_probabilities=by_class(values) if refused < judged else None,
        lesion=known.lesion if outlined else None,
    )
    document = json.loads(json.dumps(series_to_json(finding)))
    is_refused = judged == 0 or 2 * refused > judged
    check_words(outcome.finding, document, is_refused)
    line = words.series_line(finding)
    assert ("%" in line) == (not is_refused)
    if is_refused:
        return
    if 1.0 - values[-1] >= max(threshold, 0.5):
        assert outcome.finding is Answer.TUMOR
        assert set(outcome.kinds) <= set(TUMOR_FINDINGS)
