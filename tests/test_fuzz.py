"""The fuzzer itself: it sees what breaks a promise, and can make each file again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import judge
from fuzz.mutate import damaged
from fuzz.seeds import FORMATS, seeds_of

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_numbers_make_the_same_file(name: str) -> None:
    seeds = seeds_of(name)
    made = [damaged(name, seeds, 3, index) for index in range(30)]
    assert made == [damaged(name, seeds, 3, index) for index in range(30)]
    assert len(set(made)) > 20


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


def test_the_command_reads_files_and_says_how_many(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "fuzz", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    said = run("--format", "bmp", "--engine", "seeded", "--count", "20")
    assert "bmp, seeded: 20 files" in said
    path = tmp_path / "kept"
    path.write_bytes(seeds_of("bmp")[0])
    assert run("--replay", str(path)) == "ok\n"
