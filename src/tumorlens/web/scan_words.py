"""What a scan's finding says, in sentences for people."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.study import Sequence
from tumorlens.report import scan_words
from tumorlens.taxonomy import TumorClass, Verdict
from tumorlens.web.scan_record import State

STATES = {
    State.WAITING: "Waiting for its turn",
    State.READING: "Reading the files",
    State.JUDGING: "Judging every slice",
    State.DONE: "Done",
    State.FAILED: "Could not be judged",
    State.STOPPED: "Stopped",
}


def sentence(decision: str) -> str:
    """Return what the decision, as JSON names it, means for the whole scan."""
    known = Verdict(decision) if decision in set(Verdict) else TumorClass(decision)
    return scan_words.sentence(known)


def lesion_sentence(lesion: dict[str, Any] | None) -> str:
    """Say where the most suspicious spot lies, and how large it seems.

    Parameters
    ----------
    lesion
        As in ``tumorlens-scan/1``, or None.
    """
    if lesion is None:
        return "No spot is marked."
    place = f"in slice {lesion['peak'][0] + 1}"
    if lesion["location"]:
        place = f"{lesion['location']} ({place})"
    size = lesion["size_mm"]
    if size is None:
        return f"The most suspicious spot: {place}."
    extent = " × ".join(f"{item:.0f}" for item in size)
    return f"The most suspicious spot: {place}. Its box is about {extent} mm."


def counts_sentence(finding: dict[str, Any]) -> str:
    """Say how many slices were judged."""
    judged = finding["slices"] - finding["without_brain"]
    parts = [f"{judged} of {finding['slices']} slices show brain and were judged"]
    if finding["refused"]:
        parts.append(f"{finding['refused']} of these were refused")
    return "; ".join(parts) + "."


def warnings(
    finding: dict[str, Any], notes: list[str], version: str
) -> tuple[str, ...]:
    """Return what a reader must know before the probabilities.

    Parameters
    ----------
    finding
        As in ``tumorlens-scan/1``.
    notes
        How the files were read.
    version
        Of the model in use now.
    """
    texts = [*finding["reasons"]]
    sequence = finding["sequence"]
    if sequence is None:
        texts.append(
            "The file does not say how the series was weighted; the model was "
            "trained on T1 with and without contrast only."
        )
    else:
        caveat = scan_words.sequence_caveat(Sequence(sequence))
        texts += [] if caveat is None else [caveat]
    texts += notes
    if finding["model_version"] != version:
        texts.append(
            f"This was judged by model version {finding['model_version']}; the one "
            f"in use now is {version}."
        )
    return tuple(texts)


def series_title(facts: dict[str, Any]) -> str:
    """Name a series by what it is, never by what the sender calls it."""
    sequence, plane = facts["sequence"], facts["plane"]
    known = [sequence] if sequence and sequence != Sequence.OTHER.value else []
    known += [plane] if plane else []
    title = ", ".join(known) or "series"
    return title[0].upper() + title[1:]
