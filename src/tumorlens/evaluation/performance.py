"""The figures of a scored set: how often it is right, found, sure, and inside.

Curves say what decisions would be worth. Subgroups are by plane, site, tumour size,
sharpness and kind of source: most published figures are of sources that hold tumours
alone, or none, where a network can tell the sources apart instead. Sources with both
are harder, and say more.

Two bundles on the same slices are compared: how far apart, and whether by chance.
Patients are what is independent, not slices, so whole patients are drawn for the
intervals and swapped for the tests. McNemar's test of slices would count a patient's
slices as so many patients, and find differences that are not there.

Each rule of the decision layer has its benefit, in errors held back, and its cost.
This is selective classification: a rule that holds slices back should hold back the
wrong ones (Chow 1970; El-Yaniv and Wiener 2010, JMLR 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tumorlens.calibration.operating_points import measured_shares, slice_groups
from tumorlens.data.manifest import Record, sequence_word
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scored_slices import (
    Judgements,
    ScoredSlices,
    by_patient,
    by_slice,
)
from tumorlens.inference.bundle.facts import Rules, disagreement, disagrees, lacks_brain
from tumorlens.inference.slice.decision import is_cleared
from tumorlens.statistics import (
    Draws,
    Figure,
    Resampling,
    Statistic,
    figure,
    ratio,
    without_bias,
)
from tumorlens.taxonomy import (
    Finding,
    TumorClass,
    Verdict,
    class_title,
    clear_places,
)

BINS = 15
"""Bins of the calibration error, as the asked figures are stated."""

_MIN_OF_EACH = 5
"""Slices of each kind that an AUROC inside one site needs to mean anything."""

PARTS = 6
"""Parts of a series within which slices count as lying alike."""


def set_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out every figure that needs nothing but what was said.

    Parameters
    ----------
    scored_slices
        At least one slice.

    Returns
    -------
    dict
        Plain JSON. A figure is ``{"value", "low", "high"}`` with its 95 %
        interval over patients, or None where there is nothing to measure it
        on. Sensitivity counts a tumour slice as missed when its decision is
        ``no_tumor``; specificity counts a tumour-free slice as right only
        then.
    """
    draws = Resampling(scored_slices.groups)
    slices, patients = by_slice(scored_slices), by_patient(scored_slices)
    labels, tumor = scored_slices.labels, scored_slices.tumor
    every = np.ones(len(labels), bool)
    classes = {
        "by_slice": class_figures(slices, draws),
        "by_patient": class_figures(patients, Resampling(patients.groups)),
    }
    cleared, unsure, refused = said(scored_slices)
    figures: dict[str, Any] = {
        "slices": len(labels),
        "patients": draws.patients,
        "accuracy": classes["by_slice"]["accuracy"],
        "accuracy_by_patient": classes["by_patient"]["accuracy"],
        "recall": _column(classes["by_slice"], "recall"),
        "coverage": {
            name: draws.share(scored_slices.sets[:, row], labels == row)
            for row, name in enumerate(scored_slices.classes)
        },
        "coverage_by_patient": {
            name: draws.share_by_patient(scored_slices.sets[:, row], labels == row)
            for row, name in enumerate(scored_slices.classes)
        },
        "set_size": draws.average(scored_slices.sets.sum(axis=1), every),
        "set_of_one": draws.share(scored_slices.sets.sum(axis=1) == 1, every),
        "tumor_sensitivity": draws.share(~cleared, tumor),
        "tumor_specificity": draws.share(cleared, ~tumor),
        "inconclusive": draws.share(unsure, every),
        "refused_as_foreign": draws.share(refused, every),
        "auroc_tumor": classes["by_slice"]["auroc_tumor"],
        "calibration_error": figure(calibration_draws(slices, draws)),
        "brier": figure(brier_draws(slices, draws)),
        "confusion": classes["by_slice"]["confusion"],
        "classes": classes,
        "heads": _heads(scored_slices, draws),
        "operating_points": _operating_points(slices, draws, refused),
        "operating_points_by_patient": _operating_points(
            patients, Resampling(patients.groups), np.zeros(len(patients.labels), bool)
        ),
        "by_source": by_part(
            scored_slices, [item.source for item in scored_slices.records]
        ),
        "within_sites": within_sites(scored_slices),
    }
    return figures | _localisation(scored_slices, draws)


def _column(figures: Mapping[str, Any], key: str) -> dict[str, Figure | None]:
    return {name: row[key] for name, row in figures["classes"].items()}


