"""Options, a progress bar and a warning that commands of `tumorlens data` share.

Tested in `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

SOURCE = click.Path(path_type=Path)
"""A manifest (CSV), or a folder with a folder a class."""

OUT = click.Path(path_type=Path, dir_okay=False)
"""A file to write."""

readers_option = click.option(
    "--threads", type=click.IntRange(1), default=2, show_default=True
)


@contextmanager
def reading_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many pictures are read, on standard error and only in a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def report_skipped(files: list[Path]) -> None:
    """Print how many files were not listed, and the names of the first."""
    from tumorlens.data.manifest import ENDINGS, first_names

    click.echo(
        f"Passed over ({len(files):,}): {first_names(files)}. Listed are files in "
        f"folders named by class that end in {', '.join(ENDINGS)}.",
        err=True,
    )
