"""`tumorlens predict`, run as people run it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.dicom_studies import write_series
from tests.samples.zips import pack, tarred
from tumorlens.cli.analysis.predict import MapsOutput
from tumorlens.cli.main import main
from tumorlens.errors import OutputError
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.taxonomy import CLASSES

COLUMNS = (
    "file,slice,status,predicted,decision,p_glioma,p_meningioma,p_pituitary,"
    "p_no_tumor,p_tumor,domain_score,box_x0,box_y0,box_x1,box_y1,ms,p_other,p_vascular,"
    "sequence,notes,finding,kinds,model_precision"
)

Run = Callable[..., int]


@pytest.fixture
def run(tiny_bundle: Path) -> Run:
    """Run `tumorlens predict` in this process with the tiny bundle."""

    def go(*arguments: object) -> int:
        texts = [str(item) for item in arguments]
        return main(["predict", *texts, "--model", str(tiny_bundle), "--threads", "1"])

    return go


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two heads, one in a subfolder, and files that are passed over."""
    place = tmp_path / "scans"
    (place / "deep").mkdir(parents=True)
    cv2.imwrite(str(place / "a.png"), draw_phantom(lesion=(90, 110, 20)))
    cv2.imwrite(str(place / "deep" / "b.JPG"), draw_phantom(200, 240))
    (place / "notes.txt").write_text("not a picture")
    (place / "._a.png").write_text("left by another system")
    return place


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_table(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0
    shown = capsys.readouterr()
    assert "a.png" in shown.out
    assert "b.JPG" in shown.out
    assert "Tumour: glioma" in shown.out
    assert "2 slices" in shown.out
    assert "research use only" in shown.out
    assert "notes.txt" not in shown.out
    assert shown.err == ""


def test_the_csv_has_the_promised_columns(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out.csv"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    assert run(folder, bad, "--csv", table) == 1
    assert table.read_text().splitlines()[0] == COLUMNS
    first, second, third = rows(table)
    assert first["file"] == str(folder / "a.png")
    assert (first["slice"], first["status"]) == ("0", "ok")
    assert first["predicted"] == first["decision"] == "glioma"
    shares = [float(first[f"p_{name}"]) for name in CLASSES]
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert float(first["p_tumor"]) == pytest.approx(sum(shares[:3]), abs=1e-5)
    assert float(first["box_x0"]) < 90 < float(first["box_x1"])
    assert float(first["ms"]) > 0
    assert second["status"] == "ok"
    assert third["file"] == str(bad)
    assert third["status"] == "empty_file"
    assert third["decision"] == third["p_tumor"] == third["slice"] == ""


def test_json_on_the_standard_output_stands_alone(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "nowhere.png", "--json", "-") == 1
    shown = capsys.readouterr()
    first, second, third = json.loads(shown.out)
    assert first["decision"] == "glioma"
    assert second["status"] == "ok"
    assert third["status"] == "not_found"
    assert "research use only" in shown.err


def test_json_and_csv_agree(run: Run, folder: Path, tmp_path: Path) -> None:
    as_json, as_csv = tmp_path / "out.json", tmp_path / "out.csv"
    run(folder, "--json", as_json, "--csv", as_csv)
    for document, row in zip(
        json.loads(as_json.read_text()), rows(as_csv), strict=True
    ):
        assert document["file"] == row["file"]
        assert document["p_tumor"] == pytest.approx(float(row["p_tumor"]), abs=1e-6)


def test_maps_that_were_written_beside_the_pictures_are_not_judged(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--maps", folder) == 0
    before = capsys.readouterr().out
    assert run(folder) == 0
    after = capsys.readouterr().out
    assert "2 slices" in before and "2 slices" in after
    assert "6 files were left out: each is a map that TumorLens wrote" in after


def test_maps_have_the_size_of_the_input(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    maps = tmp_path / "new" / "maps"
    assert run(folder, "--maps", maps) == 0
    assert sorted(path.name for path in maps.iterdir()) == [
        f"{stem}.{kind}.png"
        for stem in "ab"
        for kind in ("evidence", "gradcam", "overlay")
    ]
    for stem, shape in (("a", (256, 256)), ("b", (200, 240))):
        for kind in ("evidence", "gradcam"):
            heat = cv2.imread(str(maps / f"{stem}.{kind}.png"), cv2.IMREAD_UNCHANGED)
            assert heat.dtype == np.uint8
            assert heat.shape == shape
        overlay = cv2.imread(str(maps / f"{stem}.overlay.png"), cv2.IMREAD_UNCHANGED)
        assert overlay.shape == (*shape, 3)
    heat = cv2.imread(str(maps / "a.evidence.png"), cv2.IMREAD_UNCHANGED)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert np.hypot(x - 90, y - 110) < 20


def test_equal_stems_do_not_overwrite_each_other(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    other = folder / "deep" / "a.jpg"
    cv2.imwrite(str(other), draw_phantom(100, 120))
    cv2.imwrite(str(folder / "deep" / "a-2.png"), draw_phantom(90, 80))
    maps = tmp_path / "maps"
    assert run(folder, "--maps", maps) == 0
    shapes = {
        path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape
        for path in maps.glob("*.evidence.png")
    }
    assert shapes == {
        "a.evidence.png": (256, 256),
        "a-2.evidence.png": (90, 80),
        "a-3.evidence.png": (100, 120),
        "b.evidence.png": (200, 240),
    }


def test_slices_of_one_file_get_maps_of_their_own(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), [draw_phantom(), draw_phantom(seed=1)])
    assert run(path, "--maps", tmp_path / "maps", "--csv", tmp_path / "t.csv") == 0
    assert [row["slice"] for row in rows(tmp_path / "t.csv")] == ["0", "1"]
    assert (tmp_path / "maps" / "stack.evidence.png").exists()
    assert (tmp_path / "maps" / "stack.slice1.evidence.png").exists()


def test_a_pattern(run: Run, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    assert run(folder / "**" / "*.JPG", "--csv", table) == 0
    assert [Path(row["file"]).name for row in rows(table)] == ["b.JPG"]


def test_a_file_whose_name_looks_like_a_pattern(run: Run, folder: Path) -> None:
    assert run((folder / "a.png").rename(folder / "a[1].png")) == 0


def test_a_name_that_is_no_utf8(run: Run, folder: Path, tmp_path: Path) -> None:
    path = folder / os.fsdecode(b"caf\xe9.png")
    (folder / "a.png").rename(path)
    table, maps = tmp_path / "out.csv", tmp_path / "maps"
    assert run(path, "--csv", table, "--json", tmp_path / "o.json", "--maps", maps) == 0
    assert rows(table)[0]["file"].endswith(r"caf\xe9.png")
    assert len(list(maps.iterdir())) == 3


@pytest.mark.parametrize("point", ["screening", "balanced"])
def test_operating_points(
    run: Run, folder: Path, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--operating-point", point, "--json", "-") == 0
    for document in json.loads(capsys.readouterr().out):
        assert document["operating_point"] == point


def test_the_batch_changes_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    tables = []
    for batch in (1, 7):
        table = tmp_path / f"{batch}.csv"
        run(folder, "--csv", table, "--batch", batch)
        tables.append([{**row, "ms": ""} for row in rows(table)])
    assert tables[0] == tables[1]


def fails(
    capsys: pytest.CaptureFixture[str], status: int, *words: str
) -> Callable[[int], None]:
    """Check the exit status and that one plain line says what is wrong."""

    def check(found: int) -> None:
        error = capsys.readouterr().err
        assert found == status
        assert error.startswith("Error: ")
        assert "Traceback" not in error
        for word in words:
            assert word in error

    return check


def test_nothing_could_be_read(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 2, "nowhere.png")(run(tmp_path / "nowhere.png"))


def test_a_folder_without_pictures(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 2, "holds no picture", str(tmp_path))(run(tmp_path))


def test_a_pattern_without_a_match(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 2, "No file matches")(run(tmp_path / "*.png"))


def test_a_missing_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["predict", str(folder), "--model", str(tmp_path / "none")])
    fails(capsys, 2, "no model bundle", "none")(status)


def test_an_operating_point_that_is_not_there(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 2, "careful", "balanced, screening")(
        run(folder, "--operating-point", "careful")
    )


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    run: Run,
    folder: Path,
    tmp_path: Path,
    option: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = tmp_path / "none" / "out"
    fails(capsys, 2, "does not exist")(run(folder, option, missing))
    fails(capsys, 2, "is a folder")(run(folder, option, folder))


def test_maps_that_cannot_be_written_are_refused_before_the_work(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, 2, "a.png")(run(folder, "--maps", folder / "a.png"))


def test_maps_that_can_no_longer_be_written_are_told_of(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    found = load_classifier(tiny_bundle, threads=1).predict(draw_phantom())
    assert isinstance(found, Prediction)
    place = tmp_path / "maps"
    place.mkdir()
    with pytest.raises(OutputError, match="maps"), MapsOutput(str(place)) as output:
        output.write(found)
        shutil.rmtree(place)
        output.write(found)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("option", ["--csv", "--json", "--maps"])
def test_no_permission_to_write(
    run: Run,
    folder: Path,
    tmp_path: Path,
    option: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    fails(capsys, 2, "closed")(run(folder, option, closed / "out"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["predict", "x.png", "--batch", "0"],
        ["predict", "x.png", "--threads", "many"],
        ["predict", "x.png", "--colour"],
        ["divine"],
    ],
)
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_help_and_version_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "predict" in capsys.readouterr().out
    assert main(["predict", "--help"]) == 0
    assert "research use only" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tumorlens ")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start `python -m tumorlens` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tumorlens", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _check_runs(code: str) -> None:
    """Run Python code in a process of its own, which has to end well and silently."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_as_a_module_no_training_framework_is_imported(
    folder: Path, tiny_bundle: Path
) -> None:
    code = (
        "import sys; from tumorlens.cli.main import main; "
        f"main(['predict', {str(folder)!r}, '--model', {str(tiny_bundle)!r}]); "
        "heavy = {'keras', 'tensorflow', 'scipy', 'sklearn', 'matplotlib', 'rich', "
        "'flask', 'reportlab'}; sys.exit(str(heavy & set(sys.modules) or '') or 0)"
    )
    _check_runs(code)


def test_a_picture_does_not_wait_for_what_reads_dicom_and_columns(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    picture = tmp_path / "one.png"
    cv2.imwrite(str(picture), draw_phantom())
    code = (
        "import sys; from tumorlens.cli.main import main; "
        f"main(['predict', {str(picture)!r}, '--model', {str(tiny_bundle)!r}]); "
        "slow = [name for name in sys.modules if 'dicom' in name or 'clinical' in name]"
        "; sys.exit(str(slow or '') or 0)"
    )
    _check_runs(code)


def test_ctrl_c_ends_cleanly_and_leaves_json_that_can_be_read(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw_phantom())
    paths = [tmp_path / f"{number}.png" for number in range(12)] * 80
    out, table = tmp_path / "out.json", tmp_path / "out.csv"
    process = start(
        "predict", *paths, "--model", tiny_bundle, "--json", out, "--csv", table
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if out.exists() and out.stat().st_size > 0:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.strip() == "Stopped."
    assert 0 < len(json.loads(out.read_text())) < len(paths)


def test_a_closed_pipe_is_no_error(folder: Path, tiny_bundle: Path) -> None:
    command = (
        f"{sys.executable} -m tumorlens predict {' '.join([str(folder)] * 30)} "
        f"--model {tiny_bundle} | head -n 1"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("File")
    assert done.stderr == ""


def test_a_damaged_model_stops_before_any_output_is_opened(
    run: Run, folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(tiny_bundle, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"")
    table = tmp_path / "kept.csv"
    table.write_text("an older table")
    assert (
        main(["predict", str(folder), "--model", str(broken), "--csv", str(table)]) == 2
    )
    assert table.read_text() == "an older table"


def test_a_picture_that_is_refused_gets_no_number_in_the_table(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[..., 2], picture[..., 0] = 200, np.linspace(0, 255, 300)
    cv2.imwrite(str(tmp_path / "photo.png"), picture)
    assert run(tmp_path / "photo.png") == 0
    (row,) = (x for x in capsys.readouterr().out.splitlines() if "photo.png" in x)
    assert "Not judged: this looks like a photograph" in row
    assert "%" not in row


def cine(path: Path) -> Path:
    """Write an animation of three heads."""
    from PIL import Image

    frames = [Image.fromarray(draw_phantom(200, 240)) for _ in range(3)]
    frames[1] = Image.fromarray(draw_phantom(200, 240, lesion=(90, 110, 20)))
    frames[0].save(path, lossless=True, save_all=True, append_images=frames[1:])
    return path


def test_what_a_reader_should_know_stands_on_the_terminal_and_in_the_table(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = cine(tmp_path / "cine.webp"), tmp_path / "out.csv"
    assert run(path, "--csv", table) == 0
    shown = capsys.readouterr().out
    assert shown.count("an animation of 3 frames") == 1
    assert "cine.webp slice 2" in shown and "cine.webp slice 3" in shown
    assert [row["slice"] for row in rows(table)] == ["0", "1", "2"]
    assert all("3 frames" in row["notes"] for row in rows(table))


def test_a_folder_is_searched_by_content(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").rename(folder / "IM_0001")
    (folder / "deep" / "b.JPG").rename(folder / "deep" / "image.ima")
    assert run(folder) == 0
    shown = capsys.readouterr()
    assert "IM_0001" in shown.out and "image.ima" in shown.out
    assert "1 file was passed over" in shown.out and ".txt" in shown.out


def test_maps_of_a_cropped_picture_keep_its_size(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = np.full((500, 700), 255, np.uint8)
    head = draw_phantom(lesion=(90, 110, 20))
    page[60 : 60 + head.shape[0], 300 : 300 + head.shape[1]] = head
    path = tmp_path / "page.png"
    cv2.imwrite(str(path), page)
    assert run(path, "--maps", tmp_path / "maps", "--json", tmp_path / "a.json") == 0
    assert "page or screen" in capsys.readouterr().out
    evidence = cv2.imread(str(tmp_path / "maps" / "page.evidence.png"), 0)
    assert evidence.shape == page.shape
    y, x = np.unravel_index(evidence.argmax(), evidence.shape)
    assert abs(x - 390) < 40 and abs(y - 170) < 40
    (document,) = json.loads((tmp_path / "a.json").read_text())
    assert document["view"]["corners"][0] == [300.0, 60.0]
    assert (document["height"], document["width"]) == page.shape


def test_archives_in_a_folder_are_opened(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = (folder / "a.png").read_bytes()
    (folder / "c.zip").write_bytes(pack(("x.png", picture), ("read.txt", b"hello")))
    (folder / "deep" / "d.tar.gz").write_bytes(tarred(("y.png", picture)))
    (folder / "viewer.zip").write_bytes(pack(("read.txt", b"hello")))
    (folder / "broken.zip").write_bytes(pack(("x.png", picture))[:3000])
    table = tmp_path / "out.csv"
    assert run(folder, "--csv", table) == 1
    found = [(Path(row["file"]).name, row["status"]) for row in rows(table)]
    assert found == [
        ("a.png", "ok"),
        ("broken.zip", "damaged_file"),
        ("x.png", "ok"),
        ("b.JPG", "ok"),
        ("y.png", "ok"),
    ]
    shown = capsys.readouterr().out
    assert "2 files were passed over" in shown
    assert ".zip" in shown
    assert "1 file was left out: it is text, no picture." in shown


def test_a_volume_in_two_files_is_found_in_a_folder(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.stack([draw_phantom(seed=z) for z in range(3)], axis=-1)
    image = nibabel.AnalyzeImage(voxels.astype(np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "head.img")
    (tmp_path / "head.json").write_text("{}")
    assert run(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "3 slices" in shown
    assert "passed over" not in shown


def test_a_mask_in_a_folder_is_not_judged(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.stack([draw_phantom(seed=z) for z in range(3)], axis=-1)
    image = nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 5.0, 1.0]))
    mask = tmp_path / "head_seg.nii.gz"
    nibabel.save(image, mask)
    assert run(tmp_path) == 2
    assert "is a mask or segmentation" in capsys.readouterr().err
    nibabel.save(image, tmp_path / "head.nii.gz")
    assert run(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "3 slices" in shown
    assert "1 file was left out: it is a mask or segmentation" in shown
    # Who asks for it has it, with a word.
    assert run(mask) == 0
    assert "By its name the file is a mask" in capsys.readouterr().out


def test_a_folder_of_another_format_says_what_converts_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.par").write_bytes(b"# === DATA DESCRIPTION FILE ===")
    (tmp_path / "a.rec").write_bytes(bytes(1000))
    fails(capsys, 2, "Philips PAR/REC", "dcm2niix")(run(tmp_path))


def test_a_disc_is_judged_without_its_table_of_contents(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "IMAGES", slices=2)
    (tmp_path / "DICOMDIR").write_bytes(
        bytes(128) + b"DICM" + bytes(20) + b"1.2.840.10008.1.3.10" + bytes(100)
    )
    assert run(tmp_path) == 0
    assert "passed over" not in capsys.readouterr().out
