"""`tumorlens data manifest`, `slices` and `scans`: folders become lists.

Tested in `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared.output_files import check_files
from tumorlens.cli.data.options import OUT, SOURCE, readers_option, report_skipped

_SCANS = (".nii", ".nii.gz", ".nrrd", ".zip")


@click.command()
@click.argument("folder", type=SOURCE, required=False, envvar="TUMORLENS_DATA")
@click.option(
    "--also",
    type=SOURCE,
    multiple=True,
    help="Another manifest (CSV) to add, such as one that `data slices` wrote.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    help="Read these known sets alone; by default all that are there.",
)
@click.option("--out", type=OUT, required=True, help="The manifest to write.")
@readers_option
def manifest(
    folder: Path | None,
    also: tuple[Path, ...],
    sets: tuple[str, ...],
    out: Path,
    threads: int,
) -> None:
    """Collect the sets in a folder into one manifest.

    FOLDER holds sets whose layout is known (cheng, lgg, lgg_sequences,
    notumor, brisc_notumor, brain44, soop), or a folder a class; by default it is
    the one that the environment variable TUMORLENS_DATA names.
    """
    from tumorlens.data.manifest import read_manifest, write_manifest
    from tumorlens.data.sources import collect

    if folder is None:
        raise click.UsageError("Name a folder, or set TUMORLENS_DATA.")
    records = collect(folder, sets, threads=threads, passed_over=report_skipped)
    for other in also:
        records += read_manifest(other)
    write_manifest(records, out)
    patients = len({record.patient for record in records} - {""})
    flagged = sum(1 for record in records if record.flag)
    unmeasured = sum(1 for record in records if record.train_only)
    click.echo(
        f"{len(records):,} pictures of {patients:,} patients or groups, "
        f"{flagged:,} with a flag, {unmeasured:,} that only train, written to {out}."
    )
    if scans := sum(record.path.name.lower().endswith(_SCANS) for record in records):
        click.echo(
            f"{scans:,} of them are whole series by their names ({', '.join(_SCANS)}): "
            "a network of slices leaves out what holds several, cnn3d takes them."
        )


@click.command()
@click.argument("volumes", type=SOURCE, nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the pictures and their manifest, OUT/SOURCE.csv.",
)
@click.option("--label", required=True, help="What every slice shows: no_tumor.")
@click.option("--source", required=True, help="Name of the set.")
@click.option(
    "--every",
    "every_mm",
    type=click.FloatRange(1.0),
    default=5.0,
    show_default=True,
    help="Distance of the slices, in mm.",
)
@click.option(
    "--sequence",
    "word",
    type=click.Choice(["T1", "T1C", "T2", "FLAIR"]),
    default=None,
    help="How the series were weighted, where that is known.",
)
@click.option(
    "--stripped",
    is_flag=True,
    help="Take the skull off each slice, crudely: how a model fares on such heads.",
)
def slices(
    volumes: tuple[Path, ...],
    out: Path,
    label: str,
    source: str,
    every_mm: float,
    word: str | None,
    stripped: bool,
) -> None:
    """Cut whole scans into axial, coronal and sagittal slices.

    VOLUMES are NIfTI or NRRD files, or folders of one DICOM series each.

    Only for scans that show the same on every slice, such as tumour-free
    heads: each slice gets the same label. The first slices and the last, with
    little of the head, are left out.
    """
    from tumorlens.data.manifest import write_manifest
    from tumorlens.data.sequences import parse_sequence
    from tumorlens.data.series import cut_volumes

    records = cut_volumes(
        volumes,
        out,
        label=label,
        source=source,
        every_mm=every_mm,
        stripped=stripped,
        sequence=parse_sequence(word or ""),
    )
    write_manifest(records, out / f"{source}.csv")
    click.echo(f"{len(records):,} slices of {len(volumes)} series written to {out}.")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=OUT, required=True, help="The list to write.")
def scans(folder: Path, out: Path) -> None:
    """List the whole scans in FOLDER, and those that its slices form.

    FOLDER holds the sets lgg, cheng, volumes or dicom. `tumorlens calibrate`
    takes the list.
    """
    from tumorlens.data.series import collect_scans, write_scans

    check_files(out)
    records = collect_scans(folder)
    write_scans(records, out)
    tumors = sum(scan.tumor for scan in records)
    click.echo(
        f"{len(records)} series, {tumors} with a tumour, of "
        f"{len({scan.patient for scan in records})} patients written to {out}."
    )
