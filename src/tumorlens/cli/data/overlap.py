"""`tumorlens data overlap`: what two sets, or two splits, share.

Tested in `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared.output_files import check_files, write_json
from tumorlens.cli.data.options import (
    OUT,
    SOURCE,
    readers_option,
    reading_bar,
    report_skipped,
)

if TYPE_CHECKING:
    from tumorlens.data.manifest import Record


@click.command()
@click.argument("source", type=SOURCE)
@click.argument("against", type=SOURCE, required=False)
@click.option("--split", default=None, help="Of SOURCE only this split, as test.")
@click.option(
    "--against-split", default=None, help="Of AGAINST only this split, as train."
)
@click.option(
    "--patients-of",
    type=SOURCE,
    help="A set that names patients: who shows on a copy of its pictures is known.",
)
@click.option("--json", "json_out", type=OUT, help="Write the counts as JSON.")
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
    with reading_bar("Reading pictures", total) as progress:
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
        passed_over=report_skipped,
    )
    chosen = [row for row in records if split in (None, row.split)]
    if not chosen:
        names = ", ".join(sorted({row.split for row in records} - {""})) or "none"
        raise DatasetError(
            f"{source} has no row in the split '{split}'.",
            f"Name one of its splits ({names}), or run `tumorlens data split`.",
        )
    return chosen
