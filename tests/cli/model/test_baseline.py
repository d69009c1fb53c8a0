"""`tumorlens baseline` on drawn heads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tumorlens.cli.main import EXIT_ERROR, main


def test_it_prints_a_table_and_writes_the_figures(
    drawn_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "baseline.json"
    arguments = ["baseline", "--data", str(drawn_set), "--folds", "2"]
    assert main([*arguments, "--together", "a, b", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "AUROC, tumour or none" in shown
    assert "Together: a, b" in shown
    figures = json.loads(out.read_text())
    assert figures["slices"] == 24
    assert 0.0 <= figures["by_slice"]["all"]["accuracy"]["value"] <= 1.0


def test_a_file_that_cannot_be_written_is_named(
    drawn_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "baseline.json"
    arguments = ["baseline", "--data", str(drawn_set), "--folds", "2"]
    assert main([*arguments, "--json", str(out)]) == EXIT_ERROR
    assert str(out.parent) in capsys.readouterr().err
