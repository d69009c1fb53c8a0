"""What turns the network's numbers into probabilities and sets of classes."""

from __future__ import annotations

from dataclasses import dataclass

from tumorlens.inference.bundle.typed_values import Reader
from tumorlens.taxonomy import CLASSES, TumorClass


@dataclass(frozen=True)
class Calibration:
    """How the two heads become one calibrated probability.

    Parameters
    ----------
    slice_weight, evidence_weight
        Factors on the logits of the slice head and of the pooled evidence.
    bias
        Four summands, in the taxonomy's order.
    evidence_cells
        How many of the strongest cells are averaged when evidence is pooled.
    """

    slice_weight: float
    evidence_weight: float
    bias: tuple[float, ...]
    evidence_cells: int

    @classmethod
    def read(cls, facts: Reader, most_cells: int) -> Calibration:
        """Read one out of a bundle.

        Parameters
        ----------
        facts
            The bundle's section.
        most_cells
            Cells of the evidence grid.

        Raises
        ------
        BundleError
            Where a value is wrong, or more cells are pooled than there are.
        """
        cells = facts.whole("evidence_cells", 1)
        if cells > most_cells:
            facts.refuse("evidence_cells", "at most the number of evidence cells")
        return cls(
            facts.number("slice_weight"),
            facts.number("evidence_weight"),
            facts.numbers("bias", len(CLASSES)),
            cells,
        )


@dataclass(frozen=True)
class CellCalibration:
    """How the evidence of a cell becomes the probability that it shows a tumour.

    Parameters
    ----------
    scale, bias
        Factor on the log-odds of a tumour class against none, and summand.
        Training weighs tumour and background alike, so uncorrected cells
        call too much tumour.
    """

    scale: float = 1.0
    bias: float = 0.0

    @classmethod
    def read(cls, facts: Reader) -> CellCalibration:
        """Read one; raises `BundleError` where a value is no number."""
        return cls(facts.number("scale"), facts.number("bias"))


@dataclass(frozen=True)
class PredictionSets:
    """Conformal prediction sets (class-conditional).

    Parameters
    ----------
    coverage
        How often the set holds the true class, 0 to 1.
    thresholds
        By class: the calibrated probability from which it is in the set.
    """

    coverage: float
    thresholds: dict[TumorClass, float]

    @classmethod
    def read(cls, facts: Reader) -> PredictionSets:
        """Read them; raises `BundleError` where a value is no share."""
        thresholds = facts.object("thresholds")
        return cls(
            facts.share("coverage"), {name: thresholds.share(name) for name in CLASSES}
        )
