"""Presentation of an analysis or a series: rows of lists, sentences, a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flask import url_for

from tumorlens.imaging.study import MRSequence
from tumorlens.report import words
from tumorlens.report.series.document import lesion_from_json
from tumorlens.report.slice.document import answers_from_json
from tumorlens.report.slice.overlay import color_scale
from tumorlens.taxonomy import decision_title
from tumorlens.web.uploads.upload import State, Upload

STATES = {
    State.WAITING: "Waiting for its turn",
    State.READING: "Reading the files",
    State.JUDGING: "Judging every slice",
    State.DONE: "Done",
    State.FAILED: "Could not be judged",
    State.STOPPED: "Stopped",
}

CURVE_WIDTH, CURVE_HEIGHT = 1000.0, 100.0
"""Units of the curve's drawing: the whole series across, 0 to 1 from bottom to top."""


def analysis_row(analysis: Upload) -> dict[str, Any]:
    """Gather what a list shows of an analysis."""
    document = analysis.document
    return {
        "id": analysis.id,
        "name": document["file"],
        "slice": document["slice"],
        "decision": document["decision"],
        "title": headline(document),
        "p_tumor": words.tumor_percent(document["p_tumor"]),
        "url": url_for("slices.show", analysis_id=analysis.id),
        "picture": url_for("slices.picture", analysis_id=analysis.id),
    }


def upload_row(upload: Upload) -> dict[str, Any]:
    """Gather what a list shows of an upload: its first series, or its state."""
    row = {
        "id": upload.id,
        "name": upload.document["label"],
        "series": len(upload.series),
        "url": url_for("series.show", scan_id=upload.id),
        "picture": None,
        "decision": None,
        "p_tumor": None,
        "title": STATES[upload.state],
    }
    first = main_series(upload)
    if first is None:
        if upload.state is State.DONE:
            row["title"] = f"{len(upload.document['analyses'])} single pictures"
        return row
    row["picture"] = url_for(
        "series.thumbnail", scan_id=upload.id, index=first["index"]
    )
    finding = first["finding"]
    if finding is not None:
        row["decision"] = finding["decision"]
        row["title"] = headline(finding)
        if finding["p_tumor"] is not None:
            row["p_tumor"] = words.percent(finding["p_tumor"])
    return row


def headline(document: dict[str, Any]) -> str:
    """Return the headline of a stored document of a slice or a series."""
    # Documents of version 0.1 hold none.
    title: str = document.get("headline") or decision_title(document["decision"])
    return title


def main_series(upload: Upload) -> dict[str, Any] | None:
    """Return the series of an upload that the model knows best; None without any."""
    return min(
        upload.series, key=lambda facts: (facts["rank"], facts["index"]), default=None
    )


def series_title(facts: dict[str, Any]) -> str:
    """Name a series by what it is, never by what the sender calls it."""
    sequence, plane = facts["sequence"], facts["plane"]
    sequence_names = (
        [sequence] if sequence and sequence != MRSequence.OTHER.value else []
    )
    sequence_names += [plane] if plane else []
    title = ", ".join(sequence_names) or "series"
    return title[0].upper() + title[1:]


def sentence(finding: dict[str, Any]) -> str:
    """Say what the decision means for the whole series.

    Parameters
    ----------
    finding
        A document of the schema ``tumorlens-scan/1``, here and below.
    """
    answer, kinds = answers_from_json(finding)
    return words.series_sentence(answer, kinds, finding["not_judged"])


def lesion_sentence(finding: dict[str, Any]) -> str:
    """Say where the most suspicious spot lies, and how large it seems."""
    lesion = finding["lesion"]
    return words.lesion_sentence(None if lesion is None else lesion_from_json(lesion))


def slices_sentence(finding: dict[str, Any]) -> str:
    """Count the slices that were judged, without brain, and refused."""
    return words.slices_sentence(
        finding["slices"], finding["without_brain"], finding["refused"]
    )


def warnings(
    finding: dict[str, Any], notes: Sequence[str], version: str
) -> tuple[str, ...]:
    """Return what a reader must know before the probabilities.

    Parameters
    ----------
    finding
        The finding of one series.
    notes
        Notes on how the files were read.
    version
        The version of the model in use now.
    """
    return words.series_warnings(finding, notes, version)


@dataclass(frozen=True)
class Curve:
    """The probability of tumour along the slices, as shapes for the page.

    Parameters
    ----------
    lines
        Points of each unbroken piece, ``x,y x,y``.
    gaps
        Left edge and width of each run of slices that were not judged.
    run
        Left edge and width of the slices that decided; None where there is none.
    """

    lines: tuple[str, ...]
    gaps: tuple[tuple[float, float], ...]
    run: tuple[float, float] | None


def curve_of(p_tumor: Sequence[float | None], run: Sequence[int] | None) -> Curve:
    """Lay the probabilities out; slice i fills its own share of the width.

    Parameters
    ----------
    p_tumor
        Probability of tumour in each slice, 0 to 1; None where it was not judged.
    run
        First and last-plus-one index of the slices that decided.
    """
    slice_width = CURVE_WIDTH / len(p_tumor)

    def span(start: int, end: int) -> tuple[float, float]:
        return round(start * slice_width, 2), round((end - start) * slice_width, 2)

    lines, gaps = [], []
    for is_judged, group in groupby(
        enumerate(p_tumor), lambda item: item[1] is not None
    ):
        piece = list(group)
        start, end = piece[0][0], piece[-1][0] + 1
        if is_judged:
            lines.append(_line([p or 0.0 for _, p in piece], start, slice_width))
        else:
            gaps.append(span(start, end))
    return Curve(tuple(lines), tuple(gaps), None if run is None else span(*run))


def overlay_colors() -> list[str]:
    """Return every 32nd colour of the evidence's scale, for its legend, as sRGB hex."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in color_scale()[::32].tolist()]


def _line(p_tumor: Sequence[float], start: int, slice_width: float) -> str:
    """Write points in the middle of each slice's share, out to the piece's edges."""
    end = start + len(p_tumor)
    heights = [CURVE_HEIGHT * (1.0 - p) for p in p_tumor]
    middles = [(index + 0.5) * slice_width for index in range(start, end)]
    xs = [start * slice_width, *middles, end * slice_width]
    ys = [heights[0], *heights, heights[-1]]
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(xs, ys, strict=True))
