"""The audit trail: what is in it, what is not, and that nobody changes it unseen."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tumorlens.cli.main import main
from tumorlens.operations.audit import (
    AUDIT_FILE,
    AuditAction,
    AuditEvent,
    AuditOutcome,
    AuditTrail,
    verify,
)

READ = (AuditEvent.ACCESS, AuditAction.READ, AuditOutcome.SUCCESS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / AUDIT_FILE
    trail = AuditTrail(path)
    for number in range(5):
        trail.record(*READ, user=f"user {number}")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_form_a_chain(path: Path) -> None:
    found = lines(path)
    report = verify(path)
    assert (report.events, report.problem) == (5, None)
    assert report.head == found[-1]["digest"]
    assert [item["previous"] for item in found[1:]] == [
        item["digest"] for item in found[:-1]
    ]
    assert path.stat().st_mode & 0o077 == 0


def change(rows: list[str]) -> list[str]:
    return [rows[0].replace("user 0", "user 9"), *rows[1:]]


def resign(rows: list[str]) -> list[str]:
    """Change a line together with its own digest."""
    from tumorlens.operations import audit

    line = json.loads(rows[1])
    line["user"] = "user 9"
    del line["digest"]
    line["digest"] = audit._digest(line)
    return [rows[0], json.dumps(line), *rows[2:]]


@pytest.mark.parametrize(
    ("tamper", "whole"),
    [
        (change, 0),
        (resign, 2),
        (lambda rows: rows[1:], 0),
        (lambda rows: [*rows[:2], *rows[3:]], 2),
        (lambda rows: [*rows[:3], rows[2], *rows[3:]], 3),
        (lambda rows: [*rows, "no event"], 5),
        (lambda rows: [*rows, "[1]"], 5),
        (lambda rows: [*rows, "[" * 50_000], 5),
        (lambda rows: [*rows, '{"digest": "", "number": Infinity}'], 5),
        (lambda rows: [rows[0].replace("user 0", "\\ud800"), *rows[1:]], 0),
    ],
    ids=[
        "changed",
        "signed anew",
        "begun later",
        "taken out",
        "put in",
        "garbage",
        "a list",
        "very deep",
        "without end",
        "half a letter",
    ],
)
def test_what_was_tampered_with_is_found(
    path: Path, tamper: Callable[[list[str]], list[str]], whole: int
) -> None:
    path.write_text("\n".join(tamper(path.read_text().splitlines())) + "\n")
    report = verify(path)
    assert report.problem is not None
    assert report.events == whole
    # It is left for `verify` to say, and what comes is still recorded.
    AuditTrail(path).record(*READ)


def test_a_noted_end_shows_that_later_events_were_cut_off(path: Path) -> None:
    head = verify(path).head
    AuditTrail(path).record(*READ)
    assert verify(path, head).problem is None
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:3]) + "\n")
    assert verify(path).problem is None
    assert "cut" in (verify(path, head).problem or "")


def test_a_line_that_was_broken_off_by_a_power_cut_goes(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"number": 6, "ti')
    AuditTrail(path).record(*READ)
    assert (verify(path).events, verify(path).problem) == (6, None)


def test_an_event_of_very_many_results_keeps_the_chain_whole(path: Path) -> None:
    AuditTrail(path).record(*READ, objects=[f"2.25.{i:032}" for i in range(5000)])
    AuditTrail(path).record(*READ)
    with path.open("a") as file:
        file.write("[" * 200_000)
    AuditTrail(path).record(*READ)
    assert (verify(path).events, verify(path).problem) == (8, None)


def record_many(path: Path) -> None:
    for _ in range(50):
        AuditTrail(path).record(*READ)


def test_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / AUDIT_FILE
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=record_many, args=(path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (verify(path).events, verify(path).problem) == (150, None)


def test_the_command_says_whether_it_is_whole(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "verify", "--store", str(path.parent)]
    assert main(words) == 0
    head = verify(path).head
    assert capsys.readouterr().out == f"5 events are whole. The end: {head}\n"
    assert main([*words, "--noted", head]) == 0
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    capsys.readouterr()
    assert main(words) == 1
    assert "does not follow" in capsys.readouterr().out
    assert main(["audit", "verify", "--store", str(path.parent / "none")]) == 2
