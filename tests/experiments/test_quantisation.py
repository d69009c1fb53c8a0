"""A bundle gets a graph in int8 where it decides as float32 does, and only there."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import onnx
import pytest

from tests.samples.fast_path import with_convolutions
from tumorlens.cli.main import main
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.experiments.quantisation import QuantisationConfig, quantise
from tumorlens.inference.bundle.bundle import (
    load_bundle,
    read_document,
    sha256_of,
    write_document,
)
from tumorlens.inference.classifier import load_classifier

GOOD, BAD = (1.0, 1.0, 1.0), (1e4, 1e-4, 1.0, 1.0)
"""What convolutions multiply a channel by: steps as wide as one channel needs lose the
two others."""


def make_bundle(source: Path, folder: Path, factors: tuple[float, ...]) -> Path:
    """Copy a tiny bundle with convolutions before its network; it knows who trained."""
    shutil.copytree(source, folder)
    network = onnx.load(folder / "model.onnx")
    with_convolutions(network, factors)
    onnx.save(network, folder / "model.onnx")
    document = read_document(folder)
    document["files"]["model.onnx"] = sha256_of(folder / "model.onnx")
    document["provenance"] = {"patients": {"train": trained()}}
    write_document(folder, document)
    return folder


def trained() -> list[str]:
    kinds = ("glioma", "meningioma", "pituitary", "no_tumor")
    return [f"{kind}{number}" for kind in kinds for number in (0, 1)]


def config_of(manifest: Path, folds: Path | None = None) -> QuantisationConfig:
    return QuantisationConfig(manifest, folds, calibration_slices=8, ood_of_each_kind=1)


def test_a_graph_that_agrees_is_put_in_and_answers(
    tiny_bundle: Path, drawn_set: Path, tmp_path: Path
) -> None:
    folder = make_bundle(tiny_bundle, tmp_path / "good", GOOD)
    said: list[str] = []
    made = quantise(folder, config_of(drawn_set), said.append)
    path = load_bundle(folder).paths["int8"]
    assert path == made
    (agreement,) = path.agreements
    assert (agreement.measured_on, agreement.patients) == ("held-out patients", 4)
    assert agreement.slices == 8
    assert path.float32_nodes == ()
    graph = onnx.load(folder / path.file).graph
    # The last convolution, after which none comes, keeps its floats.
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) >= len(GOOD)
    assert any("equal decisions 100.00 %" in line for line in said)
    assert load_classifier(folder, 1, precision="int8").precision == "int8"


def test_convolutions_that_cannot_bear_it_stay_in_float32(
    tiny_bundle: Path, drawn_set: Path, tmp_path: Path
) -> None:
    folder = make_bundle(tiny_bundle, tmp_path / "mixed", BAD)
    said: list[str] = []
    made = quantise(folder, config_of(drawn_set), said.append)
    assert set(made.float32_nodes) == {"conv0", "conv1"}
    assert any("float32 has to judge" in line for line in said)


def test_a_graph_that_decides_otherwise_is_not_put_in(
    tiny_bundle: Path, drawn_set: Path, tmp_path: Path
) -> None:
    folder = make_bundle(tiny_bundle, tmp_path / "bad", BAD[:2])
    before = read_document(folder)
    with pytest.raises(TrainingError, match="is as it was"):
        quantise(folder, config_of(drawn_set), lambda _: None)
    assert read_document(folder) == before
    assert not (folder / "model.int8.onnx").exists()


def test_folds_measure_a_bundle_that_everybody_trained(
    tiny_bundle: Path, drawn_set: Path, tmp_path: Path
) -> None:
    with drawn_set.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["file"] = str(drawn_set.parent / row["file"])
        row["mask"] = row["mask"] and str(drawn_set.parent / row["mask"])
        row["fold"] = str(int(row["patient"][-1]) % 2)
    manifest = tmp_path / "folds.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    folder = make_bundle(tiny_bundle, tmp_path / "all", GOOD)
    for fold in (0, 1):
        place = make_bundle(tiny_bundle, tmp_path / f"folds/fold{fold}/bundle", GOOD)
        document = read_document(place)
        seen = [name for name in trained() if int(name[-1]) % 2 != fold]
        document["provenance"] = {"patients": {"train": seen}}
        write_document(place, document)
    config = config_of(manifest, tmp_path / "folds")
    made = quantise(folder, config, lambda _: None)
    apart, own = made.agreements
    assert (apart.measured_on, own.measured_on) == (
        "cross-validation",
        "training patients",
    )
    assert apart.slices == own.slices == len(rows)
    assert "paths" not in read_document(tmp_path / "folds/fold0/bundle")
    document = read_document(tmp_path / "folds/fold0/bundle")
    document["provenance"] = {"patients": {"train": ["glioma0"]}}
    write_document(tmp_path / "folds/fold0/bundle", document)
    with pytest.raises(DatasetError, match="should have left out"):
        quantise(folder, config, lambda _: None)


def test_nobody_held_out_is_said(
    tiny_bundle: Path,
    drawn_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_bundle(tiny_bundle, tmp_path / "bundle", GOOD)
    document = read_document(folder)
    document["provenance"]["patients"]["train"] = [
        *trained(),
        *(f"{name[:-1]}2" for name in trained()),
    ]
    write_document(folder, document)
    assert main(["quantise", str(folder), "--data", str(drawn_set)]) == 2
    assert "0 of others, to measure on" in capsys.readouterr().err
