"""`tumorlens scan`: volumes and series in, one finding for each series out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tumorlens.cli._shared.model_options import (
    model_option,
    operating_point_option,
    threads_option,
)
from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, check_files, write_json
from tumorlens.cli.analysis.study_report import StudyReport
from tumorlens.errors import InputError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Study
from tumorlens.inference.series.classifier import load_scan_judge
from tumorlens.inference.series.planes import Planes
from tumorlens.inference.series.results import ScanFinding
from tumorlens.inference.slice.results import Failure
from tumorlens.inference.slice.sequence import sequence_caveat
from tumorlens.report.series import words as scan_words
from tumorlens.report.series.document import scan_failure_to_json, scan_to_json
from tumorlens.report.series.evidence_nifti import write_evidence
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.words import percent

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
    help="Write where the model saw tumour as a volume over the scan; one series only.",
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
) -> int:
    """Say what whole scans show, how sure that is, and where.

    PATH is a file or folder that holds one scan or several. Each series gets
    one finding; single pictures are for `tumorlens predict`. Exit status: 0 all
    read, 1 some failed, 2 wrong use or nothing could be read.

    For research use only: TumorLens is not a medical device.
    """
    check_files(json_path, evidence, pdf)
    if evidence is not None and not evidence.endswith(".nii.gz"):
        raise click.UsageError("--evidence takes a file name that ends in .nii.gz.")
    bundle, judge = load_scan_judge(model, threads, Planes(planes))
    rows = json_path != STANDARD_OUTPUT
    report = None if pdf is None else StudyReport(Path(pdf), bundle)
    found = _Found(rows, None if evidence is None else Path(evidence), report)
    notes: list[str] = []
    for path in paths:
        try:
            study = _scans(read_study(path, volume=volume), path)
            notes += study.notes
            for note in study.notes:
                click.echo(f"Note: {note}", err=True)
            for series in study.series:
                found.take(judge(series, operating_point), series, study.notes)
        except InputError as error:
            found.fail(path, error)
    if json_path == STANDARD_OUTPUT:
        click.echo(json.dumps(found.documents, indent=2))
    elif json_path is not None:
        write_json(Path(json_path), found.documents)
    if report is not None:
        report.write(notes, found.failures)
    click.echo(RESEARCH_USE, err=not rows)
    if found.series == 0:
        return NONE_READ
    return SOME_FAILED if found.failures else ALL_READ


def _scans(study: Study, path: str) -> Study:
    """Refuse what holds no series: its rates would be those of whole scans."""
    if not study.is_pictures:
        return study
    name, count = display_name(path), len(study.series)
    if count == 1:
        raise InputError(
            f"{name} is one picture, not a whole scan.",
            "Judge it by itself with tumorlens predict, or give its whole series.",
        )
    raise InputError(
        f"{name} holds {count} single pictures, and no series of several slices.",
        "Judge them by themselves with tumorlens predict, or give a whole series.",
    )


class _Found:
    """What was found, on its way to the terminal and into files.

    Parameters
    ----------
    rows
        Whether findings are printed; errors, warnings and notes are in any case.
    evidence
        File for the evidence of one series; None where nobody asked for it.
    report
        Gathers findings for the PDF, likewise.
    """

    def __init__(
        self, rows: bool, evidence: Path | None, report: StudyReport | None
    ) -> None:
        self._rows = rows
        self._evidence = evidence
        self._report = report
        self._written = False
        self.documents: list[dict[str, Any]] = []
        self.failures: list[Failure] = []
        self.series = 0

    def take(
        self, finding: ScanFinding, series: Series, notes: tuple[str, ...]
    ) -> None:
        """Take what was found in one series, and how its study was read."""
        if self._report is not None:
            self._report.add(finding, series)
        self.documents.append(scan_to_json(finding, notes))
        self.series += 1
        if self._rows:
            click.echo("\n".join(_lines(finding)))
        caveat = sequence_caveat(finding.sequence)
        if caveat is not None:
            click.echo(f"Warning: {caveat}", err=True)
        if self._evidence is None:
            return
        if self._written:
            raise InputError(
                "There is more than one series, and --evidence names one file.",
                "Give one series at a time.",
            )
        write_evidence(finding, self._evidence)
        self._written = True

    def fail(self, path: str, error: InputError) -> None:
        """Note that the rest of an input could not be judged."""
        name = display_name(path)
        failure = Failure(name, error.code, error.message, error.hint)
        self.failures.append(failure)
        self.documents.append(scan_failure_to_json(failure))
        click.echo(f"Error: {error}", err=True)


def _lines(finding: ScanFinding) -> Iterator[str]:
    said = scan_words.headline(finding.decision, finding.p_tumor)
    yield f"{display_name(finding.source)}: {said}"
    if finding.not_judged is not None:
        yield f"  {scan_words.NOTHING_JUDGED}"
    counts = (finding.slices, finding.without_brain, finding.refused)
    yield f"  {scan_words.slices_sentence(*counts)}, in {finding.seconds:.1f} s"
    if len(finding.planes) > 1:
        each = ", ".join(f"{k} {percent(p)}" for k, p in finding.planes.items())
        yield f"  Tumour by plane: {each}"
    if finding.key_slices:
        shown = ", ".join(str(index + 1) for index in finding.key_slices)
        yield f"  Key slices (from 1): {shown}"
    if finding.lesion is not None:
        yield f"  {scan_words.lesion_sentence(finding.lesion)}"
    for reason in finding.reasons:
        yield f"  {reason}"
