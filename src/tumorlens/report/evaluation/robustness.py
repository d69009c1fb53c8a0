"""The sections on damaged pictures and on pictures that are no brain MRI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.report.page_parts import (
    Chart,
    Line,
    Section,
    Table,
    figure_text,
    judged_apart,
)
from tumorlens.report.words import counted


def damage_rows(damage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sum up what damage to pictures costs.

    Parameters
    ----------
    damage
        Figures that a bundle keeps under ``robustness``.

    Yields
    ------
    tuple of str
        A title and a figure with its interval.
    """
    kinds = damage["kinds"]
    worst = max(kinds, key=lambda name: kinds[name]["drop"]["value"])
    yield (
        "Accuracy lost to image damage, percentage points, mean over "
        f"{len(kinds)} kinds at {len(kinds[worst]['strengths'])} strengths",
        figure_text(damage["drop"]),
    )
    yield (
        f"The same for the costliest kind ({worst})",
        figure_text(kinds[worst]["drop"]),
    )
    for name in ("sensitivity", "specificity"):
        yield (
            f"Tumour {name} lost to image damage, percentage points",
            figure_text(damage[f"{name}_drop"]),
        )


def refusal_rows(foreign: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sum up how well what is no brain MRI is told and refused.

    Parameters
    ----------
    foreign
        Figures that a bundle keeps under ``foreign``.

    Yields
    ------
    tuple of str
        A title and a figure with its interval.
    """
    for key, words in (("all", "all kinds"), ("new", "kinds that were not taught")):
        refusal = foreign[key]
        count = counted(refusal["pictures"], "image")
        yield (
            f"Not brain MRI, {words} ({count}): AUROC against brain MRI",
            figure_text(refusal["auroc"]),
        )
        yield "The same: proportion refused", figure_text(refusal["refused"])
    yield (
        f"Brain MRI accepted, proportion ({counted(foreign['slices'], 'slice')})",
        figure_text(foreign["passed"]),
    )


def corruption_section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_corruption` found."""
    identity, title = "corruption", "Under damage"
    if not figures["slices"]:
        return Section(identity, title, ("No labelled slice was there to damage.",))
    return Section(
        identity,
        title,
        (
            f"Slices judged: {figures['slices']}, of "
            f"{counted(figures['patients'], 'patient')}. They were judged clean, then "
            f"damaged in {len(figures['kinds'])} ways at five "
            f"strengths, each by the same random draw.{judged_apart(figures)} "
            "On average over all of them "
            f"accuracy falls by {figure_text(figures['drop'], digits=1)} points, "
            "tumour sensitivity by "
            f"{figure_text(figures['sensitivity_drop'], digits=1)} points and tumour "
            f"specificity by {figure_text(figures['specificity_drop'], digits=1)} "
            "points; below zero is a gain.",
            "A slice that is refused as no brain MRI still counts by its most "
            "probable class in the accuracy, as not missed in the sensitivity, "
            "and as not cleared in the specificity. A strong crop can cut away the "
            "tumour itself.",
        ),
        (_strongest_table(figures), _strengths_table(figures)),
        (_strengths_chart(figures),),
    )


def _strongest_table(figures: Mapping[str, Any]) -> Table:
    """Show clean slices, and each kind of damage at its strongest."""
    rows = [("none", "–", *_cells(figures["clean"]))]
    for kind, damage in figures["kinds"].items():
        drop = figure_text(damage["drop"], digits=1)
        rows.append((kind, drop, *_cells(damage["strengths"][-1])))
    return Table(
        "Mean drop over five strengths, and the figures at the strongest",
        (
            "Damage",
            "Drop of accuracy, points",
            "Accuracy",
            "AUROC of tumour",
            "Tumour sensitivity",
            "Tumour specificity",
            "Refused",
        ),
        rows,
    )


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        figure_text(figures["accuracy"], percent=True),
        figure_text(figures["auroc_tumor"]),
        figure_text(figures["tumor_sensitivity"], percent=True),
        figure_text(figures["tumor_specificity"], percent=True),
        figure_text(figures["refused"], percent=True),
    )


def _strengths(figures: Mapping[str, Any]) -> range:
    """List the strengths, from 1, at which every kind of damage was measured."""
    kinds = figures["kinds"].values()
    return range(1, 1 + max(len(damage["strengths"]) for damage in kinds))


