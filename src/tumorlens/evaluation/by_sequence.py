"""Performance by MR sequence, and on lesions that are none of the classes.

Every figure is of slices of one set in one sequence, so that no set's scanner stands
for a sequence, and has its interval over patients. Where several sequences of a slice
are judged together, each sum of them is fitted on other hospitals than it is measured
in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.study import FEWEST_OF_A_SITE, MatchedSlices
from tumorlens.data.manifest import EITHER, Record, sequence_word
from tumorlens.evaluation.performance import calibration_draws
from tumorlens.evaluation.scored_slices import (
    Judgements,
    ScoredSlices,
    by_slice,
)
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.slice.decision import named_probabilities
from tumorlens.statistics import Figure, Resampling, figure
from tumorlens.taxonomy import (
    CLASSES,
    DECIDED,
    NO_TUMOR_INDEX,
    TUMOR_CLASSES,
    Lesion,
    TumorClass,
    Verdict,
)

UNKNOWN = "?"
"""The sequence of slices of which nobody knows it."""
FEWEST_OF_EACH = 5
"""Slices with a tumour, and without, that an area under the curve needs."""
_NAMELESS = ("", "like", "dicom")


def sequence_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out every figure by set and sequence.

    Parameters
    ----------
    scored_slices
        Slices with a label or another lesion.

    Returns
    -------
    dict
        ``sequences``: by set and sequence. ``sites``: tumour or none inside each
        hospital, by sequence, and where slices lie on one grid by several
        sequences together. ``kinds``: what other lesions are called, by their kind.
        ``studies``: sequences weighed together, see `study_figures`. What cannot be
        measured is left out.
    """
    sets = [_set_of(row) for row in scored_slices.records]
    words = [sequence_word(row.sequence) or UNKNOWN for row in scored_slices.records]
    both = [f"{name} {word}" for name, word in zip(sets, words, strict=True)]
    sites = [
        f"{name} {row.site} {word}" if row.site else ""
        for name, word, row in zip(sets, words, scored_slices.records, strict=True)
    ]
    kinds = [
        f"{row.kind} {word}" if row.lesion and row.kind else ""
        for row, word in zip(scored_slices.records, words, strict=True)
    ]
    return {
        "sequences": {key: _figures(part) for key, part in _parts(scored_slices, both)},
        "sites": {
            **{key: _tumor_or_none(part) for key, part in _parts(scored_slices, sites)},
            **together(scored_slices),
        },
        "kinds": {
            key: _lesion_figures(part) for key, part in _parts(scored_slices, kinds)
        },
        "studies": study_figures(scored_slices),
    }


