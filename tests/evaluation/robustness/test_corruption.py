"""Figures under damage, by the tiny network that calls bright spots glioma."""

import json
from dataclasses import replace

import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.robustness.corruption import measure_corruption, section
from tumorlens.evaluation.robustness.corruptions import CORRUPTIONS
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.inference.classifier import load_classifier
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def figures(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    said = []
    found = measure_corruption(
        [Examined(classifier, read_manifest(drawn_set))], said.append, of_each_class=2
    )
    assert len(said) == len(CORRUPTIONS)
    return found


def test_every_kind_is_measured_at_every_strength(figures):
    assert figures["slices"] == 8
    assert set(figures["kinds"]) == set(CORRUPTIONS)
    for found in figures["kinds"].values():
        assert [row["accuracy"]["low"] >= 0.0 for row in found["strengths"]] == [
            True
        ] * 5


def test_the_drop_is_the_mean_loss_of_accuracy(figures):
    clean = figures["clean"]["accuracy"]["value"]
    values = [
        row["accuracy"]["value"]
        for found in figures["kinds"].values()
        for row in found["strengths"]
    ]
    wanted = 100.0 * (clean - sum(values) / len(values))
    assert figures["drop"]["value"] == pytest.approx(wanted)
    assert figures["drop"]["low"] <= wanted <= figures["drop"]["high"]


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_drops_of_the_decision_are_mean_losses(figures, name):
    clean = figures["clean"][f"tumor_{name}"]["value"]
    values = [
        row[f"tumor_{name}"]["value"]
        for found in figures["kinds"].values()
        for row in found["strengths"]
    ]
    wanted = 100.0 * (clean - sum(values) / len(values))
    assert figures[f"{name}_drop"]["value"] == pytest.approx(wanted)
    assert abs(wanted) > 1.0


def test_healthy_slices_alone_have_no_figures_on_tumours(tiny_bundle, drawn_set):
    records = [
        item for item in read_manifest(drawn_set) if item.label is TumorClass.NO_TUMOR
    ]
    classifier = load_classifier(tiny_bundle, threads=1)
    found = measure_corruption([Examined(classifier, records)], len, of_each_class=1)
    assert found["clean"]["auroc_tumor"] is None
    assert found["clean"]["tumor_sensitivity"] is None
    assert found["sensitivity_drop"] is None
    assert section(found).tables[0].rows[0][3] == "–"


def test_flagged_slices_are_left_out(tiny_bundle, drawn_set):
    records = [replace(item, flag="ct") for item in read_manifest(drawn_set)]
    classifier = load_classifier(tiny_bundle, threads=1)
    assert measure_corruption([Examined(classifier, records)], len)["slices"] == 0


def test_the_section_is_made_of_the_json_alone(figures):
    made = section(json.loads(json.dumps(figures, allow_nan=False)))
    assert len(made.tables[0].rows) == 1 + len(CORRUPTIONS)
    assert all(len(row) == len(made.tables[0].columns) for row in made.tables[0].rows)
    assert len(made.charts[0].lines) == len(CORRUPTIONS)


def test_without_labelled_slices_the_section_says_so(tiny_bundle):
    classifier = load_classifier(tiny_bundle, threads=1)
    found = measure_corruption([Examined(classifier, [])], print)
    assert found == {"bundles": 1, "slices": 0, "patients": 0}
    assert not section(found).tables
