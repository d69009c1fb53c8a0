"""A model card in Markdown, made from a bundle: no figure in it is typed by hand.

The sections follow Mitchell et al. 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tumorlens.inference.bundle.bundle import LICENCE_FILE, Bundle
from tumorlens.inference.bundle.facts import LEAST_EQUAL, MOST_AUROC_FALL, MOST_ECE_RISE
from tumorlens.report.charts import draw_intervals, draw_sketches
from tumorlens.report.checklists import CLAIM_2024, TRIPOD_AI, items_table
from tumorlens.report.evaluation.explanations import MAPS, map_rows
from tumorlens.report.evaluation.performance import sequence_overview
from tumorlens.report.page_parts import (
    FIGURES,
    GROUP_NOTES,
    figure_text,
    judged_apart,
    name_text,
    operating_rows,
    table,
)
from tumorlens.taxonomy import CLASSES, INFO, Lesion

SETS = {
    "test": (
        "Held-out patients",
        "who neither trained nor tuned the model",
    ),
    "cross_validation": (
        "Cross-validation",
        "each judged by the one of several networks, trained in the same way, that had "
        "not seen the patient, and pooled. The figures describe the training "
        "procedure; the shipped network is another one of its kind",
    ),
    "leave_site_out": (
        "Hospitals left out",
        "judged by a network trained in the same way without any patient of their "
        "hospitals",
    ),
}
"""Heading and words for each set whose figures are an evaluation's."""

COVERAGES = {"coverage_by_patient": ", by patient", "coverage": ""}
"""Key of what the prediction sets hold, and the words that tell it is by patient."""

_PART_FIGURES = (
    ("Accuracy", "accuracy"),
    ("Sensitivity", "tumor_sensitivity"),
    ("Specificity", "tumor_specificity"),
)

SEQUENCE_NOTE = (
    "Each row is one set in one sequence (`?`: not stated), so that no scanner stands "
    "for a sequence. Patients, hospitals and the kinds of other lesions were left out "
    "of the network that judged them. Labels of `brain44` are by case: a slice of it "
    "may show no tumour."
)

ENOUGH_PATIENTS = 10
"""A part of fewer patients is not called the weakest: chance may have made it so."""

Parts = Mapping[str, Mapping[str, Any]]


