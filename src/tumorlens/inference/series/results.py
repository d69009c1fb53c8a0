"""What is known of a whole series: prediction, key slices, lesion.

Tested in `tests/inference/series/test_by_slices.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import taxonomy
from tumorlens.imaging.study import MRSequence, Plane, Point, Series, VoxelGrid
from tumorlens.inference.bundle.facts import FLOAT32, TRAINED_ON, Precision
from tumorlens.inference.slice.prediction import (
    Prediction,
    SequenceEstimate,
    of_report,
    sequence_caveat,
    short_repr,
)
from tumorlens.taxonomy import (
    CLASSES,
    Answer,
    ClassName,
    Decided,
    Finding,
    clear_places,
    decision_of,
    is_no_lesion,
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


def p_tumor_of(probabilities: Mapping[ClassName, float]) -> float:
    """Give the probability of any tumour, from those of all classes."""
    clear = (share for name, share in probabilities.items() if is_no_lesion(name))
    return 1.0 - sum(clear)


class SeenSlices:
    """Results of the slices of a series, as far as they are kept.

    Parameters
    ----------
    series
        Series of D slices.
    classes
        The bundle's K classes.

    Attributes
    ----------
    probabilities
        Shape (D, K), calibrated; NaN rows where a slice was not judged or was
        refused.
    lesions
        Shape (D, 2): probabilities of a tumour of another kind, and of a vascular
        lesion; NaN likewise, and where the model knows neither.
    heads
        Shape (D,): edge of the square that holds the head, in pixels; 0 in those
        rows.
    skipped, refused
        How many slices show too little brain, and how many others are unlike
        a brain MRI.
    is_refused
        Shape (D,): which slices these others are.
    distances
        Shape (D,): `Decision.embedding_distance`; NaN where a slice was not judged.
    sequences
        Which MR sequence each slice that was judged is of.
    evidence
        Shape (D, H, W), uint8: 255 times the evidence, 0 in those rows; None
        where slices differ in size.
    """

    def __init__(self, series: Series, classes: Sequence[ClassName] = CLASSES) -> None:
        count = len(series.slices)
        self.classes = classes
        self.probabilities = np.full((count, len(classes)), np.nan)
        self.lesions = np.full((count, len(taxonomy.Lesion)), np.nan)
        self.heads = np.zeros(count, np.int64)
        self.skipped = self.refused = 0
        self.is_refused = np.zeros(count, bool)
        self.distances = np.full(count, np.nan)
        self.sequences: list[SequenceEstimate] = []
        self.evidence: NDArray[np.uint8] | None = None
        shapes = {item.pixels.shape for item in series.slices}
        if len(shapes) == 1:
            self.evidence = np.zeros((count, *shapes.pop()), np.uint8)

    @property
    def p_tumor(self) -> NDArray[np.float64]:
        """Probability of tumour of each slice; NaN where it was not judged."""
        clear = self.probabilities[:, clear_places(self.classes)].sum(axis=1)
        return np.asarray(1.0 - clear, np.float64)

    def add(self, index: int, prediction: Prediction | None) -> None:
        """Keep what the network says of one slice; None for too little brain."""
        if prediction is None:
            self.skipped += 1
            return
        decision = prediction.decision
        self.distances[index] = decision.embedding_distance
        if decision.is_refused:
            self.refused += 1
            self.is_refused[index] = True
            return
        self.sequences.append(prediction.sequence)
        values = decision.raw_probabilities
        self.probabilities[index] = [values[name] for name in self.classes]
        for column, name in enumerate(taxonomy.Lesion):
            self.lesions[index, column] = decision.other_lesions.get(name, np.nan)
        self.heads[index] = prediction.head
        if self.evidence is not None:
            # Rounds and saturates in one pass.
            cv2.convertScaleAbs(
                prediction.explanation.evidence, self.evidence[index], 255.0
            )


@dataclass(frozen=True, repr=False)
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
    model_precision
        Arithmetic of the graph that answered, ``float32`` or ``int8``.
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
    other_lesions
        Probabilities of a tumour of another kind, which also counts as any tumour, and
        of a vascular lesion, which counts as none; empty where the model knows neither.
    seen
        What is kept of each slice, where a model of slices judged one plane alone; to
        judge the series together with others.
    """

    source: str
    plane: Plane | None
    sequence: MRSequence | None
    slices: int
    without_brain: int
    refused: int
    finding: Answer
    kinds: tuple[Finding, ...]
    raw_probabilities: Mapping[ClassName, float] | None
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
    other_lesions: Mapping[taxonomy.Lesion, float] = field(default_factory=dict)
    seen: SeenSlices | None = field(default=None, repr=False, compare=False)
    model_precision: Precision = FLOAT32

    @property
    def sequence_caveat(self) -> str | None:
        """Say that the model was not measured on the series' sequence, if so."""
        return sequence_caveat(self.sequence, self.known_sequences)

    def __repr__(self) -> str:
        """Say what was judged, and both answers."""
        return short_repr(self, self.finding, self.kinds, self.p_tumor)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `tumorlens scan --json` writes, as plain values."""
        document: dict[str, Any] = of_report("series.document", "series_to_json", self)
        return document

    def _repr_html_(self) -> str:
        """Show the answers and bars in a notebook."""
        html: str = of_report("notebook", "series_html", self)
        return html

    @property
    def decision(self) -> Decided:
        """Both answers in one word: a class where one kind is left, or a verdict."""
        return decision_of(self.finding, self.kinds)

    @property
    def is_refused(self) -> bool:
        """Whether nothing was judged, or nothing that is brain MRI."""
        return self.finding is Answer.NOT_BRAIN_MRI

    @property
    def probabilities(self) -> Mapping[ClassName, float] | None:
        """Probability by class, summing to 1; None where the series was refused."""
        return None if self.is_refused else self.raw_probabilities

    @property
    def predicted(self) -> ClassName | None:
        """Most probable of the classes; None where the series was refused."""
        values = self.probabilities
        return None if values is None else max(values, key=lambda name: values[name])

    @property
    def p_tumor(self) -> float | None:
        """Probability of any tumour in the series; None where it was refused."""
        values = self.probabilities
        return None if values is None else p_tumor_of(values)
