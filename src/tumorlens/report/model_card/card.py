"""A model card in Markdown, made from a bundle: no figure in it is typed by hand.

The sections follow Mitchell et al. 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.figure_words import table
from tumorlens.report.model_card.beyond import faithfulness, refusal, robustness
from tumorlens.report.model_card.charts import chart_links
from tumorlens.report.model_card.claim_2024 import CLAIM_2024
from tumorlens.report.model_card.failures import failures
from tumorlens.report.model_card.reporting_items import items_table
from tumorlens.report.model_card.sets import (
    SETS,
    calibration,
    measured_sets,
    quality,
    subgroups,
)
from tumorlens.report.model_card.training import data, training
from tumorlens.report.model_card.tripod_ai import TRIPOD_AI
from tumorlens.taxonomy import CLASSES, INFO


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
        _use(),
        data(bundle),
        training(bundle),
        _decisions(bundle),
        quality(bundle),
        subgroups(bundle),
        failures(bundle) + chart_links(bundle),
        calibration(bundle),
        robustness(bundle),
        faithfulness(bundle),
        refusal(bundle),
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


def _use() -> list[str]:
    return [
        "## Intended use",
        "",
        "Research and teaching: to study how such models behave, to compare them, and "
        "to train on your own data. The model takes single slices, mainly T1-weighted "
        "with contrast agent.",
        "",
        "## Out-of-scope use",
        "",
        "Diagnosis, triage, treatment or any decision about a person. Other tumours, "
        "metastases, children, scans after surgery, other body parts. *No tumour* "
        "says nothing about slices that the model was not shown.",
    ]


def _decisions(bundle: Bundle) -> list[str]:
    rows = []
    for name, point in bundle.operating_points.items():
        mark = " (default)" if name == bundle.default_operating_point else ""
        rates = (
            f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
            for rate in (point.sensitivity, point.specificity)
        )
        rows.append((f"`{name}`{mark}", f"{point.threshold:.3f}", *rates))
    return [
        "## Operating points",
        "",
        "The thresholds were fixed on held-out patients. The rates are given with "
        f"95 % intervals over patients, {_measured_on(bundle)}:",
        "",
        *table(
            ("", "Threshold (probability of tumour)", "Sensitivity", "Specificity"),
            rows,
        ),
    ]


def _measured_on(bundle: Bundle) -> str:
    """Say whose rates the operating points hold: those of the set measured last."""
    point = bundle.operating_points[bundle.default_operating_point]
    for name, found in measured_sets(bundle):
        rates = found.get("operating_points", {}).get(bundle.default_operating_point)
        if rates and rates.get("sensitivity", {}).get("value") == (
            point.sensitivity.value
        ):
            return f"as measured below ({SETS[name][0].lower()})"
    return "measured on the same patients, which flatters them"


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
