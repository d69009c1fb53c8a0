"""DICOM files of a series become the DICOM files that go back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.cli.analysis.test_own_classes import OWN
from tests.conftest import build_tiny_bundle, draw_phantom
from tests.samples.dicom_studies import change, ill_head, write_series
from tests.samples.drawn_series import drawn_series
from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import EDGE_MM, LESION, draw_head
from tumorlens.errors import InputError, SettingError
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.jobs.monitored_rates import RateMonitor
from tumorlens.operations.drift import reference_rates
from tumorlens.pacs.analysis import analysis_with, judge_files, study_analysis
from tumorlens.pacs.queue import SeriesJob, SeriesQueue, StudyJob
from tumorlens.pacs.shadow import shadow_analysis
from tumorlens.report.dicom import codes
from tumorlens.report.dicom.finding import SentResult
from tumorlens.report.dicom.results import (
    NONE_IN_A_PART,
    dicom_finding,
    lesion_mask,
)
from tumorlens.report.dicom.sc import burn_in
from tumorlens.report.slice.overlay import render_overlay
from tumorlens.taxonomy import Answer, TumorClass, own_classes

GLIOMA_AND_CLEAR = {"glioma": True, "abscess": False, "cyst": False, "healthy": False}


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> SeriesClassifier:
    return load_series_classifier(tiny_bundle, threads=1)


def test_a_series_gives_report_picture_and_outline(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (judged,) = judge_files(classifier, files, None)
    assert judged.finding.kinds == (TumorClass.GLIOMA,)
    found = [dcmread(BytesIO(data)) for data in judged.results]
    assert [item.Modality for item in found] == ["SR", "OT", "SEG"]


def test_kinds_of_a_users_own_stand_as_text_under_the_code_of_a_neoplasm(
    tmp_path: Path,
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    # A name that also is one of the four has no code either: it means what it meant.
    for place, names in enumerate((OWN, own_classes(GLIOMA_AND_CLEAR))):
        folder = tmp_path / f"bundle{place}"
        folder.mkdir()
        build_tiny_bundle(folder, names)
        (judged,) = judge_files(load_series_classifier(folder, threads=1), files, None)
        assert judged.finding.kinds == (names[0],)
        assert codes.NO_CODE.format(names=repr(str(names[0]))) in judged.finding.reasons
        values = judged.prediction.probabilities
        assert values is not None
        assert judged.finding.p_class == pytest.approx(values[names[0]])
        report = dcmread(BytesIO(judged.results[0]))
        assert report.Modality == "SR"
        text = report.to_json()
        assert f"Tumour: {names[0].replace('_', ' ')}" in text
        assert codes.NEOPLASM.value in text
        assert codes.GLIOMA.value not in text
        kinds = [dcmread(BytesIO(data)).Modality for data in judged.results]
        assert kinds == ["SR", "OT", "SEG"]


def test_no_tumour_is_as_certain_as_all_that_is_clear(tmp_path: Path) -> None:
    found = load_own(tmp_path).predict(drawn_series())
    assert found.finding is Answer.NO_TUMOR
    assert found.p_tumor is not None
    halved = dict.fromkeys(OWN[2:], (1.0 - found.p_tumor) / 2.0)
    found = replace(found, raw_probabilities={**found.probabilities, **halved})
    p_class = dicom_finding(found, "tiny").p_class
    assert p_class == pytest.approx(1.0 - found.p_tumor)


def load_own(folder: Path) -> SeriesClassifier:
    build_tiny_bundle(folder, OWN)
    return load_series_classifier(folder, threads=1)


def test_the_picture_shows_the_key_slice_as_it_was_judged(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (judged,) = judge_files(classifier, files, None)
    shown = dcmread(BytesIO(judged.results[1])).pixel_array
    key = files[judged.finding.key_slices[0]]
    (slice_,) = read_dicom(key.read_bytes(), "key").slices
    (prediction,) = classifier.slice_classifier().predict_slices([slice_])
    drawn = render_overlay(slice_.pixels, prediction.explanation, "evidence")
    times = shown.shape[1] // drawn.shape[1]
    drawn = drawn.repeat(times, axis=0).repeat(times, axis=1)
    assert np.array_equal(shown[: drawn.shape[0]], drawn)


def test_what_was_left_out_or_is_missing_is_told_in_the_report(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    for path in files[:2]:
        path.write_bytes(path.read_bytes()[:-1000])
    (judged,) = judge_files(classifier, files, None, missing=3)
    left_out, missing = judged.finding.reasons[-2:]
    assert left_out.startswith("2 files were left out: ")
    assert missing.startswith(f"3 of {len(files) + 3} images of the series could not")
    report = dcmread(BytesIO(judged.results[0]))
    assert report.Modality == "SR"
    told = [item.get("TextValue") for item in report.ContentSequence]
    assert left_out in told and missing in told


def test_a_gap_in_a_series_costs_no_result(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (whole,) = judge_files(classifier, files, None)
    (judged,) = judge_files(classifier, [*files[:1], *files[2:]], None)
    kinds = [dcmread(BytesIO(item)).Modality for item in judged.results]
    assert kinds == [dcmread(BytesIO(item)).Modality for item in whole.results]
    assert "SEG" in kinds


def test_what_is_no_mr_is_refused_without_the_files_names(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    (file,) = write_series(tmp_path / "Drawn^Head", slices=1)
    with pytest.raises(InputError) as caught:
        judge_files(classifier, [change(file, Modality="CT")], None)
    assert "Drawn" not in str(caught.value)


def test_an_operating_point_that_is_not_there_is_told_before_any_series(
    classifier: SeriesClassifier,
) -> None:
    with pytest.raises(SettingError):
        analysis_with(classifier, "sharp")


def test_a_size_is_written_only_where_its_error_was_measured(tiny_bundle: Path) -> None:
    found = load_series_classifier(tiny_bundle, threads=1).predict(
        drawn_series(range(5, 8))
    )
    assert found.lesion is not None
    assert found.lesion.size_mm is not None
    unknown = dicom_finding(found, "tiny")
    assert (unknown.size_mm, unknown.centroid) == (None, None)
    known = dicom_finding(replace(found, size_measured=True), "tiny")
    assert known.size_mm == found.lesion.size_mm[::-1]
    assert known.centroid == found.lesion.centroid


def test_the_segment_is_the_lesion_and_nothing_else(tiny_bundle: Path) -> None:
    found = load_series_classifier(tiny_bundle, threads=1).predict(
        drawn_series(range(5, 8))
    )
    assert found.lesion is not None
    mask = lesion_mask(found)
    assert mask is not None
    assert mask.sum() == found.lesion.voxels
    assert mask[found.lesion.peak] == 1
    z0, y0, x0, z1, y1, x1 = found.lesion.box
    assert mask[z0:z1, y0:y1, x0:x1].sum() == mask.sum()
    assert lesion_mask(replace(found, lesion=None)) is None
    assert np.isin(mask, (0, 1)).all()


def test_a_sequence_that_the_model_was_not_trained_on_is_said(
    tiny_bundle: Path,
) -> None:
    found = load_series_classifier(tiny_bundle, threads=1).predict(
        drawn_series(range(5, 8))
    )
    told = dicom_finding(replace(found, sequence=MRSequence.FLAIR), "tiny").reasons
    assert told[:-1] == found.reasons
    assert "FLAIR" in told[-1]
    known = replace(found, sequence=MRSequence.T1)
    assert dicom_finding(known, "tiny").reasons == found.reasons


def test_a_series_without_brain_is_told_in_report_and_picture(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=np.zeros((256, 256), np.uint16))
    (judged,) = judge_files(classifier, files, None)
    assert (judged.finding.p_tumor, judged.finding.p_class) == (None, None)
    report, picture = (dcmread(BytesIO(data)) for data in judged.results)
    assert (report.Modality, picture.Modality) == ("SR", "OT")
    assert judged.finding.not_judged in report.to_json()
    blank = np.zeros((256, 256, 3), np.uint8)
    caption = "Not judged: no slice shows enough brain"
    assert np.array_equal(picture.pixel_array, burn_in(blank, caption))


def test_a_refused_series_gets_no_number(tiny_bundle: Path) -> None:
    found = load_series_classifier(tiny_bundle, threads=1).predict(
        drawn_series(range(5, 8))
    )
    assert dicom_finding(found, "tiny").p_tumor == found.p_tumor
    refused = replace(found, finding=Answer.NOT_BRAIN_MRI, kinds=())
    assert dicom_finding(refused, "tiny").p_tumor is None


def test_a_model_of_volumes_answers_as_one_of_slices(tmp_path: Path) -> None:
    voxels = draw_head(LESION)
    files = write_series(tmp_path / "a", slices=len(voxels), pixels=voxels[0])
    for path, plane in zip(files, voxels, strict=True):
        pixels = (16.0 * plane).astype(np.uint16)
        rows, columns = pixels.shape
        change(path, PixelData=pixels.tobytes(), Rows=rows, Columns=columns)
        place = files.index(path)
        change(
            path,
            PixelSpacing=[EDGE_MM, EDGE_MM],
            ImagePositionPatient=[-80.0, -96.0, EDGE_MM * place],
            SliceThickness=EDGE_MM,
        )
    classifier = load_series_classifier(build_volume_bundle(tmp_path), threads=1)
    job = SeriesJob("1.2", tuple(files))
    results = analysis_with(classifier, None)(job)
    report, picture, outline = (dcmread(BytesIO(data)) for data in results)
    assert [item.Modality for item in (report, picture, outline)] == ["SR", "OT", "SEG"]
    assert "tiny3d" in str(report)


def test_images_that_are_missing_make_no_tumour_inconclusive(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    pixels = 16 * draw_phantom().astype(np.uint16)
    files = write_series(tmp_path / "a", pixels=pixels)
    (whole,) = judge_files(classifier, files, None)
    assert whole.finding.finding is Answer.NO_TUMOR
    assert dcmread(BytesIO(whole.results[0])).CompletionFlag == "COMPLETE"
    for given in ({"missing": 3}, {"doubts": ("It broke off.",)}):
        (part,) = judge_files(classifier, files, None, **given)
        assert part.finding.finding is Answer.UNCERTAIN
        assert part.finding.p_tumor is None and part.finding.p_class is None
        assert NONE_IN_A_PART in part.finding.reasons
        assert dcmread(BytesIO(part.results[0])).CompletionFlag == "PARTIAL"
    (ill,) = judge_files(
        classifier,
        write_series(tmp_path / "b", pixels=ill_head()),
        None,
        doubts=("It broke off.",),
    )
    assert ill.finding.kinds == (TumorClass.GLIOMA,)
    assert dcmread(BytesIO(ill.results[0])).CompletionFlag == "PARTIAL"


def test_results_that_were_sent_are_rejected_with_the_new_ones(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = tuple(write_series(tmp_path / "a", slices=3, pixels=ill_head()))
    study = dcmread(files[0]).StudyInstanceUID
    analyse = analysis_with(classifier, None)
    assert modalities(analyse(SeriesJob("1", files))) == ["SR", "OT", "SEG"]
    sent = (SentResult(study, "1.2.3", "1.2.3.1"),)
    results = analyse(SeriesJob("1", files, sent))
    assert modalities(results) == ["SR", "OT", "SEG", "KO"]


def test_a_whole_series_is_counted_for_drift_once(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = tuple(write_series(tmp_path / "a", slices=3, pixels=ill_head()))
    bundle = classifier.bundle
    with closing(SeriesQueue(tmp_path / "queue")) as queue:
        drift = RateMonitor(queue.database, bundle.version, reference_rates(bundle))
        analyses = (
            analysis_with(classifier, None, drift=drift),
            shadow_analysis(classifier, None, queue, drift),
        )
        for number, analyse in enumerate(analyses, start=1):
            analyse(SeriesJob("1", files, (SentResult("1.2", "1.2.3", "1.2.3.1"),)))
            analyse(SeriesJob("1", files, doubts=("It broke off.",)))
            analyse(SeriesJob("1", files, missing=2))
            analyse(SeriesJob("1", files))
            rates = drift.gauges()["tumorlens_drift_observations"]
            assert rates["far_embedding"] == number


def modalities(results: Sequence[bytes]) -> list[str]:
    return [str(dcmread(BytesIO(data)).Modality) for data in results]


def test_a_fhir_report_lies_beside_and_is_written_anew(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = tuple(write_series(tmp_path / "a", slices=3, pixels=ill_head()))
    folder = tmp_path / "fhir"
    folder.mkdir()
    analyse = analysis_with(classifier, None, folder)
    for job in (
        SeriesJob("1", files, doubts=("It broke off.",)),
        SeriesJob("1", files),
    ):
        analyse(job)
        (path,) = folder.iterdir()
        bundle = json.loads(path.read_text(encoding="utf-8"))
        (report,) = (
            item["resource"]
            for item in bundle["entry"]
            if item["resource"]["resourceType"] == "DiagnosticReport"
        )
        assert report["status"] == ("partial" if job.doubts else "preliminary")
    assert dcmread(files[0]).SeriesInstanceUID not in path.name


def test_a_header_that_fhir_does_not_take_costs_no_dicom(
    classifier: SeriesClassifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = tuple(
        change(path, PatientID="a\x07b")
        for path in write_series(tmp_path / "a", slices=3, pixels=ill_head())
    )
    folder = tmp_path / "fhir"
    folder.mkdir()
    results = analysis_with(classifier, None, folder)(SeriesJob("1", files))
    assert modalities(results) == ["SR", "OT", "SEG"]
    if not list(folder.iterdir()):
        assert "FHIR report was not written" in caplog.text


def test_a_study_of_one_series_or_of_two_people_has_no_joint_result(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    analyse = study_analysis(
        StudyClassifier(classifier.slice_classifier()), None, folder
    )
    one = tuple(write_series(tmp_path / "1", "1.2.3"))
    part = SeriesJob("1", one)
    assert analyse(StudyJob("study:1.2.3", one, parts=(part,))) == []
    other = tuple(write_series(tmp_path / "2", "1.2.3"))
    for path in other:
        change(path, PatientID="another")
    two = StudyJob("study:1.2.3", (*one, *other), parts=(part, SeriesJob("2", other)))
    with pytest.raises(InputError):
        analyse(two)
    assert not list(folder.iterdir())
