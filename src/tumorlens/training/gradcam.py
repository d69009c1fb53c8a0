"""Grad-CAM by automatic differentiation, for any functional Keras model.

Serving computes the same in closed form inside the exported graph; this is
the reference it is checked against.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import SettingError


def grad_cam(
    model: keras.Model, pixels: NDArray[np.float32], class_index: int, layer: str
) -> NDArray[np.float32]:
    """Compute Grad-CAM of one class (Selvaraju et al. 2017, arXiv:1610.02391).

    Parameters
    ----------
    model
        Functional; its output, or its output named ``logits``, holds one
        value before softmax for each class.
    pixels
        Shape (N, H, W, 3), float32, as the model takes them.
    class_index
        Index of the class that is explained.
    layer
        Name of the convolution, or activation, whose features are weighed.

    Returns
    -------
    ndarray
        Shape (N, h, w), float32, not negative: the features summed with the
        class's mean gradient as weights, negative sums cut to 0.

    Raises
    ------
    SettingError
        The model has no such layer or class, or the logits do not come from
        that layer alone.
    """
    outputs = dict(zip(model.output_names, model.outputs, strict=True))
    logits = outputs.get("logits", model.outputs[0])
    if not 0 <= class_index < int(logits.shape[-1]):
        raise SettingError(
            f"There is no class {class_index}.", f"Give 0 to {logits.shape[-1] - 1}."
        )
    try:
        features = model.get_layer(layer).output
        trunk = keras.Model(model.inputs, features)
        head = keras.Model(features, logits)
    except ValueError as error:
        last = ", ".join(item.name for item in model.layers[-6:])
        raise SettingError(
            f"{model.name} has no layer '{layer}' through which all logits come.",
            f"Its last layers are: {last}.",
        ) from error
    feature_maps = trunk(keras.ops.convert_to_tensor(pixels), training=False)
    gradient = _gradient(head, feature_maps, class_index)
    cells = tuple(range(1, gradient.ndim - 1))
    weights = gradient.mean(axis=cells, keepdims=True)
    values = keras.ops.convert_to_numpy(feature_maps)
    return np.maximum((values * weights).sum(axis=-1), 0.0).astype(np.float32)


def _gradient(head: keras.Model, features: Any, class_index: int) -> NDArray[Any]:  # noqa: ANN401 - a tensor of whichever backend
    """Gradient of the class's logit by the features, by the backend's own means."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(features)
            score = tf.reduce_sum(head(features, training=False)[:, class_index])
        return np.asarray(tape.gradient(score, features))
    if backend == "torch":
        leaf = features.detach().requires_grad_(True)
        head(leaf, training=False)[:, class_index].sum().backward()
        return np.asarray(leaf.grad.cpu().numpy())
    if backend == "jax":
        import jax

        def score_of(values: Any) -> Any:  # noqa: ANN401
            return head(values, training=False)[:, class_index].sum()

        return np.asarray(jax.grad(score_of)(features))
    raise SettingError(
        f"Grad-CAM cannot differentiate on the Keras backend '{backend}'.",
        "Set KERAS_BACKEND to tensorflow, torch or jax.",
    )
