"""The fuzzer itself: it sees what breaks a promise, and can make each file again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import campaign, judge
from fuzz.drawn import files_like
from fuzz.mutate import damaged
from fuzz.seeds import FORMATS, seeds_of
from hypothesis import given, settings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_numbers_make_the_same_file(name: str) -> None:
    seeds = seeds_of(name)
    made = [damaged(name, seeds, 3, index) for index in range(30)]
    assert made == [damaged(name, seeds, 3, index) for index in range(30)]
    assert len(set(made)) > 20


@pytest.mark.parametrize("name", FORMATS)
def test_hypothesis_draws_files_that_differ(name: str) -> None:
    made: list[bytes] = []

    @settings(max_examples=30, database=None, deadline=None, derandomize=True)
    @given(files_like(seeds_of(name)))
    def draw(data: bytes) -> None:
        made.append(data)

    draw()
    assert len(set(made)) > 10


def test_hypothesis_s_find_is_kept_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the engine against a reader that fails on files of another length."""
    lengths = {len(item) for item in seeds_of("bmp")}
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import tumorlens.imaging.read as read\n"
        "whole = read.read_study\n"
        "def fail(data, name):\n"
        f"    if len(data) not in {lengths}:\n"
        "        raise KeyError('x')\n"
        "    return whole(data, name)\n"
        "read.read_study = fail\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr(campaign, "FAILURES", tmp_path)
    monkeypatch.setattr(campaign, "_MOST_ENDS", 2)
    found = campaign.run_drawn("bmp", 50, 0)
    assert len(found.failures) == 2
    assert found.files == found.seen.total()
    assert found.seen["fault"] >= 2
    for kept in found.failures:
        assert kept.stat().st_size not in lengths
        assert "KeyError" in kept.with_suffix(".txt").read_text()
    assert not list(tmp_path.glob("*-now"))


def test_an_error_of_another_tree_breaks_a_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(data: bytes, name: str) -> None:
        raise KeyError("x")

    monkeypatch.setattr(judge, "read_study", read)
    with pytest.raises(judge.PromiseError, match="KeyError"):
        judge.outcome_of(b"x")


def test_growth_breaks_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = judge.Judge([])
    monkeypatch.setattr(judge, "_peak", lambda: seen._start + 300_000_000)
    with pytest.raises(judge.PromiseError, match="300 MB"):
        seen.judge(b"no picture")


def test_what_was_held_before_is_charged_to_no_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = judge.Judge([])
    held = seen._start + 300_000_000
    monkeypatch.setattr(judge, "_memory", lambda field: held)
    seen.start_anew()
    assert seen.judge(b"no picture") == "unknown_format"


def test_the_command_reads_files_and_says_how_many(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "fuzz", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    kept = str(tmp_path / "new" / "fuzz.json")
    options = ("--format", "bmp", "--engine", "seeded", "--count", "20", "--json", kept)
    said = run(*options)
    assert "bmp, seeded: 20 files" in said
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and rows[2].startswith("| bmp | seeded | 20 |")
    again = run(*options)
    assert "1 runs stand in" in again and "bmp, seeded: 20 files" not in again
    assert rows == [line for line in again.splitlines() if line.startswith("|")]
    path = tmp_path / "kept"
    path.write_bytes(seeds_of("bmp")[0])
    assert run("--replay", str(path)) == "ok\n"
