"""The report on a study says the finding, each series, and hides nothing."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from pypdf import PdfReader

from tests.samples.drawn_study import known_study
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.study.pdf import render_study_pdf

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def text_of(data: bytes) -> str:
    pages = PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_it_says_what_the_study_and_each_series_show(tiny_bundle: Path) -> None:
    data = render_study_pdf(known_study(), load_bundle(tiny_bundle), MADE, ("A note.",))
    text = text_of(data)
    assert "TumorLens study report" in text
    assert "Glioma" in text
    assert "Study of 3 series" in text
    assert "By itself only T1 with contrast shows a tumour there." in text
    assert "Tumour in the slices that decide: 90.0 %." in text
    assert "Does not count. It does not count." in text
    assert "Slice 5 in every sequence that counts" in text
    assert "A note." in text
    assert text.count(RESEARCH_USE[:40]) >= 2
    assert "SECRET" not in text


def test_it_is_the_same_each_time(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    first, second = (render_study_pdf(known_study(), bundle, MADE) for _ in range(2))
    assert first == second
