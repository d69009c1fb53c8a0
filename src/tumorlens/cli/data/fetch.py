"""`tumorlens data fetch`: a public set comes over the network, and shows how far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.command()
@click.argument("name", required=False)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for it."
)
def fetch(name: str | None, out: Path | None) -> None:
    """Fetch a public data set; without NAME, list those that are known.

    Stopped at any moment, the same command goes on where it was.
    """
    from tumorlens.data.public.fetch import PUBLIC_SETS
    from tumorlens.data.public.fetch import fetch as run_fetch

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
