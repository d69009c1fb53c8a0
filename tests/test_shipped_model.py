"""The model that ships: whole, small enough, and it keeps its promises."""

import os
from pathlib import Path

import numpy as np
import pytest

from tumorlens import load_classifier
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE, WEIGHTS_FILE, load_bundle
from tumorlens.inference.slice.session import Session
from tumorlens.taxonomy import Verdict

MOST_BYTES = 25_000_000
STRANGER = Path(
    os.environ.get("TUMORLENS_DATA", "../shared/data"),
    "volumes/long_patient20_study2_T1W.nii.gz",
)


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


def test_every_file_is_below_25_mb():
    for path in DEFAULT_BUNDLE.iterdir():
        assert path.stat().st_size < MOST_BYTES, path


def test_its_figures_are_of_patients_that_the_judging_network_never_saw(classifier):
    """It is a mean of networks, each of which left another fold out."""
    bundle = classifier.bundle
    assert bundle.provenance["averaged"] == 5
    assert bundle.provenance["sets"].keys() == {"train"}
    apart = {"robustness", "foreign", "faithfulness"}
    assert bundle.metrics.keys() == {"cross_validation", *apart}
    assert all(bundle.metrics[name]["bundles"] == 5 for name in apart)
    assert bundle.provenance["calibrated_on"]["how"] == "cross-validation"
    assert bundle.metrics["cross_validation"]["slices"] > 3000


def test_drawn_foreign_pictures_are_refused(classifier):
    ood_pictures = pytest.importorskip("tumorlens.data.ood_pictures")
    # Another seed than the one it was taught with.
    drawn = ood_pictures.draw_ood_samples(3, seed=99)
    found = [classifier.predict(item.pixels) for item in drawn]
    refused = [row.decision.label is Verdict.NOT_BRAIN_MRI for row in found]
    assert np.mean(refused) >= 0.95


def test_a_blank_picture_is_refused(classifier):
    found = classifier.predict(np.zeros((256, 256), np.uint8))
    assert found.decision.label is Verdict.NOT_BRAIN_MRI


@pytest.mark.skipif(not STRANGER.exists(), reason="The data sets are not here.")
def test_a_stranger_is_no_foreign_picture_with_skull_or_without(classifier, tmp_path):
    """It trained nothing: the manifest of the shipped model leaves it out."""
    cutting = pytest.importorskip("tumorlens.data.series")
    from tumorlens.training.dataset import load_samples, without_skull

    records = cutting.cut_volumes(
        [STRANGER], tmp_path, label="no_tumor", source="head", every_mm=8.0
    )
    whole, _ = load_samples(records)
    for samples in (whole, without_skull(whole)):
        assert len(samples) > 10
        found = [classifier.predict(item.square).decision.label for item in samples]
        refused = [decision is Verdict.NOT_BRAIN_MRI for decision in found]
        assert np.mean(refused) <= 0.1


def test_keras_weights_and_onnx_give_the_same_probabilities():
    pytest.importorskip("keras", reason="the extra 'train' is not installed")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tumorlens.training.networks.registry import find_network

    bundle = load_bundle(DEFAULT_BUNDLE)
    model = find_network(bundle.name).build(bundle.preprocessing.size)
    model.load_weights(DEFAULT_BUNDLE / WEIGHTS_FILE)
    pixels = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)
    session = Session(bundle, 1)
    outputs = model.predict_on_batch(pixels)
    found = session.run(pixels)
    for ours, theirs in (
        (found.logits, outputs["logits"]),
        (found.evidence, outputs["evidence"]),
    ):
        np.testing.assert_allclose(softmax(ours), softmax(theirs), atol=1e-5)


def softmax(values):
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
