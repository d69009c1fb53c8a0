"""Tests whether the maps tell the truth, which most explainers fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tumorlens.evaluation.explanations.cases import (
    MAPS,
    Case,
    draw_maps,
    read_cases,
    run,
    with_network,
)
from tumorlens.evaluation.explanations.deletion import measure_deletion
from tumorlens.evaluation.explanations.randomisation import measure_randomisation
from tumorlens.evaluation.explanations.repeatability import measure_repeatability
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle
from tumorlens.imaging.preprocess.slice import to_picture
from tumorlens.inference.slice.session import Session
from tumorlens.statistics import (
    center_map,
    mean_figure,
    pointing,
    read_outline,
    share_figure,
)

_CASES = 60


def measure_faithfulness(
    measured_bundles: Sequence[MeasuredBundle],
    say: Callable[[str], None] = print,
    count: int = _CASES,
) -> dict[str, Any]:
    """Test the evidence map and Grad-CAM on tumour slices.

    Parameters
    ----------
    measured_bundles
        Bundles, of networks of one kind, and records: plain tumour slices are drawn
        from, those with an outline first.
    say
        Receives lines of progress.
    count
        Slices at most, shared evenly by the bundles and between the tumour classes.

    Returns
    -------
    dict
        Plain JSON: ``bundles``, ``slices``, ``patients``, and what `measure_agreement`,
        `measure_deletion`, `measure_randomisation` and `measure_repeatability`
        found, under ``agreement``, ``deletion``, ``randomisation`` and
        ``repeatability``; these are left out without tumour slices.
    """
    cases = read_cases(measured_bundles, count)
    figures: dict[str, Any] = {
        "bundles": len(measured_bundles),
        "slices": len(cases),
        "patients": len({case.record.group for case in cases}),
    }
    if not cases:
        return figures
    say(f"Comparing the maps of {len(cases)} tumour slices with outlines.")
    figures["agreement"] = measure_agreement(cases)
    say("Deleting and inserting what the maps mark.")
    figures["deletion"] = measure_deletion(cases)
    say("Shifting and turning slices.")
    figures["repeatability"] = measure_repeatability(cases)
    figures["randomisation"] = measure_randomisation(cases, say)
    return figures


def measure_agreement(cases: Sequence[Case]) -> dict[str, Any]:
    """Compare both maps, and the middle of the head, with outlines.

    Parameters
    ----------
    cases
        Those without an outline are left out.

    Returns
    -------
    dict
        ``slices`` with an outline; by map and for ``center``: ``peak_inside``
        (pointing game, Zhang et al. 2018) and ``dice`` at half of the peak.
        ``gain_over_center`` holds, by map, how much larger both are, slice by
        slice.
    """
    outlined = [case for case in cases if case.record.mask is not None]
    figures: dict[str, Any] = {"slices": len(outlined)}
    if not outlined:
        return figures
    values = np.array(
        [_compare(session, case) for session, case in with_network(outlined)]
    )
    patients = [case.record.group for case in outlined]

    for row, name in enumerate((*MAPS, "center")):
        figures[name] = {
            "peak_inside": share_figure(values[:, row, 0], patients),
            "dice": mean_figure(values[:, row, 1], patients),
        }
    figures["gain_over_center"] = {
        name: {
            key: mean_figure(values[:, row, place] - values[:, -1, place], patients)
            for place, key in enumerate(("peak_inside", "dice"))
        }
        for row, name in enumerate(MAPS)
    }
    return figures


def _compare(session: Session, case: Case) -> list[tuple[float, float]]:
    """Peak inside and Dice of both maps and of the middle."""
    assert case.record.mask is not None  # `measure_agreement`
    height, width = case.slice_.height, case.slice_.width
    inside = read_outline(case.record.mask, (height, width))
    drawn = draw_maps(run(session, case.pixels[None]), [case])
    heats = [to_picture(drawn[name][0], case.crop, height, width) for name in MAPS]
    heats.append(center_map(case.crop, height, width))
    return [pointing(heat, inside) for heat in heats]
