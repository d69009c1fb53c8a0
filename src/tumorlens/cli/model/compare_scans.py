"""`tumorlens compare-scans`: models side by side on whole series.

Tested in `tests/evaluation/test_series.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tumorlens.cli._shared import (
    PATH,
    check_files,
    figures_option,
    split_option,
    write_json,
)
from tumorlens.errors import DatasetError, MissingExtraError


@click.command()
@click.option(
    "--data",
    "manifest",
    type=PATH,
    required=True,
    help="Manifest of labelled series: NIfTI, NRRD, or a zip of a DICOM series each.",
)
@split_option
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="A bundle's folder, or that of a cross-validation; several stand side by "
    "side, all against the first. Default: the shipped one.",
)
@click.option("--operating-point", default=None, help="screening or balanced.")
@figures_option
def compare_scans(
    manifest: Path,
    split: str,
    models: tuple[Path, ...],
    operating_point: str | None,
    json_path: Path | None,
) -> None:
    """Score models on whole series: tumour or none.

    Bundles of slices judge each slice and then the series; bundles of whole series
    judge it at once. Intervals are 95 %, bootstrapped over patients. Beside the
    models stands what knowing the set, the hospital or the part of the head
    alone would give: a model near that may know nothing else.
    """
    check_files(json_path)
    try:
        from tumorlens.data.manifest import read_manifest
        from tumorlens.evaluation.series import (
            compare_models,
            load_compared_model,
            predict_series,
        )
    except ImportError as error:
        raise MissingExtraError("Comparing", "train") from error
    from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

    records = [
        row for row in read_manifest(manifest) if not (row.flag or row.train_only)
    ]
    if split != "all":
        records = [row for row in records if row.split == split]
    if not records:
        raise DatasetError(
            f"{manifest} has no row in the split '{split}'.",
            "Run `tumorlens data split` on it, or give --split all.",
        )
    compared_models = [
        load_compared_model(path) for path in models or (DEFAULT_BUNDLE,)
    ]
    kept, answers = predict_series(
        compared_models, records, operating_point, say=click.echo
    )
    comparison = compare_models(kept, answers)
    _show(comparison)
    if json_path is not None:
        write_json(json_path, comparison)


def _show(comparison: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tumorlens.report.page_parts import figure_text
    from tumorlens.report.words import counted

    console = Console(width=max(110, Console().width))
    for part in comparison["sets"]:
        table = Table(
            title=f"{part['name']}: {part['scans']} series of "
            f"{counted(part['patients'], 'patient')}, {part['tumors']} with a tumour",
            title_justify="left",
        )
        table.add_column("Model")
        titles = ("AUROC", "Sensitivity", "Specificity", "Balanced accuracy", "Gain")
        for title in titles:
            table.add_column(title, justify="right")
        gains = [None, *part["auroc_differences"]]
        for model, figures, gain in zip(
            comparison["models"], part["models"], gains, strict=True
        ):
            keys = ("auroc", "sensitivity", "specificity", "balanced_accuracy")
            cells = [figure_text(figures[key], digits=2) for key in keys]
            table.add_row(model["name"], *cells, figure_text(gain, digits=2))
        console.print(table)
    for column, figure in comparison["giveaways"].items():
        console.print(
            f"Knowing the {column} alone: AUROC {figure_text(figure, digits=2)} at "
            "most, on all.",
            highlight=False,
        )
    for model in comparison["models"]:
        console.print(
            f"{model['name']}: {_held_out(model)}; {model['refused']} refused.",
            highlight=False,
        )


def _held_out(model: dict[str, Any]) -> str:
    """Say whose series it was scored on; copies by other names are not looked for."""
    if seen := model["scans_of_patients_it_has_seen"]:
        one = "1 series is of a patient"
        whose = one if seen == 1 else f"{seen} series are of patients"
        return f"NOT held out, {whose} that shaped it"
    if untold := model["scans_of_patients_unknown"]:
        return (
            f"NOT known to be held out, as nobody can tell of {untold} series whether "
            "their patients shaped it"
        )
    return "held out, by the patients' names"
