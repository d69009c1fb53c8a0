"""`tumorlens validate`: from a protocol to a decision, over two sites."""

from __future__ import annotations

import json
import sys

import pytest

from tests.scale.validation.test_study import PROTOCOL
from tumorlens.cli.main import main


@pytest.mark.parametrize("command", ["", "check", "site", "merge"])
def test_help_needs_no_extra(command, capsys, monkeypatch):
    for name in ("keras", "sklearn", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["validate", *command.split(), "--help"]) == 0
    assert "protocol" in capsys.readouterr().out


def test_two_sites_are_counted_and_merged(drawn_set, tiny_bundle, tmp_path, capsys):
    protocol = tmp_path / "protocol.toml"
    protocol.write_text(PROTOCOL)
    assert main(["validate", "check", "--protocol", str(protocol)]) == 0
    assert "needs 19 patients; 20 are planned" in capsys.readouterr().out
    files = []
    for name in ("east", "west"):
        files.append(str(tmp_path / f"{name}.json"))
        call = ["validate", "site", "--protocol", str(protocol), "--name", name]
        call += ["--data", str(drawn_set), "--model", str(tiny_bundle)]
        assert main([*call, "--json", files[-1]]) == 0
    out = tmp_path / "out"
    call = ["validate", "merge", "--protocol", str(protocol), *files]
    assert main([*call, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "primary: sensitivity above 0.7" in said
    assert "Deviation from the protocol: 18 patients count" in said
    result = json.loads((out / "metrics.json").read_text())
    assert result["slices"] == 48
    assert sorted(result["subgroups"]["federated_site"]) == ["east", "west"]


def test_a_wrong_protocol_is_told(tmp_path, capsys):
    missing = str(tmp_path / "none.toml")
    assert main(["validate", "check", "--protocol", missing]) == 2
    assert "cannot be read" in capsys.readouterr().err
