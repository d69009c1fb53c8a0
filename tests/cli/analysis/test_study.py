"""`tumorlens study`, run as people run it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pypdf import PdfReader

from tests.conftest import draw_phantom
from tests.samples.dicom_studies import change, write_series
from tests.samples.drawn_study import save_study
from tumorlens.cli.main import main

Run = Callable[..., int]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run `tumorlens study` in this process with the tiny bundle."""

    def go(*arguments: object) -> int:
        texts = [str(item) for item in arguments]
        return main(["study", *texts, "--model", str(tiny_bundle), "--threads", "1"])

    return go


def test_series_of_one_person_become_one_finding(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_study(tmp_path / "person")
    out, pdf = tmp_path / "out.json", tmp_path / "out.pdf"
    evidence = tmp_path / "evidence.nii.gz"
    assert run(*paths, "--json", out, "--pdf", pdf, "--evidence", evidence) == 0
    shown = capsys.readouterr().out
    assert "Study of 3 series: Tumour: glioma (any tumour" in shown
    assert "Judged together: T1 and T1 with contrast." in shown
    assert "The model was not measured on FLAIR." in shown
    assert "research use only" in shown
    document = json.loads(out.read_text())
    assert document["schema"] == "tumorlens-study/1"
    assert document["sequences"]["counted"] == ["T1", "T1 with contrast"]
    image = nibabel.load(evidence)
    assert image.shape == (256, 256, 9)
    z, y, x = document["lesion"]["peak"]
    grid = nibabel.load(paths[document["grid"]["series"]])
    assert np.allclose(image.affine, grid.affine)
    # On the grid of the file, which counts from other ends than slices do.
    assert float(np.asarray(image.dataobj).max()) > 0.3
    text = PdfReader(io.BytesIO(pdf.read_bytes())).pages[0].extract_text()
    assert "What each series adds" in text
    assert 0 <= x < 256
    assert 0 <= y < 256
    assert 0 <= z < 9


def test_a_folder_and_a_zip_say_the_same(run: Run, tmp_path: Path) -> None:
    paths = save_study(tmp_path / "sub-01_ses-1", name="sub-01_ses-1_")
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in paths:
            archive.write(path, f"anat/{path.name}")
    documents = []
    for source in (paths[0].parent, packed):
        out = tmp_path / "out.json"
        assert run(source, "--json", out) == 0
        documents.append(json.loads(out.read_text()))
    assert documents[0]["p_tumor"] == documents[1]["p_tumor"]
    assert documents[0]["sequences"] == documents[1]["sequences"]


def test_dicom_series_are_judged_together(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    first = write_series(folder / "1", study="1.2.3")
    second = write_series(folder / "2", study="1.2.3")
    frame = "1.2.3.4"
    for path in first:
        change(path, SeriesDescription="T1 ax", FrameOfReferenceUID=frame)
    for path in second:
        change(
            path,
            SeriesDescription="T1 ax + Gd",
            ContrastBolusAgent="Gd",
            FrameOfReferenceUID=frame,
        )
    out = tmp_path / "out.json"
    assert run(folder, "--json", out) == 0
    document = json.loads(out.read_text())
    assert document["sequences"]["counted"] == ["T1", "T1 with contrast"]
    results = tmp_path / "results"
    assert run(folder, "--dicom", results) == 0
    made = [dcmread(path) for path in sorted(results.iterdir())]
    assert [item.Modality for item in made][:2] == ["SR", "OT"]
    assert {item.StudyInstanceUID for item in made} == {"1.2.3"}
    assert {item.PatientID for item in made} == {"drawn-1"}
    comments = [
        item.TextValue for item in made[0].ContentSequence if "TextValue" in item
    ]
    assert "Judged together: T1 and T1 with contrast." in comments
    assert "For research use only, not for clinical use." in comments
    for path in second:
        change(path, PatientID="somebody-else")
    assert run(folder) == 2


def test_results_as_dicom_need_dicom(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_study(tmp_path / "person")
    assert run(*paths, "--dicom", tmp_path / "results") == 2
    assert "Give DICOM series" in capsys.readouterr().err


def test_several_people_are_refused_with_a_way_out(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = save_study(tmp_path / "a", name="IXI013-")
    other = save_study(tmp_path / "b", name="IXI014-")
    assert run(one[0], other[1]) == 2
    said = capsys.readouterr().err
    assert "look like files of two people" in said
    assert "IXI013-T1" in said
    assert run(one[0], other[1], "--one-person") == 0


def test_what_cannot_be_read_is_said_and_the_rest_judged(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_study(tmp_path / "person")
    broken = tmp_path / "person" / "T2.nii.gz"
    broken.write_bytes(paths[0].read_bytes()[:200])
    assert run(*paths, broken, "--json", "-") == 1
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert any(note.startswith("Not read: ") for note in document["notes"])
    assert "Error:" in shown.err


@pytest.mark.parametrize("what", ["picture", "missing", "flair"])
def test_what_is_no_study_is_refused(
    run: Run, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "head.png"
    cv2.imwrite(str(path), draw_phantom())
    words = {"picture": "single pictures", "missing": "does not exist"}
    if what == "missing":
        path = tmp_path / "none.nii.gz"
    if what == "flair":
        path = save_study(tmp_path / "person")[2]
    assert run(path) == 2
    error = capsys.readouterr().err
    assert words.get(what, "measured on T1, T1 with contrast") in error
    assert error.count("Error:") == 1


def test_the_evidence_has_to_be_named_as_nifti(run: Run, tmp_path: Path) -> None:
    (path, *_) = save_study(tmp_path / "person")
    assert run(path, "--evidence", tmp_path / "out.nii") == 2
