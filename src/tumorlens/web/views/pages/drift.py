"""The page for administrators: whether what is judged is like what is known."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, render_template

from tumorlens.operations.sequential_test import FALSE_ALARMS, WINDOW
from tumorlens.report import words
from tumorlens.web.app_state import app_state

blueprint = Blueprint("drift", __name__, url_prefix="/drift")


@blueprint.get("")
def show() -> str:
    """Show each rate, what the bundle states of it, and alarms.

    Answers 200; 403 for who is logged in and no administrator.
    """
    return render_template(
        "drift.html",
        states=app_state().drift.states(),
        bundle=app_state().bundle,
        window=WINDOW,
        false_alarms=FALSE_ALARMS,
        words=words,
        date=_date,
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
