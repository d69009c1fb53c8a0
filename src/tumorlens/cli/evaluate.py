"""`tumorlens evaluate`: how good a bundle is on labelled pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tumorlens.errors import DatasetError, MissingExtraError, OutputError


@click.command()
@click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="Manifest or folder of labelled pictures.",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="Which part of the manifest to score; 'all' for every row.",
)
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A bundle's folder; several stand side by side. Default: the shipped one.",
)
@click.option("--operating-point", default=None, help="screening or balanced.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for metrics.json and report.html of the first bundle.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write all figures."
)
@click.option(
    "--record", default=None, help="Store the figures in the bundles, by this name."
)
def evaluate(
    manifest: Path,
    split: str,
    models: tuple[Path, ...],
    operating_point: str | None,
    out: Path | None,
    json_path: Path | None,
    record: str | None,
) -> None:
    """Score one or several bundles on pictures whose class is known.

    Each figure comes with its 95 % interval, bootstrapped over patients.
    Sensitivity counts a tumour slice as missed when it is called free of
    tumour; specificity counts a tumour-free slice as right only then.
    """
    try:
        from tumorlens.learn.evaluation import evaluate as parts
        from tumorlens.learn.evaluation.scored import score_records
        from tumorlens.learn.manifest import read_manifest
    except ImportError as error:
        raise MissingExtraError("Evaluating", "train") from error
    from tumorlens.engine.bundle import DEFAULT_BUNDLE, record_metrics
    from tumorlens.engine.predict import load_classifier

    records = [
        row
        for row in read_manifest(manifest)
        if not row.flag and split in ("all", row.split)
    ]
    if not records:
        raise DatasetError(
            f"{manifest} has no row in the split '{split}'.",
            "Give another --split, or run `tumorlens data split`.",
        )
    folders = models or (DEFAULT_BUNDLE,)
    found = []
    for folder in folders:
        classifier = load_classifier(folder)
        scored = score_records(classifier, records, operating_point, say=click.echo)
        model = parts.model_facts(classifier.bundle, operating_point)
        found.append({"model": model, **parts.evaluate_scored(scored)})
    _show(found)
    if out is not None:
        parts.write_evaluation(found[0], parts.evaluation_sections(found[0]), out)
    if record is not None:
        for folder, figures in zip(folders, found, strict=True):
            record_metrics(folder, record, parts.for_bundle(figures))
    if json_path is not None:
        try:
            json_path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{json_path} cannot be written: {error}.") from error


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tumorlens.report.model_card import FIGURES, figure_text

    table = Table(
        title=f"{found[0]['slices']} slices of {found[0]['patients']} patients, "
        f"operating point {found[0]['model']['operating_point']}"
    )
    table.add_column("Figure [95 % interval over patients]")
    for figures in found:
        model = figures["model"]
        table.add_column(f"{model['name']} {model['version']}", justify="right")
    for title, name in FIGURES:
        if name in found[0]:
            table.add_row(title, *(figure_text(figures.get(name)) for figures in found))
    for name in found[0]["recall"]:
        cells = (figure_text(figures["recall"][name]) for figures in found)
        table.add_row(f"recall, {name}", *cells)
    Console(width=max(100, Console().width)).print(table)
