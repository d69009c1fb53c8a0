"""A bundle is loaded whole and unchanged, or refused with a clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import build_tiny_bundle
from tumorlens.errors import BundleError
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.inference.bundle.bundle import digest_of, load_bundle, save_bundle
from tumorlens.inference.bundle.facts import Rules
from tumorlens.report.words import UNMEASURED, measured_sentence
from tumorlens.taxonomy import CLASSES
from tumorlens.web.views.presentation import measured_rates

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def change(folder: Path, edit: Change, sign: bool = True) -> None:
    """Edit `bundle.json`, and sign it again unless told otherwise."""
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    edit(document)
    if sign:
        document.pop("digest")
        document["digest"] = digest_of(document)
    path.write_text(json.dumps(document))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        load_bundle(folder)
    assert str(folder) in caught.value.message
    assert caught.value.hint


def test_what_was_saved_is_loaded(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.folder == tiny_bundle
    assert (bundle.name, bundle.version) == ("tiny", "0.0.1")
    assert bundle.classes == CLASSES
    assert bundle.preprocessing == Preprocessing()
    assert bundle.calibration.bias == (0.0, 0.0, 0.0, 0.0)
    assert bundle.operating_points["screening"].threshold == 0.3
    assert bundle.operating_points["balanced"].sensitivity.low == 0.8
    assert bundle.default_operating_point == "screening"
    assert bundle.prediction_sets.thresholds == dict.fromkeys(CLASSES, 0.1)
    assert bundle.provenance == {"data": "drawn"}
    assert bundle.rules == Rules()
    assert set(bundle.files) == {"model.onnx", "domain.npz"}


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no model bundle")
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("name", ["model.onnx", "domain.npz"])
def test_a_file_that_was_tampered_with(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    refused(copy, f"{name} is not the file")


def test_a_file_that_was_cut_off(copy: Path) -> None:
    data = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(data[: len(data) // 2])
    refused(copy, "model.onnx is not the file")


def test_a_file_that_is_gone(copy: Path) -> None:
    (copy / "domain.npz").unlink()
    refused(copy, "domain.npz cannot be read")


def test_facts_that_were_changed(copy: Path) -> None:
    change(copy, lambda facts: facts.update(version="9"), sign=False)
    refused(copy, "changed after it was exported")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": NaN}', "[" * 100_000])
def test_facts_that_are_no_json_object(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    refused(copy, "JSON")


def test_facts_that_are_too_large(copy: Path) -> None:
    (copy / "bundle.json").write_text(" " * (5 * 2**20))
    refused(copy, "larger")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("tumorlens-bundle/2", "format 2"),
        ("keras/1", "not a TumorLens bundle"),
        ("tumorlens-bundle", "not a TumorLens bundle"),
        (None, "not a TumorLens bundle"),
    ],
)
def test_other_formats(copy: Path, stated: str | None, words: str) -> None:
    change(copy, lambda facts: facts.update(format=stated))
    refused(copy, words)


def test_a_newer_format_says_to_upgrade(copy: Path) -> None:
    change(copy, lambda facts: facts.update(format="tumorlens-bundle/2"))
    with pytest.raises(BundleError) as caught:
        load_bundle(copy)
    assert "Upgrade" in caught.value.hint


def test_other_classes(copy: Path) -> None:
    change(copy, lambda facts: facts["classes"].reverse())
    refused(copy, "is for the classes")


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a/b", "..", "a\\b", "", "a\0b"]
)
def test_files_outside_the_bundle(copy: Path, name: str) -> None:
    change(copy, lambda facts: facts["files"].update({name: "0"}))
    refused(copy, "outside the bundle")


@pytest.mark.parametrize("name", ["model.onnx", "domain.npz"])
def test_files_that_have_to_be_listed(copy: Path, name: str) -> None:
    change(copy, lambda facts: facts["files"].pop(name))
    refused(copy, f"lists no {name}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("name", ""),
        ("version", 3),
        ("preprocessing.size", 0),
        ("preprocessing.size", 225),
        ("preprocessing.margin", "wide"),
        ("calibration", []),
        ("calibration.bias", [0.0, 0.0]),
        ("calibration.slice_weight", True),
        ("calibration.slice_weight", 10**400),
        ("calibration.evidence_cells", 0),
        ("calibration.evidence_cells", 785),
        ("operating_points.screening", 0.5),
        ("operating_points.screening.threshold", 1.5),
        ("operating_points.screening.sensitivity", {"value": 1}),
        ("default_operating_point", "cautious"),
        ("prediction_sets.thresholds", {"glioma": 0.1}),
        ("domain", {}),
        ("files", []),
        ("rules", []),
        ("rules.head_disagreement", 1.5),
        ("rules.min_brain_share", None),
        ("rules.least_contrast", 0.1),
    ],
)
def test_facts_of_the_wrong_kind_are_named(
    copy: Path, place: str, value: object
) -> None:
    *path, last = place.split(".")

    def edit(facts: dict[str, Any]) -> None:
        for key in path:
            facts = facts.setdefault(key, {})
        facts[last] = value

    change(copy, edit)
    refused(copy, last)


def test_what_cannot_be_json_is_not_saved(tmp_path: Path) -> None:
    build_tiny_bundle(tmp_path)
    good = load_bundle(tmp_path)
    with pytest.raises(BundleError, match="JSON"):
        save_bundle(
            tmp_path,
            name=good.name,
            version=good.version,
            preprocessing=good.preprocessing,
            calibration=good.calibration,
            operating_points=good.operating_points,
            default_operating_point=good.default_operating_point,
            prediction_sets=good.prediction_sets,
            domain=good.domain,
            provenance={},
            metrics={"accuracy": float("nan")},
        )
    assert load_bundle(tmp_path) == good


COSTS = {
    "all": {
        "same_scanner": {
            "value": 0.5,
            "low": 0.4,
            "high": 0.6,
            "slices": 420,
            "patients": 28,
        }
    }
}


def test_what_a_threshold_costs_is_read_back(copy: Path) -> None:
    change(
        copy,
        lambda facts: facts["operating_points"]["screening"].update(measured=COSTS),
    )
    points = load_bundle(copy).operating_points
    share = points["screening"].measured["all"]["same_scanner"]
    assert (share.value, share.slices, share.patients) == (0.5, 420, 28)
    assert points["screening"].to_json()["measured"] == COSTS
    # Bundles of before do not say.
    assert points["balanced"].measured == {}
    assert "measured" not in points["balanced"].to_json()


@pytest.mark.parametrize(("key", "value"), [("value", 1.2), ("patients", 0)])
def test_a_cost_that_is_none_is_refused(copy: Path, key: str, value: float) -> None:
    costs = {"all": {"same_scanner": {**COSTS["all"]["same_scanner"], key: value}}}
    change(
        copy,
        lambda facts: facts["operating_points"]["screening"].update(measured=costs),
    )
    refused(copy, key)


def test_a_point_without_rates_says_so(copy: Path) -> None:
    def bare(facts: dict[str, Any]) -> None:
        del facts["operating_points"]["screening"]["sensitivity"]
        del facts["operating_points"]["screening"]["specificity"]

    change(copy, bare)
    bundle = load_bundle(copy)
    point = bundle.operating_points["screening"]
    assert (point.sensitivity, point.specificity) == (None, None)
    assert point.to_json() == {"threshold": 0.3}
    assert measured_sentence(point) == UNMEASURED
    assert [item.sentence for item in measured_rates(bundle, "screening")] == [
        UNMEASURED
    ]
    assert UNMEASURED not in measured_sentence(bundle.operating_points["balanced"])


@pytest.mark.parametrize("lacks", ["sensitivity", "specificity"])
def test_a_point_with_one_rate_of_two_is_refused(copy: Path, lacks: str) -> None:
    change(copy, lambda facts: facts["operating_points"]["screening"].pop(lacks))
    refused(copy, lacks)
