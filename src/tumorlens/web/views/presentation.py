"""Presentation of an analysis or a series: rows of lists, sentences, a curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from flask import url_for

from tumorlens.imaging.study import MRSequence, PictureView
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import ALL_SEQUENCES
from tumorlens.inference.slice.decision import Decision
from tumorlens.report import words
from tumorlens.report.feedback import Feedback, findings_of
from tumorlens.report.page_parts import LESION_GROUPS, OPERATING_GROUPS
from tumorlens.report.series import lesion_from_json
from tumorlens.report.slice.document import (
    answers_from_json,
    classes_of,
    csv_cells,
    csv_columns,
    spreadsheet_text,
)
from tumorlens.report.slice.overlay import color_scale
from tumorlens.taxonomy import (
    Answer,
    ClassName,
    Finding,
    Lesion,
    Verdict,
    decision_title,
    info_of,
)
from tumorlens.web.app_state import app_state
from tumorlens.web.uploads.upload import State, Upload

STATES = {
    State.WAITING: "Waiting for its turn",
    State.READING: "Reading the files",
    State.JUDGING: "Judging every slice",
    State.DONE: "Done",
    State.FAILED: "Could not be judged",
    State.STOPPED: "Stopped",
}

WINDOWS = {
    "stored": "Stored",
    "auto": "Auto",
    "tissue": "Tissue",
    "bright": "Bright",
    "range": "Full",
}
"""Titles of the viewer's windows, by their names in a series' geometry."""

LOOKS = (
    ("Front", 0, 10),
    ("Left", -90, 10),
    ("Back", 180, 10),
    ("Right", 90, 10),
    ("Above", 0, 90),
)
"""From where the 3-D view shows a head: title, and degrees of turn and tilt."""

VOLUME_SLIDERS = (
    ("turn", "Turn", -180, 180, 5, 40),
    ("tilt", "Tilt", -90, 90, 5, 20),
    ("cut", "Near side", 0, 100, 5, 0),
    ("least", "Evidence from", 5, 95, 5, 50),
)
"""Sliders of the 3-D view: name, title, ends, step and first value."""

CURVE_WIDTH, CURVE_HEIGHT = 1000.0, 100.0
"""Units of the curve's drawing: the whole series across, 0 to 1 from bottom to top."""


def analysis_row(analysis: Upload) -> dict[str, Any]:
    """Gather what a list shows of an analysis.

    Returns
    -------
    dict
        Plain JSON values. `share` is the probability of any tumour, 0 to 1, and
        `p_tumor` the same in words; None where there is none.
    """
    document = analysis.document
    refused = document["decision"] == Verdict.NOT_BRAIN_MRI
    share = None if refused else document["p_tumor"]
    return {
        "id": analysis.id,
        "name": document["file"],
        "slice": document["slice"],
        "decision": shade_of(document),
        "title": headline(document),
        "answer": decision_title(document["decision"]),
        "p_tumor": None if share is None else words.percent(share),
        "share": share,
        "series": 0,
        "notes": _pin_note(analysis),
        "pinned": analysis.is_pinned,
        "made": analysis.made,
        "url": url_for("slices.show", analysis_id=analysis.id),
        "picture": url_for("slices.picture", analysis_id=analysis.id),
        "delete": url_for("slices.delete", analysis_id=analysis.id),
    }


def _pin_note(upload: Upload) -> list[str]:
    return ["pinned"] if upload.is_pinned else []


def shade_of(document: Mapping[str, Any]) -> str:
    """Name the colour of an answer; that of a user's own class is its finding's."""
    key = "finding" if "tumor_classes" in document else "decision"
    shade: str = document[key]
    return shade


def upload_row(upload: Upload) -> dict[str, Any]:
    """Gather what a list shows of an upload: its first series, or its state.

    Returns
    -------
    dict
        The same as for `analysis_row`.
    """
    row = {
        "id": upload.id,
        "name": upload.document["label"],
        "slice": 0,
        "decision": None,
        "title": STATES[upload.state],
        "answer": STATES[upload.state],
        "p_tumor": None,
        "share": None,
        "series": len(upload.series),
        "notes": _pin_note(upload),
        "pinned": upload.is_pinned,
        "made": upload.made,
        "url": url_for("series.show", scan_id=upload.id),
        "picture": None,
        "delete": url_for("series.delete", scan_id=upload.id),
    }
    first = main_series(upload)
    if first is None:
        if upload.state is State.DONE:
            count = len(upload.document["analyses"])
            row["title"] = words.counted(count, "single picture")
        return row
    row["picture"] = url_for(
        "series.thumbnail", scan_id=upload.id, index=first["index"]
    )
    if len(upload.series) > 1:
        row["notes"].append(words.counted(len(upload.series), "series", "series"))
    finding = first["finding"]
    if finding is not None:
        row["decision"] = shade_of(finding)
        row["title"] = headline(finding)
        row["answer"] = decision_title(finding["decision"])
        # Documents of version 0.1 have a number for what was refused, too.
        if finding["p_tumor"] is not None and row["decision"] != Verdict.NOT_BRAIN_MRI:
            row["share"] = finding["p_tumor"]
            row["p_tumor"] = words.percent(finding["p_tumor"])
    return row


