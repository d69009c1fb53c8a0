"""The format of model bundles: those made before the redesign load and say the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tumorlens
from tests.contracts import samples
from tests.contracts.conftest import RECORDED, Compare
from tests.contracts.shapes import shape
from tumorlens.cli.main import main

SHIPPED = Path(tumorlens.__file__).parent / "models" / "evidence-net"
BUNDLES = {
    "shipped": SHIPPED,
    "of-slices": RECORDED / "bundle-of-slices",
    "of-volumes": RECORDED / "bundle-of-volumes",
    "with-columns": RECORDED / "bundle-with-columns",
}
SCANS = ("shipped", "of-slices", "of-volumes")
CLOSE = 1e-4
"""Processors differ that much in a probability."""


@pytest.mark.parametrize("name", BUNDLES)
def test_files_and_facts_of_a_bundle(name: str, compare: Compare) -> None:
    folder = BUNDLES[name]
    facts = {
        path.name: shape(_brief(json.loads(path.read_text(encoding="utf-8"))))
        for path in sorted(folder.glob("*.json"))
    }
    files = sorted(path.name for path in folder.iterdir())
    compare(f"bundle-format-{name}", {"files": files, "facts": facts})


def _brief(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is free: figures below their names, and a key for a patient."""
    free = {name: document.get(name, {}) for name in ("metrics", "provenance")}
    return document | {
        name: {key: type(value).__name__ for key, value in facts.items()}
        for name, facts in free.items()
    }


@pytest.mark.parametrize("name", [name for name in BUNDLES if name != "of-volumes"])
@pytest.mark.parametrize("label", ["glioma", "no_tumor"])
def test_an_old_bundle_judges_a_slice_as_before(
    name: str, label: str, tmp_path: Path, recording: bool
) -> None:
    place = tmp_path / "head.png"
    if name == "shipped":
        picture = samples.save_example(place, label)
    else:
        picture = samples.save_picture(place, 3, label)
    found = _run("predict", picture, BUNDLES[name], tmp_path / "out.json")
    keys = ("decision", "predicted", "operating_point", "prediction_set")
    _same(f"decisions-slice-{name}-{label}", found, keys, recording)


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("label", ["glioma", "no_tumor"])
def test_an_old_bundle_judges_a_scan_as_before(
    name: str, label: str, tmp_path: Path, recording: bool
) -> None:
    place = tmp_path / "head.nii.gz"
    if name == "shipped":
        volume = samples.save_example_volume(place, label)
    else:
        volume = samples.save_volume(place, 0, label)
    found = _run("scan", volume, BUNDLES[name], tmp_path / "out.json")
    keys = ("decision", "predicted", "operating_point", "slices", "refused")
    _same(f"decisions-scan-{name}-{label}", found, keys, recording)


def test_an_old_bundle_counts_clinical_columns_as_before(
    columns_bundle: Path, tmp_path: Path, recording: bool
) -> None:
    picture = samples.save_picture(tmp_path / "head.png", 3)
    row = {"file": "head.png", "age": 70, "sex": "M"}
    table = samples.write_rows(tmp_path / "table.csv", [row])
    more = ("--clinical", str(table))
    found = _run("predict", picture, columns_bundle, tmp_path / "out.json", *more)
    _same("decisions-with-columns", found, ("decision", "predicted"), recording)


def test_a_bundle_that_was_changed_is_refused(
    slices_bundle: Path, picture: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(slices_bundle, tmp_path / "bundle")
    facts = (copy / "bundle.json").read_text(encoding="utf-8")
    (copy / "bundle.json").write_text(facts.replace("0.3", "0.4"), encoding="utf-8")
    assert main(["predict", str(picture), "--model", str(copy)]) == 2


def _run(
    command: str, source: Path, model: Path, out: Path, *more: str
) -> dict[str, Any]:
    line = [command, str(source), "--model", str(model), "--threads", "1", *more]
    assert main([*line, "--json", str(out)]) == 0
    (document,) = json.loads(out.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    # Of what is refused the numbers stand apart.
    return document | (document["raw"] or {})


def _same(
    name: str, found: dict[str, Any], keys: tuple[str, ...], recording: bool
) -> None:
    path = RECORDED / f"{name}.json"
    now = {key: found[key] for key in keys}
    if recording:
        rounded = {key: round(p, 5) for key, p in found["probabilities"].items()}
        text = json.dumps({**now, "probabilities": rounded}, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    probabilities = before.pop("probabilities")
    assert now == before
    assert found["probabilities"] == pytest.approx(probabilities, abs=CLOSE)
