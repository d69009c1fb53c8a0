"""`tumorlens query`, run as people run it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.samples.archives import draw_archive
from tumorlens.cli.main import main

pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """Results of a drawn archive."""
    folder = tmp_path_factory.mktemp("query")
    archive = draw_archive(folder / "drawn")
    more = ["--model", str(tiny_bundle), "--threads", "1", "--maps"]
    assert main(["batch", str(archive), "--out", str(folder / "out"), *more]) == 1
    return folder / "out"


def test_a_table_by_month_and_decision(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", str(results)]) == 0
    said = capsys.readouterr().out
    assert "month" in said
    assert "2026-01" in said
    assert "no_tumor" in said


def test_json_has_all_groups(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["query", str(results), "--by", "status", "--limit", "1", "--json"]
    assert main([*call, "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "tumorlens-query/1"
    assert document["by"] == ["status"]
    counts = {group["status"]: group["rows"] for group in document["groups"]}
    assert counts == {"copy": 1, "empty_file": 1, "ok": 12}
    assert main([*call, str(tmp_path / "q.json")]) == 0
    assert json.loads((tmp_path / "q.json").read_text()) == document
    assert "2 more groups" in capsys.readouterr().out


def test_series_are_shown_in_one_line(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", str(results), "--by", "series", "--where", "status=ok"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("1.2.826.0.1" in line for line in lines) == 2


def test_a_page_leads_to_the_overlays(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a folder" / "page.html"
    call = ["query", str(results), "--html", str(page)]
    assert main(call) == 2
    assert "does not exist" in capsys.readouterr().err
    page.parent.mkdir()
    assert main([*call, "--where", "status=ok"]) == 0
    assert f"Page written to {page}" in capsys.readouterr().out.replace("\n", "")
    html = page.read_text(encoding="utf-8")
    assert "status = ok" in html
    links = re.findall(r'href="([^"#]*overlay\.png)"', html)
    assert links
    for link in links:
        assert (page.parent / unquote(link)).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--where", "month"), "--where takes COLUMN=VALUE"),
        (("--by", "hospital"), "There is no column 'hospital'"),
    ],
)
def test_wrong_use_is_told(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    said: str,
) -> None:
    assert main(["query", str(results), *more]) == 2
    assert said in capsys.readouterr().err
