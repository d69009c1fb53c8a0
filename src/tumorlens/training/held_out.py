"""Outputs of networks for patients that they never saw, computed and kept on disk.

Tested in `tests/experiments/test_cross_validation.py`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, class_names
from tumorlens.errors import TrainingError
from tumorlens.taxonomy import (
    DECIDED,
    FINDINGS,
    NO_TUMOR_INDEX,
    Finding,
    OwnClass,
    is_tumor,
)
from tumorlens.training.dataset import Sample, served_pixels
from tumorlens.training.volumes import VolumeSample, served_volumes

_ROWS_AT_A_TIME = 32


def infer(
    model: keras.Model, samples: Sequence[Sample], size: int
) -> dict[str, NDArray[np.float32]]:
    """Run a model over samples.

    Parameters
    ----------
    model
        Model with named outputs.
    samples
        N of them, all slices or all whole series.
    size
        Edge of the input, in pixels or voxels.

    Returns
    -------
    dict
        Arrays with N rows, by output name.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {}
    for start in range(0, len(samples), _ROWS_AT_A_TIME):
        chosen = samples[start : start + _ROWS_AT_A_TIME]
        whole = isinstance(chosen[0], VolumeSample)
        pixels = (served_volumes if whole else served_pixels)(chosen, size)
        outputs = model.predict_on_batch(pixels)
        for name, value in outputs.items():
            parts.setdefault(name, []).append(np.asarray(value))
    return {name: np.concatenate(rows) for name, rows in parts.items()}


@dataclass(frozen=True)
class HeldOut:
    """Outputs of networks for patients that they had never seen.

    Parameters
    ----------
    records
        N labelled records.
    logits
        Shape (N, F), float32, for F findings.
    evidence
        Shape (N, g, g, F), float32; None for a network without that head.
    outlined
        Shape (N, g, g), float32: share of each cell inside the outline; NaN
        where there is no outline, or no evidence to compare it with.
    sequence
        Shape (N, S), float32: logits of the sequence head, before softmax; None for
        a network without one.
    """

    records: tuple[Record, ...]
    logits: NDArray[np.float32]
    evidence: NDArray[np.float32] | None
    outlined: NDArray[np.float32]
    sequence: NDArray[np.float32] | None = None

    @property
    def own_classes(self) -> tuple[OwnClass, ...]:
        """Classes of the user's own that the slices are labelled with, or none."""
        return class_names(self.records)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Place of each label in `FINDINGS`, shape (N,); -1 where not known.

        Where there are classes of the user's own, it is the place among these.
        """
        names: tuple[Finding, ...] = self.own_classes or FINDINGS
        return np.array(
            [
                names.index(row.findings[0]) if len(row.findings) == 1 else -1
                for row in self.records
            ],
            np.int64,
        )

    @property
    def shows_tumor(self) -> NDArray[np.bool_]:
        """Slices of which it is known that they show a tumour, shape (N,)."""
        return np.array(
            [
                len(row.findings) == 1 and is_tumor(row.findings[0])
                for row in self.records
            ],
            bool,
        )

    @property
    def decided(self) -> NDArray[np.int64]:
        """Place of each right decision in `DECIDED`, shape (N,).

        A stroke is no tumour; -1 where it is not known what a slice shows. Classes of
        the user's own are all decided.
        """
        labels = self.labels
        if self.own_classes:
            return labels
        return np.where(labels >= len(DECIDED), NO_TUMOR_INDEX, labels)

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Keep some of the slices."""
        return type(self)(
            tuple(item for item, kept in zip(self.records, rows, strict=True) if kept),
            self.logits[rows],
            None if self.evidence is None else self.evidence[rows],
            self.outlined[rows],
            None if self.sequence is None else self.sequence[rows],
        )

    @classmethod
    def of(cls, model: keras.Model, samples: Sequence[Sample], size: int) -> Self:
        """Run a model over samples."""
        return cls.seen(infer(model, samples, size), samples)

    @classmethod
    def seen(
        cls, outputs: Mapping[str, NDArray[np.float32]], samples: Sequence[Sample]
    ) -> Self:
        """Keep what `infer` gave for samples."""
        evidence = outputs.get("evidence")
        grid = 1 if evidence is None else evidence.shape[1]
        return cls(
            tuple(sample.record for sample in samples),
            outputs["logits"],
            evidence,
            np.stack([_outlined(sample, grid) for sample in samples]),
            outputs.get("sequence"),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Pool several, in order."""
        return cls(
            tuple(record for part in parts for record in part.records),
            np.concatenate([part.logits for part in parts]),
            _joined([part.evidence for part in parts]),
            np.concatenate([part.outlined for part in parts]),
            _joined([part.sequence for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write to a file; the pictures are known by their paths."""
        part = path.with_suffix(".part")
        arrays: dict[str, Any] = {
            "files": np.array([str(record.path.absolute()) for record in self.records]),
            "logits": self.logits,
            "outlined": self.outlined.astype(np.float16),
        }
        if self.evidence is not None:
            # It is judged by its strongest cells; half precision holds them.
            arrays["evidence"] = self.evidence.astype(np.float16)
        if self.sequence is not None:
            arrays["sequence"] = self.sequence
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
                    stored["outlined"].astype(np.float32),
                    stored["sequence"] if "sequence" in stored.files else None,
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path} cannot be used with this manifest: {error!r}.",
                "Delete its folder and train that fold again.",
            ) from error


def _joined(
    parts: Sequence[NDArray[np.float32] | None],
) -> NDArray[np.float32] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _outlined(sample: Sample, grid: int) -> NDArray[np.float32]:
    if sample.outline is None:
        return np.full((grid, grid), np.nan, np.float32)
    inside = sample.outline.astype(np.float32) / np.float32(255.0)
    return np.asarray(
        cv2.resize(inside, (grid, grid), interpolation=cv2.INTER_AREA), np.float32
    )
