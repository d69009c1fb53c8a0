"""Agreement with outlines: a bright disc is found, the middle of the head is not."""

import numpy as np
import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.agreement import measure_agreement
from tumorlens.evaluation.explanations.cases import read_cases
from tumorlens.evaluation.scoring.examined import Examined
from tumorlens.inference.classifier import load_classifier


@pytest.fixture(scope="module")
def figures(tiny_bundle, drawn_set):
    records = [x for x in read_manifest(drawn_set) if x.label == "glioma"]
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_agreement(read_cases([Examined(classifier, records)], 9))


def test_the_evidence_points_into_the_disc_and_the_middle_does_not(figures):
    assert figures["evidence"]["peak_inside"]["value"] == 1.0
    assert figures["center"]["peak_inside"]["value"] == 0.0
    assert figures["evidence"]["dice"]["value"] > 0.5


def test_the_gain_is_the_difference(figures):
    for key in ("peak_inside", "dice"):
        gap = figures["evidence"][key]["value"] - figures["center"][key]["value"]
        gain = figures["gain_over_center"]["evidence"][key]["value"]
        assert gain == pytest.approx(gap)
        assert np.isfinite(gain)
