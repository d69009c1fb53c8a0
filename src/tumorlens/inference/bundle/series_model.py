"""What a bundle knows of whole scans: a small model, its thresholds, its figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tumorlens.errors import BundleError
from tumorlens.inference.bundle.operating_point import OperatingPoint, Rate
from tumorlens.inference.bundle.typed_values import Reader

FEATURES = ("strongest_run", "second_run")
"""Mean log-odds of tumour over the most suspicious run of neighbouring slices, and
over the most suspicious one among the slices left (`series.features`). A false alarm
mostly stands alone; a lesion mostly reaches beyond the run, or shows in what is left
of it."""


@dataclass(frozen=True)
class OutlineFacts:
    """From which evidence on a voxel counts as lesion, and how far off that is.

    Parameters
    ----------
    level
        Probability of tumour, smoothed along slices, above 0 and below 1.
    dice
        Mean overlap with the outlines that radiologists drew, 0 to 1.
    size_error
        Median error of the longest side within slices, as a share of it.
    patients
        On whom it was measured.
    """

    level: float
    dice: Rate
    size_error: Rate
    patients: int

    @classmethod
    def read(cls, facts: Reader) -> OutlineFacts:
        """Read them out of a bundle; raises `BundleError` where one is wrong."""
        level = facts.share("level")
        if level in (0.0, 1.0):
            facts.refuse("level", "a number between 0 and 1")
        # An error can be larger than the size itself: it is no share.
        error = facts.object("size_error")
        size = Rate(*(error.number(key) for key in ("value", "low", "high")))
        return cls(level, Rate.read(facts, "dice"), size, facts.whole("patients", 1))


@dataclass(frozen=True)
class ScanModel:
    """Logistic regression from a scan's slices to the probability of any tumour.

    Parameters
    ----------
    end_discount
        How much less slices at the ends of a head are trusted, see
        `scan_features.discounted_odds`; not negative.
    weights
        By name of the feature, see `FEATURES`.
    intercept
        Log-odds where every feature is 0.
    operating_points
        Thresholds on that probability, with the rates measured by
        cross-validation; each of the bundle's own names, once.
    patients, healthy_patients
        With and without a tumour, on whom they were measured.
    outline
        Facts on the lesion's outline; None where no outlines were at hand.
    """

    end_discount: float
    weights: dict[str, float]
    intercept: float
    operating_points: dict[str, OperatingPoint]
    patients: int
    healthy_patients: int
    outline: OutlineFacts | None

    @classmethod
    def read(cls, facts: Reader, points: Iterable[str]) -> ScanModel:
        """Read one out of a bundle.

        Parameters
        ----------
        facts
            The bundle's section.
        points
            Names of the bundle's operating points.

        Raises
        ------
        BundleError
            Where a value is wrong, or a feature is not known here.
        """
        weights = facts.object("weights")
        for name in weights.fields:
            if name not in FEATURES:
                raise BundleError(
                    f"{weights.where} holds {name!r}, a feature of scans that this "
                    "TumorLens does not know.",
                    "Upgrade TumorLens.",
                )
        discount = facts.number("end_discount")
        if discount < 0.0:
            facts.refuse("end_discount", "a number from 0")
        own = {
            name: OperatingPoint.read(point)
            for name, point in facts.objects("operating_points")
        }
        for name in points:
            if name not in own:
                facts.refuse("operating_points", f"an object with {name!r}")
        return cls(
            end_discount=discount,
            weights={name: weights.number(name) for name in weights.fields},
            intercept=facts.number("intercept"),
            operating_points=own,
            patients=facts.whole("patients", 1),
            healthy_patients=facts.whole("healthy_patients", 1),
            outline=OutlineFacts.read(facts.object("outline"))
            if facts.fields.get("outline") is not None
            else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)
