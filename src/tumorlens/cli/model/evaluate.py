"""`tumorlens evaluate`: how good a bundle is on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tumorlens.cli._shared import (
    PATH,
    check_files,
    make_folder,
    manifest_option,
    show_tables,
    split_option,
    write_json,
)
from tumorlens.errors import MissingExtraError
from tumorlens.report.page_parts import FIGURES, Table, class_count, figure_text


@click.command()
@manifest_option
@split_option
@click.option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="A bundle's folder; several stand side by side. Default: the shipped one.",
)
@click.option(
    "--compare",
    type=PATH,
    help="A bundle's folder to set beside the first on the same slices, with a test.",
)
@click.option("--operating-point", default=None, help="screening or balanced.")
@click.option(
    "--out",
    type=PATH,
    help="Folder for metrics.json and report.html, a page, of the first bundle.",
)
@click.option(
    "--robustness",
    "damaged",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="With --out: slices to damage; out-of-distribution pictures and tests of "
    "the maps go with them. 0 leaves these out.",
)
@click.option(
    "--json",
    "json_path",
    type=PATH,
    help="Write the figures of every --model, and comparisons, without curves.",
)
@click.option(
    "--record", default=None, help="Store the figures in the bundles, by this name."
)
def evaluate(
    manifest: Path,
    split: str,
    models: tuple[Path, ...],
    compare: Path | None,
    operating_point: str | None,
    out: Path | None,
    damaged: int,
    json_path: Path | None,
    record: str | None,
) -> None:
    """Score one or several bundles on pictures whose class is known.

    Each figure comes with its 95 % interval, bootstrapped over patients.
    Sensitivity counts a tumour slice as missed when it is called free of
    tumour; specificity counts a tumour-free slice as right only then. Figures
    on patients, or copies of pictures, that made a bundle are not called held
    out, and cannot be recorded as `test`, `cross_validation` or `leave_site_out`.
    """
    check_files(json_path)
    if out is not None:
        make_folder(out)
    try:
        from tumorlens.evaluation.scored_slices import predictor
        from tumorlens.experiments import evaluation
    except ImportError as error:
        raise MissingExtraError("Evaluating", "train") from error
    from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE, record_metrics

    folders = models or (DEFAULT_BUNDLE,)
    config = evaluation.EvaluationConfig(
        manifest, split, operating_point, damaged if out is not None else 0, record
    )
    evaluations = evaluation.evaluate_bundles(config, folders, compare, say=click.echo)
    first, figures = evaluations[0], [item.metrics for item in evaluations]
    show_tables(
        [
            _table(evaluation.slices_and_patients(figures[0]), figures),
            *evaluation.comparison_tables(figures[0]),
        ]
    )
    for metrics in figures:
        click.echo(f"{metrics['model']['name']}: {metrics['leakage']['statement']}")
    if out is not None:
        pictures = evaluation.error_pictures(
            first.metrics["worst_errors"],
            first.scored_slices,
            predictor(first.classifier),
        )
        sections = evaluation.evaluation_sections(first.metrics, list(pictures))
        evaluation.write_evaluation(first.metrics, sections, out)
        click.echo(f"Page written to {out / evaluation.REPORT_FILE}.")
    if json_path is not None:
        write_json(json_path, [evaluation.figures_on_set(item) for item in figures])
    if record is not None:
        for folder, metrics in zip(folders, figures, strict=True):
            for name, part in evaluation.bundle_metrics(metrics, record).items():
                record_metrics(folder, name, part)


def _table(title: str, evaluations: list[dict[str, Any]]) -> Table:
    names = [
        f"{item['model']['name']} {item['model']['version']}" for item in evaluations
    ]
    rows = [
        (
            class_count(name, len(evaluations[0]["recall"])),
            *(figure_text(figures.get(key)) for figures in evaluations),
        )
        for name, key in FIGURES
        if key in evaluations[0]
    ]
    rows += [
        (
            f"recall, {name}",
            *(figure_text(figures["recall"][name]) for figures in evaluations),
        )
        for name in evaluations[0]["recall"]
    ]
    return Table(
        f"{title}, operating point {evaluations[0]['model']['operating_point']}",
        ("Figure [95 % interval over patients]", *names),
        rows,
    )
