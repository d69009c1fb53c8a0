"""The group of commands `tumorlens data`: check, split, collect and fetch data sets."""

from __future__ import annotations

import click

from tumorlens.cli.data.check import audit, overlap, split
from tumorlens.cli.data.collect import fetch, manifest, scans, slices, stack
from tumorlens.cli.data.labels import from_feedback, label_reports


@click.group()
def data() -> None:
    """Check, split, collect and fetch data sets."""


for command in (
    *(audit, fetch, from_feedback, label_reports, manifest, overlap),
    *(scans, slices, split, stack),
):
    data.add_command(command)
