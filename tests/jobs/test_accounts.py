"""Accounts and tokens: who is let in, who is not, and what is kept of them."""

from __future__ import annotations

from pathlib import Path

import pyotp
import pytest

from tests.jobs.conftest import Clock
from tumorlens.errors import MissingFileError, SettingError
from tumorlens.jobs.accounts import AccountStore, TokenStore, code_address, new_code_key
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


class OwnClock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_each_code_of_an_app_opens_the_account_once(database: Database) -> None:
    clock = OwnClock()
    accounts = AccountStore(database, clock)
    stamp = accounts.add("anna", PASSWORD, "reader").stamp
    key = new_code_key()
    app = pyotp.parse_uri(code_address(key, "anna"))
    assert accounts.set_code_key("anna", key, "123") is None
    assert accounts.set_code_key("anna", key, app.at(clock.now - 90)) is None
    assert accounts.check("anna", PASSWORD) is not None
    assert accounts.set_code_key("anna", key, app.at(clock.now)) is not None
    assert accounts.get("anna", stamp) is None
    for code in ("", "123456x", app.at(clock.now), app.at(clock.now - 30)):
        assert accounts.check("anna", PASSWORD, code) is None
    clock.now += 60
    code = app.at(clock.now)
    assert accounts.check("anna", "another password", code) is None
    assert accounts.check("anna", PASSWORD, f"{code[:3]} {code[3:]}") is not None
    assert accounts.check("anna", PASSWORD, code) is None
    # A phone's clock may be half a minute ahead, and no more.
    assert accounts.check("anna", PASSWORD, app.at(clock.now + 90)) is None
    assert accounts.check("anna", PASSWORD, app.at(clock.now + 30)) is not None
    accounts.remove_factors("anna")
    assert accounts.check("anna", PASSWORD) is not None


def test_an_account_with_a_passkey_is_not_opened_by_its_password(
    accounts: AccountStore,
) -> None:
    stamp = accounts.add("anna", PASSWORD, "reader").stamp
    accounts.add_passkey("anna", "first", b"key", 0)
    accounts.add_passkey("anna", "second", b"key", 0)
    assert accounts.get("anna", stamp) is None
    assert accounts.check("anna", PASSWORD) is None
    accounts.note_use("second", 7)
    found = accounts.passkey("second")
    assert found is not None and (found[0].uses, found[1].name) == (7, "anna")
    with pytest.raises(SettingError, match="already"):
        accounts.add_passkey("anna", "first", b"key", 0)
    accounts.remove_factors("anna", "first")
    assert [item.id for item in accounts.passkeys("anna")] == ["second"]
    accounts.disable("anna")
    assert accounts.passkey("second") is None
    assert accounts.passkey("first") is None


def test_who_signs_in_elsewhere_has_one_account(
    accounts: AccountStore, database: Database
) -> None:
    made = accounts.signed_in("https://a 1", "anna", "viewer")
    assert made is not None and accounts.has_second_factor(made)
    accounts.set_role("anna", "reader")
    again = accounts.signed_in("https://a 1", "another name", "viewer")
    assert again is not None and (again.name, again.role) == ("anna", "reader")
    TokenStore(database).add("ben", {"read"}, None)
    # Another account, the user of a token, and that of the administrator's.
    for name in ("anna", "ben", "admin"):
        with pytest.raises(SettingError, match=f"another user '{name}'"):
            accounts.signed_in("https://a 2", name, "viewer")
    key = new_code_key()
    code = pyotp.TOTP(key).now()
    # Who is shut out there must not get in here.
    with pytest.raises(SettingError, match="elsewhere"):
        accounts.set_code_key("anna", key, code)
    with pytest.raises(SettingError, match="elsewhere"):
        accounts.add_passkey("anna", "first", b"key", 0)
    with pytest.raises(SettingError, match="elsewhere"):
        accounts.set_password("anna", PASSWORD)
    assert accounts.check("anna", "") is None
    accounts.disable("anna")
    assert accounts.signed_in("https://a 1", "anna", "viewer") is None


@pytest.fixture
def tokens(database: Database, clock: Clock) -> TokenStore:
    return TokenStore(database, clock)


def test_a_token_is_found_by_itself_and_by_its_id(tokens: TokenStore) -> None:
    assert not tokens.exist()
    made, text = tokens.add("anna", {"write", "read"}, 30)
    assert tokens.exist()
    found = tokens.find(text)
    assert found is not None
    assert (found.user, found.scopes) == ("anna", ["read", "write"])
    assert tokens.get(made.id) is not None
    assert tokens.find(text[:-1]) is None
    assert tokens.get("none") is None
    assert [item.id for item in tokens.all()] == [made.id]


def test_a_token_ends_by_time_and_by_hand(tokens: TokenStore, clock: Clock) -> None:
    made, text = tokens.add("anna", {"read"}, 1)
    for_ever, other = tokens.add("ben", {"read"}, None)
    clock.now += 86_400
    assert tokens.find(text) is None
    assert tokens.get(made.id) is None
    assert tokens.find(other) is not None
    tokens.revoke(for_ever.id)
    assert tokens.find(other) is None
    # To end the last token opens nothing.
    assert tokens.exist()
    with pytest.raises(MissingFileError, match="no token 'none'"):
        tokens.revoke("none")


def test_the_token_itself_is_kept_nowhere(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    _, text = TokenStore(database).add("anna", {"read"}, 1)
    database.close()
    for path in tmp_path.iterdir():
        assert text.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("user", "scopes", "said"),
    [
        ("", {"read"}, "0 characters"),
        ("x" * 101, {"read"}, "101"),
        ("a\nb", {"read"}, "characters"),
        ("anna", {"all"}, "'all'"),
        ("anna", set(), "No scope"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    tokens: TokenStore, user: str, scopes: set[str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        tokens.add(user, scopes, 1)
    assert not tokens.exist()
