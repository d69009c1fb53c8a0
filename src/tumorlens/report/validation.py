"""Sections of a validation by protocol: endpoints, plan, subgroups, checklists.

Three reporting checklists are filled in with what the software knows. STARD-AI
(Sounderajah et al. 2025, Nature Medicine 31:3283-3289): 40 items, some with parts. The
article was not at hand; numbers and topics were set beside two filled-in copies of its
table, which agree. CLAIM 2024 and TRIPOD+AI: see
`tumorlens.report.checklists`, whose topics are used here. The topics are in
our own words. An item is answered by figures of the validation, by the protocol, or by
what its authors stated in it; else it is said to be not known, for people to fill in.

Tested in `tests/scale/test_validation.py`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from reportlab.graphics import shapes
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, KeepTogether, Spacer
from reportlab.platypus import Table as Grid

from tumorlens.report.charts import Scale, make_scale
from tumorlens.report.checklists import CLAIM_2024, TRIPOD_AI
from tumorlens.report.page import numeric_columns
from tumorlens.report.page_parts import (
    Chart,
    Line,
    Picture,
    Section,
    Table,
    figure_text,
    name_text,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.pdf import (
    BODY,
    HEADING,
    HEADLINE,
    INK,
    LINE,
    QUIET,
    RULED,
    SMALL,
    paragraph,
    plain,
)
from tumorlens.report.study.pdf import WIDTH, render_pages
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict

Result = Mapping[str, Any]
"""What `tumorlens.scale.validation.merge_sites` made."""

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
        Result of `merge_sites`.
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


NOT_KNOWN = "not known to the software"
_DEMOGRAPHIC = ("age", "sex", "gender", "race", "ethnicity")
_DEVICES = ("scanner", "manufacturer", "field_strength")

STARD_AI: tuple[tuple[str, str], ...] = (
    ("1", "Title or abstract names AI-centred diagnostic accuracy, and a measure"),
    ("2", "Structured summary"),
    ("3", "Background, intended use, place in the workflow"),
    ("4", "Objectives and hypotheses"),
    ("5", "Prospective or retrospective"),
    ("6", "Ethics approval, or why none was needed"),
    ("7", "Inclusion and exclusion, of people and of data"),
    ("8", "How candidates were identified"),
    ("9", "Where and when they were identified"),
    ("10", "Consecutive, random or convenience series"),
    ("11", "Source of the data: routine, collected for the study, open"),
    ("12", "Who annotated, with what experience, and how"),
    ("13", "Capturing devices; software with its version"),
    ("14", "Acquisition and preprocessing"),
    ("15a", "The index test"),
    ("15b", "How it was developed: training, validation, tests, sizes"),
    ("15c", "Its cut-offs, and whether they were fixed beforehand"),
    ("15d", "Its user, and the expertise that it takes"),
    ("16a", "The reference standard"),
    ("16b", "Rationale for the reference standard"),
    ("16c", "Cut-offs of the reference standard"),
    ("17a", "Blinding of the index test"),
    ("17b", "Blinding of the reference standard's assessors"),
    ("18", "How accuracy is estimated and compared"),
    ("19", "Indeterminate results"),
    ("20", "Missing data"),
    ("21", "Analyses of variability, planned or exploratory"),
    ("22", "Sample size, and how it was found"),
    ("23", "Analysis of errors, bias and fairness"),
    ("24", "Flow of participants"),
    ("25", "Characteristics of each data set"),
    ("26a", "Severity of disease"),
    ("26b", "Other diagnoses in those without the condition"),
    ("27", "Time and treatment between index test and reference standard"),
    ("28", "Whether the data represent the intended population"),
    ("29", "How external data differ from those of the development"),
    ("30", "Cross-tabulation with the reference standard"),
    ("31", "Accuracy, with its precision"),
    ("32", "Adverse events"),
    ("33", "Limitations"),
    ("34", "Implications for practice"),
    ("35", "Ethical considerations, and fairness"),
    ("36", "Registration"),
    ("37", "Where the protocol can be read"),
    ("38", "Funding, and the role of funders"),
    ("39", "Commercial interests"),
    ("40a", "Availability of data and code"),
    ("40b", "Whether outputs are kept and can be audited"),
)
"""Number and topic of all 40 items."""

# Which fact answers an item; an item that is not here is never known.
_STARD_FACTS = {
    **{"1": "title", "2": "summary", "3": "intended_use", "4": "aims", "5": "design"},
    **{"6": "ethics", "7": "inclusion", "8": "identification", "9": "setting"},
    **{"10": "sampling", "11": "data_source", "12": "annotators", "13": "devices"},
    **{"14": "acquisition", "15a": "index_test", "15b": "development"},
    **{"15c": "cut_offs", "15d": "intended_use", "16a": "reference"},
    **{"16b": "rationale", "17a": "blind_index", "17b": "blinding"},
    **{"18": "statistics", "19": "indeterminate", "20": "missing"},
    **{"21": "variability", "22": "sample_size", "23": "errors", "24": "flow"},
    **{"25": "characteristics", "26a": "severity", "26b": "alternatives"},
    **{"27": "interval", "28": "representativeness", "29": "strangers"},
    **{"30": "cross_table", "31": "accuracy", "32": "adverse_events"},
    **{"33": "limitations", "34": "practice", "35": "fairness"},
    **{"36": "registration", "37": "protocol", "38": "funding", "39": "conflicts"},
    **{"40a": "availability", "40b": "audit"},
}
_CLAIM_FACTS = {
    **{"1": "index_test", "2": "summary", "3": "intended_use", "4": "aims"},
    **{"5": "design", "6": "aims", "7": "data_source", "8": "inclusion"},
    **{"9": "preprocessing", "10": "inclusion", "11": "deidentification"},
    **{"12": "missing", "13": "acquisition", "14": "reference", "15": "rationale"},
    **{"16": "annotators", "17": "annotators", "20": "strangers"},
    **{"21": "sample_size", "22": "index_test", "23": "software"},
    **{"24": "development", "25": "development", "26": "development"},
    **{"27": "development", "28": "statistics", "29": "statistics"},
    **{"30": "variability", "31": "maps", "33": "accuracy", "34": "registration"},
    **{"35": "flow", "36": "characteristics", "37": "accuracy", "38": "accuracy"},
    **{"39": "errors", "40": "limitations", "41": "practice", "42": "protocol"},
    **{"43": "availability", "44": "funding"},
}
_TRIPOD_FACTS = {
    **{"1": "title", "2": "summary", "3b": "intended_use", "3c": "fairness"},
    **{"4": "aims", "5a": "data_source", "5b": "dates", "6a": "setting"},
    **{"6b": "inclusion", "6c": "treatments", "7": "preprocessing"},
    **{"8a": "reference", "8b": "annotators", "8c": "blinding"},
    **{"9a": "development", "9b": "acquisition", "9c": "blind_index"},
    **{"10": "sample_size", "11": "missing", "12a": "inclusion"},
    **{"12b": "preprocessing", "12c": "development", "12d": "variability"},
    **{"12e": "statistics", "12f": "no_update", "12g": "index_test"},
    **{"13": "development", "14": "fairness", "15": "cut_offs", "16": "strangers"},
    **{"17": "ethics", "18a": "funding", "18b": "conflicts", "18c": "protocol"},
    **{"18d": "registration", "18e": "availability", "18f": "software"},
    **{"19": "patient_involvement", "20a": "flow", "20b": "characteristics"},
    **{"20c": "strangers", "21": "flow", "22": "index_test", "23a": "accuracy"},
    **{"23b": "variability", "24": "no_update", "26": "limitations"},
    **{"27a": "indeterminate", "27b": "intended_use"},
}


def checklist_sections(result: Result) -> list[Section]:
    """Fill in the three checklists.

    Parameters
    ----------
    result
        Result of `tumorlens.scale.validation.merge_sites`.
    """
    known = _facts(result)
    claim = [(item.number, item.topic) for item in CLAIM_2024]
    tripod = [(item.number, item.topic) for item in TRIPOD_AI]
    return [
        _section("stard-ai", "STARD-AI (2025)", STARD_AI, _STARD_FACTS, known),
        _section("claim", "CLAIM (2024)", claim, _CLAIM_FACTS, known),
        _section("tripod-ai", "TRIPOD+AI (2024)", tripod, _TRIPOD_FACTS, known),
    ]


def _section(
    name: str,
    title: str,
    items: Sequence[tuple[str, str]],
    facts: Mapping[str, str],
    known: Mapping[str, str],
) -> Section:
    rows = [
        (number, topic, known.get(facts.get(number, ""), NOT_KNOWN))
        for number, topic in items
    ]
    open_items = sum(answer == NOT_KNOWN for _, _, answer in rows)
    return Section(
        name,
        f"{title}, as far as the software knows",
        (
            f"{len(rows) - open_items} of {len(rows)} items have an answer; the other "
            f"{open_items} are for the authors. Topics are in our own words: the "
            "guideline itself says what each asks. Answers in quotation marks are the "
            "protocol's.",
        ),
        (Table("", ("Item", "Topic", "Answer"), rows),),
    )


def _facts(result: Result) -> dict[str, str]:
    """Say what is known, by the name of the fact; what is not has no entry."""
    protocol = result["protocol"]
    stated = {key: f"“{text}”" for key, text in protocol["statements"].items()}
    known = _measured(result) | _from_groups(result) | _from_strangers(result) | stated
    doubts = (
        f"deviations named in “Endpoints”: {len(result['deviations'])}"
        if result["deviations"]
        else "no deviation from the protocol is known"
    )
    for name, first, key in (
        ("setting", f"sites: {', '.join(result['sites'])}", "dates"),
        ("limitations", doubts, "limitations"),
        ("acquisition", known["preprocessing"], "acquisition"),
    ):
        known[name] = f"{first}; {stated[key]}" if key in stated else first
    return known


def _measured(result: Result) -> dict[str, str]:
    protocol, model = result["protocol"], result["model"]
    size, plan = result["sample_size"], result["subgroup_tests"]
    primary = result["endpoints"][0]
    answer = (
        f"{primary['endpoint']} {figure_text(primary['figure'])}, margin "
        f"{primary['margin']:g}: {'met' if primary['met'] else 'not met'}"
    )
    columns = "; ".join(
        f"{name} one of {', '.join(values)}"
        for name, values in protocol["inclusion"].items()
    )
    known = {
        "title": f"“{protocol['title']}”; {answer}",
        "summary": "“In short”, “Endpoints”",
        "aims": f"to show {primary['endpoint']} above {primary['margin']:g}",
        "inclusion": f"rows of the split “{protocol['split']}” with a label"
        f"{'; ' + columns if columns else ''}; left out, by site: “The protocol”",
        "software": f"TumorLens {result['software']}, Apache-2.0",
        "index_test": f"{model['name']}, version {model['version']}, digest "
        f"{model['digest'][:12]}: `model.onnx` and `bundle.json`, checksummed",
        "development": "the model card that comes with the bundle",
        "preprocessing": "as `bundle.json` states, one function for all slices",
        "cut_offs": f"the bundle's operating point “{protocol['operating_point']}”, "
        "fixed by the protocol beforehand",
        "reference": f"“{protocol['reference_standard']}”",
        "blind_index": "the software sees the picture alone, no label and no column",
        "statistics": "95 % intervals over patients (ratio estimator); secondary "
        f"endpoints with {CORRECTIONS[protocol['multiplicity']]}, subgroups with "
        f"{CORRECTIONS[plan['multiplicity']]}",
        "indeterminate": "a slice left uncertain or refused misses no tumour and "
        f"clears none; no class named: {figure_text(result['inconclusive'])}, refused: "
        f"{figure_text(result['refused_as_foreign'])}",
        "missing": "rows without a label, and files that cannot be read, are left out",
        "variability": "fixed by the protocol, by "
        f"{', '.join(map(kind_text, ('site', *protocol['groups'])))}: “Subgroups "
        "beside the others”, “Subgroups”",
        "sample_size": f"{size['planned_patients']} patients planned; a power of "
        f"{size['power']:g} needs {size['needed_patients']}; "
        f"{size['counted_patients']} counted",
        "errors": "“Where it fails”, “Subgroups beside the others”",
        "flow": f"{result['patients']} patients, {result['slices']} slices judged; "
        "rows left out by site and reason: “The protocol”",
        "accuracy": f"{answer}; “Endpoints”, “In short”, “Subgroups”",
        "cross_table": "“Where it fails”, “The four classes”",
        "practice": RESEARCH_USE,
        "protocol": f"SHA-256 {protocol['sha256']}",
        "audit": "`metrics.json` beside this report; the sites' files by their "
        "SHA-256: “The protocol”; each can be signed",
        "no_update": "the model was not changed",
    }
    if "localisation" in result:
        known["maps"] = "maps against outlines: “Where the maps point”"
    return known


def _from_groups(result: Result) -> dict[str, str]:
    groups: Mapping[str, Any] = result["subgroups"]
    people = [kind for kind in groups if kind in _DEMOGRAPHIC]
    devices = "; ".join(
        f"{kind_text(kind)}: {', '.join(groups[kind])}"
        for kind in groups
        if kind in _DEVICES
    )
    known = {
        "devices": f"{devices or 'devices not known'}; TumorLens {result['software']}"
    }
    if people:
        named = ", ".join(map(kind_text, people))
        known["fairness"] = f"figures by {named}: “Subgroups beside the others”"
        known["characteristics"] = "patients by " + "; ".join(
            f"{kind_text(kind)}: {_listed_patients(groups[kind])}" for kind in people
        )
    if "lesion_size" in groups:
        known["severity"] = (
            "patients by the outline's share of the head's square: "
            f"{_listed_patients(groups['lesion_size'])}"
        )
    return known


def _listed_patients(parts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {part['patients']}" for name, part in parts.items())


def _from_strangers(result: Result) -> dict[str, str]:
    checked = {
        name: site["strangers"]
        for name, site in result["sites"].items()
        if site["strangers"]
    }
    statements = {
        "no patient and no copy of the model's training": "held_out",
        "patients who trained or tuned the model": "shares_patients",
    }
    named = {
        words: ", ".join(name for name, item in checked.items() if item[key])
        for words, key in statements.items()
    }
    text = "; ".join(f"{words}: {sites}" for words, sites in named.items() if sites)
    return {"strangers": text} if text else {}


_SECTION = ParagraphStyle("section", parent=HEADING, fontSize=13, leading=18)
_CELL = ParagraphStyle("cell", parent=BODY, fontSize=7.5, leading=9.5)
_HEAD = ParagraphStyle("head", parent=SMALL, fontSize=7.5, leading=9.5)
_RIGHT = ParagraphStyle("right", parent=_CELL, alignment=2)
_HEAD_RIGHT = ParagraphStyle("head-right", parent=_HEAD, alignment=2)

_COLORS = tuple(
    HexColor(code)
    for code in ("#0b5c66", "#d55e00", "#7a5195", "#009e73", "#b07a00", "#5f6b70")
)
_CHART_WIDTH, _CHART_HEIGHT = 118 * mm, 62 * mm
_LEFT, _BOTTOM, _TOP, _RIGHT_ROOM = 38.0, 30.0, 6.0, 8.0
_FONT, _FONT_SIZE = "Helvetica", 7.5
_LEGEND_ROW = 10.0
_LETTER, _GAP = 4.3, 8.0
"""Width of a letter in a table, and the room between columns, in points."""
_LONGEST_WORD = 30
"""Letters of a word that is not broken."""


class ModelName(NamedTuple):
    """Which model was measured; stands on each page."""

    name: str
    version: str


def render_sections_pdf(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    model: ModelName,
    made: datetime,
) -> bytes:
    """Write a page of figures as a PDF.

    Parameters
    ----------
    title, subtitle
        Plain text on the first page; the title stands on each.
    sections
        Sections in order, each with everything that the HTML page shows folded.
    model
        The model that was measured.
    made
        When the figures were made, with its time zone; stands on each page.

    Returns
    -------
    bytes
        The file; the same for the same arguments.
    """

    def story() -> list[Flowable]:
        parts: list[Flowable] = [
            paragraph(title, HEADLINE),
            paragraph(subtitle),
            Spacer(1, 4 * mm),
        ]
        for section in sections:
            parts += _section_parts(section)
        return parts

    return render_pages(story, plain(title)[:70], model, made)


def _section_parts(section: Section) -> list[Flowable]:
    heading: list[Flowable] = [
        Spacer(1, 5 * mm),
        paragraph(section.title, _SECTION),
        *(paragraph(text) for text in section.paragraphs[:1]),
    ]
    parts: list[Flowable] = [KeepTogether(heading)]
    parts += [paragraph(text) for text in section.paragraphs[1:]]
    for table in section.tables:
        parts += _table(table)
    for chart in section.charts:
        drawn: list[Flowable] = [
            Spacer(1, 3 * mm),
            paragraph(chart.title, HEADING),
            draw_chart(chart),
        ]
        parts.append(KeepTogether(drawn))
    parts += [_picture(picture) for picture in section.pictures]
    return parts


def _picture(picture: Picture) -> Flowable:
    image = Image(io.BytesIO(picture.png))
    scale = min(1.0, 90 * mm / image.imageWidth)
    image.drawWidth, image.drawHeight = (
        image.imageWidth * scale,
        image.imageHeight * scale,
    )
    image.hAlign = "LEFT"
    return KeepTogether([image, paragraph(picture.caption, SMALL), Spacer(1, 2 * mm)])


def _table(table: Table) -> list[Flowable]:
    if not table.rows:
        return []
    numeric = numeric_columns(table)
    rows = [
        [
            paragraph(cell, _HEAD_RIGHT if right else _HEAD)
            for cell, right in zip(table.columns, numeric, strict=True)
        ]
    ]
    rows += [
        [
            paragraph(cell, _RIGHT if right else _CELL)
            for cell, right in zip(row, numeric, strict=True)
        ]
        for row in table.rows
    ]
    grid = Grid(
        rows,
        colWidths=_column_widths(table),
        style=[*RULED, ("RIGHTPADDING", (0, 0), (-1, -1), 5)],
        repeatRows=1,
        hAlign="LEFT",
    )
    title = [paragraph(table.title, HEADING)] if table.title else []
    return [Spacer(1, 3 * mm), *title, grid]


def _column_widths(table: Table) -> list[float]:
    """Give each column its longest word at least, and share out what is left."""
    columns = list(zip(table.columns, *table.rows, strict=True))
    words = [
        _LETTER * max(len(word) for cell in column for word in cell.split() or [""])
        + _GAP
        for column in columns
    ]
    least = [min(width, _LETTER * _LONGEST_WORD) for width in words]
    cells = [
        _LETTER * max(len(cell) for cell in column[1:]) + _GAP for column in columns
    ]
    wished = [max(low, full) for low, full in zip(least, cells, strict=True)]
    if sum(wished) <= WIDTH:
        return wished
    if sum(least) >= WIDTH:
        return [WIDTH * width / sum(least) for width in least]
    share = (WIDTH - sum(least)) / (sum(wished) - sum(least))
    return [low + share * (full - low) for low, full in zip(least, wished, strict=True)]


def draw_chart(chart: Chart) -> shapes.Drawing:
    """Draw a chart; numbers that are not finite are left out, and a line breaks there.

    Parameters
    ----------
    chart
        At least one series.

    Returns
    -------
    Drawing
        As wide as two thirds of a page, with its legend below.
    """
    legend = len(chart.lines) if len(chart.lines) > 1 else 0
    room = _LEGEND_ROW * legend
    drawing = shapes.Drawing(_CHART_WIDTH, _CHART_HEIGHT + room)
    across = make_scale(
        [x for line in chart.lines for x in line.x],
        chart.x_range,
        (_LEFT, _CHART_WIDTH - _RIGHT_ROOM),
    )
    values = [y for line in chart.lines for y in (*line.y, *line.low, *line.high)]
    if any(line.style == "bars" for line in chart.lines):
        values.append(0.0)
    up = make_scale(
        values, chart.y_range, (room + _BOTTOM, room + _CHART_HEIGHT - _TOP)
    )
    _axes(drawing, chart, across, up, room)
    if chart.diagonal:
        ends = max(across.low, up.low), min(across.high, up.high)
        _stroke(drawing, [(across(at), up(at)) for at in ends], QUIET, 0.5)
    for number, line in enumerate(chart.lines):
        color = _COLORS[number % len(_COLORS)]
        _series(drawing, line, color, across, up)
        if legend:
            y = room - _LEGEND_ROW * (number + 1) + 2
            drawing.add(shapes.Rect(_LEFT, y, 8, 5, fillColor=color, strokeColor=None))
            _text(drawing, line.name, _LEFT + 12, y, "start")
    return drawing


def _axes(
    drawing: shapes.Drawing, chart: Chart, across: Scale, up: Scale, room: float
) -> None:
    base, right = room + _BOTTOM, _CHART_WIDTH - _RIGHT_ROOM
    for tick in up.ticks:
        y = up(tick)
        _stroke(drawing, [(_LEFT, y), (right, y)], LINE, 0.5)
        _text(drawing, up.label(tick), _LEFT - 4, y - 2.5, "end")
    for tick in across.ticks:
        x = across(tick)
        _stroke(drawing, [(x, base), (x, base - 3)], INK, 0.5)
        _text(drawing, across.label(tick), x, base - 11, "middle")
    corner = [(_LEFT, room + _CHART_HEIGHT - _TOP), (_LEFT, base), (right, base)]
    _stroke(drawing, corner, INK, 0.7)
    _text(drawing, chart.x_label, (_LEFT + right) / 2, base - 24, "middle")
    label = shapes.Group(transform=(0, 1, -1, 0, 9, base + 4))
    label.add(_string(chart.y_label, 0, 0, "start"))
    drawing.add(label)


def _series(
    drawing: shapes.Drawing, line: Line, color: Color, across: Scale, up: Scale
) -> None:
    points = [
        (across(x), up(y)) if math.isfinite(x) and math.isfinite(y) else None
        for x, y in zip(line.x, line.y, strict=True)
    ]
    whole = [point for point in points if point is not None]
    if line.style == "line":
        run: list[tuple[float, float]] = []
        for point in [*points, None]:
            if point is not None:
                run.append(point)
            elif run:
                _stroke(drawing, run, color, 1.2)
                run = []
        return
    for x, low, high in zip(line.x, line.low, line.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            _stroke(drawing, [(across(x), up(low)), (across(x), up(high))], QUIET, 0.8)
    if line.style == "points":
        for x, y in whole:
            drawing.add(shapes.Circle(x, y, 2.2, fillColor=color, strokeColor=None))
        return
    half = 0.4 * (_CHART_WIDTH - _LEFT - _RIGHT_ROOM) / max(1, len(whole))
    base = up(max(0.0, up.low))
    for x, y in whole:
        drawing.add(
            shapes.Rect(
                x - half, base, 2 * half, y - base, fillColor=color, strokeColor=None
            )
        )


def _stroke(
    drawing: shapes.Drawing,
    points: Sequence[tuple[float, float]],
    color: Color,
    width: float,
) -> None:
    flat = [number for point in points for number in point]
    drawing.add(shapes.PolyLine(flat, strokeColor=color, strokeWidth=width))


def _text(drawing: shapes.Drawing, text: str, x: float, y: float, anchor: str) -> None:
    drawing.add(_string(text, x, y, anchor))


def _string(text: str, x: float, y: float, anchor: str) -> shapes.String:
    return shapes.String(
        x,
        y,
        # The built-in fonts have no minus sign.
        plain(text.replace("−", "-")),
        fontName=_FONT,
        fontSize=_FONT_SIZE,
        fillColor=INK,
        textAnchor=anchor,
    )
