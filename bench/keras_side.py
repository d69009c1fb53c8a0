"""The same network in Keras: the alternative that we are compared with.

``python -m bench.keras_side BUNDLE PICTURE`` starts, loads and predicts once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.preprocess.slice import Crop, Preprocessing, prepare, to_picture
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import WEIGHTS_FILE, load_bundle
from tumorlens.taxonomy import NO_TUMOR_INDEX

if TYPE_CHECKING:
    import keras


def why_not(model: Path | None = None) -> str | None:
    """Say why Keras, or a bundle in Keras, cannot be measured; None if it can."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if find_spec("keras") is None or find_spec("tensorflow") is None:
        return "Keras left out: it is not installed (pip install '.[train]')."
    if model is not None and WEIGHTS_FILE not in load_bundle(model).files:
        return f"Keras left out: the bundle has no {WEIGHTS_FILE}."
    return None


def load_network(model: Path) -> keras.Model:
    """Build a bundle's network in Keras and load its weights."""
    from tumorlens.training.networks.registry import find_network

    bundle = load_bundle(model)
    network = find_network(bundle.name).build(bundle.preprocessing.size)
    network.load_weights(model / WEIGHTS_FILE)
    return network


def predict_and_explain(model: Path) -> Callable[[Path], object]:
    """Return ``model.predict``, then Grad-CAM by autodiff, file to full-size maps."""
    from tumorlens.training.export import grad_cam
    from tumorlens.training.networks.registry import find_network

    bundle = load_bundle(model)
    network = load_network(model)
    layer = find_network(bundle.name).last_convolution

    def judge(path: Path) -> object:
        item, pixels, crop = _read(path, bundle.preprocessing)
        outputs = network.predict(pixels, verbose=0)
        tumor = _tumor(outputs["logits"])
        heat = grad_cam(network, pixels, tumor, layer)
        return _maps(item, crop, heat, outputs.get("evidence"), tumor)

    return judge


def compiled(model: Path) -> Callable[[Path], object]:
    """Return forward pass and Grad-CAM compiled into one graph (tf.function).

    Quicker than what most people write: Keras at its best.
    """
    import keras
    import tensorflow as tf

    from tumorlens.training.networks.registry import find_network

    bundle = load_bundle(model)
    network = load_network(model)
    features = network.get_layer(find_network(bundle.name).last_convolution).output
    outputs = dict(zip(network.output_names, network.outputs, strict=True))
    trunk = keras.Model(
        network.inputs, [features, outputs.get("evidence", outputs["logits"])]
    )
    head = keras.Model(features, outputs["logits"])

    @tf.function  # type: ignore[misc, untyped-decorator, unused-ignore]
    def both(pixels: Any) -> Any:  # noqa: ANN401 - tensors
        found, evidence = trunk(pixels, training=False)
        with tf.GradientTape() as tape:
            tape.watch(found)
            logits = head(found, training=False)
            tumor = tf.argmax(logits[0, :NO_TUMOR_INDEX])
            score = logits[0, tumor]
        weights = tf.reduce_mean(tape.gradient(score, found), (1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(found * weights, -1))
        return evidence, heat, tumor

    def judge(path: Path) -> object:
        item, pixels, crop = _read(path, bundle.preprocessing)
        evidence, heat, tumor = both(tf.constant(pixels))
        cells = evidence.numpy() if len(evidence.shape) == 4 else None
        return _maps(item, crop, heat.numpy(), cells, int(tumor))

    return judge


def _read(path: Path, facts: Preprocessing) -> tuple[Slice, NDArray[np.float32], Crop]:
    item = read_study(path).slices[0]
    pixels, crop = prepare(item.pixels, facts)
    return item, pixels[None], crop


def _tumor(logits: NDArray[np.float32]) -> int:
    """Return the most probable tumour class; no tumour is the last class."""
    return int(np.argmax(logits[0, :NO_TUMOR_INDEX]))


def _maps(
    item: Slice,
    crop: Crop,
    heat: NDArray[np.float32],
    evidence: NDArray[np.float32] | None,
    tumor: int,
) -> list[NDArray[np.float32]]:
    grids = [heat[0]]
    if evidence is not None:
        grids.append(np.ascontiguousarray(evidence[0, ..., tumor]))
    return [to_picture(grid, crop, item.height, item.width) for grid in grids]


def main() -> int:
    bundle, picture = Path(sys.argv[1]), Path(sys.argv[2])
    network = load_network(bundle)
    _, pixels, _ = _read(picture, load_bundle(bundle).preprocessing)
    print(network.predict(pixels, verbose=0)["logits"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
