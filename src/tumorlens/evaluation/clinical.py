"""Gain from clinical columns over the image alone, on held-out patients.

Four judges are set side by side on the same held-out patients: the image as the
bundle serves it; the image fitted to these patients with all the freedom of the
clinical model but its columns; the columns alone; and image and columns. The gain is
that of the last over the second, which differ by the columns alone: the first may lose
by another mix of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.clinical import ClinicalData, cross_fit
from tumorlens.evaluation.performance import brier_draws, calibration_draws
from tumorlens.evaluation.scored_slices import Judgements, averaged
from tumorlens.inference.slice.decision import is_cleared
from tumorlens.statistics import Draws, Resampling, Statistic, auroc, figure
from tumorlens.taxonomy import ClassName, info_of

PERMUTATIONS = 99
LOG_LOSS = "Log loss"
"""The figure that the answer rests on; named beforehand, so that none is picked."""

ACCURACY = "4-class accuracy"
CALIBRATION = "Calibration error (ECE, 15 bins)"
_SEED = 23
_SAY_EVERY = 20
_LEVELS: dict[str, Callable[[Judgements], Judgements]] = {
    "by_patient": averaged,
    "by_slice": lambda judgements: judgements,
}

LEAKING = 0.97
"""AUROC of a column by itself, from which on it may be the diagnosis in disguise."""


def _log_loss(judgements: Judgements, draws: Resampling) -> Draws:
    likely = judgements.probabilities[
        np.arange(len(judgements.labels)), judgements.labels
    ]
    return draws.mean(-np.log(np.maximum(likely, 1e-12)), _all(judgements))


def _accuracy(judgements: Judgements, draws: Resampling) -> Draws:
    return draws.mean(judgements.predicted == judgements.labels, _all(judgements))


def _auroc_of_classes(judgements: Judgements, draws: Resampling) -> Draws:
    """Mean over the classes that there are, each against the rest of them."""
    kinds = np.unique(judgements.labels)
    share = judgements.probabilities[:, kinds].sum(axis=1)
    areas = [
        draws.auroc(
            judgements.probabilities[:, row] / np.maximum(share, 1e-12),
            judgements.labels == row,
        )
        for row in kinds
    ]
    return np.asarray(np.mean(areas, axis=0))


def _auroc_of_tumor(judgements: Judgements, draws: Resampling) -> Draws:
    return draws.auroc(judgements.p_tumor, judgements.tumor)


def _sensitivity(judgements: Judgements, draws: Resampling) -> Draws:
    cleared = is_cleared(judgements.p_tumor, judgements.thresholds["point"])
    return draws.mean(~cleared, judgements.tumor)


def _specificity(judgements: Judgements, draws: Resampling) -> Draws:
    cleared = is_cleared(judgements.p_tumor, judgements.thresholds["point"])
    return draws.mean(cleared, ~judgements.tumor)


def _all(judgements: Judgements) -> NDArray[np.bool_]:
    return np.ones(len(judgements.labels), bool)


STATISTICS: dict[str, Statistic[Judgements]] = {
    LOG_LOSS: Statistic(_log_loss, more_is_better=False),
    "AUROC, mean of the classes": Statistic(_auroc_of_classes),
    "AUROC, tumour or none": Statistic(_auroc_of_tumor),
    ACCURACY: Statistic(_accuracy, _all),
    CALIBRATION: Statistic(calibration_draws, more_is_better=False),
    "Brier score": Statistic(brier_draws, more_is_better=False),
    "Sensitivity at the operating point": Statistic(
        _sensitivity, lambda judgements: judgements.tumor
    ),
    "Specificity at the operating point": Statistic(
        _specificity, lambda judgements: ~judgements.tumor
    ),
}
"""The figures by their names on the page."""


@dataclass(frozen=True)
class ClinicalJudges:
    """The same N held-out slices by four judges; each of shape (N, C), C classes."""

    served: NDArray[np.float64]
    image: NDArray[np.float64]
    columns: NDArray[np.float64]
    fused: NDArray[np.float64]

    @classmethod
    def of(cls, data: ClinicalData) -> ClinicalJudges:
        """Judge every fold by models fitted on the others."""
        return cls(
            data.probabilities,
            cross_fit(data.without_columns()),
            cross_fit(data.without_image()),
            cross_fit(data),
        )


def measure_clinical(
    data: ClinicalData,
    judges: ClinicalJudges,
    threshold: float,
    permutations: int = PERMUTATIONS,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure what the columns add.

    Parameters
    ----------
    data
        Data that the judges were fitted on.
    judges
        Result of `ClinicalJudges.of`.
    threshold
        Probability of tumour, 0 to 1, of the bundle's operating point.
    permutations
        How often the columns are dealt anew among the patients, and all is
        fitted again, to see what columns do that say nothing.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        Plain JSON: ``by_patient`` (the mean probability over a patient's
        slices of one class) and ``by_slice``, each by figure: ``served``,
        ``image``, ``columns``, ``fused`` and ``difference`` (fused less image, its
        interval of paired draws of patients), ``null`` (the difference's middle 95 % of
        the permutations) and ``p``, one-sided: the share of permutations that
        help as much, the columns as they are counted among them (Phipson and
        Smyth 2010, Stat Appl Genet Mol Biol). ``null`` and ``p`` are None
        without permutations.
    """
    null = _null(data, judges.image, threshold, permutations, say)
    figures: dict[str, Any] = {"permutations": permutations}
    for level, join in _LEVELS.items():
        image, fused = (
            join(_judgements(data, values, threshold))
            for values in (judges.image, judges.fused)
        )
        beside = {
            name: join(_judgements(data, values, threshold))
            for name, values in (("served", judges.served), ("columns", judges.columns))
        }
        draws = Resampling(image.groups)
        figures[level] = {}
        for name, statistic in STATISTICS.items():
            alone, both = (statistic.measure(item, draws) for item in (image, fused))
            if not (np.isfinite(alone[0]) and np.isfinite(both[0])):
                continue
            figures[level][_title(name, data)] = {
                **{
                    judge: statistic.figure(
                        statistic.measure(judgements, draws), judgements, draws
                    )
                    for judge, judgements in beside.items()
                },
                "image": statistic.figure(alone, image, draws),
                "fused": statistic.figure(both, fused, draws),
                "difference": figure(both - alone),
                **_beside(
                    null[level, name],
                    float(both[0] - alone[0]),
                    statistic.more_is_better,
                ),
            }
    return figures


