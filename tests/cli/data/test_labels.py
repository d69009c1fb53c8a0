"""`tumorlens data label-reports`, run as people run it."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from tests.conftest import draw_phantom
from tests.samples.series_uploads import finish, head_slices, nifti
from tests.samples.uploads import form
from tumorlens import load_series_classifier
from tumorlens.cli.data.labels import write_volume
from tumorlens.cli.main import main
from tumorlens.data.manifest import read_manifest
from tumorlens.imaging.read import read_study
from tumorlens.report.feedback import Feedback, MarkedResult
from tumorlens.settings import Settings
from tumorlens.taxonomy import TumorClass
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

REPORTS = Path(__file__).parents[2] / "data" / "reports" / "held_out.csv"


def test_reports_are_labelled_listed_and_measured(tmp_path, capsys):
    source = tmp_path / "reports.csv"
    rows = REPORTS.read_text(encoding="utf-8").splitlines()
    numbered = [
        f"accession,{rows[0]}",
        *(f"{n},{row}" for n, row in enumerate(rows[1:])),
    ]
    source.write_text("\n".join(numbered), encoding="utf-8")
    labels, todo, figures = (tmp_path / name for name in ("l.csv", "r.csv", "f.json"))
    call = ["data", "label-reports", str(source), "--out", str(labels)]
    call += ["--reading-list", str(todo)]
    assert main(call) == 2
    assert "no column 'id'" in capsys.readouterr().err
    call += ["--id-column", "accession", "--truth-column", "label"]
    assert main([*call, "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    made = json.loads(figures.read_text())
    assert made["schema"] == "tumorlens-report-labels/1"
    assert made["reports"] == len(rows) - 1
    assert f"{len(rows) - 1} reports" in said
    assert "Right, of those" in said
    sure = len(labels.read_text().splitlines()) - 1
    assert made["sure"]["value"] == sure / made["reports"]
    # What people answer is labelled, too, and nothing of it is left to be read.
    listed = todo.read_text(encoding="utf-8")
    answered = tmp_path / "answered.csv"
    answered.write_text(
        "\n".join(
            line if number == 0 else line.removesuffix(",,") + ",exclude,me"
            for number, line in enumerate(listed.strip().split("\n"))
        )
    )
    assert main([*call, "--answers", str(answered)]) == 0
    assert "0 to be read" in capsys.readouterr().out


def test_a_measurement_needs_the_truth(tmp_path, capsys):
    call = ["data", "label-reports", str(REPORTS), "--out", str(tmp_path / "l.csv")]
    call += ["--reading-list", str(tmp_path / "r.csv"), "--json", str(tmp_path / "j")]
    assert main(call) == 2
    assert "--truth-column" in capsys.readouterr().err


def png(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def put(client: FlaskClient, place: str, **mark: object) -> None:
    assert client.put(place, json=mark).status_code == 200


def test_marks_become_a_manifest_while_the_server_runs(
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lesion_png = png(draw_phantom(lesion=(90, 110, 22)))
    color_png = png(np.full((200, 300, 3), (200, 0, 80), np.uint8))
    place, out = tmp_path / "store", tmp_path / "out"
    command = ["data", "from-feedback", "--store", str(place), "--out", str(out)]
    classifier = load_series_classifier(tiny_bundle, threads=1)
    with closing(Store(place, 3600, 2**27, feedback_seconds=3600)) as store:
        client = create_app(classifier, store, Settings()).test_client()
        assert main(command) == 0
        assert "No result is marked" in capsys.readouterr().err
        files = [(f"DOE^JANE{n}.png", lesion_png) for n in range(2)]
        sent = client.post(
            "/api/v1/predictions", **form(*files, ("DOE.png", color_png))
        ).json
        assert sent is not None
        glioma, wrong, refused = (
            f"{item['links']['self']}/feedback" for item in sent["predictions"]
        )
        put(client, glioma, correct=True)
        put(client, wrong, correct=False, finding="vascular")
        put(client, refused, correct=True)
        scan = client.post("/api/v1/scans", **form(("head.nii.gz", nifti())))
        series = scan.headers["Location"] + "/series/0"
        finish(client, scan.headers["Location"])
        put(client, f"{series}/feedback", correct=False, finding="no_tumor")
        assert main(command) == 0
        said = capsys.readouterr()
    assert "3 results of 2 patients or groups, 2 of them wrong" in said.out
    assert "Left out (1)" in said.err
    records = read_manifest(out / "feedback.csv")
    assert [row.label for row in records] == [
        TumorClass.GLIOMA,
        None,
        TumorClass.NO_TUMOR,
    ]
    assert [row.lesion for row in records] == ["", "vascular", ""]
    assert {row.source for row in records} == {"feedback"}
    # Equal pictures are one group, and so cannot come into two splits.
    first, second, whole = records
    assert first.patient == second.patient != whole.patient
    assert "DOE" not in (out / "feedback.csv").read_text()
    # What is written can be judged and learned from.
    assert read_study(first.path).slices[0].pixels.shape == (256, 256)
    voxels = np.asarray(nibabel.load(whole.path).dataobj)
    original = np.transpose(head_slices(), (2, 1, 0))
    assert np.array_equal(voxels, original)
    (kept,) = read_study(whole.path).series
    (sent_series,) = read_study(nifti(), "head.nii.gz").series
    for one, two in zip(kept.slices, sent_series.slices, strict=True):
        assert np.allclose(one.pixels, two.pixels)
        assert one.placement is not None
        assert two.placement is not None
        assert np.allclose(one.placement.origin, two.placement.origin)
    assert main([*command, "--wrong"]) == 0
    with (out / "feedback.csv").open() as file:
        assert [row["correct"] for row in csv.DictReader(file)] == ["no", "no"]


def test_a_wrong_folder_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "from-feedback", "--store", str(tmp_path), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "no store" in capsys.readouterr().err


def test_a_series_keeps_its_own_values(tmp_path: Path) -> None:
    """Such as one in steps between whole numbers, of unknown place."""
    voxels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    mark = Feedback.on("glioma", True, None, 0.0)
    result = MarkedResult(
        "n", "g", mark, "glioma", "1", "", "", voxels, (0.5, -3.0), None, (8, 2, 1)
    )
    write_volume(result, tmp_path / "n.nii.gz")
    image = nibabel.load(tmp_path / "n.nii.gz")
    assert np.array_equal(image.get_fdata(), np.transpose(voxels, (2, 1, 0)) / 2 - 3)
    assert image.header.get_zooms() == (1, 2, 8)
    assert image.header["sform_code"] == image.header["qform_code"] == 0
