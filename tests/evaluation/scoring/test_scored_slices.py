"""A bundle's answers on drawn heads, as figures need them."""

import numpy as np
import pytest

from tests.samples.scored_sets import random_set
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scoring.scored_slices import ScoredSet, score_records
from tumorlens.inference.classifier import load_classifier
from tumorlens.taxonomy import CLASSES, TumorClass


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def scored(classifier, drawn_set):
    return score_records(classifier, read_manifest(drawn_set))


def test_every_slice_is_scored_as_it_is_served(classifier, scored):
    assert len(scored.records) == 24
    one = classifier.predict(scored.records[3].path)
    wanted = [one.decision.probabilities[name] for name in CLASSES]
    assert scored.probabilities[3] == pytest.approx(wanted, abs=1e-6)
    assert scored.decisions[3] == one.decision.label
    names = [CLASSES[row] for row in np.flatnonzero(scored.sets[3])]
    assert tuple(names) == one.decision.prediction_set


def test_only_outlined_tumours_are_localised(scored):
    healthy = ~scored.tumor
    for values in (scored.peak_inside, scored.gradcam_dice, scored.outline_shares):
        assert np.isnan(values[healthy]).all()
        assert np.isfinite(values[~healthy]).all()
    # The tiny network sees brightness, and the lesions are bright.
    assert scored.peak_inside[scored.labels == 0].mean() == 1.0
    # A disc of 22 pixels' radius, in a square around a head of about 225.
    share = scored.outline_shares[scored.labels == 0].mean()
    assert share == pytest.approx(np.pi * 22**2 / 240**2, rel=0.25)


def test_thresholds_are_those_of_the_bundle(scored):
    assert set(scored.thresholds) == {0.3}
    assert set(scored.balanced_thresholds) == {0.5}


def test_a_damaged_file_is_left_out_and_named(classifier, drawn_set, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nrest")
    records = [Record(broken, TumorClass.GLIOMA), *read_manifest(drawn_set)[:2]]
    said = []
    found = score_records(classifier, records, say=said.append)
    assert found.records == records[1:]
    assert len(said) == 1
    assert "broken.png" in said[0]


def test_nothing_to_score_is_an_error(classifier, slice_file):
    with pytest.raises(DatasetError, match="None of the listed"):
        score_records(classifier, [Record(slice_file, None)])


def test_a_blurred_picture_is_less_sharp(classifier, slice_file, tmp_path):
    import cv2

    sharp = cv2.imread(str(slice_file), cv2.IMREAD_GRAYSCALE)
    blurred = tmp_path / "blurred.png"
    cv2.imwrite(str(blurred), cv2.GaussianBlur(sharp, (0, 0), 3.0))
    records = [Record(path, TumorClass.GLIOMA) for path in (slice_file, blurred)]
    first, second = score_records(classifier, records).sharpness
    assert second < 0.5 * first


def test_folds_are_pooled_in_order():
    one, other = random_set(1, patients=4), random_set(2, patients=8)
    both = ScoredSet.concatenate([one, other])
    assert len(both.records) == 48
    assert both.probabilities[16:].tolist() == other.probabilities.tolist()
    assert both.take(np.arange(16, 48)).decisions == list(other.decisions)
