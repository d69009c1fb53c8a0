"""Every error becomes a page or JSON (RFC 9457) that says what to do.

Tested in `tests/web/views/api/test_slices.py`, `tests/web/views/pages/test_slices.py`
and `tests/web/test_overload.py`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from tumorlens.errors import BusyError, TumorLensError
from tumorlens.jobs.database import FULL_DISK
from tumorlens.settings import SETTINGS, Settings

logger = logging.getLogger(__name__)

REFUSED = "tumorlens.refused"
"""Key of the WSGI environment: status of a request that the server itself refuses."""

PROBLEM_TYPE = "application/problem+json"
_RETRY_SECONDS = 5


def wants_json() -> bool:
    """Tell whether the request comes from a program."""
    if request.path.startswith("/api/"):
        return True
    best = request.accept_mimetypes.best_match(
        ["text/html", "application/json", PROBLEM_TYPE]
    )
    return best in {"application/json", PROBLEM_TYPE}


def error_response(
    status: int, code: str, message: str, hint: str, retry_seconds: int | None = None
) -> Response:
    """Say what is wrong, as a page or as JSON.

    Parameters
    ----------
    status
        The status of HTTP.
    code
        Code by which programs tell errors apart.
    message, hint
        Description of the error, and what to do about it.
    retry_seconds
        Seconds after which to try again; None where that does not help.
    """
    if wants_json():
        response = jsonify(
            type=f"urn:tumorlens:problem:{code}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=message,
            error={"code": code, "message": message, "mend": hint},
        )
        response.mimetype = PROBLEM_TYPE
    else:
        response = make_response(
            render_template("error.html", message=message, hint=hint)
        )
    response.status_code = status
    if retry_seconds is not None:
        response.headers["Retry-After"] = str(retry_seconds)
    return response


def handle_errors(app: Flask, settings: Settings) -> None:
    """Register the handlers of errors.

    Parameters
    ----------
    app
        An app that has had no request so far.
    settings
        The limits that a message names.
    """
    http_problems = _http_problems(settings)

    def refused() -> Response | None:
        status = request.environ.get(REFUSED)
        if status is None:
            return None
        code, message, hint = http_problems[status]
        retry = _RETRY_SECONDS if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return error_response(status, code, message, hint, retry)

    def typed(error: TumorLensError) -> Response:
        retry = error.retry_seconds if isinstance(error, BusyError) else None
        return error_response(
            error.http_status, error.code, error.message, error.hint, retry
        )

    def http(error: HTTPException) -> Response:
        status = error.code or 500
        code, message, hint = http_problems.get(
            status,
            (
                "bad_request",
                error.description or error.name,
                "Go back to the start page.",
            ),
        )
        response = error_response(status, code, message, hint)
        for name, value in error.get_headers(request.environ):
            if name.lower() in {"allow", "retry-after"}:
                response.headers[name] = value
        return response

    def unexpected(error: Exception) -> Response:
        # The address may hold what somebody typed.
        route = request.url_rule.rule if request.url_rule else "no route"
        logger.error("A request failed: %s %s", request.method, route, exc_info=error)
        code, message, hint = http_problems[500]
        return error_response(500, code, message, hint)

    def system(error: OSError) -> Response:
        if error.errno not in FULL_DISK:
            return unexpected(error)
        # Werkzeug keeps large files of a form on the disk, too.
        code, message, hint = http_problems[507]
        return error_response(507, code, message, hint)

    app.before_request(refused)
    app.register_error_handler(OSError, system)
    app.register_error_handler(TumorLensError, typed)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, unexpected)


def _http_problems(settings: Settings) -> dict[int, tuple[str, str, str]]:
    upload = f"{settings.upload_mb} MB, of a series {settings.scan_mb} MB"
    options = f"{SETTINGS['upload_mb'].option} and {SETTINGS['scan_mb'].option}"
    return {
        400: (
            "bad_request",
            "The request cannot be understood, or is addressed to a name that "
            "this server does not answer to.",
            "Open the address that 'tumorlens serve' printed; other names are "
            "allowed with --allowed-hosts.",
        ),
        403: (
            "forbidden",
            "This was sent by a page of another site, so nothing was done.",
            "Send it from TumorLens's own page.",
        ),
        404: (
            "not_found",
            "There is nothing at this address.",
            "Go back to the start page.",
        ),
        405: (
            "method_not_allowed",
            "This address does not do that.",
            "Go back to the start page.",
        ),
        413: (
            "too_large",
            f"The request is larger than this address takes: an upload of pictures "
            f"may have {upload}.",
            "Send fewer or smaller pictures at a time; whoever runs the server can "
            f"set {options}.",
        ),
        431: (
            "too_large",
            "The header of the request is too large.",
            "Send fewer or shorter cookies and fields.",
        ),
        500: (
            "internal_error",
            "TumorLens made a mistake.",
            "Try again; if it happens again, the server's log says more.",
        ),
        501: (
            "not_implemented",
            "The body is encoded in a way that is not read.",
            "Send it as it is, or in chunks.",
        ),
        503: (
            "busy",
            "The server has as many requests as it can answer.",
            f"Try again in {_RETRY_SECONDS} s.",
        ),
        507: (
            "disk_full",
            "The server's disk has no room for the request.",
            "Try again later; whoever runs the server has to make room.",
        ),
    }
