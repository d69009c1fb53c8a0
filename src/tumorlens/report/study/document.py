"""The prediction for a study as a JSON document, and in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from tumorlens.errors import InputError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import SequenceSum
from tumorlens.inference.study.results import StudyPrediction, StudySeries
from tumorlens.report import words
from tumorlens.report.series import series_to_json
from tumorlens.report.slice.document import RESEARCH_USE, sequence_to_json
from tumorlens.report.words import joined, percent

STUDY_SCHEMA = "tumorlens-study/1"

_SHARED = (
    *("finding", "kinds", "headline", "decision", "predicted", "probabilities"),
    *("p_tumor", "p_other", "p_vascular", "raw", "not_judged", "operating_point"),
    *("tumor_classes", "reasons", "notes", "run"),
    *("key_slices", "slice_p_tumor", "lesion", "size_measured"),
)
"""Keys that say of a study what they say of a series, on the common grid."""

_OF_SERIES = (
    *("finding", "kinds", "headline", "decision", "p_tumor", "not_judged"),
    *("plane", "slices", "without_brain", "refused"),
)
"""Keys of a series that stand for it within a study."""


def study_to_json(
    prediction: StudyPrediction, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Turn a prediction into a JSON object (schema ``tumorlens-study/1``).

    Parameters
    ----------
    prediction
        Prediction for one study.
    notes
        How the files were read, as `Study.notes` has it.

    Returns
    -------
    dict
        Plain JSON values; no patient data and no description of a series. What is said
        of the study has the keys of a ``tumorlens-scan/1`` document, and means slices
        of ``grid``: ``grid.series`` is the place of that series in ``series``, and
        ``grid.affine_ras`` takes column, row and slice to RAS mm (null where nobody
        knows; where slices are missing it counts their places). ``summary`` says in
        sentences which series count; ``sequences`` names the MR sequences that count,
        that show a tumour by themselves where the finding lies, and that could have
        counted and were not there. ``weights`` says how those that count were weighed,
        null where one counts alone. Each of ``series`` has what it says by itself under
        ``alone`` (null where it was not judged), its probability of tumour in every
        slice of the grid, and where the finding lies; ``reason`` says why it does not
        count.
    """
    combined = prediction.combined
    document = series_to_json(combined, notes)
    return {
        "schema": STUDY_SCHEMA,
        "status": document["status"],
        **{key: document[key] for key in _SHARED if key in document},
        "summary": list(study_notes(prediction)),
        "sequences": {
            "counted": [item.value for item in prediction.counted],
            "shown_by": [item.value for item in prediction.shown_by],
            "missing": [item.value for item in prediction.missing],
        },
        "weights": None
        if prediction.weights is None
        else _weights(prediction.weights, prediction.is_learned),
        "series": [_series(item) for item in prediction.series],
        "grid": {
            "series": prediction.grid,
            "plane": document["plane"],
            "slices": combined.slices,
            "without_brain": combined.without_brain,
            "refused": combined.refused,
            "affine_ras": None
            # Where slices are missing it counts places, and the grid slices.
            if combined.affine_ras is None or combined.places
            else combined.affine_ras.tolist(),
        },
        "model_version": document["model_version"],
        "model_precision": document["model_precision"],
        "seconds": round(prediction.seconds, 3),
        "research_use_only": document["research_use_only"],
    }


def study_failure_to_json(error: InputError) -> dict[str, Any]:
    """Turn the reason why series were not judged together into a JSON object.

    Parameters
    ----------
    error
        Its code becomes the ``status``.
    """
    return {
        "schema": STUDY_SCHEMA,
        "status": error.code,
        "message": error.message,
        "mend": error.hint,
        "research_use_only": RESEARCH_USE,
    }


def _weights(weights: SequenceSum, is_learned: bool) -> dict[str, Any]:
    return {"is_learned": is_learned, **weights.to_json()}


def _series(item: StudySeries) -> dict[str, Any]:
    alone = None
    if item.prediction is not None:
        document = series_to_json(item.prediction)
        alone = {key: document[key] for key in _OF_SERIES if key in document}
    return {
        "file": item.source,
        "slices": item.slices,
        **sequence_to_json(item.sequence),
        "counts": item.counts,
        "reason": item.reason or None,
        "cut_anew": item.is_cut_anew,
        "alone": alone,
        "p_tumor_there": item.p_tumor_there,
        "slice_p_tumor": list(item.slice_p_tumor) or None,
    }


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
