"""What is known of a whole series: prediction, key slices, lesion.

Tested in `tests/inference/series/test_by_slices.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence, Plane, Point, VoxelGrid
from tumorlens.inference.bundle.facts import TRAINED_ON
from tumorlens.inference.slice.sequence import sequence_caveat
from tumorlens.taxonomy import (
    CLASSES,
    Answer,
    Decided,
    Finding,
    TumorClass,
    decision_of,
)


class Side(StrEnum):
    """Side of the patient's head."""

    LEFT = "left"
    MIDLINE = "midline"
    RIGHT = "right"


@dataclass(frozen=True)
class Lesion:
    """The connected spot of evidence that holds the run's peak.

    Evidence is smoothed along slices. Its outline runs at the level that fits
    radiologists' outlines best, where the bundle gives one, else at half height.

    Parameters
    ----------
    box
        First and last-plus-one index along slices, rows and columns:
        (z0, y0, x0, z1, y1, x1).
    voxels
        How many voxels it spans.
    peak
        Slice, row, column of the strongest evidence.
    size_mm
        Size of the box along slices, rows and columns; None without a known place.
    centroid
        LPS mm; None without a known place.
    side
        Left or right of the head's middle; None without a known place.
    location
        Location in words, for example ``left, anterior third, upper third``; thirds of
        the head as far as the series shows it. Empty without a known place.
    mask
        Shape of the box (z1 - z0, y1 - y0, x1 - x0): the spot itself; None in a
        lesion that was stored without it.
    """

    box: tuple[int, int, int, int, int, int]
    voxels: int
    peak: tuple[int, int, int]
    size_mm: tuple[float, float, float] | None = None
    centroid: Point | None = None
    side: Side | None = None
    location: str = ""
    mask: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class SeriesPrediction:
    """Everything known of one series.

    Parameters
    ----------
    source
        Name of the first slice's file, as the user knows it.
    plane, sequence
        Plane and MR sequence that the file states; None where it states none.
    slices, without_brain, refused
        How many slices there are; how many of them were not judged for want
        of brain; how many were refused as unlike a brain MRI.
    finding
        Whether there is a tumour; `Answer.NOT_BRAIN_MRI` where nothing could be
        judged.
    kinds
        Kinds of the tumour or lesion that are not ruled out, likeliest first; empty
        where the finding is neither.
    raw_probabilities
        Probability by class, summing to 1; of a series that was refused too, where
        they mean nothing. None where nothing could be judged.
    run
        First and last-plus-one index of the slices that decided; None where
        none could be judged, or the network saw the series as a whole.
    slice_p_tumor
        Calibrated probability of tumour of each slice; None where a slice was
        not judged or was refused.
    key_slices
        Indices of the most suspicious slices, well apart, strongest first.
    evidence
        Shape (D, H, W), uint8: 255 times the probability that the spot shows
        the tumour class which is likeliest in its slice; 0 in slices that were
        not judged. Over all planes that were judged, the mean of their log-odds.
        None where the slices differ in size, or nothing could be judged.
    affine_ras
        Shape (4, 4): (column, row, slice, 1) to RAS mm; None where the slices
        are no regular stack of known place. Where slices are missing it counts
        places, not slices.
    lesion
        None where no spot is outlined: where the series was refused, or called free
        of tumour.
    operating_point, model_version
        Operating point and version of the model that were used.
    reasons
        Full sentences: why, and what to beware of.
    seconds
        From decoded slices to the finding.
    planes
        Probability of any tumour by each plane that was judged; empty where the
        plane is not known. The series' log-odds are the mean of theirs.
    size_measured
        Whether the model's error of the lesion's size was measured against
        outlines that radiologists drew; `reasons` state it.
    not_judged
        Full sentence: why nothing could be judged; it stands among the `reasons`
        too. None where anything was.
    place_guessed
        Whether `affine_ras` and the lesion's place follow a guess, as the series says.
    grid
        The grid of the volume's file; None where slices came one by one.
    known_sequences
        MR sequences that the model was measured on.
    places
        Where slices are missing: for each place along the stack the index of the
        slice in it, None for one that is missing. Empty where none is.
    """

    source: str
    plane: Plane | None
    sequence: MRSequence | None
    slices: int
    without_brain: int
    refused: int
    finding: Answer
    kinds: tuple[Finding, ...]
    raw_probabilities: dict[TumorClass, float] | None
    run: tuple[int, int] | None
    slice_p_tumor: tuple[float | None, ...]
    key_slices: tuple[int, ...]
    evidence: NDArray[np.uint8] | None = field(repr=False)
    affine_ras: NDArray[np.float64] | None = field(repr=False)
    lesion: Lesion | None
    operating_point: str
    model_version: str
    reasons: tuple[str, ...]
    seconds: float
    planes: dict[Plane, float] = field(default_factory=dict)
    size_measured: bool = False
    not_judged: str | None = None
    place_guessed: bool = False
    known_sequences: tuple[MRSequence, ...] = TRAINED_ON
    grid: VoxelGrid | None = field(default=None, repr=False, compare=False)
    places: tuple[int | None, ...] = ()

    @property
    def sequence_caveat(self) -> str | None:
        """Say that the model was not measured on the series' sequence, if so."""
        return sequence_caveat(self.sequence, self.known_sequences)

    @property
    def decision(self) -> Decided:
        """Both answers in one word: a class where one kind is left, or a verdict."""
        return decision_of(self.finding, self.kinds)

    @property
    def is_refused(self) -> bool:
        """Whether nothing was judged, or nothing that is brain MRI."""
        return self.finding is Answer.NOT_BRAIN_MRI

    @property
    def probabilities(self) -> dict[TumorClass, float] | None:
        """Probability by class, summing to 1; None where the series was refused."""
        return None if self.is_refused else self.raw_probabilities

    @property
    def predicted(self) -> TumorClass | None:
        """Most probable of the four classes; None where the series was refused."""
        values = self.probabilities
        return None if values is None else max(CLASSES, key=lambda name: values[name])

    @property
    def p_tumor(self) -> float | None:
        """Probability of any tumour in the series; None where it was refused."""
        values = self.probabilities
        return None if values is None else 1.0 - values[TumorClass.NO_TUMOR]
