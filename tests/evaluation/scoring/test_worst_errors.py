"""The worst errors, and their pictures."""

import cv2
import numpy as np
import pytest

from tests.samples.scored_sets import made_set
from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.scoring.scored_slices import score_records
from tumorlens.evaluation.scoring.worst_errors import (
    error_pictures,
    judge_by,
    section,
    worst_errors,
)
from tumorlens.inference.classifier import load_classifier


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
    scored = score_records(classifier, read_manifest(drawn_set))
    errors = worst_errors(scored, 3)
    return errors, list(error_pictures(errors, scored, judge_by(classifier)))


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
    scored = score_records(classifier, read_manifest(drawn_set)[:1])
    error = {"row": 0, "file": "", "source": "", "true": "glioma", "said": "glioma"}
    error |= {"sure": 1.0, "true_probability": 0.0, "decision": "glioma"}
    (picture,) = error_pictures([error], scored, judge_by(classifier))
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
    assert len(section(errors).paragraphs) == 1 + len(errors)
    assert section(errors, pictures).pictures == tuple(pictures)
