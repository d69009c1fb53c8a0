"""`tumorlens scan`, run as people run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pypdf import PdfReader

from tests.samples.dicom_files import saved
from tests.samples.dicom_files import slice_file as dicom_file
from tests.samples.drawn_series import drawn_series
from tumorlens.cli.main import main
from tumorlens.imaging.readers.volume_file import PLACE_UNKNOWN

Run = Callable[..., int]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run `tumorlens scan` in this process with the tiny bundle."""

    def go(*arguments: object) -> int:
        texts = [str(item) for item in arguments]
        return main(["scan", *texts, "--model", str(tiny_bundle), "--threads", "1"])

    return go


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A drawn head as NIfTI, in RAS."""
    voxels = np.stack([item.pixels for item in drawn_series(range(4, 8)).slices])
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.transpose(voxels, (2, 1, 0)), affine), path)
    return path


def test_a_volume_becomes_a_finding(
    run: Run, volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, evidence = tmp_path / "out.json", tmp_path / "evidence.nii.gz"
    assert run(volume, "--json", out, "--evidence", evidence) == 0
    shown = capsys.readouterr()
    assert "Tumour: glioma" in shown.out
    assert "research use only" in shown.out
    (document,) = json.loads(out.read_text())
    assert document["decision"] == "glioma"
    assert document["slices"] == 9
    assert nibabel.load(evidence).shape == (256, 256, 9)


def test_a_report_for_people_names_what_could_not_be_read(
    run: Run, volume: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.pdf"
    assert run(volume, "nowhere.nii.gz", "--pdf", out) == 1
    first, *others = (page.extract_text() for page in PdfReader(out).pages)
    assert "nowhere.nii.gz" in first
    assert "Tumour: glioma" in first
    assert "Series 1 of 1" in others[0]
    assert "SECRET" not in " ".join([first, *others])


def test_json_on_the_standard_output_stands_alone(
    run: Run, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(volume, "nowhere.nii.gz", "--json", "-") == 1
    shown = capsys.readouterr()
    first, second = json.loads(shown.out)
    assert first["status"] == "ok"
    assert second["status"] == "not_found"
    assert first["schema"] == second["schema"]
    assert first["research_use_only"] == second["research_use_only"]
    assert "Error: " in shown.err


def test_three_planes_where_the_voxels_allow_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.stack([item.pixels for item in drawn_series(count=40).slices])
    small = np.transpose(voxels[:, ::4, ::4], (2, 1, 0))
    path = tmp_path / "even.nii.gz"
    nibabel.save(nibabel.Nifti1Image(small, np.diag([-4.0, -4.0, 4.0, 1.0])), path)
    assert run(path, "--planes", "all", "--json", "-") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert set(document["p_tumor_by_plane"]) == {"axial", "coronal", "sagittal"}
    assert run(path, "--planes", "all") == 0
    assert "Tumour by plane: axial" in capsys.readouterr().out
    assert run(path, "--planes", "oblique") == 2


def test_how_a_file_was_read_is_said_beside_its_finding(
    run: Run, volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nibabel.load(volume)
    unplaced = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)
    unplaced.set_sform(None, code=0)
    unplaced.set_qform(None, code=0)
    path = tmp_path / "unplaced.nii.gz"
    nibabel.save(unplaced, path)
    assert run(volume, path, "--json", "-") == 0
    shown = capsys.readouterr()
    first, second = json.loads(shown.out)
    assert first["notes"] == []
    assert second["notes"] == [PLACE_UNKNOWN]
    assert shown.err.count(f"Note: {PLACE_UNKNOWN}") == 1
    assert run(path) == 0
    assert f"Note: {PLACE_UNKNOWN}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["png", "dicom", "folder"])
def test_single_pictures_are_no_scan(
    run: Run,
    slice_file: Path,
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, said = slice_file, "head.png is one picture"
    if kind == "dicom":
        path, said = tmp_path / "one.dcm", "one.dcm is one picture"
        path.write_bytes(saved(dicom_file()))
    elif kind == "folder":
        path, said = tmp_path / "heads", "heads holds 2 single pictures"
        path.mkdir()
        for name in ("a.png", "b.png"):
            (path / name).write_bytes(slice_file.read_bytes())
    assert run(path) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "tumorlens predict" in shown.err
    assert "%" not in shown.out


def test_nothing_could_be_read(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nowhere.nii.gz") == 2
    error = capsys.readouterr().err
    assert "nowhere.nii.gz" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("--evidence", "none/out.nii.gz"),
        ("--evidence", "wrong.nii"),
        ("--pdf", "none/report.pdf"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    run: Run, volume: Path, tmp_path: Path, option: str, path: str
) -> None:
    assert run(volume, option, tmp_path / path) == 2


def test_one_volume_of_several_is_chosen(
    run: Run, volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nibabel.load(volume)
    dark = np.zeros(image.shape, np.float32)
    voxels = np.stack([dark, image.get_fdata().astype(np.float32)], axis=-1)
    path = tmp_path / "many.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine), path)
    assert run(path) == 2
    error = capsys.readouterr().err
    assert "2 volumes" in error and "--volume" in error
    assert run(path, "--volume", 1) == 0
    assert "Tumour: glioma" in capsys.readouterr().out
    assert run(path, "--volume", 2) == 2
    assert "0 to 1" in capsys.readouterr().err


def test_a_scan_without_brain_is_never_called_free_of_tumour(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, pdf = tmp_path / "dark.nii.gz", tmp_path / "dark.pdf"
    dark = nibabel.Nifti1Image(np.zeros((256, 256, 9), np.float32), np.eye(4))
    nibabel.save(dark, path)
    assert run(path, "--pdf", pdf) == 0
    said = capsys.readouterr().out
    assert "dark.nii.gz: Not judged: no slice shows enough brain" in said
    assert "No slice shows enough brain" in said
    assert "%" not in said
    assert "0 judged, 9 without brain" in said
    assert "could be judged" in PdfReader(pdf).pages[0].extract_text()
    assert run(path, "--json", "-") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["p_tumor"] is None
    assert "enough brain" in document["not_judged"]
    evidence = tmp_path / "evidence.nii.gz"
    assert run(path, "--evidence", evidence) == 1
    assert "has no evidence to write" in capsys.readouterr().err
    assert not evidence.exists()
