"""Tumour or none where several MR sequences of a slice are judged together.

Each sum of sequences is fitted on other hospitals than it is measured in.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.study import FEWEST_OF_A_SITE, MatchedSlices
from tumorlens.data.sequences import sequence_word
from tumorlens.evaluation.performance.figures import calibration_draws
from tumorlens.evaluation.scoring.scored_slices import Judgements, ScoredSlices
from tumorlens.imaging.study import MRSequence
from tumorlens.statistics.resampling import Resampling, figure

ALONE = MRSequence.T1_CONTRAST
"""The sequence that others are compared with: where there is one, it is this."""


def study_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Measure sequences together, slice by slice inside hospitals.

    Parameters
    ----------
    scored_slices
        Slices of one patient, hospital and number lie on one grid.

    Returns
    -------
    dict
        By sequences, such as ``T1 + FLAIR``, over all hospitals; then by hospital
        and sequences, such as ``CS T1 + FLAIR``. Each has the number of slices and
        patients, ``auroc_tumor``; ``auroc_gain``, by how much it is above that of T1
        with contrast alone on the same slices, in the same draws of patients; and
        ``calibration_error``. All are of the slices that are at hand in every
        sequence, so that they can be compared. Empty where there are too few.
    """
    slices = MatchedSlices.of(scored_slices.records, scored_slices.p_tumor)
    slices = slices.complete(slices.sequences)
    if not slices.can_be_fitted:
        return {}
    odds = {chosen: slices.odds_left_out(chosen) for chosen in slices.subsets()}
    found: dict[str, Any] = {}
    by_site: dict[str, dict[str, Any]] = defaultdict(dict)
    for chosen, values in odds.items():
        name = " + ".join(sequence_word(item) for item in chosen)
        alone = None if chosen == (ALONE,) else odds.get((ALONE,))
        found[name] = _figures(slices, values, alone)
        for site in sorted(set(slices.sites)):
            own = np.array([item == site for item in slices.sites], bool)
            part = slices.take(own)
            if len(set(part.patients)) >= FEWEST_OF_A_SITE:
                reference = None if alone is None else alone[own]
                figures = _figures(part, values[own], reference)
                by_site[site][f"{site} {name}"] = figures
    for site_figures in by_site.values():
        found |= site_figures
    return found


def _figures(
    slices: MatchedSlices,
    odds: NDArray[np.float64],
    alone: NDArray[np.float64] | None,
) -> dict[str, Any]:
    areas = slices.auroc_inside_sites(odds)
    found = {
        "auroc_tumor": figure(areas),
        "auroc_gain": None
        if alone is None
        else figure(areas - slices.auroc_inside_sites(alone)),
    }
    shares, draws = 1.0 / (1.0 + np.exp(-odds)), Resampling(slices.patients)
    judged = Judgements(
        slices.tumor.astype(np.int64),
        np.stack([1.0 - shares, shares], axis=1),
        slices.patients,
        {},
    )
    found["calibration_error"] = figure(calibration_draws(judged, draws))
    return {
        "slices": len(slices.tumor),
        "patients": draws.patients,
        **{key: value for key, value in found.items() if value is not None},
    }
