"""The prediction for a series as a JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tumorlens import taxonomy
from tumorlens.inference.series.results import (
    Lesion,
    SeriesPrediction,
    Side,
    p_tumor_of,
)
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report.slice.document import (
    RESEARCH_USE,
    failure_to_json,
    tumor_classes_of,
)
from tumorlens.report.words import series_headline

SERIES_SCHEMA = "tumorlens-scan/1"


def series_to_json(
    finding: SeriesPrediction, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Turn a prediction into a JSON object (schema ``tumorlens-scan/1``).

    Parameters
    ----------
    finding
        Prediction for one series.
    notes
        How the files were read, as `Study.notes` has it.

    Returns
    -------
    dict
        Plain JSON values; no patient data and no description of the series.
        Probabilities are 0 to 1; `run` and `box` end before their last index;
        positions and sizes are mm, LPS. `sequence_caveat` is a sentence where the
        model was not trained on the sequence, else null. `size_measured` says
        whether `reasons` state how far off sizes were in series with an outline.
        Where the series was refused, `predicted`, `kinds`, `probabilities` and
        `p_tumor` are null, and what the network gave stands under `raw`; where nothing
        could be judged, `not_judged` says why, and `raw` is null too. Where the classes
        are a user's own and anything was judged, `tumor_classes` names those that are
        tumours.
    """
    values = finding.raw_probabilities
    shares = ("p_tumor", *(f"p_{name}" for name in taxonomy.Lesion))
    numbers: dict[str, Any] = dict.fromkeys(("predicted", "probabilities", *shares))
    if values is not None:
        numbers = {
            "predicted": max(values, key=lambda name: values[name]).value,
            "probabilities": {name.value: share for name, share in values.items()},
            "p_tumor": p_tumor_of(values),
            **{
                f"p_{name}": finding.other_lesions.get(name) for name in taxonomy.Lesion
            },
        }
    raw = None
    if finding.is_refused and values is not None:
        raw, numbers = numbers, dict.fromkeys(numbers)
    return {
        "schema": SERIES_SCHEMA,
        "file": finding.source,
        "status": "ok",
        "plane": None if finding.plane is None else finding.plane.value,
        "sequence": None if finding.sequence is None else finding.sequence.value,
        "sequence_caveat": finding.sequence_caveat,
        "slices": finding.slices,
        "without_brain": finding.without_brain,
        "refused": finding.refused,
        "not_judged": finding.not_judged,
        "predicted": numbers["predicted"],
        "decision": finding.decision.value,
        "finding": finding.finding.value,
        "kinds": None if finding.is_refused else [item.value for item in finding.kinds],
        "headline": series_headline(finding),
        "probabilities": numbers["probabilities"],
        **{key: numbers[key] for key in shares},
        "p_tumor_by_plane": {
            plane.value: value for plane, value in finding.planes.items()
        },
        "operating_point": finding.operating_point,
        "reasons": list(finding.reasons),
        "notes": list(notes),
        "run": None if finding.run is None else list(finding.run),
        "key_slices": list(finding.key_slices),
        "slice_p_tumor": list(finding.slice_p_tumor),
        "lesion": None if finding.lesion is None else _lesion(finding.lesion),
        "size_measured": finding.size_measured,
        "model_version": finding.model_version,
        "model_precision": finding.model_precision,
        "seconds": round(finding.seconds, 3),
        "raw": raw,
        **tumor_classes_of(values or ()),
        "research_use_only": RESEARCH_USE,
    }


def series_failure_to_json(failure: Failure) -> dict[str, Any]:
    """Turn an input that could not be judged into a JSON object.

    Parameters
    ----------
    failure
        Failure of a file or folder.

    Returns
    -------
    dict
        The document of `failure_to_json`, in the schema ``tumorlens-scan/1``.
    """
    return {**failure_to_json(failure), "schema": SERIES_SCHEMA}


def _lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "box": list(lesion.box),
        "voxels": lesion.voxels,
        "peak": list(lesion.peak),
        "size_mm": None if lesion.size_mm is None else list(lesion.size_mm),
        "centroid_lps_mm": None if lesion.centroid is None else list(lesion.centroid),
        "side": None if lesion.side is None else lesion.side.value,
        "location": lesion.location,
    }


def lesion_from_json(document: Mapping[str, Any]) -> Lesion:
    """Turn the lesion of a ``tumorlens-scan/1`` document back; its mask is not in it.

    Parameters
    ----------
    document
        What stands under ``lesion``, not null.
    """
    size, centre = document["size_mm"], document["centroid_lps_mm"]
    z0, y0, x0, z1, y1, x1 = document["box"]
    slice_, row, column = document["peak"]
    return Lesion(
        box=(z0, y0, x0, z1, y1, x1),
        voxels=document["voxels"],
        peak=(slice_, row, column),
        size_mm=None if size is None else (size[0], size[1], size[2]),
        centroid=None if centre is None else (centre[0], centre[1], centre[2]),
        side=None if document["side"] is None else Side(document["side"]),
        location=document["location"],
    )
