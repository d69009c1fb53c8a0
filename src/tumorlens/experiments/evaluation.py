"""An evaluation from manifest and bundles to figures as JSON, and the page of them.

Tested in `tests/cli/model/test_evaluate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import (
    Record,
    class_names,
    manifest_digest,
    read_manifest,
)
from tumorlens.data.ood_pictures import CT_FLAG
from tumorlens.errors import BundleError, DatasetError, OutputError
from tumorlens.evaluation.corruption import measure_corruption
from tumorlens.evaluation.explanations import measure_faithfulness
from tumorlens.evaluation.leakage import check_held_out
from tumorlens.evaluation.ood import measure_ood
from tumorlens.evaluation.performance.comparison import SWAPS, compare
from tumorlens.evaluation.performance.figures import (
    PARTS,
    curve_figures,
    operating_costs,
    set_figures,
    source_kinds,
    subgroup_figures,
)
from tumorlens.evaluation.performance.rules import NO_RULES, measure_rules
from tumorlens.evaluation.scored_slices import (
    MeasuredBundle,
    Predict,
    ScoredSlices,
    predictor,
    score_records,
    typical_errors,
    worst_errors,
)
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import FLOAT32, Rules
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.evaluation.explanations import faithfulness_section
from tumorlens.report.evaluation.performance import (
    comparison_section,
    curve_sections,
    error_picture,
    figure_sections,
    held_out_section,
    rules_section,
    subgroup_section,
    trace_sketch,
    worst_errors_section,
)
from tumorlens.report.evaluation.robustness import corruption_section, ood_section
from tumorlens.report.model_card import SETS
from tumorlens.report.page import render_evaluation
from tumorlens.report.page_parts import Picture, Section, Table
from tumorlens.report.words import counted
from tumorlens.statistics import read_outline
from tumorlens.taxonomy import (
    CLASSES,
    OwnClass,
    are_same_classes,
    is_no_lesion,
    is_tumor,
)

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

NETWORK_PARTS = ("robustness", "foreign", "faithfulness")
"""Keys in the metrics of what needs the network again."""

_PARTS_OF_A_RUN = ("curves", "rules", "worst_errors", *NETWORK_PARTS)
"""Keys of what does not belong to a bundle's figures on a set."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation.

    Parameters
    ----------
    manifest
        CSV or folder.
    split
        One of its splits, or ``all``. Flagged rows are left out.
    operating_point
        None for each bundle's own.
    damaged
        Slices for what needs the network again (damage, pictures that are no brain
        MRI, tests of the maps), done for the first bundle; 0 for none.
    record_as
        Name under which the figures will be recorded in the bundles; those of
        `SETS` are for patients kept apart.
    """

    manifest: Path
    split: str
    operating_point: str | None = None
    damaged: int = 0
    record_as: str | None = None


@dataclass(frozen=True)
class BundleEvaluation:
    """A bundle with what it was measured to be."""

    classifier: Classifier
    scored_slices: ScoredSlices
    metrics: dict[str, Any]

    @property
    def name(self) -> str:
        """Name and version of the bundle, in the words of a table's heading."""
        return f"{self.metrics['model']['name']} {self.metrics['model']['version']}"


