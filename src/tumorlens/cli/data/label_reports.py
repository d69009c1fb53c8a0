"""`tumorlens data label-reports`: a reference standard out of free-text reports."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from tumorlens.cli._shared.output_files import check_files, write_json
from tumorlens.cli._shared.tables import show_tables
from tumorlens.cli.data.options import OUT
from tumorlens.report.page_parts import Table, figure_text, name_text


@click.command(name="label-reports")
@click.argument("reports", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=OUT, required=True, help="CSV for what is sure.")
@click.option(
    "--reading-list",
    type=OUT,
    required=True,
    help="CSV for the reports that people have to read, with an empty column answer.",
)
@click.option(
    "--answers",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="A reading list that people have filled in; may be given several times.",
)
@click.option("--id-column", default="id", show_default=True)
@click.option("--text-column", default="text", show_default=True)
@click.option(
    "--truth-column",
    default="",
    help="Column with what a person made of each report: measures the rules by it.",
)
@click.option("--json", "json_path", type=OUT, help="Write that measurement as JSON.")
def label_reports(
    reports: Path,
    out: Path,
    reading_list: Path,
    answers: tuple[Path, ...],
    id_column: str,
    text_column: str,
    truth_column: str,
    json_path: Path | None,
) -> None:
    """Label radiology reports, English or German, by rules; list those to be read.

    REPORTS is a CSV with a report a row. A report is labelled where its words leave no
    doubt: what is denied, doubted, or said of relatives does not count, and what stands
    under headings such as Indication or Fragestellung is passed over. All others go to
    people.
    """
    from tumorlens.data.reports.labeller import (
        label_report,
        measure_labels,
        read_answers,
        read_reports,
        write_labels,
        write_reading_list,
    )

    if json_path is not None and not truth_column:
        raise click.UsageError("--json needs --truth-column.")
    check_files(out, reading_list, json_path)
    listed = read_reports(reports, id_column, text_column, truth_column)
    answered: dict[str, Any] = {}
    for path in answers:
        answered |= read_answers(path)
    labels = {item.id: label_report(item.text) for item in listed}
    sure = write_labels(out, labels, answered)
    left = write_reading_list(reading_list, listed, labels, answered)
    reasons = Counter(
        str(label.reason) for name, label in labels.items() if name not in answered
    )
    click.echo(f"{len(listed)} reports: {sure} labelled in {out}.")
    click.echo(f"{left} to be read in {reading_list}.")
    rows = [(reason, str(count)) for reason, count in reasons.most_common()]
    show_tables([Table("By the rules", ("Why", "Reports"), rows)])
    if truth_column:
        figures = measure_labels(listed, labels)
        show_tables([_measured(figures)])
        if json_path is not None:
            write_json(json_path, figures)


def _measured(figures: dict[str, Any]) -> Table:
    rows = [
        (title, figure_text(figures[key]))
        for title, key in (
            ("Labelled by the rules", "sure"),
            ("Right, of those", "right"),
            ("To be read, of those that nobody can tell", "read"),
        )
    ]
    for name, row in figures["findings"].items():
        rows.append((f"{name_text(name)}: found", figure_text(row["found"])))
        rows.append((f"{name_text(name)}: right", figure_text(row["precision"])))
    return Table(f"Beside people, {figures['reports']} reports", ("", "Share"), rows)
