"""`tumorlens calibrate`: a bundle learns to decide on whole series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tumorlens.cli._shared import (
    EXISTING_FOLDER,
    FILE,
    PATH,
    check_files,
    threads_option,
    write_json,
)
from tumorlens.errors import MissingExtraError


@click.command()
@click.option(
    "--scans",
    "scan_list",
    type=FILE,
    required=True,
    help="List of whole series, from `tumorlens data scans`.",
)
@click.option(
    "--folds",
    type=EXISTING_FOLDER,
    required=True,
    help="Folder of a finished `tumorlens train --folds`.",
)
@click.option(
    "--data",
    "manifest",
    type=PATH,
    required=True,
    help="The manifest that the folds were trained with.",
)
@click.option(
    "--model",
    type=EXISTING_FOLDER,
    default=None,
    help="Bundle that gets what was fitted; without it, it is only measured.",
)
@click.option(
    "--json", "json_path", metavar="F", help="Write the figures to this file."
)
@threads_option
def calibrate(
    scan_list: Path,
    folds: Path,
    manifest: Path,
    model: Path | None,
    json_path: str | None,
    threads: int | None,
) -> None:
    """Fit and measure what a bundle says of whole series.

    Each series is judged by the fold's network that never saw its patient. On
    these the probability of a series, its thresholds and the level of the
    lesion's outline are fitted; the figures, with 95 % intervals over patients,
    are those of fits on the other folds.
    """
    check_files(json_path)
    try:
        from tumorlens.evaluation.series import fit_series
    except ImportError as error:
        raise MissingExtraError("Calibrating", "train") from error
    from tumorlens.calibration.series import (
        deal_series,
        fold_bundles,
        score_series,
    )
    from tumorlens.data.manifest import read_manifest
    from tumorlens.data.series import read_series_list
    from tumorlens.inference.bundle.bundle import load_bundle, record_series_model

    if model is not None:
        load_bundle(model)
    series_list, bundles = read_series_list(scan_list), fold_bundles(folds)
    dealt = deal_series(series_list, read_manifest(manifest), sorted(bundles))
    scored_series = score_series(bundles, series_list, dealt, threads, say=click.echo)
    fitted, figures = fit_series(scored_series)
    _show(figures)
    if json_path is not None:
        write_json(Path(json_path), figures)
    if model is not None:
        bundle = record_series_model(model, fitted)
        click.echo(f"Bundle {bundle.version} in {model} now judges whole series by it.")


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tumorlens.report.evaluation.performance import series_figure_rows

    patients = figures["learned"]["patients"]
    table = Table(
        title=f"Whole series of {patients['tumor']} patients with a tumour, "
        f"{patients['no_tumor']} without"
    )
    table.add_column("Figure [95 % interval over patients]")
    table.add_column("Value", justify="right")
    for title, value in series_figure_rows(figures):
        table.add_row(title.replace("`", ""), value)
    Console(width=max(100, Console().width)).print(table)
