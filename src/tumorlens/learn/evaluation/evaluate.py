"""All parts of an evaluation together: figures as JSON, and the page of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tumorlens.engine.bundle import Bundle
from tumorlens.errors import OutputError
from tumorlens.learn.evaluation.figures import set_figures
from tumorlens.learn.evaluation.scored import ScoredSet
from tumorlens.learn.evaluation.sections import figure_sections
from tumorlens.report.evaluation_page import render_evaluation
from tumorlens.report.page_parts import Section

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


def evaluate_scored(scored: ScoredSet) -> dict[str, Any]:
    """Work out every figure that needs no network.

    Parameters
    ----------
    scored
        Of one bundle, or pooled over folds.

    Returns
    -------
    dict
        Plain JSON, as `set_figures` says.
    """
    return set_figures(scored)


def model_facts(bundle: Bundle, operating_point: str | None = None) -> dict[str, str]:
    """Name a bundle in the metrics of an evaluation."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "operating_point": operating_point or bundle.default_operating_point,
    }


def evaluation_sections(metrics: Mapping[str, Any]) -> list[Section]:
    """Show all parts of an evaluation that its metrics hold."""
    return figure_sections(metrics)


def for_bundle(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the metrics what travels with a bundle.

    Rates that could not be measured, as where a set has no tumour-free slice,
    are left out: a bundle keeps the ones it has.
    """
    points = {
        name: {
            kind: rates[kind]
            for kind in ("sensitivity", "specificity")
            if rates[kind] is not None
        }
        for name, rates in metrics["operating_points"].items()
    }
    return {**metrics, "operating_points": points}


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
    text = json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    model = metrics["model"]
    page = render_evaluation(
        f"How good {model['name']} {model['version']} is",
        f"{metrics['slices']} slices of {metrics['patients']} patients, "
        "each figure with its 95 % interval",
        sections,
    )
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / METRICS_FILE).write_text(text, encoding="utf-8")
        (out_dir / REPORT_FILE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out_dir} cannot be written to: {error}.") from error
