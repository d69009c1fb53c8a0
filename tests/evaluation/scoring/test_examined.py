"""Folds' bundles measured together: each on its own patients alone."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tumorlens.data.manifest import read_manifest
from tumorlens.evaluation.explanations.agreement import measure_agreement
from tumorlens.evaluation.explanations.cases import read_cases
from tumorlens.evaluation.explanations.randomise import measure_randomisation, shuffle
from tumorlens.evaluation.robustness.corruption import measure_corruption
from tumorlens.evaluation.robustness.ood import measure_foreign
from tumorlens.evaluation.robustness.ood_pictures import gather
from tumorlens.evaluation.scoring.examined import Examined, shared
from tumorlens.inference.bundle.bundle import read_document, sha256_of, write_document
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import CLASSES


@pytest.fixture(scope="module")
def halves(tiny_bundle, drawn_set, tmp_path_factory):
    """Two bundles on half of the patients each.

    The second refuses everything, and its network is another.
    """
    strict = tmp_path_factory.mktemp("strict") / "bundle"
    shutil.copytree(tiny_bundle, strict)
    domain = OodModel.load(strict / "domain.npz")
    replace(domain, cut=np.float32(1.0)).save(strict / "domain.npz")
    other = shuffle(onnx.load(strict / "model.onnx"), [["to_class"]], seed=2)
    onnx.save(other, strict / "model.onnx")
    document = read_document(strict)
    for name in ("domain.npz", "model.onnx"):
        document["files"][name] = sha256_of(strict / name)
    write_document(strict, document)
    records = read_manifest(drawn_set)
    patients = sorted({row.patient for row in records})
    first = {patients[row] for row in range(0, len(patients), 2)}
    return [
        Examined(
            load_classifier(folder, threads=1),
            [row for row in records if (row.patient in first) == (number == 0)],
        )
        for number, folder in enumerate((tiny_bundle, strict))
    ]


def test_bundles_share_what_is_measured(halves):
    assert shared(50, halves) == 25
    assert shared(1, halves) == 1


def test_each_bundle_judges_its_own_half_of_the_damaged(halves):
    found = measure_corruption(halves, len, of_each_class=2)
    assert found["slices"] == 2 * len(CLASSES)
    assert found["clean"]["refused"]["value"] == 0.5
    for kind in found["kinds"].values():
        assert all(row["refused"]["value"] >= 0.5 for row in kind["strengths"])


def test_each_bundle_refuses_its_own_half_of_the_pictures(halves):
    found = measure_foreign(halves, len, of_each_kind=2)
    assert found["bundles"] == 2
    assert found["passed"]["value"] == pytest.approx(
        len(halves[0].records) / sum(len(item.records) for item in halves)
    )
    # One spine is drawn for each: the first passes, the second is refused.
    assert found["kinds"]["drawn: spine"]["pictures"] == 2
    assert found["kinds"]["drawn: spine"]["refused"]["value"] == 0.5


def test_no_drawing_is_shown_to_two_bundles():
    first, second = (gather([], 1, number)[0] for number in (0, 1))
    drawn = [item for item in first if item.kind.startswith("drawn")]
    for one, other in zip(drawn, second[: len(drawn)], strict=True):
        assert one.kind == other.kind and one.origin != other.origin
        assert not np.array_equal(one.slice_.pixels, other.slice_.pixels)


def test_maps_of_several_bundles_count_alike(halves):
    together = measure_agreement(read_cases(halves, 6))
    alone = [measure_agreement(read_cases([item], 3)) for item in halves]
    assert together["slices"] == 6
    for key in ("peak_inside", "dice"):
        parts = [found["evidence"][key]["value"] for found in alone]
        assert together["evidence"][key]["value"] == pytest.approx(np.mean(parts))


def test_every_network_is_shuffled_by_itself(halves):
    cases = read_cases(halves, 6)
    found = measure_randomisation(cases, len)
    alone = [
        measure_randomisation([case for case in cases if case.bundle is bundle], len)
        for bundle in (item.classifier.bundle for item in halves)
    ]
    for row, stage in enumerate(found["cascading"]):
        parts = [item["cascading"][row]["evidence"]["ssim"]["value"] for item in alone]
        assert stage["evidence"]["ssim"]["value"] == pytest.approx(np.mean(parts))
    assert parts[0] != pytest.approx(parts[1], abs=0.01)


def test_flagged_rows_serve_no_bundle_as_brain_mri(halves):
    flagged = [
        Examined(item.classifier, [replace(row, flag="ct") for row in item.records])
        for item in halves
    ]
    assert measure_corruption(flagged, len)["slices"] == 0
    assert read_cases(flagged, 6) == []
