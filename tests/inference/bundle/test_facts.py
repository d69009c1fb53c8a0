"""What stands in a bundle: rules that hold slices back, and the model of series."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import build_tiny_bundle
from tests.samples.drawn_series import MODEL, RATE, drawn_series
from tests.samples.fast_path import AGREEMENT, add_fast_path, worse
from tumorlens.errors import BundleError
from tumorlens.imaging.study import MRSequence, Slice
from tumorlens.inference.bundle.bundle import (
    Bundle,
    load_bundle,
    read_document,
    record_series_model,
    save_bundle,
    write_document,
)
from tumorlens.inference.bundle.facts import (
    MeasuredShare,
    OperatingPoint,
    Rate,
    Rules,
    SequenceSum,
    SeriesModel,
    StudyModel,
    disagreement,
    disagrees,
    lacks_brain,
)
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import ROUGH_OUTLINE, predict_by_slices
from tumorlens.inference.series.decision import (
    NOT_VALIDATED,
    discounted_odds,
    log_odds,
    series_features,
)
from tumorlens.inference.slice.decision import Decision, RawOutputs, decide
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import Answer, TumorClass, Verdict

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
    domain = OodModel.load(folder / "domain.npz")
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
    assert found.label is TumorClass.GLIOMA
    assert found.reasons == ()


def test_heads_that_agree_on_a_slice_full_of_brain_pass(tiny_bundle: Path) -> None:
    assert judge(tiny_bundle, BOTH).label is TumorClass.GLIOMA


def test_heads_that_disagree_leave_the_kind_open_and_both_are_quoted(
    tiny_bundle: Path,
) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA)
    assert found.finding is Answer.TUMOR
    assert found.label is Verdict.TUMOR
    assert found.kinds == (TumorClass.GLIOMA, TumorClass.MENINGIOMA)
    open_, reason = found.reasons
    assert "glioma or meningioma" in open_
    assert "as a whole looks like glioma" in reason
    assert "look like meningioma" in reason
    assert found.predicted is TumorClass.GLIOMA


def test_a_tumour_beside_none_is_left_to_the_probability(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=NO_TUMOR)
    assert found.label is TumorClass.GLIOMA


def test_too_little_brain_is_uncertain_whatever_the_probability(
    tiny_bundle: Path,
) -> None:
    found = judge(tiny_bundle, BOTH, share=0.05)
    assert found.probabilities[TumorClass.GLIOMA] > 0.99
    assert found.label is Verdict.UNCERTAIN
    assert "too little brain" in found.reasons[0]
    assert found.brain_share == 0.05


def test_every_reason_is_given(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA, share=0.05)
    assert len(found.reasons) == 2
    assert all(reason.endswith(".") for reason in found.reasons)


def test_a_foreign_picture_is_refused_before_any_rule(tiny_bundle: Path) -> None:
    found = judge(tiny_bundle, BOTH, spots=MENINGIOMA, share=0.0, foreign=True)
    assert found.label is Verdict.NOT_BRAIN_MRI
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


def resave(
    old: Bundle, rules: Rules | None = None, study_model: StudyModel | None = None
) -> Bundle:
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
        study_model=study_model,
    )


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that may be changed."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def judged_with(bundle: Path, model: SeriesModel) -> Classifier:
    record_series_model(bundle, model)
    return load_classifier(bundle, threads=1)


def test_it_is_read_back_as_it_was_recorded(bundle: Path) -> None:
    before = load_bundle(bundle)
    assert before.series_model is None
    after = record_series_model(bundle, MODEL)
    assert after.series_model == MODEL
    assert replace(after, series_model=None) == before
    without = replace(MODEL, outline=None)
    assert record_series_model(bundle, without).series_model == without


def test_a_change_by_hand_is_noticed(bundle: Path) -> None:
    record_series_model(bundle, MODEL)
    path = bundle / "bundle.json"
    path.write_text(path.read_text().replace('"intercept": -1.0', '"intercept": 9.0'))
    with pytest.raises(BundleError, match="changed"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": {"brightness": 1.0}}, "brightness"),
        ({"operating_points": {}}, "screening"),
        ({"end_discount": -1.0}, "end_discount"),
        ({"patients": 0}, "patients"),
        ({"outline": {"level": 1.0}}, "level"),
    ],
)
def test_what_does_not_fit_is_refused(
    bundle: Path, change: dict[str, object], named: str
) -> None:
    document = read_document(bundle)
    document["scans"] = {**MODEL.to_json(), **change}
    write_document(bundle, document)
    with pytest.raises(BundleError, match=named):
        load_bundle(bundle)


def test_the_measured_rates_stand_in_the_finding(bundle: Path) -> None:
    found = predict_by_slices(judged_with(bundle, MODEL), drawn_series(range(4, 8)))
    said = " ".join(found.reasons)
    assert found.decision is TumorClass.GLIOMA
    assert "of 70 with a tumour, 97 % (91 % to 99 %)" in said
    assert "of 20 without, 90 % (80 % to 95 %)" in said
    assert "off by 15 %" in said
    assert found.size_measured
    assert NOT_VALIDATED not in found.reasons
    assert ROUGH_OUTLINE not in found.reasons


def test_the_measured_rates_are_those_of_the_sequence(bundle: Path) -> None:
    share = {"labelled_lesions": MeasuredShare(0.93, 0.9, 0.95, 60, 41)}
    clear = {"same_scanner": MeasuredShare(0.81, 0.7, 0.9, 50, 33)}
    point = OperatingPoint(0.3, RATE, RATE, {"all": share, "T1C": {**share, **clear}})
    points = dict.fromkeys(("screening", "balanced"), point)
    made = judged_with(bundle, replace(MODEL, operating_points=points))

    def said(sequence: MRSequence | None) -> str:
        series = replace(drawn_series(range(4, 8)), sequence=sequence)
        return " ".join(predict_by_slices(made, series).reasons)

    assert "whole series in T1 with contrast of patients" in said(
        MRSequence.T1_CONTRAST
    )
    assert "of 41 with a tumour, 93 % (90 % to 95 %)" in said(MRSequence.T1_CONTRAST)
    assert "of 33 patients from the same scanners, 81 % (70 % to 90 %)" in said(
        MRSequence.T1_CONTRAST
    )
    assert "In T2 no whole series were measured." in said(MRSequence.T2)
    assert "of 70 with a tumour" in said(MRSequence.T2)
    assert "no whole series" not in said(None)


def test_its_weights_make_the_probability_and_its_threshold_decides(
    bundle: Path,
) -> None:
    flat = replace(MODEL, weights={"strongest_run": 0.0}, intercept=-1.0)
    found = predict_by_slices(judged_with(bundle, flat), drawn_series(range(4, 8)))
    assert found.p_tumor == pytest.approx(1.0 / (1.0 + np.e))
    assert found.decision is not TumorClass.NO_TUMOR
    high = OperatingPoint(0.3, RATE, RATE)
    strict = replace(
        flat, operating_points=dict.fromkeys(("screening", "balanced"), high)
    )
    found = predict_by_slices(judged_with(bundle, strict), drawn_series(range(4, 8)))
    assert found.decision is TumorClass.NO_TUMOR


def test_slices_at_the_ends_of_the_head_are_trusted_less() -> None:
    p_tumor = np.array([0.9, 0.2, 0.7, np.nan])
    heads = np.array([40, 90, 100, 0])
    odds = discounted_odds(p_tumor, heads, 4.0)
    assert odds[2] == pytest.approx(np.log(0.7 / 0.3))
    assert odds[0] == pytest.approx(np.log(9.0) - 4.0 * 0.6)
    assert np.isnan(odds[3])
    assert np.nanargmax(odds) == 2
    assert np.nanargmax(discounted_odds(p_tumor, heads, 0.0)) == 0


def test_the_second_run_tells_a_lone_alarm_from_a_lesion() -> None:
    def features(*high: int) -> dict[str, float]:
        p_tumor = np.full(20, 0.05)
        p_tumor[list(high)] = 0.9
        return series_features(log_odds(p_tumor), 5.0)[1]

    alone, lesion = features(7, 8), features(7, 8, 9, 10)
    assert alone["strongest_run"] == lesion["strongest_run"]
    assert alone["second_run"] < 0.0 < lesion["second_run"]
    # With one run alone the second has nothing of its own to say.
    short = series_features(log_odds(np.array([0.7, 0.8])), 5.0)[1]
    assert short["second_run"] == short["strongest_run"]


def test_the_old_names_of_a_bundle_work_for_one_release(bundle: Path) -> None:
    made = record_series_model(bundle, MODEL)
    with pytest.warns(DeprecationWarning, match="series_model"):
        assert made.scans == made.series_model
    with pytest.warns(DeprecationWarning, match="series_points"):
        assert made.scan_points == made.series_points


T1, T1C = MRSequence.T1, MRSequence.T1_CONTRAST
FLAIR, T2 = MRSequence.FLAIR, MRSequence.T2
STUDY = StudyModel(
    (
        SequenceSum((T1,), (1.0,), 0.0, Rate(0.8, 0.7, 0.9)),
        SequenceSum((FLAIR,), (1.0,), 0.0, Rate(0.9, 0.8, 0.95)),
        SequenceSum((T1, FLAIR), (0.5, 1.0), -0.25),
    ),
    patients=30,
    slices=400,
)


def test_a_bundle_keeps_how_sequences_are_weighed(tmp_path: Path) -> None:
    build_tiny_bundle(tmp_path)
    assert load_bundle(tmp_path).study_model is None
    assert resave(load_bundle(tmp_path), study_model=STUDY).study_model == STUDY


def test_as_many_sequences_as_were_fitted_are_summed() -> None:
    both = STUDY.sum_of({T1, T2, FLAIR})
    assert both is not None
    assert both.sequences == (T1, FLAIR)
    odds = {T1: np.array([2.0, 0.0]), FLAIR: np.array([1.0, -1.0])}
    assert both.log_odds(odds).tolist() == [1.75, -1.25]
    assert STUDY.sum_of({T1C, T2}) is None
    equal = SequenceSum.equal((T1, FLAIR))
    assert equal.log_odds(odds).tolist() == [1.5, -0.5]


def test_of_sums_of_one_size_the_better_is_chosen() -> None:
    chosen = replace(STUDY, sums=STUDY.sums[:2]).sum_of({T1, FLAIR})
    assert chosen is not None
    assert chosen.sequences == (FLAIR,)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": [-1.0]}, "weights"),
        ({"weights": [1.0, 1.0]}, "weights"),
        ({"sequences": ["T9"]}, "sequences"),
        ({"sequences": []}, "sequences"),
        ({"sequences": ["T1", "T1"], "weights": [1.0, 1.0]}, "sequences"),
        ({"bias": "much"}, "bias"),
        ({"auroc": {"value": 1.2, "low": 0.9, "high": 1.0}}, "value"),
    ],
)
def test_a_sum_that_cannot_be_is_refused(
    bundle: Path, change: dict[str, object], named: str
) -> None:
    document = read_document(bundle)
    study = STUDY.to_json()
    document["study"] = {**study, "sums": [{**study["sums"][0], **change}]}
    write_document(bundle, document)
    with pytest.raises(BundleError, match=named):
        load_bundle(bundle)


@pytest.fixture
def fast(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a faster graph, whose figures hold the limits."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "fast"))
    add_fast_path(folder)
    return folder


def test_a_faster_graph_is_read_with_its_figures(fast: Path) -> None:
    bundle = load_bundle(fast)
    path = bundle.paths["int8"]
    assert path.file in bundle.files
    assert path.sha256 == bundle.files[path.file]
    assert path.agreements == (AGREEMENT,)
    assert path.float32_nodes == ("stem",)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agreements", [], "at least one"),
        ("agreements", None, "agreements"),
        ("sha256", "0" * 64, "of another model.int8.onnx"),
        ("file", "model.onnx", "of another model.onnx"),
    ],
)
def test_a_graph_without_figures_of_its_own_is_refused(
    fast: Path, key: str, value: object, words: str
) -> None:
    document = read_document(fast)
    document["paths"]["int8"][key] = value
    write_document(fast, document)
    with pytest.raises(BundleError, match=words):
        load_bundle(fast)


def test_a_path_of_unknown_arithmetic_is_refused(fast: Path) -> None:
    document = read_document(fast)
    document["paths"]["int4"] = document["paths"]["int8"]
    write_document(fast, document)
    with pytest.raises(BundleError, match="'int4'.*does not know") as caught:
        load_bundle(fast)
    assert "Upgrade" in caught.value.hint


def test_a_graph_that_was_exchanged_is_refused(fast: Path) -> None:
    (fast / "model.int8.onnx").write_bytes((fast / "model.onnx").read_bytes())
    with pytest.raises(BundleError, match="is not the file that was exported"):
        load_bundle(fast)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"equal_decisions": 0.9949}, "agree in 99.49 %"),
        ({"auroc_change": -0.0011}, "tumour or none. falls by 0.0011"),
        ({"ood_auroc_change": -0.0011}, "domain score falls by 0.0011"),
        ({"ece_change": 0.0051}, "ECE rises by 0.0051"),
    ],
)
def test_a_graph_that_decides_otherwise_is_refused_and_not_put_in(
    tiny_bundle: Path, tmp_path: Path, change: dict[str, float], words: str
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    before = sorted(folder.iterdir()), read_document(folder)
    with pytest.raises(BundleError, match=words):
        # One measurement that holds does not make up for one that does not.
        add_fast_path(folder, (AGREEMENT, worse(**change)))
    assert (sorted(folder.iterdir()), read_document(folder)) == before


def test_limits_hold_where_they_are_just_reached() -> None:
    edge = worse(
        equal_decisions=0.995,
        auroc_change=-0.001,
        ece_change=0.005,
        ood_auroc_change=-0.001,
    )
    assert edge.shortfalls() == ()
