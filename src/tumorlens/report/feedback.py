"""Feedback: what a reader says of a result, and the marked results that are handed on.

A mark is a part of the result's document, in the web's store and in a node's. It says
nothing of who made it: that stands in the audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.taxonomy import (
    FINDINGS,
    INFO,
    TUMOR_FINDINGS,
    Finding,
    Verdict,
    parse_decided,
    parse_finding,
)

KEY = "feedback"
"""Key of the mark in the document of a picture or series."""


def require_markable(document: Mapping[str, Any]) -> None:
    """Refuse results that no mark can be of.

    Parameters
    ----------
    document
        What is kept of the result.

    Raises
    ------
    InputError
        Its classes are a user's own: what readers mark teaches models of the four.
    """
    if "tumor_classes" in document:
        raise InputError(
            "Results of a model with classes of its own cannot be marked.",
            "Keep what they show in a manifest of your own.",
        )


@dataclass(frozen=True)
class Feedback:
    """What a reader says of a result.

    Parameters
    ----------
    correct
        Whether the result is right.
    finding
        What the picture or series shows; None where the reader does not say.
    at
        When it was said, in UTC.
    """

    correct: bool
    finding: Finding | None
    at: datetime

    @classmethod
    def on(
        cls, decision: str, correct: bool, finding: str | None, now: float
    ) -> Feedback:
        """Make a mark of what was sent.

        Parameters
        ----------
        decision
            What the result says; one that names a class and is right names what it
            shows.
        correct, finding
            The same as in `Feedback`, as they were sent; an empty `finding` is none.
        now
            Seconds since 1970.

        Raises
        ------
        InputError
            The finding is none, or contradicts what is said of the result.
        """
        decided = parse_decided(decision)
        said = None if not finding else _finding_of(finding)
        if correct and not isinstance(decided, Verdict):
            said = said or decided
        if not _fits(decided, correct, said):
            shown = "nothing" if said is None else INFO[said].title.lower()
            raise InputError(
                f"The result is marked {'right' if correct else 'wrong'}, which does "
                f"not fit the finding: {shown}.",
                "Mark it wrong to say that it shows something else than the result, "
                "and right where both are the same.",
            )
        return cls(correct, said, datetime.fromtimestamp(now, UTC))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Feedback:
        """Read what `to_json` wrote."""
        finding = document["finding"]
        return cls(
            bool(document["correct"]),
            None if finding is None else parse_finding(finding),
            datetime.fromisoformat(document["at"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "correct": self.correct,
            "finding": None if self.finding is None else self.finding.value,
            "at": self.at.isoformat(timespec="seconds"),
        }


def _finding_of(text: str) -> Finding:
    try:
        return parse_finding(text)
    except ValueError:
        names = ", ".join(name.value for name in FINDINGS)
        raise InputError(
            f"There is no finding {text[:40]!r}.", f"Give one of: {names}."
        ) from None


def _fits(decided: Finding | Verdict, correct: bool, said: Finding | None) -> bool:
    """Tell whether a finding can be meant beside what is said of the decision."""
    if said is None:
        return True
    if not isinstance(decided, Verdict):
        return correct == (said is decided)
    if correct and decided is Verdict.NOT_BRAIN_MRI:
        return False
    if correct and decided is Verdict.TUMOR:
        return said in TUMOR_FINDINGS
    return True


@dataclass(frozen=True, repr=False)
class MarkedResult:
    """A result that a reader has marked, with what was judged.

    Parameters
    ----------
    name
        Name that is always the same, and neither the file's nor the result's id.
    group
        Name that all results share that may show one patient, as far as is known:
        those of one file, one upload, one picture, and pictures that are equal.
    feedback
        What the reader said.
    decision, model_version
        What the result said, and which model it is from.
    sequence, plane
        MR sequence and plane, as the result has them; empty where not known.
    voxels
        Shape (H, W), uint8: the picture, or the part of it that was judged. Of a
        series shape (D, H, W), uint16; float32 where its values fit into none.
    scale
        Slope and offset from a series' `voxels` to the file's own values.
    affine_ras
        A series' map from column, row, slice to RAS mm, shape (4, 4); None where its
        place in the patient is not known.
    spacing_mm
        Distances of a series' slices, rows and columns; 1 where not known.
    """

    name: str
    group: str
    feedback: Feedback
    decision: str
    model_version: str
    sequence: str
    plane: str
    voxels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    scale: tuple[float, float] = (1.0, 0.0)
    affine_ras: NDArray[np.float64] | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
