"""Health checks and metrics: the server is alive, ready to work, and how it does."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from werkzeug.exceptions import NotFound

from tumorlens.operations.metrics import CONTENT_TYPE
from tumorlens.web.app_state import app_state
from tumorlens.web.security import is_loopback

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 while the server answers at all."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Answer 200 where work can be taken, 503 with the reason where it cannot."""
    bundle = app_state().bundle
    reason = app_state().unready_reason()
    return (
        jsonify(
            status=reason or "ready",
            model=bundle.name,
            model_version=bundle.version,
        ),
        503 if reason else 200,
    )


@blueprint.get("/metrics")
def metrics() -> Response:
    """Give the metrics in Prometheus' text format: 200, or 404 where they are off.

    Where there is a log-in, it has been asked for already.
    """
    settings = app_state().settings
    is_on = settings.metrics
    if is_on is None:
        is_on = is_loopback(settings.host) or app_state().access.asks
    if not is_on:
        raise NotFound
    return Response(app_state().metrics.text(), content_type=CONTENT_TYPE)
