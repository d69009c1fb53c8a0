"""What commands that learn and measure share: their data, and tables of figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tumorlens.report.page_parts import Table

manifest_option = click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="Manifest (CSV) or folder with a folder a class.",
)
"""Labelled pictures, as `tumorlens.learn.manifest.read_manifest` takes them."""

_NARROWEST = 100


def print_tables(tables: Sequence[Table]) -> None:
    """Show tables in the terminal, the first column to the left."""
    from rich.console import Console
    from rich.table import Table as Drawn

    console = Console(width=max(_NARROWEST, Console().width))
    for found in tables:
        drawn = Drawn(title=found.title)
        for number, name in enumerate(found.columns):
            drawn.add_column(name, justify="left" if number == 0 else "right")
        for row in found.rows:
            drawn.add_row(*row)
        console.print(drawn)
