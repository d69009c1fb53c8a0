"""The ledger: units, parts, what is done, and who may write."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.errors import OutputError, SettingError
from tumorlens.scale.archive.ledger import Ledger, PartCounts, RunFacts
from tumorlens.scale.archive.sources import FileHeader, ListedFile, Source

FACTS = RunFacts(("a",), "/somewhere", "1.0", "tiny (12)", "screening", 10, False)


def filled(folder: Path, files: list[tuple[str, str | None]], part_size: int) -> Ledger:
    ledger = Ledger(folder)
    ledger.add_source(0, Source("a", "/base"))
    ledger.add_files(
        0, [(ListedFile(path), FileHeader(True, 5, 1, uid)) for path, uid in files]
    )
    ledger.plan(part_size)
    return ledger


def units_of(ledger: Ledger) -> list[list[list[str]]]:
    return [
        [[file.name for file in unit] for unit in task.units]
        for task in ledger.open_parts()
    ]


FILES = [
    ("1/x", "uid-b"),
    ("2.png", None),
    ("3/x", "uid-a"),
    ("4/x", "uid-b"),
    ("5.png", None),
]


def test_a_series_is_one_unit_where_its_first_file_stands(tmp_path: Path) -> None:
    with filled(tmp_path, FILES, 3) as ledger:
        assert units_of(ledger) == [
            [["a/1/x", "a/4/x"], ["a/2.png"]],
            [["a/3/x"], ["a/5.png"]],
        ]


def test_a_series_is_not_cut_though_it_is_longer_than_a_part(tmp_path: Path) -> None:
    files = [(f"{number}", "uid") for number in range(7)]
    with filled(tmp_path, [*files, ("8", None)], 3) as ledger:
        assert [len(task.units[0]) for task in ledger.open_parts()] == [7, 1]


def test_the_plan_does_not_depend_on_the_order_of_the_listing(tmp_path: Path) -> None:
    files = [(f"{number:03d}", f"uid-{number % 40}") for number in range(90)]
    mixed = random.Random(0).sample(files, len(files))
    with (
        filled(tmp_path / "one", files, 7) as one,
        filled(tmp_path / "two", mixed, 7) as two,
    ):
        assert units_of(one) == units_of(two)


def test_every_file_is_in_one_part(tmp_path: Path) -> None:
    files = [(f"{number:05d}", None) for number in range(2500)]
    with filled(tmp_path, files, 10) as ledger:
        parts = units_of(ledger)
        names = [name for part in parts for unit in part for name in unit]
        assert names == [f"a/{path}" for path, _ in files]
        assert len(parts) == 250
        assert ledger.inventory().parts == 250
        assert ledger.inventory().size == 5 * 2500


def test_known_files_are_not_read_again(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_source(0, Source("a", "/base"))
        ledger.add_files(0, [(ListedFile("x"), FileHeader(True))])
        files = [ListedFile("x"), ListedFile("y")]
        assert ledger.unknown_files(0, files) == [ListedFile("y")]
        assert ledger.unknown_files(1, files) == files


def test_what_is_done_is_not_handed_out(tmp_path: Path) -> None:
    with filled(tmp_path, FILES, 3) as ledger:
        ledger.finish(0, PartCounts(3, 1, 0.5))
        assert [task.number for task in ledger.open_parts()] == [1]
        assert ledger.counts() == PartCounts(3, 1, 0.5)
        assert ledger.remaining_slices() == 2
    with Ledger(tmp_path) as again:
        assert list(again.part_numbers(done=True)) == [0]
        again.reopen(0)
        assert list(again.part_numbers(done=False)) == [0, 1]


def test_a_sample_is_spread_over_what_is_left(tmp_path: Path) -> None:
    files = [(f"{number:05d}", None) for number in range(6000)]
    with filled(tmp_path, files, 1000) as ledger:
        ledger.finish(0, PartCounts(1000, 0, 1.0))
        names = [unit[0].name for unit in ledger.sample(3, 10).units]
        assert names[0] == "a/01000"
        assert names[-1] == "a/05999"
        assert len(names) == 3


def test_another_call_is_told_what_differs(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.start(FACTS)
        ledger.start(FACTS)
        with pytest.raises(SettingError, match=r"sources: a, now b c; model: tiny"):
            ledger.start(replace(FACTS, sources=("b", "c"), model="other"))


def test_a_folder_is_locked_until_the_ledger_is_closed(tmp_path: Path) -> None:
    with Ledger(tmp_path), pytest.raises(OutputError, match="Another run works in"):
        Ledger(tmp_path)
    Ledger(tmp_path).__exit__(None, None, None)


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "_state").mkdir()
    (tmp_path / "_state" / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(OutputError, match=r"The state of .* cannot be opened"):
        Ledger(tmp_path)
    with pytest.raises(OutputError, match="cannot be made"):
        Ledger(tmp_path / "_state" / "ledger.sqlite")


def test_a_run_of_a_version_without_dicom_results_goes_on(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.start(FACTS)
    base = sqlite3.connect(tmp_path / "_state" / "ledger.sqlite")
    with base:
        base.execute("UPDATE facts SET value = json_remove(value, '$.dicom')")
    base.close()
    with Ledger(tmp_path) as ledger:
        ledger.start(FACTS)
        with pytest.raises(SettingError, match="dicom: False, now True"):
            ledger.start(replace(FACTS, dicom=True))
