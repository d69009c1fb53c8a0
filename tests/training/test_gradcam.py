"""Grad-CAM by autodiff, and its agreement with what serving computes."""

import keras
import numpy as np
import pytest

from tumorlens.errors import SettingError
from tumorlens.training.export import serving_model
from tumorlens.training.gradcam import grad_cam
from tumorlens.training.networks.registry import NETWORKS


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
