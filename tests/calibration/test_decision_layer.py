"""Where too few patients are kept apart, nothing is fitted and nothing claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tumorlens.calibration.decision_layer import (
    FEWEST_PATIENTS,
    inherited_layer,
    too_few_patients,
    unfitted_layer,
)
from tumorlens.data.manifest import Record
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.taxonomy import CLASSES, DECIDED, FINDINGS, Lesion, TumorClass
from tumorlens.training.held_out import HeldOut
from tumorlens.training.networks.registry import find_network


def rows(label: TumorClass, patients: int, slices: int = 3) -> list[Record]:
    return [
        Record(Path(f"{label}-{row}-{number}.png"), label, f"{label} {row}")
        for row in range(patients)
        for number in range(slices)
    ]


def test_patients_are_counted_and_not_slices() -> None:
    records = [
        *rows(TumorClass.GLIOMA, FEWEST_PATIENTS, slices=1),
        *rows(TumorClass.NO_TUMOR, FEWEST_PATIENTS - 1, slices=50),
        Record(Path("other.png"), None, "p", lesion=Lesion.OTHER),
    ]
    asked = (TumorClass.GLIOMA, TumorClass.MENINGIOMA, TumorClass.NO_TUMOR)
    assert too_few_patients(records, asked) == {
        TumorClass.MENINGIOMA: 0,
        TumorClass.NO_TUMOR: FEWEST_PATIENTS - 1,
    }
    assert too_few_patients(records, asked[:1]) == {}


@pytest.mark.parametrize(
    ("name", "cells", "findings", "decided"),
    [
        ("seed-cnn", 4, CLASSES, CLASSES),
        ("evidence-net-sequences", 784, FINDINGS, DECIDED),
    ],
)
def test_an_unfitted_layer_decides_and_claims_nothing(
    name: str, cells: int, findings: tuple[str, ...], decided: tuple[str, ...]
) -> None:
    network = find_network(name)
    layer = unfitted_layer(network, cells)
    for point in layer.operating_points.values():
        assert (point.threshold, point.sensitivity, point.measured) == (0.5, None, {})
    assert layer.prediction_sets.thresholds == dict.fromkeys(decided, 0.0)
    assert layer.calibration.evidence_cells == min(8, cells)
    assert layer.rules.to_json() == {}
    edge = round(cells**0.5)
    logits = np.random.default_rng(0).normal(size=(3, len(findings))).astype(np.float32)
    held = HeldOut(
        tuple(rows(TumorClass.GLIOMA, 3, slices=1)),
        logits,
        np.zeros((3, edge, edge, len(findings)), np.float32),
        np.full((3, edge, edge), np.nan, np.float32),
        np.zeros((3, 4), np.float32) if network.sequences else None,
    )
    probabilities = layer.probabilities(held)
    assert probabilities.shape == (3, len(decided))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities.argmax(axis=1) == logits[:, : len(decided)].argmax(1)).any()


def test_an_inherited_layer_is_the_parents(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    layer = inherited_layer(bundle)
    assert layer.operating_points == bundle.operating_points
    assert layer.calibration == bundle.calibration
    assert layer.prediction_sets == bundle.prediction_sets
