"""What a scan's finding says, in sentences for people."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.study import MRSequence
from tumorlens.report import words
from tumorlens.report.series.document import lesion_from_json
from tumorlens.taxonomy import parse_decided
from tumorlens.web.uploads.series_record import State

REFUSED_NUMBERS = words.REFUSED_SERIES_NUMBERS

STATES = {
    State.WAITING: "Waiting for its turn",
    State.READING: "Reading the files",
    State.JUDGING: "Judging every slice",
    State.DONE: "Done",
    State.FAILED: "Could not be judged",
    State.STOPPED: "Stopped",
}


def sentence(finding: dict[str, Any]) -> str:
    """Return what the decision means for the whole scan.

    Parameters
    ----------
    finding
        As in ``tumorlens-scan/1``, here and below.
    """
    decision = finding["decision"]
    return words.series_sentence(parse_decided(decision), finding["not_judged"])


def lesion_sentence(finding: dict[str, Any]) -> str:
    """Say where the most suspicious spot lies, and how large it seems."""
    lesion = finding["lesion"]
    return words.lesion_sentence(None if lesion is None else lesion_from_json(lesion))


def slices_sentence(finding: dict[str, Any]) -> str:
    """Count the slices that were judged, passed over and refused."""
    return words.slices_sentence(
        finding["slices"], finding["without_brain"], finding["refused"]
    )


def warnings(
    finding: dict[str, Any], notes: list[str], version: str
) -> tuple[str, ...]:
    """Return what a reader must know before the probabilities.

    Parameters
    ----------
    finding
        Of one series.
    notes
        How the files were read.
    version
        Of the model in use now.
    """
    return words.series_warnings(finding, notes, version)


def series_title(facts: dict[str, Any]) -> str:
    """Name a series by what it is, never by what the sender calls it."""
    sequence, plane = facts["sequence"], facts["plane"]
    known = [sequence] if sequence and sequence != MRSequence.OTHER.value else []
    known += [plane] if plane else []
    title = ", ".join(known) or "series"
    return title[0].upper() + title[1:]
