"""Results of a study: one finding, and what each series adds to it.

Tested in `tests/inference/study/test_classifier.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.study import MRSequence, Series
from tumorlens.inference.bundle.facts import SequenceSum
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import SequenceEstimate, of_report


@dataclass(frozen=True)
class StudySeries:
    """One series of a study.

    Parameters
    ----------
    source
        Name of its first slice's file, as the user knows it.
    slices
        Number of its slices, as they were read.
    sequence
        Which MR sequence it is of, and who says so.
    prediction
        Prediction for it alone; None where it was not judged.
    counts
        Whether it counts in the study's finding.
    reason
        Full sentence: why it does not count; empty where it does.
    is_cut_anew
        Whether it was judged in slices cut along those of the common grid.
    slice_p_tumor
        Its own calibrated probability of tumour in each slice of the common grid; None
        where it has none. Empty where it does not lie on the grid.
    p_tumor_there
        Its own probability of tumour where the study's finding lies: over the slices
        that decided. None where it has none.
    """

    source: str
    slices: int
    sequence: SequenceEstimate
    prediction: SeriesPrediction | None
    counts: bool
    reason: str = ""
    is_cut_anew: bool = False
    slice_p_tumor: tuple[float | None, ...] = ()
    p_tumor_there: float | None = None


@dataclass(frozen=True)
class StudyPrediction:
    """Everything known of one study.

    Parameters
    ----------
    combined
        Finding for all series that count together, on the slices of one of them: the
        common grid. Its reasons hold for the whole study.
    grid
        Index of that series.
    grid_series
        The series itself, to draw on.
    series
        Every series that was given, in order.
    weights
        How the sequences that count were weighed; None where one counts alone.
    is_learned
        Whether the weights were fitted on patients, or are the same for all.
    missing
        MR sequences that could have counted, and were not there.
    shown_by
        MR sequences that show a tumour by themselves where the finding lies, the one
        that adds most first; empty where no tumour is found.
    seconds
        Time from series to finding.
    pictures
        The most suspicious slice of the grid as each sequence that counts shows it,
        by sequence, shape (H, W), float32; empty where one sequence counts alone.
    """

    combined: SeriesPrediction
    grid: int
    grid_series: Series = field(repr=False, compare=False)
    series: tuple[StudySeries, ...]
    weights: SequenceSum | None
    is_learned: bool
    missing: tuple[MRSequence, ...]
    shown_by: tuple[MRSequence, ...]
    seconds: float
    pictures: Mapping[MRSequence, NDArray[np.float32]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `tumorlens study --json` writes, as plain values."""
        document: dict[str, Any] = of_report("study.document", "study_to_json", self)
        return document

    @property
    def counted(self) -> tuple[MRSequence, ...]:
        """MR sequences that count in the finding, each once."""
        sequences = (item.sequence.sequence for item in self.series if item.counts)
        return tuple(dict.fromkeys(item for item in sequences if item is not None))
