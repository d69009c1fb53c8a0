"""Health checks: the server is alive, and it is ready to work."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from tumorlens.web.app_state import app_state

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 while the server answers at all."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Answer 200 with a verified model and a store at hand, 503 without."""
    bundle = app_state().bundle
    ready = app_state().store.folder.is_dir()
    return (
        jsonify(
            status="ready" if ready else "the store's folder is gone",
            model=bundle.name,
            model_version=bundle.version,
        ),
        200 if ready else 503,
    )
