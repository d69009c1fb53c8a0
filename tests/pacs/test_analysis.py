"""DICOM files of a series become the DICOM files that go back."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.pacs.drawn import change, ill_head, write_series
from tumorlens.engine.predict import Classifier, load_classifier
from tumorlens.errors import InputError, SettingError
from tumorlens.imaging.dicom import read_dicom
from tumorlens.pacs.analysis import analysis_with, judge_files
from tumorlens.report.overlay import render_overlay
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def test_a_series_gives_report_picture_and_outline(
    classifier: Classifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (judged,) = judge_files(classifier, files, None)
    assert judged.finding.decision is TumorClass.GLIOMA
    found = [dcmread(BytesIO(data)) for data in judged.results]
    assert [item.Modality for item in found] == ["SR", "OT", "SEG"]


def test_the_picture_shows_the_key_slice_as_it_was_judged(
    classifier: Classifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (judged,) = judge_files(classifier, files, None)
    shown = dcmread(BytesIO(judged.results[1])).pixel_array
    key = files[judged.finding.key_slices[0]]
    (slice_,) = read_dicom(key.read_bytes(), "key").slices
    (prediction,) = classifier.predict_slices([slice_])
    drawn = render_overlay(slice_.pixels, prediction.explanation, "evidence")
    times = shown.shape[1] // drawn.shape[1]
    drawn = drawn.repeat(times, axis=0).repeat(times, axis=1)
    assert np.array_equal(shown[: drawn.shape[0]], drawn)


def test_what_is_no_mr_is_refused_without_the_files_names(
    classifier: Classifier, tmp_path: Path
) -> None:
    (file,) = write_series(tmp_path / "Drawn^Head", slices=1)
    with pytest.raises(InputError) as caught:
        judge_files(classifier, [change(file, Modality="CT")], None)
    assert "Drawn" not in str(caught.value)


def test_an_operating_point_that_is_not_there_is_told_before_any_series(
    classifier: Classifier,
) -> None:
    with pytest.raises(SettingError):
        analysis_with(classifier, "sharp")
