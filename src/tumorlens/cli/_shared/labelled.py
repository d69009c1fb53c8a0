"""Options of commands that learn and measure: labelled pictures."""

from __future__ import annotations

from pathlib import Path

import click

manifest_option = click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path),
    required=True,
    help="Manifest (CSV) or folder with a folder a class.",
)
"""Labelled pictures, as `tumorlens.data.manifest.read_manifest` takes them."""

split_option = click.option(
    "--split",
    default="test",
    show_default=True,
    help="Which part of the manifest to score; 'all' for every row.",
)
