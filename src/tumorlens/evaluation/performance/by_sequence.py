"""How a model fares by MR sequence, and on lesions that are none of its classes.

Every figure is of slices of one set in one sequence, so that no set's scanner stands
for a sequence, and has its interval over patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import EITHER, Record
from tumorlens.data.sequences import sequence_word
from tumorlens.evaluation.performance.figures import calibration_draws
from tumorlens.evaluation.scoring.judgements import by_slice
from tumorlens.evaluation.scoring.scored_slices import ScoredSet
from tumorlens.inference.slice.findings import named_probabilities
from tumorlens.report.page_parts import Table
from tumorlens.statistics.intervals import Figure
from tumorlens.statistics.resampling import Resampling, figure
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


def sequence_figures(scored: ScoredSet) -> dict[str, Any]:
    """Work out every figure by set and sequence.

    Parameters
    ----------
    scored
        Slices with a label or another lesion.

    Returns
    -------
    dict
        ``sequences``: by set and sequence. ``sites``: tumour or none inside each
        hospital, by sequence, and where slices lie on one grid by several
        sequences together. ``kinds``: what other lesions are called, by their kind.
        What cannot be measured is left out.
    """
    sets = [_set_of(row) for row in scored.records]
    words = [sequence_word(row.sequence) or UNKNOWN for row in scored.records]
    both = [f"{name} {word}" for name, word in zip(sets, words, strict=True)]
    sites = [
        f"{name} {row.site} {word}" if row.site else ""
        for name, word, row in zip(sets, words, scored.records, strict=True)
    ]
    kinds = [
        f"{row.kind} {word}" if row.lesion and row.kind else ""
        for row, word in zip(scored.records, words, strict=True)
    ]
    return {
        "sequences": {key: _figures(part) for key, part in _parts(scored, both)},
        "sites": {
            **{key: _tumor_or_none(part) for key, part in _parts(scored, sites)},
            **together(scored),
        },
        "kinds": {key: _lesion_figures(part) for key, part in _parts(scored, kinds)},
    }


def together(scored: ScoredSet) -> dict[str, Any]:
    """Measure tumour or none where several sequences of a slice are added up.

    The log-odds of a tumour are summed over the sequences of one slice.

    Parameters
    ----------
    scored
        Slices of one patient and number lie on one grid; others are left out.

    Returns
    -------
    dict
        By set, site and sequences, such as ``lgg CS FLAIR + T1C``.
    """
    found: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for place, row in enumerate(scored.records):
        if row.sequence is not None and row.site and row.extra.get("slice"):
            key = (_set_of(row) + f" {row.site}", row.patient, row.extra["slice"])
            found[key][sequence_word(row.sequence)] = place
    odds = _log_odds(scored.p_tumor)
    figures = {}
    words = sorted({word for places in found.values() for word in places})
    for count in range(2, len(words) + 1):
        for chosen in combinations(words, count):
            for site in sorted({key[0] for key in found}):
                slices = [
                    [places[word] for word in chosen]
                    for key, places in found.items()
                    if key[0] == site and set(chosen) <= set(places)
                ]
                if slices:
                    sums = np.array([odds[rows].sum() for rows in slices])
                    first = scored.take(np.array([rows[0] for rows in slices]))
                    name = f"{site} {' + '.join(chosen)}"
                    figures[name] = _tumor_or_none(first, sums)
    return figures


def sequence_tables(columns: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Set figures of several models side by side.

    Parameters
    ----------
    columns
        What `sequence_figures` gave, by the model's name.

    Returns
    -------
    list of Table
        Rows in the order of the first model that has them.
    """
    headings = ("", "Figure", "Slices", *columns)
    tables = []
    for part, title in (
        ("sequences", "By set and sequence"),
        ("sites", "Inside one hospital"),
        ("kinds", "Other lesions, by kind"),
    ):
        rows = []
        for key in dict.fromkeys(
            name for found in columns.values() for name in found[part]
        ):
            told = [found[part].get(key, {}) for found in columns.values()]
            for name, words in _WORDS.items():
                values = [_text(item.get(name)) for item in told]
                if any(values):
                    count = next(item["slices"] for item in told if item)
                    rows.append((key, words, str(count), *values))
        tables.append(Table(title, headings, rows))
    return tables


_WORDS = {
    "accuracy": "Four-class accuracy",
    **{f"recall_{name}": f"Recall, {name}" for name in CLASSES},
    "auroc_tumor": "Tumour or none, AUROC",
    "sensitivity": "Tumour not cleared",
    "cleared": "Tumour-free, decided so",
    "likeliest_clear": "Tumour-free, likeliest so",
    "other_called_kind": "Other kind: likeliest one of the three",
    "other_called_clear": "Other kind: likeliest no tumour",
    "other_decided_kind": "Other kind: decided one of the three",
    "other_cleared": "Other kind: decided no tumour",
    "vascular_called_kind": "Stroke: likeliest a tumour",
    "vascular_decided_kind": "Stroke: decided a tumour",
    "undrawn_called_kind": "No stroke drawn: likeliest a tumour",
    "refused": "Refused",
    "calibration_error": "Calibration error",
    "peak_inside": "Peak inside the outline",
    "dice": "Dice at half height",
    "sequence_right": "Sequence told from the pixels",
}


