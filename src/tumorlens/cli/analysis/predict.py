"""`tumorlens predict`: files, folders and patterns in, findings out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import click

from tumorlens.cli._shared.model_options import (
    model_option,
    operating_point_option,
    threads_option,
)
from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, check_files, make_folder
from tumorlens.cli.analysis.outputs import open_outputs
from tumorlens.cli.analysis.progress import Screen
from tumorlens.cli.analysis.sources import find_files
from tumorlens.errors import InputError
from tumorlens.imaging.file_names import display_name
from tumorlens.inference.classifier import DEFAULT_BATCH, Classifier, load_classifier
from tumorlens.inference.clinical.table import ClinicalTable, read_clinical_table
from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report.slice.document import RESEARCH_USE

ALL_READ, SOME_FAILED, NONE_READ = 0, 1, 2


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--csv", "csv_path", metavar="F", help="Write a table to this file.")
@click.option(
    "--json",
    "json_path",
    metavar="F|-",
    help="Write a JSON array to this file, or with - to the standard output.",
)
@click.option(
    "--maps",
    metavar="DIR",
    help="Write STEM.evidence.png, STEM.gradcam.png and STEM.overlay.png for each "
    "slice into this folder. A second input of the same stem becomes STEM-2; "
    "further slices of one file become STEM.slice1, STEM.slice2 ...",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=DEFAULT_BATCH,
    show_default=True,
    help="Slices in one forward pass.",
)
@click.option(
    "--clinical",
    "table_path",
    metavar="TABLE.csv",
    help="Also count these clinical columns; the column 'file' names the picture, or "
    "the folder or archive that holds a patient's pictures, from the table's folder.",
)
@threads_option
@operating_point_option
@model_option
def predict(
    paths: tuple[str, ...],
    csv_path: str | None,
    json_path: str | None,
    maps: str | None,
    batch: int,
    table_path: str | None,
    threads: int | None,
    operating_point: str | None,
    model: str | None,
) -> int:
    """Say what MRI slices show, how sure that is, and where.

    PATH is a picture (PNG, JPEG, TIFF, BMP, WebP, GIF), a folder (searched with
    its subfolders) or a pattern. A file that cannot be read becomes a row with
    its error, and the rest goes on. Exit status: 0 all read, 1 some failed,
    2 wrong use or nothing could be read.

    For research use only: TumorLens is not a medical device.
    """
    check_files(csv_path, json_path)
    if maps is not None:
        make_folder(maps)
    classifier = load_classifier(model, threads)
    table = None if table_path is None else _table(Path(table_path), classifier)
    notes: list[str] = []
    files = find_files(paths, notes)
    rows = STANDARD_OUTPUT not in (csv_path, json_path)
    start = time.perf_counter()
    done = failed = alone = 0
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(len(files), rows))
        outputs = open_outputs(stack, csv_path, json_path, maps)
        for result in _judge(classifier, files, batch, operating_point):
            if table is not None and isinstance(result, Prediction):
                place = table.place_of_file(result.source)
                row = None if place is None else table.rows[place]
                result = classifier.with_columns(result, row)
                alone += place is None
            screen.show(result)
            for output in outputs:
                output.write(result)
            failed += isinstance(result, Failure)
            done += isinstance(result, Prediction)
    seconds = time.perf_counter() - start
    facts = classifier.bundle
    click.echo(
        f"{done} slice{'' if done == 1 else 's'} in {seconds:.1f} s, {failed} failed; "
        f"{facts.name} {facts.version}, "
        f"{operating_point or facts.default_operating_point}.\n{RESEARCH_USE}",
        err=not rows,
    )
    for note in notes:
        click.echo(f"Note: {note}", err=not rows)
    if table is not None and alone:
        click.echo(
            f"{alone} of {done} slices have no row in {display_name(table.path)}; they "
            "were judged by the image alone.",
            err=True,
        )
    if done == 0:
        return NONE_READ
    return SOME_FAILED if failed else ALL_READ


def _table(path: Path, classifier: Classifier) -> ClinicalTable:
    """Read a table, and make sure that it fits the model and names files."""
    model = classifier.clinical_model()
    table = read_clinical_table(path)
    if not table.by_file:
        raise InputError(
            f"{display_name(path)} does not say which files its rows are of: a picture "
            "does not tell whose it is.",
            "Add a column 'file': a picture's path, or that of a patient's folder.",
        )
    model.check_table(table)
    return table


def _judge(
    classifier: Classifier,
    files: Sequence[str | Failure],
    batch: int,
    operating_point: str | None,
) -> Iterator[Prediction | Failure]:
    """Keep the order, though folders without pictures have failed already."""
    for known, group in groupby(files, lambda item: isinstance(item, Failure)):
        if known:
            yield from (item for item in group if isinstance(item, Failure))
        else:
            paths = (item for item in group if isinstance(item, str))
            yield from classifier.predict_many(paths, batch, operating_point)
