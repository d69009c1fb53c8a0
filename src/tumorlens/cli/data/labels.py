"""`tumorlens data label-reports` and `from-feedback`: labels that people have given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.cli._shared import (
    FILE,
    FOLDER,
    cannot_write,
    check_files,
    make_folder,
    show_tables,
    store_option,
    write_json,
)
from tumorlens.report.page_parts import Table, figure_text, name_text

if TYPE_CHECKING:
    from tumorlens.data.manifest import Record
    from tumorlens.report.feedback import MarkedResult


@click.command(name="label-reports")
@click.argument("reports", type=FILE)
@click.option("--out", type=FILE, required=True, help="CSV for what is sure.")
@click.option(
    "--reading-list",
    type=FILE,
    required=True,
    help="CSV for the reports that people have to read, with an empty column answer.",
)
@click.option(
    "--answers",
    type=FILE,
    multiple=True,
    help="A reading list that people have filled in; may be given several times.",
)
@click.option("--id-column", default="id", show_default=True)
@click.option("--text-column", default="text", show_default=True)
@click.option(
    "--truth-column",
    default="",
    help="Column with what a person made of each report: measures the rules by it.",
)
@click.option("--json", "json_path", type=FILE, help="Write that measurement as JSON.")
def label_reports(
    reports: Path,
    out: Path,
    reading_list: Path,
    answers: tuple[Path, ...],
    id_column: str,
    text_column: str,
    truth_column: str,
    json_path: Path | None,
) -> None:
    """Label radiology reports, English or German, by rules; list those to be read.

    REPORTS is a CSV with a report a row. A report is labelled where its words leave no
    doubt: what is denied, doubted, or said of relatives does not count, and what stands
    under headings such as Indication or Fragestellung is passed over. All others go to
    people.
    """
    from tumorlens.data.reports import (
        label_report,
        measure_labels,
        read_answers,
        read_reports,
        write_labels,
        write_reading_list,
    )

    if json_path is not None and not truth_column:
        raise click.UsageError("--json needs --truth-column.")
    check_files(out, reading_list, json_path)
    listed = read_reports(reports, id_column, text_column, truth_column)
    answered: dict[str, Any] = {}
    for path in answers:
        answered |= read_answers(path)
    labels = {item.id: label_report(item.text) for item in listed}
    sure = write_labels(out, labels, answered)
    left = write_reading_list(reading_list, listed, labels, answered)
    reasons = Counter(
        str(label.reason) for name, label in labels.items() if name not in answered
    )
    click.echo(f"{len(listed)} reports: {sure} labelled in {out}.")
    click.echo(f"{left} to be read in {reading_list}.")
    rows = [(reason, str(count)) for reason, count in reasons.most_common()]
    show_tables([Table("By the rules", ("Why", "Reports"), rows)])
    if truth_column:
        figures = measure_labels(listed, labels)
        show_tables([_measured(figures)])
        if json_path is not None:
            write_json(json_path, figures)


def _measured(figures: dict[str, Any]) -> Table:
    rows = [
        (title, figure_text(figures[key]))
        for title, key in (
            ("Labelled by the rules", "sure"),
            ("Right, of those", "right"),
            ("To be read, of those that nobody can tell", "read"),
        )
    ]
    for name, row in figures["findings"].items():
        rows.append((f"{name_text(name)}: found", figure_text(row["found"])))
        rows.append((f"{name_text(name)}: right", figure_text(row["precision"])))
    return Table(f"Beside people, {figures['reports']} reports", ("", "Share"), rows)


SOURCE = "feedback"
"""Name of the set, in the manifest's column ``source`` and as its file's name."""


@click.command("from-feedback")
@store_option
@click.option(
    "--database-url",
    envvar="TUMORLENS_DATABASE_URL",
    help="The server's database, where it is not in that folder. Environment: "
    "TUMORLENS_DATABASE_URL.",
)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder for the pictures and their manifest, OUT/feedback.csv.",
)
@click.option(
    "--wrong",
    is_flag=True,
    help="Leave out what readers have marked as right.",
)
def from_feedback(
    store: Path, database_url: str | None, out: Path, wrong: bool
) -> None:
    """Write what readers have marked as pictures and a manifest.

    The store is a server's, or the folder of a DICOM node; either may be running
    meanwhile. A picture is written as it was judged, a series as one NIfTI file.
    Results of which no reader has said what they show are left out. The column
    `patient` names a group: of a server all results of one file or upload, and
    pictures that are equal, since what the files call the patient was never kept; of a
    node the patient, under a pseudonym. Results in different sets of classes go to a
    manifest each: feedback.csv, feedback-2.csv and so on.
    """
    from tumorlens.pacs.feedback import marked_series
    from tumorlens.report.words import counted
    from tumorlens.web.uploads.feedback import marked_results

    make_folder(out)
    records, unnamed, agreed = [], 0, 0
    # A node has its database in its folder.
    of_node = marked_series(store) if database_url is None else ()
    for result in chain(marked_results(store, database_url), of_node):
        if wrong and result.feedback.correct:
            agreed += 1
        elif result.feedback.finding is None:
            unnamed += 1
        else:
            records.append(_record(result, out))
    if unnamed:
        click.echo(
            f"Left out ({unnamed:,}): no reader has said what they show.", err=True
        )
    if agreed:
        click.echo(f"Left out ({agreed:,}): marked as right.", err=True)
    if not records:
        click.echo("No result is marked: nothing is written.", err=True)
        return
    _write_manifests(records, out)
    groups = {record.patient for record in records}
    wrong_ones = sum(record.extra["correct"] == "no" for record in records)
    click.echo(
        f"{counted(len(records), 'result')} of "
        f"{counted(len(groups), 'patient or group', 'patients or groups')}, "
        f"{wrong_ones:,} of them wrong, written to {out}."
    )


def _write_manifests(records: Sequence[Record], out: Path) -> None:
    """Write one manifest for each set of classes, that of the four first."""
    from tumorlens.data.manifest import write_manifest
    from tumorlens.taxonomy import OwnClass

    sets: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        own = record.label if isinstance(record.label, OwnClass) else None
        siblings = () if own is None else own.siblings
        sets[tuple(f"{x} {x.is_tumor}" for x in siblings)].append(record)
    for number, names in enumerate(sorted(sets), start=1):
        path = out / (f"{SOURCE}.csv" if number == 1 else f"{SOURCE}-{number}.csv")
        write_manifest(sets[names], path)
        if len(sets) > 1:
            shown = sorted({str(row.label or row.lesion) for row in sets[names]})
            click.echo(f"{path.name}: {', '.join(shown)}.")


def _record(result: MarkedResult, out: Path) -> Record:
    """Write what was judged, and describe it as a row of a manifest."""
    from tumorlens.data.manifest import Record
    from tumorlens.imaging.study import MRSequence
    from tumorlens.taxonomy import Lesion

    finding = result.feedback.finding
    is_series = result.voxels.ndim == 3
    path = out / f"{result.name}{'.nii.gz' if is_series else '.png'}"
    try:
        if is_series:
            write_volume(result, path)
        else:
            _write_picture(result, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return Record(
        path=path,
        label=None if isinstance(finding, Lesion) else finding,
        lesion=finding.value if isinstance(finding, Lesion) else "",
        patient=f"{SOURCE}:{result.group}",
        source=SOURCE,
        plane=result.plane,
        sequence=MRSequence(result.sequence) if result.sequence else None,
        extra={
            "correct": "yes" if result.feedback.correct else "no",
            "said": result.decision,
            "model_version": result.model_version,
            "marked": result.feedback.at.date().isoformat(),
        },
    )


def _write_picture(result: MarkedResult, path: Path) -> None:
    import numpy as np

    from tumorlens.report.slice.overlay import encode_png

    path.write_bytes(encode_png(np.asarray(result.voxels, np.uint8)))


def write_volume(result: MarkedResult, path: Path) -> None:
    """Write a series as NIfTI, with the values of the files that were sent."""
    import nibabel
    import numpy as np

    voxels = np.transpose(result.voxels, (2, 1, 0))
    image = nibabel.nifti1.Nifti1Image(voxels, result.affine_ras)  # type: ignore[no-untyped-call]
    header: Any = image.header
    if result.affine_ras is None:
        header.set_zooms(result.spacing_mm[::-1])
    header.set_slope_inter(*result.scale)
    nibabel.loadsave.save(image, path)
