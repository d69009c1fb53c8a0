"""The tests of explanations, on a network whose maps are known: brightness."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.cases import MAPS, draw_maps, read_cases, run
from tumorlens.evaluation.explanations.faithfulness import (
    measure_agreement,
    measure_faithfulness,
)
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.evaluation.explanations import faithfulness_section
from tumorlens.taxonomy import CLASSES, TumorClass


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def records(drawn_set):
    return read_manifest(drawn_set)


@pytest.fixture(scope="module")
def figures(classifier, records):
    return measure_faithfulness([MeasuredBundle(classifier, records)], len, count=6)


def test_cases_are_tumour_slices_of_every_class(classifier, records):
    cases = read_cases([MeasuredBundle(classifier, records)], 6)
    labels = [case.record.label for case in cases]
    assert sorted(labels) == sorted([*CLASSES[:3]] * 2)
    assert all(case.record.mask is not None for case in cases)


def test_slices_without_an_outline_serve_where_there_is_none(classifier, records):
    bare = [replace(item, mask=None) for item in records]
    assert len(read_cases([MeasuredBundle(classifier, bare)], 6)) == 6
    mixed = [*bare, *(item for item in records if "-0-0" in item.path.stem)]
    chosen = read_cases([MeasuredBundle(classifier, mixed)], 6)
    assert all(case.record.mask is not None for case in chosen)


def test_maps_are_those_that_are_served(classifier, records):
    from tumorlens.imaging.preprocess.slice import to_picture
    from tumorlens.inference.slice.session import Session

    (case, *_) = read_cases([MeasuredBundle(classifier, records)], 3)
    outputs = run(Session(classifier.bundle), case.pixels[None])
    drawn = draw_maps(outputs, [case])
    served = classifier.predict(case.slice_.pixels).explanation
    for name in MAPS:
        shown = to_picture(drawn[name][0], case.crop, 256, 256)
        shown = shown / (shown.max() if name == "gradcam" else 1.0)
        np.testing.assert_allclose(shown, getattr(served, name), atol=1e-5)


def test_every_part_is_measured(figures):
    assert figures["slices"] == 6 and figures["patients"] == 6
    assert figures["agreement"]["slices"] == 6
    assert set(figures) > {"deletion", "randomisation", "repeatability"}


def test_the_section_is_made_of_the_json_alone(figures):
    made = faithfulness_section(json.loads(json.dumps(figures, allow_nan=False)))
    assert len(made.tables) == 5 and len(made.charts) == 3
    for table in made.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    for chart in made.charts:
        assert all(len(line.x) == len(line.y) for line in chart.lines)


def test_without_outlines_agreement_alone_is_missing(classifier, records):
    bare = [replace(item, mask=None) for item in records]
    found = measure_faithfulness([MeasuredBundle(classifier, bare)], len, count=3)
    assert found["agreement"] == {"slices": 0}
    assert len(faithfulness_section(found).tables) == 4


def test_without_tumours_the_section_says_so(classifier, records):
    healthy = [item for item in records if item.label is TumorClass.NO_TUMOR]
    found = measure_faithfulness([MeasuredBundle(classifier, healthy)], len)
    assert found == {"bundles": 1, "slices": 0, "patients": 0}
    assert not faithfulness_section(found).tables


@pytest.fixture(scope="module")
def agreement(tiny_bundle, drawn_set):
    records = [x for x in read_manifest(drawn_set) if x.label == "glioma"]
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_agreement(read_cases([MeasuredBundle(classifier, records)], 9))


def test_the_evidence_points_into_the_disc_and_the_middle_does_not(agreement):
    assert agreement["evidence"]["peak_inside"]["value"] == 1.0
    assert agreement["center"]["peak_inside"]["value"] == 0.0
    assert agreement["evidence"]["dice"]["value"] > 0.5


def test_the_gain_is_the_difference(agreement):
    for key in ("peak_inside", "dice"):
        gap = agreement["evidence"][key]["value"] - agreement["center"][key]["value"]
        gain = agreement["gain_over_center"]["evidence"][key]["value"]
        assert gain == pytest.approx(gap)
        assert np.isfinite(gain)
