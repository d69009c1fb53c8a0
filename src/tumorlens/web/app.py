"""The factory of the web app."""

from __future__ import annotations

import os
import re
from typing import Any

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from tumorlens.errors import SettingError
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.settings import SETTINGS, Settings
from tumorlens.web.access import CLIENT_SECRET, control_access
from tumorlens.web.app_state import AppState, check_operating_point, set_app_state
from tumorlens.web.audit import keep_audit
from tumorlens.web.errors import handle_errors
from tumorlens.web.oidc import offer_provider
from tumorlens.web.request_log import log_requests
from tumorlens.web.security import PIN_DAYS, guard
from tumorlens.web.uploads.store import Store
from tumorlens.web.views import account, api, health, login
from tumorlens.web.views.pages import drift, home, series, slices

_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:%|mm|MB|pixels)(?![A-Za-z]))")


class _Json(DefaultJSONProvider):
    sort_keys = False

    def loads(self, s: str | bytes, **more: Any) -> Any:  # noqa: ANN401
        try:
            return super().loads(s, **more)
        except RecursionError:
            # Anybody may send a body of brackets alone: it is no mistake of ours.
            raise ValueError("It is nested too deeply.") from None


def create_app(classifier: SeriesClassifier, store: Store, settings: Settings) -> Flask:
    """Make the app.

    Parameters
    ----------
    classifier
        A verified classifier, which all requests share.
    store
        The store that `open_store` opened; whoever opened it closes it.
    settings
        The limits and defaults.

    Raises
    ------
    SettingError
        Where the model lacks the operating point that is set, or as `Access` and
        `OidcLogin` have it.
    """
    if settings.operating_point is not None:
        check_operating_point(settings.operating_point, classifier.bundle)
    app = Flask(__name__)
    app.json = _Json(app)
    state = AppState.make(classifier, store, settings)
    set_app_state(app, state)
    log_requests(app, state.metrics)
    handle_errors(app, settings)
    guard(app, settings, store.key)
    keep_audit(app, store.audit)
    control_access(app, state.access)
    offer_provider(app, settings, os.environ.get(CLIENT_SECRET), store.accounts)
    for views in (home, slices, series, drift, api, health, login, account):
        app.register_blueprint(views.blueprint)
    app.jinja_env.globals["research_use"] = RESEARCH_USE
    app.jinja_env.globals["pin_days"] = PIN_DAYS
    app.jinja_env.globals["is_open_to_all"] = settings.insecure_no_login
    app.jinja_env.globals["has_weights_licence"] = (
        classifier.bundle.weights_licence() is not None
    )
    app.jinja_env.filters["unbroken"] = unbroken
    return app


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name, and start sweeping it.

    Raises
    ------
    OutputError
        Where its folder cannot be used.
    SettingError
        Where a database is given without a folder, or its URL is none.
    """
    if settings.database_url is not None and settings.store is None:
        raise SettingError(
            f"{SETTINGS['database_url'].option} is given without a folder.",
            f"Give {SETTINGS['store'].option} a folder that all servers share.",
        )
    store = Store(
        settings.store,
        60.0 * settings.retention_minutes,
        settings.store_mb * 2**20,
        url=settings.database_url,
        scan_seconds=60.0 * settings.scan_minutes,
        feedback_seconds=86_400.0 * settings.feedback_days,
    )
    store.start_sweeper()
    return store


def unbroken(text: str) -> str:
    """Keep each number on one line with its unit, by spaces that do not break.

    Parameters
    ----------
    text
        A sentence, not yet markup.
    """
    return _NUMBER_AND_UNIT.sub("\N{NO-BREAK SPACE}", text)
