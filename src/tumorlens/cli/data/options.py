"""Arguments and options that several commands of `tumorlens data` share."""

from __future__ import annotations

from pathlib import Path

import click

SOURCE = click.Path(path_type=Path)
"""A manifest (CSV), or a folder with a folder a class."""

OUT = click.Path(path_type=Path, dir_okay=False)
"""A file to write."""

readers_option = click.option(
    "--threads", type=click.IntRange(1), default=2, show_default=True
)
