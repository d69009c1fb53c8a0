"""Pages of a federation: what sites counted together, and what a study found.

Tested in `tests/scale/federation/test_site_counts.py` and
`tests/cli/scale/test_federate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorlens.evaluation.performance.figures import PARTS
from tumorlens.experiments.evaluation import write_evaluation
from tumorlens.report.evaluation.performance import (
    curve_sections,
    figure_sections,
    subgroup_section,
)
from tumorlens.report.page_parts import Section, Table, figure_text
from tumorlens.report.words import counted

FEDERATED, CENTRALISED, ALONE = "federated", "centralised", "alone"
"""Arms of a study; a site's own is ``alone-NAME``."""
PRIVATE = f"{FEDERATED}-epsilon-"
"""Start of the names of arms with differential privacy, before their epsilon."""


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


def study_sections(result: Mapping[str, Any]) -> list[Section]:
    """Show what a study found; see `tumorlens.scale.federation.study.run_study`.

    Parameters
    ----------
    result
        JSON of schema ``tumorlens-federation-study/1``.

    Returns
    -------
    list of Section
        One, with a table each of what was asked, of all arms, and of the sites.
    """
    arms = result["arms"]
    kept = result["kept_aside"]
    above = result["above_mean_alone"]
    rows = [
        (
            name,
            figure_text(item["accuracy"]),
            figure_text(item["auroc_tumor"]),
            figure_text(result["beside_centralised"].get(name, {}).get("difference")),
            f"{item['bytes'] / 1e6:.1f}",
            f"{item['seconds'] / 60:.1f}",
            "–" if item["epsilon"] is None else f"{item['epsilon']:.2f}",
        )
        for name, item in arms.items()
    ]
    heads = ("Arm", "Accuracy", "AUROC, tumour or none", "Less centralised")
    costs = ("MB sent", "Minutes", "Epsilon spent")
    by_site = [
        (name, *(figure_text(item["accuracy_by_site"][site]) for site in above))
        for name, item in arms.items()
    ]
    advantages = [
        (
            name,
            f"{kept[name]['slices']:,}",
            f"{kept[name]['patients']:,}",
            figure_text(item["difference"]),
            _yes(item["above"]),
        )
        for name, item in above.items()
    ]
    plan = result["plan"]
    training = plan["training"]
    beside = ("Site", "Slices", "Patients", "Federated less the mean alone", "Above")
    return [
        Section(
            "answer",
            "In short",
            (
                f"{counted(training['epochs'], 'round')} of "
                f"{counted(training['steps_per_epoch'], 'step')} a site by "
                f"{plan['strategy']}, {training['network']} at "
                f"{training['size']} pixels. Centralised took as many steps as all "
                "sites together.",
                f"{sum(item['slices'] for item in kept.values()):,} slices of "
                f"{sum(item['patients'] for item in kept.values()):,} patients kept "
                "aside at the sites judge every arm. The probabilities are the "
                "networks' own, before any calibration.",
            ),
            (
                Table(
                    "What was asked", ("", "Measured", "Reached"), _asked_rows(result)
                ),
                Table("All sites together", (*heads, *costs), rows),
                Table("Accuracy on each site", ("Arm", *above), by_site),
                Table("Against the mean site alone", beside, advantages),
            ),
        )
    ]


def _asked_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Say what is asked of a federation, and whether it was reached."""
    verdict = result["beside_centralised"][FEDERATED]
    above = [item["above"] for item in result["above_mean_alone"].values()]
    cost = result["arms"][FEDERATED]
    rows = [
        (
            f"Accuracy within {100 * result['margin']:g} points of centralised",
            f"less centralised: {figure_text(verdict['difference'])}",
            _yes(verdict["within_margin"]),
        ),
        (
            "Above the mean site alone on every site",
            f"on {sum(above)} of {len(above)} sites",
            _yes(all(above)),
        ),
        (
            "Cost",
            f"{cost['bytes'] / 1e6:.1f} MB sent, {cost['seconds'] / 60:.1f} minutes",
            "",
        ),
    ]
    rows += [
        (
            f"Cost of differential privacy at epsilon {name.removeprefix(PRIVATE)}",
            f"less federated without: {figure_text(item['difference'])}",
            "",
        )
        for name, item in result["private_beside_federated"].items()
    ]
    return rows


def _yes(value: bool) -> str:
    return "yes" if value else "no"
