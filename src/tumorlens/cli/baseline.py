"""`tumorlens baseline`: how far a picture's brightness alone gets."""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli.tables import show_tables
from tumorlens.cli.written import write_json
from tumorlens.errors import MissingExtraError


@click.command()
@click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="Manifest or folder of labelled pictures.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Of patients, where the manifest has no folds of its own.",
)
@click.option(
    "--together",
    multiple=True,
    help="Sources or sites, with commas between, whose figures are also given as "
    "one; may be given several times.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write all figures."
)
def baseline(
    manifest: Path, folds: int, together: tuple[str, ...], json_path: Path | None
) -> None:
    """Score a random forest on ten statistics of brightness, by cross-validation.

    What it reaches is what telling scanners apart is worth on this set. Set it
    beside every figure on tumour or none. Flagged rows are left out. Folds are
    the manifest's own, or are dealt by patient, copies together.
    """
    try:
        from tumorlens.learn.copies import linked_copies
        from tumorlens.learn.evaluation.intensity_baseline import (
            cross_validate_intensity_baseline,
            section,
        )
        from tumorlens.learn.manifest import read_manifest
        from tumorlens.learn.split import split_into_folds
    except ImportError as error:
        raise MissingExtraError("The baseline", "train") from error

    records = [row for row in read_manifest(manifest) if not row.flag]
    if any(row.fold is None for row in records):
        records = split_into_folds(records, folds, links=linked_copies(records))
    groups = [[name.strip() for name in names.split(",")] for names in together]
    figures = cross_validate_intensity_baseline(records, groups, say=click.echo)
    show_tables(section(figures).tables)
    if json_path is not None:
        write_json(json_path, figures)
