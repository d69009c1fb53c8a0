"""A bundle of a user's own classes answers for pictures, series and studies."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

import tumorlens
from tests.conftest import Phantom, build_tiny_bundle
from tests.samples.drawn_series import drawn_series
from tests.samples.series_uploads import dark_nifti, nifti
from tumorlens.cli.main import main
from tumorlens.errors import BundleError
from tumorlens.evaluation.series import load_compared_model
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import (
    load_bundle,
    read_document,
    write_document,
)
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.inference.series.decision import (
    CLEAR_CLASSES,
    NOT_CALIBRATED,
    NOT_VALIDATED,
    series_probabilities,
)
from tumorlens.inference.slice.decision import (
    apply_operating_point,
    pool_evidence,
    prediction_set,
)
from tumorlens.inference.study.classifier import load_study_classifier
from tumorlens.report.study.document import study_to_json
from tumorlens.report.words import headline, sentence
from tumorlens.taxonomy import Answer, own_classes

NAMES = ["astro_cytoma", "lymphoma", "abscess", "healthy"]
OWN = own_classes(
    {"healthy": False, "lymphoma": True, "abscess": False, "astro_cytoma": True}
)


@pytest.fixture(scope="module")
def own_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    build_tiny_bundle(folder, OWN)
    return folder


def test_a_bundle_says_which_of_its_classes_are_tumours(own_bundle: Path) -> None:
    document = read_document(own_bundle)
    assert document["classes"] == NAMES
    assert document["tumor_classes"] == NAMES[:2]
    bundle = load_bundle(own_bundle)
    assert bundle.classes == bundle.findings == OWN
    assert [item.is_tumor for item in OWN] == [True, True, False, False]
    assert list(bundle.prediction_sets.thresholds) == NAMES


@pytest.mark.parametrize(
    "tumors", [[], NAMES, ["lymphoma"], ["lymphoma", "healthy"], ["glioma"]]
)
def test_classes_out_of_order_or_all_alike_are_refused(
    tumors: list[str], tmp_path: Path
) -> None:
    build_tiny_bundle(tmp_path, OWN)
    write_document(tmp_path, {**read_document(tmp_path), "tumor_classes": tumors})
    with pytest.raises(BundleError, match="tumor_classes"):
        load_bundle(tmp_path)


def test_both_questions_are_answered_in_its_own_words(
    own_bundle: Path, phantom: Phantom
) -> None:
    classifier = tumorlens.load_classifier(own_bundle, threads=1)
    found = classifier.predict(phantom(lesion=(90, 110, 30)), name="a.png")
    assert isinstance(found, tumorlens.Prediction)
    decision = found.decision
    assert (decision.finding, decision.kinds) == (Answer.TUMOR, ("astro_cytoma",))
    assert decision.label == "astro_cytoma"
    assert decision.probabilities is not None
    assert list(decision.probabilities) == NAMES
    assert sum(decision.probabilities.values()) == pytest.approx(1.0)
    tumors = [decision.probabilities[name] for name in OWN[:2]]
    assert decision.p_tumor == pytest.approx(sum(tumors))
    assert headline(found) == "Tumour: astro cytoma"
    assert "takes it for an astro cytoma" in sentence(found)
    assert found.explanation.explained == "astro_cytoma"
    assert found.explanation.box is not None
    assert "Astro cytoma" in found._repr_html_()


def test_what_is_no_tumour_counts_together() -> None:
    """Neither of two classes is likely, both together are."""
    for shares, finding, kinds in (
        ([0.03, 0.03, 0.47, 0.47], Answer.NO_TUMOR, ()),
        ([0.2, 0.0, 0.4, 0.4], Answer.UNCERTAIN, ()),
        ([0.3, 0.4, 0.15, 0.15], Answer.TUMOR, (OWN[1], OWN[0])),
    ):
        values = np.array(shares)
        options = prediction_set(values, dict.fromkeys(OWN, 0.25), OWN)
        outcome = apply_operating_point(values, options, 0.1, 0.0, OWN)
        assert (outcome.finding, outcome.kinds) == (finding, kinds)


def test_which_class_free_of_tumour_it_is_the_slice_alone_tells() -> None:
    evidence = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    pooled = pool_evidence(evidence, 1, (2, 3))
    assert (pooled[:, 2:] == 0.0).all()
    none = evidence[..., 2:].max(axis=-1)
    for column in (0, 1):
        wanted = (evidence[..., column] - none).max(axis=(1, 2))
        np.testing.assert_allclose(pooled[:, column], wanted, atol=1e-6)


def test_files_have_its_own_names(
    own_bundle: Path, slice_file: Path, tmp_path: Path
) -> None:
    table, document = tmp_path / "out.csv", tmp_path / "out.json"
    words = ["predict", str(slice_file), "--model", str(own_bundle)]
    assert main([*words, "--csv", str(table), "--json", str(document)]) == 0
    (found,) = json.loads(document.read_text())
    assert list(found["probabilities"]) == NAMES
    assert list(found["slice_head"]) == NAMES
    assert (found["p_other"], found["p_vascular"]) == (None, None)
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [key for key in row if key.startswith("p_")] == [
        *(f"p_{name}" for name in NAMES),
        *("p_tumor", "p_other", "p_vascular"),
    ]
    for name in NAMES:
        assert float(row[f"p_{name}"]) == pytest.approx(
            found["probabilities"][name], abs=1e-6
        )
    assert row["decision"] == found["decision"]
    frame = tumorlens.Predictions(
        [tumorlens.load_classifier(own_bundle, threads=1).predict(slice_file)]
    ).to_frame()
    assert "p_lymphoma" in frame.columns and "p_glioma" not in frame.columns


def test_a_series_is_answered_in_its_names(own_bundle: Path) -> None:
    classifier = load_series_classifier(own_bundle, threads=1)
    found = classifier.predict(drawn_series(range(5, 8)))
    assert (found.finding, found.kinds) == (Answer.TUMOR, ("astro_cytoma",))
    assert found.decision == "astro_cytoma"
    assert found.probabilities is not None
    assert list(found.probabilities) == NAMES
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    tumors = [found.probabilities[name] for name in OWN[:2]]
    assert found.p_tumor == pytest.approx(sum(tumors))
    assert found.lesion is not None
    assert found.evidence is not None
    assert found.evidence.max(axis=(1, 2)).argmax() in range(5, 8)
    # The slices' own answers are those of single pictures.
    one = [drawn_series(range(5, 8)).slices[6]]
    (alone,) = classifier.slice_classifier().predict_slices(one)
    assert found.slice_p_tumor[6] == pytest.approx(alone.decision.p_tumor)
    # What cannot be known is said.
    assert NOT_CALIBRATED in found.reasons
    assert NOT_VALIDATED in found.reasons
    assert CLEAR_CLASSES.format(names="abscess and healthy") in found.reasons
    assert "Astro cytoma" in found._repr_html_()


def test_a_clear_series_has_no_kind_and_shares_among_what_is_clear(
    own_bundle: Path,
) -> None:
    found = load_series_classifier(own_bundle, threads=1).predict(drawn_series())
    assert (found.finding, found.kinds) == (Answer.NO_TUMOR, ())
    assert found.decision == "no_tumor"
    assert found.predicted == "healthy"
    assert found.probabilities is not None and found.p_tumor is not None
    clear = [found.probabilities[name] for name in OWN[2:]]
    assert found.p_tumor == pytest.approx(1.0 - sum(clear))


def test_a_series_shares_each_side_as_its_run_does() -> None:
    slices = np.array([[0.1, 0.3, 0.45, 0.15]] * 3)
    shares = series_probabilities(slices, (0, 3), 0.0, OWN)
    assert shares == pytest.approx([0.125, 0.375, 0.375, 0.125])
    # Where a side has nothing at all, its classes share alike.
    shares = series_probabilities(slices * [0, 0, 1, 1], (0, 3), 0.0, OWN)
    assert shares == pytest.approx([0.25, 0.25, 0.375, 0.125])


def test_series_of_a_study_are_judged_together(own_bundle: Path) -> None:
    study = load_study_classifier(own_bundle, threads=1)
    t1, contrast = (
        replace(drawn_series(range(5, 8)), sequence=sequence)
        for sequence in (MRSequence.T1, MRSequence.T1_CONTRAST)
    )
    found = study.predict([t1, contrast])
    assert found.combined.kinds == ("astro_cytoma",)
    values = found.combined.probabilities
    assert values is not None and list(values) == NAMES
    assert found.combined.p_tumor == pytest.approx(values[OWN[0]] + values[OWN[1]])
    document = study_to_json(found)
    assert document["tumor_classes"] == NAMES[:2]
    assert list(document["probabilities"]) == NAMES


def test_scan_writes_its_names(
    own_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, dark, out = (tmp_path / x for x in ("head.nii.gz", "dark.nii.gz", "out.json"))
    head.write_bytes(nifti())
    dark.write_bytes(dark_nifti())
    report = tmp_path / "out.pdf"
    words = ["scan", str(head), str(dark), "--model", str(own_bundle)]
    assert main([*words, "--json", str(out), "--pdf", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "Tumour: astro cytoma" in shown
    assert NOT_CALIBRATED in shown
    found, nothing = json.loads(out.read_text())
    assert list(found["probabilities"]) == NAMES
    assert found["tumor_classes"] == NAMES[:2]
    assert (found["predicted"], found["kinds"]) == ("astro_cytoma", ["astro_cytoma"])
    assert (found["p_other"], found["p_vascular"]) == (None, None)
    assert nothing["not_judged"] is not None
    assert "tumor_classes" not in nothing
    text = " ".join(page.extract_text() for page in PdfReader(report).pages)
    for title in ("Astro cytoma", "Lymphoma", "Abscess", "Healthy"):
        assert title in text
    assert "Glioma" not in text
    predictions = load_series_classifier(own_bundle, threads=1).predict(head)
    frame = tumorlens.Predictions([predictions]).to_frame()
    assert "p_lymphoma" in frame.columns and "p_glioma" not in frame.columns


def test_a_class_may_have_the_name_of_a_column(
    tmp_path: Path, slice_file: Path
) -> None:
    names = {"file": True, "notes": True, "kinds": False, "status": False}
    build_tiny_bundle(tmp_path, own_classes(names))
    found = tumorlens.load_classifier(tmp_path, threads=1).predict(slice_file)
    (row,) = tumorlens.Predictions([found]).to_frame().to_dict("records")
    assert (row["file"], row["status"]) == (str(slice_file), "ok")
    assert row["p_file"] == found.decision.raw_probabilities["file"]


def test_what_knows_the_four_classes_alone_refuses_it(own_bundle: Path) -> None:
    with pytest.raises(BundleError, match="classes of its own"):
        load_compared_model(own_bundle)
