"""`tumorlens batch`, run as people run it, killed as machines are."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.conftest import build_tiny_bundle
from tests.samples.archives import (
    archive_rows,
    draw_archive,
    draw_pictures,
    part_files,
)
from tests.samples.dicom_studies import write_series
from tumorlens.cli.main import main
from tumorlens.taxonomy import own_classes

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")

Run = Callable[..., int]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run `tumorlens batch` in this process with the tiny bundle."""

    def go(*arguments: object) -> int:
        texts = [str(item) for item in arguments]
        return main(["batch", *texts, "--model", str(tiny_bundle), "--threads", "1"])

    return go


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn archive of everything that a run meets."""
    return draw_archive(tmp_path_factory.mktemp("archive") / "drawn")


def started(bundle: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a run as a process of its own."""
    command = [sys.executable, "-m", "tumorlens", "batch", *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--model", str(bundle), "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, parts: int) -> None:
    """Wait until a run has written so many parts."""
    deadline = time.monotonic() + 240
    while len(part_files(out)) < parts:
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < deadline, "no part was written in time"
        time.sleep(0.005)


def test_every_input_becomes_rows_once(
    run: Run, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.png"
    assert run(archive, missing, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "Skipped, because no picture or a mask: 1 file." in said
    assert "Measured on" in said
    assert "slices/s" in said
    assert "12 slices and 3 failures" in said
    assert "research use only" in said
    rows = archive_rows(tmp_path / "out")
    statuses = [row["status"] for row in rows]
    assert sorted(statuses) == ["copy", "empty_file", "not_found"] + ["ok"] * 12
    names = [row["file"].removeprefix(f"{archive}/") for row in rows]
    assert len(set(zip(names, (row["slice"] for row in rows), strict=True))) == 15
    assert sum(name.startswith("packed.zip") for name in names) == 2
    assert str(missing) in names


def test_a_series_is_gathered_over_folders_and_sorted(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    assert run(archive, "--out", tmp_path / "out", "--part-size", 3) == 1
    rows = archive_rows(tmp_path / "out")
    (series,) = {row["series"] for row in rows if row["file"].endswith("far/third")}
    stack = [row for row in rows if row["series"] == series]
    assert [row["slice"] for row in stack] == [0, 1, 2, 3, 4]
    assert stack[2]["file"] == f"{archive}/far/third"
    assert {row["month"] for row in stack} == {"2026-01"}
    assert {row["manufacturer"] for row in stack} == {"drawn"}
    assert {row["plane"] for row in stack} == {"axial"}


def test_pictures_have_the_values_of_predict(
    run: Run, archive: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    pictures = archive / "pictures"
    table = tmp_path / "predict.csv"
    main(["predict", str(pictures), "--csv", str(table), "--model", str(tiny_bundle)])
    run(pictures, "--out", tmp_path / "out")
    with table.open(newline="") as file:
        expected = sorted(csv.DictReader(file), key=lambda row: row["file"])
    rows = archive_rows(tmp_path / "out")
    assert len(rows) == len(expected) == 4
    for row, cells in zip(rows, expected, strict=True):
        for name, cell in cells.items():
            if name == "ms":  # another in every run
                continue
            value = row[name]
            shown = f"{value:.6f}" if isinstance(value, float) else str(value)
            assert (shown if value is not None else "") == cell, name


def test_classes_of_ones_own_have_their_columns_and_are_counted(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"brain metastasis": True, "lymphoma": True, "cyst": False}
    (tmp_path / "own").mkdir()
    build_tiny_bundle(tmp_path / "own", own_classes({**names, "healthy": False}))
    pictures, out, table = archive / "pictures", tmp_path / "out", tmp_path / "p.csv"
    more = ["--model", str(tmp_path / "own"), "--threads", "1"]
    assert main(["batch", str(pictures), "--out", str(out), *more]) == 1
    main(["predict", str(pictures), "--csv", str(table), *more])
    with table.open(newline="") as file:
        expected = sorted(csv.DictReader(file), key=lambda row: row["file"])
    for row, cells in zip(archive_rows(out), expected, strict=True):
        assert list(row)[: len(cells) - 1] == [name for name in cells if name != "ms"]
        for name in ("decision", "kinds", "p_brain metastasis", "p_healthy"):
            shown = f"{row[name]:.6f}" if isinstance(row[name], float) else row[name]
            assert (shown or "") == cells[name], name
    capsys.readouterr()
    call = ["query", str(out), "--by", "decision", "--where", "p_lymphoma="]
    assert main([*call, "--json", "-"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [(group["decision"], group["failed"]) for group in groups] == [(None, 1)]
    assert main(["query", str(out), "--by", "p_glioma"]) == 2
    assert "p_brain metastasis" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_does_nothing_twice(
    run: Run, tmp_path: Path, tiny_bundle: Path
) -> None:
    pictures, out = draw_pictures(tmp_path / "many", 60), tmp_path / "out"
    call = (pictures, "--out", out, "--part-size", 1)
    process = started(tiny_bundle, *call)
    wait_for_parts(process, out, 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = part_files(out)
    assert 3 <= len(before) < 60
    assert run(*call) == 0
    after = part_files(out)
    assert len(after) == 60
    assert {name: after[name] for name in before} == before
    assert not list((out / "_state").glob("*.unfinished"))
    assert run(pictures, "--out", tmp_path / "whole", "--part-size", 1) == 0
    assert archive_rows(out) == archive_rows(tmp_path / "whole")


def test_a_part_in_its_place_is_done_though_nobody_noted_it(
    run: Run, tmp_path: Path
) -> None:
    pictures, out = draw_pictures(tmp_path / "few", 4), tmp_path / "out"
    call = (pictures, "--out", out, "--part-size", 1)
    assert run(*call) == 0
    before, rows = part_files(out), archive_rows(out)
    ledger = sqlite3.connect(out / "_state" / "ledger.sqlite")
    with ledger:
        ledger.execute("UPDATE parts SET is_done = 0 WHERE id = 1")
    ledger.close()
    (out / "00000" / "part-00000002.parquet").unlink()
    assert run(*call) == 0
    after = part_files(out)
    assert before["part-00000001.parquet"] == after["part-00000001.parquet"]
    assert len(after) == 4
    assert archive_rows(out) == rows


def test_two_runs_into_one_folder_are_refused(
    run: Run, tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, out = draw_pictures(tmp_path / "many", 60), tmp_path / "out"
    call = (pictures, "--out", out, "--part-size", 1)
    process = started(tiny_bundle, *call)
    try:
        wait_for_parts(process, out, 1)
        process.send_signal(signal.SIGSTOP)
        assert run(*call) == 2
        assert "Another run works in" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--part-size", "7"), "part size: 1000, now 7"),
        (("--operating-point", "balanced"), "operating point: screening, now balanced"),
        (("--maps", "--part-size", "1000"), "(maps: False, now True)"),
        (("--dicom",), "(dicom: False, now True)"),
    ],
)
def test_another_call_into_the_same_folder_is_refused(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, ...],
    named: str,
) -> None:
    pictures = draw_pictures(tmp_path / "few", 1)
    assert run(pictures, "--out", tmp_path / "out") == 0
    assert run(pictures, "--out", tmp_path / "out", *change) == 2
    assert named in capsys.readouterr().err


def test_maps_lie_where_readers_of_parquet_do_not_look(
    run: Run, tmp_path: Path
) -> None:
    import pyarrow.dataset as ds

    pictures, out = draw_pictures(tmp_path / "few", 2), tmp_path / "out"
    assert run(pictures, "--out", out, "--maps") == 0
    stems = [row["maps"] for row in archive_rows(out)]
    assert stems == ["00000/00000000-000000", "00000/00000000-000001"]
    for kind in ("evidence", "gradcam", "overlay"):
        data = (out / "_maps" / f"{stems[1]}.{kind}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
    assert ds.dataset(out).count_rows() == 2


def probability_in(report: Path) -> float:
    """Read the first probability that a structured report states."""
    waiting = list(dcmread(report).ContentSequence)
    while waiting:
        item = waiting.pop(0)
        if item.ValueType == "NUM":
            return float(item.MeasuredValueSequence[0].NumericValue)
        waiting = [*item.get("ContentSequence", []), *waiting]
    raise AssertionError("the report states no number")


def test_dicom_results_are_what_scan_says_of_each_series(
    run: Run, tmp_path: Path, tiny_bundle: Path
) -> None:
    pytest.importorskip("highdicom", reason="the extra 'pacs' is not installed")
    import pyarrow.dataset as ds

    archive, out = draw_archive(tmp_path / "drawn"), tmp_path / "out"
    assert run(archive, "--out", out, "--dicom") == 1
    rows = archive_rows(out)
    by_file = {row["file"].removeprefix(f"{archive}/"): row for row in rows}
    stem = by_file["far/third"]["dicom"]
    of_series = [row for row in rows if row["dicom"] == stem]
    assert [row["slice"] for row in of_series] == [0, 1, 2, 3, 4]
    assert {row["dicom_status"] for row in of_series} == {"ok"}
    assert by_file["short/0.dcm"]["dicom"] not in (None, stem)
    assert by_file["pictures/0001.png"]["dicom"] is None
    assert by_file["pictures/0001.png"]["dicom_status"] is None
    report = dcmread(out / "_dicom" / f"{stem}.sr.dcm")
    assert report.Modality == "SR"
    assert report.StudyInstanceUID == of_series[0]["study"]
    assert report.PatientName == dcmread(archive / "far" / "third").PatientName
    picture = dcmread(out / "_dicom" / f"{stem}.sc.dcm")
    assert picture.StudyInstanceUID == of_series[0]["study"]
    alone = tmp_path / "alone"
    shutil.copytree(archive / "series", alone)
    shutil.copy(archive / "far" / "third", alone)
    table = tmp_path / "scan.json"
    call = ["scan", str(alone), "--json", str(table), "--model", str(tiny_bundle)]
    assert main([*call, "--precision", "float32"]) == 0
    (found,) = json.loads(table.read_text())
    told = probability_in(out / "_dicom" / f"{stem}.sr.dcm")
    assert told == pytest.approx(100.0 * found["p_tumor"], abs=0.06)
    assert ds.dataset(out).count_rows() == len(rows)


def test_a_series_that_dicom_cannot_refer_to_keeps_its_rows(
    run: Run, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom", reason="the extra 'pacs' is not installed")
    for path in write_series(tmp_path / "series", slices=3):
        item = dcmread(path)
        item.StudyInstanceUID = ""
        item.save_as(path)
    assert run(tmp_path / "series", "--out", tmp_path / "out", "--dicom") == 0
    rows = archive_rows(tmp_path / "out")
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert {(row["dicom"], row["dicom_status"]) for row in rows} == {
        (None, "bad_input")
    }
    assert not (tmp_path / "out" / "_dicom").exists()


def test_a_killed_run_goes_on_with_its_dicom_results(
    run: Run, tmp_path: Path, tiny_bundle: Path
) -> None:
    pytest.importorskip("highdicom", reason="the extra 'pacs' is not installed")
    for number in range(20):
        write_series(tmp_path / "many" / f"{number:02d}", slices=3)
    out = tmp_path / "out"
    call = (tmp_path / "many", "--out", out, "--part-size", 1, "--dicom")
    process = started(tiny_bundle, *call)
    wait_for_parts(process, out, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = part_files(out)
    made = {path: path.stat().st_mtime_ns for path in (out / "_dicom").rglob("*.dcm")}
    assert 2 <= len(before) < 20
    assert run(*call) == 0
    after = part_files(out)
    assert {name: after[name] for name in before} == before
    stems = {row["dicom"] for row in archive_rows(out)}
    assert len(stems) == 20
    reports = {path.name for path in (out / "_dicom").rglob("*.sr.dcm")}
    assert reports == {f"{stem.rsplit('/', 1)[1]}.sr.dcm" for stem in stems}
    for name in before:
        number = name.removeprefix("part-").partition(".")[0]
        report = out / "_dicom" / "00000" / f"{number}-000000.sr.dcm"
        assert report.stat().st_mtime_ns == made[report]


def test_dicom_results_need_their_extra(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tumorlens.cli.scale.batch.find_spec", lambda _: None)
    pictures = draw_pictures(tmp_path / "few", 1)
    assert run(pictures, "--out", tmp_path / "out", "--dicom") == 2
    assert "needs the extra 'pacs'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_estimate_alone_judges_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, out = draw_pictures(tmp_path / "few", 3), tmp_path / "out"
    assert run(pictures, "--out", out, "--estimate") == 0
    assert "About 3 slices left: " in capsys.readouterr().out
    assert part_files(out) == {}
    assert run(pictures, "--out", out) == 0
    assert len(archive_rows(out)) == 3


def test_a_manifest_names_its_files(run: Run, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "set", 3)
    manifest = tmp_path / "set" / "some.csv"
    manifest.write_text("label,file\nglioma,0001.png\n,gone.png\n")
    assert run(manifest, "--out", tmp_path / "out") == 1
    rows = archive_rows(tmp_path / "out")
    assert [(row["file"], row["status"]) for row in rows] == [
        (f"{tmp_path}/set/0001.png", "ok"),
        (f"{tmp_path}/set/gone.png", "not_found"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label\nglioma\n", "has no column 'file'"),
        ("file\n\n ,\n", "line 3: the column 'file' is empty"),
    ],
)
def test_a_manifest_without_files_is_refused(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    said: str,
) -> None:
    (tmp_path / "set.csv").write_text(text)
    assert run(tmp_path / "set.csv", "--out", tmp_path / "out") == 2
    assert said in capsys.readouterr().err


def test_nothing_that_can_be_read_ends_with_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--out", tmp_path / "out") == 2
    (row,) = archive_rows(tmp_path / "out")
    assert row["status"] == "not_found"


def test_a_folder_with_other_parquet_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.parquet").write_bytes(b"x")
    assert run(draw_pictures(tmp_path / "few", 1), "--out", out) == 2
    assert "holds other Parquet files" in capsys.readouterr().err


def test_workers_without_a_cluster_are_wrong_use(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--out", tmp_path / "out", "--workers", 2) == 2
    assert "--workers needs --address" in capsys.readouterr().err


def without(packages: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Return an environment in which packages cannot be imported."""
    for name in packages:
        (folder / f"{name}.py").write_text(f"raise ImportError('no {name}')")
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths}


@pytest.mark.parametrize("command", ["batch", "query"])
def test_help_and_advice_need_no_extra(command: str, tmp_path: Path) -> None:
    environment = without(("pyarrow", "fsspec", "ray"), tmp_path)
    call = [sys.executable, "-m", "tumorlens", command]
    shown = subprocess.run([*call, "--help"], env=environment, capture_output=True)
    assert shown.returncode == 0
    assert b"DEST" in shown.stdout
    more = ["--out", "out"] if command == "batch" else []
    used = subprocess.run(
        [*call, str(tmp_path), *more],
        env=environment,
        capture_output=True,
        cwd=tmp_path,
        text=True,
    )
    assert used.returncode == 2
    assert "pip install '.[archive]'" in used.stderr
    assert "Traceback" not in used.stderr


def test_a_cluster_without_ray_says_what_to_install(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    (tmp_path / "without").mkdir()
    pictures = draw_pictures(tmp_path / "few", 1)
    call = [sys.executable, "-m", "tumorlens", "batch", str(pictures)]
    call += ["--out", str(tmp_path / "out"), "--model", str(tiny_bundle)]
    used = subprocess.run(
        [*call, "--address", "local"],
        env=without(("ray",), tmp_path / "without"),
        capture_output=True,
        text=True,
    )
    assert used.returncode == 2
    assert "pip install '.[ray]'" in used.stderr
    assert "Traceback" not in used.stderr


def test_names_that_are_no_text_are_kept_apart(run: Run, tmp_path: Path) -> None:
    (source,) = draw_pictures(tmp_path / "few", 1).glob("*.png")
    for name in (b"\xff.png", b"\xfe.png", b"line\nbreak.png"):
        place = os.fsencode(source.parent) + b"/" + name
        try:
            shutil.copy(os.fsencode(source), place)
        except OSError:
            pytest.skip("the file system takes no such names")
    assert run(source.parent, "--out", tmp_path / "out") == 0
    names = {row["file"].rsplit("/", 1)[1] for row in archive_rows(tmp_path / "out")}
    assert names == {"0000.png", "\\xff.png", "\\xfe.png", "line\\nbreak.png"}
