"""Counts, sums and bins of a site's labelled slices, merged by a server.

A merged share is that of the pooled slices, to rounding: a site sends its sums. So is
the calibration error, unless a site pours small bins together; an area under a curve
is that of the pooled slices in 2,000 bins. Intervals rest on sums of squares over
patients (ratio estimator, Cochran 1977, chapter 6) instead of draws of patients, which
would have to leave the site.

What is about fewer patients than `min_cell` is not sent: a class goes with all its
slices, so that no difference of two sums shows it, and of subgroups at least two go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance import BINS, point_rates, said, scores_of_maps
from tumorlens.evaluation.scored_slices import (
    Judgements,
    ScoredSlices,
    by_patient,
    by_slice,
)
from tumorlens.statistics import Figure, exact_margin, figure, without_bias
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, TumorClass

SCHEMA = "tumorlens-site-counts/1"

SCORE_BINS = 2000
"""Bins of a probability, evenly spaced in its log-odds from -14 to 14."""

_LOG_ODDS = 14.0
_Z = 1.959963984540054
_PARTS = ("accuracy", "tumor_sensitivity", "tumor_specificity", "peak_inside_outline")
_MAPS = ("evidence", "gradcam", "center")
_KINDS = len(CLASSES)
_DRAWS = 1000

Groups = Mapping[str, Sequence[str]]
"""By kind of subgroup, such as ``plane``, each slice's; empty for none."""


@dataclass(frozen=True)
class _Slices:
    """N slices, or patients, and whose each is; makes what is sent of them."""

    patients: NDArray[np.int64]
    min_cell: int

    @classmethod
    def of(cls, groups: Sequence[str], min_cell: int) -> _Slices:
        _, rows = np.unique(np.asarray(groups), return_inverse=True)
        return cls(rows.astype(np.int64), min_cell)

    def ratio(
        self, over: NDArray[Any], under: NDArray[Any], by_patient: bool = False
    ) -> list[float] | None:
        """Sum a ratio's sides over patients: P, x, n, xx, xn, nn; None if P is small.

        Parameters
        ----------
        over, under
            Shape (N,), finite.
        by_patient
            True for the mean of the patients' own ratios.
        """
        sums = [
            np.bincount(self.patients, side.astype(np.float64))
            for side in (over, under)
        ]
        there = sums[1] > 0
        if int(there.sum()) < self.min_cell:
            return None
        x, n = (np.asarray(side[there], np.float64) for side in sums)
        if by_patient:
            x, n = x / n, np.ones(len(n))
        return [
            float(value) for value in (len(n), x.sum(), n.sum(), x @ x, x @ n, n @ n)
        ]

    def share(self, hits: NDArray[Any], rows: NDArray[Any]) -> list[float] | None:
        """Sum how often `hits` is true among `rows`, both (N,)."""
        return self.ratio(np.where(rows, hits, 0), rows)

    def scores(
        self, scores: NDArray[np.float64], positive: NDArray[np.bool_]
    ) -> dict[str, Any] | None:
        """Bin what a ROC is drawn from; None where a kind has few patients."""
        finite = np.isfinite(scores)
        sides: dict[str, Any] = {}
        for name, rows in (("positive", positive), ("negative", ~positive)):
            rows = rows & finite
            people = len(np.unique(self.patients[rows]))
            if people < self.min_cell:
                return None
            counts = np.bincount(_score_bin(scores[rows]), minlength=SCORE_BINS)
            sides[name] = _sparse(_poured(counts[:, None], self.min_cell)[:, 0])
            sides[f"{name}_patients"] = people
        return sides

    def reliability(
        self, sure: NDArray[np.float64], right: NDArray[np.bool_]
    ) -> list[list[float]]:
        """Count slices, sum what was said and what was right, in bins: (BINS, 3)."""
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        table = np.stack(
            [
                np.bincount(bins, weights, BINS)
                for weights in (np.ones(len(sure)), sure, right.astype(np.float64))
            ],
            axis=1,
        )
        rows: list[list[float]] = _poured(table, self.min_cell).tolist()
        return rows


