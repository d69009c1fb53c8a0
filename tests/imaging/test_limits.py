"""An archive of files that each cost a decoder is given up, and the next is read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.samples.coded_dicom import shipped
from tests.samples.pictures import blank_png
from tests.samples.zips import fatal_zip, good, pack
from tumorlens.errors import DamagedFileError, TooManyBrokenError
from tumorlens.imaging import limits
from tumorlens.imaging.dicom import decoder
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.limits import MAX_FATAL_FILES
from tumorlens.imaging.read import read_study

NEXT = shipped("MR_small_RLE.dcm").read_bytes()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every decoder that is started from now on."""
    decoder.close_decoder()
    found: list[object] = []
    start = decoder._Worker

    def noted() -> object:
        found.append(start())
        return found[-1]

    monkeypatch.setattr(decoder, "_Worker", noted)
    return found


def test_a_study_may_cost_so_many_decoders_and_no_more(started: list[object]) -> None:
    with pytest.raises(TooManyBrokenError) as caught:
        read_study(fatal_zip(30), "study.zip")
    assert f"study.zip holds {MAX_FATAL_FILES} files" in caught.value.message
    assert f"study.zip#{MAX_FATAL_FILES}" in caught.value.message
    assert "Leave those files out" in caught.value.hint
    assert len(started) == MAX_FATAL_FILES
    assert read_study(NEXT, "next.dcm").slices


def test_that_one_good_file_was_read_before_does_not_save_it() -> None:
    with pytest.raises(TooManyBrokenError):
        read_study(fatal_zip(MAX_FATAL_FILES, good_at=0), "study.zip")


def test_fewer_are_passed_over_with_a_note() -> None:
    study = read_study(fatal_zip(MAX_FATAL_FILES - 1, good_at=2), "study.zip")
    assert len(study.slices) == 1
    (note,) = (item for item in study.notes if "left out" in item)
    assert note.startswith(f"{MAX_FATAL_FILES - 1} files")


def test_a_folder_and_a_sender_s_series_are_held_to_it_too(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(fatal_zip(MAX_FATAL_FILES))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "study")
    with pytest.raises(TooManyBrokenError, match=r"study holds .* \S*study/4\.dcm"):
        read_study(tmp_path / "study")
    files = sorted((tmp_path / "study").iterdir())
    with pytest.raises(TooManyBrokenError, match="The study holds .* image 4;"):
        gather_series((f"image {i}", path.read_bytes()) for i, path in enumerate(files))


def test_broken_files_that_take_long_together_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = pack(*((f"{i}.png", blank_png(300)[:-20]) for i in range(9)))
    with pytest.raises(DamagedFileError, match="study.zip/0.png starts like"):
        read_study(broken, "study.zip")
    monkeypatch.setattr(limits, "_FREE_SECONDS", -1.0)
    monkeypatch.setattr(limits, "MAX_BROKEN_SECONDS", 1e-9)
    with pytest.raises(TooManyBrokenError, match=r"1 files? .*took long.*/0.png;"):
        read_study(broken, "study.zip")
    assert read_study(good(), "next.zip").slices


def test_what_could_not_be_read_is_let_go() -> None:
    """An error holds its traceback, and that all which was being read."""
    kept: list[tuple[str, DamagedFileError]] = []
    with limits.BrokenFiles("study").passing_over("a", kept):  # type: ignore[arg-type]
        raise DamagedFileError("a is broken.") from ValueError("x")
    ((name, error),) = kept
    assert (name, error.message, error.code) == ("a", "a is broken.", "damaged_file")
    assert error.__traceback__ is error.__cause__ is error.__context__ is None
