"""The section of the worst errors, with pictures, and line drawings for the card.

Tested in `tests/evaluation/test_scored_slices.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.preprocess.slice import filled
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.page_parts import Picture, Section
from tumorlens.report.slice.overlay import (
    OUTLINE_COLOR,
    OverlayKind,
    encode_png,
    render_overlay,
    window_picture,
)
from tumorlens.taxonomy import TumorClass, Verdict, class_title

_SIDE = 200
"""Longer side of each half of a picture on the page, in pixels."""

_WHITE = (255, 255, 255)

_DECISIONS = {
    str(Verdict.TUMOR): " Called a tumour, its kind left open.",
    str(Verdict.UNCERTAIN): " Left uncertain.",
    str(Verdict.NOT_BRAIN_MRI): " Refused as no brain MRI.",
    str(TumorClass.NO_TUMOR): " Called free of tumour.",
}

SKETCH_SIDE = 100
"""Longer side of a drawing, in its own units."""

_AIR = 20

_DETAIL = 0.6
"""How far a traced line may leave the outline, in units of the drawing."""


def error_picture(
    error: Mapping[str, Any],
    prediction: Prediction,
    outline: NDArray[np.bool_] | None,
) -> Picture:
    """Draw an error: the slice with outlines, beside its evidence map.

    Parameters
    ----------
    error
        One error of `tumorlens.evaluation.scored_slices.worst_errors`.
    prediction
        The bundle's, of that slice.
    outline
        Shape (H, W), true inside what radiologists drew; None without an outline.

    Returns
    -------
    Picture
        Two halves of up to 200 pixels. The drawn outline, where there is one,
        is white, the bundle's yellow.
    """
    slice_half = _small(
        np.repeat(window_picture(prediction.pixels)[:, :, np.newaxis], 3, axis=2)
    )
    evidence_half = render_overlay(
        prediction.pixels, prediction.explanation, OverlayKind.EVIDENCE
    )
    # Outlines are drawn at the page's size; shrunk with the slice they would fade.
    scale = slice_half.shape[0] / prediction.height
    _draw_outline(slice_half, prediction.explanation.outline, scale, OUTLINE_COLOR)
    if outline is not None:
        _draw_outline(slice_half, _edges(outline), scale, _WHITE)
    both = np.hstack([slice_half, _small(evidence_half)])
    return Picture(encode_png(both), _caption(error))


def _draw_outline(
    picture: NDArray[np.uint8],
    polygons: Sequence[NDArray[Any]],
    scale: float,
    color: tuple[int, int, int],
) -> None:
    scaled = [np.rint(item * scale).astype(np.int32) for item in polygons]
    cv2.polylines(picture, scaled, True, color, 1, cv2.LINE_AA)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _caption(error: Mapping[str, Any]) -> str:
    true, said = (class_title(error[key]) for key in ("true", "said"))
    decision = _DECISIONS.get(error["decision"], "")
    return (
        f"{error['file']} ({error['source'] or 'no source named'}): truth "
        f"{true.lower()}, most probable {said.lower()} with {error['sure']:.2f}, the "
        f"truth with {error['true_probability']:.2f}.{decision}"
    )


def worst_errors_section(
    errors: Sequence[Mapping[str, Any]], pictures: Sequence[Picture] = ()
) -> Section:
    """Show the errors.

    Parameters
    ----------
    errors
        Errors that `worst_errors` has listed.
    pictures
        Pictures of the errors; without them, only captions are listed.
    """
    lines = () if pictures else tuple(_caption(error) for error in errors)
    return Section(
        "worst-errors",
        f"The {len(errors)} worst errors",
        (
            "Slices whose most probable class is wrong, the surest first, two of a "
            "patient at most. Left the slice with the drawn outline in white, where "
            "there is one, and the model's in yellow; right its evidence map. The "
            "label may be what is wrong: look.",
            *lines,
        ),
        pictures=tuple(pictures),
    )


def trace_sketch(
    prediction: Prediction, outline: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Trace a slice as a line drawing, which shows nobody's picture.

    Parameters
    ----------
    prediction
        The bundle's, of that slice.
    outline
        Shape (H, W), true inside what radiologists drew; None without an outline.

    Returns
    -------
    dict
        Plain JSON: ``width`` and ``height``, and polygons of [x, y] in units of the
        drawing, whose longer side is 100: the ``head``, the tumour as ``drawn`` by
        radiologists, and as ``marked`` by the model.
    """
    scale = SKETCH_SIDE / max(prediction.height, prediction.width)
    tissue = (window_picture(prediction.pixels) > _AIR).astype(np.uint8)
    drawn = () if outline is None else _edges(outline)
    return {
        "width": round(prediction.width * scale),
        "height": round(prediction.height * scale),
        "head": _polygons(_edges(filled(tissue)), scale),
        "drawn": _polygons(drawn, scale),
        "marked": _polygons(prediction.explanation.outline, scale),
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
    polygons = []
    for outline in outlines:
        line = outline.reshape(-1, 1, 2).astype(np.float32) * np.float32(scale)
        kept = cv2.approxPolyDP(line, _DETAIL, True).reshape(-1, 2)
        if len(kept) > 2:
            polygons.append(np.round(kept.astype(np.float64), 1).tolist())
    return polygons
