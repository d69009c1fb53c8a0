"""Line drawings of typical errors: outlines traced from pictures, no picture.

A bundle carries them, so that its card can show how it fails without handing
on anybody's scan. Only sets whose licence lets drawings of them be published
are traced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.imaging.preprocess.brain import filled
from tumorlens.inference.slice.results import Prediction
from tumorlens.report.slice.overlay import window_picture
from tumorlens.statistics.localisation import read_outline
from tumorlens.taxonomy import CLASSES, TumorClass

TRACED_SETS = ("cheng", "lgg")
"""CC BY 4.0, and CC BY by TCIA: see `tumorlens.report.model_card.training.LICENCES`."""
SIDE = 100
"""Longer side of a drawing, in its own units."""
_MOST = 6
_AIR = 20
_DETAIL = 0.6
"""How far a traced line may leave the outline, in units of the drawing."""


def sketch_errors(
    scored: ScoredSet, judge: Callable[[Record], Prediction], most: int = _MOST
) -> list[dict[str, Any]]:
    """Draw the commonest kinds of error, of each the surest that may be drawn.

    Parameters
    ----------
    scored
        The set.
    judge
        InputKind a record once more, for its outline; see `judge_by`.
    most
        Kinds at most: what is true and what was said.

    Returns
    -------
    list of dict
        Plain JSON: ``source``, ``true``, ``said``, ``sure``, ``slices`` (how
        many of the set are wrong in this way), ``width`` and ``height``, and
        polygons of [x, y] in units of the drawing: the ``head``, the tumour as
        ``drawn`` by the set's radiologists, and as ``marked`` by the model.
    """
    said = scored.probabilities.argmax(axis=1)
    sure = scored.probabilities.max(axis=1)
    wrong: list[int] = np.flatnonzero(said != scored.labels).tolist()
    kinds = Counter((int(scored.labels[row]), int(said[row])) for row in wrong)
    found: list[dict[str, Any]] = []
    for (true, call), count in sorted(kinds.items(), key=lambda item: -item[1]):
        rows = [
            row
            for row in wrong
            if (scored.labels[row], said[row]) == (true, call)
            and scored.records[row].source in TRACED_SETS
        ]
        if not rows or len(found) == most:
            continue
        row = max(rows, key=lambda place: sure[place])
        record = scored.records[row]
        found.append(
            {
                "source": record.source,
                "true": str(CLASSES[true]),
                "said": str(CLASSES[call]),
                "sure": float(sure[row]),
                "slices": count,
                **_traced(record, judge(record)),
            }
        )
    return found


def _traced(record: Record, found: Prediction) -> dict[str, Any]:
    scale = SIDE / max(found.height, found.width)
    tissue = (window_picture(found.pixels) > _AIR).astype(np.uint8)
    drawn: Sequence[NDArray[Any]] = ()
    if record.mask is not None and record.label is not TumorClass.NO_TUMOR:
        drawn = _edges(read_outline(record.mask, (found.height, found.width)))
    return {
        "width": round(found.width * scale),
        "height": round(found.height * scale),
        "head": _polygons(_edges(filled(tissue)), scale),
        "drawn": _polygons(drawn, scale),
        "marked": _polygons(found.explanation.outline, scale),
    }


def _edges(inside: NDArray[Any]) -> Sequence[NDArray[Any]]:
    edges, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return edges


def _polygons(
    outlines: Sequence[NDArray[Any]], scale: float
) -> list[list[list[float]]]:
    """Scale and simplify (Douglas and Peucker 1973); specks are left out."""
    found = []
    for outline in outlines:
        line = outline.reshape(-1, 1, 2).astype(np.float32) * np.float32(scale)
        kept = cv2.approxPolyDP(line, _DETAIL, True).reshape(-1, 2)
        if len(kept) > 2:
            found.append(np.round(kept.astype(np.float64), 1).tolist())
    return found
