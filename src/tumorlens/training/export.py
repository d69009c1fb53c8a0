"""A trained Keras model becomes an ONNX network with named outputs.

The exported graph computes Grad-CAM in closed form. Grad-CAM by automatic
differentiation, for any functional Keras model, is the reference that it is checked
against.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from keras import KerasTensor, layers
from numpy.typing import NDArray

from tumorlens.errors import SettingError, TrainingError
from tumorlens.inference.slice.session import fold_graph
from tumorlens.training.networks.registry import Network, find_network

_EXPORTER = "tensorflow"
_LAYERS = {
    "slices": (layers.Conv2D, layers.GlobalAveragePooling2D),
    "volumes": (layers.Conv3D, layers.GlobalAveragePooling3D),
}
_BATCH = "N"
"""Name of the open dimension of the exported input and outputs."""


def serving_model(
    model: keras.Model, size: int, network: Network | None = None
) -> keras.Model:
    """Build the network that is served: all outputs, fixed input size.

    Parameters
    ----------
    model
        Trained; of a network in the registry.
    size
        Edge of the input, in pixels or voxels.
    network
        The network with a run's own classes; by default the one in the registry.

    Returns
    -------
    keras.Model
        Outputs ``logits`` (N, F), ``evidence`` (N, g, g, F), ``gradcam``
        (N, h, h, F) and ``embedding`` (N, E), all float32, and ``sequence`` (N, S)
        where the network has that head; the maps have one more dimension where it
        sees whole series. Grad-CAM needs no
        gradient here: the pooled features reach the logits through one dense
        layer, so the gradient of a logit is that layer's weight over the
        number of cells (Selvaraju et al. 2017, section 3).
    """
    network = network or find_network(model.name)
    fixed = keras.models.clone_model(network.build(size), call_function=_call)
    fixed.set_weights(model.get_weights())
    kernel, bias = fixed.get_layer("logits").get_weights()
    features = fixed.get_layer(network.last_convolution).output
    cells = math.prod(int(side) for side in features.shape[1:-1])
    convolution, pooling = _LAYERS[network.judges]
    one_cell = (None,) * (len(features.shape) - 2)

    count = len(network.findings)
    activation = convolution(count, 1, use_bias=False, name="gradcam_sum")
    gradcam = layers.ReLU(name="gradcam")(activation(features))
    activation.set_weights([(kernel / cells)[one_cell]])

    outputs = dict(zip(fixed.output_names, fixed.outputs, strict=True))
    if "evidence" not in outputs:
        # Without an evidence head, each cell is judged by the slice head.
        local = convolution(count, 1, name="evidence")
        outputs["evidence"] = local(features)
        local.set_weights([kernel[one_cell], bias])
    pooled = [
        pooling(name=f"pooled_{name}")(fixed.get_layer(name).output)
        for name in network.embedding_layers
    ]
    embedding = layers.Concatenate(name="embedding_all")(pooled)
    return keras.Model(
        fixed.input,
        {
            "logits": outputs["logits"],
            "evidence": outputs["evidence"],
            "gradcam": gradcam,
            "embedding": embedding,
            **{key: outputs[key] for key in ("sequence",) if key in outputs},
        },
        name=model.name,
    )


def _call(layer: layers.Layer, *inputs: KerasTensor, **options: object) -> KerasTensor:
    """Call a layer of the served network; one that doubles a grid is replaced.

    `UpSampling2D` repeats rows and columns, for which the exporter writes a dozen nodes
    that reckon with shapes while the network runs. Resizing to the nearest cell copies
    the same values in one node, as the size of the input is known here.
    """
    if not isinstance(layer, layers.UpSampling2D):
        return layer(*inputs, **options)
    (grid,) = inputs
    height, width = (
        side * factor for side, factor in zip(grid.shape[1:3], layer.size, strict=True)
    )
    return layers.Resizing(height, width, interpolation="nearest", name=layer.name)(
        grid
    )


def export_onnx(model: keras.Model, path: Path) -> None:
    """Write a serving model as ONNX, batch size left open.

    Normalisation is folded into the convolutions before it. Where grids are doubled,
    nothing is left that depends on shapes. TensorFlow writes it, in a
    process of its own where the model runs on another backend of Keras.

    Parameters
    ----------
    model
        Model of `serving_model`.
    path
        File to write.

    Raises
    ------
    TrainingError
        TensorFlow failed, in its own process.
    """
    if keras.backend.backend() != _EXPORTER:
        _export_elsewhere(model, path)
        return
    # Keras exports only called models.
    model(np.zeros((1, *model.input_shape[1:]), np.float32))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The converter asks numpy for names that numpy is about to change.
        warnings.simplefilter("ignore", FutureWarning)
        exported, folded = Path(folder) / "model.onnx", Path(folder) / "folded.onnx"
        model.export(exported, format="onnx", verbose=False)
        graph = onnx.load(exported)
        for node in graph.graph.node:
            if node.op_type == "Resize":
                _double_by_floor(node)
        onnx.save(graph, exported)
        fold_graph(exported, folded)
        graph = onnx.load(folded)
    _tidy(graph)
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString())


def _tidy(model: onnx.ModelProto) -> None:
    """Name the open dimension, and drop what no node needs."""
    used = {node.domain for node in model.graph.node}
    imports = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    # Shapes of values between nodes are inferred anew from these.
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH


def _double_by_floor(node: onnx.NodeProto) -> None:
    """State a doubling as ONNX Runtime computes it fastest: cell i of cell i // 2.

    The exporter writes TensorFlow's rule, which picks the same cells.
    """
    kept = [x for x in node.attribute if x.name == "mode"]
    del node.attribute[:]
    node.attribute.extend(
        [
            *kept,
            onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"),
            onnx.helper.make_attribute("nearest_mode", "floor"),
        ]
    )


def _export_elsewhere(model: keras.Model, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "serving.keras"
        model.save(saved)
        ended = subprocess.run(
            [sys.executable, "-m", __name__, str(saved), str(path.absolute())],
            env={**os.environ, "KERAS_BACKEND": _EXPORTER, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no reason given"]
        raise TrainingError(
            f"TensorFlow could not write {path} as ONNX: {lines[-1]}",
            "Install it beside your Keras backend: pip install '.[train]'.",
        )


if __name__ == "__main__":
    export_onnx(keras.models.load_model(sys.argv[1], compile=False), Path(sys.argv[2]))


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
