"""`tumorlens evaluate` writes figures and a page, and tells what is held out."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from tests.cli.model.test_train import invoke
from tests.samples.heads import draw_people
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.inference.bundle.bundle import load_bundle, read_document, write_document
from tumorlens.report.model_card import model_card
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A manifest of eight people to train on, eight to test on, and a copy."""
    folder = tmp_path_factory.mktemp("people")
    drawn = draw_people(folder, 16)
    rows = [
        replace(row, split="train" if number < 8 else "test")
        for number, row in enumerate(drawn)
    ]
    copy = replace(drawn[0], patient="somebody else", mask=None, split="validation")
    write_manifest([*rows, copy], folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    """A bundle that names the people it was trained on."""
    folder = tmp_path_factory.mktemp("named") / "bundle"
    shutil.copytree(tiny_bundle, folder)
    document = read_document(folder)
    document["provenance"] = {"patients": {"train": [f"p{row}" for row in range(8)]}}
    write_document(folder, document)
    return folder


@pytest.fixture(scope="module")
def written(bundle, tiny_bundle, people, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    result = invoke(
        *("evaluate", "--data", people, "--split", "test"),
        *("--model", bundle, "--compare", tiny_bundle),
        *("--out", out / "page", "--robustness", "0", "--json", out / "figures.json"),
    )
    assert result.exit_code == 0, result.output
    return out, result.output


def test_metrics_and_page_are_written(written):
    out, _ = written
    metrics = json.loads((out / "page" / "metrics.json").read_text())
    assert metrics["slices"] == 8
    assert metrics["model"]["name"] == "tiny"
    assert metrics["data"]["split"] == "test"
    page = (out / "page" / "report.html").read_text()
    assert "Research use only" in page
    for name in ("held-out", "summary", "comparison-1", "worst-errors"):
        assert f'id="{name}"' in page
    # The page holds all it shows.
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_figures_on_patients_kept_apart_are_held_out(written):
    out, said = written
    metrics = json.loads((out / "page" / "metrics.json").read_text())
    assert metrics["held_out"] is True
    assert metrics["leakage"]["compared_with"] == 8
    assert "These figures are held out" in said
    # The bundle beside it names nobody, and is not said to be held out anywhere.
    figures = json.loads((out / "figures.json").read_text())
    assert len(figures) == 1
    assert "curves" not in figures[0]


def test_the_comparison_stands_on_the_terminal_and_in_the_figures(written):
    out, said = written
    assert "Beside tiny" in said
    # The other bundle names nobody, and the reader is told beside the difference.
    assert "does not say" in " ".join(said.split())
    assert "Difference" in said
    (figures,) = json.loads((out / "figures.json").read_text())
    assert figures["comparisons"][0]["names"][0].startswith("tiny")


@pytest.mark.parametrize("name", ["test", "cross_validation", "leave_site_out"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_figures_on_training_patients_or_copies_are_not_recorded_as_held_out(
    bundle, people, tmp_path, split, name
):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    result = invoke(
        *("evaluate", "--data", people, "--split", split),
        *("--model", copy, "--record", name),
    )
    assert result.exit_code == 2
    assert "NOT held out" in result.output
    assert load_bundle(copy).metrics == {}


def test_rates_of_training_patients_do_not_become_the_operating_points(
    bundle, people, tmp_path
):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    result = invoke(
        *("evaluate", "--data", people, "--split", "train"),
        *("--model", copy, "--record", "mine"),
    )
    assert result.exit_code == 0, result.output
    after = load_bundle(copy)
    assert after.metrics["mine"]["held_out"] is False
    assert after.operating_points == load_bundle(bundle).operating_points


def test_rates_of_one_kind_of_slices_are_not_mixed_with_others(
    bundle, people, tmp_path
):
    copy, healthy = tmp_path / "bundle", tmp_path / "healthy.csv"
    shutil.copytree(bundle, copy)
    rows = read_manifest(people)
    write_manifest([row for row in rows if row.label is TumorClass.NO_TUMOR], healthy)
    result = invoke(
        *("evaluate", "--data", healthy, "--split", "test"),
        *("--model", copy, "--record", "test"),
    )
    # The bundle names its people alone, whose pictures the manifest has to show.
    assert result.exit_code == 2
    shaped = [row for row in rows if row.split == "train"]
    apart = [
        row for row in rows if row.split == "test" and row.label is TumorClass.NO_TUMOR
    ]
    write_manifest([*shaped, *apart], healthy)
    result = invoke(
        *("evaluate", "--data", healthy, "--split", "test"),
        *("--model", copy, "--record", "test"),
    )
    assert result.exit_code == 0, result.output
    after = load_bundle(copy)
    assert after.operating_points == load_bundle(bundle).operating_points
    assert "Specificity at" in model_card(after)


def test_a_file_of_several_slices_is_left_out_and_named(bundle, people, tmp_path):
    volume = tmp_path / "head.nii"
    head = np.zeros((40, 40, 5), np.float32)
    head[10:30, 10:30] = 100.0
    nib.save(nib.Nifti1Image(head, np.eye(4)), volume)
    out = tmp_path / "manifest.csv"
    rows = [row for row in read_manifest(people) if row.split == "test"]
    write_manifest([*rows, replace(rows[0], path=volume, mask=None)], out)
    line = ("evaluate", "--data", out, "--model", bundle, "--split", "test")
    result = invoke(*line)
    assert result.exit_code == 0, result.output
    assert "head.nii holds 5 slices" in " ".join(result.output.split())
    assert "8 slices of 8 patients" in result.output
    # It has no figure, so nothing about the figures hangs on it.
    loose = replace(rows[0], path=volume, mask=None, patient="")
    shaped = [row for row in read_manifest(people) if row.split == "train"]
    write_manifest([*shaped, *rows, loose], out)
    assert "These figures are held out" in invoke(*line).output


def test_slices_of_nobody_known_are_not_called_patients(bundle, people, tmp_path):
    out = tmp_path / "manifest.csv"
    write_manifest([replace(row, patient="") for row in read_manifest(people)], out)
    result = invoke("evaluate", "--data", out, "--model", bundle, "--split", "test")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "each slice that names none counted as one" in said
    assert "NOT held out: 8 of 8 slices name no patient" in said


def test_where_all_rows_are_flagged_that_is_said(bundle, people, tmp_path):
    out = tmp_path / "manifest.csv"
    write_manifest([replace(row, flag="odd") for row in read_manifest(people)], out)
    result = invoke("evaluate", "--data", out, "--model", bundle, "--split", "test")
    assert result.exit_code == 2
    assert "8 rows are flagged" in " ".join(result.output.split())


def test_what_damage_costs_is_measured_and_recorded(bundle, people, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    result = invoke(
        *("evaluate", "--data", people, "--split", "test"),
        *("--model", copy, "--out", tmp_path, "--robustness", "4"),
        *("--record", "test"),
    )
    assert result.exit_code == 0, result.output
    recorded = load_bundle(copy).metrics
    assert set(recorded) == {"test", "robustness", "foreign", "faithfulness"}
    assert recorded["robustness"]["slices"] == 4
    assert 'id="corruption"' in (tmp_path / "report.html").read_text()


def test_what_trains_only_is_not_measured(bundle, people, tmp_path):
    out = tmp_path / "manifest.csv"
    rows = read_manifest(people)
    ends = [replace(row, train_only=number > 11) for number, row in enumerate(rows)]
    write_manifest(ends, out)
    figures = tmp_path / "figures.json"
    line = ("evaluate", "--data", out, "--model", bundle, "--json", figures)
    assert invoke(*line, "--split", "test").exit_code == 0
    (found,) = json.loads(figures.read_text())
    assert found["slices"] == 4
    write_manifest([replace(row, train_only=True) for row in rows], out)
    for command in ("evaluate", "compare-scans"):
        result = invoke(command, "--data", out, "--model", bundle, "--split", "test")
        assert result.exit_code == 2
        assert "'test'" in result.output


def test_a_split_without_rows_is_named(bundle, people):
    result = invoke(
        "evaluate", "--data", people, "--model", bundle, "--split", "train2"
    )
    assert result.exit_code == 2
    assert "'train2'" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--data", "{set}", "--model", "{bundle}"),
        ("compare-scans", "--data", "{set}", "--model", "{bundle}"),
        ("baseline", "--data", "{set}"),
        ("data", "audit", "{set}"),
        ("data", "overlap", "{set}", "{set}"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_before_any_work(
    bundle, people, tmp_path, command
):
    filled = [part.format(set=people, bundle=bundle) for part in command]
    result = invoke(*filled, "--json", tmp_path / "none" / "figures.json")
    assert result.exit_code == 2
    assert result.output.startswith("Error: The folder ")
    assert str(tmp_path / "none") in result.output
