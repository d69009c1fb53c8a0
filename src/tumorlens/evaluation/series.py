"""Performance of bundles on series, with intervals over patients, and side by side.

Models stand beside what gives the answer away, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.operating_points import (
    LABELLED,
    SAME_SCANNER,
    STRANGERS,
    fit_operating_points,
    measured_shares,
)
from tumorlens.calibration.series import (
    LEVELS,
    MEASURES,
    FittedRule,
    ScoredSeries,
    SeriesTable,
    cross_fitted,
    fit_rule,
)
from tumorlens.data.manifest import Record, sequence_word
from tumorlens.errors import DatasetError, InputError, SettingError, TrainingError
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import FACTS_FILE, Bundle
from tumorlens.inference.bundle.facts import (
    FLOAT32,
    MeasuredShare,
    OperatingPoint,
    OutlineFacts,
    Rate,
    SeriesModel,
)
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.inference.series.decision import kind_shares, series_log_odds
from tumorlens.inference.slice.decision import is_cleared
from tumorlens.statistics import (
    Draws,
    Figure,
    Resampling,
    figure,
    statistic_draws,
    without_bias,
)
from tumorlens.taxonomy import (
    CLASSES,
    NO_TUMOR_INDEX,
    TUMOR_CLASSES,
    TumorClass,
)
from tumorlens.training.volumes import only_series

_BINS = 10


def fit_series(
    all_series: Sequence[ScoredSeries],
) -> tuple[SeriesModel, dict[str, Any]]:
    """Fit what a bundle knows of series, and measure it by cross-validation.

    Parameters
    ----------
    all_series
        Each by a network that never saw its patient.

    Returns
    -------
    model, figures
        The rule and thresholds fitted on all series, with the rates that rules
        fitted on the other folds reach; and all figures as plain JSON.

    Raises
    ------
    TrainingError
        Some fold's series leave none with, or none without, a tumour to fit on.
    """
    scored_series = [series for series in all_series if _judged(series)]
    table = SeriesTable(scored_series)
    for fold in np.unique(table.folds):
        if len(np.unique(table.tumor[table.folds != fold])) < 2:
            raise TrainingError(
                f"The series outside fold {fold} do not show both a tumour and none.",
                "Give more series of both kinds, spread over the folds.",
            )
    acquired, joined, rules = cross_fitted(table)
    final = fit_rule(table, np.ones(len(scored_series), np.bool_))
    wanted = _series_to_find(scored_series)
    points = _points(table, final, np.ones(len(scored_series), np.bool_), wanted)
    by_fold = {
        fold: _points(table, rule, table.folds != fold, wanted)
        for fold, rule in rules.items()
    }
    thresholds = {
        name: np.array([by_fold[int(fold)][name] for fold in table.folds])
        for name in points
    }
    figures = _figures(table, acquired, thresholds)
    figures["kinds"] = _kinds(scored_series)
    measured = {
        name: _measured(scored_series, _sigmoid(acquired) < bar)
        for name, bar in thresholds.items()
    }
    figures["measured"] = {
        name: {
            word: {group: asdict(share) for group, share in shares.items()}
            for word, shares in by_sequence.items()
        }
        for name, by_sequence in measured.items()
    }
    outline, on_outlines = fit_outlines(scored_series)
    model = SeriesModel(
        end_discount=final.end_discount,
        weights=final.weights,
        intercept=final.intercept,
        operating_points={
            name: OperatingPoint(
                threshold,
                Rate(**figures["operating_points"][name]["sensitivity"]),
                Rate(**figures["operating_points"][name]["specificity"]),
                measured[name],
            )
            for name, threshold in points.items()
        },
        patients=figures["patients"]["tumor"],
        healthy_patients=figures["patients"]["no_tumor"],
        outline=outline,
    )
    return model, {
        "model": model.to_json(),
        "not_judged": len(all_series) - len(scored_series),
        "rules_by_fold": {
            str(fold): {"end_discount": rule.end_discount, "weights": rule.weights}
            for fold, rule in rules.items()
        },
        "learned": figures,
        "set_by_hand": _figures(table, _by_hand(scored_series), None),
        "planes": _planes(table, acquired, joined, thresholds),
        "outlines": on_outlines,
    }


def _judged(series: ScoredSeries) -> bool:
    return bool(np.isfinite(series.views[0].probabilities).any())


def _series_to_find(scored_series: Sequence[ScoredSeries]) -> NDArray[np.bool_]:
    """Say which tumours fix the thresholds: those in sequences that show every kind.

    A glioma of low grade may hardly show in T1 without contrast agent; a threshold that
    finds it there calls no healthy head free of tumour, and FLAIR shows it anyway. What
    a threshold misses in the other sequences is measured.

    Returns
    -------
    ndarray
        Shape (N,); all tumours where no sequence shows every kind.
    """
    records = [series.record for series in scored_series]
    kinds: dict[MRSequence | None, set[TumorClass | None]] = defaultdict(set)
    for record in records:
        kinds[record.sequence].add(record.label)
    full = {
        sequence
        for sequence, shown in kinds.items()
        if sequence is not None and shown >= set(TUMOR_CLASSES)
    }
    return np.array(
        [record.tumor and (not full or record.sequence in full) for record in records],
        np.bool_,
    )


def _points(
    table: SeriesTable,
    rule: FittedRule,
    rows: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
) -> dict[str, float]:
    p_tumor = _sigmoid(rule.log_odds(table))[rows]
    labels = np.where(table.tumor[rows], NO_TUMOR_INDEX - 1, NO_TUMOR_INDEX)
    patients = [name for name, kept in zip(table.patients, rows, strict=True) if kept]
    points = fit_operating_points(
        p_tumor, labels.astype(np.int64), patients, wanted[rows]
    )
    return {name: point.threshold for name, point in points.items()}


def _measured(
    scored_series: Sequence[ScoredSeries], cleared: NDArray[np.bool_]
) -> dict[str, dict[str, MeasuredShare]]:
    """Measure a threshold by MR sequence, as `measured_shares` does on slices.

    Tumour-free series are of the same scanners where some patient of their source shows
    both, and else of healthy strangers.
    """
    records = [series.record for series in scored_series]
    tumor = np.array([record.tumor for record in records])
    clear_patients, tumor_patients = (
        {(row.source, row.patient) for row in records if row.tumor is is_tumor}
        for is_tumor in (False, True)
    )
    both = {source for source, _ in clear_patients & tumor_patients}
    shows_both = np.array([record.source in both for record in records], np.bool_)
    groups = {
        LABELLED: tumor,
        SAME_SCANNER: ~tumor & shows_both,
        STRANGERS: ~tumor & ~shows_both,
    }
    return measured_shares(
        cleared,
        [record.patient for record in records],
        [sequence_word(record.sequence) for record in records],
        groups,
    )


def _kinds(scored_series: Sequence[ScoredSeries]) -> dict[str, dict[str, Any]]:
    """Say how often a tumour's likeliest kind is the right one, by source and kind."""
    places = [CLASSES.index(kind) for kind in TUMOR_CLASSES]
    named = [
        TUMOR_CLASSES[kind_shares(series.views[0].probabilities[:, places]).argmax()]
        for series in scored_series
    ]
    records = [series.record for series in scored_series]
    draws = Resampling([record.patient for record in records])
    is_right = np.array(
        [record.label is kind for record, kind in zip(records, named, strict=True)]
    )
    kinds: dict[str, dict[str, Any]] = {}
    for source in sorted({record.source for record in records}):
        for kind in TUMOR_CLASSES:
            rows = np.array(
                [record.source == source and record.label is kind for record in records]
            )
            if not rows.any():
                continue
            kinds.setdefault(source, {})[kind] = {
                "right": draws.share(is_right, rows),
                "scans": int(rows.sum()),
                "patients": draws.count(rows),
            }
    return kinds


