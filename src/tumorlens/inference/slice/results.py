"""What the engine hands on: outputs, decision, explanation, prediction.

Tested in `tests/report/slice/test_document.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TumorLensError, warn_of_old_name
from tumorlens.imaging.study import PictureView, Plane
from tumorlens.inference.slice.sequence import SequenceEstimate
from tumorlens.taxonomy import Decided, Finding, Lesion, TumorClass


@dataclass(frozen=True)
class Decision:
    """What one slice shows, how sure that is, and whether to believe it.

    Parameters
    ----------
    probabilities
        Calibrated, by class, summing to 1.
    predicted
        The most probable class.
    label
        The class that the operating point gives, or why it gives none.
    operating_point
        Name of the operating point.
    prediction_set
        Classes, and tumours of another kind, that cannot be ruled out at the
        bundle's stated coverage.
    domain_score
        0 to 1; 1 for a brain MRI like those the model knows.
    reasons
        Full sentences: why the decision is inconclusive or a refusal.
    slice_head, evidence_head
        Four probabilities of each head alone, uncalibrated, in the taxonomy's
        order; empty in a decision that was stored without them.
    brain_share
        How much brain the slice shows, 0 to 1 (`tumorlens.imaging.preprocess.slice`).
    other_lesions
        Calibrated probabilities of lesions that are none of the four classes;
        empty where the model knows none. A tumour of another kind also counts in
        the probability of any tumour, a vascular lesion in that of no tumour.
    """

    probabilities: dict[TumorClass, float]
    predicted: TumorClass
    label: Decided
    operating_point: str
    prediction_set: tuple[Finding, ...]
    domain_score: float
    reasons: tuple[str, ...] = field(default=())
    slice_head: tuple[float, ...] = field(default=())
    evidence_head: tuple[float, ...] = field(default=())
    brain_share: float = 1.0
    other_lesions: Mapping[Lesion, float] = field(default_factory=dict)

    @property
    def decision(self) -> Decided:
        """Old name of `label`; it goes with the next release."""
        warn_of_old_name("decision.decision", "decision.label")
        return self.label

    @property
    def p_tumor(self) -> float:
        """Calibrated probability of any tumour."""
        return 1.0 - self.probabilities[TumorClass.NO_TUMOR]

    @property
    def likeliest_lesion(self) -> Finding:
        """The most probable of all tumours and other lesions."""
        other = self.other_lesions.get(Lesion.OTHER, 0.0)
        # In the four-class view the three kinds share what another kind has.
        share = 1.0 - other / max(self.p_tumor, 1e-12)
        lesions: dict[Finding, float] = {
            name: share * value
            for name, value in self.probabilities.items()
            if name is not TumorClass.NO_TUMOR
        }
        for name, value in self.other_lesions.items():
            lesions[name] = value
        return max(lesions, key=lambda name: lesions[name])


@dataclass(frozen=True)
class ClinicalUse:
    """Which clinical columns a decision counts, and what it was without them.

    Parameters
    ----------
    used, missing
        Names of the columns with a value, and of those without.
    unknown
        Those whose category the model has not learned; they do not count.
    outside
        Those of `used` whose number is far from what the model has learned,
        and was cut off.
    probabilities, label
        Probabilities and label by the image alone.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    outside: tuple[str, ...]
    probabilities: dict[TumorClass, float]
    label: Decided


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture; x1 and y1 lie outside it."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class Explanation:
    """Where the network looked.

    Parameters
    ----------
    evidence
        Shape (H, W), float32, 0 to 1: probability that the spot shows the
        explained lesion.
    gradcam
        Shape (H, W), float32, 0 to 1, scaled to its own maximum.
    explained
        What both maps speak of: the most probable tumour or other lesion.
    outline
        Closed polygons of shape (K, 2), int32, x then y: the evidence at half
        height. Empty where no spot reaches it.
    box
        The box around the outlined spot that holds the peak.
    size_mm
        Longer and shorter side of the box; None without spacing.
    """

    evidence: NDArray[np.float32]
    gradcam: NDArray[np.float32]
    explained: Finding
    outline: tuple[NDArray[np.int32], ...] = field(default=())
    box: Box | None = None
    size_mm: tuple[float, float] | None = None


def _no_pixels() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Prediction:
    """Everything known of one slice.

    Parameters
    ----------
    source
        The file's name, as the user knows it.
    index
        The slice's position in its series, from 0.
    height, width
        Size of the picture, in pixels.
    spacing_mm, plane
        Spacing and plane that the file states; None where it states none.
    decision, explanation
        See `Decision` and `Explanation`.
    model_version
        Version of the bundle that was asked.
    milliseconds
        From decoded pixels to decision and maps, shared evenly in a batch.
    notes
        What a user should know about how the file was read.
    pixels
        Shape (H, W), float32: the picture that was judged, for overlays; of
        shape (0, 0) in a prediction that was restored without it.
    head
        Edge of the square that holds the head, in pixels; 0 in a prediction
        that was restored without it.
    view
        What of the picture was judged, where it shows more than the slice; else
        None.
    clinical
        What clinical columns did; None where none were asked for.
    sequence
        Which MR sequence it is of, and who says so.
    """

    source: str
    index: int
    height: int
    width: int
    spacing_mm: tuple[float, float] | None
    plane: Plane | None
    decision: Decision
    explanation: Explanation
    model_version: str
    milliseconds: float
    notes: tuple[str, ...] = field(default=())
    pixels: NDArray[np.float32] = field(default_factory=_no_pixels, repr=False)
    head: int = 0
    clinical: ClinicalUse | None = None
    sequence: SequenceEstimate = field(default=SequenceEstimate())
    view: PictureView | None = None


@dataclass(frozen=True)
class Failure:
    """A file or slice that could not be judged.

    Parameters
    ----------
    source
        The file's name, as the user knows it.
    code, message, hint
        Code, message and hint of the error.
    """

    source: str
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, source: str, error: TumorLensError) -> Self:
        """Make the failure of a file from the error that it raised."""
        return cls(source, error.code, error.message, error.hint)

    @property
    def mend(self) -> str:
        """Old name of `hint`; it goes with the next release."""
        warn_of_old_name("mend", "hint")
        return self.hint
