"""Several reports make one PDF: a list with pages, bookmarks, and the reports."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from pypdf import PdfReader
from reportlab.pdfgen.canvas import Canvas

from tumorlens import load_classifier
from tumorlens.report.collection import Report, render_collection


def pdf(*pages: str) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for text in pages:
        canvas.drawString(100, 700, text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_the_list_names_the_page_on_which_each_report_begins(
    tiny_bundle: Path,
) -> None:
    bundle = load_classifier(tiny_bundle, threads=1).bundle
    reports = [
        Report(f"picture {n}.png", "Glioma", "99.0 %", pdf(f"one {n}", f"two {n}"))
        for n in range(70)
    ]
    data = render_collection(reports, bundle, datetime(2026, 1, 2, tzinfo=UTC))
    reader = PdfReader(io.BytesIO(data))
    pages = [page.extract_text() for page in reader.pages]
    first = next(n for n, text in enumerate(pages) if text.startswith("one 0"))
    assert first > 1, "a long list takes more than one page"
    assert len(pages) == first + 140
    assert "70 results" in pages[0]
    listed = " ".join(" ".join(pages[:first]).split())
    assert f"{first + 1} picture 0.png Glioma 99.0 %" in listed
    assert f"{first + 139} picture 69.png" in listed
    assert pages[first + 138].startswith("one 69")
    titles = [item["/Title"] for item in reader.outline]
    assert titles == ["List", *(f"picture {n}.png" for n in range(70))]


def test_a_name_in_any_script_is_listed(tiny_bundle: Path) -> None:
    bundle = load_classifier(tiny_bundle, threads=1).bundle
    reports = [Report("脳 <b>é</b>.png", "No tumour", "", pdf("x"))]
    data = render_collection(reports, bundle, datetime(2026, 1, 2, tzinfo=UTC))
    reader = PdfReader(io.BytesIO(data))
    assert "1 result" in reader.pages[0].extract_text()
    assert "<b>é</b>.png" in reader.pages[0].extract_text()
