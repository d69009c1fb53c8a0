"""The main figures by plane, source, site, tumour size and sharpness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.evaluation.performance.figures import by_part
from tumorlens.evaluation.performance.sections import part_table
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.report.page_parts import Section

_TITLES = {
    "plane": "By plane",
    "site": "By site",
    "tumor_size": "Tumour slices by the outline's share of the head's square",
    "sharpness": "By sharpness (variance of the Laplacian)",
    "sharpness_of_tumors": "Tumour slices by sharpness",
}
_FEWEST = 3
"""Slices of which thirds can be made."""


def subgroup_figures(scored: ScoredSet) -> dict[str, Any]:
    """Work out the main figures of every subgroup.

    Parameters
    ----------
    scored
        The set.

    Returns
    -------
    dict
        Plain JSON by kind of subgroup, then by its name, as `by_part` gives
        them. Thirds are those of this set, with their bounds in the name. The
        sources stand under ``by_source`` of the metrics.
    """
    records = scored.records
    tumors = np.where(scored.tumor, scored.sharpness, np.nan)
    found = {
        "plane": by_part(scored, [item.plane for item in records]),
        "site": by_part(scored, [item.site for item in records]),
        "tumor_size": _thirds(scored, scored.outline_shares, "smallest", "largest"),
        "sharpness": _thirds(scored, scored.sharpness, "blurred", "sharp"),
        "sharpness_of_tumors": _thirds(scored, tumors, "blurred", "sharp"),
    }
    return {kind: parts for kind, parts in found.items() if len(parts) > 1}


def _thirds(
    scored: ScoredSet, values: NDArray[np.float64], first: str, last: str
) -> dict[str, Any]:
    known = np.isfinite(values)
    if known.sum() < _FEWEST:
        return {}
    low, high = np.percentile(values[known], (100 / 3, 200 / 3))
    names = (
        f"{first} third (up to {low:.3g})",
        f"middle third ({low:.3g} to {high:.3g})",
        f"{last} third (from {high:.3g})",
    )
    places = np.digitize(values, (low, high))
    parts = [
        names[place] if there else ""
        for place, there in zip(places, known, strict=True)
    ]
    return by_part(scored, parts, list(names))


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `subgroup_figures` found."""
    return Section(
        "subgroups",
        "Subgroups",
        (
            "Subgroups differ in more than their name: planes, sites and sharpness go "
            "with sources, and sources with classes. A low figure says where to look, "
            "not why. Of a single patient a share's interval is nearly 0 to 1.",
        ),
        [part_table(_TITLES[kind], parts) for kind, parts in figures.items()],
    )
