"""The figures of `tumorlens calibrate` on series, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tumorlens.inference.bundle.facts import ALL_SEQUENCES
from tumorlens.report.page_parts import figure_text

Row = tuple[str, str]

_SOURCES = {
    "lgg": "`lgg`, whole series and their tumour-free parts",
    "lgg_thin": "`lgg`, all but two tumour slices removed",
    "lgg_sequences": "`lgg_sequences` (FLAIR, T1), whole series and their tumour-free "
    "parts",
    "lgg_sequences_thin": "`lgg_sequences`, all but two tumour slices removed",
    "cheng": "`cheng`, stacks of tumour slices",
    "ixi": "`ixi`, healthy heads",
    "volumes": "single volumes",
}


def series_figure_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Turn the figures into rows of what was measured, and the value.

    Parameters
    ----------
    figures
        Figures as `tumorlens calibrate --json` writes them.

    Returns
    -------
    list of tuple
        A title and a value with its 95 % interval over patients.
    """
    learned, by_hand = figures["learned"], figures["set_by_hand"]
    rows = [
        ("AUROC", figure_text(learned["auroc"])),
        ("AUROC of the rule set by hand", figure_text(by_hand["auroc"])),
        ("Calibration error", figure_text(learned["calibration_error"])),
        (
            "Calibration error of the rule set by hand",
            figure_text(by_hand["calibration_error"]),
        ),
        *_rates("", learned["operating_points"]),
    ]
    for source, points in learned["by_source"].items():
        rows += _rates(f"{_SOURCES.get(source, source)}: ", points)
    for point, by_sequence in learned.get("measured", {}).items():
        for word, shares in by_sequence.items():
            if word != ALL_SEQUENCES:
                rows += _shares(word, point, shares)
    for source, kinds in learned.get("kinds", {}).items():
        rows += [
            (
                f"{_SOURCES.get(source, source)}: likeliest kind right, {kind} "
                f"({found['scans']} series)",
                figure_text(found["right"]),
            )
            for kind, found in kinds.items()
        ]
    for kind, name in (("acquired", "the acquired plane"), ("all", "all three planes")):
        points = figures["planes"][kind]["operating_points"]
        rows += _rates(f"Nearly isotropic voxels, {name}: ", points)
    if figures["outlines"] is not None:
        rows += _outlines(figures["outlines"])
    return rows


_GROUPS = {
    "labelled_lesions": "tumours found",
    "same_scanner": "tumour-free parts from the same scanners called free of tumour",
    "healthy_strangers": "healthy strangers called free of tumour",
}


def _shares(word: str, point: str, shares: Mapping[str, Any]) -> Iterator[Row]:
    for group, title in _GROUPS.items():
        if group in shares:
            found = shares[group]
            yield (
                f"{word}: {title} at `{point}` ({found['slices']} series)",
                figure_text(found),
            )


def _rates(prefix: str, points: Mapping[str, Any]) -> Iterator[Row]:
    for name, rates in points.items():
        for kind, counted in (("sensitivity", "tumor"), ("specificity", "no_tumor")):
            if rates[kind] is not None:
                title = f"{kind} at `{name}` ({rates['scans'][counted]} series)"
                yield prefix + title, figure_text(rates[kind])


def _outlines(outlines: Mapping[str, Any]) -> Iterator[Row]:
    kinds = [
        ("Lesion at the fitted level", outlines["fitted"]),
        ("Lesion at half of the peak", outlines["half_of_peak"]),
        *(
            (f"Lesion in {_SOURCES.get(name, name)}", figures)
            for name, figures in outlines["by_source"].items()
        ),
    ]
    for title, figures in kinds:
        count = f"{title} ({figures['scans']} outlines)"
        yield f"{count}: Dice, mean", figure_text(figures["dice"])
        yield (
            f"{count}: relative error of the longest side, median",
            figure_text(figures["size_error"]),
        )
        yield (
            f"{count}: peak inside the outline",
            figure_text(figures["peak_inside"]),
        )
