"""Maps laid back after shifts and turns."""

import cv2
import pytest

from tests.conftest import draw_phantom
from tumorlens.data.manifest import Record
from tumorlens.evaluation.explanations.cases import read_cases
from tumorlens.evaluation.explanations.repeatability import measure_repeatability
from tumorlens.evaluation.scoring.scored_slices import MeasuredBundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.taxonomy import TumorClass

SPOTS = ((90, 60), (128, 40), (190, 150), (128, 205))


@pytest.fixture(scope="module")
def figures(tiny_bundle, tmp_path_factory):
    """Of small bright discs near the edge of the head, where a turn tells most."""
    folder = tmp_path_factory.mktemp("spots")
    records = []
    for row, (x, y) in enumerate(SPOTS):
        path = folder / f"{row}.png"
        cv2.imwrite(str(path), draw_phantom(lesion=(x, y, 18), seed=row))
        records.append(Record(path, TumorClass.GLIOMA, str(row)))
    classifier = load_classifier(tiny_bundle, threads=1)
    return measure_repeatability(read_cases([MeasuredBundle(classifier, records)], 12))


@pytest.mark.parametrize(("way", "likeness"), [("shift", 0.74), ("turn", 0.65)])
def test_a_map_of_brightness_moves_with_the_head(figures, way, likeness):
    found = figures[way]["evidence"]
    # Maps that are not laid back, or turned the wrong way, are less alike.
    assert found["correlation"]["value"] > likeness
    assert found["peak_moved"]["value"] < 5.5
    assert found["peak_stayed"]["value"] == 1.0


def test_every_map_has_its_figures(figures):
    for way in ("shift", "turn"):
        for name in ("evidence", "gradcam"):
            assert set(figures[way][name]) == {
                "correlation",
                "peak_moved",
                "peak_stayed",
            }
            assert 0.0 <= figures[way][name]["peak_stayed"]["value"] <= 1.0
