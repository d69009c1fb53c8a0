"""The API: its blueprint, with slices and series in it, and its description."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from tumorlens.web.app_state import app_state
from tumorlens.web.views.api import series, slices

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
blueprint.register_blueprint(slices.blueprint)
blueprint.register_blueprint(series.blueprint)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Describe the API (OpenAPI 3.1); always 200."""
    # Imported late: only this view needs pydantic.
    from tumorlens.web.openapi.document import openapi_document

    return jsonify(openapi_document(app_state().bundle, app_state().settings))
