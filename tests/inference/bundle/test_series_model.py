"""A bundle that was calibrated on whole scans judges by it, and says how well."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.series_findings_by_slices import MODEL, RATE, drawn_scan
from tumorlens.errors import BundleError
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.json_file import read_document, write_document
from tumorlens.inference.bundle.operating_point import OperatingPoint
from tumorlens.inference.bundle.record import record_scans
from tumorlens.inference.bundle.series_model import ScanModel
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import ROUGH_OUTLINE, judge_scan
from tumorlens.inference.series.decision import NOT_VALIDATED
from tumorlens.inference.series.features import discounted_odds, log_odds, scan_features
from tumorlens.taxonomy import TumorClass


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that may be changed."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def judged_with(bundle: Path, model: ScanModel) -> Classifier:
    record_scans(bundle, model)
    return load_classifier(bundle, threads=1)


def test_it_is_read_back_as_it_was_recorded(bundle: Path) -> None:
    before = load_bundle(bundle)
    assert before.scans is None
    after = record_scans(bundle, MODEL)
    assert after.scans == MODEL
    assert replace(after, scans=None) == before
    without = replace(MODEL, outline=None)
    assert record_scans(bundle, without).scans == without


def test_a_change_by_hand_is_noticed(bundle: Path) -> None:
    record_scans(bundle, MODEL)
    path = bundle / "bundle.json"
    path.write_text(path.read_text().replace('"intercept": -1.0', '"intercept": 9.0'))
    with pytest.raises(BundleError, match="changed"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": {"brightness": 1.0}}, "brightness"),
        ({"operating_points": {}}, "screening"),
        ({"end_discount": -1.0}, "end_discount"),
        ({"patients": 0}, "patients"),
        ({"outline": {"level": 1.0}}, "level"),
    ],
)
def test_what_does_not_fit_is_refused(
    bundle: Path, change: dict[str, object], named: str
) -> None:
    document = read_document(bundle)
    document["scans"] = {**MODEL.to_json(), **change}
    write_document(bundle, document)
    with pytest.raises(BundleError, match=named):
        load_bundle(bundle)


def test_the_measured_rates_stand_in_the_finding(bundle: Path) -> None:
    found = judge_scan(judged_with(bundle, MODEL), drawn_scan(range(4, 8)))
    said = " ".join(found.reasons)
    assert found.decision is TumorClass.GLIOMA
    assert "of 70 with a tumour, 97 % (91 % to 99 %)" in said
    assert "of 20 without, 90 % (80 % to 95 %)" in said
    assert "off by 15 %" in said
    assert found.size_measured
    assert NOT_VALIDATED not in found.reasons
    assert ROUGH_OUTLINE not in found.reasons


def test_its_weights_make_the_probability_and_its_threshold_decides(
    bundle: Path,
) -> None:
    flat = replace(MODEL, weights={"strongest_run": 0.0}, intercept=-1.0)
    found = judge_scan(judged_with(bundle, flat), drawn_scan(range(4, 8)))
    assert found.p_tumor == pytest.approx(1.0 / (1.0 + np.e))
    assert found.decision is not TumorClass.NO_TUMOR
    high = OperatingPoint(0.3, RATE, RATE)
    strict = replace(
        flat, operating_points=dict.fromkeys(("screening", "balanced"), high)
    )
    found = judge_scan(judged_with(bundle, strict), drawn_scan(range(4, 8)))
    assert found.decision is TumorClass.NO_TUMOR


def test_slices_at_the_ends_of_the_head_are_trusted_less() -> None:
    p_tumor = np.array([0.9, 0.2, 0.7, np.nan])
    heads = np.array([40, 90, 100, 0])
    odds = discounted_odds(p_tumor, heads, 4.0)
    assert odds[2] == pytest.approx(np.log(0.7 / 0.3))
    assert odds[0] == pytest.approx(np.log(9.0) - 4.0 * 0.6)
    assert np.isnan(odds[3])
    assert np.nanargmax(odds) == 2
    assert np.nanargmax(discounted_odds(p_tumor, heads, 0.0)) == 0


def test_the_second_run_tells_a_lone_alarm_from_a_lesion() -> None:
    def features(*high: int) -> dict[str, float]:
        p_tumor = np.full(20, 0.05)
        p_tumor[list(high)] = 0.9
        return scan_features(log_odds(p_tumor), 5.0)[1]

    alone, lesion = features(7, 8), features(7, 8, 9, 10)
    assert alone["strongest_run"] == lesion["strongest_run"]
    assert alone["second_run"] < 0.0 < lesion["second_run"]
    # With one run alone the second has nothing of its own to say.
    short = scan_features(log_odds(np.array([0.7, 0.8])), 5.0)[1]
    assert short["second_run"] == short["strongest_run"]
