"""`tumorlens study`: all series of one person's visit in, one finding out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click

from tumorlens.cli._shared.options import (
    model_option,
    operating_point_option,
    precision_option,
    threads_option,
)
from tumorlens.cli._shared.output_files import (
    STANDARD_OUTPUT,
    check_files,
    make_folder,
    write_bytes,
    write_json,
)
from tumorlens.errors import InputError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, stacks_of
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.study.classifier import load_study_classifier
from tumorlens.inference.study.results import StudyPrediction
from tumorlens.report import words
from tumorlens.report.series import write_evidence
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.study.document import (
    counted_sentence,
    file_names,
    place_sentence,
    sequence_name,
    series_answer,
    study_notes,
    study_to_json,
)

SOME_FAILED = 1


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--json",
    "json_path",
    metavar="F|-",
    help="Write a JSON object to this file, or with - to the standard output.",
)
@click.option(
    "--evidence",
    metavar="F.nii.gz",
    help="Write where the series together show tumour, as a volume over one of them.",
)
@click.option(
    "--pdf",
    metavar="F",
    help="Write a report for people: the finding, what each series adds, key slices.",
)
@click.option(
    "--dicom",
    metavar="DIR",
    help="Write the results as DICOM into this folder: a structured report, a picture "
    "of the most suspicious slice and, where a lesion is outlined, a segmentation.",
)
@click.option(
    "--one-person",
    is_flag=True,
    help="Say that all files are of one person and visit, whatever their names say; "
    "DICOM headers are believed in any case.",
)
@operating_point_option
@model_option
@threads_option
@precision_option
def study(
    paths: tuple[str, ...],
    json_path: str | None,
    evidence: str | None,
    pdf: str | None,
    dicom: str | None,
    one_person: bool,
    operating_point: str | None,
    model: str | None,
    threads: int | None,
    precision: str,
) -> int:
    """Judge all series of one study together: one finding for one person's visit.

    PATH is a folder or zip of DICOM series, a BIDS session, or volumes such as
    NIfTI, named by their sequence. Series are matched in the patient's space and
    weighed place by place; any may be missing. Those of a sequence that the model
    was not measured on do not count. Exit status: 0 all read, 1 some files failed,
    2 wrong use or nothing could be judged.

    For research use only: TumorLens is not a medical device.
    """
    check_files(json_path, evidence, pdf)
    if evidence is not None and not evidence.endswith(".nii.gz"):
        raise click.UsageError("--evidence takes a file name that ends in .nii.gz.")
    classifier = load_study_classifier(model, threads, precision)
    if dicom is not None:
        make_folder(dicom)
    series, notes, failed = _read(paths)
    if dicom is not None and not any(item.headers for item in series):
        raise InputError(
            "Results as DICOM belong into the study of DICOM series, and other files "
            "were given.",
            "Give DICOM series, or leave --dicom out.",
        )
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    prediction = classifier.predict(series, operating_point, trust_names=not one_person)
    document = study_to_json(prediction, notes)
    rows = json_path != STANDARD_OUTPUT
    if rows:
        click.echo("\n".join(_lines(prediction)))
    else:
        click.echo(json.dumps(document, indent=2))
    if json_path is not None and rows:
        write_json(Path(json_path), document)
    if evidence is not None:
        write_evidence(prediction.combined, Path(evidence))
    if pdf is not None:
        # Takes long to import, and only this output needs it.
        from tumorlens.report.study.pdf import render_study_pdf

        made = datetime.now().astimezone()
        data = render_study_pdf(prediction, classifier.bundle, made, notes)
        write_bytes(Path(pdf), data)
    if dicom is not None:
        _write_dicom(prediction, classifier.bundle, Path(dicom), notes)
    click.echo(RESEARCH_USE, err=not rows)
    return SOME_FAILED if failed else 0


def _read(paths: Sequence[str]) -> tuple[list[Series], tuple[str, ...], bool]:
    """Read what can be read; where nothing can, the first file's error is raised."""
    series: list[Series] = []
    notes: list[str] = []
    errors: list[InputError] = []
    singles = 0
    for path in paths:
        try:
            found = stacks_of(read_study(path))
        except InputError as error:
            errors.append(error)
            continue
        stacks = [item for item in found.series if len(item.slices) > 1]
        singles += len(found.series) - len(stacks)
        series += stacks
        notes += found.notes
    # Where nothing was read, the first one ends the command, which says it.
    for failure in errors if series else errors[1:]:
        click.echo(f"Error: {failure}", err=True)
    if not series:
        if errors:
            raise errors[0]
        name = display_name(paths[0])
        raise InputError(
            f"{name} holds single pictures, and no series of several slices.",
            "Judge pictures with tumorlens predict, or give whole series.",
        )
    if singles:
        notes.append("Single pictures were left out: a study is of whole series.")
    notes += [f"Not read: {error.message}" for error in errors]
    return series, tuple(notes), bool(errors)


def _write_dicom(
    prediction: StudyPrediction, bundle: Bundle, folder: Path, notes: Sequence[str]
) -> None:
    # Takes long to import, and only this output needs it.
    from tumorlens.report.dicom.results import results_of

    said = (*study_notes(prediction), *notes)
    judged = results_of(
        prediction.grid_series, prediction.combined, bundle.name, notes=said
    )
    for number, data in enumerate(judged.results, 1):
        write_bytes(folder / f"result-{number}.dcm", data)


def _lines(prediction: StudyPrediction) -> Iterator[str]:
    combined = prediction.combined
    count = len(prediction.series)
    yield f"Study of {count} series: {words.series_line(combined)}"
    yield f"  {counted_sentence(prediction)}"
    for item, name in zip(prediction.series, file_names(prediction), strict=True):
        yield f"  {sequence_name(item)} ({name}): {series_answer(item)}"
        yield f"    {place_sentence(item)}"
    grid = display_name(combined.source)
    counts = (combined.slices, combined.without_brain, combined.refused)
    yield f"  On the grid of {grid}: {words.slices_sentence(*counts)}"
    for said in words.place_and_reasons(combined):
        yield f"  {said}"
    yield f"  Judged in {prediction.seconds:.1f} s"
