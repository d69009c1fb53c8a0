"""A faster graph for the tests' bundles: another network, with figures that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tumorlens.inference.bundle.bundle import Bundle, record_path, sha256_of
from tumorlens.inference.bundle.facts import Agreement, FastPath, Margins

AGREEMENT = Agreement(
    measured_on="held-out patients",
    slices=1200,
    patients=80,
    equal_decisions=0.9975,
    judged_again=0.125,
    auroc_change=-0.0004,
    ece_change=0.0012,
    ood_pictures=90,
    ood_auroc_change=0.0001,
)

NO_MARGINS = Margins(0.0, 0.0)


def add_fast_path(
    folder: Path,
    agreements: Sequence[Agreement] = (AGREEMENT,),
    margins: Margins = NO_MARGINS,
) -> Bundle:
    """Put a graph that calls nothing a tumour into a tiny bundle, as its int8."""
    network = onnx.load(folder / "model.onnx")
    for item in network.graph.initializer:
        if item.name == "to_class_bias":
            bias = np.array([-40.0, -9.0, -9.0, 40.0], np.float32)
            item.CopyFrom(numpy_helper.from_array(bias, item.name))
    graph = folder.parent / f"{folder.name}-int8.onnx"
    onnx.save(network, graph)
    path = FastPath(
        "model.int8.onnx", sha256_of(graph), ("stem",), margins, tuple(agreements)
    )
    return record_path(folder, "int8", graph, path)


def worse(**changes: float) -> Agreement:
    """Figures of which some do not hold."""
    return replace(AGREEMENT, **changes)


def with_convolutions(network: onnx.ModelProto, factors: Sequence[float]) -> None:
    """Put convolutions before the tiny network, which change the third channel alone.

    Parameters
    ----------
    network
        Of a tiny bundle; it is changed.
    factors
        What each of them multiplies the third channel by.
    """
    graph = network.graph
    nodes, name = [], "planes"
    for row, factor in enumerate(factors):
        weight = np.diag([1.0, 1.0, factor]).astype(np.float32).reshape(3, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(weight, f"weight{row}"))
        inputs, output = [name, f"weight{row}"], f"passed{row}"
        nodes.append(helper.make_node("Conv", inputs, [output], name=f"conv{row}"))
        name = output
    (place,) = (
        row
        for row, node in enumerate(graph.node)
        if node.op_type == "Transpose" and list(node.output) == ["planes"]
    )
    graph.node[place + 1].input[0] = name
    rest = [*graph.node]
    del graph.node[:]
    graph.node.extend([*rest[: place + 1], *nodes, *rest[place + 1 :]])
    for row, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}{row}"
