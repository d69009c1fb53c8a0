"""`tumorlens sequences`: figures by MR sequence, and of lesions beside the classes."""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared import (
    FOLDER,
    check_files,
    figures_option,
    manifest_option,
    show_tables,
    write_json,
)
from tumorlens.errors import DatasetError, MissingExtraError
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE


@click.command()
@manifest_option
@click.option(
    "--model",
    "models",
    type=FOLDER,
    multiple=True,
    help="A bundle; given several times, they stand side by side.  [default: the one "
    "that is shipped]",
)
@click.option(
    "--fold",
    "folds",
    type=click.IntRange(0),
    multiple=True,
    help="Judge these folds of the manifest alone; by default every row.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    help="Judge these sets alone; by default all of them.",
)
@figures_option
def sequences(
    manifest: Path,
    models: tuple[Path, ...],
    folds: tuple[int, ...],
    sources: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Measure a model by MR sequence, and on lesions that are none of its classes.

    The manifest's columns sequence, lesion and kind say what each slice is. Rows
    with a flag, and those that only train, are left out. Give a model the folds that
    it did not train on: nobody checks that here.
    """
    check_files(json_path)
    try:
        from tumorlens.data.manifest import read_manifest
        from tumorlens.evaluation.by_sequence import sequence_figures
        from tumorlens.evaluation.scored_slices import score_records
    except ImportError as error:
        raise MissingExtraError("Measuring by sequence", "train") from error
    from tumorlens.inference.classifier import load_classifier
    from tumorlens.report.evaluation.performance import sequence_tables

    records = [
        row
        for row in read_manifest(manifest)
        if not (row.flag or row.train_only)
        and (not folds or row.fold in folds)
        and (not sources or row.source in sources)
    ]
    if not records:
        raise DatasetError(
            f"No row of {manifest} is left to judge.",
            "Name a fold and a source that it has.",
        )
    figures = {}
    for folder in models or (DEFAULT_BUNDLE,):
        classifier = load_classifier(folder, precision="float32")
        classifier.bundle.require_four_classes()
        name = f"{classifier.bundle.name} {classifier.bundle.version}"
        click.echo(f"{name}: judging {len(records):,} slices.")
        scored_slices = score_records(classifier, records, say=click.echo, lesions=True)
        figures[name] = sequence_figures(scored_slices)
    show_tables(sequence_tables(figures))
    if json_path is not None:
        write_json(
            json_path, [{"model": key, **value} for key, value in figures.items()]
        )
