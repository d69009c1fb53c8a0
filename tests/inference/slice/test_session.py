"""The network runs in batches, and a foreign one is refused."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tumorlens.errors import BundleError, SettingError
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.slice.session import Session, available_cores


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def test_a_batch_equals_its_elements(bundle: Bundle) -> None:
    session = Session(bundle)
    rng = np.random.default_rng(0)
    inputs = rng.random((3, 224, 224, 3), np.float32)
    whole = session.run(inputs)
    assert whole.logits.shape == (3, 4)
    assert whole.evidence.shape == (3, 14, 14, 4)
    assert whole.gradcam.shape == (3, 7, 7, 4)
    for row in range(3):
        single = session.run(inputs[row : row + 1])
        np.testing.assert_allclose(whole.logits[row], single.logits[0], atol=1e-5)
        np.testing.assert_allclose(whole.evidence[row], single.evidence[0], atol=1e-5)


def test_threads(bundle: Bundle) -> None:
    assert Session(bundle).threads == available_cores() >= 1
    assert Session(bundle, 3).threads == 3
    with pytest.raises(SettingError, match="0"):
        Session(bundle, 0)


def test_passes_side_by_side_say_the_same(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((6, 1, 224, 224, 3), np.float32)
    session = Session(bundle, 2)
    alone = [session.run(item) for item in inputs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(session.run, inputs))
    streamed = [Session(bundle, 2, side_by_side=True).run(item) for item in inputs]
    for one, *others in zip(alone, together, streamed, strict=True):
        for other in others:
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
            np.testing.assert_allclose(one.evidence, other.evidence, atol=1e-5)


def test_a_file_that_is_replaced_later_is_not_loaded(
    bundle: Bundle, tmp_path: Path
) -> None:
    copy = tmp_path / "model.onnx"
    shutil.copy(bundle.folder / "model.onnx", copy)
    session = Session(replace(bundle, folder=tmp_path), 2)
    inputs = np.zeros((1, 224, 224, 3), np.float32)
    before = session.run(inputs)
    identity(copy, "pixels")
    after = session.run(inputs, side_by_side=True)
    np.testing.assert_allclose(before.logits, after.logits, atol=1e-5)


def test_what_is_no_network_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match="is no network"):
        Session(replace(bundle, folder=tmp_path))


def identity(path: Path, name: str) -> None:
    """Write a network with one input and one output."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["logits"])],
        "other",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.mark.parametrize(("name", "words"), [("image", "takes"), ("pixels", "outputs")])
def test_another_network_is_refused(
    bundle: Bundle, tmp_path: Path, name: str, words: str
) -> None:
    identity(tmp_path / "model.onnx", name)
    with pytest.raises(BundleError, match=words):
        Session(replace(bundle, folder=tmp_path))


def test_inputs_of_another_size_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="fails on inputs"):
        Session(bundle).run(np.zeros((1, 100, 100, 3), np.float32))
