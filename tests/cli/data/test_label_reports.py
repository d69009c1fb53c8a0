"""`tumorlens data label-reports`, run as people run it."""

from __future__ import annotations

import json
from pathlib import Path

from tumorlens.cli.main import main

REPORTS = Path(__file__).parents[2] / "data" / "reports" / "held_out.csv"


def test_reports_are_labelled_listed_and_measured(tmp_path, capsys):
    source = tmp_path / "reports.csv"
    rows = REPORTS.read_text(encoding="utf-8").splitlines()
    numbered = [
        f"accession,{rows[0]}",
        *(f"{n},{row}" for n, row in enumerate(rows[1:])),
    ]
    source.write_text("\n".join(numbered), encoding="utf-8")
    labels, todo, figures = (tmp_path / name for name in ("l.csv", "r.csv", "f.json"))
    call = ["data", "label-reports", str(source), "--out", str(labels)]
    call += ["--reading-list", str(todo)]
    assert main(call) == 2
    assert "no column 'id'" in capsys.readouterr().err
    call += ["--id-column", "accession", "--truth-column", "label"]
    assert main([*call, "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    made = json.loads(figures.read_text())
    assert made["schema"] == "tumorlens-report-labels/1"
    assert made["reports"] == len(rows) - 1
    assert f"{len(rows) - 1} reports" in said
    assert "Right, of those" in said
    sure = len(labels.read_text().splitlines()) - 1
    assert made["sure"]["value"] == sure / made["reports"]
    # What people answer is labelled, too, and nothing of it is left to be read.
    listed = todo.read_text(encoding="utf-8")
    answered = tmp_path / "answered.csv"
    answered.write_text(
        "\n".join(
            line if number == 0 else line.removesuffix(",,") + ",exclude,me"
            for number, line in enumerate(listed.strip().split("\n"))
        )
    )
    assert main([*call, "--answers", str(answered)]) == 0
    assert "0 to be read" in capsys.readouterr().out


def test_a_measurement_needs_the_truth(tmp_path, capsys):
    call = ["data", "label-reports", str(REPORTS), "--out", str(tmp_path / "l.csv")]
    call += ["--reading-list", str(tmp_path / "r.csv"), "--json", str(tmp_path / "j")]
    assert main(call) == 2
    assert "--truth-column" in capsys.readouterr().err
