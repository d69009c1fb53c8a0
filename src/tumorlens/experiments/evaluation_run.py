"""An evaluation from manifest and bundles to metrics, as the command asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorlens.data.manifest import Record, manifest_digest, read_manifest
from tumorlens.data.ood_pictures import CT_FLAG
from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance import paired
from tumorlens.evaluation.scoring.error_sketches import sketch_errors
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.evaluation.scoring.leakage import check_held_out
from tumorlens.evaluation.scoring.scored_slices import ScoredSet, score_records
from tumorlens.evaluation.scoring.worst_errors import error_pictures, judge_by
from tumorlens.experiments.evaluation import (
    evaluate_scored,
    measure_network,
    model_facts,
)
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.report.model_card.sets import SETS
from tumorlens.report.page_parts import Picture, Table


@dataclass(frozen=True)
class EvaluationOrder:
    """What to score, and how.

    Parameters
    ----------
    manifest
        CSV or folder.
    split
        One of its splits, or ``all``. Flagged rows are left out.
    operating_point
        None for each bundle's own.
    damaged
        Slices for what needs the network again (damage, foreign pictures,
        tests of the maps), done for the first bundle; 0 for none.
    record_as
        Name under which the figures will be recorded in `folders`; those of
        `SETS` are for patients kept apart.
    """

    manifest: Path
    split: str
    operating_point: str | None = None
    damaged: int = 0
    record_as: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """A bundle with what it was measured to be."""

    classifier: Classifier
    scored: ScoredSet
    metrics: dict[str, Any]


def evaluate_bundles(
    order: EvaluationOrder,
    folders: Sequence[Path],
    other: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Evaluated]:
    """Score bundles on one set of slices.

    Parameters
    ----------
    order
        What to score.
    folders
        Of the bundles; each of the rest is compared with the first.
    other
        A bundle that is only compared with the first.
    say
        Receives lines of progress.

    Returns
    -------
    list of Evaluated
        One for each of `folders`. Their metrics hold ``model``, ``data``,
        ``held_out``, ``leakage``, the figures, and with the first
        ``comparisons``.

    Raises
    ------
    DatasetError
        No row is in the split, or none could be judged; or they are to be
        recorded as held out and are not.
    BundleError
        A bundle cannot be used.
    """
    known = read_manifest(order.manifest)
    records = [
        row
        for row in known
        if row.label
        and not (row.flag or row.train_only)
        and order.split in ("all", row.split)
    ]
    if not records:
        aside = sum(
            bool(row.flag or row.train_only)
            for row in known
            if order.split in ("all", row.split)
        )
        why = f" {aside} rows are flagged, or only train." if aside else ""
        raise DatasetError(
            f"{order.manifest} has no labelled row in the split '{order.split}' that "
            f"counts.{why}",
            "Give another --split, or run `tumorlens data split`.",
        )
    # All are loaded before any is scored: a wrong folder shows at once.
    everyone = [*folders, *([] if other is None else [other])]
    classifiers = [load_classifier(folder) for folder in everyone]
    beside = replace(order, record_as=None)
    found = [
        _evaluate(item, records, known, order if row < len(folders) else beside, say)
        for row, item in enumerate(classifiers)
    ]
    first = found[0]
    comparisons = [
        {
            **paired.compare(first.scored, item.scored),
            "names": [_name(first), _name(item)],
            "statements": [x.metrics["leakage"]["statement"] for x in (first, item)],
        }
        for item in found[1:]
    ]
    if comparisons:
        first.metrics["comparisons"] = comparisons
    if order.damaged:
        # The CT among the pictures is foreign to the model, and measured as such.
        tomograms = [row for row in known if row.flag == CT_FLAG]
        examined = Examined(first.classifier, [*first.scored.records, *tomograms])
        first.metrics.update(measure_network([examined], order.damaged, say))
    return found[: len(folders)]


def _evaluate(
    classifier: Classifier,
    records: Sequence[Record],
    known: Sequence[Record],
    order: EvaluationOrder,
    say: Callable[[str], None],
) -> Evaluated:
    bundle = classifier.bundle
    say(f"Scoring {len(records)} slices by {bundle.name} {bundle.version}.")
    scored = score_records(classifier, records, order.operating_point, say)
    # What was left out is in no figure.
    leakage = check_held_out(bundle, scored.records, known)
    if order.record_as in SETS and not leakage["held_out"]:
        raise DatasetError(
            f"{leakage['statement']} They cannot be recorded as '{order.record_as}'.",
            "Score patients kept apart, or give --record another name.",
        )
    recorded = order.record_as is not None
    sketches = sketch_errors(scored, judge_by(classifier)) if recorded else []
    return Evaluated(
        classifier,
        scored,
        {
            "model": model_facts(bundle, order.operating_point),
            "data": {"split": order.split, "sha256": manifest_digest(scored.records)},
            "held_out": leakage["held_out"],
            "leakage": leakage,
            **evaluate_scored(scored, bundle.rules),
            **({"sketches": sketches} if sketches else {}),
        },
    )


def _name(item: Evaluated) -> str:
    return f"{item.metrics['model']['name']} {item.metrics['model']['version']}"


def comparison_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Make the tables of a bundle's comparisons with others, for the terminal."""
    return [
        replace(found, title=f"{part.title}. {part.paragraphs[0]}")
        for part in map(paired.section, metrics.get("comparisons", ()))
        for found in part.tables
    ]


def draw_errors(found: Evaluated) -> list[Picture]:
    """Draw the worst errors of a bundle."""
    errors = found.metrics["worst_errors"]
    return list(error_pictures(errors, found.scored, judge_by(found.classifier)))
