"""`tumorlens calibrate` from drawn stacks to a bundle that judges scans by it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.series_uploads import nifti
from tumorlens.cli.main import main
from tumorlens.data.series import COLUMNS
from tumorlens.inference.bundle.bundle import load_bundle, read_document, write_document

PATIENTS = 8


@pytest.fixture(scope="module")
def drawn(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds' bundles, a manifest, and stacks of four patients in each fold."""
    folder = tmp_path_factory.mktemp("scans")
    rows, slices = [], []
    for number in range(PATIENTS):
        tumor = number % 2 == 0
        for place in range(5):
            lesion = (90, 110, 20) if tumor and 1 <= place <= 3 else None
            name = f"{number}-{place}"
            picture = draw_phantom(lesion=lesion, seed=10 * number + place)
            cv2.imwrite(str(folder / f"{name}.png"), picture)
            mask = ""
            if lesion is not None:
                mask = f"{name}-mask.png"
                outline = np.zeros(picture.shape, np.uint8)
                cv2.circle(outline, lesion[:2], lesion[2], 255, -1)
                cv2.imwrite(str(folder / mask), outline)
            label = "glioma" if tumor else "no_tumor"
            patient, file = f"p{number}", f"{name}.png"
            slices.append((patient, label, patient, "drawn", file, place, mask, ""))
            rows.append((file, label, patient, str(number // 2 % 2)))
    _write(folder / "scans.csv", COLUMNS, slices)
    _write(folder / "folds.csv", ("file", "label", "patient", "fold"), rows)
    for fold in (0, 1):
        shutil.copytree(tiny_bundle, folder / "folds" / f"fold{fold}" / "bundle")
    return folder


def _write(path: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def calibrate(drawn: Path, *more: object) -> int:
    files = ("--scans", drawn / "scans.csv", "--data", drawn / "folds.csv")
    words = ("calibrate", *files, "--folds", drawn / "folds", "--threads", "1", *more)
    return main([str(word) for word in words])


def test_a_bundle_is_calibrated_and_says_what_was_measured(
    drawn: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    out = tmp_path / "figures.json"
    assert calibrate(drawn, "--model", model, "--json", out) == 0
    assert "AUROC" in capsys.readouterr().out
    scans = load_bundle(model).series_model
    assert scans is not None
    assert (scans.patients, scans.healthy_patients) == (4, 4)
    assert scans.outline is not None
    figures = json.loads(out.read_text())
    assert figures["learned"]["auroc"]["value"] == 1.0
    assert figures["outlines"]["fitted"]["dice"]["value"] > 0.5
    head = tmp_path / "head.nii.gz"
    head.write_bytes(nifti())
    assert main(["scan", str(head), "--model", str(model)]) == 0
    assert "of 4 with a tumour" in capsys.readouterr().out


def test_a_fold_that_trained_on_the_patient_is_refused(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(drawn, tmp_path / "copy")
    bundle = copy / "folds" / "fold0" / "bundle"
    document = read_document(bundle)
    document["provenance"] = {"patients": {"train": ["p1"]}}
    write_document(bundle, document)
    assert calibrate(copy) == 2
    assert "was trained on the patient of series 'p1'" in capsys.readouterr().err


def test_folds_that_are_not_there(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(drawn, tmp_path / "copy")
    shutil.rmtree(copy / "folds" / "fold1")
    assert calibrate(copy) == 2
    assert "the bundles of 1 folds; two are needed" in capsys.readouterr().err
