"""Feedback: what a reader says of a result, and the marked results that are handed on.

A mark is a part of the result's document, in the web's store and in a node's. It says
nothing of who made it: that stands in the audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.taxonomy import (
    CLASSES,
    FINDINGS,
    ClassName,
    Finding,
    OwnClass,
    Verdict,
    clear_places,
    info_of,
    is_no_lesion,
    is_tumor,
    own_classes,
    parse_decided,
    parse_finding,
)

KEY = "feedback"
"""Key of the mark in the document of a picture or series."""


def findings_of(classes: Sequence[ClassName]) -> tuple[Finding, ...]:
    """List what a reader can say that a result of a model with these classes shows."""
    own = tuple(name for name in classes if isinstance(name, OwnClass))
    return own or FINDINGS


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
        cls,
        decision: str,
        correct: bool,
        finding: str | None,
        now: float,
        classes: Sequence[ClassName] = CLASSES,
    ) -> Feedback:
        """Make a mark of what was sent.

        Parameters
        ----------
        decision
            What the result says; one that names a class and is right names what it
            shows. Where several classes are free of tumour, *no tumour* names none.
        correct, finding
            The same as in `Feedback`, as they were sent; an empty `finding` is none.
        now
            Seconds since 1970.
        classes
            The model's: the four, or a user's own.

        Raises
        ------
        InputError
            The finding is none, or contradicts what is said of the result.
        """
        decided = parse_decided(decision, classes)
        said = None if not finding else _finding_of(finding, classes)
        if correct and not isinstance(decided, Verdict):
            said = said or _named(decided, classes)
        if not _fits(decided, correct, said):
            shown = "nothing" if said is None else info_of(said).title.lower()
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
        classes: Sequence[ClassName] = own_classes(document.get("classes", {}))
        return cls(
            bool(document["correct"]),
            None if finding is None else parse_finding(finding, classes),
            datetime.fromisoformat(document["at"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values.

        A class of a user's own comes with all of its set, in `classes`: whether each
        is a tumour.
        """
        document: dict[str, Any] = {
            "correct": self.correct,
            "finding": None if self.finding is None else self.finding.value,
            "at": self.at.isoformat(timespec="seconds"),
        }
        if isinstance(self.finding, OwnClass):
            document |= own_classes_of(self.finding.siblings)
        return document


def own_classes_of(classes: Sequence[ClassName]) -> dict[str, dict[str, bool]]:
    """Give the key `classes` of a document; nothing of it for the four."""
    own = {str(x): x.is_tumor for x in classes if isinstance(x, OwnClass)}
    return {"classes": own} if own else {}


def _finding_of(text: str, classes: Sequence[ClassName]) -> Finding:
    known = findings_of(classes)
    for name in known:
        if name == text:
            return name
    names = ", ".join(name.value for name in known)
    raise InputError(f"There is no finding {text[:40]!r}.", f"Give one of: {names}.")


def _named(decided: Finding, classes: Sequence[ClassName]) -> Finding | None:
    """Name what a result shows that is right; None where it may be several classes."""
    if not (is_no_lesion(decided) and isinstance(classes[0], OwnClass)):
        return decided
    clear = clear_places(classes)
    return classes[clear[0]] if len(clear) == 1 else None


def _fits(decided: Finding | Verdict, correct: bool, said: Finding | None) -> bool:
    """Tell whether a finding can be meant beside what is said of the decision."""
    if said is None:
        return True
    if not isinstance(decided, Verdict):
        # Of a user's own set, all that is no tumour is decided together.
        if isinstance(said, OwnClass) and is_no_lesion(decided):
            return correct == (not said.is_tumor)
        return correct == (said == decided)
    if correct and decided is Verdict.NOT_BRAIN_MRI:
        return False
    if correct and decided is Verdict.TUMOR:
        return is_tumor(said)
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
