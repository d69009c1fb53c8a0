"""A model card in Markdown, made from a bundle: no figure in it is typed by hand.

The sections follow Mitchell et al. 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

from typing import Any

from tumorlens.engine.bundle import Bundle
from tumorlens.taxonomy import CLASSES, INFO

LICENCES: dict[str, tuple[str, str]] = {
    "cheng": (
        "Cheng et al., figshare 1512427: T1 with contrast, three planes, two "
        "hospitals, a radiologist's outline on every slice",
        "CC BY 4.0",
    ),
    "lgg": (
        "TCGA-LGG with outlines (Buda et al. 2019): T1 with contrast, axial, glioma "
        "and tumour-free slices of the same scanners; outlines mark the FLAIR "
        "abnormality, which is wider than what enhances",
        "TCIA, CC BY",
    ),
    "notumor": ("tumour-free pictures of the common web sets, copies removed", "mixed"),
    "brisc_notumor": ("BRISC 2025's tumour-free pictures", "CC BY 4.0"),
}
"""What the sets that shipped models learned from are, and their licences."""

FIGURES = (
    ("4-class accuracy, by slice", "accuracy"),
    ("4-class accuracy, by patient", "accuracy_by_patient"),
    ("Tumour sensitivity", "tumor_sensitivity"),
    ("Tumour specificity", "tumor_specificity"),
    ("Inconclusive", "inconclusive"),
    ("Brain MRI wrongly refused", "refused_as_foreign"),
    ("AUROC, tumour or none", "auroc_tumor"),
    ("Calibration error (ECE, 15 bins)", "calibration_error"),
    ("Evidence peak inside the outline", "peak_inside_outline"),
    ("Evidence Dice at half height", "dice_at_half_height"),
)
"""Title and key of the figures that an evaluation gives, in order."""


def model_card(bundle: Bundle) -> str:
    """Write a bundle's model card.

    Parameters
    ----------
    bundle
        Verified.

    Returns
    -------
    str
        Markdown.
    """
    parts = (
        _heading(bundle),
        _use(),
        _data(bundle),
        _decisions(bundle),
        _quality(bundle),
        _domain(bundle),
        _limits(),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _heading(bundle: Bundle) -> list[str]:
    size = bundle.preprocessing.size
    return [
        f"# Model card: {bundle.name} {bundle.version}",
        "",
        "Made from the bundle's `bundle.json`; no figure here is typed by hand.",
        "**Research use only. Not a medical device.**",
        "",
        f"Reads one slice as {size} x {size} pixels and gives calibrated "
        f"probabilities of {', '.join(INFO[name].title.lower() for name in CLASSES)}, "
        "an evidence map and a Grad-CAM map, and a score that says whether the "
        "picture is a brain MRI it knows.",
    ]


def _use() -> list[str]:
    return [
        "## Meant for",
        "",
        "Research and teaching: to study how such models behave, to compare, to "
        "train on own data. It looks at single slices, T1-weighted with contrast "
        "above all.",
        "",
        "## Not meant for",
        "",
        "Diagnosis, triage, treatment or any decision about a person. Other "
        "tumours, metastases, children, scans after surgery, other body parts. A "
        "*no tumour* says nothing about the slices it was not shown.",
    ]


def _data(bundle: Bundle) -> list[str]:
    lines = ["## Learned from", ""]
    sets: dict[str, Any] = bundle.provenance.get("sets", {})
    lines += ["| Set | Training slices | Validation slices | What | Licence |"]
    lines += ["|---|---|---|---|---|"]
    counts: dict[str, dict[str, int]] = {}
    for split, found in sets.items():
        for key, count in found["slices"].items():
            source = key.split("/")[0]
            part = counts.setdefault(source, {})
            part[split] = part.get(split, 0) + count
    for source, part in sorted(counts.items()):
        what, licence = LICENCES.get(source, ("the trainer's own", "–"))
        lines.append(
            f"| `{source}` | {part.get('train', 0)} | {part.get('validation', 0)} "
            f"| {what} | {licence} |"
        )
    patients = ", ".join(
        f"{found['patients']} to {'train' if split == 'train' else 'validate'} on"
        for split, found in sets.items()
    )
    return [
        *lines,
        "",
        f"Patients (or likeness groups, where a set names none): {patients}. The "
        "backbone started from ImageNet weights (Apache-2.0).",
    ]


def _decisions(bundle: Bundle) -> list[str]:
    lines = [
        "## Operating points",
        "",
        "Thresholds fixed on validation patients. Rates, with 95 % intervals over "
        "patients, "
        + (
            "as measured on patients who neither trained nor tuned it:"
            if "test" in bundle.metrics
            else "on the same patients, which flatters them:"
        ),
        "",
        "| | Probability of tumour from | Sensitivity | Specificity |",
        "|---|---|---|---|",
    ]
    for name, point in bundle.operating_points.items():
        mark = " (default)" if name == bundle.default_operating_point else ""
        rates = (
            f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
            for rate in (point.sensitivity, point.specificity)
        )
        lines.append(
            f"| `{name}`{mark} | {point.threshold:.3f} | " + " | ".join(rates) + " |"
        )
    coverage = bundle.prediction_sets.coverage
    return [
        *lines,
        "",
        f"Prediction sets are made to hold the true class in {coverage:.0%} of the "
        "slices of each class. How often they do on other patients is below.",
    ]


def _quality(bundle: Bundle) -> list[str]:
    found = bundle.metrics.get("test")
    if not isinstance(found, dict):
        return ["## How good it is", "", "Not yet measured on patients kept apart."]
    lines = [
        "## How good it is",
        "",
        f"On {found['slices']} slices of {found['patients']} patients (or likeness "
        "groups) that neither trained nor tuned it, at "
        f"`{found['model']['operating_point']}`; 95 % intervals over patients.",
        "",
        "| | |",
        "|---|---|",
    ]
    rows = [(title, found.get(key)) for title, key in FIGURES]
    rows += [
        (f"Recall, {INFO[name].title.lower()}", found["recall"][name])
        for name in CLASSES
    ]
    rows += [
        (f"True class in the set, {INFO[name].title.lower()}", found["coverage"][name])
        for name in CLASSES
    ]
    lines += [f"| {title} | {figure_text(value)} |" for title, value in rows if value]
    lines += ["", "| Source | Slices | Accuracy | Sensitivity | Specificity |"]
    lines += ["|---|---|---|---|---|"]
    for source, part in found["by_source"].items():
        keys = ("accuracy", "tumor_sensitivity", "tumor_specificity")
        cells = " | ".join(figure_text(part.get(key)) for key in keys)
        lines.append(f"| `{source}` | {part['slices']} | {cells} |")
    lines += [
        "",
        "What was said (columns) of what is true (rows), most probable class:",
    ]
    lines += ["", "| | " + " | ".join(INFO[name].title for name in CLASSES) + " |"]
    lines += ["|---|" + "---|" * len(CLASSES)]
    for name, row in zip(CLASSES, found["confusion"], strict=True):
        lines.append(f"| {INFO[name].title} | " + " | ".join(map(str, row)) + " |")
    return lines


def _domain(bundle: Bundle) -> list[str]:
    found = bundle.domain
    lines = [
        "## Refusal",
        "",
        "Share of drawn pictures and photographs that are refused. The linear probe "
        "in the score is blind to the kind it judges; the weights that combine the "
        "probe with the other features were fitted on all kinds, and the threshold, "
        "which 99 % of validation slices pass, on the slices that the AUROC counts. "
        "So these figures flatter the score.",
        "",
        "| Kind | Refused |",
        "|---|---|",
    ]
    for key, value in sorted(found.items()):
        if key.startswith("refused_"):
            lines.append(f"| {key.removeprefix('refused_')} | {value:.3f} |")
    if "auroc" in found:
        lines += ["", f"AUROC, brain MRI against all of these: {found['auroc']:.4f}."]
    return lines


def _limits() -> list[str]:
    return [
        "## Known limits",
        "",
        "- Tumour slices and most tumour-free pictures come from different sets; "
        "part of the separation may be between sets. `lgg` has both kinds from the "
        "same scanners: its row is the one to believe.",
        "- The tumour-free web pictures name no patient; they are kept apart by "
        "likeness, which is weaker.",
        "- Real chest x-rays and other body parts' MRI were not at hand: refusal of "
        "them was taught on drawings.",
        "- `lgg`'s outlines are wider than what enhances, which widens the evidence.",
    ]


def figure_text(found: dict[str, float] | None) -> str:
    """Show a figure with its interval; a dash where there is none.

    Parameters
    ----------
    found
        ``value``, ``low`` and ``high``.
    """
    if found is None:
        return "–"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
