"""The scripts and the notebook in examples/ run as they are, on small images."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.dicom_files import saved, slice_file
from tests.samples.heads import draw_person
from tests.samples.volumes import draw_head, save_volume
from tumorlens.cli.main import main
from tumorlens.taxonomy import CLASSES

EXAMPLES = Path(__file__).parents[1] / "examples"
REAL = Path(__file__).parents[1] / "src/tumorlens/web/static/examples"
SMALL = (
    *("--network", "seed-cnn", "--epochs", "1", "--steps-per-epoch", "2"),
    *("--batch-size", "4", "--size", "64", "--early-size", "32"),
)


def run(script, *arguments, **options):
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        **options,
    )


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    # Drawn heads are refused by the model that ships.
    cv2.imwrite(str(folder / "a.png"), cv2.imread(str(REAL / "meningioma.jpg"), 0))
    shutil.copy(REAL / "no-tumour.jpg", folder / "more" / "b.jpg")
    (folder / "more" / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def test_a_folder_becomes_a_table_with_a_row_for_each_file(images, tmp_path):
    table = tmp_path / "table.csv"
    done = run("predict_folder.py", images, table)
    assert done.returncode == 0, done.stderr
    assert "3 files, 1 failed" in done.stdout
    with table.open(newline="") as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    assert set(rows) == {"a.png", "b.jpg", "broken.png"}
    assert rows["broken.png"]["finding"] == "failed"
    assert rows["broken.png"]["why"]
    assert 0 <= float(rows["a.png"]["p_tumor"]) <= 1


def test_what_pydicom_and_nibabel_hold_is_judged(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    for number in range(4):
        pixels = draw_person(3, 128).astype(np.uint16)
        made = slice_file(pixels, position=6.0 * number, InstanceNumber=number + 1)
        (series / f"{number}.dcm").write_bytes(saved(made))
    done = run("judge_objects.py", series)
    assert done.returncode == 0, done.stderr
    assert "Series of 4 slices: " in done.stdout
    assert "One slice of it: " in done.stdout
    volume = save_volume(draw_head((12, 14, 10)), tmp_path / "head.nii.gz")
    done = run("judge_objects.py", volume)
    assert done.returncode == 0, done.stderr
    assert "Series of 36 slices: " in done.stdout


def test_reports_of_predict_are_read(images, tmp_path):
    report = tmp_path / "report.json"
    assert main(["predict", str(images), "--json", str(report)]) == 1
    done = run("read_report.py", report)
    assert done.returncode == 0, done.stderr
    assert "a.png, slice: " in done.stdout
    assert done.stdout.splitlines()[-1].count("1 failed") == 1
    piped = run("read_report.py", "-", input=report.read_text())
    assert piped.stdout == done.stdout


def test_reports_of_scan_are_read_also_where_nothing_could_be_judged(tmp_path):
    report = tmp_path / "report.json"
    series_file = save_volume(draw_head((12, 14, 10)), tmp_path / "head.nii.gz")
    assert main(["scan", str(series_file), "--json", str(report)]) == 0
    done = run("read_report.py", report)
    assert done.returncode == 0, done.stderr
    assert ", series: " in done.stdout
    (document,) = json.loads(report.read_text())
    document |= {"p_tumor": None, "finding": "not_brain_mri"}
    silent = run("read_report.py", "-", input=json.dumps([document]))
    assert silent.returncode == 0, silent.stderr
    assert "probability" not in silent.stdout


def test_a_report_of_another_schema_is_refused_in_a_sentence():
    done = run("read_report.py", "-", input='[{"schema": "other/9"}]')
    assert done.returncode == 1
    assert done.stderr == "This script does not know 'other/9'.\n"


def test_folders_become_a_model_with_its_report(tmp_path):
    data, out = tmp_path / "my-data", tmp_path / "run"
    for place, label in enumerate(CLASSES):
        (data / label).mkdir(parents=True)
        for person in range(place, 32, len(CLASSES)):
            head = draw_person(person, 128)
            for number, picture in enumerate((head, cv2.flip(head, 1))):
                name = f"p{person}_{number}.png"
                cv2.imwrite(str(data / label / name), picture)
    done = run("train_on_folders.py", data, out, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "report" / "report.html").exists()
    with (out / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = {}
    for row in rows:
        parts.setdefault(row["patient"], set()).add(row["split"])
    assert len(parts) == 32
    assert all(len(found) == 1 for found in parts.values())
    bundle = out / "training" / "bundle"
    picture = str(next((data / "glioma").iterdir()))
    assert main(["predict", picture, "--model", str(bundle)]) == 0


def test_training_without_arguments_says_how_it_is_called():
    done = run("train_on_folders.py")
    assert done.returncode == 1
    assert "python examples/train_on_folders.py MY_DATA RUN" in done.stderr


def test_two_hospitals_are_validated_by_a_protocol(tmp_path, tiny_bundle):
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("lgg/images", "lgg/masks", "lgg_sequences"):
        (data / name).mkdir(parents=True)
    rows, patients = [], []
    for number in range(14):
        site = ("CS", "FG")[number % 2]
        patient = f"TCGA-{site}-{number:04d}"
        # Codes as in the source: grade, side and sex.
        patients.append((patient, 20 + 3 * number, 1 + number % 2, 1 + number % 2, 3))
        for place, lesion in enumerate((None, (90, 110, 18))):
            name = f"{patient}_{place}"
            picture = draw_phantom(lesion=lesion, seed=number)
            cv2.imwrite(str(data / "lgg/images" / f"{name}.jpg"), picture)
            if lesion is not None:
                outline = cv2.circle(picture * 0, lesion[:2], lesion[2], 255, -1)
                cv2.imwrite(str(data / "lgg/masks" / f"{name}.png"), outline)
            label = "no_tumor" if lesion is None else "glioma"
            rows.append((name, label, patient, site, place, 2, 0, 9, "learn"))
    heads = "id,class,patient,site,slice,n_slices,mask_px,gap_to_tumor_slice,use"
    with (data / "lgg/lgg.csv").open("w", newline="") as file:
        csv.writer(file).writerows([heads.split(","), *rows])
    heads = "patient,age_at_initial_pathologic,gender,neoplasm_histologic_grade"
    with (data / "lgg_sequences/lgg_clinical.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*heads.split(","), "laterality"], *patients])
    done = run("validation/validate_lgg.py", data, out, "--model", tiny_bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 patients count for the primary endpoint; 28 were planned" in done.stdout
    result = json.loads((out / "report" / "metrics.json").read_text())
    assert result["slices"] == 28
    assert set(result["subgroups"]["sex"]) == {"female", "male"}
    assert set(result["subgroups"]["side"]) == {"right"}
    assert (out / "report" / "report.pdf").exists()
    (data / "lgg/lgg.csv").unlink()
    broken = run("validation/validate_lgg.py", data, out)
    assert broken.returncode == 2


def test_the_notebook_runs_and_ends_in_a_decision_at_each_operating_point(
    tmp_path, monkeypatch, capsys
):
    notebook = json.loads((EXAMPLES / "look_at_evidence.ipynb").read_text())
    assert notebook["nbformat"] == 4
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # Outputs of another's run, perhaps with a patient's image, are not committed.
    assert all(not cell["outputs"] for cell in codes)
    cv2.imwrite(str(tmp_path / "slice.png"), draw_phantom(lesion=(90, 110, 18)))
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in codes:
        exec("".join(cell["source"]), names)
    said = capsys.readouterr().out
    assert "screening" in said
    assert "balanced" in said
    assert names["overlay"].shape == (256, 256, 3)
