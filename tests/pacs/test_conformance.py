"""Every object that goes back keeps the standard, whatever kind of series came."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from tests.conftest import draw_phantom
from tests.samples.dicom_findings import assert_valid
from tests.samples.dicom_studies import change, ill_head, write_series
from tests.samples.enhanced_dicom import write_enhanced
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.pacs.analysis import judge_files
from tumorlens.report.dicom.finding import SentResult
from tumorlens.report.dicom.sr import REPLACES

OUT_OF_ORDER = [5, 0, 4, 1, 3, 2]
ILL = (2, 3, 4, 5)
"""Where along the patient the drawn lesion is."""


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> SeriesClassifier:
    return load_series_classifier(tiny_bundle, threads=1)


def single(folder: Path) -> list[Path]:
    return write_series(folder, pixels=ill_head())


def enhanced(folder: Path) -> list[Path]:
    return [write_enhanced(folder, [ill_head()] * 6)]


def enhanced_out_of_order(folder: Path) -> list[Path]:
    return [write_enhanced(folder, partly_ill(), OUT_OF_ORDER)]


def partly_ill() -> list[np.ndarray]:
    healthy = 16 * draw_phantom().astype(np.uint16)
    return [ill_head() if place in ILL else healthy for place in OUT_OF_ORDER]


def objects(
    classifier: SeriesClassifier,
    files: list[Path],
    earlier: tuple[SentResult, ...] = (),
) -> dict[str, Dataset]:
    (judged,) = judge_files(classifier, files, None, earlier)
    found = [dcmread(BytesIO(data)) for data in judged.results]
    return {item.Modality: item for item in found}


@pytest.mark.parametrize("kind", [single, enhanced, enhanced_out_of_order])
@pytest.mark.parametrize("modality", ["SR", "OT", "SEG"])
def test_each_object_of_each_kind_of_series_is_valid(
    classifier: SeriesClassifier,
    tmp_path: Path,
    kind: Callable[[Path], list[Path]],
    modality: str,
) -> None:
    made = objects(classifier, kind(tmp_path / "a"))
    assert_valid(made[modality], tmp_path)


def test_a_report_that_replaces_another_names_it_and_is_valid(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = single(tmp_path / "a")
    study = dcmread(files[0]).StudyInstanceUID
    earlier = tuple(SentResult(study, f"1.2.{n}", f"1.2.{n}.1") for n in (3, 4))
    report = objects(classifier, files, earlier)["SR"]
    named = [
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for of_study in report.PredecessorDocumentsSequence
        for series in of_study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert named == [("1.2.3", "1.2.3.1"), ("1.2.4", "1.2.4.1")]
    assert REPLACES in [item.get("TextValue") for item in report.ContentSequence]
    assert_valid(report, tmp_path)
    assert "PredecessorDocumentsSequence" not in objects(classifier, files)["SR"]


def test_results_of_enhanced_mr_point_at_its_frames(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = enhanced_out_of_order(tmp_path / "a")
    (judged,) = judge_files(classifier, files, None)
    report, picture, outline = (dcmread(BytesIO(data)) for data in judged.results)
    heights = {
        frame.PlanePositionSequence[0].ImagePositionPatient[2]
        for frame in outline.PerFrameFunctionalGroupsSequence
    }
    assert heights <= {6.0 * place for place in ILL}
    numbers = [OUT_OF_ORDER.index(key) + 1 for key in judged.finding.key_slices]
    assert judged.finding.key_slices[0] in ILL
    (source,) = picture.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == dcmread(files[0]).SOPInstanceUID
    assert source.ReferencedFrameNumber == numbers[0]
    assert image_references(report) == numbers


def image_references(item: Dataset) -> list[int]:
    """Name the frames that a report's image items refer to."""
    found: list[int] = []
    if item.get("ValueType") == "IMAGE":
        frames = item.ReferencedSOPSequence[0].ReferencedFrameNumber
        found += [frames] if isinstance(frames, int) else list(frames)
    for child in item.get("ContentSequence", ()):
        found += image_references(child)
    return found


def test_a_series_that_cannot_have_a_segmentation_still_has_a_report(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = [change(path, FrameOfReferenceUID="") for path in single(tmp_path / "a")]
    made = objects(classifier, files)
    assert set(made) == {"SR", "OT"}
    texts = [item.get("TextValue", "") for item in made["SR"].ContentSequence]
    assert any("no segmentation" in text for text in texts)
    assert_valid(made["SR"], tmp_path)
