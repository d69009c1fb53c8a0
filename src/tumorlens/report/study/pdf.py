"""The prediction for a study as a PDF: the finding first, then each series."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Protocol

import numpy as np
from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Image,
    KeepTogether,
    PageBreak,
    SimpleDocTemplate,
    Spacer,
    Table,
)

from tumorlens.imaging.formats import display_name
from tumorlens.imaging.geometry import slice_gap
from tumorlens.imaging.study import Series, patient_numbers
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Failure
from tumorlens.inference.study.results import StudyPrediction
from tumorlens.report import words
from tumorlens.report.series import KeyPicture, key_pictures
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import (
    OUTLINE_COLOR,
    color_scale,
    encode_png,
    window_picture,
)
from tumorlens.report.slice.pdf import (
    BODY,
    CAUTION,
    CAUTION_FILL,
    CURVE,
    HEADING,
    HEADLINE,
    INK,
    LINE,
    QUIET,
    RULED,
    SHADE,
    SMALL,
    TITLE,
    WARNING,
    paragraph,
    plain,
    probability_rows,
)
from tumorlens.report.study.document import (
    counted_sentence,
    file_names,
    place_sentence,
    sequence_name,
    series_answer,
)

WIDTH = 178 * mm
"""Width of all that stands on a page, in points."""

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
    "Dots: key slices. A gap: slices without brain, or refused. The series’ own "
    "probability stands above, and is not that of any one slice."
)

_SIDE = (A4[0] - WIDTH) / 2
_TOP = A4[1] - 14 * mm
_FOOT = 15 * mm
_PADDING = 6
"""Points that the document's frame leaves free on each side by itself."""

NOTICE = "RESEARCH USE ONLY – NOT FOR CLINICAL USE"

_PLOT_LEFT, _PLOT_BOTTOM, _PLOT_TOP, _PLOT_RIGHT = 30.0, 26.0, 12.0, 6.0
"""Room for the labels around the plot, in points."""
_PLOT_FONT, _PLOT_FONT_SIZE = "Helvetica", 7.5
_TICK_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)
_MOST_TICKS = 11

_OUTLINE_COLOR = HexColor("#{:02x}{:02x}{:02x}".format(*OUTLINE_COLOR))
_LETTER = 8.0
"""Size of the letters, in points."""
_FILL, _RIM = 0, 1
"""How text is drawn (PDF's text rendering modes)."""


def render_series_pdf(
    entries: Sequence[SeriesEntry],
    bundle: Bundle,
    made: datetime,
    notes: Sequence[str] = (),
    failures: Sequence[Failure] = (),
) -> bytes:
    """Write a study's findings as A4 pages, each series from a new page on.

    Parameters
    ----------
    entries
        One for each series that was judged.
    bundle
        The model, for its operating points.
    made
        When the study was judged, with its time zone; stands on each page.
    notes
        Full sentences on how the files were read.
    failures
        Files that could not be read.

    Returns
    -------
    bytes
        The file; the same for the same arguments. It holds the files' names,
        and nothing else that could name the patient.
    """
    return render_pages(
        lambda: _story(entries, bundle, notes, failures),
        "TumorLens series report",
        bundle,
        made,
    )


