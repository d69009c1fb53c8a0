"""The contract that every network in the registry keeps."""

import keras
import numpy as np
import pytest

from tumorlens.errors import SettingError
from tumorlens.imaging.preprocess.volume import block_shape
from tumorlens.training.batches import Batch
from tumorlens.training.config import TrainingConfig
from tumorlens.training.export import serving_model
from tumorlens.training.fit import compile_model, train_step
from tumorlens.training.networks.registry import NETWORKS, find_network

pytestmark = pytest.mark.parametrize("name", list(NETWORKS))


def input_shape(name: str, size: int) -> tuple[int, ...]:
    if NETWORKS[name].judges == "volumes":
        return (*block_shape(size), 1)
    return (size, size, 3)


def grid_shape(name: str, size: int) -> tuple[int, ...]:
    """Cells of the evidence grid, of two pictures and all findings."""
    stride = NETWORKS[name].evidence_stride
    cells = (side // stride for side in input_shape(name, size)[:-1])
    return (2, *cells, len(NETWORKS[name].findings))


@pytest.fixture
def pixels(name) -> np.ndarray:
    shape = (2, *input_shape(name, 64))
    return np.random.default_rng(0).random(shape, np.float32)


def test_outputs_have_the_stated_shapes_at_any_size(name, pixels):
    model = NETWORKS[name].build(None)
    for size in (64, 96):
        resized = np.resize(pixels, (2, *input_shape(name, size)))
        outputs = model.predict_on_batch(resized)
        assert outputs["logits"].shape == (2, len(NETWORKS[name].findings))
        if NETWORKS[name].sequences:
            assert outputs["sequence"].shape == (2, len(NETWORKS[name].sequences))
        if "evidence" in outputs:
            assert outputs["evidence"].shape == grid_shape(name, size)


def test_a_batch_gives_what_its_elements_give(name, pixels):
    model = NETWORKS[name].build(64)
    together = model.predict_on_batch(pixels)["logits"]
    alone = [model.predict_on_batch(row[None])["logits"][0] for row in pixels]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_saved_weights_give_the_same_outputs(name, pixels, tmp_path):
    model = NETWORKS[name].build(None)
    model.save_weights(tmp_path / "kept.weights.h5")
    other = NETWORKS[name].build(64)
    other.load_weights(tmp_path / "kept.weights.h5")
    np.testing.assert_allclose(
        model.predict_on_batch(pixels)["logits"],
        other.predict_on_batch(pixels)["logits"],
        atol=1e-5,
    )


def test_every_trainable_weight_moves(name, pixels):
    keras.utils.set_random_seed(0)
    config = TrainingConfig(network=name, epochs=1, steps_per_epoch=1)
    model = NETWORKS[name].build(64)
    compile_model(model, config)
    before = [np.array(item) for item in model.trainable_variables]
    cells = grid_shape(name, 64)[:-1]
    findings = np.eye(len(NETWORKS[name].findings), dtype=np.float32)
    batch = Batch(
        pixels,
        findings[[0, 3]],
        findings[np.full(cells, 1)],
        np.ones(cells, np.float32),
        np.array([1.0, 0.0], np.float32),
        np.eye(4, dtype=np.float32)[[0, 2]],
    )
    for _ in range(3):
        train_step(model, batch)
    still = [
        item.path
        for item, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(np.array(item), old)
    ]
    assert still == []


def test_the_serving_model_keeps_logits_and_adds_the_rest(name, pixels):
    model = NETWORKS[name].build(None)
    outputs = serving_model(model, 64).predict_on_batch(pixels)
    np.testing.assert_allclose(
        outputs["logits"], model.predict_on_batch(pixels)["logits"], atol=1e-5
    )
    assert outputs["evidence"].shape == grid_shape(name, 64)
    assert outputs["gradcam"].min() >= 0.0
    assert outputs["embedding"].shape[0] == 2
    assert ("sequence" in outputs) == bool(NETWORKS[name].sequences)


def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(SettingError, match=name):
        find_network("resnet")


def test_the_frozen_blocks_stay_as_they_were(name, pixels):
    network = NETWORKS[name]
    model = network.build(None)
    network.freeze(model)
    frozen = [layer for layer in model.layers if not layer.trainable]
    assert {layer.name.partition("_")[0] for layer in frozen} == set(network.frozen)
    before = [array for layer in frozen for array in layer.get_weights()]
    model(pixels, training=True)
    after = [array for layer in frozen for array in layer.get_weights()]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
