"""Operating points: from which probability on a slice or a series is called a tumour.

A single picture is chosen by somebody because it shows something, so sensitivity counts
the slices in which a patient's lesion is large (`slice_groups`). What a threshold that
finds those costs elsewhere is measured beside it (`measured_shares`): in faint slices,
inside the same scanner, and in healthy strangers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, sequence_word
from tumorlens.data.sources import LABELLED_BY_CASE
from tumorlens.errors import TrainingError
from tumorlens.inference.bundle.facts import (
    ALL_SEQUENCES,
    MeasuredShare,
    OperatingPoint,
    Rate,
)
from tumorlens.inference.slice.decision import LIKELIER
from tumorlens.statistics import Resampling, share_figure
from tumorlens.taxonomy import (
    NO_TUMOR_INDEX,
    Finding,
    Lesion,
    is_no_lesion,
    is_tumor,
)

SCREENING_SENSITIVITY = 0.99
"""Share of the slices with a large lesion that `screening` is to find, every patient
weighed alike."""
HIGHEST_THRESHOLD = LIKELIER
"""What is likelier a tumour than not is never called free of tumour."""

LARGE = "large_lesions"
LABELLED = "labelled_lesions"
FAINT = "faint_lesions"
SAME_SCANNER = "same_scanner"
STRANGERS = "healthy_strangers"
STROKES = "strokes"
_SENSITIVITIES = (LARGE, LABELLED, FAINT)
_THIRDS = 3


def slice_groups(
    records: Sequence[Record], areas: NDArray[np.float64]
) -> dict[str, NDArray[np.bool_]]:
    """Sort slices by what a threshold means for them.

    Parameters
    ----------
    records
        N records of slices.
    areas
        Shape (N,): share of the picture inside the outline; NaN without one.

    Returns
    -------
    dict
        Masks of shape (N,); a group without slices is left out.

        ``large_lesions``
            Tumour slices among the third with the largest outlined area of their
            patient, in one source, sequence and plane (at least one of each).
        ``faint_lesions``
            The third with the smallest area; none of those above.
        ``labelled_lesions``
            Only where no tumour slice has an outline: every tumour slice, since its
            label is all that says the lesion shows. Sources that label by case
            (`LABELLED_BY_CASE`) do not count.
        ``same_scanner``
            Tumour-free slices of a source, site and sequence in which some patient
            shows both: brightness and noise cannot tell them apart. A source whose
            tumours and healthy heads are different people is none: nobody knows
            whether one scanner made them.
        ``healthy_strangers``
            Slices of sources that hold tumour-free slices alone.
        ``strokes``
            Slices with a vascular lesion, which is no tumour.
    """
    truths = [row.findings[0] if len(row.findings) == 1 else None for row in records]
    is_lesion = np.array([x is not None and is_tumor(x) for x in truths], bool)
    is_clear = np.array([is_no_lesion(truth) for truth in truths], bool)
    by_case = np.array([row.source in LABELLED_BY_CASE for row in records], bool)
    large, faint = _thirds(records, areas, is_lesion)
    truths_of_source: dict[str, set[Finding | None]] = defaultdict(set)
    clear_patients, tumor_patients = (
        {
            (_scanner(row), row.group)
            for row, kept in zip(records, rows, strict=True)
            if kept
        }
        for rows in (is_clear, is_lesion & ~by_case)
    )
    shows_both = {scanner for scanner, _ in clear_patients & tumor_patients}
    for row, truth in zip(records, truths, strict=True):
        truths_of_source[row.source].add(truth)
    masks = {
        LARGE: large,
        LABELLED: is_lesion & ~by_case & ~large.any(),
        FAINT: faint,
        SAME_SCANNER: is_clear
        & np.array([_scanner(row) in shows_both for row in records], bool),
        STRANGERS: is_clear
        & np.array(
            [all(map(is_no_lesion, truths_of_source[x.source])) for x in records],
            bool,
        ),
        STROKES: np.array([truth is Lesion.VASCULAR for truth in truths], bool),
    }
    return {name: rows for name, rows in masks.items() if rows.any()}


def _scanner(record: Record) -> tuple[str, str, str]:
    return record.source, record.site, sequence_word(record.sequence)


def _thirds(
    records: Sequence[Record],
    areas: NDArray[np.float64],
    is_tumor: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the largest and the smallest third of each patient's outlined slices."""
    large, faint = np.zeros((2, len(records)), bool)
    series: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in np.flatnonzero(is_tumor & (np.nan_to_num(areas) > 0.0)).tolist():
        row = records[place]
        series[*_scanner(row), row.plane, row.group].append(place)
    for places in series.values():
        ranked = sorted(places, key=lambda place: -areas[place])
        count = -(-len(ranked) // _THIRDS)
        large[ranked[:count]] = True
        faint[ranked[max(count, len(ranked) - count) :]] = True
    return large, faint


def measured_shares(
    cleared: NDArray[np.bool_],
    patients: Sequence[str],
    words: Sequence[str],
    groups: Mapping[str, NDArray[np.bool_]],
) -> dict[str, dict[str, MeasuredShare]]:
    """Measure what a threshold finds and costs, every patient weighed alike.

    Parameters
    ----------
    cleared
        Shape (N,): whether a slice or series is called free of tumour.
    patients
        N group keys.
    words
        N words of MR sequences, each of which is measured by itself too; empty for
        those of which it is not known, or not asked.
    groups
        Masks of `slice_groups`.

    Returns
    -------
    dict
        Shares by sequence, ``all`` first, then group: of lesions the share that is not
        called free of tumour, of the others the share that is.
    """
    draws = Resampling(patients)
    of_sequence = np.asarray(words)
    parts = {ALL_SEQUENCES: np.ones(len(patients), bool)}
    parts |= {str(word): of_sequence == word for word in np.unique(of_sequence) if word}
    shares: dict[str, dict[str, MeasuredShare]] = {}
    for word, part in parts.items():
        for name, group in groups.items():
            rows = group & part
            share = draws.share_by_patient(
                ~cleared if name in _SENSITIVITIES else cleared, rows
            )
            if share is not None:
                shares.setdefault(word, {})[name] = MeasuredShare(
                    **share, slices=int(rows.sum()), patients=draws.count(rows)
                )
    return shares


def check_both_kinds(
    labels: NDArray[np.int64],
    hint: str = "Add such patients to the validation split, or split again with "
    "`tumorlens data split`.",
) -> None:
    """Make sure that a threshold can be fixed on these slices.

    Parameters
    ----------
    labels
        Shape (N,): class indices.
    hint
        Hint for where it cannot.

    Raises
    ------
    TrainingError
        None of them shows a tumour, or none is free of it.
    """
    tumor = labels != NO_TUMOR_INDEX
    if tumor.all() or not tumor.any():
        kind = "free of tumour" if tumor.any() else "with a tumour"
        raise TrainingError(
            f"None of the {len(labels)} slices or series to calibrate on is {kind}.",
            hint,
        )


def fit_operating_points(
    p_tumor: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    lesions: NDArray[np.bool_] | None = None,
) -> dict[str, OperatingPoint]:
    """Fix the thresholds, recall first, every patient weighed alike.

    Parameters
    ----------
    p_tumor
        Shape (N,): calibrated probability of any tumour on held-out slices or series.
    labels
        Shape (N,): class indices.
    patients
        N group keys.
    lesions
        Shape (N,): the tumours that have to be found, such as the large ones of
        `slice_groups`; None for all.

    Returns
    -------
    dict
        ``screening``: the highest threshold that finds `SCREENING_SENSITIVITY` of
        these lesions. ``balanced``: the one with the best mean of sensitivity to them
        and specificity (Youden 1950), not below ``screening``. Neither is above
        `HIGHEST_THRESHOLD`. Their rates are over all tumours, and all others.

    Raises
    ------
    TrainingError
        Where `check_both_kinds` raises it.
    """
    check_both_kinds(labels)
    tumor = labels != NO_TUMOR_INDEX
    wanted = tumor if lesions is None or not (lesions & tumor).any() else lesions
    tumors, tumor_free = (
        _PatientShares(p_tumor[rows], np.asarray(patients)[rows])
        for rows in (wanted, ~tumor)
    )
    screening = min(tumors.quantile(1.0 - SCREENING_SENSITIVITY), HIGHEST_THRESHOLD)
    options = np.unique(p_tumor)
    youden = tumor_free.below(options) - tumors.below(options)
    balanced = float(options[int(np.argmax(youden))])
    return {
        name: OperatingPoint(
            threshold,
            _rate((p_tumor >= threshold)[tumor], patients, tumor),
            _rate((p_tumor < threshold)[~tumor], patients, ~tumor),
        )
        for name, threshold in (
            ("screening", screening),
            # Recall first: never above the point that lies halfway.
            ("balanced", min(max(balanced, screening), HIGHEST_THRESHOLD)),
        )
    }


def fit_slice_points(
    p_tumor: NDArray[np.float64],
    labels: NDArray[np.int64],
    records: Sequence[Record],
    areas: NDArray[np.float64],
    *,
    by_sequence: bool,
) -> dict[str, OperatingPoint]:
    """Fix thresholds on the slices in which a lesion is large, and measure their cost.

    Parameters
    ----------
    p_tumor, labels
        The same as for `fit_operating_points`.
    records, areas
        The same as for `slice_groups`.
    by_sequence
        Whether to measure each MR sequence by itself too.

    Returns
    -------
    dict
        Operating points with `measured`. Where neither an outline nor a slice's label
        says that a lesion shows, every tumour slice counts.
    """
    groups = slice_groups(records, areas)
    lesions = groups.get(LARGE, groups.get(LABELLED))
    patients = [row.group for row in records]
    words = [sequence_word(row.sequence) if by_sequence else "" for row in records]
    points = fit_operating_points(p_tumor, labels, patients, lesions)
    return {
        name: replace(
            point,
            measured=measured_shares(
                p_tumor < point.threshold, patients, words, groups
            ),
        )
        for name, point in points.items()
    }


class _PatientShares:
    """Shares of slices below a level, every patient weighed alike.

    Parameters
    ----------
    values
        Shape (N,).
    patients
        Shape (N,): whose they are.
    """

    def __init__(self, values: NDArray[np.float64], patients: NDArray[np.str_]) -> None:
        names, rows, counts = np.unique(
            patients, return_inverse=True, return_counts=True
        )
        order = np.argsort(values, kind="stable")
        self._values = values[order]
        weights = (1.0 / (counts[rows] * len(names)))[order]
        self._below = np.concatenate(([0.0], np.cumsum(weights)))

    def below(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the share strictly below each level."""
        return np.asarray(self._below[np.searchsorted(self._values, levels, "left")])

    def quantile(self, share: float) -> float:
        """Find the highest value with no more than a share strictly below it."""
        kept = self.below(self._values) <= share + 1e-9
        return float(self._values[kept][-1])


def _rate(
    right: NDArray[np.bool_], patients: Sequence[str], kept: NDArray[np.bool_]
) -> Rate:
    groups = [patient for patient, keep in zip(patients, kept, strict=True) if keep]
    share = share_figure(right, groups)
    assert share is not None  # `check_both_kinds`
    return Rate(**share)
