"""Sessions, security headers, and which requests are not answered."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest, Forbidden, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from tumorlens.errors import TumorLensError
from tumorlens.settings import Settings

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": under it a browser sends "Origin: null" with a form, and
    # forms of this page could not be told from those of another.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HSTS = "max-age=31536000"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SESSION_KEY = "visitor"
_IS_NEW = "session_is_new"


class ForwardedError(TumorLensError):
    """A request came through a proxy to a server that asks nobody who they are."""

    code = "forwarded"
    http_status = 403


ANYONE = ""
"""Owner of what whoever knows its id may see: made by the API on this machine."""

PIN_DAYS = 31
"""Days after which pins end of who is not logged in, and with them the session of a
browser that has pinned a result: nobody else would ever find it again."""

ADDRESS = "@"
"""What such an owner begins with who sent it from elsewhere."""

USER = "user "
"""What such an owner begins with who is logged in."""

NOBODY = "nobody"
"""Owner of nothing: whoever has no session yet."""


class _Sessions(SecureCookieSessionInterface):
    """Cookies that go over TLS alone where the request came so."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure or super().get_cookie_secure(app)


def guard(app: Flask, settings: Settings, key: bytes) -> None:
    """Give an app its session cookie, limits, checks and headers.

    Parameters
    ----------
    app
        An app that has had no request so far.
    settings
        Limits, and the names under which the app may be addressed.
    key
        Key that signs the cookie.
    """
    app.session_interface = _Sessions()
    app.config.update(
        SECRET_KEY=key,
        # Cookies know no port: two servers on one machine must not share one.
        SESSION_COOKIE_NAME=f"tumorlens_{hashlib.sha256(key).hexdigest()[:8]}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=PIN_DAYS * 86_400,
        MAX_CONTENT_LENGTH=settings.upload_mb * 2**20,
        # A backstop: files are counted once the form has been read.
        MAX_FORM_PARTS=settings.files_per_upload + 1000,
    )
    names = _trusted_names(settings)

    def refuse_unknown_hosts() -> None:
        if names is not None and _host_name(request.host) not in names:
            raise BadRequest("This is addressed to a name that is not answered here.")

    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count, x_prefix=count
        )
    app.before_request(refuse_unknown_hosts)
    app.before_request(_refuse_cross_site_requests)
    app.after_request(_add_headers)


def set_user(user: str) -> None:
    """Let what this request makes and sees belong to a user who is logged in."""
    g.user, g.owner = user, f"{USER}{user}"


def logged_in() -> str | None:
    """Name the user who sends the request that is served; None where nobody asks."""
    user: str | None = g.get("user")
    return user


def session_id() -> str | None:
    """Return whom a browser's results belong to; None where there is nobody yet.

    That is who is logged in, else the random id of the browser's session.
    """
    owner: str | None = g.get("owner")
    if owner is not None:
        return owner
    value = session.get(_SESSION_KEY)
    return value if isinstance(value, str) and value else None


def ensure_session_id() -> str:
    """Return the same as `session_id`, and begin a session where there is nobody."""
    value = session_id()
    if value is None:
        value = session[_SESSION_KEY] = secrets.token_urlsafe(16)
        g.setdefault(_IS_NEW, True)
    return value


def keep_session() -> None:
    """Let a browser's session outlast its windows, as it has pinned a result."""
    if logged_in() is None:
        session.permanent = True


def api_owner() -> str:
    """Return whom results of the API belong to.

    That is who is logged in; without a log-in, whoever knows a result's id may see it.
    """
    owner: str | None = g.get("owner")
    if owner is not None:
        return owner
    address = request.remote_addr or ""
    return ANYONE if is_loopback(address) else f"{ADDRESS}{address}"


def listed_owner() -> str:
    """Return whose results may be listed: those of who is logged in.

    Raises
    ------
    MethodNotAllowed
        There is no log-in (405): an id is all that it takes to see a result then, and
        a list would give them away.
    """
    owner: str | None = g.get("owner")
    if owner is None:
        raise MethodNotAllowed(["POST"])
    return owner


def is_forwarded() -> bool:
    """Tell whether the request that is served came through a proxy."""
    return any(_is_forwarding(name) for name, _ in request.headers)


def client_of(owner: str) -> str:
    """Name who sends a request, for quotas: an owner, else the address.

    Parameters
    ----------
    owner
        Owner of what the request makes; empty where that may be anyone.
    """
    # A session that begins with each request would be no bound.
    if owner and not g.get(_IS_NEW, False):
        return owner
    return f"@{request.remote_addr}"


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _trusted_names(settings: Settings) -> frozenset[str] | None:
    """Names in the Host header that are answered; None for any.

    A page elsewhere can point its own name at this machine (DNS rebinding) and
    then read what is served here, unless the name is checked.
    """
    if settings.allowed_hosts:
        names = settings.allowed_hosts.split(",")
        return frozenset(name.strip().strip("[]").lower() for name in names)
    if is_loopback(settings.host):
        return _LOCAL_NAMES | {settings.host}
    return None


def _host_name(host: str) -> str | None:
    """Take the port off a Host header; None where it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _host_and_port(origin: str) -> str | None:
    """Take host and port from an Origin header; None where it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_forwarding(header: str) -> bool:
    lower = header.lower()
    return lower == "forwarded" or lower.startswith("x-forwarded-")


def _refuse_cross_site_requests() -> None:
    """Refuse to act on what a page of another site sends."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    # Programs send neither; browsers send at least one.
    is_cross_site = (
        site not in {"same-origin", "none"}
        if site is not None
        else origin is not None and _host_and_port(origin) != request.host
    )
    if is_cross_site:
        raise Forbidden("This was sent by a page of another site.")


def _add_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = _HSTS
    if request.endpoint != "static":
        # Pictures of people: no copy stays in the browser's cache.
        response.headers["Cache-Control"] = "no-store"
    if request.path.startswith("/api/") and response.status_code == 200:
        return _with_etag(response)
    return response


def _with_etag(response: Response) -> Response:
    """Spare programs that ask again what has not changed."""
    if request.method in {"GET", "HEAD"} and not response.is_streamed:
        response.add_etag()
        response.make_conditional(request.environ)
    return response