def measured_sets(bundle: Bundle) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and figures of every set in `SETS` that the bundle has."""
    for name in SETS:
        figures = bundle.metrics.get(name)
        if isinstance(figures, dict):
            yield name, figures


def sets_cover_patients(bundle: Bundle) -> bool:
    """Tell whether every patient weighed alike when the sets were fitted."""
    facts = bundle.provenance.get("calibrated_on")
    return isinstance(facts, dict) and facts.get("sets_cover") == "patients"


def quality(bundle: Bundle) -> list[str]:
    """Write how good the bundle is, set by set."""
    lines = ["## Performance"]
    for name, figures in measured_sets(bundle):
        title, who = SETS[name]
        lines += ["", f"### {title}", "", _who(figures, who), ""]
        lines += _main_figures(figures)
        lines += _confusion(figures)
    if len(lines) == 1:
        lines += ["", "Not yet measured on held-out patients."]
    return lines


def subgroups(bundle: Bundle) -> list[str]:
    """Write the figures of parts of each set: by source, plane, size and so on."""
    lines = ["## Subgroups", "", "A subgroup with few patients says little."]
    before = len(lines)
    for name, figures in measured_sets(bundle):
        parts = {"source": figures.get("by_source"), **figures.get("subgroups", {})}
        for kind, rows in parts.items():
            if rows:
                lines += [
                    "",
                    f"{SETS[name][0]}, by {kind.replace('_', ' ')}:",
                    "",
                    *_parts(rows),
                ]
    if len(lines) == before:
        lines += ["", "Not yet measured."]
    return lines


def by_sequence(bundle: Bundle) -> list[str]:
    """Write the figures of each MR sequence, and what other lesions are called."""
    lines = ["## By MR sequence, and other lesions"]
    for name, figures in measured_sets(bundle):
        if not figures.get("sequences"):
            continue
        lines += ["", f"{SETS[name][0]}. {SEQUENCE_NOTE}"]
        for part in sequence_overview(figures["sequences"]):
            lines += ["", f"{part.title}:", "", *table(part.columns, part.rows)]
    return lines if len(lines) > 1 else []


def calibration(bundle: Bundle) -> list[str]:
    """Write how far probabilities and prediction sets can be taken at their word."""
    coverage = bundle.prediction_sets.coverage
    by_patient = sets_cover_patients(bundle)
    weighed = ", every patient with the same weight" if by_patient else ""
    lines = [
        "## Calibration",
        "",
        "One factor for each head's logits and one offset for each class (vector "
        "scaling, Guo et al. 2017) were fitted on held-out patients. Prediction sets "
        "(conformal, class by class) are made to contain the true class in "
        f"{100 * coverage:.0f} % of the slices of each class{weighed}.",
    ]
    measured = list(measured_sets(bundle))
    if not measured:
        return lines
    rows: list[list[str]] = [
        [title, *(figure_text(figures.get(key)) for _, figures in measured)]
        for title, key in (
            ("Calibration error (ECE, 15 bins)", "calibration_error"),
            ("Brier score (0 to 2)", "brier"),
            ("Classes in a prediction set, mean", "set_size"),
        )
        if any(figures.get(key) for _, figures in measured)
    ]
    rows += [
        [
            f"Coverage of prediction sets, {INFO[name].title.lower()}{words}",
            *(figure_text(figures.get(key, {}).get(name)) for _, figures in measured),
        ]
        for key, words in COVERAGES.items()
        if any(figures.get(key) for _, figures in measured)
        for name in CLASSES
    ]
    heads = ["", *(SETS[name][0] for name, _ in measured)]
    return [*lines, "", *table(heads, rows)]


def _who(figures: Mapping[str, Any], who: str) -> str:
    point = figures.get("model", {}).get("operating_point")
    at = f" Operating point `{point}`;" if point else ""
    # Figures recorded before this was noted do not say.
    leaking = figures.get("held_out", True) is False
    warning = f" **{figures['leakage']['statement']}**" if leaking else ""
    return (
        f"{figures['slices']} slices of {figures['patients']} patients (or groups of "
        f"like images) {who}.{at} 95 % intervals over patients.{warning}"
    )


def _main_figures(figures: Mapping[str, Any]) -> list[str]:
    rows = [
        (title, figure_text(figures[key])) for title, key in FIGURES if figures.get(key)
    ]
    rows += [
        (f"Recall, {name_text(name)}", figure_text(value))
        for name, value in figures.get("recall", {}).items()
        if value
    ]
    rows += [
        (f"{kind.capitalize()} at `{point}`", figure_text(rates[kind]))
        for point, rates in figures.get("operating_points", {}).items()
        for kind in ("sensitivity", "specificity")
        if rates.get(kind)
    ]
    return table(("", ""), rows)


def _confusion(figures: Mapping[str, Any]) -> list[str]:
    if "confusion" not in figures:
        return []
    rows = [
        (INFO[name].title, *row)
        for name, row in zip(CLASSES, figures["confusion"], strict=True)
    ]
    return [
        "",
        "Confusion matrix: most probable class (columns) by true class (rows).",
        "",
        *table(("", *(INFO[name].title for name in CLASSES)), rows),
    ]


def _parts(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return table(
        ("", "Slices", "Patients", *(title for title, _ in _PART_FIGURES)),
        (
            (
                f"`{name}`",
                part["slices"],
                part.get("patients", "–"),
                *(figure_text(part.get(key)) for _, key in _PART_FIGURES),
            )
            for name, part in rows.items()
        ),
    )


def failures(bundle: Bundle) -> list[str]:
    """Write where the bundle fails most, set by set.

    Parameters
    ----------
    bundle
        A bundle with or without measured figures.

    Returns
    -------
    list of str
        Markdown; nothing in it is typed by hand but the words around figures.
    """
    lines = [
        "## Where it fails",
        "",
        "These sentences are derived from the figures of this card by fixed rules.",
    ]
    sets = list(measured_sets(bundle))
    if not sets:
        lines = ["## Where it fails", "", "Not yet measured on held-out patients."]
    for name, figures in sets:
        lines += ["", f"{SETS[name][0]}:", ""]
        lines += [f"- {said}" for said in _of_set(figures, bundle)]
    beyond = [*_damage(bundle.metrics), *_least_refused(bundle.metrics)]
    if beyond:
        lines += [
            "",
            "Image damage and foreign images:",
            "",
            *(f"- {said}" for said in beyond),
        ]
    return lines


def _of_set(figures: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    yield from _rates(figures)
    yield from _weakest_class(figures)
    kind = "coverage_by_patient" if sets_cover_patients(bundle) else "coverage"
    yield from _missed_coverage(figures.get(kind, {}), bundle.prediction_sets.coverage)
    parts: dict[str, Parts] = {"source": figures.get("by_source") or {}}
    parts |= figures.get("subgroups", {})
    for kind, rows in parts.items():
        yield from _weakest_part(kind, rows)


def _rates(figures: Mapping[str, Any]) -> Iterator[str]:
    for key, words in (
        ("tumor_sensitivity", "of the tumour slices are called free of tumour"),
        (
            "tumor_specificity",
            "of the tumour-free slices are not called free of tumour",
        ),
    ):
        if figures.get(key):
            yield f"{figure_text(_rest(figures[key]))} {words}."
    if figures.get("inconclusive"):
        unnamed = figure_text(figures["inconclusive"])
        yield f"{unnamed} of all slices are given no single class."


def _rest(share: Mapping[str, float]) -> dict[str, float]:
    return {
        "value": 1 - share["value"],
        "low": 1 - share["high"],
        "high": 1 - share["low"],
    }


def _weakest_class(figures: Mapping[str, Any]) -> Iterator[str]:
    recall = {name: value for name, value in figures.get("recall", {}).items() if value}
    if not recall:
        return
    name = min(recall, key=lambda item: recall[item]["value"])
    said = (
        f"The class with the lowest recall is {name_text(name)}: "
        f"{figure_text(recall[name])}"
    )
    if "confusion" in figures:
        row = list(figures["confusion"][CLASSES.index(name)])
        right = row[CLASSES.index(name)]
        row[CLASSES.index(name)] = -1
        other = CLASSES[row.index(max(row))]
        if max(row) > 0:
            said += (
                f"; of its {sum(row) + 1} errors {max(row)} are called "
                f"{name_text(other)}; {right} slices are right"
            )
    yield said + "."


def _missed_coverage(coverage: Mapping[str, Any], asked: float) -> Iterator[str]:
    for name, value in coverage.items():
        if value and value["value"] < asked:
            yield (
                f"Prediction sets contain the true class too seldom for "
                f"{name_text(name)}: {figure_text(value)}, made for {asked:.2f}."
            )


def _weakest_part(kind: str, rows: Parts) -> Iterator[str]:
    """Name the part with the lowest figure, where there are several to choose from."""
    for key, words in (
        ("accuracy", "accuracy"),
        ("tumor_sensitivity", "tumour sensitivity"),
        ("tumor_specificity", "tumour specificity"),
    ):
        known = {
            name: part[key]
            for name, part in rows.items()
            if part.get(key)
            and part.get("patients", ENOUGH_PATIENTS) >= ENOUGH_PATIENTS
        }
        if len(known) > 1:
            name = min(known, key=lambda item: known[item]["value"])
            lowest = f"`{name}`, {figure_text(known[name])}"
            yield f"Lowest {words} by {kind.replace('_', ' ')}: {lowest}."


def _damage(metrics: Mapping[str, Any]) -> Iterator[str]:
    kinds = (metrics.get("robustness") or {}).get("kinds", {})
    known = {kind: part["drop"] for kind, part in kinds.items() if part.get("drop")}
    if known:
        kind = max(known, key=lambda item: known[item]["value"])
        yield (
            f"Of all kinds of image damage, {kind} costs most: "
            f"{figure_text(known[kind])} percentage points of accuracy."
        )


def _least_refused(metrics: Mapping[str, Any]) -> Iterator[str]:
    kinds = (metrics.get("foreign") or {}).get("kinds", {})
    known = {
        kind: part["refused"] for kind, part in kinds.items() if part.get("refused")
    }
    if known:
        kind = min(known, key=lambda item: known[item]["value"])
        yield (
            f"Of the images that are no brain MRI, {kind} is refused least: "
            f"{figure_text(known[kind])}."
        )


def robustness(bundle: Bundle) -> list[str]:
    """Write what damage to the pictures costs, if it was measured."""
    damage = bundle.metrics.get("robustness")
    if not damage or "kinds" not in damage:
        return []
    kinds = [
        (kind, figure_text(part.get("drop"))) for kind, part in damage["kinds"].items()
    ]
    return [
        "## Image damage",
        "",
        f"{damage['slices']} slices of {damage['patients']} patients, damaged at five "
        "strengths. The table gives percentage points of accuracy lost, as the mean "
        "over the strengths. Over all kinds they are "
        f"{figure_text(damage.get('drop'))}, and "
        f"{figure_text(damage.get('sensitivity_drop'))} points of tumour sensitivity. "
        f"Below zero is a gain.{judged_apart(damage)}",
        "",
        *table(("Damage", "Points lost"), kinds),
    ]


def refusal(bundle: Bundle) -> list[str]:
    """Write how well what is no brain MRI is refused."""
    lines = ["## Refusal"]
    refusal_figures = bundle.metrics.get("foreign")
    if refusal_figures and "kinds" in refusal_figures:
        lines += ["", *_foreign(refusal_figures)]
    return [*lines, "", *_own_word(bundle.domain)]


def _foreign(refusal_figures: Mapping[str, Any]) -> list[str]:
    kinds = (
        (
            kind,
            "yes" if part.get("taught") else "no",
            part.get("pictures", "–"),
            figure_text(part.get("auroc")),
            figure_text(part.get("refused")),
        )
        for kind, part in refusal_figures["kinds"].items()
    )
    new = refusal_figures.get("new", {})
    return [
        "What counts are kinds of images that the score was not taught: their AUROC "
        f"against brain MRI is {figure_text(new.get('auroc'))}, and "
        f"{figure_text(new.get('refused'))} of them are refused, while "
        f"{figure_text(refusal_figures.get('passed'))} of the brain MRI pass."
        f"{judged_apart(refusal_figures)}",
        "",
        *table(("Kind", "Taught", "Images", "AUROC", "Refused"), kinds),
    ]


def _own_word(domain: Mapping[str, Any]) -> list[str]:
    kinds = [
        (key.removeprefix("refused_"), f"{value:.3f}")
        for key, value in sorted(domain.items())
        if key.startswith("refused_")
    ]
    lines = [
        "As measured when the bundle was exported: the proportion of drawn images and "
        "photographs that are refused. The linear probe in the score has not seen the "
        "kind that it judges; the weights that combine the probe with the other "
        "features were fitted on all kinds, and the threshold, which 99 % of "
        "validation slices pass, on the slices that the AUROC counts. These figures "
        "therefore flatter the score.",
        "",
        *table(("Kind", "Refused"), kinds),
    ]
    if "auroc" in domain:
        lines += ["", f"AUROC, brain MRI against all of these: {domain['auroc']:.4f}."]
    return lines


def faithfulness(bundle: Bundle) -> list[str]:
    """Write how far the maps show what decides, if it was measured."""
    maps = bundle.metrics.get("faithfulness")
    if not maps or not maps["slices"]:
        return []
    return [
        "## Sanity checks of the maps",
        "",
        f"Whether the maps show what decides, on {maps['slices']} tumour slices of "
        f"{maps['patients']} patients; the evaluation page says what each check "
        f"measures, and shows more.{judged_apart(maps)}",
        "",
        *table(("", *MAPS.values()), map_rows(maps)),
    ]


_EXAMPLE_GRID = 400
"""Grams of CO2 for each kilowatt hour, in the example that the card gives."""

FOLDER = "figures"
"""Folder of the pictures, seen from the card."""

_KINDS = {
    "recall": ("Recall by class", "Recall, 95 % interval over patients"),
    "coverage_by_patient": (
        "Coverage of the prediction sets, by patient",
        "Mean over patients, 95 % interval",
    ),
    "coverage": (
        "Coverage of the prediction sets",
        "Proportion of slices, 95 % interval over patients",
    ),
}


def model_card(bundle: Bundle) -> str:
    """Write a bundle's model card.

    Parameters
    ----------
    bundle
        Verified.

    Returns
    -------
    str
        Markdown. Its links are seen from the project's folder of documents; its
        pictures are `card_charts.card_charts`.
    """
    parts = (
        _heading(bundle),
        _use(bundle),
        data(bundle),
        training(bundle),
        _decisions(bundle),
        quality(bundle),
        subgroups(bundle),
        by_sequence(bundle),
        failures(bundle) + chart_links(bundle),
        calibration(bundle),
        robustness(bundle),
        faithfulness(bundle),
        refusal(bundle),
        _faster_graphs(bundle),
        _limits(),
        _guidelines(bundle),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _heading(bundle: Bundle) -> list[str]:
    size = bundle.preprocessing.size
    return [
        f"# Model card: {bundle.name} {bundle.version}",
        "",
        "This card is written from the bundle's `bundle.json`; no figure in it is "
        "typed by hand.",
        "**Research use only. Not a medical device.**",
        "",
        f"A convolutional network that reads one slice as {size} x {size} pixels and "
        "gives calibrated probabilities of "
        f"{', '.join(INFO[name].title.lower() for name in CLASSES)}, "
        "an evidence map and a Grad-CAM map, and a score that says whether the "
        "image is a brain MRI of a kind that it knows.",
    ]


def _use(bundle: Bundle) -> list[str]:
    sequences = ", ".join(item.value for item in bundle.known_sequences)
    knows_others = Lesion.OTHER in bundle.findings
    kinds = (
        "Of other tumours and of strokes it knows few kinds, of few people: what it "
        "calls *another lesion* is no diagnosis, and what it has never seen may get "
        "any name."
        if knows_others
        else "Other tumours."
    )
    return [
        "## Intended use",
        "",
        "Research and teaching: to study how such models behave, to compare them, and "
        f"to train on your own data. The model takes single slices: {sequences}.",
        "",
        "## Out-of-scope use",
        "",
        "Diagnosis, triage, treatment or any decision about a person. Metastases, "
        f"children, scans after surgery, other body parts. {kinds} *No tumour* "
        "says nothing about slices that the model was not shown.",
    ]


def _decisions(bundle: Bundle) -> list[str]:
    rows = []
    for name, point in bundle.operating_points.items():
        mark = " (default)" if name == bundle.default_operating_point else ""
        rates = (
            "not measured"
            if rate is None
            else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
            for rate in (point.sensitivity, point.specificity)
        )
        rows.append((f"`{name}`{mark}", f"{point.threshold:.3f}", *rates))
    return [
        "## Operating points",
        "",
        f"{_measured_on(bundle)}:",
        "",
        *table(
            ("", "Threshold (probability of tumour)", "Sensitivity", "Specificity"),
            rows,
        ),
        *_costs(bundle),
    ]


def _costs(bundle: Bundle) -> list[str]:
    """Write what the thresholds find and cost, the same scanner first."""
    lines = []
    for name, point in bundle.operating_points.items():
        rows = operating_rows(point.to_json().get("measured", {}))
        if rows:
            heads = ("", "Sequence", "Share", "", "Slices", "Patients")
            lines += ["", f"What `{name}` finds, and what it costs:", ""]
            lines += table(heads, rows)
    return [*lines, "", GROUP_NOTES] if lines else []


def _measured_on(bundle: Bundle) -> str:
    """Say who fixed the thresholds, and whose rates the operating points hold."""
    calibrated_on = bundle.provenance.get("calibrated_on")
    how = calibrated_on.get("how") if isinstance(calibrated_on, dict) else None
    fixed = {
        "nothing": "The thresholds were fixed on no patients: too few were kept apart",
        "parent": "The thresholds are those of the model that this one started from",
    }.get(str(how), "The thresholds were fixed on held-out patients")
    point = bundle.operating_points[bundle.default_operating_point]
    if point.sensitivity is None and point.specificity is None:
        return f"{fixed}. How often they are right was not measured"
    rates = f"{fixed}. The rates are given with 95 % intervals over patients"
    return f"{rates}, {_whose_rates(bundle, how)}"


def _whose_rates(bundle: Bundle, how: str | None) -> str:
    """Name the set measured last, whose rates the operating points hold."""
    point = bundle.operating_points[bundle.default_operating_point]
    for name, figures in measured_sets(bundle):
        rates = figures.get("operating_points", {}).get(bundle.default_operating_point)
        if (
            rates
            and point.sensitivity is not None
            and rates.get("sensitivity", {}).get("value") == point.sensitivity.value
        ):
            return f"as measured below ({SETS[name][0].lower()})"
    return {
        "nothing": "measured since, on a set that is not shown here",
        "parent": "measured on that model, unless recorded since",
    }.get(str(how), "measured on the same patients, which flatters them")


def _faster_graphs(bundle: Bundle) -> list[str]:
    """Say how well each faster graph agrees with the float32 one."""
    lines: list[str] = []
    for precision, path in bundle.paths.items():
        rows = [
            (
                item.measured_on,
                f"{item.slices:,}",
                f"{item.patients:,}",
                f"{100 * item.equal_decisions:.2f} %",
                f"{100 * item.judged_again:.1f} %",
                f"{item.auroc_change:+.4f}",
                f"{item.ece_change:+.4f}",
                f"{item.ood_auroc_change:+.4f}",
            )
            for item in path.agreements
        ]
        fall = f"at least {-MOST_AUROC_FALL:+g}"
        share, rise = f"at least {100 * LEAST_EQUAL:g} %", f"at most {MOST_ECE_RISE:+g}"
        lines += [
            f"## Faster graph: {precision}",
            "",
            f"`{path.file}` is the same network in {precision} (static quantisation; "
            f"{len(path.float32_nodes)} convolutions that cannot bear it, and all that "
            "follows the last ones, are left in float32). It answers where it is "
            "faster on the machine at hand, which is measured there, and every answer "
            "names it. Slices whose decision is closer to a border than it is mostly "
            "off are judged again by float32. Beside float32 on the same slices:",
            "",
            *table(
                (
                    "Measured on",
                    "Slices",
                    "Patients",
                    "Equal decisions",
                    "Judged again by float32",
                    "AUROC, tumour or none",
                    "ECE",
                    "AUROC of the domain score",
                ),
                [*rows, ("*Limit*", "", "", share, "", fall, rise, fall)],
            ),
            "",
        ]
    return lines[:-1]


def _limits() -> list[str]:
    return [
        "## Limitations",
        "",
        "- Tumour slices and most tumour-free images come from different datasets, so "
        "part of the separation may be between datasets. `lgg` has both kinds from "
        "the same scanners: its row is the one to believe.",
        "- The tumour-free web images name no patient; they are kept apart by "
        "likeness, which is weaker.",
        "- Real chest radiographs and MRI of other body parts were not available: the "
        "refusal of such images was taught on drawings.",
        "- `lgg`'s outlines are wider than what enhances, which widens the evidence.",
    ]


def _guidelines(bundle: Bundle) -> list[str]:
    return [
        "## Reporting guidelines",
        "",
        "The tables say which items of two checklists are answered, and where. The "
        "numbers are those of the checklists; the topics are in our own words, so read "
        "them together with the originals.",
        "",
        "### CLAIM 2024",
        "",
        "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300, "
        "doi:10.1148/ryai.240300.",
        "",
        *items_table(CLAIM_2024, bundle.metrics),
        "",
        "### TRIPOD+AI",
        "",
        "Collins et al. 2024, BMJ 385:e078378, doi:10.1136/bmj-2023-078378.",
        "",
        *items_table(TRIPOD_AI, bundle.metrics),
    ]


LICENCES: dict[str, tuple[str, str]] = {
    "ixi": ("eight healthy heads of IXI, T1, cut into slices", "CC BY-SA 3.0"),
    "volumes": (
        "three tumour-free heads, T1, in slices: two healthy (`t1_crop` and a "
        "`volunteer`), and one with multiple sclerosis (patient 20 of a longitudinal "
        "dataset)",
        "MIT, Apache-2.0, CC BY",
    ),
    "lgg_sequences": (
        "the slices of `lgg` in FLAIR and in T1 without contrast agent, six patients "
        "more",
        "TCIA, CC BY",
    ),
    "brain44": (
        "a web collection of 44 classes: T1, T1 with contrast and T2 of gliomas, "
        "meningiomas, eight other kinds of tumour and lesion, and tumour-free heads, "
        "without outlines; labels are by case",
        "unclear: stated as ODC-By, pictures perhaps CC BY-NC-SA",
    ),
    "soop": (
        "acute strokes of SOOP, FLAIR without the skull, in three planes, with "
        "outlines where the lesion shows",
        "CC0, pictures BSD-2",
    ),
    "cheng": (
        "Cheng et al. 2015 (PLOS ONE 10(10):e0140381), figshare 1512427: T1 with "
        "contrast, three planes, two hospitals, 2005 to 2010, an outline by "
        "radiologists on every slice",
        "CC BY 4.0",
    ),
    "lgg": (
        "TCGA-LGG with outlines (Buda et al. 2019): T1 with contrast, axial, glioma "
        "and tumour-free slices of the same scanners, and both ends of these heads, "
        "which are used for training only; outlines mark the FLAIR abnormality, which "
        "is wider than what enhances",
        "TCIA, CC BY",
    ),
    "notumor": (
        "tumour-free images of the common web datasets, without copies",
        "mixed",
    ),
    "brisc_notumor": (
        "tumour-free images of BRISC (2025, arXiv:2506.14318), collected there from "
        "several public datasets",
        "CC BY 4.0",
    ),
}
"""What the datasets that shipped models learned from are, and their licences."""


def data(bundle: Bundle) -> list[str]:
    """Write what the bundle learned from: sets, classes, patients, licences."""
    sets: dict[str, Any] = bundle.provenance.get("sets", {})
    counts: dict[str, dict[str, int]] = {}
    kinds: dict[str, dict[str, int]] = {}
    for split, of_split in sets.items():
        for key, count in of_split["slices"].items():
            source, kind = key.split("/")
            for sums, name in ((counts, split), (kinds, kind)):
                part = sums.setdefault(source, {})
                part[name] = part.get(name, 0) + count
    patients = ", ".join(
        f"{of_split['patients']} to {'train' if split == 'train' else 'validate'} on"
        for split, of_split in sets.items()
    )
    if not sets:
        return ["## Training data", "", "The bundle does not say."]
    unknown = ("the trainer's own", "–")
    return [
        "## Training data",
        "",
        "The data were collected and published by others before this work, and chosen "
        "retrospectively from what was available. Participants, scanners and dates are "
        "described in the datasets' own papers.",
        "",
        *table(
            ("Dataset", "Training slices", "Validation slices", "Content", "Licence"),
            (
                (
                    f"`{source}`",
                    part.get("train", 0),
                    part.get("validation", 0),
                    *LICENCES.get(source, unknown),
                )
                for source, part in sorted(counts.items())
            ),
        ),
        "",
        "Slices of each class, training and validation together:",
        "",
        *table(
            ("Dataset", *(INFO[name].title for name in CLASSES)),
            (
                (f"`{source}`", *(part.get(name, 0) for name in CLASSES))
                for source, part in sorted(kinds.items())
            ),
        ),
        "",
        f"Patients (or groups of like images, where a dataset names none): {patients}. "
        "Their age, sex and ancestry are not in the data as used, so no figure can be "
        "given by these. The datasets' publishers removed names; this was not checked "
        "again. The backbone started from ImageNet weights (Apache-2.0).",
        "",
        _rights(sets),
    ]


def _rights(sets: Mapping[str, Any]) -> str:
    """Say on whose licences the weights rest."""
    unclear = [f"`{name}`" for name in _sources(sets) if _is_unclear(name)]
    if not unclear:
        return "All of these datasets are openly licensed."
    return (
        f"The licences of {' and '.join(unclear)} are mixed or unclear, and perhaps "
        "not for commercial use; whether weights inherit them is not settled law. "
        f"`{LICENCE_FILE}` beside the weights says what they rest on."
    )


def _licence(source: str) -> str:
    return LICENCES.get(source, ("", "not stated"))[1]


def _is_unclear(source: str) -> bool:
    return _licence(source).startswith(("mixed", "unclear"))


def _sources(sets: Mapping[str, Any]) -> list[str]:
    """Name the datasets of a bundle's provenance, sorted."""
    keys = {key.split("/")[0] for part in sets.values() for key in part["slices"]}
    return sorted(keys)


