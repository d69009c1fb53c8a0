"""`tumorlens baseline`: how far a picture's brightness alone gets."""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared import (
    check_files,
    figures_option,
    manifest_option,
    show_tables,
    write_json,
)
from tumorlens.errors import MissingExtraError


@click.command()
@manifest_option
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=None,
    help="Number of folds of patients; by default the manifest's own, or 5.",
)
@click.option(
    "--together",
    multiple=True,
    help="Sources or sites, with commas between, whose figures are also given as "
    "one; may be given several times.",
)
@figures_option
def baseline(
    manifest: Path, folds: int | None, together: tuple[str, ...], json_path: Path | None
) -> None:
    """Score a random forest on ten statistics of brightness, by cross-validation.

    What it reaches is what telling scanners apart is worth on this set. Set it
    beside every figure on tumour or none. Flagged rows are left out. Folds are
    the manifest's own, or are dealt by patient, copies together.
    """
    check_files(json_path)
    try:
        from tumorlens.data.split import records_in_folds
        from tumorlens.evaluation.intensity_baseline import (
            cross_validate_intensity_baseline,
        )
        from tumorlens.report.evaluation.performance import baseline_section
    except ImportError as error:
        raise MissingExtraError("The baseline", "train") from error

    records = records_in_folds(manifest, folds)
    groups = [[name.strip() for name in names.split(",")] for names in together]
    figures = cross_validate_intensity_baseline(records, groups, say=click.echo)
    show_tables(baseline_section(figures).tables)
    if json_path is not None:
        write_json(json_path, figures)
