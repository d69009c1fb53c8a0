"""Cross-validation: each patient judged by a network that never saw them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.learn.config import TrainingConfig
from tumorlens.learn.dataset import Sample, load_samples
from tumorlens.learn.fit import CHECKPOINT, fit
from tumorlens.learn.infer import infer
from tumorlens.learn.manifest import Record

OUTPUTS = "heldout.npz"


@dataclass(frozen=True)
class HeldOut:
    """What networks said of patients they had never seen.

    Parameters
    ----------
    records
        N of them, labelled.
    logits
        Shape (N, 4), float32.
    evidence
        Shape (N, g, g, 4), float32.
    """

    records: tuple[Record, ...]
    logits: NDArray[np.float32]
    evidence: NDArray[np.float32]

    @classmethod
    def of(cls, model: keras.Model, samples: list[Sample], size: int) -> Self:
        """Run a model with both heads over samples."""
        found = infer(model, samples, size)
        return cls(
            tuple(sample.record for sample in samples),
            found["logits"],
            found["evidence"],
        )

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Pool several, in order."""
        return cls(
            tuple(record for part in parts for record in part.records),
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.evidence for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write to a file; the pictures are known by their paths."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                files=np.array([str(record.path) for record in self.records]),
                logits=self.logits,
                # Evidence is judged by its strongest cells; half precision holds them.
                evidence=self.evidence.astype(np.float16),
            )
        part.replace(path)

    @classmethod
    def load(cls, path: Path, records: list[Record]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path
            The file.
        records
            The manifest that the run was made with.

        Raises
        ------
        TrainingError
            The file is damaged, or of another manifest.
        """
        by_file = {str(record.path): record for record in records}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(
                    tuple(by_file[str(name)] for name in stored["files"]),
                    stored["logits"],
                    stored["evidence"].astype(np.float32),
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path} cannot be used with this manifest: {error!r}.",
                "Delete its folder and train that fold again.",
            ) from error


def train_fold(
    records: list[Record],
    fold: int,
    config: TrainingConfig,
    folder: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Train on all folds but one, and note what the network says of that one.

    Nothing is chosen by the fold that is left out: the run goes to its end and
    keeps its last, averaged weights.

    Parameters
    ----------
    records
        Usable rows of a manifest with folds.
    fold
        The one to leave out.
    config
        Every choice of the run.
    folder
        Of this fold's run. A run that was stopped there goes on; one that is
        complete is left alone.
    say
        Receives lines of progress.

    Raises
    ------
    TrainingError
        No row is in that fold, or the folder holds a run of another kind.
    """
    if (folder / OUTPUTS).exists():
        say(f"Fold {fold} is complete.")
        return
    held = [row for row in records if row.fold == fold]
    if not held:
        raise TrainingError(
            f"No row of the manifest is in fold {fold}.",
            "Run `tumorlens data split --folds` on it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / "config.json"
    if (folder / CHECKPOINT).exists():
        if TrainingConfig.read(stored) != config:
            raise TrainingError(
                f"{folder} holds a run with other choices.",
                "Give the same options, or another folder.",
            )
    else:
        config.write(stored)
    say(f"Fold {fold}: leaving {len(held)} pictures out.")
    training, _ = load_samples([row for row in records if row.fold != fold])
    result = fit(
        config,
        training,
        [],
        folder,
        resume=(folder / CHECKPOINT).exists(),
        say=say,
    )
    samples, left_out = load_samples(held)
    for sentence in left_out:
        say(f"Left out: {sentence}")
    HeldOut.of(result.model, samples, config.size).save(folder / OUTPUTS)
