"""`tumorlens data`: check, split, collect and fetch data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorlens.cli.data_fetch import fetch
from tumorlens.cli.data_stack import stack
from tumorlens.cli.written import write_json

if TYPE_CHECKING:
    from tumorlens.learn.audit import Audit
    from tumorlens.learn.manifest import Record

_SOURCE = click.Path(path_type=Path)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.group()
def data() -> None:
    """Check, split, collect and fetch data sets."""


data.add_command(stack)
data.add_command(fetch)


@data.command()
@click.argument("source", type=_SOURCE)
@click.option(
    "--json", "json_out", metavar="FILE", help="Write all as JSON; - for the terminal."
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.pass_context
def audit(
    context: click.Context, source: Path, json_out: str | None, threads: int
) -> None:
    """Look for what makes figures lie: leaks, copies, wrong labels, dead files.

    SOURCE is a manifest (CSV) or a folder with a folder a class. The exit
    status is 0 for a clean set, 1 if a finding makes an evaluation worthless,
    2 if the audit cannot run.
    """
    from tumorlens.learn.audit import audit as run_audit
    from tumorlens.learn.manifest import read_manifest

    records = read_manifest(source, allow_unlabelled=True, must_exist=False)
    with _bar("Reading pictures", len(records)) as progress:
        found = run_audit(records, threads=threads, progress=progress)
    if json_out == "-":
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        _print_audit(found)
        if json_out:
            write_json(Path(json_out), found.to_json())
    context.exit(0 if found.clean else 1)


@data.command()
@click.argument("source", type=_SOURCE)
@click.argument("against", type=_SOURCE, required=False)
@click.option("--split", default=None, help="Of SOURCE only this split, as test.")
@click.option(
    "--against-split", default=None, help="Of AGAINST only this split, as train."
)
@click.option(
    "--patients-of",
    type=_SOURCE,
    help="A set that names patients: who shows on a copy of its pictures is known.",
)
@click.option("--json", "json_out", type=_OUT, help="Write the counts as JSON.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.pass_context
def overlap(
    context: click.Context,
    source: Path,
    against: Path | None,
    split: str | None,
    against_split: str | None,
    patients_of: Path | None,
    json_out: Path | None,
    threads: int,
) -> None:
    """Count what one set shares with another: copies, near copies, patients.

    SOURCE and AGAINST are manifests (CSV) or folders with a folder a class;
    without AGAINST two splits of SOURCE are compared. The exit status is 0
    where nothing is shared, 1 where something is.
    """
    from tumorlens.learn.overlap import measure_overlap

    if against is None and (split is None or against_split is None):
        raise click.UsageError(
            "Name another set, or two splits: --split test --against-split train."
        )
    records = _rows(source, split)
    others = _rows(against or source, against_split)
    known = [] if patients_of is None else _rows(patients_of, None)
    total = len(records) + len(others) + len(known)
    with _bar("Reading pictures", total) as progress:
        found = measure_overlap(
            records, others, known, threads=threads, progress=progress
        )
    click.echo(
        f"{found.pictures:,} pictures, compared with {found.compared_with:,}:\n"
        f"  {found.identical:,} are there pixel for pixel,\n"
        f"  {found.copies:,} are there, or nearly (mirrored ones counted),\n"
        f"  {found.same_patient:,} show a patient who is there,\n"
        f"  {found.shared:,} ({100 * found.shared / max(1, found.pictures):.1f} %) "
        "are copies or show such a patient."
    )
    if json_out:
        write_json(json_out, found.to_json())
    context.exit(1 if found.shared else 0)


def _rows(source: Path, split: str | None) -> list[Record]:
    from tumorlens.errors import DatasetError
    from tumorlens.learn.manifest import read_manifest

    records = read_manifest(source, allow_unlabelled=True, must_exist=False)
    found = [row for row in records if split in (None, row.split)]
    if not found:
        names = ", ".join(sorted({row.split for row in records} - {""})) or "none"
        raise DatasetError(
            f"{source} has no row in the split '{split}'.",
            f"Name one of its splits ({names}), or run `tumorlens data split`.",
        )
    return found


@data.command()
@click.argument("source", type=_SOURCE)
@click.option("--out", type=_OUT, required=True, help="The manifest to write.")
@click.option("--folds", type=int, default=None, help="Deal out to so many folds.")
@click.option(
    "--fractions",
    default=None,
    help="Training, validation and test; 0.7,0.15,0.15 unless --folds is given.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME=SPLIT",
    help="Put a whole site or source into one split or fold: DU=test, or DU=0.",
)
@click.option(
    "--as-trained",
    "bundle",
    type=click.Path(path_type=Path, file_okay=False),
    help="Deal as this model bundle was trained: its training patients to train.",
)
@click.option(
    "--by-slice",
    is_flag=True,
    help="With --folds: part patients, as leaky studies do, to see what it flatters.",
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def split(
    source: Path,
    out: Path,
    folds: int | None,
    fractions: str | None,
    seed: int,
    keep: tuple[str, ...],
    bundle: Path | None,
    by_slice: bool,
    threads: int,
) -> None:
    """Deal a data set out so that no patient, and no copy, is on both sides.

    Classes and sources are spread evenly. The same seed deals the same way on
    every machine.
    """
    from tumorlens.engine.bundle import load_bundle
    from tumorlens.learn.copies import linked_copies
    from tumorlens.learn.manifest import read_manifest, write_manifest
    from tumorlens.learn.split import (
        split_as_trained,
        split_by_fractions,
        split_into_folds,
        split_slices_into_folds,
    )

    if by_slice and (folds is None or keep):
        raise click.UsageError("--by-slice goes with --folds and without --keep.")
    if folds is not None and fractions:
        raise click.UsageError("--folds goes without --fractions.")
    if bundle is not None and (folds is not None or fractions or keep):
        raise click.UsageError("--as-trained goes without any other way to deal.")
    records = read_manifest(source)
    links: list[tuple[int, int]] = []
    if bundle is None and not by_slice:
        with _bar("Looking for copies", len(records)) as progress:
            links = linked_copies(records, threads=threads, progress=progress)
    if bundle is not None:
        provenance = load_bundle(bundle).provenance
        dealt = split_as_trained(records, provenance.get("patients", {}))
    elif folds is not None and by_slice:
        dealt = split_slices_into_folds(records, folds, seed=seed)
    elif folds is not None:
        dealt = split_into_folds(
            records, folds, seed=seed, links=links, keep=_kept(keep)
        )
    else:
        dealt = split_by_fractions(
            records,
            _shares(fractions or "0.7,0.15,0.15"),
            seed=seed,
            links=links,
            keep=_kept(keep),
        )
    write_manifest(dealt, out)
    _print_parts(dealt)
    click.echo(f"Written to {out}.")


@data.command()
@click.argument("folder", type=_SOURCE, required=False, envvar="TUMORLENS_DATA")
@click.option(
    "--also",
    type=_SOURCE,
    multiple=True,
    help="Another manifest (CSV) to add, such as one that `data slices` wrote.",
)
@click.option("--out", type=_OUT, required=True, help="The manifest to write.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def manifest(
    folder: Path | None, also: tuple[Path, ...], out: Path, threads: int
) -> None:
    """Collect the sets in a folder into one manifest.

    FOLDER holds sets whose layout is known (cheng, lgg, notumor,
    brisc_notumor), or a folder a class; by default it is the one that the
    environment variable TUMORLENS_DATA names.
    """
    from tumorlens.learn.manifest import read_manifest, write_manifest
    from tumorlens.learn.sources import collect

    if folder is None:
        raise click.UsageError("Name a folder, or set TUMORLENS_DATA.")
    records = collect(folder, threads=threads)
    for other in also:
        records += read_manifest(other)
    write_manifest(records, out)
    patients = len({record.patient for record in records} - {""})
    flagged = sum(1 for record in records if record.flag)
    click.echo(
        f"{len(records):,} pictures of {patients:,} patients or groups, "
        f"{flagged:,} with a flag, written to {out}."
    )


@data.command()
@click.argument("volumes", type=_SOURCE, nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the pictures and their manifest, NAME/NAME.csv.",
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
def slices(
    volumes: tuple[Path, ...], out: Path, label: str, source: str, every_mm: float
) -> None:
    """Cut whole scans (NIfTI) into axial, coronal and sagittal slices.

    Only for scans that show the same on every slice, such as tumour-free
    heads: each slice gets the same label. The first slices and the last, with
    little of the head, are left out.
    """
    from tumorlens.learn.manifest import write_manifest
    from tumorlens.learn.volume_slices import cut_volumes

    records = cut_volumes(volumes, out, label=label, source=source, every_mm=every_mm)
    write_manifest(records, out / f"{source}.csv")
    click.echo(f"{len(records):,} slices of {len(volumes)} scans written to {out}.")


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=_OUT, required=True, help="The list to write.")
def scans(folder: Path, out: Path) -> None:
    """List the whole scans in FOLDER, and those that its slices form.

    FOLDER holds the sets lgg, cheng, volumes or dicom. `tumorlens calibrate`
    takes the list.
    """
    from tumorlens.learn.scan_list import write_scans
    from tumorlens.learn.scan_sources import collect_scans

    found = collect_scans(folder)
    write_scans(found, out)
    tumors = sum(scan.tumor for scan in found)
    click.echo(
        f"{len(found)} scans, {tumors} with a tumour, of "
        f"{len({scan.patient for scan in found})} patients written to {out}."
    )


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(share) for share in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not three numbers such as 0.7,0.15,0.15.",
            param_hint="--fractions",
        ) from error
    return train, validation, test


def _kept(pairs: tuple[str, ...]) -> dict[str, str]:
    kept = {}
    for pair in pairs:
        name, sign, part = pair.rpartition("=")
        if not sign or not name:
            raise click.BadParameter(
                f"{pair!r} is not NAME=SPLIT, such as DU=test.", param_hint="--keep"
            )
        kept[name] = part
    return kept


def _print_audit(found: Audit) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{found.pictures:,} pictures", title_justify="left")
    for name in ("Source", "Class"):
        table.add_column(name)
    for name in ("Pictures", "Patients", "Grey 1/50/99 %"):
        table.add_column(name, justify="right")
    for name in ("Splits", "Commonest size"):
        table.add_column(name)
    for row in found.summaries:
        table.add_row(
            row.source or "-",
            row.label or "-",
            f"{row.pictures:,}",
            f"{row.patients:,}",
            f"{row.low:.0f}/{row.median:.0f}/{row.high:.0f}",
            "\n".join(f"{name or 'none'} {n:,}" for name, n in row.splits.items()),
            "{} ({:,})".format(*row.sizes[0]),
        )
    console.print(table)
    for finding in found.findings:
        style = "bold red" if finding.invalidates else "yellow"
        word = "WRONG" if finding.invalidates else "Note"
        console.print(f"{word}: {finding.message}", style=style, markup=False)
        for example in finding.examples[:3]:
            console.print(f"  {example}", markup=False, highlight=False, soft_wrap=True)
        if finding.count > 3:
            console.print(f"  and {finding.count - 3:,} more", highlight=False)
    console.print(
        "Clean: nothing found that would falsify an evaluation."
        if found.clean
        else "Not clean: figures measured on this set cannot be trusted."
    )


def _print_parts(records: list[Record]) -> None:
    from collections import Counter

    from tumorlens.learn.findings import part_of
    from tumorlens.taxonomy import CLASSES

    counts = Counter((part_of(record), record.label) for record in records)
    for part in sorted({part for part, _ in counts}):
        words = ", ".join(f"{label} {counts[part, label]:,}" for label in CLASSES)
        click.echo(f"{part}: {words}")


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is, on standard error and only in a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