def _by_hand(scored_series: Sequence[ScoredSeries]) -> NDArray[np.float64]:
    """Judge by the rule of bundles that were never calibrated on series."""
    views = [series.views[0] for series in scored_series]
    return np.array(
        [
            series_log_odds(
                1.0 - view.probabilities[:, NO_TUMOR_INDEX],
                view.heads,
                view.gap_mm,
                None,
            )[1]
            for view in views
        ]
    )


def _figures(
    table: SeriesTable,
    odds: NDArray[np.float64],
    thresholds: dict[str, NDArray[np.float64]] | None,
) -> dict[str, Any]:
    draws = Resampling(table.patients)
    p_tumor, tumor = _sigmoid(odds), table.tumor
    errors = statistic_draws(
        lambda rows: _calibration_error(p_tumor[rows], tumor[rows]), table.patients
    )
    figures: dict[str, Any] = {
        "scans": {"tumor": int(tumor.sum()), "no_tumor": int((~tumor).sum())},
        "patients": {"tumor": draws.count(tumor), "no_tumor": draws.count(~tumor)},
        "auroc": figure(draws.auroc(odds, tumor)),
        "calibration_error": figure(without_bias(errors)),
        "auroc_by_source": {
            str(name): figure(draws.auroc(np.where(own, odds, np.nan), tumor))
            for name in np.unique(table.sources)
            if len(np.unique(tumor[own := table.sources == name])) == 2
        },
    }
    if thresholds is None:
        return figures
    figures["operating_points"] = {
        name: _rates(draws, tumor, p_tumor >= bar, np.ones(len(tumor), np.bool_))
        for name, bar in thresholds.items()
    }
    figures["by_source"] = {
        str(source): {
            name: _rates(draws, tumor, p_tumor >= bar, table.sources == source)
            for name, bar in thresholds.items()
        }
        for source in np.unique(table.sources)
    }
    return figures


