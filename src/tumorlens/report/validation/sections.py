"""What a validation by protocol found: endpoints, plan, failures, subgroups.

Tested in `tests/scale/validation/test_study.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tumorlens.report.page_parts import (
    Chart,
    Line,
    Section,
    Table,
    figure_text,
    name_text,
)
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict

Result = Mapping[str, Any]
"""What `tumorlens.scale.validation.study.merge_sites` made."""

CORRECTIONS = {
    "holm": "Holm's correction (1979)",
    "bonferroni": "Bonferroni's correction",
    "sequence": "a fixed sequence, each tested only where all before it are met",
    "none": "no correction",
}
KINDS = {
    "federated_site": "site",
    "field_strength": "field strength",
    "lesion_size": "lesion size",
}
"""How subgroups are called that are not called like their column."""

_DECISIONS = (*(str(name) for name in CLASSES), *(str(name) for name in Verdict))
_DECISION_WORDS = {
    str(Verdict.TUMOR): "a tumour, kind open",
    str(Verdict.UNCERTAIN): "uncertain",
    str(Verdict.NOT_BRAIN_MRI): "refused",
}


def validation_sections(result: Result) -> list[Section]:
    """Show what the protocol decided, what came of it, and where the model fails.

    Parameters
    ----------
    result
        From `merge_sites`.
    """
    return [_answer(result), _failures(result), _subgroups(result), _plan(result)]


def _answer(result: Result) -> Section:
    rows = [
        (
            item["role"],
            item["endpoint"],
            figure_text(item["figure"]),
            f"{item['margin']:.3f}",
            p_text(item["p"]),
            p_text(item["adjusted_p"]),
            "met" if item["met"] else "not met",
        )
        for item in result["endpoints"]
    ]
    protocol = result["protocol"]
    deviations = result["deviations"]
    return Section(
        "endpoints",
        "Endpoints",
        (
            "An endpoint is met where the figure is above its margin by more than "
            f"chance allows (one-sided, error {protocol['alpha']:g}). Secondary ones "
            "are tested only where the primary is met, with "
            f"{CORRECTIONS[protocol['multiplicity']]}.",
            *(
                [f"Deviation from the protocol: {item}" for item in deviations]
                or ["No deviation from the protocol is known."]
            ),
        ),
        (
            Table(
                "",
                (
                    *("", "Endpoint", "Figure [95 % interval]", "Margin"),
                    *("p", "p, corrected", "Result"),
                ),
                rows,
            ),
        ),
    )


def p_text(value: float | None) -> str:
    """Write a p value; a dash where there is none."""
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _plan(result: Result) -> Section:
    protocol, size = result["protocol"], result["sample_size"]
    included = "; ".join(
        f"{column}: {', '.join(values)}"
        for column, values in protocol["inclusion"].items()
    )
    rows = [
        ("Title", protocol["title"]),
        ("SHA-256 of the protocol", protocol["sha256"]),
        ("Sites", ", ".join(protocol["sites"])),
        ("Rows", f"split {protocol['split']}"),
        ("Inclusion by column", included or "every row"),
        ("Operating point", protocol["operating_point"]),
        ("Reference standard", protocol["reference_standard"]),
        ("Groups", ", ".join(kind_text(kind) for kind in protocol["groups"]) or "–"),
        ("Model", protocol["model_digest"] or "any"),
    ]
    sample = [
        ("Endpoint", f"{size['endpoint']} above {size['margin']:g}"),
        ("Expected", f"{size['expected']:g}"),
        ("Error, one-sided", f"{size['alpha']:g}"),
        (
            f"Patients that a power of {size['power']:g} needs",
            str(size["needed_patients"]),
        ),
        ("Patients planned, and their power", _patients(size, "planned")),
        ("Patients counted, and their power", _patients(size, "counted")),
    ]
    sites = [
        (
            name,
            str(site["counted_at"] or "–"),
            str(site["software"]),
            str(site["manifest_sha256"] or "–")[:12],
            site["counts_sha256"][:12],
        )
        for name, site in result["sites"].items()
    ]
    excluded = [
        (site, what, str(count))
        for site, reasons in result["excluded"].items()
        for what, count in sorted(reasons.items())
    ]
    return Section(
        "protocol",
        "The protocol",
        (
            "Sample size: one share against a fixed margin, by the normal "
            "approximation (Fleiss, Levin and Paik 2003), with patients as units. "
            "Several slices of a patient add to what is known, so that it asks for too "
            "many patients rather than too few.",
            f"Digest of the model: {result['model']['digest']}.",
        ),
        (
            Table("Decided beforehand", ("", "Protocol"), rows),
            Table("Sample size and power", ("", "Value"), sample),
            Table(
                "The sites' files",
                ("Site", "Counted at", "Software", "Data set", "Counts (SHA-256)"),
                sites,
            ),
            Table("Rows left out", ("Site", "Why", "Rows"), excluded),
        ),
    )


def _patients(size: Mapping[str, Any], which: str) -> str:
    return f"{size[f'{which}_patients']} ({size[f'{which}_power']:.2f})"


def kind_text(kind: str) -> str:
    """Name a kind of subgroup as people do."""
    return KINDS.get(kind, kind.replace("_", " "))


# --- Where it fails ---


def _failures(result: Result) -> Section:
    paragraphs = [
        "A tumour slice is missed where it is called free of tumour; a slice that is "
        "left uncertain, or refused, misses nothing and clears nothing.",
        *_worst_words(result),
        *_surest_words(result),
    ]
    tables = [_decisions(result["decisions"])] if result["decisions"] else []
    return Section("failures", "Where it fails", paragraphs, tables)


def _worst_words(result: Result) -> list[str]:
    """Name each endpoint's lowest subgroup, and those below by more than chance."""
    words = []
    plan = result["subgroup_tests"]
    for endpoint in plan["endpoints"]:
        tests = [
            item
            for item in plan["tests"]
            if item["endpoint"] == endpoint and item["figure"] is not None
        ]
        if not tests:
            continue
        worst = min(tests, key=lambda item: item["figure"]["value"])
        below = [
            _subgroup_name(item)
            for item in tests
            if item["difference"] is not None
            and item["difference"]["value"] < 0.0
            and item["adjusted_p"] is not None
            and item["adjusted_p"] < 2.0 * plan["alpha"]
        ]
        words.append(
            f"Lowest {endpoint}: {_subgroup_name(worst)}, "
            f"{figure_text(worst['figure'])} of {worst['patients']} patients. Below "
            f"the others of their kind by more than chance, with "
            f"{CORRECTIONS[plan['multiplicity']]}: {', '.join(below) or 'none'}."
        )
    return words


