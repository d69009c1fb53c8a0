"""All parts of an evaluation together: figures as JSON, and the page of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumorlens.errors import OutputError
from tumorlens.evaluation.explanations import faithfulness
from tumorlens.evaluation.performance import paired, rules, subgroups
from tumorlens.evaluation.performance.curve_sections import curve_sections
from tumorlens.evaluation.performance.curves import curve_figures
from tumorlens.evaluation.performance.figures import set_figures
from tumorlens.evaluation.performance.sections import figure_sections
from tumorlens.evaluation.performance.source_kinds import source_kinds
from tumorlens.evaluation.robustness import corruption
from tumorlens.evaluation.robustness import ood as foreign
from tumorlens.evaluation.scoring import fold_leakage, leakage, worst_errors
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import Rules
from tumorlens.report.evaluation.page import render_evaluation
from tumorlens.report.page_parts import Picture, Section
from tumorlens.taxonomy import CLASSES, TUMOR_CLASSES

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

OF_THE_BUNDLE = {
    "robustness": corruption.section,
    "foreign": foreign.section,
    "faithfulness": faithfulness.section,
}
"""Parts that need the network, by their key in the metrics, and how each is shown."""

_OF_THIS_RUN = ("curves", "rules", "worst_errors", *OF_THE_BUNDLE)
"""Parts of the metrics that do not belong to a bundle's figures on a set."""


def evaluate_scored(
    scored: ScoredSet, given: Rules | Sequence[Rules] = rules.NO_RULES
) -> dict[str, Any]:
    """Work out every figure that needs no network.

    Parameters
    ----------
    scored
        Of one bundle, or pooled over folds.
    given
        The bundle's decision rules; for pooled folds one for each slice.

    Returns
    -------
    dict
        Plain JSON, as `set_figures` says, with ``curves``, ``subgroups``,
        ``source_kinds``, ``rules`` and ``worst_errors``.
    """
    return {
        **set_figures(scored),
        "source_kinds": source_kinds(scored),
        "curves": curve_figures(scored),
        "subgroups": subgroups.subgroup_figures(scored),
        "rules": rules.measure_rules(scored, given),
        "worst_errors": worst_errors.worst_errors(scored),
    }


def measure_network(
    examined: Sequence[Examined],
    slices: int,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure what needs the network again, on a sample of the slices.

    Parameters
    ----------
    examined
        One bundle, or those of a cross-validation, and the records to draw the sample
        from, evenly over bundles, classes and patients.
    slices
        How many are damaged, of each bundle at least 4. A tenth of it is how many
        foreign pictures of each drawn kind are shown, and three tenths how many
        tumour slices have their maps tested.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        Plain JSON: ``robustness``, ``foreign`` and ``faithfulness``.
    """
    damaged = max(1, slices // len(CLASSES))
    drawn = max(1, slices // 10)
    cases = max(len(TUMOR_CLASSES), 3 * slices // 10)
    return {
        "robustness": corruption.measure_corruption(examined, say, damaged),
        "foreign": foreign.measure_foreign(examined, say, drawn),
        "faithfulness": faithfulness.measure_faithfulness(examined, say, cases),
    }


def model_facts(bundle: Bundle, operating_point: str | None = None) -> dict[str, Any]:
    """Name a bundle, and what it promises, in the metrics of an evaluation."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "operating_point": operating_point or bundle.default_operating_point,
        "stated_coverage": bundle.prediction_sets.coverage,
    }


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
        Of the worst errors.
    """
    found = figure_sections(metrics)
    if "leakage" in metrics:
        kind = fold_leakage if "folds" in metrics["leakage"] else leakage
        found.insert(0, kind.section(metrics["leakage"]))
    found += curve_sections(metrics)
    if metrics["subgroups"]:
        found.append(subgroups.section(metrics["subgroups"]))
    found.append(rules.section(metrics["rules"]))
    found += [
        paired.section(item, number)
        for number, item in enumerate(metrics.get("comparisons", ()), start=1)
    ]
    found += [
        show(metrics[key]) for key, show in OF_THE_BUNDLE.items() if key in metrics
    ]
    if metrics["worst_errors"]:
        found.append(worst_errors.section(metrics["worst_errors"], pictures))
    return found


def on_set(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the metrics the figures of one bundle on one set, without curves."""
    return {key: value for key, value in metrics.items() if key not in _OF_THIS_RUN}


def of_whom(metrics: Mapping[str, Any]) -> str:
    """Count slices and patients; slices that name none are no patients."""
    unnamed = metrics.get("leakage", {}).get("unnamed_slices", 0)
    beside = ", each slice that names none counted as one" if unnamed else ""
    return f"{metrics['slices']} slices of {metrics['patients']} patients{beside}"


def for_bundle(metrics: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Keep of the metrics what travels with a bundle.

    Parameters
    ----------
    metrics
        Of an evaluation.
    name
        What they were measured on, for example ``test``.

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
            for kind in ("sensitivity", "specificity")
            if rates[kind] is not None
        }
        for point, rates in metrics["operating_points"].items()
    }
    own = {key: value for key, value in on_set(metrics).items() if key != "comparisons"}
    return {name: {**own, "operating_points": points}, **of_network(metrics)}


def of_network(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the metrics what needed the network again."""
    return {key: metrics[key] for key in OF_THE_BUNDLE if key in metrics}


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
        Of the page, in order.
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
        f"{of_whom(metrics)}, each figure with its 95 % interval",
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
