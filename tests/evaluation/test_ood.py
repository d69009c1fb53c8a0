"""Refusal of foreign pictures, by the tiny bundle, which refuses colour alone."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.data.ood_pictures import PHOTOGRAPHS, draw_ood_samples
from tumorlens.evaluation.ood import (
    DRAWN,
    OTHER_PHOTOGRAPHS,
    draw_ood_picture,
    gather_ood_pictures,
    measure_ood,
)
from tumorlens.evaluation.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.evaluation.robustness import ood_section


@pytest.fixture(scope="module")
def records(drawn_set):
    """Drawn heads; the first is flagged as CT, the second as abnormal."""
    first, second, *rest = read_manifest(drawn_set)
    return [replace(first, flag="ct"), replace(second, flag="abnormal"), *rest]


@pytest.fixture(scope="module")
def figures(tiny_bundle, records):
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_ood([MeasuredBundle(classifier, records)], len, of_each_kind=1)


def test_what_is_measured_as_new_teaches_nobody():
    assert not set(DRAWN) & {item.kind for item in draw_ood_samples(1, 0)}
    assert not set(OTHER_PHOTOGRAPHS) & set(PHOTOGRAPHS)


@pytest.mark.parametrize("kind", DRAWN)
def test_drawings_repeat_themselves_and_differ_by_seed(kind):
    first, again, other = (draw_ood_picture(kind, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.1
    assert first.dtype == np.float32 and first.shape == (256, 256)
    assert first.min() >= 0.0 and first.max() <= 255.0 and np.ptp(first) > 60.0


def test_colour_is_refused_and_grey_passes(figures):
    kinds = figures["kinds"]
    assert kinds["photograph in colour"]["refused"]["value"] > 0.7
    assert kinds["photograph in colour"]["auroc"]["value"] > 0.9
    assert kinds["photograph in grey"]["refused"]["value"] == 0.0
    assert figures["passed"]["value"] == 1.0
    # All of a few patients pass: that is not yet all there are.
    assert figures["passed"]["low"] < 0.9
    assert set(figures["passed_by_source"]) == {"a", "b"}


def test_taught_and_new_are_told_apart(figures):
    counts = {True: 0, False: 0}
    for found in figures["kinds"].values():
        counts[found["taught"]] += found["pictures"]
    assert counts[True] == figures["taught"]["pictures"]
    assert counts[False] == figures["new"]["pictures"]
    assert sum(counts.values()) == figures["all"]["pictures"]
    assert figures["kinds"]["drawn: chart"]["taught"]
    assert not figures["kinds"]["drawn: spine"]["taught"]


def test_flagged_rows_are_no_brain_mri_beside_the_others(figures, records):
    assert figures["kinds"]["CT among the MRI"]["pictures"] == 1
    assert figures["slices"] == len(records) - 2


def test_pictures_of_other_body_parts_are_there_or_missed_with_a_note(records):
    found, notes = gather_ood_pictures(records, 1)
    dicom = [item for item in found if item.kind.startswith("DICOM")]
    assert bool(dicom) != bool(notes)


def test_quarters_of_a_photograph_count_with_it(records):
    found, _ = gather_ood_pictures(records, 1)
    clock = [item for item in found if item.origin == "clock"]
    assert len(clock) == 5
    assert len({item.slice_.pixels.shape for item in clock}) > 1


def test_the_section_is_made_of_the_json_alone(figures):
    made = ood_section(json.loads(json.dumps(figures, allow_nan=False)))
    assert len(made.tables[0].rows) == len(figures["kinds"])
    assert made.tables[0].rows[0][1] == "new"
    assert made.charts[0].lines[0].x
    assert any("Weakest" in words for words in made.paragraphs)


def test_without_brain_mri_there_is_no_auroc(tiny_bundle):
    classifier = load_classifier(tiny_bundle, threads=1)
    found = measure_ood([MeasuredBundle(classifier, [])], len, of_each_kind=1)
    assert found["new"]["auroc"] is None and found["passed"] is None
    assert not ood_section(found).charts


def test_an_unreadable_ct_is_left_out(tiny_bundle, records, tmp_path):
    (tmp_path / "ct.png").write_bytes(b"nothing")
    broken = replace(records[0], path=tmp_path / "ct.png")
    assert all(
        item.kind != "CT among the MRI" for item in gather_ood_pictures([broken], 1)[0]
    )
    cv2.imwrite(str(tmp_path / "ct.png"), np.eye(64, dtype=np.uint8) * 200)
    assert any(
        item.kind == "CT among the MRI" for item in gather_ood_pictures([broken], 1)[0]
    )
