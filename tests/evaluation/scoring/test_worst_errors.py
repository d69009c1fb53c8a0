"""The worst errors and the typical ones, their pictures and line drawings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.scored_slices import made_set
from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.scoring.scored_slices import score_records
from tumorlens.evaluation.scoring.worst_errors import (
    predictor,
    typical_errors,
    worst_errors,
)
from tumorlens.experiments.evaluation import error_pictures, sketch_errors
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.evaluation.worst_errors import SKETCH_SIDE as SIDE
from tumorlens.report.evaluation.worst_errors import worst_errors_section


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
