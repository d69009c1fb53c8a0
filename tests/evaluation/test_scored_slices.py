"""What a bundle says of labelled slices, and which of it is most wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest

from tests.conftest import draw_phantom
from tests.samples.scored_slices import made_set, random_set
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError
from tumorlens.evaluation.corruption import measure_corruption
from tumorlens.evaluation.explanations import (
    measure_agreement,
    measure_randomisation,
    read_cases,
    shuffle,
)
from tumorlens.evaluation.ood import gather_ood_pictures, measure_ood
from tumorlens.evaluation.scored_slices import (
    MeasuredBundle,
    ScoredSlices,
    predictor,
    score_records,
    share_of_each,
    typical_errors,
    worst_errors,
)
from tumorlens.experiments.evaluation import error_pictures, sketch_errors
from tumorlens.inference.bundle.bundle import read_document, sha256_of, write_document
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.ood import OodModel
from tumorlens.report.evaluation.performance import SKETCH_SIDE as SIDE
from tumorlens.report.evaluation.performance import worst_errors_section
from tumorlens.taxonomy import CLASSES, TumorClass


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def scored_slices(classifier, drawn_set):
    return score_records(classifier, read_manifest(drawn_set))


def test_every_slice_is_scored_as_it_is_served(classifier, scored_slices):
    assert len(scored_slices.records) == 24
    one = classifier.predict(scored_slices.records[3].path)
    wanted = [one.decision.probabilities[name] for name in CLASSES]
    assert scored_slices.probabilities[3] == pytest.approx(wanted, abs=1e-6)
    assert scored_slices.decisions[3] == one.decision.label
    names = [CLASSES[row] for row in np.flatnonzero(scored_slices.sets[3])]
    assert tuple(names) == one.decision.prediction_set


def test_only_outlined_tumours_are_localised(scored_slices):
    healthy = ~scored_slices.tumor
    for values in (
        scored_slices.peak_inside,
        scored_slices.gradcam_dice,
        scored_slices.outline_shares,
    ):
        assert np.isnan(values[healthy]).all()
        assert np.isfinite(values[~healthy]).all()
    # The tiny network sees brightness, and the lesions are bright.
    assert scored_slices.peak_inside[scored_slices.labels == 0].mean() == 1.0
    # A disc of 22 pixels' radius, in a square around a head of about 225.
    share = scored_slices.outline_shares[scored_slices.labels == 0].mean()
    assert share == pytest.approx(np.pi * 22**2 / 240**2, rel=0.25)


def test_thresholds_are_those_of_the_bundle(scored_slices):
    assert set(scored_slices.thresholds) == {0.3}
    assert set(scored_slices.balanced_thresholds) == {0.5}


def test_a_damaged_file_is_left_out_and_named(classifier, drawn_set, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nrest")
    records = [Record(broken, TumorClass.GLIOMA), *read_manifest(drawn_set)[:2]]
    said = []
    found = score_records(classifier, records, say=said.append)
    assert found.records == records[1:]
    assert len(said) == 1
    assert "broken.png" in said[0]


def test_nothing_to_score_is_an_error(classifier, slice_file):
    with pytest.raises(DatasetError, match="None of the listed"):
        score_records(classifier, [Record(slice_file, None)])


def test_a_blurred_picture_is_less_sharp(classifier, slice_file, tmp_path):
    import cv2

    sharp = cv2.imread(str(slice_file), cv2.IMREAD_GRAYSCALE)
    blurred = tmp_path / "blurred.png"
    cv2.imwrite(str(blurred), cv2.GaussianBlur(sharp, (0, 0), 3.0))
    records = [Record(path, TumorClass.GLIOMA) for path in (slice_file, blurred)]
    first, second = score_records(classifier, records).sharpness
    assert second < 0.5 * first


def test_folds_are_pooled_in_order():
    one, other = random_set(1, patients=4), random_set(2, patients=8)
    both = ScoredSlices.concatenate([one, other])
    assert len(both.records) == 48
    assert both.probabilities[16:].tolist() == other.probabilities.tolist()
    assert both.take(np.arange(16, 48)).decisions == list(other.decisions)


@pytest.fixture(scope="module")
def halves(tiny_bundle, drawn_set, tmp_path_factory):
    """Two bundles on half of the patients each.

    The second refuses everything, and its network is another.
    """
    strict = tmp_path_factory.mktemp("strict") / "bundle"
    shutil.copytree(tiny_bundle, strict)
    domain = OodModel.load(strict / "domain.npz")
    replace(domain, cut=np.float32(1.0)).save(strict / "domain.npz")
    other = shuffle(onnx.load(strict / "model.onnx"), [["to_class"]], seed=2)
    onnx.save(other, strict / "model.onnx")
    document = read_document(strict)
    for name in ("domain.npz", "model.onnx"):
        document["files"][name] = sha256_of(strict / name)
    write_document(strict, document)
    records = read_manifest(drawn_set)
    patients = sorted({row.patient for row in records})
    first = {patients[row] for row in range(0, len(patients), 2)}
    return [
        MeasuredBundle(
            load_classifier(folder, threads=1),
            [row for row in records if (row.patient in first) == (number == 0)],
        )
        for number, folder in enumerate((tiny_bundle, strict))
    ]


def test_bundles_share_what_is_measured(halves):
    assert share_of_each(50, halves) == 25
    assert share_of_each(1, halves) == 1


def test_each_bundle_judges_its_own_half_of_the_damaged(halves):
    found = measure_corruption(halves, len, of_each_class=2)
    assert found["slices"] == 2 * len(CLASSES)
    assert found["clean"]["refused"]["value"] == 0.5
    for kind in found["kinds"].values():
        assert all(row["refused"]["value"] >= 0.5 for row in kind["strengths"])


def test_each_bundle_refuses_its_own_half_of_the_pictures(halves):
    found = measure_ood(halves, len, of_each_kind=2)
    assert found["bundles"] == 2
    assert found["passed"]["value"] == pytest.approx(
        len(halves[0].records) / sum(len(item.records) for item in halves)
    )
    # One spine is drawn for each: the first passes, the second is refused.
    assert found["kinds"]["drawn: spine"]["pictures"] == 2
    assert found["kinds"]["drawn: spine"]["refused"]["value"] == 0.5


def test_no_drawing_is_shown_to_two_bundles():
    first, second = (gather_ood_pictures([], 1, number)[0] for number in (0, 1))
    drawn = [item for item in first if item.kind.startswith("drawn")]
    for one, other in zip(drawn, second[: len(drawn)], strict=True):
        assert one.kind == other.kind and one.origin != other.origin
        assert not np.array_equal(one.slice_.pixels, other.slice_.pixels)


def test_maps_of_several_bundles_count_alike(halves):
    together = measure_agreement(read_cases(halves, 6))
    alone = [measure_agreement(read_cases([item], 3)) for item in halves]
    assert together["slices"] == 6
    for key in ("peak_inside", "dice"):
        parts = [found["evidence"][key]["value"] for found in alone]
        assert together["evidence"][key]["value"] == pytest.approx(np.mean(parts))


def test_every_network_is_shuffled_by_itself(halves):
    cases = read_cases(halves, 6)
    found = measure_randomisation(cases, len)
    alone = [
        measure_randomisation([case for case in cases if case.bundle is bundle], len)
        for bundle in (item.classifier.bundle for item in halves)
    ]
    for row, stage in enumerate(found["cascading"]):
        parts = [item["cascading"][row]["evidence"]["ssim"]["value"] for item in alone]
        assert stage["evidence"]["ssim"]["value"] == pytest.approx(np.mean(parts))
    assert parts[0] != pytest.approx(parts[1], abs=0.01)


def test_flagged_rows_serve_no_bundle_as_brain_mri(halves):
    flagged = [
        MeasuredBundle(
            item.classifier, [replace(row, flag="ct") for row in item.records]
        )
        for item in halves
    ]
    assert measure_corruption(flagged, len)["slices"] == 0
    assert read_cases(flagged, 6) == []


def test_the_surest_errors_come_first_two_of_a_patient():
    said = [("a", "glioma", "meningioma")] * 3 + [("b", "glioma", "pituitary")] * 2
    sure = np.array([0.7, 0.9, 0.8, 0.6, 0.95])
    rows = np.full((5, 4), 0.01)
    rows[:3, 1], rows[3:, 2] = sure[:3], sure[3:]
    found = worst_errors(made_set([*said], probabilities=rows))
    assert [item["row"] for item in found] == [4, 1, 2, 3]
    assert [item["row"] for item in worst_errors(made_set(said, probabilities=rows), 1)]
    assert found[0]["said"] == "pituitary"
    assert found[0]["file"] == "4.png"


def test_what_is_right_is_no_error():
    assert worst_errors(made_set([("a", "glioma", "glioma")])) == []


@pytest.fixture(scope="module")
def shown(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    scored_slices = score_records(classifier, read_manifest(drawn_set))
    errors = worst_errors(scored_slices, 3)
    return errors, list(error_pictures(errors, scored_slices, predictor(classifier)))


def test_pictures_are_small_and_say_what_was_said(shown):
    errors, pictures = shown
    assert len(pictures) == len(errors) == 3
    for error, picture in zip(errors, pictures, strict=True):
        data = np.frombuffer(picture.png, np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (200, 400, 3)
        assert error["file"] in picture.caption
        assert f"{error['sure']:.2f}" in picture.caption


def test_both_outlines_are_on_the_picture(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    scored_slices = score_records(classifier, read_manifest(drawn_set)[:1])
    error = {"row": 0, "file": "", "source": "", "true": "glioma", "said": "glioma"}
    error |= {"sure": 1.0, "true_probability": 0.0, "decision": "glioma"}
    (picture,) = error_pictures([error], scored_slices, predictor(classifier))
    decoded = cv2.imdecode(np.frombuffer(picture.png, np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = decoded[:, :200].transpose(2, 0, 1).astype(int)
    assert ((blue > 250) & (red > 250)).any()
    yellow = (red - blue > 100) & (green > 120)
    assert yellow.any()
    # The bright lesion is what the bundle outlines; its middle is at (110, 90) of 256.
    rows, columns = np.nonzero(yellow)
    assert rows.mean() == pytest.approx(110 * 200 / 256, abs=8)
    assert columns.mean() == pytest.approx(90 * 200 / 256, abs=8)


def test_without_pictures_the_errors_are_listed(shown):
    errors, pictures = shown
    assert len(worst_errors_section(errors).paragraphs) == 1 + len(errors)
    assert worst_errors_section(errors, pictures).pictures == tuple(pictures)


SAID = [("a", "glioma", "meningioma")] * 2 + [
    ("b", "pituitary", "no_tumor"),
    ("c", "no_tumor", "glioma"),
    ("d", "glioma", "glioma"),
]


@pytest.fixture(scope="module")
def predict(tiny_bundle):
    return predictor(load_classifier(tiny_bundle, threads=1))


def pictured(folder, sources):
    """A made set whose records have a picture and an outline."""
    picture = draw_phantom(lesion=(90, 110, 22), seed=1)
    outline = np.zeros_like(picture)
    cv2.circle(outline, (90, 110), 22, 255, -1)
    cv2.imwrite(str(folder / "slice.png"), picture)
    cv2.imwrite(str(folder / "mask.png"), outline)
    scored_slices = made_set(SAID, source=sources)
    for record in scored_slices.records:
        object.__setattr__(record, "path", folder / "slice.png")
        object.__setattr__(record, "mask", folder / "mask.png")
    return scored_slices


def test_the_commonest_kind_comes_first_each_once(predict, tmp_path):
    found = sketch_errors(pictured(tmp_path, ["cheng"] * 5), predict)
    assert [(item["true"], item["said"]) for item in found] == [
        ("glioma", "meningioma"),
        ("pituitary", "no_tumor"),
        ("no_tumor", "glioma"),
    ]
    assert [item["slices"] for item in found] == [2, 1, 1]
    assert len(typical_errors(pictured(tmp_path, ["cheng"] * 5), most=1)) == 1


def test_outlines_lie_where_the_picture_shows_them(predict, tmp_path):
    first = sketch_errors(pictured(tmp_path, ["cheng"] * 5), predict)[0]
    assert max(first["width"], first["height"]) == SIDE
    (drawn,) = first["drawn"]
    middle = np.mean(drawn, axis=0)
    assert middle == pytest.approx([90 * SIDE / 256, 110 * SIDE / 256], abs=1.5)
    head = np.concatenate([np.array(part) for part in first["head"]])
    assert head.min() >= 0 and head.max() <= SIDE
    assert np.ptp(head[:, 0]) > 0.4 * SIDE
    assert first["marked"]
    # A tumour-free slice has no outline of its own.
    assert sketch_errors(pictured(tmp_path, ["lgg"] * 5), predict)[2]["drawn"] == []


def test_sets_that_may_not_be_drawn_are_not(predict, tmp_path):
    sources = ["notumor", "ixi", "ixi", "lgg", "cheng"]
    found = sketch_errors(pictured(tmp_path, sources), predict)
    assert [item["source"] for item in found] == ["lgg"]
