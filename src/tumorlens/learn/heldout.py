"""What networks said of patients they had never seen, kept on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.learn.dataset import Sample
from tumorlens.learn.infer import infer
from tumorlens.learn.manifest import Record
from tumorlens.taxonomy import CLASSES


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
        Shape (N, g, g, 4), float32; None for a network without that head.
    """

    records: tuple[Record, ...]
    logits: NDArray[np.float32]
    evidence: NDArray[np.float32] | None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        return np.array(
            [CLASSES.index(row.label) for row in self.records if row.label is not None]
        )

    @classmethod
    def of(cls, model: keras.Model, samples: Sequence[Sample], size: int) -> Self:
        """Run a model over samples."""
        found = infer(model, samples, size)
        return cls(
            tuple(sample.record for sample in samples),
            found["logits"],
            found.get("evidence"),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Pool several, in order."""
        return cls(
            tuple(record for part in parts for record in part.records),
            np.concatenate([part.logits for part in parts]),
            None
            if any(part.evidence is None for part in parts)
            else np.concatenate([part.evidence for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write to a file; the pictures are known by their paths."""
        part = path.with_suffix(".part")
        arrays: dict[str, Any] = {
            "files": np.array([str(record.path.absolute()) for record in self.records]),
            "logits": self.logits,
        }
        if self.evidence is not None:
            # It is judged by its strongest cells; half precision holds them.
            arrays["evidence"] = self.evidence.astype(np.float16)
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        part.replace(path)

    @classmethod
    def load(cls, path: Path, records: Sequence[Record]) -> Self:
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
        by_file = {record.path.absolute(): record for record in records}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(
                    tuple(
                        by_file[Path(str(name)).absolute()] for name in stored["files"]
                    ),
                    stored["logits"],
                    stored["evidence"].astype(np.float32)
                    if "evidence" in stored.files
                    else None,
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path} cannot be used with this manifest: {error!r}.",
                "Delete its folder and train that fold again.",
            ) from error