def _rates(
    draws: Resampling,
    tumor: NDArray[np.bool_],
    called: NDArray[np.bool_],
    rows: NDArray[np.bool_],
) -> dict[str, Any]:
    return {
        "sensitivity": draws.share(called, rows & tumor),
        "specificity": draws.share(~called, rows & ~tumor),
        "scans": {
            "tumor": int((rows & tumor).sum()),
            "no_tumor": int((rows & ~tumor).sum()),
        },
        "patients": {
            "tumor": draws.count(rows & tumor),
            "no_tumor": draws.count(rows & ~tumor),
        },
    }


def _calibration_error(p_tumor: NDArray[np.float64], tumor: NDArray[np.bool_]) -> float:
    """Measure the expected calibration error in ten bins, both classes alike."""
    if tumor.all() or not tumor.any():
        return float("nan")
    weights = np.where(tumor, 0.5 / tumor.sum(), 0.5 / (~tumor).sum())
    rows = np.minimum((p_tumor * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(rows, weights * (tumor - p_tumor), _BINS)
    return float(np.abs(gaps).sum())


def _planes(
    table: SeriesTable,
    acquired: NDArray[np.float64],
    joined: NDArray[np.float64],
    thresholds: dict[str, NDArray[np.float64]],
) -> dict[str, Any]:
    """Set the acquired plane beside all three, where the voxels allow it."""
    several = np.array([len(views) > 1 for views in table.views])
    draws = Resampling(table.patients)
    return {
        kind: {
            "mean_log_odds": {
                "tumor": draws.average(odds, several & table.tumor),
                "no_tumor": draws.average(odds, several & ~table.tumor),
            },
            "operating_points": {
                name: _rates(draws, table.tumor, _sigmoid(odds) >= bar, several)
                for name, bar in thresholds.items()
            },
        }
        for kind, odds in (("acquired", acquired), ("all", joined))
    }


def _sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def fit_outlines(
    scored_series: Sequence[ScoredSeries],
) -> tuple[OutlineFacts | None, dict[str, Any] | None]:
    """Fit the level on the other folds' outlines, and measure on each fold's own.

    Parameters
    ----------
    scored_series
        Each by a network that never saw its patient.

    Returns
    -------
    facts, figures
        Facts for the bundle, whose level is fitted on all; figures as plain JSON.
        None without any outline.
    """
    drawn = [series for series in scored_series if series.outlines is not None]
    if not drawn:
        return None, None
    measures = np.array(
        [series.outlines.measures for series in drawn if series.outlines]
    )
    folds = np.array([series.fold for series in drawn])
    patients = [series.record.patient for series in drawn]
    chosen = np.array(
        [
            _best_level(measures[folds != fold], patients, folds != fold)
            for fold in folds
        ]
    )
    overlaps = measures[np.arange(len(drawn)), chosen]
    level = LEVELS[_best_level(measures, patients, np.ones(len(drawn), np.bool_))]
    assert level is not None
    sources = np.array([series.record.source for series in drawn])
    fitted = _outline_figures(overlaps, patients)
    figures = {
        "level": level,
        "fitted": fitted,
        "half_of_peak": _outline_figures(measures[:, LEVELS.index(None)], patients),
        "by_source": {
            str(name): _outline_figures(
                overlaps[sources == name],
                [
                    who
                    for who, kept in zip(patients, sources == name, strict=True)
                    if kept
                ],
            )
            for name in np.unique(sources)
        },
        "each_volume": {
            series.record.name: dict(zip(MEASURES, map(float, row), strict=True))
            | {"size_mm": series.outlines.size_mm}
            for series, row in zip(drawn, overlaps, strict=True)
            if series.outlines and series.outlines.size_mm is not None
        },
    }
    facts = OutlineFacts(
        level, Rate(**fitted["dice"]), Rate(**fitted["size_error"]), len(set(patients))
    )
    return facts, figures


def _best_level(
    measures: NDArray[np.float64], patients: Sequence[str], rows: NDArray[np.bool_]
) -> int:
    """Find the level with the best mean overlap over patients; None is not one."""
    groups = [name for name, kept in zip(patients, rows, strict=True) if kept]
    _, numbers = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(numbers).astype(np.float64)
    dice = measures[:, :, MEASURES.index("dice")] / counts[numbers][:, None]
    return 1 + int(np.argmax(dice.sum(axis=0)[1:]))


def _outline_figures(
    rows: NDArray[np.float64], patients: Sequence[str]
) -> dict[str, Any]:
    draws = Resampling(patients)
    every = np.ones(len(rows), np.bool_)
    columns = dict(zip(MEASURES, rows.T, strict=True))
    medians = ("size_error", "size_ratio", "thickness_error")
    return {
        "scans": len(rows),
        "patients": draws.patients,
        "dice": draws.average(columns["dice"], every),
        "peak_inside": draws.share(columns["peak_inside"] > 0.5, every),
        **{name: _median(columns[name], patients) for name in medians},
    }


def _median(values: NDArray[np.float64], patients: Sequence[str]) -> Figure | None:
    return figure(
        statistic_draws(lambda rows: float(np.median(values[rows])), patients)
    )


COLUMNS = ("source", "site", "part")
"""What a manifest says of a series besides its class, and what may give that away."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Member:
    classifier: SeriesClassifier

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self.classifier.bundle

    def has_seen(self, record: Record) -> bool:
        """Tell whether the series' patient shaped the bundle."""
        return bool(record.patient) and record.patient in self._shaped

    def can_tell(self, record: Record) -> bool:
        """Tell whether `has_seen` can know: both name their patients."""
        return bool(record.patient and self._shaped)

    @property
    def _shaped(self) -> set[str]:
        patients = self.bundle.provenance.get("patients", {})
        return {*patients.get("train", ()), *patients.get("validation", ())} - {""}


@dataclass(frozen=True)
class ComparedModel:
    """A bundle, or the bundles of a cross-validation, that judge series.

    Parameters
    ----------
    name
        Name in tables.
    members
        The bundles.
    """

    name: str
    members: tuple[_Member, ...]

    def member(self, record: Record) -> _Member:
        """Find the bundle that is to judge a series: one that has not seen the patient.

        Raises
        ------
        DatasetError
            Every fold of the cross-validation has.
        """
        if len(self.members) == 1:
            return self.members[0]
        for item in self.members:
            if not item.has_seen(record):
                return item
        raise DatasetError(
            f"Every bundle of {self.name} has seen the patient of {record.path.name}.",
            "Name all folds of the cross-validation, or take one bundle.",
        )


def load_compared_model(folder: Path) -> ComparedModel:
    """Load a bundle, or the folds of a cross-validation.

    Parameters
    ----------
    folder
        A bundle, for slices or for series; or the folder of `tumorlens
        train --folds`, each of whose bundles judges the patients it left out.

    Raises
    ------
    SettingError
        It is neither.
    BundleError
        A bundle does not verify.
    """
    if (folder / FACTS_FILE).exists():
        member = _member(folder)
        bundle = member.bundle
        return ComparedModel(f"{bundle.name} {bundle.version}", (member,))
    places = sorted(place.parent for place in folder.glob(f"fold*/bundle/{FACTS_FILE}"))
    if not places:
        raise SettingError(
            f"{folder} holds neither a bundle nor a cross-validation.",
            "Give the folder of a bundle, or that of `tumorlens train --folds`.",
        )
    members = tuple(map(_member, places))
    return ComparedModel(f"{members[0].bundle.name}, {len(members)} folds", members)


def _member(folder: Path) -> _Member:
    classifier = load_series_classifier(folder, precision=FLOAT32)
    classifier.bundle.require_four_classes()
    return _Member(classifier)


COLUMNS = ("source", "site", "part")
"""Columns of a manifest, besides the class, that may give the class away."""


@dataclass(frozen=True)
class _Answer:
    """Answer of one compared model for one series; see `SeriesAnswers`."""

    p_tumor: float
    called: bool
    refused: bool
    seen: bool
    untold: bool


@dataclass(frozen=True)
class SeriesAnswers:
    """Answers of one compared model for N series.

    Parameters
    ----------
    name
        Name of the compared model.
    p_tumor
        Shape (N,), 0 to 1; a half where nothing could be judged.
    called
        Shape (N,): whether that passes the operating point.
    refused
        Shape (N,): whether the series got no answer: refused as no brain MRI, or
        nothing in it could be judged.
    seen
        Shape (N,): whether the patient shaped the model.
    untold
        Shape (N,): whether nobody can tell, as the series or the bundle names no
        patient.
    """

    name: str
    p_tumor: NDArray[np.float64]
    called: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    untold: NDArray[np.bool_]


def predict_series(
    compared_models: Sequence[ComparedModel],
    records: Sequence[Record],
    operating_point: str | None,
    say: Say = print,
) -> tuple[list[Record], list[SeriesAnswers]]:
    """Have every compared model judge every series, as served: file in, finding out.

    Parameters
    ----------
    compared_models
        Models of `load_compared_model`.
    records
        Labelled series.
    operating_point
        A name that each bundle knows; None for each bundle's own choice.
    say
        Receives a line for each series that is left out.

    Returns
    -------
    records
        Those that all could judge.
    answers
        One for each compared model.

    Raises
    ------
    DatasetError
        None is left.
    """
    judged_records: list[Record] = []
    rows: list[list[_Answer]] = []
    for record in records:
        try:
            rows.append(
                [_ask(item, record, operating_point) for item in compared_models]
            )
        except InputError as error:
            say(f"Left out: {error}")
            continue
        judged_records.append(record)
    if not judged_records:
        raise DatasetError(
            "None of the listed series can be judged.", "Check the manifest's files."
        )
    answers = []
    for place, item in enumerate(compared_models):
        column = [row[place] for row in rows]
        answers.append(
            SeriesAnswers(
                item.name,
                np.array([answer.p_tumor for answer in column], np.float64),
                np.array([answer.called for answer in column], bool),
                np.array([answer.refused for answer in column], bool),
                np.array([answer.seen for answer in column], bool),
                np.array([answer.untold for answer in column], bool),
            )
        )
    return judged_records, answers


def _ask(
    compared_model: ComparedModel, record: Record, operating_point: str | None
) -> _Answer:
    member = compared_model.member(record)
    prediction = member.classifier.predict(only_series(record.path), operating_point)
    threshold = member.bundle.series_points[prediction.operating_point].threshold
    values = prediction.raw_probabilities
    judged = values is not None
    p_tumor = 0.5 if values is None else 1.0 - values[TumorClass.NO_TUMOR]
    return _Answer(
        p_tumor=p_tumor,
        called=judged and not is_cleared(p_tumor, threshold),
        refused=prediction.is_refused,
        seen=member.has_seen(record),
        untold=not member.can_tell(record),
    )


def compare_models(
    records: Sequence[Record], answers: Sequence[SeriesAnswers]
) -> dict[str, Any]:
    """Score compared models on the same series, with intervals over patients.

    Parameters
    ----------
    records
        N labelled series.
    answers
        Answers of at least one compared model, N rows each.

    Returns
    -------
    dict
        Plain JSON. ``sets``: figures on all series, and on those that share a
        value of a column of `COLUMNS`, where these show both tumour and none.
        ``giveaways``: by column, the AUROC that knowing it alone can reach
        here at most. A series that was refused counts as wrong.
    """
    tumor = np.array([row.label is not TumorClass.NO_TUMOR for row in records])
    sets = [
        {
            "name": "all",
            **_figures_of_rows(records, answers, tumor, np.ones_like(tumor)),
        }
    ]
    giveaways = {}
    for column in COLUMNS:
        values = np.array([_value(row, column) for row in records])
        names = sorted(set(values) - {""})
        if len(names) < 2:
            continue
        groups = [row.group for row in records]
        giveaways[column] = figure(
            Resampling(groups).auroc(_share_by(values, tumor), tumor)
        )
        for name in names:
            rows = values == name
            if 0 < tumor[rows].sum() < rows.sum():
                title = f"{column} {name}"
                sets.append(
                    {"name": title, **_figures_of_rows(records, answers, tumor, rows)}
                )
    return {
        "models": [
            {
                "name": item.name,
                "scans_of_patients_it_has_seen": int(item.seen.sum()),
                "scans_of_patients_unknown": int(item.untold.sum()),
                "refused": int(item.refused.sum()),
            }
            for item in answers
        ],
        "sets": sets,
        "giveaways": giveaways,
    }


def _value(record: Record, column: str) -> str:
    values = {"source": record.source, "site": record.site}
    return values.get(column, record.extra.get(column, ""))


def _share_by(
    values: NDArray[np.str_], tumor: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of tumours among the series with the same value: the best score of it."""
    _, rows, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(rows, tumor) / counts)[rows], np.float64)


def _figures_of_rows(
    records: Sequence[Record],
    answers: Sequence[SeriesAnswers],
    tumor: NDArray[np.bool_],
    rows: NDArray[np.bool_],
) -> dict[str, Any]:
    groups = [row.group for row, keep in zip(records, rows, strict=True) if keep]
    draws = Resampling(groups)
    positive = tumor[rows]
    areas = [draws.auroc(item.p_tumor[rows], positive) for item in answers]
    return {
        "scans": int(rows.sum()),
        "tumors": int(positive.sum()),
        "patients": draws.patients,
        "models": [
            _of_model(item, rows, positive, draws, area)
            for item, area in zip(answers, areas, strict=True)
        ],
        # Paired: both areas were drawn on the same patients.
        "auroc_differences": [figure(area - areas[0]) for area in areas[1:]],
    }


def _of_model(
    item: SeriesAnswers,
    rows: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    draws: Resampling,
    area: Draws,
) -> dict[str, Figure | None]:
    answered = ~item.refused[rows]
    tumors_found = item.called[rows] & answered
    cleared = ~item.called[rows] & answered
    both = draws.mean(tumors_found, positive) + draws.mean(cleared, ~positive)
    return {
        "auroc": figure(area),
        "sensitivity": draws.share(tumors_found, positive),
        "specificity": draws.share(cleared, ~positive),
        "balanced_accuracy": figure(0.5 * both),
    }
