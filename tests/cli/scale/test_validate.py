"""`tumorlens validate`: from a protocol to a decision, over two sites."""

from __future__ import annotations

import json
import sys

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from tests.scale.test_signature import write_key
from tests.scale.test_validation import PROTOCOL
from tumorlens.cli.main import main


@pytest.mark.parametrize(
    ("command", "word"),
    [
        *(("", "protocol"), ("check", "protocol"), ("site", "protocol")),
        *(("merge", "protocol"), ("sign", "signature"), ("verify", "signature")),
    ],
)
def test_help_needs_no_extra(command, word, capsys, monkeypatch):
    for name in ("keras", "sklearn", "scipy", "cryptography"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["validate", *command.split(), "--help"]) == 0
    assert word in capsys.readouterr().out


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
    private, public = write_key(tmp_path)
    call = ["validate", "merge", "--protocol", str(protocol), *files]
    assert main([*call, "--out", str(out), "--sign-key", str(private)]) == 0
    said = capsys.readouterr().out
    assert "primary: sensitivity above 0.7" in said
    assert "Deviation from the protocol: 18 patients count" in said
    result = json.loads((out / "metrics.json").read_text())
    assert result["slices"] == 48
    assert sorted(result["subgroups"]["federated_site"]) == ["east", "west"]
    reports = [str(out / f"{name}") for name in ("report.html", "report.pdf")]
    verify = ["validate", "verify", "--key", str(public), *reports]
    assert main(verify) == 0
    said = capsys.readouterr().out
    assert said.count(": signed") == 2
    assert "SHA256:" in said
    page = out / "report.html"
    page.write_text(page.read_text().replace("not met", "met", 1))
    assert main(verify) == 1
    assert "report.html: NOT what was signed" in capsys.readouterr().out
    assert main(["validate", "sign", "--key", str(private), str(page)]) == 0
    assert main(verify) == 0
    (out / "report.pdf.sig").unlink()
    assert main(verify) == 2
    assert "report.pdf.sig cannot be read" in capsys.readouterr().err


def test_a_password_is_asked_for(tmp_path, capsys, monkeypatch):
    private, public = write_key(tmp_path, lock=BestAvailableEncryption(b"secret"))
    report = tmp_path / "report.html"
    report.write_text("figures")
    call = ["validate", "sign", "--key", str(private), str(report)]
    assert main(call) == 2
    assert "--ask-password" in capsys.readouterr().err
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "secret")
    assert main([*call, "--ask-password"]) == 0
    assert main(["validate", "verify", "--key", str(public), str(report)]) == 0


def test_signing_says_which_extra_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    call = ["validate", "verify", "--key", "key.pub", str(tmp_path / "report.html")]
    assert main(call) == 2
    assert "'signing'" in capsys.readouterr().err


def test_a_wrong_protocol_is_told(tmp_path, capsys):
    missing = str(tmp_path / "none.toml")
    assert main(["validate", "check", "--protocol", missing]) == 2
    assert "cannot be read" in capsys.readouterr().err
