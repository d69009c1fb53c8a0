"""Tests of explanations, where the network and so the right answer are known."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.conftest import draw_phantom
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.evaluation.explanations import (
    MAPS,
    ORDERS,
    SHARES,
    draw_maps,
    learned_layers,
    measure_agreement,
    measure_deletion,
    measure_faithfulness,
    measure_randomisation,
    measure_repeatability,
    read_cases,
    run,
    shuffle,
    spearman,
)
from tumorlens.evaluation.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.evaluation.explanations import faithfulness_section
from tumorlens.taxonomy import CLASSES, TumorClass


@pytest.fixture(scope="module")
def of_deletion(tiny_bundle, drawn_set):
    """Of glioma slices: a bright disc off the middle, which decides alone."""
    records = [x for x in read_manifest(drawn_set) if x.label == "glioma"]
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_deletion(read_cases([MeasuredBundle(classifier, records)], 9))


def test_curves_run_from_the_whole_slice_to_the_blurred_one(of_deletion):
    assert of_deletion["shares"][0] == 0.0 and of_deletion["shares"][-1] == 1.0
    for order in ORDERS:
        deleted = of_deletion["deletion"][order]["curve"]
        inserted = of_deletion["insertion"][order]["curve"]
        assert len(deleted) == len(SHARES)
        assert deleted[0] == pytest.approx(inserted[-1])
        assert deleted[-1] == pytest.approx(inserted[0])


def test_what_decides_falls_first_by_a_faithful_map(of_deletion):
    early = {
        order: of_deletion["deletion"][order]["early"]["value"] for order in ORDERS
    }
    assert early["evidence"] < early["center"]
    assert early["evidence"] < early["random"]


def test_gains_are_differences_slice_by_slice(of_deletion):
    for way, sign in (("deletion", -1.0), ("insertion", 1.0)):
        found = of_deletion[way]
        for against in ("center", "random"):
            for key in ("area", "early"):
                gap = found["evidence"][key]["value"] - found[against][key]["value"]
                gain = found[f"gain_over_{against}"]["evidence"][key]["value"]
                assert gain == pytest.approx(sign * gap)


def test_the_area_of_a_flat_curve_is_its_height(of_deletion):
    for order in ORDERS:
        curve = of_deletion["deletion"][order]["curve"]
        area = of_deletion["deletion"][order]["area"]["value"]
        assert min(curve) <= area <= max(curve)


@pytest.fixture(scope="module")
def model(tiny_bundle):
    return onnx.load(tiny_bundle / "model.onnx")


def weights(model):
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_layers_run_from_the_output_to_the_input(model):
    assert learned_layers(model) == [
        ["to_embedding"],
        ["head", "head_bias"],
        ["to_class", "to_class_bias"],
    ]


def test_limits_and_shapes_are_not_learned(model):
    more = onnx.ModelProto()
    more.CopyFrom(model)
    for name, value in (("limit", np.float32(6.0)), ("shape", np.arange(4))):
        more.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
        more.graph.node[-1].input.append(name)
    factors = np.array([1.0, 1.0, 2.0, 2.0], np.float32)
    more.graph.initializer.append(numpy_helper.from_array(factors, "factors"))
    enlarged = helper.make_node("Resize", ["logits", "", "factors"], ["large"])
    more.graph.node.append(enlarged)
    assert learned_layers(more) == learned_layers(model)


def test_a_shuffle_permutes_the_chosen_layers_alone(model):
    before = weights(model)
    after = weights(shuffle(model, [["to_embedding"]], seed=1))
    for name, values in before.items():
        assert (values == after[name]).all() == (name != "to_embedding")
        np.testing.assert_array_equal(
            np.sort(values.ravel()), np.sort(after[name], None)
        )
    np.testing.assert_array_equal(
        weights(model)["to_embedding"], before["to_embedding"]
    )


def test_spearman_of_alike_opposite_and_constant_maps():
    grid = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    assert spearman(grid, np.exp(grid)) == pytest.approx(1.0)
    assert spearman(grid, -grid) == pytest.approx(-1.0)
    assert spearman(grid, np.zeros_like(grid)) == 0.0
    assert np.isnan(spearman(np.zeros_like(grid), grid))


def test_maps_change_only_with_the_layers_they_are_made_by(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    cases = read_cases([MeasuredBundle(classifier, read_manifest(drawn_set))], 6)
    found = measure_randomisation(cases, len)
    stages = found["independent"]
    assert [stage["layers"] for stage in stages] == [1, 1, 1]
    assert [stage["layers"] for stage in found["cascading"]] == [1, 2, 3]
    # Neither the embedding nor the slice head has a part in the tiny maps.
    for stage in stages[:2]:
        for name in ("evidence", "gradcam"):
            assert stage[name]["spearman"]["value"] == pytest.approx(1.0)
            assert stage[name]["ssim"]["value"] == pytest.approx(1.0)
    assert stages[2]["evidence"]["spearman"]["value"] < 0.9
    assert found["other_patient"]["evidence"]["spearman"]["value"] < 1.0


def test_maps_are_set_beside_those_of_another_patient(tiny_bundle, drawn_set):
    classifier = load_classifier(tiny_bundle, threads=1)
    cases = read_cases([MeasuredBundle(classifier, read_manifest(drawn_set))], 6)
    one = replace(cases[0].record, patient="one")
    same = [replace(cases[0], record=one)] * 3
    alone = measure_randomisation(same, len)["other_patient"]
    assert alone["evidence"] == {"spearman": None, "ssim": None}
    other = next(case for case in cases if case.record.path != one.path)
    beside = [*same, replace(other, record=replace(other.record, patient="two"))]
    both = measure_randomisation(beside, len)["other_patient"]["evidence"]
    pair = measure_randomisation(beside[2:], len)["other_patient"]["evidence"]
    assert both["spearman"]["value"] == pytest.approx(pair["spearman"]["value"])


SPOTS = ((90, 60), (128, 40), (190, 150), (128, 205))


@pytest.fixture(scope="module")
def of_repeats(tiny_bundle, tmp_path_factory):
    """Of small bright discs near the edge of the head, where a turn tells most."""
    folder = tmp_path_factory.mktemp("spots")
    records = []
    for row, (x, y) in enumerate(SPOTS):
        path = folder / f"{row}.png"
        cv2.imwrite(str(path), draw_phantom(lesion=(x, y, 18), seed=row))
        records.append(Record(path, TumorClass.GLIOMA, str(row)))
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_repeatability(read_cases([MeasuredBundle(classifier, records)], 12))


@pytest.mark.parametrize(("way", "likeness"), [("shift", 0.74), ("turn", 0.65)])
def test_a_map_of_brightness_moves_with_the_head(of_repeats, way, likeness):
    found = of_repeats[way]["evidence"]
    # Maps that are not laid back, or turned the wrong way, are less alike.
    assert found["correlation"]["value"] > likeness
    assert found["peak_moved"]["value"] < 5.5
    assert found["peak_stayed"]["value"] == 1.0


def test_every_map_has_its_figures(of_repeats):
    for way in ("shift", "turn"):
        for name in ("evidence", "gradcam"):
            assert set(of_repeats[way][name]) == {
                "correlation",
                "peak_moved",
                "peak_stayed",
            }
            assert 0.0 <= of_repeats[way][name]["peak_stayed"]["value"] <= 1.0


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
