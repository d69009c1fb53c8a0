"""What a scan's finding says, in sentences for people."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.study import MRSequence
from tumorlens.inference.slice.sequence import sequence_caveat
from tumorlens.report.series import words as scan_words
from tumorlens.report.series.document import lesion_from_json
from tumorlens.taxonomy import TumorClass, Verdict
from tumorlens.web.uploads.upload import State

REFUSED_NUMBERS = scan_words.REFUSED_NUMBERS

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
    known = Verdict(decision) if decision in set(Verdict) else TumorClass(decision)
    return scan_words.sentence(known, finding["not_judged"])


def lesion_sentence(finding: dict[str, Any]) -> str:
    """Say where the most suspicious spot lies, and how large it seems."""
    lesion = finding["lesion"]
    return scan_words.lesion_sentence(
        None if lesion is None else lesion_from_json(lesion)
    )


def slices_sentence(finding: dict[str, Any]) -> str:
    """Count the slices that were judged, passed over and refused."""
    return scan_words.slices_sentence(
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
    texts = [*finding["reasons"]]
    sequence = finding["sequence"]
    if sequence is None:
        texts.append(
            "The file does not say how the series was weighted; the model was "
            "trained on T1 with and without contrast only."
        )
    else:
        caveat = sequence_caveat(MRSequence(sequence))
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
    known = [sequence] if sequence and sequence != MRSequence.OTHER.value else []
    known += [plane] if plane else []
    title = ", ".join(known) or "series"
    return title[0].upper() + title[1:]
