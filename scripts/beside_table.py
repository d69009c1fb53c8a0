"""The table of networks trained for comparison, from docs/figures/beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tumorlens.report.page_parts import FIGURES as FIGURES_BY_TITLE
from tumorlens.report.page_parts import figure_text, table

BESIDE = {
    "main": "`evidence-net`",
    "noevidence": "without its evidence loss",
    "seed": "`seed-cnn`",
    "random": "`evidence-net`, split **by slice** (leaks)",
}


def beside_table(folder: Path) -> str:
    """Set what was trained alike, on the same two folds, beside the network.

    Parameters
    ----------
    folder
        Holds the figures of each, NAME.json.
    """
    found = {
        title: json.loads(path.read_text(encoding="utf-8"))[0]
        for name, title in BESIDE.items()
        if (path := folder / f"{name}.json").exists()
    }
    rows = [
        (title, [item.get(key) for item in found.values()])
        for title, key in FIGURES_BY_TITLE
    ]
    rows += [
        (
            f"Slice head by itself: {title}",
            [item["heads"]["slice_head"][key] for item in found.values()],
        )
        for title, key in (
            ("4-class accuracy", "accuracy"),
            ("AUROC, tumour or none", "auroc_tumor"),
        )
    ]
    rows += [
        (
            f"{words} {name}",
            [item["within_sites"].get(name, {}).get(key) for item in found.values()],
        )
        for words, key in (
            ("AUROC, tumour or none, inside", "auroc_tumor"),
            (
                "The same between slices at the same height,",
                "auroc_tumor_like_position",
            ),
        )
        for name in next(iter(found.values()))["within_sites"]
    ]
    rows += _more_rows(list(found.values()))
    texts = ((title, *map(figure_text, cells)) for title, cells in rows)
    return "\n".join(table(("", *found), texts))


def _more_rows(found: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Give what else was measured: unknown hospitals, foreign pictures, damage."""
    return [
        ("Recall, meningioma", [item["recall"]["meningioma"] for item in found]),
        *(
            (
                f"Calibration error, site {site}",
                [
                    item["subgroups"]["site"][site]["calibration_error"]
                    for item in found
                ],
            )
            for site in ("CS", "FG")
        ),
        *(
            (f"Not brain MRI: {words}", [item["foreign"]["all"][key] for item in found])
            for key, words in (
                ("auroc", "AUROC against brain MRI"),
                ("refused", "proportion refused"),
            )
        ),
        (
            "Accuracy lost to image damage, percentage points",
            [item["robustness"]["drop"] for item in found],
        ),
    ]
