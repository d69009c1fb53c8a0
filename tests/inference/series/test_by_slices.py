"""Whole scans are judged, with a network that likes bright spots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.series_findings_by_slices import LESION, drawn_scan
from tumorlens.errors import SettingError
from tumorlens.imaging.study import Series
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import predict_by_slices
from tumorlens.inference.series.decision import (
    MOSTLY_REFUSED,
    NOT_VALIDATED,
    NOTHING_JUDGED,
    key_slices,
    run_length,
    strongest_run,
)
from tumorlens.inference.series.results import Side
from tumorlens.taxonomy import TumorClass, Verdict


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def test_a_lesion_is_found_where_it_lies(classifier: Classifier) -> None:
    seen: list[tuple[int, int]] = []
    found = predict_by_slices(
        classifier,
        drawn_scan(range(5, 8)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.decision is TumorClass.GLIOMA
    assert NOT_VALIDATED in found.reasons
    assert (found.slices, found.without_brain, found.refused) == (9, 2, 0)
    assert found.slice_p_tumor[:2] == (None, None)
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    assert found.run is not None
    assert 5 <= found.run[0] < found.run[1] <= 8
    assert found.key_slices[0] in range(5, 8)
    assert seen[-1] == (9, 9)
    lesion = found.lesion
    assert lesion is not None
    assert (lesion.box[0], lesion.box[3]) == (5, 8)
    assert lesion.centroid is not None
    centre = np.array([LESION[0] - 128, LESION[1] - 128, 30.0])
    assert np.linalg.norm(np.array(lesion.centroid) - centre) < 12
    assert lesion.size_mm is not None
    assert lesion.size_mm[0] == 15.0
    # LPS x grows to the patient's left; the lesion lies at negative x.
    assert lesion.side is Side.RIGHT
    assert "middle third" in lesion.location


def test_a_head_without_one_is_less_suspicious(classifier: Classifier) -> None:
    plain = predict_by_slices(classifier, drawn_scan())
    lesion = predict_by_slices(classifier, drawn_scan(range(5, 8)))
    assert plain.p_tumor < lesion.p_tumor
    assert lesion.evidence is not None
    assert lesion.evidence.shape == (9, 256, 256)
    assert lesion.evidence.dtype == np.uint8
    assert not lesion.evidence[:2].any()


def test_a_scan_without_a_known_place(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, drawn_scan(range(4, 8), placed=False))
    assert found.affine_ras is None
    assert found.lesion is not None
    assert found.lesion.centroid is None


def test_slices_of_different_sizes_give_no_volume(classifier: Classifier) -> None:
    scan = drawn_scan(count=4, blank=0)
    small = replace(scan.slices[0], pixels=scan.slices[0].pixels[:200, :200].copy())
    found = predict_by_slices(classifier, Series((small, *scan.slices[1:])))
    assert found.evidence is None
    assert found.lesion is None


def test_blank_slices_alone_are_not_judged(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, drawn_scan(count=3, blank=3))
    assert found.decision is Verdict.INCONCLUSIVE
    assert found.reasons == (NOTHING_JUDGED,)
    assert found.not_judged == NOTHING_JUDGED
    assert found.run is None
    assert (found.p_tumor, found.probabilities, found.predicted) == (None, None, None)
    assert found.evidence is None


def test_a_scan_that_is_no_brain_mri_is_refused(classifier: Classifier) -> None:
    scan = drawn_scan(range(4, 8))
    slices = tuple(replace(item, colorfulness=0.9) for item in scan.slices)
    found = predict_by_slices(classifier, Series(slices))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.reasons == (MOSTLY_REFUSED,)
    assert found.refused == 7
    assert found.lesion is None
    assert found.not_judged == MOSTLY_REFUSED
    assert found.p_tumor is None


def test_a_scan_of_which_a_slice_is_left_has_numbers(classifier: Classifier) -> None:
    scan = drawn_scan(range(4, 8))
    colored = (replace(item, colorfulness=0.9) for item in scan.slices[:-1])
    found = predict_by_slices(classifier, Series((*colored, scan.slices[-1])))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.not_judged is None
    assert found.p_tumor is not None


def test_an_operating_point_that_is_not_there(classifier: Classifier) -> None:
    with pytest.raises(SettingError, match="careful"):
        predict_by_slices(classifier, drawn_scan(), "careful")


def test_a_run_is_about_ten_millimetres() -> None:
    assert [run_length(gap) for gap in (1.0, 5.0, 30.0, None)] == [10, 2, 1, 3]


def test_one_loud_slice_is_weaker_than_a_run_of_neighbours() -> None:
    p_tumor = np.array([0.0, 0.9, 0.0, 0.0, 0.6, 0.7, 0.6, 0.0])
    assert strongest_run(p_tumor, 3) == (4, 7)
    assert strongest_run(np.array([np.nan, 0.2, np.nan]), 9) == (0, 3)


def test_key_slices_lie_apart() -> None:
    assert key_slices([0.1, 0.9, 0.8, None, 0.5, 0.2], 2) == (1, 4)
