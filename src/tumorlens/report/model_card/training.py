"""The model card's account of the data, the training and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.report.figure_words import table
from tumorlens.taxonomy import CLASSES, INFO

LICENCES: dict[str, tuple[str, str]] = {
    "ixi": ("eight healthy heads of IXI, T1, cut into slices", "CC BY-SA 3.0"),
    "volumes": (
        "three tumour-free heads, T1, in slices: two healthy (`t1_crop` and a "
        "`volunteer`), and one with multiple sclerosis (patient 20 of a longitudinal "
        "dataset)",
        "MIT, Apache-2.0, CC BY",
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
"""What the sets that shipped models learned from are, and their licences."""

_EXAMPLE_GRID = 400
"""Grams of CO2 for each kilowatt hour, in the example that the card gives."""


def data(bundle: Bundle) -> list[str]:
    """Write what the bundle learned from: sets, classes, patients, licences."""
    sets: dict[str, Any] = bundle.provenance.get("sets", {})
    counts: dict[str, dict[str, int]] = {}
    kinds: dict[str, dict[str, int]] = {}
    for split, found in sets.items():
        for key, count in found["slices"].items():
            source, kind = key.split("/")
            for sums, name in ((counts, split), (kinds, kind)):
                part = sums.setdefault(source, {})
                part[name] = part.get(name, 0) + count
    patients = ", ".join(
        f"{found['patients']} to {'train' if split == 'train' else 'validate'} on"
        for split, found in sets.items()
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
    ]


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


def _cost(found: Mapping[str, Any] | None) -> list[str]:
    if not found or "seconds" not in found:
        return ["The time and energy of the run were not recorded."]
    seconds = float(found["seconds"])
    place = ", ".join(
        str(part)
        for part in (
            found.get("device"),
            f"{found['threads']} threads" if "threads" in found else None,
        )
        if part
    )
    said = f"The run took {seconds:,.0f} s ({seconds / 3600:.1f} h)"
    said += f" on {place}." if place else "."
    watts = found.get("watts_assumed")
    if watts is not None:
        energy = seconds * float(watts) / 3.6e6
        said += (
            f" At {float(watts):g} W, which is assumed and not measured, that is "
            f"{energy:.2g} kWh; with {_EXAMPLE_GRID} g of CO2 for a kilowatt hour, for "
            f"example, {energy * _EXAMPLE_GRID:,.2g} g. Runs that were tried and not "
            "adopted are not included."
        )
    return [said]