def evaluate_bundles(
    config: EvaluationConfig,
    folders: Sequence[Path],
    other: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[BundleEvaluation]:
    """Score bundles on one set of slices.

    Parameters
    ----------
    config
        Settings of the evaluation.
    folders
        Folders of the bundles; each of the rest is compared with the first.
    other
        A bundle that is only compared with the first.
    say
        Receives lines of progress.

    Returns
    -------
    list of BundleEvaluation
        One for each of `folders`. Their metrics hold ``model``, ``data``,
        ``held_out``, ``leakage``, the figures, and with the first
        ``comparisons``.

    Raises
    ------
    DatasetError
        No row is in the split, or none could be predicted; or they are to be
        recorded as held out and are not.
    BundleError
        A bundle cannot be used, or is of other classes than the first.
    """
    manifest = read_manifest(config.manifest, may_be_own=True)
    records = _rows_of_split(manifest, config)
    # All are loaded before any is scored: a wrong folder shows at once.
    everyone = [*folders, *([] if other is None else [other])]
    classifiers = [load_classifier(folder, precision=FLOAT32) for folder in everyone]
    for item in classifiers[1:]:
        _check_same_classes(classifiers[0].bundle, item.bundle)
    records = in_classes_of(classifiers[0].bundle, records)
    unrecorded = replace(config, record_as=None)
    evaluations = [
        _evaluate(
            item, records, manifest, config if row < len(folders) else unrecorded, say
        )
        for row, item in enumerate(classifiers)
    ]
    first = evaluations[0]
    comparisons = [
        {
            **compare(first.scored_slices, item.scored_slices),
            "names": [first.name, item.name],
            "statements": [x.metrics["leakage"]["statement"] for x in (first, item)],
        }
        for item in evaluations[1:]
    ]
    if comparisons:
        first.metrics["comparisons"] = comparisons
    if config.damaged:
        # The CT among the pictures is no brain MRI, and measured as such.
        tomograms = [row for row in manifest if row.flag == CT_FLAG]
        measured_bundles = MeasuredBundle(
            first.classifier, [*first.scored_slices.records, *tomograms]
        )
        first.metrics.update(measure_network([measured_bundles], config.damaged, say))
    return evaluations[: len(folders)]


def _check_same_classes(first: Bundle, other: Bundle) -> None:
    if are_same_classes(first.classes, other.classes):
        return
    raise BundleError(
        f"The model in {first.folder} knows {', '.join(first.classes)}; the one in "
        f"{other.folder} knows {', '.join(other.classes)}. No row has the class that "
        "both would have to find.",
        "Compare models of the same classes, of which the same ones are tumours.",
    )


def in_classes_of(bundle: Bundle, records: Sequence[Record]) -> list[Record]:
    """Label rows with a bundle's classes, all or some of them.

    Raises
    ------
    DatasetError
        Rows are of other classes, or say something else of what is a tumour.
    """
    labels = class_names(records)
    own = {str(item): item for item in bundle.classes if isinstance(item, OwnClass)}
    if all(x in own and own[x].is_tumor is x.is_tumor for x in labels) and (
        bool(labels) is bool(own)
    ):
        return [
            replace(row, label=own.get(str(row.label), row.label)) for row in records
        ]
    raise DatasetError(
        f"The rows are of the classes {', '.join(labels or CLASSES)}; the model in "
        f"{bundle.folder} knows {', '.join(bundle.classes)}.",
        "Give rows with its labels, whose column tumor says the same of them.",
    )


def _rows_of_split(
    manifest: Sequence[Record], config: EvaluationConfig
) -> list[Record]:
    """Keep the labelled rows of the split that count; at least one."""
    records = [
        row
        for row in manifest
        if row.label
        and not (row.flag or row.train_only)
        and config.split in ("all", row.split)
    ]
    if not records:
        aside = sum(
            bool(row.flag or row.train_only)
            for row in manifest
            if config.split in ("all", row.split)
        )
        why = f" {aside} rows are flagged, or only train." if aside else ""
        raise DatasetError(
            f"{config.manifest} has no labelled row in the split '{config.split}' that "
            f"counts.{why}",
            "Give another --split, or run `tumorlens data split`.",
        )
    return records


def _evaluate(
    classifier: Classifier,
    records: Sequence[Record],
    manifest: Sequence[Record],
    config: EvaluationConfig,
    say: Callable[[str], None],
) -> BundleEvaluation:
    bundle = classifier.bundle
    slices = counted(len(records), "slice")
    say(f"Scoring {slices} by {bundle.name} {bundle.version}.")
    scored_slices = score_records(classifier, records, config.operating_point, say)
    # What was left out is in no figure.
    leakage = check_held_out(bundle, scored_slices.records, manifest)
    if config.record_as in SETS and not leakage["held_out"]:
        raise DatasetError(
            f"{leakage['statement']} They cannot be recorded as '{config.record_as}'.",
            "Score patients kept apart, or give --record another name.",
        )
    recorded = config.record_as is not None
    sketches = sketch_errors(scored_slices, predictor(classifier)) if recorded else []
    return BundleEvaluation(
        classifier,
        scored_slices,
        {
            "model": model_facts(bundle, config.operating_point),
            "data": {
                "split": config.split,
                "sha256": manifest_digest(scored_slices.records),
            },
            "held_out": leakage["held_out"],
            "leakage": leakage,
            **evaluate_scored(scored_slices, bundle.rules),
            **({"sketches": sketches} if sketches else {}),
        },
    )


def evaluate_scored(
    scored_slices: ScoredSlices, rules: Rules | Sequence[Rules] = NO_RULES
) -> dict[str, Any]:
    """Work out every figure that needs no network.

    Parameters
    ----------
    scored_slices
        Slices scored by one bundle, or pooled over folds.
    rules
        The bundle's decision rules; for pooled folds one for each slice.

    Returns
    -------
    dict
        Plain JSON, as `set_figures` says, its ``operating_points`` with ``measured``
        (`operating_costs`); with ``curves``, ``subgroups``, ``source_kinds``,
        ``rules`` and ``worst_errors``.
    """
    figures = set_figures(scored_slices)
    for name, measured in operating_costs(scored_slices).items():
        if measured and name in figures["operating_points"]:
            figures["operating_points"][name]["measured"] = measured
    return {
        **figures,
        "source_kinds": source_kinds(scored_slices),
        "curves": curve_figures(scored_slices),
        "subgroups": subgroup_figures(scored_slices),
        "rules": measure_rules(scored_slices, rules),
        "worst_errors": worst_errors(scored_slices),
    }


def measure_network(
    measured_bundles: Sequence[MeasuredBundle],
    slices: int,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure what needs the network again, on a sample of the slices.

    Parameters
    ----------
    measured_bundles
        One bundle, or those of a cross-validation, and the records to draw the sample
        from, evenly over bundles, classes and patients.
    slices
        How many are damaged, of each bundle at least 4. A tenth of it is how many
        pictures of each drawn kind that is no brain MRI are shown, and three tenths
        how many tumour slices have their maps tested.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        Plain JSON: ``robustness``, ``foreign`` and ``faithfulness``.
    """
    classes = measured_bundles[0].classifier.bundle.classes
    damaged = max(1, slices // len(classes))
    drawn = max(1, slices // 10)
    cases = max(sum(map(is_tumor, classes)), 3 * slices // 10)
    return {
        "robustness": measure_corruption(measured_bundles, say, damaged),
        "foreign": measure_ood(measured_bundles, say, drawn),
        "faithfulness": measure_faithfulness(measured_bundles, say, cases),
    }


def model_facts(bundle: Bundle, operating_point: str | None = None) -> dict[str, Any]:
    """Name a bundle, and what it promises, in the metrics of an evaluation."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "operating_point": operating_point or bundle.default_operating_point,
        "stated_coverage": bundle.prediction_sets.coverage,
    }


def sketch_errors(
    scored_slices: ScoredSlices, predict: Predict
) -> list[dict[str, Any]]:
    """Trace the commonest kinds of error as line drawings, for a bundle to carry.

    A model card then shows how the bundle fails without anybody's picture.

    Parameters
    ----------
    scored_slices
        The set.
    predict
        Predicts a record once more, for its outline.

    Returns
    -------
    list of dict
        Plain JSON: what `typical_errors` says but ``row``, and what `trace_sketch`
        draws.
    """
    sketches = []
    for error in typical_errors(scored_slices):
        record = scored_slices.records[error.pop("row")]
        prediction = predict(record)
        sketches.append(error | trace_sketch(prediction, _outline(record, prediction)))
    return sketches


def error_pictures(
    errors: Sequence[Mapping[str, Any]], scored_slices: ScoredSlices, predict: Predict
) -> Iterator[Picture]:
    """Draw the worst errors of a set.

    Parameters
    ----------
    errors
        Errors of `worst_errors`.
    scored_slices
        The set.
    predict
        Predicts a record once more, for its maps.

    Yields
    ------
    Picture
        One for each error.
    """
    for error in errors:
        record = scored_slices.records[error["row"]]
        prediction = predict(record)
        yield error_picture(error, prediction, _outline(record, prediction))


def _outline(record: Record, prediction: Prediction) -> NDArray[np.bool_] | None:
    """Read what radiologists drew on a tumour slice, where they did: (H, W)."""
    if record.mask is None or is_no_lesion(record.label):
        return None
    return read_outline(record.mask, (prediction.height, prediction.width))


def figures_on_set(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the metrics the figures of one bundle on one set, without curves."""
    return {key: value for key, value in metrics.items() if key not in _PARTS_OF_A_RUN}


def network_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the metrics what needed the network again."""
    return {key: metrics[key] for key in NETWORK_PARTS if key in metrics}


def bundle_metrics(metrics: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Keep of the metrics what travels with a bundle.

    Parameters
    ----------
    metrics
        Metrics of an evaluation.
    name
        Name of the set that they were measured on, for example ``test``.

    Returns
    -------
    dict
        Figures by the name they are recorded under. Rates that could not be
        measured, as where a set has no tumour-free slice, are left out: a
        bundle keeps the ones it has.
    """
    points = {
        point: {
            kind: rates[kind]
            for kind in ("sensitivity", "specificity", "measured")
            if rates.get(kind) is not None
        }
        for point, rates in metrics["operating_points"].items()
    }
    set_figures = {
        key: value
        for key, value in figures_on_set(metrics).items()
        if key != "comparisons"
    }
    return {
        name: {**set_figures, "operating_points": points},
        **network_figures(metrics),
    }


def slices_and_patients(metrics: Mapping[str, Any]) -> str:
    """Count slices and patients; slices that name none are no patients."""
    unnamed = metrics.get("leakage", {}).get("unnamed_slices", 0)
    beside = ", each slice that names none counted as one" if unnamed else ""
    slices = counted(metrics["slices"], "slice")
    return f"{slices} of {counted(metrics['patients'], 'patient')}{beside}"


def comparison_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Make the tables of a bundle's comparisons with others, for the terminal."""
    return [
        replace(table, title=f"{section.title}. {section.paragraphs[0]}")
        for section in _comparison_sections(metrics)
        for table in section.tables
    ]


def _comparison_sections(metrics: Mapping[str, Any]) -> list[Section]:
    return [
        comparison_section(item, SWAPS, number)
        for number, item in enumerate(metrics.get("comparisons", ()), start=1)
    ]


def evaluation_sections(
    metrics: Mapping[str, Any], pictures: Sequence[Picture] = ()
) -> list[Section]:
    """Show all parts of an evaluation that its metrics hold.

    Parameters
    ----------
    metrics
        From `evaluate_scored`; ``leakage`` (`check_held_out`, or `pool_leakage`
        of several folds), ``comparisons`` (a list, of `compare` with ``names``)
        and what `measure_network` found may stand beside.
    pictures
        Pictures of the worst errors.
    """
    sections: list[Section] = []
    if "leakage" in metrics:
        sections.append(held_out_section(metrics["leakage"]))
    sections += figure_sections(metrics, PARTS)
    sections += curve_sections(metrics)
    if metrics["subgroups"]:
        sections.append(subgroup_section(metrics["subgroups"]))
    sections.append(rules_section(metrics["rules"]))
    sections += _comparison_sections(metrics)
    if "robustness" in metrics:
        sections.append(corruption_section(metrics["robustness"]))
    if "foreign" in metrics:
        sections.append(ood_section(metrics["foreign"]))
    if "faithfulness" in metrics:
        sections.append(faithfulness_section(metrics["faithfulness"]))
    if metrics["worst_errors"]:
        sections.append(worst_errors_section(metrics["worst_errors"], pictures))
    return sections


def write_evaluation(
    metrics: Mapping[str, Any], sections: Sequence[Section], out_dir: Path
) -> None:
    """Write `metrics.json` and `report.html`.

    Parameters
    ----------
    metrics
        Plain JSON; ``model`` holds ``name`` and ``version`` for the heading,
        ``slices`` and ``patients`` the counts.
    sections
        Sections of the page, in order.
    out_dir
        Created where missing; its files are replaced.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    model = metrics["model"]
    page = render_evaluation(
        f"How good {model['name']} is ({model['version']})",
        f"{slices_and_patients(metrics)}, each figure with its 95 % interval",
        sections,
    )
    write_report(metrics, page, out_dir)


def write_report(metrics: Mapping[str, Any], page: str, out_dir: Path) -> None:
    """Write figures and the page of them into a folder; see `write_evaluation`."""
    text = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / METRICS_FILE).write_text(text, encoding="utf-8")
        (out_dir / REPORT_FILE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out_dir} cannot be written to: {error}.") from error