def _score_bin(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    inside = np.clip(scores, 1e-12, 1.0 - 1e-12)
    place = (np.log(inside / (1.0 - inside)) + _LOG_ODDS) / (2.0 * _LOG_ODDS)
    return np.clip((place * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)


def _poured(table: NDArray[Any], fewest: int) -> NDArray[np.float64]:
    """Pour each row whose count (first column) is small into the next that is there."""
    poured = np.zeros(table.shape, np.float64)
    carried, last = np.zeros(table.shape[1]), -1
    for row in np.flatnonzero(table[:, 0]):
        carried = carried + table[row]
        if carried[0] >= fewest:
            poured[row], last = carried, int(row)
            carried = np.zeros(table.shape[1])
    if carried[0] and last >= 0:
        poured[last] += carried
    return poured


def _sparse(counts: NDArray[np.float64]) -> dict[str, int]:
    return {str(row): int(counts[row]) for row in np.flatnonzero(counts)}


def site_counts(
    scored: ScoredSlices, groups: Groups, min_cell: int = 5
) -> dict[str, Any]:
    """Count what a site says of its slices.

    Parameters
    ----------
    scored
        The site's slices, each of one of the four classes.
    groups
        Kinds of subgroup to count too, N names each.
    min_cell
        Patients, and slices in a bin, below which nothing is sent.

    Returns
    -------
    dict
        Plain JSON (schema ``tumorlens-site-counts/1``).

    Raises
    ------
    DatasetError
        No class has as many patients as `min_cell`.
    """
    patients = {
        name: len({row.group for row in scored.records if row.label is name})
        for name in CLASSES
    }
    small = [name.value for name in CLASSES if 0 < patients[name] < min_cell]
    kept = np.array([row.label not in small for row in scored.records])
    if not kept.any():
        raise DatasetError(
            f"No class has {min_cell} patients or more: nothing can be sent.",
            "Wait for more patients, or lower the plan's --min-cell.",
        )
    everything = scored.take(kept)
    return {
        "schema": SCHEMA,
        "min_cell": min_cell,
        "withheld_classes": small,
        "all": _counts(everything, min_cell),
        "groups": {
            kind: _subgroups(
                everything,
                [name for name, keep in zip(names, kept, strict=True) if keep],
                min_cell,
            )
            for kind, names in groups.items()
        },
    }


def _subgroups(
    scored: ScoredSlices, names: Sequence[str], min_cell: int
) -> dict[str, Any]:
    people = Counter(
        name for name, _ in {*zip(names, scored.groups, strict=True)} if name
    )
    small = {name for name, count in people.items() if count < min_cell}
    kept = sorted(set(people) - small, key=lambda name: (people[name], name))
    # One alone could be worked out from the whole and the rest.
    if len(small) == 1 and kept:
        small.add(kept.pop(0))
    where = np.array(names)
    return {
        "parts": {
            name: _part(scored.take(where == name), min_cell) for name in sorted(kept)
        },
        "withheld": len(small),
    }


def _part(scored: ScoredSlices, min_cell: int) -> dict[str, Any]:
    slices = by_slice(scored)
    sums = _Slices.of(scored.groups, min_cell)
    (cleared, _, _), every = said(scored), np.ones(len(slices.labels))
    right = slices.predicted == slices.labels
    inside = np.isfinite(scored.peak_inside)
    return {
        "slices": len(slices.labels),
        "patients": len(set(scored.groups)),
        "ratios": {
            "accuracy": sums.share(right, every),
            "tumor_sensitivity": sums.share(~cleared, scored.tumor),
            "tumor_specificity": sums.share(cleared, ~scored.tumor),
            "peak_inside_outline": sums.share(scored.peak_inside == 1.0, inside),
        },
        "scores": sums.scores(scored.p_tumor, scored.tumor),
        "reliability": sums.reliability(slices.probabilities.max(axis=1), right),
    }


def _counts(scored: ScoredSlices, min_cell: int) -> dict[str, Any]:
    slices, patients = by_slice(scored), by_patient(scored)
    sums = _Slices.of(scored.groups, min_cell)
    people = _Slices.of(patients.groups, min_cell)
    cleared, unsure, refused = said(scored)
    every, tumor, labels = np.ones(len(cleared), bool), scored.tumor, scored.labels
    set_sizes = scored.sets.sum(axis=1)
    truth = np.eye(_KINDS)[labels]
    distance = ((scored.probabilities - truth) ** 2).sum(axis=1)
    ratios = {
        "set_size": sums.ratio(set_sizes, every),
        "set_of_one": sums.share(set_sizes == 1, every),
        "tumor_sensitivity": sums.share(~cleared, tumor),
        "tumor_specificity": sums.share(cleared, ~tumor),
        "inconclusive": sums.share(unsure, every),
        "refused_as_foreign": sums.share(refused, every),
        "brier": sums.ratio(distance, every),
    }
    for row, name in enumerate(CLASSES):
        covered, of_class = scored.sets[:, row] & (labels == row), labels == row
        ratios[f"coverage/{name}"] = sums.ratio(covered, of_class)
        ratios[f"coverage_by_patient/{name}"] = sums.ratio(covered, of_class, True)
    heads: dict[str, Any] = {}
    for head in ("slice_head", "evidence_head"):
        values = getattr(scored, head)
        finite = np.isfinite(values).all(axis=1)
        heads[head] = sums.scores(1.0 - values[:, NO_TUMOR_INDEX], tumor)
        ratios[f"{head}/accuracy"] = sums.share(values.argmax(axis=1) == labels, finite)
    for kind, (peak, dice) in scores_of_maps(scored).items():
        known = np.isfinite(peak)
        ratios[f"{kind}/peak_inside_outline"] = sums.share(peak == 1.0, known)
        known = np.isfinite(dice)
        ratios[f"{kind}/dice_at_half_height"] = sums.ratio(
            np.where(known, dice, 0.0), known
        )
    never = np.zeros(len(patients.labels), bool)
    ratios |= _point_sums("by_slice", slices, sums, refused)
    ratios |= _point_sums("by_patient", patients, people, never)
    return {
        "slices": len(labels),
        "patients": len(set(scored.groups)),
        "outlined_slices": int(np.isfinite(scored.peak_inside).sum()),
        "ratios": ratios,
        "decisions": _decision_counts(scored),
        "by_slice": _class_sums(slices, sums),
        "by_patient": _class_sums(patients, people),
        "heads": heads,
        "reliability": {
            "most_probable": sums.reliability(
                slices.probabilities.max(axis=1), slices.predicted == labels
            ),
            "tumor": sums.reliability(slices.p_tumor, tumor),
        },
    }


def _decision_counts(scored: ScoredSlices) -> dict[str, dict[str, int]]:
    """Count slices by true class, then by what was decided."""
    counts: dict[str, dict[str, int]] = {}
    for record, decision in zip(scored.records, scored.decisions, strict=True):
        row = counts.setdefault(str(record.label), {})
        row[str(decision)] = row.get(str(decision), 0) + 1
    return counts


def _point_sums(
    unit: str, judged: Judgements, sums: _Slices, refused: NDArray[np.bool_]
) -> dict[str, list[float] | None]:
    return {
        f"point/{unit}/{name}/{rate}": sums.share(*sides)
        for name, rates in point_rates(judged, refused).items()
        for rate, sides in rates.items()
    }


def _class_sums(judged: Judgements, sums: _Slices) -> dict[str, Any]:
    labels, predicted = judged.labels, judged.predicted
    right, every = labels == predicted, np.ones(len(labels), bool)
    ratios: dict[str, Any] = {"accuracy": sums.share(right, every)}
    scores: dict[str, Any] = {"tumor": sums.scores(judged.p_tumor, judged.tumor)}
    for row, name in enumerate(CLASSES):
        true, called = labels == row, predicted == row
        both = true.astype(np.int64) + called
        ratios[f"{name}/recall"] = sums.share(right, true)
        ratios[f"{name}/precision"] = sums.share(right, called)
        ratios[f"{name}/specificity"] = sums.share(~called, ~true)
        ratios[f"{name}/f1"] = sums.ratio(2 * (true & called), both)
        scores[name.value] = sums.scores(judged.probabilities[:, row], true)
    return {
        "count": len(labels),
        "confusion": np.bincount(labels * _KINDS + predicted, minlength=_KINDS**2)
        .reshape(_KINDS, _KINDS)
        .tolist(),
        "ratios": ratios,
        "scores": scores,
    }


# --- At the server ---


def merge_counts(sites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge what sites sent into the metrics that `tumorlens evaluate` writes.

    Parameters
    ----------
    sites
        What `site_counts` made, by the site's name; at least one.

    Returns
    -------
    dict
        Plain JSON: figures as `set_figures` of `evaluation` gives them, ``curves``
        without bands, ``subgroups`` with the sites of the federation under
        ``federated_site``, and ``withheld``: what each site did not send.

    Raises
    ------
    DatasetError
        A site sent something else, or by another version.
    """
    try:
        for name, counts in sites.items():
            if counts["schema"] != SCHEMA:
                raise ValueError(f"{name} sent {counts['schema']!r}")
        return _merged(sites)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DatasetError(
            f"A site's counts cannot be used: {error!r}.",
            "Run the same version of TumorLens at the server and at every site.",
        ) from error


def _merged(sites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    everything = _summed([counts["all"] for counts in sites.values()])
    ratios = everything["ratios"]
    classes = {
        unit: _class_figures(everything[unit]) for unit in ("by_slice", "by_patient")
    }
    figures: dict[str, Any] = {
        "slices": everything["slices"],
        "patients": everything["patients"],
        "accuracy": classes["by_slice"]["accuracy"],
        "accuracy_by_patient": classes["by_patient"]["accuracy"],
        "recall": {
            name: row["recall"] for name, row in classes["by_slice"]["classes"].items()
        },
        **{
            kind: {name: ratio_figure(ratios[f"{kind}/{name}"]) for name in CLASSES}
            for kind in ("coverage", "coverage_by_patient")
        },
        "set_size": ratio_figure(ratios["set_size"], share=False),
        "brier": ratio_figure(ratios["brier"], share=False),
        **{
            key: ratio_figure(ratios[key])
            for key in (
                *("set_of_one", "tumor_sensitivity", "tumor_specificity"),
                *("inconclusive", "refused_as_foreign"),
            )
        },
        "auroc_tumor": classes["by_slice"]["auroc_tumor"],
        "calibration_error": _calibration_figure(
            everything["reliability"]["most_probable"],
            everything["slices"] / everything["patients"],
        ),
        "confusion": classes["by_slice"]["confusion"],
        "decisions": everything.get("decisions") or {},
        "classes": classes,
        "heads": {
            head: {
                "accuracy": ratio_figure(ratios[f"{head}/accuracy"]),
                "auroc_tumor": _auroc_figure(everything["heads"][head]),
            }
            for head in everything["heads"]
        },
        "operating_points": _points(ratios, "by_slice"),
        "operating_points_by_patient": _points(ratios, "by_patient"),
        "within_sites": {},
        "curves": _curves(everything),
        "worst_errors": [],
    }
    if ratios.get("evidence/peak_inside_outline") is not None:
        maps = {
            name: {
                key: ratio_figure(ratios.get(f"{name}/{key}"))
                for key in ("peak_inside_outline", "dice_at_half_height")
            }
            for name in _MAPS
        }
        figures |= {
            **maps["evidence"],
            "outlined_slices": everything["outlined_slices"],
            "localisation": maps,
        }
    kinds = sorted({kind for counts in sites.values() for kind in counts["groups"]})
    subgroups = {
        kind: _merged_parts([counts["groups"].get(kind) for counts in sites.values()])
        for kind in kinds
    }
    subgroups["federated_site"] = {
        name: _part_figures(as_part(counts["all"])) for name, counts in sites.items()
    }
    by_source = subgroups.pop("source", {})
    return figures | {
        "by_source": by_source,
        "subgroups": {kind: parts for kind, parts in subgroups.items() if parts},
        "withheld": {
            name: {
                "min_cell": counts["min_cell"],
                "classes": counts["withheld_classes"],
                "subgroups": {
                    kind: group["withheld"]
                    for kind, group in counts["groups"].items()
                    if group["withheld"]
                },
            }
            for name, counts in sites.items()
        },
    }


def _summed(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - any part of a document
    """Add up documents of one shape; what no site sent is None."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    first = there[0]
    if isinstance(first, Mapping):
        keys = {key: None for part in there for key in part}
        return {key: _summed([part.get(key) for part in there]) for key in keys}
    if isinstance(first, list):
        return [_summed(list(row)) for row in zip(*there, strict=True)]
    return sum(there)


def as_part(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Take of all that a site counted what it counts of a subgroup."""
    ratios = counts["ratios"]
    return {
        "slices": counts["slices"],
        "patients": counts["patients"],
        "ratios": {
            "accuracy": counts["by_slice"]["ratios"]["accuracy"],
            "tumor_sensitivity": ratios["tumor_sensitivity"],
            "tumor_specificity": ratios["tumor_specificity"],
            "peak_inside_outline": ratios.get("evidence/peak_inside_outline"),
        },
        "scores": counts["by_slice"]["scores"]["tumor"],
        "reliability": counts["reliability"]["most_probable"],
    }


def _merged_parts(groups: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    there = [group["parts"] for group in groups if group is not None]
    names = sorted({name for parts in there for name in parts})
    return {
        name: _part_figures(_summed([parts.get(name) for parts in there]))
        for name in names
    }


def _part_figures(part: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "slices": part["slices"],
        "patients": part["patients"],
        **{key: ratio_figure(part["ratios"].get(key)) for key in _PARTS},
        "auroc_tumor": _auroc_figure(part["scores"]),
        "calibration_error": _calibration_figure(
            part["reliability"], part["slices"] / part["patients"]
        ),
    }
    return {key: value for key, value in figures.items() if value is not None}


def ratio_figure(sums: Sequence[float] | None, share: bool = True) -> Figure | None:
    """Turn P, x, n, xx, xn, nn into a figure with its interval over patients."""
    if sums is None or sums[2] <= 0.0:
        return None
    patients, x, n, xx, xn, nn = sums
    value = x / n
    if patients < 2:
        return {"value": value, "low": 0.0, "high": 1.0} if share else None
    squares = max(0.0, xx - 2.0 * value * xn + value**2 * nn)
    error = np.sqrt(squares * patients / (patients - 1.0)) / n
    low, high = value - _Z * error, value + _Z * error
    if share:
        if value in (0.0, 1.0):
            margin = exact_margin(int(patients))
            low, high = (0.0, margin) if value == 0.0 else (1.0 - margin, 1.0)
        low, high = max(0.0, low), min(1.0, high)
    return {"value": float(value), "low": float(low), "high": float(high)}


def _of_several(figures: Sequence[Figure | None]) -> Figure | None:
    """Mean of figures of different patients."""
    there = [item for item in figures if item is not None]
    if not there:
        return None
    value = float(np.mean([item["value"] for item in there]))
    halves = np.array([(item["high"] - item["low"]) / 2.0 for item in there])
    return _within(value, float(np.sqrt((halves**2).sum()) / len(there)))


def _within(value: float, half: float) -> Figure:
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high}


def _histograms(
    scores: Mapping[str, Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides = []
    for side in ("positive", "negative"):
        counts = np.zeros(SCORE_BINS)
        for row, count in scores[side].items():
            counts[int(row)] = count
        sides.append(counts)
    return sides[0], sides[1]


def _auroc_figure(scores: Mapping[str, Any] | None) -> Figure | None:
    """Area under the ROC of binned scores; its error after Hanley and McNeil (1982).

    Of so many patients, not slices: slices of one patient are nearly copies.
    """
    if scores is None:
        return None
    positive, negative = _histograms(scores)
    below = np.cumsum(negative) - 0.5 * negative
    area = float((positive * below).sum() / (positive.sum() * negative.sum()))
    ill, well = scores["positive_patients"], scores["negative_patients"]
    q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
    spread = (
        area * (1.0 - area)
        + (ill - 1.0) * (q1 - area**2)
        + (well - 1.0) * (q2 - area**2)
    ) / (ill * well)
    half = _Z * float(np.sqrt(max(0.0, spread)))
    return _within(area, half)


def _calibration_figure(
    bins: Sequence[Sequence[float]], slices_per_patient: float
) -> Figure | None:
    """Calibration error of bins; its draws are as wide as patients are few."""
    counts, sure, right = np.array(bins).T
    total = counts.sum()
    if not total:
        return None
    gap = right - sure
    rate = np.divide(right, counts, out=np.zeros_like(right), where=counts > 0)
    spread = np.sqrt(counts * rate * (1.0 - rate) * slices_per_patient)
    noise = np.random.default_rng(0).normal(size=(_DRAWS, len(counts)))
    draws = np.abs(np.vstack((gap, gap + noise * spread))).sum(axis=1) / total
    return figure(without_bias(draws))


def _class_figures(counts: Mapping[str, Any]) -> dict[str, Any]:
    ratios, scores = counts["ratios"], counts["scores"]
    matrix = np.array(counts["confusion"])
    classes: dict[TumorClass, dict[str, Any]] = {
        name: {
            "count": int(matrix[row].sum()),
            **{
                key: ratio_figure(ratios[f"{name}/{key}"])
                for key in ("recall", "precision", "specificity", "f1")
            },
            "auroc": _auroc_figure(scores[name.value]),
        }
        for row, name in enumerate(CLASSES)
    }
    there = [name for row, name in enumerate(CLASSES) if matrix[row].any()]
    for name in set(CLASSES) - set(there):
        classes[name]["f1"] = None
    return {
        "count": counts["count"],
        "confusion": matrix.tolist(),
        "accuracy": ratio_figure(ratios["accuracy"]),
        "balanced_accuracy": _of_several([classes[name]["recall"] for name in there]),
        "macro_f1": _of_several([classes[name]["f1"] for name in there]),
        "auroc_tumor": _auroc_figure(scores["tumor"]),
        "classes": classes,
    }


def _points(ratios: Mapping[str, Any], unit: str) -> dict[str, Any]:
    points: dict[str, Any] = {}
    for key, sums in ratios.items():
        if key.startswith(f"point/{unit}/"):
            _, _, name, rate = key.split("/")
            points.setdefault(name, {})[rate] = ratio_figure(sums)
    return points


def _curves(everything: Mapping[str, Any]) -> dict[str, Any]:
    ranked = {
        "tumor": everything["by_slice"]["scores"]["tumor"],
        "tumor_by_patient": everything["by_patient"]["scores"]["tumor"],
        **{
            name.value: everything["by_slice"]["scores"][name.value] for name in CLASSES
        },
    }
    curves: dict[str, Any] = {
        "roc": {},
        "precision_recall": {},
        "reliability": {
            name: {"bins": _reliability_bins(bins)}
            for name, bins in everything["reliability"].items()
        },
    }
    for name, scores in ranked.items():
        if scores is not None:
            curves["roc"][name], curves["precision_recall"][name] = _ranked(scores)
    return curves


def _ranked(scores: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    positive, negative = (side[::-1] for side in _histograms(scores))
    hits, alarms = np.cumsum(positive), np.cumsum(negative)
    recall, false = hits / hits[-1], alarms / alarms[-1]
    precision = np.divide(
        hits, hits + alarms, out=np.ones_like(hits), where=hits + alarms > 0
    )
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    x = np.linspace(0.0, 1.0, 101)
    roc = np.interp(x, np.r_[0.0, false], np.r_[0.0, recall])
    at_recall = precision[
        np.minimum(np.searchsorted(recall, x - 1e-9), len(recall) - 1)
    ]
    return _without_band(x, roc), {
        **_without_band(x, at_recall),
        "average_precision": {"value": average, "low": average, "high": average},
        "prevalence": float(hits[-1] / (hits[-1] + alarms[-1])),
    }


def _without_band(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, Any]:
    values = [float(value) for value in np.round(y, 5)]
    return {"x": x.round(4).tolist(), "y": values, "low": values, "high": values}


def _reliability_bins(bins: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    rows = []
    for number, (count, sure, right) in enumerate(bins):
        if count:
            share = right / count
            half = _Z * float(np.sqrt(share * (1.0 - share) / count))
            rows.append(
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "slices": int(count),
                    "sure": sure / count,
                    "right": {
                        "value": share,
                        "low": max(0.0, share - half),
                        "high": min(1.0, share + half),
                    },
                }
            )
    return rows