def session_rows(
    pictures: Sequence[Upload], scans: Sequence[Upload], copies: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Gather the rows of all results of a session, the newest first.

    Names that occur more than once are numbered in the order in which they came.

    Parameters
    ----------
    pictures, scans
        All uploads of the session.
    copies
        Ids of older equal pictures, as `Store.copies` gives them.
    """
    rows = [*map(analysis_row, pictures), *map(upload_row, scans)]
    rows.sort(key=lambda row: row["made"])
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    for row in rows:
        name = row["name"]
        if row["slice"]:
            name = f"{name}, slice {row['slice'] + 1}"
        seen[name] += 1
        row["name"] = name if seen[name] == 1 else f"{name} ({seen[name]})"
        names[row["id"]] = row["name"]
        if copies.get(row["id"]) in names:
            row["notes"] = [*row["notes"], f"same as {names[copies[row['id']]]}"]
    return rows[::-1]


def result_columns(classes: Sequence[ClassName]) -> tuple[str, ...]:
    """Name the columns of the table of all results, of a bundle's classes.

    They are those of a slice, and which result it is.
    """
    return ("name", "kind", "series", *csv_columns(classes), "read_at")


def result_cells(
    pictures: Sequence[Upload], scans: Sequence[Upload], classes: Sequence[ClassName]
) -> Iterator[dict[str, str]]:
    """Give the rows of the table of all results.

    Parameters
    ----------
    pictures, scans
        Uploads, the oldest first; a series that is not judged yet is left out.
    classes
        The bundle's. What an earlier bundle of other classes gave has its place in
        the table, and no probabilities of theirs.
    """
    rows = {row["id"]: row for row in session_rows(pictures, scans, {})}
    for picture in pictures:
        row = csv_cells(picture.document, classes)
        cells = dict(zip(csv_columns(classes), row, strict=True))
        yield {
            "name": spreadsheet_text(rows[picture.id]["name"]),
            "kind": "slice",
            **cells,
            "read_at": picture.date.isoformat(timespec="seconds"),
        }
    for scan in scans:
        for facts in scan.series:
            if facts["finding"] is None:
                continue
            yield {
                "name": spreadsheet_text(rows[scan.id]["name"]),
                "kind": "series",
                "series": str(facts["index"] + 1),
                **_series_cells(facts["finding"]),
                "read_at": scan.date.isoformat(timespec="seconds"),
            }


def _series_cells(document: dict[str, Any]) -> dict[str, str]:
    """Write a series' finding in the columns that a slice's has, too."""
    finding, kinds = answers_from_json(document)
    known = ("file", "status", "decision", "sequence")
    cells = {key: document[key] or "" for key in known}
    cells |= {
        "finding": finding.value,
        "kinds": " ".join(kinds),
        "notes": " ".join(document["notes"]),
    }
    # Documents of version 0.1 have numbers for what was refused, too.
    if finding is Answer.NOT_BRAIN_MRI or not document["probabilities"]:
        return cells
    shares = {f"p_{name}": value for name, value in document["probabilities"].items()}
    shares["p_tumor"] = document["p_tumor"]
    cells |= {key: f"{value:.6f}" for key, value in shares.items()}
    return {**cells, "predicted": document["predicted"]}


@dataclass(frozen=True)
class MeasuredRate:
    """What an operating point finds or costs, where it was measured.

    Parameters
    ----------
    where
        The patients or slices, in a few words.
    sentence
        The shares, in words.
    """

    where: str
    sentence: str


def measured_rates(bundle: Bundle, point: str) -> list[MeasuredRate]:
    """List what is known of an operating point, the hardest comparison first.

    Slices with and without a tumour that come from the same scanners cannot be told
    apart by their scanner; over all sets they can.

    Parameters
    ----------
    bundle, point
        The model, and the name of one of its operating points.
    """
    facts = bundle.operating_points[point]
    shares = facts.measured.get(ALL_SEQUENCES, {})
    if shares:
        return [
            MeasuredRate(
                title,
                f"{words.percent(shares[key].value)} "
                + ("found" if key in LESION_GROUPS else "called free of tumour"),
            )
            for title, key in OPERATING_GROUPS
            if key in shares
        ]
    rates = []
    figures = bundle.metrics.get("cross_validation", {})
    same = figures.get("source_kinds", {}).get("both")
    if same and figures.get("model", {}).get("operating_point") == point:
        shares_of_both = (same["tumor_sensitivity"], same["tumor_specificity"])
        finds, clears = (share["value"] for share in shares_of_both)
        rates.append(MeasuredRate("Same scanners", _both(finds, clears)))
    if facts.sensitivity is None or facts.specificity is None:
        return [*rates, MeasuredRate("Not measured", words.UNMEASURED)]
    pooled = _both(facts.sensitivity.value, facts.specificity.value)
    return [*rates, MeasuredRate("All sets", pooled)]


def _both(sensitivity: float, specificity: float) -> str:
    return (
        f"finds {words.percent(sensitivity)} of tumour slices, calls "
        f"{words.percent(specificity)} of the others free of tumour"
    )


GlanceRow = tuple[str, float, str | None]
"""Title, probability and colour of a bar."""


def glance_rows(decision: Decision) -> list[GlanceRow]:
    """Choose the bars that say how sure a slice's answer is.

    Returns
    -------
    list of tuple
        Any tumour, and the kinds that are not ruled out. Empty for a refused picture.
    """
    if decision.p_tumor is None:
        return []
    other = decision.other_lesions.get(Lesion.OTHER, 0.0)
    # In the four-class view the three kinds share what another kind has.
    share = 1.0 - other / max(decision.p_tumor, 1e-12)
    shares: dict[Finding, float] = {
        name: share * value for name, value in decision.raw_probabilities.items()
    }
    for name, value in decision.other_lesions.items():
        shares[name] = value
    return _glance(decision.p_tumor, decision.kinds, shares)


def series_glance_rows(document: dict[str, Any]) -> list[GlanceRow]:
    """Choose the bars that say how sure a series' answer is, as `glance_rows` does."""
    finding, kinds = answers_from_json(document)
    probabilities = document["probabilities"]
    if finding is Answer.NOT_BRAIN_MRI or not probabilities:
        return []
    shares: dict[Finding, float] = {
        name: probabilities[name] for name in classes_of(document)
    }
    return _glance(document["p_tumor"], kinds, shares)


def _glance(
    p_tumor: float, kinds: Sequence[Finding], shares: Mapping[Finding, float]
) -> list[GlanceRow]:
    rows: list[GlanceRow] = [("Any tumour", p_tumor, None)]
    for name in kinds:
        if name in shares:
            info = info_of(name)
            rows.append((info.title, shares[name], info.color))
    return rows


@dataclass(frozen=True)
class JudgedPart:
    """Part of a picture that was judged, where it shows more than the slice.

    Parameters
    ----------
    corners
        Its corners in the picture, as ``x,y x,y``.
    width, height
        Its size in pixels, once it is straight.
    said
        Full sentences: how it was found, and what was done to it.
    """

    corners: str
    width: int
    height: int
    said: str


def judged_part(view: PictureView | None, is_framed: bool) -> JudgedPart | None:
    """Describe what of a picture was judged; None for all of it.

    Parameters
    ----------
    view
        Part of the picture.
    is_framed
        Whether its user drew it.
    """
    if view is None:
        return None
    texts = ["You drew this frame." if is_framed else "It was found by itself."]
    if not view.is_box:
        texts.append("It was straightened.")
    if view.inverted:
        texts.append("Its greys were turned round.")
    corners = " ".join(f"{x:g},{y:g}" for x, y in view.corners)
    return JudgedPart(corners, view.shape[1], view.shape[0], " ".join(texts))


@dataclass(frozen=True)
class FeedbackCard:
    """What a page shows of a reader's mark.

    Parameters
    ----------
    mark
        What was said; None for nothing so far.
    findings
        Values and titles of what a picture can show; empty for one that was refused,
        beside which no class is named.
    days
        Days for which a marked result is kept.
    kept_until
        When it is removed, in UTC; None where it is removed as all others.
    """

    mark: Feedback | None
    findings: tuple[tuple[str, str], ...]
    days: int
    kept_until: datetime | None

    @property
    def title(self) -> str:
        """What the reader says that it shows; empty where nothing."""
        if self.mark is None or self.mark.finding is None:
            return ""
        return info_of(self.mark.finding).title


def feedback_card(
    upload: Upload,
    mark: Mapping[str, Any] | None,
    classes: Sequence[ClassName],
    *,
    refused: bool = False,
) -> FeedbackCard:
    """Gather what a page shows of a reader's mark.

    Parameters
    ----------
    upload
        A picture, or the scan that has the series.
    mark
        What was said, as it is kept; None for nothing so far.
    classes
        Classes in which it can be marked.
    refused
        Whether the model did not judge it.
    """
    until = upload.kept_until
    findings = () if refused else findings_of(classes)
    return FeedbackCard(
        None if mark is None else Feedback.read(mark),
        tuple((name.value, info_of(name).title) for name in findings),
        app_state().settings.feedback_days,
        None if until is None else datetime.fromtimestamp(until, UTC),
    )


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


def series_choice(upload: Upload, facts: dict[str, Any]) -> str:
    """Name a series among all of a session."""
    label = upload.document["label"]
    number = f", series {facts['index'] + 1}" if len(upload.series) > 1 else ""
    return f"{series_title(facts)}: {label}{number}"


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