def _parts(scored: ScoredSet, names: Sequence[str]) -> Iterable[tuple[str, ScoredSet]]:
    keys = np.array(names)
    for name in sorted(set(names) - {""}):
        yield name, scored.take(keys == name)


def _set_of(record: Record) -> str:
    """Name the set of a picture; its patients' names begin with it."""
    name, colon, _ = record.patient.partition(":")
    return record.source if not colon or name in _NAMELESS else name


def _figures(scored: ScoredSet) -> dict[str, Any]:
    draws = Resampling(scored.groups)
    shown, clear, tumor = _truth(scored)
    labelled = scored.take(np.array([row.label is not None for row in scored.records]))
    right = scored.probabilities.argmax(axis=1) == shown
    decided = np.array([item is TumorClass.NO_TUMOR for item in scored.decisions], bool)
    outlined = np.isfinite(scored.peak_inside)
    known = np.array([row.sequence is not None for row in scored.records], bool)
    found: dict[str, Any] = {
        "accuracy": draws.share(right, shown >= 0),
        **{
            f"recall_{name}": draws.share(right, shown == row)
            for row, name in enumerate(CLASSES)
        },
        "sensitivity": draws.share(~decided, tumor),
        "cleared": draws.share(decided, clear),
        "likeliest_clear": draws.share(right, clear),
        "refused": draws.share(_refused(scored), np.ones(len(clear), bool)),
        "peak_inside": draws.share(scored.peak_inside == 1.0, outlined),
        "dice": draws.average(np.where(outlined, scored.dice, 0.0), outlined),
    }
    told = np.array([item is not None for item in scored.sequences], bool)
    same = np.array(
        [
            said is row.sequence
            for said, row in zip(scored.sequences, scored.records, strict=True)
        ],
        bool,
    )
    found["sequence_right"] = draws.share(same, known & told)
    if len(labelled.records) and len(set(labelled.groups)) > 1:
        found["calibration_error"] = figure(
            calibration_draws(by_slice(labelled), Resampling(labelled.groups))
        )
    return {
        **_tumor_or_none(scored),
        **_without_none(found),
        **_lesion_figures(scored),
    }


def _tumor_or_none(
    scored: ScoredSet, scores: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Area under the curve, strokes left out: they are neither."""
    _, clear, tumor = _truth(scored)
    draws = Resampling(scored.groups)
    found: dict[str, Any] = {"slices": len(clear), "patients": draws.patients}
    if min(clear.sum(), tumor.sum()) < FEWEST_OF_EACH or draws.patients < 2:
        return found
    values = scored.p_tumor if scores is None else scores
    kept = np.where(clear | tumor, values, np.nan)
    return found | _without_none({"auroc_tumor": figure(draws.auroc(kept, tumor))})


def _lesion_figures(scored: ScoredSet) -> dict[str, Any]:
    """Say what other kinds of tumours, and strokes, are called."""
    draws = Resampling(scored.groups)
    named = named_probabilities(scored.probabilities, scored.lesions[:, 0])
    likeliest = [DECIDED[row] for row in named.argmax(axis=1)]
    kind = np.array([item in TUMOR_CLASSES for item in likeliest], bool)
    tumor = kind | np.array([item is Lesion.OTHER for item in likeliest], bool)
    decided = np.array([item in TUMOR_CLASSES for item in scored.decisions], bool)
    found_tumor = decided | np.array(
        [item is Lesion.OTHER for item in scored.decisions], bool
    )
    cleared = np.array([item is TumorClass.NO_TUMOR for item in scored.decisions], bool)
    lesions = np.array([row.lesion for row in scored.records])
    other, vascular = lesions == Lesion.OTHER, lesions == Lesion.VASCULAR
    found = {
        "other_called_kind": draws.share(kind, other),
        "other_called_clear": draws.share(~tumor, other),
        "other_decided_kind": draws.share(decided, other),
        "other_cleared": draws.share(cleared, other),
        "vascular_called_kind": draws.share(tumor, vascular),
        "vascular_decided_kind": draws.share(found_tumor, vascular),
        "undrawn_called_kind": draws.share(tumor, lesions == EITHER),
    }
    count = {"slices": len(lesions), "patients": draws.patients}
    return count | _without_none(found)


def _truth(
    scored: ScoredSet,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Give the class (-1 for none of the four), and who is clear or has a tumour."""
    shown = np.array(
        [
            -1 if row.label is None else CLASSES.index(row.label)
            for row in scored.records
        ],
        np.int64,
    )
    other = np.array([row.lesion == Lesion.OTHER for row in scored.records], bool)
    clear = shown == NO_TUMOR_INDEX
    return shown, clear, ((shown >= 0) & ~clear) | other


def _refused(scored: ScoredSet) -> NDArray[np.bool_]:
    return np.array([item is Verdict.NOT_BRAIN_MRI for item in scored.decisions], bool)


def _log_odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.clip(shares, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(held / (1.0 - held)))


def _without_none(found: Mapping[str, Figure | None]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


def _text(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
