"""The lesion found is compared with a drawn one; series get a probability."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from tests.samples.drawn_series import drawn_series
from tumorlens.calibration.series import (
    DISCOUNTS,
    LEVELS,
    MEASURES,
    OutlineFit,
    ScoredSeries,
    SeriesTable,
    View,
    compare_outlines,
    cross_fitted,
    deal_series,
    drawn_outline,
    fit_rule,
)
from tumorlens.data.manifest import Record
from tumorlens.data.series import SeriesPart, SeriesRecord
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.evaluation.series import fit_series
from tumorlens.imaging.study import MRSequence, Series
from tumorlens.inference.bundle.facts import SeriesModel
from tumorlens.inference.series.decision import SeenSlices
from tumorlens.taxonomy import TumorClass

SPOT = np.s_[3:6, 90:130, 100:120]


def seen_with(series: Series, inner: int, outer: int) -> SeenSlices:
    """Evidence that is strong in the spot, and weaker around it."""
    seen = SeenSlices(series)
    seen.probabilities[:] = [0.1, 0.0, 0.0, 0.9]
    seen.probabilities[3:6] = [0.9, 0.0, 0.0, 0.1]
    seen.heads[:] = 200
    assert seen.evidence is not None
    seen.evidence[2:7, 70:150, 80:140] = outer
    seen.evidence[SPOT] = inner
    return seen


@pytest.fixture
def drawn() -> np.ndarray:
    outline = np.zeros((9, 256, 256), np.bool_)
    outline[SPOT] = True
    return outline


def test_the_right_level_fits_and_half_of_the_peak_is_too_large(
    drawn: np.ndarray,
) -> None:
    series = drawn_series()
    found = compare_outlines(seen_with(series, 252, 150), series, drawn)
    assert found is not None
    assert found.size_mm == 40.0
    by_level = {
        level: dict(zip(MEASURES, row, strict=True))
        for level, row in zip(LEVELS, found.measures, strict=True)
    }
    assert by_level[0.9]["dice"] == pytest.approx(1.0, abs=0.01)
    assert by_level[0.9]["size_error"] == 0.0
    assert by_level[0.9]["thickness_error"] == 0.0
    assert by_level[None]["size_ratio"] == 2.0
    assert by_level[None]["size_error"] == 1.0
    assert by_level[None]["dice"] < 0.4
    assert by_level[None]["peak_inside"] == 1.0


def test_nothing_found_is_wrong_by_the_whole_size(drawn: np.ndarray) -> None:
    series = drawn_series()
    found = compare_outlines(seen_with(series, 60, 30), series, drawn)
    assert found is not None
    assert found.measures[0].tolist() == [0.0, 1.0, 0.0, 3.0, 0.0]
    nothing = SeenSlices(series)
    assert compare_outlines(nothing, series, drawn) is None


def test_an_outline_of_another_grid_is_laid_over_the_scan(
    drawn: np.ndarray, tmp_path: Path
) -> None:
    """An outline of twice the pixel size, in RAS, marks the same place."""
    coarse = drawn[:, ::2, ::2].astype(np.uint8)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    affine[:3, 3] = [128.0, 128.0, 0.0]
    path = tmp_path / "outline.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.transpose(coarse, (2, 1, 0)), affine), path)
    laid = drawn_outline(path, drawn_series())
    assert laid.shape == drawn.shape
    overlap = 2.0 * (laid & drawn).sum() / (laid.sum() + drawn.sum())
    assert overlap > 0.93


def test_pictures_are_outlines_of_single_slices(tmp_path: Path) -> None:
    picture = np.zeros((256, 256), np.uint8)
    picture[90:130, 100:120] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), picture)
    masks = [None] * 4 + [path] + [None] * 4
    laid = drawn_outline(masks, drawn_series())
    assert laid[4].sum() == 800
    assert laid.sum() == 800
    with pytest.raises(DatasetError, match="empty"):
        drawn_outline([None] * 9, drawn_series())


def made_up(number: int, tumor: bool, depth: int = 24, views: int = 1) -> ScoredSeries:
    """Slices of low odds; a tumour raises some in the middle, every end alarms."""
    rng = np.random.default_rng((number, tumor))
    odds = rng.normal(-3.0, 1.0, depth)
    if tumor:
        odds[10:15] += rng.uniform(3.0, 7.0)
    heads = np.full(depth, 100, np.int64)
    odds[-3:] = rng.normal(2.0, 1.0, 3)
    heads[-3:] = 30
    p_tumor = 1.0 / (1.0 + np.exp(-odds))
    probabilities = np.stack([p_tumor, 0 * p_tumor, 0 * p_tumor, 1 - p_tumor], axis=1)
    label = TumorClass.GLIOMA if tumor else TumorClass.NO_TUMOR
    sequence = (MRSequence.T1, MRSequence.FLAIR)[number % 2]
    name, patient = f"{number}{tumor}", f"p{number}"
    record = SeriesRecord(name, label, patient, "made", (), sequence=sequence)
    # Outlines fit best at the third level.
    measures = np.full((len(LEVELS), 5), 0.4)
    measures[3] = [0.8, 0.1, 1.1, 1.0, 1.0]
    return ScoredSeries(
        record,
        number % 3,
        (View(probabilities, heads, 5.0),) * views,
        OutlineFit(measures, 30.0) if tumor else None,
    )


@pytest.fixture(scope="module")
def judged() -> list[ScoredSeries]:
    return [made_up(n, tumor) for n in range(30) for tumor in (True, False)]


def test_false_alarms_at_the_ends_are_learned_away(judged: list[ScoredSeries]) -> None:
    table = SeriesTable(judged)
    rule = fit_rule(table, np.ones(len(judged), np.bool_))
    assert rule.end_discount >= 2.0
    assert min(rule.weights.values()) >= 0.0
    odds = rule.log_odds(table)
    assert (odds[table.tumor] > 0).mean() > 0.9
    assert (odds[~table.tumor] < 0).mean() > 0.9


def test_no_fold_judges_by_its_own_scans(judged: list[ScoredSeries]) -> None:
    """Labels of a fold turned round change its figures, but not its log-odds."""
    before = cross_fitted(SeriesTable(judged))[0]
    turned = SeriesTable(judged)
    own = turned.folds == 1
    turned.tumor[own] = ~turned.tumor[own]
    after = cross_fitted(turned)[0]
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_patients_and_both_kinds_weigh_alike() -> None:
    scans = [made_up(0, True), made_up(0, True), made_up(1, True), made_up(2, False)]
    weights = SeriesTable(scans).weights
    assert weights.mean() == pytest.approx(1.0)
    assert weights[:3].sum() == pytest.approx(weights[3])
    assert weights[0] + weights[1] == pytest.approx(weights[2])


def test_the_model_and_its_figures(judged: list[ScoredSeries]) -> None:
    model, figures = fit_series(judged)
    assert isinstance(model, SeriesModel)
    assert model.end_discount in DISCOUNTS
    assert (model.patients, model.healthy_patients) == (30, 30)
    assert set(model.operating_points) == {"screening", "balanced"}
    screening = model.operating_points["screening"]
    assert screening.sensitivity.value > 0.8
    assert screening.sensitivity.low < screening.sensitivity.high
    assert (
        figures["learned"]["auroc"]["value"] > figures["set_by_hand"]["auroc"]["value"]
    )
    assert figures["learned"]["by_source"]["made"]["screening"]["scans"]["tumor"] == 30
    assert model.outline is not None
    assert model.outline.level == LEVELS[3]
    assert model.outline.dice.value == pytest.approx(0.8)
    assert figures["outlines"]["half_of_peak"]["dice"]["value"] == pytest.approx(0.4)


def test_figures_are_given_by_sequence_and_kind(judged: list[ScoredSeries]) -> None:
    strange = [
        replace(item, record=replace(item.record, source="healthy", patient=f"h{row}"))
        for row, item in enumerate(judged)
        if not item.record.tumor
    ]
    # Half of the tumours look like another kind.
    turned = [
        replace(
            item,
            views=(
                replace(
                    item.views[0],
                    probabilities=item.views[0].probabilities[:, [1, 0, 2, 3]],
                ),
            ),
        )
        if item.record.tumor and item.record.sequence is MRSequence.T1
        else item
        for item in judged
    ]
    model, figures = fit_series([*turned, *strange])
    measured = model.operating_points["screening"].measured
    assert list(measured) == ["all", "FLAIR", "T1"]
    assert list(measured["T1"]) == [
        "labelled_lesions",
        "same_scanner",
        "healthy_strangers",
    ]
    assert measured["T1"]["labelled_lesions"].patients == 15
    assert measured["all"]["healthy_strangers"].slices == 30
    assert figures["learned"]["kinds"]["made"]["glioma"]["right"]["value"] == 0.5
    json.dumps(figures)


def test_tumours_fix_the_threshold_where_every_kind_is_shown(
    judged: list[ScoredSeries],
) -> None:
    """Faint tumours of another sequence are measured, and set no threshold."""
    t1c = [replace(item, record=replace(item.record, sequence=None)) for item in judged]
    kinds = (TumorClass.GLIOMA, TumorClass.MENINGIOMA, TumorClass.PITUITARY)
    for row, item in enumerate(t1c):
        sequence = MRSequence.T1_CONTRAST
        label = kinds[row // 2 % 3] if item.record.tumor else item.record.label
        record = replace(item.record, sequence=sequence, label=label)
        t1c[row] = replace(item, record=record)
    hidden = []
    for item in judged:
        if item.record.tumor:
            views = made_up(item.fold, False).views
            record = replace(item.record, sequence=MRSequence.T1, name="hidden")
            hidden.append(replace(item, views=views, record=record))
    _, figures = fit_series([*t1c, *hidden])
    found = figures["learned"]["measured"]["screening"]
    assert found["T1"]["labelled_lesions"]["value"] < 0.5
    assert found["T1C"]["labelled_lesions"]["value"] > 0.9
    assert found["T1C"]["same_scanner"]["value"] > 0.8


def test_scans_without_a_judged_slice_are_counted_apart(
    judged: list[ScoredSeries],
) -> None:
    empty = ScoredSeries(
        judged[0].record, 0, (View(np.full((4, 4), np.nan), np.zeros(4), None),), None
    )
    _, figures = fit_series([*judged, empty])
    assert figures["not_judged"] == 1


def test_three_planes_are_averaged(judged: list[ScoredSeries]) -> None:
    table = SeriesTable([*judged, made_up(40, False, views=3)])
    rule = fit_rule(table, np.ones(len(judged) + 1, np.bool_))
    assert rule.joined_log_odds(table) == pytest.approx(rule.log_odds(table))
    _, figures = fit_series([*judged, made_up(40, False, views=3)])
    rates = figures["planes"]["all"]["operating_points"]["screening"]
    assert rates["scans"] == {"tumor": 0, "no_tumor": 1}
    assert rates["sensitivity"] is None


def test_one_kind_of_scan_alone_cannot_be_fitted(judged: list[ScoredSeries]) -> None:
    tumors = [scan for scan in judged if scan.record.tumor]
    with pytest.raises(TrainingError, match="both a tumour and none"):
        fit_series(tumors)


def test_each_scan_goes_to_the_fold_that_left_its_patient_out(tmp_path) -> None:
    scans = [
        SeriesRecord(name, TumorClass.GLIOMA, name, "s", (SeriesPart(tmp_path),))
        for name in ("a", "b", "x", "y", "z")
    ]
    records = [
        Record(tmp_path, TumorClass.GLIOMA, patient=name, fold=fold)
        for name, fold in (("a", 1), ("b", 0), ("c", 0))
    ]
    assert deal_series(scans, records, [0, 1]) == [1, 0, 0, 1, 0]
    torn = [*records, Record(tmp_path, TumorClass.GLIOMA, patient="a", fold=0)]
    with pytest.raises(DatasetError, match=r"'a' is in the folds \[0, 1\]"):
        deal_series(scans, torn, [0, 1])
    with pytest.raises(DatasetError, match="bundles for"):
        deal_series(scans, records, [0, 2])
