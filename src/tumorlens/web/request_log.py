"""The log of requests: one line, one id and one count for each.

Tested in `tests/web/test_overload.py`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from werkzeug.wsgi import ClosingIterator

from tumorlens.operations.metrics import Metrics
from tumorlens.operations.tracing import span

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
JOB = "tumorlens.job"
"""Key of a request's environment for the name by which its job is logged."""
_ROUTE = "tumorlens.route"
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """Wraps an app: every answer gets an id, a line in the log, and is counted.

    The line names the route and not the address, which may hold what somebody typed,
    and the id of a result, which is all that it takes to see it.

    Parameters
    ----------
    application
        The app.
    metrics
        Counts answers and their times.
    """

    def __init__(self, application: WSGIApplication, metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request, and write its line once the answer is out."""
        began = time.perf_counter()
        # Never the sender's own, which might say more than it should.
        request_id = secrets.token_hex(16)
        status = 500

        def start(
            line: str,
            headers: list[tuple[str, str]],
            *more: Any,  # noqa: ANN401
        ) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line.split(" ", 1)[0])
            return start_response(line, [*headers, (REQUEST_ID, request_id)], *more)

        def finish() -> None:
            seconds = time.perf_counter() - began
            self._metrics.requests.labels(str(status)).inc()
            self._metrics.request_seconds.observe(seconds)
            fields = {
                "method": _method_of(environ),
                "route": environ.get(_ROUTE),
                "status": status,
                "duration": round(seconds, 4),
                "request_id": request_id,
            }
            if JOB in environ:
                fields["job"] = environ[JOB]
            logger.info("request", extra={"fields": fields})

        try:
            if environ.get("PATH_INFO") in _UNTRACED:
                answer = self._application(environ, start)
            else:
                with span("request", parent=environ.get("HTTP_TRACEPARENT")) as traced:
                    answer = self._application(environ, start)
                    traced.note(
                        method=_method_of(environ),
                        route=environ.get(_ROUTE) or "none",
                        status=status,
                        request_id=request_id,
                    )
        except BaseException:
            finish()
            raise
        return ClosingIterator(answer, [finish])


def _method_of(environ: WSGIEnvironment) -> str:
    method: str = environ.get("REQUEST_METHOD", "")
    return method if method in _METHODS else "other"


def log_requests(app: Flask, metrics: Metrics) -> None:
    """Give an app its log of requests.

    Parameters
    ----------
    app
        An app that has had no request so far.
    metrics
        Counts answers and their times.
    """

    def note_route() -> None:
        rule = request.url_rule
        request.environ[_ROUTE] = None if rule is None else rule.rule

    app.before_request(note_route)
    app.wsgi_app = RequestLog(app.wsgi_app, metrics)  # type: ignore[method-assign]
