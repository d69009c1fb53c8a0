"""The network runs in batches, and a foreign one is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import draw_phantom
from tests.samples.drawn_series import drawn_series
from tests.samples.fast_path import add_fast_path
from tumorlens.errors import BundleError, SettingError
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.bundle.facts import Margins
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.inference.slice.session import (
    Session,
    available_cores,
    cache_folder,
    choose_precision,
    clearly_fastest,
    processor_facts,
)
from tumorlens.report.slice.document import csv_columns, csv_row, prediction_from_json


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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def both(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A bundle with a graph in int8, which calls nothing a tumour."""
    return add_fast_path(Path(shutil.copytree(tiny_bundle, tmp_path / "both")))


def test_a_choice_is_measured_once_and_remembered(both: Bundle, cache: Path) -> None:
    chosen = choose_precision(both, "auto", 1)
    (file,) = cache.rglob("*.json")
    document = json.loads(file.read_text())
    assert document["chosen"] == chosen
    assert set(document["ms"]) == {"float32", "int8"}
    assert document["files"]["int8"] == both.files["model.int8.onnx"]
    assert document["processor"] == processor_facts()
    for other in ("float32", "int8"):
        file.write_text(json.dumps({**document, "chosen": other}))
        assert choose_precision(both, "auto", 1) == other
        # With another number of threads it is another question.
        choose_precision(both, "auto", 2)
        assert len(list(cache.rglob("*.json"))) == 2


@pytest.mark.parametrize("text", ["", "{}", "[" * 9, '{"chosen": "int4"}', "[1]"])
def test_what_cannot_be_read_is_measured_anew(
    both: Bundle, cache: Path, text: str
) -> None:
    choose_precision(both, "auto", 1)
    (file,) = cache.rglob("*.json")
    file.write_text(text)
    chosen = choose_precision(both, "auto", 1)
    assert json.loads(file.read_text())["chosen"] == chosen


def test_without_a_place_to_write_it_is_measured_each_time(
    both: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() == tmp_path / "file" / "tumorlens"
    assert choose_precision(both, "auto", 1) in ("float32", "int8")


def test_float32_answers_unless_another_is_clearly_faster() -> None:
    assert clearly_fastest({"float32": 10.0, "int8": 4.0}) == "int8"
    assert clearly_fastest({"float32": 10.0, "int8": 9.9}) == "float32"
    assert clearly_fastest({"float32": 10.0, "int8": 15.0}) == "float32"


def test_one_graph_is_not_measured(tiny_bundle: Path, cache: Path) -> None:
    assert choose_precision(load_bundle(tiny_bundle), "auto", 1) == "float32"
    assert not cache.exists()


def test_what_is_not_there_cannot_be_chosen(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    with pytest.raises(SettingError, match="has no graph in int8"):
        choose_precision(bundle, "int8", 1)
    with pytest.raises(SettingError, match="no precision 'bfloat16'"):
        choose_precision(bundle, "bfloat16", 1)


def test_close_to_a_border_float32_judges_again(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "wide"))
    add_fast_path(folder, margins=Margins(200.0, 0.0))
    classifier = load_classifier(folder, 1, precision="int8")
    plain = load_classifier(folder, 1, precision="float32")
    pictures = [draw_phantom(seed=seed) for seed in (0, 1)]
    for found, exact in zip(
        classifier.predict(pictures, batch=2), plain.predict(pictures), strict=True
    ):
        assert found.model_precision == "float32"
        assert found.decision.finding == exact.decision.finding
        np.testing.assert_allclose(
            found.decision.raw_p_tumor, exact.decision.raw_p_tumor, atol=1e-5
        )
        np.testing.assert_allclose(
            found.explanation.evidence, exact.explanation.evidence, atol=1e-4
        )


@pytest.mark.parametrize(
    ("precision", "label"), [("float32", "glioma"), ("int8", "no_tumor")]
)
def test_answers_name_the_graph_that_gave_them(
    both: Bundle, precision: str, label: str
) -> None:
    classifier = load_classifier(both.folder, 1, precision=precision)
    assert classifier.precision == precision
    found = classifier.predict(draw_phantom())
    assert isinstance(found, Prediction)
    assert found.decision.raw_predicted == label
    document = found.to_dict()
    assert found.model_precision == document["model_precision"] == precision
    row = dict(zip(csv_columns(), csv_row(found), strict=True))
    assert row["model_precision"] == precision
    maps = (found.pixels, found.explanation.evidence, found.explanation.gradcam)
    assert prediction_from_json(document, *maps).model_precision == precision
    del document["model_precision"]
    assert prediction_from_json(document, *maps).model_precision == "float32"
    series = load_series_classifier(both.folder, 1, precision=precision)
    prediction = series.predict(drawn_series())
    assert not isinstance(prediction, list)
    assert prediction.model_precision == series.precision == precision
    assert prediction.to_dict()["model_precision"] == precision