def together(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Measure tumour or none where several sequences of a slice are added up.

    The log-odds of a tumour are summed over the sequences of one slice.

    Parameters
    ----------
    scored_slices
        Slices of one patient and number lie on one grid; others are left out.

    Returns
    -------
    dict
        Figures by set, site and sequences, such as ``lgg CS FLAIR + T1C``.
    """
    places_of_slices: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for place, row in enumerate(scored_slices.records):
        if row.sequence is not None and row.site and row.extra.get("slice"):
            key = (_set_of(row) + f" {row.site}", row.patient, row.extra["slice"])
            places_of_slices[key][sequence_word(row.sequence)] = place
    odds = _log_odds(scored_slices.p_tumor)
    figures = {}
    words = sorted({word for places in places_of_slices.values() for word in places})
    for count in range(2, len(words) + 1):
        for chosen in combinations(words, count):
            for site in sorted({key[0] for key in places_of_slices}):
                slices = [
                    [places[word] for word in chosen]
                    for key, places in places_of_slices.items()
                    if key[0] == site and set(chosen) <= set(places)
                ]
                if slices:
                    sums = np.array([odds[rows].sum() for rows in slices])
                    first = scored_slices.take(np.array([rows[0] for rows in slices]))
                    name = f"{site} {' + '.join(chosen)}"
                    figures[name] = _tumor_or_none(first, sums)
    return figures


def _parts(
    scored_slices: ScoredSlices, names: Sequence[str]
) -> Iterable[tuple[str, ScoredSlices]]:
    keys = np.array(names)
    for name in sorted(set(names) - {""}):
        yield name, scored_slices.take(keys == name)


def _set_of(record: Record) -> str:
    """Name the set of a picture; its patients' names begin with it."""
    name, colon, _ = record.patient.partition(":")
    return record.source if not colon or name in _NAMELESS else name


def _figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    draws = Resampling(scored_slices.groups)
    shown, clear, tumor = _truth(scored_slices)
    labelled = scored_slices.take(
        np.array([row.label is not None for row in scored_slices.records])
    )
    right = scored_slices.probabilities.argmax(axis=1) == shown
    decided = np.array(
        [item is TumorClass.NO_TUMOR for item in scored_slices.decisions], bool
    )
    outlined = np.isfinite(scored_slices.peak_inside)
    has_sequence = np.array(
        [row.sequence is not None for row in scored_slices.records], bool
    )
    figures: dict[str, Any] = {
        "accuracy": draws.share(right, shown >= 0),
        **{
            f"recall_{name}": draws.share(right, shown == row)
            for row, name in enumerate(CLASSES)
        },
        "sensitivity": draws.share(~decided, tumor),
        "cleared": draws.share(decided, clear),
        "likeliest_clear": draws.share(right, clear),
        "refused": draws.share(_refused(scored_slices), np.ones(len(clear), bool)),
        "peak_inside": draws.share(scored_slices.peak_inside == 1.0, outlined),
        "dice": draws.average(np.where(outlined, scored_slices.dice, 0.0), outlined),
    }
    has_estimate = np.array(
        [item is not None for item in scored_slices.sequences], bool
    )
    same = np.array(
        [
            estimate is row.sequence
            for estimate, row in zip(
                scored_slices.sequences, scored_slices.records, strict=True
            )
        ],
        bool,
    )
    figures["sequence_right"] = draws.share(same, has_sequence & has_estimate)
    if len(labelled.records) and len(set(labelled.groups)) > 1:
        figures["calibration_error"] = figure(
            calibration_draws(by_slice(labelled), Resampling(labelled.groups))
        )
    return {
        **_tumor_or_none(scored_slices),
        **_without_none(figures),
        **_lesion_figures(scored_slices),
    }


def _tumor_or_none(
    scored_slices: ScoredSlices, scores: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Area under the curve, strokes left out: they are neither."""
    _, clear, tumor = _truth(scored_slices)
    draws = Resampling(scored_slices.groups)
    figures: dict[str, Any] = {"slices": len(clear), "patients": draws.patients}
    if min(clear.sum(), tumor.sum()) < FEWEST_OF_EACH or draws.patients < 2:
        return figures
    values = scored_slices.p_tumor if scores is None else scores
    kept = np.where(clear | tumor, values, np.nan)
    return figures | _without_none({"auroc_tumor": figure(draws.auroc(kept, tumor))})


def _lesion_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Say what other kinds of tumours, and strokes, are called."""
    draws = Resampling(scored_slices.groups)
    named = named_probabilities(
        scored_slices.probabilities, scored_slices.lesions[:, 0]
    )
    likeliest = [DECIDED[row] for row in named.argmax(axis=1)]
    kind = np.array([item in TUMOR_CLASSES for item in likeliest], bool)
    tumor = kind | np.array([item is Lesion.OTHER for item in likeliest], bool)
    decided = np.array(
        [item in TUMOR_CLASSES for item in scored_slices.decisions], bool
    )
    found_tumor = decided | np.array(
        [item is Lesion.OTHER for item in scored_slices.decisions], bool
    )
    cleared = np.array(
        [item is TumorClass.NO_TUMOR for item in scored_slices.decisions], bool
    )
    lesions = np.array([row.lesion for row in scored_slices.records])
    other, vascular = lesions == Lesion.OTHER, lesions == Lesion.VASCULAR
    figures = {
        "other_called_kind": draws.share(kind, other),
        "other_called_clear": draws.share(~tumor, other),
        "other_decided_kind": draws.share(decided, other),
        "other_cleared": draws.share(cleared, other),
        "vascular_called_kind": draws.share(tumor, vascular),
        "vascular_decided_kind": draws.share(found_tumor, vascular),
        "undrawn_called_kind": draws.share(tumor, lesions == EITHER),
    }
    count = {"slices": len(lesions), "patients": draws.patients}
    return count | _without_none(figures)


def _truth(
    scored_slices: ScoredSlices,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Give the class (-1 for none of the four), and who is clear or has a tumour."""
    shown = np.array(
        [
            -1 if row.label is None else CLASSES.index(row.label)
            for row in scored_slices.records
        ],
        np.int64,
    )
    other = np.array(
        [row.lesion == Lesion.OTHER for row in scored_slices.records], bool
    )
    clear = shown == NO_TUMOR_INDEX
    return shown, clear, ((shown >= 0) & ~clear) | other


def _refused(scored_slices: ScoredSlices) -> NDArray[np.bool_]:
    return np.array(
        [item is Verdict.NOT_BRAIN_MRI for item in scored_slices.decisions], bool
    )


def _log_odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.clip(shares, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(held / (1.0 - held)))


def _without_none(figures: Mapping[str, Figure | None]) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if value is not None}


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
    figures_by_name: dict[str, Any] = {}
    by_site: dict[str, dict[str, Any]] = defaultdict(dict)
    for chosen, values in odds.items():
        name = " + ".join(sequence_word(item) for item in chosen)
        alone = None if chosen == (ALONE,) else odds.get((ALONE,))
        figures_by_name[name] = _matched_figures(slices, values, alone)
        for site in sorted(set(slices.sites)):
            own = np.array([item == site for item in slices.sites], bool)
            part = slices.take(own)
            if len(set(part.patients)) >= FEWEST_OF_A_SITE:
                reference = None if alone is None else alone[own]
                figures = _matched_figures(part, values[own], reference)
                by_site[site][f"{site} {name}"] = figures
    for site_figures in by_site.values():
        figures_by_name |= site_figures
    return figures_by_name


def _matched_figures(
    slices: MatchedSlices,
    odds: NDArray[np.float64],
    alone: NDArray[np.float64] | None,
) -> dict[str, Any]:
    areas = slices.auroc_inside_sites(odds)
    figures = {
        "auroc_tumor": figure(areas),
        "auroc_gain": None
        if alone is None
        else figure(areas - slices.auroc_inside_sites(alone)),
    }
    shares, draws = 1.0 / (1.0 + np.exp(-odds)), Resampling(slices.patients)
    judgements = Judgements(
        slices.tumor.astype(np.int64),
        np.stack([1.0 - shares, shares], axis=1),
        slices.patients,
        {},
    )
    figures["calibration_error"] = figure(calibration_draws(judgements, draws))
    return {
        "slices": len(slices.tumor),
        "patients": draws.patients,
        **{key: value for key, value in figures.items() if value is not None},
    }
