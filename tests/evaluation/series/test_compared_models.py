"""Who judges a scan: never a bundle that has seen the patient."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import draw_set
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import DatasetError, SettingError
from tumorlens.evaluation.series.compared_models import load_contestant
from tumorlens.evaluation.series.comparison import judge_scans
from tumorlens.inference.bundle.bundle import write_document


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
    contestant = load_contestant(folder)
    by_name = {
        row.patient: contestant.member(row).bundle.folder.parent.name for row in records
    }
    assert by_name["glioma0"] == "fold1"
    assert by_name["glioma1"] == "fold0"
    _, (found,) = judge_scans([contestant], records, None)
    assert not found.seen.any()
    shutil.rmtree(folder / "fold1")
    shutil.copytree(folder / "fold0", folder / "fold1")
    with pytest.raises(DatasetError, match="glioma0"):
        load_contestant(folder).member(records[0])


def test_what_holds_no_model_is_refused(tmp_path):
    with pytest.raises(SettingError, match="neither a bundle"):
        load_contestant(tmp_path)
