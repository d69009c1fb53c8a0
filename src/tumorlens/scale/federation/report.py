"""The page of a federated evaluation: the sections of `evaluate`, and what sites sent.

Tested in `tests/scale/federation/test_site_counts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorlens.evaluation.performance import PARTS
from tumorlens.experiments.evaluation import write_evaluation
from tumorlens.report.evaluation.performance import (
    curve_sections,
    figure_sections,
    subgroup_section,
)
from tumorlens.report.page_parts import Section, Table


def write_federated_report(
    metrics: Mapping[str, Any],
    history: Mapping[str, Any] | None,
    folder: Path,
) -> None:
    """Write ``metrics.json`` and ``report.html`` of merged counts.

    Parameters
    ----------
    metrics
        What `merge_counts` made, with ``model``.
    history
        The federation's log; None where nothing was trained.
    folder
        Receives both files.
    """
    write_evaluation(metrics, merged_sections(metrics, history), folder)


def merged_sections(
    metrics: Mapping[str, Any], history: Mapping[str, Any] | None
) -> list[Section]:
    """Show merged counts; see `write_federated_report`."""
    sections = [_sent(metrics)]
    if history is not None:
        sections.append(_rounds(history))
    sections += figure_sections(metrics, PARTS)
    sections += curve_sections(metrics)
    if metrics["subgroups"]:
        sections.append(subgroup_section(metrics["subgroups"]))
    return sections


def _sent(metrics: Mapping[str, Any]) -> Section:
    parts = metrics["subgroups"]["federated_site"]
    rows = [
        (
            name,
            str(parts[name]["slices"]),
            str(parts[name]["patients"]),
            str(withheld["min_cell"]),
            ", ".join(withheld["classes"]) or "–",
            ", ".join(f"{kind}: {n}" for kind, n in withheld["subgroups"].items())
            or "–",
        )
        for name, withheld in metrics["withheld"].items()
    ]
    return Section(
        "sites",
        "What the sites sent",
        (
            "Counts and sums, and no row of any patient. Shares are those of the "
            "pooled slices; intervals rest on sums of squares over patients instead "
            "of draws of them, and areas under curves on 2,000 bins. A site says "
            "nothing of a class or subgroup of fewer patients than its smallest cell.",
        ),
        (
            Table(
                "",
                (
                    "Site",
                    "Slices",
                    "Patients",
                    "Smallest cell",
                    "Classes withheld",
                    "Subgroups withheld",
                ),
                rows,
            ),
        ),
    )


def _rounds(history: Mapping[str, Any]) -> Section:
    rounds = history["rounds"]
    rows = [
        (
            str(item["number"]),
            ", ".join(item["sites"]),
            f"{item['bytes'] / 1e6:.1f}",
            f"{item['seconds']:.0f}",
            " ".join(f"{name} {what}." for name, what in item["problems"].items())
            or "–",
        )
        for item in rounds
    ]
    total = sum(item["bytes"] for item in rounds)
    seconds = sum(item["seconds"] for item in rounds)
    plan = history["plan"]
    return Section(
        "rounds",
        "How it was trained",
        (
            f"{len(rounds)} rounds of {plan['strategy']}, batch normalisation "
            f"{plan['batch_norm']}: {total / 1e6:.1f} MB of weights were sent, in "
            f"{seconds / 60:.1f} minutes.",
        ),
        (Table("", ("Round", "Sites", "MB", "Seconds", "Problems"), rows),),
    )
