"""Access: who sends a request, and what they may do."""

from __future__ import annotations

import hmac
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from flask import Flask, Response, g, redirect, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import QuotaError, SettingError, TumorLensError
from tumorlens.jobs.accounts import ROLES, AccountStore, TokenStore, digest_of
from tumorlens.jobs.database import Account, Token
from tumorlens.settings import SETTINGS, Settings
from tumorlens.web.errors import error_response, wants_json
from tumorlens.web.security import (
    ForwardedError,
    is_forwarded,
    is_loopback,
    logged_in,
    set_user,
)

ADMIN_TOKEN = "TUMORLENS_ADMIN_TOKEN"
"""Variable with a token of scope ``admin``, for the first start."""

_LEAST_TOKEN = 16
CLIENT_SECRET = "TUMORLENS_OIDC_CLIENT_SECRET"
"""Variable with the secret by which an OpenID provider knows this server."""

_FREE_ENDPOINTS = frozenset(
    {
        "static",
        "health.healthz",
        "health.readyz",
        "login.show",
        "login.enter",
        "login.passkey_options",
        "login.enter_by_passkey",
        "login.leave_for_provider",
        "login.enter_by_provider",
    }
)
_OWN_PAGE = "account"
_ADMIN_ENDPOINTS = frozenset({"drift.show"})
_TOKEN, _SINCE, _ACCOUNT, _STAMP = "token", "since", "account", "stamp"
_LOGIN_SECONDS = 12 * 3600.0
_FRESH_SECONDS = 600.0
_FAILURES, _FAILURE_SECONDS, _MOST_KEYS = 10, 600.0, 10_000
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class LoginError(TumorLensError):
    """Nobody is logged in, or the token is none."""

    code = "login"
    http_status = 401
    default_hint = (
        "Log in on the pages, or send a token as 'Authorization: Bearer ...'; "
        "'tumorlens tokens add' makes one."
    )


class ScopeError(TumorLensError):
    """The token does not allow this."""

    code = "scope"
    http_status = 403


@dataclass(frozen=True)
class Principal:
    """Who sends a request.

    Parameters
    ----------
    user
        Name of the user, whom the results belong to.
    scopes
        What the token or the role allows.
    token
        Id of the token; empty where an account is used.
    lacks_factor
        Whether the account has to get a second factor first.
    """

    user: str
    scopes: frozenset[str]
    token: str
    lacks_factor: bool = False

    def allows(self, scope: str) -> bool:
        """Tell whether the token has a scope."""
        return bool(self.scopes & {scope, "admin"})


