"""`tumorlens query`: what an archive's results say, by month, scanner or series."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import click

from tumorlens.cli._shared import (
    FILE,
    FOLDER,
    STANDARD_OUTPUT,
    check_files,
    write_bytes,
    write_json,
)
from tumorlens.cli.scale.batch import require_archive

if TYPE_CHECKING:
    from tumorlens.scale.archive.query import QueryResult


@click.command()
@click.argument("folder", type=FOLDER, metavar="DEST")
@click.option(
    "--by",
    "by",
    multiple=True,
    default=("month", "decision"),
    show_default=True,
    metavar="COLUMN",
    help="Count by this column of the results, such as month, decision, scanner, "
    "series, sequence or status; may be given several times.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only rows with this value, or with none where VALUE is empty; may be given "
    "several times.",
)
@click.option(
    "--min-p-tumor",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Only slices whose probability of any tumour is at least this.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Lines of the table; the JSON always has all groups.",
)
@click.option(
    "--json",
    "json_path",
    metavar="F|-",
    help="Write JSON to this file, or with - to the standard output.",
)
@click.option(
    "--html",
    "html_path",
    type=FILE,
    help="Write a page with counts by month, scanner, decision and more, a histogram "
    "of probabilities, and the series to look at.",
)
def query(
    folder: Path,
    by: tuple[str, ...],
    where: tuple[str, ...],
    min_p_tumor: float | None,
    limit: int,
    json_path: str | None,
    html_path: Path | None,
) -> int:
    """Count the results of an archive by month, scanner, series and more.

    DEST is the --out of `tumorlens batch`, which may still be running.
    """
    check_files(json_path, html_path)
    values = {}
    for item in where:
        name, separator, value = item.partition("=")
        if not separator:
            raise click.UsageError("--where takes COLUMN=VALUE.")
        values[name] = value
    require_archive()
    from tumorlens.scale.archive.query import query_archive

    result = query_archive(folder, tuple(dict.fromkeys(by)), values, min_p_tumor)
    if html_path is not None:
        page = _page(folder, values, min_p_tumor, html_path)
        write_bytes(html_path, page.encode())
    if json_path == STANDARD_OUTPUT:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return 0
    if json_path is not None:
        write_json(Path(json_path), result.to_json())
    _show(result, limit)
    if html_path is not None:
        click.echo(f"Page written to {html_path}.")
    return 0


def _page(
    folder: Path, values: dict[str, str], min_p_tumor: float | None, page: Path
) -> str:
    from tumorlens.imaging.formats import display_name
    from tumorlens.report.page import render_archive
    from tumorlens.scale.archive.parquet import MAPS_FOLDER
    from tumorlens.scale.archive.query import archive_overview

    overview = archive_overview(folder, values, min_p_tumor)
    chosen = [f"{name} = {value or 'empty'}" for name, value in values.items()]
    if min_p_tumor is not None:
        chosen.append(f"probability of {min_p_tumor:g} or more")
    maps = os.path.relpath(folder / MAPS_FOLDER, page.parent)

    def link(stem: str) -> str:
        return quote(f"{maps}/{stem}.overlay.png".replace(os.sep, "/"))

    return render_archive(
        overview.totals,
        overview.counts,
        overview.histogram,
        overview.series,
        overview.left_out,
        link,
        f"{display_name(folder)}: {', '.join(chosen) or 'all rows'}",
    )


def _show(result: QueryResult, limit: int) -> None:
    from rich.console import Console
    from rich.table import Table

    # Names of series and files are long, and lines that break cannot be read.
    is_long = {"series", "study", "file"} & set(result.by)
    console = Console(width=max(170 if is_long else 100, Console().width))
    table = Table()
    names = list(result.groups[0]) if result.groups else list(result.by)
    for name in names:
        # A name that is cut off cannot be looked for.
        justify: Literal["left", "right"] = "left" if name in result.by else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for group in result.groups[:limit]:
        table.add_row(*(_cell(group[name]) for name in names))
    console.print(table)
    left = len(result.groups) - limit
    if left > 0:
        click.echo(f"{left:,} more groups: give --limit, or --json for all.")


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
