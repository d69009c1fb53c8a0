"""`tumorlens audit`: whether the record of who did what is whole.

Tested in `tests/operations/test_audit.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared import store_option

EXIT_BROKEN = 1


@click.group()
def audit() -> None:
    """Check the record of who did what, which a server keeps in its store."""


@audit.command()
@store_option
@click.option(
    "--noted",
    metavar="DIGEST",
    help="The end that was printed at some time: it has to be in the record.",
)
def verify(store: Path, noted: str | None) -> int:
    """Follow the chain from the first event to the last, and print its end.

    The status is 1 where an event was changed, taken out or put in. Only who has noted
    an end sees that later ones were cut off.
    """
    from tumorlens.operations.audit import AUDIT_FILE
    from tumorlens.operations.audit import verify as follow

    report = follow(store / AUDIT_FILE, noted)
    if report.problem is not None:
        click.echo(f"{report.problem} {report.events} events before it are whole.")
        return EXIT_BROKEN
    click.echo(f"{report.events} events are whole. The end: {report.head}")
    return 0