def weights_licence(bundle: Bundle) -> str:
    """Write the licence file of a bundle's weights: what they rest on.

    Parameters
    ----------
    bundle
        Verified.

    Returns
    -------
    str
        Plain text, the content of `LICENCE_FILE`.
    """
    sources = _sources(bundle.provenance.get("sets", {}))
    unclear = [name for name in sources if _is_unclear(name)]
    if unclear:
        terms = (
            f"The licences of {' and '.join(unclear)} are mixed or unclear, and may "
            "rule out commercial use. Whether weights inherit the licences of what "
            "they were learned from is not settled law. Take these weights for "
            "non-commercial research, or train without these datasets (`tumorlens "
            "train --open-licences`). Where the weights are ours to license, they are "
            "under CC BY-NC-SA 4.0."
        )
    else:
        terms = "Where the weights are ours to license, they are under CC BY-SA 4.0."
    parts = (
        f"The weights of {bundle.name} {bundle.version}: what they rest on",
        "The code of TumorLens is under the Apache License 2.0. The weights in this "
        "folder were learned from the pictures of others, and from the ImageNet "
        "weights of EfficientNet-Lite (Apache-2.0). Research use only; no medical "
        "device.",
        "Datasets, and their licences as far as they are stated:",
        "\n".join(f"- {name}: {_licence(name)}" for name in sources),
        terms,
        "Name the datasets, and TumorLens, where you use the weights.",
    )
    filled = (
        "\n".join(textwrap.fill(line, 80) for line in item.splitlines())
        for item in parts
    )
    return "\n\n".join(filled) + "\n"


