"""Whether maps agree with radiologists' outlines, better than a guess would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import Bundle
from tumorlens.engine.session import Session
from tumorlens.imaging.preprocess import to_picture
from tumorlens.learn.evaluation.cases import MAPS, Case, draw_maps, run
from tumorlens.learn.evaluation.intervals import Figure
from tumorlens.learn.evaluation.localise import center_map, pointing, read_outline
from tumorlens.learn.evaluation.resampling import mean_figure


def measure_agreement(bundle: Bundle, cases: Sequence[Case]) -> dict[str, Any]:
    """Compare both maps, and the middle of the head, with outlines.

    Parameters
    ----------
    bundle
        With its network.
    cases
        Those without an outline are passed over.

    Returns
    -------
    dict
        ``slices`` with an outline; by map and for ``center``: ``peak_inside``
        (pointing game, Zhang et al. 2018) and ``dice`` at half of the peak.
        ``gain_over_center`` holds, by map, how much larger both are, slice by
        slice.
    """
    session = Session(bundle)
    outlined = [(case, mask) for case in cases if (mask := case.record.mask)]
    figures: dict[str, Any] = {"slices": len(outlined)}
    if not outlined:
        return figures
    values = np.array([_compare(session, *pair) for pair in outlined])
    patients = [case.record.group for case, _ in outlined]

    def sum_up(part: NDArray[np.float64]) -> dict[str, Figure | None]:
        return {
            "peak_inside": mean_figure(part[:, 0], patients),
            "dice": mean_figure(part[:, 1], patients),
        }

    for row, name in enumerate((*MAPS, "center")):
        figures[name] = sum_up(values[:, row])
    figures["gain_over_center"] = {
        name: sum_up(values[:, row] - values[:, -1]) for row, name in enumerate(MAPS)
    }
    return figures


def _compare(session: Session, case: Case, mask: Path) -> list[tuple[float, float]]:
    """Peak inside and Dice of both maps and of the middle."""
    height, width = case.slice_.height, case.slice_.width
    inside = read_outline(mask, (height, width))
    drawn = draw_maps(run(session, case.pixels[None]), [case])
    heats = [to_picture(drawn[name][0], case.crop, height, width) for name in MAPS]
    heats.append(center_map(case.crop, height, width))
    return [pointing(heat, inside) for heat in heats]
