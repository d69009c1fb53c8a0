"""`tumorlens train`: from a manifest to a bundle that can be served."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tumorlens.cli._shared.options import (
    EXISTING_FILE,
    FOLDER,
    PATH,
    calibrate_on_option,
    manifest_option,
)
from tumorlens.cli._shared.output_files import show_tables, write_json
from tumorlens.errors import MissingExtraError, TrainingError
from tumorlens.inference.clinical import read_clinical_table
from tumorlens.report.page_parts import Table
from tumorlens.report.slice.document import RESEARCH_USE

if TYPE_CHECKING:
    from tumorlens.experiments.cross_validation import CrossValidation, FoldPlan
    from tumorlens.inference.bundle.bundle import Bundle
    from tumorlens.training.config import TrainingConfig
    from tumorlens.training.plan import StepProgress

_CLINICAL_FOLDER = "clinical"
_SECONDS_A_LINE = 60.0

Command = TypeVar("Command", bound=Callable[..., Any])


def read_factors(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, float] | None:
    """Read ``NAME=FACTOR``; None where there is none."""
    factors = {}
    for text in texts:
        name, sign, factor = text.rpartition("=")
        try:
            factors[name] = float(factor)
        except ValueError:
            sign = ""
        if not (name and sign):
            raise click.BadParameter(f"'{text}' is not NAME=FACTOR.")
    return factors or None


_TRAINING_OPTIONS = (
    click.option(
        "--network",
        default=None,
        help="evidence-net (default), evidence-net-lite2 (larger), "
        "evidence-net-sequences (any sequence, other lesions), seed-cnn or cnn3d "
        "(whole series).",
    ),
    click.option("--epochs", type=int, default=None, help="Largest number of epochs."),
    click.option(
        "--steps-per-epoch", type=int, default=None, help="Batches per epoch."
    ),
    click.option("--batch-size", type=int, default=None, help="Pictures per batch."),
    click.option(
        "--learning-rate", type=float, default=None, help="Learning rate at its peak."
    ),
    click.option(
        "--final-rate",
        type=float,
        default=None,
        help="Learning rate at the end, as a share of its peak: 0 to 1.",
    ),
    click.option(
        "--weight-decay",
        type=float,
        default=None,
        help="Weight decay; 0 is plain Adam.",
    ),
    click.option("--size", type=int, default=None, help="Edge of the input in pixels."),
    click.option(
        "--early-size",
        type=int,
        default=None,
        help="Edge of the input early in training.",
    ),
    click.option(
        "--early-share",
        type=float,
        default=None,
        help="Share of the training that is early.",
    ),
    click.option(
        "--sampling",
        default=None,
        help="natural, class, class-source (default) or class-source-sequence.",
    ),
    click.option(
        "--draw",
        "draw_factors",
        metavar="SOURCE[:SEQUENCE[:FINDING]]=FACTOR",
        multiple=True,
        callback=read_factors,
        help="Draw these slices so many times as often; may be given several times.",
    ),
    click.option(
        "--evidence-loss",
        type=float,
        default=None,
        help="Weight of the evidence head's loss; 0 leaves it out.",
    ),
    click.option(
        "--transplant-share",
        type=float,
        default=None,
        help="Share of tumour-free slices that get a tumour while training: 0 to 0.33.",
    ),
    click.option(
        "--ema",
        type=float,
        default=None,
        help="Momentum of the weights' average: 0 to 1.",
    ),
    click.option(
        "--precision",
        default=None,
        help="float32 (default), or bfloat16: faster on a GPU that has it, in less "
        "memory.",
    ),
    click.option(
        "--patience",
        type=int,
        default=None,
        help="Epochs without a better one, after which training stops.",
    ),
    click.option("--seed", type=int, default=None, help="Seed of everything random."),
)


def training_options(command: Command) -> Command:
    """Add the options that are fields of `TrainingConfig`."""
    for option in reversed(_TRAINING_OPTIONS):
        command = option(command)
    return command


weights_option = click.option(
    "--weights",
    type=EXISTING_FILE,
    default=None,
    help="Start from these Keras weights, for example a bundle's model.weights.h5.",
)
open_licences_option = click.option(
    "--open-licences",
    is_flag=True,
    default=None,
    help="Let no set of mixed or unclear licence teach or calibrate.",
)
include_flagged_option = click.option(
    "--include-flagged", is_flag=True, help="Also train on rows with a flag."
)


@click.command()
@manifest_option
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder of the run: checkpoints, logs and, at its end, the bundle.",
)
@click.option(
    "--config",
    "config_file",
    type=EXISTING_FILE,
    default=None,
    help="Choices of another run, from its config.json, or of `tumorlens tune`, from "
    "its best.json. Options given beside it win.",
)
@training_options
@weights_option
@click.option(
    "--folds",
    type=click.IntRange(2),
    default=None,
    help="Cross-validate with so many folds: each run judges the patients it left out.",
)
@click.option(
    "--fold",
    "only",
    type=click.IntRange(0),
    multiple=True,
    help="With --folds: leave out these alone, for a first look or to share the work.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=None,
    help="With --folds: number of runs at the same time.  [default: 1]",
)
@click.option(
    "--robustness",
    "damaged",
    type=click.IntRange(min=0),
    default=None,
    help="With --folds: slices to damage; out-of-distribution pictures and tests of "
    "the maps go with them. 0 leaves these out.  [default: 200]",
)
@click.option(
    "--folds-weights",
    "earlier",
    type=FOLDER,
    default=None,
    help="With --folds: each run goes on from the weights of the same fold in this "
    "earlier cross-validation, which left the same patients out.",
)
@calibrate_on_option
@click.option(
    "--clinical",
    "table",
    type=PATH,
    default=None,
    help="Also learn from this table (CSV) what age, sex ... add to the image.",
)
@click.option(
    "--model",
    "ready",
    type=FOLDER,
    default=None,
    help="With --clinical: build on this bundle, and train no network.",
)
@click.option(
    "--permutations",
    type=click.IntRange(0),
    default=None,
    help="With --clinical: how often to deal the columns anew.  [default: 99]",
)
@open_licences_option
@click.option(
    "--mlflow",
    metavar="URI",
    default=None,
    help="Also keep choices, epochs and bundle in this MLflow store.",
)
@click.option("--resume", is_flag=True, help="Go on where the run was killed.")
@include_flagged_option
def train(
    manifest: Path,
    folder: Path,
    config_file: Path | None,
    weights: Path | None,
    folds: int | None,
    only: tuple[int, ...],
    jobs: int | None,
    damaged: int | None,
    earlier: Path | None,
    calibrate_on: Path | None,
    table: Path | None,
    ready: Path | None,
    permutations: int | None,
    mlflow: str | None,
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
    to OUT/report. The mean of all folds' networks becomes the bundle
    OUT/bundle. The same command goes on where it was stopped.

    With --clinical the bundle also learns a table's columns, on what networks
    say of patients they have not trained on; what the columns add over the
    image alone goes to OUT/clinical.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from tumorlens.experiments.cross_validation import BUNDLE_FOLDER, FoldPlan
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
    given = {name: value for name, value in choices.items() if value is not None}
    of_folds = {
        "fold": only or None,
        "jobs": jobs,
        "robustness": damaged,
        "folds-weights": earlier,
    }
    for_folds = [name for name, value in of_folds.items() if value is not None]
    alone = not (
        given
        or weights is not None
        or folds is not None
        or for_folds
        or resume
        or config_file is not None
    )
    if resume and config_file is not None:
        raise click.UsageError("--resume goes on as the run was started: no --config.")
    if mlflow is not None and (folds is not None or ready is not None):
        raise click.UsageError("--mlflow goes without --folds and --model.")
    if table is None and (ready is not None or permutations is not None):
        raise click.UsageError("--model and --permutations go with --clinical.")
    if ready is not None and not alone:
        raise click.UsageError(
            "--model trains no network: it goes with --data, --out, --clinical, "
            "--calibrate-on, --permutations and --include-flagged alone."
        )

    def learn_columns(bundle: Path, image_side: Path | None) -> None:
        if table is not None:
            options = (image_side, include_flagged, permutations)
            _learn_clinical(table, manifest, bundle, folder, *options)

    if ready is not None:
        learn_columns(ready, calibrate_on)
        return
    if table is not None:
        # A wrong table shows before hours of training.
        from tumorlens.data.manifest import read_manifest

        read_clinical_table(table)
        read_manifest(manifest, may_be_own=True)
    base = None
    if config_file is not None:
        from tumorlens.training.config import TrainingConfig

        base = TrainingConfig.read(config_file)
    elif weights is not None and "network" not in given and not resume:
        given |= network_of_weights(weights, manifest)
    if folds is not None:
        if calibrate_on is not None or resume:
            raise click.UsageError("--folds goes without --calibrate-on and --resume.")
        if only and table is not None:
            raise click.UsageError("--clinical needs all folds, and so no --fold.")
        if weights is not None and earlier is not None:
            raise click.UsageError("--weights and --folds-weights exclude each other.")
        plan = FoldPlan(only, jobs or 1, weights, earlier)
        measured = 200 if damaged is None else damaged
        _cross_validate(
            manifest, folder, folds, plan, include_flagged, given, base, measured
        )
        learn_columns(folder / BUNDLE_FOLDER, folder)
        return
    if for_folds:
        raise click.UsageError(f"--{for_folds[0]} goes with --folds.")
    runs_on = (weights, resume, include_flagged, calibrate_on, mlflow)
    bundle = _train_once(manifest, folder, given, base, *runs_on)
    click.echo(f"Bundle {bundle.version} written to {bundle.folder}.")
    learn_columns(bundle.folder, calibrate_on)
    command = "evaluate" if bundle.judges == "slices" else "compare-scans"
    click.echo(
        f"Next: tumorlens {command} --data {manifest} --split test "
        f"--model {bundle.folder}"
    )


def network_of_weights(weights: Path, manifest: Path) -> dict[str, str]:
    """Choose the network that weights to start from are of; none where nobody knows.

    A network that takes no classes of the user's own gives way to the usual one, which
    has the same layers below its heads.
    """
    from tumorlens.data.manifest import class_names, read_manifest
    from tumorlens.experiments.lineage import Parent
    from tumorlens.taxonomy import CLASSES
    from tumorlens.training.config import TrainingConfig
    from tumorlens.training.networks.registry import NETWORKS

    bundle = Parent.of(weights).bundle
    if bundle is None or bundle.name not in NETWORKS:
        return {}
    is_own = bool(class_names(read_manifest(manifest, may_be_own=True)))
    if is_own and NETWORKS[bundle.name].findings != CLASSES:
        return {}
    if bundle.name != TrainingConfig.network:
        click.echo(f"The network is {bundle.name}, as the weights are of it.")
    return {"network": bundle.name}


def _train_once(
    manifest: Path,
    folder: Path,
    given: dict[str, Any],
    base: TrainingConfig | None,
    weights: Path | None,
    resume: bool,
    include_flagged: bool,
    calibrate_on: Path | None,
    mlflow: str | None,
) -> Bundle:
    from tumorlens.experiments.run import RunConfig, configured, run_training
    from tumorlens.training.config import TrainingConfig
    from tumorlens.training.networks.registry import find_network

    if resume and given:
        raise TrainingError(
            f"--resume goes on as the run was started; {sorted(given)[0]} cannot "
            "change.",
            "Leave the option out, or start a new run.",
        )
    config = (
        TrainingConfig.read(folder / "config.json")
        if resume
        else configured(given, base)
    )
    own = find_network(config.network).defaults
    sized = base is None and "steps_per_epoch" not in {**own, **given}
    with _training_bar() as progress:
        return run_training(
            RunConfig(
                *(manifest, folder, config, weights, resume, include_flagged),
                calibrate_on,
                size_epochs=sized,
                mlflow=mlflow,
            ),
            say=click.echo,
            progress=progress,
        )


@contextmanager
def _training_bar() -> Iterator[Callable[[StepProgress], None]]:
    """Show a bar of the epoch at work; a line a minute where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from tumorlens.training.plan import duration

    console = Console(stderr=True)
    told = time.monotonic()
    with Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total} steps"),
        TextColumn("{task.fields[left]} left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=1, epoch="1", left="?", visible=False)

        def progress(item: StepProgress) -> None:
            nonlocal told
            steps = item.total // item.epochs
            seconds = item.seconds_left
            left = "?" if seconds is None else duration(seconds)
            bar.update(
                task,
                completed=item.step - (item.epoch - 1) * steps,
                total=steps,
                epoch=f"{item.epoch} of {item.epochs}",
                left=left,
                visible=True,
            )
            if not console.is_terminal and time.monotonic() - told > _SECONDS_A_LINE:
                told = time.monotonic()
                said = (
                    "how long is not known yet" if seconds is None else f"{left} left"
                )
                click.echo(f"step {item.step:,} of {item.total:,}  {said}")

        yield progress


def _cross_validate(
    manifest: Path,
    folder: Path,
    folds: int,
    plan: FoldPlan,
    include_flagged: bool,
    choices: Mapping[str, Any],
    base: TrainingConfig | None,
    damaged: int,
) -> None:
    """Cross-validate, report, and make a bundle of all folds' networks.

    Parameters
    ----------
    manifest
        The manifest, whose folds are kept, or dealt out where it has none.
    folder
        Gets a folder for each fold, ``report`` and, after all folds, ``bundle``.
    folds
        Number of folds.
    plan
        Folds to leave out, the number of runs at the same time, and their start.
    include_flagged
        True to use rows that the manifest flags, too.
    choices
        Fields of `TrainingConfig` that were given.
    base
        Where the others come from; None for the network's own.
    damaged
        Slices for what needs the networks again; see `measure_network`. 0 leaves
        that out.
    """
    from tumorlens.calibration.probabilities import COVERAGE
    from tumorlens.data.manifest import class_names
    from tumorlens.data.split import records_in_folds
    from tumorlens.evaluation.performance.by_sequence import sequence_figures
    from tumorlens.experiments.cross_validation import (
        bundle_of_folds,
        cross_validate,
        measured_bundles_of_folds,
        sized_for_folds,
    )
    from tumorlens.experiments.evaluation import evaluate_scored, measure_network
    from tumorlens.experiments.run import configured, with_figures
    from tumorlens.training.networks.registry import find_network

    config = configured(choices, base)
    network = find_network(config.network)
    if network.judges != "slices":
        raise click.UsageError(
            f"--folds does not go with {config.network}: fill the manifest's split "
            "column instead."
        )
    everything = records_in_folds(
        manifest, folds, include_flagged=True, may_be_own=True
    )
    flagged = [row for row in everything if row.flag and not include_flagged]
    records = [row for row in everything if include_flagged or not row.flag]
    config = config.for_classes_of(everything)
    if base is None and "steps_per_epoch" not in {**network.defaults, **choices}:
        config = sized_for_folds(config, records, folds)
    folds_result = cross_validate(records, config, folder, plan, click.echo, flagged)
    metrics = {
        "model": {
            "name": config.network,
            "version": f"{len(plan.only) or folds} of {folds} folds, each left out in "
            "turn",
            "operating_point": "screening",
            "stated_coverage": COVERAGE,
        },
        "held_out": folds_result.leakage["held_out"],
        "leakage": folds_result.leakage,
        **evaluate_scored(folds_result.scored_slices, folds_result.rules),
    }
    # Of classes of a user's own nothing is measured by sequence.
    has_own = class_names(folds_result.scored_slices.records)
    by_sequence = None if has_own else sequence_figures(folds_result.with_lesions)
    if find_network(config.network).sequences:
        metrics["sequences"] = by_sequence
    if damaged:
        measured_bundles = measured_bundles_of_folds(folds_result.bundles, everything)
        metrics |= measure_network(measured_bundles, damaged, click.echo)
    _report_folds(folds_result, metrics, by_sequence, folder)
    if len(folds_result.bundles) == folds:
        made = bundle_of_folds(folds_result, everything, config, folder, say=click.echo)
        bundle = with_figures(made, folder)
        click.echo(f"Bundle {bundle.version} written to {bundle.folder}.")


def _report_folds(
    cross_validation: CrossValidation,
    metrics: dict[str, Any],
    by_sequence: Mapping[str, Any] | None,
    folder: Path,
) -> None:
    """Write the figures of the folds together, and a page of them."""
    from tumorlens.evaluation.scored_slices import fold_predictor
    from tumorlens.experiments.cross_validation import REPORT_FOLDER
    from tumorlens.experiments.evaluation import (
        error_pictures,
        evaluation_sections,
        figures_on_set,
        network_figures,
        sketch_errors,
        write_evaluation,
    )

    click.echo(cross_validation.leakage["statement"])
    predict = fold_predictor(cross_validation.bundles)
    metrics["sketches"] = sketch_errors(cross_validation.scored_slices, predict)
    pictures = error_pictures(
        metrics["worst_errors"], cross_validation.scored_slices, predict
    )
    out = folder / REPORT_FOLDER
    write_evaluation(metrics, evaluation_sections(metrics, list(pictures)), out)
    write_json(
        out / "figures.json", [{**figures_on_set(metrics), **network_figures(metrics)}]
    )
    if by_sequence is not None:
        write_json(out / "sequences.json", [by_sequence])
    click.echo(f"Figures of all folds together written to {out}.")


def _learn_clinical(
    table: Path,
    manifest: Path,
    ready: Path,
    folder: Path,
    calibrate_on: Path | None,
    include_flagged: bool,
    permutations: int | None,
) -> None:
    """Build on a bundle, and say what the columns add.

    Parameters
    ----------
    table, manifest, calibrate_on, include_flagged
        The same as in `tumorlens.experiments.clinical.ClinicalConfig`.
    ready
        The bundle to build on.
    folder
        Folder of the run; the bundle goes to its ``bundle``, the report to its
        ``clinical``.
    permutations
        None for as many as usual.
    """
    from tumorlens.evaluation.clinical import PERMUTATIONS
    from tumorlens.experiments.clinical import ClinicalConfig, add_clinical
    from tumorlens.experiments.cross_validation import BUNDLE_FOLDER
    from tumorlens.experiments.evaluation import REPORT_FILE, write_report
    from tumorlens.report.evaluation.clinical import (
        answer,
        clinical_sections,
        figure_table,
    )
    from tumorlens.report.page import render_evaluation

    config = ClinicalConfig(
        table,
        manifest,
        ready,
        folder / BUNDLE_FOLDER,
        calibrate_on,
        include_flagged,
        PERMUTATIONS if permutations is None else permutations,
    )
    bundle, report = add_clinical(config, say=click.echo)
    page = render_evaluation(
        "What clinical columns add to the image",
        f"On top of {bundle.name} {bundle.version}: {report['slices']} slices of "
        f"{report['patients']} patients, each figure with its 95 % interval",
        clinical_sections(report),
    )
    write_report(report, page, folder / _CLINICAL_FOLDER)
    show_tables([_brief(figure_table(report, "by_patient"))])
    click.echo(answer(report))
    click.echo(report["image_side"])
    click.echo(f"Page written to {folder / _CLINICAL_FOLDER / REPORT_FILE}.")
    click.echo(f"Bundle {bundle.version} with its columns written to {bundle.folder}.")
    click.echo(
        f"Next: tumorlens predict PATH --model {bundle.folder} --clinical TABLE.csv, "
        "with a column 'file'."
    )
    click.echo(RESEARCH_USE)


def _brief(table: Table) -> Table:
    """Keep what fits a terminal; the page shows the rest."""
    columns = [
        place
        for place, name in enumerate(table.columns)
        if name not in ("Image as served", "Columns alone", "Of permuted columns")
    ]
    rows = [[row[place] for place in columns] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in columns], rows)
