"""Series are judged by the network that never saw their patients.

Tested in `tests/calibration/series/test_fit.py`, `tests/cli/model/test_calibrate.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.series.outlines import (
    OutlineFit,
    compare_outlines,
    drawn_outline,
)
from tumorlens.data.manifest import Record
from tumorlens.data.series.series_list import ScanRecord
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.imaging.geometry import slice_gap
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import (
    other_planes,
    see_slices,
    sliceable,
)
from tumorlens.inference.series.results import SeenSlices
from tumorlens.taxonomy import CLASSES

_BUNDLE = re.compile(r"fold(\d+)")


@dataclass(frozen=True)
class View:
    """The slices of a series in one plane.

    Parameters
    ----------
    probabilities
        Shape (D, 4), NaN rows where a slice was not judged.
    heads
        Shape (D,): edge of the head's square in pixels, 0 there.
    gap_mm
        Distance between neighbouring slices; None where not known.
    """

    probabilities: NDArray[np.float64]
    heads: NDArray[np.int64]
    gap_mm: float | None


@dataclass(frozen=True)
class ScoredSeries:
    """Outputs for a series of a network that never saw the patient.

    Parameters
    ----------
    record
        The series.
    fold
        Fold of the network.
    views
        The acquired plane first; the two others where the voxels allow it.
    outlines
        Comparison of the lesion with the drawn one; None without an outline.
    """

    record: ScanRecord
    fold: int
    views: tuple[View, ...]
    outlines: OutlineFit | None


def fold_bundles(folder: Path) -> dict[int, Path]:
    """Find the bundles of a cross-validation, by the fold they never saw.

    Raises
    ------
    TrainingError
        There are not two.
    """
    bundles = {
        int(match[1]): path
        for path in sorted(folder.glob("fold*/bundle"))
        if (match := _BUNDLE.fullmatch(path.parent.name))
    }
    if len(bundles) < 2:
        raise TrainingError(
            f"{folder} holds the bundles of {len(bundles)} folds; two are needed.",
            "Run `tumorlens train --folds` to its end first.",
        )
    return bundles


def deal_series(
    series_list: Sequence[ScanRecord], records: Iterable[Record], folds: Sequence[int]
) -> list[int]:
    """Say for each series which fold's network judges it.

    Parameters
    ----------
    series_list
        Series to predict.
    records
        The manifest of the cross-validation.
    folds
        Folds that have a bundle.

    Returns
    -------
    list of int
        The fold that left the patient out. Patients of no fold were seen by no
        network; they are dealt to the folds in turn.

    Raises
    ------
    DatasetError
        A patient is in several folds, or in one without a bundle.
    """
    folds_of_patients: dict[str, set[int]] = {}
    for row in records:
        if row.fold is not None:
            folds_of_patients.setdefault(row.patient, set()).add(row.fold)
    unknown_patients = sorted(
        {record.patient for record in series_list} - set(folds_of_patients)
    )
    dealt = {
        name: {folds[row % len(folds)]} for row, name in enumerate(unknown_patients)
    }
    dealt_folds: list[int] = []
    for record in series_list:
        patient_folds = folds_of_patients.get(record.patient) or dealt[record.patient]
        if len(patient_folds) > 1 or not patient_folds <= set(folds):
            raise DatasetError(
                f"The patient of scan {record.name!r} is in the folds "
                f"{sorted(patient_folds)}; "
                f"there are bundles for {sorted(folds)}.",
                "Give the manifest that the folds were trained with.",
            )
        dealt_folds.extend(patient_folds)
    return dealt_folds


def score_series(
    bundles: Mapping[int, Path],
    series_list: Sequence[ScanRecord],
    folds: Sequence[int],
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> list[ScoredSeries]:
    """Judge each series by the bundle of its fold.

    Parameters
    ----------
    bundles
        Folders by fold.
    series_list, folds
        Series of `read_scans`, and the fold of each of `deal_series`.
    threads
        The same as for `load_classifier`.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        A bundle's own list names a series' patient among those who trained it,
        or a file is no series.
    """
    scored_series = []
    for fold, path in bundles.items():
        records = [
            record for record, to in zip(series_list, folds, strict=True) if to == fold
        ]
        _check_unseen(path, records)
        classifier = load_classifier(path, threads, precision=FLOAT32)
        classifier.bundle.require_four_classes()
        network = _FoldNetwork(classifier, fold)
        for number, record in enumerate(records, start=1):
            scored_series.append(network.score(record))
            if number % 20 == 0 or number == len(records):
                say(f"Fold {fold}: {number} of {len(records)} scans.")
    return scored_series


def _check_unseen(path: Path, series_list: Sequence[ScanRecord]) -> None:
    trained = set(load_bundle(path).provenance.get("patients", {}).get("train", ()))
    for record in series_list:
        if record.patient in trained:
            raise DatasetError(
                f"{path} was trained on the patient of scan {record.name!r}.",
                "Give the manifest that the folds were trained with.",
            )


class _FoldNetwork:
    """One fold's network; remembers slices, since stacks share them."""

    def __init__(self, classifier: Classifier, fold: int) -> None:
        self._classifier, self._fold = classifier, fold
        self._point = classifier.point(None)
        self._known: dict[Path, tuple[NDArray[np.float64], int]] = {}

    def score(self, record: ScanRecord) -> ScoredSeries:
        if record.parts[0].place is None:
            views, outlines = self._whole(record)
        else:
            views, outlines = self._stack(record)
        return ScoredSeries(record, self._fold, views, outlines)

    def _whole(self, record: ScanRecord) -> tuple[tuple[View, ...], OutlineFit | None]:
        part = record.parts[0]
        (series, *others) = read_study(part.path).series
        if others:
            raise DatasetError(
                f"{part.path} holds {len(others) + 1} series, not one.",
                "Name each series on its own.",
            )
        seen = self._see(series)
        outlines = None
        if part.mask is not None:
            drawn = drawn_outline(part.mask, series)
            outlines = compare_outlines(seen, series, drawn)
        views = [_view(seen, slice_gap(series.slices))]
        volume, _ = sliceable(series)
        if volume is not None:
            for _, other in other_planes(volume, series):
                views.append(_view(self._see(other), slice_gap(other.slices)))
        return tuple(views), outlines

    def _stack(self, record: ScanRecord) -> tuple[tuple[View, ...], OutlineFit | None]:
        outlines = None
        if not all(part.path in self._known for part in record.parts):
            slices = [read_study(part.path).slices[0] for part in record.parts]
            series = Series(
                tuple(replace(item, index=row) for row, item in enumerate(slices))
            )
            seen = self._see(series)
            for row, part in enumerate(record.parts):
                plane_result = seen.probabilities[row], int(seen.heads[row])
                self._known[part.path] = plane_result
            if record.outlined and seen.evidence is not None:
                masks = [part.mask for part in record.parts]
                drawn = drawn_outline(masks, series)
                outlines = compare_outlines(seen, series, drawn)
        places = [part.place or 0 for part in record.parts]
        count = max(places) - min(places) + 1
        probabilities = np.full((count, len(CLASSES)), np.nan)
        heads = np.zeros(count, np.int64)
        for place, part in zip(places, record.parts, strict=True):
            row = place - min(places)
            probabilities[row], heads[row] = self._known[part.path]
        return (View(probabilities, heads, record.gap_mm),), outlines

    def _see(self, series: Series) -> SeenSlices:
        return see_slices(self._classifier, series, self._point)


def _view(seen: SeenSlices, gap_mm: float | None) -> View:
    return View(seen.probabilities, seen.heads, gap_mm)
