"""The part of `tumorlens train` that cross-validates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorlens.cli._shared.output_files import write_json

if TYPE_CHECKING:
    from tumorlens.experiments.cross_validation import CrossValidated
    from tumorlens.experiments.fold_runs import FoldPlan


def train_folds(
    manifest: Path,
    folder: Path,
    folds: int,
    plan: FoldPlan,
    include_flagged: bool,
    choices: Mapping[str, Any],
    damaged: int,
) -> None:
    """Cross-validate, report, and make a bundle of all folds' networks.

    Parameters
    ----------
    manifest
        Its folds are kept; dealt out where it has none.
    folder
        Gets a folder for each fold, ``report`` and, after all folds, ``bundle``.
    folds
        How many there are.
    plan
        Which of them to leave out, and how many at the same time.
    include_flagged
        Also use rows that the manifest flags.
    choices
        Fields of `TrainingConfig` that were given.
    damaged
        Slices for what needs the networks again; see `measure_network`. 0 leaves
        that out.
    """
    from tumorlens.calibration.probabilities import COVERAGE
    from tumorlens.data.split import records_in_folds
    from tumorlens.experiments.cross_validation import (
        bundle_of_folds,
        cross_validate,
        examined_by_folds,
    )
    from tumorlens.experiments.evaluation import evaluate_scored, measure_network
    from tumorlens.experiments.run import configured, with_figures
    from tumorlens.training.networks.registry import find_network

    config = configured(choices)
    if find_network(config.network).judges != "slices":
        raise click.UsageError(
            f"--folds does not go with {config.network}: fill the manifest's split "
            "column instead."
        )
    everything = records_in_folds(manifest, folds, include_flagged=True)
    flagged = [row for row in everything if row.flag and not include_flagged]
    records = [row for row in everything if include_flagged or not row.flag]
    found = cross_validate(records, config, folder, plan, click.echo, flagged)
    metrics = {
        "model": {
            "name": config.network,
            "version": f"{len(plan.only) or folds} of {folds} folds, each left out in "
            "turn",
            "operating_point": "screening",
            "stated_coverage": COVERAGE,
        },
        "held_out": found.leakage["held_out"],
        "leakage": found.leakage,
        **evaluate_scored(found.scored, found.rules),
    }
    if damaged:
        examined = examined_by_folds(found.bundles, everything)
        metrics |= measure_network(examined, damaged, click.echo)
    _report(found, metrics, folder)
    if len(found.bundles) == folds:
        made = bundle_of_folds(found, everything, config, folder, say=click.echo)
        bundle = with_figures(made, folder)
        click.echo(f"Bundle {bundle.version} written to {bundle.folder}.")


def _report(found: CrossValidated, metrics: dict[str, Any], folder: Path) -> None:
    """Write the figures of the folds together, and a page of them."""
    from tumorlens.evaluation.performance.by_sequence import sequence_figures
    from tumorlens.evaluation.scoring.error_sketches import sketch_errors
    from tumorlens.evaluation.scoring.worst_errors import error_pictures, judge_by_folds
    from tumorlens.experiments.cross_validation import REPORT_FOLDER
    from tumorlens.experiments.evaluation import (
        evaluation_sections,
        of_network,
        on_set,
        write_evaluation,
    )

    click.echo(found.leakage["statement"])
    judge = judge_by_folds(found.bundles)
    metrics["sketches"] = sketch_errors(found.scored, judge)
    pictures = error_pictures(metrics["worst_errors"], found.scored, judge)
    out = folder / REPORT_FOLDER
    write_evaluation(metrics, evaluation_sections(metrics, list(pictures)), out)
    write_json(out / "figures.json", [{**on_set(metrics), **of_network(metrics)}])
    write_json(out / "sequences.json", [sequence_figures(found.with_lesions)])
    click.echo(f"Figures of all folds together written to {out}.")
