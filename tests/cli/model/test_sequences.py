"""`tumorlens sequences` shows and writes figures by set and sequence."""

import json

from tests.cli.model.test_train import invoke


def test_each_model_has_its_column_and_its_figures(tiny_bundle, drawn_set, tmp_path):
    result = invoke(
        *("sequences", "--data", drawn_set, "--model", tiny_bundle),
        *("--source", "a", "--json", tmp_path / "figures.json"),
    )
    assert result.exit_code == 0, result.output
    assert "Four-class accuracy" in result.output and "tiny 0.0.1" in result.output
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert figures["model"] == "tiny 0.0.1"
    assert [part["slices"] for part in figures["sequences"].values()] == [8]


def test_a_source_that_is_not_there_leaves_nothing_to_judge(drawn_set):
    result = invoke("sequences", "--data", drawn_set, "--source", "elsewhere")
    assert result.exit_code == 2
    assert "is left to judge" in result.output
