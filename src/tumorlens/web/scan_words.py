"""What a scan's finding says, in sentences for people."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.study import Sequence
from tumorlens.taxonomy import INFO, TumorClass, Verdict
from tumorlens.web.scan_record import State

_TRAINED_ON = frozenset({Sequence.T1.value, Sequence.T1_CONTRAST.value})

_VERDICTS = {
    Verdict.INCONCLUSIVE: (
        "The model cannot tell from this scan. Do not take it for a clear one."
    ),
    Verdict.NOT_BRAIN_MRI: (
        "The pictures do not look like a brain MRI of the kind the model knows, so "
        "it gives no answer."
    ),
}

STATES = {
    State.WAITING: "Waiting for its turn",
    State.READING: "Reading the files",
    State.JUDGING: "Judging every slice",
    State.DONE: "Done",
    State.FAILED: "Could not be judged",
    State.STOPPED: "Stopped",
}


def sentence(decision: str) -> str:
    """Return what the decision means for the whole scan."""
    if decision in set(Verdict):
        return _VERDICTS[Verdict(decision)]
    if decision == TumorClass.NO_TUMOR:
        return "The model sees no sign of a tumour in this scan."
    title = INFO[TumorClass(decision)].title.lower()
    return f"The scan looks like one with a {title}."


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
    elif sequence not in _TRAINED_ON:
        texts.append(
            f"The series is {sequence}; the model was trained on T1 with and without "
            "contrast, and its figures do not hold here."
        )
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
