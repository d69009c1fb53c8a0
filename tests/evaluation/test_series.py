"""Models on whole scans: figures, what gives the answer away, who has seen whom."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.drawn_series import MODEL
from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import draw_set, save_volume
from tumorlens.cli.main import main
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError, SettingError
from tumorlens.evaluation.series import (
    SeriesAnswers,
    compare_models,
    load_compared_model,
    predict_series,
)
from tumorlens.inference.bundle.bundle import record_series_model, write_document
from tumorlens.taxonomy import TumorClass


def test_every_scan_is_judged_by_a_fold_that_has_not_seen_it(tmp_path):
    records = read_manifest(draw_set(tmp_path, 2))
    folder = tmp_path / "folds"
    for fold, name in enumerate(("glioma0", "glioma1")):
        place = folder / f"fold{fold}" / "bundle"
        place.mkdir(parents=True)
        build_volume_bundle(place)
        document = json.loads((place / "bundle.json").read_text())
        document["provenance"] = {"patients": {"train": [name]}}
        write_document(place, document)
    compared_model = load_compared_model(folder)
    by_name = {
        row.patient: compared_model.member(row).bundle.folder.parent.name
        for row in records
    }
    assert by_name["glioma0"] == "fold1"
    assert by_name["glioma1"] == "fold0"
    _, (found,) = predict_series([compared_model], records, None)
    assert not found.seen.any()
    shutil.rmtree(folder / "fold1")
    shutil.copytree(folder / "fold0", folder / "fold1")
    with pytest.raises(DatasetError, match="glioma0"):
        load_compared_model(folder).member(records[0])


def test_what_holds_no_model_is_refused(tmp_path):
    with pytest.raises(SettingError, match="neither a bundle"):
        load_compared_model(tmp_path)


def scans(count: int = 20, **more) -> list[Record]:
    labels = (TumorClass.GLIOMA, TumorClass.NO_TUMOR)
    return [
        Record(Path(f"{i}.nii"), labels[i % 2], patient=f"p{i // 2}", **more)
        for i in range(count)
    ]


def words(name: str, p_tumor, refused=None, seen=False, untold=False) -> SeriesAnswers:
    values = np.asarray(p_tumor, np.float64)
    none = np.zeros(len(values), bool)
    return SeriesAnswers(
        name,
        values,
        values >= 0.5,
        none if refused is None else refused,
        none | seen,
        none | untold,
    )


def test_the_better_model_gains_and_the_draws_are_paired():
    good = words("good", [0.9, 0.1] * 10)
    blind = words("blind", [0.7] * 20)
    found = compare_models(scans(), [blind, good])
    (whole,) = found["sets"]
    assert (whole["scans"], whole["tumors"], whole["patients"]) == (20, 10, 10)
    assert whole["models"][1]["auroc"]["value"] == 1.0
    assert whole["models"][0]["auroc"]["value"] == 0.5
    assert whole["models"][0]["balanced_accuracy"]["value"] == 0.5
    (gain,) = whole["auroc_differences"]
    assert gain == {"value": 0.5, "low": 0.5, "high": 0.5}
    same = compare_models(scans(), [good, good])["sets"][0]["auroc_differences"]
    assert same == [{"value": 0.0, "low": 0.0, "high": 0.0}]


def test_a_refused_scan_counts_as_wrong():
    refused = np.arange(20) < 4
    found = compare_models(scans(), [words("one", [0.9, 0.1] * 10, refused)])
    figures = found["sets"][0]["models"][0]
    assert figures["sensitivity"]["value"] == pytest.approx(0.8)
    assert figures["specificity"]["value"] == pytest.approx(0.8)
    assert found["models"][0]["refused"] == 4


def test_a_source_that_gives_the_answer_away_is_told():
    rows = scans(10, source="here") + [
        Record(Path(f"h{i}.nii"), TumorClass.NO_TUMOR, f"h{i}", source="healthy")
        for i in range(10)
    ]
    rows = [r for r in rows if r.source == "healthy" or r.label is TumorClass.GLIOMA]
    found = compare_models(rows, [words("one", np.linspace(0, 1, len(rows)))])
    assert found["giveaways"]["source"]["value"] == 1.0
    # Neither source shows both kinds, so there is nothing to score inside one.
    assert [part["name"] for part in found["sets"]] == ["all"]


def test_parts_of_the_head_are_scored_by_themselves():
    rows = [
        *scans(8, extra={"part": "1/2"}),
        *scans(8, extra={"part": "2/2"}),
    ]
    found = compare_models(rows, [words("one", [0.9, 0.1] * 4 + [0.1, 0.9] * 4)])
    by_name = {part["name"]: part["models"][0]["auroc"] for part in found["sets"]}
    assert by_name["part 1/2"]["value"] == 1.0
    assert by_name["part 2/2"]["value"] == 0.0
    assert found["giveaways"]["part"]["value"] == 0.5


@pytest.mark.parametrize(("threshold", "called"), [(0.0, True), (1.0, False)])
def test_a_scan_is_called_by_the_threshold_for_scans(
    tmp_path, tiny_bundle, threshold, called
):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    point = replace(MODEL.operating_points["screening"], threshold=threshold)
    points = {**MODEL.operating_points, "screening": point}
    # Below one half: what is likelier a tumour than not is called one at any threshold.
    faint = replace(MODEL, operating_points=points, intercept=-7.0)
    record_series_model(folder, faint)
    records = read_manifest(draw_set(tmp_path, 1))
    _, (found,) = predict_series([load_compared_model(folder)], records, None)
    assert (found.p_tumor < 0.5).all()
    assert (found.called == called).all()


def test_the_command_prints_and_writes(tmp_path, tiny_bundle, capsys):
    manifest = draw_set(tmp_path, 3)
    folder = tmp_path / "bundle"
    folder.mkdir()
    build_volume_bundle(folder)
    (tmp_path / "glioma1.nii.gz").write_bytes(b"broken")
    command = ["compare-scans", "--data", str(manifest), "--split", "train"]
    out = tmp_path / "figures.json"
    models = ["--model", str(tiny_bundle), "--model", str(folder)]
    assert main([*command, *models, "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Left out: " in shown and "glioma1.nii.gz" in shown
    assert "tiny3d 0.0.1: NOT held out, 1 series is of a patient" in shown
    assert "tiny 0.0.1: NOT known to be held out" in shown
    figures = json.loads(out.read_text())
    assert figures["sets"][0]["scans"] == 5
    assert figures["sets"][0]["models"][1]["auroc"]["value"] == 1.0


def test_a_split_without_rows_is_named(tmp_path, capsys):
    manifest = draw_set(tmp_path, 1)
    assert main(["compare-scans", "--data", str(manifest), "--split", "test"]) == 2
    assert "'test'" in capsys.readouterr().err


def test_a_scan_of_which_nothing_was_judged_is_no_right_answer(tmp_path, tiny_bundle):
    path = tmp_path / "dark.nii.gz"
    save_volume(np.zeros((40, 48, 40), np.float32), path)
    record = Record(path, TumorClass.NO_TUMOR, "one")
    _, (found,) = predict_series([load_compared_model(tiny_bundle)], [record], None)
    assert found.refused.all()
    assert not found.called.any()
