"""The commands of `tumorlens data`, run as people run them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tests.samples.volumes import SHAPE, draw_head
from tumorlens.cli.main import main
from tumorlens.data.manifest import class_names, read_manifest, write_manifest
from tumorlens.taxonomy import is_tumor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder a class: eight people, one of them twice."""
    root = tmp_path / "set"
    for number in range(8):
        place = root / ("glioma" if number % 2 else "no_tumor")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), draw_person(number))
    cv2.imwrite(str(root / "glioma/copy.jpg"), draw_person(1)[:, ::-1])
    return root


def test_split_then_audit_is_clean(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "split.csv"
    assert main(["data", "split", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "train: glioma" in said.out
    assert "9 pictures name no patient" in said.err
    by_name = {record.path.name: record for record in read_manifest(out)}
    assert by_name["1.png"].split == by_name["copy.jpg"].split
    assert main(["data", "audit", str(out)]) == 0
    told = capsys.readouterr().out
    assert "9 pictures" in told
    assert "Not known to be clean" in told
    assert "mirrored" in told


def test_overlap_counts_what_two_splits_share(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, counts = tmp_path / "split.csv", tmp_path / "overlap.json"
    records = read_manifest(folder)
    dealt = [
        replace(row, split="test" if row.path.name == "copy.jpg" else "train")
        for row in records
    ]
    write_manifest(dealt, out)
    line = ["data", "overlap", str(out), "--split", "test", "--against-split", "train"]
    assert main([*line, "--json", str(counts)]) == 1
    assert "1 are there, or nearly" in capsys.readouterr().out
    found = json.loads(counts.read_text())
    assert (found["pictures"], found["identical"], found["copies"]) == (1, 0, 1)
    assert main([*line[:-1], "validation"]) == 2
    assert "test, train" in capsys.readouterr().err
    assert main(line[:3]) == 2
    assert "Name another set" in capsys.readouterr().err


def test_folds_are_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds.csv"
    assert main(["data", "split", str(folder), "--out", str(out), "--folds", "3"]) == 0
    assert {record.fold for record in read_manifest(out)} == {0, 1, 2}


def test_where_every_picture_names_its_patient_nothing_is_warned_of(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, out = tmp_path / "known.csv", tmp_path / "folds.csv"
    records = read_manifest(folder)
    write_manifest([replace(row, patient=row.path.stem) for row in records], known)
    line = ["data", "split", str(folder), "--out", str(out)]
    assert main([*line[:2], str(known), *line[3:]]) == 0
    assert "patient" not in capsys.readouterr().err
    # Here patients, and copies, are parted on purpose.
    assert main([*line, "--folds", "3", "--by-slice"]) == 0
    assert "patient" not in capsys.readouterr().err


@pytest.mark.parametrize(("of_one", "warned"), [(4, False), (5, True)])
def test_one_patient_with_most_of_the_pictures_is_pointed_out(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    of_one: int,
    warned: bool,
) -> None:
    known, out = tmp_path / "known.csv", tmp_path / "split.csv"
    records = [
        replace(row, patient="ANON" if number < of_one else row.path.stem)
        for number, row in enumerate(read_manifest(folder))
    ]
    write_manifest(records, known)
    assert main(["data", "split", str(known), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert ("5 of 9 pictures are of one patient, ANON" in said) is warned


@pytest.mark.parametrize(
    ("patients", "options", "words"),
    [
        (2, [], "Warning: validation and test got nothing: 2 patients or groups"),
        (2, ["--fractions", "0.7,0,0.3"], "Warning: test got nothing: 2 patients"),
        (2, ["--fractions", "1,0,0"], ""),
        (9, [], ""),
        (9, ["--folds", "2"], ""),
        (
            9,
            ["--keep", "set=test"],
            "train and validation got nothing: --keep sends every row elsewhere",
        ),
    ],
)
def test_a_split_that_got_nothing_is_pointed_out(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    patients: int,
    options: list[str],
    words: str,
) -> None:
    known, out = tmp_path / "known.csv", tmp_path / "split.csv"
    rows = [
        replace(row, patient=f"p{number % patients}")
        for number, row in enumerate(read_manifest(folder))
    ]
    write_manifest(rows, known)
    assert main(["data", "split", str(known), "--out", str(out), *options]) == 0
    said = capsys.readouterr().err
    assert ("got nothing" in said) is bool(words)
    assert words in said


def test_a_source_can_be_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept.csv"
    line = ["data", "split", str(folder), "--out", str(out), "--keep", "set=test"]
    assert main(line) == 0
    assert {record.split for record in read_manifest(out)} == {"test"}


def test_a_leak_is_an_exit_status_and_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "leak.csv"
    manifest.write_text(
        "file,label,split\nset/glioma/1.png,glioma,train\n"
        "set/glioma/copy.jpg,glioma,test\n"
    )
    assert main(["data", "audit", str(manifest), "--json", "-"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["clean"] is False
    assert told["findings"][0]["code"] == "copies_across_splits"
    file = tmp_path / "audit.json"
    assert main(["data", "audit", str(manifest), "--json", str(file)]) == 1
    assert json.loads(file.read_text()) == told
    assert "WRONG" in capsys.readouterr().out


def test_an_audit_that_cannot_run_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "audit", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text("file,label\na.png,stroke\n")
    assert main(["data", "audit", str(tmp_path / "bad.csv")]) == 2
    assert "stroke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--fractions", "0.5,0.5"], "three numbers"),
        (["--fractions", "0.5,0.5,0.5"], "sum to 1"),
        (["--folds", "99"], "99 folds"),
        (["--by-slice"], "--folds"),
        (["--folds", "3", "--keep", "set=test"], "fold 'test'"),
        (["--folds", "3", "--fractions", "0.5,0.3,0.2"], "goes without"),
        (["--keep", "set"], "NAME=SPLIT"),
        (["--keep", "moon=test"], "moon"),
    ],
)
def test_a_split_that_cannot_be_says_why(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    word: str,
) -> None:
    out = tmp_path / "split.csv"
    assert main(["data", "split", str(folder), "--out", str(out), *options]) == 2
    assert word in capsys.readouterr().err
    assert not out.exists()


def test_a_manifest_is_made_of_the_folder_that_the_environment_names(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "manifest.csv"
    monkeypatch.delenv("TUMORLENS_DATA", raising=False)
    assert main(["data", "manifest", "--out", str(out)]) == 2
    monkeypatch.setenv("TUMORLENS_DATA", str(folder))
    assert main(["data", "manifest", "--out", str(out)]) == 0
    assert "9 pictures" in capsys.readouterr().out
    assert len(read_manifest(out)) == 9


def test_files_that_no_command_lists_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "glioma/IM0001").write_bytes(b"no ending")
    (folder / "glioma/report.docx").write_bytes(b"no picture")
    out = str(tmp_path / "out.csv")
    for line in (["manifest", "--out", out], ["audit"], ["split", "--out", out]):
        assert main(["data", line[0], str(folder), *line[1:]]) == 0
        assert "Passed over (2): IM0001, report.docx." in capsys.readouterr().err
    (folder / "glioma/IM0001").unlink()
    (folder / "glioma/report.docx").unlink()
    assert main(["data", "manifest", str(folder), "--out", out]) == 0
    assert "Passed over" not in capsys.readouterr().err


def test_a_manifest_tells_whole_scans(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["data", "manifest", str(folder), "--out", str(tmp_path / "manifest.csv")]
    assert main(line) == 0
    assert "whole series" not in capsys.readouterr().out
    (folder / "glioma/scan.nii.gz").write_bytes(b"a scan")
    assert main(line) == 0
    told = capsys.readouterr().out
    assert "10 pictures" in told
    assert "1 of them are whole series" in told


def test_a_manifest_tells_what_only_trains(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends, out = tmp_path / "ends.csv", tmp_path / "manifest.csv"
    rows = [
        replace(row, flag="CT", train_only=row.path.name == "1.png")
        for row in read_manifest(folder)
    ]
    write_manifest(rows, ends)
    line = ["data", "manifest", str(folder), "--also", str(ends), "--out", str(out)]
    assert main(line) == 0
    assert "9 with a flag, 1 that only train" in capsys.readouterr().out


def plain_install(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command of `tumorlens data` as if the extra 'train' were missing."""
    packages = ("h5py", "keras", "scipy", "skimage", "sklearn", "tensorflow")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({packages})); "
        "from tumorlens.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", code, "data", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_plain_install_checks_deals_and_cuts(folder: Path, tmp_path: Path) -> None:
    scan, out, cut = tmp_path / "head.nii.gz", tmp_path / "a.csv", tmp_path / "cut"
    image = nibabel.Nifti1Image(draw_head().T, np.diag([-4.0, -4.0, 4.0, 1.0]))
    nibabel.save(image, scan)
    slices = ("slices", scan, "--out", cut, "--source", "drawn", "--label", "no_tumor")
    for words in (
        ("manifest", folder, "--out", out),
        ("audit", out),
        ("split", out, "--out", tmp_path / "split.csv"),
        ("overlap", out, folder),
        slices,
    ):
        done = plain_install(*words)
        assert done.returncode == int(words[0] == "overlap"), done.stderr
        assert "Traceback" not in done.stderr
    rows = read_manifest(cut / "drawn.csv")
    assert 3 < len(rows) < sum(SHAPE)
    stripped = ("slices", scan, "--out", tmp_path / "bare", *slices[4:], "--stripped")
    done = plain_install(*stripped)
    assert done.returncode == 0, done.stderr


def test_folders_of_other_names_become_classes_of_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "clinic", tmp_path / "data.csv"
    for number, name in enumerate(("metastasis", "abscess", "healthy") * 2):
        place = root / name / f"p{number // 2}"
        place.mkdir(parents=True)
        cv2.imwrite(str(place / f"{number}.png"), draw_person(number))
    words = ["data", "manifest", str(root), "--out", str(out)]
    assert main(words) == 2
    assert "--tumor" in capsys.readouterr().err
    assert main([*words, "--tumor", "metastasis", "--patient", "/(p[0-9])/"]) == 0
    said = capsys.readouterr()
    assert "6 pictures of 3 patients" in said.out
    assert said.err == ""
    records = read_manifest(out, may_be_own=True)
    assert {record.patient for record in records} == {f"clinic:p{n}" for n in range(3)}
    assert [str(name) for name in class_names(records)] == [
        "metastasis",
        "abscess",
        "healthy",
    ]
    assert {str(x.label): is_tumor(x.label) for x in records if x.label} == {
        "metastasis": True,
        "abscess": False,
        "healthy": False,
    }


def test_pictures_without_a_patient_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "manifest", str(folder), "--out", str(tmp_path / "data.csv")]
    assert main([*words, "--patient", "^glioma/([0-9])"]) == 0
    said = capsys.readouterr()
    assert "9 pictures of 4 patients" in said.out
    # Four free of a tumour, and the copy.
    assert "5 of them name no patient" in said.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tumor", "stroke"], "has no folder 'stroke', only glioma, no_tumor"),
        (["--tumor", "glioma", "--tumor", "no_tumor"], "is no tumour"),
        (["--patient", "("], "is no regular expression"),
        (["--patient", "p", "--set", "cheng"], "are not for --set"),
    ],
)
def test_names_that_cannot_be_are_refused(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    words = ["data", "manifest", str(folder), "--out", str(tmp_path / "data.csv")]
    assert main([*words, *more]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
