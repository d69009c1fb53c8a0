"""Deletion and insertion, where the network and so the right order are known."""

import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.cases import read_cases
from tumorlens.evaluation.explanations.deletion import ORDERS, SHARES, measure_deletion
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier


@pytest.fixture(scope="module")
def figures(tiny_bundle, drawn_set):
    """Of glioma slices: a bright disc off the middle, which decides alone."""
    records = [x for x in read_manifest(drawn_set) if x.label == "glioma"]
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_deletion(read_cases([MeasuredBundle(classifier, records)], 9))


def test_curves_run_from_the_whole_slice_to_the_blurred_one(figures):
    assert figures["shares"][0] == 0.0 and figures["shares"][-1] == 1.0
    for order in ORDERS:
        deleted = figures["deletion"][order]["curve"]
        inserted = figures["insertion"][order]["curve"]
        assert len(deleted) == len(SHARES)
        assert deleted[0] == pytest.approx(inserted[-1])
        assert deleted[-1] == pytest.approx(inserted[0])


def test_what_decides_falls_first_by_a_faithful_map(figures):
    early = {order: figures["deletion"][order]["early"]["value"] for order in ORDERS}
    assert early["evidence"] < early["center"]
    assert early["evidence"] < early["random"]


def test_gains_are_differences_slice_by_slice(figures):
    for way, sign in (("deletion", -1.0), ("insertion", 1.0)):
        found = figures[way]
        for against in ("center", "random"):
            for key in ("area", "early"):
                gap = found["evidence"][key]["value"] - found[against][key]["value"]
                gain = found[f"gain_over_{against}"]["evidence"][key]["value"]
                assert gain == pytest.approx(sign * gap)


def test_the_area_of_a_flat_curve_is_its_height(figures):
    for order in ORDERS:
        curve = figures["deletion"][order]["curve"]
        area = figures["deletion"][order]["area"]["value"]
        assert min(curve) <= area <= max(curve)
