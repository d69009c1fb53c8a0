"""Tables of figures in the terminal.

Tested in `tests/cli/model/test_evaluate.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tumorlens.report import page_parts


def show_tables(tables: Iterable[page_parts.Table]) -> None:
    """Print tables, their first column to the left and the others to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(100, Console().width))
    for item in tables:
        table = Table(title=item.title)
        for number, name in enumerate(item.columns):
            table.add_column(name, justify="left" if number == 0 else "right")
        for row in item.rows:
            table.add_row(*row)
        console.print(table)
