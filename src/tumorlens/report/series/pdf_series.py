"""One series of a study's PDF: decision, facts, key slices, curve, caveats."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, PageBreak, Spacer, Table

from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.lesion import slice_gap
from tumorlens.inference.series.results import ScanFinding
from tumorlens.inference.slice.sequence import sequence_caveat
from tumorlens.report.series import words as scan_words
from tumorlens.report.series.curve import slice_curve
from tumorlens.report.series.pdf_picture import color_scale_strip, picture_flowable
from tumorlens.report.series.pictures import KeyPicture, key_pictures
from tumorlens.report.slice import words
from tumorlens.report.slice.pdf_parts import (
    CAUTION,
    CAUTION_FILL,
    HEADING,
    HEADLINE,
    RULED,
    SMALL,
    TITLE,
    WARNING,
    paragraph,
    probability_rows,
)
from tumorlens.taxonomy import Verdict, decision_title

WIDTH = 178 * mm
"""Of all that stands on a page, in points."""

_PICTURE = 69 * mm
_COLUMN = WIDTH / 3
_BARS = 84 * mm
_LONGEST_NAME = 100

_HOW_TO_READ = (
    "Left: the key slices, the most suspicious ones, well apart. Right: the same with "
    "the evidence laid over, the model's probability that a spot shows a "
    "tumour{outlined}. Letters name the patient's sides; slices are counted from 1 in "
    "the order of the series."
)
_OUTLINED = ", and the lesion's outline in yellow"
_CURVE = (
    "Probability of a tumour by slice. Shaded: the neighbouring slices that decided. "
    "Dots: key slices. A gap: slices without brain, or refused. The scan's own "
    "probability stands above, and is not that of any one slice."
)


@dataclass(frozen=True)
class ScanEntry:
    """What is reported of one series, without its volumes.

    Parameters
    ----------
    finding
        Its evidence is None.
    pictures
        Of the key slices.
    matrix
        Rows and columns of the first slice.
    spacing_mm
        Between rows and between columns; None where it is not known.
    gap_mm
        Between slices; None where it is not known.
    """

    finding: ScanFinding
    pictures: tuple[KeyPicture, ...]
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    gap_mm: float | None


def scan_entry(finding: ScanFinding, series: Series) -> ScanEntry:
    """Keep of a scan what its report needs, so that the volumes can go.

    Parameters
    ----------
    finding
        From `judge_scan`.
    series
        That it was made from.
    """
    first = series.slices[0]
    return ScanEntry(
        replace(finding, evidence=None),
        key_pictures(finding, series),
        (first.height, first.width),
        first.spacing_mm,
        slice_gap(series.slices),
    )


def series_section(entry: ScanEntry, bundle: Bundle, label: str) -> list[Flowable]:
    """Set one series.

    Parameters
    ----------
    entry
        From `scan_entry`.
    bundle
        The model, for its operating points.
    label
        Stands above the file's name.
    """
    return [
        paragraph(label, SMALL),
        paragraph(short_name(entry.finding.source), TITLE),
        Spacer(1, 3 * mm),
        _result(entry.finding),
        *_caveats(entry.finding),
        Spacer(1, 3 * mm),
        _facts(entry),
        *_along(entry.finding),
        Spacer(1, 4 * mm),
        *_operating_point(entry.finding, bundle),
        *_key_slices(entry, label),
    ]


def short_name(name: str) -> str:
    """Write a file's name in printable letters, a very long one without its middle."""
    shown = display_name(name)
    if len(shown) <= _LONGEST_NAME:
        return shown
    return f"{shown[: _LONGEST_NAME - 40]} … {shown[-37:]}"


def _result(finding: ScanFinding) -> Table:
    tumor = scan_words.tumor_percent(finding.decision, finding.p_tumor)
    said = [
        paragraph(decision_title(finding.decision), HEADLINE),
        paragraph(scan_words.sentence(finding.decision, finding.not_judged)),
        paragraph(
            f"Probability of any tumour: {tumor}. "
            f"Operating point: {finding.operating_point}."
        ),
    ]
    bars: Flowable | str = ""
    if finding.probabilities is not None:
        bars = probability_rows(finding.probabilities, 30 * mm, 32 * mm)
    return Table(
        [[said, bars]],
        colWidths=[WIDTH - _BARS, _BARS],
        style=[
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ],
    )


