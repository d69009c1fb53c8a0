"""The bare network: what nothing that reads pictures can beat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tumorlens.inference.bundle.bundle import MODEL_FILE
from tumorlens.inference.slice.session import INPUT_NAME

BATCH = 4
"""Slices of a pass that is shared among threads, at its quickest."""


def bare_forward(
    model: Path, threads: int, file: str = MODEL_FILE
) -> Callable[[NDArray[np.float32]], list[Any]]:
    """Load a bundle's network into ONNX Runtime with its default settings.

    Parameters
    ----------
    model
        A bundle.
    threads
        Threads of one forward pass.
    file
        Name of the graph in the bundle.

    Returns
    -------
    callable
        Takes inputs (N, size, size, 3), float32; returns every output.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # By default its threads spin on for a while after a pass, which would slow
    # down whatever is timed next; within a pass they spin as they always do.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(
        str(model / file), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: list(session.run(None, {INPUT_NAME: inputs}))
