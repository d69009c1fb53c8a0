"""Tokens: valid while they are, and kept as digests alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.conftest import Clock
from tumorlens.errors import MissingFileError, SettingError
from tumorlens.jobs.database import Database
from tumorlens.jobs.tokens import TokenStore


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
def test_what_cannot_be_is_refused(
    tokens: TokenStore, user: str, scopes: set[str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        tokens.add(user, scopes, 1)
    assert not tokens.exist()
