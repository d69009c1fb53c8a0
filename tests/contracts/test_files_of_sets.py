"""JSON keys and CSV columns of what commands write of data sets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.contracts import samples
from tests.contracts.conftest import Compare
from tests.contracts.test_files_of_pictures import keys_of, rows_of, run


def test_manifest_and_split(manifest: Path, compare: Compare, tmp_path: Path) -> None:
    collected, dealt, folds = (tmp_path / f"{name}.csv" for name in ("a", "b", "c"))
    run("data", "manifest", tmp_path, "--also", manifest, "--out", collected, status=2)
    folder = _folder_of_classes(tmp_path / "set")
    run("data", "manifest", folder, "--also", manifest, "--out", collected)
    run("data", "split", collected, "--out", dealt, "--threads", "1")
    run("data", "split", manifest, "--out", folds, "--folds", "2")
    found = {
        "data manifest": rows_of(collected)[0],
        "data split": rows_of(dealt)[0],
        "data split --folds": rows_of(folds)[0],
        "labels": sorted({row["label"] for row in _rows(collected)}),
        "splits": sorted({row["split"] for row in _rows(dealt)}),
    }
    compare("manifest-csv", found)


def test_slices_and_stacks(volume: Path, compare: Compare, tmp_path: Path) -> None:
    words = ("--label", "no_tumor", "--source", "head", "--out", tmp_path / "cut")
    run("data", "slices", volume, *words)
    cut = tmp_path / "cut" / "head.csv"
    slices = samples.save_stack_of_slices(tmp_path)
    run("data", "stack", slices, "--out", tmp_path / "stacked")
    found = {
        "data slices": rows_of(cut)[0],
        "data stack": rows_of(tmp_path / "stacked" / "volumes.csv")[0],
    }
    compare("slices-and-stacks-csv", found)


def test_scans(compare: Compare, tmp_path: Path) -> None:
    out = tmp_path / "scans.csv"
    run("data", "scans", samples.save_cheng(tmp_path / "sets"), "--out", out)
    compare("scans-csv", rows_of(out)[0])


def test_audit(compare: Compare, tmp_path: Path) -> None:
    manifest, out = samples.save_set(tmp_path), tmp_path / "audit.json"
    # A copy in another split, a file that is gone, and a label of nothing.
    first, *rows = _rows(manifest)
    copy = first | {"patient": "somebody else", "split": "test"}
    gone = first | {"file": "gone.png", "patient": "gone"}
    samples.write_rows(manifest, [first, *rows, copy, gone])
    run("data", "audit", manifest, "--json", out, "--threads", "1", status=1)
    compare("audit-json", keys_of(out))


def test_overlap(manifest: Path, compare: Compare, tmp_path: Path) -> None:
    out = tmp_path / "overlap.json"
    parts = ("--split", "test", "--against-split", "train")
    # Drawn heads are alike enough to be taken for copies.
    run("data", "overlap", manifest, *parts, "--json", out, status=1)
    compare("overlap-json", keys_of(out))


def test_baseline(manifest: Path, compare: Compare, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra 'train' is not installed")
    out = tmp_path / "baseline.json"
    run("baseline", "--data", manifest, "--together", "a,b", "--json", out)
    compare("baseline-json", keys_of(out))


def _folder_of_classes(folder: Path) -> Path:
    for label in ("glioma", "no_tumor"):
        (folder / label).mkdir(parents=True)
        for seed in range(3):
            name = folder / label / f"{seed}.png"
            samples.save_picture(name, 100 * len(label) + seed, label)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
