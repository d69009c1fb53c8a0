"""`tumorlens export`: a training run becomes a model bundle.

Tested in `tests/cli/model/test_train.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from tumorlens.cli._shared import FOLDER, calibrate_on_option
from tumorlens.errors import MissingExtraError


@click.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Folder of the bundle; its bundle files are replaced.",
)
@calibrate_on_option
def export(run: Path, out: Path, calibrate_on: Path | None) -> None:
    """Make a bundle of a run's best weights so far, finished or not.

    `tumorlens train` does this at its end; this command is for a run that is
    still going, or that was stopped for good.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from tumorlens.experiments.run import export_run
    except ImportError as error:
        raise MissingExtraError("Exporting", "train") from error
    bundle = export_run(run, out, say=click.echo, calibrate_on=calibrate_on)
    click.echo(f"Bundle {bundle.version} written to {bundle.folder}.")
