"""Options that several commands share, and the types of paths that options take.

Tested in `tests/cli/analysis/test_predict.py` and `tests/cli/data/test_data.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
"""A file or a folder, which need not exist."""
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

store_option = click.option(
    "--store",
    type=FOLDER,
    envvar="TUMORLENS_STORE",
    required=True,
    help="The server's folder. Environment: TUMORLENS_STORE.",
)
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

precision_option = click.option(
    "--precision",
    envvar="TUMORLENS_PRECISION",
    type=click.Choice(["auto", "float32", "int8"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the network; auto: whichever graph of the model is faster on "
    "this machine.",
)

manifest_option = click.option(
    "--data",
    "manifest",
    type=PATH,
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

figures_option = click.option(
    "--json", "json_path", type=PATH, help="Write all figures."
)

calibrate_on_option = click.option(
    "--calibrate-on",
    type=EXISTING_FOLDER,
    default=None,
    help="Fix calibration and thresholds on this cross-validation's held-out patients.",
)

readers_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Pictures that are read at the same time.",
)
"""Threads that read pictures, for commands that run no network."""
