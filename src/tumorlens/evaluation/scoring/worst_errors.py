"""The slices that a bundle gets most wrong, to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.slice.results import Prediction
from tumorlens.report.page_parts import Picture, Section
from tumorlens.report.slice.overlay import (
    OUTLINE_COLOR,
    OverlayKind,
    encode_png,
    render_overlay,
    window_picture,
)
from tumorlens.statistics.localisation import read_outline
from tumorlens.taxonomy import CLASSES, INFO, TumorClass, Verdict

WORST = 40
_OF_A_PATIENT = 2
"""Neighbouring slices fail alike; more of one patient would crowd out others."""

_SIDE = 200
"""Longer side of each half of a picture on the page, in pixels."""

_WHITE = (255, 255, 255)


def worst_errors(scored: ScoredSet, count: int = WORST) -> list[dict[str, Any]]:
    """Find the slices whose most probable class is wrong, the surest first.

    Parameters
    ----------
    scored
        The set.
    count
        How many at most; of one patient, two at most.

    Returns
    -------
    list of dict
        Plain JSON: ``row`` in the set, ``file`` (its name alone), ``source``,
        ``true``, ``said``, ``sure`` (the probability of what was said),
        ``true_probability``, and ``decision``.
    """
    said = scored.probabilities.argmax(axis=1)
    sure = scored.probabilities.max(axis=1)
    own = scored.probabilities[np.arange(len(said)), scored.labels]
    wrong = np.flatnonzero(said != scored.labels)
    seen: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    for row in wrong[np.lexsort((own[wrong], -sure[wrong]))]:
        record = scored.records[row]
        seen[record.group] += 1
        if seen[record.group] > _OF_A_PATIENT:
            continue
        found.append(
            {
                "row": int(row),
                "file": record.path.name,
                "source": record.source,
                "true": str(record.label),
                "said": str(CLASSES[said[row]]),
                "sure": float(sure[row]),
                "true_probability": float(own[row]),
                "decision": str(scored.decisions[row]),
            }
        )
        if len(found) == count:
            break
    return found


def error_pictures(
    errors: Sequence[Mapping[str, Any]],
    scored: ScoredSet,
    judge: Callable[[Record], Prediction],
) -> Iterator[Picture]:
    """Draw each error: the slice with outlines, beside its evidence map.

    Parameters
    ----------
    errors
        From `worst_errors`.
    scored
        The set they are of.
    judge
        InputKind a record once more, for its maps: `judge_by` one bundle, or
        `judge_by_folds`.

    Yields
    ------
    Picture
        Two halves of up to 200 pixels. The drawn outline, where there is one,
        is white, the bundle's yellow.
    """
    for error in errors:
        record = scored.records[error["row"]]
        yield Picture(encode_png(_beside(record, judge(record))), _caption(error))


def judge_by(classifier: Classifier) -> Callable[[Record], Prediction]:
    """Have every record judged by one bundle.

    Returns
    -------
    callable
        From a record to the judgement of its first slice, the one that its
        label speaks of.
    """

    def judge(record: Record) -> Prediction:
        found = classifier.predict(record.path)
        return found[0] if isinstance(found, list) else found

    return judge


def judge_by_folds(bundles: Mapping[int, Path]) -> Callable[[Record], Prediction]:
    """Have every record judged by the bundle that left its fold out.

    Parameters
    ----------
    bundles
        Folders by fold; each is loaded when it is first asked.

    Returns
    -------
    callable
        As of `judge_by`, for records whose fold is among them.
    """

    @cache
    def of_fold(fold: int | None) -> Callable[[Record], Prediction]:
        if fold is None or fold not in bundles:
            raise DatasetError(
                f"No bundle left the fold {fold} out.",
                f"Ask for records of the folds {sorted(bundles)}.",
            )
        return judge_by(load_classifier(bundles[fold]))

    return lambda record: of_fold(record.fold)(record)


def _beside(record: Record, found: Prediction) -> NDArray[np.uint8]:
    left = _small(np.repeat(window_picture(found.pixels)[:, :, np.newaxis], 3, axis=2))
    right = render_overlay(found.pixels, found.explanation, OverlayKind.EVIDENCE)
    # Outlines are drawn at the page's size; shrunk with the slice they would fade.
    scale = left.shape[0] / found.height
    _trace(left, found.explanation.outline, scale, OUTLINE_COLOR)
    if record.mask is not None and record.label is not TumorClass.NO_TUMOR:
        inside = read_outline(record.mask, (found.height, found.width))
        edges, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        _trace(left, edges, scale, _WHITE)
    return np.hstack([left, _small(right)])


def _trace(
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
    true, said = (INFO[TumorClass(error[key])].title for key in ("true", "said"))
    decision = _DECISIONS.get(error["decision"], "")
    return (
        f"{error['file']} ({error['source'] or 'no source named'}): truth "
        f"{true.lower()}, most probable {said.lower()} with {error['sure']:.2f}, the "
        f"truth with {error['true_probability']:.2f}.{decision}"
    )


_DECISIONS = {
    str(Verdict.INCONCLUSIVE): " Left inconclusive.",
    str(Verdict.NOT_BRAIN_MRI): " Refused as no brain MRI.",
    str(TumorClass.NO_TUMOR): " Called free of tumour.",
}


def section(
    errors: Sequence[Mapping[str, Any]], pictures: Sequence[Picture] = ()
) -> Section:
    """Show the errors.

    Parameters
    ----------
    errors
        From `worst_errors`.
    pictures
        Of them; without, only their captions are listed.
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
