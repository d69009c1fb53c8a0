"""`tumorlens data audit`, `overlap` and `split`: a set is checked, and split for good.

Tested in `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared.options import FILE, FOLDER, PATH, readers_option
from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, check_files, write_json
from tumorlens.report.words import counted

if TYPE_CHECKING:
    from tumorlens.data.audit import Audit
    from tumorlens.data.manifest import Record


@contextmanager
def _reading_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many pictures are read, on standard error and only in a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def print_skipped(files: list[Path]) -> None:
    """Print how many files were not listed, and the names of the first."""
    from tumorlens.data.manifest import ENDINGS, first_names

    click.echo(
        f"Passed over ({len(files):,}): {first_names(files)}. Listed are files in "
        f"folders named by class that end in {', '.join(ENDINGS)}.",
        err=True,
    )


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--json", "json_out", metavar="FILE", help="Write all as JSON; - for the terminal."
)
@readers_option
@click.pass_context
def audit(
    context: click.Context, source: Path, json_out: str | None, threads: int
) -> None:
    """Look for what makes figures lie: leaks, copies, wrong labels, dead files.

    SOURCE is a manifest (CSV) or a folder with a folder a class. A set is called
    clean only where its pictures name their patients. The exit status is 1 if a
    finding makes an evaluation worthless, 2 if the audit cannot run, else 0.
    """
    from tumorlens.data.audit import audit as run_audit
    from tumorlens.data.manifest import read_manifest

    check_files(json_out)
    records = read_manifest(
        source,
        allow_unlabelled=True,
        must_exist=False,
        may_be_own=True,
        report_skipped=print_skipped,
    )
    with _reading_bar("Reading pictures", len(records)) as progress:
        audit_result = run_audit(records, threads=threads, progress=progress)
    if json_out == STANDARD_OUTPUT:
        click.echo(json.dumps(audit_result.to_json(), indent=2))
    else:
        _print_audit(audit_result)
        if json_out:
            write_json(Path(json_out), audit_result.to_json())
    context.exit(1 if audit_result.invalid else 0)


def _print_audit(audit_result: Audit) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = counted(audit_result.pictures, "picture")
    table = Table(title=title, title_justify="left")
    for name in ("Source", "Class"):
        table.add_column(name)
    for name in ("Pictures", "Patients", "Grey 1/50/99 %"):
        table.add_column(name, justify="right")
    for name in ("Splits", "Commonest size"):
        table.add_column(name)
    for row in audit_result.summaries:
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
    for finding in audit_result.findings:
        style = "bold red" if finding.invalidates else "yellow"
        word = "WRONG" if finding.invalidates else "Note"
        console.print(f"{word}: {finding.message}", style=style, markup=False)
        for example in finding.examples[:3]:
            console.print(f"  {example}", markup=False, highlight=False, soft_wrap=True)
        if finding.count > 3:
            console.print(f"  and {finding.count - 3:,} more", highlight=False)
    console.print(_verdict(audit_result))


def _verdict(audit_result: Audit) -> str:
    if audit_result.invalid:
        return "Not clean: figures measured on this set cannot be trusted."
    if not audit_result.clean:
        return (
            "Not known to be clean: nothing else was found, but without names of "
            "patients nobody can tell whether one is on both sides of a split."
        )
    if audit_result.findings:
        return (
            "Clean but for the notes: no copy, leak or broken file was found; figures "
            "mean no more than the notes leave of them."
        )
    return "Clean: nothing found that would falsify an evaluation."


@click.command()
@click.argument("source", type=PATH)
@click.argument("against", type=PATH, required=False)
@click.option(
    "--split", default=None, help="Take only this split of SOURCE, such as test."
)
@click.option(
    "--against-split",
    default=None,
    help="Take only this split of AGAINST, such as train.",
)
@click.option(
    "--patients-of",
    type=PATH,
    help="A set that names patients: who shows on a copy of its pictures is known.",
)
@click.option("--json", "json_out", type=FILE, help="Write the counts as JSON.")
@readers_option
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
    from tumorlens.data.duplicates import measure_overlap

    if against is None and (split is None or against_split is None):
        raise click.UsageError(
            "Name another set, or two splits: --split test --against-split train."
        )
    check_files(json_out)
    records = _rows(source, split)
    others = _rows(against or source, against_split)
    patient_records = [] if patients_of is None else _rows(patients_of, None)
    total = len(records) + len(others) + len(patient_records)
    with _reading_bar("Reading pictures", total) as progress:
        overlap = measure_overlap(
            records, others, patient_records, threads=threads, progress=progress
        )
    click.echo(
        f"{overlap.pictures:,} pictures, compared with {overlap.compared_with:,}:\n"
        f"  {overlap.identical:,} are there pixel for pixel,\n"
        f"  {overlap.copies:,} are there, or nearly (mirrored ones counted),\n"
        f"  {overlap.same_patient:,} show a patient who is there,\n"
        f"  {overlap.shared:,} "
        f"({100 * overlap.shared / max(1, overlap.pictures):.1f} %) "
        "are copies or show such a patient."
    )
    if json_out:
        write_json(json_out, overlap.to_json())
    context.exit(1 if overlap.shared else 0)


def _rows(source: Path, split: str | None) -> list[Record]:
    from tumorlens.data.manifest import read_manifest
    from tumorlens.errors import DatasetError

    records = read_manifest(
        source,
        allow_unlabelled=True,
        must_exist=False,
        may_be_own=True,
        report_skipped=print_skipped,
    )
    chosen = [row for row in records if split in (None, row.split)]
    if not chosen:
        names = ", ".join(sorted({row.split for row in records} - {""})) or "none"
        raise DatasetError(
            f"{source} has no row in the split '{split}'.",
            f"Name one of its splits ({names}), or run `tumorlens data split`.",
        )
    return chosen


@click.command()
@click.argument("source", type=PATH)
@click.option("--out", type=FILE, required=True, help="The manifest to write.")
@click.option("--folds", type=int, default=None, help="Number of folds to deal out to.")
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
    type=FOLDER,
    help="Deal as this model bundle was trained: its training patients to train.",
)
@click.option(
    "--by-slice",
    is_flag=True,
    help="With --folds: part patients, as leaky studies do, to see what it flatters.",
)
@readers_option
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
    from tumorlens.data.manifest import read_manifest, write_manifest
    from tumorlens.data.split import split_as_trained, split_slices_into_folds
    from tumorlens.inference.bundle.bundle import load_bundle

    if by_slice and (folds is None or keep):
        raise click.UsageError("--by-slice goes with --folds and without --keep.")
    if folds is not None and fractions:
        raise click.UsageError("--folds goes without --fractions.")
    if bundle is not None and (folds is not None or fractions or keep):
        raise click.UsageError("--as-trained goes without any other way to deal.")
    records = read_manifest(source, may_be_own=True, report_skipped=print_skipped)
    if bundle is not None:
        provenance = load_bundle(bundle).provenance
        dealt = split_as_trained(records, provenance.get("patients", {}))
    elif folds is not None and by_slice:
        dealt = split_slices_into_folds(records, folds, seed=seed)
    else:
        dealt = _deal_patients(records, folds, fractions, seed, keep, threads)
    write_manifest(dealt, out)
    _print_parts(dealt)
    click.echo(f"Written to {out}.")


def _deal_patients(
    records: list[Record],
    folds: int | None,
    fractions: str | None,
    seed: int,
    keep: tuple[str, ...],
    threads: int,
) -> list[Record]:
    from tumorlens.data.duplicates import linked_copies
    from tumorlens.data.split import split_by_fractions, split_into_folds

    # Slips of the pen show before minutes of reading.
    kept, shares = _kept(keep), _shares(fractions or "0.7,0.15,0.15")
    with _reading_bar("Looking for copies", len(records)) as progress:
        links = linked_copies(records, threads=threads, progress=progress)
    _warn_of_patients(records)
    if folds is not None:
        return split_into_folds(records, folds, seed=seed, links=links, keep=kept)
    dealt = split_by_fractions(records, shares, seed=seed, links=links, keep=kept)
    _warn_of_empty(dealt, shares, links, kept)
    return dealt


def _warn_of_empty(
    dealt: list[Record],
    shares: tuple[float, float, float],
    links: list[tuple[int, int]],
    kept: dict[str, str],
) -> None:
    from tumorlens.data.manifest import SPLITS
    from tumorlens.data.split import members_of_groups

    filled = {record.split for record in dealt}
    asked = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0.0]
    empty = [name for name in asked if name not in filled]
    if not empty:
        return
    free = [
        rows
        for rows in members_of_groups(dealt, links).values()
        if not any({dealt[row].site, dealt[row].source} & kept.keys() for row in rows)
    ]
    why = (
        f"{len(free):,} patients or groups of copies are too few to share out evenly "
        "by class and source"
    )
    if not free:
        why = "--keep sends every row elsewhere"
    click.echo(
        f"Warning: {' and '.join(empty)} got nothing: {why}. Add patients, or fill the "
        "column split by hand.",
        err=True,
    )


def _warn_of_patients(records: list[Record]) -> None:
    from collections import Counter

    pictures = Counter(record.patient for record in records)
    if unnamed := pictures.pop("", 0):
        click.echo(
            f"{unnamed:,} pictures name no patient: of these, only copies are kept "
            "together. Fill the manifest's column patient where you can.",
            err=True,
        )
    for patient, count in pictures.most_common(1):
        # Anonymising may have given everybody one Patient ID.
        if count > len(records) / 2:
            click.echo(
                f"{count:,} of {len(records):,} pictures are of one patient, "
                f"{patient}, and stay together. If they are of several, name these "
                "in the manifest's column patient (tumorlens data manifest writes "
                "one).",
                err=True,
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
    kept_splits = {}
    for pair in pairs:
        name, sign, part = pair.rpartition("=")
        if not sign or not name:
            raise click.BadParameter(
                f"{pair!r} is not NAME=SPLIT, such as DU=test.", param_hint="--keep"
            )
        kept_splits[name] = part
    return kept_splits


def _print_parts(records: list[Record]) -> None:
    from collections import Counter

    from tumorlens.data.audit import part_of
    from tumorlens.data.manifest import class_names
    from tumorlens.taxonomy import CLASSES

    counts = Counter((part_of(record), record.label) for record in records)
    for part in sorted({part for part, _ in counts}):
        names = class_names(records) or CLASSES
        words = ", ".join(f"{label} {counts[part, label]:,}" for label in names)
        click.echo(f"{part}: {words}")