def training(bundle: Bundle) -> list[str]:
    """Write the settings of the run, and what it took where that was noted."""
    config: Mapping[str, Any] = bundle.provenance.get("config", {})
    lines = [
        "## Training",
        "",
        "`tumorlens train` ran with these settings, which the bundle keeps; "
        f"{_weights(bundle)} Keras "
        f"{bundle.provenance.get('keras', '(version not recorded)')} on "
        f"{bundle.provenance.get('backend', 'a backend that was not recorded')}.",
        "",
        *table(
            ("Setting", "Value"),
            ((f"`{name}`", f"`{value}`") for name, value in config.items()),
        ),
    ]
    return [*lines, "", *_cost(bundle.provenance.get("training"))]


def _weights(bundle: Bundle) -> str:
    count = bundle.provenance.get("averaged", 1)
    if count > 1:
        return (
            f"the weights are the mean of {count} networks, each of which left "
            "another fold of the patients out and is itself an average over its run."
        )
    return (
        "the weights are an average over the run, of the epoch that did best on "
        "validation patients."
    )


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    if not cost or "seconds" not in cost:
        return ["The time and energy of the run were not recorded."]
    seconds = float(cost["seconds"])
    place = ", ".join(
        str(part)
        for part in (
            cost.get("device"),
            f"{cost['threads']} threads" if "threads" in cost else None,
        )
        if part
    )
    said = f"The run took {seconds:,.0f} s ({seconds / 3600:.1f} h)"
    said += f" on {place}." if place else "."
    watts = cost.get("watts_assumed")
    if watts is not None:
        energy = seconds * float(watts) / 3.6e6
        said += (
            f" At {float(watts):g} W, which is assumed and not measured, that is "
            f"{energy:.2g} kWh; with {_EXAMPLE_GRID} g of CO2 for a kilowatt hour, for "
            f"example, {energy * _EXAMPLE_GRID:,.2g} g. Runs that were tried and not "
            "adopted are not included."
        )
    return [said]


