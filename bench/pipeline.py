"""From a file's bytes to probabilities, decision and both full-size maps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from bench.bare import bare_forward
from bench.figures import Asked, Figure, times
from bench.keras_side import compiled, predict_and_explain, why_not
from bench.pictures import draw_head
from bench.timing import by_turns, spread
from tumorlens.imaging.preprocess.slice import brain_share, prepare
from tumorlens.imaging.read import read_study
from tumorlens.inference.bundle.bundle import MODEL_FILE, OOD_FILE, load_bundle
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.slice.decision import decide
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.prediction import Explanation, Prediction, explain
from tumorlens.inference.slice.session import Session

STAGES = ("read", "prepare", "network", "decide", "explain")

_KINDS = {".jpg": "JPEG", ".png": "PNG"}


def measure(
    model: Path, rounds: int = 300, keras_rounds: int = 40
) -> Iterator[Figure | str]:
    """Measure the pipeline beside the bare network, and beside Keras."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"head.{kind}" for kind in ("jpg", "png")]
        for path in files:
            cv2.imwrite(str(path), draw_head())
        for path in files:
            yield from beside_bare(model, path, rounds)
        yield from faster_graphs(model, rounds)
        yield from stages(model, files[0], rounds)
        reason = why_not(model)
        if reason is not None:
            yield reason
            return
        yield from beside_keras(model, files[0], keras_rounds)


def predict_with_maps(classifier: Classifier, source: Path | bytes) -> None:
    """Judge a picture, and read both maps: they are drawn when they are read."""
    found = classifier.predict(source)
    assert isinstance(found, Prediction)
    _read_maps(found.explanation)


def _read_maps(explanation: Explanation) -> None:
    assert explanation.evidence.shape == explanation.gradcam.shape


def beside_bare(model: Path, path: Path, rounds: int) -> Iterator[Figure]:
    """Time the whole way beside the forward pass alone, on a ready input."""
    classifier = load_classifier(model)
    session = Session(classifier.bundle)
    bare = bare_forward(model, session.threads)
    pixels, _ = prepare(
        read_study(path).slices[0].pixels, classifier.bundle.preprocessing
    )
    ready = pixels[None]
    ours, default, same = by_turns(
        [
            lambda: predict_with_maps(classifier, path),
            lambda: bare(ready),
            lambda: session.run(ready),
        ],
        rounds,
    )
    name = f"{_KINDS[path.suffix]} 512x512 in, decision and maps out"
    asked = Asked("ratio", 1.2)
    threads = f"{session.threads} thread{'' if session.threads == 1 else 's'}"
    yield times(name, ours, f"bare forward, {threads}", default, "times as long", asked)
    yield times(name, ours, "bare forward, our settings", same, "times as long", asked)


def faster_graphs(model: Path, rounds: int) -> Iterator[Figure]:
    """Time a pass through each faster graph beside one through float32."""
    bundle = load_bundle(model)
    size = bundle.preprocessing.size
    ready = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    for precision, path in bundle.paths.items():
        for threads in (1, 2):
            ours, plain = by_turns(
                [
                    partial(bare_forward(model, threads, file), ready)
                    for file in (path.file, MODEL_FILE)
                ],
                rounds,
            )
            words = f"{threads} thread{'' if threads == 1 else 's'}"
            name, asked = f"{precision} forward, {words}", Asked("ratio", 0.6)
            yield times(
                name, ours, f"float32 forward, {words}", plain, "times as long", asked
            )


def stages(model: Path, path: Path, rounds: int, warm_up: int = 10) -> Iterator[Figure]:
    """Time each stage of the pipeline on its own."""
    bundle = load_bundle(model)
    session = Session(bundle)
    ood = OodModel.load(bundle.folder / OOD_FILE)
    point = bundle.default_operating_point
    spent: list[list[float]] = [[] for _ in STAGES]
    for turn in range(warm_up + rounds):
        marks = [time.perf_counter()]
        item = read_study(path).slices[0]
        marks.append(time.perf_counter())
        pixels, crop = prepare(item.pixels, bundle.preprocessing)
        share = brain_share(pixels)
        marks.append(time.perf_counter())
        outputs = session.run(pixels[None])
        marks.append(time.perf_counter())
        decision = decide(outputs, 0, item, bundle, ood, point, share)
        marks.append(time.perf_counter())
        _read_maps(explain(outputs, 0, crop, item, decision, bundle.cells))
        marks.append(time.perf_counter())
        if turn >= warm_up:
            for row in range(len(STAGES)):
                spent[row].append(1000.0 * (marks[row + 1] - marks[row]))
    for stage, values in zip(STAGES, spent, strict=True):
        yield Figure(f"Stage {stage} ({_KINDS[path.suffix]})", spread(values, "ms"))


def beside_keras(model: Path, path: Path, rounds: int) -> Iterator[Figure]:
    """Time the whole way beside the same network in Keras on TensorFlow."""
    classifier = load_classifier(model)
    plain, quick = predict_and_explain(model), compiled(model)
    ours, keras, graph = by_turns(
        [
            lambda: predict_with_maps(classifier, path),
            lambda: plain(path),
            lambda: quick(path),
        ],
        rounds,
        warm_up=5,
    )
    name = f"{_KINDS[path.suffix]} 512x512 in, decision and maps out"
    yield times(
        name,
        ours,
        "Keras predict + autodiff Grad-CAM",
        keras,
        "times as fast",
        Asked("ratio", 5.0, at_least=True),
    )
    yield times(name, ours, "the same in one tf.function", graph, "times as fast")
