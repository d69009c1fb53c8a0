"""`tumorlens data fetch`, `manifest`, `slices`, `scans`, `stack`: sets become lists.

Tested in `tests/cli/data/test_data.py` and `tests/cli/data/test_fetch.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tumorlens.cli._shared import (
    EXISTING_FOLDER,
    FILE,
    FOLDER,
    PATH,
    check_files,
    readers_option,
)
from tumorlens.cli.data.check import print_skipped

_SERIES_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".zip")


@click.command()
@click.argument("folder", type=PATH, required=False, envvar="TUMORLENS_DATA")
@click.option(
    "--also",
    type=PATH,
    multiple=True,
    help="Another manifest (CSV) to add, such as one that `data slices` wrote.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    help="Read these known sets alone; by default all that are there.",
)
@click.option(
    "--tumor",
    "tumors",
    multiple=True,
    help="A folder that holds a tumour: then every folder is a class of your own. May "
    "be given several times.",
)
@click.option(
    "--patient",
    "pattern",
    help="Regular expression that finds the patient in a file's path below FOLDER, "
    "such as 'pat[0-9]+', or with a group '/([^/]+)/' for the folder in a class.",
)
@click.option("--out", type=FILE, required=True, help="The manifest to write.")
@readers_option
def manifest(
    folder: Path | None,
    also: tuple[Path, ...],
    sets: tuple[str, ...],
    tumors: tuple[str, ...],
    pattern: str | None,
    out: Path,
    threads: int,
) -> None:
    """Collect the sets in a folder into one manifest.

    FOLDER holds sets whose layout is known (cheng, lgg, lgg_sequences,
    notumor, brisc_notumor, brain44, soop), or a folder a class; by default it is
    the one that the environment variable TUMORLENS_DATA names.
    """
    from tumorlens.data.manifest import read_manifest, read_tree, write_manifest
    from tumorlens.data.sources import collect

    if folder is None:
        raise click.UsageError("Name a folder, or set TUMORLENS_DATA.")
    if tumors or pattern:
        if sets:
            raise click.UsageError("--tumor and --patient are not for --set.")
        if not folder.is_dir():
            raise click.UsageError(f"There is no folder {folder}.")
        records = read_tree(
            folder,
            tumors=tumors,
            patient=None if pattern is None else _pattern(pattern),
            report_skipped=print_skipped,
        )
    else:
        records = collect(folder, sets, threads=threads, report_skipped=print_skipped)
    for other in also:
        records += read_manifest(other, may_be_own=bool(tumors))
    write_manifest(records, out)
    patients = len({record.patient for record in records} - {""})
    flagged = sum(1 for record in records if record.flag)
    unmeasured = sum(1 for record in records if record.train_only)
    click.echo(
        f"{len(records):,} pictures of {patients:,} patients or groups, "
        f"{flagged:,} with a flag, {unmeasured:,} that only train, written to {out}."
    )
    series = sum(row.path.name.lower().endswith(_SERIES_ENDINGS) for row in records)
    if series:
        click.echo(
            f"{series:,} of them are whole series by their names "
            f"({', '.join(_SERIES_ENDINGS)}): a network of slices leaves out what "
            "holds several, cnn3d takes them."
        )
    if unnamed := sum(not record.patient for record in records):
        click.echo(
            f"{unnamed:,} of them name no patient: fill the column patient before you "
            "split, or find it in the files' names with --patient.",
            err=True,
        )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise click.UsageError(
            f"--patient {text!r} is no regular expression: {error}."
        ) from error


@click.command()
@click.argument("volumes", type=PATH, nargs=-1, required=True)
@click.option(
    "--out",
    type=FOLDER,
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
    """Cut whole series into axial, coronal and sagittal slices.

    VOLUMES are NIfTI or NRRD files, or folders of one DICOM series each.

    Only for series that show the same on every slice, such as tumour-free
    heads: each slice gets the same label. The first slices and the last, with
    little of the head, are left out.
    """
    from tumorlens.data.manifest import parse_sequence, write_manifest
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
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--out", type=FILE, required=True, help="The list to write.")
def scans(folder: Path, out: Path) -> None:
    """List the whole series in FOLDER, and those that its slices form.

    FOLDER holds the sets lgg, cheng, volumes or dicom. `tumorlens calibrate`
    takes the list.
    """
    from tumorlens.data.series import collect_series, write_series_list

    check_files(out)
    records = collect_series(folder)
    write_series_list(records, out)
    tumors = sum(series.tumor for series in records)
    click.echo(
        f"{len(records)} series, {tumors} with a tumour, of "
        f"{len({series.patient for series in records})} patients written to {out}."
    )


@click.command()
@click.argument("name", required=False)
@click.option("--out", type=FOLDER, help="Folder for it.")
def fetch(name: str | None, out: Path | None) -> None:
    """Fetch a public data set; without NAME, list those that are known.

    Stopped at any moment, the same command goes on where it was.
    """
    from tumorlens.data.public import PUBLIC_SETS
    from tumorlens.data.public import fetch as run_fetch

    if name is None:
        for set_name, entry in PUBLIC_SETS.items():
            click.echo(f"{set_name}: {entry.title}")
        return
    with _downloads() as progress:
        path = run_fetch(name, out or Path(name), progress=progress)
    click.echo(f"Manifest written to {path}. Next: tumorlens data audit {path}")


@contextmanager
def _downloads() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show each file's bytes and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder for the series and their manifest, volumes.csv.",
)
@click.option(
    "--height-mm",
    type=click.FloatRange(10.0, 400.0),
    default=143.0,
    show_default=True,
    help="What a patient's slices span together, where nobody has stated it.",
)
@click.option(
    "--pixel-mm",
    type=click.FloatRange(0.1, 5.0),
    default=0.94,
    show_default=True,
    help="Edge of a pixel, where nobody has stated it.",
)
@click.option(
    "--slabs",
    type=click.IntRange(2),
    help="Also cut each series into so many slabs, with and without tumour.",
)
@click.option(
    "--also",
    type=PATH,
    multiple=True,
    help="A manifest (CSV) of whole series to add.",
)
def stack(
    source: Path,
    out: Path,
    height_mm: float,
    pixel_mm: float,
    slabs: int | None,
    also: tuple[Path, ...],
) -> None:
    """Pile the slices of each patient up to a series (NIfTI) with its outline.

    SOURCE is a manifest of axial slices, the front of the head on top, whose
    column `slice` counts from the feet upwards; or the folder of the set lgg.
    Slabs of one patient, with tumour and without, tell whether a model knows a
    tumour or only a scanner.
    """
    from tumorlens.data.manifest import read_manifest, write_manifest
    from tumorlens.data.series import MANIFEST, stack_slices
    from tumorlens.data.sources import read_lgg

    if (source / "lgg.csv").is_file():
        slices = list(read_lgg(source, every_slice=True))
    else:
        slices = read_manifest(source)
    records = stack_slices(
        slices, out, height_mm=height_mm, pixel_mm=pixel_mm, slabs=slabs
    )
    for other in also:
        records += read_manifest(other)
    write_manifest(records, out / MANIFEST)
    patients = len({record.patient for record in records})
    click.echo(
        f"{len(records):,} series and slabs of {patients:,} patients written to {out}."
    )
