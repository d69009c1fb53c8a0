"""JSON keys and CSV columns of what is written when models are made and measured."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import samples
from tests.contracts.conftest import RECORDED, Compare
from tests.contracts.shapes import shape
from tests.contracts.test_files_of_pictures import keys_of, rows_of, run

pytest.importorskip("keras", reason="the extra 'train' is not installed")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SMALL = ("--network", "seed-cnn", "--epochs", "1", "--steps-per-epoch", "1")
SMALL += ("--batch-size", "4", "--size", "64", "--early-size", "32")
FOLDS = ("--robustness", "0", *SMALL)
SLICES, VOLUMES = RECORDED / "bundle-of-slices", RECORDED / "bundle-of-volumes"


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one step."""
    folder = tmp_path_factory.mktemp("run") / "run"
    run("train", "--data", manifest, "--out", folder, *SMALL)
    return folder


@pytest.fixture(scope="module")
def measured(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation, with all that --robustness measures."""
    folder = tmp_path_factory.mktemp("measured")
    words = ("--split", "all", "--model", SLICES, "--compare", SLICES)
    files = ("--out", folder, "--json", folder / "figures.json")
    run("evaluate", "--data", manifest, *words, *files, "--robustness", "4")
    return folder


def test_a_run(trained: Path, compare: Compare) -> None:
    compare("run-files", {"run": _files(trained), "json": _json_in(trained)})
    found = {path.name: rows_of(path)[0] for path in sorted(trained.glob("*.csv"))}
    compare("run-csv", found)


def test_its_bundle(trained: Path, compare: Compare, tmp_path: Path) -> None:
    run("export", trained, "--out", tmp_path / "bundle")
    compare(
        "run-bundle",
        {"train": _json_in(trained / "bundle"), "export": _json_in(tmp_path / "bundle")}
        | {"files": _files(tmp_path / "bundle")},
    )


def test_folds(manifest: Path, compare: Compare, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    run("train", "--data", manifest, "--out", out, "--folds", "2", *FOLDS)
    found: dict[str, Any] = {"files": _files(out), "report": _files(out / "report")}
    # What stands below these keys is as `evaluate` writes it.
    metrics = json.loads((out / "report" / "metrics.json").read_text("utf-8"))
    (figures,) = json.loads((out / "report" / "figures.json").read_text("utf-8"))
    keys = {"metrics.json": sorted(metrics), "figures.json": sorted(figures)}
    compare("folds-files", found | keys)


def test_clinical_columns(compare: Compare, tmp_path: Path) -> None:
    manifest, table = samples.save_clinical(tmp_path)
    words = ("--clinical", table, "--model", SLICES, "--permutations", "1")
    run("train", "--data", manifest, "--out", tmp_path / "run", *words)
    compare("clinical-json", _json_in(tmp_path / "run" / "clinical"))


def test_evaluate(measured: Path, compare: Compare) -> None:
    compare("evaluate-files", _files(measured))
    compare("evaluate-json", _json_in(measured))


def test_figures_that_a_bundle_keeps(
    manifest: Path, compare: Compare, tmp_path: Path
) -> None:
    copy = shutil.copytree(SLICES, tmp_path / "bundle")
    words = ("--split", "all", "--model", copy, "--record", "drawn")
    run("evaluate", "--data", manifest, *words)
    compare("bundle-metrics", keys_of(copy / "bundle.json"))


def test_compare_scans(compare: Compare, tmp_path: Path) -> None:
    manifest, out = samples.save_scan_set(tmp_path), tmp_path / "scans.json"
    words = ("--model", SLICES, "--model", VOLUMES, "--json", out)
    run("compare-scans", "--data", manifest, "--split", "all", *words)
    compare("compare-scans-json", keys_of(out))


def test_calibrate(compare: Compare, tmp_path: Path) -> None:
    scans, manifest, folds = samples.save_stacks(tmp_path, SLICES)
    out, copy = tmp_path / "out.json", shutil.copytree(SLICES, tmp_path / "bundle")
    words = ("--scans", scans, "--data", manifest, "--folds", folds, "--threads", "1")
    run("calibrate", *words, "--model", copy, "--json", out)
    compare("calibrate-json", keys_of(out))
    compare("bundle-scans", keys_of(copy / "bundle.json"))


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _json_in(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.jsonl")]):
        text = path.read_text(encoding="utf-8")
        documents: list[Any] = (
            [json.loads(line) for line in text.splitlines()]
            if path.suffix == ".jsonl"
            else [json.loads(text)]
        )
        found[path.name] = shape(*documents)
    return found
