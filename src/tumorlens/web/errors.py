"""Every error becomes a page or JSON that says what to do.

Tested in `tests/web/views/api/test_slices.py` and
`tests/web/views/pages/test_slices.py`.
"""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from tumorlens.errors import TumorLensError
from tumorlens.settings import Settings

logger = logging.getLogger(__name__)


def wants_json() -> bool:
    """Tell whether the request comes from a program."""
    if request.path.startswith("/api/"):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def error_response(status: int, code: str, message: str, hint: str) -> Response:
    """Say what is wrong, as a page or as JSON.

    Parameters
    ----------
    status
        The status of HTTP.
    code
        Code by which programs tell errors apart.
    message, hint
        Description of the error, and what to do about it.
    """
    if wants_json():
        problem = {"code": code, "message": message, "mend": hint}
        response = jsonify({"error": problem})
    else:
        response = make_response(
            render_template("error.html", message=message, hint=hint)
        )
    response.status_code = status
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

    def typed(error: TumorLensError) -> Response:
        return error_response(error.http_status, error.code, error.message, error.hint)

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
        logger.error("A request failed: %s %s", request.method, request.path)
        logger.error("The reason:", exc_info=error)
        return error_response(
            500,
            "internal_error",
            "TumorLens made a mistake.",
            "Try again; if it happens again, the server's log says more.",
        )

    app.register_error_handler(TumorLensError, typed)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, unexpected)


def _http_problems(settings: Settings) -> dict[int, tuple[str, str, str]]:
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
            f"The upload is larger than {settings.upload_mb} MB.",
            "Send fewer or smaller pictures at a time; whoever runs the server can "
            "set --upload-mb.",
        ),
    }
