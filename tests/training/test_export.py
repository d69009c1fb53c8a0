"""Export: ONNX says what Keras says, whatever the batch."""

import keras
import numpy as np
import onnxruntime as ort
import pytest

from tumorlens.training.export import export_onnx, serving_model
from tumorlens.training.networks.registry import NETWORKS


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_probabilities_and_maps_agree_with_keras(name, tmp_path):
    keras.utils.set_random_seed(5)
    model = NETWORKS[name].build(None)
    serving = serving_model(model, 64)
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