def _title(name: str, data: ClinicalData) -> str:
    """Name a figure by how many classes there are."""
    return name.replace("4-class", f"{len(data.names)}-class")


def _judgements(
    data: ClinicalData, probabilities: NDArray[np.float64], threshold: float
) -> Judgements:
    groups = [str(number) for number in data.patients]
    points = {"point": np.full(len(groups), threshold)}
    return Judgements(data.labels, probabilities, groups, points, data.names)


def _null(
    data: ClinicalData,
    image: NDArray[np.float64],
    threshold: float,
    permutations: int,
    say: Callable[[str], None],
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Differences by level and figure, where the columns are another patient's."""
    rng = np.random.default_rng(_SEED)
    alone = {
        level: join(_judgements(data, image, threshold))
        for level, join in _LEVELS.items()
    }
    whole = {
        level: Resampling(judgements.groups).without_draws()
        for level, judgements in alone.items()
    }
    rows: dict[tuple[str, str], list[float]] = {
        (level, name): [] for level in _LEVELS for name in STATISTICS
    }
    for number in range(permutations):
        if number and number % _SAY_EVERY == 0:
            say(f"{number} of {permutations} permutations of the columns.")
        fused = cross_fit(permute_columns(data, rng))
        for level, join in _LEVELS.items():
            both = join(_judgements(data, fused, threshold))
            for name, statistic in STATISTICS.items():
                before = statistic.measure(alone[level], whole[level])
                gain = statistic.measure(both, whole[level]) - before
                rows[level, name].append(float(gain[0]))
    return {key: np.array(values) for key, values in rows.items()}


def permute_columns(data: ClinicalData, rng: np.random.Generator) -> ClinicalData:
    """Give each patient the columns of another, drawn at random."""
    count = int(data.patients.max()) + 1
    members = [np.flatnonzero(data.patients == number) for number in range(count)]
    features = np.empty_like(data.features)
    for own, other in zip(members, rng.permutation(count), strict=True):
        features[own] = data.features[np.resize(members[other], len(own))]
    return replace(data, features=features)


def _beside(
    null: NDArray[np.float64], gain: float, more_is_better: bool
) -> dict[str, Any]:
    finite = null[np.isfinite(null)]
    if not finite.size:
        return {"null": None, "p": None}
    low, high = (float(edge) for edge in np.percentile(finite, (2.5, 97.5)))
    # Rounding must not make an equal gain look smaller.
    as_good = finite >= gain - 1e-12 if more_is_better else finite <= gain + 1e-12
    p = float((1 + as_good.sum()) / (1 + len(finite)))
    return {"null": {"low": low, "high": high}, "p": p}


def measure_subgroups(
    data: ClinicalData,
    judges: ClinicalJudges,
    kinds: Mapping[str, Sequence[str]],
    fewest: int,
) -> dict[str, Any]:
    """Measure the judges within groups of patients, for example by sex.

    Parameters
    ----------
    data, judges
        The same as for `measure_clinical`.
    kinds
        N names by kind of group, empty where a slice is in none.
    fewest
        Patients that a group needs to be shown; smaller ones are left out, as
        even their name could point to somebody.

    Returns
    -------
    dict
        Plain JSON by kind, then by group: ``patients`` and by figure
        ``image``, ``fused`` and ``difference``, of slices.
    """
    subgroups: dict[str, Any] = {}
    for kind, names in kinds.items():
        parts: dict[str, Any] = {}
        for part in sorted(set(names) - {""}):
            rows = np.array([name == part for name in names])
            part_data = data.take(rows)
            patients = len(np.unique(part_data.patients))
            if patients < fewest:
                continue
            parts[part] = {"patients": patients}
            image = _judgements(part_data, judges.image[rows], 0.0)
            fused = _judgements(part_data, judges.fused[rows], 0.0)
            draws = Resampling(image.groups)
            for name in (LOG_LOSS, ACCURACY, CALIBRATION):
                statistic = STATISTICS[name]
                alone, both = (
                    statistic.measure(item, draws) for item in (image, fused)
                )
                parts[part][_title(name, data)] = {
                    "image": statistic.figure(alone, image, draws),
                    "fused": statistic.figure(both, fused, draws),
                    "difference": figure(both - alone),
                }
        if parts:
            subgroups[kind] = parts
    return subgroups


def leak_warnings(
    data: ClinicalData, columns: Mapping[str, slice]
) -> dict[str, tuple[ClassName, float]]:
    """Find columns that tell a class nearly for certain without any image.

    Parameters
    ----------
    data
        Their image side does not count.
    columns
        Features that belong to each column, by its name.

    Returns
    -------
    dict
        The class that each column tells best from the rest, and the AUROC of
        that on held-out patients, where it is at least `LEAKING`.
    """
    blind = replace(
        data,
        probabilities=np.full_like(data.probabilities, 1.0 / len(data.names)),
    )
    # One row for each patient and class; a patient's columns are the same in all.
    keys = data.patients * len(data.names) + data.labels
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    blind = blind.take(first)
    warnings = {}
    for name, place in columns.items():
        alone = cross_fit(replace(blind, features=blind.features[:, place]))
        areas = {
            data.names[row]: auroc(alone[:, row], blind.labels == row)
            for row in blind.classes
        }
        best = max(areas, key=lambda key: areas[key])
        if areas[best] >= LEAKING:
            warnings[name] = (best, areas[best])
    return warnings


def leak_sentence(column: str, told: ClassName, area: float) -> str:
    """Say what is suspicious about a column."""
    title = info_of(told).title.lower()
    return (
        f"The column {column!r} alone tells {title} from the other classes with an "
        f"AUROC of {area:.2f}. Is it a copy of the diagnosis, or known only once the "
        "diagnosis is? Then leave it out: the figures are worth nothing."
    )
