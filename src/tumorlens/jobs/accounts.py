"""Accounts of people, and tokens by which users and programs say who they are.

An account has a name, a role, an argon2 hash of the password, and second factors. Only
digests of tokens are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from tumorlens.errors import MissingExtraError, MissingFileError, SettingError
from tumorlens.jobs.database import Account, Database, Passkey, Token, user_name

if TYPE_CHECKING:
    from argon2 import PasswordHasher
    from pyotp import TOTP


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
        return self._database.has_rows(Token)

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


ROLES = {
    "viewer": ("read",),
    "reader": ("read", "write"),
    "admin": ("admin",),
}
"""What each role may do, as scopes of a token."""

LEAST_PASSWORD = 12
"""Characters of a password."""

CODE_SECONDS = 30
"""Seconds after which an authenticator app shows another code (RFC 6238)."""

_LONGEST_PASSWORD = 1000
_MOST_PASSKEYS = 10
_RESERVED = ("admin",)
"""The user of the administrator's token."""


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
        account = self._made(name, role, password=self._hash(password))
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
        return self._database.has_rows(Account)

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

    def signed_in(self, subject: str, name: str, role: str) -> Account | None:
        """Find, or make, the account of who signed in elsewhere; None if it is closed.

        Parameters
        ----------
        subject
            Issuer and subject, with a space between: they never change.
        name
            Name of the account, where it is made.
        role
            One of `ROLES`: its role, where it is made.

        Raises
        ------
        SettingError
            The name cannot be, or is another user's.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            account = session.scalars(
                select(Account).where(Account.subject == subject)
            ).one_or_none()
            if account is None:
                name = user_name(name)
                owners = select(Token.id).where(Token.user == name).limit(1)
                # The results of a token's user would be open to who takes the name.
                if (
                    name in _RESERVED
                    or session.get(Account, name) is not None
                    or session.scalar(owners) is not None
                ):
                    raise SettingError(
                        f"There is another user {name!r}.",
                        "Ask whoever runs the server.",
                    )
                account = self._made(name, role, subject=subject)
                session.add(account)
        return None if account.disabled is not None else account

    def check(self, name: str, password: str, code: str = "") -> Account | None:
        """Find the account that a name and a password open; as long for any name.

        Parameters
        ----------
        name, password
            What was typed.
        code
            What an authenticator app shows; each is taken once. An account that has
            one, or a passkey, is never opened by its password alone.

        Raises
        ------
        MissingExtraError
            The extra ``server`` is not installed.
        OutputError
            The database does not take it.
        """
        from argon2.exceptions import VerificationError

        hasher = _hasher()
        with self._database.reading() as session:
            account = session.get(Account, name)
        with self._guard:
            if account is None or not account.password:
                hasher.hash(password[:_LONGEST_PASSWORD])
                return None
            try:
                hasher.verify(account.password, password[:_LONGEST_PASSWORD])
            except VerificationError:
                return None
        if account.disabled is not None:
            return None
        if account.code_key is None:
            return None if self.passkeys(name) else account
        return account if self._takes_code(name, code) else None

    def _takes_code(self, name: str, code: str) -> bool:
        with self._database.transaction() as session:
            # Of two requests with one code, one is first.
            account = session.get(Account, name, with_for_update=True)
            if account is None or account.code_key is None:
                return False
            step = self._step_of(account.code_key, code)
            if step is None or step <= (account.code_step or 0):
                return False
            account.code_step = step
            return True

    def _step_of(self, key: str, code: str) -> int | None:
        """Tell which 30 seconds a code is of; clocks may be that much apart."""
        app = _authenticator(key)
        typed = "".join(code.split())
        now = int(self._clock()) // CODE_SECONDS
        for step in (now, now - 1, now + 1):
            shown = app.at(step * CODE_SECONDS)
            if hmac.compare_digest(shown.encode(), typed.encode()):
                return step
        return None

    def set_code_key(self, name: str, key: str, code: str) -> Account | None:
        """Give an account an authenticator app; its other sessions end.

        Parameters
        ----------
        name
            Name of the account.
        key
            What `new_code_key` made.
        code
            What the app shows, as proof that it has the key; None is returned where it
            is wrong.

        Raises
        ------
        SettingError
            Its user signs in elsewhere.
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        step = self._step_of(key, code)
        if step is None:
            return None
        with self._database.transaction() as session:
            account = _with_password(session.get(Account, name), name)
            account.code_key, account.code_step = key, step
            account.stamp = secrets.token_hex(16)
        return account

    def passkeys(self, name: str) -> list[Passkey]:
        """List the passkeys of an account, the oldest first."""
        with self._database.reading() as session:
            rows = select(Passkey).where(Passkey.account == name)
            return list(session.scalars(rows.order_by(Passkey.created)))

    def has_second_factor(self, account: Account) -> bool:
        """Tell whether more than a password is asked for."""
        if account.code_key is not None or account.subject is not None:
            return True
        return bool(self.passkeys(account.name))

    def passkey(self, passkey_id: str) -> tuple[Passkey, Account] | None:
        """Find a passkey, and the account that it opens; None where that is closed."""
        with self._database.reading() as session:
            passkey = session.get(Passkey, passkey_id)
            if passkey is None:
                return None
            account = session.get(Account, passkey.account)
        if account is None or account.disabled is not None:
            return None
        return passkey, account

    def add_passkey(
        self, name: str, passkey_id: str, public_key: bytes, uses: int
    ) -> Account:
        """Give an account one more passkey; its other sessions end.

        Raises
        ------
        SettingError
            It has very many, the passkey is known already, or its user signs in
            elsewhere.
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            account = _with_password(session.get(Account, name), name)
            count = session.scalar(select(func.count()).where(Passkey.account == name))
            known = session.get(Passkey, passkey_id)
            if (count or 0) >= _MOST_PASSKEYS or known is not None:
                raise SettingError(
                    f"{name} has this passkey already, or {_MOST_PASSKEYS} of them.",
                    "Remove one first.",
                )
            account.stamp = secrets.token_hex(16)
            session.add(
                Passkey(
                    id=passkey_id,
                    account=name,
                    public_key=public_key,
                    uses=uses,
                    created=self._clock(),
                    used=None,
                )
            )
        return account

    def note_use(self, passkey_id: str, uses: int) -> None:
        """Note that a passkey was used, and how often it says that it was.

        Raises
        ------
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            passkey = session.get(Passkey, passkey_id)
            if passkey is not None:
                passkey.uses, passkey.used = uses, self._clock()

    def remove_factors(self, name: str, passkey_id: str | None = None) -> Account:
        """Remove a passkey; or all of them and the authenticator app. Sessions end.

        Raises
        ------
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            account = _known(session.get(Account, name), name)
            rows = delete(Passkey).where(Passkey.account == name)
            if passkey_id is not None:
                rows = rows.where(Passkey.id == passkey_id)
            else:
                account.code_key = account.code_step = None
            session.execute(rows)
            account.stamp = secrets.token_hex(16)
        return account

    def remove_code_key(self, name: str) -> Account:
        """Remove an account's authenticator app; its other sessions end.

        Raises
        ------
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        with self._database.transaction() as session:
            account = _known(session.get(Account, name), name)
            account.code_key = account.code_step = None
            account.stamp = secrets.token_hex(16)
        return account

    def set_role(self, name: str, role: str) -> None:
        """Give an account another role, also in sessions that are open.

        Raises
        ------
        SettingError
            There is no such role.
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        _check_role(role)
        with self._database.transaction() as session:
            _known(session.get(Account, name), name).role = role

    def set_password(self, name: str, password: str) -> None:
        """Change a password; open sessions end.

        Raises
        ------
        SettingError
            The password is too short or too long, or its user signs in elsewhere.
        MissingFileError
            There is no such account.
        OutputError
            The database does not take it.
        """
        hashed = self._hash(password)
        with self._database.transaction() as session:
            account = _with_password(session.get(Account, name), name)
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

    def _made(
        self, name: str, role: str, password: str = "", subject: str | None = None
    ) -> Account:
        _check_role(role)
        return Account(
            name=name,
            password=password,
            role=role,
            stamp=secrets.token_hex(16),
            created=self._clock(),
            disabled=None,
            subject=subject,
            code_key=None,
            code_step=None,
        )

    def _hash(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
            raise SettingError(
                f"The password has {len(password)} characters.",
                f"Give at least {LEAST_PASSWORD}; a few words are easy to keep.",
            )
        with self._guard:
            return _hasher().hash(password)


def new_code_key() -> str:
    """Make a key for an authenticator app: 160 random bits, in base 32.

    Raises
    ------
    MissingExtraError
        The extra ``server`` is not installed.
    """
    _need_pyotp()
    import pyotp

    return pyotp.random_base32()


def code_address(key: str, name: str) -> str:
    """Return the address that an authenticator app reads a key from."""
    return _authenticator(key).provisioning_uri(name=name, issuer_name="TumorLens")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise SettingError(
            f"There is no role {role!r}.", f"Give one of: {', '.join(ROLES)}."
        )


def _authenticator(key: str) -> TOTP:
    _need_pyotp()
    import pyotp

    return pyotp.TOTP(key, interval=CODE_SECONDS)


def _need_pyotp() -> None:
    if find_spec("pyotp") is None:
        raise MissingExtraError("A code of an authenticator app", "server")


def _with_password(account: Account | None, name: str) -> Account:
    account = _known(account, name)
    if account.subject is not None:
        # Who is shut out there would still get in here.
        raise SettingError(
            f"{name} signs in elsewhere.",
            "What opens the account is set there, where the sign-in is.",
        )
    return account


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
