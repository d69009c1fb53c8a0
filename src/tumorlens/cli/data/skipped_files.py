"""Files of a folder that a command did not list are named, so that none is lost."""

from __future__ import annotations

from pathlib import Path

import click


def say_passed_over(files: list[Path]) -> None:
    """Count files that were not listed, and name the first of them."""
    from tumorlens.data.class_folders import ENDINGS, first_names

    click.echo(
        f"Passed over ({len(files):,}): {first_names(files)}. Listed are files in "
        f"folders named by class that end in {', '.join(ENDINGS)}.",
        err=True,
    )
