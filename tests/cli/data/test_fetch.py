"""`tumorlens data fetch`, run as people run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples.archive_server import serve
from tumorlens.cli.main import main
from tumorlens.data import public as fetching


def test_sets_are_listed_and_a_refusal_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["data", "fetch"]) == 0
    assert "cheng:" in capsys.readouterr().out
    with serve() as archive:
        monkeypatch.setattr(fetching, "FIGSHARE_API", f"{archive.url}/v2")
        line = ["data", "fetch", "cheng", "--out", str(tmp_path / "cheng")]
        assert main(line) == 2
    assert "404" in capsys.readouterr().err
