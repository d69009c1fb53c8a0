"""Labelled volumes in memory, and the batches that training draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import LEARNED_SEQUENCES, Record
from tumorlens.errors import DatasetError, InputError
from tumorlens.imaging.geometry import Volume
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import (
    Block,
    prepare_volume,
    resample,
    whole_volume,
)
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series
from tumorlens.taxonomy import CLASSES, TumorClass
from tumorlens.training.augment.volume import augment_volume
from tumorlens.training.batches import Batch, BatchStream, CellTargets, targets_of
from tumorlens.training.dataset import Sample

_SAME_PLACE_MM = 0.5
"""Largest distance of an outline's grid from its volume's, in mm."""


@dataclass(frozen=True)
class VolumeSample(Sample):
    """One cached volume: a sample whose square and outline have a depth too.

    Parameters
    ----------
    record
        Record that it was read from.
    square
        Shape (D, S, S), uint8: the prepared volume.
    outline
        Shape (D, S, S), uint8, 255 for a voxel inside the radiologist's
        outline; None where there is none.
    brain
        None: the skull stays.
    """


def only_series(path: Path) -> Series:
    """Read the one series of a file.

    Raises
    ------
    InputError
        The file cannot be read, or holds several series.
    """
    study = read_study(path)
    if len(study.series) != 1:
        raise InputError(
            f"{path.name} holds {len(study.series)} series; one is needed.",
            "Save each series as a file of its own.",
        )
    return study.series[0]


def load_volume_sample(record: Record, size: int) -> VolumeSample:
    """Read and prepare one labelled volume, exactly as serving would.

    Parameters
    ----------
    record
        A row of the manifest: a volume, and an outline on the same grid.
    size
        Edge of the input, in voxels.

    Raises
    ------
    InputError
        A file cannot be read, or is no regular stack.
    DatasetError
        The outline lies on another grid.
    """
    volume = whole_volume(only_series(record.path))
    pixels, block = prepare_volume(volume, Preprocessing(size=size))
    outline = None
    if record.mask is not None:
        outline = _outline(record.mask, volume, block)
    stored = np.rint(pixels[..., 0] * 255.0).astype(np.uint8)
    return VolumeSample(record, stored, outline, None)


def _outline(path: Path, series: Volume, block: Block) -> NDArray[np.uint8]:
    drawn = whole_volume(only_series(path))
    if drawn.voxels.shape != series.voxels.shape or not np.allclose(
        drawn.affine, series.affine, atol=_SAME_PLACE_MM
    ):
        raise DatasetError(
            f"The outline {path} lies on another grid {drawn.voxels.shape} than its "
            f"series {series.voxels.shape}.",
            "Export the outline on the series' own grid.",
        )
    inside = (drawn.voxels > 0.0).astype(np.float32)
    return np.rint(255.0 * resample(inside, block)).astype(np.uint8)


def load_volume_samples(
    records: Sequence[Record], size: int, threads: int = 2
) -> tuple[list[VolumeSample], list[str]]:
    """Read and prepare many labelled volumes, in order.

    Parameters
    ----------
    records
        Rows of a manifest, all of one split.
    size
        Edge of the input, in voxels.
    threads
        Readers at work at a time.

    Returns
    -------
    samples
        Those that could be used.
    left_out
        One sentence for each that could not.

    Raises
    ------
    DatasetError
        The usable ones do not show both a tumour and none.
    """

    def load(record: Record) -> VolumeSample | str:
        try:
            return load_volume_sample(record, size)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        loaded = list(pool.map(load, records))
    samples = [item for item in loaded if isinstance(item, VolumeSample)]
    left_out = [item for item in loaded if isinstance(item, str)]
    shown = {item.label for item in samples}
    if TumorClass.NO_TUMOR not in shown or len(shown) < 2:
        names = ", ".join(sorted(shown)) or "nothing"
        raise DatasetError(
            f"The usable series of the split '{records[0].split}' show {names}; series "
            f"with a tumour and without are needed. {' '.join(left_out[:1])}".rstrip(),
            "Add such series, or split again.",
        )
    return samples, left_out


def served_volumes(samples: Sequence[Sample], size: int) -> NDArray[np.float32]:
    """Show unchanged volumes as serving would see them.

    Parameters
    ----------
    samples
        N of them.
    size
        Edge of the input in voxels: the one that they were loaded for.

    Returns
    -------
    ndarray
        Shape (N, D, size, size, 1), float32, in [0, 1].
    """
    stack = np.stack([sample.square for sample in samples])
    if stack.shape[-1] != size:
        raise ValueError(f"series were loaded for {stack.shape[-1]}, not {size} voxels")
    return (stack.astype(np.float32) / np.float32(255.0))[..., None]


def volume_targets(
    label: TumorClass, outline: NDArray[np.float32] | None, cells: tuple[int, int, int]
) -> CellTargets:
    """Lay an outline over the evidence grid of a volume.

    Parameters
    ----------
    label
        The volume's class.
    outline
        Shape (D, S, S), float32, in [0, 1]; None where nobody drew one.
    cells
        Cells of the grid along each axis; each divides the outline's.
    """
    if outline is None:
        return targets_of((label,), None, cells)
    deep, high, wide = (
        side // count for side, count in zip(outline.shape, cells, strict=True)
    )
    parts = outline.reshape(cells[0], deep, cells[1], high, cells[2], wide)
    return targets_of((label,), parts.mean(axis=(1, 3, 5)), cells)


class VolumeStream(BatchStream):
    """Training batches of volumes, made ahead in the background."""

    def batch(self, step: int, size: int) -> Batch:
        """Make the batch of one step."""
        rng = np.random.default_rng((self._seed, step))
        rows = rng.choice(len(self._samples), self._batch_size, p=self._weights)
        chosen = [self._samples[row] for row in rows]
        shape = chosen[0].square.shape
        deep, high, wide = (side // self._stride for side in shape)
        blocks, targets = [], []
        for row, sample in enumerate(chosen):
            block, outline = augment_volume(
                sample.square,
                sample.outline,
                np.random.default_rng((self._seed, step, row)),
                may_cut=sample.label is TumorClass.NO_TUMOR,
            )
            blocks.append(block)
            targets.append(volume_targets(sample.label, outline, (deep, high, wide)))
        return Batch(
            np.stack(blocks)[..., None],
            np.eye(len(CLASSES), dtype=np.float32)[[item.index for item in chosen]],
            np.stack([target.classes for target in targets]),
            np.stack([target.weights for target in targets]),
            np.zeros(len(chosen), np.float32),
            np.zeros((len(chosen), len(LEARNED_SEQUENCES)), np.float32),
        )
