"""The prediction for a study as a PDF: the finding first, then each series."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, KeepTogether, Spacer, Table

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.study.results import StudyPrediction
from tumorlens.report.series.pdf import (
    WIDTH,
    listed,
    render_pages,
    series_entry,
    series_section,
    short_name,
)
from tumorlens.report.slice.overlay import encode_png, window_picture
from tumorlens.report.slice.pdf import HEADING, RULED, SMALL, paragraph
from tumorlens.report.study.document import (
    counted_sentence,
    file_names,
    place_sentence,
    sequence_name,
    series_answer,
)

TITLE = "TumorLens study report"

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

    return render_pages(story, TITLE, bundle, made)


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
