"""Results as notebooks show them: HTML with a picture and bars; tables for pandas."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import MissingLibraryError
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Failure, Prediction
from tumorlens.report import words
from tumorlens.report.series import series_to_json
from tumorlens.report.slice.document import (
    RESEARCH_USE,
    csv_columns,
    failure_to_json,
    prediction_to_json,
)
from tumorlens.report.slice.overlay import encode_png, render_overlay, window_picture
from tumorlens.taxonomy import CLASSES, ClassName, OwnClass, info_of

_SIDE = 320
"""Longer side of a picture, in pixels."""

_BAR = (
    '<tr><td style="text-align:left">{title}</td><td style="width:12em">'
    '<div style="background:{color};height:.7em;width:{width:.1f}%"></div></td>'
    "<td>{share}</td></tr>"
)


def prediction_html(prediction: Prediction) -> str:
    """Show a slice's answers, its picture with the evidence, and bars.

    Parameters
    ----------
    prediction
        Prediction to show; a refused picture has neither evidence nor bars.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere.
    """
    decision = prediction.decision
    picture = ""
    if prediction.pixels.size:
        drawn = window_picture(prediction.pixels)
        if not decision.is_refused:
            drawn = render_overlay(
                prediction.pixels, prediction.explanation, "evidence"
            )
        text = escape(words.alternative_text(prediction))
        picture = f'<img alt="{text}" src="{_address(drawn)}">'
    return _card(
        prediction.source,
        words.headline(prediction),
        [words.sentence(prediction), *decision.reasons, *prediction.notes],
        picture + _bars(decision.p_tumor, decision.probabilities),
    )


def series_html(finding: SeriesPrediction) -> str:
    """Show a series' answers and bars, as `prediction_html` shows a slice's."""
    sentence = words.series_sentence(finding.finding, finding.kinds, finding.not_judged)
    return _card(
        finding.source,
        words.series_headline(finding),
        [sentence, *finding.reasons],
        _bars(finding.p_tumor, finding.probabilities),
    )


def results_html(results: Iterable[Any]) -> str:
    """Show the answers of several results in a table.

    Parameters
    ----------
    results
        Predictions for slices or series, and failures.
    """
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:left">{escape(cell)}</td>'
            for cell in (
                document["file"],
                document["headline"],
                words.tumor_percent(document.get("p_tumor")),
            )
        )
        + "</tr>"
        for document in map(_document, results)
    )
    heads = "".join(f"<th>{name}</th>" for name in ("File", "Finding", "Any tumour"))
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p><small>{RESEARCH_USE}</small></p>"
    )


def frame_of(results: Sequence[Any]) -> Any:  # noqa: ANN401 - a pandas DataFrame
    """Make a pandas DataFrame of results.

    Parameters
    ----------
    results
        Predictions for slices or series, and failures.

    Returns
    -------
    pandas.DataFrame
        The columns of `tumorlens predict --csv`, one row for each result.

    Raises
    ------
    MissingLibraryError
        Where pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingLibraryError("A table", "pandas") from error
    first = next(filter(None, map(_classes, results)), CLASSES)
    names = csv_columns(first if isinstance(first[0], OwnClass) else CLASSES)
    rows = [dict(_cells(_document(item), names)) for item in results]
    return pandas.DataFrame(rows, columns=list(names))


def _classes(result: Any) -> tuple[ClassName, ...]:  # noqa: ANN401 - of any kind
    """Give the classes that a result speaks of; none for one without numbers."""
    if isinstance(result, Prediction):
        return tuple(result.decision.raw_probabilities)
    if isinstance(result, SeriesPrediction):
        return tuple(result.raw_probabilities or ())
    return ()


def _document(result: Any) -> dict[str, Any]:  # noqa: ANN401 - a result of any kind
    if isinstance(result, Failure):
        return failure_to_json(result)
    if isinstance(result, SeriesPrediction):
        return series_to_json(result)
    return prediction_to_json(result)


def _cells(
    document: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    """Give the values of a row by column; what a result has none of is left out."""
    shares = document.get("probabilities") or {}
    box = document.get("box") or {}
    for name in names:
        share = name.removeprefix("p_")
        # A class may have the name of another column.
        if share != name and share in shares:
            yield name, shares[share]
        elif name.removeprefix("box_") in box:
            yield name, box[name.removeprefix("box_")]
        elif name == "notes":
            yield name, " ".join(document.get("notes", ()))
        elif name in document:
            yield name, document[name]


def _card(name: str, title: str, sentences: Sequence[str], body: str) -> str:
    text = "<br>".join(map(escape, dict.fromkeys(sentences)))
    return (
        f"<div><p><small>{escape(name)}</small></p><h3>{escape(title)}</h3>"
        f"<p>{text}</p>{body}<p><small>{RESEARCH_USE}</small></p></div>"
    )


def _bars(p_tumor: float | None, probabilities: Mapping[Any, float] | None) -> str:
    if p_tumor is None or probabilities is None:
        return ""
    rows = [("Any tumour", p_tumor, "#16242b")]
    infos = [(info_of(name), share) for name, share in probabilities.items()]
    rows += [(info.title, share, info.color) for info, share in infos]
    bars = "".join(
        _BAR.format(
            title=title, color=color, width=100 * share, share=words.percent(share)
        )
        for title, share, color in rows
    )
    return f"<table>{bars}</table>"


def _address(picture: NDArray[np.uint8]) -> str:
    """Write a picture, shrunk where it is large, as the address of its own data."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    return "data:image/png;base64," + b64encode(encode_png(small)).decode()
