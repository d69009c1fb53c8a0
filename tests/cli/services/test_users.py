"""`tumorlens users`, with passwords from a pipe."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tumorlens.cli.main import main
from tumorlens.jobs.accounts import AccountStore
from tumorlens.jobs.store import open_database


def test_accounts_are_made_listed_and_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def users(*words: str, typed: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed + "\n"))
        return main(["users", *words, "--store", str(tmp_path / "store")])

    first, second = "four drawn heads a day", "five drawn heads a day"
    assert users("add", "anna", "--role", "viewer", typed=first) == 0
    assert users("add", "anna", typed=first) == 2
    assert "already" in capsys.readouterr().err
    assert users("add", "ben", typed="short") == 2
    assert users("password", "anna", typed=second) == 0
    database = open_database(tmp_path / "store", None)
    accounts = AccountStore(database)
    assert accounts.check("anna", first) is None
    assert accounts.check("anna", second) is not None
    accounts.add_passkey("anna", "a", b"key", 0)
    capsys.readouterr()
    assert users("list") == 0
    assert capsys.readouterr().out == "anna  viewer  passkeys: 1\n"
    assert users("reset", "anna") == 0
    assert accounts.check("anna", second) is not None
    assert users("role", "anna", "reader") == 0
    assert users("role", "ben", "reader") == 2
    database.close()
    assert users("disable", "anna") == 0
    capsys.readouterr()
    assert users("list") == 0
    assert capsys.readouterr().out == "anna  reader  disabled\n"
