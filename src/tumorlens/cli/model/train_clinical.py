"""The part of `tumorlens train` that learns a table of clinical columns."""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared.tables import show_tables
from tumorlens.report.page_parts import Table
from tumorlens.report.slice.document import RESEARCH_USE

REPORT_FOLDER = "clinical"


def learn_clinical(
    table: Path,
    manifest: Path,
    ready: Path,
    folder: Path,
    calibrate_on: Path | None,
    include_flagged: bool,
    permutations: int | None,
) -> None:
    """Build on a bundle, and say what the columns add.

    Parameters
    ----------
    table, manifest, calibrate_on, include_flagged
        As of `tumorlens.experiments.clinical_run.ClinicalOrder`.
    ready
        The bundle to build on.
    folder
        Of the run; the bundle goes to its ``bundle``, the report to its
        ``clinical``.
    permutations
        None for as many as usual.
    """
    from tumorlens.evaluation.clinical.added_value import PERMUTATIONS
    from tumorlens.evaluation.clinical.sections import (
        answer,
        clinical_sections,
        figure_table,
    )
    from tumorlens.experiments.clinical_run import ClinicalOrder, add_clinical
    from tumorlens.experiments.cross_validation import BUNDLE_FOLDER
    from tumorlens.experiments.evaluation import REPORT_FILE, write_report
    from tumorlens.report.evaluation.page import render_evaluation

    order = ClinicalOrder(
        table,
        manifest,
        ready,
        folder / BUNDLE_FOLDER,
        calibrate_on,
        include_flagged,
        PERMUTATIONS if permutations is None else permutations,
    )
    bundle, report = add_clinical(order, say=click.echo)
    page = render_evaluation(
        "What clinical columns add to the image",
        f"On top of {bundle.name} {bundle.version}: {report['slices']} slices of "
        f"{report['patients']} patients, each figure with its 95 % interval",
        clinical_sections(report),
    )
    write_report(report, page, folder / REPORT_FOLDER)
    show_tables([_brief(figure_table(report, "by_patient"))])
    click.echo(answer(report))
    click.echo(report["image_side"])
    click.echo(f"Page written to {folder / REPORT_FOLDER / REPORT_FILE}.")
    click.echo(f"Bundle {bundle.version} with its columns written to {bundle.folder}.")
    click.echo(
        f"Next: tumorlens predict PATH --model {bundle.folder} --clinical TABLE.csv, "
        "with a column 'file'."
    )
    click.echo(RESEARCH_USE)


def _brief(table: Table) -> Table:
    """Keep what fits a terminal; the page shows the rest."""
    kept = [
        place
        for place, name in enumerate(table.columns)
        if name not in ("Image as served", "Of permuted columns")
    ]
    rows = [[row[place] for place in kept] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in kept], rows)
