"""Export: ONNX says what Keras says, whatever the batch."""

from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tumorlens.errors import SettingError
from tumorlens.training.export import export_onnx, grad_cam, serving_model
from tumorlens.training.networks.registry import NETWORKS


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def build_with_statistics(name):
    """Build a network whose normalisation does something, as after training."""
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(1)
    model = NETWORKS[name].build(None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale, offset, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.7, 1.3, scale.shape),
                    rng.normal(0.0, 0.1, offset.shape),
                    rng.normal(0.0, 0.1, mean.shape),
                    rng.uniform(0.7, 1.3, variance.shape),
                ]
            )
    return model


@pytest.mark.parametrize("name", list(NETWORKS))
def test_probabilities_and_maps_agree_with_keras(name, tmp_path):
    serving = serving_model(build_with_statistics(name), 64)
    export_onnx(serving, tmp_path / "model.onnx")
    session = ort.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    maps = ["evidence", "gradcam", "embedding"]
    maps += ["sequence"] if NETWORKS[name].sequences else []
    assert set(names) == {"logits", *maps}
    rng = np.random.default_rng(0)
    for rows in (1, 3):
        pixels = rng.random((rows, *serving.input_shape[1:]), np.float32)
        found = dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))
        wanted = serving.predict_on_batch(pixels)
        np.testing.assert_allclose(
            softmax(found["logits"]), softmax(wanted["logits"]), atol=1e-5
        )
        for output in maps:
            np.testing.assert_allclose(found[output], wanted[output], atol=1e-4)


@pytest.mark.parametrize("name", ["evidence-net", "evidence-net-sequences"])
def test_the_graph_computes_nothing_but_the_network(name, tmp_path):
    serving = serving_model(build_with_statistics(name), 64)
    export_onnx(serving, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    nodes = Counter(node.op_type for node in graph.node)
    # The picture is scaled once; normalisation lies in the convolutions' weights.
    assert nodes["Mul"] == 1
    assert nodes["Resize"] == 2
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    convolutions = [layer for layer in serving.layers if isinstance(layer, kinds)]
    assert nodes["Conv"] == len(convolutions)
    needless = {"Cast", "Shape", "Tile", "Slice", "Gather", "Unsqueeze", "Reshape"}
    needless |= {"BatchNormalization", "Identity", "Sub", "Div"}
    assert not needless & set(nodes)
    assert nodes["Transpose"] <= 3  # the picture in, two maps out
    assert sum(nodes.values()) <= 120


def test_every_batch_is_taken_and_only_standard_operators_are_used(tmp_path):
    serving = serving_model(build_with_statistics("evidence-net"), 64)
    export_onnx(serving, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert [item.domain for item in model.opset_import] == [""]
    first = [
        value.type.tensor_type.shape.dim[0].dim_param
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert first == ["N"] * 5


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_closed_form_agrees_with_autodiff(name):
    keras.utils.set_random_seed(3)
    network = NETWORKS[name]
    model = network.build(64)
    shape = (3, *model.input_shape[1:])
    pixels = np.random.default_rng(1).random(shape, np.float32)
    closed = serving_model(model, 64).predict_on_batch(pixels)["gradcam"]
    for index in range(4):
        wanted = grad_cam(model, pixels, index, network.last_convolution)
        np.testing.assert_allclose(closed[..., index], wanted, atol=1e-4)
        assert wanted.max() > 0 or closed[..., index].max() == 0


def test_a_model_with_two_dense_layers_is_explained_too():
    inputs = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(6, 3, activation="relu", name="last")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    hidden = keras.layers.Dense(5, activation="relu")(pooled)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    pixels = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    found = grad_cam(model, pixels, 1, "last")
    # By finite differences: how the logit moves when one channel rises.
    head = keras.Model(features, model.output)
    values = np.asarray(keras.Model(inputs, features)(pixels))
    weights = []
    for channel in range(6):
        raised = values.copy()
        raised[..., channel] += 1e-2
        step = np.asarray(head(raised))[0, 1] - np.asarray(head(values))[0, 1]
        weights.append(step / 1e-2 / (14 * 14))
    wanted = np.maximum((values * np.array(weights)).sum(axis=-1), 0)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_an_unknown_layer_is_refused_with_those_there_are():
    model = NETWORKS["seed-cnn"].build(32)
    with pytest.raises(SettingError, match="logits"):
        grad_cam(model, np.zeros((1, 32, 32, 3), np.float32), 0, "nowhere")


def test_an_unknown_class_is_refused():
    model = NETWORKS["seed-cnn"].build(32)
    with pytest.raises(SettingError, match="9"):
        grad_cam(model, np.zeros((1, 32, 32, 3), np.float32), 9, "relu3")
