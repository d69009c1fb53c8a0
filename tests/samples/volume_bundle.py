"""A tiny bundle for whole scans: its network calls bright spots glioma."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import EMBEDDING, _tiny_domain
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.inference.bundle.bundle import save_bundle
from tumorlens.inference.bundle.facts import (
    Calibration,
    OperatingPoint,
    PredictionSets,
    Rate,
)
from tumorlens.taxonomy import CLASSES, TumorClass

SIZE = 32


def build_volume_bundle(folder: Path) -> Path:
    """Write the bundle; a cell of mean brightness 0.93 is as likely glioma as not."""
    onnx.save(_network(), folder / "model.onnx")
    _tiny_domain(folder / "domain.npz")
    rate = Rate(0.9, 0.8, 1.0)
    levels = dict.fromkeys(CLASSES, 0.1) | {TumorClass.MENINGIOMA: 0.0}
    save_bundle(
        folder,
        name="tiny3d",
        version="0.0.1",
        preprocessing=Preprocessing(size=SIZE),
        calibration=Calibration(0.5, 0.5, (0.0, 0.0, 0.0, 0.0), 1),
        operating_points={"screening": OperatingPoint(0.3, rate, rate)},
        default_operating_point="screening",
        prediction_sets=PredictionSets(0.9, levels),
        domain={"threshold": 0.05},
        provenance={"patients": {"train": ["glioma0"]}},
        metrics={},
        judges="volumes",
    )
    return folder


def _network() -> onnx.ModelProto:
    slope = np.array([40.0, 0.0, 0.0, -40.0], np.float32).reshape(4, 1, 1, 1, 1)
    head = np.zeros((4, 4), np.float32)
    head[0] = [1.0, 0.0, 0.0, -1.0]
    constants = {
        "head": head,
        "head_bias": np.array([0.0, -9.0, -9.0, 0.0], np.float32),
        "to_class": slope,
        "bias": np.array([-37.2, -9.0, -9.0, 37.2], np.float32),
        "to_embedding": np.ones((4, EMBEDDING), np.float32) / 4,
    }
    make = helper.make_node
    pool = {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}
    over = {"axes": [2, 3, 4], "keepdims": 0}
    last = {"perm": [0, 2, 3, 4, 1]}
    nodes = [
        make("Transpose", ["pixels"], ["planes"], perm=[0, 4, 1, 2, 3]),
        make("AveragePool", ["planes"], ["cells"], **pool),
        make("Conv", ["cells", "to_class", "bias"], ["scores"]),
        make("Transpose", ["scores"], ["evidence"], **last),
        make("ReduceMax", ["scores"], ["peaks"], **over),
        make("Gemm", ["peaks", "head", "head_bias"], ["logits"]),
        make("Relu", ["scores"], ["positive"]),
        make("AveragePool", ["positive"], ["coarse"], **pool),
        make("Transpose", ["coarse"], ["gradcam"], **last),
        make("ReduceMean", ["scores"], ["means"], **over),
        make("MatMul", ["means", "to_embedding"], ["embedding"]),
    ]
    shapes = {
        "logits": ["N", 4],
        "evidence": ["N", 12, 16, 16, 4],
        "gradcam": ["N", 6, 8, 8, 4],
        "embedding": ["N", EMBEDDING],
    }
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny3d",
        [helper.make_tensor_value_info("pixels", kind, ["N", 24, SIZE, SIZE, 1])],
        [
            helper.make_tensor_value_info(key, kind, shape)
            for key, shape in shapes.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