def said(
    scored_slices: ScoredSlices,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which slices were cleared, given no class, and refused: (N,) each."""
    groups = (
        (TumorClass.NO_TUMOR,),
        (Verdict.TUMOR, Verdict.UNCERTAIN),
        (Verdict.NOT_BRAIN_MRI,),
    )
    cleared, unsure, refused = (
        np.array([item in group for item in scored_slices.decisions], bool)
        for group in groups
    )
    return cleared, unsure, refused


def calibration_draws(judgements: Judgements, draws: Resampling) -> Draws:
    """Measure the calibration error of the most probable class, in every draw.

    Equal-width bins (Naeini et al. 2015; Guo et al. 2017), as in
    `tumorlens.statistics.calibration_error`; the draws are those of
    `without_bias`.
    """
    sure = judgements.probabilities.max(axis=1)
    gap = (judgements.predicted == judgements.labels) - sure
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    inside = bins[:, np.newaxis] == np.arange(BINS)
    error = np.abs(draws.sums(inside * gap[:, np.newaxis])).sum(axis=1)
    return without_bias(np.asarray(error / draws.sums(np.ones(len(gap)))))


def brier_draws(judgements: Judgements, draws: Resampling) -> Draws:
    """Squared distance of probabilities from the truth (Brier 1950), 0 to 2."""
    truth = np.eye(len(judgements.classes))[judgements.labels]
    distance = ((judgements.probabilities - truth) ** 2).sum(axis=1)
    return draws.mean(distance, np.ones(len(distance), bool))


def _heads(scored_slices: ScoredSlices, draws: Resampling) -> dict[str, Any]:
    """Measure each head by itself, before calibration joins them."""
    heads, clear = {}, clear_places(scored_slices.classes)
    for name, values in (
        ("slice_head", scored_slices.slice_head),
        ("evidence_head", scored_slices.evidence_head),
    ):
        is_finite = np.asarray(np.isfinite(values).all(axis=1))
        right = np.asarray(values.argmax(axis=1) == scored_slices.labels)
        auroc = draws.auroc(1.0 - values[:, clear].sum(axis=1), scored_slices.tumor)
        heads[name] = {
            "accuracy": draws.share(right, is_finite),
            "auroc_tumor": figure(auroc),
        }
    return heads


def _operating_points(
    judgements: Judgements, draws: Resampling, refused: NDArray[np.bool_]
) -> dict[str, Any]:
    return {
        name: {rate: draws.share(*sides) for rate, sides in rates.items()}
        for name, rates in point_rates(judgements, refused).items()
    }


def point_rates(
    judgements: Judgements, refused: NDArray[np.bool_]
) -> dict[str, dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]]:
    """Say what the rates at every operating point count, and among which rows.

    A tumour is missed where `is_cleared` says so. A refused slice is neither missed nor
    cleared: nobody is told that it is free of tumour.

    Parameters
    ----------
    judgements
        N slices, or patients.
    refused
        Shape (N,).

    Returns
    -------
    dict
        Hits and rows by point, then by rate; shape (N,) each.
    """
    tumor = judgements.tumor
    points = {}
    for name, thresholds in judgements.thresholds.items():
        if not np.isfinite(thresholds).all():
            continue
        cleared = is_cleared(judgements.p_tumor, thresholds) & ~refused
        called = ~cleared & ~refused
        points[name] = {
            "sensitivity": (~cleared, tumor),
            "specificity": (cleared, ~tumor),
            "positive_predictive_value": (tumor, called),
            "negative_predictive_value": (~tumor, cleared),
        }
    return points


def operating_costs(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Say what every operating point finds and costs, group by group of slices.

    Parameters
    ----------
    scored_slices
        The set.

    Returns
    -------
    dict
        By operating point, the shares of `measured_shares` as plain JSON. A refused
        slice is not called free of tumour.
    """
    records, (_, _, refused) = scored_slices.records, said(scored_slices)
    groups = slice_groups(records, scored_slices.outline_shares)
    tells_sequences = any(item is not None for item in scored_slices.sequences)
    words = [sequence_word(row.sequence) if tells_sequences else "" for row in records]
    costs = {}
    for name, thresholds in by_slice(scored_slices).thresholds.items():
        measured = measured_shares(
            is_cleared(scored_slices.p_tumor, thresholds) & ~refused,
            [row.group for row in records],
            words,
            groups,
        )
        costs[name] = {
            word: {group: asdict(share) for group, share in shares.items()}
            for word, shares in measured.items()
        }
    return costs


def by_part(
    scored_slices: ScoredSlices, parts: list[str], of: list[str] | None = None
) -> dict[str, Any]:
    """Give the main figures of each part of a set.

    Parameters
    ----------
    scored_slices
        The set.
    parts
        N names; slices with an empty one are left out.
    of
        The parts to show and their order; by default all, sorted.

    Returns
    -------
    dict
        ``slices``, ``patients`` and the figures that can be had, by part.
    """
    names = np.array(parts)
    figures = {}
    for part in of or sorted(set(parts) - {""}):
        if (names == part).any():
            figures[part] = _part(scored_slices.take(names == part))
    return figures


def _part(scored_slices: ScoredSlices) -> dict[str, Any]:
    draws, judgements = Resampling(scored_slices.groups), by_slice(scored_slices)
    tumor, every = scored_slices.tumor, np.ones(len(scored_slices.records), bool)
    cleared, _, _ = said(scored_slices)
    right = judgements.predicted == judgements.labels
    figures: dict[str, Any] = {
        "slices": len(every),
        "patients": draws.patients,
        "accuracy": draws.share(right, every),
        "tumor_sensitivity": draws.share(~cleared, tumor),
        "tumor_specificity": draws.share(cleared, ~tumor),
        "peak_inside_outline": _inside(scored_slices.peak_inside, draws),
    }
    # Of a single patient these would have no interval to speak of.
    if draws.patients > 1:
        figures |= {
            "auroc_tumor": figure(draws.auroc(scored_slices.p_tumor, tumor)),
            "calibration_error": figure(calibration_draws(judgements, draws)),
            "dice_at_half_height": _where_known(scored_slices.dice, draws),
        }
    return {key: value for key, value in figures.items() if value is not None}


def within_sites(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Tell tumour from none where both come from one source, or one site.

    Between sets a network can tell the sets apart instead; inside a site it
    cannot. Only places with at least five slices of each kind, and more than one
    patient, count. Where slices are numbered, ``auroc_tumor_position`` is what
    their position alone tells, and ``auroc_tumor_like_position`` what is told
    between slices that lie alike.
    """
    places_with_both: dict[str, Any] = {}
    for kind, names in (
        ("source", [item.source for item in scored_slices.records]),
        ("site", [item.site for item in scored_slices.records]),
    ):
        for name in sorted(set(names) - {""}):
            part = scored_slices.take(np.array(names) == name)
            tumor = part.tumor
            if min(tumor.sum(), (~tumor).sum()) < _MIN_OF_EACH:
                continue
            draws = Resampling(part.groups)
            if draws.patients == 1:
                continue
            places = slice_positions(part.records)
            alike = like_position_auroc(part.p_tumor, tumor, places, draws)
            places_with_both[f"{kind} {name}"] = {
                "slices": len(tumor),
                "patients": draws.patients,
                "tumor_slices": int(tumor.sum()),
                "auroc_tumor": figure(draws.auroc(part.p_tumor, tumor)),
                "auroc_tumor_like_position": figure(alike),
                "auroc_tumor_position": figure(middle_auroc(places, tumor, draws)),
            }
    return places_with_both


def _localisation(scored_slices: ScoredSlices, draws: Resampling) -> dict[str, Any]:
    """Peak and Dice against the outlines: evidence, Grad-CAM and the baseline."""
    if not np.isfinite(scored_slices.peak_inside).any():
        return {}
    localisation = {
        name: {
            "peak_inside_outline": _inside(peak, draws),
            "dice_at_half_height": _where_known(dice, draws),
        }
        for name, (peak, dice) in scores_of_maps(scored_slices).items()
    }
    return {
        **localisation["evidence"],
        "outlined_slices": int(np.isfinite(scored_slices.peak_inside).sum()),
        "localisation": localisation,
    }


def scores_of_maps(
    scored_slices: ScoredSlices,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """List by map whether its peak lies inside the outline, and its Dice: (N,) each."""
    return {
        "evidence": (scored_slices.peak_inside, scored_slices.dice),
        "gradcam": (scored_slices.gradcam_peak_inside, scored_slices.gradcam_dice),
        "center": (scored_slices.center_peak_inside, scored_slices.center_dice),
    }


def _where_known(values: NDArray[np.float64], draws: Resampling) -> Figure | None:
    is_finite = np.isfinite(values)
    return draws.average(np.where(is_finite, values, 0.0), is_finite)


def _inside(peaks: NDArray[np.float64], draws: Resampling) -> Figure | None:
    return draws.share(np.asarray(peaks == 1.0), np.isfinite(peaks))


def class_figures(judgements: Judgements, draws: Resampling) -> dict[str, Any]:
    """Measure the most probable class against the truth.

    Parameters
    ----------
    judgements
        Slices, or patients.
    draws
        Draws of `judgements.groups`.

    Returns
    -------
    dict
        Plain JSON: ``count``, ``confusion`` (rows true, columns said),
        ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` over the classes
        there are, ``auroc_tumor``, and ``classes``: by class, ``count``,
        ``recall``, ``precision``, ``specificity``, ``f1`` and ``auroc`` (one
        against the rest).
    """
    kinds = len(judgements.classes)
    pairs = judgements.labels * kinds + judgements.predicted
    cells = draws.sums(pairs[:, np.newaxis] == np.arange(kinds**2))
    matrix = cells.reshape(-1, kinds, kinds)
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    there, predicted_counts = matrix.sum(axis=2), matrix.sum(axis=1)
    total = there.sum(axis=1)
    recall = ratio(hits, there)
    precision = ratio(hits, predicted_counts)
    specificity = ratio(
        total[:, None] - there - predicted_counts + hits, total[:, None] - there
    )
    f1 = ratio(2.0 * hits, there + predicted_counts)
    f1[:, there[0] == 0] = np.nan
    has_slices = there[0] > 0
    return {
        "count": len(judgements.labels),
        "confusion": matrix[0].astype(int).tolist(),
        "accuracy": figure(ratio(hits.sum(axis=1), total), draws.patients),
        "balanced_accuracy": figure(_mean_of_known(recall[:, has_slices])),
        "macro_f1": figure(_mean_of_known(f1[:, has_slices])),
        "auroc_tumor": figure(draws.auroc(judgements.p_tumor, judgements.tumor)),
        "classes": {
            name: {
                "count": int(there[0, row]),
                "recall": figure(recall[:, row], draws.count(judgements.labels == row)),
                "precision": figure(
                    precision[:, row], draws.count(judgements.predicted == row)
                ),
                "specificity": figure(
                    specificity[:, row], draws.count(judgements.labels != row)
                ),
                "f1": figure(f1[:, row]),
                "auroc": figure(
                    draws.auroc(
                        judgements.probabilities[:, row], judgements.labels == row
                    )
                ),
            }
            for row, name in enumerate(judgements.classes)
        },
    }


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes; a class that a draw lacks is left out of it."""
    there = np.isfinite(values)
    return ratio(np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1))


def slice_positions(records: Sequence[Record]) -> NDArray[np.float64]:
    """Say how high each slice lies among its patient's.

    Parameters
    ----------
    records
        N of them. Their column ``slice`` numbers a patient's slices from the
        feet upwards.

    Returns
    -------
    ndarray
        Shape (N,): 0 for a patient's lowest slice here, 1 for the highest; NaN
        where no number is given, or there is one alone.
    """
    numbers = np.full(len(records), np.nan)
    for row, record in enumerate(records):
        if record.extra.get("slice", "").isdecimal():
            numbers[row] = int(record.extra["slice"])
    positions = np.full(len(records), np.nan)
    groups = np.array([f"{row.group}\t{row.plane}" for row in records])
    for group in np.unique(groups[np.isfinite(numbers)]):
        rows = np.flatnonzero((groups == group) & np.isfinite(numbers))
        low, high = numbers[rows].min(), numbers[rows].max()
        if high > low:
            positions[rows] = (numbers[rows] - low) / (high - low)
    return positions


def middle_auroc(
    positions: NDArray[np.float64], tumor: NDArray[np.bool_], draws: Resampling
) -> Draws:
    """AUROC of guessing a tumour by how near a slice lies to its series' middle."""
    return draws.auroc(-np.abs(positions - 0.5), tumor)


def like_position_auroc(
    scores: NDArray[np.float64],
    tumor: NDArray[np.bool_],
    positions: NDArray[np.float64],
    draws: Resampling,
) -> Draws:
    """AUROC between slices of the same sixth of their series alone.

    Adjusted for a covariate (Janes and Pepe 2009, Biometrika 96:371, equation
    for discrete covariates): each sixth weighs as many tumour slices as lie in it.

    Parameters
    ----------
    scores, tumor, positions
        Shape (N,); positions from `slice_positions`.
    draws
        Draws of the N slices' patients.
    """
    parts = np.minimum(positions * PARTS, PARTS - 1)
    over, under = np.zeros(1), np.zeros(1)
    for part in range(PARTS):
        rows = np.floor(parts) == part
        area = draws.auroc(np.where(rows, scores, np.nan), tumor)
        weight = draws.sums(tumor & rows)[: len(area)]
        is_finite = np.isfinite(area)
        over = over + np.where(is_finite, area * weight, 0.0)
        under = under + np.where(is_finite, weight, 0.0)
    return ratio(over, under)


FALSE_ALARMS = np.r_[np.linspace(0.0, 0.1, 41)[:-1], np.linspace(0.1, 1.0, 60)].round(4)
"""False alarm rates of the ROC: 100, denser below 0.1, where a useful test works."""

RECALLS = (1.0 - FALSE_ALARMS[::-1]).round(4)
"""Recalls at which precision is given, denser above 0.9."""

THRESHOLDS = np.round(np.linspace(0.01, 0.95, 95), 2)
Curve = dict[str, list[float]]


def curve_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out every curve.

    Parameters
    ----------
    scored_slices
        At least one slice; curves that need tumours and tumour-free slices
        are left out where one kind is missing.

    Returns
    -------
    dict
        Plain JSON: ``roc`` and ``precision_recall`` by what is told from the
        rest (``tumor``, ``tumor_by_patient`` and each class), ``reliability``
        of the most probable class and of tumour, ``decision`` curves. Bands
        (``low``, ``high``) are 95 % intervals over patients at each point.
    """
    slices, patients = by_slice(scored_slices), by_patient(scored_slices)
    draws, patient_draws = Resampling(slices.groups), Resampling(patients.groups)
    ranked: dict[str, tuple[Resampling, NDArray[np.float64], NDArray[np.bool_]]] = {
        "tumor": (draws, slices.p_tumor, slices.tumor),
        "tumor_by_patient": (patient_draws, patients.p_tumor, patients.tumor),
    }
    for row, name in enumerate(slices.classes):
        of_class = np.asarray(slices.labels == row)
        ranked[name.value] = (draws, slices.probabilities[:, row], of_class)
    ranked = {
        name: item
        for name, item in ranked.items()
        if item[2].any() and not item[2].all()
    }
    right = np.asarray(slices.predicted == slices.labels)
    curves: dict[str, Any] = {
        "roc": {name: _ranked(*item)[0] for name, item in ranked.items()},
        "precision_recall": {name: _ranked(*item)[1] for name, item in ranked.items()},
        "reliability": {
            "most_probable": _reliability(
                slices.probabilities.max(axis=1), right, draws
            ),
            "tumor": _reliability(slices.p_tumor, slices.tumor, draws),
        },
    }
    if "tumor" in ranked:
        curves["decision"] = _decision(slices, draws)
    return curves


def _ranked(
    draws: Resampling, scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """ROC and precision over recall, at a hundred points, in all draws."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    weights = draws.slice_weights()[:, order]
    hits = np.cumsum(weights * positive[order], axis=1)[:, ends]
    alarms = np.cumsum(weights * ~positive[order], axis=1)[:, ends]
    recall, false = ratio(hits, hits[:, -1:]), ratio(alarms, alarms[:, -1:])
    precision = ratio(hits, hits + alarms)
    # A draw may lack a kind; it says nothing on either curve.
    usable = np.isfinite(recall[:, 0]) & np.isfinite(false[:, 0])
    recall, false, precision = recall[usable], false[usable], precision[usable]
    precision = np.nan_to_num(precision, nan=1.0)
    roc = [
        np.interp(FALSE_ALARMS, np.r_[0.0, x], np.r_[0.0, y])
        for x, y in zip(false, recall, strict=True)
    ]
    # The precision at a recall is that of the first threshold which reaches it.
    steps = [np.searchsorted(row, RECALLS - 1e-9) for row in recall]
    curve = [row[step] for row, step in zip(precision, steps, strict=True)]
    average = (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)
    return _banded(FALSE_ALARMS, np.array(roc)), {
        **_banded(RECALLS, np.array(curve)),
        "average_precision": figure(average),
        "prevalence": float(positive.mean()),
    }


def _banded(x: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, Any]:
    rest = draws[1:] if len(draws) > 1 else draws
    low, high = np.percentile(rest, (2.5, 97.5), axis=0)
    return {"x": x.tolist(), "y": _short(draws[0])} | {
        "low": _short(low),
        "high": _short(high),
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.round(values, 5)]


def _reliability(
    sure: NDArray[np.float64], right: NDArray[np.bool_], draws: Resampling
) -> dict[str, Any]:
    """Measure the share of right answers by confidence, in bins of equal width."""
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        inside = np.asarray(bins == number)
        if inside.any():
            rows.append(
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "slices": int(inside.sum()),
                    "sure": float(sure[inside].mean()),
                    "right": draws.share(right, inside),
                }
            )
    return {"bins": rows}


def _decision(judgements: Judgements, draws: Resampling) -> dict[str, Any]:
    """Net benefit of acting on a probability of tumour (Vickers and Elkin 2006).

    Tumours found less false alarms, each weighed by the odds of the threshold,
    as a share of all slices.
    """
    called = judgements.p_tumor[:, np.newaxis] >= THRESHOLDS
    tumor = judgements.tumor[:, np.newaxis]
    odds = THRESHOLDS / (1.0 - THRESHOLDS)
    count = draws.sums(np.ones(len(tumor)))[:, np.newaxis]
    tumors_called = draws.sums(called & tumor) / count
    false = draws.sums(called & ~tumor) / count
    benefit = tumors_called - false * odds
    share = float(judgements.tumor.mean())
    low, high = np.percentile(benefit[1:], (2.5, 97.5), axis=0)
    return {
        "x": THRESHOLDS.tolist(),
        "y": _short(benefit[0]),
        "low": _short(low),
        "high": _short(high),
        "all": _short(share - (1.0 - share) * odds),
        "prevalence": share,
    }


_FEWEST = 3
"""Slices of which thirds can be made."""

ONE_KIND = "tumours alone, or none"

BOTH_KINDS = "both"

_KEPT = (
    "slices",
    "patients",
    "accuracy",
    "accuracy_by_patient",
    "recall",
    "tumor_sensitivity",
    "tumor_specificity",
    "inconclusive",
    "refused_as_foreign",
    "auroc_tumor",
    "calibration_error",
    "operating_points",
)


def subgroup_figures(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out the main figures of every subgroup.

    Parameters
    ----------
    scored_slices
        The set.

    Returns
    -------
    dict
        Plain JSON by kind of subgroup, then by its name, as `by_part` gives
        them. Thirds are those of this set, with their bounds in the name. The
        sources stand under ``by_source`` of the metrics.
    """
    records = scored_slices.records
    tumors = np.where(scored_slices.tumor, scored_slices.sharpness, np.nan)
    subgroups = {
        "plane": by_part(scored_slices, [item.plane for item in records]),
        "site": by_part(scored_slices, [item.site for item in records]),
        "tumor_size": _thirds(
            scored_slices, scored_slices.outline_shares, "smallest", "largest"
        ),
        "sharpness": _thirds(
            scored_slices, scored_slices.sharpness, "blurred", "sharp"
        ),
        "sharpness_of_tumors": _thirds(scored_slices, tumors, "blurred", "sharp"),
    }
    return {kind: parts for kind, parts in subgroups.items() if len(parts) > 1}


def _thirds(
    scored_slices: ScoredSlices, values: NDArray[np.float64], first: str, last: str
) -> dict[str, Any]:
    is_finite = np.isfinite(values)
    if is_finite.sum() < _FEWEST:
        return {}
    low, high = np.percentile(values[is_finite], (100 / 3, 200 / 3))
    names = (
        f"{first} third (up to {low:.3g})",
        f"middle third ({low:.3g} to {high:.3g})",
        f"{last} third (from {high:.3g})",
    )
    places = np.digitize(values, (low, high))
    parts = [
        names[place] if there else ""
        for place, there in zip(places, is_finite, strict=True)
    ]
    return by_part(scored_slices, parts, list(names))


def source_kinds(scored_slices: ScoredSlices) -> dict[str, Any]:
    """Work out the main figures by what a slice's source holds.

    Parameters
    ----------
    scored_slices
        The set.

    Returns
    -------
    dict
        Plain JSON: by `ONE_KIND` and `BOTH_KINDS` the ``sources`` and their figures
        as `set_figures` gives them. Empty where all sources are of one kind.
    """
    sources = np.array([item.source for item in scored_slices.records])
    ill, well = set(sources[scored_slices.tumor]), set(sources[~scored_slices.tumor])
    paired = np.isin(sources, sorted(ill & well))
    if paired.all() or not paired.any():
        return {}
    by_kind = {}
    for name, rows in ((ONE_KIND, ~paired), (BOTH_KINDS, paired)):
        figures = set_figures(scored_slices.take(rows))
        by_kind[name] = {
            "sources": sorted(set(sources[rows])),
            **{key: figures[key] for key in _KEPT},
        }
    return by_kind


SWAPS = 999
"""Random swaps of a permutation test; p is at least 1 / (SWAPS + 1)."""

_SEED = 21


@dataclass(frozen=True)
class _Answers:
    """Compared answers of one bundle for N slices and U units.

    A unit is a patient's slices of one class.
    """

    judgements: Judgements
    cleared: NDArray[np.bool_]
    peaks: NDArray[np.float64]
    dice: NDArray[np.float64]
    units: NDArray[np.int64]

    @classmethod
    def of(cls, scored_slices: ScoredSlices) -> Self:
        keys = [f"{item.label}\t{item.group}" for item in scored_slices.records]
        return cls(
            by_slice(scored_slices),
            np.array([item is TumorClass.NO_TUMOR for item in scored_slices.decisions]),
            scored_slices.peak_inside,
            scored_slices.dice,
            np.unique(keys, return_inverse=True)[1],
        )

    def swapped(self, other: Self, rows: NDArray[np.bool_]) -> Self:
        """Take the other's answers in some rows (N,)."""
        sure, others = self.judgements.probabilities, other.judgements.probabilities
        return replace(
            self,
            judgements=replace(
                self.judgements, probabilities=np.where(rows[:, None], others, sure)
            ),
            cleared=np.where(rows, other.cleared, self.cleared),
            peaks=np.where(rows, other.peaks, self.peaks),
            dice=np.where(rows, other.dice, self.dice),
        )

    @property
    def patients(self) -> NDArray[np.int64]:
        """Number of each slice's patient, from 0, shape (N,)."""
        numbers = np.unique(np.asarray(self.judgements.groups), return_inverse=True)
        return np.asarray(numbers[1], np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.judgements.predicted == self.judgements.labels)

    @property
    def right_units(self) -> NDArray[np.bool_]:
        """Units that the mean of the probabilities gets right, shape (U,)."""
        sums = np.stack(
            [
                np.bincount(self.units, column)
                for column in self.judgements.probabilities.T
            ],
            axis=1,
        )
        labels = np.zeros(len(sums), np.int64)
        labels[self.units] = self.judgements.labels
        return np.asarray(sums.argmax(axis=1) == labels)


def compare(first: ScoredSlices, second: ScoredSlices) -> dict[str, Any]:
    """Compare two bundles on the slices that both have judged.

    Parameters
    ----------
    first, second
        Scored on the same manifest, of the same classes; slices are matched by their
        files.

    Returns
    -------
    dict
        Plain JSON: ``slices``, ``patients``; ``figures``, by name: ``first``,
        ``second``, ``difference`` (first less second; its interval is of
        paired draws of patients), and ``p``, two-sided, of a permutation test
        that swaps the bundles' answers patient by patient (Pitman 1937, J R
        Stat Soc Suppl; Ernst 2004, Stat Sci, on random samples of swaps);
        ``mcnemar``: patients whom one judges better than the other, and the
        exact p of it (McNemar 1947, Psychometrika, with one row a patient).

    Raises
    ------
    DatasetError
        They share no slice.
    """
    first, second = _matched(first, second)
    draws = Resampling(first.groups)
    one, two = _Answers.of(first), _Answers.of(second)
    statistics = _statistics(first.classes)
    p_values = _permuted(one, two, draws, statistics)
    compared = {}
    for name, statistic in statistics.items():
        mine, theirs = (statistic.measure(item, draws) for item in (one, two))
        if np.isfinite(mine[0]) and np.isfinite(theirs[0]):
            compared[name] = {
                "first": statistic.figure(mine, one, draws),
                "second": statistic.figure(theirs, two, draws),
                "difference": figure(mine - theirs),
                "p": p_values[name],
            }
    return {
        "slices": len(first.records),
        "patients": draws.patients,
        "figures": compared,
        "mcnemar": _mcnemar(one, two),
    }


def _matched(
    first: ScoredSlices, second: ScoredSlices
) -> tuple[ScoredSlices, ScoredSlices]:
    places = {record.path: row for row, record in enumerate(second.records)}
    pairs = [
        (row, places[record.path])
        for row, record in enumerate(first.records)
        if record.path in places
    ]
    if not pairs:
        raise DatasetError(
            "The two bundles have judged no slice in common.",
            "Score both on the same manifest.",
        )
    rows = np.array(pairs)
    return first.take(rows[:, 0]), second.take(rows[:, 1])


def _permuted(
    first: _Answers,
    second: _Answers,
    draws: Resampling,
    statistics: Mapping[str, Statistic[_Answers]],
) -> dict[str, float]:
    """Give by statistic the share of random swaps that set the two as far apart."""
    rng = np.random.default_rng(_SEED)
    patients = first.patients
    whole = draws.without_draws()

    def apart(swap: NDArray[np.bool_]) -> NDArray[np.float64]:
        one, two = first.swapped(second, swap), second.swapped(first, swap)
        return np.array(
            [
                float(item.measure(one, whole)[0] - item.measure(two, whole)[0])
                for item in statistics.values()
            ]
        )

    observed = np.abs(apart(np.zeros(len(patients), bool)))
    as_far = np.ones(len(observed))
    for drawn in rng.random((SWAPS, draws.patients)) < 0.5:
        # Rounding must not make a swap of equal answers look nearer.
        as_far += np.abs(apart(drawn[patients])) >= observed - 1e-12
    return dict(zip(statistics, (as_far / (1 + SWAPS)).tolist(), strict=True))


def _mcnemar(first: _Answers, second: _Answers) -> dict[str, Any]:
    # Somebody with slices of two classes has two units, and still is one patient.
    patients = np.zeros(len(first.right_units), np.int64)
    patients[first.units] = first.patients
    gain = first.right_units.astype(np.float64) - second.right_units
    gains = np.bincount(patients, gain)
    only_first, only_second = int((gains > 0).sum()), int((gains < 0).sum())
    either = only_first + only_second
    p = float(binomtest(only_first, either).pvalue) if either else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": p}


def _accuracy_by_patient(answers: _Answers, draws: Resampling) -> Draws:
    # Every slice stands for its part of the unit, so that a unit counts as one.
    part = 1.0 / np.bincount(answers.units)[answers.units]
    right = answers.right_units[answers.units]
    return ratio(draws.sums(np.where(right, part, 0.0)), draws.sums(part))


def _recall(row: int) -> Statistic[_Answers]:
    def of_class(answers: _Answers) -> NDArray[np.bool_]:
        return np.asarray(answers.judgements.labels == row)

    return Statistic(
        lambda answers, draws: draws.mean(answers.right, of_class(answers)), of_class
    )


def _all(answers: _Answers) -> NDArray[np.bool_]:
    return np.ones(len(answers.right), bool)


def _mean_where_known(values: NDArray[np.float64], draws: Resampling) -> Draws:
    is_finite = np.isfinite(values)
    return draws.mean(np.where(is_finite, values, 0.0), is_finite)


def _statistics(classes: Sequence[Finding]) -> dict[str, Statistic[_Answers]]:
    """Give the figures that are compared, by their names on the page.

    Parameters
    ----------
    classes
        The bundles': the four, or a user's own.
    """
    return {
        f"{len(classes)}-class accuracy, by slice": Statistic(
            lambda answers, draws: draws.mean(answers.right, _all(answers)), _all
        ),
        f"{len(classes)}-class accuracy, by patient": Statistic(
            _accuracy_by_patient, _all
        ),
        **{
            f"Recall, {class_title(name).lower()}": _recall(row)
            for row, name in enumerate(classes)
        },
        **_OTHER_STATISTICS,
    }


_OTHER_STATISTICS: dict[str, Statistic[_Answers]] = {
    "Tumour sensitivity": Statistic(
        lambda answers, draws: draws.mean(~answers.cleared, answers.judgements.tumor),
        lambda answers: answers.judgements.tumor,
    ),
    "Tumour specificity": Statistic(
        lambda answers, draws: draws.mean(answers.cleared, ~answers.judgements.tumor),
        lambda answers: ~answers.judgements.tumor,
    ),
    "AUROC, tumour or none": Statistic(
        lambda answers, draws: draws.auroc(
            answers.judgements.p_tumor, answers.judgements.tumor
        )
    ),
    "Calibration error (ECE, 15 bins)": Statistic(
        lambda answers, draws: calibration_draws(answers.judgements, draws),
        more_is_better=False,
    ),
    "Brier score": Statistic(
        lambda answers, draws: brier_draws(answers.judgements, draws),
        more_is_better=False,
    ),
    "Evidence peak inside the outline": Statistic(
        lambda answers, draws: _mean_where_known(answers.peaks, draws),
        lambda answers: np.isfinite(answers.peaks),
    ),
    "Evidence Dice at half height": Statistic(
        lambda answers, draws: _mean_where_known(answers.dice, draws)
    ),
}


NO_RULES = Rules()
_MOST_HELD = 0.3

_CURVE_POINTS = 30


def measure_rules(
    scored_slices: ScoredSlices, rules: Rules | Sequence[Rules] = NO_RULES
) -> dict[str, Any]:
    """Hold slices back by each rule alone and by all together.

    Without any rule a slice is called free of tumour below the screening
    threshold, and by its likeliest tumour from there on. Refusal as OOD
    is measured on all slices; the other rules on those that were not refused,
    since nobody asks them about the rest.

    Parameters
    ----------
    scored_slices
        Slices scored by one bundle, or pooled over folds.
    rules
        Rules of the bundle; for pooled folds one for each slice.

    Returns
    -------
    dict
        Plain JSON. ``slices`` and ``patients``; ``without`` any rule the
        ``error``, ``sensitivity`` and ``specificity``; for every one of
        ``rules``, and for ``all``: shares ``held``, ``errors_caught`` (of all
        errors), ``right_lost`` (of all right decisions), ``wrong_among_held``,
        ``error_after`` among the decided, ``sensitivity_change`` and
        ``specificity_change``; for a rule also what it ``adds`` to the others.
        ``refusal`` and ``refusal_and_all`` hold the same shares of all slices.
        ``curves``: error among the decided over the share held back.
    """
    given = (
        [rules] * len(scored_slices.records)
        if isinstance(rules, Rules)
        else list(rules)
    )
    asked = np.array(
        [item is not Verdict.NOT_BRAIN_MRI for item in scored_slices.decisions], bool
    )
    of_all = _Measured(scored_slices)
    scored_slices = scored_slices.take(asked)
    if not len(scored_slices.records):
        return {"slices": 0, "patients": 0}
    given = [item for item, kept in zip(given, asked, strict=True) if kept]
    measured = _Measured(scored_slices)
    held = _held(scored_slices, given)
    every = np.any(list(held.values()), axis=0)
    decided = asked.copy()
    decided[asked] = ~every
    rule_figures = {name: measured.rule(rows) for name, rows in held.items()}
    for name in held:
        others = np.any([held[other] for other in held if other != name], axis=0)
        rule_figures[name]["adds"] = measured.shares(every & ~others)
    return {
        "slices": len(scored_slices.records),
        "patients": measured.resampling.patients,
        "without": measured.without(),
        "rules": rule_figures,
        "all": measured.rule(every),
        "refusal": of_all.rule(~asked),
        "refusal_and_all": of_all.rule(~decided),
        "levels": _levels(given),
        "curves": hold_back_curves(scored_slices, measured.right),
    }


class _Measured:
    """The decisions without any rule, and figures of those that are held back."""

    def __init__(self, scored_slices: ScoredSlices) -> None:
        self.resampling = Resampling(scored_slices.groups)
        self.tumor = scored_slices.tumor
        self.cleared = is_cleared(scored_slices.p_tumor, scored_slices.thresholds)
        self.right = _forced(scored_slices) == scored_slices.labels
        self._every = np.ones(len(self.right), bool)

    def without(self) -> dict[str, Any]:
        return {
            "error": self.resampling.share(~self.right, self._every),
            "sensitivity": self.resampling.share(~self.cleared, self.tumor),
            "specificity": self.resampling.share(self.cleared, ~self.tumor),
        }

    def shares(self, held: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "held": self.resampling.share(held, self._every),
            "errors_caught": self.resampling.share(held, ~self.right),
            "right_lost": self.resampling.share(held, self.right),
        }

    def rule(self, held: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            **self.shares(held),
            "wrong_among_held": self.resampling.share(~self.right, held),
            "error_after": self.resampling.share(~self.right, ~held),
            # A tumour that is held back is not missed; a healthy slice that is
            # held back is not cleared.
            "sensitivity_change": self._mean(self.cleared & held, self.tumor, 1.0),
            "specificity_change": self._mean(self.cleared & held, ~self.tumor, -1.0),
        }

    def _mean(
        self, hits: NDArray[np.bool_], rows: NDArray[np.bool_], sign: float
    ) -> dict[str, float] | None:
        return figure(sign * self.resampling.mean(hits, rows))


def _forced(scored_slices: ScoredSlices) -> NDArray[np.int64]:
    """Name a class for every slice."""
    is_clear = np.zeros(scored_slices.probabilities.shape[1], bool)
    is_clear[clear_places(scored_slices.classes)] = True
    tumors, others = (
        np.where(kept, scored_slices.probabilities, -1.0)
        for kept in (~is_clear, is_clear)
    )
    return np.where(
        is_cleared(scored_slices.p_tumor, scored_slices.thresholds),
        others.argmax(axis=1),
        tumors.argmax(axis=1),
    )


def _held(
    scored_slices: ScoredSlices, rules: Sequence[Rules]
) -> dict[str, NDArray[np.bool_]]:
    suspected = ~is_cleared(scored_slices.p_tumor, scored_slices.thresholds)
    names = scored_slices.classes
    clear = clear_places(names)
    likeliest_none = np.isin(scored_slices.probabilities.argmax(axis=1), clear)
    in_set = np.delete(scored_slices.sets, clear, axis=1).sum(axis=1)
    disagreements = disagreement(
        scored_slices.slice_head, scored_slices.evidence_head, names
    )
    heads, brain = np.zeros((2, len(rules)), bool)
    for one in set(rules):
        rows = np.array([item == one for item in rules])
        heads |= rows & disagrees(one, disagreements)
        brain |= rows & lacks_brain(one, scored_slices.brain_shares)
    return {
        "weak_sign": suspected & likeliest_none,
        "several_tumors": suspected & ~likeliest_none & (in_set > 1),
        "heads_disagree": heads,
        "little_brain": brain,
    }


def _levels(rules: Sequence[Rules]) -> dict[str, list[float]]:
    """Thresholds in use: one, several of pooled folds, or none."""
    levels = {
        "heads_disagree": {item.head_disagreement for item in rules},
        "little_brain": {item.min_brain_share for item in rules},
    }
    return {
        name: sorted(level for level in in_use if level is not None)
        for name, in_use in levels.items()
    }


def hold_back_curves(
    scored_slices: ScoredSlices, right: NDArray[np.bool_]
) -> dict[str, dict[str, list[float]]]:
    """Hold back more and more slices, by what each rule looks at.

    Parameters
    ----------
    scored_slices
        N slices.
    right
        Shape (N,): whose decision is right.

    Returns
    -------
    dict
        The share ``held`` back, by what is looked at, and the ``error`` among
        the others.
    """
    apart = disagreement(
        scored_slices.slice_head, scored_slices.evidence_head, scored_slices.classes
    )
    orders = {
        "probability": (scored_slices.probabilities.max(axis=1), len(right)),
        "heads_disagree": (-apart, int((apart > 0.0).sum())),
        "little_brain": (scored_slices.brain_shares, len(right)),
    }
    curves = {}
    for name, (values, most) in orders.items():
        errors = np.cumsum(~right[np.argsort(values, kind="stable")])
        last = min(most, int(_MOST_HELD * len(right)))
        steps = np.unique(np.linspace(0, last, _CURVE_POINTS).astype(int))
        caught = np.where(steps > 0, errors[np.maximum(steps, 1) - 1], 0)
        left = (errors[-1] - caught) / (len(right) - steps)
        curves[name] = {
            "held": (steps / len(right)).tolist(),
            "error": left.tolist(),
        }
    return curves
