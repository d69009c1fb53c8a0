"""A network that knows sequences and other lesions becomes a bundle that serves."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.samples.heads import TINY, draw_two_folds
from tumorlens.data.manifest import Record
from tumorlens.evaluation.by_sequence import sequence_figures
from tumorlens.evaluation.explanations import measure_faithfulness
from tumorlens.evaluation.scored_slices import MeasuredBundle, score_records
from tumorlens.experiments.packaging import TrainingData, make_bundle
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.slice.document import prediction_to_json
from tumorlens.taxonomy import DECIDED, FINDINGS, Lesion
from tumorlens.training.dataset import load_samples
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network

NAME = "evidence-net-sequences"


def with_lesions(records: list[Record]) -> list[Record]:
    """Make every fifth a tumour of another kind, and every seventh a stroke."""
    told = []
    for number, row in enumerate(records):
        sequence = (MRSequence.T1, MRSequence.T2, None)[number % 3]
        lesion = {5: Lesion.OTHER, 7: Lesion.VASCULAR}.get(number % 8)
        if lesion is not None:
            row = replace(row, label=None, lesion=lesion, kind=lesion.value)
        told.append(replace(row, sequence=sequence))
    return told


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    # Ten patients of each class, as a calibration needs.
    return with_lesions(draw_two_folds(tmp_path_factory.mktemp("people"), 80))


@pytest.fixture(scope="module")
def bundle(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    samples, _ = load_samples(records)
    keras.utils.set_random_seed(0)
    model = find_network(NAME).build(None)
    config = replace(TINY, network=NAME)
    held = HeldOut.of(model, samples, config.size)
    # What is kept between folds is kept on disk.
    place = tmp_path_factory.mktemp("held") / "heldout.npz"
    held.save(place)
    again = HeldOut.load(place, records)
    assert again.sequence is not None
    data = TrainingData(samples, [], records)
    folder = tmp_path_factory.mktemp("made") / "bundle"
    return make_bundle(model, config, data, folder, lambda _: None, again)


def test_the_bundle_says_what_its_outputs_speak_of(bundle: Bundle) -> None:
    assert bundle.findings == FINDINGS
    assert len(bundle.calibration.bias) == len(FINDINGS)
    assert set(bundle.prediction_sets.thresholds) == set(DECIDED)
    # Figures speak of the sequences that were there, and of no other.
    assert bundle.known_sequences == (MRSequence.T1, MRSequence.T2)


def test_a_prediction_has_all_that_is_promised(
    bundle: Bundle, records: list[Record]
) -> None:
    classifier = load_classifier(bundle.folder, threads=1)
    found = classifier.predict(records[0].path)
    assert isinstance(found, Prediction)
    document = prediction_to_json(found)
    assert sum(document["probabilities"].values()) == pytest.approx(1.0)
    no_tumor = document["probabilities"]["no_tumor"]
    assert document["p_tumor"] == pytest.approx(1.0 - no_tumor)
    assert 0.0 <= document["p_other"] <= document["p_tumor"] + 1e-9
    assert 0.0 <= document["p_vascular"] <= no_tumor + 1e-9
    assert document["predicted"] in document["probabilities"]
    assert document["sequence_by"]["pixels"] is not None
    assert 0.25 <= document["sequence_probability"] <= 1.0


def test_serving_says_what_training_said(bundle: Bundle, records: list[Record]) -> None:
    """The ONNX network's outputs, through file and bundle, are the Keras ones."""
    model = find_network(NAME).build(None)
    model.load_weights(bundle.folder / "model.weights.h5")
    (sample,), _ = load_samples(records[:1])
    held = HeldOut.of(model, [sample], bundle.preprocessing.size)
    found = load_classifier(bundle.folder, threads=1).predict(records[0].path)
    assert isinstance(found, Prediction)
    assert bundle.sequence_head is not None
    assert held.sequence is not None
    shares = bundle.sequence_head.probabilities(held.sequence)[0]
    assert found.sequence.pixels is bundle.sequence_head.sequences[int(shares.argmax())]
    assert found.sequence.probability == pytest.approx(float(shares.max()), abs=0.02)


def test_other_lesions_are_scored_beside_the_classes(
    bundle: Bundle, records: list[Record]
) -> None:
    classifier = load_classifier(bundle.folder, threads=1)
    classes = score_records(classifier, records)
    everything = score_records(classifier, records, lesions=True)
    assert len(everything.records) == len(records)
    assert len(classes.records) == sum(row.label is not None for row in records)
    assert np.isfinite(everything.lesions).all()
    np.testing.assert_array_equal(
        everything.labelled.probabilities, classes.probabilities
    )
    kinds = sequence_figures(everything)["kinds"]
    assert {name.split()[0] for name in kinds} == {"other", "vascular"}


def test_maps_of_another_kind_of_tumour_are_measured(
    bundle: Bundle, records: list[Record]
) -> None:
    """What such a map marks is deleted as well, though it is of none of the three."""
    classifier = load_classifier(bundle.folder, threads=1)
    likely_other = np.where(np.array(FINDINGS) == Lesion.OTHER, 20.0, 0.0)
    calibration = replace(bundle.calibration, bias=tuple(likely_other.tolist()))
    classifier.bundle = replace(classifier.bundle, calibration=calibration)
    found = measure_faithfulness([MeasuredBundle(classifier, records)], len, count=3)
    # Its own probability is followed, and nothing is deleted yet at the start.
    assert found["deletion"]["deletion"]["evidence"]["curve"][0] > 0.9
