"""Accounts: a name and a password open one, and nothing else does."""

from __future__ import annotations

import pytest

from tumorlens.errors import MissingFileError, SettingError
from tumorlens.jobs.accounts import AccountStore
from tumorlens.jobs.database import Database

PASSWORD = "four drawn heads a day"


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database)


def test_a_name_and_its_password_open_an_account(accounts: AccountStore) -> None:
    assert not accounts.exist()
    made = accounts.add("anna", PASSWORD, "viewer")
    assert accounts.exist()
    found = accounts.check("anna", PASSWORD)
    assert found is not None and found.role == "viewer"
    assert accounts.check("anna", PASSWORD[:-1]) is None
    assert accounts.check("ben", PASSWORD) is None
    assert accounts.get("anna", made.stamp) is not None
    assert accounts.get("anna", "another") is None


def test_another_password_and_a_closed_account_end_sessions(
    accounts: AccountStore,
) -> None:
    stamp = accounts.add("anna", PASSWORD, "reader").stamp
    accounts.set_password("anna", PASSWORD + "!")
    assert accounts.get("anna", stamp) is None
    assert accounts.check("anna", PASSWORD) is None
    account = accounts.check("anna", PASSWORD + "!")
    assert account is not None
    accounts.disable("anna")
    assert accounts.check("anna", PASSWORD + "!") is None
    assert accounts.get("anna", account.stamp) is None
    for change in (
        accounts.disable,
        lambda name: accounts.set_password(name, PASSWORD),
    ):
        with pytest.raises(MissingFileError, match="no account 'ben'"):
            change("ben")


def test_passwords_are_kept_as_argon2_alone(accounts: AccountStore) -> None:
    first = accounts.add("anna", PASSWORD, "reader").password
    second = accounts.add("ben", PASSWORD, "reader").password
    assert first.startswith("$argon2id$")
    assert first != second
    assert PASSWORD not in first


@pytest.mark.parametrize(
    ("name", "password", "role", "said"),
    [
        ("", PASSWORD, "reader", "0 characters"),
        ("anna", "short", "reader", "5 characters"),
        ("anna", "x" * 1001, "reader", "1001"),
        ("anna", PASSWORD, "chief", "'chief'"),
    ],
)
def test_what_cannot_be_is_refused(
    accounts: AccountStore, name: str, password: str, role: str, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        accounts.add(name, password, role)
    accounts.add("ben", PASSWORD, "reader")
    with pytest.raises(SettingError, match="already"):
        accounts.add("ben", PASSWORD, "admin")
