"""What a study's prediction says, in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from tumorlens.imaging.formats import display_name
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.study.results import StudyPrediction, StudySeries
from tumorlens.report import words
from tumorlens.report.words import joined, percent


def counted_sentence(prediction: StudyPrediction) -> str:
    """Say which sequences count, and which of them show the finding."""
    counted = _names(prediction.counted)
    if not counted:
        if any(item.counts for item in prediction.series):
            return "One series counts, of a sequence that nobody knows."
        return "No series counts."
    if len(counted) == 1:
        return f"{counted[0]} counts alone."
    text = f"Judged together: {joined(counted)}."
    if prediction.combined.lesion is None and not prediction.shown_by:
        return text
    shown = _names(prediction.shown_by)
    if not shown:
        return f"{text} None of them shows a tumour there by itself."
    if len(shown) == len(counted):
        return f"{text} Each of them shows a tumour there by itself too."
    if len(shown) == 1:
        return f"{text} By itself only {shown[0]} shows a tumour there."
    return f"{text} By themselves {joined(shown)} show a tumour there."


def file_names(prediction: StudyPrediction) -> list[str]:
    """Name each series by its first file, with as few folders as tell them apart."""
    parts = [PurePath(item.source).parts for item in prediction.series]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(item[-count:]) for item in parts]
        if len(set(names)) == len(names):
            break
    return [display_name(name) for name in names]


def sequence_name(item: StudySeries) -> str:
    """Name the sequence of a series."""
    sequence = item.sequence.sequence
    return "sequence not known" if sequence is None else sequence.value


def series_answer(item: StudySeries) -> str:
    """Say what a series shows by itself."""
    if item.prediction is None:
        return "not judged"
    return words.series_line(item.prediction)


def place_sentence(item: StudySeries) -> str:
    """Say what a series adds where the study's finding lies, or why it does not."""
    if not item.counts:
        return f"Does not count. {item.reason}".strip()
    if item.p_tumor_there is None:
        return "Counts."
    return f"Tumour in the slices that decide: {percent(item.p_tumor_there)}."


def _names(sequences: Sequence[MRSequence]) -> list[str]:
    return [item.value for item in sequences]


def study_notes(prediction: StudyPrediction) -> tuple[str, ...]:
    """Say, without any file's name, which series count and why others do not."""
    left_out = (
        f"{sequence_name(item)}: does not count. {item.reason}".strip()
        for item in prediction.series
        if not item.counts
    )
    return (counted_sentence(prediction), *dict.fromkeys(left_out))
