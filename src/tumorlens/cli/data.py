"""`tumorlens data`: check, split, collect and fetch data sets."""

from __future__ import annotations

import click

from tumorlens.cli.data_audit import audit
from tumorlens.cli.data_collect import manifest, scans, slices
from tumorlens.cli.data_fetch import fetch
from tumorlens.cli.data_overlap import overlap
from tumorlens.cli.data_split import split
from tumorlens.cli.data_stack import stack


@click.group()
def data() -> None:
    """Check, split, collect and fetch data sets."""


for command in (audit, fetch, manifest, overlap, scans, slices, split, stack):
    data.add_command(command)
