"""`tumorlens scan`: volumes and series in, one finding for each series out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.cli._shared import (
    STANDARD_OUTPUT,
    check_files,
    model_option,
    operating_point_option,
    precision_option,
    threads_option,
    write_bytes,
    write_json,
)
from tumorlens.errors import InputError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Study, stacks_of
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.by_slices import Planes
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report import words
from tumorlens.report.series import (
    series_failure_to_json,
    series_to_json,
    write_evidence,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.words import percent

if TYPE_CHECKING:
    from tumorlens.report.study.pdf import SeriesEntry


ALL_READ, SOME_FAILED, NONE_READ = 0, 1, 2


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--json",
    "json_path",
    metavar="F|-",
    help="Write a JSON array to this file, or with - to the standard output.",
)
@click.option(
    "--evidence",
    metavar="F.nii.gz",
    help="Write where the model saw tumour as a volume over it; one series only.",
)
@click.option(
    "--volume",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read this volume, from 0, of a NIfTI file that holds several (4-D).",
)
@click.option(
    "--pdf",
    metavar="F",
    help="Write a report for people: decisions, key slices, and the probability "
    "along the slices.",
)
@click.option(
    "--planes",
    type=click.Choice([item.value for item in Planes]),
    default=Planes.ACQUIRED.value,
    show_default=True,
    help="all: volumes of nearly even spacing are also judged in the two other planes.",
)
@operating_point_option
@model_option
@threads_option
@precision_option
def scan(
    paths: tuple[str, ...],
    json_path: str | None,
    evidence: str | None,
    volume: int | None,
    pdf: str | None,
    planes: str,
    operating_point: str | None,
    model: str | None,
    threads: int | None,
    precision: str,
) -> int:
    """Say what whole series show, how sure that is, and where.

    PATH is a file or folder that holds one series or several. Each series gets
    one finding; single pictures are for `tumorlens predict`. Exit status: 0 all
    read, 1 some failed, 2 wrong use or nothing could be read.

    For research use only: TumorLens is not a medical device.
    """
    check_files(json_path, evidence, pdf)
    if evidence is not None and not evidence.endswith(".nii.gz"):
        raise click.UsageError("--evidence takes a file name that ends in .nii.gz.")
    # The first file is unpacked while the network is loaded.
    with ThreadPoolExecutor(1) as pool:
        first = [pool.submit(_read, paths[0], volume)]
        classifier = load_series_classifier(
            model, threads, planes, side_by_side=True, precision=precision
        )
    rows = json_path != STANDARD_OUTPUT
    report = None if pdf is None else StudyReport(Path(pdf), classifier.bundle)
    results = _Results(rows, None if evidence is None else Path(evidence), report)
    notes: list[str] = []
    for path in paths:
        try:
            study = first.pop().result() if first else _read(path, volume)
            notes += study.notes
            for note in study.notes:
                click.echo(f"Note: {note}", err=True)
            for series in study.series:
                results.take(
                    classifier.predict(series, operating_point), series, study.notes
                )
        except InputError as error:
            results.fail(path, error)
    if json_path == STANDARD_OUTPUT:
        click.echo(json.dumps(results.documents, indent=2))
    elif json_path is not None:
        write_json(Path(json_path), results.documents)
    if report is not None:
        report.write(notes, results.failures)
    click.echo(RESEARCH_USE, err=not rows)
    if results.series == 0:
        return NONE_READ
    return SOME_FAILED if results.failures else ALL_READ


def _read(path: str, volume: int | None) -> Study:
    return _check_series(read_study(path, volume=volume), path)


def _check_series(study: Study, path: str) -> Study:
    """Refuse single pictures: the rates that are stated would be those of series."""
    if not study.is_pictures:
        return stacks_of(study)
    name, count = display_name(path), len(study.series)
    if count == 1:
        raise InputError(
            f"{name} is one picture, not a whole series.",
            "Judge it by itself with tumorlens predict, or give its whole series.",
        )
    raise InputError(
        f"{name} holds {count} single pictures, and no series of several slices.",
        "Judge them by themselves with tumorlens predict, or give a whole series.",
    )


class _Results:
    """Predictions and failures, on their way to the terminal and into files.

    Parameters
    ----------
    rows
        Whether predictions are printed; errors, warnings and notes are in any case.
    evidence
        File for the evidence of one series; None where nobody asked for it.
    report
        The PDF; None where nobody asked for it.
    """

    def __init__(
        self, rows: bool, evidence: Path | None, report: StudyReport | None
    ) -> None:
        self._rows = rows
        self._evidence = evidence
        self._report = report
        self._has_evidence = False
        self.documents: list[dict[str, Any]] = []
        self.failures: list[Failure] = []
        self.series = 0

    def take(
        self, prediction: SeriesPrediction, series: Series, notes: tuple[str, ...]
    ) -> None:
        """Take the prediction for one series, and how its study was read."""
        if self._report is not None:
            self._report.add(prediction, series)
        self.documents.append(series_to_json(prediction, notes))
        self.series += 1
        if self._rows:
            click.echo("\n".join(_lines(prediction)))
        caveat = prediction.sequence_caveat
        if caveat is not None:
            click.echo(f"Warning: {caveat}", err=True)
        if self._evidence is None:
            return
        if self._has_evidence:
            raise InputError(
                "There is more than one series, and --evidence names one file.",
                "Give one series at a time.",
            )
        write_evidence(prediction, self._evidence)
        self._has_evidence = True

    def fail(self, path: str, error: InputError) -> None:
        """Note that the rest of an input could not be judged."""
        name = display_name(path)
        failure = Failure.of(name, error)
        self.failures.append(failure)
        self.documents.append(series_failure_to_json(failure))
        click.echo(f"Error: {error}", err=True)


def _lines(prediction: SeriesPrediction) -> Iterator[str]:
    yield f"{display_name(prediction.source)}: {words.series_line(prediction)}"
    if prediction.not_judged is not None:
        yield f"  {words.NOT_CLEAR}"
    counts = (prediction.slices, prediction.without_brain, prediction.refused)
    yield f"  {words.slices_sentence(*counts)}, in {prediction.seconds:.1f} s"
    if len(prediction.planes) > 1:
        each = ", ".join(f"{k} {percent(p)}" for k, p in prediction.planes.items())
        yield f"  Tumour by plane: {each}"
    for said in words.place_and_reasons(prediction):
        yield f"  {said}"


class StudyReport:
    """Gathers predictions for a PDF; of each series a few pictures are kept.

    Parameters
    ----------
    path
        Place of the file; replaced where it exists.
    bundle
        The model.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._path = path
        self._bundle = bundle
        self._entries: list[SeriesEntry] = []

    def add(self, prediction: SeriesPrediction, series: Series) -> None:
        """Take one series."""
        # Takes long to import, and only this output needs it.
        from tumorlens.report.study.pdf import series_entry

        self._entries.append(series_entry(prediction, series))

    def write(self, notes: Sequence[str], failures: Sequence[Failure]) -> None:
        """Write the file.

        Parameters
        ----------
        notes
            Full sentences on how the files were read.
        failures
            Files that could not be read.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from tumorlens.report.study.pdf import render_series_pdf

        made = datetime.now().astimezone()
        data = render_series_pdf(self._entries, self._bundle, made, notes, failures)
        write_bytes(self._path, data)
