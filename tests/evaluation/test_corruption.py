"""Figures under damage, by the tiny network that calls bright spots glioma."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.corruption import (
    CORRUPTIONS,
    STRENGTHS,
    corrupt,
    measure_corruption,
)
from tumorlens.evaluation.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.evaluation.robustness import corruption_section
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def figures(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    said = []
    found = measure_corruption(
        [MeasuredBundle(classifier, read_manifest(drawn_set))],
        said.append,
        of_each_class=2,
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
    found = measure_corruption(
        [MeasuredBundle(classifier, records)], len, of_each_class=1
    )
    assert found["clean"]["auroc_tumor"] is None
    assert found["clean"]["tumor_sensitivity"] is None
    assert found["sensitivity_drop"] is None
    assert corruption_section(found).tables[0].rows[0][3] == "–"


def test_flagged_slices_are_left_out(tiny_bundle, drawn_set):
    records = [replace(item, flag="ct") for item in read_manifest(drawn_set)]
    classifier = load_classifier(tiny_bundle, threads=1)
    assert measure_corruption([MeasuredBundle(classifier, records)], len)["slices"] == 0


def test_the_section_is_made_of_the_json_alone(figures):
    made = corruption_section(json.loads(json.dumps(figures, allow_nan=False)))
    assert len(made.tables[0].rows) == 1 + len(CORRUPTIONS)
    assert all(len(row) == len(made.tables[0].columns) for row in made.tables[0].rows)
    assert len(made.charts[0].lines) == len(CORRUPTIONS)


def test_without_labelled_slices_the_section_says_so(tiny_bundle):
    classifier = load_classifier(tiny_bundle, threads=1)
    found = measure_corruption([MeasuredBundle(classifier, [])], print)
    assert found == {"bundles": 1, "slices": 0, "patients": 0}
    assert not corruption_section(found).tables


@pytest.fixture(scope="module")
def head():
    return draw_phantom(lesion=(90, 110, 18)).astype(np.float32)


def test_every_kind_has_five_strengths():
    assert len(CORRUPTIONS) == 11
    assert all(len(levels) == len(STRENGTHS) for _, levels in CORRUPTIONS.values())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_damages_alike_and_leaves_the_picture_itself(head, kind):
    before = head.copy()
    first, again = (corrupt(head, kind, 3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(head, before)
    assert first.dtype == np.float32 and first.flags.c_contiguous


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"crop"}))
def test_each_strength_is_further_from_the_picture(head, kind):
    gaps = [
        float(np.abs(corrupt(head, kind, strength, seed=2) - head).mean())
        for strength in STRENGTHS
    ]
    assert gaps[0] > 0.0
    assert gaps == sorted(gaps)
    assert gaps[-1] > 1.5 * gaps[0]


def test_a_crop_is_a_part_of_the_picture(head):
    sides = [corrupt(head, "crop", strength, seed=1).shape for strength in STRENGTHS]
    assert sides == sorted(sides, reverse=True)
    smallest = corrupt(head, "crop", 5, seed=1)
    rows, columns = smallest.shape
    windows = np.lib.stride_tricks.sliding_window_view(head, (rows, columns))
    assert any(
        np.allclose(window, smallest, atol=1e-3) for row in windows for window in row
    )


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_units_do_not_matter(head, kind):
    plain = corrupt(head, kind, 2, seed=3)
    scaled = corrupt(40.0 * head - 700.0, kind, 2, seed=3)
    step = 255.0 / 64.0 if kind == "JPEG" else 0.1
    np.testing.assert_allclose((scaled + 700.0) / 40.0, plain, atol=step)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_constant_picture_and_one_that_is_not_square_pass(kind):
    flat = np.full((64, 96), 7.0, np.float32)
    assert np.isfinite(corrupt(flat, kind, 5, seed=0)).all()
    wide = draw_phantom(120, 200).astype(np.float32)
    damaged = corrupt(wide, kind, 4, seed=0)
    assert kind == "crop" or damaged.shape == wide.shape


def test_noise_is_rician_so_that_air_turns_grey(head):
    damaged = corrupt(head, "noise", 5, seed=0)
    air = damaged[:20, :20]
    bright = float(np.percentile(head, 99.5)) - float(head.min())
    # The mean of a Rayleigh distribution of that width.
    assert air.mean() == pytest.approx(0.16 * bright * np.sqrt(np.pi / 2), rel=0.1)
