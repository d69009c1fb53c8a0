"""`tumorlens tune`: search for the choices that train the best model."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.cli._shared.options import FOLDER, manifest_option
from tumorlens.cli._shared.output_files import show_tables
from tumorlens.cli.model.train import (
    include_flagged_option,
    network_of_weights,
    open_licences_option,
    training_options,
    weights_option,
)
from tumorlens.errors import MissingExtraError
from tumorlens.report.slice.document import RESEARCH_USE

if TYPE_CHECKING:
    from tumorlens.experiments.tuning import SearchConfig, Trials

_SHOWN = 5


@click.command()
@manifest_option
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder of the search: its study, its trials' logs, the best choices and a "
    "report. The same call goes on there where it was stopped.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="Number of trainings, those of earlier calls among them.",
)
@click.option(
    "--vary",
    "ranges",
    multiple=True,
    metavar="NAME=RANGE",
    help="Search this choice: LOW:HIGH, LOW:HIGH:log or A,B,C; can be repeated. "
    "[default: learning rate, weight decay, warm-up, final rate, ema and label "
    "smoothing, those not given as options]",
)
@training_options
@weights_option
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=None,
    help="Trials at the same time, each in a process of its own, by Ray.  "
    "[default: 1; with --address as many as the cluster has processors for]",
)
@click.option(
    "--address",
    metavar="ray://HOST:PORT|auto|local",
    help="Train on a Ray cluster: at an address, the one that runs here, or one that "
    "is started for this call.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=None,
    help="With --jobs or --address: threads of one trial.  [default: 1]",
)
@open_licences_option
@include_flagged_option
def tune(
    manifest: Path,
    folder: Path,
    trials: int,
    ranges: tuple[str, ...],
    weights: Path | None,
    jobs: int | None,
    address: str | None,
    threads: int | None,
    include_flagged: bool,
    **choices: Any,  # noqa: ANN401 - one for each field of TrainingConfig
) -> None:
    """Search for the choices that train the best model.

    Each trial trains on the rows `train` of the manifest and is judged on the
    patients of `validation`; patients of `test` are not looked at. Trials that lag
    behind the others are stopped. Options that are given hold for all trials.

    OUT/best.json has the best choices, for `tumorlens train --config`, and OUT/report
    a page of all trials.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    is_on_ray = jobs is not None or address is not None
    if threads is not None and not is_on_ray:
        raise click.UsageError("--threads goes with --jobs or --address.")
    try:
        from tumorlens.experiments.tuning import BEST_FILE, REPORT_FOLDER, Search
    except ImportError as error:
        raise MissingExtraError("A search", "tune") from error
    from tumorlens.experiments.evaluation import REPORT_FILE
    from tumorlens.experiments.tuning import Trainer, trial_table

    given = {name: value for name, value in choices.items() if value is not None}
    if weights is not None and "network" not in given:
        given |= network_of_weights(weights, manifest)
    config = _configured(manifest, folder, given, ranges, weights, include_flagged)
    with ExitStack() as stack:
        search = stack.enter_context(Search(config, say=click.echo))
        left = search.left(trials)
        if search.is_begun:
            click.echo(f"{folder} holds {trials - left} of {trials} trials: going on.")
        workers: Trials = Trainer(config, say=click.echo)
        if is_on_ray and left:
            from tumorlens.scale.cluster import LOCAL_CLUSTER
            from tumorlens.scale.tuning import RayTrials

            where = address or LOCAL_CLUSTER
            workers = stack.enter_context(RayTrials(where, jobs, threads or 1, config))
        if left:
            click.echo(workers.expected(left))
        result = search.run(trials, workers)
    show_tables([trial_table(result, _SHOWN)])
    click.echo(f"Page written to {folder / REPORT_FOLDER / REPORT_FILE}.")
    start = "" if weights is None else f" --weights {weights}"
    click.echo(
        f"Next: tumorlens train --data {manifest} --out NEW_FOLDER{start} "
        f"--config {folder / BEST_FILE}"
    )
    click.echo(RESEARCH_USE)


def _configured(
    manifest: Path,
    folder: Path,
    given: dict[str, Any],
    ranges: tuple[str, ...],
    weights: Path | None,
    include_flagged: bool,
) -> SearchConfig:
    """Say what all trials share, and what is searched.

    Raises
    ------
    UsageError
        A choice is given and searched.
    """
    from tumorlens.data.manifest import read_manifest
    from tumorlens.experiments.run import configured, sized_training
    from tumorlens.experiments.tuning import SPACE, SearchConfig, parse_range
    from tumorlens.training.networks.registry import find_network

    records = read_manifest(manifest, may_be_own=True)
    training = configured(given).for_classes_of(records)
    if "steps_per_epoch" not in {**find_network(training.network).defaults, **given}:
        training = sized_training(training, records, include_flagged)
    if ranges:
        space = dict(map(parse_range, ranges))
        for name in given.keys() & space:
            raise click.UsageError(
                f"--vary {name} searches what --{name.replace('_', '-')} fixes."
            )
    else:
        space = {key: item for key, item in SPACE.items() if key not in given}
    return SearchConfig(manifest, folder, training, space, weights, include_flagged)
