"""`tumorlens quantise`: a bundle gets a faster graph in 8-bit integers.

Tested in `tests/experiments/test_quantisation.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from tumorlens.cli._shared import EXISTING_FOLDER, manifest_option
from tumorlens.errors import MissingExtraError


@click.command()
@click.argument("bundle", type=EXISTING_FOLDER)
@manifest_option
@click.option(
    "--folds",
    type=EXISTING_FOLDER,
    default=None,
    help="Folder of a finished `tumorlens train --folds`: measure on the patients that "
    "each fold left out. Needed where every patient trained the bundle.",
)
@click.option(
    "--calibration-slices",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Training slices, of as many patients, that set the steps of the integers.",
)
def quantise(
    bundle: Path, manifest: Path, folds: Path | None, calibration_slices: int
) -> None:
    """Make BUNDLE's network in int8, beside the one in float32.

    It is put into the bundle only where it decides as float32 does: on held-out
    slices decisions agree in 99.5 %, the AUROC falls by at most .001, and so does
    that of the domain score; the calibration error rises by at most .005. Where they
    do not, the convolutions that change the probabilities most are left in float32.
    Whether the faster graph answers is measured on each machine, see --precision of
    `tumorlens predict`.
    """
    try:
        from tumorlens.experiments.quantisation import (
            QuantisationConfig,
            time_ratio,
        )
        from tumorlens.experiments.quantisation import quantise as put_into
        from tumorlens.report.words import counted
    except ImportError as error:
        raise MissingExtraError("Quantising", "train") from error
    config = QuantisationConfig(manifest, folds, calibration_slices)
    put_into(bundle, config, say=click.echo)
    click.echo(f"{bundle} now has a graph in int8.")
    for threads in (1, 2):
        click.echo(
            f"A pass takes {time_ratio(bundle, threads):.2f} of the time of float32 "
            f"here, with {counted(threads, 'thread')}."
        )
