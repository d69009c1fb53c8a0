"""Everything a run needs to go on after it was killed, in one file.

Tested in `tests/training/test_fit.py`.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorlens.errors import TrainingError


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Parameters
    ----------
    step
        Steps done.
    history
        One row for each epoch done.
    """

    step: int
    history: list[dict[str, Any]]


def save_checkpoint(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write weights, optimizer state and progress; whole or not at all.

    Parameters
    ----------
    path
        File to write; replaced in one step, so that a kill leaves the old one.
    model
        Compiled.
    progress
        Stored beside the weights.
    """
    arrays = {
        f"model/{row}": keras.ops.convert_to_numpy(variable.value)
        for row, variable in enumerate(model.variables)
    }
    arrays |= {
        f"optimizer/{row}": keras.ops.convert_to_numpy(variable.value)
        for row, variable in enumerate(model.optimizer.variables)
    }
    facts = json.dumps({"step": progress.step, "history": progress.history})
    arrays["progress"] = np.frombuffer(facts.encode(), np.uint8)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path, model: keras.Model) -> Progress:
    """Bring a compiled model back to where `save_checkpoint` left it.

    Raises
    ------
    TrainingError
        The file is damaged, or of another network.
    """
    model.optimizer.build(model.trainable_variables)
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            targets = {f"model/{row}": item for row, item in enumerate(model.variables)}
            targets |= {
                f"optimizer/{row}": item
                for row, item in enumerate(model.optimizer.variables)
            }
            if set(targets) | {"progress"} != set(stored.files):
                raise ValueError("it is of another network or optimizer")
            facts = json.loads(stored["progress"].tobytes())
            for name, variable in targets.items():
                variable.assign(stored[name])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be used: {error}.",
            "Delete it and start the run again without --resume.",
        ) from error
    return Progress(int(facts["step"]), list(facts["history"]))
