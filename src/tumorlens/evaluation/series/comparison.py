"""Models side by side on series, and beside what gives the answer away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, InputError, SettingError
from tumorlens.inference.bundle.bundle import FACTS_FILE, Bundle
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.inference.slice.decision import is_cleared
from tumorlens.statistics.resampling import Draws, Figure, Resampling, figure
from tumorlens.taxonomy import TumorClass
from tumorlens.training.volumes import only_series

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
    sets = [{"name": "all", **_figures(records, answers, tumor, np.ones_like(tumor))}]
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
                sets.append({"name": title, **_figures(records, answers, tumor, rows)})
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


def _figures(
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
