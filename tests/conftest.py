"""Fixtures that every test may use: drawn heads, and a tiny model bundle."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.samples.postgres import Postgres
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.inference.bundle.bundle import save_bundle
from tumorlens.inference.bundle.facts import (
    Calibration,
    OperatingPoint,
    PredictionSets,
    Rate,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import CLASSES, Finding

# TensorFlow reads it when it is first imported, and is quiet then.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Phantom = Callable[..., NDArray[np.uint8]]

EMBEDDING = 9


def draw_phantom(
    height: int = 256,
    width: int = 256,
    lesion: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Draw a head: a bright ring of scalp, brain, two dark ventricles.

    Parameters
    ----------
    height, width
        Of the picture, in pixels.
    lesion
        Column, row and radius of a bright disc, in pixels.
    seed
        Of the noise and the texture.
    """
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width), np.float32)
    x, y = width // 2, height // 2
    radius = min(height, width) / 2
    axes = (round(0.72 * radius), round(0.88 * radius))
    inner = (round(0.64 * radius), round(0.80 * radius))
    cv2.ellipse(picture, (x, y), axes, 0, 0, 360, 150.0, -1)
    cv2.ellipse(picture, (x, y), inner, 0, 0, 360, 90.0, -1)
    texture = cv2.GaussianBlur(rng.normal(0, 60, picture.shape), (0, 0), 4)
    picture += np.where(picture > 0, texture, 0).astype(np.float32)
    for side in (-1, 1):
        centre = (round(x + side * 0.15 * radius), y)
        ventricle = (round(0.08 * radius), round(0.25 * radius))
        cv2.ellipse(picture, centre, ventricle, 0, 0, 360, 30.0, -1)
    if lesion is not None:
        cv2.circle(picture, lesion[:2], lesion[2], 250.0, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
    picture += rng.normal(0, 2, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """Return `draw_phantom`."""
    return draw_phantom


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    """A PNG of a head with a lesion."""
    path = tmp_path / "head.png"
    cv2.imwrite(str(path), draw_phantom(lesion=(90, 110, 18)))
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose network calls bright spots glioma, and is quick."""
    folder = tmp_path_factory.mktemp("bundle")
    build_tiny_bundle(folder)
    return folder


def build_tiny_bundle(
    folder: Path,
    findings: Sequence[Finding] = CLASSES,
    metrics: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a bundle whose evidence is the mean brightness of each cell.

    Evidence and logits of glioma rise with brightness, those of no tumour
    fall; meningioma and pituitary stay low. A cell of mean brightness 0.8 is
    as likely glioma as not. Four other findings take the places of the classes.
    """
    onnx.save(_tiny_network(), folder / "model.onnx")
    _tiny_domain(folder / "domain.npz")
    rate = Rate(0.9, 0.8, 1.0)
    save_bundle(
        folder,
        name="tiny",
        version="0.0.1",
        preprocessing=Preprocessing(),
        calibration=Calibration(0.5, 0.5, (0.0, 0.0, 0.0, 0.0), 1),
        operating_points={
            "screening": OperatingPoint(0.3, rate, rate),
            "balanced": OperatingPoint(0.5, rate, rate),
        },
        default_operating_point="screening",
        prediction_sets=PredictionSets(0.9, dict.fromkeys(findings, 0.1)),
        domain={"threshold": 0.05},
        provenance={"data": "drawn"},
        metrics=dict(metrics),
        findings=findings,
    )


def _tiny_network() -> onnx.ModelProto:
    """Average pooling, then one 1x1 convolution from brightness to classes."""
    slope = np.array([20.0, 0.0, 0.0, -20.0], np.float32)
    head = np.zeros((4, 4), np.float32)
    head[0] = [1.0, 0.0, 0.0, -1.0]
    constants = {
        "to_class": np.stack([slope / 3] * 3, axis=1).reshape(4, 3, 1, 1),
        "to_class_bias": np.array([-16.0, -9.0, -9.0, 16.0], np.float32),
        "head": head,
        "head_bias": np.array([0.0, -9.0, -9.0, 0.0], np.float32),
        "to_embedding": np.linspace(-1, 1, 4 * EMBEDDING, dtype=np.float32).reshape(
            4, EMBEDDING
        ),
    }
    pool = {"kernel_shape": [16, 16], "strides": [16, 16]}
    halve = {"kernel_shape": [2, 2], "strides": [2, 2]}
    last = {"perm": [0, 2, 3, 1]}
    over = {"axes": [2, 3], "keepdims": 0}
    make = helper.make_node
    nodes = [
        make("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        make("AveragePool", ["planes"], ["cells"], **pool),
        make("Conv", ["cells", "to_class", "to_class_bias"], ["scores"]),
        make("Transpose", ["scores"], ["evidence"], **last),
        make("ReduceMax", ["scores"], ["peaks"], **over),
        make("Gemm", ["peaks", "head", "head_bias"], ["logits"]),
        make("Relu", ["scores"], ["positive"]),
        make("AveragePool", ["positive"], ["coarse"], **halve),
        make("Transpose", ["coarse"], ["gradcam"], **last),
        make("ReduceMean", ["scores"], ["means"], **over),
        make("MatMul", ["means", "to_embedding"], ["embedding"]),
    ]
    shapes = {
        "logits": ["N", 4],
        "evidence": ["N", 14, 14, 4],
        "gradcam": ["N", 7, 7, 4],
        "embedding": ["N", EMBEDDING],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "pixels", TensorProto.FLOAT, ["N", 224, 224, 3]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def _tiny_domain(path: Path) -> None:
    """Grey pictures are known, coloured ones are not; nothing else counts."""
    directions = np.eye(EMBEDDING, 2, dtype=np.float32)
    OodModel(
        center=np.zeros(EMBEDDING, np.float32),
        scale=np.ones(EMBEDDING, np.float32),
        basis=directions,
        spread=np.ones(2, np.float32),
        probe=np.zeros(EMBEDDING + 1, np.float32),
        feature_center=np.zeros(5, np.float32),
        feature_scale=np.array([1, 1, 1, 1, 0.02], np.float32),
        weights=np.array([0, 0, 0, 0, -1, 6], np.float32),
        cut=np.float32(0.5),
    ).save(path)


LESIONS = {
    "glioma": (90, 110, 22),
    "meningioma": (180, 90, 14),
    "pituitary": (128, 170, 10),
    "no_tumor": None,
}


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of drawn heads: 4 classes, 3 patients each, 2 slices a patient."""
    folder = tmp_path_factory.mktemp("drawn")
    splits = ("train", "train", "validation")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient", "mask", "split", "source"))
        for label, lesion in LESIONS.items():
            for patient, split in enumerate(splits):
                for number in range(2):
                    name = f"{label}-{patient}-{number}"
                    seed = hash_of(name)
                    picture = draw_phantom(lesion=lesion, seed=seed)
                    cv2.imwrite(str(folder / f"{name}.png"), picture)
                    mask = ""
                    if lesion is not None:
                        outline = np.zeros_like(picture)
                        cv2.circle(outline, lesion[:2], lesion[2], 255, -1)
                        mask = f"{name}-mask.png"
                        cv2.imwrite(str(folder / mask), outline)
                    row = (f"{name}.png", label, f"{label}{patient}", mask, split)
                    writer.writerow((*row, "a" if patient == 0 else "b"))
    return folder / "manifest.csv"


def hash_of(name: str) -> int:
    """A seed that is the same on every machine."""
    return int.from_bytes(name.encode()[-6:], "big") % 100_000


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own; skipped where none is installed."""
    server = Postgres()
    yield server
    server.remove()
