"""Two recordings of the shipped bundle are compared bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.test_house import load


@pytest.fixture(scope="module")
def script() -> Any:
    return load("same_decisions")


@pytest.fixture(scope="module")
def recorded(script: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same pictures and scan, judged twice."""
    folder = tmp_path_factory.mktemp("recorded")
    files = [folder / "first.json", folder / "second.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TUMORLENS_DATA", raising=False)
        for path in files:
            script.record(path, pictures=3, scans=1)
    return files


def test_the_same_code_gives_the_same_bits(
    script: Any, recorded: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.compare(*recorded) == 0
    assert "Bit-equal: 3 by api, 3 by predict, 1 by scan" in capsys.readouterr().out


def test_a_difference_is_named_with_its_picture(
    script: Any,
    recorded: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = json.loads(recorded[1].read_text())
    changed["predict"]["0001 made/1.png"]["p_tumor"] += 1e-15
    del changed["scan"]["0000 made/0.nii.gz"]["lesion"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(changed))
    assert script.compare(recorded[0], other) == 1
    said = capsys.readouterr().out
    assert "predict > 0001 made/1.png > p_tumor: 0." in said
    assert "scan > 0000 made/0.nii.gz > lesion: gone" in said
    assert "2 differences" in said


def test_pictures_are_spread_over_the_sets(script: Any, tmp_path: Path) -> None:
    for name, count in (("a", 100), ("b", 3)):
        folder = tmp_path / name / "images"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:03d}.png").touch()
    chosen = script.find_pictures(tmp_path, 8)
    names = [f"{path.parts[-3]}{path.stem}" for path in chosen]
    assert names == ["a000", "a033", "a066", "a099", "b000", "b001", "b002"]
