"""Models side by side on whole scans, and beside what gives the answer away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, InputError
from tumorlens.evaluation.series.compared_models import Contestant
from tumorlens.statistics.intervals import Figure
from tumorlens.statistics.resampling import Draws, Resampling, figure
from tumorlens.taxonomy import TumorClass, Verdict
from tumorlens.training.volumes import only_series

COLUMNS = ("source", "site", "part")
"""What a manifest says of a scan besides its class, and what may give that away."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Answer:
    """What one contestant said of one scan; see `ScanWords`."""

    p_tumor: float
    called: bool
    refused: bool
    seen: bool
    untold: bool


@dataclass(frozen=True)
class ScanWords:
    """What one contestant said of N scans.

    Parameters
    ----------
    name
        Of the contestant.
    p_tumor
        Shape (N,), 0 to 1; a half where nothing could be judged.
    called
        Shape (N,): whether that passes the operating point.
    refused
        Shape (N,): whether the scan got no answer: refused as no brain MRI, or
        nothing in it could be judged.
    seen
        Shape (N,): whether the patient shaped the model.
    untold
        Shape (N,): whether nobody can tell, as the scan or the bundle names no
        patient.
    """

    name: str
    p_tumor: NDArray[np.float64]
    called: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    untold: NDArray[np.bool_]


def judge_scans(
    contestants: Sequence[Contestant],
    records: Sequence[Record],
    operating_point: str | None,
    say: Say = print,
) -> tuple[list[Record], list[ScanWords]]:
    """Have every contestant judge every scan, as served: file in, finding out.

    Parameters
    ----------
    contestants
        From `load_contestant`.
    records
        Labelled scans.
    operating_point
        A name that each bundle knows; None for each bundle's own choice.
    say
        Receives a line for each scan that is left out.

    Returns
    -------
    records
        Those that all could judge.
    words
        One for each contestant.

    Raises
    ------
    DatasetError
        None is left.
    """
    kept: list[Record] = []
    rows: list[list[_Answer]] = []
    for record in records:
        try:
            rows.append([_ask(item, record, operating_point) for item in contestants])
        except InputError as error:
            say(f"Left out: {error}")
            continue
        kept.append(record)
    if not kept:
        raise DatasetError(
            "None of the listed scans can be judged.", "Check the manifest's files."
        )
    words = []
    for place, item in enumerate(contestants):
        answers = [row[place] for row in rows]
        words.append(
            ScanWords(
                item.name,
                np.array([answer.p_tumor for answer in answers], np.float64),
                np.array([answer.called for answer in answers], bool),
                np.array([answer.refused for answer in answers], bool),
                np.array([answer.seen for answer in answers], bool),
                np.array([answer.untold for answer in answers], bool),
            )
        )
    return kept, words


def _ask(
    contestant: Contestant, record: Record, operating_point: str | None
) -> _Answer:
    member = contestant.member(record)
    found = member.classifier.predict(only_series(record.path), operating_point)
    threshold = member.bundle.series_points[found.operating_point].threshold
    judged = found.p_tumor is not None
    p_tumor = 0.5 if found.p_tumor is None else found.p_tumor
    return _Answer(
        p_tumor=p_tumor,
        called=judged and p_tumor >= threshold,
        refused=not judged or found.decision is Verdict.NOT_BRAIN_MRI,
        seen=member.has_seen(record),
        untold=not member.can_tell(record),
    )


def compare_scans(
    records: Sequence[Record], words: Sequence[ScanWords]
) -> dict[str, Any]:
    """Score contestants on the same scans, with intervals over patients.

    Parameters
    ----------
    records
        N labelled scans.
    words
        Of at least one contestant, N rows each.

    Returns
    -------
    dict
        Plain JSON. ``sets``: figures on all scans, and on those that share a
        value of a column of `COLUMNS`, where these show both tumour and none.
        ``giveaways``: by column, the AUROC that knowing it alone can reach
        here at most. A scan that was refused counts as wrong.
    """
    tumor = np.array([row.label is not TumorClass.NO_TUMOR for row in records])
    sets = [{"name": "all", **_figures(records, words, tumor, np.ones_like(tumor))}]
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
                sets.append({"name": title, **_figures(records, words, tumor, rows)})
    return {
        "models": [
            {
                "name": item.name,
                "scans_of_patients_it_has_seen": int(item.seen.sum()),
                "scans_of_patients_unknown": int(item.untold.sum()),
                "refused": int(item.refused.sum()),
            }
            for item in words
        ],
        "sets": sets,
        "giveaways": giveaways,
    }


def _value(record: Record, column: str) -> str:
    known = {"source": record.source, "site": record.site}
    return known.get(column, record.extra.get(column, ""))


def _share_by(
    values: NDArray[np.str_], tumor: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of tumours among the scans with the same value: the best score of it."""
    _, rows, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(rows, tumor) / counts)[rows], np.float64)


def _figures(
    records: Sequence[Record],
    words: Sequence[ScanWords],
    tumor: NDArray[np.bool_],
    rows: NDArray[np.bool_],
) -> dict[str, Any]:
    groups = [row.group for row, keep in zip(records, rows, strict=True) if keep]
    draws = Resampling(groups)
    positive = tumor[rows]
    areas = [draws.auroc(item.p_tumor[rows], positive) for item in words]
    return {
        "scans": int(rows.sum()),
        "tumors": int(positive.sum()),
        "patients": draws.patients,
        "models": [
            _of_model(item, rows, positive, draws, area)
            for item, area in zip(words, areas, strict=True)
        ],
        # Paired: both areas were drawn on the same patients.
        "auroc_differences": [figure(area - areas[0]) for area in areas[1:]],
    }


def _of_model(
    item: ScanWords,
    rows: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    draws: Resampling,
    area: Draws,
) -> dict[str, Figure | None]:
    answered = ~item.refused[rows]
    found = item.called[rows] & answered
    cleared = ~item.called[rows] & answered
    both = draws.mean(found, positive) + draws.mean(cleared, ~positive)
    return {
        "auroc": figure(area),
        "sensitivity": draws.share(found, positive),
        "specificity": draws.share(cleared, ~positive),
        "balanced_accuracy": figure(0.5 * both),
    }
