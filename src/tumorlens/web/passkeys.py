"""Passkeys (WebAuthn): how one is added to an account, and how it opens it.

Challenges are kept in the browser's signed session, so that any server may check them,
and each is taken once.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import request, session

from tumorlens.errors import MissingExtraError
from tumorlens.jobs.accounts import AccountStore
from tumorlens.jobs.database import Account

if TYPE_CHECKING:
    from types import ModuleType

_CHALLENGE, _ASKED = "challenge", "asked"
_ID = re.compile(r"[A-Za-z0-9_-]+=*")
"""Bytes as base64url, as the id of a passkey is written."""
_SECONDS = 300.0
"""Seconds that somebody has to touch a key."""


class Passkeys:
    """Adds passkeys, and finds the accounts that they open; safe from threads.

    A passkey is of the host name under which the page was opened. Browsers have them
    behind TLS, or on ``localhost``.

    Parameters
    ----------
    accounts
        Accounts in which passkeys are kept.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, accounts: AccountStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._guard = threading.Lock()
        self._taken: dict[str, float] = {}

    def creation_options(self, account: Account) -> str:
        """Write what a browser is asked for a new passkey, as JSON.

        Raises
        ------
        MissingExtraError
            The extra ``server`` is not installed.
        """
        webauthn = _webauthn()
        from webauthn.helpers import structs

        known = [
            structs.PublicKeyCredentialDescriptor(
                id=webauthn.base64url_to_bytes(passkey.id)
            )
            for passkey in self._accounts.passkeys(account.name)
        ]
        options = webauthn.generate_registration_options(
            rp_id=_host(),
            rp_name="TumorLens",
            # Of a length that is allowed, and no name.
            user_id=hashlib.sha256(account.name.encode()).digest(),
            user_name=account.name,
            exclude_credentials=known,
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.REQUIRED,
                user_verification=structs.UserVerificationRequirement.REQUIRED,
            ),
        )
        return self._asked(options)

    def add(self, account: Account, credential: object) -> Account | None:
        """Add the passkey that a browser has made; None where it is none.

        Parameters
        ----------
        account
            Whom it is to open.
        credential
            What the browser sent, as JSON has it.

        Raises
        ------
        SettingError
            The account has very many, or this one already.
        MissingExtraError
            The extra ``server`` is not installed.
        OutputError
            The database does not take it.
        """
        webauthn = _webauthn()
        answer = self._answer(credential)
        if answer is None:
            return None
        made = _verified(webauthn.verify_registration_response, answer)
        if made is None:
            return None
        return self._accounts.add_passkey(
            account.name,
            _text_of(made.credential_id),
            made.credential_public_key,
            made.sign_count,
        )

    def request_options(self) -> str:
        """Write what a browser is asked for a log-in, as JSON; it names no account.

        Raises
        ------
        MissingExtraError
            The extra ``server`` is not installed.
        """
        webauthn = _webauthn()
        from webauthn.helpers.structs import UserVerificationRequirement

        return self._asked(
            webauthn.generate_authentication_options(
                rp_id=_host(), user_verification=UserVerificationRequirement.REQUIRED
            )
        )

    def opened(self, credential: object) -> Account | None:
        """Find the account that a passkey opens; None where it opens none.

        Parameters
        ----------
        credential
            What the browser sent, as JSON has it.

        Raises
        ------
        MissingExtraError
            The extra ``server`` is not installed.
        OutputError
            The database does not take it.
        """
        webauthn = _webauthn()
        answer = self._answer(credential)
        if answer is None:
            return None
        passkey_id = str(answer["credential"].get("id"))
        # A database does not take whatever JSON has as text.
        passkey_and_account = (
            self._accounts.passkey(passkey_id) if _ID.fullmatch(passkey_id) else None
        )
        if passkey_and_account is None:
            return None
        passkey, account = passkey_and_account
        checked = _verified(
            webauthn.verify_authentication_response,
            answer,
            credential_public_key=passkey.public_key,
            # A count that does not grow is a copy's.
            credential_current_sign_count=passkey.uses,
        )
        if checked is None:
            return None
        self._accounts.note_use(passkey.id, checked.new_sign_count)
        return account

    def _asked(self, options: Any) -> str:  # noqa: ANN401
        session[_CHALLENGE], session[_ASKED] = (
            _text_of(options.challenge),
            self._clock(),
        )
        return str(_webauthn().options_to_json(options))

    def _answer(self, credential: object) -> dict[str, Any] | None:
        """Give an answer, and what it has to be to; None where it is to nothing."""
        challenge = self._challenge()
        if challenge is None or not isinstance(credential, dict):
            return None
        return {
            "credential": credential,
            "expected_challenge": challenge,
            "expected_rp_id": _host(),
            "expected_origin": request.host_url.rstrip("/"),
            "require_user_verification": True,
        }

    def _challenge(self) -> bytes | None:
        """Take the challenge of the session; None where there is none that is valid."""
        text, asked = session.pop(_CHALLENGE, None), session.pop(_ASKED, 0.0)
        now = self._clock()
        if not isinstance(text, str) or asked < now - _SECONDS:
            return None
        with self._guard:
            # Somebody who kept the cookie cannot use it again.
            known = self._taken.items()
            self._taken = {key: at for key, at in known if at > now - _SECONDS}
            if text in self._taken:
                return None
            self._taken[text] = now
        return bytes(_webauthn().base64url_to_bytes(text))


def _verified(
    verify: Callable[..., Any], answer: dict[str, Any], **more: object
) -> Any:  # noqa: ANN401
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return verify(**answer, **more)
    except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError):
        # The library reads what anybody may send.
        return None


def _host() -> str:
    return request.host.rpartition(":")[0] if ":" in request.host else request.host


def _text_of(data: bytes) -> str:
    from webauthn.helpers import bytes_to_base64url

    return str(bytes_to_base64url(data))


def _webauthn() -> ModuleType:
    try:
        import webauthn
    except ImportError:
        raise MissingExtraError("A passkey", "server") from None
    return webauthn