@dataclass(frozen=True)
class CardChart:
    """A picture of the card.

    Parameters
    ----------
    file
        Name, for the folder `FOLDER` beside the card.
    title
        Title in words.
    svg
        Content of the file.
    """

    file: str
    title: str
    svg: str


def card_charts(bundle: Bundle) -> list[CardChart]:
    """Draw the card's pictures; the colours are the classes' own."""
    charts = []
    for name, figures in measured_sets(bundle):
        for kind, (words, label) in _KINDS.items():
            known = figures.get(kind, {})
            if not all(known.get(item) for item in CLASSES):
                continue
            title = f"{words}: {SETS[name][0].lower()}"
            rows = [(INFO[item].title, known[item]) for item in CLASSES]
            file = f"card-{name}-{kind}.svg".replace("_", "-")
            charts.append(CardChart(file, title, draw_intervals(title, label, rows)))
        if figures.get("sketches"):
            title = f"The commonest kinds of error: {SETS[name][0].lower()}"
            file = f"card-{name}-errors.svg".replace("_", "-")
            charts.append(
                CardChart(file, title, draw_sketches(title, figures["sketches"]))
            )
    return charts


def chart_links(bundle: Bundle) -> list[str]:
    """Show the pictures in the card."""
    lines = []
    for chart in card_charts(bundle):
        lines += ["", f"![{chart.title}]({FOLDER}/{chart.file})"]
    if any(figures.get("sketches") for _, figures in measured_sets(bundle)):
        lines += [
            "",
            "The drawings of errors show one slice each, the most confident of its "
            "kind, with the number of slices that are wrong in this way. They are "
            "traced from images of `cheng` (Cheng et al. 2015, CC BY 4.0) and `lgg` "
            "(TCGA-LGG, CC BY). The evaluation page shows the worst errors themselves.",
        ]
    return lines