def _caveats(finding: ScanFinding) -> list[Flowable]:
    texts = [sequence_caveat(finding.sequence), *finding.reasons]
    if finding.decision is Verdict.NOT_BRAIN_MRI and finding.p_tumor is not None:
        texts.append(scan_words.REFUSED_NUMBERS)
    said = [paragraph(text) for text in texts if text]
    if not said:
        return []
    box = Table(
        [[[paragraph("Caveats", CAUTION), *said]]],
        colWidths=[WIDTH],
        style=[
            ("BACKGROUND", (0, 0), (-1, -1), CAUTION_FILL),
            ("LINEBEFORE", (0, 0), (0, -1), 2, WARNING),
        ],
    )
    return [Spacer(1, 2 * mm), box]


def _facts(entry: ScanEntry) -> Table:
    finding, spacing, run = entry.finding, entry.spacing_mm, entry.finding.run
    rows, columns = entry.matrix
    facts = {
        "Plane": finding.plane,
        "Sequence": finding.sequence,
        "Matrix": f"{columns} × {rows} pixels",
        "Pixel": spacing and f"{spacing[1]:.2f} × {spacing[0]:.2f} mm",
        "Slice distance": entry.gap_mm and f"{entry.gap_mm:.2f} mm",
        "Deciding slices": run and f"{run[0] + 1} to {run[1]}",
    }
    cells = [
        cell
        for name, value in facts.items()
        for cell in (paragraph(name, SMALL), paragraph(value or "not known"))
    ]
    counts = (finding.slices, finding.without_brain, finding.refused)
    wide = [
        [paragraph(name, SMALL), paragraph(text), *[""] * 4]
        for name, text in (
            ("Slices", scan_words.slices_sentence(*counts)),
            (
                "Lesion",
                finding.not_judged or scan_words.lesion_sentence(finding.lesion),
            ),
        )
    ]
    name_width = 24 * mm
    return Table(
        [cells[:6], cells[6:], *wide],
        colWidths=[name_width, _COLUMN - name_width] * 3,
        style=[*RULED, ("SPAN", (1, 2), (-1, 2)), ("SPAN", (1, 3), (-1, 3))],
    )


def _along(finding: ScanFinding) -> list[Flowable]:
    if all(share is None for share in finding.slice_p_tumor):
        return []
    curve = [
        paragraph("Along the slices", HEADING),
        slice_curve(finding, WIDTH, 58 * mm),
        paragraph(_CURVE, SMALL),
    ]
    return [Spacer(1, 4 * mm), KeepTogether(curve)]


def _key_slices(entry: ScanEntry, label: str) -> list[Flowable]:
    if not entry.pictures:
        return []
    outlined = any(picture.outline for picture in entry.pictures)
    rows = [
        [
            picture_flowable(item, _PICTURE, overlay=False),
            picture_flowable(item, _PICTURE, overlay=True),
            [
                paragraph(f"Slice {item.index + 1}", HEADING),
                paragraph(_own_probability(item)),
            ],
        ]
        for item in entry.pictures
    ]
    pictures = Table(
        rows,
        colWidths=[_PICTURE + 2 * mm, _PICTURE + 3 * mm, None],
        hAlign="LEFT",
        style=[
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ],
    )
    text = _HOW_TO_READ.format(outlined=_OUTLINED if outlined else "")
    return [
        PageBreak(),
        paragraph(f"{label}: {short_name(entry.finding.source)}", SMALL),
        paragraph("Key slices", HEADING),
        pictures,
        color_scale_strip(),
        paragraph(text, SMALL),
    ]


def _own_probability(picture: KeyPicture) -> str:
    """Write the slice's; a network that sees the whole scan gives slices none."""
    if picture.p_tumor is None:
        return "No probability of its own"
    return f"Tumour {words.percent(picture.p_tumor)}"


def _operating_point(finding: ScanFinding, bundle: Bundle) -> list[Flowable]:
    point = bundle.scan_points.get(finding.operating_point)
    texts = [f"Judged in {finding.seconds:.1f} s."]
    if point is not None:
        texts.insert(
            0,
            words.operating_point_sentence(finding.operating_point, point, "scan"),
        )
    return [paragraph(text, SMALL) for text in texts]
