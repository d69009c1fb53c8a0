"""Folders are anonymised file by file, and what is refused is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from tests.samples.dicom_studies import change, write_series
from tumorlens.cli.main import main


def test_a_folder_is_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "in" / "a", slices=2)
    out = tmp_path / "out"
    assert main(["anonymise", str(tmp_path / "in"), "--out", str(out)]) == 0
    assert "2 files written" in capsys.readouterr().out
    found = sorted(out.rglob("*.dcm"))
    assert len(found) == 2
    for path in found:
        assert dcmread(path).PatientName != "Drawn^Head"
        assert b"Drawn" not in path.read_bytes()


def test_what_is_refused_is_told_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    burnt_in, good = write_series(tmp_path / "in", slices=2)
    change(burnt_in, BurnedInAnnotation="YES")
    (tmp_path / "in" / "notes.txt").write_text("Drawn^Head", encoding="ascii")
    status = main(["anonymise", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert status == 1
    assert "1 file written" in said.out and "2 refused" in said.out
    assert f"{burnt_in.name} may have text" in said.err
    assert "notes.txt is no DICOM file" in said.err and "Drawn" not in said.err
    (written,) = (tmp_path / "out").rglob("*.dcm")
    assert dcmread(written).pixel_array.shape == dcmread(good).pixel_array.shape


def test_nothing_to_write_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, out = str(tmp_path / "none.dcm"), str(tmp_path / "out")
    assert main(["anonymise", missing, "--out", out]) == 2
    assert "cannot be read" in capsys.readouterr().err