class Access:
    """Finds out who sends a request.

    Parameters
    ----------
    tokens
        Tokens that were made.
    accounts
        Accounts of people.
    settings
        Whether there is to be a log-in.
    admin_token
        One more token, of scope ``admin``; None for none.
    clock
        Seconds since 1970.

    Raises
    ------
    SettingError
        The admin's token is too short, or there are tokens or accounts though no
        log-in is wanted.
    """

    def __init__(
        self,
        tokens: TokenStore,
        accounts: AccountStore,
        settings: Settings,
        admin_token: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if admin_token is not None and len(admin_token) < _LEAST_TOKEN:
            raise SettingError(
                f"{ADMIN_TOKEN} has {len(admin_token)} characters.",
                f"Give at least {_LEAST_TOKEN} random ones.",
            )
        self._tokens = tokens
        self._accounts = accounts
        self._admin = None if admin_token is None else digest_of(admin_token)
        self._clock = clock
        self._knows_login = admin_token is not None or settings.oidc_issuer is not None
        self._wants_factor = settings.second_factor
        self._failures: dict[str, deque[float]] = {}
        option = SETTINGS["insecure_no_login"].option
        self._is_open = settings.insecure_no_login
        if self._is_open and self._has_login():
            raise SettingError(
                f"There are tokens or accounts, and {option} says that nobody has to "
                "log in.",
                f"Leave {option} out.",
            )

    def check_host(self, host: str) -> None:
        """Make sure that other machines have to log in, if they can connect at all.

        Raises
        ------
        SettingError
            They could reach the server without any log-in, and nobody said so.
        """
        if self._is_open or is_loopback(host) or self._has_login():
            return
        option = SETTINGS["insecure_no_login"].option
        raise SettingError(
            f"On {host} other machines could reach the server, and there is no log-in.",
            "Leave --host at 127.0.0.1, make a token with 'tumorlens tokens add' or "
            f"{ADMIN_TOKEN}; for a demonstration, add {option}.",
        )

    @property
    def asks(self) -> bool:
        """Whether requests have to say who sends them."""
        return not self._is_open and self._has_login()

    @property
    def refuses_proxies(self) -> bool:
        """Whether a proxy would open the server to others."""
        return not self._is_open and not self._has_login()

    @property
    def knows_people(self) -> bool:
        """Whether there are accounts with passwords."""
        return self._accounts.exist()

    def log_in(self, text: str, address: str, name: str = "", code: str = "") -> None:
        """Begin a browser's session.

        Parameters
        ----------
        text
            A token; or the password, where there is a name.
        address
            Where it was typed.
        name
            Name of an account; empty for a token.
        code
            What the account's authenticator app shows, where it has one.

        Raises
        ------
        LoginError
            It is none, or has ended.
        QuotaError
            There were too many wrong ones from the address, or for the name.
        """
        if not name:
            self._attempt([address], lambda: self._token_session(text), "The token")
            return
        # A name is as good as what was typed: only its digest stays in the memory.
        self._attempt(
            [address, digest_of(name)],
            lambda: _account_session(self._accounts.check(name, text, code)),
            "The name, the password or the code",
        )

    def log_in_account(
        self, find: Callable[[], Account | None], address: str | None, what: str
    ) -> None:
        """Begin a browser's session in an account that something else opens.

        Parameters
        ----------
        find
            Finds the account; None where what was sent opens none.
        address
            Where it was sent from; None where nobody can guess, so that who gives up
            is not counted.
        what
            What was sent, to begin a sentence.

        Raises
        ------
        LoginError
            It opens none.
        QuotaError
            There were too many wrong ones from the address.
        """
        keys = [] if address is None else [address]
        self._attempt(keys, lambda: _account_session(find()), what)

    def renew(self, account: Account) -> None:
        """Let the session at hand go on, whose account has another stamp by now."""
        session[_STAMP] = account.stamp

    def account_at_hand(self) -> Account:
        """Return the account of the session, which began within ten minutes.

        Raises
        ------
        LoginError
            It began earlier.
        """
        account = self._session_account()
        if account is None or session[_SINCE] < self._clock() - _FRESH_SECONDS:
            raise LoginError(
                "This takes a log-in of the last ten minutes.", "Log in once more."
            )
        return account

    def _attempt(
        self, keys: list[str], begin: Callable[[], _Session | None], what: str
    ) -> None:
        now = self._clock()
        for key in keys:
            self._check_failures(key, now)
        begun = begin()
        if begun is None:
            self._note_failure(keys, now)
            raise LoginError(
                f"{what} is wrong, or not valid any more.",
                "Check it, or ask whoever runs the server. An account with a passkey "
                "or an authenticator app is not opened by its password alone.",
            )
        for key in keys:
            self._failures.pop(key, None)
        user, facts = begun
        set_user(user)
        session.clear()
        session.update(facts | {_SINCE: now})

    def _token_session(self, text: str) -> _Session | None:
        token = self._by_text(text)
        return None if token is None else (token.user, {_TOKEN: token.token})

    def _check_failures(self, key: str, now: float) -> None:
        failures = self._failures.get(key)
        if failures is None or len(failures) < _FAILURES:
            return
        # It holds no more than that: all are recent if the first is.
        if failures[0] >= now - _FAILURE_SECONDS:
            raise QuotaError(
                "There were too many wrong attempts.",
                "Try again later.",
                int(failures[0] + _FAILURE_SECONDS - now) + 1,
            )

    def _note_failure(self, keys: list[str], now: float) -> None:
        if len(self._failures) > _MOST_KEYS:
            old = now - _FAILURE_SECONDS
            # A copy: other threads note theirs meanwhile.
            known = list(self._failures.items())
            self._failures = {key: times for key, times in known if times[-1] > old}
        for key in keys:
            self._failures.setdefault(key, deque(maxlen=_FAILURES)).append(now)

    def identify(self) -> Principal | None:
        """Tell who sends the request that is served; None where nobody says.

        Raises
        ------
        LoginError
            The token is none, or has ended.
        """
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            principal = self._by_text(text.strip())
            if principal is None:
                raise LoginError("The token is not valid, or not any more.")
            return principal
        if session.get(_SINCE, 0.0) < self._clock() - _LOGIN_SECONDS:
            return None
        if _ACCOUNT in session:
            account = self._session_account()
            if account is None:
                return None
            lacks = self._wants_factor and not self._accounts.has_second_factor(account)
            return Principal(account.name, frozenset(ROLES[account.role]), "", lacks)
        token_id = session.get(_TOKEN)
        if not isinstance(token_id, str):
            return None
        if self._admin is not None and token_id == self._admin_id:
            return self._administrator()
        token = self._tokens.get(token_id)
        return None if token is None else _principal(token)

    def _session_account(self) -> Account | None:
        name, stamp = session.get(_ACCOUNT), session.get(_STAMP)
        if not isinstance(name, str) or not isinstance(stamp, str):
            return None
        return self._accounts.get(name, stamp)

    def _has_login(self) -> bool:
        # It stays so: what has ended opens nothing.
        if not self._knows_login:
            self._knows_login = self._tokens.exist() or self._accounts.exist()
        return self._knows_login

    def _by_text(self, text: str) -> Principal | None:
        if self._admin is not None and hmac.compare_digest(
            digest_of(text), self._admin
        ):
            return self._administrator()
        token = self._tokens.find(text)
        return None if token is None else _principal(token)

    @property
    def _admin_id(self) -> str:
        # Another token in the variable ends the sessions of this one.
        return f"admin-{digest_of(self._admin or '')[:16]}"

    def _administrator(self) -> Principal:
        return Principal("admin", frozenset({"admin"}), self._admin_id)


_Session: TypeAlias = tuple[str, dict[str, object]]
"""A user, and what the browser's session holds of the log-in."""


def _account_session(account: Account | None) -> _Session | None:
    if account is None:
        return None
    return account.name, {_ACCOUNT: account.name, _STAMP: account.stamp}


def _principal(token: Token) -> Principal:
    return Principal(token.user, frozenset(token.scopes), token.id)


def control_access(app: Flask, access: Access) -> None:
    """Let an app ask who sends a request, and refuse what they may not do.

    Parameters
    ----------
    app
        An app that has had no request so far.
    access
        Who may do what.
    """

    def check() -> AnyResponse | None:
        if is_forwarded() and access.refuses_proxies:
            raise ForwardedError(
                "This request came through a proxy, and there is no log-in: whoever "
                "reaches the proxy would see everything.",
                "Make a token with 'tumorlens tokens add', or set "
                f"{SETTINGS['insecure_no_login'].option} for a demonstration.",
            )
        if request.endpoint in _FREE_ENDPOINTS or not access.asks:
            return None
        principal = access.identify()
        if principal is None:
            return _ask_to_log_in()
        set_user(principal.user)
        g.is_admin = principal.allows("admin")
        if request.endpoint == "login.leave":
            return None
        if request.blueprint == _OWN_PAGE:
            if principal.token:
                raise ScopeError(
                    "A token has no account.", "Log in with a name and a password."
                )
            return None
        if principal.lacks_factor:
            return _ask_for_factor()
        if request.endpoint == "health.metrics":
            scope = "metrics"
        elif request.endpoint in _ADMIN_ENDPOINTS:
            scope = "admin"
        else:
            scope = "read" if request.method in _READING else "write"
        if not principal.allows(scope):
            raise ScopeError(
                f"{principal.user} may not do this here: it takes the scope {scope!r}.",
                "Ask whoever runs the server for a token or a role that has it.",
            )
        return None

    def tell_how(response: Response) -> Response:
        if response.status_code == LoginError.http_status:
            response.headers["WWW-Authenticate"] = 'Bearer realm="TumorLens"'
        return response

    app.before_request(check)
    app.after_request(tell_how)
    app.jinja_env.globals["logged_in_user"] = logged_in
    app.jinja_env.globals["has_account"] = lambda: _ACCOUNT in session
    # Where nobody logs in, only this machine can connect, or everybody may do all.
    app.jinja_env.globals["may_administer"] = lambda: g.get("is_admin", not access.asks)


def _ask_to_log_in() -> AnyResponse:
    if request.method in _READING and not wants_json():
        return redirect(url_for("login.show", next=request.path), 303)
    error = LoginError("Nobody is logged in.")
    return error_response(error.http_status, error.code, error.message, error.hint)


def _ask_for_factor() -> AnyResponse:
    if request.method in _READING and not wants_json():
        return redirect(url_for("account.show"), 303)
    raise ScopeError(
        "This server wants a second factor of every account, and yours has none.",
        "Open the page of your account, and add an authenticator app or a passkey.",
    )