def _subgroup_name(item: Mapping[str, Any]) -> str:
    return f"{kind_text(item['kind'])} {item['name']}"


def _surest_words(result: Result) -> list[str]:
    bins = result["curves"]["reliability"].get("most_probable", {}).get("bins", [])
    surest = [row for row in bins if row["to"] >= 1.0 - 1e-9]
    if not surest:
        return []
    row = surest[-1]
    wrong = round(row["slices"] * (1.0 - row["right"]["value"]))
    return [
        f"Of {row['slices']} slices whose most probable class had "
        f"{100 * row['from']:.0f} % or more, {wrong} were wrong."
    ]


def _decisions(counts: Mapping[str, Mapping[str, int]]) -> Table:
    kinds = [
        *_DECISIONS,
        *sorted({name for row in counts.values() for name in row} - set(_DECISIONS)),
    ]
    shown = [name for name in kinds if any(name in row for row in counts.values())]
    classes = [str(name) for name in TumorClass if str(name) in counts]
    totals = {name: sum(counts[name].values()) for name in classes}
    return Table(
        "Slices by true class and by what was decided",
        ("True", *(_DECISION_WORDS.get(name, name_text(name)) for name in shown)),
        [
            (name_text(true), *(str(counts[true].get(name, 0)) for name in shown))
            for true in classes
        ],
        [
            [counts[true].get(name, 0) / totals[true] for name in shown]
            for true in classes
        ],
    )


def _subgroups(result: Result) -> Section:
    plan = result["subgroup_tests"]
    margin = plan["margin"]
    paragraphs = [
        "Each subgroup beside the other subgroups of its kind, as far as each has "
        "enough patients to be told. The interval of the difference takes both for "
        "different patients. p is two-sided, with "
        f"{CORRECTIONS[plan['multiplicity']]} over all subgroups of an endpoint.",
        *(
            []
            if margin is None
            else [
                f"Non-inferiority: the figure has to be above {margin:g} (one-sided, "
                f"error {plan['alpha']:g}), corrected in the same way."
            ]
        ),
    ]
    tables, charts = [], []
    for endpoint in plan["endpoints"]:
        tests = [item for item in plan["tests"] if item["endpoint"] == endpoint]
        if tests:
            tables.append(_test_table(endpoint, tests, margin))
            charts.append(_forest(endpoint, tests, margin))
    return Section(
        "subgroup-tests", "Subgroups beside the others", paragraphs, tables, charts
    )


def _test_table(
    endpoint: str, tests: Sequence[Mapping[str, Any]], margin: float | None
) -> Table:
    heads = ["Subgroup", "No.", "Patients", "Figure", "Difference", "p, corrected"]
    if margin is not None:
        heads += [f"p above {margin:g}, corrected", "Margin"]
    rows = []
    for number, item in enumerate(tests, 1):
        row = [
            _subgroup_name(item),
            str(number),
            str(item["patients"]),
            figure_text(item["figure"]),
            figure_text(item["difference"]),
            p_text(item["adjusted_p"]),
        ]
        if margin is not None:
            row += [
                p_text(item["adjusted_margin_p"]),
                "met" if item["met"] else "not met",
            ]
        rows.append(row)
    return Table(endpoint.capitalize(), heads, rows)


def _forest(
    endpoint: str, tests: Sequence[Mapping[str, Any]], margin: float | None
) -> Chart:
    drawn = [
        (float(number), item["figure"])
        for number, item in enumerate(tests, 1)
        if item["figure"] is not None
    ]
    ends = (0.5, len(tests) + 0.5)
    lines = [
        Line(
            endpoint,
            [number for number, _ in drawn],
            [figure["value"] for _, figure in drawn],
            "points",
            [figure["low"] for _, figure in drawn],
            [figure["high"] for _, figure in drawn],
        )
    ]
    if margin is not None:
        lines.append(Line("margin", list(ends), [margin, margin]))
    return Chart(
        f"{endpoint.capitalize()} by subgroup",
        "Number of the subgroup in the table",
        endpoint.capitalize(),
        lines,
        ends,
        (0.0, 1.0),
    )
