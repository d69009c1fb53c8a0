"""Shuffled weights: which, how, and what that does to maps."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.cases import read_cases
from tumorlens.evaluation.explanations.randomisation import (
    learned_layers,
    measure_randomisation,
    shuffle,
    spearman,
)
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier


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