class NamedModel(Protocol):
    """Whatever says which model it is, as a bundle does."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def version(self) -> str:
        """Version of the model."""


def render_pages(
    story: Callable[[], list[Flowable]], title: str, bundle: NamedModel, made: datetime
) -> bytes:
    """Set A4 pages with head and foot.

    Parameters
    ----------
    story
        Gives what stands on the pages, anew each time.
    title
        Stands on each page.
    bundle, made
        See `render_series_pdf`.

    Returns
    -------
    bytes
        The file; the same for the same arguments.
    """
    # The number of pages stands on each page, and is known after a first pass.
    pages = 0
    for _ in range(2):
        buffer = io.BytesIO()
        document = SimpleDocTemplate(
            buffer,
            pagesize=A4,
            leftMargin=_SIDE - _PADDING,
            rightMargin=_SIDE - _PADDING,
            topMargin=A4[1] - _TOP + 13 * mm,
            bottomMargin=_FOOT + 6 * mm,
            title=title,
            author="TumorLens",
            subject=RESEARCH_USE,
            lang="en-GB",
            invariant=1,
        )
        frame = _page_frame(title, bundle, made, pages)
        document.build(story(), onFirstPage=frame, onLaterPages=frame)
        pages = document.page
    return buffer.getvalue()


def _page_frame(
    title: str, bundle: NamedModel, made: datetime, pages: int
) -> Callable[[Canvas, object], None]:
    """Draw the head and foot of each page."""
    date = made.strftime("%Y-%m-%d %H:%M %Z").strip()
    model = plain(f"Model {bundle.name}, version {bundle.version}")[:100]
    right = A4[0] - _SIDE

    def draw(canvas: Canvas, _: object) -> None:
        def put(text: str, y: float, size: float, end: bool = False) -> None:
            canvas.setFontSize(size)
            (canvas.drawRightString if end else canvas.drawString)(
                right if end else _SIDE, y, text
            )

        canvas.saveState()
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica-Bold", 12)
        put(title, _TOP - 9, 12)
        canvas.setFillColor(WARNING)
        put(NOTICE, _TOP - 22, 8.5)
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(QUIET)
        put(date, _TOP - 9, 8, end=True)
        put(RESEARCH_USE, _FOOT, 7)
        put(model, _FOOT - 9, 7)
        put(f"Page {canvas.getPageNumber()} of {pages}", _FOOT - 9, 7, end=True)
        canvas.setStrokeColor(LINE)
        for y in (_TOP - 28, _FOOT + 4 * mm):
            canvas.line(_SIDE, y, right, y)
        canvas.restoreState()

    return draw


def _story(
    entries: Sequence[SeriesEntry],
    bundle: Bundle,
    notes: Sequence[str],
    failures: Sequence[Failure],
) -> list[Flowable]:
    alone = len(entries) == 1 and not failures and not notes
    if alone:
        return series_section(entries[0], bundle, "Series")
    story = _summary(entries, notes, failures)
    for number, entry in enumerate(entries, 1):
        label = f"Series {number} of {len(entries)}"
        story += [PageBreak(), *series_section(entry, bundle, label)]
    return story


def _summary(
    entries: Sequence[SeriesEntry], notes: Sequence[str], failures: Sequence[Failure]
) -> list[Flowable]:
    heads = ["", "Series", "Sequence", "Plane", "Slices", "Finding", "Any tumour"]
    widths = [7, 57, 26, 20, 13, 35, 20]
    patients = [entry.patient for entry in entries]
    numbers = patient_numbers(patients)
    if any(numbers):
        heads.insert(1, "Patient")
        widths[1:2] = [16, 41]
    rows = [[paragraph(head, SMALL) for head in heads]]
    for number, (entry, patient) in enumerate(zip(entries, numbers, strict=True), 1):
        finding = entry.finding
        cells = [
            str(number),
            short_name(finding.source),
            finding.sequence or "not stated",
            finding.plane or "not stated",
            str(finding.slices),
            words.series_headline(finding),
            words.tumor_percent(finding.p_tumor),
        ]
        if any(numbers):
            cells.insert(1, "not stated" if patient is None else str(patient))
        rows.append([paragraph(cell) for cell in cells])
    # Files that do not name their patient may be anybody's.
    is_of_one = len(set(patients)) == 1 and patients[0] != ""
    unread = [
        f"{short_name(item.source)}: {item.message} {item.hint}".strip()
        for item in failures
    ]
    count = f"Series judged: {len(entries)}. Inputs not read: {len(unread)}."
    return [
        paragraph("Study" if is_of_one else "Series", HEADLINE),
        paragraph(count),
        Spacer(1, 4 * mm),
        Table(
            rows,
            colWidths=[width * mm for width in widths],
            style=RULED,
            repeatRows=1,
            hAlign="LEFT",
        ),
        *listed("Not read", unread),
        *listed("How the files were read", notes),
    ]


def listed(
    title: str, texts: Sequence[str], style: ParagraphStyle = BODY
) -> list[Flowable]:
    """Set sentences, each once, under a heading; nothing where there are none."""
    if not texts:
        return []
    lines = (paragraph(text, style) for text in dict.fromkeys(texts))
    return [Spacer(1, 4 * mm), paragraph(title, HEADING), *lines]


@dataclass(frozen=True)
class SeriesEntry:
    """What is reported of one series, without its volumes.

    Parameters
    ----------
    finding
        Prediction without its evidence.
    pictures
        Pictures of the key slices.
    matrix
        Rows and columns of the first slice.
    spacing_mm
        Distances of rows and of columns; None where not known.
    gap_mm
        Distance of slices; None where not known.
    patient
        Patient, as `Series.patient` has it: tells patients apart, and is never shown.
    """

    finding: SeriesPrediction
    pictures: tuple[KeyPicture, ...]
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    gap_mm: float | None
    patient: str = field(default="", repr=False)


def series_entry(finding: SeriesPrediction, series: Series) -> SeriesEntry:
    """Keep of a series what its report needs, so that the volumes can go.

    Parameters
    ----------
    finding
        Prediction of `predict_by_slices`.
    series
        Series that it was made from.
    """
    first = series.slices[0]
    return SeriesEntry(
        replace(finding, evidence=None, seen=None),
        key_pictures(finding, series),
        (first.height, first.width),
        first.spacing_mm,
        slice_gap(series.slices),
        series.patient,
    )


def series_section(
    entry: SeriesEntry,
    bundle: Bundle,
    label: str,
    title: str = "",
    inserted: Sequence[Flowable] = (),
) -> list[Flowable]:
    """Set one series.

    Parameters
    ----------
    entry
        Entry that `series_entry` has made.
    bundle
        The model, for its operating points.
    label
        Stands above the title.
    title
        Title; by default the file's name.
    inserted
        Stands between the caveats and the facts.
    """
    return [
        paragraph(label, SMALL),
        paragraph(title or short_name(entry.finding.source), TITLE),
        Spacer(1, 3 * mm),
        _result(entry.finding),
        *_caveats(entry.finding),
        *inserted,
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


def _result(finding: SeriesPrediction) -> Table:
    tumor = words.tumor_percent(finding.p_tumor)
    sentence = words.series_sentence(finding.finding, finding.kinds, finding.not_judged)
    said = [
        paragraph(words.series_headline(finding), HEADLINE),
        paragraph(sentence),
        paragraph(
            f"Probability of any tumour: {tumor}. "
            f"Operating point: {finding.operating_point}. "
            f"Computed in {finding.model_precision}."
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


def _caveats(finding: SeriesPrediction) -> list[Flowable]:
    texts = [finding.sequence_caveat, *finding.reasons]
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


def _facts(entry: SeriesEntry) -> Table:
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
            ("Slices", words.slices_sentence(*counts)),
            (
                "Lesion",
                finding.not_judged or words.lesion_sentence(finding.lesion),
            ),
        )
    ]
    name_width = 24 * mm
    return Table(
        [cells[:6], cells[6:], *wide],
        colWidths=[name_width, _COLUMN - name_width] * 3,
        style=[*RULED, ("SPAN", (1, 2), (-1, 2)), ("SPAN", (1, 3), (-1, 3))],
    )


def _along(finding: SeriesPrediction) -> list[Flowable]:
    if all(share is None for share in finding.slice_p_tumor):
        return []
    curve = [
        paragraph("Along the slices", HEADING),
        slice_curve(finding, WIDTH, 58 * mm),
        paragraph(_CURVE, SMALL),
    ]
    return [Spacer(1, 4 * mm), KeepTogether(curve)]


def _key_slices(entry: SeriesEntry, label: str) -> list[Flowable]:
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
    """Write the probability of a slice; a model of volumes gives slices none."""
    if picture.p_tumor is None:
        return "No probability of its own"
    return f"Tumour {words.percent(picture.p_tumor)}"


def _operating_point(finding: SeriesPrediction, bundle: Bundle) -> list[Flowable]:
    point = bundle.series_points.get(finding.operating_point)
    texts = [f"Judged in {finding.seconds:.1f} s."]
    if point is not None:
        texts.insert(
            0,
            words.operating_point_sentence(finding.operating_point, point, "series"),
        )
    return [paragraph(text, SMALL) for text in texts]


def slice_curve(finding: SeriesPrediction, width: float, height: float) -> Drawing:
    """Draw the curve.

    Parameters
    ----------
    finding
        Prediction for a series; slices without a probability leave a gap.
    width, height
        Size of the whole drawing, in points.

    Returns
    -------
    Drawing
        The curve, with the deciding slices shaded and the key slices marked; slices
        are counted from 1.
    """
    plot = _Plot(width, height, len(finding.slice_p_tumor))
    drawing = Drawing(width, height)
    if finding.run is not None:
        first, last = finding.run
        left, right = plot.x(first - 0.5), plot.x(last - 0.5)
        drawing.add(_filled(left, _PLOT_BOTTOM, right - left, plot.height, SHADE))
    for element in (*plot.frame(), *_curve(plot, finding.slice_p_tumor)):
        drawing.add(element)
    for index in finding.key_slices:
        share = finding.slice_p_tumor[index]
        if share is None:
            continue
        spot = Circle(plot.x(index), plot.y(share), 2.4)
        spot.fillColor, spot.strokeColor = INK, None
        drawing.add(spot)
        drawing.add(_text(plot.x(index), plot.y(share) + 4, str(index + 1), INK))
    return drawing


class _Plot:
    """Turns slices and shares into points of the drawing."""

    def __init__(self, width: float, height: float, count: int) -> None:
        self.width = width - _PLOT_LEFT - _PLOT_RIGHT
        self.height = height - _PLOT_BOTTOM - _PLOT_TOP
        self.count = count

    def x(self, index: float) -> float:
        return _PLOT_LEFT + self.width * (index + 0.5) / self.count

    def y(self, share: float) -> float:
        return _PLOT_BOTTOM + self.height * share

    def frame(self) -> Iterator[Line | String]:
        for percent in (0, 25, 50, 75, 100):
            y = self.y(percent / 100)
            yield Line(
                _PLOT_LEFT,
                y,
                _PLOT_LEFT + self.width,
                y,
                strokeColor=LINE,
                strokeWidth=0.5,
            )
            yield _text(_PLOT_LEFT - 4, y - 2.5, f"{percent} %", QUIET, "end")
        step = next(
            (item for item in _TICK_STEPS if self.count / item <= _MOST_TICKS),
            self.count,
        )
        # The first slice, then round numbers.
        for number in (1, *range(step, self.count + 1, step)):
            if number == 1 or number > 0.4 * step:
                yield _text(self.x(number - 1), _PLOT_BOTTOM - 10, str(number), QUIET)
        middle = _PLOT_LEFT + self.width / 2
        yield _text(middle, 3, "Slice, counted from 1", QUIET)


def _curve(plot: _Plot, shares: Sequence[float | None]) -> Iterator[PolyLine | Circle]:
    for known, group in groupby(enumerate(shares), lambda item: item[1] is not None):
        points = [(plot.x(index), plot.y(share or 0.0)) for index, share in group]
        if not known:
            continue
        if len(points) == 1:
            dot = Circle(*points[0], 1.2)
            dot.fillColor, dot.strokeColor = CURVE, None
            yield dot
        else:
            flat = [value for point in points for value in point]
            yield PolyLine(flat, strokeColor=CURVE, strokeWidth=1.2)


def _filled(x: float, y: float, width: float, height: float, color: object) -> Rect:
    area = Rect(x, y, width, height)
    area.fillColor, area.strokeColor = color, None
    return area


def _text(
    x: float, y: float, text: str, color: object, anchor: str = "middle"
) -> String:
    return String(
        x,
        y,
        text,
        fontName=_PLOT_FONT,
        fontSize=_PLOT_FONT_SIZE,
        fillColor=color,
        textAnchor=anchor,
    )


class _Picture(Flowable):  # type: ignore[misc] # reportlab has no types
    """A slice, as large as fits into a square."""

    def __init__(self, picture: KeyPicture, side: float, overlay: bool) -> None:
        super().__init__()
        rows, columns = picture.grey.shape
        tall = rows * picture.aspect
        scale = side / max(tall, columns)
        self.width, self.height = columns * scale, tall * scale
        self._picture = picture
        self._overlay = overlay

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        shown = self._picture.overlay if self._overlay else None
        png = encode_png(self._picture.grey if shown is None else shown)
        self.canv.drawImage(ImageReader(io.BytesIO(png)), 0, 0, self.width, self.height)
        if shown is not None:
            self._draw_outline()
        self._draw_letters()

    def _draw_outline(self) -> None:
        rows, columns = self._picture.grey.shape
        wide, tall = self.width / columns, self.height / rows
        self.canv.setStrokeColor(_OUTLINE_COLOR)
        self.canv.setLineWidth(0.9)
        for polygon in self._picture.outline:
            path = self.canv.beginPath()
            # A pixel's centre is half a pixel from its edge; PDF counts upwards.
            points = [
                ((x + 0.5) * wide, self.height - (y + 0.5) * tall)
                for x, y in polygon.tolist()
            ]
            path.moveTo(*points[0])
            for point in points[1:]:
                path.lineTo(*point)
            path.close()
            self.canv.drawPath(path)

    def _draw_letters(self) -> None:
        if self._picture.edges is None:
            return
        left, right, upper, lower = self._picture.edges
        middle = (self.height - 0.7 * _LETTER) / 2
        self.canv.setFont("Helvetica-Bold", _LETTER)
        self.canv.setFillColor(white)
        self.canv.setStrokeColor(black)
        self.canv.setLineWidth(2)
        spots = (
            (8, middle, left),
            (self.width - 8, middle, right),
            (self.width / 2, self.height - _LETTER - 1, upper),
            (self.width / 2, 3, lower),
        )
        # A dark rim first: the letters have to be seen on bright bone too.
        for mode in (_RIM, _FILL):
            for x, y, letter in spots:
                self.canv.drawCentredString(x, y, letter, mode=mode)


def picture_flowable(picture: KeyPicture, side: float, overlay: bool) -> Flowable:
    """Set a key slice.

    Parameters
    ----------
    picture
        The slice.
    side
        Side of the square that it has to fit in, in points.
    overlay
        Whether its evidence and outline are drawn over it.
    """
    return _Picture(picture, side, overlay)


def color_scale_strip() -> Flowable:
    """Explain the colours of the evidence."""
    strip = np.repeat(color_scale()[np.newaxis], 8, axis=0)
    image = Image(io.BytesIO(encode_png(strip)), 40 * mm, 2.4 * mm)
    return Table(
        [[paragraph("Evidence: none", SMALL), image, paragraph("certain", SMALL)]],
        colWidths=[24 * mm, 43 * mm, 20 * mm],
        hAlign="LEFT",
        style=[
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ],
    )


_DOCUMENT_TITLE = "TumorLens study report"

_HEADS = ("Sequence", "File", "By itself", "In this finding")
_WIDTHS = (27, 55, 42, 54)
_MOST_IN_A_ROW = 4


def render_study_pdf(
    prediction: StudyPrediction,
    bundle: Bundle,
    made: datetime,
    notes: Sequence[str] = (),
) -> bytes:
    """Write the finding for a study as A4 pages.

    Parameters
    ----------
    prediction
        Prediction for one study.
    bundle
        The model, for its operating points.
    made
        When the study was judged, with its time zone; stands on each page.
    notes
        Full sentences on how the files were read.

    Returns
    -------
    bytes
        The file; the same for the same arguments. It holds the files' names, and
        nothing else that could name the patient.
    """
    entry = series_entry(prediction.combined, prediction.grid_series)
    label = f"Study of {len(prediction.series)} series"

    def story() -> list[Flowable]:
        inserted = [
            *_series(prediction),
            *_pictures(prediction),
            *listed("How the files were read", notes, SMALL),
            Spacer(1, 3 * mm),
            paragraph(
                f"Slices, box and matrix are those of "
                f"{short_name(prediction.combined.source)}, on whose grid all were "
                "laid.",
                SMALL,
            ),
        ]
        return series_section(entry, bundle, label, "All series together", inserted)

    return render_pages(story, _DOCUMENT_TITLE, bundle, made)


def _series(prediction: StudyPrediction) -> list[Flowable]:
    rows = [[paragraph(head, SMALL) for head in _HEADS]]
    for item, name in zip(prediction.series, file_names(prediction), strict=True):
        cells = (
            sequence_name(item),
            short_name(name),
            series_answer(item),
            place_sentence(item),
        )
        rows.append([paragraph(cell) for cell in cells])
    table = Table(
        rows,
        colWidths=[width * mm for width in _WIDTHS],
        style=RULED,
        repeatRows=1,
        hAlign="LEFT",
    )
    return [
        Spacer(1, 4 * mm),
        paragraph("What each series adds", HEADING),
        paragraph(counted_sentence(prediction)),
        Spacer(1, 1 * mm),
        table,
    ]


def _pictures(prediction: StudyPrediction) -> list[Flowable]:
    """Set the most suspicious slice side by side in each sequence."""
    shown = list(prediction.pictures.items())[:_MOST_IN_A_ROW]
    if not shown:
        return []
    width = WIDTH / _MOST_IN_A_ROW
    down, across = prediction.grid_series.slices[0].spacing_mm or (1.0, 1.0)
    cells = []
    for sequence, pixels in shown:
        side = width - 3 * mm
        tall = pixels.shape[0] * down / (pixels.shape[1] * across)
        picture = Image(
            io.BytesIO(encode_png(window_picture(pixels))),
            side / max(tall, 1.0),
            side * min(tall, 1.0),
        )
        cells.append([picture, paragraph(sequence.value, SMALL)])
    number = prediction.combined.key_slices[0] + 1
    row = Table(
        [cells],
        colWidths=[width] * len(cells),
        hAlign="LEFT",
        style=[
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ],
    )
    title = paragraph(f"Slice {number} in every sequence that counts", HEADING)
    return [Spacer(1, 4 * mm), KeepTogether([title, row])]
