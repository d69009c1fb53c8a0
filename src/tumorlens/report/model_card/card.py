"""A model card in Markdown, made from a bundle: no figure in it is typed by hand.

The sections follow Mitchell et al. 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumorlens.inference.bundle.bundle import LICENCE_FILE, Bundle
from tumorlens.inference.bundle.facts import LEAST_EQUAL, MOST_AUROC_FALL, MOST_ECE_RISE
from tumorlens.report.charts import draw_intervals, draw_sketches
from tumorlens.report.model_card.checklists import CLAIM_2024, TRIPOD_AI, items_table
from tumorlens.report.model_card.figures import (
    SETS,
    by_sequence,
    calibration,
    failures,
    faithfulness,
    measured_sets,
    quality,
    refusal,
    robustness,
    subgroups,
)
from tumorlens.report.page_parts import GROUP_NOTES, operating_rows, table
from tumorlens.taxonomy import CLASSES, INFO, Lesion

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