def _strengths_table(figures: Mapping[str, Any]) -> Table:
    return Table(
        "Accuracy and AUROC of tumour by strength",
        ("Damage", *(f"Strength {strength}" for strength in _strengths(figures))),
        [
            (
                kind,
                *(
                    " / ".join(
                        "–" if row[key] is None else f"{row[key]['value']:.3f}"
                        for key in ("accuracy", "auroc_tumor")
                    )
                    for row in damage["strengths"]
                ),
            )
            for kind, damage in figures["kinds"].items()
        ],
    )


def _strengths_chart(figures: Mapping[str, Any]) -> Chart:
    clean = figures["clean"]["accuracy"]["value"]
    strengths = _strengths(figures)
    return Chart(
        "Accuracy by strength of damage",
        "Strength (0 is clean)",
        "Accuracy",
        [
            Line(
                kind,
                (0, *strengths),
                (clean, *(row["accuracy"]["value"] for row in damage["strengths"])),
            )
            for kind, damage in figures["kinds"].items()
        ],
        x_range=(0.0, float(strengths[-1])),
        y_range=(0.0, 1.0),
    )


def ood_section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_ood` found."""
    words = [
        f"Shown were {counted(figures['all']['pictures'], 'picture')} of other things "
        f"than brain MRI, and {counted(figures['slices'], 'brain MRI slice')} of "
        f"{counted(figures['patients'], 'patient')}. "
        f"{_by_whom(figures)}"
        "A bundle learns what to refuse from some kinds of pictures (taught); what "
        "counts are the kinds that it never learned from (new).",
        "Against brain MRI the domain score has an AUROC of "
        f"{figure_text(figures['new']['auroc'], digits=4)} on new kinds and of "
        f"{figure_text(figures['taught']['auroc'], digits=4)} on taught ones. At the "
        f"bundle's threshold {figure_text(figures['new']['refused'], percent=True)} of "
        "the new kinds' pictures are refused, and "
        f"{figure_text(figures['passed'], percent=True)} of the brain MRI pass.",
        *_weakest(figures),
        *figures["notes"],
    ]
    return Section(
        "foreign",
        "What is no brain MRI",
        words,
        (_kinds_table(figures), _sources_table(figures)),
        (_refusal_chart(figures),) if figures["curve"]["passed"] else (),
    )


def _by_whom(figures: Mapping[str, Any]) -> str:
    apart = judged_apart(figures).lstrip()
    return f"{apart} Photographs are shown to all, and count each time. " * bool(apart)


def _weakest(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the kind that passes most often, which pooled figures would hide."""
    name, refusal = min(
        figures["kinds"].items(), key=lambda item: float(item[1]["refused"]["value"])
    )
    if refusal["refused"]["value"] == 1.0:
        return ()
    return (
        f"Weakest is the kind '{name}': of {counted(refusal['pictures'], 'picture')} "
        f"{figure_text(refusal['refused'], percent=True)} are refused.",
    )


def _kinds_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        (
            kind,
            "taught" if refusal["taught"] else "new",
            str(refusal["pictures"]),
            figure_text(refusal["auroc"]),
            figure_text(refusal["refused"], percent=True),
        )
        for kind, refusal in sorted(
            figures["kinds"].items(), key=lambda item: (item[1]["taught"], item[0])
        )
    ]
    return Table(
        "By kind",
        ("Kind", "For the bundle", "Pictures", "AUROC", "Refused"),
        rows,
    )


def _sources_table(figures: Mapping[str, Any]) -> Table:
    return Table(
        "Brain MRI that passes, by source",
        ("Source", "Passed"),
        [
            (name, figure_text(passed, percent=True))
            for name, passed in figures["passed_by_source"].items()
        ],
    )


def _refusal_chart(figures: Mapping[str, Any]) -> Chart:
    curve = figures["curve"]
    return Chart(
        "What refusal costs: new kinds refused, against brain MRI passed",
        "Brain MRI passed, share",
        "New kinds refused, share",
        (Line("domain score", curve["passed"], curve["refused"]),),
        x_range=(0.8, 1.0),
        y_range=(0.0, 1.0),
    )
