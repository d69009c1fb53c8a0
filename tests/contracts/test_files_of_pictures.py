"""JSON keys and CSV columns of what commands write of pictures and scans."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import samples
from tests.contracts.conftest import Compare
from tests.contracts.shapes import shape
from tests.samples.drawn_study import with_study_model
from tumorlens.cli.main import main


def run(*words: object, status: int = 0) -> None:
    """Run a command in this process."""
    assert main([str(word) for word in words]) == status


def keys_of(path: Path) -> dict[str, str]:
    """Say which keys a JSON file has, and of which types."""
    return shape(json.loads(path.read_text(encoding="utf-8")))


def rows_of(path: Path) -> list[list[str]]:
    """Read a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A tumour, no tumour, a blank picture, and text that is none."""
    picture = samples.save_example(tmp_path / "head.png")
    healthy = samples.save_example(tmp_path / "healthy.png", "no_tumor")
    blank = samples.save_blank(tmp_path / "blank.png")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    return [picture, healthy, blank, text]


def test_predict(pictures: list[Path], compare: Compare, tmp_path: Path) -> None:
    out, table, maps = (tmp_path / name for name in ("out.json", "out.csv", "maps"))
    files = ("--json", out, "--csv", table, "--maps", maps)
    run("predict", *pictures, *files, status=1)
    *judged, failed = json.loads(out.read_text(encoding="utf-8"))
    found = {
        "judged": shape(*judged),
        "failed": shape(failed),
        "words": _words([*judged, failed], "schema", "status", "research_use_only"),
    }
    compare("predict-json", found)
    compare("predict-csv", rows_of(table)[0])
    compare("predict-maps", sorted(path.name for path in maps.iterdir()))


def test_predict_with_clinical_columns(
    columns_bundle: Path, picture: Path, compare: Compare, tmp_path: Path
) -> None:
    row = {"file": str(picture), "age": 70, "sex": "M"}
    table = samples.write_rows(tmp_path / "table.csv", [row])
    out = tmp_path / "out.json"
    words = ("--clinical", table, "--model", columns_bundle)
    run("predict", picture, *words, "--json", out)
    compare("predict-json-with-columns", keys_of(out))


@pytest.mark.parametrize("kind", ["shipped", "of-slices", "of-volumes"])
def test_scan(
    kind: str,
    volume: Path,
    slices_bundle: Path,
    volumes_bundle: Path,
    compare: Compare,
    tmp_path: Path,
) -> None:
    folders = {"of-slices": slices_bundle, "of-volumes": volumes_bundle}
    model = ("--model", folders[kind]) if kind in folders else ()
    if kind == "shipped":
        volume = samples.save_example_volume(tmp_path / "head.nii.gz")
    out = tmp_path / "out.json"
    run("scan", volume, tmp_path / "none.nii", "--json", out, *model, status=1)
    judged, failed = json.loads(out.read_text(encoding="utf-8"))
    words = _words([judged, failed], "schema", "status", "research_use_only")
    found = {"judged": shape(judged), "failed": shape(failed), "words": words}
    compare(f"scan-json-{kind}", found)


@pytest.mark.parametrize("kind", ["plain", "learned"])
def test_study(
    kind: str, slices_bundle: Path, compare: Compare, tmp_path: Path
) -> None:
    model = shutil.copytree(slices_bundle, tmp_path / "bundle")
    if kind == "learned":
        with_study_model(model)
    names = ("T1.nii.gz", "T1C.nii.gz", "FLAIR.nii.gz")
    volumes = [samples.save_volume(tmp_path / name, label="glioma") for name in names]
    out = tmp_path / "out.json"
    run("study", *volumes, "--json", out, "--model", model)
    found = json.loads(out.read_text(encoding="utf-8"))
    words = _words([found], "schema", "status", "research_use_only")
    compare(f"study-json-{kind}", {"judged": shape(found), "words": words})


def test_scan_that_shows_nothing(compare: Compare, tmp_path: Path) -> None:
    dark, out = samples.save_dark(tmp_path / "dark.nii.gz"), tmp_path / "out.json"
    run("scan", dark, "--json", out)
    compare("scan-json-of-nothing", keys_of(out))


def test_scan_in_all_planes(
    slices_bundle: Path, compare: Compare, tmp_path: Path
) -> None:
    even = samples.save_volume(tmp_path / "even.nii.gz", slices=24, apart_mm=1.5)
    out = tmp_path / "out.json"
    run("scan", even, "--planes", "all", "--json", out, "--model", slices_bundle)
    compare("scan-json-in-all-planes", keys_of(out))


def _words(documents: list[dict[str, Any]], *keys: str) -> dict[str, list[str]]:
    """Gather the words of which programs decide."""
    return {key: sorted({str(item.get(key)) for item in documents}) for key in keys}
