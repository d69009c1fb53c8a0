"""A threshold, and how often decisions by it are right."""

from __future__ import annotations

from dataclasses import dataclass

from tumorlens.inference.bundle.typed_values import Reader


@dataclass(frozen=True)
class Rate:
    """A figure with its 95 % interval; a share is 0 to 1."""

    value: float
    low: float
    high: float

    @classmethod
    def read(cls, facts: Reader, key: str) -> Rate:
        """Read a share.

        Raises
        ------
        BundleError
            Where one of its three numbers is missing or none from 0 to 1.
        """
        rate = facts.object(key)
        return cls(rate.share("value"), rate.share("low"), rate.share("high"))


@dataclass(frozen=True)
class OperatingPoint:
    """From which probability of tumour on a slice or scan is called a tumour.

    Parameters
    ----------
    threshold
        On the calibrated probability of any tumour, 0 to 1.
    sensitivity, specificity
        As measured on patients kept apart from training.
    """

    threshold: float
    sensitivity: Rate
    specificity: Rate

    @classmethod
    def read(cls, facts: Reader) -> OperatingPoint:
        """Read one; raises `BundleError` as `Rate.read`."""
        return cls(
            facts.share("threshold"),
            Rate.read(facts, "sensitivity"),
            Rate.read(facts, "specificity"),
        )
