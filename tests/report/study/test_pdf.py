"""A study's PDF says what matters of each series, whatever it is given."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from tests.samples.drawn_series import (
    MODEL,
    SERIES,
    WHY_NOT,
    known_prediction,
    unjudged_prediction,
    volume_prediction,
)
from tests.samples.drawn_study import known_study
from tumorlens.imaging import study
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report import words
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.study.pdf import (
    NOTICE,
    render_series_pdf,
    render_study_pdf,
    series_entry,
)
from tumorlens.report.words import percent
from tumorlens.taxonomy import Answer, Lesion, TumorClass

MADE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
FAILED = Failure("broken.nii", "damaged_file", "broken.nii is cut off.", "Copy it.")


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def pages_of(
    findings: Sequence[SeriesPrediction],
    bundle: Bundle,
    notes: Sequence[str] = (),
    failures: Sequence[Failure] = (),
    series: study.Series = SERIES,
) -> list[str]:
    """The text of each page."""
    entries = [series_entry(item, series) for item in findings]
    data = render_series_pdf(entries, bundle, MADE, notes, failures)
    pages = PdfReader(io.BytesIO(data)).pages
    texts = [" ".join(page.extract_text().split()) for page in pages]
    for number, text in enumerate(texts, 1):
        assert NOTICE in text
        assert RESEARCH_USE in text
        assert f"Page {number} of {len(texts)}" in text
    return texts


def test_one_series_has_all_that_matters(bundle: Bundle) -> None:
    first, second = pages_of([known_prediction()], bundle)
    for said in (
        "head.nii.gz",
        "2026-03-04 05:06 UTC",
        "Tumour: glioma",
        "Probability of any tumour: 93.8 %",
        "“screening”",
        "a series is called free of tumour only where",
        "One reason.",
        "axial",
        "T1 with contrast",
        "256 × 256 pixels",
        "1.00 × 1.00 mm",
        "5.00 mm",
        "5 to 6",
        "9 slices: 6 judged, 2 without brain, 1 refused",
        "right, middle third",
        "21 × 20 × 15 mm",
        "Model tiny, version 0.0.1",
    ):
        assert said in first
    assert "Slice 5 Tumour 90.0 %" in second
    assert "Slice 7 Tumour 60.0 %" in second


def test_the_threshold_is_the_one_that_scans_are_judged_by(bundle: Bundle) -> None:
    scans = MODEL.operating_points["screening"].threshold
    slices = bundle.operating_points["screening"].threshold
    assert scans != slices
    for made, threshold in (
        (bundle, slices),
        (replace(bundle, series_model=MODEL), scans),
    ):
        text = pages_of([known_prediction()], made)[0]
        assert f"probability of any tumour is under {percent(threshold)}" in text


def test_nothing_names_the_patient(bundle: Bundle) -> None:
    data = render_series_pdf([series_entry(known_prediction(), SERIES)], bundle, MADE)
    assert SERIES.description == "A NAME^SECRET"
    assert b"SECRET" not in data
    assert "SECRET" not in " ".join(pages_of([known_prediction()], bundle))


def test_each_key_slice_is_shown_plain_and_with_its_evidence(bundle: Bundle) -> None:
    data = render_series_pdf([series_entry(known_prediction(), SERIES)], bundle, MADE)
    images = PdfReader(io.BytesIO(data)).pages[1].images
    shapes = [np.asarray(item.image).shape for item in images]
    assert shapes.count((256, 256)) == 2
    assert shapes.count((256, 256, 3)) == 2


def test_the_same_report_is_the_same_file(bundle: Bundle) -> None:
    entries = [series_entry(known_prediction(), SERIES)]
    assert render_series_pdf(entries, bundle, MADE) == render_series_pdf(
        entries, bundle, MADE
    )


def test_an_entry_does_not_keep_the_volumes() -> None:
    entry = series_entry(known_prediction(), SERIES)
    assert entry.finding.evidence is None


def test_several_series_have_a_table_and_pages_of_their_own(bundle: Bundle) -> None:
    other = replace(
        known_prediction(), source="other.dcm", finding=Answer.NO_TUMOR, kinds=()
    )
    texts = pages_of([known_prediction(), other], bundle, ("A note.",), (FAILED,))
    assert len(texts) == 5
    for said in (
        "head.nii.gz",
        "other.dcm",
        "No tumour seen",
        "A note.",
        "is cut off.",
    ):
        assert said in texts[0]
    assert "Series 2 of 2 other.dcm" in texts[3]


@pytest.mark.parametrize(
    ("patients", "title", "numbers"),
    [
        (("A", "A"), "Study", None),
        (("", ""), "Series", None),
        (("A", ""), "Series", None),
        (("SECRET-A", "SECRET-B", "SECRET-A", ""), "Series", ["1", "2", "1", "not"]),
    ],
)
def test_patients_are_told_apart_and_not_named(
    bundle: Bundle, patients: tuple[str, ...], title: str, numbers: list[str] | None
) -> None:
    entries = [
        series_entry(known_prediction(), replace(SERIES, patient=patient))
        for patient in patients
    ]
    data = render_series_pdf(entries, bundle, MADE)
    text = " ".join(PdfReader(io.BytesIO(data)).pages[0].extract_text().split())
    assert f"{title} Series judged: {len(patients)}." in text
    assert "SECRET" not in text
    assert ("Patient" in text) is (numbers is not None)
    rows = re.findall(r"\d (\w+)(?: stated)? head.nii.gz", text)
    assert not numbers or rows == numbers


def test_a_study_of_which_nothing_could_be_read(bundle: Bundle) -> None:
    (text,) = pages_of([], bundle, failures=(FAILED,))
    assert "Series judged: 0. Inputs not read: 1." in text


@pytest.mark.parametrize("answer", list(Answer))
def test_every_finding_makes_a_page(bundle: Bundle, answer: Answer) -> None:
    kinds = {
        Answer.TUMOR: (TumorClass.GLIOMA, TumorClass.MENINGIOMA),
        Answer.LESION: (Lesion.VASCULAR,),
    }.get(answer, ())
    finding = replace(known_prediction(), finding=answer, kinds=kinds)
    text = pages_of([finding], bundle)[0]
    assert words.series_headline(finding) in text
    assert ("Any tumour" in text) == (answer is not Answer.NOT_BRAIN_MRI)


def test_a_scan_of_which_no_slice_was_judged_shows_no_probability(
    bundle: Bundle,
) -> None:
    (text,) = pages_of([unjudged_prediction()], bundle)
    assert "Nothing in this series could be judged" in text
    assert WHY_NOT in text
    assert "Probability of any tumour: not judged" in text
    # Of the numbers with a per cent sign only the operating point's is left.
    assert re.findall(r"[\d.]+ %", text) == ["30.0 %"]
    summary = pages_of([unjudged_prediction()], bundle, failures=[FAILED])[0]
    assert "not judged" in summary
    assert "%" not in summary


def test_a_scan_that_was_seen_as_a_whole_shows_its_probability(
    bundle: Bundle,
) -> None:
    first, keys = pages_of([volume_prediction()], bundle)
    assert "Probability of any tumour: 93.8 %" in first
    assert "Meningioma 12.5 %" in " ".join(first.split())
    assert "Along the slices" not in first
    assert keys.count("No probability of its own") == 2
    assert "%" not in keys


def test_what_the_file_does_not_say_is_not_known(bundle: Bundle) -> None:
    bare = study.Series(
        tuple(
            replace(item, spacing_mm=None, placement=None, plane=None)
            for item in SERIES.slices
        )
    )
    finding = replace(known_prediction(), plane=None, sequence=None, lesion=None)
    text = pages_of([finding], bundle, series=bare)[0]
    assert text.count("not known") == 4
    assert "No spot is outlined." in text


@pytest.mark.parametrize(
    "name",
    ["<b>&amp;.nii", "脳.nii", "a" * 3000, "long name " * 300, "\udce9.nii", "a\nb"],
)
def test_any_name_fits_on_the_pages(bundle: Bundle, name: str) -> None:
    finding = replace(known_prediction(), source=name)
    assert len(pages_of([finding], bundle)) == 2
    failed = replace(FAILED, source=name, message=f"{name} is cut off.")
    assert len(pages_of([finding], bundle, failures=[failed] * 3)) <= 5


def test_a_name_that_cannot_be_printed_is_spelled_out(bundle: Bundle) -> None:
    text = pages_of([replace(known_prediction(), source="\udce9 a\nb.nii")], bundle)[0]
    assert r"\xe9 a\nb.nii" in text


def test_many_reasons_and_series_run_on_to_further_pages(bundle: Bundle) -> None:
    finding = replace(known_prediction(), reasons=("A long reason. " * 30,) * 8)
    assert len(pages_of([finding], bundle)) >= 3
    texts = pages_of([replace(known_prediction(), key_slices=())] * 50, bundle)
    assert len(texts) == 52
    assert "Series 50 of 50" in texts[-1]


@pytest.mark.parametrize("shape", [(16, 400), (400, 16), (1, 1)])
def test_pictures_of_any_shape_fit(bundle: Bundle, shape: tuple[int, int]) -> None:
    blank = np.zeros(shape, np.float32)
    series = study.Series(tuple(replace(x, pixels=blank) for x in SERIES.slices))
    finding = replace(
        known_prediction(), evidence=np.zeros((9, *shape), np.uint8), lesion=None
    )
    assert len(pages_of([finding], bundle, series=series)) == 2


@pytest.mark.parametrize("count", [1, 3, 12, 160, 2000])
def test_a_curve_of_any_length_is_drawn(bundle: Bundle, count: int) -> None:
    shares = tuple(None if n % 7 == 3 else (n % 10) / 10 for n in range(count))
    finding = replace(
        known_prediction(), slice_p_tumor=shares, run=(0, 1), key_slices=(0,)
    )
    text = pages_of([finding], bundle)[0]
    assert "Slice, counted from 1" in text


def test_the_threshold_is_the_one_that_scans_are_decided_by(bundle: Bundle) -> None:
    own = replace(bundle, series_model=MODEL)
    (first, *_) = pages_of([known_prediction()], own)
    said = words.percent(MODEL.operating_points["screening"].threshold)
    assert said != words.percent(bundle.operating_points["screening"].threshold)
    assert f"probability of any tumour is under {said}" in first


STUDY_MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def text_of(data: bytes) -> str:
    pages = PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_it_says_what_the_study_and_each_series_show(tiny_bundle: Path) -> None:
    data = render_study_pdf(
        known_study(), load_bundle(tiny_bundle), STUDY_MADE, ("A note.",)
    )
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
    first, second = (
        render_study_pdf(known_study(), bundle, STUDY_MADE) for _ in range(2)
    )
    assert first == second
