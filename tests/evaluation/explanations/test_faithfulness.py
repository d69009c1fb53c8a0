"""The tests of explanations, on a network whose maps are known: brightness."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.cases import MAPS, draw_maps, read_cases, run
from tumorlens.evaluation.explanations.faithfulness import measure_faithfulness, section
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.inference.classifier import load_classifier
from tumorlens.taxonomy import CLASSES, TumorClass


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def records(drawn_set):
    return read_manifest(drawn_set)


@pytest.fixture(scope="module")
def figures(classifier, records):
    return measure_faithfulness([Examined(classifier, records)], len, count=6)


def test_cases_are_tumour_slices_of_every_class(classifier, records):
    cases = read_cases([Examined(classifier, records)], 6)
    labels = [case.record.label for case in cases]
    assert sorted(labels) == sorted([*CLASSES[:3]] * 2)
    assert all(case.record.mask is not None for case in cases)


def test_slices_without_an_outline_serve_where_there_is_none(classifier, records):
    bare = [replace(item, mask=None) for item in records]
    assert len(read_cases([Examined(classifier, bare)], 6)) == 6
    mixed = [*bare, *(item for item in records if "-0-0" in item.path.stem)]
    chosen = read_cases([Examined(classifier, mixed)], 6)
    assert all(case.record.mask is not None for case in chosen)


def test_maps_are_those_that_are_served(classifier, records):
    from tumorlens.imaging.preprocess.slice import to_picture
    from tumorlens.inference.slice.session import Session

    (case, *_) = read_cases([Examined(classifier, records)], 3)
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
    made = section(json.loads(json.dumps(figures, allow_nan=False)))
    assert len(made.tables) == 5 and len(made.charts) == 3
    for table in made.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    for chart in made.charts:
        assert all(len(line.x) == len(line.y) for line in chart.lines)


def test_without_outlines_agreement_alone_is_missing(classifier, records):
    bare = [replace(item, mask=None) for item in records]
    found = measure_faithfulness([Examined(classifier, bare)], len, count=3)
    assert found["agreement"] == {"slices": 0}
    assert len(section(found).tables) == 4


def test_without_tumours_the_section_says_so(classifier, records):
    healthy = [item for item in records if item.label is TumorClass.NO_TUMOR]
    found = measure_faithfulness([Examined(classifier, healthy)], len)
    assert found == {"bundles": 1, "slices": 0, "patients": 0}
    assert not section(found).tables
