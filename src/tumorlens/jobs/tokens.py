"""Tokens by which users and programs say who they are; only digests are kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Collection

from sqlalchemy import select

from tumorlens.errors import MissingFileError, SettingError
from tumorlens.jobs.database import Database
from tumorlens.jobs.tables import Token, user_name

SCOPES = {
    "read": "see one's own results",
    "write": "send images, and remove results",
    "metrics": "read /metrics",
    "admin": "all of these",
}
"""What a token may allow."""

_PREFIX = "tl_"


class TokenStore:
    """Tokens in a database; safe to use from threads.

    Parameters
    ----------
    database
        Database of the rows.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._clock = clock

    def add(
        self, user: str, scopes: Collection[str], days: float | None
    ) -> tuple[Token, str]:
        """Make a token.

        Parameters
        ----------
        user
            Whose results it opens; all tokens of a user open the same.
        scopes
            Some of `SCOPES`.
        days
            Days after which it ends; None for never.

        Returns
        -------
        Token
            Its row.
        str
            The token itself, which is kept nowhere.

        Raises
        ------
        SettingError
            The user's name is empty or too long, or a scope is none.
        OutputError
            The database does not take it.
        """
        user = user_name(user)
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise SettingError(
                f"There is no scope {unknown[0]!r}." if unknown else "No scope given.",
                f"Give some of: {', '.join(SCOPES)}.",
            )
        text = _PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        token = Token(
            id=secrets.token_hex(8),
            user=user,
            digest=digest_of(text),
            scopes=sorted(set(scopes)),
            created=now,
            expires=None if days is None else now + days * 86_400.0,
            revoked=None,
        )
        with self._database.transaction() as session:
            session.add(token)
        return token, text

    def all(self) -> list[Token]:
        """List all tokens, the oldest first."""
        with self._database.reading() as session:
            return list(session.scalars(select(Token).order_by(Token.created)))

    def exist(self) -> bool:
        """Tell whether a token was ever made, also one that has ended."""
        with self._database.reading() as session:
            return session.execute(select(Token.id).limit(1)).first() is not None

    def find(self, text: str) -> Token | None:
        """Find a token that is valid now by itself."""
        with self._database.reading() as session:
            token = session.scalars(
                select(Token).where(Token.digest == digest_of(text))
            ).one_or_none()
        return self._valid(token)

    def get(self, token_id: str) -> Token | None:
        """Find a token that is valid now by its id."""
        with self._database.reading() as session:
            token = session.get(Token, token_id)
        return self._valid(token)

    def revoke(self, token_id: str) -> None:
        """End a token at once.

        Raises
        ------
        MissingFileError
            There is none of this id.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            token = session.get(Token, token_id)
            if token is None:
                raise MissingFileError(
                    f"There is no token {token_id[:40]!r}.",
                    "List them with 'tumorlens tokens list'.",
                )
            token.revoked = token.revoked or self._clock()

    def _valid(self, token: Token | None) -> Token | None:
        if token is None or token.revoked is not None:
            return None
        ended = token.expires is not None and token.expires <= self._clock()
        return None if ended else token


def digest_of(text: str) -> str:
    """Return a token's digest; it is long and random, so that a plain one will do."""
    return hashlib.sha256(text.encode()).hexdigest()
