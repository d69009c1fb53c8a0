"""Options of every command that asks the model."""

from __future__ import annotations

import click

operating_point_option = click.option(
    "--operating-point",
    envvar="TUMORLENS_OPERATING_POINT",
    metavar="screening|balanced",
    help="How to weigh missed tumours against false alarms.  [default: the model's]",
)

model_option = click.option(
    "--model",
    envvar="TUMORLENS_MODEL",
    metavar="DIR",
    help="A model bundle other than the shipped one.",
)

threads_option = click.option(
    "--threads",
    envvar="TUMORLENS_THREADS",
    type=click.IntRange(1, 1024),
    help="Threads of one forward pass.  [default: the processor's cores]",
)
