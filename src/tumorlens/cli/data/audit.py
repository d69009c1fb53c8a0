"""`tumorlens data audit`: what makes a set's figures lie, as a table.

Tested in `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared.output_files import STANDARD_OUTPUT, check_files, write_json
from tumorlens.cli.data.options import (
    SOURCE,
    readers_option,
    reading_bar,
    report_skipped,
)

if TYPE_CHECKING:
    from tumorlens.data.audit import Audit


@click.command()
@click.argument("source", type=SOURCE)
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
        passed_over=report_skipped,
    )
    with reading_bar("Reading pictures", len(records)) as progress:
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
    table = Table(title=f"{audit_result.pictures:,} pictures", title_justify="left")
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
    return "Clean: nothing found that would falsify an evaluation."
