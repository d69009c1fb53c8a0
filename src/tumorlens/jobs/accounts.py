"""Accounts of people: name, role, and an argon2 hash of the password."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select

from tumorlens.errors import MissingExtraError, MissingFileError, SettingError
from tumorlens.jobs.database import Database
from tumorlens.jobs.tables import Account, user_name

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ROLES = {
    "viewer": ("read",),
    "reader": ("read", "write"),
    "admin": ("admin",),
}
"""What each role may do, as scopes of a token."""

LEAST_PASSWORD = 12
"""Characters of a password."""

_LONGEST_PASSWORD = 1000


class AccountStore:
    """Accounts in a database; safe to use from threads.

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
        # A hash takes tens of megabytes: one at a time.
        self._guard = threading.Lock()

    def add(self, name: str, password: str, role: str) -> Account:
        """Make an account.

        Parameters
        ----------
        name
            Name of the user, whose results it opens.
        password
            At least `LEAST_PASSWORD` characters.
        role
            One of `ROLES`.

        Raises
        ------
        SettingError
            Name, password or role cannot be, or the name is taken.
        MissingExtraError
            The extra ``server`` is not installed.
        OutputError
            The database does not take it.
        """
        name = user_name(name)
        if role not in ROLES:
            raise SettingError(
                f"There is no role {role!r}.", f"Give one of: {', '.join(ROLES)}."
            )
        account = Account(
            name=name,
            password=self._hash(password),
            role=role,
            stamp=secrets.token_hex(16),
            created=self._clock(),
            disabled=None,
        )
        with self._database.transaction() as session:
            if session.get(Account, name) is not None:
                raise SettingError(
                    f"There is an account {name!r} already.",
                    "Give it another password with 'tumorlens users password'.",
                )
            session.add(account)
        return account

    def all(self) -> list[Account]:
        """List all accounts by name."""
        with self._database.reading() as session:
            return list(session.scalars(select(Account).order_by(Account.name)))

    def exist(self) -> bool:
        """Tell whether an account was ever made."""
        with self._database.reading() as session:
            return session.execute(select(Account.name).limit(1)).first() is not None

    def get(self, name: str, stamp: str) -> Account | None:
        """Find the account of a browser's session.

        Parameters
        ----------
        name
            Name of the user.
        stamp
            The account's when the session began: it changes with the password.
        """
        with self._database.reading() as session:
            account = session.get(Account, name)
        if account is None or account.disabled is not None or account.stamp != stamp:
            return None
        return account

    def check(self, name: str, password: str) -> Account | None:
        """Find the account that a name and a password open; as long for any name.

        Raises
        ------
        MissingExtraError
            The extra ``server`` is not installed.
        """
        from argon2.exceptions import VerificationError

        hasher = _hasher()
        with self._database.reading() as session:
            account = session.get(Account, name)
        with self._guard:
            if account is None:
                hasher.hash(password[:_LONGEST_PASSWORD])
                return None
            try:
                hasher.verify(account.password, password[:_LONGEST_PASSWORD])
            except VerificationError:
                return None
        return None if account.disabled is not None else account

    def set_password(self, name: str, password: str) -> None:
        """Change a password; open sessions end.

        Raises
        ------
        SettingError
            The password is too short or too long.
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        hashed = self._hash(password)
        with self._database.transaction() as session:
            account = _known(session.get(Account, name), name)
            account.password, account.stamp = hashed, secrets.token_hex(16)

    def disable(self, name: str) -> None:
        """Close an account at once; its results are kept as long as others.

        Raises
        ------
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            account = _known(session.get(Account, name), name)
            account.disabled = account.disabled or self._clock()

    def _hash(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
            raise SettingError(
                f"The password has {len(password)} characters.",
                f"Give at least {LEAST_PASSWORD}; a few words are easy to keep.",
            )
        with self._guard:
            return _hasher().hash(password)


def _known(account: Account | None, name: str) -> Account:
    if account is None:
        raise MissingFileError(
            f"There is no account {name[:40]!r}.",
            "List them with 'tumorlens users list'.",
        )
    return account


def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher
    except ImportError:
        raise MissingExtraError("An account with a password", "server") from None
    return PasswordHasher()
