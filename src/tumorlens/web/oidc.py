"""Sign-in by an OpenID provider, such as a hospital's own (OpenID Connect)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, current_app, request, url_for
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import MissingExtraError, SettingError, TumorLensError
from tumorlens.jobs.accounts import AccountStore
from tumorlens.jobs.database import Account
from tumorlens.settings import SETTINGS, Settings
from tumorlens.web.security import is_loopback

_SECONDS = 600
"""Seconds that somebody has to sign in at the provider."""
_PROVIDER_SECONDS = 10
_KEY = "tumorlens_oidc"
_COOKIE = "_oidc"
_FIRST_ROLES = ("viewer", "reader")
"""An administrator is made by hand."""
_NAME_CLAIMS = ("preferred_username", "email", "sub")


class ProviderError(TumorLensError):
    """The OpenID provider does not answer, or not as it should."""

    code = "provider"
    http_status = 502
    default_hint = "Try again later, or ask whoever runs the server."


class OidcLogin:
    """Sends browsers to an OpenID provider, and finds the accounts of who comes back.

    What a sign-in has to remember lies in a cookie of its own, since the session's is
    not sent by a browser that another site sends here.

    Parameters
    ----------
    app
        An app that has had no request so far.
    settings
        The provider's issuer, and the client's id.
    secret
        The client's secret; None for a public client.
    accounts
        Accounts of people; who signs in for the first time gets one.

    Raises
    ------
    SettingError
        A setting is missing, or the provider would be asked without encryption.
    MissingExtraError
        The extra ``server`` is not installed.
    """

    def __init__(
        self, app: Flask, settings: Settings, secret: str | None, accounts: AccountStore
    ) -> None:
        issuer = settings.oidc_issuer or ""
        parts = urlsplit(issuer)
        self.provider = parts.hostname or ""
        if parts.scheme != "https" and not is_loopback(self.provider):
            raise SettingError(
                f"{SETTINGS['oidc_issuer'].option} is not an address with https.",
                "Give the provider's issuer, such as https://login.example.org/realm.",
            )
        if settings.oidc_client_id is None:
            raise SettingError(
                f"{SETTINGS['oidc_client_id'].option} is missing.",
                "Give the id that the provider knows this server by.",
            )
        if settings.oidc_role not in _FIRST_ROLES:
            raise SettingError(
                f"{SETTINGS['oidc_role'].option} is {settings.oidc_role[:40]!r}.",
                f"Give one of: {', '.join(_FIRST_ROLES)}.",
            )
        self._issuer, self._client_id = issuer, settings.oidc_client_id
        self._role, self._accounts = settings.oidc_role, accounts
        self._cookie = app.config["SESSION_COOKIE_NAME"] + _COOKIE
        self._signer = URLSafeTimedSerializer(app.config["SECRET_KEY"], salt="oidc")
        self._client = _client(app, issuer, self._client_id, secret)

    def begin(self, next_path: str) -> AnyResponse:
        """Lead a browser to the provider.

        Parameters
        ----------
        next_path
            Where it wants to go afterwards.

        Raises
        ------
        ProviderError
            The provider does not answer.
        """
        back = url_for("login.enter_by_provider", _external=True)
        made = _asked(lambda: self._client.create_authorization_url(back))
        address = made.pop("url")
        response = AnyResponse(status=303, headers={"Location": address})
        kept = {**made, "redirect_uri": back, "next": next_path}
        response.set_cookie(
            self._cookie,
            str(self._signer.dumps(kept)),
            max_age=_SECONDS,
            path=url_for("login.enter_by_provider"),
            secure=request.is_secure,
            httponly=True,
            # Lax: the provider's page sends the browser back.
            samesite="Lax",
        )
        return response

    def finish(self) -> tuple[Account | None, str]:
        """Find the account of a browser that comes back, and where it wants to go.

        The account is None where the browser was not sent from here, did not sign in,
        or the account is closed.

        Raises
        ------
        ProviderError
            The provider does not answer.
        SettingError
            The account would have the name of another one.
        OutputError
            The database does not take it.
        """
        try:
            kept = self._signer.loads(
                request.cookies.get(self._cookie, ""), max_age=_SECONDS
            )
        except BadData:
            return None, ""
        code, next_path = request.args.get("code"), str(kept["next"])
        if code is None or request.args.get("state") != kept["state"]:
            return None, next_path
        claims = _asked(lambda: self._claims(code, kept))
        if claims is None:
            return None, next_path
        names = [str(claims[key]) for key in _NAME_CLAIMS if claims.get(key)]
        subject = f"{self._issuer} {claims['sub']}"
        return self._accounts.signed_in(subject, names[0], self._role), next_path

    def forget(self, response: AnyResponse) -> None:
        """Take away what a sign-in had to remember."""
        response.delete_cookie(self._cookie, path=url_for("login.enter_by_provider"))

    def _claims(self, code: str, kept: dict[str, str]) -> dict[str, Any] | None:
        from authlib.integrations.base_client import OAuthError
        from joserfc.errors import JoseError

        try:
            token = self._client.fetch_access_token(
                kept["redirect_uri"],
                code=code,
                code_verifier=kept["code_verifier"],
            )
            claims: dict[str, Any] | None = self._client.parse_id_token(
                token,
                nonce=kept["nonce"],
                claims_options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "sub": {"essential": True},
                },
            )
        except (OAuthError, JoseError):
            return None
        return claims


def offer_provider(
    app: Flask, settings: Settings, secret: str | None, accounts: AccountStore
) -> None:
    """Let people sign in at the provider that the settings name, if they name one.

    Raises
    ------
    SettingError, MissingExtraError
        The same as for `OidcLogin`.
    """
    if settings.oidc_issuer is not None:
        app.extensions[_KEY] = OidcLogin(app, settings, secret, accounts)


def oidc_login() -> OidcLogin | None:
    """Return how people sign in at a provider; None where there is none."""
    login: OidcLogin | None = current_app.extensions.get(_KEY)
    return login


def _asked(ask: Any) -> Any:  # noqa: ANN401
    from requests import RequestException

    try:
        return ask()
    except (RequestException, RuntimeError, ValueError) as error:
        # Its words may hold a code: they are not quoted.
        raise ProviderError(
            "The sign-in service does not answer as it should."
        ) from error


def _client(app: Flask, issuer: str, client_id: str, secret: str | None) -> Any:  # noqa: ANN401
    try:
        from authlib.integrations.flask_client import OAuth
    except ImportError:
        raise MissingExtraError("A sign-in by OpenID Connect", "server") from None
    method = "none" if secret is None else "client_secret_basic"
    return OAuth(app).register(
        "oidc",
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid profile email",
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": method,
            "default_timeout": _PROVIDER_SECONDS,
        },
    )
