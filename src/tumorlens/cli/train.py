"""`tumorlens train`: from a manifest to a bundle that can be served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tumorlens.cli.labelled import manifest_option
from tumorlens.cli.written import write_json
from tumorlens.errors import MissingExtraError, TrainingError


@click.command()
@manifest_option
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run: checkpoints, logs and, at its end, the bundle.",
)
@click.option("--network", default=None, help="evidence-net (default) or seed-cnn.")
@click.option("--epochs", type=int, default=None, help="At most so many.")
@click.option("--steps-per-epoch", type=int, default=None, help="Batches an epoch.")
@click.option("--batch-size", type=int, default=None, help="Pictures a batch.")
@click.option("--learning-rate", type=float, default=None, help="At its peak.")
@click.option("--weight-decay", type=float, default=None, help="0 is plain Adam.")
@click.option("--size", type=int, default=None, help="Edge of the input in pixels.")
@click.option("--early-size", type=int, default=None, help="The same, early on.")
@click.option("--early-share", type=float, default=None, help="How long early is.")
@click.option(
    "--sampling", default=None, help="natural, class or class-source (default)."
)
@click.option(
    "--evidence-loss", type=float, default=None, help="Its weight; 0 leaves it out."
)
@click.option("--patience", type=int, default=None, help="Epochs without a better one.")
@click.option("--seed", type=int, default=None, help="Of everything random.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Start from these Keras weights, for example a bundle's model.weights.h5.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    default=None,
    help="Cross-validate: so many runs, each judging the patients it left out.",
)
@click.option(
    "--fold",
    "only",
    type=click.IntRange(0),
    multiple=True,
    help="With --folds: only leave out these, for a first look or to share the work.",
)
@click.option(
    "--calibrate-on",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Fix calibration and thresholds on this cross-validation's held-out patients.",
)
@click.option("--resume", is_flag=True, help="Go on where the run was killed.")
@click.option("--include-flagged", is_flag=True, help="Also train on rows with a flag.")
def train(
    manifest: Path,
    folder: Path,
    weights: Path | None,
    folds: int | None,
    only: tuple[int, ...],
    calibrate_on: Path | None,
    resume: bool,
    include_flagged: bool,
    **choices: Any,  # noqa: ANN401 - one for each field of TrainingConfig
) -> None:
    """Train a network and export it as a bundle.

    Patients stay apart: the manifest's split column says who trains and who
    validates (`tumorlens data split` fills it). Thresholds and calibration
    are fixed on the validation patients; test patients are not looked at.

    With --folds each fold of the manifest (dealt here where it has none) is
    judged by a network that trained on the others, and the pooled figures go
    to OUT/report. The same command goes on where it was stopped.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from tumorlens.learn.config import TrainingConfig
        from tumorlens.learn.run import RunOrder, run_training
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    config_path = folder / "config.json"
    given = {name: value for name, value in choices.items() if value is not None}
    if folds is not None:
        if weights is not None or calibrate_on is not None or resume:
            raise click.UsageError(
                "--folds goes without --weights, --calibrate-on and --resume."
            )
        _cross_validate(manifest, folder, folds, only, include_flagged, given)
        return
    if only:
        raise click.UsageError("--fold goes with --folds.")
    if resume:
        if given:
            raise TrainingError(
                f"--resume goes on as the run was started; {sorted(given)[0]} "
                "cannot change.",
                "Leave the option out, or start a new run.",
            )
        config = TrainingConfig.read(config_path)
    else:
        config = TrainingConfig(**given)
    bundle = run_training(
        RunOrder(
            manifest, folder, config, weights, resume, include_flagged, calibrate_on
        ),
        say=click.echo,
    )
    click.echo(f"Bundle {bundle.version} written to {bundle.folder}.")
    click.echo(
        f"Next: tumorlens evaluate --data {manifest} --split test "
        f"--model {bundle.folder}"
    )


def _cross_validate(
    manifest: Path,
    folder: Path,
    folds: int,
    only: tuple[int, ...],
    include_flagged: bool,
    choices: dict[str, Any],
) -> None:
    from tumorlens.learn.calibrate import COVERAGE
    from tumorlens.learn.config import TrainingConfig
    from tumorlens.learn.crossval import REPORT_FOLDER, cross_validate
    from tumorlens.learn.evaluation.error_sketches import sketch_errors
    from tumorlens.learn.evaluation.evaluate import (
        evaluate_scored,
        evaluation_sections,
        on_set,
        write_evaluation,
    )
    from tumorlens.learn.evaluation.worst_errors import error_pictures, judge_by_folds
    from tumorlens.learn.folds import records_in_folds

    config = TrainingConfig(**choices)
    records = records_in_folds(manifest, folds, include_flagged=include_flagged)
    found = cross_validate(records, config, folder, say=click.echo, only=only)
    metrics = {
        "model": {
            "name": config.network,
            "version": f"{len(only) or folds} of {folds} folds, each left out in turn",
            "operating_point": "screening",
            "stated_coverage": COVERAGE,
        },
        "held_out": found.leakage["held_out"],
        "leakage": found.leakage,
        **evaluate_scored(found.scored, found.rules),
    }
    click.echo(found.leakage["statement"])
    judge = judge_by_folds(found.bundles)
    metrics["sketches"] = sketch_errors(found.scored, judge)
    pictures = error_pictures(metrics["worst_errors"], found.scored, judge)
    out = folder / REPORT_FOLDER
    write_evaluation(metrics, evaluation_sections(metrics, list(pictures)), out)
    write_json(out / "figures.json", [on_set(metrics)])
    click.echo(f"Figures of all folds together written to {out}.")
