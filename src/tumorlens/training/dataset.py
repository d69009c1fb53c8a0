"""Labelled slices in memory, and how often training draws each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import read_one_slice
from tumorlens.data.manifest import Record
from tumorlens.data.sequences import sequence_word
from tumorlens.data.skull_stripping import (
    STORED_SIZE,
    brain_mask,
    stored_square,
    take_off_skull,
)
from tumorlens.errors import DatasetError, InputError
from tumorlens.imaging.preprocess.slice import cut
from tumorlens.imaging.study import MRSequence, Slice
from tumorlens.taxonomy import (
    CLASSES,
    ClassName,
    Finding,
    Lesion,
    TumorClass,
    is_no_lesion,
)
from tumorlens.training.augment.contrast import t2_of_flair

PAIRED_SOURCE = 3.0
"""Factor for slices of paired sources; see `sampling_weights`."""

FINDING_RATIOS: Mapping[Finding, float] = {
    TumorClass.GLIOMA: 1.0,
    TumorClass.MENINGIOMA: 1.2,
    TumorClass.PITUITARY: 1.2,
    TumorClass.NO_TUMOR: 0.8,
    Lesion.OTHER: 1.2,
    Lesion.VASCULAR: 0.8,
}
"""Ratios in which `class-source-sequence` draws the findings of one set and sequence:
nearly alike, so that no contrast is the sign of a finding. Gliomas and tumour-free
slices come from the most sets, and would else be drawn the most."""

SHOWN_AS_T2 = 1.6
"""Factor for sets of slices half of which are shown as T2."""

SOURCE_RATIOS: Mapping[str | None, float] = {"cheng": 2.5, "lgg": 1.3, "notumor": 1.5}
"""Factors for sources in `class-source-sequence`. The first holds the most patients of
each of the three kinds, in one sequence; without a factor, sets of many sequences crowd
it out, and kinds are told apart less well there (`docs/experiments.md`)."""

Sampling = Literal["natural", "class", "class-source", "class-source-sequence"]


@dataclass(frozen=True)
class Sample:
    """One cached slice.

    Parameters
    ----------
    record
        Record that it was read from.
    square
        Shape (256, 256), uint8: the prepared head.
    outline
        Shape (256, 256), uint8, 255 inside the radiologist's outline; None
        where there is none.
    brain
        Shape (256, 256), uint8, 255 inside the brain; None where not found.
    as_t2
        Shape (256, 256), uint8: the head as T2 would show it; None where it is no
        FLAIR, or T1 of the same slice is not at hand.
    """

    record: Record
    square: NDArray[np.uint8]
    outline: NDArray[np.uint8] | None
    brain: NDArray[np.uint8] | None
    as_t2: NDArray[np.uint8] | None = None

    @property
    def label(self) -> ClassName:
        """The slice's class."""
        if self.record.label is None:
            raise DatasetError(
                f"{self.record.path} has no label.", "Fill the label column."
            )
        return self.record.label

    @property
    def index(self) -> int:
        """The class's place in the taxonomy."""
        return CLASSES.index(TumorClass(self.label))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings that the slice may show; one where that is known."""
        findings = self.record.findings
        if not findings:
            raise DatasetError(
                f"{self.record.path} has neither a label nor a lesion.",
                "Fill the label column.",
            )
        return findings

    @property
    def is_clear(self) -> bool:
        """True where it shows none of the tumours and other lesions."""
        return len(self.findings) == 1 and is_no_lesion(self.findings[0])


def _has_tissue(item: Slice) -> bool:
    """Tell a slice of a head from the blank ends of a series."""
    small = cv2.resize(item.pixels, (64, 64), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (5, 99))
    return bool(high - low >= 8.0)


def load_sample(record: Record, t1: Record | None = None) -> Sample | None:
    """Read and prepare one labelled slice.

    Parameters
    ----------
    record
        A row of the manifest.
    t1
        The row of the same slice in T1, where there is one; a FLAIR slice is then
        kept as T2 would show it too.

    Returns
    -------
    Sample or None
        None for a slice that shows no tissue, as the ends of a series do.

    Raises
    ------
    InputError
        The file cannot be read, or holds several slices.
    """
    item = read_one_slice(record.path).slices[0]
    if not _has_tissue(item):
        return None
    stored, crop = stored_square(item.pixels)
    outline = None
    if record.mask is not None:
        drawn = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
        if drawn is None or drawn.shape != item.pixels.shape:
            raise DatasetError(
                f"The outline {record.mask} of {record.path} is unreadable or has "
                f"another size than the picture {item.pixels.shape}.",
                "Export the outline at the picture's size.",
            )
        outline = (cut(drawn.astype(np.uint8), crop, STORED_SIZE) > 127).astype(
            np.uint8
        ) * np.uint8(255)
    # At the ends of a head the scalp alone is easily taken for a brain.
    brain = None if record.train_only else brain_mask(stored)
    as_t2 = None
    if t1 is not None and record.sequence is MRSequence.FLAIR:
        pixels = read_one_slice(t1.path).slices[0].pixels
        if pixels.shape == item.pixels.shape:
            grey = cut(pixels - pixels.min(), crop, STORED_SIZE)
            grey = np.rint(grey * (255.0 / max(float(grey.max()), 1e-6)))
            twin = grey.astype(np.uint8)
            inside = brain if brain is not None else brain_mask(twin)
            as_t2 = None if inside is None else t2_of_flair(stored, twin, inside)
    return Sample(record, stored, outline, brain, as_t2)


def load_samples(
    records: Sequence[Record], threads: int = 2
) -> tuple[list[Sample], list[str]]:
    """Read and prepare many labelled slices, in order.

    Parameters
    ----------
    records
        Rows of a manifest.
    threads
        Readers at work at a time.

    Returns
    -------
    samples
        Those that could be used.
    left_out
        One sentence for each that could not.
    """
    in_t1 = {
        place: row
        for row in records
        if row.sequence is MRSequence.T1 and (place := _place(row)) is not None
    }

    def load(record: Record) -> Sample | str:
        try:
            place = _place(record)
            sample = load_sample(record, None if place is None else in_t1.get(place))
            return sample or f"{record.path} shows no tissue."
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        loaded = list(pool.map(load, records))
    samples = [item for item in loaded if isinstance(item, Sample)]
    left_out = [item for item in loaded if isinstance(item, str)]
    if not samples:
        raise DatasetError(
            f"None of the listed pictures can be used. {' '.join(left_out[:1])}",
            "Run `tumorlens data audit` on the manifest to see more.",
        )
    return samples, left_out


def _place(record: Record) -> tuple[str, str, str] | None:
    """Where a slice lies: set, patient and number in the series, if all are known."""
    place = (record.source, record.patient, record.extra.get("slice", ""))
    return place if all(place) else None


def sampling_weights(
    samples: Sequence[Sample],
    sampling: Sampling,
    factors: Mapping[str, float] | None = None,
) -> NDArray[np.float64]:
    """Chance of each sample to be drawn.

    Parameters
    ----------
    samples
        The training set.
    sampling
        ``natural``: all alike. ``class``: every class equally often.
        ``class-source``: also, within a class, every source equally often,
        so that no class is known by its scanner alone; of the tumour-free
        slices, those of a source that also shows tumours are drawn at least
        `PAIRED_SOURCE` times as often as another's, and at least half are of
        such sources, since only they teach what a tumour is rather than what
        a scanner is. ``class-source-sequence``: every source and sequence by the
        square root of its number of slices, which lies halfway between all slices
        alike and all sets alike, those shown as T2 too `SHOWN_AS_T2` times as often
        and those of a source by `SOURCE_RATIOS`; within one, findings by
        `FINDING_RATIOS`.
    factors
        How much more often slices are drawn than that, by ``source``,
        ``source:sequence`` or ``source:sequence:finding``, such as
        ``brain44:T1C:glioma``; those that fit a slice are multiplied.

    Returns
    -------
    ndarray
        Shape (N,), summing to 1.

    Raises
    ------
    DatasetError
        A factor fits no slice.
    """
    weights = _usual_weights(samples, sampling)
    for name, factor in (factors or {}).items():
        fits = np.array([name in _draw_names(sample) for sample in samples])
        if not fits.any():
            raise DatasetError(
                f"No training slice is of {name}, whose draws are to be multiplied.",
                "Name a source, source:sequence or source:sequence:finding as the "
                "manifest has them, such as cheng:T1C:glioma.",
            )
        weights[fits] *= factor
    return weights / weights.sum()


def _draw_names(sample: Sample) -> set[str]:
    record = sample.record
    start = f"{record.source}:{sequence_word(record.sequence)}"
    return {record.source, start, *(f"{start}:{name}" for name in sample.findings)}


def _usual_weights(
    samples: Sequence[Sample], sampling: Sampling
) -> NDArray[np.float64]:
    if sampling == "class-source-sequence":
        return _by_finding(samples)
    by_class, by_source = sampling != "natural", sampling == "class-source"
    keys = [
        (
            sample.label if by_class else None,
            sample.record.source if by_source else None,
        )
        for sample in samples
    ]
    slices = Counter(keys)
    paired = {key for key in slices if by_source and _is_paired(key, slices)}
    clear = sum(is_no_lesion(label) for label, _ in slices)
    half = (clear - len(paired)) / max(1, len(paired))
    shares = {key: max(PAIRED_SOURCE, half) if key in paired else 1.0 for key in slices}
    totals: dict[ClassName | None, float] = defaultdict(float)
    for (label, _), share in shares.items():
        totals[label] += share
    weights = np.array([shares[key] / (slices[key] * totals[key[0]]) for key in keys])
    return weights / weights.sum()


def _by_finding(samples: Sequence[Sample]) -> NDArray[np.float64]:
    sets = [(item.record.source, item.record.sequence) for item in samples]
    cells = [(*key, item.findings) for key, item in zip(sets, samples, strict=True)]
    slices_of_set, slices_of_cell = Counter(sets), Counter(cells)
    twice = {
        key for key, item in zip(sets, samples, strict=True) if item.as_t2 is not None
    }
    weights = np.array(
        [
            FINDING_RATIOS.get(cell[-1][-1], 1.0)
            * (SHOWN_AS_T2 if key in twice else 1.0)
            * SOURCE_RATIOS.get(key[0], 1.0)
            * np.sqrt(slices_of_set[key])
            / slices_of_cell[cell]
            for key, cell in zip(sets, cells, strict=True)
        ]
    )
    return np.asarray(weights / weights.sum(), np.float64)


def _is_paired(
    key: tuple[ClassName | None, str | None],
    slices: Mapping[tuple[ClassName | None, str | None], int],
) -> bool:
    """Tell tumour-free slices whose source also shows tumours."""
    label, source = key
    return is_no_lesion(label) and any(
        other == source and not is_no_lesion(name) for name, other in slices
    )


def served_pixels(samples: Sequence[Sample], size: int) -> NDArray[np.float32]:
    """Show unchanged samples as serving would see them.

    Parameters
    ----------
    samples
        N of them.
    size
        Edge of the input, in pixels.

    Returns
    -------
    ndarray
        Shape (N, size, size, 3), float32, in [0, 1].
    """
    return as_input(
        [
            cv2.resize(sample.square, (size, size), interpolation=cv2.INTER_AREA)
            for sample in samples
        ]
    )


def as_input(squares: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Stack grey squares into a network's input.

    Parameters
    ----------
    squares
        N of shape (S, S), uint8.

    Returns
    -------
    ndarray
        Shape (N, S, S, 3), float32, in [0, 1].
    """
    grey = np.stack(squares).astype(np.float32) / np.float32(255.0)
    return np.repeat(grey[..., None], 3, axis=-1)


def without_skull(samples: Sequence[Sample]) -> list[Sample]:
    """Take the skull off, for what has to know both kinds of picture.

    Parameters
    ----------
    samples
        Samples of any kind.

    Returns
    -------
    list of Sample
        Samples in their order, without those whose brain was not found, or whose tumour
        would be cut.
    """
    stripped = []
    for sample in samples:
        if sample.brain is None:
            continue
        square, outline = take_off_skull(sample.square, sample.outline, sample.brain)
        if square is not sample.square:
            stripped.append(replace(sample, square=square, outline=outline, brain=None))
    return stripped
