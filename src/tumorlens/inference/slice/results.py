"""What the engine hands on: outputs, decision, explanation, prediction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import warn_of_old_name
from tumorlens.imaging.study import Plane
from tumorlens.taxonomy import TumorClass, Verdict


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
        Its name.
    prediction_set
        Classes that cannot be ruled out at the bundle's stated coverage.
    domain_score
        0 to 1; 1 for a brain MRI like those the model knows.
    reasons
        Full sentences: why the decision is inconclusive or a refusal.
    slice_head, evidence_head
        Four probabilities of each head alone, uncalibrated, in the taxonomy's
        order; empty in a decision that was stored without them.
    brain_share
        How much brain the slice shows, 0 to 1 (`tumorlens.imaging.preprocess.brain`).
    """

    probabilities: dict[TumorClass, float]
    predicted: TumorClass
    label: TumorClass | Verdict
    operating_point: str
    prediction_set: tuple[TumorClass, ...]
    domain_score: float
    reasons: tuple[str, ...] = field(default=())
    slice_head: tuple[float, ...] = field(default=())
    evidence_head: tuple[float, ...] = field(default=())
    brain_share: float = 1.0

    @property
    def decision(self) -> TumorClass | Verdict:
        """Old name of `label`; it goes with the next release."""
        warn_of_old_name("decision.decision", "decision.label")
        return self.label

    @property
    def p_tumor(self) -> float:
        """Calibrated probability of any tumour."""
        return 1.0 - self.probabilities[TumorClass.NO_TUMOR]


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
        By the image alone.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    outside: tuple[str, ...]
    probabilities: dict[TumorClass, float]
    label: TumorClass | Verdict


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
        explained tumour class.
    gradcam
        Shape (H, W), float32, 0 to 1, scaled to its own maximum.
    explained
        The class both maps speak of: the most probable tumour class.
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
    explained: TumorClass
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
        Of the picture, in pixels.
    spacing_mm, plane
        As the file says; None where it does not.
    decision, explanation
        See there.
    model_version
        Of the bundle that was asked.
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
    clinical
        What clinical columns did; None where none were asked for.
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


@dataclass(frozen=True)
class Failure:
    """A file or slice that could not be judged.

    Parameters
    ----------
    source
        The file's name, as the user knows it.
    code, message, hint
        Of the error.
    """

    source: str
    code: str
    message: str
    hint: str

    @property
    def mend(self) -> str:
        """Old name of `hint`; it goes with the next release."""
        warn_of_old_name("mend", "hint")
        return self.hint
